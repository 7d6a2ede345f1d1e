//! A worker's HTTP client: every upstream of the site, each with its connections and its policy.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::driver::Driver;
use crate::driver::buffers::Buffers;
use crate::driver::timers::Timers;
use crate::http::{FieldLines, Method};
use crate::metrics::WorkerMetrics;
use crate::site::UpstreamPlan;

use super::address::Directory;
use super::connection::Response;
use super::error::FetchError;
use super::exchange::Try;
use super::health;
use super::origin::Origin;
use super::queue::Pass;
use super::random::Random;

/// A worker's HTTP client. A clone is the same client.
pub struct Client<D: Driver>(Rc<Inner<D>>);

pub(super) struct Inner<D: Driver> {
    pub(super) origins: Vec<Rc<Origin<D>>>,
    /// The number that the next one gets, which none had before: what is kept of one that is gone
    /// is not another's.
    next_id: u64,
    pub(super) directory: Directory,
    pub(super) timers: Timers<D>,
    /// For requests, which are small.
    pub(super) requests: Buffers,
    /// For responses: an idle connection holds one too, for its pending read.
    pub(super) responses: Buffers,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) random: Random,
}

/// Which of a server's workers a client belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its number, from 0 on.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// Makes what it does by chance differ from one start of the server to the next.
    pub seed: u64,
}

impl Seat {
    /// The only worker there is.
    pub const ALONE: Self = Self { number: 0, of: 1, seed: 0 };

    /// This worker's part of what is for the whole server: at least one.
    pub(super) fn share(self, all: usize) -> usize {
        let (each, rest) = (all / self.of.max(1), all % self.of.max(1));
        (each + usize::from(self.number < rest)).max(1)
    }
}

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which upstream, by its place in the site. No wider, as pages that wait hold a few of these.
    pub upstream: u32,
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded, the upstream's base path included.
    pub target: &'a [u8],
    /// All other header fields, the upstream's own included. Host and what frames the body are
    /// not among them.
    pub headers: FieldLines<'a>,
    /// What is sent with it, if anything is. Not a slice, which is longer: pages that wait without
    /// a body are to stay small.
    pub body: Option<&'a Vec<u8>>,
    /// When the response must be whole.
    pub deadline: Instant,
}

/// The place of an upstream in a site, as a request has it. A site with more upstreams than that
/// does not fit into memory.
pub fn place(upstream: usize) -> u32 {
    u32::try_from(upstream).unwrap_or(u32::MAX)
}

impl Request<'_> {
    /// The place of its upstream in the site.
    pub(super) fn place(&self) -> usize {
        self.upstream as usize
    }

    /// The Content-Length to send, if one is. Where a body would mean something it is told that
    /// there is none (RFC 9110 section 8.6).
    pub(super) fn body_length(&self) -> Option<u64> {
        let means_something = matches!(self.method, Method::Post | Method::Put | Method::Patch);
        let none = means_something.then_some(0);
        self.body.map(|body| body.len() as u64).or(none)
    }
}

impl<D: Driver> Clone for Client<D> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<D: Driver> Client<D> {
    /// A client for these upstreams, at the addresses of `directory` (same order). Called inside
    /// [`Driver::run`].
    pub fn new(
        upstreams: &[UpstreamPlan],
        directory: Directory,
        seat: Seat,
        timers: Timers<D>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let origins = (0..).zip(upstreams);
        let origins = origins.map(|(id, plan)| Rc::new(Origin::new(id, plan, seat, &metrics)));
        let origins = origins.collect();
        let next_id = upstreams.len() as u64;
        let (requests, responses) = (Buffers::default(), Buffers::default());
        let random = Random::new(seat.seed ^ (seat.number as u64).rotate_right(16));
        let inner =
            Inner { origins, next_id, directory, timers, requests, responses, metrics, random };
        Self::start(inner)
    }

    /// A client for upstreams of which this one knows some: those keep their connections and all
    /// that is known of them. It is the same client where nothing has changed.
    pub fn go_on(&self, upstreams: &[UpstreamPlan], directory: Directory, seat: Seat) -> Self {
        let old = &self.0.origins;
        let is_same = |(origin, plan): (&Rc<Origin<D>>, &UpstreamPlan)| origin.plan.is_like(plan);
        let are_same = old.len() == upstreams.len() && old.iter().zip(upstreams).all(is_same);
        if are_same && Arc::ptr_eq(&self.0.directory, &directory) {
            old.iter().zip(upstreams).for_each(|(origin, plan)| origin.rebound(plan, seat));
            return self.clone();
        }
        let metrics = Arc::clone(&self.0.metrics);
        let mut next_id = self.0.next_id;
        let mut origins = Vec::with_capacity(upstreams.len());
        for plan in upstreams {
            if let Some(known) = old.iter().find(|origin| origin.plan.is_like(plan)) {
                known.rebound(plan, seat);
                origins.push(Rc::clone(known));
                continue;
            }
            origins.push(Rc::new(Origin::new(next_id, plan, seat, &metrics)));
            next_id += 1;
        }
        Self::start(Inner {
            origins,
            next_id,
            directory,
            timers: self.0.timers.clone(),
            requests: self.0.requests.clone(),
            responses: self.0.responses.clone(),
            metrics,
            random: self.0.random.another(),
        })
    }

    fn start(inner: Inner<D>) -> Self {
        let client = Self(Rc::new(inner));
        client.0.follow();
        health::start(&client.0);
        client
    }

    /// Which upstream that is, of all that this worker ever had.
    pub(crate) fn identity(&self, upstream: usize) -> u64 {
        self.0.origins.get(upstream).map_or(u64::MAX, |origin| origin.id)
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

    /// Fetches, as the policy of the upstream says: with retries where it has them, and not at all
    /// where it is left alone. In any case a pooled connection that dies before the first byte of
    /// its answer is replaced once, by a new one, if the method is idempotent (RFC 9110 section
    /// 9.2.2).
    ///
    /// # Errors
    /// [`FetchError`]; a response with an error status is not one.
    // Nothing from here to the kernel is an `async fn`: a page that waits holds all of it.
    #[expect(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
    pub fn fetch<'a>(
        &'a self,
        request: Request<'a>,
    ) -> impl Future<Output = Result<Response, FetchError>> + use<'a, D> {
        async move {
            let tally = Tally::start(&self.0.metrics);
            let outcome = match self.0.stand_in(request.place()) {
                None => self.0.fetch(&request).await,
                // Boxed: a page that waits as usual is not to be larger for this.
                Some(stand_in) => Box::pin(self.0.through(stand_in, &request)).await,
            };
            tally.end(outcome.is_ok());
            outcome
        }
    }

    /// Takes back the buffer of a response that has been read.
    pub fn recycle(&self, response: Response) {
        self.0.responses.put(response.buffer);
    }

    /// Closes what has been idle for too long, and goes along where addresses have changed. To be
    /// called a few times a second.
    pub fn sweep(&self) {
        self.0.follow();
        let now = D::now();
        for origin in &self.0.origins {
            origin.pool.sweep(now);
        }
    }
}

impl<D: Driver> Inner<D> {
    #[expect(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
    pub(super) fn fetch<'a>(
        &'a self,
        request: &'a Request<'a>,
    ) -> impl Future<Output = Result<Response, FetchError>> + use<'a, D> {
        async move {
            let Some(origin) = self.origins.get(request.place()) else {
                return Err(FetchError::NoUpstream(request.place()));
            };
            let _pass = match origin.gate.try_enter() {
                Some(pass) => pass,
                None => Box::pin(self.queue(origin, request)).await?,
            };
            if origin.is_plain() {
                return self.attempt(origin, Try { request, course: None }).await;
            }
            // Boxed: a page that waits for a plain upstream is not to be larger for this.
            Box::pin(self.persist(origin, request)).await
        }
    }

    /// Waits to be in flight, at the bound.
    async fn queue<'a>(
        &self,
        origin: &'a Origin<D>,
        request: &Request<'_>,
    ) -> Result<Pass<'a>, FetchError> {
        let now = D::now();
        // Whoever would wait for nothing is told at once.
        drop(origin.admit(now)?);
        let full = || {
            self.metrics.upstream_queue_rejects.add(1);
            origin.counts.rejected_full.add(1);
            FetchError::Full
        };
        let deadline = origin.latest(request.deadline, now).min(now + origin.plan.queue_timeout);
        let entered = self.timers.timer().until(deadline, origin.gate.enter()).await;
        let pass = entered.ok().flatten().ok_or_else(full)?;
        // What is usual may have become known meanwhile.
        let now = D::now();
        if now <= origin.latest(request.deadline, now) { Ok(pass) } else { Err(full()) }
    }

    /// Goes along where addresses have changed.
    fn follow(&self) {
        for (origin, addresses) in self.origins.iter().zip(self.directory.iter()) {
            origin.follow(&addresses.now());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_whole_server_is_divided_and_nobody_gets_nothing() {
        let share = |all, of| -> Vec<usize> {
            (0..of).map(|number| Seat { number, of, seed: 0 }.share(all)).collect()
        };
        assert_eq!(share(10, 4), [3, 3, 2, 2]);
        assert_eq!(share(2, 3), [1, 1, 1]);
        assert_eq!(Seat::ALONE.share(7), 7);
    }
}
