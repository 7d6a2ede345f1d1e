//! ringpress, the command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ringpress::cli::run(std::env::args_os())
}
