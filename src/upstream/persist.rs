//! What a fetch may cost beyond one try: retries after failures, and hedges against slow answers.
//!
//! Only idempotent methods (RFC 9110 section 9.2.2), hedges only of safe ones, and all within one
//! budget. Both prefer another
//! address than the one that has just failed, or that keeps us waiting.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use crate::driver::Driver;

use super::breaker::Verdict;
use super::client::{Inner, Request};
use super::connection::Response;
use super::error::FetchError;
use super::exchange::{Course, Try};
use super::origin::Origin;
use super::queue::Pass;
use super::retry::{self, Asked};

type Outcome = Result<Response, FetchError>;

impl<D: Driver> Inner<D> {
    /// Fetches, with retries and hedges as the upstream has them.
    pub(super) async fn persist(&self, origin: &Origin<D>, request: &Request<'_>) -> Outcome {
        origin.budget.borrow_mut().earn();
        let course = Course::default();
        let ask = Try { request, course: Some(&course) };
        let mut tries = 1;
        loop {
            let outcome = match origin.plan.hedge {
                Some(_) if request.method.is_safe() => self.hedged(origin, request, &course).await,
                _ => self.attempt(origin, ask).await,
            };
            let Some(pause) = self.pause_before_retry(origin, request, tries, &outcome) else {
                return outcome;
            };
            if let Ok(response) = outcome {
                self.responses.put(response.buffer);
            }
            self.timers.sleep(pause).await;
            course.avoid.set(course.at.get());
            tries += 1;
        }
    }

    /// After which pause to try again; none to leave it at this outcome.
    fn pause_before_retry(
        &self,
        origin: &Origin<D>,
        request: &Request<'_>,
        tries: usize,
        outcome: &Outcome,
    ) -> Option<Duration> {
        let policy = origin.plan.retry.as_ref()?;
        let is_wanted = request.method.is_idempotent() && retry::wants(policy, outcome);
        if tries >= policy.attempts || !is_wanted {
            return None;
        }
        let pause = retry::pause(policy, tries, &self.random);
        let pause = match outcome.as_ref().map_or(Asked::Nothing, retry::asked_pause) {
            Asked::Nothing => pause,
            // Those that were told the same time are not to come back at the same time.
            Asked::Pause(asked) => asked.saturating_add(pause),
            Asked::Unclear => return None,
        };
        let now = D::now();
        if pause >= request.deadline.saturating_duration_since(now) {
            return None;
        }
        self.spend(origin, now).then(|| {
            self.metrics.upstream_retried.add(1);
            origin.counts.retries.add(1);
            pause
        })
    }

    /// Asks, and asks once more where the answer does not come within the usual time. The first
    /// good answer counts; the other exchange is dropped, and its connection closed.
    async fn hedged(&self, origin: &Origin<D>, request: &Request<'_>, course: &Course) -> Outcome {
        let start = D::now();
        let mut first = pin!(self.attempt(origin, Try { request, course: Some(course) }));
        if let Some(after) = after(origin) {
            let mut timer = self.timers.timer();
            if let Ok(outcome) = timer.until(start + after, first.as_mut()).await {
                self.time(origin, start, &outcome);
                return outcome;
            }
            if let Some(_pass) = self.may_hedge(origin) {
                let other = Course { avoid: course.at.clone(), at: Cell::default() };
                let again = Try { request, course: Some(&other) };
                let second = pin!(self.attempt(origin, again));
                return self.race(origin, start, first, second, (course, &other)).await;
            }
        }
        let outcome = first.await;
        self.time(origin, start, &outcome);
        outcome
    }

    /// Whether a second exchange may be sent, with its place in flight if so.
    fn may_hedge<'a>(&self, origin: &'a Origin<D>) -> Option<Pass<'a>> {
        // A probe of an upstream that has just failed is to be one, not two.
        let pass = origin.gate.try_enter().filter(|_| origin.is_closed())?;
        self.spend(origin, D::now()).then(|| {
            self.metrics.upstream_hedges.add(1);
            origin.counts.hedges.add(1);
            pass
        })
    }

    /// The first good outcome of two exchanges; where none is good, that of the one that failed
    /// first, which waited for the other.
    async fn race(
        &self,
        origin: &Origin<D>,
        start: Instant,
        first: Pin<&mut impl Future<Output = Outcome>>,
        second: Pin<&mut impl Future<Output = Outcome>>,
        courses: (&Course, &Course),
    ) -> Outcome {
        let hedged_at = D::now();
        let (outcome, won) = match select(first, second).await {
            Either::Left((outcome, second)) => match is_good(origin, &outcome) {
                true => (outcome, false),
                false => match second.await {
                    other if is_good(origin, &other) => (other, true),
                    _ => (outcome, false),
                },
            },
            Either::Right((outcome, first)) => match is_good(origin, &outcome) {
                true => (outcome, true),
                false => (first.await, false),
            },
        };
        if won {
            self.metrics.upstream_hedges_won.add(1);
            self.time(origin, hedged_at, &outcome);
            // The first is still under way: it takes at least as long as it has.
            self.time(origin, start, &outcome);
            courses.0.at.set(courses.1.at.get());
        } else {
            self.time(origin, start, &outcome);
        }
        outcome
    }

    /// Notes how long a good answer took since `start`.
    fn time(&self, origin: &Origin<D>, start: Instant, outcome: &Outcome) {
        if let Some(latency) = origin.latency.as_ref().filter(|_| is_good(origin, outcome)) {
            let took = D::now().saturating_duration_since(start);
            latency.borrow_mut().record(took);
        }
    }

    /// Takes a try from the budget, if it has one.
    fn spend(&self, origin: &Origin<D>, now: Instant) -> bool {
        let taken = origin.budget.borrow_mut().take(now);
        if !taken {
            self.metrics.upstream_retries_denied.add(1);
        }
        taken
    }
}

/// After how long a second exchange is sent; none while nothing is known of the usual time.
fn after<D: Driver>(origin: &Origin<D>) -> Option<Duration> {
    let usual = || origin.latency.as_ref()?.borrow().p95();
    let after = origin.plan.hedge?.after.or_else(usual)?;
    Some(after.max(crate::limits::HEDGE_AFTER_MIN))
}

fn is_good<D: Driver>(origin: &Origin<D>, outcome: &Outcome) -> bool {
    origin.verdict(outcome.as_ref(), Duration::MAX) == Verdict::Good
}
