//! What one worker counts of one page.

use super::family::{Family, Kind};
use super::{Histogram, Statuses};

pub(super) const RESPONSES: Family = Family {
    name: "ringpress_page_responses_total",
    help: "Answers of a page by the class of their status; page is its path in the site file, \
           and empty for what no page was asked for.",
    kind: Kind::Counter,
};
pub(super) const DURATION: Family = Family {
    name: "ringpress_page_duration_seconds",
    help: "How long a page took, from the head of its request to its answer.",
    kind: Kind::Histogram,
};
pub(super) const RENDER: Family = Family {
    name: "ringpress_page_render_seconds",
    help: "How long the template of a page took; pages that were kept take none.",
    kind: Kind::Histogram,
};

/// What one worker counts of one page.
#[derive(Debug, Default)]
pub struct PageMetrics {
    /// Answers by the class of their status.
    pub statuses: Statuses,
    /// From the head of the request to the answer.
    pub duration: Histogram,
    /// The template.
    pub render: Histogram,
}

impl PageMetrics {
    pub(super) fn add(&self, other: &Self) {
        self.statuses.add(&other.statuses);
        self.duration.add(&other.duration);
        self.render.add(&other.render);
    }
}
