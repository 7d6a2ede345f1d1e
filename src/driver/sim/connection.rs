//! A connection: two ends, a pipe of bytes in each direction, and TCP's ways of ending.

#![expect(clippy::indexing_slicing, reason = "two ends, 0 and 1; and a range of a test")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::world::{Alarm, Event, World};
use crate::driver::{Read, Reader, Writer, tally};
use crate::limits::SIM_RESET_DELAY_MAX;

/// What both ends share.
pub(super) struct Connection {
    world: Rc<World>,
    id: u64,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    ends: [End; 2],
    /// What each end sent and its peer has not read.
    pipes: [Pipe; 2],
}

/// One end, as the kernel of its machine sees it.
#[derive(Default)]
struct End {
    halves_dropped: u8,
    /// When a reset gets here; everything fails from then on.
    reset_ns: Option<u64>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// When the last segment or the end arrives: the next one does not overtake it.
    last_ns: u64,
    end_ns: Option<u64>,
}

struct Segment {
    arrives_ns: u64,
    bytes: VecDeque<u8>,
}

impl Connection {
    /// A new connection: the halves of the end that asked for it, and of the one that listens.
    pub(super) fn open(world: &Rc<World>) -> [(ReadHalf, WriteHalf); 2] {
        let mut id = 0;
        world.count(|counts| {
            counts.connections += 1;
            counts.connections_open += 1;
            id = counts.connections;
        });
        world.note(Event::Connect, id, 0);
        let state = RefCell::default();
        let connection = Rc::new(Self { world: Rc::clone(world), id, state });
        [0, 1].map(|end| {
            let half = || Half { connection: Rc::clone(&connection), end };
            (ReadHalf(half()), WriteHalf(half()))
        })
    }

    /// Wakes who waits on either end.
    pub(super) fn wake(&self) {
        let mut state = self.state.borrow_mut();
        let wakers = state.ends.each_mut().map(|end| [end.reader.take(), end.writer.take()]);
        drop(state);
        wakers.into_iter().flatten().flatten().for_each(Waker::wake);
    }

    /// Wakes both ends when something arrives.
    fn wake_at(self: &Rc<Self>, at_ns: u64) {
        if at_ns <= self.world.now_ns() {
            self.wake();
        } else {
            self.world.alarm(at_ns, Alarm::Connection(Rc::clone(self)));
        }
    }

    fn poll_read(
        &self,
        end: usize,
        buffer: &mut Vec<u8>,
        room: usize,
        context: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let now_ns = self.world.now_ns();
        let mut state = self.state.borrow_mut();
        if state.ends[end].is_reset(now_ns) {
            return Poll::Ready(Err(io::Error::from_raw_os_error(ECONNRESET)));
        }
        let pipe = &mut state.pipes[1 - end];
        let arrived = pipe.arrived(now_ns);
        if arrived > 0 {
            if buffer.len() == buffer.capacity() {
                // A read of no bytes would look like the end.
                buffer.reserve_exact(room.max(1));
            }
            let count = self.cut(arrived.min(buffer.capacity() - buffer.len()));
            pipe.take(count, buffer);
            let writer = state.ends[1 - end].writer.take();
            drop(state);
            self.world.note(Event::Read, self.id, count as u64);
            self.world.count(|counts| counts.bytes += count as u64);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(count));
        }
        if pipe.end_ns.is_some_and(|at| at <= now_ns) {
            return Poll::Ready(Ok(0));
        }
        let stale = state.ends[end].reader.replace(context.waker().clone());
        drop(state);
        drop(stale);
        Poll::Pending
    }

    /// Sends what fits of `bytes`, and says how much that was.
    fn poll_write(
        self: &Rc<Self>,
        end: usize,
        bytes: &[u8],
        context: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        if state.ends[end].is_reset(self.world.now_ns()) {
            return Poll::Ready(Err(io::Error::from_raw_os_error(ECONNRESET)));
        }
        if state.pipes[end].end_ns.is_some() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(EPIPE)));
        }
        if state.ends[1 - end].is_closed() {
            // As in TCP, the first write after the peer has closed goes well, and is answered
            // with a reset.
            drop(state);
            self.reset(end, self.world.arrival_ns());
            return Poll::Ready(Ok(bytes.len()));
        }
        let free = self.world.faults.pipe_bytes.max(1).saturating_sub(state.pipes[end].bytes);
        if free == 0 {
            let stale = state.ends[end].writer.replace(context.waker().clone());
            drop(state);
            drop(stale);
            return Poll::Pending;
        }
        let count = self.cut(free.min(bytes.len()));
        let arrives_ns = state.pipes[end].give(&bytes[..count], self.world.arrival_ns());
        drop(state);
        self.world.note(Event::Write, self.id, count as u64);
        self.wake_at(arrives_ns);
        Poll::Ready(Ok(count))
    }

    /// Ends the stream from this end, behind all that was sent.
    fn shutdown(self: &Rc<Self>, end: usize) -> io::Result<()> {
        let now_ns = self.world.now_ns();
        let mut state = self.state.borrow_mut();
        if state.ends[end].is_reset(now_ns) {
            return Err(io::Error::from_raw_os_error(ENOTCONN));
        }
        if state.pipes[end].end_ns.is_some() {
            return Ok(());
        }
        let arrives_ns = state.pipes[end].finish(self.world.arrival_ns());
        drop(state);
        self.world.note(Event::End, self.id, end as u64);
        self.wake_at(arrives_ns);
        Ok(())
    }

    /// One half of an end is dropped. With the other gone as well, the end closes.
    fn drop_half(self: &Rc<Self>, end: usize) {
        let mut state = self.state.borrow_mut();
        state.ends[end].halves_dropped += 1;
        if !state.ends[end].is_closed() {
            return;
        }
        if state.ends[1 - end].is_closed() {
            self.world.count(|counts| counts.connections_open -= 1);
        }
        let now_ns = self.world.now_ns();
        if state.ends[end].is_reset(now_ns) {
            return;
        }
        let unread = std::mem::take(&mut state.pipes[1 - end].segments);
        state.pipes[1 - end].bytes = 0;
        drop(state);
        // Bytes that nobody read reset the peer at once, in place of an end. Those that are still
        // on their way do so when they get here, after the end.
        let reset_ns = unread.front().map(|segment| segment.arrives_ns);
        if reset_ns.is_none_or(|at| at > now_ns) {
            // It cannot fail: this end is not reset.
            self.shutdown(end).unwrap_or_default();
        }
        if let Some(at) = reset_ns {
            let way_ns = self.world.arrival_ns() - now_ns;
            self.reset(1 - end, at.max(now_ns).saturating_add(way_ns));
        }
    }

    /// A reset gets to `end` at that time, if none does before.
    fn reset(self: &Rc<Self>, end: usize, at_ns: u64) {
        let mut state = self.state.borrow_mut();
        let earlier = &mut state.ends[end].reset_ns;
        if earlier.is_some_and(|earlier| earlier <= at_ns) {
            return;
        }
        if earlier.replace(at_ns).is_none() {
            self.world.count(|counts| counts.resets += 1);
        }
        drop(state);
        self.world.note(Event::Reset, self.id, end as u64);
        self.wake_at(at_ns);
    }

    /// The fault of a reset, at a moment of its own and known to each end at another.
    fn maybe_reset(self: &Rc<Self>) {
        let world = &self.world;
        if !world.chance(world.faults.reset) {
            return;
        }
        // Half of them strike in the midst of what goes on, the others while all is idle.
        let soon = world.faults.latency_max;
        let longest = if world.chance(0.5) { soon } else { SIM_RESET_DELAY_MAX };
        let delay_ns = world.random_time_ns(longest);
        for end in [0, 1] {
            self.reset(end, world.arrival_ns().saturating_add(delay_ns));
        }
    }

    /// How much of `count` bytes, at least one, a read or a write moves.
    fn cut(&self, count: usize) -> usize {
        if count > 1 && self.world.chance(self.world.faults.split) {
            return 1 + self.world.random_below(count as u64) as usize;
        }
        count
    }
}

impl End {
    fn is_reset(&self, now_ns: u64) -> bool {
        self.reset_ns.is_some_and(|at| at <= now_ns)
    }

    fn is_closed(&self) -> bool {
        self.halves_dropped == 2
    }
}

impl Pipe {
    /// How many bytes can be read.
    fn arrived(&self, now_ns: u64) -> usize {
        let arrived = self.segments.iter().take_while(|segment| segment.arrives_ns <= now_ns);
        arrived.map(|segment| segment.bytes.len()).sum()
    }

    fn take(&mut self, mut count: usize, buffer: &mut Vec<u8>) {
        self.bytes -= count;
        while count > 0 {
            let Some(segment) = self.segments.front_mut() else { return };
            let part = count.min(segment.bytes.len());
            buffer.extend(segment.bytes.drain(..part));
            count -= part;
            if segment.bytes.is_empty() {
                self.segments.pop_front();
            }
        }
    }

    fn give(&mut self, bytes: &[u8], arrives_ns: u64) -> u64 {
        self.last_ns = self.last_ns.max(arrives_ns);
        self.bytes += bytes.len();
        let bytes = bytes.iter().copied().collect();
        self.segments.push_back(Segment { arrives_ns: self.last_ns, bytes });
        self.last_ns
    }

    fn finish(&mut self, arrives_ns: u64) -> u64 {
        self.last_ns = self.last_ns.max(arrives_ns);
        self.end_ns = Some(self.last_ns);
        self.last_ns
    }
}

/// A half of an end: the end closes when both are dropped.
struct Half {
    connection: Rc<Connection>,
    end: usize,
}

impl Drop for Half {
    fn drop(&mut self) {
        self.connection.drop_half(self.end);
    }
}

/// The read half of a simulated connection.
pub struct ReadHalf(Half);

impl Reader for ReadHalf {
    async fn read(self, mut buffer: Vec<u8>, room: usize) -> Read<Self> {
        let Half { connection, end } = &self.0;
        connection.maybe_reset();
        let read = poll_fn(|context| connection.poll_read(*end, &mut buffer, room, context));
        let result = tally::operation(read).await;
        Read { reader: self, buffer, result }
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadHalf").field(&self.0.connection.id).finish()
    }
}

/// The write half of a simulated connection.
pub struct WriteHalf(Half);

impl Writer for WriteHalf {
    async fn write_range(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> (io::Result<()>, Vec<u8>) {
        let Half { connection, end } = &self.0;
        connection.maybe_reset();
        let Range { start: mut sent, end: until } = range;
        while sent < until {
            let rest = &buffer[sent..until];
            let write = poll_fn(|context| connection.poll_write(*end, rest, context));
            match tally::operation(write).await {
                Ok(count) => sent += count,
                Err(error) => return (Err(error), buffer),
            }
            if sent < until {
                yield_once().await;
            }
        }
        (Ok(()), buffer)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.0.connection.shutdown(self.0.end)
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteHalf").field(&self.0.connection.id).finish()
    }
}

/// Lets other tasks see a write half done.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;
const ENOTCONN: i32 = 107;
