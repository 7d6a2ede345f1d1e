//! How many pages an overloaded worker takes on. No clock, no IO.
//!
//! As many as can be made, whatever their API takes to answer. That is known from what they take of
//! the CPU, and from what it takes to turn the others away, see [`Costs`]. Where a queue stands all
//! the same, as another program has the CPU too, a smaller part of that, and nothing for as long as
//! the queue takes.

use std::time::{Duration, Instant};

use crate::limits::{
    OVERLOAD_BURST_MIN, OVERLOAD_RATE_PER_S_MIN, QUEUE_WINDOW, QUEUE_WINDOWS_CALM,
};
use crate::site::Priority;

use super::costs::Costs;

/// A token bucket whose rate follows the load.
#[derive(Debug)]
pub(super) struct Quota {
    /// What pages take, and those who are turned away.
    costs: Costs,
    /// What can be made a second by a worker that has the CPU to itself.
    capacity_per_s: f64,
    /// And at least, whatever it is busy with.
    least_per_s: f64,
    /// Visitors who come a second: at once when there are more, slowly when there are fewer, as a
    /// worker that is late sees only some of them.
    visitors_per_s: f64,
    /// The part of that which is taken on.
    part: f64,
    tokens: f64,
    filled: Instant,
    /// Pages taken on at once are what can be made in this time, seconds.
    burst_s: f64,
    /// Pages that could have been taken on in this window, had somebody come in time.
    missed: f64,
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
            costs: Costs::new(per_s),
            capacity_per_s: per_s,
            least_per_s: per_s * (1.0 - TURNING_AWAY_MAX),
            visitors_per_s: 0.0,
            part: PART_MAX,
            tokens: 0.0,
            filled: now,
            burst_s: BURST_S_MIN,
            missed: 0.0,
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

    /// Whether a page is taken on. Those of higher priority may use what others must leave, and the
    /// highest, where there are others, what will be others' a moment later; none is where all are
    /// the same.
    pub(super) fn take(&mut self, now: Instant, priority: Option<Priority>) -> bool {
        let burst = self.burst();
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens += since * self.per_s();
        self.missed += (self.tokens - burst).max(0.0);
        self.tokens = self.tokens.min(burst);
        let left_to_others = match priority {
            None => 0.0,
            Some(Priority::High) => -self.per_s() * QUEUE_WINDOW.as_secs_f64(),
            Some(Priority::Normal) => burst / 4.0,
            Some(Priority::Low) => burst / 2.0,
        };
        let taken = self.tokens >= left_to_others + 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    /// Follows what was seen; true when the worker is not overloaded any more.
    pub(super) fn adjust(&mut self, seen: &Moment) -> bool {
        self.learn(seen);
        let is_idle = seen.busy.as_secs_f64() < seen.took.as_secs_f64() * BUSY;
        let missed = std::mem::take(&mut self.missed);
        let queue_before = std::mem::replace(&mut self.queue_before, seen.queue);
        if seen.queue <= seen.low {
            let raised_to = if is_idle { RAISED_TO_IDLE } else { RAISED_TO };
            self.part = (self.part * raised_to).min(PART_MAX);
            let come_together = missed > seen.taken as f64 * MISSED_PART;
            match (come_together, is_idle) {
                // Idle at times, and at others too much for it.
                (true, true) if seen.shed > 0 => self.let_in_together(),
                (false, false) => self.let_in_apart(),
                _ => {}
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
            // One that becomes shorter does so by what is taken on now.
            if seen.queue + seen.low >= queue_before {
                self.lower();
            }
            self.pay_back(seen.queue, PAID_BACK_MAX);
        } else {
            // Late, and not by its own work: fewer pages would help nobody.
            self.let_in_together();
        }
        false
    }

    /// What was made for how much of the CPU's time tells what can be made of as many visitors.
    fn learn(&mut self, seen: &Moment) {
        // About half of a page's work is done when it is taken on, the other when its API has
        // answered; where those who are taken on wait to be made, that is yet to come.
        let (finished, taken) = (seen.pages as f64, seen.taken as f64);
        let pages = finished.min((finished + taken) / 2.0);
        self.costs.learn(pages, seen.shed as f64, seen.busy.as_secs_f64());
        let visitors_per_s = (seen.taken + seen.shed) as f64 / seen.took.as_secs_f64().max(1e-3);
        self.visitors_per_s = visitors_per_s.max(self.visitors_per_s * FORGOTTEN_TO);
        self.capacity_per_s = self.costs.capacity_per_s(self.visitors_per_s).max(self.least_per_s);
    }

    /// A queue stands: less is taken on.
    fn lower(&mut self) {
        self.part = (self.part * LOWERED_TO).max(PART_MIN);
        self.let_in_apart();
    }

    /// Takes on nothing for as long as a queue takes, but no longer than a part of a window.
    pub(super) fn pay_back(&mut self, queue: Duration, window_part: f64) {
        self.queue_before = queue;
        let most = self.per_s() * QUEUE_WINDOW.as_secs_f64() * window_part;
        let queue = self.per_s() * queue.as_secs_f64();
        self.tokens = (self.tokens - queue).max(-most);
    }

    /// More is taken on at once.
    fn let_in_together(&mut self) {
        self.burst_s = (self.burst_s * BURST_STEP).min(BURST_S_MAX);
    }

    /// Less is: what is begun at once makes all others wait.
    fn let_in_apart(&mut self) {
        self.burst_s = (self.burst_s / BURST_STEP).max(BURST_S_MIN);
    }
}

/// Visitors come together where more than this part of those who were taken on was missed.
const MISSED_PART: f64 = 0.05;
/// Pages that are taken on at once are what can be made in so long, at least and at most, seconds.
const BURST_S_MIN: f64 = 0.002;
const BURST_S_MAX: f64 = QUEUE_WINDOW.as_millis() as f64 / 1000.0;
/// By how much that becomes more or less in a window.
const BURST_STEP: f64 = 1.5;
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
const RAISED_TO_IDLE: f64 = 1.05;
/// What is left, a window later, of how many visitors came.
const FORGOTTEN_TO: f64 = 0.8;
/// The part of a window in which nothing is taken on, for a queue that goes on standing: what makes
/// the worker late may be no queue.
const PAID_BACK_MAX: f64 = 0.8;
/// More than this many times of what is finished is too much.
const OVERDONE: f64 = 1.25;
/// The part of its time that a worker uses when it is not idle.
const BUSY: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A window with nothing to be seen but this queue.
    fn window(queue: Duration) -> Moment {
        let (took, line, low) = (QUEUE_WINDOW, Duration::ZERO, MS * 2);
        Moment { took, busy: took, pages: 100, taken: 100, shed: 0, queue, line, low }
    }

    #[test]
    fn less_is_taken_on_while_a_queue_grows_or_stays_not_while_it_becomes_shorter() {
        let mut quota = Quota::new(1000.0, Instant::now());
        quota.pay_back(MS * 100, 2.0);
        for queue in [80, 60, 40, 20] {
            quota.adjust(&window(MS * queue));
            assert_eq!(quota.part, PART_MAX, "{queue} ms are left");
        }
        quota.adjust(&window(MS * 20));
        let stays = quota.part;
        quota.adjust(&window(MS * 40));
        assert!(stays < PART_MAX && quota.part < stays, "{stays}, then {}", quota.part);
    }

    #[test]
    fn whoever_goes_first_is_not_turned_away_for_what_others_have_taken() {
        let mut now = Instant::now();
        let mut quota = Quota::new(100.0, now);
        let (mut normal, mut high) = (0, 0);
        for ms in 0..10_000 {
            now += MS;
            // Ten times what can be made, and among them, in threes, a fifth of it.
            normal += u32::from(quota.take(now, Some(Priority::Normal)));
            if ms % 150 == 0 {
                high += (0..3).filter(|_| quota.take(now, Some(Priority::High))).count();
            }
        }
        assert_eq!(high, 201);
        assert!((750..=810).contains(&normal), "{normal}");
        // More of them than can be made: as many as that, and none of the others.
        let all = (0..10_000).filter(|_| {
            now += MS;
            assert!(!quota.take(now, Some(Priority::Low)));
            quota.take(now, Some(Priority::High))
        });
        let count = all.count();
        assert!((950..=1000).contains(&count), "{count}");
    }

    /// It is the worker that is late, and sees only some of them.
    #[test]
    fn visitors_who_are_not_seen_for_a_moment_are_not_thought_gone() {
        let mut quota = Quota::new(1000.0, Instant::now());
        quota.adjust(&Moment { taken: 100, shed: 1900, ..window(MS * 50) });
        assert_eq!(quota.visitors_per_s.round(), 20_000.0);
        let few = Moment { taken: 20, ..window(MS * 200) };
        quota.adjust(&few);
        assert_eq!(quota.visitors_per_s.round(), 16_000.0);
        (0..30).for_each(|_| assert!(!quota.adjust(&few)));
        assert_eq!(quota.visitors_per_s.round(), 200.0);
    }

    #[test]
    fn more_is_let_in_at_once_where_places_were_missed_and_not_for_idleness_alone() {
        let mut now = Instant::now();
        let mut quota = Quota::new(1000.0, now);
        let idle = Moment { busy: MS * 50, shed: 100, ..window(Duration::ZERO) };
        for _ in 0..5 {
            for _ in 0..1000 {
                now += MS / 10;
                quota.take(now, None);
            }
            quota.adjust(&idle);
        }
        assert_eq!(quota.burst_s, BURST_S_MIN);
        now += QUEUE_WINDOW;
        assert!((0..1000).any(|_| quota.take(now, None)));
        quota.adjust(&idle);
        assert!(quota.burst_s > BURST_S_MIN);
    }
}
