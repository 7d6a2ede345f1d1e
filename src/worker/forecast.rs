//! What a worker has taken on and not made yet, as far as that can be foreseen. No clock, no IO.
//!
//! A page takes most of its CPU time after its API has answered. When ten times as many visitors
//! come as can be served, the loop is not late at all until the first answers are there, and by
//! then it has taken on more than it can make in a second. So every page is entered with what
//! pages took of late, and what was entered is done as time goes by: a queue that can be seen
//! before it stands.
//!
//! Pages cost more each while there are few of them, as each then has system calls and cold caches
//! of its own. So a worker that has little to do tells only that they cost less, and what is
//! counted is less than what was measured, the less so the busier it was: overload is foreseen late
//! rather than wrongly, and then noticed by its delay.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::limits::{QUEUE_TARGET, QUEUE_WINDOW};

/// What pages take, and when those that were taken on will be made.
#[derive(Debug)]
pub(super) struct Forecast {
    /// More than this that is yet to be made is overload.
    most: Duration,
    /// What a page takes of the CPU, as measured; zero when that is not known yet.
    cost: Cell<Duration>,
    /// What it would take at the least, if the worker had nothing else to do.
    cost_min: Cell<Duration>,
    /// When all that was taken on will be made.
    done_at: Cell<Instant>,
    before: Cell<Seen>,
}

/// What was seen at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    /// CPU time that the worker has used, ever.
    pub(super) busy: Duration,
    /// Pages that it has made, ever.
    pub(super) finished: u64,
    /// Requests that it has turned away, ever.
    pub(super) shed: u64,
    /// Pages that it has begun and not made yet.
    pub(super) in_flight: u64,
}

impl Forecast {
    pub(super) fn new(target: Duration, now: Seen) -> Self {
        Self {
            most: target + QUEUE_WINDOW,
            cost: Cell::default(),
            cost_min: Cell::default(),
            done_at: Cell::new(now.at),
            before: Cell::new(now),
        }
    }

    /// Enters a page; false, and nothing is entered, when there is too much already.
    #[inline]
    pub(super) fn take(&self, now: Instant) -> bool {
        let cost = self.cost_min.get();
        let done_at = self.done_at.get().max(now) + cost;
        let most = self.most.max(cost * PAGES_LEAST);
        let has_room = done_at.saturating_duration_since(now) <= most;
        if has_room {
            self.done_at.set(done_at);
        }
        has_room
    }

    /// How long it will take to make what was taken on.
    pub(super) fn backlog(&self, now: Instant) -> Duration {
        self.done_at.get().saturating_duration_since(now)
    }

    /// Pages a second that can be made, going by what they took; none when that is not known.
    pub(super) fn per_s(&self) -> Option<f64> {
        let cost_s = self.cost.get().as_secs_f64();
        (cost_s > 0.0).then(|| 1.0 / cost_s)
    }

    /// Learns what pages take, once there are enough of them to tell. That they take more is not
    /// learnt from a worker with little to do, nor while others are turned away or many more pages
    /// are begun than made: that takes CPU time too. That they take less always is.
    pub(super) fn learn(&self, now: Seen) {
        let before = self.before.get();
        let time = now.at.saturating_duration_since(before.at);
        let pages = now.finished.saturating_sub(before.finished);
        if time < QUEUE_WINDOW || (pages < PAGES_MIN && time < MEMORY) {
            return;
        }
        self.before.set(now);
        let Ok(count @ 1..) = u32::try_from(pages) else { return };
        let busy = now.busy.saturating_sub(before.busy);
        let cost = busy / count;
        let share = (time.as_secs_f64() / MEMORY.as_secs_f64()).min(1.0);
        let use_of_cpu = (busy.as_secs_f64() / time.as_secs_f64().max(1e-9)).min(1.0);
        let others =
            now.shed != before.shed || now.in_flight.saturating_sub(before.in_flight) > pages;
        if (others || use_of_cpu < USE_MIN) && cost >= self.cost.get() {
            return;
        }
        follow(&self.cost, cost, share);
        let part = CERTAIN + (1.0 - CERTAIN) * use_of_cpu;
        follow(&self.cost_min, cost.mul_f64(part), share);
    }
}

/// Down fast, up slowly: what was made for so much can be made for so much.
fn follow(cost: &Cell<Duration>, seen: Duration, share: f64) {
    let old = cost.get();
    cost.set(match seen.checked_sub(old) {
        _ if old.is_zero() => seen,
        Some(more) => old + more.mul_f64(share),
        None => old - (old - seen).mul_f64(DOWN),
    });
}

/// Pages that may be under way whatever they take.
pub(super) const PAGES_LEAST: u32 = 4;
/// The part of what a page takes on a worker with little to do that it takes at the least.
const CERTAIN: f64 = 0.7;
/// The part of its time that a worker must be busy for it to tell what pages take.
const USE_MIN: f64 = 0.25;
/// How much of it is believed when pages take less than was known.
const DOWN: f64 = 0.5;
/// Pages that tell what pages take.
const PAGES_MIN: u64 = 16;
/// How long what pages took is remembered.
const MEMORY: Duration = Duration::from_secs(3);
const _: () = assert!(QUEUE_TARGET.as_millis() < MEMORY.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(20);
    const MS: Duration = Duration::from_millis(1);

    /// A worker that makes pages at even times, for a millisecond of CPU time each.
    struct Work {
        forecast: Forecast,
        seen: Seen,
    }

    impl Work {
        fn new() -> Self {
            let (at, busy) = (Instant::now(), Duration::ZERO);
            let seen = Seen { at, busy, finished: 0, shed: 0, in_flight: 0 };
            Self { forecast: Forecast::new(TARGET, seen), seen }
        }

        /// So many pages, one in `each`, that take `cost`; how many of them were taken on.
        fn pages(&mut self, count: u32, each: Duration, cost: Duration) -> u32 {
            let mut taken = 0;
            for _ in 0..count {
                self.seen.at += each;
                taken += u32::from(self.forecast.take(self.seen.at));
                self.seen.busy += cost;
                self.seen.finished += 1;
                self.forecast.learn(self.seen);
            }
            taken
        }
    }

    #[test]
    fn nothing_is_foreseen_before_a_page_was_made() {
        let work = Work::new();
        assert_eq!(work.forecast.per_s(), None);
        assert!((0..100_000).all(|_| work.forecast.take(work.seen.at)));
    }

    #[test]
    fn what_can_be_made_is_taken_on_and_what_cannot_is_not() {
        let mut work = Work::new();
        assert_eq!(work.pages(2000, MS * 2, MS), 2000);
        let per_s = work.forecast.per_s().unwrap();
        assert!((990.0..1010.0).contains(&per_s), "{per_s}");
        assert_eq!(work.pages(2000, MS + MS / 50, MS), 2000, "all but all that it can make");
        // At once: what takes 120 ms, and not much more.
        let taken = (0..1000).filter(|_| work.forecast.take(work.seen.at)).count();
        assert!((110..=150).contains(&taken), "{taken}");
        assert!(work.forecast.backlog(work.seen.at) > MS * 115);
        work.seen.at += MS * 60;
        let taken = (0..1000).filter(|_| work.forecast.take(work.seen.at)).count();
        assert!((58..=75).contains(&taken), "{taken}");
    }

    #[test]
    fn few_pages_that_cost_much_each_are_no_overload_when_many_cost_less() {
        let mut work = Work::new();
        work.pages(200, MS * 50, MS);
        assert_eq!(work.forecast.per_s(), None, "one in fifty tells nothing");
        work.pages(200, MS * 3, MS);
        // They cost half as much, and come 1900 a second: what was seen would do for 1500 at most.
        let taken = work.pages(4000, Duration::from_micros(526), MS / 2);
        assert_eq!(taken, 4000);
        let per_s = work.forecast.per_s().unwrap();
        assert!((1900.0..2100.0).contains(&per_s), "{per_s}");
    }

    #[test]
    fn a_few_pages_are_no_overload_whatever_they_take() {
        let mut work = Work::new();
        work.pages(40, MS * 300, MS * 200);
        work.seen.at += MS * 5000;
        let taken = (0..20).filter(|_| work.forecast.take(work.seen.at)).count();
        assert_eq!(taken, 4);
    }

    #[test]
    fn pages_that_become_dearer_are_found_out_in_time() {
        let mut work = Work::new();
        work.pages(1000, MS * 4, MS);
        work.pages(2000, MS * 4, MS * 3);
        let per_s = work.forecast.per_s().unwrap();
        assert!((330.0..400.0).contains(&per_s), "{per_s}");
    }

    /// The API becomes slow: visitors come as before, each with a connection of their own, and for
    /// as long as it takes hardly a page is made.
    #[test]
    fn pages_that_are_begun_are_not_what_those_that_are_made_cost() {
        let mut work = Work::new();
        work.pages(2000, MS / 2, MS / 25);
        for _ in 0..1000 {
            work.seen.at += MS / 2;
            work.seen.busy += MS / 5;
            work.seen.in_flight += 1;
            work.seen.finished += u64::from(work.seen.in_flight.is_multiple_of(8));
            work.forecast.learn(work.seen);
        }
        assert_eq!(work.forecast.per_s(), None);
        assert_eq!(work.pages(20_000, MS / 2, MS / 25), 20_000);
    }

    /// Whatever made pages dear, they are not for ever: though visitors are turned away for it, and
    /// the worker has little to do.
    #[test]
    fn that_pages_are_cheap_again_is_seen_by_a_worker_that_turns_others_away() {
        let mut work = Work::new();
        work.pages(200, MS * 3, MS * 2);
        let per_s = work.forecast.per_s().unwrap();
        assert!(per_s < 510.0, "{per_s}");
        for _ in 0..1000 {
            work.seen.shed += 1;
            work.pages(1, MS, MS / 25);
        }
        assert_eq!(work.pages(4000, MS / 2, MS / 25), 4000);
    }

    #[test]
    fn turning_visitors_away_is_not_what_pages_cost() {
        let mut work = Work::new();
        work.pages(2000, MS * 2, MS);
        let per_s = work.forecast.per_s().unwrap();
        for _ in 0..1000 {
            work.seen.shed += 10;
            work.pages(1, MS * 2, MS * 2);
        }
        assert_eq!(work.forecast.per_s(), Some(per_s));
    }
}
