//! The ring of a loop: what is asked of the kernel, and what comes of it.
#![expect(unsafe_code, reason = "what is asked of the kernel is done behind the compiler's back")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use io_uring_07::types::{SubmitArgs, Timespec};
use io_uring_07::{IoUring, opcode, squeue};
use socket2::SockAddr;

use super::buffers::{Buffers, Filled};
use super::operations::{Aside, Finished, Operations};
use super::streams::Streams;
use super::table::{KEY_BITS, Key};
use crate::driver::inbound::Arrived;
use crate::limits::{RING_END_TIME, RING_ENTRIES};

/// A ring of this thread, and what is under way on it.
pub(super) struct Kernel {
    ring: IoUring,
    /// Which of this thread's rings it is.
    number: u64,
    buffers: Buffers,
    operations: Operations,
    streams: Streams,
    /// What found no place in the submission queue. There are two entries at most for each
    /// operation and each connection.
    backlog: VecDeque<squeue::Entry>,
}

/// What is under way on a ring: it is nothing on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    kernel: u64,
    key: Key,
}

/// How long to wait until something comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Not,
    For(Duration),
    Ever,
}

thread_local! {
    static RINGS: Cell<u64> = const { Cell::new(0) };
}

impl Kernel {
    /// Sets a ring up for the calling thread.
    ///
    /// # Errors
    /// When the kernel gives none, or is older than Linux 6.1 (`EINVAL`).
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(RING_ENTRIES * 4)
            .build(RING_ENTRIES)?;
        // Linux 6.1 has both.
        if !ring.params().is_feature_nodrop() || !ring.params().is_feature_ext_arg() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let buffers = Buffers::register(&ring.submitter())?;
        let number = RINGS.get();
        RINGS.set(number + 1);
        let (operations, streams) = (Operations::new(), Streams::new());
        Ok(Self { ring, number, buffers, operations, streams, backlog: VecDeque::new() })
    }

    /// Sends `buffer[range]`.
    pub(super) fn send(
        &mut self,
        socket: Rc<OwnedFd>,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> Option<Ticket> {
        let begun = self.operations.send(socket, buffer, range);
        self.begin(begun)
    }

    /// Accepts one connection.
    pub(super) fn accept(&mut self, socket: Rc<OwnedFd>) -> Option<Ticket> {
        let begun = self.operations.accept(socket);
        self.begin(begun)
    }

    /// Connects a socket.
    pub(super) fn connect(&mut self, socket: Rc<OwnedFd>, to: &SockAddr) -> Option<Ticket> {
        let begun = self.operations.connect(socket, to);
        self.begin(begun)
    }

    fn begin(&mut self, begun: Option<(Key, squeue::Entry)>) -> Option<Ticket> {
        let (key, entry) = begun?;
        self.push(entry.user_data(key.number()));
        Some(Ticket { kernel: self.number, key })
    }

    /// Whether an operation is over, and what has come of it.
    pub(super) fn poll(
        &mut self,
        ticket: Ticket,
        context: &Context<'_>,
    ) -> (Poll<Finished>, Aside) {
        if ticket.kernel != self.number {
            return (Poll::Pending, Aside::default());
        }
        self.operations.poll(ticket.key, context)
    }

    /// Nobody waits for that operation any more.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Aside {
        if ticket.kernel != self.number {
            return Aside::default();
        }
        let (is_under_way, aside) = self.operations.leave(ticket.key);
        if is_under_way {
            self.cancel(ticket.key.number());
        }
        aside
    }

    /// Has an operation end soon, with what it has done or with an error.
    pub(super) fn hurry(&mut self, ticket: Ticket) {
        if ticket.kernel == self.number {
            self.cancel(ticket.key.number());
        }
    }

    /// A place for what comes from a socket.
    pub(super) fn open(&mut self, socket: Rc<OwnedFd>) -> Option<Ticket> {
        Some(Ticket { kernel: self.number, key: self.streams.open(socket)? })
    }

    /// Nobody reads from that any more.
    pub(super) fn close(&mut self, ticket: Ticket) -> Aside {
        if ticket.kernel != self.number {
            return Aside::default();
        }
        let (is_under_way, aside) = self.streams.close(ticket.key);
        if is_under_way {
            self.cancel(RECEIVE | ticket.key.number());
        }
        aside
    }

    /// Begins to read behind what is in `buffer`, as much as that has room for, or `room` bytes.
    pub(super) fn read(&mut self, ticket: Ticket, buffer: Vec<u8>, room: usize) {
        if ticket.kernel == self.number {
            let receive = self.streams.read(ticket.key, buffer, room);
            self.receive(ticket.key, receive);
        }
    }

    /// Whether that read is over: what came of it, and the buffer. And what is to be dropped when
    /// the kernel is not borrowed any more.
    pub(super) fn poll_read(
        &mut self,
        ticket: Ticket,
        context: &Context<'_>,
    ) -> (Poll<Arrived>, Option<Waker>) {
        if ticket.kernel != self.number {
            return (Poll::Pending, None);
        }
        self.streams.poll(ticket.key, context)
    }

    fn receive(&mut self, key: Key, receive: Option<squeue::Entry>) {
        if let Some(receive) = receive {
            self.push(receive.user_data(RECEIVE | key.number()));
        }
    }

    fn cancel(&mut self, user_data: u64) {
        self.push(opcode::AsyncCancel::new(user_data).build().user_data(NOBODY));
    }

    /// Hands over what was asked for, and waits for what comes.
    ///
    /// # Errors
    /// The kernel's, of a ring that does not work any more.
    pub(super) fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.buffers.publish();
        while let Some(entry) = self.backlog.pop_front() {
            if let Some(entry) = self.offer(entry) {
                self.backlog.push_front(entry);
                break;
            }
        }
        let entered = match wait {
            Wait::Ever if self.backlog.is_empty() => self.ring.submit_and_wait(1),
            Wait::For(time) if self.backlog.is_empty() => {
                let time = Timespec::from(time);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
            _ => {
                let entries = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
                // SAFETY: there is no argument that the kernel would read.
                unsafe { self.ring.submitter().enter::<()>(entries, 0, GETEVENTS, None) }
            }
        };
        match entered {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// How many completions there are. What is taken meanwhile may bring more, for the next turn.
    pub(super) fn completions(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// Takes something that has come; none when there is nothing more.
    pub(super) fn take(&mut self) -> Option<Aside> {
        let entry = self.ring.completion().next()?;
        // SAFETY: the entry comes from the ring, and is asked once.
        let filled = unsafe { Filled::of(&entry) };
        let user_data = entry.user_data();
        let key = Key::of(user_data);
        if let Some(filled) = filled {
            let streams = &mut self.streams;
            self.buffers.consume(filled, |bytes| streams.arrived(key, bytes));
        }
        if user_data == NOBODY {
            return Some(Aside::default());
        }
        if user_data & RECEIVE == 0 {
            return Some(self.operations.complete(key, entry.result()));
        }
        let (receive, aside) = self.streams.complete(key, entry.result());
        self.receive(key, receive);
        Some(aside)
    }

    /// Ends all that is under way, and the ring. What does not end keeps its memory for ever, as
    /// the kernel may still work on that.
    pub(super) fn end(mut self) {
        let until = Instant::now() + RING_END_TIME;
        let operations: Vec<Key> = self.operations.under_way().collect();
        let streams: Vec<Key> = self.streams.under_way().collect();
        for key in operations {
            let _ = self.operations.leave(key);
            self.cancel(key.number());
        }
        for key in streams {
            let _ = self.streams.close(key);
            self.cancel(RECEIVE | key.number());
        }
        let mut worked = Ok(());
        while worked.is_ok() && self.is_busy() && Instant::now() < until {
            worked = self.turn(Wait::For(END_STEP));
            while self.take().is_some() {}
        }
        if self.is_busy() {
            mem::forget((self.buffers, self.operations, self.streams));
        }
    }

    fn is_busy(&mut self) -> bool {
        self.operations.under_way().next().is_some() || self.streams.under_way().next().is_some()
    }

    fn push(&mut self, entry: squeue::Entry) {
        // What came before goes before.
        if !self.backlog.is_empty() {
            return self.backlog.push_back(entry);
        }
        let Some(entry) = self.offer(entry) else { return };
        // What is handed over now may need what was given back.
        self.buffers.publish();
        // Without waiting: an error now is one at the turn, which tells it.
        let _ = self.ring.submit();
        if let Some(entry) = self.offer(entry) {
            self.backlog.push_back(entry);
        }
    }

    /// Puts an entry into the submission queue, or gives it back when that is full.
    fn offer(&mut self, entry: squeue::Entry) -> Option<squeue::Entry> {
        // SAFETY: what an entry points at is its operation's (see `operations`), and stays where it
        // is until the kernel has completed it; a receive goes into the ring's own buffers. Both
        // are kept for ever where that does not happen (see `end`). The socket is kept open.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.is_err().then_some(entry)
    }
}

fn is_passing(error: &io::Error) -> bool {
    // Interrupted, completions to be taken first, no memory for a moment, nothing in time.
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ETIME))
}

/// User data of what nobody waits for.
const NOBODY: u64 = u64::MAX;
/// User data of a receive has this bit.
const RECEIVE: u64 = 1 << KEY_BITS;
/// IORING_ENTER_GETEVENTS: with it the kernel also does what it has put off.
const GETEVENTS: u32 = 1;
/// How long a ring that ends waits at a time.
const END_STEP: Duration = Duration::from_millis(10);
