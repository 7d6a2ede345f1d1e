//! Looks the names of upstreams up, off the loop, and keeps looking.
//!
//! The system's resolver blocks, so it has a thread. Its answers carry no time to live: names are
//! looked up again at a fixed pace, and an answer outlives a name server that is away.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;

use crate::limits;
use crate::upstream::{Addresses, Directory};

/// The thread that looks names up; it ends when this is dropped.
pub struct Resolver {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A name to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Resolver {
    /// Looks all names up once, then starts the thread that looks them up again. A name that
    /// cannot be found is logged, and no reason not to start: its pages answer 502 until it is.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(names: Vec<Name>) -> io::Result<(Self, Directory)> {
        let directory: Directory = names.iter().map(|_| Addresses::default()).collect();
        let mut failing = vec![false; names.len()];
        look_up_all(&names, &directory, &mut failing);
        if names.iter().all(|name| name.host.parse::<std::net::IpAddr>().is_ok()) {
            return Ok((Self { stop: None, thread: None }, directory));
        }
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(&directory);
        let thread = std::thread::Builder::new().name("resolver".into()).spawn(move || {
            while stopped.recv_timeout(limits::DNS_REFRESH) == Err(RecvTimeoutError::Timeout) {
                look_up_all(&names, &shared, &mut failing);
            }
        })?;
        Ok((Self { stop: Some(stop), thread: Some(thread) }, directory))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Not joined: a look-up that hangs must not hold up the end of the process.
        drop(self.thread.take());
    }
}

fn look_up_all(names: &[Name], directory: &Directory, failing: &mut [bool]) {
    for ((name, addresses), failing) in names.iter().zip(directory.iter()).zip(failing) {
        match look_up(name) {
            Ok(found) => {
                if std::mem::replace(failing, false) {
                    tracing::info!(host = name.host, "the upstream's name is found again");
                }
                addresses.set(found);
            }
            Err(error) => {
                if !std::mem::replace(failing, true) {
                    tracing::warn!(
                        host = name.host,
                        %error,
                        "cannot find the upstream's name; its pages answer 502 until it is found"
                    );
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread is there to block on look-ups")]
fn look_up(name: &Name) -> io::Result<Vec<SocketAddr>> {
    let found = (name.host.as_str(), name.port).to_socket_addrs()?;
    let mut addresses: Vec<SocketAddr> = found.take(limits::ADDRESSES_MAX).collect();
    // Sorted, so that the same answer in another order is no change.
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_name_server_and_a_bad_name_is_no_reason_not_to_start() {
        let names = vec![
            Name { host: "127.0.0.1".into(), port: 9000 },
            Name { host: "::1".into(), port: 9001 },
            Name { host: "no-such-host.invalid".into(), port: 80 },
        ];
        let (_resolver, directory) = Resolver::start(names).unwrap();
        assert_eq!(*directory[0].now(), ["127.0.0.1:9000".parse().unwrap()]);
        assert_eq!(*directory[1].now(), ["[::1]:9001".parse().unwrap()]);
        assert!(directory[2].now().is_empty());
    }
}
