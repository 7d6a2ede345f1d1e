//! An exchange whose request is long: the upstream may answer before it has taken all of it, as
//! where it refuses a body for its size, and then read no further (RFC 9112 section 9.5).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::driver::buffers::Buffers;
use crate::driver::{Driver, Writer};
use crate::http::{Method, ResponseHead};

use super::connection::{Bounds, Connection, Failure, Receiver, Response};
use super::error::{FetchError, Phase};

impl<D: Driver> Connection<D> {
    /// As `exchange`, and listens for the answer while it sends. After an answer to a request that
    /// was not taken whole the connection is of no more use.
    pub(super) async fn exchange_long(
        &mut self,
        request: Vec<u8>,
        method: Method,
        bounds: &Bounds,
        (requests, responses): (&Buffers, &Buffers),
    ) -> Result<(Response, bool), Failure> {
        let mut sending = Sending::Under(Box::pin(self.writer.write_all(request, 0)));
        let inbound = &mut self.inbound;
        let begun = poll_fn(|context| match sending.poll(context) {
            true => Poll::Ready(()),
            false => inbound.poll_arrived(context),
        });
        if self.timer.until(bounds.deadline, begun).await.is_err() {
            return Err(bounds.late(Phase::Request).into());
        }
        let mut receiver = Receiver::new(&mut self.inbound, &mut self.timer);
        let received = {
            // What is still being sent takes the time that it takes.
            let patient = Bounds { header_timeout: bounds.deadline_limit, ..bounds.again() };
            let bounds = if sending.is_over() { bounds } else { &patient };
            let mut receiving = pin!(receive(&mut receiver, method, bounds));
            poll_fn(|context| {
                sending.poll(context);
                receiving.as_mut().poll(context)
            })
            .await
        };
        let (answered, full) = (receiver.answered, receiver.full);
        let buffer = std::mem::take(&mut receiver.buffer);
        let sent = sending.end();
        let is_whole = matches!(sent, Some((Ok(()), _)));
        match (received, sent) {
            (Ok((head, body)), sent) => {
                if let Some((_, request)) = sent {
                    requests.put(request);
                }
                let (response, reusable) = self.end(head, body, buffer, full, responses);
                Ok((response, reusable && is_whole))
            }
            // It broke while it was sent, and there is nothing that says why.
            (Err(_), Some((Err(error), request))) if !answered => {
                let error = FetchError::Broken(Phase::Request, error);
                Err(Failure { error, unanswered: Some(request) })
            }
            (Err(error), Some((Ok(()), request))) if !answered && !error.is_timeout() => {
                Err(Failure { error, unanswered: Some(request) })
            }
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// Reads a whole response.
async fn receive<D: Driver>(
    receiver: &mut Receiver<'_, D>,
    method: Method,
    bounds: &Bounds,
) -> Result<(ResponseHead, Range<usize>), FetchError> {
    let head = receiver.head(method, bounds).await?;
    let body = match receiver.body_so_far(&head, bounds)? {
        Ok(body) => body,
        Err(rest) => receiver.body(rest, bounds).await?,
    };
    Ok((head, body))
}

/// What became of a write, and what was written.
type Sent = (io::Result<()>, Vec<u8>);

/// A write, until it is over.
enum Sending<F> {
    Under(Pin<Box<F>>),
    Over(Sent),
}

impl<F: Future<Output = Sent>> Sending<F> {
    /// Whether it is over.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::Under(write) = self
            && let Poll::Ready(sent) = write.as_mut().poll(context)
        {
            *self = Self::Over(sent);
        }
        self.is_over()
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }

    /// What became of it; none if it is not over, and is now.
    fn end(self) -> Option<Sent> {
        match self {
            Self::Under(_) => None,
            Self::Over(sent) => Some(sent),
        }
    }
}

impl Bounds {
    /// The same bounds.
    fn again(&self) -> Self {
        Self { begun: Cell::new(self.begun.get()), ..*self }
    }
}
