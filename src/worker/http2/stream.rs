//! One request of an HTTP/2 connection, and its answer: as [`conversation`] has it, but that a
//! stream can end alone. A visitor who resets it has its page and the fetches for it given up; one
//! who takes the answer too slowly has it reset.
//!
//! [`conversation`]: crate::worker::conversation

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use ::http::{Method, Request as Incoming, Response as Outgoing, StatusCode};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use crate::driver::Driver;
use crate::driver::file_body::FileBody;
use crate::driver::timers::Timer;
use crate::http::{ParseError, RequestHead, has_content};
use crate::limits;
use crate::metrics::WorkerMetrics;
use crate::worker::access::{Answered, Asked, Open, first_line};
use crate::worker::admission::Shed;
use crate::worker::exchange::{Outcome, Stop, body_bytes_max, has_body, refuse, respond};
use crate::worker::service::{Request, Response, Service};
use crate::worker::{Held, Worker};

use super::body::{Body, Progress};
use super::head::{self, Malformed};
use super::room::{OpenFile, Room};

/// How a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an answer that was taken.
    Answered,
    /// Without: the client has given it up, did not take it, or has asked for nothing.
    GivenUp,
    /// Without, as we have failed.
    Failed,
}

/// Answers one request.
pub(super) async fn answer<D: Driver, S: Service>(
    worker: &Worker<D, S>,
    room: &Rc<Room>,
    (peer, secure): (SocketAddr, bool),
    request: Incoming<RecvStream>,
    reply: SendResponse<Body>,
) -> Ended {
    let (parts, incoming) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let timer = worker.timers.timer();
    let mut stream = Stream { worker, room, reply, incoming, timer, peer, secure, is_head };
    if stream.is_reset().await {
        return Ended::GivenUp;
    }
    let mut received = Vec::with_capacity(limits::DOWNSTREAM_READ_BYTES);
    let has_body = !stream.incoming.is_end_stream();
    let head = head::translate(&parts, has_body, &worker.bounds.head_limits(), &mut received);
    drop(parts);
    match head {
        Ok(head) => stream.exchange(&head, &mut received).await,
        Err(Malformed::Refused(error)) => {
            let (begun, status, reason) = (worker.begin_record(), error.status(), error.reason());
            let (ended, bytes) = stream.refuse(status, reason).await;
            // As it would have come in HTTP/1.1, but for the version.
            let line = first_line(&received);
            let line = line.strip_suffix(b" HTTP/1.1").unwrap_or(line);
            let taken = ended == Ended::Answered;
            let answered = Answered { status, bytes, taken, reason, ..Answered::default() };
            worker.record(Asked::Line(line, peer, secure, true), begun, answered);
            ended
        }
        Err(Malformed::Stream) => {
            worker.metrics.requests_malformed.add(1);
            stream.reply.send_reset(Reason::PROTOCOL_ERROR);
            Ended::GivenUp
        }
    }
}

struct Stream<'a, D: Driver, S: Service> {
    worker: &'a Worker<D, S>,
    /// What the connection may hold.
    room: &'a Rc<Room>,
    reply: SendResponse<Body>,
    /// The body of the request. What is not read of it stays within the stream's window; when this
    /// is dropped the client is told to send no more of it.
    incoming: RecvStream,
    timer: Timer<D>,
    peer: SocketAddr,
    /// Whether the connection has TLS.
    secure: bool,
    is_head: bool,
}

impl<D: Driver, S: Service> Stream<'_, D, S> {
    /// A request as far as its head, which is all that has come for sure.
    fn request<'r>(&self, head: &'r RequestHead, bytes: &'r [u8], number: u64) -> Request<'r> {
        Request { head, bytes, body: &[], peer: self.peer, secure: self.secure, number }
    }

    /// Whether the client has given the request up already.
    async fn is_reset(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(self.reply.poll_reset(context).is_ready())).await
    }

    async fn exchange(&mut self, head: &RequestHead, received: &mut Vec<u8>) -> Ended {
        let worker = self.worker;
        let opens_file = worker.service().opens_file(&self.request(head, received, 0));
        let Some(file) = self.enter(opens_file).await else { return Ended::GivenUp };
        let outcome = Outcome::start(&worker.metrics);
        let (number, begun) = (worker.metrics.requests.get(), worker.begin_record());
        let request = self.request(head, received, number);
        let _in_flight = match self.admit(request).await {
            Ok(place) => place,
            Err(shed) => return self.shed((head, received, number), begun, shed, outcome).await,
        };
        let body = match has_body(head) {
            true => self.body(head, received).await,
            false => Ok(Some(head.length)),
        };
        // From here on it is recorded also when the connection ends.
        let bytes = received.get(..head.length).unwrap_or_default();
        let request = self.request(head, bytes, number);
        let mut open = Open { worker, request, begun, http2: true };
        let body_end = match body {
            Ok(end) => end,
            Err(Stop::Gone) => return Ended::GivenUp,
            Err(Stop::Refused(status, reason)) => {
                let (ended, bytes) = self.refuse(status, reason).await;
                let taken = ended == Ended::Answered;
                outcome.end(taken, status);
                open.end(Answered { status, bytes, taken, reason, ..Answered::default() });
                return ended;
            }
        };
        let visitor = (self.peer, self.secure, number);
        let response = Response::new(worker.buffers.clone()).within(self.room);
        let page = Box::pin(respond(worker, visitor, head, received, body_end, response));
        let Some(mut response) = self.attend(page).await else { return Ended::GivenUp };
        let _file = file.filter(|_| response.file.is_some());
        let (status, notes) = (response.status, response.notes.take());
        let bytes = if self.is_head { 0 } else { response.body_bytes() };
        let ended = self.send(response).await;
        let (taken, notes) = (ended == Ended::Answered, notes.as_deref());
        outcome.end(taken, status);
        open.end(Answered { status, bytes, taken, notes, ..Answered::default() });
        ended
    }

    /// Waits until the connection has room for one more answer, and a place for a file if that may
    /// be one; none when the client has given the request up.
    async fn enter(&mut self, opens_file: bool) -> Option<Option<OpenFile>> {
        poll_fn(|context| {
            let is_left = self.room.poll_left(context).is_ready();
            if is_left && !opens_file {
                return Poll::Ready(Some(None));
            }
            if is_left && let Poll::Ready(file) = self.room.poll_file(context) {
                return Poll::Ready(Some(Some(file)));
            }
            self.reply.poll_reset(context).map(|_| None)
        })
        .await
    }

    async fn admit<'a>(&self, request: Request<'_>) -> Result<Held<'a>, Shed>
    where
        Self: 'a,
    {
        match self.worker.admit() {
            Some(place) => Ok(place),
            None => self.worker.judge(request).await,
        }
    }

    /// Reads the body, if it is wanted, and says where it ends; none when it was left where it is.
    async fn body(
        &mut self,
        head: &RequestHead,
        received: &mut Vec<u8>,
    ) -> Result<Option<usize>, Stop> {
        let bounds = &self.worker.bounds;
        // Before anybody is told to go on.
        let asked = body_bytes_max(self.worker, &self.request(head, received, 0))?;
        let Some(bytes_max) = asked else { return Ok(None) };
        if head.expect_continue {
            let mut interim = Outgoing::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            self.reply.send_informational(interim).map_err(|_| Stop::Gone)?;
        }
        let begun = D::now();
        loop {
            let length = received.len().saturating_sub(head.length);
            let deadline = bounds.body_deadline(begun, length, D::now());
            let incoming = &mut self.incoming;
            let data = poll_fn(|context| incoming.poll_data(context));
            match self.timer.until(deadline, data).await {
                Ok(Some(Ok(bytes))) => {
                    if (length + bytes.len()) as u64 > bytes_max {
                        return Err(ParseError::BodyTooLong.into());
                    }
                    received.extend_from_slice(&bytes);
                    // It fails when the stream is over, which the next poll tells.
                    let _ = self.incoming.flow_control().release_capacity(bytes.len());
                }
                Ok(Some(Err(_))) => return Err(Stop::Gone),
                Ok(None) => return Ok(Some(received.len())),
                Err(_) => return Err(Stop::Refused(408, "the request body took too long")),
            }
        }
    }

    /// What `page` makes; none, and the page is dropped, when the client has given it up.
    async fn attend(
        &mut self,
        mut page: Pin<Box<impl Future<Output = Response>>>,
    ) -> Option<Response> {
        let mut waiting = Waiting { metrics: &self.worker.metrics, is_over: false };
        let made = poll_fn(|context| match page.as_mut().poll(context) {
            Poll::Ready(made) => Poll::Ready(Some(made)),
            Poll::Pending => self.reply.poll_reset(context).map(|_| None),
        })
        .await;
        waiting.is_over = made.is_some();
        made
    }

    /// Answers what was no request we speak.
    async fn refuse(&mut self, status: u16, reason: &'static str) -> (Ended, u64) {
        let worker = self.worker;
        let mut response = Response::new(worker.buffers.clone());
        refuse(worker, status, reason, &mut response);
        let bytes = if self.is_head { 0 } else { response.body_bytes() };
        (self.send(response).await, bytes)
    }

    /// Turns a request away.
    async fn shed(
        &mut self,
        (head, received, number): (&RequestHead, &[u8], u64),
        begun: Option<Instant>,
        shed: Shed,
        outcome: Outcome<'_>,
    ) -> Ended {
        let worker = self.worker;
        let mut buffer = worker.buffers.take();
        buffer.extend_from_slice(shed.refusal.body());
        let fields = self.secure.then(|| worker.http2.secure_fields(&*worker.service()));
        let fields = fields.as_deref().unwrap_or_default();
        let answer = head::of_shed(&shed, &worker.date.get(), fields);
        let ended = self.write(answer, buffer, 0, None).await;
        let (status, taken) = (shed.refusal.status(), ended == Ended::Answered);
        outcome.end(taken, status);
        let bytes = if self.is_head { 0 } else { shed.refusal.body_bytes() };
        let request = self.request(head, received, number);
        let answered = Answered { status, bytes, taken, shed: true, ..Answered::default() };
        self.worker.record(Asked::Request(&request, true), begun, answered);
        ended
    }

    async fn send(&mut self, mut response: Response) -> Ended {
        let worker = self.worker;
        let body_bytes = response.body_bytes();
        let file = response.file.take();
        let buffer = response.take_buffer();
        let from = limits::RESPONSE_HEAD_ROOM.min(buffer.len());
        let service = worker.service();
        let has_page_fields = response.has_page_fields();
        let page_fields = has_page_fields.then(|| worker.http2.page_fields(&*service));
        let date = worker.date.get();
        let secure_fields = self.secure.then(|| worker.http2.secure_fields(&*service));
        let fields = [page_fields.as_deref(), secure_fields.as_deref()];
        let fields = fields.map(Option::unwrap_or_default);
        let head = head::of_response(&response, body_bytes, &date, fields);
        self.write(head, buffer, from, file).await
    }

    /// Hands an answer with the body `buffer[from..]` to h2, and then the file, if there is one.
    async fn write(
        &mut self,
        head: Outgoing<()>,
        buffer: Vec<u8>,
        from: usize,
        file: Option<Box<FileBody>>,
    ) -> Ended {
        let buffers = self.worker.buffers.clone();
        let may_have_body = !self.is_head && has_content(head.status().as_u16());
        let (body, progress) = Body::new(buffer, from, buffers, self.room);
        let file = file.filter(|file| may_have_body && file.left() > 0);
        let is_bodiless = !may_have_body || (progress.left() == 0 && file.is_none());
        let Ok(mut outgoing) = self.reply.send_response(head, is_bodiless) else {
            return Ended::GivenUp;
        };
        if is_bodiless {
            return Ended::Answered;
        }
        match file {
            // The body before a file is empty.
            Some(file) => Box::pin(self.stream(outgoing, file)).await,
            None => self.pass(&mut outgoing, body, &progress, true).await,
        }
    }

    /// Sends a file, read piece by piece. Where it cannot be read to the end that was announced,
    /// the stream is reset.
    async fn stream(&mut self, mut outgoing: SendStream<Body>, mut file: Box<FileBody>) -> Ended {
        loop {
            let buffers = self.worker.buffers.clone();
            let read = file.next(buffers.take());
            let piece = self.timer.timeout(limits::STATIC_READ_TIMEOUT, read).await;
            let Ok(Ok(piece)) = piece else {
                outgoing.send_reset(Reason::INTERNAL_ERROR);
                return Ended::GivenUp;
            };
            let is_last = file.left() == 0;
            let (body, progress) = Body::new(piece, 0, buffers, self.room);
            let ended = self.pass(&mut outgoing, body, &progress, is_last).await;
            if is_last || ended == Ended::GivenUp {
                return ended;
            }
        }
    }

    /// Hands a body to h2, and waits until the client has taken it: by its windows, and by reading
    /// what was written before. Each piece has its own time.
    async fn pass(
        &mut self,
        outgoing: &mut SendStream<Body>,
        body: Body,
        progress: &Progress,
        is_last: bool,
    ) -> Ended {
        let bounds = &self.worker.bounds;
        if outgoing.send_data(body, is_last).is_err() {
            return Ended::GivenUp;
        }
        loop {
            let left = progress.left();
            let piece = left.min(limits::WRITE_PIECE_BYTES);
            let deadline = bounds.write_deadline(D::now(), piece);
            let gone = poll_fn(|context| progress.poll_left(left - piece, context));
            match self.timer.until(deadline, gone).await {
                Ok(true) if progress.left() == 0 => return Ended::Answered,
                Ok(true) => {}
                Ok(false) => return Ended::GivenUp,
                Err(_) => {
                    outgoing.send_reset(Reason::CANCEL);
                    return Ended::GivenUp;
                }
            }
        }
    }
}

/// A page that is being made. Dropped before it is, it is counted as given up.
struct Waiting<'a> {
    metrics: &'a WorkerMetrics,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.metrics.requests_abandoned.add(1);
        }
    }
}
