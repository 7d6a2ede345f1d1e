//! What is counted of each page of a site, on one worker.

use std::sync::Arc;
use std::time::Instant;

use crate::limits::COUNTED_PAGES_MAX;
use crate::metrics::{PageMetrics, WorkerMetrics};
use crate::site::{Page, Site, Static};

/// The numbers of each page, and last those of what no page was asked for.
pub(super) struct Counts(Vec<Arc<PageMetrics>>);

/// When it was begun to answer, and with which page of the site; with one more than there are for
/// none.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) at: Instant,
    pub(super) page: usize,
}

impl Counts {
    /// Those of a site: the ones that this worker has already, where it has them.
    pub(super) fn new(site: &Site, metrics: &WorkerMetrics) -> Self {
        let upstreams: Vec<&str> = site.upstreams().iter().map(|plan| plan.name.as_str()).collect();
        metrics.upstreams.retain(&upstreams);
        let mut patterns = vec![NO_PAGE];
        patterns.extend(site.pages().iter().map(Page::pattern));
        patterns.extend(site.statics().iter().map(Static::pattern));
        let mut counts = metrics.pages.of(&patterns, COUNTED_PAGES_MAX);
        counts.rotate_left(1);
        Self(counts)
    }

    pub(super) fn of(&self, begun: Begun) -> Option<&PageMetrics> {
        self.0.get(begun.page).map(Arc::as_ref)
    }
}

/// What is counted as a page where there is none.
const NO_PAGE: &str = "";
