//! The relay: visitors' connections, and the order of things. A request waits for an upstream
//! connection, then for the API's answer, then for its page to be taken. `upstream` has the other
//! half of it.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use socket2::SockAddr;

use crate::messages::{Messages, RequestEnds};
use crate::ring::{Completion, INDEX_BITS, Operation, Ring, Side, TICK_MS};
use crate::slab::{Key, Slab};
use crate::upstream::Upstream;

/// Visitors' connections at once; further ones are closed.
const CONNECTIONS_MAX: usize = 65_536;
/// One descriptor in so many is for connections to the API, at least.
const UPSTREAM_SHARE: usize = 32;
/// Descriptors of the program itself: the ring, the listener, standard output and so on.
const OWN_FILES: usize = 16;
/// Connections to the API at once; requests over it wait, first come, first served.
pub(crate) const UPSTREAM_CONNECTIONS_MAX: usize = 16_384;
/// Requests of one connection that came before the answer to the one before; a visitor who sends
/// more is one who does not read.
const PIPELINED_MAX: u32 = 1024;
/// How long a request may wait for a connection, and how long for the API.
pub(crate) const API_TIMEOUT_TICKS: u32 = 10_000 / TICK_MS;

const _: () = assert!(CONNECTIONS_MAX <= 1 << INDEX_BITS);
const _: () = assert!(UPSTREAM_CONNECTIONS_MAX <= 1 << INDEX_BITS);

/// All there is.
pub(crate) struct Relay {
    pub(crate) ring: Ring,
    pub(crate) messages: Messages,
    pub(crate) api: &'static SockAddr,
    pub(crate) upstreams: Slab<Upstream>,
    /// Connections that are ready for a request; the one used last is used next. It may hold some
    /// that have gone since, but never more than there were connections at once: a connection is
    /// only made when it is empty.
    pub(crate) idle: Vec<Key>,
    /// Connections that are being made.
    pub(crate) connecting: usize,
    /// No descriptor is left for a connection; one is tried again when something has closed.
    pub(crate) starved: bool,
    pub(crate) ticks: u32,
    /// Requests that wait for a connection. It may hold some whose visitor has gone since.
    pub(crate) waiters: VecDeque<Key>,
    listener: TcpListener,
    accepting: bool,
    visitors: Slab<Visitor>,
}

/// A visitor's connection.
struct Visitor {
    socket: OwnedFd,
    ends: RequestEnds,
    /// Operations that the kernel has not completed: while there are any the slot is not free.
    pending: u8,
    closing: bool,
    /// The visitor sends no more, but may still read.
    ended: bool,
    /// Requests that have come and were not begun.
    pipelined: u32,
    page: Page,
}

/// How many visitors there may be, so that they leave descriptors for connections to the API.
fn visitors_max(open_files_max: Option<u64>) -> usize {
    let Some(files) = open_files_max.and_then(|files| usize::try_from(files).ok()) else {
        return CONNECTIONS_MAX;
    };
    CONNECTIONS_MAX.min(files.saturating_sub(files / UPSTREAM_SHARE + OWN_FILES))
}

/// What becomes of a visitor's request.
#[derive(Clone, Copy)]
enum Page {
    /// There is none.
    None,
    /// It waits for a connection, or for the API.
    Waiting { since: u32 },
    /// This is what is left to be sent.
    Sending(&'static [u8]),
}

impl Relay {
    pub(crate) fn new(
        ring: Ring,
        listener: TcpListener,
        api: &'static SockAddr,
        messages: Messages,
        open_files_max: Option<u64>,
    ) -> Self {
        Self {
            ring,
            messages,
            api,
            upstreams: Slab::new(UPSTREAM_CONNECTIONS_MAX),
            idle: Vec::new(),
            connecting: 0,
            starved: false,
            ticks: 0,
            waiters: VecDeque::new(),
            listener,
            accepting: true,
            visitors: Slab::new(visitors_max(open_files_max)),
        }
    }

    /// Serves until the ring fails, one turn after the other.
    pub(crate) fn run(mut self) -> io::Result<()> {
        self.ring.accept(self.listener.as_fd());
        self.ring.tick();
        let mut batch = Vec::new();
        loop {
            self.ring.turn(&mut batch)?;
            for completion in batch.drain(..) {
                self.take(completion);
            }
        }
    }

    fn take(&mut self, completion: Completion) {
        let key = completion.key;
        match (completion.operation, completion.side) {
            (Operation::Receive, Side::Downstream) => self.visitor_received(key, completion),
            (Operation::Receive, Side::Upstream) => self.upstream_received(key, completion),
            (Operation::Send, Side::Downstream) => self.visitor_sent(key, &completion),
            (Operation::Send, Side::Upstream) => self.upstream_sent(key, &completion),
            (Operation::Cancel, Side::Downstream) => self.visitor_completed(key),
            (Operation::Cancel, Side::Upstream) => self.upstream_completed(key),
            (Operation::Connect, _) => self.upstream_connected(key, &completion),
            (Operation::Accept, _) => self.accepted(completion),
            (Operation::Tick, _) => self.tick(),
        }
    }

    fn accepted(&mut self, completion: Completion) {
        let more = completion.more;
        let accepted = completion.accepted();
        if !more {
            // After an error, such as too many open files, the next tick tries again.
            self.accepting = accepted.is_ok();
            if self.accepting {
                self.ring.accept(self.listener.as_fd());
            }
        }
        let Ok(socket) = accepted else { return };
        let visitor = Visitor {
            socket,
            ends: RequestEnds::default(),
            pending: 0,
            closing: false,
            ended: false,
            pipelined: 0,
            page: Page::None,
        };
        // One that finds no place is closed: it is dropped.
        if let Ok(key) = self.visitors.insert(visitor) {
            self.receive_from_visitor(key);
        }
    }

    fn receive_from_visitor(&mut self, key: Key) {
        if let Some(visitor) = self.visitors.get_mut(key) {
            visitor.pending += 1;
            self.ring.receive(Side::Downstream, key, visitor.socket.as_fd());
        }
    }

    fn visitor_received(&mut self, key: Key, completion: Completion) {
        let (more, result) = (completion.more, completion.result());
        let Some(visitor) = self.visitors.get_mut(key) else {
            debug_assert!(false, "a slot was left with operations pending");
            return self.ring.consume(completion, |_| ());
        };
        let requests = self.ring.consume(completion, |bytes| visitor.ends.count(bytes));
        visitor.pipelined += requests;
        let too_many = visitor.pipelined > PIPELINED_MAX;
        let busy = !matches!(visitor.page, Page::None);
        if !more {
            visitor.pending -= 1;
        }
        if visitor.closing {
            return self.free_visitor(key);
        }
        match result {
            Ok(0) if busy => visitor.ended = true,
            // All buffers were in use: they are there again when this is submitted.
            Err(libc::ENOBUFS) => self.receive_again(key, more),
            Ok(0) | Err(_) => self.close_visitor(key),
            Ok(_) if too_many => self.close_visitor(key),
            Ok(_) => {
                self.receive_again(key, more);
                if requests > 0 && !busy {
                    self.begin(key);
                }
            }
        }
    }

    fn receive_again(&mut self, key: Key, more: bool) {
        if !more {
            self.receive_from_visitor(key);
        }
    }

    /// Begins the next request of a visitor.
    fn begin(&mut self, key: Key) {
        let Some(visitor) = self.visitors.get_mut(key) else { return };
        debug_assert!(matches!(visitor.page, Page::None) && visitor.pipelined > 0);
        visitor.pipelined = visitor.pipelined.saturating_sub(1);
        visitor.page = Page::Waiting { since: self.ticks };
        match self.idle_upstream() {
            Some(upstream) => self.ask(upstream, key),
            None => self.wait(key),
        }
    }

    fn wait(&mut self, key: Key) {
        // Visitors who went away are forgotten before they are more than those who wait.
        if self.waiters.len() > 2 * self.visitors.len() {
            let visitors = &self.visitors;
            self.waiters.retain(|key| visitors.get(*key).is_some());
        }
        self.waiters.push_back(key);
        self.connect_for_waiters();
    }

    /// The visitor who has waited longest.
    pub(crate) fn next_waiter(&mut self) -> Option<Key> {
        while let Some(key) = self.waiters.pop_front() {
            if self.is_waiting(key) {
                return Some(key);
            }
        }
        None
    }

    /// Whether a visitor is still there for a page.
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        let visitor = self.visitors.get(key);
        visitor.is_some_and(|v| !v.closing && matches!(v.page, Page::Waiting { .. }))
    }

    /// Sends a visitor the page, now that the API has answered.
    pub(crate) fn answer(&mut self, key: Key) {
        self.send_to_visitor(key, self.messages.page);
    }

    /// Tells a visitor that the API has failed.
    pub(crate) fn refuse(&mut self, key: Key) {
        self.send_to_visitor(key, self.messages.bad_gateway);
    }

    fn send_to_visitor(&mut self, key: Key, bytes: &'static [u8]) {
        let Some(visitor) = self.visitors.get_mut(key) else { return };
        if visitor.closing {
            return;
        }
        visitor.page = Page::Sending(bytes);
        visitor.pending += 1;
        self.ring.send(Side::Downstream, key, visitor.socket.as_fd(), bytes);
    }

    fn visitor_sent(&mut self, key: Key, completion: &Completion) {
        let Some(visitor) = self.visitors.get_mut(key) else { return };
        visitor.pending -= 1;
        if visitor.closing {
            return self.free_visitor(key);
        }
        let Page::Sending(bytes) = visitor.page else {
            debug_assert!(false, "sent without a page");
            return self.close_visitor(key);
        };
        match completion.result().map(|count| bytes.get(count..).unwrap_or_default()) {
            Err(_) => return self.close_visitor(key),
            Ok([]) => visitor.page = Page::None,
            Ok(rest) if rest.len() == bytes.len() => return self.close_visitor(key),
            Ok(rest) => return self.send_to_visitor(key, rest),
        }
        if visitor.pipelined > 0 {
            self.begin(key);
        } else if visitor.ended {
            self.close_visitor(key);
        }
    }

    fn visitor_completed(&mut self, key: Key) {
        if let Some(visitor) = self.visitors.get_mut(key) {
            visitor.pending -= 1;
            self.free_visitor(key);
        }
    }

    fn close_visitor(&mut self, key: Key) {
        let Some(visitor) = self.visitors.get_mut(key) else { return };
        debug_assert!(!visitor.closing);
        visitor.closing = true;
        if visitor.pending > 0 {
            visitor.pending += 1;
            self.ring.cancel(Side::Downstream, key, visitor.socket.as_fd());
        }
        self.free_visitor(key);
    }

    /// Closes the connection, once nothing is under way on it.
    fn free_visitor(&mut self, key: Key) {
        let done = self.visitors.get(key).is_some_and(|v| v.closing && v.pending == 0);
        if done && self.visitors.remove(key).is_some() {
            self.starved = false;
        }
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.ring.tick();
        if !self.accepting {
            self.accepting = true;
            self.ring.accept(self.listener.as_fd());
        }
        while let Some(&key) = self.waiters.front()
            && self.has_waited_too_long(key)
        {
            self.waiters.pop_front();
            if self.is_waiting(key) {
                self.refuse(key);
            }
        }
        self.close_slow_upstreams();
        self.starved = false;
        self.connect_for_waiters();
    }

    /// Whether a visitor has waited too long for a connection, or is not there any more.
    fn has_waited_too_long(&self, key: Key) -> bool {
        match self.visitors.get(key).map(|visitor| visitor.page) {
            Some(Page::Waiting { since }) => self.ticks.wrapping_sub(since) > API_TIMEOUT_TICKS,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_leave_descriptors_for_the_api() {
        assert_eq!(visitors_max(None), CONNECTIONS_MAX);
        assert_eq!(visitors_max(Some(1 << 20)), CONNECTIONS_MAX);
        assert_eq!(visitors_max(Some(20_000)), 19_359);
        assert_eq!(visitors_max(Some(64)), 46);
        assert_eq!(visitors_max(Some(10)), 0);
    }
}
