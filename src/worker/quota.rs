//! How many pages an overloaded worker takes on. No clock, no IO.
//!
//! As many as can be made, which is known from what they take: pages made for each second of CPU
//! time, those turned away included in what it cost, whatever their API takes to answer. Where a
//! queue stands all the same, as another program has the CPU too, a smaller part of that, and
//! nothing for as long as the queue takes.

use std::time::{Duration, Instant};

use crate::limits::{
    OVERLOAD_BURST_MIN, OVERLOAD_RATE_PER_S_MIN, QUEUE_WINDOW, QUEUE_WINDOWS_CALM,
};
use crate::site::Priority;

/// A token bucket whose rate follows the load.
#[derive(Debug)]
pub(super) struct Quota {
    /// What can be made a second by a worker that has the CPU to itself.
    capacity_per_s: f64,
    /// And at least, whatever it is busy with.
    least_per_s: f64,
    /// The part of that which is taken on.
    part: f64,
    tokens: f64,
    filled: Instant,
    /// Pages taken on at once are what can be made in this time, seconds.
    burst_s: f64,
    /// How long the queue was in the window before.
    queue_before: Duration,
    /// Windows without a 503, or without much to do.
    calm: u32,
}

/// What was seen in a moment.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) took: Duration,
    /// CPU time used.
    pub(super) busy: Duration,
    /// Pages finished, and taken on.
    pub(super) pages: u64,
    pub(super) taken: u64,
    /// Visitors turned away.
    pub(super) shed: u64,
    /// How long the queue was at least, and the part of it that waited to be made.
    pub(super) queue: Duration,
    pub(super) line: Duration,
    /// What is none.
    pub(super) low: Duration,
}

impl Quota {
    pub(super) fn new(per_s: f64, now: Instant) -> Self {
        let mut quota = Self {
            capacity_per_s: per_s,
            least_per_s: per_s * (1.0 - TURNING_AWAY_MAX),
            part: PART_MAX,
            tokens: 0.0,
            filled: now,
            burst_s: BURST_S_MIN,
            queue_before: Duration::ZERO,
            calm: 0,
        };
        quota.tokens = quota.burst();
        quota
    }

    /// Pages taken on a second.
    fn per_s(&self) -> f64 {
        (self.capacity_per_s * self.part).max(OVERLOAD_RATE_PER_S_MIN)
    }

    /// Pages taken on at once.
    fn burst(&self) -> f64 {
        (self.per_s() * self.burst_s).max(OVERLOAD_BURST_MIN)
    }

    /// Whether a page is taken on. Those of higher priority may use what others must leave.
    pub(super) fn take(&mut self, now: Instant, priority: Priority) -> bool {
        let burst = self.burst();
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + since * self.per_s()).min(burst);
        let left_to_others = match priority {
            Priority::High => 0.0,
            Priority::Normal => burst / 4.0,
            Priority::Low => burst / 2.0,
        };
        let taken = self.tokens >= left_to_others + 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    /// Follows what was seen; true when the worker is not overloaded any more.
    pub(super) fn adjust(&mut self, seen: &Moment) -> bool {
        self.learn(seen.pages, seen.busy);
        let is_idle = seen.busy.as_secs_f64() < seen.took.as_secs_f64() * BUSY;
        let queue_before = std::mem::replace(&mut self.queue_before, seen.queue);
        if seen.queue <= seen.low {
            self.part = (self.part * RAISED_TO).min(PART_MAX);
            if seen.shed > 0 && is_idle {
                // Idle at times, and at others too much for it: they come together.
                self.let_in_together();
            }
            // One that turns visitors away, however many it lets in together, need not.
            let is_calm = seen.shed == 0 || (is_idle && self.burst_s >= BURST_S_MAX);
            self.calm = if is_calm { self.calm + 1 } else { 0 };
            return self.calm >= QUEUE_WINDOWS_CALM;
        }
        self.calm = 0;
        let is_own = !is_idle || seen.line > seen.low;
        let grows = seen.queue > queue_before + seen.low;
        if is_own || grows || seen.taken as f64 > seen.pages as f64 * OVERDONE {
            self.lower(seen.queue);
        } else {
            // Late, and not by its own work: fewer pages would help nobody.
            self.let_in_together();
        }
        false
    }

    /// So many pages were made in so much of the CPU's time.
    fn learn(&mut self, pages: u64, busy: Duration) {
        if pages >= PAGES_MIN && !busy.is_zero() {
            let seen_per_s = (pages as f64 / busy.as_secs_f64()).max(self.least_per_s);
            let more = seen_per_s - self.capacity_per_s;
            self.capacity_per_s += more * if more > 0.0 { LEARNT_MORE } else { LEARNT };
        }
    }

    /// A queue stands: less is taken on.
    fn lower(&mut self, queue: Duration) {
        self.part = (self.part * LOWERED_TO).max(PART_MIN);
        self.burst_s = (self.burst_s / BURST_STEP).max(BURST_S_MIN);
        self.pay_back(queue, PAID_BACK_MAX);
    }

    /// Takes on nothing for as long as a queue takes, but no longer than a part of a window.
    pub(super) fn pay_back(&mut self, queue: Duration, window_part: f64) {
        let most = self.per_s() * QUEUE_WINDOW.as_secs_f64() * window_part;
        let queue = self.per_s() * queue.as_secs_f64();
        self.tokens = (self.tokens - queue).max(-most);
    }

    /// More is taken on at once.
    fn let_in_together(&mut self) {
        self.burst_s = (self.burst_s * BURST_STEP).min(BURST_S_MAX);
    }
}

/// Pages that are taken on at once are what can be made in so long, at least and at most, seconds.
const BURST_S_MIN: f64 = 0.002;
const BURST_S_MAX: f64 = QUEUE_WINDOW.as_millis() as f64 / 1000.0;
/// By how much that becomes more or less in a window.
const BURST_STEP: f64 = 1.5;
/// Pages that tell what pages take.
const PAGES_MIN: u64 = 8;
/// How much of what a window tells is believed; of a capacity that is larger than was known, more:
/// overload begins with many new connections, and pages seem to take more than they do.
const LEARNT: f64 = 0.3;
const LEARNT_MORE: f64 = 0.7;
/// The part of what can be made that is taken on at most, so that a queue becomes shorter.
const PART_MAX: f64 = 0.98;
/// And at least, when the CPU is another program's for most of the time.
const PART_MIN: f64 = 0.1;
/// What turning visitors away may take of what was known to be possible. Those who ask again and
/// again without waiting would have ever more of it.
const TURNING_AWAY_MAX: f64 = 0.5;
/// By how much that changes in a window.
const LOWERED_TO: f64 = 0.95;
const RAISED_TO: f64 = 1.03;
/// The part of a window in which nothing is taken on, for a queue that goes on standing: what makes
/// the worker late may be no queue.
const PAID_BACK_MAX: f64 = 0.8;
/// More than this many times of what is finished is too much.
const OVERDONE: f64 = 1.25;
/// The part of its time that a worker uses when it is not idle.
const BUSY: f64 = 0.9;
