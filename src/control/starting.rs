//! The start of workers: that each of them serves, or else that none is left, and why.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::worker::thread::Started;

use super::server::Handle;

/// Why a server could not start: what failed, why, and what to do.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// A worker's thread or loop cannot be made.
    Worker(usize, io::Error),
    /// The workers cannot serve something of that kind.
    Kind,
    /// There is to be no worker at all.
    Nobody,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(address, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "somebody listens there, in another process or in this one: stop that, or \
                         choose another address"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need CAP_NET_BIND_SERVICE (`setcap \
                         cap_net_bind_service=+ep` on the binary, or AmbientCapabilities= in the \
                         systemd unit); or choose another address"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "no interface of this machine has that address: see `ip address`"
                    }
                    _ => "choose another address",
                };
                write!(f, "cannot listen on {address}: {error}; {remedy}")
            }
            StartError::Worker(number, error) => write!(f, "worker {number} failed: {error}"),
            StartError::Kind => f.write_str("the workers serve something of another kind"),
            StartError::Nobody => f.write_str("there is no worker: name a CPU for one, or none"),
        }
    }
}

impl std::error::Error for StartError {}

/// Waits until each worker serves. Where one does not, all end, and nothing is left of them when
/// this returns, unless one of them stands still.
///
/// # Errors
/// [`StartError::Worker`]: the first that failed, and why.
pub(super) fn await_all(
    mut workers: Vec<Handle>,
    started: &Receiver<Started>,
) -> Result<Vec<Handle>, StartError> {
    let mut awaited: BTreeSet<usize> = (0..workers.len()).collect();
    while let Some(first) = awaited.first() {
        let (number, error) = match started.recv_timeout(START_TIMEOUT) {
            Ok(Started { number, serves: true }) => {
                awaited.remove(&number);
                continue;
            }
            Ok(Started { number, serves: false }) => (number, None),
            Err(_) => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "it did not start in time");
                (*first, Some(late))
            }
        };
        let ends = end_all(&mut workers);
        let ended = ends.into_iter().nth(number).flatten();
        let error = error.or(ended).unwrap_or_else(|| io::Error::other("it ended by itself"));
        return Err(StartError::Worker(number, error));
    }
    Ok(workers)
}

/// Ends workers and waits for that, but not for ever. Gives how each ended, if otherwise than it
/// was told to.
pub(super) fn end_all(workers: &mut [Handle]) -> Vec<Option<io::Error>> {
    workers.iter().for_each(|worker| {
        // Others may accept from the same sockets.
        worker.orders.hand_over();
        worker.orders.stop();
    });
    let end = Instant::now() + END_TIMEOUT;
    let is_left = |worker: &Handle| worker.thread.as_ref().is_some_and(|one| !one.is_finished());
    while workers.iter().any(is_left) && Instant::now() < end {
        pause();
    }
    let threads = workers.iter_mut().map(|worker| worker.thread.take_if(|one| one.is_finished()));
    threads.map(|thread| thread.and_then(|thread| how_it_ended(thread).err())).collect()
}

/// How a worker's thread ended.
pub(super) fn how_it_ended(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
}

#[expect(clippy::disallowed_methods, reason = "this is the control thread")]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// How long a worker may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one that is told to end at once is waited for.
const END_TIMEOUT: Duration = Duration::from_secs(2);
