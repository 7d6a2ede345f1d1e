//! One address of an upstream: its idle connections, what is under way, and how it has done.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::{Eject, Health};
use crate::driver::Driver;

use super::choice::Candidate;
use super::connection::Connection;
use super::ejection::{Ejection, Standing};

/// One address of an upstream, on one worker.
pub(super) struct Endpoint<D: Driver> {
    address: SocketAddr,
    /// Oldest first.
    idle: RefCell<VecDeque<Idle<D>>>,
    /// Exchanges under way, connecting included.
    outstanding: Cell<usize>,
    /// When it was last chosen among several, as a number that grows.
    chosen: Cell<u64>,
    ejection: RefCell<Ejection>,
    /// Whether health checks have taken it out.
    unwell: Cell<bool>,
    /// Checks in a row that say otherwise than `unwell`.
    dissent: Cell<usize>,
}

struct Idle<D: Driver> {
    connection: Connection<D>,
    since: Instant,
}

/// An endpoint with one exchange under way, which is counted until this is dropped.
pub(super) struct Held<D: Driver>(Rc<Endpoint<D>>);

impl<D: Driver> Endpoint<D> {
    pub(super) fn new(address: SocketAddr) -> Rc<Self> {
        Rc::new(Self {
            address,
            idle: RefCell::default(),
            outstanding: Cell::new(0),
            chosen: Cell::new(0),
            ejection: RefCell::default(),
            unwell: Cell::new(false),
            dissent: Cell::new(0),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts an exchange as under way.
    pub(super) fn hold(self: &Rc<Self>) -> Held<D> {
        self.outstanding.set(self.outstanding.get() + 1);
        Held(Rc::clone(self))
    }

    /// Whether it gets new exchanges. On probation it gets one at a time.
    pub(super) fn is_available(&self, now: Instant) -> bool {
        !self.unwell.get()
            && match self.ejection.borrow().standing(now) {
                Standing::Good => true,
                Standing::Probation => self.outstanding.get() == 0,
                Standing::Out => false,
            }
    }

    /// Whether what became of its exchanges speaks for it.
    pub(super) fn is_in_good_standing(&self, now: Instant) -> bool {
        self.ejection.borrow().standing(now) == Standing::Good
    }

    /// This one among those to choose from.
    pub(super) fn candidate(&self, now: Instant, avoided: bool) -> Candidate {
        Candidate {
            available: self.is_available(now),
            avoided,
            outstanding: self.outstanding.get(),
            chosen: self.chosen.get(),
        }
    }

    /// It was chosen among several.
    pub(super) fn choose(&self, turn: u64) {
        self.chosen.set(turn);
    }

    /// An exchange went well.
    pub(super) fn passed(&self, now: Instant) {
        self.ejection.borrow_mut().passed(now);
    }

    /// An exchange failed; whether this address is left out now. See [`Ejection::failed`].
    pub(super) fn failed(
        &self,
        policy: &Eject,
        now: Instant,
        may_be: impl FnOnce() -> bool,
    ) -> bool {
        self.ejection.borrow_mut().failed(policy, now, may_be)
    }

    /// A health check has ended. Whether that has changed whether it gets new exchanges.
    pub(super) fn checked(&self, policy: &Health, passed: bool) -> bool {
        let unwell = self.unwell.get();
        if passed != unwell {
            self.dissent.set(0);
            return false;
        }
        let needed = if unwell { policy.passes } else { policy.fails };
        self.dissent.set(self.dissent.get() + 1);
        if self.dissent.get() < needed {
            return false;
        }
        self.dissent.set(0);
        self.unwell.set(!unwell);
        true
    }

    /// How many idle connections there are.
    pub(super) fn idle_count(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Keeps a connection, if it is quiet; closes it if not.
    pub(super) fn keep(&self, mut connection: Connection<D>, now: Instant) -> bool {
        let kept = connection.is_quiet();
        if kept {
            self.idle.borrow_mut().push_back(Idle { connection, since: now });
        } else {
            connection.close();
        }
        kept
    }

    /// The warmest connection that is found quiet and has not been idle for too long; none, and it
    /// stays, where it has been for longer than `idle_max`.
    pub(super) fn warm(
        &self,
        now: Instant,
        timeout: Duration,
        idle_max: Duration,
    ) -> Option<Connection<D>> {
        let next = || self.idle.borrow_mut().pop_back();
        while let Some(mut entry) = next() {
            if !entry.is_fresh(now, timeout) || !entry.connection.is_quiet() {
                entry.connection.close();
            } else if entry.is_fresh(now, idle_max) {
                return Some(entry.connection);
            } else {
                // The others have been so for longer still.
                self.idle.borrow_mut().push_back(entry);
                return None;
            }
        }
        None
    }

    /// Closes the connection that has been idle for longest, if there is one.
    pub(super) fn close_oldest(&self) -> bool {
        let oldest = self.idle.borrow_mut().pop_front();
        oldest.map(|entry| entry.connection.close()).is_some()
    }

    /// Closes all connections that are idle.
    pub(super) fn close_all(&self) {
        while self.close_oldest() {}
    }

    /// Closes connections that were idle for too long or that the upstream has closed.
    pub(super) fn sweep(&self, now: Instant, timeout: Duration) {
        let mut closed = Vec::new();
        let mut idle = self.idle.borrow_mut();
        for _ in 0..idle.len() {
            let Some(mut entry) = idle.pop_front() else { break };
            if entry.is_fresh(now, timeout) && entry.connection.is_quiet() {
                idle.push_back(entry);
            } else {
                closed.push(entry);
            }
        }
        drop(idle);
        // Only now: a connection that goes frees its slot, which may look in here.
        closed.into_iter().for_each(|entry| entry.connection.close());
    }
}

impl<D: Driver> Idle<D> {
    fn is_fresh(&self, now: Instant, timeout: Duration) -> bool {
        now.saturating_duration_since(self.since) < timeout
    }
}

impl<D: Driver> Deref for Held<D> {
    type Target = Endpoint<D>;

    fn deref(&self) -> &Endpoint<D> {
        &self.0
    }
}

impl<D: Driver> Drop for Held<D> {
    fn drop(&mut self) {
        debug_assert!(self.0.outstanding.get() > 0);
        self.0.outstanding.set(self.0.outstanding.get().saturating_sub(1));
    }
}
