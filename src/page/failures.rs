//! What is logged of pages that fail, and of renders that are slow: each of them while they are
//! few, and their number when they are many. No clock, no IO.
//!
//! An upstream that fails does so for all of its pages, and a line for each of those would tell
//! nothing more, and take time when there is least of it.

use std::time::Instant;

use crate::error::PageErrorKind;
use crate::limits::{
    ERROR_PAGES_LOGGED_A_PERIOD, PAGE_FAILURES_LOGGED_A_PERIOD, PAGE_FAILURES_PERIOD,
    RENDERS_SLOW_LOGGED_A_PERIOD,
};

/// Failures of one worker's pages, by their upstream and kind.
#[derive(Debug)]
pub(super) struct Failures {
    /// Five for each upstream, and five for what is no upstream's.
    counts: Vec<Count>,
    slow_renders: Count,
    error_pages: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// When the period began.
    since: Option<Instant>,
    /// Lines in it.
    logged: u32,
    /// Failures in it without one.
    left_out: u64,
}

/// Failures of one kind that no lines tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// The place of their upstream in the site, if they are one's.
    pub(super) upstream: Option<usize>,
    /// What visitors got.
    pub(super) status: u16,
    pub(super) pages: u64,
}

impl Failures {
    /// For pages with so many upstreams.
    pub(super) fn new(upstreams: usize) -> Self {
        let counts = vec![Count::default(); (upstreams + 1) * KINDS.len()];
        Self { counts, slow_renders: Count::default(), error_pages: Count::default() }
    }

    /// Counts a failure; whether to log it.
    pub(super) fn note(
        &mut self,
        upstream: Option<usize>,
        kind: PageErrorKind,
        now: Instant,
    ) -> bool {
        let place = upstream.map_or(0, |upstream| upstream + 1) * KINDS.len() + place_of(kind);
        let Some(count) = self.counts.get_mut(place) else { return true };
        // What a bound of ours or a breaker turns away needs no second example.
        let most = match kind {
            PageErrorKind::Overload => 1,
            _ => PAGE_FAILURES_LOGGED_A_PERIOD,
        };
        count.note(most, now)
    }

    /// Counts a slow render; whether to log it.
    pub(super) fn note_slow_render(&mut self, now: Instant) -> bool {
        self.slow_renders.note(RENDERS_SLOW_LOGGED_A_PERIOD, now)
    }

    /// Slow renders that no lines told of, in a period that is over by now.
    pub(super) fn slow_renders_left_out(&mut self, now: Instant) -> Option<u64> {
        self.slow_renders.take_left_out(now)
    }

    /// Counts an error page of the site's own that failed; whether to log it.
    pub(super) fn note_error_page(&mut self, now: Instant) -> bool {
        self.error_pages.note(ERROR_PAGES_LOGGED_A_PERIOD, now)
    }

    /// Error pages that failed and no lines told of, in a period that is over by now.
    pub(super) fn error_pages_left_out(&mut self, now: Instant) -> Option<u64> {
        self.error_pages.take_left_out(now)
    }

    /// What no lines told of in periods that are over by now. To be asked for a few times a second.
    pub(super) fn left_out(&mut self, now: Instant) -> Vec<LeftOut> {
        let mut all = Vec::new();
        for (place, count) in self.counts.iter_mut().enumerate() {
            let Some(pages) = count.take_left_out(now) else { continue };
            let (upstream, kind) = (place / KINDS.len(), place % KINDS.len());
            let status = KINDS.get(kind).copied().unwrap_or_default();
            all.push(LeftOut { upstream: upstream.checked_sub(1), status, pages });
        }
        all
    }
}

impl Count {
    /// Counts one; whether it is among the first few of its period.
    fn note(&mut self, most: u32, now: Instant) -> bool {
        if !self.is_now(now) && self.left_out == 0 {
            *self = Self { since: Some(now), ..Self::default() };
        }
        let is_logged = self.logged < most;
        self.logged += u32::from(is_logged);
        self.left_out += u64::from(!is_logged);
        is_logged
    }

    /// Those of a period that is over that were not among the first few, if there are any.
    fn take_left_out(&mut self, now: Instant) -> Option<u64> {
        if self.left_out == 0 || self.is_now(now) {
            return None;
        }
        Some(std::mem::take(self).left_out)
    }

    /// Whether the period is not over yet.
    fn is_now(&self, now: Instant) -> bool {
        let over = |since| now.saturating_duration_since(since) >= PAGE_FAILURES_PERIOD;
        self.since.is_some_and(|since| !over(since))
    }
}

/// The kinds that are told apart, as the statuses they have in the log.
const KINDS: [u16; 5] = [500, 502, 503, 504, 404];

fn place_of(kind: PageErrorKind) -> usize {
    match kind {
        PageErrorKind::Internal => 0,
        PageErrorKind::BadGateway => 1,
        PageErrorKind::Overload => 2,
        PageErrorKind::Timeout => 3,
        PageErrorKind::UpstreamGone(_) | PageErrorKind::NoSuchPage | PageErrorKind::BadRequest => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_a_few_are_logged_and_the_others_counted() {
        let start = Instant::now();
        let mut failures = Failures::new(2);
        let mut logged = |at, upstream, kind, times| {
            (0..times).filter(|_| failures.note(upstream, kind, at)).count()
        };
        assert_eq!(logged(start, Some(1), PageErrorKind::Overload, 500), 1);
        let most = PAGE_FAILURES_LOGGED_A_PERIOD as usize;
        assert_eq!(logged(start, Some(1), PageErrorKind::BadGateway, 500), most);
        assert_eq!(logged(start, Some(0), PageErrorKind::BadGateway, most), most);
        assert_eq!(logged(start, None, PageErrorKind::Internal, 3), 3);
        assert_eq!(failures.left_out(start), []);
        let later = start + PAGE_FAILURES_PERIOD;
        let left_out = |status, pages| LeftOut { upstream: Some(1), status, pages };
        let expected = [left_out(502, 500 - most as u64), left_out(503, 499)];
        assert_eq!(failures.left_out(later), expected);
        assert_eq!(failures.left_out(later), []);
        assert!(failures.note(Some(1), PageErrorKind::Overload, later), "a new period");
    }

    #[test]
    fn of_many_slow_renders_a_few_are_logged() {
        let start = Instant::now();
        let mut failures = Failures::new(0);
        let logged = (0..1000).filter(|_| failures.note_slow_render(start)).count();
        assert_eq!(logged, RENDERS_SLOW_LOGGED_A_PERIOD as usize);
        assert_eq!(failures.slow_renders_left_out(start), None);
        let later = start + PAGE_FAILURES_PERIOD;
        assert_eq!(failures.slow_renders_left_out(later), Some(1000 - logged as u64));
        assert_eq!(failures.slow_renders_left_out(later), None);
        assert!(failures.note_slow_render(later), "a new period");
    }

    #[test]
    fn of_many_error_pages_that_fail_a_few_are_logged() {
        let start = Instant::now();
        let mut failures = Failures::new(0);
        let logged = (0..1000).filter(|_| failures.note_error_page(start)).count();
        assert_eq!(logged, ERROR_PAGES_LOGGED_A_PERIOD as usize);
        assert_eq!(failures.error_pages_left_out(start), None);
        let later = start + PAGE_FAILURES_PERIOD;
        assert_eq!(failures.error_pages_left_out(later), Some(1000 - logged as u64));
    }

    #[test]
    fn one_now_and_then_is_logged_each_time() {
        let start = Instant::now();
        let mut failures = Failures::new(0);
        for second in 0..100 {
            let now = start + PAGE_FAILURES_PERIOD * second;
            assert!(failures.note(None, PageErrorKind::Overload, now));
            assert_eq!(failures.left_out(now), []);
        }
    }
}
