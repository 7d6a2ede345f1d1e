//! What was done for one page, step by step: for `ringpress render --explain` and `dev`.

use std::time::Duration;

use crate::error::PageError;
use crate::press::{PressError, Spot};

/// The steps of one page, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The fetches.
    pub steps: Vec<Step>,
    /// The size of the page, bytes, and how long its template took.
    pub render: Option<(usize, Duration)>,
    /// Why there is an error page instead, if there is.
    pub failure: Option<Failure>,
}

/// Why a page could not be made.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The status of the error page.
    pub status: u16,
    /// What the visitor is told.
    pub told: &'static str,
    /// What happened, from the outermost error to its cause.
    pub levels: Vec<Level>,
}

/// One level of an error.
#[derive(Clone, Debug)]
pub struct Level {
    /// What went wrong.
    pub message: String,
    /// Where in the site's files, if it is something in them.
    pub spot: Option<Spot>,
}

/// One fetch.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name, with the item's number in an `each`.
    pub name: String,
    /// The line of the site file that it is written in.
    pub line: usize,
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

    pub(super) fn failed(&mut self, error: &PageError, told: &'static str) {
        let mut levels = vec![Level { message: error.to_string(), spot: None }];
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            levels.push(match error.downcast_ref::<PressError>() {
                Some(error) => {
                    Level { message: error.message().to_owned(), spot: error.spot().cloned() }
                }
                None => Level { message: error.to_string(), spot: None },
            });
            cause = error.source();
        }
        self.failure = Some(Failure { status: error.status(), told, levels });
    }
}
