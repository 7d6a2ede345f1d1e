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
mod tests {
    use super::*;
    use crate::limits::{QUEUE_TICK, QUEUE_WINDOWS_CALM};

    const TARGET: Duration = Duration::from_millis(20);
    const MS: Duration = Duration::from_millis(1);

    /// Ticks that are all late by `delay`, for so many windows, while `per_s` pages are finished.
    struct Load {
        overload: Overload,
        now: Instant,
        begun: u64,
        finished: f64,
        in_flight: u64,
        busy: Duration,
        /// Pages that are to be made, and time there is for them.
        waiting: u32,
        time: Duration,
    }

    impl Load {
        fn new() -> Self {
            let now = Instant::now();
            let overload = Overload::new(TARGET, now);
            let (busy, time) = (Duration::ZERO, Duration::ZERO);
            let in_flight = 100;
            Self { overload, now, begun: 0, finished: 0.0, in_flight, busy, waiting: 0, time }
        }

        fn done(&self) -> Done {
            Done {
                requests: self.begun,
                pages: self.finished as u64,
                in_flight: self.in_flight,
                busy: self.busy,
            }
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
            self.busy += time;
            self.finished += per_s * time.as_secs_f64();
            self.overload.tick(self.now, delay, Duration::ZERO, self.done());
        }

        /// How many of so many pages of a second are taken on.
        fn taken(&mut self, priority: Option<Priority>, per_s: u32) -> u32 {
            let each = Duration::from_secs(1) / per_s;
            let mut taken = 0;
            for _ in 0..per_s {
                self.now += each;
                taken += u32::from(self.overload.take(self.now, priority));
            }
            taken
        }

        /// A second in which so many visitors come at once, every so many milliseconds, and a page
        /// takes a millisecond; how many were taken on.
        fn crowds(&mut self, visitors: u32, every_ms: u32) -> u32 {
            let (mut taken, start) = (0, self.finished);
            for at in 0..1000 {
                self.now += MS;
                for _ in 0..if at % every_ms == 0 { visitors } else { 0 } {
                    match self.overload.take(self.now, Some(Priority::Normal)) {
                        true => taken += 1,
                        false => assert!(self.overload.retry_after_s(0, 0) > 0),
                    }
                }
                if self.finished < start + f64::from(taken) {
                    self.finished += 1.0;
                    self.busy += MS;
                }
                self.overload.tick(self.now, Duration::ZERO, Duration::ZERO, self.done());
            }
            taken
        }

        /// A second of three visitors a millisecond, while the worker has so much of the CPU and a
        /// page takes `cost` of that; how many were taken on.
        fn second(&mut self, cost: Duration, of_cpu: f64) -> u32 {
            let mut taken = 0;
            for _ in 0..1000 {
                self.now += MS;
                for _ in 0..3 {
                    match self.overload.take(self.now, None) {
                        true => (taken, self.waiting) = (taken + 1, self.waiting + 1),
                        false => assert!(self.overload.retry_after_s(0, 0) > 0),
                    }
                }
                self.time += MS.mul_f64(of_cpu);
                while self.waiting > 0 && self.time >= cost {
                    (self.waiting, self.time) = (self.waiting - 1, self.time - cost);
                    self.busy += cost;
                    self.finished += 1.0;
                }
                if self.waiting == 0 {
                    self.time = self.time.min(cost);
                }
                let late = if of_cpu < 1.0 { MS * 15 } else { Duration::ZERO };
                self.overload.tick(self.now, late, cost * self.waiting, self.done());
            }
            taken
        }
    }

    fn overloaded() -> Load {
        let mut load = Load::new();
        while !load.overload.is_overloaded() {
            load.step(TARGET * 2, 1000.0);
        }
        // What stood is paid back.
        load.now += QUEUE_WINDOW;
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
    fn a_few_visitors_are_no_queue_however_long_their_pages_take() {
        for (visitors, is_overload) in [(1, false), (4, false), (5, true)] {
            let mut load = Load::new();
            load.in_flight = 0;
            for _ in 0..20 {
                load.begun += visitors;
                load.step(TARGET * 7, 7.0);
            }
            assert_eq!(load.overload.is_overloaded(), is_overload, "{visitors} at a time");
        }
        let mut load = Load::new();
        load.in_flight = 5;
        load.windows(3, TARGET * 7, 7.0);
        assert!(load.overload.is_overloaded(), "they came before");
    }

    /// Nobody was served in a stall; a crowd is all that a loop does.
    #[test]
    fn a_crowd_that_makes_one_turn_too_long_is_overload_at_once() {
        let mut load = Load::new();
        load.step(QUEUE_WINDOW * 3, 0.0);
        load.step(MS, 1000.0);
        assert!(!load.overload.is_overloaded());
        load.begun += 100;
        load.step(QUEUE_WINDOW, 1000.0);
        load.step(MS, 1000.0);
        assert!(!load.overload.is_overloaded(), "a burst");
        load.begun += 2000;
        load.now += QUEUE_WINDOW * 3;
        load.overload.tick(load.now, QUEUE_WINDOW * 3, Duration::ZERO, load.done());
        assert!(!load.overload.is_overloaded(), "it was the machine that stood still");
        load.begun += 2000;
        load.step(QUEUE_WINDOW * 2, 1000.0);
        assert!(load.overload.is_overloaded());
    }

    #[test]
    fn pages_are_taken_on_as_fast_as_they_were_finished() {
        let mut load = overloaded();
        let taken = load.taken(Some(Priority::Normal), 4000);
        assert!((970..=1010).contains(&taken), "{taken}");
        let calm = Load::new().taken(Some(Priority::Low), 4000);
        assert_eq!(calm, 4000);
    }

    #[test]
    fn the_higher_goes_before_the_lower() {
        let mut load = overloaded();
        let (mut high, mut normal, mut low) = (0, 0, 0);
        // 600 of high, 600 of normal and 600 of low priority in a second: there is room for 1000.
        for _ in 0..600 {
            load.now += Duration::from_secs(1) / 600;
            low += u32::from(load.overload.take(load.now, Some(Priority::Low)));
            normal += u32::from(load.overload.take(load.now, Some(Priority::Normal)));
            high += u32::from(load.overload.take(load.now, Some(Priority::High)));
        }
        assert_eq!(high, 600);
        assert!((380..=430).contains(&normal), "{normal}");
        assert!(low <= 10, "{low}");
    }

    #[test]
    fn a_queue_that_stands_is_paid_back_before_another_page_is_taken_on() {
        let mut load = Load::new();
        load.overload.foresee(load.now, 1000.0, MS * 50, load.done());
        let first = (0..200).find(|_| {
            load.now += MS;
            load.overload.take(load.now, None)
        });
        assert!((45..=55).contains(&first.unwrap()), "{first:?}");
        // However long it is, not for longer than two windows.
        let mut load = Load::new();
        load.overload.foresee(load.now, 1000.0, Duration::from_secs(60), load.done());
        load.now += QUEUE_WINDOW * 2 + MS * 5;
        assert!(load.overload.take(load.now, None));
    }

    #[test]
    fn as_many_are_taken_on_as_their_cost_allows() {
        let mut load = overloaded();
        for cost in [MS, MS * 5 / 2, MS / 2] {
            for _ in 0..3 {
                load.second(cost, 1.0);
            }
            let taken = f64::from(load.second(cost, 1.0)) * cost.as_secs_f64();
            assert!((0.93..=1.0).contains(&taken), "{taken} of a second, at {cost:?} each");
        }
    }

    #[test]
    fn that_twice_as_much_can_be_made_as_was_thought_is_found_out_within_a_second() {
        let mut load = overloaded();
        let taken = load.second(MS / 2, 1.0);
        assert!(taken >= 1750, "{taken} of 2000");
    }

    #[test]
    fn a_worker_that_has_to_share_the_cpu_takes_on_its_share_and_never_nothing() {
        let mut load = overloaded();
        let usual = load.second(MS, 1.0);
        let half = (0..5).map(|_| load.second(MS, 0.5)).last().unwrap();
        assert!((usual * 4 / 10..=usual * 6 / 10).contains(&half), "{usual}, then {half}");
        let least = (0..20).map(|_| load.second(MS, 0.0)).last().unwrap();
        assert!(least >= 5, "{least}");
        let again = (0..10).map(|_| load.second(MS, 1.0)).last().unwrap();
        assert!(again > usual * 9 / 10, "{usual}, then {again}");
    }

    #[test]
    fn those_who_come_together_are_let_in_together_while_there_is_time_for_them() {
        let mut load = overloaded();
        let first = load.crowds(30, 50);
        let last = (0..5).map(|_| load.crowds(30, 50)).last().unwrap();
        assert!(first < 500 && last == 600, "{first}, then {last}, of 600");
        assert!(!load.overload.is_overloaded());
    }

    #[test]
    fn a_worker_that_has_time_does_not_go_on_turning_visitors_away() {
        let mut load = overloaded();
        // More than are let in together, but it is idle most of the time.
        (0..10).for_each(|_| assert!(load.crowds(150, 500) > 0));
        assert!(!load.overload.is_overloaded());
    }

    #[test]
    fn turning_visitors_away_never_takes_most_of_what_can_be_made() {
        let mut load = overloaded();
        let mut last = 0;
        for _ in 0..20 {
            last = 0;
            for _ in 0..1000 {
                load.now += MS;
                // Whatever is not a page's time goes to those who ask again at once.
                load.busy += MS;
                while load.overload.take(load.now, None) {
                    (last, load.finished) = (last + 1, load.finished + 1.0);
                }
                assert!(load.overload.retry_after_s(0, 0) > 0);
                load.overload.tick(load.now, Duration::ZERO, Duration::ZERO, load.done());
            }
        }
        assert!(last > 450, "{last} of 1000 that could be made");
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
        (0..100_000).for_each(|n| assert!(load.overload.retry_after_s(n, 0) > 0));
        assert_eq!(load.overload.retry_after_s(1023, u64::MAX), RETRY_AFTER_S_MAX);
    }
}
