//! The connections to one upstream: idle ones at each of its addresses, a bound on all, a queue
//! at the bound.
//!
//! The address with the fewest exchanges under way is next; there it is last in, first out: the
//! warmest connection serves next, and those that a spike left behind grow old and go. An idle
//! connection keeps a read pending, so that bytes or an end that nobody asked for are noticed
//! before it is used again: they can never pass for an answer.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Eject;
use crate::driver::Driver;
use crate::limits::UPSTREAM_IDLE_UNREPEATABLE;
use crate::metrics::{UpstreamMetrics, WorkerMetrics};

use super::choice::choose;
use super::connection::Connection;
use super::endpoint::{Endpoint, Held};
use super::queue::Queue;

/// The connections to one upstream, on one worker.
pub(super) struct Pool<D: Driver> {
    endpoints: RefCell<Vec<Rc<Endpoint<D>>>>,
    /// Choices among several so far.
    turn: Cell<u64>,
    state: Rc<State>,
}

/// What is shared with the connections that are open.
struct State {
    queue: Queue,
    open: Cell<usize>,
    bounds: Cell<Bounds>,
    metrics: Arc<WorkerMetrics>,
    counts: Arc<UpstreamMetrics>,
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

/// What is asked of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Which connections will do.
    pub(super) warmth: Warmth,
    /// An address that another one would be preferred to.
    pub(super) avoid: Option<SocketAddr>,
}

/// Which connections will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warmth {
    /// Any that is open.
    Any,
    /// One that has served a moment ago, or a new one: what is sent on it may not be sent twice.
    Lately,
    /// Only one that has not served before.
    New,
}

/// What a pool gives: an address, and a connection to it or leave to open one.
pub(super) enum Lease<D: Driver> {
    /// A warm connection, found quiet a moment ago.
    Reused(Held<D>, Connection<D>),
    /// Leave to connect.
    Open(Held<D>, Slot),
}

/// The right to have one connection open, given back on drop.
pub(super) struct Slot(Rc<State>);

impl<D: Driver> Pool<D> {
    pub(super) fn new(
        bounds: Bounds,
        metrics: Arc<WorkerMetrics>,
        counts: Arc<UpstreamMetrics>,
    ) -> Self {
        debug_assert!(bounds.connections_max > 0);
        let (queue, open, bounds) = (Queue::default(), Cell::new(0), Cell::new(bounds));
        let state = Rc::new(State { queue, open, bounds, metrics, counts });
        Self { endpoints: RefCell::default(), turn: Cell::new(0), state }
    }

    /// Has other bounds from now on. What is over them stays as long as it is in use.
    pub(super) fn rebound(&self, bounds: Bounds) {
        debug_assert!(bounds.connections_max > 0);
        self.state.bounds.set(bounds);
    }

    /// Takes over the addresses as they are now. Those that stay keep all they have; those that are
    /// gone get nothing new, and go with the rest of their connections when what is under way has
    /// ended.
    pub(super) fn move_to(&self, addresses: &[SocketAddr]) {
        let before = self.endpoints.take();
        let endpoint = |address: &SocketAddr| {
            let same = before.iter().find(|endpoint| endpoint.address() == *address);
            same.map_or_else(|| Endpoint::new(*address), Rc::clone)
        };
        self.endpoints.replace(addresses.iter().map(endpoint).collect());
        let is_gone = |one: &&Rc<Endpoint<D>>| !addresses.contains(&one.address());
        before.iter().filter(is_gone).for_each(|endpoint| endpoint.close_all());
    }

    /// Whether there is no address to connect to.
    pub(super) fn is_nowhere(&self) -> bool {
        self.endpoints.borrow().is_empty()
    }

    /// Its addresses at the moment.
    pub(super) fn endpoints(&self) -> Vec<Rc<Endpoint<D>>> {
        self.endpoints.borrow().clone()
    }

    /// Waits for a connection, or for leave to open one. None when too many wait already.
    pub(super) async fn lease(&self, now: Instant, wish: Wish) -> Option<Lease<D>> {
        self.state.queue.wait(|| self.take(now, wish)).await
    }

    /// The same without waiting; none at the bound, and none while others wait: who asks again
    /// and again would have every connection before they are polled.
    pub(super) fn try_lease(&self, now: Instant, wish: Wish) -> Option<Lease<D>> {
        // Looked at before, not while, taking: that may drop a connection, which wakes the first.
        let nobody_waits = self.state.queue.is_empty();
        nobody_waits.then(|| self.take(now, wish)).flatten()
    }

    /// Another address than those that were tried in vain: a connection that is idle there, or
    /// one to be opened in place of the one that could not be.
    pub(super) fn another(
        &self,
        now: Instant,
        tried: &[SocketAddr],
        slot: Slot,
        warmth: Warmth,
    ) -> Option<Lease<D>> {
        let endpoints = self.endpoints.borrow();
        let untried = |one: &&Rc<Endpoint<D>>| !tried.contains(&one.address());
        let index = choose(endpoints.iter().filter(untried).map(|one| one.candidate(now, false)));
        let endpoint = endpoints.iter().filter(untried).nth(index?)?;
        Some(match self.warm(endpoint, now, warmth) {
            Some(connection) => Lease::Reused(endpoint.hold(), connection),
            None => Lease::Open(endpoint.hold(), slot),
        })
    }

    /// Keeps a connection for reuse, if it is quiet and there is room.
    pub(super) fn put(&self, endpoint: &Endpoint<D>, connection: Connection<D>, now: Instant) {
        let idle: usize = self.endpoints.borrow().iter().map(|one| one.idle_count()).sum();
        if idle >= self.state.bounds.get().idle_max {
            connection.close();
        } else if endpoint.keep(connection, now) {
            self.state.queue.wake_next();
        }
    }

    /// An exchange with an address failed. Where that was one too many, the address is left out
    /// for a while, but never more than half of them: they would all have to do its work.
    pub(super) fn failed(&self, failed: &Endpoint<D>, policy: &Eject, now: Instant) {
        let endpoints = self.endpoints.borrow();
        if endpoints.len() < 2 {
            return;
        }
        let others = endpoints.iter().filter(|one| one.address() != failed.address());
        let may_be = || {
            let out = others.filter(|one| !one.is_in_good_standing(now)).count();
            (out + 1) * 2 <= endpoints.len()
        };
        if failed.failed(policy, now, may_be) {
            self.state.metrics.upstream_ejections.add(1);
            tracing::warn!(address = %failed.address(), "an address fails: left out for a while");
        }
    }

    /// Closes connections that were idle for too long or that the upstream has closed.
    pub(super) fn sweep(&self, now: Instant) {
        for endpoint in self.endpoints.borrow().iter() {
            endpoint.sweep(now, self.state.bounds.get().idle_timeout);
        }
    }

    fn take(&self, now: Instant, wish: Wish) -> Option<Lease<D>> {
        let endpoints = self.endpoints.borrow();
        let chosen = self.choose(&endpoints, now, wish.avoid)?;
        if let Some(connection) = self.warm(chosen, now, wish.warmth) {
            return Some(Lease::Reused(self.hold(chosen, wish), connection));
        }
        if self.state.open.get() >= self.state.bounds.get().connections_max {
            // One that is idle elsewhere will do, rather than be closed for a new one.
            let mut others = endpoints.iter().filter(|one| one.is_available(now));
            let warm = others.find_map(|one| Some((one, self.warm(one, now, wish.warmth)?)));
            if let Some((endpoint, connection)) = warm {
                return Some(Lease::Reused(self.hold(endpoint, wish), connection));
            }
            // Those that are left serve nobody at the moment, and make room.
            if !endpoints.iter().any(|one| one.close_oldest()) {
                return None;
            }
        }
        Some(Lease::Open(self.hold(chosen, wish), Slot::new(&self.state)))
    }

    /// The warmest connection at an address, if that is warm enough.
    fn warm(&self, endpoint: &Endpoint<D>, now: Instant, warmth: Warmth) -> Option<Connection<D>> {
        let timeout = self.state.bounds.get().idle_timeout;
        match warmth {
            Warmth::Any => endpoint.warm(now, timeout, timeout),
            Warmth::Lately => endpoint.warm(now, timeout, UPSTREAM_IDLE_UNREPEATABLE),
            Warmth::New => None,
        }
    }

    fn choose<'a>(
        &self,
        endpoints: &'a [Rc<Endpoint<D>>],
        now: Instant,
        avoid: Option<SocketAddr>,
    ) -> Option<&'a Rc<Endpoint<D>>> {
        if let [only] = endpoints {
            return Some(only);
        }
        let candidate = |one: &Rc<Endpoint<D>>| one.candidate(now, avoid == Some(one.address()));
        endpoints.get(choose(endpoints.iter().map(candidate))?)
    }

    /// Counts an exchange as under way at an address, whose turn that was. Another try is no turn:
    /// with two addresses, all first tries would go to the bad one.
    fn hold(&self, endpoint: &Rc<Endpoint<D>>, wish: Wish) -> Held<D> {
        if wish.avoid.is_none() {
            self.turn.set(self.turn.get() + 1);
            endpoint.choose(self.turn.get());
        }
        endpoint.hold()
    }
}

impl Slot {
    fn new(state: &Rc<State>) -> Self {
        state.open.set(state.open.get() + 1);
        state.metrics.upstream_connections.add(1);
        state.counts.connections.add(1);
        Self(Rc::clone(state))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        debug_assert!(self.0.open.get() > 0);
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.metrics.upstream_connections.sub(1);
        self.0.counts.connections.sub(1);
        self.0.queue.wake_next();
    }
}
