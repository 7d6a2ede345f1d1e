//! How long things took between two snapshots: only the buckets that anything fell into, so that
//! two minutes of them take little room.

use crate::metrics::snapshot::Times;

/// How long things took in a while.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// How many.
    pub(super) count: u64,
    /// All together, microseconds.
    pub(super) sum_us: u64,
    /// Buckets that are not empty, by their number.
    buckets: Vec<(usize, u64)>,
}

impl Spread {
    /// What came between two looks. Where anything went back, its worker was started again, and
    /// all there is now came since.
    pub(super) fn between(before: Option<&Times>, now: &Times) -> Self {
        let before = before.filter(|before| before.count <= now.count);
        let old = |bucket: usize| {
            before.and_then(|before| before.buckets.get(bucket)).copied().unwrap_or(0)
        };
        let buckets = now.buckets.iter().enumerate();
        let buckets = buckets.map(|(bucket, count)| (bucket, count.saturating_sub(old(bucket))));
        Self {
            count: now.count - before.map_or(0, |before| before.count),
            sum_us: now.sum_us.saturating_sub(before.map_or(0, |before| before.sum_us)),
            buckets: buckets.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// All of them together.
    pub(super) fn sum<'a>(spreads: impl IntoIterator<Item = &'a Self>) -> Times {
        let mut sum = Times::default();
        for spread in spreads {
            sum.count += spread.count;
            sum.sum_us = sum.sum_us.saturating_add(spread.sum_us);
            for (bucket, count) in &spread.buckets {
                if sum.buckets.len() <= *bucket {
                    sum.buckets.resize(bucket + 1, 0);
                }
                if let Some(sum) = sum.buckets.get_mut(*bucket) {
                    *sum += count;
                }
            }
        }
        sum
    }
}

/// The time within which a share of them was done, microseconds; none of nothing.
pub(super) fn quantile_us(times: &Times, share: f64) -> Option<f64> {
    times.quantile_us(share).map(|us| us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(buckets: &[u64]) -> Times {
        let count = buckets.iter().sum();
        Times { count, sum_us: 10 * count, buckets: buckets.to_vec() }
    }

    #[test]
    fn only_what_came_since_counts() {
        let spread = Spread::between(Some(&times(&[1, 2])), &times(&[1, 5, 0, 1]));
        assert_eq!((spread.count, spread.sum_us), (4, 40));
        assert_eq!(Spread::sum([&spread]).buckets, [0, 3, 0, 1]);
        assert_eq!(Spread::between(None, &times(&[1, 2])).count, 3);
    }

    #[test]
    fn what_went_back_began_anew() {
        let spread = Spread::between(Some(&times(&[10, 20])), &times(&[3]));
        assert_eq!((spread.count, spread.sum_us), (3, 30));
    }

    #[test]
    fn they_add_up() {
        let (a, b) = (times(&[1, 0, 4]), times(&[0, 2, 0, 0, 1]));
        let (a, b) = (Spread::between(None, &a), Spread::between(None, &b));
        let sum = Spread::sum([&a, &b, &Spread::default()]);
        assert_eq!(sum.buckets, [1, 2, 4, 0, 1]);
        assert_eq!(sum.count, 8);
        assert_eq!(Spread::sum([]), Times::default());
    }
}
