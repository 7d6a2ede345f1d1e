//! HTTP/2 toward visitors (RFC 9113): one connection, many requests at once, each answered by the
//! same service, under the same bounds and with the same bytes as in HTTP/1.1.
//!
//! Frames, HPACK and flow control are the `h2` crate's. It keeps what a connection's streams share
//! behind a mutex, which nobody ever waits for here: all of a connection is one task on one thread,
//! its requests included, so that nothing of it is left when it ends. That is the one lock on the
//! path of a request, and costs what an uncontended one does.
//!
//! Bounded: requests open at once; what a client may send that nobody has read; header lists and
//! how many frames they come in; requests that are given up; what waits to be written; and time, of
//! the preface, of each head, between requests, of each write, of each body. Over a bound that is
//! one request's, its stream is reset; over one of the connection, there is a GOAWAY. Where a
//! connection has as much to send as it may, its further requests wait.
//!
//! Refused: server push, which browsers do not take any more; CONNECT, with `:protocol` or without;
//! upgrades from HTTP/1.1, which RFC 9113 has dropped.
//!
//! | file | is |
//! |---|---|
//! | `wire` | the connection's bytes, as h2 wants them |
//! | `watch` | how far frames have come |
//! | `stream` | one request and its answer |
//! | `head` | heads, between HTTP/2 and the rest |
//! | `body` | a response's body on its way out |
//! | `room` | what the answers of a connection may hold at once |
//! | `connections` | what a worker's connections have in common |

mod body;
mod connections;
mod head;
mod room;
mod stream;
mod watch;
mod wire;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use h2::Reason;
use h2::server::{Builder, Connection};

use crate::driver::timers::Timer;
use crate::driver::{Driver, Reader};
use crate::limits;

use super::service::Service;
use super::{Visit, Worker};
use body::Body;
use connections::Presence;
use stream::{Ended, answer};
use wire::{Io, Wire};

pub(super) use connections::Connections;
pub(super) use room::Room;
pub(super) use wire::Outbound;

/// Whether a connection begins as HTTP/2 does, as far as it has come (RFC 9113 section 3.4).
pub(super) fn is_preface(received: &[u8]) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let common = PREFACE.len().min(received.len());
    received.get(..common) == PREFACE.get(..common)
}

/// Serves one connection until it ends, of which `received` has been read already.
pub(super) async fn serve<D: Driver, S: Service, R: Reader, W: Outbound>(
    worker: Rc<Worker<D, S>>,
    _visit: Visit,
    reader: R,
    writer: W,
    peer: SocketAddr,
    received: Vec<u8>,
) {
    let presence = worker.http2.enter();
    let visitor = (peer, writer.is_secure());
    let wire = Wire::new(&worker, reader, writer, received);
    if let Some(connection) = shake_hands(&worker, &wire, &presence).await {
        converse(&worker, &wire, &presence, connection, visitor).await;
        linger(&worker, &wire).await;
    }
}

type Shared<D, S, R, W> = Rc<RefCell<Wire<D, S, R, W>>>;

/// Waits for the preface; none when it does not come, or is another.
async fn shake_hands<D: Driver, S: Service, R: Reader, W: Outbound>(
    worker: &Worker<D, S>,
    wire: &Shared<D, S, R, W>,
    presence: &Presence<'_>,
) -> Option<Connection<Io<D, S, R, W>, Body>> {
    let handshake = Builder::new()
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        .initial_window_size(limits::HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(limits::HTTP2_FRAME_BYTES_MAX)
        // This bounds the CONTINUATION frames of one head too.
        .max_header_list_size(head::list_bytes_max(&worker.bounds.limits))
        .max_pending_accept_reset_streams(limits::HTTP2_RESETS_UNSEEN_MAX)
        .max_local_error_reset_streams(Some(limits::HTTP2_ERRORS_MAX))
        .max_concurrent_reset_streams(limits::HTTP2_RESETS_KEPT_MAX)
        .reset_stream_duration(limits::HTTP2_RESET_KEPT_TIME)
        .handshake(Io(Rc::clone(wire)));
    let mut handshake = pin!(handshake);
    let timer = worker.timers.timer();
    let deadline = D::now() + worker.bounds.head_timeout;
    timer.set(deadline);
    let mut is_parting = false;
    poll_fn(|context| {
        presence.set_waker(context.waker());
        // Who has agreed on TLS is about to ask for something. They are told of the end once they
        // have begun, and waited for no longer than those who have nothing to ask for.
        if worker.is_draining() && !std::mem::replace(&mut is_parting, true) {
            timer.set(deadline.min(D::now() + limits::HTTP2_PARTING_TIMEOUT));
        }
        wire.borrow_mut().begin_turn();
        let polled = handshake.as_mut().poll(context);
        let written = wire.borrow_mut().poll_written(context);
        if matches!(written, Poll::Ready(Err(_))) {
            return Poll::Ready(None);
        }
        match polled {
            Poll::Ready(shaken) => Poll::Ready(shaken.ok()),
            Poll::Pending => timer.poll_expired(context).map(|()| None),
        }
    })
    .await
}

/// Answers all requests of a connection, until it ends.
async fn converse<D: Driver, S: Service, R: Reader, W: Outbound>(
    worker: &Worker<D, S>,
    wire: &Shared<D, S, R, W>,
    presence: &Presence<'_>,
    mut connection: Connection<Io<D, S, R, W>, Body>,
    visitor: (SocketAddr, bool),
) {
    let room = Rc::<Room>::default();
    let mut streams = FuturesUnordered::new();
    let mut course = Course::new(worker);
    poll_fn(|context| {
        presence.set_waker(context.waker());
        wire.borrow_mut().begin_turn();
        loop {
            while let Poll::Ready(Some(ended)) = streams.poll_next_unpin(context) {
                course.count(ended);
            }
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, reply)))) => {
                    let stream = answer(worker, &room, visitor, request, reply);
                    // A panic in one is the others' no more than another connection's.
                    streams.push(AssertUnwindSafe(stream).catch_unwind().map(|ended| {
                        ended.unwrap_or_else(|_| {
                            worker.metrics.panics.add(1);
                            Ended::Failed
                        })
                    }));
                    continue;
                }
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            let head = wire.borrow().head_under_way();
            if let Some(step) = course.step(streams.is_empty(), head, context) {
                match step {
                    Step::Part => connection.graceful_shutdown(),
                    Step::End(reason) => connection.abrupt_shutdown(reason),
                }
                continue;
            }
            // All that there is to be said for now is gathered.
            let mut wire = wire.borrow_mut();
            if let Poll::Ready(Err(_)) = wire.poll_written(context) {
                return Poll::Ready(());
            }
            if !wire.take_unblocked() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// What becomes of a connection, beside its requests.
struct Course<'a, D: Driver, S: Service> {
    worker: &'a Worker<D, S>,
    timer: Timer<D>,
    /// Which head is under way, and when it is late.
    head: (Option<u64>, Timer<D>),
    /// Requests that the client may give up.
    resets_left: u32,
    /// Whether nothing is asked for, and the timer is set.
    is_idle: bool,
    /// Whether we have said that we will end it.
    is_parting: bool,
    /// Whether it ends, whatever is asked for.
    is_ending: bool,
}

/// What is to be done about a connection.
enum Step {
    /// It takes no new requests, and ends with those it has.
    Part,
    /// It ends now.
    End(Reason),
}

impl<'a, D: Driver, S: Service> Course<'a, D, S> {
    fn new(worker: &'a Worker<D, S>) -> Self {
        Self {
            worker,
            timer: worker.timers.timer(),
            head: (None, worker.timers.timer()),
            resets_left: limits::HTTP2_RESETS_MAX,
            is_idle: false,
            is_parting: false,
            is_ending: false,
        }
    }

    /// Who gives up more than they let us answer has us work for nothing.
    fn count(&mut self, ended: Ended) {
        self.resets_left = match ended {
            Ended::Answered => (self.resets_left + 1).min(limits::HTTP2_RESETS_MAX),
            Ended::GivenUp => self.resets_left.saturating_sub(1),
            Ended::Failed => self.resets_left,
        };
    }

    /// Whether the head that is under way takes too long. Nothing else can come on a connection
    /// before the end of a head (RFC 9113 section 4.3), so that it is the connection that ends.
    fn is_late(&mut self, head: Option<u64>, context: &mut Context<'_>) -> bool {
        let (known, timer) = &mut self.head;
        if std::mem::replace(known, head) != head {
            match head {
                Some(_) => timer.set(D::now() + self.worker.bounds.head_timeout),
                None => timer.clear(),
            }
        }
        head.is_some() && timer.poll_expired(context).is_ready()
    }

    fn step(
        &mut self,
        is_idle: bool,
        head: Option<u64>,
        context: &mut Context<'_>,
    ) -> Option<Step> {
        if self.is_ending {
            return None;
        }
        if self.is_late(head, context) || self.resets_left == 0 {
            self.is_ending = true;
            return Some(Step::End(Reason::ENHANCE_YOUR_CALM));
        }
        if self.worker.is_draining() && !self.is_parting {
            self.is_parting = true;
            self.is_idle = false;
            return Some(Step::Part);
        }
        if !is_idle {
            if std::mem::take(&mut self.is_idle) {
                self.timer.clear();
            }
            return None;
        }
        if !std::mem::replace(&mut self.is_idle, true) {
            let limit = match self.is_parting {
                true => limits::HTTP2_PARTING_TIMEOUT,
                false => self.worker.bounds.idle_timeout,
            };
            self.timer.set(D::now() + limit);
        }
        if self.timer.poll_expired(context).is_pending() {
            return None;
        }
        self.is_ending = true;
        Some(Step::End(Reason::NO_ERROR))
    }
}

/// Reads on for a while after our end, so that the peer can read why: closing with bytes unread
/// would reset the connection under it.
async fn linger<D: Driver, S: Service, R: Reader, W: Outbound>(
    worker: &Worker<D, S>,
    wire: &Shared<D, S, R, W>,
) {
    if !wire.borrow().may_linger() {
        return;
    }
    let mut left = limits::LINGER_BYTES_MAX;
    let over = poll_fn(|context| {
        let mut wire = wire.borrow_mut();
        wire.begin_turn();
        while left > 0 {
            match wire.poll_discard(context) {
                Poll::Ready(0) => return Poll::Ready(()),
                Poll::Ready(bytes) => left = left.saturating_sub(bytes),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    });
    let mut timer = worker.timers.timer();
    let _ = timer.timeout(limits::LINGER_TIMEOUT, over).await;
}
