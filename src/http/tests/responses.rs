//! Response heads.

use super::*;

fn parse(bytes: &[u8]) -> Result<Option<ResponseHead>, ParseError> {
    response::parse(bytes, &Limits::response(), false)
}

fn head(text: &str) -> ResponseHead {
    whole(text.as_bytes(), parse)
}

#[test]
fn a_head_is_told_as_spans() {
    let bytes = b"HTTP/1.1 200 Fine, caf\xe9\r\nContent-Type: application/json\r\n\
                  Content-Length: 17\r\n\r\n";
    let head = whole(bytes, parse);
    assert_eq!((head.status, head.version, head.interim), (200, Version::Http11, false));
    assert_eq!((head.framing, head.keep_alive), (Framing::Length(17), true));
    assert_eq!(head.headers.get(bytes, b"content-type"), Some(&b"application/json"[..]));
    assert_eq!(head.length, bytes.len());
}

#[test]
fn a_body_is_framed_in_one_way() {
    // RFC 9112 section 6.3: head, to HEAD, framing, may the connection be used again.
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", false, Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: \t5 \r\n", false, Framing::Length(5), true),
        ("HTTP/1.1 200\r\nContent-Length: 5\r\n", false, Framing::Length(5), true),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n", false, Framing::Length(0), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", false, Framing::Chunked, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: ,chunked, ,\r\n", false, Framing::Chunked, true),
        ("HTTP/1.1 200 OK\r\n", false, Framing::UntilClose, false),
        (
            "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 5\r\n",
            false,
            Framing::Length(5),
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", false, Framing::Length(5), false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n",
            false,
            Framing::Length(5),
            true,
        ),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", false, Framing::UntilClose, false),
        ("HTTP/1.9 200 OK\r\nContent-Length: 5\r\n", false, Framing::Length(5), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", true, Framing::None, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n", true, Framing::None, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", true, Framing::None, true),
        ("HTTP/1.1 200 OK\r\n", true, Framing::None, true),
        ("HTTP/1.1 204 No Content\r\n", false, Framing::None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", false, Framing::None, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", false, Framing::None, false),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", false, Framing::None, false),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", false, Framing::None, true),
        ("HTTP/1.1 100 Continue\r\n", false, Framing::None, true),
        ("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n", false, Framing::None, true),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n", false, Framing::Length(5), true),
    ];
    for (text, to_head, framing, again) in cases {
        let bytes = format!("{text}\r\n").into_bytes();
        let head = whole(&bytes, |bytes| response::parse(bytes, &Limits::response(), to_head));
        assert_eq!((head.framing, head.keep_alive), (framing, again), "{text}");
        assert_eq!(head.interim, text.contains(" 10"), "{text}");
    }
}

#[test]
fn a_broken_head_is_refused() {
    use ParseError::*;
    let cases = [
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", StatusLine, "9112 4: an empty line first"),
        ("HTTP/2.0 200 OK\r\n\r\n", Version, "9112 2.3"),
        ("ICY 200 OK\r\n\r\n", StatusLine, "9112 4"),
        ("HTTP/1.1  200 OK\r\n\r\n", StatusLine, "9112 4: two spaces"),
        ("HTTP/1.1 20 OK\r\n\r\n", StatusLine, "9112 4: three digits"),
        ("HTTP/1.1 2000 OK\r\n\r\n", StatusLine, "9112 4: three digits"),
        ("HTTP/1.1 +20 OK\r\n\r\n", StatusLine, "9112 4: three digits"),
        ("HTTP/1.1 099 Low\r\n\r\n", StatusLine, "9110 15"),
        ("HTTP/1.1 200 OK\n\r\n", StatusLine, "9112 2.2: bare LF"),
        ("HTTP/1.1 200\n\r\n", StatusLine, "9112 2.2: bare LF"),
        ("HTTP/1.1 200 O\rK\r\n\r\n", StatusLine, "9112 2.2: bare CR"),
        ("HTTP/1.1 200 O\0K\r\n\r\n", StatusLine, "9112 4: NUL"),
        ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", LineEnding, "9112 2.2: bare LF"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", FieldName, "9112 5.2: folded"),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", FieldName, "9112 5.1: response splitting"),
        ("HTTP/1.1 101 Up\r\nUpgrade: h2c\r\n\r\n", SwitchingProtocols, "9110 7.8"),
        ("HTTP/1.1 100 Go\r\nContent-Length: 5\r\n\r\n", InterimBody, "9110 8.6"),
        ("HTTP/1.1 103 Go\r\nTransfer-Encoding: chunked\r\n\r\n", InterimBody, "9112 6.1"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            ContentLengthRepeated,
            "9112 6.3",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            ContentLengthRepeated,
            "9112 6.3, stricter",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\n", ContentLength, "9112 6.3, stricter"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ContentLength, "9112 6.3"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\n", BodyTooLong, "our limit"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            LengthAndCoding,
            "9112 6.3, stricter",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            TransferCodingUnknown,
            "9112 6.1",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", TransferCoding, "9112 6.3"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: ,\r\n\r\n", TransferCoding, "9112 6.3: nothing"),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferCodingVersion,
            "9112 6.1",
        ),
    ];
    for (text, reason, section) in cases {
        assert_eq!(refused(text.as_bytes(), parse), reason, "{section}: {text:?}");
    }
}

#[test]
fn a_long_head_is_refused_as_soon_as_it_is_known() {
    let parse = |bytes: &[u8]| response::parse(bytes, &small(), false);
    let response = |length: usize| {
        let frame = "HTTP/1.1 200 OK\r\nA: \r\n\r\n".len();
        format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "v".repeat(length - frame)).into_bytes()
    };
    assert_eq!(whole(&response(256), parse).length, 256);
    assert_eq!(refused(&response(257), parse), ParseError::HeadTooLong);
    assert_eq!(parse(&response(300)[..256]), Err(ParseError::HeadTooLong));
    let reason = format!("HTTP/1.1 200 {}", "v".repeat(300));
    assert_eq!(refused(reason.as_bytes(), parse), ParseError::HeadTooLong);
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let first = parse(text.as_bytes()).unwrap().unwrap();
    assert!(first.interim);
    let rest = &text.as_bytes()[first.length..];
    let last = parse(rest).unwrap().unwrap();
    assert_eq!((last.interim, last.framing), (false, Framing::Length(2)));
    assert_eq!(&rest[last.length..], b"hi");
    assert_eq!(head("HTTP/1.1 200 OK\r\n\r\n").headers, Headers::default());
}
