//! What a worker serves: the seam between a connection, which knows HTTP, and what answers, which
//! knows pages (or anything else: the demo's API is served the same way).

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "http2")]
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::driver::buffers::Buffers;
use crate::driver::file_body::FileBody;
use crate::http::{Coding, EntityTag, RequestHead, Span};
use crate::limits;
use crate::page::LentNotes;
use crate::site::Priority;

#[cfg(feature = "http2")]
use super::http2::Room;

/// Something that answers requests.
pub trait Service: 'static {
    /// Whether the body of such a request should be read before [`Service::respond`]. Where not,
    /// the connection closes after the answer, if there is a body.
    fn wants_body(&self, request: &Request<'_>) -> bool;

    /// How long that body may be, bytes, where `usual` is what the server takes. Over it: 413.
    fn body_bytes_max(&self, request: &Request<'_>, usual: u64) -> u64 {
        let _ = request;
        usual
    }

    /// Whether a file may be opened to answer a request. Asked where a connection carries several,
    /// so that it does not use up all that may be open.
    fn opens_file(&self, request: &Request<'_>) -> bool {
        let _ = request;
        false
    }

    /// Answers one request: fills in the response, whatever happens.
    fn respond(&self, request: Request<'_>, response: &mut Response) -> impl Future<Output = ()>;

    /// Fills in the answer to what was not a request we speak (`status` 4xx or 5xx), or to one
    /// that panicked.
    fn refuse(&self, status: u16, reason: &str, response: &mut Response);

    /// Whether some requests go before others when not all can be answered.
    fn has_priorities(&self) -> bool {
        false
    }

    /// Who goes first then. Asked only of a service that has priorities, under load.
    fn priority(&self, request: &Request<'_>) -> Priority {
        let _ = request;
        Priority::default()
    }

    /// Whom a request is counted as, where clients are: the address it came from, unless the
    /// service knows better.
    fn client(&self, request: &Request<'_>) -> IpAddr {
        request.peer.ip().to_canonical()
    }

    /// Whether the visitor has come by HTTPS: over TLS, unless the service knows of more.
    fn is_secure(&self, request: &Request<'_>) -> bool {
        request.secure
    }

    /// Appends the id under which a request is known, in logs and to upstreams: printable, without
    /// a space, a quote or a backslash. Nothing where there is none.
    fn request_id(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        let _ = (request, out);
    }

    /// Field lines of all responses that are HTML, each made by
    /// [`push_field`](crate::http::push_field).
    fn page_fields(&self) -> &[u8] {
        &[]
    }

    /// Field lines of all responses on connections with TLS, each made by
    /// [`push_field`](crate::http::push_field).
    fn secure_fields(&self) -> &[u8] {
        &[]
    }
}

/// A request, as received.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The parsed head; its spans are ranges of `bytes`.
    pub head: &'a RequestHead,
    /// The head as received.
    pub bytes: &'a [u8],
    /// The body, chunks joined; empty where there is none or it was not wanted.
    pub body: &'a [u8],
    /// The address the connection came from.
    pub peer: SocketAddr,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Which of this worker's requests it is, from 1 on.
    pub number: u64,
}

impl<'a> Request<'a> {
    /// The bytes of one of the head's spans.
    pub fn span(&self, span: Span) -> &'a [u8] {
        span.of(self.bytes)
    }
}

/// A response in the making: the body is appended to a buffer that has room for the head in
/// front, so that both go out in one write without being copied together.
#[derive(Debug)]
pub struct Response {
    /// The status (RFC 9110 section 15).
    pub status: u16,
    /// The media type of the body; none where empty.
    pub content_type: &'static str,
    /// Whether it says of HTML that its reader has it: what goes with all HTML goes with that (RFC
    /// 9110 section 15.4.5).
    pub is_of_html: bool,
    /// Further fields; those that may not be sent are left out.
    pub fields: Vec<(&'static str, Vec<u8>)>,
    /// And further field lines, each made by [`push_field`](crate::http::push_field).
    pub lines: Vec<u8>,
    /// The entity tag of the body, if it has one.
    pub etag: Option<EntityTag>,
    /// How the body is packed.
    pub coding: Coding,
    /// Whether readers who take other codings may get other bytes.
    pub varies: bool,
    /// What comes after the body, if anything does: a file that is read while it is sent. Boxed, as
    /// few responses have it.
    pub file: Option<Box<FileBody>>,
    /// What was noted while it was made, if anything was.
    pub notes: Option<LentNotes>,
    buffer: Vec<u8>,
    buffers: Buffers,
    /// What its connection may hold, where that carries several.
    #[cfg(feature = "http2")]
    room: Option<Rc<Room>>,
}

impl Response {
    /// An empty response with status 200. Its buffer is taken from `buffers` when the body
    /// begins: a page that waits for its fetches holds none.
    pub fn new(buffers: Buffers) -> Self {
        let content_type = "";
        let (fields, lines, buffer) = (Vec::new(), Vec::new(), Vec::new());
        let (etag, notes, coding, varies) = (None, None, Coding::Identity, false);
        Self {
            status: 200,
            content_type,
            is_of_html: false,
            fields,
            lines,
            etag,
            coding,
            varies,
            file: None,
            notes,
            buffer,
            buffers,
            #[cfg(feature = "http2")]
            room: None,
        }
    }

    /// The same, on a connection that may hold so much.
    #[cfg(feature = "http2")]
    pub(super) fn within(self, room: &Rc<Room>) -> Self {
        Self { room: Some(Rc::clone(room)), ..self }
    }

    /// Whether its body may be made now: not while its connection has as much to send as it may.
    pub fn has_room(&self) -> bool {
        #[cfg(feature = "http2")]
        return self.room.as_ref().is_none_or(|room| room.is_left());
        #[cfg(not(feature = "http2"))]
        true
    }

    /// Waits until its body may be made.
    pub fn room(&self) -> impl Future<Output = ()> {
        poll_fn(|context| match self.has_room() {
            true => Poll::Ready(()),
            false => self.poll_room(context),
        })
    }

    #[cfg(feature = "http2")]
    fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        self.room.as_ref().map_or(Poll::Ready(()), |room| room.poll_left(context))
    }

    #[cfg(not(feature = "http2"))]
    fn poll_room(&self, _: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Where to append the body.
    pub fn body(&mut self) -> &mut Vec<u8> {
        if self.buffer.is_empty() {
            self.buffer = self.buffers.take();
            self.buffer.resize(limits::RESPONSE_HEAD_ROOM, 0);
        }
        &mut self.buffer
    }

    /// Takes back what was filled in, to start anew.
    pub fn reset(&mut self) {
        self.status = 200;
        (self.content_type, self.is_of_html) = ("", false);
        self.fields.clear();
        self.lines.clear();
        self.etag = None;
        (self.coding, self.varies) = (Coding::Identity, false);
        self.file = None;
        self.notes = None;
        self.buffer.truncate(limits::RESPONSE_HEAD_ROOM);
    }

    /// Whether the fields of all HTML belong to it.
    pub(super) fn has_page_fields(&self) -> bool {
        self.is_of_html || self.content_type.starts_with("text/html")
    }

    /// The fields that tell how the body is packed, and that it may be otherwise for others
    /// (RFC 9110 sections 8.4 and 12.5.5).
    pub(super) fn coding_fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let coding = (self.coding != Coding::Identity)
            .then(|| ("Content-Encoding", self.coding.name().as_bytes()));
        let vary = self.varies.then_some(("Vary", &b"Accept-Encoding"[..]));
        coding.into_iter().chain(vary)
    }

    /// The body with the file that comes after it, bytes.
    pub(super) fn body_bytes(&self) -> u64 {
        let buffered = self.buffer.len().saturating_sub(limits::RESPONSE_HEAD_ROOM) as u64;
        buffered + self.file.as_ref().map_or(0, |file| file.left())
    }

    /// The buffer: room for the head, then the body.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.body();
        std::mem::take(&mut self.buffer)
    }
}
