//! `ringpress check`: all that is wrong with a site, at once.

use std::path::PathBuf;

use clap::Args;

use crate::site::{Site, Source};

use super::{Exit, say};

/// `ringpress check`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The site: a folder with a site.toml, or the path of one
    #[arg(default_value = ".", env = "RINGPRESS_SITE")]
    site: PathBuf,
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
            for warning in site.warnings() {
                say(format_args!("warning: {warning}"));
            }
            Exit::Fine
        }
        Err(report) => {
            eprintln!("{report}");
            Exit::Configuration
        }
    }
}
