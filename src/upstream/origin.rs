//! One upstream as a worker sees it: its connections, and what keeps both sides out of trouble.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::driver::usual::Usual;
use crate::limits::{
    COUNTED_UPSTREAMS_MAX, LATENCY_SAMPLES_MAX, PATIENCE_MIN, SERVICE_SAMPLES_MAX,
    UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_FIRST,
};
use crate::metrics::{self, UpstreamMetrics, WorkerMetrics};
use crate::site::UpstreamPlan;

use super::breaker::{Breaker, Change, Permit, Verdict};
use super::budget::Budget;
use super::client::Seat;
use super::connection::Response;
use super::endpoint::Endpoint;
use super::error::{FetchError, Phase};
use super::latency::Latency;
use super::pool::{self, Pool};
use super::queue::Gate;

/// One upstream, on one worker.
pub(super) struct Origin<D: Driver> {
    /// Which of all that this worker ever had.
    pub(super) id: u64,
    pub(super) plan: UpstreamPlan,
    pub(super) pool: Pool<D>,
    /// Before all that is in flight.
    pub(super) gate: Gate,
    /// How large its answers are.
    pub(super) usual: Usual,
    pub(super) budget: RefCell<Budget>,
    /// How long its exchanges take, where that decides when one is hedged.
    pub(super) latency: Option<RefCell<Latency>>,
    /// How long it takes to answer once there is a connection, or an address to open one to.
    service: RefCell<Latency>,
    breaker: Option<RefCell<Breaker>>,
    /// The addresses that the pool has, to notice when they change.
    addresses: RefCell<Arc<Vec<SocketAddr>>>,
    metrics: Arc<WorkerMetrics>,
    /// What is counted of this upstream alone.
    pub(super) counts: Arc<UpstreamMetrics>,
}

impl<D: Driver> Origin<D> {
    pub(super) fn new(
        id: u64,
        plan: &UpstreamPlan,
        seat: Seat,
        metrics: &Arc<WorkerMetrics>,
    ) -> Self {
        let now = D::now();
        let bounds = bounds(plan, seat);
        let counts = metrics.upstreams.named(&plan.name, COUNTED_UPSTREAMS_MAX);
        counts.set_breaker(match plan.breaker {
            Some(_) => metrics::Breaker::Closed,
            None => metrics::Breaker::Missing,
        });
        let by_latency = plan.hedge.is_some_and(|hedge| hedge.after.is_none());
        Self {
            id,
            plan: plan.clone(),
            pool: Pool::new(bounds, Arc::clone(metrics), Arc::clone(&counts)),
            gate: Gate::new(plan.max_in_flight),
            usual: answers(),
            budget: RefCell::new(Budget::new(now)),
            latency: by_latency.then(|| RefCell::new(Latency::new(LATENCY_SAMPLES_MAX))),
            service: RefCell::new(Latency::new(SERVICE_SAMPLES_MAX)),
            breaker: plan.breaker.map(|policy| RefCell::new(Breaker::new(policy, now))),
            addresses: RefCell::default(),
            metrics: Arc::clone(metrics),
            counts,
        }
    }

    /// Goes along where there are descriptors for more or fewer connections.
    pub(super) fn rebound(&self, plan: &UpstreamPlan, seat: Seat) {
        self.pool.rebound(bounds(plan, seat));
    }

    /// Goes along where the addresses have changed.
    pub(super) fn follow(&self, addresses: &Arc<Vec<SocketAddr>>) {
        if !Arc::ptr_eq(&self.addresses.borrow(), addresses) {
            self.pool.move_to(addresses);
            self.addresses.replace(Arc::clone(addresses));
        }
    }

    /// Whether a fetch has one try and no more.
    pub(super) fn is_plain(&self) -> bool {
        self.plan.retry.is_none() && self.plan.hedge.is_none()
    }

    /// Whether its breaker lets all through.
    pub(super) fn is_closed(&self) -> bool {
        self.breaker.as_ref().is_none_or(|breaker| breaker.borrow().is_closed())
    }

    /// Leave to ask it.
    ///
    /// # Errors
    /// [`FetchError::Open`] when its breaker is.
    pub(super) fn admit(&self, now: Instant) -> Result<Watch<'_>, FetchError> {
        let Some(breaker) = &self.breaker else { return Ok(Watch { breaker: None }) };
        let mut state = breaker.borrow_mut();
        match state.admit(now) {
            Ok(permit) => {
                if !state.is_closed() {
                    self.counts.set_breaker(metrics::Breaker::Probing);
                }
                Ok(Watch { breaker: Some((breaker, permit)) })
            }
            Err(wait) => {
                self.counts.rejected_breaker.add(1);
                self.metrics.upstream_breaker_rejects.add(1);
                Err(FetchError::Open(wait))
            }
        }
    }

    /// Notes what became of an exchange: for the breaker, and for the address it was with, if it
    /// came that far.
    pub(super) fn settle(
        &self,
        mut watch: Watch<'_>,
        endpoint: Option<&Endpoint<D>>,
        verdict: Verdict,
        took: Duration,
        now: Instant,
    ) {
        match (verdict, endpoint) {
            (Verdict::Good, Some(endpoint)) => endpoint.passed(now),
            (Verdict::Failed, Some(endpoint)) => self.failed(endpoint, now),
            _ => {}
        }
        let Some((breaker, permit)) = watch.breaker.take() else { return };
        let mut state = breaker.borrow_mut();
        let change = state.settle(permit, verdict, took, now);
        if change != Change::None || !state.is_closed() {
            self.counts.set_breaker(match state.is_closed() {
                true => metrics::Breaker::Closed,
                false => metrics::Breaker::Open,
            });
        }
        match change {
            Change::None => {}
            Change::Opened => {
                self.metrics.upstream_breaker_opens.add(1);
                let upstream = self.plan.name.as_str();
                tracing::warn!(upstream, "an upstream fails: its breaker opens, it is left alone");
            }
            Change::Closed => {
                let upstream = self.plan.name.as_str();
                tracing::info!(upstream, "an upstream is well again: its breaker closes");
            }
        }
    }

    /// An exchange with an address failed, or a connect to it.
    pub(super) fn failed(&self, endpoint: &Endpoint<D>, now: Instant) {
        if let Some(policy) = &self.plan.eject {
            self.pool.failed(endpoint, policy, now);
        }
    }

    /// What an exchange that was good says of the next: it took so long, from the connection on.
    pub(super) fn served(&self, took: Duration) {
        self.service.borrow_mut().record(took);
    }

    /// When an answer to what is asked then will most likely come in time, at the latest.
    pub(super) fn latest(&self, deadline: Instant, now: Instant) -> Instant {
        let usual = self.service.borrow().percentile(50, 1).unwrap_or_default();
        deadline.checked_sub(usual).unwrap_or(now)
    }

    /// How long it must have been waited for before being late says something about the upstream:
    /// clearly longer than it usually takes. What else a page waited for is not this one's fault.
    fn patience(&self) -> Duration {
        let usual = self.service.borrow().percentile(95, SERVICE_SAMPLES_MIN);
        let patience = usual.map_or(PATIENCE_UNKNOWN, |usual| usual.saturating_mul(2));
        patience.max(PATIENCE_MIN).min(self.plan.deadline).min(self.plan.header_timeout)
    }

    /// What the outcome of a fetch says of the upstream, which had so much time for it.
    pub(super) fn verdict(
        &self,
        outcome: Result<&Response, &FetchError>,
        given: Duration,
    ) -> Verdict {
        let failed = match outcome {
            Ok(response) => response.head.status >= 500,
            Err(FetchError::Timeout(Phase::Connect | Phase::Handshake, _)) => {
                given >= PATIENCE_MIN.min(self.plan.deadline)
            }
            Err(FetchError::Timeout(..)) => given >= self.patience(),
            Err(error) if error.is_ours() => return Verdict::Unknown,
            Err(_) => true,
        };
        match (failed, outcome) {
            (true, _) => Verdict::Failed,
            (false, Ok(_)) => Verdict::Good,
            (false, Err(_)) => Verdict::Unknown,
        }
    }
}

/// This worker's part of what its pool may have.
fn bounds(plan: &UpstreamPlan, seat: Seat) -> pool::Bounds {
    let connections_max = seat.share(plan.connections_most);
    pool::Bounds {
        connections_max,
        idle_max: plan.max_idle.min(connections_max),
        idle_timeout: plan.idle_timeout,
    }
}

/// How long an answer must have been waited for where nothing is known of what is usual.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(1);
/// Answers after which it is known.
const SERVICE_SAMPLES_MIN: u32 = 8;

/// How large answers are, while nothing is known of them.
pub(super) fn answers() -> Usual {
    Usual::supposed(UPSTREAM_READ_BYTES_FIRST, UPSTREAM_READ_BYTES)
}

/// An exchange that the breaker has let through. One that is dropped before it has ended gives
/// its place among the probes back.
pub(super) struct Watch<'a> {
    breaker: Option<(&'a RefCell<Breaker>, Permit)>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some((breaker, permit)) = self.breaker.take() {
            breaker.borrow_mut().give_back(permit);
        }
    }
}
