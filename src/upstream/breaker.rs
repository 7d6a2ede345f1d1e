//! A circuit breaker: an upstream that fails most of the time is left alone for a while.
//!
//! Closed, all pass, and what becomes of them is counted over a sliding window. Open, nearly none
//! do: a fetch fails at once, and the upstream gets room to recover. From time to time it is the
//! turn of a few probes, and when enough have succeeded in a row it closes. One that hangs holds
//! up none of the next turn, so that it does not matter how long a fetch may take.

use std::time::{Duration, Instant};

use crate::config;
use crate::limits::BREAKER_HANGING_MAX;

use super::window::{Counts, Window};

/// The breaker of one upstream, on one worker.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: config::Breaker,
    state: State,
    /// Which turn this is, counted: being closed is one, too, and being open begins with one that
    /// lets nothing through.
    turn: u32,
    window: Window,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(Trial),
}

/// An upstream that has failed, on trial.
#[derive(Debug)]
struct Trial {
    /// The turn in which it began.
    began: u32,
    /// When the next turn comes.
    next: Instant,
    /// Whether this turn lets nothing (more) through.
    is_over: bool,
    /// Probes of this turn that are under way, and of those before.
    under_way: usize,
    hanging: usize,
    /// Probes that have passed in a row, and the turn of the first of them.
    passed: usize,
    passed_from: u32,
    /// The last turn of which one has failed. What else was asked by then does not count.
    failed: u32,
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
    turn: u32,
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
        Self { policy, state: State::Closed, turn: 0, window }
    }

    /// Whether all is let through.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Leave to ask.
    ///
    /// # Errors
    /// How long it is until asking again may help.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Permit, Duration> {
        if let State::Open(trial) = &mut self.state {
            if now >= trial.next {
                self.turn = self.turn.wrapping_add(1);
                trial.take_turn(now + self.policy.open);
            }
            if trial.under_way >= trial.room(self.policy.probes) {
                return Err(trial.next.saturating_duration_since(now));
            }
            trial.under_way += 1;
        }
        Ok(Permit { turn: self.turn })
    }

    /// Takes a permit back, with what became of the exchange and how long that took.
    pub(super) fn settle(
        &mut self,
        permit: Permit,
        verdict: Verdict,
        took: Duration,
        now: Instant,
    ) -> Change {
        self.give_back(permit);
        let slow = self.policy.slow.is_some_and(|slow| took >= slow);
        let failed = verdict == Verdict::Failed;
        match &mut self.state {
            _ if verdict == Verdict::Unknown => Change::None,
            State::Closed if permit.turn != self.turn => Change::None,
            State::Closed => {
                self.window.count(now, failed, slow);
                if !(failed || slow) || !self.is_too_much() {
                    return Change::None;
                }
                self.turn = self.turn.wrapping_add(1);
                self.state = State::Open(Trial::new(self.turn, now + self.policy.open));
                Change::Opened
            }
            State::Open(trial) if !trial.has(permit, self.turn) => Change::None,
            State::Open(trial) if failed || slow => {
                trial.fail(permit, self.turn);
                Change::None
            }
            State::Open(trial) => {
                trial.pass(permit);
                if trial.passed < self.policy.probes {
                    return Change::None;
                }
                self.window = Window::new(self.policy.window, now);
                self.turn = self.turn.wrapping_add(1);
                self.state = State::Closed;
                Change::Closed
            }
        }
    }

    /// Takes a permit back of an exchange that says nothing: another one may be a probe.
    pub(super) fn give_back(&mut self, permit: Permit) {
        if let State::Open(trial) = &mut self.state
            && trial.has(permit, self.turn)
        {
            let is_now = permit.turn == self.turn;
            let count = if is_now { &mut trial.under_way } else { &mut trial.hanging };
            debug_assert!(*count > 0);
            *count = count.saturating_sub(1);
        }
    }

    fn is_too_much(&self) -> bool {
        let Counts { all, failed, slow } = self.window.total();
        let reaches = |part: u32, per_mille: u32| {
            u64::from(part) * 1000 >= u64::from(per_mille) * u64::from(all)
        };
        all as usize >= self.policy.requests_min
            && (reaches(failed, self.policy.failures_per_mille)
                || (self.policy.slow.is_some() && reaches(slow, self.policy.slow_per_mille)))
    }
}

impl Trial {
    fn new(turn: u32, next: Instant) -> Self {
        Self {
            began: turn,
            next,
            is_over: true,
            under_way: 0,
            hanging: 0,
            passed: 0,
            passed_from: turn,
            failed: turn,
        }
    }

    /// Begins a turn. What is still under way hangs.
    fn take_turn(&mut self, next: Instant) {
        self.next = next;
        self.is_over = false;
        self.hanging += std::mem::take(&mut self.under_way);
    }

    /// Probes that may be under way in this turn. Where others hang, one is to come back first: a
    /// visitor waits for each.
    fn room(&self, probes: usize) -> usize {
        match self.hanging {
            _ if self.is_over => 0,
            BREAKER_HANGING_MAX.. => 0,
            1.. if self.passed == 0 => 1,
            _ => probes.saturating_sub(self.passed),
        }
    }

    /// Whether an exchange is a probe of this trial. What was asked before, or in another, says
    /// nothing about now.
    fn has(&self, permit: Permit, turn: u32) -> bool {
        let age = self.age(permit.turn);
        age > 0 && age <= self.age(turn)
    }

    fn pass(&mut self, permit: Permit) {
        if self.age(permit.turn) <= self.age(self.failed) {
            return;
        }
        if self.passed == 0 || self.age(permit.turn) < self.age(self.passed_from) {
            self.passed_from = permit.turn;
        }
        self.passed += 1;
    }

    /// A probe has failed. What hung all the while, and was asked before those that pass now, may
    /// have been lost.
    fn fail(&mut self, permit: Permit, turn: u32) {
        if self.age(permit.turn) > self.age(self.failed) {
            self.failed = permit.turn;
        }
        if self.age(permit.turn) >= self.age(self.passed_from) {
            self.passed = 0;
        }
        self.is_over |= permit.turn == turn;
    }

    /// How many turns after its first one that is.
    fn age(&self, turn: u32) -> u32 {
        turn.wrapping_sub(self.began)
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
        assert_eq!(breaker.window.total().all, 1);
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
        assert_eq!(breaker.settle(b, Verdict::Failed, Duration::ZERO, now), Change::None);
        assert_eq!(breaker.admit(now + S * 4), Err(S));
        // What was asked when another failed makes nothing good.
        assert_eq!(breaker.settle(c, Verdict::Good, Duration::ZERO, now), Change::None);
        assert!(!breaker.is_closed());
    }

    /// So many seconds after `start` as many probes as are let through.
    fn probes(breaker: &mut Breaker, start: Instant, second: u32) -> Vec<Permit> {
        let mut permits = Vec::new();
        while let Ok(permit) = breaker.admit(start + S * second) {
            permits.push(permit);
        }
        permits
    }

    #[test]
    fn probes_that_hang_hold_up_none_of_the_next_turn() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let hung: Vec<Vec<Permit>> =
            [5, 10, 15].map(|second| probes(&mut breaker, start, second)).into();
        assert_eq!(hung.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
        // The first are lost, and the others answered at last.
        let now = start + S * 16;
        for lost in &hung[0] {
            breaker.settle(*lost, Verdict::Failed, S * 11, now);
        }
        assert_eq!(breaker.settle(hung[1][0], Verdict::Good, S * 6, now), Change::None);
        assert_eq!(probes(&mut breaker, start, 16), [], "one is under way that will do");
        assert_eq!(breaker.settle(hung[2][0], Verdict::Good, S, now), Change::Closed);
    }

    #[test]
    fn once_one_has_passed_the_others_are_let_through_at_once() {
        let start = Instant::now();
        let mut breaker = opened(start);
        probes(&mut breaker, start, 5);
        let next = probes(&mut breaker, start, 10);
        assert_eq!(next.len(), 1);
        let now = start + S * 11;
        assert_eq!(breaker.settle(next[0], Verdict::Good, S, now), Change::None);
        assert_eq!(ask(&mut breaker, now, Verdict::Good), Change::Closed);
    }

    #[test]
    fn one_that_takes_long_to_fail_counts_as_much() {
        let start = Instant::now();
        let mut breaker = opened(start);
        // Each answers after more than a turn, and half of them fail.
        let mut before = probes(&mut breaker, start, 5);
        for turn in 2..200 {
            let at = start + S * 5 * turn;
            let next = probes(&mut breaker, start, 5 * turn);
            for (permit, verdict) in before.iter().zip([Verdict::Failed, Verdict::Good]) {
                assert_eq!(breaker.settle(*permit, verdict, S * 6, at), Change::None);
            }
            before = next;
        }
    }

    #[test]
    fn no_more_than_so_many_hang() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let hung: Vec<Permit> =
            (1..200).flat_map(|turn| probes(&mut breaker, start, 5 * turn)).collect();
        assert_eq!(hung.len(), BREAKER_HANGING_MAX);
        breaker.give_back(hung[0]);
        assert_eq!(probes(&mut breaker, start, 1000).len(), 1);
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
