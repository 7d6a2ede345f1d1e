//! Whether a worker is overloaded, and how many pages it then takes on. No clock, no IO.
//!
//! What tells is how late the loop is: a tick that comes late by so much means that whatever was
//! readable meanwhile has waited about as long. A burst makes a loop late for a moment; when not
//! one tick of a whole window came in time, there is a queue that stands (as in CoDel, RFC 8289).
//! Then pages are taken on at the rate at which they were being finished, which is what the worker
//! can do as it was never idle, and the rate follows: down to what is finished while the queue
//! stands, up in steps that grow while it does not. So the queue stays short and the CPU busy.
//!
//! Refused: a queue of its own. What is not taken on now is answered now.

use std::time::{Duration, Instant};

use crate::limits::{
    OVERLOAD_BURST_MIN, OVERLOAD_RATE_PER_S_MIN, QUEUE_WINDOW, QUEUE_WINDOWS_CALM,
    RETRY_AFTER_S_MAX, RETRY_AFTER_S_MIN, SHED_HOLD,
};
use crate::site::Priority;

/// What a worker knows of its load.
#[derive(Debug)]
pub(super) struct Overload {
    target: Duration,
    window: Window,
    /// Since when no tick was in time, and how many pages were finished by then.
    late_since: Option<(Instant, u64)>,
    /// What is taken on, while the worker is overloaded.
    quota: Option<Quota>,
    /// Pages finished a second, of late.
    drain_per_s: f64,
    /// Visitors who were told to come back, of late.
    told: f64,
    /// Windows for which those who are turned away are not listened to, as more of them come than
    /// are served: for longer than one hold, or they would all be back between two of them.
    holds: u32,
}

/// What was seen since the last adjustment.
#[derive(Debug)]
struct Window {
    start: Instant,
    /// Pages finished before it.
    finished: u64,
    delay_min: Duration,
    ticks: u32,
    /// Those that were in time, as far as timers are precise.
    in_time: u32,
    taken: u64,
    shed: u64,
}

/// A token bucket whose rate follows the load.
#[derive(Debug)]
struct Quota {
    per_s: f64,
    /// What the worker could do when it was last known.
    capacity_per_s: f64,
    tokens: f64,
    filled: Instant,
    /// Pages taken on at once are what can be made in this time, seconds.
    burst_s: f64,
    /// By how much the rate goes up next.
    step: f64,
    /// Windows without a 503.
    calm: u32,
}

impl Overload {
    pub(super) fn new(target: Duration, now: Instant) -> Self {
        Self {
            target,
            window: Window::new(now, 0),
            late_since: None,
            quota: None,
            drain_per_s: 0.0,
            told: 0.0,
            holds: 0,
        }
    }

    /// Whether the worker is overloaded.
    pub(super) fn is_overloaded(&self) -> bool {
        self.quota.is_some()
    }

    /// Whether it sheds more than it serves, now or a moment ago.
    pub(super) fn sheds_most(&self) -> bool {
        self.holds > 0
    }

    /// A tick that was so late; `finished` is how many pages ever were.
    pub(super) fn tick(&mut self, now: Instant, delay: Duration, finished: u64) {
        self.window.delay_min = self.window.delay_min.min(delay);
        self.window.ticks += 1;
        self.window.in_time += u32::from(delay <= self.target / BURST_PART);
        if delay <= self.target {
            self.late_since = None;
        } else if self.quota.is_none() {
            let (since, before) = *self.late_since.get_or_insert((now, finished));
            let late_for = now.saturating_duration_since(since);
            if late_for >= QUEUE_WINDOW {
                let done_per_s = per_second(finished.saturating_sub(before), late_for);
                let per_s = done_per_s.max(self.drain_per_s).max(OVERLOAD_RATE_PER_S_MIN);
                self.quota = Some(Quota::new(per_s, now, self.target));
                self.late_since = None;
                self.window = Window::new(now, finished);
                return;
            }
        }
        if now.saturating_duration_since(self.window.start) >= QUEUE_WINDOW {
            self.end_window(now, finished);
        }
    }

    /// Whether a page is taken on. Those of higher priority may use what others must leave.
    pub(super) fn take(&mut self, now: Instant, priority: Priority) -> bool {
        let Some(quota) = &mut self.quota else { return true };
        let taken = quota.take(now, priority);
        if taken {
            self.window.taken += 1;
        }
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

    fn end_window(&mut self, now: Instant, finished: u64) {
        let window = std::mem::replace(&mut self.window, Window::new(now, finished));
        let took = now.saturating_duration_since(window.start);
        let done_per_s = per_second(finished.saturating_sub(window.finished), took);
        let share = (took.as_secs_f64() / MEMORY_S).min(1.0);
        self.drain_per_s += (done_per_s - self.drain_per_s) * share;
        self.told = (self.told + window.shed as f64) * (1.0 - share);
        self.holds = match self.quota.is_some() && window.shed > window.taken {
            true => HOLD_WINDOWS,
            false => self.holds.saturating_sub(1),
        };
        let Some(quota) = &mut self.quota else { return };
        let low = self.target / LOW_PART;
        if window.delay_min > low {
            quota.lower(done_per_s, per_second(window.taken, took));
        } else if window.shed > 0 {
            let was_idle = window.in_time * 2 >= window.ticks;
            quota.raise(per_second(window.taken, took), was_idle);
        } else {
            quota.calm += 1;
            if quota.calm >= QUEUE_WINDOWS_CALM {
                self.quota = None;
            }
        }
    }
}

impl Window {
    fn new(start: Instant, finished: u64) -> Self {
        Self { start, finished, delay_min: Duration::MAX, ticks: 0, in_time: 0, taken: 0, shed: 0 }
    }
}

impl Quota {
    fn new(per_s: f64, now: Instant, target: Duration) -> Self {
        let mut quota = Self {
            per_s,
            capacity_per_s: per_s,
            tokens: 0.0,
            filled: now,
            burst_s: (target / BURST_PART).as_secs_f64(),
            step: STEP_MIN,
            calm: 0,
        };
        quota.tokens = quota.burst();
        quota
    }

    /// Pages taken on at once.
    fn burst(&self) -> f64 {
        (self.per_s * self.burst_s).max(OVERLOAD_BURST_MIN)
    }

    fn take(&mut self, now: Instant, priority: Priority) -> bool {
        let burst = self.burst();
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + since * self.per_s).min(burst);
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

    /// The queue stands. Where more is taken on than finished, what was finished is what the worker
    /// can do, as it was never idle. Where it is not, other things than pages may make it late, as
    /// those who are turned away or another program: then fewer pages help little, and are not made
    /// ever fewer.
    fn lower(&mut self, done_per_s: f64, taken_per_s: f64) {
        if taken_per_s > done_per_s * OVERDONE {
            self.capacity_per_s = done_per_s;
            self.per_s = (done_per_s * LOWERED_TO).max(self.per_s * LOWERED_MIN);
        } else {
            self.capacity_per_s = self.capacity_per_s.max(done_per_s);
            let least = self.capacity_per_s * STEADY_MIN;
            self.per_s = (self.per_s * LOWERED_TO).max(least.min(self.per_s));
        }
        self.per_s = self.per_s.max(OVERLOAD_RATE_PER_S_MIN);
        (self.step, self.calm) = (STEP_MIN, 0);
    }

    /// There is no queue, but some were turned away: for want of quota, if it was used up; or
    /// because they came all at once, and the worker was idle before or after.
    fn raise(&mut self, taken_per_s: f64, was_idle: bool) {
        self.calm = 0;
        if was_idle || taken_per_s >= self.per_s * USED_UP {
            self.per_s *= 1.0 + self.step;
            self.step = (self.step * 2.0).min(STEP_MAX);
        }
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(QUEUE_WINDOW.as_secs_f64() / 2.0)
}

/// A queue of this part of the target, in all of a window, is one that stands.
const LOW_PART: u32 = 4;
/// Pages that are taken on at once are what can be made in this part of it, at least. Less than
/// this is no delay at all, as timers are not more precise.
const BURST_PART: u32 = 10;
/// How far back rates and those who were told to come back are remembered, seconds.
const MEMORY_S: f64 = 3.0;
/// See [`Overload::holds`].
const HOLD_WINDOWS: u32 = 2 * (SHED_HOLD.as_millis() / QUEUE_WINDOW.as_millis()) as u32;
/// By how much the rate goes up, at first and at most, in a window.
const STEP_MIN: f64 = 0.04;
const STEP_MAX: f64 = 0.32;
/// The part of it that, taken, is as good as all.
const USED_UP: f64 = 0.9;
/// When so much more is taken on than finished, it is too much.
const OVERDONE: f64 = 1.05;
/// To which part the rate goes down in a window, and at most.
const LOWERED_TO: f64 = 0.95;
const LOWERED_MIN: f64 = 0.5;
/// The part of what the worker can do that it does in any case.
const STEADY_MIN: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::QUEUE_TICK;

    const TARGET: Duration = Duration::from_millis(20);
    const MS: Duration = Duration::from_millis(1);

    /// Ticks that are all late by `delay`, for so many windows, while `per_s` pages are finished.
    struct Load {
        overload: Overload,
        now: Instant,
        finished: f64,
    }

    impl Load {
        fn new() -> Self {
            let now = Instant::now();
            Self { overload: Overload::new(TARGET, now), now, finished: 0.0 }
        }

        fn windows(&mut self, count: u32, delay: Duration, per_s: f64) {
            let end = self.now + QUEUE_WINDOW * count;
            while self.now < end {
                self.step(delay, per_s);
            }
        }

        fn step(&mut self, delay: Duration, per_s: f64) {
            let time = QUEUE_TICK + delay;
            self.now += time;
            self.finished += per_s * time.as_secs_f64();
            self.overload.tick(self.now, delay, self.finished as u64);
        }

        /// How many of so many pages of a second are taken on.
        fn taken(&mut self, priority: Priority, per_s: u32) -> u32 {
            let each = Duration::from_secs(1) / per_s;
            let mut taken = 0;
            for _ in 0..per_s {
                self.now += each;
                taken += u32::from(self.overload.take(self.now, priority));
            }
            taken
        }
    }

    fn overloaded() -> Load {
        let mut load = Load::new();
        while !load.overload.is_overloaded() {
            load.step(TARGET * 2, 1000.0);
        }
        load
    }

    #[test]
    fn a_queue_that_stands_for_a_window_is_overload_and_a_burst_is_not() {
        let mut load = Load::new();
        for _ in 0..20 {
            load.windows(1, TARGET * 3, 1000.0);
            load.step(TARGET, 1000.0);
            assert!(!load.overload.is_overloaded());
        }
        // One stall, however long, is no queue.
        load.step(Duration::from_secs(3), 10.0);
        load.step(MS, 1000.0);
        assert!(!load.overload.is_overloaded());
        load.windows(3, TARGET + MS, 1000.0);
        assert!(load.overload.is_overloaded());
    }

    #[test]
    fn pages_are_taken_on_as_fast_as_they_were_finished() {
        let mut load = overloaded();
        let taken = load.taken(Priority::Normal, 4000);
        assert!((990..=1020).contains(&taken), "{taken}");
        let calm = Load::new().taken(Priority::Low, 4000);
        assert_eq!(calm, 4000);
    }

    #[test]
    fn the_higher_goes_before_the_lower() {
        let mut load = overloaded();
        let (mut high, mut normal, mut low) = (0, 0, 0);
        // 600 of high, 600 of normal and 600 of low priority in a second: there is room for 1000.
        for _ in 0..600 {
            load.now += Duration::from_secs(1) / 600;
            low += u32::from(load.overload.take(load.now, Priority::Low));
            normal += u32::from(load.overload.take(load.now, Priority::Normal));
            high += u32::from(load.overload.take(load.now, Priority::High));
        }
        assert_eq!(high, 600);
        assert!((380..=430).contains(&normal), "{normal}");
        assert!(low <= 10, "{low}");
    }

    #[test]
    fn the_rate_follows_what_is_finished_down_and_comes_up_again() {
        let mut load = overloaded();
        // They have become slower: of a thousand that are taken on four hundred are finished.
        for _ in 0..500 {
            load.now += MS;
            load.finished += 0.4;
            load.overload.take(load.now, Priority::Normal);
            load.overload.tick(load.now, MS * 6, load.finished as u64);
        }
        let taken = load.taken(Priority::Normal, 4000);
        assert!((350..=450).contains(&taken), "{taken}");
        // The queue is gone, and some are still turned away: in two seconds it has doubled.
        for _ in 0..2000 {
            load.now += MS;
            load.finished += 0.4;
            load.overload.take(load.now, Priority::Normal);
            load.overload.take(load.now, Priority::Normal);
            load.overload.retry_after_s(0, 0);
            load.overload.tick(load.now, MS, load.finished as u64);
        }
        let taken = load.taken(Priority::Normal, 8000);
        assert!(taken > 800, "{taken}");
        // A worker that is late for other reasons goes on with most of it.
        for _ in 0..3000 {
            load.now += MS;
            for _ in 0..4 {
                let taken = load.overload.take(load.now, Priority::Normal);
                load.finished += f64::from(u8::from(taken));
            }
            load.overload.tick(load.now, MS * 6, load.finished as u64);
        }
        let steady = load.taken(Priority::Normal, 8000);
        assert!((taken * 4 / 5..taken * 6 / 5).contains(&steady), "{taken}, then {steady}");
        // And nothing goes to zero.
        for _ in 0..10_000 {
            load.now += MS;
            load.overload.take(load.now, Priority::Normal);
            load.overload.tick(load.now, MS * 6, load.finished as u64);
        }
        assert!(load.taken(Priority::Normal, 4000) >= 10);
    }

    #[test]
    fn it_is_over_when_nobody_was_turned_away_for_a_while() {
        let mut load = overloaded();
        load.windows(QUEUE_WINDOWS_CALM + 2, MS, 1000.0);
        assert!(!load.overload.is_overloaded());
        // While somebody is, it is not.
        let mut load = overloaded();
        for _ in 0..30 {
            load.overload.retry_after_s(0, 0);
            load.windows(1, MS, 1000.0);
            assert!(load.overload.is_overloaded());
        }
    }

    #[test]
    fn who_is_told_to_come_back_is_told_when_there_will_be_room() {
        let mut load = overloaded();
        let first: Vec<u8> = (0..64).map(|n| load.overload.retry_after_s(n * 16, 0)).collect();
        assert!(first.iter().all(|seconds| (1..=30).contains(seconds)), "{first:?}");
        for _ in 0..40 {
            (0..200).for_each(|n| assert!(load.overload.retry_after_s(n, 0) > 0));
            load.windows(1, MS * 5, 1000.0);
        }
        // 2000 are turned away in a second, and 1000 served.
        let told: Vec<u8> = (0..64).map(|n| load.overload.retry_after_s(n * 16, 0)).collect();
        let (least, most) = (told.iter().min().unwrap(), told.iter().max().unwrap());
        assert!(*least >= 2 && *most <= 15 && most > least, "{told:?}");
        assert!(load.overload.sheds_most());
        (0..100_000).for_each(|n| assert!(load.overload.retry_after_s(n, 0) > 0));
        assert_eq!(load.overload.retry_after_s(1023, u64::MAX), RETRY_AFTER_S_MAX);
    }
}
