//! What the benches begin and end with: who takes part, where the results go, the plots, and how it
//! went, as an exit code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::contender::{self, Contender};
use crate::machine::Machine;
use crate::prepare;

/// The exit code of a bench, or of what kept it from running.
pub(crate) fn ended(outcome: Result<ExitCode, String>) -> ExitCode {
    outcome.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::from(2)
    })
}

/// All contenders, ours first.
///
/// # Errors
/// When what is written about the others cannot be read.
pub(crate) fn everyone(
    root: &Path,
    profile: &str,
    one_build: bool,
) -> Result<Vec<Contender>, String> {
    let mut everyone: Vec<Contender> = contender::ours(one_build).collect();
    everyone.push(contender::guided());
    everyone.extend(contender::others(root, profile)?);
    Ok(everyone)
}

/// A folder that has no results yet, so that none are lost: the one that is given, or else one that
/// is named after the day in `under`; for a short run always the same one.
///
/// # Errors
/// When there is no such folder.
pub(crate) fn output(
    root: &Path,
    given: Option<&Path>,
    short: Option<&str>,
    under: &str,
) -> Result<PathBuf, String> {
    if let Some(folder) = given {
        return match folder.join("raw.json").exists() {
            true => Err(format!("{} has results already", folder.display())),
            false => Ok(folder.to_owned()),
        };
    }
    if let Some(short) = short {
        let folder = root.join(short);
        // Those of the last short run are of no use to anybody.
        let _ = fs::remove_dir_all(&folder);
        return Ok(folder);
    }
    let date = Machine::look(root).date;
    let name = |number: u32| match number {
        1 => date.clone(),
        _ => format!("{date}-{number}"),
    };
    let folders = (1..=99).map(|number| root.join(under).join(name(number)));
    folders.into_iter().find(|folder| !folder.exists()).ok_or("99 results of one day".to_owned())
}

/// Lets this process, and those it starts, have as many open files as they may.
pub(crate) fn raise_files_limit() {
    let files = getrlimit(Resource::Nofile);
    // Where it cannot be raised, connections fail and are counted.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
}

/// Has a script draw the plots of a folder with results. Whether it did; why not is said.
pub(crate) fn draw(root: &Path, script: &str, folder: &Path, no_install: bool) -> bool {
    let drawn = prepare::plots(root, no_install).and_then(|python| {
        let drawn = Command::new(python).arg(root.join(script)).arg(folder).status();
        let drawn = drawn.map_err(|error| error.to_string())?;
        if drawn.success() { Ok(()) } else { Err(format!("{script} ended with {drawn}")) }
    });
    if let Err(why) = &drawn {
        eprintln!("no plots: {why}");
    }
    println!("{}", folder.join("README.md").display());
    drawn.is_ok()
}

/// 0 when all went well, 3 when some could not take part and nothing else is wrong, otherwise 1.
/// What is wrong is repeated, as it was said long ago.
pub(crate) fn code(missing: &BTreeMap<String, String>, partial: &[String]) -> ExitCode {
    for (name, why) in missing {
        eprintln!("missing: {name}: {why}");
    }
    for what in partial {
        eprintln!("partial: {what}");
    }
    match (missing.is_empty(), partial.is_empty()) {
        (_, false) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(3),
        (true, true) => ExitCode::SUCCESS,
    }
}
