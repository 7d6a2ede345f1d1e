//! What a worker serves: the seam between a connection, which knows HTTP, and what answers, which
//! knows pages (or anything else: the demo's API is served the same way).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use crate::http::{FieldLines, RequestHead, Span};
use crate::site::Priority;

pub use super::body::Body;
pub use super::response::Response;

/// Something that answers requests.
pub trait Service: 'static {
    /// Whether the wakers of [`Service::respond`] never leave the thread: then they are the loop's
    /// own, and spare a little. They panic where they are woken on another one, on some drivers.
    const WAKERS_STAY: bool = false;

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

    /// Answers one request: fills in the response, whatever happens. A panic becomes a 500.
    ///
    /// All requests of a worker take turns on one thread. A page gives way only where it awaits
    /// what is not there yet: a fetch, [`Timers::sleep`], or what a task of this worker or another
    /// thread will wake it for. What computes for long should [`give_way`] now and then; what
    /// blocks, as files and name look-ups do, goes to the threads of an [`Offload`], which the page
    /// awaits.
    ///
    /// A page has no deadline unless it sets one: [`Timers::timeout`] around all of it, and the
    /// deadline of each fetch. It is dropped, at an await, when its visitor has gone.
    ///
    /// [`Timers::sleep`]: crate::driver::timers::Timers::sleep
    /// [`Timers::timeout`]: crate::driver::timers::Timers::timeout
    /// [`Offload`]: crate::driver::offload::Offload
    /// [`give_way`]: crate::driver::give_way
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

    /// Field lines of all responses that are HTML.
    fn page_fields(&self) -> FieldLines<'_> {
        FieldLines::NONE
    }

    /// Field lines of all responses on connections with TLS.
    fn secure_fields(&self) -> FieldLines<'_> {
        FieldLines::NONE
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
