//! `ringpress completions`: commands and flags, as a shell completes them.

use std::io::{self, Write};

use clap::Args;
use clap_complete::Shell;

use super::{Exit, command_line};

/// `ringpress completions`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    // Into memory first: the generator takes a pipe that is closed for a bug.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command_line(), "ringpress", &mut script);
    let _ = io::stdout().write_all(&script);
    Exit::Fine
}
