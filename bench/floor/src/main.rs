//! The floor: a bare relay on a raw io_uring. Each request makes it ask an API once and answer
//! with a page, in messages of the sizes that ringpress's have; but it reads none of them, and
//! what it sends is fixed bytes. What it costs is what TCP costs, on one thread.

mod buffers;
mod messages;
mod relay;
mod ring;
mod slab;
mod upstream;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use messages::Messages;
use relay::Relay;
use ring::Ring;

const USAGE: &str = "floor --listen ADDR --api ADDR [--page FILE] | floor --version";
/// A real page of /users/42, as ringpress serves it.
const PAGE: &[u8] = include_bytes!("../page.html");
/// Connections that the kernel has made and we have not accepted.
const BACKLOG: i32 = 4096;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(arguments) = Arguments::read(std::env::args().skip(1))? else {
        println!("{}", version());
        return Ok(());
    };
    let open_files_max = raise_open_files();
    let ring = Ring::new()?;
    let page = match &arguments.page {
        Some(file) => {
            std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?
        }
        None => PAGE.to_vec(),
    };
    let messages = Messages::learn(arguments.api, &page)?;
    let listener = listen(arguments.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    println!("listening on http://{}", listener.local_addr()?);
    let api = Box::leak(Box::new(SockAddr::from(arguments.api)));
    Relay::new(ring, listener, api, messages, open_files_max).run()?;
    Ok(())
}

struct Arguments {
    listen: SocketAddr,
    api: SocketAddr,
    page: Option<String>,
}

impl Arguments {
    /// Reads the command line; `None` where only the version is asked for.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut listen, mut api, mut page) = (None, None, None);
        while let Some(name) = words.next() {
            if name == "--version" {
                return Ok(None);
            }
            let value = words.next().ok_or_else(|| format!("{name} has no value: {USAGE}"))?;
            let address = || value.parse().map_err(|_| format!("{value} is not ADDRESS:PORT"));
            match name.as_str() {
                "--listen" => listen = Some(address()?),
                "--api" => api = Some(address()?),
                "--page" => page = Some(value),
                _ => return Err(format!("no such option {name}: {USAGE}")),
            }
        }
        match (listen, api) {
            (Some(listen), Some(api)) => Ok(Some(Self { listen, api, page })),
            _ => Err(format!("--listen and --api are needed: {USAGE}")),
        }
    }
}

/// One line: what this is made of, the flags of its ring, and the kernel it runs on.
fn version() -> String {
    let lock = include_str!("../Cargo.lock");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"io-uring\"");
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or("?");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "floor {}, io-uring {version} (SINGLE_ISSUER, DEFER_TASKRUN, SUBMIT_ALL; multishot accept \
         and receive, buffer ring), Linux {}",
        env!("CARGO_PKG_VERSION"),
        kernel.trim()
    )
}

/// Allows as many open files as we may have, since each page in flight takes two, and says how
/// many those are; `None` if there is no limit.
fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Connections inherit it. They stay blocking: the ring waits for those that would block.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Arguments>, String> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_read_or_refused() {
        let found = read("--api 127.0.0.1:2 --listen [::1]:1").unwrap().unwrap();
        assert_eq!(found.listen, "[::1]:1".parse().unwrap());
        assert_eq!(found.api, "127.0.0.1:2".parse().unwrap());
        assert!(read("--version").unwrap().is_none());
        for line in ["", "--listen 127.0.0.1:1", "--listen", "--listen x --api y", "--fast yes"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_version_names_the_crate_of_the_lock_file() {
        let version = version();
        assert!(version.contains("io-uring 0.7."), "{version}");
        assert_eq!(version.lines().count(), 1);
    }
}
