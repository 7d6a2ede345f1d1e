//! ringpress, the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringpress::cli::run(std::env::args_os())
}
