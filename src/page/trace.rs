//! What was done for one page, step by step: for `ringpress render --explain`.

use std::time::Duration;

/// The steps of one page, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The fetches.
    pub steps: Vec<Step>,
    /// The size of the page, bytes, and how long its template took.
    pub render: Option<(usize, Duration)>,
}

/// One fetch.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, with the item's number in an `each`.
    pub name: String,
    /// The upstream and the target.
    pub url: String,
    /// The status, if there was a response.
    pub status: Option<u16>,
    /// The body, bytes.
    pub bytes: usize,
    /// When it began, from the page's beginning.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// Whether its connection had served before.
    pub reused: bool,
    /// How it came from the answers that are kept: cached, stale, coalesced, revalidated; empty
    /// where the upstream was asked as always.
    pub how: &'static str,
    /// Why it failed, if it did, one level each.
    pub failure: Vec<String>,
}

impl Trace {
    pub(super) fn rendered(&mut self, bytes: usize, took: Duration) {
        self.render = Some((bytes, took));
    }
}
