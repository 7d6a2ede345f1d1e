//! Heads that go out: of responses to visitors, of requests to upstreams.
//!
//! No field is ever written whose name or value could end its line: a value that holds CR, LF or
//! NUL is refused here, whatever was checked before.

use std::fmt;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;
use memchr::memchr3;

use super::status::{has_content, status_line};
use super::{FieldLines, Method, Version, is_authority, octet};

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The status, 100 to 999.
    pub status: u16,
    /// The Content-Type; none is written if it is empty.
    pub content_type: &'a str,
    /// The Content-Length; none is written for a 1xx, a 204 or a 304, which have no body.
    pub body_length: u64,
    /// The Date, as [`format_date`] gives it.
    pub date: &'a [u8; 29],
    /// What is said about the connection.
    pub connection: Connection,
    /// Further fields. One that [`push_field`] would refuse is left out.
    pub extra: &'a [(&'a str, &'a [u8])],
    /// And further field lines, made by [`push_field`].
    pub lines: [&'a [u8]; 4],
}

/// What a response says about its connection (RFC 9112 section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: to an HTTP/1.1 client the connection persists.
    Persist,
    /// `keep-alive`, to an HTTP/1.0 client that asked for it (RFC 9112 appendix C.2.2).
    KeepAlive,
    /// `close`
    Close,
}

impl Connection {
    /// What to say to a client of `version`, whether the connection `persists` or not.
    pub fn toward(version: Version, persists: bool) -> Self {
        match (version, persists) {
            (_, false) => Self::Close,
            (Version::Http10, true) => Self::KeepAlive,
            (Version::Http11, true) => Self::Persist,
        }
    }
}

/// The request line and Host of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method; not [`Method::Other`], which names none.
    pub method: Method,
    /// The target, in origin-form.
    pub target: &'a [u8],
    /// The host, and port unless it is the scheme's.
    pub host: &'a [u8],
}

/// Something that must not be written: it would end its line, or not be what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHead {
    /// A method that names none.
    Method,
    /// A target that is not a path and query in visible ASCII.
    Target,
    /// A host that is not a host and maybe a port.
    Host,
    /// A field whose name is not a token.
    FieldName,
    /// A field whose value holds CR, LF or NUL, or that has no CRLF at its end.
    FieldValue,
    /// A field that says where the message ends, or what becomes of the connection.
    Framing,
}

/// The interim response that asks for the body (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends a response head to `out`.
pub fn write_response_head(out: &mut Vec<u8>, head: &Head<'_>) {
    each_piece(head, &mut |piece| out.extend_from_slice(piece));
}

/// Writes a response head right before the body that starts at `buffer[room]`, and returns where
/// it starts: `buffer[start..]` is the response. The bytes of `buffer[..room]` are of no use
/// before. Where the head is longer than the room, the body moves up.
pub fn place_head(buffer: &mut Vec<u8>, room: usize, head: &Head<'_>) -> usize {
    let room = room.min(buffer.len());
    let mut length = 0;
    each_piece(head, &mut |piece| length += piece.len());
    if let Some(lacking) = length.checked_sub(room)
        && lacking > 0
    {
        let body_end = buffer.len();
        buffer.resize(body_end + lacking, 0);
        buffer.copy_within(room..body_end, length);
    }
    let start = room.saturating_sub(length);
    let mut at = start;
    each_piece(head, &mut |piece| {
        if let Some(place) = buffer.get_mut(at..at + piece.len()) {
            place.copy_from_slice(piece);
        }
        at += piece.len();
    });
    debug_assert_eq!(at, start + length);
    start
}

/// Appends a request head to `out`. A body, if there is one, is framed by its length.
///
/// # Errors
/// When a part may not be written; `out` is then as it was.
pub fn write_request_head(
    out: &mut Vec<u8>,
    line: RequestLine<'_>,
    extra: FieldLines<'_>,
    body_length: Option<u64>,
) -> Result<(), InvalidHead> {
    let RequestLine { method, target, host } = line;
    if method == Method::Other {
        return Err(InvalidHead::Method);
    }
    if target.first() != Some(&b'/') || !target.iter().all(|&byte| octet::is_target(byte)) {
        return Err(InvalidHead::Target);
    }
    if !is_authority(host) {
        return Err(InvalidHead::Host);
    }
    let extra = extra.as_bytes();
    out.reserve(method.as_str().len() + target.len() + host.len() + extra.len() + 64);
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(host);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(extra);
    if let Some(length) = body_length {
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The name that a field line begins with; all of a line that has none.
pub fn line_name(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b':').next().unwrap_or_default()
}

/// Appends a field line to `out`.
///
/// # Errors
/// When the name is not a token or the value holds CR, LF or NUL; `out` is then as it was.
pub fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), InvalidHead> {
    if !is_field_name(name.as_bytes()) {
        return Err(InvalidHead::FieldName);
    }
    if !is_field_value(value) {
        return Err(InvalidHead::FieldValue);
    }
    for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
    Ok(())
}

/// Whether a value may be written: it holds no CR, LF or NUL (RFC 9110 section 5.5).
pub fn is_field_value(value: &[u8]) -> bool {
    memchr3(b'\r', b'\n', 0, value).is_none()
}

/// A Date (RFC 9110 section 5.6.7), for seconds since 1970.
pub fn format_date(unix_secs: u64) -> [u8; 29] {
    // httpdate panics on years that do not have four digits.
    let time = UNIX_EPOCH + Duration::from_secs(unix_secs.min(YEAR_9999_ENDS));
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // It is always 29 bytes long, so there is nothing to fail.
    let _ = write!(&mut date[..], "{}", HttpDate::from(time));
    date
}

impl fmt::Display for InvalidHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "the method has no name",
            Self::Target => "the target is not a path and query in visible ASCII",
            Self::Host => "the host is not a name or an address, and maybe a port",
            Self::FieldName => "the name of a header field is not a token",
            Self::FieldValue => "the value of a header field holds CR, LF or NUL",
            Self::Framing => "a header field is about the message's framing or its connection",
        })
    }
}

impl std::error::Error for InvalidHead {}

/// Gives the pieces of a head in order, so that it can be measured and written by one account.
fn each_piece(head: &Head<'_>, emit: &mut impl FnMut(&[u8])) {
    debug_assert!((100..1000).contains(&head.status));
    match status_line(head.status) {
        Some(line) => emit(line),
        None => {
            let status = head.status.clamp(100, 999);
            emit(b"HTTP/1.1 ");
            emit(itoa::Buffer::new().format(status).as_bytes());
            emit(b" \r\n");
        }
    }
    emit(b"Date: ");
    emit(head.date);
    if !head.content_type.is_empty() && is_field_value(head.content_type.as_bytes()) {
        emit(b"\r\nContent-Type: ");
        emit(head.content_type.as_bytes());
    }
    if has_content(head.status) {
        emit(b"\r\nContent-Length: ");
        emit(itoa::Buffer::new().format(head.body_length).as_bytes());
    }
    emit(match head.connection {
        Connection::Persist => b"\r\n",
        Connection::KeepAlive => b"\r\nConnection: keep-alive\r\n",
        Connection::Close => b"\r\nConnection: close\r\n",
    });
    for (name, value) in head.extra {
        if is_field_name(name.as_bytes()) && is_field_value(value) {
            emit(name.as_bytes());
            emit(b": ");
            emit(value);
            emit(b"\r\n");
        }
    }
    for lines in head.lines {
        debug_assert!(lines.is_empty() || lines.ends_with(b"\r\n"));
        emit(lines);
    }
    emit(b"\r\n");
}

/// Whether a name is a token (RFC 9110 section 5.6.2).
pub(super) fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| octet::is_tchar(byte))
}

/// The last second of the year 9999.
const YEAR_9999_ENDS: u64 = 253_402_300_799;
