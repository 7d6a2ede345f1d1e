//! Request heads, as a server reads them (RFC 9112 sections 2, 3 and 6).

use super::fields::Control;
use super::target::Target;
use super::{
    Framing, Headers, Limits, Method, ParseError, Span, Version, crlf_at, is_authority, octet,
    version_at,
};
use crate::limits::EMPTY_LINES_MAX;

/// The head of a request, as spans of the buffer that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Where the method stands.
    pub method_span: Span,
    /// The target as it came.
    pub target: Span,
    /// The path of the target, as it came: see [`path::normalize`](super::path::normalize). It
    /// starts with `/`, but for `OPTIONS *` and for CONNECT, where it is the target.
    pub path: Span,
    /// The query of the target, without its question mark.
    pub query: Option<Span>,
    /// The version.
    pub version: Version,
    /// The header fields.
    pub headers: Headers,
    /// The host, and port if there is one: of the target, else of the Host field. Only an
    /// HTTP/1.0 request may have none.
    pub host: Option<Span>,
    /// Whether the target is an https URL, which may be asked for over TLS only.
    pub is_https: bool,
    /// How the body is framed; a request never lasts until the connection closes.
    pub body: Framing,
    /// Whether the client wants the connection to stay.
    pub keep_alive: bool,
    /// Whether the client holds the body back until it gets a 100 (RFC 9110 section 10.1.1).
    pub expect_continue: bool,
    /// Where the head ends, and the body starts.
    pub length: usize,
}

impl RequestHead {
    /// Refuses an https URL that is asked for without TLS: what is to come over TLS must not be
    /// given without it (RFC 9110 section 7.4).
    ///
    /// # Errors
    /// [`ParseError::TargetScheme`].
    pub fn check_scheme(&self, is_secure: impl FnOnce() -> bool) -> Result<(), ParseError> {
        match self.is_https && !is_secure() {
            true => Err(ParseError::TargetScheme),
            false => Ok(()),
        }
    }
}

/// Reads the request head at the start of `buf`, or `None` if it needs more bytes. Whether an https
/// URL may be asked for, whoever knows the connection decides: [`RequestHead::check_scheme`].
///
/// # Errors
/// As soon as no further bytes could make the head one that is accepted, limits included.
pub fn parse(buf: &[u8], limits: &Limits) -> Result<Option<RequestHead>, ParseError> {
    let (buf, full) = limits.window(buf);
    let incomplete = |error| if full { Err(error) } else { Ok(None) };
    let Some(start) = skip_empty_lines(buf)? else {
        return incomplete(ParseError::HeadTooLong);
    };
    let Some(line) = Line::parse(buf, start, limits.target_bytes_max)? else {
        return incomplete(ParseError::TargetTooLong);
    };
    let Some((headers, length)) = Headers::parse(buf, line.end, limits.headers_max)? else {
        return incomplete(ParseError::HeadTooLong);
    };
    let control = Control::of(buf, &headers)?;
    let method = Method::of(line.method.of(buf));
    let target = Target::parse(buf, line.target, method)?;
    let host = host(buf, &control, line.version)?;
    let body = framing(&control, line.version, limits.body_bytes_max)?;
    Ok(Some(RequestHead {
        method,
        method_span: line.method,
        target: line.target,
        path: target.path,
        query: target.query,
        version: line.version,
        headers,
        host: target.host.or(host),
        is_https: target.is_https,
        body,
        // Whoever takes the answer for a tunnel sends bytes that are no request.
        keep_alive: control.persists(line.version) && method != Method::Connect,
        expect_continue: expects_continue(&control, line.version, body)?,
        length,
    }))
}

/// Whether the request at the start of `buf` is a HEAD, as far as it has come: its answer has no
/// body, whatever else is wrong with it (RFC 9110 section 9.3.2).
pub fn is_head(buf: &[u8]) -> bool {
    let start = run(buf, 0, |byte| matches!(byte, b'\r' | b'\n'));
    buf.get(start..).is_some_and(|line| line.starts_with(b"HEAD "))
}

/// A request line (RFC 9112 section 3).
struct Line {
    method: Span,
    target: Span,
    version: Version,
    end: usize,
}

impl Line {
    /// Octets are judged in the order they come, so that the answer never depends on how many
    /// have come. httparse would refuse HTTP/1.2 and accept a bare LF here.
    fn parse(buf: &[u8], start: usize, target_max: usize) -> Result<Option<Self>, ParseError> {
        let method_end = start + run(buf, start, octet::is_tchar);
        match buf.get(method_end) {
            None => return Ok(None),
            Some(b' ') if method_end > start => {}
            Some(_) => return Err(ParseError::Method),
        }
        let target_start = method_end + 1;
        let target_end = target_start + run(buf, target_start, octet::is_target);
        if target_end - target_start > target_max {
            return Err(ParseError::TargetTooLong);
        }
        match buf.get(target_end) {
            None => return Ok(None),
            Some(b' ') if target_end > target_start => {}
            // HTTP/0.9 ends here; a second space is nobody's target.
            Some(b' ' | b'\r' | b'\n') => return Err(ParseError::RequestLine),
            Some(_) => return Err(ParseError::Target),
        }
        let version_start = target_end + 1;
        let Some(version) = version_at(buf, version_start, ParseError::RequestLine)? else {
            return Ok(None);
        };
        let Some(end) = crlf_at(buf, version_start + 8, ParseError::RequestLine)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            method: Span::new(start, method_end),
            target: Span::new(target_start, target_end),
            version,
            end,
        }))
    }
}

/// How many octets from `start` on are of a class.
fn run(buf: &[u8], start: usize, class: impl Fn(u8) -> bool) -> usize {
    let rest = buf.get(start..).unwrap_or_default();
    rest.iter().position(|&byte| !class(byte)).unwrap_or(rest.len())
}

/// Where the request line starts (RFC 9112 section 2.2); `None` while only empty lines have come.
fn skip_empty_lines(buf: &[u8]) -> Result<Option<usize>, ParseError> {
    for lines in 0..=EMPTY_LINES_MAX {
        let start = lines * 2;
        match buf.get(start) {
            None => return Ok(None),
            Some(b'\r' | b'\n') => {
                if crlf_at(buf, start, ParseError::LineEnding)?.is_none() {
                    return Ok(None);
                }
            }
            Some(_) => return Ok(Some(start)),
        }
    }
    Err(ParseError::EmptyLines)
}

/// The Host field, which is checked even where the target has an authority (RFC 9112 section
/// 3.2).
fn host(buf: &[u8], control: &Control, version: Version) -> Result<Option<Span>, ParseError> {
    match control.host {
        _ if control.host_repeated => Err(ParseError::HostRepeated),
        Some(host) if !is_authority(host.of(buf)) => Err(ParseError::HostMalformed),
        None if version == Version::Http11 => Err(ParseError::HostMissing),
        host => Ok(host),
    }
}

/// How the body is framed (RFC 9112 section 6.3), refusing what might be smuggling (section 11.2)
/// where the RFC would let one of two framings win.
fn framing(control: &Control, version: Version, max: u64) -> Result<Framing, ParseError> {
    match (control.coding, control.content_length) {
        (Some(_), Some(_)) => Err(ParseError::LengthAndCoding),
        (Some(_), None) if version == Version::Http10 => Err(ParseError::TransferCodingVersion),
        (Some(coding), None) => coding.check().map(|()| Framing::Chunked),
        (None, Some(length)) if length > max => Err(ParseError::BodyTooLong),
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::None),
    }
}

/// An HTTP/1.0 client cannot expect anything, and one without a body waits for nothing (RFC 9110
/// section 10.1.1).
fn expects_continue(
    control: &Control,
    version: Version,
    body: Framing,
) -> Result<bool, ParseError> {
    if version == Version::Http10 {
        return Ok(false);
    }
    if control.expect_other {
        return Err(ParseError::Expectation);
    }
    Ok(control.expect_continue && !matches!(body, Framing::None | Framing::Length(0)))
}
