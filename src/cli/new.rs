//! `ringpress new`: a site to begin with, in a folder of its own.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::config::SCHEMA;

use super::templates::{HELLO, NEWS, Template};
use super::{Exit, fail, say};

/// `ringpress new`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder to make; one that is there already must be empty
    folder: PathBuf,
    /// The ready-made site to begin with
    #[arg(long, value_name = "SITE", default_value = "hello")]
    from: From,
}

/// What to begin with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// The smallest useful site: one page over one API
    Hello,
    /// A reader of Hacker News: lists, a search, comments, people, a feed, and no JavaScript
    News,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let folder = &arguments.folder;
    let template = match arguments.from {
        From::Hello => HELLO,
        From::News => NEWS,
    };
    if let Err(error) = make(folder, &template) {
        return fail(error);
    }
    let shown = folder.display();
    let next = match arguments.from {
        From::Hello => format!(
            "
  Its one page asks an API at http://127.0.0.1:9000 for a greeting. One to try it with:
    mkdir -p api/greetings
    echo '{{\"text\": \"Hello\", \"name\": \"Ann\"}}' > api/greetings/Ann
    python3 -m http.server 9000 --bind 127.0.0.1 --directory api --protocol HTTP/1.1

  Then
    ringpress check {shown}
    ringpress dev {shown}
  and open http://127.0.0.1:8080/hello/Ann"
        ),
        From::News => format!(
            "
  Its pages are made from an API with the shape of Hacker News'. The real one:
    ringpress dev {shown} --upstream hn=https://hacker-news.firebaseio.com/v0
  or, without a network, the made-up one of `ringpress demo`, which says where that is:
    ringpress demo --listen 127.0.0.1:8090
    ringpress dev {shown} --upstream hn=http://127.0.0.1:PORT/v0"
        ),
    };
    say(format_args!("made {shown}: {}{next}", names(template.files)));
    Exit::Fine
}

/// Writes all files of a site, and none over another.
fn make(folder: &Path, template: &Template) -> Result<(), String> {
    let there = what_is_in(folder).map_err(|error| {
        format!("cannot make {}: {error}; choose another folder", folder.display())
    })?;
    if !there.is_empty() {
        let shown = folder.display();
        return Err(format!(
            "{shown} is not empty ({there}): choose a folder that is not there yet"
        ));
    }
    let site = template.files.iter().map(|(name, text)| match *name {
        // What editors look for that check and complete TOML.
        SITE_FILE => (*name, format!("#:schema ./{SCHEMA_FILE}\n{text}")),
        name => (name, (*text).to_owned()),
    });
    for (name, text) in site.chain([(SCHEMA_FILE, SCHEMA.to_owned())]) {
        let path = folder.join(name);
        write(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Some of what is in a folder, in words; nothing where there is none or it is empty.
fn what_is_in(folder: &Path) -> io::Result<String> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if names.len() == NAMES_SHOWN_MAX {
            names.push("...".to_owned());
            break;
        }
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(", "))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())
}

fn names(files: &[(&str, &str)]) -> String {
    let mut names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    names.push(SCHEMA_FILE);
    names.join(", ") + "\n"
}

const SITE_FILE: &str = "site.toml";
/// Beside it, so that an editor needs neither a network nor a setting; with a dot before it, as it
/// is no template.
const SCHEMA_FILE: &str = ".site.schema.json";
/// What is shown of a folder that is not empty.
const NAMES_SHOWN_MAX: usize = 5;
