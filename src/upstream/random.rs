//! Numbers by chance, for pauses that must not coincide. Of no use for secrets.

use std::cell::Cell;
use std::time::Duration;

/// A small generator (SplitMix64), so that a run with the same seed is the same run.
#[derive(Debug)]
pub(super) struct Random(Cell<u64>);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// A time from zero up to this one.
    pub(super) fn up_to(&self, longest: Duration) -> Duration {
        let ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        // The upper half of a product: no division, and no number is much likelier than another.
        let part = (u128::from(self.next()) * (u128::from(ns) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(part).unwrap_or(ns))
    }

    /// Another one, which gives other numbers.
    pub(super) fn another(&self) -> Self {
        Self::new(self.next())
    }

    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spread_over_all_that_is_allowed() {
        let random = Random::new(1);
        let times: Vec<u64> =
            (0..1000).map(|_| random.up_to(Duration::from_nanos(9)).as_nanos() as u64).collect();
        for time in 0..=9 {
            let count = times.iter().filter(|other| **other == time).count();
            assert!((60..160).contains(&count), "{time}: {count}");
        }
        assert!(times.iter().all(|time| *time <= 9));
        assert_eq!(random.up_to(Duration::ZERO), Duration::ZERO);
    }
}
