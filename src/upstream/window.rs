//! What became of an upstream's exchanges of late, counted. No clock: time arrives as `now`.

use std::time::{Duration, Instant};

use crate::limits::BREAKER_SLICES;

/// Exchanges over the last while: slices of it in a circle, and their sum.
#[derive(Debug)]
pub(super) struct Window {
    slices: [Counts; BREAKER_SLICES],
    current: usize,
    current_ends: Instant,
    slice: Duration,
    total: Counts,
}

/// How many exchanges there were, and of what kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) all: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

impl Window {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        // At least a nanosecond: windows are positive.
        let slice = (window / BREAKER_SLICES as u32).max(Duration::from_nanos(1));
        let (slices, total) = ([Counts::default(); BREAKER_SLICES], Counts::default());
        Self { slices, current: 0, current_ends: now + slice, slice, total }
    }

    /// All that has not been forgotten.
    pub(super) fn total(&self) -> Counts {
        self.total
    }

    /// Counts an exchange.
    pub(super) fn count(&mut self, now: Instant, failed: bool, slow: bool) {
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
