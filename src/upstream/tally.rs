//! What is counted of one exchange with an upstream, to its end, whichever that is.

use std::time::Duration;

use crate::metrics::UpstreamMetrics;

use super::connection::Response;
use super::error::FetchError;

/// An exchange under way. One that is dropped before its end was given up.
pub(super) struct Tally<'a>(Option<&'a UpstreamMetrics>);

impl<'a> Tally<'a> {
    pub(super) fn begin(counts: &'a UpstreamMetrics) -> Self {
        counts.exchanges.add(1);
        counts.in_flight.add(1);
        Self(Some(counts))
    }

    pub(super) fn end(mut self, outcome: Result<&Response, &FetchError>, took: Duration) {
        let Some(counts) = self.0.take() else { return };
        counts.in_flight.sub(1);
        counts.duration.record(took);
        match outcome {
            Ok(response) => {
                // One above 599 is to be taken for a 5xx (RFC 9110 section 15).
                counts.statuses.count(response.head.status.min(599));
                counts.bytes_in.add(response.buffer.len() as u64);
            }
            Err(error) => count(counts, error),
        }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        if let Some(counts) = self.0 {
            counts.in_flight.sub(1);
            counts.cancelled.add(1);
        }
    }
}

/// Counts why there is no response.
fn count(counts: &UpstreamMetrics, error: &FetchError) {
    let counter = match error {
        FetchError::Connect(_) => &counts.failed_connect,
        FetchError::Tls(_) => &counts.failed_tls,
        FetchError::Timeout(..) => &counts.failed_timeout,
        FetchError::Broken(..) | FetchError::Closed(_) => &counts.failed_broken,
        FetchError::Protocol(_) | FetchError::TooManyInterim => &counts.failed_protocol,
        FetchError::Busy | FetchError::Full => &counts.rejected_full,
        FetchError::Open(_) => &counts.rejected_breaker,
        FetchError::NoAddress { .. }
        | FetchError::NoUpstream(_)
        | FetchError::Request(_)
        | FetchError::Shortage(_)
        | FetchError::NotRecorded(_) => &counts.failed_other,
    };
    counter.add(1);
}
