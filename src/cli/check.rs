//! `ringpress check`: all that is wrong with a site, at once.

use std::path::PathBuf;

use clap::Args;

use crate::site::{Site, Source};

use super::Exit;

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
            println!(
                "{}: fine ({} pages, {} upstreams)",
                site.name(),
                site.pages().len(),
                site.upstreams().len()
            );
            Exit::Fine
        }
        Err(report) => {
            eprint!("{report}");
            Exit::Configuration
        }
    }
}
