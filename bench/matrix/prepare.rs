//! Builds what is measured, and what measures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::contender::{Contender, DRIVERS, GUIDED, Group, built_in};

/// Builds the tools and our own contenders: a build of its own for each driver, or one for all.
///
/// # Errors
/// When cargo fails: it has told why.
pub(crate) fn ours(root: &Path, profile: &str, one_build: bool) -> Result<Tools, String> {
    let folder = root.join("target/matrix");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let built = target(root).join(built_in(profile));
    let build = |what: &str, arguments: &[&str]| {
        println!("building {what}");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--profile", profile]).args(arguments);
        match cargo.current_dir(root).stdin(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("building {what}: cargo ended with {status}, see above")),
            Err(error) => Err(format!("cargo: {error}")),
        }
    };
    let keep = |from: &str, to: &str| {
        let (from, to) = (built.join(from), folder.join(to));
        // A file that runs cannot be written to; another one can take its name.
        let _ = fs::remove_file(&to);
        let copied = fs::copy(&from, &to).map(|_| to);
        copied.map_err(|error| format!("{}: {error}", from.display()))
    };
    if !one_build {
        for (driver, _) in DRIVERS {
            let only = ["--bin", "ringpress", "--no-default-features", "--features", driver];
            build(&format!("ringpress with {driver} only"), &only)?;
            keep("ringpress", &format!("ringpress-{driver}"))?;
        }
    }
    let all = ["--bin", "ringpress", "--example", "mock-api", "--example", "pace"];
    build("ringpress, mock-api and pace", &all)?;
    keep("ringpress", "ringpress-all")?;
    Ok(Tools {
        mock_api: keep("examples/mock-api", "mock-api")?,
        pace: keep("examples/pace", "pace")?,
    })
}

/// The programs that measuring needs.
pub(crate) struct Tools {
    pub(crate) mock_api: PathBuf,
    pub(crate) pace: PathBuf,
}

/// Installs a contender if anything of it is missing.
///
/// # Errors
/// Why it cannot take part.
pub(crate) fn install(root: &Path, contender: &Contender, only_look: bool) -> Result<(), String> {
    let directory = root.join(&contender.directory);
    let absent = || contender.needs.iter().find(|file| !directory.join(file).exists());
    let is_guided = contender.name == GUIDED;
    let built_here = is_guided || matches!(contender.group, Group::Rust | Group::Floor);
    if only_look || (absent().is_none() && !built_here) {
        return match absent() {
            Some(_) => Err("not installed, and --no-install was given".to_owned()),
            None => Ok(()),
        };
    }
    let place = |text: &String| text.replace("{root}", &root.to_string_lossy());
    let command: Vec<String> = contender.install.iter().map(place).collect();
    run(&contender.name, &command, &directory)?;
    match absent() {
        Some(file) => Err(format!("{} is missing", contender.directory.join(file).display())),
        None => Ok(()),
    }
}

/// Installs what draws the plots if it is missing, and gives the Python that has it.
///
/// # Errors
/// Why there can be no plots.
pub(crate) fn plots(root: &Path, only_look: bool) -> Result<PathBuf, String> {
    let python = root.join("target/peers/plots/bin/python");
    if python.exists() {
        return Ok(python);
    }
    if only_look {
        return Err("not installed, and --no-install was given".to_owned());
    }
    let install = root.join("bench/peers/install").to_string_lossy().into_owned();
    run("plots", &[install, "plots".to_owned()], root)?;
    Ok(python)
}

/// Runs a command that installs, and tells the end of what it said when it fails.
fn run(name: &str, command: &[String], directory: &Path) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    println!("installing {name}");
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let said = lines[lines.len().saturating_sub(3)..].join(" | ");
    Err(format!("cannot be installed: {said}"))
}

/// Where cargo builds.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
