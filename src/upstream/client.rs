//! A worker's HTTP client: every upstream of the site, each with its pool.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::driver::buffers::Buffers;
use crate::driver::timers::Timers;
use crate::http::{self, Limits, Method, RequestLine};
use crate::limits;
use crate::metrics::WorkerMetrics;
use crate::site::UpstreamPlan;

use super::address::Directory;
use super::connection::{Bounds, Connection, Failure, Response};
use super::error::{FetchError, Phase};
use super::pool::{self, Lease, Pool, Slot};

/// A worker's HTTP client. A clone is the same client.
pub struct Client<D: Driver>(Rc<Inner<D>>);

struct Inner<D: Driver> {
    origins: Vec<Origin<D>>,
    directory: Directory,
    timers: Timers<D>,
    /// For requests, which are small.
    requests: Buffers,
    /// For responses: an idle connection holds one too, for its pending read.
    responses: Buffers,
    metrics: Arc<WorkerMetrics>,
}

/// One upstream as this worker sees it.
struct Origin<D: Driver> {
    plan: UpstreamPlan,
    pool: Pool<D>,
    /// Which address the next connection goes to.
    turn: Cell<usize>,
}

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which upstream, by its place in the site.
    pub upstream: usize,
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded, the upstream's base path included.
    pub target: &'a [u8],
    /// All other header fields, the upstream's own included, each with its CRLF.
    pub headers: &'a [u8],
    /// When the response must be whole.
    pub deadline: Instant,
}

impl<D: Driver> Clone for Client<D> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<D: Driver> Client<D> {
    /// A client for these upstreams, at the addresses of `directory` (same order).
    pub fn new(
        upstreams: &[UpstreamPlan],
        directory: Directory,
        timers: Timers<D>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let origin = |plan: &UpstreamPlan| {
            let bounds = pool::Bounds {
                connections_max: plan.max_connections,
                idle_max: plan.max_idle,
                idle_timeout: plan.idle_timeout,
            };
            let pool = Pool::new(bounds, Arc::clone(&metrics));
            Origin { plan: plan.clone(), pool, turn: Cell::new(0) }
        };
        let origins = upstreams.iter().map(origin).collect();
        let (requests, responses) = (Buffers::default(), Buffers::default());
        Self(Rc::new(Inner { origins, directory, timers, requests, responses, metrics }))
    }

    /// A buffer for the target or the fields of a request.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.0.requests.take()
    }

    /// Takes buffers back.
    pub(crate) fn give_back(&self, buffers: [Vec<u8>; 2]) {
        buffers.into_iter().for_each(|buffer| self.0.requests.put(buffer));
    }

    /// The worker's timers.
    pub(crate) fn timers(&self) -> &Timers<D> {
        &self.0.timers
    }

    /// What its worker counts.
    pub(crate) fn metrics(&self) -> &WorkerMetrics {
        &self.0.metrics
    }

    /// Fetches: on a pooled connection where there is one, else on a new one. A pooled connection
    /// that dies before the first byte of its answer is replaced once, by a new one, if the
    /// method is idempotent (RFC 9110 section 9.2.2).
    ///
    /// # Errors
    /// [`FetchError`]; a response with an error status is not one.
    pub async fn fetch(&self, request: Request<'_>) -> Result<Response, FetchError> {
        let tally = Tally::start(&self.0.metrics);
        let outcome = self.attempt(request).await;
        tally.end(outcome.is_ok());
        outcome
    }

    /// Takes back the buffer of a response that has been read.
    pub fn recycle(&self, response: Response) {
        self.0.responses.put(response.buffer);
    }

    /// Closes what has been idle for too long. To be called a few times a second.
    pub fn sweep(&self) {
        let now = D::now();
        for origin in &self.0.origins {
            origin.pool.sweep(now);
        }
    }

    async fn attempt(&self, request: Request<'_>) -> Result<Response, FetchError> {
        let inner = &*self.0;
        let Some(origin) = inner.origins.get(request.upstream) else {
            return Err(FetchError::NoAddress { host: String::new() });
        };
        let plan = &origin.plan;
        let deadline = request.deadline;
        let bounds = Bounds {
            deadline,
            deadline_limit: deadline.saturating_duration_since(D::now()),
            header_timeout: plan.header_timeout,
            limits: Limits { body_bytes_max: plan.max_body, ..Limits::response() },
        };
        let mut bytes = inner.requests.take();
        let line = RequestLine {
            method: request.method,
            target: request.target,
            host: plan.authority.as_bytes(),
        };
        http::write_request_head(&mut bytes, line, request.headers, None)
            .map_err(FetchError::Request)?;
        let mut fresh = false;
        loop {
            let (connection, reused) =
                inner.connection(request.upstream, origin, &bounds, fresh).await?;
            let exchange = connection.exchange(
                bytes,
                request.method,
                &bounds,
                &inner.requests,
                &inner.responses,
            );
            match exchange.await {
                Ok((mut response, connection)) => {
                    if let Some(connection) = connection {
                        origin.pool.put(connection, D::now());
                    }
                    response.reused = reused;
                    return Ok(response);
                }
                Err(Failure { unanswered: Some(request_bytes), .. })
                    if reused && request.method.is_idempotent() =>
                {
                    inner.metrics.upstream_retries.add(1);
                    bytes = request_bytes;
                    fresh = true;
                }
                Err(Failure { error, .. }) => return Err(error),
            }
        }
    }
}

impl<D: Driver> Inner<D> {
    /// A connection, and whether it has served before.
    async fn connection(
        &self,
        upstream: usize,
        origin: &Origin<D>,
        bounds: &Bounds,
        fresh: bool,
    ) -> Result<(Connection<D>, bool), FetchError> {
        let now = D::now();
        let lease = match origin.pool.try_lease(now, fresh) {
            Some(lease) => lease,
            None => {
                let wait = origin.pool.lease(now, fresh);
                match self.until(bounds.deadline, wait).await {
                    Some(Some(lease)) => lease,
                    Some(None) => return Err(FetchError::Busy),
                    None => return Err(FetchError::Timeout(Phase::Queue, bounds.deadline_limit)),
                }
            }
        };
        match lease {
            Lease::Reused(connection) => {
                self.metrics.upstream_reused.add(1);
                Ok((connection, true))
            }
            Lease::Open(slot) => {
                let connection = self.connect(upstream, origin, bounds, slot).await?;
                Ok((connection, false))
            }
        }
    }

    /// Connects to the next address, and to the others in turn while they refuse.
    async fn connect(
        &self,
        upstream: usize,
        origin: &Origin<D>,
        bounds: &Bounds,
        slot: Slot<D>,
    ) -> Result<Connection<D>, FetchError> {
        let addresses = self.directory.get(upstream);
        let mut failure = FetchError::NoAddress { host: origin.plan.host.clone() };
        let count = addresses.map_or(0, |addresses| addresses.count());
        for _ in 0..count.min(limits::CONNECT_ATTEMPTS_MAX) {
            let turn = origin.turn.get();
            origin.turn.set(turn.wrapping_add(1));
            let Some(address) = addresses.and_then(|addresses| addresses.nth(turn)) else { break };
            let now = D::now();
            let deadline = bounds.deadline.min(now + origin.plan.connect_timeout);
            let limit = deadline.saturating_duration_since(now);
            self.metrics.upstream_connects.add(1);
            match self.until(deadline, D::connect(address)).await {
                Some(Ok((reader, writer))) => {
                    let timer = self.timers.timer();
                    return Ok(Connection::new(reader, writer, timer, slot, &self.responses));
                }
                Some(Err(error)) => failure = FetchError::Connect(error),
                None => failure = FetchError::Timeout(Phase::Connect, limit),
            }
            if limit == Duration::ZERO {
                break;
            }
        }
        Err(failure)
    }

    async fn until<T>(&self, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
        self.timers.timer().until(deadline, work).await.ok()
    }
}

/// Counts an exchange to its end, whichever it is.
struct Tally<'a> {
    metrics: &'a WorkerMetrics,
    ended: bool,
}

impl<'a> Tally<'a> {
    fn start(metrics: &'a WorkerMetrics) -> Self {
        metrics.upstream_exchanges.add(1);
        Self { metrics, ended: false }
    }

    fn end(mut self, whole: bool) {
        self.ended = true;
        let counter = match whole {
            true => &self.metrics.upstream_responses,
            false => &self.metrics.upstream_errors,
        };
        counter.add(1);
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.upstream_cancelled.add(1);
        }
    }
}
