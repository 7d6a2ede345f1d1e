//! One connection to an upstream, and one exchange on it.
//!
//! A connection always has a read pending. While it is idle that read tells whether it is quiet;
//! during an exchange it is what brings the response. After a whole response without a byte too
//! many the connection may be pooled; any doubt about framing, and it is closed.

use std::cell::Cell;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::driver::buffers::Buffers;
use crate::driver::inbound::Inbound;
use crate::driver::timers::Timer;
use crate::driver::usual::Usual;
use crate::driver::{Driver, Writer};
use crate::http::{BodyReader, Limits, Method, ResponseHead, response};
use crate::limits;
use crate::tls;

use super::error::{FetchError, Phase};
use super::pool::Slot;

/// A connection to an upstream.
pub(super) struct Connection<D: Driver> {
    pub(super) inbound: Inbound<tls::Reader<D::Reader>>,
    pub(super) writer: tls::Writer<D::Writer>,
    pub(super) timer: Timer<D>,
    /// Held for as long as the connection is open, if it counts.
    slot: Option<Slot>,
    usual: Usual,
}

/// Both halves of a connection, plain or secured.
pub(super) type Halves<D> =
    (tls::Reader<<D as Driver>::Reader>, tls::Writer<<D as Driver>::Writer>);

/// What bounds an exchange.
pub(super) struct Bounds {
    /// When the response must be whole.
    pub(super) deadline: Instant,
    /// The same, as the time it left when the fetch began: for the error.
    pub(super) deadline_limit: Duration,
    /// When there was a connection, or an address to open one to.
    pub(super) begun: Cell<Instant>,
    /// From the request's last byte to the response head's last.
    pub(super) header_timeout: Duration,
    /// From there to the body's last byte.
    pub(super) body_timeout: Duration,
    /// The body without its framing, bytes.
    pub(super) body_bytes_max: u64,
}

impl Bounds {
    fn limits(&self) -> Limits {
        Limits { body_bytes_max: self.body_bytes_max, ..Limits::response() }
    }

    pub(super) fn late(&self, phase: Phase) -> FetchError {
        let limit = match phase {
            Phase::Head => self.header_timeout.min(self.deadline_limit),
            Phase::Body => self.body_timeout.min(self.deadline_limit),
            _ => self.deadline_limit,
        };
        FetchError::Timeout(phase, limit)
    }
}

/// A whole response.
#[derive(Debug)]
pub struct Response {
    /// The parsed head; its spans are ranges of `buffer`.
    pub head: ResponseHead,
    /// Head and body as received, chunks joined.
    pub buffer: Vec<u8>,
    /// Where the body is.
    pub body: Range<usize>,
    /// Whether the connection had served before.
    pub reused: bool,
}

impl Response {
    /// The body.
    pub fn body(&self) -> &[u8] {
        self.buffer.get(self.body.clone()).unwrap_or_default()
    }
}

/// An exchange that failed.
pub(super) struct Failure {
    pub(super) error: FetchError,
    /// The request, when not a byte of an answer had come: it may be sent again elsewhere, if its
    /// method is idempotent.
    pub(super) unanswered: Option<Vec<u8>>,
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self { error, unanswered: None }
    }
}

impl<D: Driver> Connection<D> {
    pub(super) fn new(
        (reader, writer): Halves<D>,
        timer: Timer<D>,
        slot: Option<Slot>,
        responses: &Buffers,
        usual: Usual,
    ) -> Self {
        let mut inbound = Inbound::new(reader);
        inbound.pend(responses.take(), usual.room());
        Self { inbound, writer, timer, slot, usual }
    }

    /// Whether nothing has arrived since the last exchange: no byte, no end, no error. When it is
    /// not quiet, the connection must be dropped.
    pub(super) fn is_quiet(&mut self) -> bool {
        // The pending read first: what of TLS is not for us, as new keys and tickets, it takes in.
        self.inbound.is_quiet() && self.writer.is_quiet()
    }

    /// Ends a connection on which nothing is under way. Where it is secured its end is announced
    /// (close_notify), by a task that takes no longer than that may.
    pub(super) fn close(self) {
        let Self { inbound, mut writer, mut timer, slot, .. } = self;
        if !writer.is_secure() {
            return;
        }
        D::spawn(async move {
            drop(inbound);
            let end = D::now() + limits::TLS_GOODBYE_TIMEOUT;
            // Whether the upstream has heard it makes no difference any more.
            let _ = timer.until(end, writer.say_goodbye()).await;
            drop(slot);
        });
    }

    /// Sends `request` and reads the whole response to it. Says whether the connection can serve
    /// again; where not, or after a failure, it must be dropped.
    #[expect(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
    pub(super) fn exchange<'a>(
        &'a mut self,
        request: Vec<u8>,
        method: Method,
        bounds: &'a Bounds,
        (requests, responses): (&'a Buffers, &'a Buffers),
    ) -> impl Future<Output = Result<(Response, bool), Failure>> + use<'a, D> {
        async move {
            if request.len() > limits::REQUEST_BYTES_AT_ONCE {
                let buffers = (requests, responses);
                return Box::pin(self.exchange_long(request, method, bounds, buffers)).await;
            }
            let sent = self.timer.until(bounds.deadline, self.writer.write_all(request, 0)).await;
            let request = match sent {
                Ok((Ok(()), request)) => request,
                Ok((Err(error), request)) => {
                    let error = FetchError::Broken(Phase::Request, error);
                    return Err(Failure { error, unanswered: Some(request) });
                }
                Err(_) => return Err(bounds.late(Phase::Request).into()),
            };
            let mut receiver = Receiver::new(&mut self.inbound, &mut self.timer);
            let head = match receiver.head(method, bounds).await {
                Ok(head) => head,
                Err(error) if !receiver.answered && !error.is_timeout() => {
                    return Err(Failure { error, unanswered: Some(request) });
                }
                Err(error) => return Err(error.into()),
            };
            requests.put(request);
            let body = match receiver.body_so_far(&head, bounds)? {
                Ok(body) => body,
                // Boxed, as most bodies come with their head.
                Err(rest) => Box::pin(receiver.body(rest, bounds)).await?,
            };
            let Receiver { buffer, full, .. } = receiver;
            Ok(self.end(head, body, buffer, full, responses))
        }
    }

    /// What a whole response comes to, and whether the connection can serve again.
    pub(super) fn end(
        &mut self,
        head: ResponseHead,
        body: Range<usize>,
        mut buffer: Vec<u8>,
        full: bool,
        responses: &Buffers,
    ) -> (Response, bool) {
        let full = self.writer.was_full().unwrap_or(full);
        // A byte too many was sent by someone who does not know where messages end. Where the
        // last read had no room to spare, one may be waiting: it would pass for the next answer.
        let reusable = head.keep_alive && body.end == buffer.len() && !full;
        if full {
            // Whoever has the buffer next, for an answer as long as this one, will know.
            buffer.reserve_exact(buffer.capacity() - buffer.len() + 1);
        }
        self.usual.learn(buffer.len());
        if reusable {
            self.inbound.pend(responses.take(), self.usual.room());
        }
        (Response { head, buffer, body, reused: false }, reusable)
    }
}

/// The receiving side of one exchange.
pub(super) struct Receiver<'a, D: Driver> {
    inbound: &'a mut Inbound<tls::Reader<D::Reader>>,
    timer: &'a mut Timer<D>,
    pub(super) buffer: Vec<u8>,
    /// Whether a byte has come. An interim response is one, though it is gone from the buffer.
    pub(super) answered: bool,
    /// Whether the last read filled all the room it had.
    pub(super) full: bool,
}

impl<'a, D: Driver> Receiver<'a, D> {
    pub(super) fn new(
        inbound: &'a mut Inbound<tls::Reader<D::Reader>>,
        timer: &'a mut Timer<D>,
    ) -> Self {
        Self { inbound, timer, buffer: Vec::new(), answered: false, full: false }
    }

    /// Reads until the final response head is there; interim ones are passed over.
    pub(super) fn head<'s>(
        &'s mut self,
        method: Method,
        bounds: &'s Bounds,
    ) -> impl Future<Output = Result<ResponseHead, FetchError>> + use<'s, 'a, D> {
        let deadline = bounds.deadline.min(D::now() + bounds.header_timeout);
        let mut interim = 0;
        let mut persists = true;
        async move {
            loop {
                if self.more(deadline, Phase::Head, 0, bounds).await? == 0 {
                    return Err(FetchError::Closed(Phase::Head));
                }
                while let Some(mut head) =
                    response::parse(&self.buffer, &bounds.limits(), method == Method::Head)
                        .map_err(FetchError::Protocol)?
                {
                    // A `close` ends the connection whichever answer says it (RFC 9112 section
                    // 9.6).
                    persists &= head.keep_alive;
                    if !head.interim {
                        head.keep_alive = persists;
                        return Ok(head);
                    }
                    interim += 1;
                    if interim > limits::INTERIM_RESPONSES_MAX {
                        return Err(FetchError::TooManyInterim);
                    }
                    self.buffer.drain(..head.length.min(self.buffer.len()));
                }
            }
        }
    }

    /// Where the body is, if all of it has come with its head; else what is to come of it.
    pub(super) fn body_so_far(
        &mut self,
        head: &ResponseHead,
        bounds: &Bounds,
    ) -> Result<Result<Range<usize>, Rest>, FetchError> {
        let start = head.length;
        let mut reader = BodyReader::new(head.framing, bounds.body_bytes_max);
        let progress = reader.advance(&mut self.buffer, start).map_err(FetchError::Protocol)?;
        Ok(match progress.done {
            true => Ok(start..progress.end),
            false => Err(Rest { reader, start, end: progress.end }),
        })
    }

    /// Reads until the body is whole, and says where it is.
    pub(super) async fn body(
        &mut self,
        rest: Rest,
        bounds: &Bounds,
    ) -> Result<Range<usize>, FetchError> {
        let Rest { mut reader, start, mut end } = rest;
        let deadline = bounds.deadline.min(D::now() + bounds.body_timeout);
        loop {
            // One more than is to come, for a byte too many to be seen.
            let room = reader.room_hint().saturating_add(1);
            if self.more(deadline, Phase::Body, room, bounds).await? == 0 {
                reader.finish_at_eof().map_err(FetchError::Protocol)?;
                return Ok(start..end);
            }
            let progress = reader.advance(&mut self.buffer, end).map_err(FetchError::Protocol)?;
            end = progress.end;
            if progress.done {
                return Ok(start..end);
            }
        }
    }

    /// Waits for more bytes; 0 at the end of the stream.
    fn more<'s>(
        &'s mut self,
        deadline: Instant,
        phase: Phase,
        room: usize,
        bounds: &'s Bounds,
    ) -> impl Future<Output = Result<usize, FetchError>> + use<'s, 'a, D> {
        let Self { inbound, timer, buffer: place, answered, full } = self;
        let buffer = std::mem::take(place);
        // As much room again as there is: a large body is moved a few times, not every 4 KiB.
        let room = room.max(buffer.len()).max(limits::UPSTREAM_READ_BYTES);
        // The first read of an answer is pending already. Those that a large one takes besides are
        // boxed, so that a page that waits does not hold room for two kinds of them.
        let read = inbound.read_or_pend(timer, deadline, buffer, room);
        read.map(move |read| {
            let (buffer, result) = read.map_err(|_| bounds.late(phase))?;
            *full = buffer.len() == buffer.capacity();
            *place = buffer;
            *answered |= matches!(result, Ok(1..));
            result.map_err(|error| FetchError::Broken(phase, error))
        })
    }
}

/// A body of which a part has come: where it starts, and where that part ends.
pub(super) struct Rest {
    reader: BodyReader,
    start: usize,
    end: usize,
}
