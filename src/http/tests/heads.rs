//! Heads that go out.

use super::*;
use crate::limits::RESPONSE_HEAD_ROOM;

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

fn page() -> Head<'static> {
    Head {
        status: 200,
        content_type: "text/html; charset=utf-8",
        body_length: 5,
        date: DATE,
        connection: Connection::Persist,
        extra: &[],
        lines: [b""; 4],
    }
}

fn written(head: &Head<'_>) -> String {
    let mut out = b"kept".to_vec();
    write_response_head(&mut out, head);
    String::from_utf8(out).unwrap().strip_prefix("kept").unwrap().to_owned()
}

#[test]
fn a_response_head_is_written() {
    let extra: &[(&str, &[u8])] = &[("Retry-After", b"1"), ("X-Frame-Options", b"DENY")];
    assert_eq!(
        written(&Head { status: 503, connection: Connection::Close, extra, ..page() }),
        "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Length: 5\r\nConnection: close\r\n\
         Retry-After: 1\r\nX-Frame-Options: DENY\r\n\r\n"
    );
    let head = Head { connection: Connection::KeepAlive, content_type: "", ..page() };
    assert_eq!(
        written(&head),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\
         Connection: keep-alive\r\n\r\n"
    );
    assert!(written(&Head { status: 299, ..page() }).starts_with("HTTP/1.1 299 \r\nDate: "));
}

#[test]
fn a_status_without_a_body_has_no_length() {
    // RFC 9110 section 8.6.
    for (status, has) in [(103, false), (204, false), (304, false), (200, true), (404, true)] {
        assert_eq!(written(&Head { status, ..page() }).contains("Content-Length"), has, "{status}");
    }
}

#[test]
fn what_we_write_we_read() {
    for (connection, again) in [(Connection::Persist, true), (Connection::Close, false)] {
        let text = written(&Head { connection, body_length: u64::from(u32::MAX), ..page() });
        let limits = Limits { body_bytes_max: u64::MAX, ..Limits::response() };
        let head = response::parse(text.as_bytes(), &limits, false).unwrap().unwrap();
        assert_eq!((head.status, head.keep_alive), (200, again));
        assert_eq!(head.framing, Framing::Length(u64::from(u32::MAX)));
        assert_eq!(head.length, text.len());
    }
}

#[test]
fn only_what_a_client_would_not_assume_is_said() {
    // RFC 9112 section 9.3.
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "Connection: close\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", "Connection: close\r\n"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: keep-alive\r\n"),
    ] {
        let asked = request::parse(request.as_bytes(), &Limits::default()).unwrap().unwrap();
        let connection = Connection::toward(asked.version, asked.keep_alive);
        let text = written(&Head { connection, ..page() });
        assert!(text.ends_with(&format!("Content-Length: 5\r\n{expected}\r\n")), "{text:?}");
    }
}

#[test]
fn a_field_that_would_end_its_line_is_not_written() {
    // RFC 9110 section 5.5; what is called response splitting.
    let values: [&[u8]; 4] = [b"a\r\nSet-Cookie: b", b"a\nb", b"a\rb", b"a\0b"];
    for value in values {
        let text = written(&Head { extra: &[("X-A", value), ("X-B", b"b")], ..page() });
        assert!(!text.contains("X-A") && text.contains("\r\nX-B: b\r\n"), "{text:?}");
        let mut out = Vec::new();
        assert_eq!(push_field(&mut out, "X-A", value), Err(InvalidHead::FieldValue));
        assert_eq!(out, b"");
        assert!(!is_field_value(value));
    }
    for name in ["", "A B", "A:", "A\r\nB", "\u{e9}"] {
        let text = written(&Head { extra: &[(name, b"value")], ..page() });
        assert!(!text.contains("value"), "{text:?}");
        assert_eq!(push_field(&mut Vec::new(), name, b"b"), Err(InvalidHead::FieldName));
    }
    let text = written(&Head { content_type: "text/html\r\nSet-Cookie: a", ..page() });
    assert!(!text.contains("Content-Type") && !text.contains("Cookie"), "{text:?}");
}

#[test]
fn a_head_is_placed_right_before_its_body() {
    let head = page();
    let expected = format!("{}hello", written(&head));
    let length = expected.len() - 5;
    for room in [RESPONSE_HEAD_ROOM, length + 1, length, length - 1, 20, 1, 0] {
        let mut buffer = vec![b'?'; room];
        buffer.extend_from_slice(b"hello");
        let start = place_head(&mut buffer, room, &head);
        assert_eq!(start, room.saturating_sub(length));
        assert_eq!(
            buffer[start..].escape_ascii().to_string(),
            expected.escape_default().to_string()
        );
    }
    // A room that is not there, and an answer to HEAD, which has no body.
    let mut buffer = b"room".to_vec();
    let start = place_head(&mut buffer, 4000, &head);
    assert_eq!(&buffer[start..], &expected.as_bytes()[..length]);
}

#[test]
fn a_request_head_is_written_and_read() {
    let mut extra = Vec::new();
    push_field(&mut extra, "Accept", b"application/json").unwrap();
    let line =
        RequestLine { method: Method::Get, target: b"/v1/a?b=%20", host: b"api.example.com:81" };
    let mut out = b"kept".to_vec();
    write_request_head(&mut out, line, FieldLines::new(&extra).unwrap(), None).unwrap();
    assert_eq!(
        out.escape_ascii().to_string(),
        b"keptGET /v1/a?b=%20 HTTP/1.1\r\nHost: api.example.com:81\r\n\
          Accept: application/json\r\n\r\n"
            .escape_ascii()
            .to_string()
    );
    let head = request::parse(&out[4..], &Limits::default()).unwrap().unwrap();
    assert_eq!((head.body, head.keep_alive), (Framing::None, true));

    out.clear();
    let line = RequestLine { method: Method::Post, ..line };
    write_request_head(&mut out, line, FieldLines::NONE, Some(12)).unwrap();
    let head = request::parse(&out, &Limits::default()).unwrap().unwrap();
    assert_eq!((head.method, head.body), (Method::Post, Framing::Length(12)));
}

#[test]
fn a_request_head_that_would_be_another_is_not_written() {
    use InvalidHead as Invalid;
    let line = RequestLine { method: Method::Get, target: b"/", host: b"a" };
    let cases = [
        (RequestLine { method: Method::Other, ..line }, Invalid::Method),
        (RequestLine { target: b"", ..line }, Invalid::Target),
        (RequestLine { target: b"a", ..line }, Invalid::Target),
        (RequestLine { target: b"/ HTTP/1.1\r\nA: b", ..line }, Invalid::Target),
        (RequestLine { target: b"/a b", ..line }, Invalid::Target),
        (RequestLine { target: b"/\n", ..line }, Invalid::Target),
        (RequestLine { target: b"/a#b", ..line }, Invalid::Target),
        (RequestLine { target: b"/\xc3\xa9", ..line }, Invalid::Target),
        (RequestLine { host: b"", ..line }, Invalid::Host),
        (RequestLine { host: b"a\r\nA: b", ..line }, Invalid::Host),
    ];
    for (line, reason) in cases {
        let mut out = b"kept".to_vec();
        let written = write_request_head(&mut out, line, FieldLines::NONE, None);
        assert_eq!(written, Err(reason), "{line:?}");
        assert_eq!(out, b"kept");
    }
}

#[test]
fn dates_are_of_imf_fixdate() {
    // RFC 9110 section 5.6.7.
    let cases: [(u64, &[u8; 29]); 5] = [
        (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, DATE),
        (951_782_400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
        (253_402_300_799, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        (u64::MAX, b"Fri, 31 Dec 9999 23:59:59 GMT"),
    ];
    for (secs, date) in cases {
        assert_eq!(format_date(secs).escape_ascii().to_string(), date.escape_ascii().to_string());
    }
}

#[test]
fn reasons_say_what_to_do() {
    assert_eq!(ParseError::HostMissing.to_string(), ParseError::HostMissing.reason());
    assert!(ParseError::HostMissing.reason().contains("Host"));
}
