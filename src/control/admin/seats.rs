//! Who has a connection to the admin listener: so many at once. Whoever comes when all are taken
//! gets the place of who has asked for nothing for the longest time, a request that is not whole
//! being none; nobody is turned away for the sake of connections on which nothing is answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::socket::Stream;
use crate::limits::ADMIN_CONNECTIONS_MAX;

/// The places, in the order in which their connections were last seen to do something: the first
/// that is idle has been so for the longest time.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// The number of the next connection.
    next: u64,
    connections: Vec<Connection>,
}

/// A connection as others see it.
#[derive(Debug)]
struct Connection {
    number: u64,
    /// Whether it waits for the last byte of a request.
    is_idle: bool,
    /// What ends it.
    end: Stream,
}

/// The place of one connection, until dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    /// A place for a connection; none where all are taken by those that are being answered.
    pub(super) fn take(self: &Arc<Self>, stream: &Stream) -> Option<Seat> {
        // For want of descriptors there is no place either.
        let end = stream.again().ok()?;
        let mut taken = self.lock();
        if taken.connections.len() >= ADMIN_CONNECTIONS_MAX {
            let idle = taken.connections.iter().position(|one| one.is_idle)?;
            // Its thread wakes up, and finds that it has no place any more.
            taken.connections.remove(idle).end.end();
        }
        let number = taken.next;
        taken.next += 1;
        taken.connections.push(Connection { number, is_idle: true, end });
        Some(Seat { seats: Arc::clone(self), number })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Says whether it waits for a request; false where it has lost its place meanwhile.
    pub(super) fn keep(&self, is_idle: bool) -> bool {
        let mut taken = self.seats.lock();
        let connections = &mut taken.connections;
        let Some(at) = connections.iter().position(|one| one.number == self.number) else {
            return false;
        };
        // Who has just come, and waits, has done nothing yet: threads begin in any order.
        if connections.get(at).is_some_and(|one| one.is_idle != is_idle) {
            let connection = connections.remove(at);
            connections.push(Connection { is_idle, ..connection });
        }
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().connections.retain(|one| one.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Stream::Unix(ours), theirs)
    }

    #[test]
    fn whoever_has_been_idle_longest_makes_room() {
        let seats = Arc::new(Seats::default());
        let mut held: Vec<_> = (0..ADMIN_CONNECTIONS_MAX)
            .map(|_| {
                let (ours, theirs) = pair();
                (seats.take(&ours).unwrap(), ours, theirs)
            })
            .collect();
        // Their threads begin, the last one first.
        assert!(held.iter().rev().all(|(seat, ..)| seat.keep(true)));
        // The first is being answered, the second has been a moment ago.
        assert!(held[0].0.keep(false));
        assert!(held[1].0.keep(false) && held[1].0.keep(true));
        let (stream, _theirs) = pair();
        let late = seats.take(&stream).unwrap();
        let lost: Vec<usize> = (0..held.len()).filter(|at| !held[*at].0.keep(false)).collect();
        assert_eq!(lost, [2]);
        assert_eq!(held[2].2.read(&mut [0]).unwrap(), 0);
        // All are being answered now but who came last.
        let (stream, _theirs) = pair();
        let later = seats.take(&stream).unwrap();
        assert!(!late.keep(false) && later.keep(false));
        let (over, _theirs) = pair();
        assert!(seats.take(&over).is_none());
        held.truncate(1);
        assert!(seats.take(&over).is_some());
    }
}
