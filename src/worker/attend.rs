//! A page being made, and its visitor, who may leave meanwhile.
//!
//! Most pages are there before anybody could leave, so nothing is looked at at first. Later a read
//! is pending: an error is a visitor who is gone, and so is an end, after a while, as one who has
//! only ended their own side still waits for the answer. What is read instead, the start of a next
//! request, stays with the connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::driver::inbound::{Inbound, Sign};
use crate::driver::timers::Timer;
use crate::driver::{Driver, Reader};
use crate::limits::{WATCH_AFTER, WATCH_READ_BYTES};

/// What `page` makes; none, and the page is dropped, when the visitor has left.
pub(super) async fn attend<D: Driver, R: Reader, F: Future>(
    inbound: &mut Inbound<R>,
    timer: &mut Timer<D>,
    half_close_timeout: Duration,
    mut page: Pin<Box<F>>,
) -> Option<F::Output> {
    if let Ok(made) = timer.timeout(WATCH_AFTER, page.as_mut()).await {
        return Some(made);
    }
    let watched = poll_fn(|context| match page.as_mut().poll(context) {
        Poll::Ready(made) => Poll::Ready(Ok(made)),
        Poll::Pending => inbound.poll_sign(WATCH_READ_BYTES, context).map(Err),
    });
    match watched.await {
        Ok(made) => Some(made),
        Err(Sign::End) => timer.timeout(half_close_timeout, page.as_mut()).await.ok(),
        Err(Sign::Broken) => None,
    }
}
