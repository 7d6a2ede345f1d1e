//! What retries and hedges may cost: one try more for every ten fetches, and a few saved up.
//!
//! Without it, an upstream that begins to fail would get twice the load, and could not recover.

use std::time::Instant;

use crate::limits::{RETRY_DRIP, RETRY_EARNED_BY, RETRY_SAVED_MAX};

/// The tries that one upstream may cost beyond the first ones, on one worker.
#[derive(Debug)]
pub(super) struct Budget {
    /// In fetches: `RETRY_EARNED_BY` of them are a try.
    saved: u32,
    dripped: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { saved: SAVED_MAX, dripped: now }
    }

    /// A fetch has begun, and earns its part.
    pub(super) fn earn(&mut self) {
        self.saved = (self.saved + 1).min(SAVED_MAX);
    }

    /// Takes one try, if one is saved.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let periods = now.saturating_duration_since(self.dripped).as_millis() / DRIP_MS;
        if let Some(periods @ 1..) = u32::try_from(periods).ok().map(|n| n.min(RETRY_SAVED_MAX)) {
            self.saved = (self.saved + periods * RETRY_EARNED_BY).min(SAVED_MAX);
            self.dripped = now;
        }
        let left = self.saved.checked_sub(RETRY_EARNED_BY);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }
}

const SAVED_MAX: u32 = RETRY_SAVED_MAX * RETRY_EARNED_BY;
const DRIP_MS: u128 = RETRY_DRIP.as_millis();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_try_for_ten_fetches_and_those_saved_up() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let mut tries = 0;
        for _ in 0..1000 {
            budget.earn();
            tries += u32::from(budget.take(now));
        }
        // What the first fetch earns is over the most that is saved.
        assert!((100..=100 + RETRY_SAVED_MAX).contains(&tries), "{tries}");
    }

    #[test]
    fn who_is_seldom_asked_may_try_again_now_and_then() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        while budget.take(now) {}
        assert!(!budget.take(now + RETRY_DRIP / 2));
        assert!(budget.take(now + RETRY_DRIP));
        assert!(!budget.take(now + RETRY_DRIP));
        let later = now + RETRY_DRIP * 1_000_000;
        let saved = std::iter::repeat_with(|| budget.take(later)).take_while(|taken| *taken);
        assert_eq!(saved.count(), RETRY_SAVED_MAX as usize);
    }
}
