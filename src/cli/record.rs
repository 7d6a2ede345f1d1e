//! `ringpress record`: a site, served as always, with each answer of its upstreams put into a file.

use std::path::PathBuf;

use clap::Args;

use crate::control::recordings::Recordings;

use super::{Exit, fail, say, serve};

/// `ringpress record`
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The folder for the answers: one that is there already gets more, and newer ones
    #[arg(long, value_name = "DIR", conflicts_with = "offline")]
    to: PathBuf,
    #[command(flatten)]
    serve: serve::Arguments,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let (recordings, recorder) = match Recordings::start(arguments.to.clone()) {
        Ok(started) => started,
        Err(error) => return fail(error),
    };
    let exit = serve::run_with(&arguments.serve, Some(recorder));
    let folder = arguments.to.display();
    match recordings.finish() {
        Some(summary) => {
            say(format_args!("recorded {} answers into {folder}", summary.answers));
            if summary.lost > 0 {
                eprintln!("warning: {} answers could not be recorded", summary.lost);
            }
        }
        None => eprintln!("warning: not all answers may be in {folder}"),
    }
    exit
}
