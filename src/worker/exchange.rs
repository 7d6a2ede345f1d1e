//! One request and its response, whichever protocol carries them: what the service is asked, and
//! what is counted.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::driver::Driver;
use crate::http::{Framing, ParseError, RequestHead};
use crate::metrics::WorkerMetrics;

use super::Worker;
use super::service::{Request, Response, Service};

/// Why there is no whole request.
pub(super) enum Stop {
    /// The peer closed, reset, or was idle for too long.
    Gone,
    /// It sent something else, or too slowly.
    Refused(u16, &'static str),
}

impl From<ParseError> for Stop {
    fn from(error: ParseError) -> Self {
        Stop::Refused(error.status(), error.reason())
    }
}

/// Whether there is anything to read after a head. Some clients say `Content-Length: 0` with every
/// request.
pub(super) fn has_body(head: &RequestHead) -> bool {
    !matches!(head.body, Framing::None | Framing::Length(0))
}

/// Has the service answer, in `response`. A panic in it is this request's, not the worker's.
// Not an `async fn`: that would hold all it is given twice while the page waits.
pub(super) fn respond<'a, D: Driver, S: Service>(
    worker: &'a Worker<D, S>,
    (peer, secure, number): (SocketAddr, bool, u64),
    head: &'a RequestHead,
    received: &'a [u8],
    body_end: Option<usize>,
    mut response: Response,
) -> impl Future<Output = Response> + use<'a, D, S> {
    let bytes = received.get(..head.length).unwrap_or_default();
    let body = received.get(head.length..body_end.unwrap_or(0)).unwrap_or_default();
    let request = Request { head, bytes, body, peer, secure, number };
    async move {
        // The one that is in service now answers, whatever comes after it.
        let service = worker.service();
        let answer = service.respond(request, &mut response);
        if AssertUnwindSafe(answer).catch_unwind().await.is_err() {
            worker.metrics.panics.add(1);
            response.reset();
            service.refuse(500, "the page failed", &mut response);
        }
        response
    }
}

/// Counts a request to its end, whichever it is.
pub(super) struct Outcome<'a> {
    metrics: &'a WorkerMetrics,
    ended: bool,
}

impl<'a> Outcome<'a> {
    pub(super) fn start(metrics: &'a WorkerMetrics) -> Self {
        metrics.requests.add(1);
        Self { metrics, ended: false }
    }

    pub(super) fn end(mut self, written: bool, status: u16) {
        if written {
            self.ended = true;
            self.metrics.responses.add(1);
            self.metrics.count_status(status);
        }
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.requests_aborted.add(1);
        }
    }
}
