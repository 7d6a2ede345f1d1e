//! One request and its response, whichever protocol carries them: what the service is asked, and
//! what is counted.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::driver::Driver;
use crate::driver::wakes::Wakes;
use crate::http::{Framing, ParseError, RequestHead};
use crate::metrics::WorkerMetrics;

use super::response::Unsendable;
use super::service::{Request, Response, Service};
use super::{Worker, is_due};

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

/// How long the body of a request may be, bytes; none where it is not wanted.
///
/// # Errors
/// When it is announced as longer than that, and when the service panics about it.
pub(super) fn body_bytes_max<D: Driver, S: Service>(
    worker: &Worker<D, S>,
    request: &Request<'_>,
) -> Result<Option<u64>, Stop> {
    let (service, usual) = (worker.service(), worker.bounds.limits.body_bytes_max);
    let asked = catch_unwind(AssertUnwindSafe(|| {
        let bytes_max = service.body_bytes_max(request, usual);
        if matches!(request.head.body, Framing::Length(length) if length > bytes_max) {
            return Err(ParseError::BodyTooLong);
        }
        Ok(service.wants_body(request).then_some(bytes_max))
    }));
    let Ok(asked) = asked else {
        worker.metrics.panics.add(1);
        return Err(Stop::Refused(FAILED, PANICKED));
    };
    Ok(asked?)
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
        let is_made = {
            let (service, response) = (&*service, &mut response);
            let begin = move || {
                let response = response;
                service.respond(request, response)
            };
            let page = catch_unwind(AssertUnwindSafe(begin)).ok();
            let page = pin!(page.map(|page| Wakes::<D, _>::wanted(!S::WAKERS_STAY, page)));
            Making { page, metrics: &worker.metrics }.await
        };
        if is_made {
            settle(worker, &mut response);
        } else {
            worker.metrics.panics.add(1);
            response.reset();
            fill_refusal(worker, FAILED, PANICKED, &mut response);
        }
        response
    }
}

/// A page that is being made; none where its service has panicked before it began. Comes out as
/// whether it was made. What panics in its end, whenever that is, is caught too.
struct Making<'a, F> {
    page: Pin<&'a mut Option<F>>,
    metrics: &'a WorkerMetrics,
}

impl<F: Future<Output = ()>> Future for Making<'_, F> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let Some(page) = self.get_mut().page.as_mut().as_pin_mut() else {
            return Poll::Ready(false);
        };
        let polled = catch_unwind(AssertUnwindSafe(|| page.poll(context)));
        polled.map_or(Poll::Ready(false), |polled| polled.map(|()| true))
    }
}

impl<F> Drop for Making<'_, F> {
    fn drop(&mut self) {
        if catch_unwind(AssertUnwindSafe(|| self.page.set(None))).is_err() {
            self.metrics.panics.add(1);
        }
    }
}

/// Makes an answer what may go out.
fn settle<D: Driver, S: Service>(worker: &Worker<D, S>, response: &mut Response) {
    if let Err(trouble) = response.check() {
        worker.report_unsendable(trouble, response.status);
        response.reset();
        fill_refusal(worker, FAILED, "the answer cannot be sent", response);
    }
    response.drop_body_of_none();
}

/// Fills in the answer to what was no request we speak, or one about which the service has
/// panicked.
pub(super) fn refuse<D: Driver, S: Service>(
    worker: &Worker<D, S>,
    status: u16,
    reason: &str,
    response: &mut Response,
) {
    if status != FAILED {
        worker.metrics.requests_malformed.add(1);
    }
    fill_refusal(worker, status, reason, response);
}

/// The same without counting. Where the service fails in that, too, it is stood in for.
fn fill_refusal<D: Driver, S: Service>(
    worker: &Worker<D, S>,
    status: u16,
    reason: &str,
    response: &mut Response,
) {
    let service = worker.service();
    let filled = catch_unwind(AssertUnwindSafe(|| service.refuse(status, reason, response)));
    let is_sendable = match (filled, response.check()) {
        (Ok(()), Ok(())) => true,
        (Ok(()), Err(trouble)) => {
            worker.report_unsendable(trouble, response.status);
            false
        }
        (Err(_), _) => {
            worker.metrics.panics.add(1);
            false
        }
    };
    if !is_sendable {
        response.reset();
        response.status = status;
        response.content_type = "text/plain; charset=utf-8";
        response.body().extend_from_slice(reason.as_bytes());
    }
    response.drop_body_of_none();
}

impl<D: Driver, S: Service> Worker<D, S> {
    /// Logs that an answer may not go out, of many the first.
    fn report_unsendable(&self, trouble: Unsendable, status: u16) {
        if is_due::<D>(&self.unsendable_reported) {
            tracing::error!(%trouble, status, "an answer that may not go out: a 500 in its place");
        }
    }
}

/// What a visitor is told of a failure that is the service's.
const FAILED: u16 = 500;
const PANICKED: &str = "the page failed";

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
