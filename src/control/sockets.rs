//! The listening sockets of a server. The control side keeps a descriptor of each, so that they
//! outlive the workers that accept from them: a worker that comes after another, here or in another
//! process, finds those who connected meanwhile.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::SockRef;

use crate::worker::listener;

use super::server::StartError;

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP.
    Plain,
    /// HTTP over TLS.
    Secure,
}

/// A socket that somebody else has opened for us.
#[derive(Debug)]
pub struct Inherited {
    /// What its owner spoke on it, and where it was told to listen; none where that is to be seen
    /// from the socket itself.
    pub role: Option<(Speech, SocketAddr)>,
    /// The socket.
    pub socket: TcpListener,
}

/// The listening sockets of a server.
#[derive(Debug, Default)]
pub struct Sockets {
    places: Vec<Place>,
}

/// One address, and the sockets there.
#[derive(Debug)]
struct Place {
    speech: Speech,
    /// As it was asked for: the port may be 0.
    wanted: SocketAddr,
    address: SocketAddr,
    sockets: Vec<TcpListener>,
}

/// Sockets that nobody is to connect to any more.
#[derive(Debug)]
pub struct Unwanted(Vec<Inherited>);

impl Unwanted {
    /// Ends them, for all who accept from them.
    pub fn end(self) {
        for Inherited { socket, .. } in self.0 {
            // An error means that it was not listening any more.
            let _ = SockRef::from(&socket).shutdown(Shutdown::Both);
        }
    }
}

/// The sockets that one worker accepts from.
#[derive(Debug, Default)]
pub struct Share {
    /// Without TLS.
    pub plain: Vec<TcpListener>,
    /// With.
    pub secure: Vec<TcpListener>,
}

impl Sockets {
    /// Listens at these addresses, with a socket for each of so many workers. Sockets that are
    /// there already are taken out of `inherited`; what is left there is of no use.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn open(
        wanted: &[(Speech, SocketAddr)],
        workers: usize,
        inherited: &mut Vec<Inherited>,
    ) -> Result<Self, StartError> {
        let mut places = Vec::with_capacity(wanted.len());
        for (speech, address) in wanted {
            let place = Place::open(*speech, *address, workers, inherited);
            places.push(place.map_err(|error| StartError::Listen(*address, error))?);
        }
        Ok(Self { places })
    }

    /// The same sockets where they are wanted still, and others beside them; and those of addresses
    /// that are not wanted any more, which are to end when the others serve.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn changed(
        &self,
        wanted: &[(Speech, SocketAddr)],
        workers: usize,
    ) -> Result<(Self, Unwanted), StartError> {
        let mut copies = Vec::new();
        for (speech, address, socket) in self.iter() {
            let socket = socket.try_clone().map_err(|error| StartError::Listen(address, error))?;
            copies.push(Inherited { role: Some((speech, address)), socket });
        }
        let new = Self::open(wanted, workers, &mut copies)?;
        Ok((new, Unwanted(copies)))
    }

    /// Where it listens, ports filled in.
    pub fn addresses(&self, speech: Speech) -> impl Iterator<Item = SocketAddr> {
        self.places.iter().filter(move |place| place.speech == speech).map(|place| place.address)
    }

    /// What worker `number` of `of` accepts from. All sockets have somebody: those who wait at one
    /// that nobody accepts from would wait for ever.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn share(&self, number: usize, of: usize) -> io::Result<Share> {
        let mut share = Share::default();
        for place in &self.places {
            let into = match place.speech {
                Speech::Plain => &mut share.plain,
                Speech::Secure => &mut share.secure,
            };
            let (count, of) = (place.sockets.len(), of.max(1));
            for (index, socket) in place.sockets.iter().enumerate() {
                // Fewer sockets than workers: several accept from one.
                if index % of == number || (number >= count && index == number % count.max(1)) {
                    into.push(socket.try_clone()?);
                }
            }
        }
        Ok(share)
    }

    /// Has each visitor go to the worker on whose CPU their packets come in (SO_INCOMING_CPU), or
    /// not any more. Whether that was possible: only where each worker has a socket of its own.
    pub fn steer(&self, cpus: &[Option<usize>], is_on: bool) -> bool {
        let mut is_possible = true;
        for place in &self.places {
            let fits = place.sockets.len() == cpus.len();
            for (index, socket) in place.sockets.iter().enumerate() {
                let cpu = cpus.get(index).copied().flatten().filter(|_| is_on && fits);
                // The kernel takes -1 for none.
                let steered = SockRef::from(socket).set_cpu_affinity(cpu.unwrap_or(usize::MAX));
                is_possible &= steered.is_ok() && cpu.is_some();
            }
        }
        is_possible
    }

    /// Each socket, what is spoken on it, and where it was told to listen.
    pub fn iter(&self) -> impl Iterator<Item = (Speech, SocketAddr, &TcpListener)> {
        self.places.iter().flat_map(|place| {
            place.sockets.iter().map(|socket| (place.speech, place.wanted, socket))
        })
    }
}

impl Place {
    fn open(
        speech: Speech,
        wanted: SocketAddr,
        workers: usize,
        inherited: &mut Vec<Inherited>,
    ) -> io::Result<Self> {
        let is_ours = |one: &mut Inherited| match one.role {
            Some(role) => role == (speech, wanted),
            None => one.socket.local_addr().is_ok_and(|address| address == wanted),
        };
        let mut sockets: Vec<TcpListener> =
            inherited.extract_if(.., is_ours).map(|one| one.socket).collect();
        let are_inherited = !sockets.is_empty();
        let address = match sockets.first() {
            Some(first) => first.local_addr()?,
            None => {
                await_free(wanted)?;
                let first = listener::bind(wanted)?;
                let address = first.local_addr()?;
                sockets.push(first);
                address
            }
        };
        // Accepted connections inherit it.
        sockets.iter().try_for_each(|socket| SockRef::from(socket).set_tcp_nodelay(true))?;
        // One that somebody else has opened for itself alone is shared by all workers.
        let is_alone = !sockets.iter().all(|one| SockRef::from(one).reuse_port().unwrap_or(false));
        while sockets.len() < workers && !is_alone {
            match listener::bind(address) {
                Ok(socket) => sockets.push(socket),
                Err(error) if are_inherited && belongs_to_another(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if sockets.len() < workers {
            let sockets = sockets.len();
            tracing::info!(%address, sockets, workers, "several workers accept from one socket");
        }
        Ok(Self { speech, wanted, address, sockets })
    }
}

/// Whether no socket can be added to those of an address, as they are another user's, such as
/// systemd's.
fn belongs_to_another(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// Waits a little for an address that is taken: the kernel may still be taking apart the ring of a
/// server that was killed a moment ago, and with it the socket.
#[expect(clippy::disallowed_methods, reason = "this is the control thread")]
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
#[expect(clippy::disallowed_methods, reason = "a test may block")]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn open(wanted: SocketAddr, workers: usize, inherited: &mut Vec<Inherited>) -> Sockets {
        Sockets::open(&[(Speech::Plain, wanted)], workers, inherited).unwrap()
    }

    fn counts(sockets: &Sockets, of: usize) -> Vec<usize> {
        (0..of).map(|number| sockets.share(number, of).unwrap().plain.len()).collect()
    }

    #[test]
    fn workers_share_one_port_that_nobody_else_gets() {
        let sockets = open(any(), 3, &mut Vec::new());
        let address = sockets.addresses(Speech::Plain).next().unwrap();
        assert_ne!(address.port(), 0);
        assert!(sockets.iter().all(|(.., socket)| socket.local_addr().unwrap() == address));
        let error = Sockets::open(&[(Speech::Plain, address)], 1, &mut Vec::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("somebody listens there"), "{text}");
    }

    #[test]
    fn an_address_that_is_not_ours_says_so() {
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = Sockets::open(&[(Speech::Plain, foreign)], 1, &mut Vec::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no interface of this machine"), "{text}");
    }

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        let sockets = open(any(), 4, &mut Vec::new());
        assert_eq!(counts(&sockets, 4), [1, 1, 1, 1]);
        assert_eq!(counts(&sockets, 3), [2, 1, 1]);
        assert_eq!(counts(&sockets, 6), [1; 6]);
    }

    #[test]
    fn visitors_are_steered_to_cpus_and_not_any_more() {
        let sockets = open(any(), 2, &mut Vec::new());
        let cpus = || -> Vec<Option<usize>> {
            let cpu = |socket| SockRef::from(socket).cpu_affinity().ok();
            sockets.iter().map(|(.., socket)| cpu(socket)).collect()
        };
        let before = cpus();
        assert!(sockets.steer(&[Some(1), Some(0)], true));
        assert_eq!(cpus(), [Some(1), Some(0)]);
        sockets.steer(&[Some(1), Some(0)], false);
        assert_eq!(cpus(), before);
        // More workers than sockets: they are shared.
        assert!(!sockets.steer(&[Some(0), Some(1), Some(2)], true));
        assert_eq!(cpus(), before);
    }

    #[test]
    fn inherited_sockets_are_used_and_others_are_added() {
        let before = open(any(), 2, &mut Vec::new());
        let address = before.addresses(Speech::Plain).next().unwrap();
        let hand = |role| {
            let copies = before.iter().map(|(.., socket)| socket.try_clone().unwrap());
            copies.map(|socket| Inherited { role, socket }).collect::<Vec<_>>()
        };
        let mut inherited = hand(Some((Speech::Plain, any())));
        let after = open(any(), 3, &mut inherited);
        assert!(inherited.is_empty());
        assert_eq!(after.addresses(Speech::Plain).collect::<Vec<_>>(), [address]);
        assert_eq!(counts(&after, 3), [1; 3]);
        // By their address, where their role is not known.
        let mut inherited = hand(None);
        let again = open(address, 2, &mut inherited);
        assert!(inherited.is_empty() && counts(&again, 2) == [1, 1]);
        // What is spoken there differs: it is not ours.
        let mut others = hand(Some((Speech::Secure, any())));
        assert_eq!(counts(&open(any(), 1, &mut others), 1), [1]);
        assert_eq!(others.len(), 2);
    }

    #[test]
    fn a_socket_that_is_for_one_alone_is_shared() {
        let socket = TcpListener::bind(any()).unwrap();
        let address = socket.local_addr().unwrap();
        let sockets = open(address, 3, &mut vec![Inherited { role: None, socket }]);
        assert_eq!(counts(&sockets, 3), [1, 1, 1]);
        assert_eq!(sockets.iter().count(), 1);
    }

    #[test]
    fn an_address_that_is_not_wanted_any_more_ends() {
        let sockets = open(any(), 2, &mut Vec::new());
        let address = |sockets: &Sockets| sockets.addresses(Speech::Plain).next().unwrap();
        let (same, unwanted) = sockets.changed(&[(Speech::Plain, any())], 2).unwrap();
        unwanted.end();
        assert_eq!(address(&same), address(&sockets));
        assert!(std::net::TcpStream::connect(address(&same)).is_ok());
        let other = SocketAddr::from(([127, 0, 0, 2], 0));
        let (new, unwanted) = sockets.changed(&[(Speech::Plain, other)], 2).unwrap();
        unwanted.end();
        assert_eq!(new.iter().count(), 2);
        assert!(std::net::TcpStream::connect(address(&same)).is_err());
    }
}
