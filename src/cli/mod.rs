//! The commands. They read arguments, call the rest, and speak to a person; nothing else does.

pub mod check;
mod completions;
pub mod demo;
mod dev;
pub mod doctor;
mod logging;
mod man;
mod new;
mod options;
pub mod plan;
mod record;
mod remote;
pub mod render;
mod schema;
pub mod serve;
mod templates;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// A server for sites of pages over an API: one pinned event loop per CPU core, io_uring inside.
#[derive(Debug, Parser)]
#[command(name = "ringpress", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How the log on standard error is written, instead of as fits where that goes
    #[arg(long, global = true, value_enum, value_name = "FORMAT", env = "RINGPRESS_LOG_FORMAT")]
    log_format: Option<logging::Format>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a site: a folder with a ready-made one
    New(new::Arguments),
    /// Serve a site while it is being written: what is saved is served, and browsers go along
    Dev(dev::Arguments),
    /// Serve a site
    Serve(serve::Arguments),
    /// Serve a site, and put each answer of its upstreams into a file
    Record(record::Arguments),
    /// Check a site: its site.toml and all its templates
    Check(check::Arguments),
    /// Make one page and print it
    Render(render::Arguments),
    /// Have a server that runs read its site again, and say how that went
    Reload(remote::Arguments),
    /// Have a server that runs hand over to its binary as it is now, and say how that went
    Upgrade(remote::Arguments),
    /// Serve the demo, a reader of Hacker News, with an API of its own
    Demo(demo::Arguments),
    /// How many blocking workers a load needs, where they collapse, and what an event loop needs
    Plan(plan::Arguments),
    /// What this machine allows, and what to change for a server, with the commands
    Doctor(doctor::Arguments),
    /// Print the JSON Schema of site.toml, for editors that complete and check it
    Schema,
    /// Print what completes commands and flags in a shell
    Completions(completions::Arguments),
    /// Print a man page, or write all of them to a folder
    Man(man::Arguments),
}

/// How a command ended, as the process says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well: 0.
    Fine,
    /// It did not work: 1.
    Failed,
    /// The site is not one: 78 (EX_CONFIG).
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Configuration => 78,
        })
    }
}

/// How a command ends that cannot be meant so.
const WRONG_USAGE: u8 = 2;

/// Runs a command line. Wrong usage ends with 2, as everywhere.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    crate::control::inheritance::close_strays();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE));
        }
    };
    if let Err(error) = logging::check_filter() {
        eprintln!("error: {error}");
        return ExitCode::from(WRONG_USAGE);
    }
    if let Some(format) = arguments.log_format {
        logging::set_format(format);
    }
    let exit = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Reload(arguments) => remote::run(&arguments, "/reload"),
        Command::Upgrade(arguments) => remote::run(&arguments, "/upgrade"),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::New(arguments) => new::run(&arguments),
        Command::Schema => schema::run(),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    };
    exit.into()
}

/// The whole command line, as clap knows it.
fn command_line() -> clap::Command {
    Arguments::command()
}

/// Prints a line for a person or a script that waits for it. One that has stopped listening, as
/// `| head -1` does, is no reason to stop.
fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Says on standard error that a command failed, and how it ends.
fn fail(error: impl fmt::Display) -> Exit {
    eprintln!("error: {error}");
    Exit::Failed
}
