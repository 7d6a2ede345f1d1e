//! Response heads, as a client reads them (RFC 9112 sections 4 and 6).

use super::fields::Control;
use super::{Framing, Headers, Limits, ParseError, Version, crlf_at, octet, version_at};

/// The head of a response, as spans of the buffer that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 100 to 999; one above 599 is to be taken for a 5xx (RFC 9110 section 15).
    pub status: u16,
    /// The version.
    pub version: Version,
    /// The header fields.
    pub headers: Headers,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the connection may be used again after the body.
    pub keep_alive: bool,
    /// Where the head ends, and the body starts.
    pub length: usize,
    /// Whether this is a 1xx, after which another head comes on.
    pub interim: bool,
}

/// Reads the response head at the start of `buf`, or `None` if it needs more bytes.
///
/// # Errors
/// As soon as no further bytes could make the head one that is accepted, limits included.
pub fn parse(
    buf: &[u8],
    limits: &Limits,
    request_was_head: bool,
) -> Result<Option<ResponseHead>, ParseError> {
    let (buf, full) = limits.window(buf);
    let incomplete = || if full { Err(ParseError::HeadTooLong) } else { Ok(None) };
    let Some(line) = Line::parse(buf)? else {
        return incomplete();
    };
    let Some((headers, length)) = Headers::parse(buf, line.end, limits.headers_max)? else {
        return incomplete();
    };
    let control = Control::of(buf, &headers)?;
    let framing = framing(&control, &line, limits.body_bytes_max, request_was_head)?;
    Ok(Some(ResponseHead {
        status: line.status,
        version: line.version,
        headers,
        framing,
        keep_alive: control.persists(line.version)
            && framing != Framing::UntilClose
            && !(line.status == 204 && announces_body(&control)),
        length,
        interim: line.status < 200,
    }))
}

/// A status line (RFC 9112 section 4).
struct Line {
    version: Version,
    status: u16,
    end: usize,
}

impl Line {
    fn parse(buf: &[u8]) -> Result<Option<Self>, ParseError> {
        let Some(version) = version_at(buf, 0, ParseError::StatusLine)? else {
            return Ok(None);
        };
        let mut status = 0;
        for (at, byte) in (8..12).map(|at| (at, buf.get(at))) {
            match byte {
                None => return Ok(None),
                Some(b' ') if at == 8 => {}
                Some(digit) if at > 8 && digit.is_ascii_digit() => {
                    status = status * 10 + u16::from(digit - b'0');
                }
                Some(_) => return Err(ParseError::StatusLine),
            }
        }
        if status < 100 {
            return Err(ParseError::StatusLine);
        }
        // The space before an empty reason is often left out; nothing hangs on it.
        let reason = match buf.get(12) {
            Some(b' ') => buf.get(13..).unwrap_or_default(),
            _ => &[],
        };
        let start = if buf.get(12) == Some(&b' ') { 13 } else { 12 };
        let length = reason.iter().position(|&byte| !octet::is_field_value(byte));
        let at = start + length.unwrap_or(reason.len());
        let end = crlf_at(buf, at, ParseError::StatusLine)?;
        Ok(end.map(|end| Self { version, status, end }))
    }
}

/// How the body is framed (RFC 9112 section 6.3), refusing what might be a response split or
/// desynchronised where the RFC would let one of two framings win.
fn framing(
    control: &Control,
    line: &Line,
    max: u64,
    request_was_head: bool,
) -> Result<Framing, ParseError> {
    match (control.coding, control.content_length) {
        (Some(_), Some(_)) => return Err(ParseError::LengthAndCoding),
        (Some(_), None) if line.version == Version::Http10 => {
            return Err(ParseError::TransferCodingVersion);
        }
        _ => {}
    }
    match line.status {
        // We never send Upgrade, so what follows is in no protocol we speak.
        101 => return Err(ParseError::SwitchingProtocols),
        100..=199 if announces_body(control) => return Err(ParseError::InterimBody),
        100..=199 | 204 | 304 => return Ok(Framing::None),
        _ if request_was_head => return Ok(Framing::None),
        _ => {}
    }
    match (control.coding, control.content_length) {
        (Some(coding), _) => coding.check().map(|()| Framing::Chunked),
        (None, Some(length)) if length > max => Err(ParseError::BodyTooLong),
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::UntilClose),
    }
}

/// Whether a response that has no body says that one follows: if it does follow, it would be
/// taken for the next response.
fn announces_body(control: &Control) -> bool {
    control.coding.is_some() || control.content_length.is_some_and(|length| length > 0)
}
