//! Whether a worker is overloaded, and how many pages it then takes on. No clock, no IO.
//!
//! What tells is how late the loop is: a tick that comes late by so much means that whatever was
//! readable meanwhile has waited about as long. A burst makes a loop late for a moment; when not
//! one tick of a whole window came in time, there is a queue that stands (as in CoDel, RFC 8289).
//! So is one that is foreseen to, see [`Forecast`](super::forecast::Forecast).
//!
//! Then as many pages are taken on as can be made, see [`Quota`], so that the queue stays short and
//! the CPU busy.
//!
//! Refused: a queue of its own. What is not taken on now is answered now.

use std::time::{Duration, Instant};

use crate::limits::{OVERLOAD_RATE_PER_S_MIN, QUEUE_WINDOW, RETRY_AFTER_S_MAX, RETRY_AFTER_S_MIN};
use crate::site::Priority;

use super::forecast::PAGES_LEAST;
use super::quota::{Moment, Quota};

/// What a worker knows of its load.
#[derive(Debug)]
pub(super) struct Overload {
    target: Duration,
    window: Window,
    /// Since when no tick was in time, and what was done by then.
    late_since: Option<(Instant, Done)>,
    /// The tick before, and what was done by then.
    before: (Instant, Done),
    /// What is taken on, while the worker is overloaded.
    quota: Option<Quota>,
    /// Pages finished a second, of late.
    drain_per_s: f64,
    /// Visitors who were told to come back, of late.
    told: f64,
}

/// What a worker has done, ever.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Requests begun, and pages finished.
    pub(super) requests: u64,
    pub(super) pages: u64,
    /// Pages that are begun and not finished, at that moment.
    pub(super) in_flight: u64,
    /// CPU time used.
    pub(super) busy: Duration,
}

/// What was seen since the last adjustment.
#[derive(Debug)]
struct Window {
    start: Instant,
    /// What was done before it.
    done: Done,
    /// How late it was, or how long the first page waited to be made: the least of the longer one.
    queue_min: Duration,
    /// How long the first page waited to be made, the least.
    line_min: Duration,
    taken: u64,
    shed: u64,
}

impl Overload {
    pub(super) fn new(target: Duration, now: Instant) -> Self {
        Self {
            target,
            window: Window::new(now, Done::default()),
            late_since: None,
            before: (now, Done::default()),
            quota: None,
            drain_per_s: 0.0,
            told: 0.0,
        }
    }

    /// Whether the worker is overloaded.
    pub(super) fn is_overloaded(&self) -> bool {
        self.quota.is_some()
    }

    /// Pages finished a second, of late.
    pub(super) fn drain_per_s(&self) -> f64 {
        self.drain_per_s
    }

    /// It is foreseen that a queue will stand, which so many pages a second would drain in so long.
    pub(super) fn foresee(&mut self, now: Instant, per_s: f64, queue: Duration, done: Done) {
        if self.quota.is_none() {
            self.begin(now, per_s, queue, done);
        }
    }

    fn begin(&mut self, now: Instant, per_s: f64, queue: Duration, done: Done) {
        let mut quota = Quota::new(per_s.max(OVERLOAD_RATE_PER_S_MIN), now);
        quota.pay_back(queue, PAID_BACK_FIRST);
        self.quota = Some(quota);
        self.late_since = None;
        self.window = Window::new(now, done);
        tracing::warn!(
            queue_ms = queue.as_millis(),
            pages_per_s = per_s as u64,
            "more visitors than pages that can be made: the others are told to come back"
        );
    }

    /// A tick that was so late; how long the first page in line has waited to be made; and what was
    /// done by then.
    pub(super) fn tick(&mut self, now: Instant, delay: Duration, line: Duration, done: Done) {
        let (last, before) = std::mem::replace(&mut self.before, (now, done));
        let visitors = done.requests.saturating_sub(before.requests);
        // One page that takes long makes the loop late, and nobody waits: the next visitor comes
        // when it is done.
        let are_few = visitors.max(done.in_flight) <= VISITORS_FEW;
        let delay = if are_few { Duration::ZERO } else { delay };
        // A crowded loop goes from stint to stint, and is a bit late whatever it does.
        let queue = line.max(delay.saturating_sub(self.target / EXCUSED_PART));
        self.window.queue_min = self.window.queue_min.min(queue);
        self.window.line_min = self.window.line_min.min(line);
        if delay <= self.target {
            self.late_since = None;
        } else if self.quota.is_none() {
            // Less than that: it was the machine that stood still.
            let is_own = done.busy.saturating_sub(before.busy) >= delay / 2;
            if is_own && delay > self.target + QUEUE_WINDOW && visitors >= VISITORS_OF_CROWD {
                // As many as were begun would have been finished, had it been in time.
                let pages = done.pages.saturating_sub(before.pages).midpoint(visitors);
                let made_per_s = per_second(pages, now.saturating_duration_since(last));
                self.begin(now, made_per_s.max(self.drain_per_s), delay, done);
                return;
            }
            let (since, before) = *self.late_since.get_or_insert((now, done));
            let late_for = now.saturating_duration_since(since);
            if late_for >= QUEUE_WINDOW {
                let done_per_s = per_second(done.pages.saturating_sub(before.pages), late_for);
                self.begin(now, done_per_s.max(self.drain_per_s), delay, done);
                return;
            }
        }
        if now.saturating_duration_since(self.window.start) >= QUEUE_WINDOW {
            self.end_window(now, done);
        }
    }

    /// Whether a page is taken on, see [`Quota::take`].
    pub(super) fn take(&mut self, now: Instant, priority: Option<Priority>) -> bool {
        let Some(quota) = &mut self.quota else { return true };
        let taken = quota.take(now, priority);
        self.window.taken += u64::from(taken);
        taken
    }

    /// A visitor is told to come back, for this reason or another: after how many seconds. Those
    /// who were told so before come back too, and a worker makes so many pages a second; `chance`
    /// is any number, and spreads those who are told at the same time.
    pub(super) fn retry_after_s(&mut self, chance: u64, in_flight: u64) -> u8 {
        self.window.shed += 1;
        let waiting = self.told + self.window.shed as f64 + in_flight as f64;
        let wait_s = waiting / self.drain_per_s.max(1.0);
        let spread = 0.5 + (chance % 1024) as f64 / 1024.0;
        let seconds = wait_s * spread + f64::from(RETRY_AFTER_S_MIN);
        // A float that is too large, or none, becomes the nearest integer: nothing wraps.
        (seconds as u8).clamp(RETRY_AFTER_S_MIN, RETRY_AFTER_S_MAX)
    }

    fn end_window(&mut self, now: Instant, done: Done) {
        let window = std::mem::replace(&mut self.window, Window::new(now, done));
        let took = now.saturating_duration_since(window.start);
        let pages = done.pages.saturating_sub(window.done.pages);
        let busy = done.busy.saturating_sub(window.done.busy);
        let share = (took.as_secs_f64() / MEMORY_S).min(1.0);
        self.drain_per_s += (per_second(pages, took) - self.drain_per_s) * share;
        self.told = (self.told + window.shed as f64) * (1.0 - share);
        let Some(quota) = &mut self.quota else { return };
        let (queue, line, low) = (window.queue_min, window.line_min, self.target / LOW_PART);
        let (taken, shed) = (window.taken, window.shed);
        if quota.adjust(&Moment { took, busy, pages, taken, shed, queue, line, low }) {
            self.quota = None;
        }
    }
}

impl Window {
    fn new(start: Instant, done: Done) -> Self {
        let (queue_min, line_min) = (Duration::MAX, Duration::MAX);
        Self { start, done, queue_min, line_min, taken: 0, shed: 0 }
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(QUEUE_WINDOW.as_secs_f64() / 2.0)
}

/// So many are no queue, whatever their pages take.
const VISITORS_FEW: u64 = PAGES_LEAST as u64;
/// So many in one turn of the loop are a crowd, and not something that holds it up.
const VISITORS_OF_CROWD: u64 = 64;
/// For how many windows nothing is taken on at first, at most: until what stands is made.
const PAID_BACK_FIRST: f64 = 2.0;
/// Being late by this part of the target is no sign of a queue, on a crowded loop.
const EXCUSED_PART: u32 = 2;
/// A queue of this part of the target, in all of a window, is one that stands. Less is no delay at
/// all, as timers are not more precise.
const LOW_PART: u32 = 10;
/// How far back rates and those who were told to come back are remembered, seconds.
const MEMORY_S: f64 = 3.0;

#[cfg(test)]
mod tests;
