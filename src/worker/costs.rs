//! What a page takes of the CPU, and what turning a visitor away does, told apart. No clock, no IO.
//!
//! All that can be measured is the CPU time of a moment, in which some were served and some turned
//! away. When most are turned away, what that takes must not be taken for what pages take: that
//! would leave fewer pages, more who are turned away, and pages that seem to take even more. One
//! moment does not tell the two apart; several do, as each mixes them differently. So each moment
//! corrects both by what was foreseen wrongly, in proportion to how much of it each was: a
//! normalized least mean squares filter, on the logarithms of both.

use crate::limits::OVERLOAD_RATE_PER_S_MIN;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Costs {
    /// CPU time, seconds.
    page_s: f64,
    refusal_s: f64,
}

impl Costs {
    /// For a worker that makes so many pages a second.
    pub(super) fn new(pages_per_s: f64) -> Self {
        let page_s = 1.0 / pages_per_s.max(OVERLOAD_RATE_PER_S_MIN);
        Self { page_s, refusal_s: page_s * REFUSAL_PART_USUAL }
    }

    /// So many were served, and so many turned away, in so much of the CPU's time.
    pub(super) fn learn(&mut self, pages: f64, refusals: f64, busy_s: f64) {
        let (for_pages, for_refusals) = (pages * self.page_s, refusals * self.refusal_s);
        let foreseen = for_pages + for_refusals;
        if pages + refusals < COUNT_MIN || foreseen <= 0.0 || busy_s <= 0.0 {
            return;
        }
        // As parts of what was foreseen.
        let (of_pages, of_refusals) = (for_pages / foreseen, for_refusals / foreseen);
        let wrong = (busy_s / foreseen).clamp(1.0 / WRONG_MAX, WRONG_MAX).ln();
        let learnt = LEARNT * wrong.abs() / (wrong.abs() + NOISE);
        let weight = of_pages * of_pages + LESS_CERTAIN * of_refusals * of_refusals;
        let step = learnt * wrong / weight;
        self.page_s *= (step * of_pages).exp();
        self.refusal_s *= (step * LESS_CERTAIN * of_refusals).exp();
        self.refusal_s = self.refusal_s.min(self.page_s * REFUSAL_PART_MAX);
    }

    /// Pages that can be made a second by a worker that has the CPU to itself, when so many
    /// visitors come a second and the others are turned away; 0 where that alone takes all.
    pub(super) fn capacity_per_s(&self, visitors_per_s: f64) -> f64 {
        let left = (1.0 - visitors_per_s * self.refusal_s).max(0.0);
        (left / (self.page_s - self.refusal_s)).min(1.0 / self.page_s)
    }
}

/// What turning a visitor away takes of what a page takes, before it is known, and at most.
const REFUSAL_PART_USUAL: f64 = 0.25;
const REFUSAL_PART_MAX: f64 = 0.5;
/// How much of what was foreseen wrongly is believed to be the costs' fault, at most: less of it,
/// the less it was, as moments differ by about so much whatever the costs.
const LEARNT: f64 = 0.9;
const NOISE: f64 = 0.05;
/// By how many times less certain it is what turning away takes than what pages do.
const LESS_CERTAIN: f64 = 2.0;
/// By how much it is believed to be wrong, at most.
const WRONG_MAX: f64 = 4.0;
/// Visitors that tell what they take.
const COUNT_MIN: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_S: f64 = 0.1;

    /// A worker that takes on what it may, of so many visitors a window; pages of the last window
    /// and what could have been made.
    fn windows(count: u32, visitors: f64, known: f64, page_s: f64, refusal_s: f64) -> (f64, f64) {
        let (mut costs, mut pages) = (Costs::new(known), 0.0);
        for _ in 0..count {
            pages = (costs.capacity_per_s(visitors / WINDOW_S) * WINDOW_S).min(visitors);
            let refusals = visitors - pages;
            let busy_s = (pages * page_s + refusals * refusal_s).min(WINDOW_S);
            let made = ((busy_s - refusals * refusal_s) / page_s).max(0.0);
            costs.learn(made, refusals, busy_s);
        }
        (pages, (WINDOW_S - visitors * refusal_s) / (page_s - refusal_s))
    }

    #[test]
    fn both_are_found_out_within_a_second_whatever_was_known() {
        for known in [4000.0, 8000.0, 20_000.0, 40_000.0] {
            for refusal_s in [5e-6, 14e-6, 24e-6] {
                let (pages, could) = windows(10, 2400.0, known, 50e-6, refusal_s);
                let part = pages / could;
                assert!((0.85..1.05).contains(&part), "{part} {known} {refusal_s}");
            }
        }
    }

    #[test]
    fn where_nobody_is_turned_away_it_is_all_the_pages_cost() {
        let mut costs = Costs::new(1000.0);
        (0..10).for_each(|_| costs.learn(200.0, 0.0, 0.1));
        let per_s = costs.capacity_per_s(100.0);
        assert!((1950.0..2050.0).contains(&per_s), "{per_s}");
    }

    #[test]
    fn whatever_is_seen_it_stays_a_number_that_can_be() {
        let seen = [0.0, 1.0, 8.0, 1e9, u64::MAX as f64];
        for known in seen {
            let mut costs = Costs::new(known);
            for (pages, refusals) in seen.iter().flat_map(|one| seen.map(|other| (*one, other))) {
                for busy_s in [0.0, 1e-9, 1.0, 1e9] {
                    (0..100).for_each(|_| costs.learn(pages, refusals, busy_s));
                    for visitors_per_s in seen {
                        let per_s = costs.capacity_per_s(visitors_per_s);
                        assert!(per_s >= 0.0 && per_s.is_finite(), "{per_s} {costs:?}");
                    }
                }
            }
        }
    }
}
