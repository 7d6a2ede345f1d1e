//! What is counted of one exchange with an upstream, to its end, whichever that is.

use std::time::Duration;

use crate::metrics::UpstreamMetrics;

use super::connection::Response;
use super::error::FetchError;

/// An exchange under way. One that is dropped before its end was given up.
pub(super) struct Tally<'a> {
    counts: &'a UpstreamMetrics,
    ended: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn begin(counts: &'a UpstreamMetrics) -> Self {
        counts.exchanges.add(1);
        counts.in_flight.add(1);
        Self { counts, ended: false }
    }

    pub(super) fn end(mut self, outcome: Result<&Response, &FetchError>, took: Duration) {
        self.ended = true;
        self.counts.duration.record(took);
        match outcome {
            Ok(response) => {
                // One above 599 is to be taken for a 5xx (RFC 9110 section 15).
                self.counts.statuses.count(response.head.status.min(599));
                self.counts.bytes_in.add(response.buffer.len() as u64);
            }
            Err(error) => self.count(error),
        }
    }

    fn count(&self, error: &FetchError) {
        let counts = self.counts;
        let counter = match error {
            FetchError::Connect(_) => &counts.failed_connect,
            FetchError::Tls(_) => &counts.failed_tls,
            FetchError::Timeout(..) => &counts.failed_timeout,
            FetchError::Broken(..) | FetchError::Closed(_) => &counts.failed_broken,
            FetchError::Protocol(_) | FetchError::TooManyInterim => &counts.failed_protocol,
            FetchError::Busy | FetchError::Full => &counts.rejected_full,
            FetchError::Open(_) => &counts.rejected_breaker,
            FetchError::NoAddress { .. }
            | FetchError::Request(_)
            | FetchError::Shortage(_)
            | FetchError::NotRecorded(_) => &counts.failed_other,
        };
        counter.add(1);
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.counts.in_flight.sub(1);
        if !self.ended {
            self.counts.cancelled.add(1);
        }
    }
}
