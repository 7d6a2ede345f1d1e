//! Loads as a worker sees them, tick by tick, and what is taken on.

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
