//! Heads between HTTP/2 and the rest of the house. A request's becomes the bytes of an HTTP/1.1
//! head and is parsed as one, so that every limit and every check is the same, and pages see no
//! difference (RFC 9113 section 8.3.1). A response's becomes a map of fields.

use ::http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER,
};
use ::http::request::Parts;
use ::http::{Method, StatusCode, Uri};

use crate::http::{self, Framing, Limits, ParseError, RequestHead, request};
use crate::limits;
use crate::worker::admission::Shed;
use crate::worker::service::Response;

/// Why a request is not one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The frames are not a request (RFC 9113 section 8.1.1): there is no answer but a reset.
    Stream,
    /// It would be refused in HTTP/1.1 too, and is answered.
    Refused(ParseError),
}

/// What a header list may have, as h2 counts it: room for all heads that are accepted, so that it
/// is we who refuse those that are a little larger, with a page.
pub(super) fn list_bytes_max(limits: &Limits) -> u32 {
    let fields = limits.headers_max.saturating_mul(limits::HTTP2_FIELD_BYTES);
    u32::try_from(limits.head_bytes_max.saturating_add(fields)).unwrap_or(u32::MAX)
}

/// Appends a request's head to `out`, which is empty, as HTTP/1.1 has it, and parses that.
///
/// # Errors
/// When it is not a request, or not one that is accepted.
pub(super) fn translate(
    parts: &Parts,
    has_body: bool,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<RequestHead, Malformed> {
    write(parts, out)?;
    let parsed = request::parse(out, limits).map_err(Malformed::Refused)?;
    // What we write is whole: where it is not, something in it has ended it before.
    let mut head = parsed.filter(|head| head.length == out.len()).ok_or(Malformed::Stream)?;
    if has_body {
        if head.body == Framing::None {
            // As many bytes as come; the end of the stream is theirs.
            head.body = Framing::Chunked;
        }
        // Other expectations were refused.
        head.expect_continue = head.headers.get(out, b"expect").is_some();
    }
    Ok(head)
}

fn write(parts: &Parts, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target(&parts.method, &parts.uri));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        push(out, b"Host", authority);
    }
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        // RFC 9113 section 8.2.1; as HTTP/1.1 it would be white space that does not count.
        if value.first().is_some_and(is_blank) || value.last().is_some_and(is_blank) {
            return Err(Malformed::Stream);
        }
        match (name, authority) {
            // Two names for one host are what smuggling is made of (RFC 9113 section 8.3.1).
            (&HOST, Some(authority)) if !value.eq_ignore_ascii_case(authority) => {
                return Err(Malformed::Stream);
            }
            (&HOST, Some(_)) | (&COOKIE, _) => {}
            _ => push(out, name.as_str().as_bytes(), value),
        }
    }
    push_cookies(parts, out);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn target<'a>(method: &Method, uri: &'a Uri) -> &'a [u8] {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match *method {
        Method::CONNECT => authority.as_bytes(),
        _ => uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes(),
    }
}

/// Browsers send each cookie as a field of its own, which compresses better; HTTP/1.1 has one field
/// for all (RFC 9113 section 8.2.3).
fn push_cookies(parts: &Parts, out: &mut Vec<u8>) {
    let mut before: &[u8] = b"Cookie: ";
    for crumb in parts.headers.get_all(COOKIE) {
        out.extend_from_slice(before);
        out.extend_from_slice(crumb.as_bytes());
        before = b"; ";
    }
    if before == b"; " {
        out.extend_from_slice(b"\r\n");
    }
}

/// No CR, LF or NUL is in either: a map of fields has none.
fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for piece in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Field lines, as a map has them; what it cannot hold, and what is about the connection, is left
/// out.
pub(super) fn fields(lines: &[u8]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let lines = lines.split(|byte| *byte == b'\n');
    lines.filter_map(|line| {
        let at = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(at);
        field(name, value.get(1..).unwrap_or_default().trim_ascii())
    })
}

fn field(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name).ok()?;
    let is_of_connection = CONNECTION_FIELDS.contains(&name.as_str());
    Some((name, HeaderValue::from_bytes(value).ok()?)).filter(|_| !is_of_connection)
}

/// Fields that HTTP/2 has no use for (RFC 9113 section 8.2.2).
const CONNECTION_FIELDS: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// The head of a response with a body of so many bytes.
pub(super) fn of_response(
    response: &Response,
    body_bytes: u64,
    date: &[u8; 29],
    always: [&[(HeaderName, HeaderValue)]; 2],
) -> ::http::Response<()> {
    let mut head = ::http::Response::new(());
    let status = StatusCode::from_u16(response.status);
    *head.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let map = head.headers_mut();
    map.reserve(
        always.iter().map(|fields| fields.len()).sum::<usize>() + response.fields.len() + 4,
    );
    set(map, DATE, date);
    if !response.content_type.is_empty() {
        set(map, CONTENT_TYPE, response.content_type.as_bytes());
    }
    if http::has_content(response.status) {
        map.insert(CONTENT_LENGTH, HeaderValue::from(body_bytes));
    }
    for (name, value) in response.own_fields() {
        map.extend(field(name.as_bytes(), value));
    }
    if let Some(etag) = &response.etag {
        set(map, ETAG, etag.as_bytes());
    }
    for (name, value) in response.coding_fields() {
        map.extend(field(name.as_bytes(), value));
    }
    for (name, value) in always.into_iter().flatten() {
        map.append(name, value.clone());
    }
    for (name, value) in fields(&response.lines).chain(fields(&response.passed)) {
        map.append(name, value);
    }
    head
}

/// The head of the answer to one who is turned away.
pub(super) fn of_shed(
    shed: &Shed,
    date: &[u8; 29],
    always: &[(HeaderName, HeaderValue)],
) -> ::http::Response<()> {
    let mut head = ::http::Response::new(());
    let status = StatusCode::from_u16(shed.refusal.status());
    *head.status_mut() = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let map = head.headers_mut();
    let retry_after_s = shed.retry_after_s.min(limits::RETRY_AFTER_S_MAX);
    map.insert(RETRY_AFTER, HeaderValue::from(u16::from(retry_after_s)));
    set(map, CONTENT_TYPE, b"text/plain; charset=utf-8");
    map.insert(CONTENT_LENGTH, HeaderValue::from(shed.refusal.body().len()));
    // A 4xx must have one (RFC 9110 section 6.6.1).
    set(map, DATE, date);
    for (name, value) in always {
        map.append(name, value.clone());
    }
    head
}

fn set(map: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    debug_assert!(http::is_field_value(value));
    if let Ok(value) = HeaderValue::from_bytes(value) {
        map.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::ready::Refusal;

    #[test]
    fn who_is_turned_away_is_told_what_all_are() {
        let shed = Shed { refusal: Refusal::TooMany, retry_after_s: 7 };
        let always: Vec<_> = fields(b"Strict-Transport-Security: max-age=1\r\n").collect();
        let head = of_shed(&shed, b"Sun, 06 Nov 1994 08:49:37 GMT", &always);
        let field = |name: &str| head.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!((head.status().as_u16(), field("retry-after")), (429, "7"));
        assert_eq!(field("date"), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(field("strict-transport-security"), "max-age=1");
    }
}
