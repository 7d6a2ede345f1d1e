//! The ring: what is asked of the kernel, and what comes of it. This file and `buffers` have the
//! only unsafe code; what they offer is safe to use, since all that is sent lives for ever.
#![expect(unsafe_code, reason = "operations on memory and descriptors that the kernel works on")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use io_uring::types::{CancelBuilder, Fd, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};
use socket2::SockAddr;

use crate::buffers::{Buffers, Filled, GROUP};
use crate::slab::Key;

/// Entries of the submission ring. A turn that has more to say says it in several calls.
const SUBMISSIONS: u32 = 512;
/// Entries of the completion ring: more than one turn brings.
const COMPLETIONS: u32 = 4096;
/// How often the relay looks at what takes too long.
pub(crate) const TICK_MS: u32 = 100;
static TICK: Timespec = Timespec::new().nsec(TICK_MS * 1_000_000);

/// A ring of this thread.
pub(crate) struct Ring {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    buffers: Buffers,
    /// What found no place in the submission ring. Each connection has few operations at a time,
    /// so this is bounded by the tables of connections.
    backlog: VecDeque<squeue::Entry>,
}

/// Whose connection an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Downstream,
    Upstream,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Accept,
    Tick,
    Connect,
    Receive,
    Send,
    Cancel,
}

/// One completion.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) operation: Operation,
    pub(crate) side: Side,
    pub(crate) key: Key,
    /// Whether the operation goes on: it will complete again.
    pub(crate) more: bool,
    result: i32,
    filled: Option<Filled>,
}

impl Completion {
    fn of(entry: &cqueue::Entry) -> Self {
        let (operation, side, key) = untangle(entry.user_data());
        let (result, flags) = (entry.result(), entry.flags());
        // SAFETY: the entry comes from the ring, and becomes a completion once.
        let filled = unsafe { Filled::of(result, flags) };
        Self { operation, side, key, more: cqueue::more(flags), result, filled }
    }

    /// What the system call would have returned: a count, or the number of an error.
    pub(crate) fn result(&self) -> Result<usize, i32> {
        usize::try_from(self.result).map_err(|_| self.result.saturating_neg())
    }

    /// The socket that was accepted, or the number of an error.
    pub(crate) fn accepted(self) -> Result<OwnedFd, i32> {
        debug_assert!(self.operation == Operation::Accept);
        if self.operation != Operation::Accept || self.result < 0 {
            return Err(self.result.saturating_neg());
        }
        // SAFETY: accept has made this descriptor for us, and `self`, which can neither be copied
        // nor made elsewhere, was the only one to know it.
        Ok(unsafe { OwnedFd::from_raw_fd(self.result) })
    }
}

impl Ring {
    /// Sets a ring up for the calling thread, the only one that may use it.
    ///
    /// # Errors
    /// With what is missing and what to do about it.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)
            .map_err(|error| explain(&error))?;
        if !ring.params().is_feature_nodrop() {
            return Err(io::Error::other(OLD_KERNEL));
        }
        // Never taken down: the end of the program does that, and nothing that the kernel may
        // still write to is freed before.
        let (mut submitter, submissions, completions) = Box::leak(Box::new(ring)).split();
        let buffers = Buffers::register(&submitter).map_err(|error| {
            let message = format!("no ring of provided buffers (needs Linux 5.19): {error}");
            io::Error::new(error.kind(), message)
        })?;
        // It saves a look-up at each system call, and is not needed.
        let _ = submitter.register_ring_fd();
        Ok(Self { submitter, submissions, completions, buffers, backlog: VecDeque::new() })
    }

    /// Accepts connections until it completes without more.
    pub(crate) fn accept(&mut self, listener: BorrowedFd<'_>) {
        let accept = opcode::AcceptMulti::new(descriptor(listener)).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build().user_data(tangle(Operation::Accept, Side::Downstream, NOBODY)));
    }

    /// Completes once, `TICK_MS` from now.
    pub(crate) fn tick(&mut self) {
        let timeout = opcode::Timeout::new(&raw const TICK);
        self.push(timeout.build().user_data(tangle(Operation::Tick, Side::Downstream, NOBODY)));
    }

    pub(crate) fn connect(&mut self, key: Key, socket: BorrowedFd<'_>, to: &'static SockAddr) {
        let connect = opcode::Connect::new(descriptor(socket), to.as_ptr().cast(), to.len());
        self.push(connect.build().user_data(tangle(Operation::Connect, Side::Upstream, key)));
    }

    /// Receives until it completes without more.
    pub(crate) fn receive(&mut self, side: Side, key: Key, socket: BorrowedFd<'_>) {
        let receive = opcode::RecvMulti::new(descriptor(socket), GROUP);
        self.push(receive.build().user_data(tangle(Operation::Receive, side, key)));
    }

    /// Sends once; what is sent may be less than all.
    pub(crate) fn send(
        &mut self,
        side: Side,
        key: Key,
        socket: BorrowedFd<'_>,
        bytes: &'static [u8],
    ) {
        // What is longer is sent in parts.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(descriptor(socket), bytes.as_ptr(), length);
        let send = send.flags(libc::MSG_NOSIGNAL);
        self.push(send.build().user_data(tangle(Operation::Send, side, key)));
    }

    /// Ends all that is under way on a socket.
    pub(crate) fn cancel(&mut self, side: Side, key: Key, socket: BorrowedFd<'_>) {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::fd(descriptor(socket)).all());
        self.push(cancel.build().user_data(tangle(Operation::Cancel, side, key)));
    }

    /// Shows what a completion has received, which may be nothing, and takes the buffer back.
    pub(crate) fn consume<R>(
        &mut self,
        completion: Completion,
        read: impl FnOnce(&[u8]) -> R,
    ) -> R {
        match completion.filled {
            Some(filled) => self.buffers.consume(filled, read),
            None => read(&[]),
        }
    }

    /// Submits what there is, waits for at least one completion and appends all there are.
    pub(crate) fn turn(&mut self, batch: &mut Vec<Completion>) -> io::Result<()> {
        self.buffers.publish();
        let room = self.submissions.capacity() - self.submissions.len();
        for _ in 0..room.min(self.backlog.len()) {
            let Some(entry) = self.backlog.pop_front() else { break };
            if let Some(entry) = self.offer(entry) {
                self.backlog.push_front(entry);
                break;
            }
        }
        self.submissions.sync();
        let want = usize::from(self.backlog.is_empty());
        match self.submitter.submit_and_wait(want) {
            Ok(_) => {}
            // Interrupted, or the kernel wants us to take completions first: so we do.
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        self.submissions.sync();
        self.completions.sync();
        batch.extend(self.completions.by_ref().map(|entry| Completion::of(&entry)));
        self.completions.sync();
        Ok(())
    }

    fn push(&mut self, entry: squeue::Entry) {
        // What came before goes before.
        if !self.backlog.is_empty() {
            return self.backlog.push_back(entry);
        }
        let Some(entry) = self.offer(entry) else { return };
        self.submissions.sync();
        // Without waiting: an error now is one at the turn, which tells it.
        let _ = self.submitter.submit();
        self.submissions.sync();
        if let Some(entry) = self.offer(entry) {
            self.backlog.push_back(entry);
        }
    }

    /// Puts an entry into the submission ring, or gives it back when that is full.
    fn offer(&mut self, entry: squeue::Entry) -> Option<squeue::Entry> {
        // SAFETY: what an entry points at (bytes to send, an address, a time) is 'static, and
        // what is received goes into the ring's own buffers. A descriptor that has been closed
        // meanwhile makes the operation fail.
        let pushed = unsafe { self.submissions.push(&entry) };
        pushed.is_err().then_some(entry)
    }
}

fn descriptor(socket: BorrowedFd<'_>) -> Fd {
    Fd(socket.as_raw_fd())
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

/// Owner of what is no connection's.
const NOBODY: Key = Key { index: 0, generation: 0 };
/// How many bits of an operation's user data are a slot's index: enough for any table here.
pub(crate) const INDEX_BITS: u32 = 24;
const OPERATIONS: [Operation; 6] = [
    Operation::Accept,
    Operation::Tick,
    Operation::Connect,
    Operation::Receive,
    Operation::Send,
    Operation::Cancel,
];

/// User data: the generation in 32 bits, the slot in 24, the side in one, the operation in 7.
fn tangle(operation: Operation, side: Side, key: Key) -> u64 {
    debug_assert!(key.index < 1 << INDEX_BITS);
    let side = u64::from(side == Side::Upstream);
    u64::from(key.generation) << 32 | u64::from(key.index) << 8 | side << 7 | operation as u64
}

fn untangle(user_data: u64) -> (Operation, Side, Key) {
    // Nothing but `tangle` makes user data, so that the operation is always one of these.
    let operation = OPERATIONS.get((user_data & 0x7f) as usize).copied();
    debug_assert!(operation.is_some());
    let side = if user_data & 0x80 == 0 { Side::Downstream } else { Side::Upstream };
    let index = (user_data >> 8) as u32 & ((1 << INDEX_BITS) - 1);
    let key = Key { index, generation: (user_data >> 32) as u32 };
    (operation.unwrap_or(Operation::Cancel), side, key)
}

const OLD_KERNEL: &str = "this kernel's io_uring lacks SINGLE_ISSUER or DEFER_TASKRUN: the floor \
     needs Linux 6.1 or later (`uname -r` says which one runs)";

/// Says what a failed set-up means, and what to do.
fn explain(error: &io::Error) -> io::Error {
    let message = match error.raw_os_error() {
        Some(libc::EINVAL) => OLD_KERNEL,
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring, or a container's seccomp profile hides it: run the \
             floor outside of the container, or allow io_uring_setup, io_uring_enter and \
             io_uring_register in its profile"
        }
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here: look at `sysctl kernel.io_uring_disabled` (0 allows it) \
             and at the container's seccomp profile"
        }
        Some(libc::ENOMEM) => {
            "no memory may be locked for a ring: raise the limit that `ulimit -l` shows"
        }
        _ => "cannot set up a ring",
    };
    io::Error::new(error.kind(), format!("{message} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_comes_back_as_it_was() {
        for operation in OPERATIONS {
            for side in [Side::Downstream, Side::Upstream] {
                for key in [NOBODY, Key { index: (1 << INDEX_BITS) - 1, generation: u32::MAX }] {
                    let user_data = tangle(operation, side, key);
                    assert_eq!(untangle(user_data), (operation, side, key));
                }
            }
        }
    }

    #[test]
    fn a_set_up_that_fails_says_what_to_do() {
        let said = |code| explain(&io::Error::from_raw_os_error(code)).to_string();
        assert!(said(libc::EINVAL).contains("Linux 6.1"));
        assert!(said(libc::ENOSYS).contains("seccomp"));
        assert!(said(libc::EPERM).contains("kernel.io_uring_disabled"));
        assert!(said(libc::ENOMEM).contains("ulimit -l"));
    }
}
