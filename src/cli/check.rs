//! `ringpress check`: all that is wrong with a site, at once.

use std::path::PathBuf;

use clap::Args;
use rustix::fs::{Access, access};

#[cfg(feature = "acme")]
use crate::control::acme;
use crate::site::{AccessTarget, Site, Source, Warning};

use super::{Exit, say};

/// `ringpress check`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The site: a folder with a site.toml, or the path of one
    #[arg(default_value = ".", env = "RINGPRESS_SITE")]
    site: PathBuf,
}

/// What `serve` would be refused, run by who runs this.
fn unwritable(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    #[cfg(feature = "acme")]
    if let Some(config) = &site.server().acme {
        found.extend(acme::Keeper::trouble(config));
    }
    if let Some(AccessTarget::File(path)) = site.server().access_log.as_ref().map(|log| &log.to) {
        let file = site.folder().join(path);
        let folder = file.parent().unwrap_or(&file);
        let place = if file.exists() { &file } else { folder };
        if let Err(error) = access(place, Access::WRITE_OK) {
            let place = place.display();
            found.push(format!(
                "the access log cannot be written: {place}: {error}; the user that ringpress runs \
                 as must be able to"
            ));
        }
    }
    found
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match Site::load(&Source::Folder(arguments.site.clone())) {
        Ok(site) => {
            let (pages, upstreams) = (site.pages().len(), site.upstreams().len());
            let name = site.name();
            let statics = match site.statics().len() {
                0 => String::new(),
                count => format!(", static: {count}"),
            };
            say(format_args!("{name}: fine (pages: {pages}, upstreams: {upstreams}{statics})"));
            for page in site.pages() {
                if let Some(uncovered) = page.uncovered() {
                    let pattern = page.pattern();
                    say(format_args!("page `{pattern}` is slower than it could be: {uncovered}"));
                }
            }
            let notes = site.policy_notes().iter().chain(site.security_notes());
            for note in notes.chain(site.secure_notes()) {
                say(format_args!("{note}"));
            }
            for warning in site.warnings().iter().chain(&unwritable(&site)) {
                say(format_args!("warning: {warning}"));
            }
            for problem in site.advice() {
                say(format_args!("{}", Warning(&problem)));
            }
            Exit::Fine
        }
        Err(report) => {
            eprintln!("{report}");
            Exit::Configuration
        }
    }
}
