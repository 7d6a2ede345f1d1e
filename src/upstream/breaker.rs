//! A circuit breaker: an upstream that fails most of the time is left alone for a while.
//!
//! Closed, all pass, and what becomes of them is counted over a sliding window. Open, none do: a
//! fetch fails at once, and the upstream gets room to recover. Then a few probes are let through;
//! all of them must succeed for it to close, and one that fails opens it again.

use std::time::{Duration, Instant};

use crate::config;
use crate::limits::BREAKER_SLICES;

/// The breaker of one upstream, on one worker.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: config::Breaker,
    state: State,
    /// Which state this is, counted: what was let through in another one says nothing about it.
    epoch: u32,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { under_way: usize, passed: usize },
}

/// What became of an exchange, as far as it tells of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered, and the answer is no 5xx.
    Good,
    /// It could not be reached, broke, was late, or answered a 5xx.
    Failed,
    /// It was not asked, or not given the time to answer.
    Unknown,
}

/// Leave to ask. To be given back with what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    epoch: u32,
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The breaker has opened.
    Opened,
    /// The breaker has closed.
    Closed,
}

impl Breaker {
    pub(super) fn new(policy: config::Breaker, now: Instant) -> Self {
        let window = Window::new(policy.window, now);
        Self { policy, state: State::Closed, epoch: 0, window }
    }

    /// Whether all is let through.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Leave to ask.
    ///
    /// # Errors
    /// How long it is until asking again may help.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Permit, Duration> {
        if let State::Open { until } = self.state {
            if now < until {
                return Err(until.saturating_duration_since(now));
            }
            self.enter(State::HalfOpen { under_way: 0, passed: 0 });
        }
        if let State::HalfOpen { under_way, passed } = &mut self.state {
            if *under_way + *passed >= self.policy.probes {
                return Err(self.policy.open);
            }
            *under_way += 1;
        }
        Ok(Permit { epoch: self.epoch })
    }

    /// Takes a permit back, with what became of the exchange and how long that took.
    pub(super) fn settle(
        &mut self,
        permit: Permit,
        verdict: Verdict,
        took: Duration,
        now: Instant,
    ) -> Change {
        if permit.epoch != self.epoch {
            return Change::None;
        }
        if verdict == Verdict::Unknown {
            self.give_back(permit);
            return Change::None;
        }
        let slow = self.policy.slow.is_some_and(|slow| took >= slow);
        match (&mut self.state, verdict) {
            (State::Open { .. }, _) => Change::None,
            (State::Closed, verdict) => {
                let failed = verdict == Verdict::Failed;
                self.window.count(now, failed, slow);
                if (failed || slow) && self.is_too_much() { self.open(now) } else { Change::None }
            }
            (State::HalfOpen { under_way, passed }, Verdict::Good) if !slow => {
                *under_way = under_way.saturating_sub(1);
                *passed += 1;
                if *passed < self.policy.probes {
                    return Change::None;
                }
                self.window = Window::new(self.policy.window, now);
                self.enter(State::Closed);
                Change::Closed
            }
            (State::HalfOpen { .. }, _) => self.open(now),
        }
    }

    /// Takes a permit back of an exchange that says nothing: another one may be a probe.
    pub(super) fn give_back(&mut self, permit: Permit) {
        if permit.epoch == self.epoch
            && let State::HalfOpen { under_way, .. } = &mut self.state
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    fn is_too_much(&self) -> bool {
        let Counts { all, failed, slow } = self.window.total;
        let reaches = |part: u32, per_mille: u32| {
            u64::from(part) * 1000 >= u64::from(per_mille) * u64::from(all)
        };
        all as usize >= self.policy.requests_min
            && (reaches(failed, self.policy.failures_per_mille)
                || (self.policy.slow.is_some() && reaches(slow, self.policy.slow_per_mille)))
    }

    fn open(&mut self, now: Instant) -> Change {
        self.enter(State::Open { until: now + self.policy.open });
        Change::Opened
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

/// Exchanges over the last while: slices of it in a circle, and their sum.
#[derive(Debug)]
struct Window {
    slices: [Counts; BREAKER_SLICES],
    current: usize,
    current_ends: Instant,
    slice: Duration,
    total: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    all: u32,
    failed: u32,
    slow: u32,
}

impl Window {
    fn new(window: Duration, now: Instant) -> Self {
        // At least a nanosecond: windows are positive.
        let slice = (window / BREAKER_SLICES as u32).max(Duration::from_nanos(1));
        let (slices, total) = ([Counts::default(); BREAKER_SLICES], Counts::default());
        Self { slices, current: 0, current_ends: now + slice, slice, total }
    }

    fn count(&mut self, now: Instant, failed: bool, slow: bool) {
        if now >= self.current_ends {
            self.advance(now);
        }
        if let Some(counts) = self.slices.get_mut(self.current) {
            for counts in [counts, &mut self.total] {
                counts.all = counts.all.saturating_add(1);
                counts.failed = counts.failed.saturating_add(u32::from(failed));
                counts.slow = counts.slow.saturating_add(u32::from(slow));
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        for _ in 0..BREAKER_SLICES {
            if now < self.current_ends {
                return;
            }
            self.current = (self.current + 1) % BREAKER_SLICES;
            self.current_ends += self.slice;
            if let Some(oldest) = self.slices.get_mut(self.current) {
                self.total.all = self.total.all.saturating_sub(oldest.all);
                self.total.failed = self.total.failed.saturating_sub(oldest.failed);
                self.total.slow = self.total.slow.saturating_sub(oldest.slow);
                *oldest = Counts::default();
            }
        }
        // All of it is long past, and forgotten.
        if now >= self.current_ends {
            self.current_ends = now + self.slice;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// Fails at half, of ten, over 10 s; open for 5 s; two probes.
    fn breaker(now: Instant) -> Breaker {
        let policy = config::Breaker {
            failures_per_mille: 500,
            requests_min: 10,
            window: S * 10,
            open: S * 5,
            probes: 2,
            ..config::Breaker::default()
        };
        Breaker::new(policy, now)
    }

    fn ask(breaker: &mut Breaker, now: Instant, verdict: Verdict) -> Change {
        let permit = breaker.admit(now).unwrap();
        breaker.settle(permit, verdict, Duration::ZERO, now)
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = breaker(now);
        for _ in 0..9 {
            assert_eq!(ask(&mut breaker, now, Verdict::Failed), Change::None);
        }
        assert_eq!(ask(&mut breaker, now, Verdict::Failed), Change::Opened);
        breaker
    }

    #[test]
    fn it_opens_at_the_ratio_and_not_before_there_are_enough() {
        let now = Instant::now();
        let mut one = breaker(now);
        for _ in 0..11 {
            assert_eq!(ask(&mut one, now, Verdict::Good), Change::None);
        }
        for _ in 0..10 {
            assert_eq!(ask(&mut one, now, Verdict::Failed), Change::None);
        }
        assert_eq!(ask(&mut one, now, Verdict::Failed), Change::Opened);
        assert_eq!(one.admit(now), Err(S * 5));
        assert_eq!(one.admit(now + S * 4), Err(S));
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let now = Instant::now();
        let mut breaker = breaker(now);
        for second in 0..1000 {
            // Nine failures in any ten seconds, with one more a moment later than the window.
            let at = now + S * second * 2;
            if second % 5 != 4 {
                ask(&mut breaker, at, Verdict::Failed);
                ask(&mut breaker, at, Verdict::Failed);
            }
            assert!(breaker.is_closed(), "{second}");
        }
        ask(&mut breaker, now + S * 3000, Verdict::Failed);
        assert_eq!(breaker.window.total.all, 1);
    }

    #[test]
    fn after_a_while_probes_decide() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + S * 5;
        let (a, b) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        assert!(breaker.admit(now).is_err(), "two probes at once are enough");
        assert_eq!(breaker.settle(a, Verdict::Good, Duration::ZERO, now), Change::None);
        assert!(breaker.admit(now).is_err(), "two probes in all are enough");
        assert_eq!(breaker.settle(b, Verdict::Good, Duration::ZERO, now), Change::Closed);
        assert!(breaker.is_closed());
        assert_eq!(ask(&mut breaker, now, Verdict::Failed), Change::None, "it starts anew");
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_and_one_that_is_dropped_makes_room() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + S * 5;
        let (a, b) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        breaker.settle(a, Verdict::Unknown, Duration::ZERO, now);
        let c = breaker.admit(now).unwrap();
        assert_eq!(breaker.settle(b, Verdict::Failed, Duration::ZERO, now), Change::Opened);
        assert!(breaker.admit(now + S * 4).is_err());
        // What was asked before says nothing about now.
        assert_eq!(breaker.settle(c, Verdict::Good, Duration::ZERO, now), Change::None);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn answers_to_what_was_asked_before_it_opened_change_nothing() {
        let now = Instant::now();
        let mut breaker = breaker(now);
        let early = breaker.admit(now).unwrap();
        for _ in 0..10 {
            ask(&mut breaker, now, Verdict::Failed);
        }
        let probe = breaker.admit(now + S * 5).unwrap();
        assert_eq!(breaker.settle(early, Verdict::Failed, Duration::ZERO, now), Change::None);
        assert_eq!(breaker.settle(early, Verdict::Good, Duration::ZERO, now), Change::None);
        breaker.settle(probe, Verdict::Good, Duration::ZERO, now + S * 5);
        assert_eq!(ask(&mut breaker, now + S * 5, Verdict::Good), Change::Closed);
    }

    #[test]
    fn slow_answers_open_it_where_it_is_said_what_slow_is() {
        let now = Instant::now();
        let policy =
            config::Breaker { slow: Some(S), requests_min: 10, ..config::Breaker::default() };
        let mut breaker = Breaker::new(policy, now);
        let mut slow = |took| {
            let permit = breaker.admit(now).unwrap();
            breaker.settle(permit, Verdict::Good, took, now)
        };
        assert_eq!(slow(S / 2), Change::None);
        for _ in 0..8 {
            assert_eq!(slow(S), Change::None);
        }
        assert_eq!(slow(S), Change::Opened, "nine of ten");
    }
}
