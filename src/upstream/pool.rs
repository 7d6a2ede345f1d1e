//! The connections to one upstream: idle ones for reuse, a bound on all, a queue at the bound.
//!
//! Last in, first out: the warmest connection serves next, and those that a spike left behind
//! grow old and go. An idle connection keeps a read pending, so that bytes or an end that nobody
//! asked for are noticed before it is used again: they can never pass for an answer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::limits;
use crate::metrics::WorkerMetrics;

use super::connection::Connection;

/// The connections to one upstream, on one worker. A clone is the same pool.
pub(super) struct Pool<D: Driver>(Rc<State<D>>);

struct State<D: Driver> {
    /// Oldest first.
    idle: RefCell<VecDeque<Idle<D>>>,
    waiters: RefCell<Waiters>,
    open: Cell<usize>,
    bounds: Bounds,
    metrics: Arc<WorkerMetrics>,
}

/// The bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at once, idle or in use.
    pub(super) connections_max: usize,
    /// Idle connections kept.
    pub(super) idle_max: usize,
    /// How long a connection may be idle before it is closed.
    pub(super) idle_timeout: Duration,
}

struct Idle<D: Driver> {
    connection: Connection<D>,
    since: Instant,
}

/// What a pool gives: a connection that has served before, or leave to open one.
pub(super) enum Lease<D: Driver> {
    /// A warm connection, found quiet a moment ago.
    Reused(Connection<D>),
    /// Leave to connect.
    Open(Slot<D>),
}

/// The right to have one connection open, given back on drop.
pub(super) struct Slot<D: Driver>(Rc<State<D>>);

impl<D: Driver> Pool<D> {
    pub(super) fn new(bounds: Bounds, metrics: Arc<WorkerMetrics>) -> Self {
        debug_assert!(bounds.connections_max > 0);
        Self(Rc::new(State {
            idle: RefCell::default(),
            waiters: RefCell::default(),
            open: Cell::new(0),
            bounds,
            metrics,
        }))
    }

    /// Waits for a connection, or for leave to open one. `fresh` asks for one that has not served
    /// before. None when too many wait already.
    pub(super) async fn lease(&self, now: Instant, fresh: bool) -> Option<Lease<D>> {
        let mut ticket = Ticket { state: &self.0, number: self.0.waiters.borrow_mut().enter()? };
        poll_fn(|context| match ticket.is_first().then(|| self.take(now, fresh)).flatten() {
            Some(lease) => Poll::Ready(Some(lease)),
            None => {
                ticket.wait(context.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Keeps a connection for reuse, if it is quiet and there is room.
    pub(super) fn put(&self, mut connection: Connection<D>, now: Instant) {
        let mut idle = self.0.idle.borrow_mut();
        if idle.len() < self.0.bounds.idle_max && connection.is_quiet() {
            idle.push_back(Idle { connection, since: now });
            drop(idle);
            self.0.waiters.borrow_mut().wake_next();
        }
    }

    /// Closes connections that were idle for too long or that the upstream has closed.
    pub(super) fn sweep(&self, now: Instant) {
        let mut gone = Vec::new();
        let mut idle = self.0.idle.borrow_mut();
        for _ in 0..idle.len() {
            let Some(mut entry) = idle.pop_front() else { break };
            if self.is_fresh(&entry, now) && entry.connection.is_quiet() {
                idle.push_back(entry);
            } else {
                gone.push(entry);
            }
        }
        drop(idle);
        // Dropped only now: a connection that goes frees its slot, which may look into the pool.
        drop(gone);
    }

    /// The same without waiting; none at the bound, and none while others wait: who asks again
    /// and again would have every connection before they are polled.
    pub(super) fn try_lease(&self, now: Instant, fresh: bool) -> Option<Lease<D>> {
        // Looked at before, not while, taking: that may drop a connection, which wakes the first.
        let nobody_waits = self.0.waiters.borrow().queue.is_empty();
        nobody_waits.then(|| self.take(now, fresh)).flatten()
    }

    fn take(&self, now: Instant, fresh: bool) -> Option<Lease<D>> {
        let next = || if fresh { None } else { self.0.idle.borrow_mut().pop_back() };
        while let Some(mut entry) = next() {
            if self.is_fresh(&entry, now) && entry.connection.is_quiet() {
                return Some(Lease::Reused(entry.connection));
            }
        }
        if self.0.open.get() >= self.0.bounds.connections_max {
            // Where idle ones fill the bound and a fresh one is wanted, the oldest makes room.
            let oldest = if fresh { self.0.idle.borrow_mut().pop_front() } else { None };
            drop(oldest?);
        }
        self.0.open.set(self.0.open.get() + 1);
        self.0.metrics.upstream_connections.add(1);
        Some(Lease::Open(Slot(Rc::clone(&self.0))))
    }

    fn is_fresh(&self, entry: &Idle<D>, now: Instant) -> bool {
        now.saturating_duration_since(entry.since) < self.0.bounds.idle_timeout
    }
}

impl<D: Driver> Drop for Slot<D> {
    fn drop(&mut self) {
        debug_assert!(self.0.open.get() > 0);
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.metrics.upstream_connections.sub(1);
        self.0.waiters.borrow_mut().wake_next();
    }
}

/// Those who wait for a connection, first come, first served.
#[derive(Default)]
struct Waiters {
    queue: VecDeque<(u64, Option<Waker>)>,
    next_number: u64,
}

impl Waiters {
    fn enter(&mut self) -> Option<u64> {
        if self.queue.len() >= limits::UPSTREAM_WAITERS_MAX {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.queue.push_back((number, None));
        Some(number)
    }

    /// Wakes the first that sleeps. It stays in the queue until it has what it waits for.
    fn wake_next(&mut self) {
        if let Some(waker) = self.queue.iter_mut().find_map(|(_, waker)| waker.take()) {
            waker.wake();
        }
    }
}

/// A place in the queue, given up on drop.
struct Ticket<'a, D: Driver> {
    state: &'a State<D>,
    number: u64,
}

impl<D: Driver> Ticket<'_, D> {
    fn is_first(&self) -> bool {
        let waiters = self.state.waiters.borrow();
        waiters.queue.front().is_some_and(|(number, _)| *number == self.number)
    }

    fn wait(&mut self, waker: &Waker) {
        let mut waiters = self.state.waiters.borrow_mut();
        if let Some((_, slot)) = waiters.queue.iter_mut().find(|(n, _)| *n == self.number) {
            *slot = Some(waker.clone());
        }
    }
}

impl<D: Driver> Drop for Ticket<'_, D> {
    fn drop(&mut self) {
        let mut waiters = self.state.waiters.borrow_mut();
        let woken = waiters.queue.iter().any(|(n, waker)| *n == self.number && waker.is_none());
        waiters.queue.retain(|(n, _)| *n != self.number);
        // One that was woken and left without taking passes the chance on; one that took does so
        // too, which costs the next a look at the pool and loses nothing.
        if woken {
            waiters.wake_next();
        }
    }
}
