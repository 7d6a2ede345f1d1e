//! The relay's connections to the API: a pool of them, made as they are needed.

use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::relay::{API_TIMEOUT_TICKS, Relay};
use crate::ring::{Completion, Side};
use crate::slab::Key;

/// A connection to the API.
pub(crate) struct Upstream {
    socket: OwnedFd,
    state: State,
    /// Operations that the kernel has not completed: while there are any the slot is not free.
    pending: u8,
    /// Whether it has been idle or has answered: the API may have closed it since, and a request
    /// that it does not answer is worth another connection.
    pooled: bool,
    /// The tick at which its state began.
    since: u32,
}

#[derive(Clone, Copy)]
enum State {
    /// Being made: for the visitor it is reserved for, or for who has waited longest then.
    Connecting {
        reserved: Option<Key>,
    },
    Idle,
    /// Asked for the page of a visitor, who may have gone since; what is left of the request, and
    /// how many bytes of the answer are still to come.
    Busy {
        visitor: Key,
        request: &'static [u8],
        missing: usize,
    },
    Closing,
}

impl Relay {
    /// Makes as many connections as there are visitors waiting for one, within the limit.
    pub(crate) fn connect_for_waiters(&mut self) {
        while self.connecting < self.waiters.len() && self.connect(None) {
            self.connecting += 1;
        }
    }

    /// Makes a connection, if there is room for one. Those who wait otherwise get one that others
    /// have done with, or time out.
    fn connect(&mut self, reserved: Option<Key>) -> bool {
        if self.upstreams.is_full() || self.starved {
            return false;
        }
        let domain = if self.api.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let Ok(socket) = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)) else {
            self.starved = true;
            return false;
        };
        // Without it the connection still works.
        let _ = socket.set_tcp_nodelay(true);
        let upstream = Upstream {
            socket: socket.into(),
            state: State::Connecting { reserved },
            pending: 1,
            pooled: false,
            since: self.ticks,
        };
        let Ok(key) = self.upstreams.insert(upstream) else { return false };
        let Some(upstream) = self.upstreams.get(key) else { return false };
        self.ring.connect(key, upstream.socket.as_fd(), self.api);
        true
    }

    pub(crate) fn upstream_connected(&mut self, key: Key, completion: &Completion) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.pending -= 1;
        let State::Connecting { reserved } = upstream.state else {
            return self.free_upstream(key);
        };
        self.connecting -= usize::from(reserved.is_none());
        if completion.result().is_ok() {
            self.receive_from_upstream(key);
            return match reserved.filter(|visitor| self.is_waiting(*visitor)) {
                Some(visitor) => self.ask(key, visitor),
                None => self.give(key),
            };
        }
        self.close_upstream(key);
        if let Some(visitor) = reserved.or_else(|| self.next_waiter()) {
            self.refuse(visitor);
        }
    }

    fn receive_from_upstream(&mut self, key: Key) {
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.pending += 1;
            self.ring.receive(Side::Upstream, key, upstream.socket.as_fd());
        }
    }

    /// The connection that was used last, of those that are idle.
    pub(crate) fn idle_upstream(&mut self) -> Option<Key> {
        while let Some(key) = self.idle.pop() {
            if self.upstreams.get(key).is_some_and(|u| matches!(u.state, State::Idle)) {
                return Some(key);
            }
        }
        None
    }

    /// Gives a connection that is ready to the visitor who has waited longest, or to the pool.
    fn give(&mut self, key: Key) {
        if let Some(visitor) = self.next_waiter() {
            return self.ask(key, visitor);
        }
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.state = State::Idle;
            upstream.pooled = true;
            self.idle.push(key);
        }
    }

    /// Asks for the page of a visitor.
    pub(crate) fn ask(&mut self, key: Key, visitor: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let request = self.messages.request;
        upstream.state = State::Busy { visitor, request, missing: self.messages.answer_bytes };
        upstream.since = self.ticks;
        upstream.pending += 1;
        self.ring.send(Side::Upstream, key, upstream.socket.as_fd(), request);
    }

    pub(crate) fn upstream_sent(&mut self, key: Key, completion: &Completion) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.pending -= 1;
        let State::Busy { request, .. } = &mut upstream.state else {
            return self.free_upstream(key);
        };
        match completion.result() {
            Ok(count) if count > 0 => *request = request.get(count..).unwrap_or_default(),
            _ => return self.fail_upstream(key),
        }
        if request.is_empty() {
            return self.finish(key);
        }
        upstream.pending += 1;
        self.ring.send(Side::Upstream, key, upstream.socket.as_fd(), request);
    }

    pub(crate) fn upstream_received(&mut self, key: Key, completion: Completion) {
        let (more, result) = (completion.more, completion.result());
        self.ring.consume(completion, |_| ());
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if !more {
            upstream.pending -= 1;
        }
        match (&mut upstream.state, result) {
            (State::Closing, _) => return self.free_upstream(key),
            // All buffers were in use: they are there again when this is submitted.
            (_, Err(libc::ENOBUFS)) => {}
            (_, Ok(0) | Err(_)) => return self.fail_upstream(key),
            (State::Busy { missing, .. }, Ok(count)) => match missing.checked_sub(count) {
                Some(rest) => *missing = rest,
                None => return self.fail_upstream(key),
            },
            // Nobody has asked for this.
            (_, Ok(_)) => return self.fail_upstream(key),
        }
        if !more {
            self.receive_from_upstream(key);
        }
        self.finish(key);
    }

    /// Sends the page, if all of the request and of its answer has passed.
    fn finish(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if let State::Busy { visitor, request: [], missing: 0 } = upstream.state {
            upstream.pooled = true;
            self.answer(visitor);
            self.give(key);
        }
    }

    /// Closes a connection that has failed, and looks after the visitor it was for.
    fn fail_upstream(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get(key) else { return };
        let (state, pooled) = (upstream.state, upstream.pooled);
        self.close_upstream(key);
        if let State::Busy { visitor, missing, .. } = state {
            // A pooled connection may close while a request is on its way to it. The request is
            // then made on a new one: another of the pool might be about to do the same.
            if !pooled || missing < self.messages.answer_bytes {
                self.refuse(visitor);
            } else if self.is_waiting(visitor) && !self.connect(Some(visitor)) {
                self.waiters.push_front(visitor);
            }
        }
        self.connect_for_waiters();
    }

    fn close_upstream(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        debug_assert!(!matches!(upstream.state, State::Closing));
        upstream.state = State::Closing;
        if upstream.pending > 0 {
            upstream.pending += 1;
            self.ring.cancel(Side::Upstream, key, upstream.socket.as_fd());
        }
        self.free_upstream(key);
    }

    pub(crate) fn upstream_completed(&mut self, key: Key) {
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.pending -= 1;
            self.free_upstream(key);
        }
    }

    /// Closes the connection, once nothing is under way on it.
    fn free_upstream(&mut self, key: Key) {
        let upstream = self.upstreams.get(key);
        let done = upstream.is_some_and(|u| matches!(u.state, State::Closing) && u.pending == 0);
        if done && self.upstreams.remove(key).is_some() {
            self.starved = false;
            self.connect_for_waiters();
        }
    }

    /// Gives up on connections that take too long to be made, or to answer.
    pub(crate) fn close_slow_upstreams(&mut self) {
        let now = self.ticks;
        let slow = self.upstreams.iter().filter(|(_, upstream)| {
            let waits = matches!(upstream.state, State::Connecting { .. } | State::Busy { .. });
            waits && now.wrapping_sub(upstream.since) > API_TIMEOUT_TICKS
        });
        let slow: Vec<_> = slow.map(|(key, upstream)| (key, upstream.state)).collect();
        for (key, state) in slow {
            match state {
                State::Connecting { reserved: None } => self.connecting -= 1,
                State::Connecting { reserved: Some(visitor) } | State::Busy { visitor, .. } => {
                    self.refuse(visitor);
                }
                State::Idle | State::Closing => {}
            }
            self.close_upstream(key);
        }
    }
}
