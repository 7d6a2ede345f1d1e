//! One downstream connection: requests in, in order, and their answers out.
//!
//! Between requests a connection holds one small buffer and a pending read; all that a request
//! needs is made when it is there and gone when it is answered.

mod records;
mod wire;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

use futures_util::FutureExt;
use smallvec::SmallVec;

use crate::driver::Driver;
use crate::driver::file_body::FileBody;
use crate::driver::inbound::Inbound;
use crate::driver::timers::Timer;
use crate::http::{self, BodyReader, Connection, Framing, Head, RequestHead, Version, request};
use crate::limits;
use crate::page::LentNotes;
use crate::tls;

use super::access::Answered;
use super::admission::Shed;
use super::attend::attend;
use super::exchange::{Outcome, Stop, body_bytes_max, has_body, refuse, respond};
#[cfg(feature = "http2")]
use super::http2;
use super::ready::{Refusal, Terms};
use super::service::{Request, Response, Service};
use super::{Held, Visit, Worker};
use wire::Late;

/// Both halves of a downstream connection, plain or secured.
pub(super) type Halves<D> =
    (tls::Reader<<D as Driver>::Reader>, tls::Writer<<D as Driver>::Writer>);

/// Serves one connection until it ends.
pub(super) async fn converse<D: Driver, S: Service>(
    worker: Rc<Worker<D, S>>,
    visit: Visit,
    halves: Halves<D>,
    peer: SocketAddr,
) {
    let _visit = &visit;
    let mut conversation = Conversation::new(&worker, halves, peer);
    match conversation.hold().await {
        #[cfg(feature = "http2")]
        Next::Http2 => conversation.go_on_in_http2(&worker, visit),
        next => Box::pin(conversation.end(next)).await,
    }
}

/// The same for one of which `received` has come already.
pub(super) async fn go_on<D: Driver, S: Service>(
    worker: &Worker<D, S>,
    halves: Halves<D>,
    peer: SocketAddr,
    received: Vec<u8>,
) {
    let mut conversation = Conversation::new(worker, halves, peer);
    conversation.buffer = received;
    let next = conversation.hold().await;
    conversation.end(next).await;
}

/// Answers 503 on a connection over the bound, before a byte of it is read, and ends it; its
/// request is most likely on the way, and closing would reset the connection under the answer.
pub(super) async fn turn_away<D: Driver, S: Service>(
    worker: Rc<Worker<D, S>>,
    halves: Halves<D>,
    peer: SocketAddr,
) {
    let _turned_away = Held::new(&worker.turned_away);
    let mut conversation = Conversation::new(&worker, halves, peer);
    let retry_after_s = worker.admission.retry_after_s(worker.metrics.in_flight.get());
    let mut answer = worker.buffers.take();
    let (date, fields) = (&worker.date.get(), &[][..]);
    let terms = Terms { retry_after_s, date, fields, persists: false, to_head: false };
    Refusal::Busy.write(&mut answer, &terms);
    let begun = worker.begin_record();
    let (written, answer) = conversation.write(answer, 0).await;
    worker.buffers.put(answer);
    let (status, reason) = (Refusal::Busy.status(), "too many connections");
    let shed = Answered { status, taken: written, shed: true, reason, ..Answered::default() };
    let bytes = Refusal::Busy.body_bytes();
    worker.record(conversation.asked_nothing(), begun, Answered { bytes, ..shed });
    if written {
        conversation.linger().await;
    }
}

/// Tells who came without TLS where it is spoken, and ends the connection.
pub(super) async fn refuse_plain<D: Driver, S: Service>(
    worker: &Worker<D, S>,
    halves: Halves<D>,
    peer: SocketAddr,
) {
    let mut conversation = Conversation::new(worker, halves, peer);
    let reason = "This port speaks HTTPS: begin the address with https://";
    conversation.end(Next::Refuse(400, reason)).await;
}

struct Conversation<'a, D: Driver, S: Service> {
    worker: &'a Worker<D, S>,
    inbound: Inbound<tls::Reader<D::Reader>>,
    writer: tls::Writer<D::Writer>,
    timer: Timer<D>,
    peer: SocketAddr,
    /// What was received and not yet consumed.
    buffer: Vec<u8>,
    /// Whether the request at hand is a HEAD, as far as it has come: its answer has no body.
    is_head: bool,
}

/// A response as it goes out: what is in memory, from where on, and what comes after that.
struct Framed {
    buffer: Vec<u8>,
    from: usize,
    file: Option<Box<FileBody>>,
}

/// What is told of a response.
struct Told {
    status: u16,
    /// What is sent of it beside its head, bytes.
    bytes: u64,
    notes: Option<LentNotes>,
}

impl Told {
    fn answered(&self, taken: bool) -> Answered<'_> {
        let (status, bytes, notes) = (self.status, self.bytes, self.notes.as_deref());
        Answered { status, bytes, taken, notes, ..Answered::default() }
    }
}

/// What comes after a turn.
enum Next {
    /// The next request.
    Request,
    /// Nothing: the peer is gone, or has nothing more to say.
    Close,
    /// A refusal of what was no request, and the end.
    Refuse(u16, &'static str),
    /// The end, but the peer may still be sending: it must be able to read our answer.
    Linger,
    /// HTTP/2, which the peer has begun with.
    #[cfg(feature = "http2")]
    Http2,
}

impl<'a, D: Driver, S: Service> Conversation<'a, D, S> {
    fn new(worker: &'a Worker<D, S>, (reader, writer): Halves<D>, peer: SocketAddr) -> Self {
        let timer = worker.timers.timer();
        let inbound = Inbound::new(reader);
        Self { worker, inbound, writer, timer, peer, buffer: Vec::new(), is_head: false }
    }

    /// One request after the other, until something else is next. Where the service panics as it
    /// is asked about one, that and the connection end.
    async fn hold(&mut self) -> Next {
        loop {
            match AssertUnwindSafe(self.turn()).catch_unwind().await {
                Ok(Next::Request) => {}
                Ok(next) => return next,
                Err(_) => {
                    self.worker.metrics.panics.add(1);
                    return Next::Close;
                }
            }
        }
    }

    async fn end(&mut self, mut next: Next) {
        // A worker that drains waits for this too.
        let _busy = Held::new(&self.worker.busy);
        if let Next::Refuse(status, reason) = next {
            let begun = self.worker.begin_record();
            next = self.refuse(status, reason, begun, None).await;
        }
        match next {
            Next::Linger => self.linger().await,
            _ => self.say_goodbye().await,
        }
    }

    /// One request and its answer.
    async fn turn(&mut self) -> Next {
        let worker = self.worker;
        // An empty line after a body, which old clients send, is no beginning of a request.
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        if self.buffer.iter().all(is_line_end) && !self.idle().await {
            return Next::Close;
        }
        let _busy = Held::new(&worker.busy);
        let head = match self.head().await {
            Ok(head) => head,
            Err(Stop::Gone) => return Next::Close,
            #[cfg(feature = "http2")]
            Err(Stop::Refused(..)) if self.begins_http2() => return Next::Http2,
            // Not here: a connection would hold room for a head more.
            Err(Stop::Refused(status, reason)) => return Next::Refuse(status, reason),
        };
        let outcome = Outcome::start(&worker.metrics);
        let (number, begun) = (worker.metrics.requests.get(), worker.begin_record());
        let _in_flight = match worker.admit() {
            Some(place) => place,
            None => match worker.judge(self.request(&head, number)).await {
                Ok(place) => place,
                Err(shed) => return self.shed((&head, number), begun, shed, outcome).await,
            },
        };
        // Boxed, as what few requests have is not to make room in every connection.
        let body = match has_body(&head) {
            true => Box::pin(self.body(&head)).await,
            false => Ok(Some(head.length)),
        };
        let body_end = match body {
            Ok(end) => end,
            Err(stop) => {
                return Box::pin(self.go_without_body((&head, number), begun, stop, outcome)).await;
            }
        };
        // Boxed, so that a connection between two requests does not hold the room for a page.
        let secure = self.writer.is_secure();
        let visitor = (self.peer, secure, number);
        let response = Response::new(worker.buffers.clone());
        let page = respond(worker, visitor, &head, &self.buffer, body_end, response);
        let page = Box::pin(page);
        let grace = worker.bounds.half_close_timeout;
        let made = attend(&mut self.inbound, &mut self.timer, grace, page).await;
        let persist = head.keep_alive && body_end.is_some() && worker.keeps_connections();
        let Some((framed, told)) = made.map(|page| self.frame(page, (head.version, persist)))
        else {
            worker.metrics.requests_abandoned.add(1);
            self.record((&head, number), begun, Answered::default());
            return Next::Close;
        };
        let written = self.send(framed).await;
        outcome.end(written, told.status);
        self.record((&head, number), begun, told.answered(written));
        self.consume(body_end.unwrap_or(head.length));
        match (written, persist) {
            (false, _) => Next::Close,
            (true, true) => Next::Request,
            (true, false) if head.keep_alive || !self.buffer.is_empty() => Next::Linger,
            (true, false) => Next::Close,
        }
    }

    /// Whether what is no HTTP/1.1 request is the preface of HTTP/2, where that is welcome. Asked
    /// only of what would be refused.
    #[cfg(feature = "http2")]
    fn begins_http2(&self) -> bool {
        self.worker.bounds.http2_prior_knowledge && http2::is_preface(&self.buffer)
    }

    /// Hands the connection on, to a task of its own: this one has no room for more.
    #[cfg(feature = "http2")]
    fn go_on_in_http2(self, worker: &Rc<Worker<D, S>>, visit: Visit) {
        let Self { inbound, writer, peer, buffer, .. } = self;
        if let Some(reader) = inbound.into_reader() {
            D::spawn(http2::serve(Rc::clone(worker), visit, reader, writer, peer, buffer));
        }
    }

    /// A request as far as its head, which is all that has come for sure.
    fn request<'r>(&'r self, head: &'r RequestHead, number: u64) -> Request<'r> {
        let bytes = self.buffer.get(..head.length).unwrap_or_default();
        let (peer, secure) = (self.peer, self.writer.is_secure());
        Request { head, bytes, body: &[], peer, secure, number }
    }

    /// Waits for the first byte of the next request; false when none will come.
    async fn idle(&mut self) -> bool {
        let deadline = D::now() + self.worker.bounds.idle_timeout;
        matches!(self.read_or_end(deadline).await, Ok(1..))
    }

    /// Reads until a request head is whole.
    async fn head(&mut self) -> Result<RequestHead, Stop> {
        let bounds = &self.worker.bounds;
        let mut deadline = None;
        loop {
            let parsed = request::parse(&self.buffer, &bounds.head_limits());
            self.is_head = request::is_head(&self.buffer);
            if let Some(head) = parsed? {
                let is_secure = || self.worker.service().is_secure(&self.request(&head, 0));
                head.check_scheme(is_secure)?;
                self.worker.usual.learn(head.length);
                return Ok(head);
            }
            // Most heads are whole when their first byte is there.
            let deadline = *deadline.get_or_insert_with(|| D::now() + bounds.head_timeout);
            let room = self.buffer.len().max(limits::DOWNSTREAM_READ_BYTES);
            match self.read(deadline, room).await {
                Ok(1..) => {}
                Ok(0) => return Err(Stop::Gone),
                Err(Late::Broken) => return Err(Stop::Gone),
                Err(Late::Elapsed) => {
                    return Err(Stop::Refused(408, "the request head took too long"));
                }
            }
        }
    }

    /// Reads the body, if it is wanted, and says where it ends; none when it was left where it is.
    async fn body(&mut self, head: &RequestHead) -> Result<Option<usize>, Stop> {
        let bounds = &self.worker.bounds;
        // Before anybody is told to go on.
        let Some(bytes_max) = body_bytes_max(self.worker, &self.request(head, 0))? else {
            return Ok(None);
        };
        let begun = D::now();
        let mut end = head.length;
        if head.expect_continue && self.buffer.len() == end {
            let (written, _) = self.write(http::CONTINUE.to_vec(), 0).await;
            if !written {
                return Err(Stop::Gone);
            }
        }
        let mut body = BodyReader::new(head.body, bytes_max);
        loop {
            let progress = body.advance(&mut self.buffer, end)?;
            end = progress.end;
            if progress.done {
                return Ok(Some(end));
            }
            let room = body.room_hint().max(limits::DOWNSTREAM_READ_BYTES);
            let deadline = bounds.body_deadline(begun, end - head.length, D::now());
            match self.read(deadline, room).await {
                Ok(1..) => {}
                Ok(0) | Err(Late::Broken) => return Err(Stop::Gone),
                Err(Late::Elapsed) => {
                    return Err(Stop::Refused(408, "the request body took too long"));
                }
            }
        }
    }

    /// Turns a request away. The connection stays, as a new one would cost more than this, unless
    /// there is a body on the way or the peer would have to be told that it does.
    async fn shed(
        &mut self,
        (head, number): (&RequestHead, u64),
        begun: Option<Instant>,
        shed: Shed,
        outcome: Outcome<'_>,
    ) -> Next {
        let worker = self.worker;
        let is_bodyless = matches!(head.body, Framing::None | Framing::Length(0));
        let is_usual = head.keep_alive && head.version == Version::Http11;
        let persist = is_bodyless && is_usual && !worker.is_draining();
        let answer = self.refusal(&shed, persist);
        let (written, answer) = self.write(answer, 0).await;
        worker.buffers.put(answer);
        let status = shed.refusal.status();
        outcome.end(written, status);
        let bytes = if self.is_head { 0 } else { shed.refusal.body_bytes() };
        let (taken, shed) = (written, true);
        let answered = Answered { status, bytes, taken, shed, ..Answered::default() };
        self.record((head, number), begun, answered);
        self.consume(head.length);
        match (written, persist) {
            (false, _) => Next::Close,
            (true, false) => Next::Linger,
            (true, true) => Next::Request,
        }
    }

    /// The answer to one who is turned away.
    fn refusal(&self, shed: &Shed, persists: bool) -> Vec<u8> {
        let (worker, service) = (self.worker, self.worker.service());
        let fields = self.writer.is_secure().then(|| service.secure_fields().as_bytes());
        let fields = fields.unwrap_or_default();
        let (date, retry_after_s) = (&worker.date.get(), shed.retry_after_s);
        let terms = Terms { retry_after_s, date, fields, persists, to_head: self.is_head };
        let mut answer = worker.buffers.take();
        shed.refusal.write(&mut answer, &terms);
        answer
    }

    /// Sends a response; false when the peer did not take it.
    fn send(&mut self, framed: Framed) -> impl Future<Output = bool> {
        let Framed { buffer, from, file } = framed;
        async move {
            let (written, buffer) = self.write(buffer, from).await;
            self.worker.buffers.put(buffer);
            match file {
                Some(file) if written => Box::pin(self.stream(file)).await,
                _ => written,
            }
        }
    }

    /// A response as it goes out, to a client of this version on a connection that persists or
    /// not, and what is told of it. No connection holds room for the making.
    fn frame(
        &self,
        mut response: Response,
        (version, persists): (Version, bool),
    ) -> (Framed, Told) {
        let (status, notes) = (response.status, response.notes.take());
        let body_length = response.body_bytes();
        let bytes = if self.is_head { 0 } else { body_length };
        let file = response.file.take().filter(|_| !self.is_head);
        let mut buffer = response.take_buffer();
        let etag = response.etag.as_ref().map(|etag| ("ETag", etag.as_bytes()));
        let fields: SmallVec<[(&str, &[u8]); 4]> =
            response.own_fields().chain(etag).chain(response.coding_fields()).collect();
        let date = self.worker.date.get();
        let service = self.worker.service();
        let page_fields = response.has_page_fields().then(|| service.page_fields().as_bytes());
        let secure_fields = self.writer.is_secure().then(|| service.secure_fields().as_bytes());
        let [page_fields, secure_fields] =
            [page_fields, secure_fields].map(Option::unwrap_or_default);
        let head = Head {
            status,
            content_type: response.content_type,
            body_length,
            date: &date,
            connection: Connection::toward(version, persists),
            extra: &fields,
            lines: [page_fields, secure_fields, &response.lines, &response.passed],
        };
        let from = if self.is_head {
            buffer.clear();
            http::write_response_head(&mut buffer, &head);
            0
        } else {
            http::place_head(&mut buffer, limits::RESPONSE_HEAD_ROOM, &head)
        };
        (Framed { buffer, from, file }, Told { status, bytes, notes })
    }

    /// Answers what was no request we speak, and ends the connection: where one message is in
    /// doubt, the next one's start is too.
    async fn refuse(
        &mut self,
        status: u16,
        reason: &'static str,
        begun: Option<Instant>,
        head: Option<(&RequestHead, u64)>,
    ) -> Next {
        let worker = self.worker;
        let mut response = Response::new(worker.buffers.clone());
        refuse(worker, status, reason, &mut response);
        let (framed, told) = self.frame(response, (Version::Http11, false));
        let taken = self.send(framed).await;
        let answered = Answered { reason, ..told.answered(taken) };
        match head {
            Some(head) => self.record(head, begun, answered),
            None => worker.record(self.asked_nothing(), begun, answered),
        }
        if taken { Next::Linger } else { Next::Close }
    }
}
