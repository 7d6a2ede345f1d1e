//! How long things take, counted in buckets that grow with the time: a log-linear histogram.
//!
//! Each power of two of microseconds has eight buckets of the same width, so that
//! whatever is told of a time is wrong by a sixteenth of it at most, from microseconds to minutes.
//! One thread writes, with two stores and no search; any thread may read. What is read while
//! somebody writes is right for a moment ago, to within what is being written.

use std::time::Duration;

use super::Counter;
use super::snapshot::Times;

/// Buckets of each power of two.
const BUCKETS_A_DOUBLING: usize = 1 << SHIFT;
const SHIFT: u32 = 3;
/// What is longer than this is counted as if it were not: 134 seconds.
const LONGEST_US: u64 = (1 << LONGEST_SHIFT) - 1;
const LONGEST_SHIFT: u32 = 27;
/// All buckets.
const BUCKETS: usize = ((LONGEST_SHIFT - SHIFT + 1) as usize) << SHIFT;

/// Times, counted by one thread.
#[derive(Debug)]
pub struct Histogram {
    sum_us: Counter,
    buckets: [Counter; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { sum_us: Counter::default(), buckets: [(); BUCKETS].map(|()| Counter::default()) }
    }
}

impl Histogram {
    /// Counts one. Only the worker that owns it may call this.
    #[inline]
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(LONGEST_US).min(LONGEST_US);
        self.sum_us.add(us);
        if let Some(bucket) = self.buckets.get(bucket_of(us)) {
            bucket.add(1);
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Times {
        let buckets: Vec<u64> = self.buckets.iter().map(Counter::get).collect();
        Times { count: buckets.iter().sum(), sum_us: self.sum_us.get(), buckets }
    }

    /// Adds what another has counted. Only who owns it may call this.
    pub(super) fn add(&self, other: &Self) {
        self.sum_us.add(other.sum_us.get());
        for (ours, theirs) in self.buckets.iter().zip(&other.buckets) {
            ours.add(theirs.get());
        }
    }
}

impl Times {
    /// The time that so many of a whole (from 0 to 1) do not take longer than, microseconds: with
    /// 0.5 the median. None where nothing was counted.
    pub fn quantile_us(&self, part: f64) -> Option<u64> {
        let rank = (part.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let (from, to) = (floor_of(bucket), floor_of(bucket + 1));
        Some(from + (to - from) / 2)
    }

    /// How many took less than 2^`doublings` microseconds.
    pub fn below(&self, doublings: u32) -> u64 {
        let end = bucket_of(1 << doublings.min(LONGEST_SHIFT - 1));
        let end = if doublings >= LONGEST_SHIFT { BUCKETS } else { end };
        self.buckets.iter().take(end).sum()
    }

    /// Adds what somebody else has counted.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (ours, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *ours += theirs;
        }
    }

    /// What was counted since `earlier`. Where counting has begun anew meanwhile, all of it.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if earlier.count > self.count {
            return self.clone();
        }
        let before = earlier.buckets.iter().chain(std::iter::repeat(&0));
        let pairs = self.buckets.iter().zip(before);
        let buckets: Vec<u64> = pairs.map(|(now, then)| now.saturating_sub(*then)).collect();
        let sum_us = self.sum_us.saturating_sub(earlier.sum_us);
        Self { count: buckets.iter().sum(), sum_us, buckets }
    }
}

/// The bucket of a time that is not longer than the longest.
#[inline]
fn bucket_of(us: u64) -> usize {
    let Some(doublings) = us.checked_ilog2().and_then(|log| log.checked_sub(SHIFT)) else {
        // Below the first power of two that has so many whole numbers each has a bucket.
        return us as usize;
    };
    // The leading one counts as one doubling more.
    ((doublings as usize) << SHIFT) + (us >> doublings) as usize
}

/// The shortest time of a bucket, microseconds.
fn floor_of(bucket: usize) -> u64 {
    let (bucket, each) = (bucket as u64, BUCKETS_A_DOUBLING as u64);
    match (bucket / each).checked_sub(1) {
        None => bucket,
        Some(doublings) => (each + bucket % each) << doublings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(values_us: &[u64]) -> Times {
        let histogram = Histogram::default();
        values_us.iter().for_each(|us| histogram.record(Duration::from_micros(*us)));
        histogram.read()
    }

    #[test]
    fn each_bucket_begins_where_the_one_before_ends() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(floor_of(bucket)), bucket);
            assert_eq!(bucket_of(floor_of(bucket + 1) - 1), bucket);
        }
        assert_eq!(floor_of(BUCKETS), LONGEST_US + 1);
    }

    #[test]
    fn what_is_longer_than_the_longest_is_the_longest() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(10_000));
        histogram.record(Duration::MAX);
        let times = histogram.read();
        assert_eq!((times.count, times.buckets[BUCKETS - 1]), (2, 2));
        assert_eq!(times.below(27), 2);
        assert_eq!(times.below(26), 0);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Times::default().quantile_us(0.5), None);
        assert_eq!(times(&[]).quantile_us(0.5), None);
    }

    #[test]
    fn what_came_since_is_told_also_when_counting_has_begun_anew() {
        let (before, after) = (times(&[10, 20]), times(&[10, 20, 3000]));
        assert_eq!(after.since(&before), times(&[3000]));
        assert_eq!(before.since(&after), before);
        assert_eq!(before.since(&Times::default()), before);
    }

    fn values() -> impl Strategy<Value = Vec<u64>> {
        let any = (0u32..27).prop_flat_map(|doublings| 0..=(1u64 << doublings));
        proptest::collection::vec(any, 1..200)
    }

    proptest! {
        #[test]
        fn a_quantile_is_wrong_by_a_sixteenth_at_most(mut all in values(), part in 0.0..=1.0f64) {
            let told = times(&all).quantile_us(part).unwrap();
            all.sort_unstable();
            let rank = (part * all.len() as f64).ceil().max(1.0) as usize;
            let exact = all[rank - 1];
            prop_assert!(told.abs_diff(exact) * 16 <= exact, "{told} for {exact}");
        }

        #[test]
        fn together_is_the_same_as_one_after_the_other(one in values(), other in values()) {
            let mut both = times(&one);
            both.add(&times(&other));
            prop_assert_eq!(&both, &times(&[one.clone(), other.clone()].concat()));
            prop_assert_eq!(both.since(&times(&one)), times(&other));
            prop_assert_eq!(both.sum_us, one.iter().chain(&other).sum::<u64>());
        }

        #[test]
        fn what_is_below_a_power_of_two_is_counted_exactly(all in values(), doublings in 0u32..28) {
            let below = all.iter().filter(|us| **us < 1 << doublings).count() as u64;
            prop_assert_eq!(times(&all).below(doublings), below);
        }
    }
}
