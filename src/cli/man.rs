//! `ringpress man`: a man page for each command.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::{Exit, command_line, fail, say};

/// `ringpress man`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The command whose page to print; `ringpress` itself if left out
    command: Option<String>,
    /// Write the pages of all commands to this folder, as in /usr/local/share/man/man1
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    to: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    // Without it each command's `help` would have a page.
    let mut whole = command_line().disable_help_subcommand(true);
    whole.build();
    let done = match (&arguments.to, &arguments.command) {
        (Some(folder), _) => write_all(&whole, folder),
        (None, None) => print(&whole),
        (None, Some(name)) => match whole.find_subcommand(name) {
            Some(command) => print(command),
            None => Err(format!("there is no command `{name}`: see `ringpress help`")),
        },
    };
    done.map_or_else(fail, |()| Exit::Fine)
}

/// The name of a command's page, and the page.
fn page(command: &Command) -> Result<(String, Vec<u8>), String> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| error.to_string())?;
    Ok((man.get_filename(), page))
}

fn print(command: &Command) -> Result<(), String> {
    let (_, page) = page(command)?;
    // A closed pipe, as of `| head`, is no failure.
    let _ = io::stdout().write_all(&page);
    Ok(())
}

fn write_all(whole: &Command, folder: &Path) -> Result<(), String> {
    let failed = |path: &Path, error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut written = 0;
    for command in std::iter::once(whole).chain(whole.get_subcommands()) {
        let (name, page) = page(command)?;
        let path = folder.join(name);
        fs::write(&path, page).map_err(|error| failed(&path, error))?;
        written += 1;
    }
    say(format_args!("{}: {written} pages", folder.display()));
    Ok(())
}
