//! A response in the making, and what may go out of it.

use std::fmt;
use std::future::{Future, poll_fn};
#[cfg(feature = "http2")]
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::driver::buffers::Buffers;
use crate::driver::file_body::FileBody;
use crate::http::{self, Coding, EntityTag, FieldLines, InvalidHead};
use crate::page::LentNotes;

use super::body::Body;
#[cfg(feature = "http2")]
use super::http2::Room;

/// A response in the making.
#[derive(Debug)]
pub struct Response {
    /// The status, 200 to 599 (RFC 9110 section 15). With 204, 205 or 304 the body is not sent.
    pub status: u16,
    /// The media type of the body; none where empty. Without CR, LF or NUL.
    pub content_type: &'static str,
    /// Whether it says of HTML that its reader has it: what goes with all HTML goes with that (RFC
    /// 9110 section 15.4.5).
    pub is_of_html: bool,
    /// Further fields. Left out are those whose name or value may not be sent (see
    /// [`push_field`](crate::http::push_field)), that [are of the
    /// framing](crate::http::is_framing_field), Date, and what is said otherwise: by
    /// `content_type`, `etag` or `coding`, where those say anything.
    pub fields: Vec<(&'static str, Vec<u8>)>,
    /// And further field lines, each made by [`push_field`](crate::http::push_field), none of the
    /// framing. Other ones than [`FieldLines`] takes are not sent, nor is what they go with.
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
    /// Field lines of a site's page, known to be right: pages do not pay for looking at them again.
    pub(super) passed: Vec<u8>,
    body: Body,
    /// What its connection may hold, where that carries several.
    #[cfg(feature = "http2")]
    room: Option<Rc<Room>>,
}

impl Response {
    /// An empty response with status 200. Its buffer is taken from `buffers` when the body
    /// begins: a page that waits for its fetches holds none.
    pub fn new(buffers: Buffers) -> Self {
        let content_type = "";
        let (fields, lines, passed) = (Vec::new(), Vec::new(), Vec::new());
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
            passed,
            body: Body::new(buffers),
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

    /// The body, to be appended to.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Takes back what was filled in, to start anew.
    pub fn reset(&mut self) {
        self.status = 200;
        (self.content_type, self.is_of_html) = ("", false);
        self.fields.clear();
        self.lines.clear();
        self.passed.clear();
        self.etag = None;
        (self.coding, self.varies) = (Coding::Identity, false);
        self.file = None;
        self.notes = None;
        self.body.clear();
    }

    /// Whether it may go out as it is.
    ///
    /// # Errors
    /// When it may not: it would not be the message that its maker takes it for, or two.
    pub(super) fn check(&self) -> Result<(), Unsendable> {
        if !(200..=599).contains(&self.status) {
            return Err(Unsendable::Status);
        }
        if !http::is_field_value(self.content_type.as_bytes()) {
            return Err(Unsendable::ContentType);
        }
        debug_assert!(FieldLines::new(&self.passed).is_ok());
        FieldLines::new(&self.lines).map_err(Unsendable::Lines)?;
        Ok(())
    }

    /// Takes back the body where there must be none (RFC 9110 sections 6.4.1 and 15.3.6).
    pub(super) fn drop_body_of_none(&mut self) {
        if !http::has_content(self.status) || self.status == 205 {
            self.body.clear();
            self.file = None;
        }
    }

    /// The further fields that may be sent.
    pub(super) fn own_fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let fields = self.fields.iter().filter(|(name, _)| !self.is_said_otherwise(name));
        fields.map(|(name, value)| (*name, value.as_slice()))
    }

    fn is_said_otherwise(&self, name: &str) -> bool {
        let said = [
            ("date", true),
            ("content-type", !self.content_type.is_empty()),
            ("etag", self.etag.is_some()),
            ("content-encoding", self.coding != Coding::Identity),
        ];
        let is_said = said.iter().any(|(said, is)| *is && name.eq_ignore_ascii_case(said));
        is_said || http::is_framing_field(name.as_bytes())
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
        self.body.len() as u64 + self.file.as_ref().map_or(0, |file| file.left())
    }

    /// The buffer: room for the head, then the body.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.body.take()
    }
}

/// Why an answer may not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsendable {
    /// A status that is none, or none of an answer: a 1xx is followed by one.
    Status,
    /// A media type that would end its line.
    ContentType,
    /// Field lines that are not.
    Lines(InvalidHead),
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("the status is not one of 200 to 599"),
            Self::ContentType => f.write_str("the media type holds CR, LF or NUL"),
            Self::Lines(error) => write!(f, "its field lines: {error}"),
        }
    }
}
