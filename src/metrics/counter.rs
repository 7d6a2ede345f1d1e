//! A number that one thread changes and any thread may read.
//!
//! A counter has a single writer, so that it needs no atomic read-modify-write: a relaxed load
//! and a relaxed store, which cost what a plain variable costs.

#![expect(clippy::indexing_slicing, reason = "`Index` is what this is")]

use std::ops::Index;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes and any thread may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the worker that owns the counter may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away, for a counter that is a gauge. Only the owning worker may call this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets it, for a counter that is a gauge. Only the owning worker may call this.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now, or a moment ago.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answers by the first digit of their status; index 0 is not used.
#[derive(Debug, Default)]
pub struct Statuses([Counter; 6]);

impl Statuses {
    /// Counts one. What is no status is not counted.
    #[inline]
    pub fn count(&self, status: u16) {
        if let Some(class) = self.0.get(usize::from(status / 100)) {
            class.add(1);
        }
    }

    /// The numbers now.
    pub fn get(&self) -> [u64; 6] {
        self.0.each_ref().map(Counter::get)
    }

    /// Adds what another has counted. Only who owns it may call this.
    pub(super) fn add(&self, other: &Self) {
        for (ours, theirs) in self.0.iter().zip(&other.0) {
            ours.add(theirs.get());
        }
    }
}

/// The counter of a class, as in `statuses[2]`. There are none above 5.
impl Index<usize> for Statuses {
    type Output = Counter;

    fn index(&self, class: usize) -> &Counter {
        &self.0[class]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_comes_back_to_zero() {
        let gauge = Counter::default();
        gauge.add(3);
        gauge.sub(2);
        assert_eq!(gauge.get(), 1);
        gauge.sub(1);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn statuses_are_counted_by_class_and_nonsense_is_not() {
        let statuses = Statuses::default();
        for status in [200, 204, 503, 999] {
            statuses.count(status);
        }
        assert_eq!(statuses.get(), [0, 0, 2, 0, 0, 1]);
    }
}
