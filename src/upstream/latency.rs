//! How long an upstream's exchanges took of late, in buckets that grow with what they hold.

use std::time::Duration;

use crate::limits::HEDGE_SAMPLES_MIN;

/// The recent times of one upstream, on one worker: eight buckets for each power of two, so that
/// a percentile is at most an eighth too high. When there are many, all count half: the old ones
/// fade.
#[derive(Debug)]
pub(super) struct Latency {
    counts: Box<[u16; BUCKETS]>,
    samples: u32,
    samples_max: u16,
}

impl Latency {
    /// None yet. At so many all count half.
    pub(super) fn new(samples_max: u16) -> Self {
        Self { counts: Box::new([0; BUCKETS]), samples: 0, samples_max }
    }

    pub(super) fn record(&mut self, took: Duration) {
        if self.samples >= u32::from(self.samples_max) {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.samples = self.counts.iter().copied().map(u32::from).sum();
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(us)) {
            *count += 1;
            self.samples += 1;
        }
    }

    /// The time within which 95 of 100 exchanges were done; none while too few were timed.
    pub(super) fn p95(&self) -> Option<Duration> {
        self.percentile(95, HEDGE_SAMPLES_MIN)
    }

    /// The time within which so many of 100 exchanges were done; none while fewer were timed than
    /// it takes.
    pub(super) fn percentile(&self, percent: u32, samples_min: u32) -> Option<Duration> {
        if self.samples < samples_min {
            return None;
        }
        let rank = (self.samples * percent).div_ceil(100);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u32::from(*count);
            seen >= rank
        })?;
        Some(Duration::from_micros(end_of(bucket)))
    }
}

/// The bucket of a time: exact below eight microseconds, then by its three digits after the first.
fn bucket_of(us: u64) -> usize {
    if us < 8 {
        return us as usize;
    }
    let power = us.ilog2() as usize;
    let eighth = (us >> (power - 3)) as usize % 8;
    ((power - 2) * 8 + eighth).min(BUCKETS - 1)
}

/// The first time that is beyond a bucket, microseconds.
fn end_of(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64 + 1;
    }
    let (power, eighth) = (bucket / 8 + 2, bucket as u64 % 8);
    (8 + eighth + 1) << (power - 3)
}

/// Up to 67 s; what took longer is in the last.
const BUCKETS: usize = (26 - 2 + 1) * 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LATENCY_SAMPLES_MAX;

    #[test]
    fn each_time_is_within_its_bucket_and_an_eighth_of_its_end() {
        let mut before = 0;
        for us in (0..5000).chain([10_000, 65_535, 65_536, 1_000_000, 60_000_000]) {
            let bucket = bucket_of(us);
            assert!(bucket >= before && end_of(bucket) > us, "{us}");
            assert!(end_of(bucket) <= us + us / 8 + 1, "{us}: {}", end_of(bucket));
            before = bucket;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket_of((1 << 27) - 1), BUCKETS - 1);
    }

    #[test]
    fn a_percentile_needs_samples_and_follows_them() {
        let ms = Duration::from_millis;
        let mut latency = Latency::new(LATENCY_SAMPLES_MAX);
        for _ in 0..HEDGE_SAMPLES_MIN - 1 {
            latency.record(ms(10));
        }
        assert_eq!(latency.p95(), None);
        for _ in 0..1000 {
            latency.record(ms(10));
        }
        let p95 = latency.p95().unwrap();
        assert!((ms(10)..ms(12)).contains(&p95), "{p95:?}");
        // The upstream has become slower: after a while nothing is left of what was.
        for _ in 0..4 * u32::from(LATENCY_SAMPLES_MAX) {
            latency.record(ms(500));
        }
        assert!(latency.p95().unwrap() >= ms(500));
        assert!(latency.samples <= u32::from(LATENCY_SAMPLES_MAX));
    }

    #[test]
    fn one_in_twenty_is_beyond() {
        let mut latency = Latency::new(LATENCY_SAMPLES_MAX);
        for n in 0..200 {
            latency.record(Duration::from_millis(if n % 20 == 0 { 900 } else { 10 }));
        }
        assert!(latency.p95().unwrap() < Duration::from_millis(12));
        for _ in 0..20 {
            latency.record(Duration::from_millis(900));
        }
        assert!(latency.p95().unwrap() >= Duration::from_millis(900));
    }
}
