//! Looks the names of upstreams up, off the loop, and again when their answers have grown old.
//!
//! An answer outlives a name server that is away: an address that once answered is a better guess
//! than none.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::limits;
use crate::upstream::{Addresses, Directory};

use super::names::Names;

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
    /// Its addresses, where they are known and not to be looked up.
    pub addresses: Vec<SocketAddr>,
}

/// A name, and when it is due.
struct Watched {
    name: Name,
    /// Its place in the directory.
    index: usize,
    due: Instant,
    failing: bool,
}

impl Resolver {
    /// Looks all names up once, then starts the thread that looks them up again. A name that
    /// cannot be found is logged, and no reason not to start: its pages answer 502 until it is.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(names: Vec<Name>) -> io::Result<(Self, Directory)> {
        Self::start_with(names, Names::of_system())
    }

    /// The same, with names looked up elsewhere than this system would.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start_with(names: Vec<Name>, sources: Names) -> io::Result<(Self, Directory)> {
        let directory: Directory =
            names.iter().map(|name| Addresses::new(name.addresses.clone())).collect();
        let mut watched = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            if !name.addresses.is_empty() {
                continue;
            }
            let is_address = name.host.parse::<IpAddr>().is_ok();
            let mut one = Watched { name, index, due: Instant::now(), failing: false };
            one.look_up(&sources, &directory);
            if !is_address {
                watched.push(one);
            }
        }
        if watched.is_empty() {
            return Ok((Self { stop: None, thread: None }, directory));
        }
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(&directory);
        let thread = std::thread::Builder::new()
            .name("resolver".into())
            .spawn(move || watch(watched, &sources, &shared, &stopped))?;
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

/// Looks each name up when it is due, until told to stop.
fn watch(
    mut watched: Vec<Watched>,
    sources: &Names,
    directory: &Directory,
    stopped: &Receiver<()>,
) {
    while let Some(next) = watched.iter_mut().min_by_key(|one| one.due) {
        let wait = next.due.saturating_duration_since(Instant::now());
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        next.look_up(sources, directory);
    }
}

impl Watched {
    fn look_up(&mut self, sources: &Names, directory: &Directory) {
        let host = self.name.host.as_str();
        let again_in = match sources.look_up(host, self.name.port) {
            Ok(found) => {
                if std::mem::replace(&mut self.failing, false) {
                    tracing::info!(host, "the upstream's name is found again");
                }
                if let Some(addresses) = directory.get(self.index) {
                    addresses.set(found.addresses);
                }
                found.again_in
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        host,
                        %error,
                        "cannot find the upstream's name; until it is found again it has the \
                         addresses it had, if any"
                    );
                }
                sources.ttl_min
            }
        };
        self.due = Instant::now() + again_in.max(SHORTEST_WAIT);
    }
}

/// A name server that says that its answers hold for no time is not to keep a thread busy.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const _: () = assert!(SHORTEST_WAIT.as_millis() <= limits::DNS_TTL_MIN.as_millis());

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    fn name(host: &str, port: u16) -> Name {
        Name { host: host.into(), port, addresses: Vec::new() }
    }

    #[test]
    fn an_address_needs_no_name_server_and_a_bad_name_is_no_reason_not_to_start() {
        let known: Vec<SocketAddr> = vec!["192.0.2.9:80".parse().unwrap()];
        let names = vec![
            name("127.0.0.1", 9000),
            name("::1", 9001),
            name("no-such-host.invalid", 80),
            Name { addresses: known.clone(), ..name("no-such-host.invalid", 80) },
        ];
        let (_resolver, directory) = Resolver::start(names).unwrap();
        assert_eq!(*directory[0].now(), ["127.0.0.1:9000".parse().unwrap()]);
        assert_eq!(*directory[1].now(), ["[::1]:9001".parse().unwrap()]);
        assert!(directory[2].now().is_empty());
        assert_eq!(*directory[3].now(), known);
    }

    /// A name server for one name: its address ends in `last`; 0 for no answer at all. Counts
    /// questions for IPv4 addresses.
    fn name_server(ttl: u8, last: Arc<AtomicU8>, asked: Arc<AtomicUsize>) -> SocketAddr {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let last = last.load(Ordering::Relaxed);
                let mut message = buffer[..length].to_vec();
                let is_a = message[length - 3] == 1;
                (message[2], message[3]) = (0x81, 0x80);
                asked.fetch_add(usize::from(is_a), Ordering::Relaxed);
                if is_a {
                    message[7] = 1;
                    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4, 127, 0, 0, last]);
                }
                if last > 0 {
                    socket.send_to(&message, from).unwrap();
                }
            }
        });
        address
    }

    fn sources(server: SocketAddr) -> Names {
        Names {
            servers: vec![server],
            timeout: Duration::from_millis(100),
            ttl_min: Duration::from_millis(20),
            hosts: BTreeSet::new(),
            dots_min: 1,
        }
    }

    #[track_caller]
    fn wait_for(mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
            #[expect(clippy::disallowed_methods, reason = "a test may block")]
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn answers_are_asked_for_again_when_they_are_old_and_outlive_their_name_server() {
        let (last, asked) = (Arc::new(AtomicU8::new(1)), Arc::new(AtomicUsize::new(0)));
        let server = name_server(0, Arc::clone(&last), Arc::clone(&asked));
        // A name that no system knows, should it be asked.
        let names = vec![name("Api.ringpress.invalid", 80)];
        let (resolver, directory) = Resolver::start_with(names, sources(server)).unwrap();
        let at = |last: u8| SocketAddr::from(([127, 0, 0, last], 80));
        assert_eq!(*directory[0].now(), [at(1)]);
        last.store(2, Ordering::Relaxed);
        wait_for(|| *directory[0].now() == [at(2)]);
        last.store(0, Ordering::Relaxed);
        let before = asked.load(Ordering::Relaxed);
        wait_for(|| asked.load(Ordering::Relaxed) >= before + 2);
        assert_eq!(*directory[0].now(), [at(2)]);
        last.store(3, Ordering::Relaxed);
        wait_for(|| *directory[0].now() == [at(3)]);
        drop(resolver);
    }

    #[test]
    fn an_answer_holds_for_its_time() {
        let (last, asked) = (Arc::new(AtomicU8::new(1)), Arc::new(AtomicUsize::new(0)));
        let server = name_server(200, last, Arc::clone(&asked));
        let found = sources(server).look_up("api.ringpress.invalid", 80).unwrap();
        assert_eq!(found.again_in, Duration::from_secs(200));
        let long = Names { ttl_min: Duration::from_secs(250), ..sources(server) };
        let found = long.look_up("api.ringpress.invalid", 80).unwrap();
        assert_eq!(found.again_in, Duration::from_secs(250));
    }
}
