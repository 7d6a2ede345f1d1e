//! What every peer has besides its framework: the command line, and the versions it was built
//! with.

use std::net::SocketAddr;
use std::{env, process};

/// Where to listen, and where the API is.
#[derive(Clone, Copy)]
pub struct Arguments {
    /// The address pages are served on.
    pub listen: SocketAddr,
    /// The address of the API.
    pub api: SocketAddr,
}

impl Arguments {
    /// Reads `--listen ADDR --api ADDR`. With `--version` it prints one line with the versions of
    /// `crates` and ends the process; so it does, with a hint, when the arguments are not these.
    pub fn read(crates: &[&str]) -> Self {
        match parse(env::args().skip(1)) {
            Some(Command::Serve(arguments)) => arguments,
            Some(Command::Version) => {
                println!("{}", versions(crates));
                process::exit(0)
            }
            None => {
                eprintln!("usage: --listen ADDR --api ADDR, or --version");
                process::exit(2)
            }
        }
    }
}

enum Command {
    Serve(Arguments),
    Version,
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Command> {
    let (mut listen, mut api) = (None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--version" => return Some(Command::Version),
            "--listen" => listen = Some(words.next()?.parse().ok()?),
            "--api" => api = Some(words.next()?.parse().ok()?),
            _ => return None,
        }
    }
    Some(Command::Serve(Arguments { listen: listen?, api: api? }))
}

/// Names and versions, as Cargo.lock has them: a list kept by hand would be wrong some day.
fn versions(crates: &[&str]) -> String {
    let versions: Vec<String> =
        crates.iter().map(|name| format!("{name} {}", version(name).unwrap_or("?"))).collect();
    versions.join(", ")
}

fn version(name: &str) -> Option<&'static str> {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let entry = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
    Some(entry.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::{Command, parse, versions};

    fn command(line: &str) -> Option<Command> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line() {
        let line = "--api 127.0.0.1:9100 --listen 127.0.0.1:8080";
        assert!(matches!(command(line), Some(Command::Serve(a)) if a.api.port() == 9100));
        assert!(matches!(command("--version"), Some(Command::Version)));
        for wrong in ["", "--listen", "--listen 127.0.0.1:8080", "--listen a --api b", "serve"] {
            assert!(command(wrong).is_none(), "{wrong:?} is taken");
        }
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert_eq!(versions(&["axum", "common"]), "axum 0.8.9, common 0.1.0");
    }
}
