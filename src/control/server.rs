//! A running server: its sockets, its workers, and their end.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use super::roster::Roster;
use crate::driver::kind::Kind;
use crate::metrics::WorkerMetrics;
use crate::tls::ServerTls;
use crate::worker::thread::{self, Recipe, Start};
use crate::worker::{Bounds, Orders, listener};

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where and how TLS is spoken, if it is.
    pub secure: Option<Secure>,
    /// One worker each, pinned to this CPU or roaming.
    pub cpus: Vec<Option<usize>>,
    /// The driver.
    pub driver: Kind,
    /// The bounds of each worker.
    pub bounds: Bounds,
}

/// Where and how a server speaks TLS.
#[derive(Clone, Debug)]
pub struct Secure {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Certificates and the rest.
    pub tls: ServerTls,
}

/// A server that runs.
pub struct Server {
    addresses: Vec<SocketAddr>,
    secure_addresses: Vec<SocketAddr>,
    workers: Vec<Handle>,
    cpus: Vec<Option<usize>>,
}

struct Handle {
    thread: Option<JoinHandle<io::Result<()>>>,
    metrics: Arc<WorkerMetrics>,
    orders: Arc<Orders>,
}

/// Why a server could not start: what failed, why, and what to do.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// A worker's thread or loop cannot be made.
    Worker(usize, io::Error),
}

impl Server {
    /// Starts a server: binds all sockets first, then starts the workers, and returns when each
    /// of them is serving.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start<R: Recipe>(plan: &Plan, recipe: R) -> Result<Self, StartError> {
        let (addresses, plain) = bind_all(&plan.listen, plan.cpus.len())?;
        let secure = plan.secure.as_ref();
        let secure_listen = secure.map_or(&[][..], |secure| &secure.listen);
        let (secure_addresses, secure_listeners) = bind_all(secure_listen, plan.cpus.len())?;
        let listeners = plain.into_iter().zip(secure_listeners);
        let recipe = Arc::new(recipe);
        let (ready, started) = mpsc::channel();
        let cpus = plan.cpus.clone();
        let mut server = Self { addresses, secure_addresses, workers: Vec::new(), cpus };
        for (number, (cpu, (listeners, secure_listeners))) in
            plan.cpus.iter().zip(listeners).enumerate()
        {
            let metrics = Arc::new(WorkerMetrics::default());
            let orders = Arc::new(Orders::default());
            let start = Start {
                number,
                cpu: *cpu,
                listeners,
                secure_listeners,
                tls: secure.map(|secure| secure.tls.clone()),
                bounds: plan.bounds.clone(),
                metrics: Arc::clone(&metrics),
                orders: Arc::clone(&orders),
                recipe: Arc::clone(&recipe),
                ready: ready.clone(),
            };
            let thread = thread::start(plan.driver, start)
                .map_err(|error| StartError::Worker(number, error))?;
            server.workers.push(Handle { thread: Some(thread), metrics, orders });
        }
        drop(ready);
        server.await_all(&started)?;
        Ok(server)
    }

    /// Where it listens, ports filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens with TLS, ports filled in.
    pub fn secure_addresses(&self) -> &[SocketAddr] {
        &self.secure_addresses
    }

    /// The counters of each worker.
    pub fn metrics(&self) -> impl Iterator<Item = &WorkerMetrics> {
        self.workers.iter().map(|worker| &*worker.metrics)
    }

    /// Says who works: at the start, and again whenever that has changed.
    pub fn report_to(&self, roster: &Roster) {
        for (number, (worker, cpu)) in self.workers.iter().zip(&self.cpus).enumerate() {
            roster.register(number, *cpu, &worker.metrics);
        }
    }

    /// Tells all workers to stop accepting and to finish what is in flight.
    pub fn drain(&self) {
        self.workers.iter().for_each(|worker| worker.orders.drain());
    }

    /// Tells all workers to end at once.
    pub fn stop(&self) {
        self.workers.iter().for_each(|worker| worker.orders.stop());
    }

    /// Whether a worker has ended.
    pub fn has_lost_a_worker(&self) -> bool {
        self.workers.iter().filter_map(|worker| worker.thread.as_ref()).any(|t| t.is_finished())
    }

    /// Whether all workers have ended.
    pub fn is_finished(&self) -> bool {
        let threads = self.workers.iter().filter_map(|worker| worker.thread.as_ref());
        threads.into_iter().all(|thread| thread.is_finished())
    }

    /// Waits for all workers to end.
    ///
    /// # Errors
    /// The first worker that ended otherwise than it was told to.
    pub fn join(mut self) -> Result<(), StartError> {
        let mut outcome = Ok(());
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let Some(thread) = worker.thread.take() else { continue };
            let result = thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            if let Err(error) = result
                && outcome.is_ok()
            {
                outcome = Err(StartError::Worker(number, error));
            }
        }
        outcome
    }

    fn await_all(&mut self, started: &Receiver<()>) -> Result<(), StartError> {
        for _ in 0..self.workers.len() {
            if started.recv_timeout(START_TIMEOUT).is_ok() {
                continue;
            }
            self.stop();
            for (number, worker) in self.workers.iter_mut().enumerate() {
                let failed = worker.thread.take_if(|thread| thread.is_finished());
                if let Some(Ok(Err(error))) = failed.map(JoinHandle::join) {
                    return Err(StartError::Worker(number, error));
                }
            }
            let error = io::Error::new(io::ErrorKind::TimedOut, "it did not start in time");
            return Err(StartError::Worker(0, error));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(address, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another process listens there: stop it, or choose another with --listen"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need CAP_NET_BIND_SERVICE (`setcap \
                         cap_net_bind_service=+ep ringpress`, or AmbientCapabilities= in the \
                         systemd unit); or choose another with --listen"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "no interface of this machine has that address: see `ip address`"
                    }
                    _ => "choose another address with --listen",
                };
                write!(f, "cannot listen on {address}: {error}; {remedy}")
            }
            StartError::Worker(number, error) => write!(f, "worker {number} failed: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// How long a worker may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The listening sockets of each worker, and their addresses with the ports filled in.
type Bound = (Vec<SocketAddr>, Vec<Vec<TcpListener>>);

fn bind_all(listen: &[SocketAddr], workers: usize) -> Result<Bound, StartError> {
    let mut addresses = Vec::new();
    let mut listeners: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for wanted in listen {
        let fail = |error| StartError::Listen(*wanted, error);
        await_free(*wanted).map_err(fail)?;
        let mut address = *wanted;
        for listeners in &mut listeners {
            let listener = listener::bind(address).map_err(fail)?;
            address = listener.local_addr().map_err(fail)?;
            listeners.push(listener);
        }
        addresses.push(address);
    }
    Ok((addresses, listeners))
}

/// Waits a little for an address that is taken: the kernel may still be taking apart the ring of a
/// server that was killed a moment ago, and with it the socket.
#[expect(clippy::disallowed_methods, reason = "this is the control thread, before anything serves")]
fn await_free(address: SocketAddr) -> io::Result<()> {
    for _ in 0..FREE_TRIES {
        match listener::is_free(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(FREE_PAUSE);
            }
            free_or_refused => return free_or_refused,
        }
    }
    listener::is_free(address)
}

/// How often, and after which pause, an address that is taken is tried again.
const FREE_TRIES: u32 = 10;
const FREE_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_one_port_that_nobody_else_gets() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (addresses, listeners) = bind_all(&[any], 3).unwrap();
        assert_ne!(addresses[0].port(), 0);
        for listeners in &listeners {
            assert_eq!(listeners[0].local_addr().unwrap(), addresses[0]);
        }
        let error = bind_all(&addresses, 1).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("another process listens there"), "{text}");
    }

    #[test]
    fn an_address_that_is_not_ours_says_so() {
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let text = bind_all(&[foreign], 1).unwrap_err().to_string();
        assert!(text.contains("no interface of this machine"), "{text}");
    }
}
