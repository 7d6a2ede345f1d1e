//! What comes from the sockets of a ring.
//!
//! The kernel has a receive of each connection that somebody reads from, and no memory for it: it
//! takes one of the ring's buffers when bytes come, from where they are copied to whoever reads.
//! A receive is for as much as is asked for, once, so that nothing comes unasked.
//!
//! One that goes on (multishot) would spare a request each time. It was tried, with Linux 6.18:
//! of answers of megabytes that a reset cut off one in eight never came to its end, though the
//! kernel still had the receive; why was not found.

use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring_07::types::Fd;
use io_uring_07::{opcode, squeue};

use super::buffers::GROUP;
use super::operations::{Aside, keep, outcome};
use super::table::{Key, Table};
use crate::driver::inbound::Arrived;

/// The connections of a ring.
pub(super) struct Streams(Table<Stream>);

struct Stream {
    socket: Rc<OwnedFd>,
    /// Whether the kernel has a receive.
    is_armed: bool,
    /// Whether nobody reads any more.
    is_closed: bool,
    reading: Option<Reading>,
    waker: Option<Waker>,
}

/// A read that somebody waits for.
struct Reading {
    buffer: Vec<u8>,
    /// How much may be read.
    most: usize,
    /// What has come of it, as a system call gives it.
    result: Option<i32>,
}

impl Streams {
    pub(super) const fn new() -> Self {
        Self(Table::new())
    }

    /// A place for what comes from a socket.
    pub(super) fn open(&mut self, socket: Rc<OwnedFd>) -> Option<Key> {
        let (is_armed, is_closed) = (false, false);
        self.0.insert(Stream { socket, is_armed, is_closed, reading: None, waker: None })
    }

    /// Nobody reads from that any more. Says whether the kernel still has a receive.
    pub(super) fn close(&mut self, key: Key) -> (bool, Aside) {
        let mut aside = Aside::default();
        let Some(stream) = self.0.get_mut(key) else { return (false, aside) };
        aside._waker = stream.waker.take();
        stream.reading = None;
        stream.is_closed = true;
        let is_armed = stream.is_armed;
        if !is_armed {
            self.0.remove(key);
        }
        (is_armed, aside)
    }

    /// Begins to read behind what is in `buffer`, as much as that has room for, or `room` bytes:
    /// with this receive.
    pub(super) fn read(&mut self, key: Key, buffer: Vec<u8>, room: usize) -> Option<squeue::Entry> {
        let stream = self.0.get_mut(key)?;
        let most = match buffer.capacity() - buffer.len() {
            0 => room.max(1),
            spare => spare,
        };
        stream.reading = Some(Reading { buffer, most, result: None });
        stream.arm()
    }

    /// Whether the read is over: what came of it. Otherwise the task is woken then. And a waker
    /// that is to be dropped later.
    pub(super) fn poll(
        &mut self,
        key: Key,
        context: &Context<'_>,
    ) -> (Poll<Arrived>, Option<Waker>) {
        let Some(stream) = self.0.get_mut(key) else { return (Poll::Pending, None) };
        match stream.reading.take_if(|reading| reading.result.is_some()) {
            Some(Reading { buffer, result: Some(result), .. }) => {
                (Poll::Ready((buffer, outcome(result))), None)
            }
            _ => (Poll::Pending, keep(&mut stream.waker, context)),
        }
    }

    /// Bytes have come.
    pub(super) fn arrived(&mut self, key: Key, bytes: &[u8]) {
        if let Some(reading) = self.0.get_mut(key).and_then(|stream| stream.reading.as_mut()) {
            // The receive was for no more.
            let bytes = bytes.get(..reading.most).unwrap_or(bytes);
            if reading.buffer.capacity() - reading.buffer.len() < bytes.len() {
                reading.buffer.reserve_exact(reading.most);
            }
            reading.buffer.extend_from_slice(bytes);
        }
    }

    /// The kernel has completed a receive, after its bytes were taken in. There may be another one.
    pub(super) fn complete(&mut self, key: Key, result: i32) -> (Option<squeue::Entry>, Aside) {
        let mut aside = Aside::default();
        let Some(stream) = self.0.get_mut(key) else { return (None, aside) };
        stream.is_armed = false;
        if stream.is_closed {
            self.0.remove(key);
            return (None, aside);
        }
        // All buffers are in use for the moment.
        if result == -libc::ENOBUFS {
            return (stream.arm(), aside);
        }
        if let Some(reading) = &mut stream.reading {
            reading.result = Some(result);
        }
        aside.woken = stream.waker.take();
        (None, aside)
    }

    /// Those of which the kernel has a receive.
    pub(super) fn under_way(&mut self) -> impl Iterator<Item = Key> {
        self.0.iter_mut().filter_map(|(key, stream)| stream.is_armed.then_some(key))
    }
}

impl Stream {
    /// The receive for the read that somebody waits for, unless the kernel has it.
    fn arm(&mut self) -> Option<squeue::Entry> {
        let most = u32::try_from(self.reading.as_ref()?.most).unwrap_or(u32::MAX);
        if std::mem::replace(&mut self.is_armed, true) {
            return None;
        }
        let socket = Fd(self.socket.as_raw_fd());
        let receive = opcode::Recv::new(socket, std::ptr::null_mut(), most);
        // Mostly nothing is there yet: the kernel is to wait for it without looking first.
        let receive = receive.ioprio(POLL_FIRST).buf_group(GROUP).build();
        Some(receive.flags(squeue::Flags::BUFFER_SELECT))
    }
}

/// IORING_RECVSEND_POLL_FIRST.
const POLL_FIRST: u16 = 1;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_receive_that_finds_no_buffer_is_asked_for_again() {
        let (socket, _far) = UnixStream::pair().unwrap();
        let mut streams = Streams::new();
        let key = streams.open(Rc::new(socket.into())).unwrap();
        let context = Context::from_waker(Waker::noop());
        assert!(streams.read(key, b"be".to_vec(), 10).is_some());
        for _ in 0..3 {
            let (again, aside) = streams.complete(key, -libc::ENOBUFS);
            assert!(again.is_some() && aside.woken.is_none());
            assert!(streams.poll(key, &context).0.is_pending());
        }
        streams.arrived(key, b"fore");
        assert!(streams.complete(key, 4).1.woken.is_some());
        let Poll::Ready((buffer, result)) = streams.poll(key, &context).0 else { panic!() };
        assert_eq!((&buffer[..], result.unwrap()), (&b"before"[..], 4));
    }
}
