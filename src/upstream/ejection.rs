//! When one address of an upstream is left out, by what became of the exchanges with it.

use std::time::Instant;

use crate::config::Eject;
use crate::limits::EJECT_TIME_MAX;

/// The record of one address.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    /// Failures in a row.
    failures: usize,
    /// Ejections in a row, without a success in between.
    times: u32,
    /// Until when it is left out. A time that has passed: it is on probation.
    until: Option<Instant>,
}

/// Whether an address is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Like any other.
    Good,
    /// One exchange at a time, to see.
    Probation,
    /// Not while there are others.
    Out,
}

impl Ejection {
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.until {
            None => Standing::Good,
            Some(until) if now < until => Standing::Out,
            Some(_) => Standing::Probation,
        }
    }

    /// An exchange went well.
    pub(super) fn passed(&mut self, now: Instant) {
        self.failures = 0;
        if self.standing(now) == Standing::Probation {
            (self.until, self.times) = (None, 0);
        }
    }

    /// An exchange failed. Whether the address is left out from now on, which it is only where
    /// that `may_be`: the first time for as long as the policy says, then for twice as long each.
    pub(super) fn failed(
        &mut self,
        policy: &Eject,
        now: Instant,
        may_be: impl FnOnce() -> bool,
    ) -> bool {
        let standing = self.standing(now);
        self.failures += 1;
        let is_due = match standing {
            Standing::Good => self.failures >= policy.failures,
            Standing::Probation => true,
            // What was asked before, and says nothing new.
            Standing::Out => false,
        };
        if !is_due || !(standing == Standing::Probation || may_be()) {
            return false;
        }
        let longer = 2_u32.saturating_pow(self.times);
        let time = policy.time.saturating_mul(longer).min(EJECT_TIME_MAX.max(policy.time));
        self.until = Some(now + time);
        self.times = self.times.saturating_add(1);
        self.failures = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const S: Duration = Duration::from_secs(1);
    const POLICY: Eject = Eject { failures: 3, time: Duration::from_secs(10) };

    #[test]
    fn failures_in_a_row_count_and_a_success_in_between_forgives_them() {
        let now = Instant::now();
        let mut address = Ejection::default();
        for _ in 0..10 {
            assert!(!address.failed(&POLICY, now, || true));
            assert!(!address.failed(&POLICY, now, || true));
            address.passed(now);
        }
        assert!(!address.failed(&POLICY, now, || true));
        assert!(!address.failed(&POLICY, now, || true));
        assert!(!address.failed(&POLICY, now, || false), "it is one too many to leave out");
        assert!(address.failed(&POLICY, now, || true));
        assert_eq!(address.standing(now + S * 9), Standing::Out);
        assert_eq!(address.standing(now + S * 10), Standing::Probation);
    }

    #[test]
    fn who_fails_on_probation_is_out_for_twice_as_long_and_at_most_the_limit() {
        let mut now = Instant::now();
        let mut address = Ejection { failures: 2, ..Ejection::default() };
        for times in 0..100 {
            assert!(address.failed(&POLICY, now, || true));
            assert!(!address.failed(&POLICY, now, || true), "it is out already");
            let time = (POLICY.time * (1 << times.min(10))).min(EJECT_TIME_MAX);
            assert_eq!(address.standing(now + time - S), Standing::Out);
            now += time;
            assert_eq!(address.standing(now), Standing::Probation);
        }
        address.passed(now);
        assert_eq!(address.standing(now), Standing::Good);
        assert!(!address.failed(&POLICY, now, || true), "a clean slate");
    }

    #[test]
    fn a_late_success_does_not_end_it() {
        let now = Instant::now();
        let mut address = Ejection { failures: 2, ..Ejection::default() };
        assert!(address.failed(&POLICY, now, || true));
        address.passed(now);
        assert_eq!(address.standing(now), Standing::Out);
    }
}
