//! HTTP/1.1 without IO: bytes in, values out (RFC 9110, RFC 9112). It owns heads, body framing
//! and request targets, for the server toward visitors and for the client toward upstreams.
//!
//! It refuses whatever two parsers could read in two ways, since that is what request smuggling
//! is made of: line ends other than CRLF, folded fields, a length and a coding at once, a length
//! twice, a size in any form but digits. It never upgrades, never merges trailers and keeps no
//! time. A head is given as [`Span`]s into the buffer it was parsed from, not as borrows.
//!
//! | file | is |
//! |---|---|
//! | `request`, `response` | heads that come in |
//! | `fields`, `target`, `method`, `methods` | their parts |
//! | `body`, `chunked` | where a body ends, and its chunks taken off in place |
//! | `head`, `lines`, `status` | heads that go out |
//! | `path` | percent-encoding of paths and queries |
//! | `forwarded`, `proxy` | who a visitor is behind proxies |
//! | `caching`, `validator` | what may be kept, and what is still the same |
//! | `cookie` | values of cookies |
//! | `coding` | how bodies are packed, and what readers take |
//! | `conditions` | what is sent only if, and in part |
//! | `trace_context` | what ties requests together |
//! | `octet` | which octet may stand where |
//! | `error` | why a message was refused, and the status for it |

mod body;
pub mod caching;
mod chunked;
mod coding;
mod conditions;
pub mod cookie;
mod error;
mod fields;
pub mod forwarded;
mod head;
pub mod host;
mod lines;
mod method;
mod methods;
mod octet;
pub mod path;
pub mod proxy;
pub mod request;
pub mod response;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod trace_context;
mod validator;

pub use body::{BodyReader, Framing, Progress};
pub use chunked::ChunkedDecoder;
pub use coding::Coding;
pub use conditions::{Part, Validators, Verdict};
pub use error::ParseError;
pub use fields::Headers;
pub use head::{
    CONTINUE, Connection, Head, InvalidHead, RequestLine, format_date, is_field_value, line_name,
    place_head, push_field, write_request_head, write_response_head,
};
pub use lines::{FieldLines, is_framing_field};
pub use method::Method;
pub use methods::Methods;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use status::{has_content, reason_phrase};
pub use target::is_authority;
pub use trace_context::{is_request_id, is_traceparent};
pub use validator::EntityTag;

use crate::limits;

/// A range into the buffer that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub start: u32,
    /// Where it ends: the first byte that is no longer part of it.
    pub end: u32,
}

impl Span {
    /// The bytes of this span, or none where `buf` is not the buffer it was made for.
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// A span of offsets that lie within a head's window, which `u32` can always say.
    fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self { start: start as u32, end: end as u32 }
    }
}

/// The version of a message, as far as it changes what a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: one exchange a connection unless asked, no transfer codings.
    Http10,
    /// HTTP/1.1, or a later minor version read as that (RFC 9110 section 2.5).
    Http11,
}

/// The bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The head, bytes.
    pub head_bytes_max: usize,
    /// The target of a request, bytes.
    pub target_bytes_max: usize,
    /// Header fields.
    pub headers_max: usize,
    /// The body without its framing, bytes.
    pub body_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: limits::REQUEST_HEAD_BYTES_MAX,
            target_bytes_max: limits::REQUEST_TARGET_BYTES_MAX,
            headers_max: limits::HEADERS_MAX,
            body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
        }
    }
}

impl Limits {
    /// The bounds of what an upstream answers.
    pub fn response() -> Self {
        Self {
            head_bytes_max: limits::RESPONSE_HEAD_BYTES_MAX,
            body_bytes_max: limits::RESPONSE_BODY_BYTES_MAX,
            ..Self::default()
        }
    }

    /// The part of `buf` that a head may occupy, and whether the head must end within it.
    fn window<'a>(&self, buf: &'a [u8]) -> (&'a [u8], bool) {
        let max = self.head_bytes_max.min(u32::MAX as usize);
        (buf.get(..max).unwrap_or(buf), buf.len() >= max)
    }
}

/// The version at `at`, or `None` while its eight bytes are not all there (RFC 9112 section 2.3).
fn version_at(buf: &[u8], at: usize, malformed: ParseError) -> Result<Option<Version>, ParseError> {
    let seen = buf.get(at..).unwrap_or_default();
    if seen.starts_with(b"HTTP/1.1") {
        return Ok(Some(Version::Http11));
    }
    if b"HTTP/".iter().zip(seen).any(|(name, byte)| name != byte) {
        return Err(malformed);
    }
    match seen.get(5) {
        None => return Ok(None),
        Some(b'1') => {}
        Some(major) if major.is_ascii_digit() => return Err(ParseError::Version),
        Some(_) => return Err(malformed),
    }
    match (seen.get(6), seen.get(7)) {
        (None, _) | (Some(b'.'), None) => Ok(None),
        (Some(b'.'), Some(b'0')) => Ok(Some(Version::Http10)),
        (Some(b'.'), Some(minor)) if minor.is_ascii_digit() => Ok(Some(Version::Http11)),
        _ => Err(malformed),
    }
}

/// Where the CRLF at `at` ends, or `None` while it is not all there.
fn crlf_at(buf: &[u8], at: usize, otherwise: ParseError) -> Result<Option<usize>, ParseError> {
    match (buf.get(at), buf.get(at + 1)) {
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(b'\n')) => Ok(Some(at + 2)),
        _ => Err(otherwise),
    }
}
