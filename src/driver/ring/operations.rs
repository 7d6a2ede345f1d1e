//! Sends, accepts and connects that are under way, and all that the kernel works on meanwhile.
//!
//! An operation owns the socket, the bytes and the address until it is over. Whoever began it may
//! leave; it is then cancelled, and what it owns is kept until the kernel says that it is done
//! with it. So nothing that the kernel may still read or write is anybody else's.
#![expect(unsafe_code, reason = "descriptors and addresses that the kernel has made")]

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring_07::types::Fd;
use io_uring_07::{opcode, squeue};
use socket2::{SockAddr, SockAddrStorage};

use super::table::{Key, Table};

/// Those of a ring.
pub(super) struct Operations(Table<Operation>);

struct Operation {
    kind: Kind,
    state: State,
    /// Kept open, so that the kernel finds no other one under its number.
    _socket: Rc<OwnedFd>,
    /// What is sent.
    buffer: Vec<u8>,
    address: Option<Box<Address>>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Send,
    Accept,
    Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The kernel has it, and somebody waits for it.
    Awaited,
    /// The kernel has it, and nobody waits.
    Left,
    /// It is over, with this result.
    Over(i32),
}

/// Where the kernel reads an address, or writes one.
struct Address {
    storage: SockAddrStorage,
    length: libc::socklen_t,
}

/// An operation that is over.
pub(super) struct Finished {
    /// What the system call would have returned.
    pub(super) result: io::Result<usize>,
    /// What was to be sent.
    pub(super) buffer: Vec<u8>,
    /// Who was accepted.
    pub(super) accepted: Option<Box<(OwnedFd, SockAddr)>>,
}

/// What is to be dropped, or woken, once the kernel is not borrowed any more: both may lead back
/// here.
#[derive(Default)]
pub(super) struct Aside {
    /// Who is to be woken.
    pub(super) woken: Option<Waker>,
    pub(super) _waker: Option<Waker>,
    pub(super) _finished: Option<Finished>,
}

impl Operations {
    pub(super) const fn new() -> Self {
        Self(Table::new())
    }

    /// Sends `buffer[range]`; what is sent may be less than all.
    pub(super) fn send(
        &mut self,
        socket: Rc<OwnedFd>,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> Option<(Key, squeue::Entry)> {
        let bytes = buffer.get(range).unwrap_or_default();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // The kernel itself goes on where the socket takes less than all.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = opcode::Send::new(fd(&socket), bytes.as_ptr(), length).flags(flags).build();
        Some((self.begin(Kind::Send, socket, buffer, None)?, send))
    }

    /// Accepts one connection.
    pub(super) fn accept(&mut self, socket: Rc<OwnedFd>) -> Option<(Key, squeue::Entry)> {
        let storage = SockAddrStorage::zeroed();
        let mut address = Box::new(Address { length: storage.size_of(), storage });
        let (storage, length) = (&raw mut address.storage, &raw mut address.length);
        let accept = opcode::Accept::new(fd(&socket), storage.cast(), length);
        let accept = accept.flags(libc::SOCK_CLOEXEC).build();
        Some((self.begin(Kind::Accept, socket, Vec::new(), Some(address))?, accept))
    }

    /// Connects a socket.
    pub(super) fn connect(
        &mut self,
        socket: Rc<OwnedFd>,
        to: &SockAddr,
    ) -> Option<(Key, squeue::Entry)> {
        let address = Box::new(Address { storage: to.clone().as_storage(), length: to.len() });
        let storage = &raw const address.storage;
        let connect = opcode::Connect::new(fd(&socket), storage.cast(), address.length).build();
        Some((self.begin(Kind::Connect, socket, Vec::new(), Some(address))?, connect))
    }

    /// Takes an operation in. That its bytes and its address are moved with it moves none of the
    /// memory that the kernel is told of, which is on the heap.
    fn begin(
        &mut self,
        kind: Kind,
        socket: Rc<OwnedFd>,
        buffer: Vec<u8>,
        address: Option<Box<Address>>,
    ) -> Option<Key> {
        let state = State::Awaited;
        self.0.insert(Operation { kind, state, _socket: socket, buffer, address, waker: None })
    }

    /// Whether an operation is over, and what has come of it; otherwise the task is woken then.
    pub(super) fn poll(&mut self, key: Key, context: &Context<'_>) -> (Poll<Finished>, Aside) {
        let mut aside = Aside::default();
        let Some(operation) = self.0.get_mut(key) else { return (Poll::Pending, aside) };
        let State::Over(result) = operation.state else {
            aside._waker = keep(&mut operation.waker, context);
            return (Poll::Pending, aside);
        };
        match self.0.remove(key) {
            Some(operation) => (Poll::Ready(operation.finish(result)), aside),
            None => (Poll::Pending, aside),
        }
    }

    /// Nobody waits for that operation any more. Says whether the kernel still has it.
    pub(super) fn leave(&mut self, key: Key) -> (bool, Aside) {
        let mut aside = Aside::default();
        let Some(operation) = self.0.get_mut(key) else { return (false, aside) };
        aside._waker = operation.waker.take();
        match operation.state {
            State::Awaited | State::Left => {
                operation.state = State::Left;
                (true, aside)
            }
            State::Over(result) => {
                aside._finished = self.0.remove(key).map(|operation| operation.finish(result));
                (false, aside)
            }
        }
    }

    /// The kernel is done with an operation.
    pub(super) fn complete(&mut self, key: Key, result: i32) -> Aside {
        let mut aside = Aside::default();
        let Some(operation) = self.0.get_mut(key) else { return aside };
        match operation.state {
            State::Awaited => {
                operation.state = State::Over(result);
                aside.woken = operation.waker.take();
            }
            State::Left => {
                aside._finished = self.0.remove(key).map(|operation| operation.finish(result));
            }
            State::Over(_) => {}
        }
        aside
    }

    /// Those that the kernel has.
    pub(super) fn under_way(&mut self) -> impl Iterator<Item = Key> {
        let under_way = |operation: &Operation| !matches!(operation.state, State::Over(_));
        self.0.iter_mut().filter_map(move |(key, one)| under_way(one).then_some(key))
    }
}

impl Operation {
    fn finish(self, result: i32) -> Finished {
        let accepted = match self.address {
            Some(address) if self.kind == Kind::Accept && result >= 0 => {
                // SAFETY: accept has made this descriptor for us; an operation is over once, and
                // is consumed here.
                let socket = unsafe { OwnedFd::from_raw_fd(result) };
                // SAFETY: the kernel has written an address of that length.
                let peer = unsafe { SockAddr::new(address.storage, address.length) };
                Some(Box::new((socket, peer)))
            }
            _ => None,
        };
        Finished { result: outcome(result), buffer: self.buffer, accepted }
    }
}

/// Has `place` wake whoever asks now, and gives who did before, to be dropped later.
pub(super) fn keep(place: &mut Option<Waker>, context: &Context<'_>) -> Option<Waker> {
    match place {
        Some(waker) if waker.will_wake(context.waker()) => None,
        _ => place.replace(context.waker().clone()),
    }
}

/// What a system call with this result would have returned.
pub(super) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.saturating_neg()))
}

fn fd(socket: &OwnedFd) -> Fd {
    Fd(socket.as_raw_fd())
}
