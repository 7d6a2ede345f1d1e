//! What comes from the sockets of a ring.
//!
//! The kernel has a receive of each connection that somebody reads from, and no memory for it: it
//! takes one of the ring's buffers when bytes come, from where they are copied to whoever reads. A
//! receive from a visitor is for as much as is asked for, once. One from an upstream goes on, as
//! one that ends must be asked for anew; what comes unasked is kept for the next read, and when
//! that is more than [`RING_UNREAD_BYTES_MAX`] the receive ends, until it has been read.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring_07::types::Fd;
use io_uring_07::{opcode, squeue};

use super::buffers::GROUP;
use super::operations::{Aside, keep, outcome};
use super::table::{Key, Table};
use crate::driver::inbound::Arrived;
use crate::limits::RING_UNREAD_BYTES_MAX;

/// The connections of a ring.
pub(super) struct Streams(Table<Stream>);

struct Stream {
    socket: Rc<OwnedFd>,
    /// Whether a receive goes on after it has brought something.
    goes_on: bool,
    /// Whether the kernel has a receive.
    is_armed: bool,
    /// Whether that was told to end.
    is_cancelled: bool,
    /// Whether nobody reads any more.
    is_closed: bool,
    /// How the stream has ended, if nobody was told.
    end: Option<i32>,
    reading: Option<Reading>,
    waker: Option<Waker>,
    /// What came and was not asked for, and how much of that was read.
    unread: Vec<u8>,
    read: usize,
}

/// A read that somebody waits for.
struct Reading {
    buffer: Vec<u8>,
    /// How long the buffer was before.
    before: usize,
    /// How long it may become.
    most: usize,
    result: Option<io::Result<usize>>,
}

/// What the kernel is to be told.
#[derive(Default)]
pub(super) struct Wants {
    /// A receive that is to begin.
    pub(super) receive: Option<squeue::Entry>,
    /// Whether the receive is to end.
    pub(super) cancel: bool,
}

impl Streams {
    pub(super) const fn new() -> Self {
        Self(Table::new())
    }

    /// A place for what comes from a socket.
    pub(super) fn open(&mut self, socket: Rc<OwnedFd>, goes_on: bool) -> Option<Key> {
        self.0.insert(Stream {
            socket,
            goes_on,
            is_armed: false,
            is_cancelled: false,
            is_closed: false,
            end: None,
            reading: None,
            waker: None,
            unread: Vec::new(),
            read: 0,
        })
    }

    /// Nobody reads from that any more.
    pub(super) fn close(&mut self, key: Key) -> (Wants, Aside) {
        let (mut wants, mut aside) = (Wants::default(), Aside::default());
        let Some(stream) = self.0.get_mut(key) else { return (wants, aside) };
        aside._waker = stream.waker.take();
        stream.reading = None;
        stream.unread = Vec::new();
        stream.is_closed = true;
        if stream.is_armed {
            wants.cancel = stream.cancels();
        } else {
            self.0.remove(key);
        }
        (wants, aside)
    }

    /// Begins to read behind what is in `buffer`, as much as that has room for, or `room` bytes.
    pub(super) fn read(&mut self, key: Key, mut buffer: Vec<u8>, room: usize) -> Wants {
        let Some(stream) = self.0.get_mut(key) else { return Wants::default() };
        let before = buffer.len();
        let most = match buffer.capacity() - before {
            0 => before.saturating_add(room.max(1)),
            spare => before + spare,
        };
        let mut result = None;
        if !stream.unread.is_empty() {
            buffer.reserve_exact(most - before);
            result = Some(Ok(stream.give(&mut buffer, most - before)));
        } else if let Some(end) = stream.end.take() {
            result = Some(outcome(end));
        }
        stream.reading = Some(Reading { buffer, before, most, result });
        Wants { receive: stream.arm(), cancel: false }
    }

    /// Whether the read is over: what came of it, and the buffer. Otherwise the task is woken then.
    pub(super) fn poll(
        &mut self,
        key: Key,
        context: &Context<'_>,
    ) -> (Poll<Arrived>, Option<Waker>) {
        let Some(stream) = self.0.get_mut(key) else { return (Poll::Pending, None) };
        match stream.reading.take_if(|reading| reading.result.is_some()) {
            Some(Reading { buffer, result: Some(result), .. }) => {
                (Poll::Ready((buffer, result)), None)
            }
            _ => (Poll::Pending, keep(&mut stream.waker, context)),
        }
    }

    /// Bytes have come.
    pub(super) fn arrived(&mut self, key: Key, bytes: &[u8]) {
        match self.0.get_mut(key) {
            Some(stream) if !stream.is_closed => stream.take_in(bytes),
            _ => {}
        }
    }

    /// The kernel has completed a receive, after its bytes were taken in; whether it goes on.
    pub(super) fn complete(&mut self, key: Key, result: i32, more: bool) -> (Wants, Aside) {
        let (mut wants, mut aside) = (Wants::default(), Aside::default());
        let Some(stream) = self.0.get_mut(key) else { return (wants, aside) };
        if !more {
            stream.is_armed = false;
            stream.is_cancelled = false;
            if stream.is_closed {
                self.0.remove(key);
                return (wants, aside);
            }
            let goes_on = match result {
                1.. => true,
                // All buffers are in use for the moment; or it was told to end, it or the one
                // before it.
                _ => matches!(-result, libc::ENOBUFS | libc::ECANCELED),
            };
            if !goes_on {
                stream.finish(result);
            }
        }
        if stream.reading.as_ref().is_some_and(|reading| reading.result.is_some()) {
            aside.woken = stream.waker.take();
        }
        wants.receive = stream.arm();
        if stream.is_armed && stream.unread.len() - stream.read > RING_UNREAD_BYTES_MAX {
            wants.cancel = stream.cancels();
        }
        (wants, aside)
    }

    /// Bytes that have come and nobody has read.
    #[cfg(test)]
    pub(super) fn unread_bytes(&mut self) -> usize {
        self.0.iter_mut().map(|(_, stream)| stream.unread.capacity()).sum()
    }

    /// Those of which the kernel has a receive.
    pub(super) fn under_way(&mut self) -> impl Iterator<Item = Key> {
        self.0.iter_mut().filter_map(|(key, stream)| stream.is_armed.then_some(key))
    }
}

impl Stream {
    /// The receive that the kernel is to begin, where somebody waits and there is none.
    fn arm(&mut self) -> Option<squeue::Entry> {
        let waits = self.reading.as_ref().filter(|reading| reading.result.is_none())?;
        if std::mem::replace(&mut self.is_armed, true) {
            return None;
        }
        let socket = Fd(self.socket.as_raw_fd());
        if self.goes_on {
            return Some(opcode::RecvMulti::new(socket, GROUP).build());
        }
        let most = u32::try_from(waits.most - waits.before).unwrap_or(u32::MAX);
        let receive = opcode::Recv::new(socket, std::ptr::null_mut(), most);
        // Mostly nothing is there yet: the kernel is to wait for it without looking first.
        let receive = receive.ioprio(POLL_FIRST).buf_group(GROUP).build();
        Some(receive.flags(squeue::Flags::BUFFER_SELECT))
    }

    /// Whether the receive is to be told that it ends: once.
    fn cancels(&mut self) -> bool {
        !std::mem::replace(&mut self.is_cancelled, true)
    }

    /// Appends what was not read yet, so many bytes at most; how many those are.
    fn give(&mut self, buffer: &mut Vec<u8>, most: usize) -> usize {
        let unread = self.unread.get(self.read..).unwrap_or_default();
        let now = unread.get(..most).unwrap_or(unread);
        let count = now.len();
        buffer.extend_from_slice(now);
        self.read += count;
        if self.read >= self.unread.len() {
            // Its memory goes, too: mostly nothing comes unasked.
            (self.unread, self.read) = (Vec::new(), 0);
        }
        count
    }

    fn take_in(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if self.unread.is_empty()
            && let Some(reading) = &mut self.reading
            && !matches!(reading.result, Some(Ok(0) | Err(_)))
        {
            rest = reading.take_in(bytes);
        }
        if !rest.is_empty() {
            self.unread.extend_from_slice(rest);
        }
    }

    fn finish(&mut self, result: i32) {
        match &mut self.reading {
            Some(reading) if reading.result.is_none() => reading.result = Some(outcome(result)),
            _ => self.end = Some(result),
        }
    }
}

impl Reading {
    /// Takes in what there is room for; gives the rest.
    fn take_in<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let count = bytes.len().min(self.most.saturating_sub(self.buffer.len()));
        let (now, rest) = bytes.split_at(count);
        if now.is_empty() {
            return rest;
        }
        if self.buffer.capacity() - self.buffer.len() < count {
            self.buffer.reserve_exact(self.most - self.buffer.len());
        }
        self.buffer.extend_from_slice(now);
        self.result = Some(Ok(self.buffer.len() - self.before));
        rest
    }
}

/// IORING_RECVSEND_POLL_FIRST.
const POLL_FIRST: u16 = 1;
