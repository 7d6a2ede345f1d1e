//! Request heads.

use super::*;

fn parse(bytes: &[u8]) -> Result<Option<RequestHead>, ParseError> {
    request::parse(bytes, &Limits::default())
}

fn head(bytes: &[u8]) -> RequestHead {
    whole(bytes, parse)
}

/// A request whose fields, Host aside, are `fields`.
fn with(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

#[test]
fn a_head_is_told_as_spans() {
    let bytes = b"GET /users/7?tab=posts&x=? HTTP/1.1\r\nHost: example.com:8080\r\n\
                  Accept:text/html\r\nX-Empty:\r\nX-Name: \t caf\xe9 \t\r\naccept: */*\r\n\r\n";
    let head = head(bytes);
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.method_span.of(bytes), b"GET");
    assert_eq!(head.target.of(bytes), b"/users/7?tab=posts&x=?");
    assert_eq!(head.path.of(bytes), b"/users/7");
    assert_eq!(head.query.unwrap().of(bytes), b"tab=posts&x=?");
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.host.unwrap().of(bytes), b"example.com:8080");
    assert_eq!((head.body, head.keep_alive, head.expect_continue), (Framing::None, true, false));
    assert_eq!(head.length, bytes.len());
    assert_eq!(head.headers.len(), 5);
    assert_eq!(head.headers.get(bytes, b"ACCEPT"), Some(&b"text/html"[..]));
    assert_eq!(head.headers.get(bytes, b"x-empty"), Some(&b""[..]));
    assert_eq!(head.headers.get(bytes, b"x-name"), Some(&b"caf\xe9"[..]));
    assert_eq!(head.headers.get(bytes, b"x-nam"), None);
    let accepts = head.headers.iter(bytes).filter(|(name, _)| name.eq_ignore_ascii_case(b"accept"));
    assert_eq!(accepts.map(|(_, value)| value).collect::<Vec<_>>(), [&b"text/html"[..], b"*/*"]);
}

#[test]
fn a_target_has_four_forms() {
    // RFC 9112 section 3.2: line, path, query, host.
    let cases: [(&str, &str, Option<&str>, &str); 12] = [
        ("GET / HTTP/1.1", "/", None, "field"),
        ("GET //evil/.. HTTP/1.1", "//evil/..", None, "field"),
        ("GET /a? HTTP/1.1", "/a", Some(""), "field"),
        ("GET /http://b/ HTTP/1.1", "/http://b/", None, "field"),
        ("GET http://b/c?d HTTP/1.1", "/c", Some("d"), "b"),
        ("GET HTTP://b:81 HTTP/1.1", "/", None, "b:81"),
        ("GET http://b?d/e HTTP/1.1", "/", Some("d/e"), "b"),
        ("GET http://[::1]:8/ HTTP/1.1", "/", None, "[::1]:8"),
        ("OPTIONS * HTTP/1.1", "*", None, "field"),
        ("OPTIONS /a HTTP/1.1", "/a", None, "field"),
        ("CONNECT b:443 HTTP/1.1", "b:443", None, "b:443"),
        ("get /%zz|\"{} HTTP/1.1", "/%zz|\"{}", None, "field"),
    ];
    for (line, path, query, host) in cases {
        let bytes = format!("{line}\r\nHost: field\r\n\r\n").into_bytes();
        let head = head(&bytes);
        assert_eq!(head.path.of(&bytes), path.as_bytes(), "{line}");
        assert_eq!(head.query.map(|query| query.of(&bytes)), query.map(str::as_bytes), "{line}");
        assert_eq!(head.host.unwrap().of(&bytes), host.as_bytes(), "{line}");
    }
}

#[test]
fn a_malformed_line_is_refused() {
    use ParseError::*;
    let cases: [(&[u8], ParseError, u16, &str); 42] = [
        (b"GET /\r\n", RequestLine, 400, "9112 3: HTTP/0.9"),
        (b"GET / \r\n", RequestLine, 400, "9112 3: no version"),
        (b"GET  / HTTP/1.1\r\n", RequestLine, 400, "9112 3: two spaces"),
        (b"GET /  HTTP/1.1\r\n", RequestLine, 400, "9112 3: two spaces"),
        (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine, 400, "9112 3.2: no target"),
        (b"GET / HTTP/1.1 \r\n", RequestLine, 400, "9112 3: a space at the end"),
        (b"GET\t/ HTTP/1.1\r\n", Method, 400, "9112 3: a tab for a space"),
        (b" GET / HTTP/1.1\r\n", Method, 400, "9112 3: a space at the start"),
        (b"GET\r\n", Method, 400, "9112 3: a method alone"),
        (b"G@T / HTTP/1.1\r\n", Method, 400, "9110 9.1: not a token"),
        (b"G\xc3T / HTTP/1.1\r\n", Method, 400, "9110 9.1: not a token"),
        (b"\x16\x03\x01\x02\x00\x01", Method, 400, "TLS to a plain port"),
        (b"GET / HTTP/1.1\n", RequestLine, 400, "9112 2.2: bare LF"),
        (b"GET / HTTP/1.1\rHost: a\r\n", RequestLine, 400, "9112 2.2: bare CR"),
        (b"GET /\rHTTP/1.1\r\n", RequestLine, 400, "9112 2.2: bare CR"),
        (b"\nGET / HTTP/1.1\r\n", LineEnding, 400, "9112 2.2: bare LF"),
        (b"\r\rGET / HTTP/1.1\r\n", LineEnding, 400, "9112 2.2: bare CR"),
        (b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", EmptyLines, 400, "9112 2.2: too many"),
        (b"GET / HTTP/2.0\r\n", Version, 505, "9110 15.6.6"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version, 505, "9113 3.4: the preface"),
        (b"GET / HTTP/0.9\r\n", Version, 505, "9110 15.6.6"),
        (b"GET / HTTP/3\r\n", Version, 505, "9110 15.6.6"),
        (b"GET / HTTP/11.1\r\n", RequestLine, 400, "9112 2.3: one digit"),
        (b"GET / HTTP/1.10\r\n", RequestLine, 400, "9112 2.3: one digit"),
        (b"GET / HTTP/1,1\r\n", RequestLine, 400, "9112 2.3"),
        (b"GET / HTTP/1.x\r\n", RequestLine, 400, "9112 2.3"),
        (b"GET / http/1.1\r\n", RequestLine, 400, "9112 2.3: case counts"),
        (b"GET / HTPP/1.1\r\n", RequestLine, 400, "9112 2.3"),
        (b"GET / HTTP/x.1\r\n", RequestLine, 400, "9112 2.3"),
        (b"GET /a b HTTP/1.1\r\n", RequestLine, 400, "9112 3.2: no white space"),
        (b"GET /a\tb HTTP/1.1\r\n", Target, 400, "9112 3.2: no white space"),
        (b"GET /a#b HTTP/1.1\r\n", Target, 400, "9112 3.2: no fragment"),
        (b"GET /caf\xc3\xa9 HTTP/1.1\r\n", Target, 400, "3986 2.1: to be encoded"),
        (b"GET /\0 HTTP/1.1\r\n", Target, 400, "3986 2.1"),
        (b"GET /\x7f HTTP/1.1\r\n", Target, 400, "3986 2.1"),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm, 400, "9112 3.2.4"),
        (b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm, 400, "9112 3.2.4"),
        (b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm, 400, "9112 3.2.3"),
        (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm, 400, "9112 3.2.3"),
        (b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm, 400, "9110 9.3.6: no port"),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm, 400, "9112 3.2.2"),
        (b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMalformed, 400, "9110 4.2.4"),
    ];
    for (bytes, reason, status, section) in cases {
        assert_eq!(refused(bytes, parse), reason, "{section}: {}", bytes.escape_ascii());
        assert_eq!(reason.status(), status, "{section}");
    }
}

#[test]
fn an_https_url_is_for_who_speaks_tls() {
    for (target, is_https, host, path) in [
        ("Https://a/b?c", true, "a", "/b"),
        ("https://a:443", true, "a:443", "/"),
        ("https://a?c", true, "a", "/"),
        ("http://a/b", false, "a", "/b"),
        ("/https://a/", false, "x", "/https://a/"),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let parsed = head(bytes.as_bytes());
        assert_eq!(parsed.host.unwrap().of(bytes.as_bytes()), host.as_bytes(), "{target}");
        assert_eq!(parsed.path.of(bytes.as_bytes()), path.as_bytes(), "{target}");
        assert_eq!(parsed.is_https, is_https, "{target}");
        assert_eq!(parsed.check_scheme(|| true), Ok(()));
        let without = parsed.check_scheme(|| false);
        assert_eq!(without.map_err(ParseError::status), if is_https { Err(421) } else { Ok(()) });
    }
}

#[test]
fn a_malformed_field_is_refused() {
    use ParseError::*;
    let cases: [(&[u8], ParseError, &str); 17] = [
        (b"A: b\nC: d\r\n\r\n", LineEnding, "9112 2.2: bare LF"),
        (b"A: b\r\n\n", LineEnding, "9112 2.2: bare LF"),
        (b"\n", LineEnding, "9112 2.2: bare LF"),
        (b"A:\n\r\n", LineEnding, "9112 2.2: bare LF"),
        (b"A: b\rC: d\r\n\r\n", FieldValue, "9112 2.2: bare CR"),
        (b"A: b\r\r\n\r\n", FieldValue, "9112 2.2: bare CR"),
        (b"\rA: b\r\n\r\n", LineEnding, "9112 2.2: bare CR"),
        (b"A: b\r\n c\r\n\r\n", FieldName, "9112 5.2: folded"),
        (b"A: b\r\n\tc\r\n\r\n", FieldName, "9112 5.2: folded"),
        (b" A: b\r\n\r\n", FieldName, "9112 2.2: space before the first field"),
        (b"A : b\r\n\r\n", FieldName, "9112 5.1: space before the colon"),
        (b": b\r\n\r\n", FieldName, "9110 5.1: no name"),
        (b"A\r\n\r\n", FieldName, "9112 5: no colon"),
        (b"A\xe9: b\r\n\r\n", FieldName, "9110 5.1: not a token"),
        (b"A(: b\r\n\r\n", FieldName, "9110 5.1: not a token"),
        (b"A: b\0c\r\n\r\n", FieldValue, "9110 5.5: NUL"),
        (b"A: b\x1b\r\n\r\n", FieldValue, "9110 5.5: a control character"),
    ];
    for (fields, reason, section) in cases {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        bytes.extend_from_slice(fields);
        assert_eq!(refused(&bytes, parse), reason, "{section}: {}", bytes.escape_ascii());
        assert_eq!(reason.status(), 400);
    }
}

#[test]
fn a_request_has_one_host() {
    use ParseError::*;
    // RFC 9112 section 3.2, RFC 3986 section 3.2.2.
    for host in
        ["a", "a.b-c_d~e", "127.0.0.1:8080", "[::1]", "[2001:db8::7]:443", "a:", "%41", "a,b"]
    {
        let bytes = format!("GET / HTTP/1.1\r\nhOsT: {host}\r\n\r\n").into_bytes();
        assert_eq!(head(&bytes).host.unwrap().of(&bytes), host.as_bytes());
    }
    for host in [
        "",
        ":80",
        "a:b",
        "a:65536",
        "a:+1",
        "a:1:2",
        "a b",
        "a/b",
        "u@a",
        "a?",
        "[::1",
        "::1",
        "[::1]a",
        "[a]",
        "[]",
        "[fe80::1%25eth0]",
        "a%",
        "a%4",
        "a%zz",
        "caf\u{e9}",
        "<a>",
        "\"a\"",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        assert_eq!(refused(&bytes, parse), HostMalformed, "{host}");
    }
    let two = b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
    assert_eq!(refused(two, parse), HostRepeated);
    let three = b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\nHost: a\r\n\r\n";
    assert_eq!(refused(three, parse), HostRepeated);
    assert_eq!(refused(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", parse), HostMissing);
    assert_eq!(refused(b"GET http://b/ HTTP/1.1\r\n\r\n", parse), HostMissing);
    assert_eq!(refused(b"GET http://b/ HTTP/1.1\r\nHost: /\r\n\r\n", parse), HostMalformed);
    assert_eq!(head(b"GET / HTTP/1.0\r\n\r\n").host, None);
}

#[test]
fn a_body_is_framed_in_one_way() {
    assert_eq!(head(&with("")).body, Framing::None);
    assert_eq!(head(&with("Content-Length: 0\r\n")).body, Framing::Length(0));
    assert_eq!(head(&with("CONTENT-length: 0012\r\n")).body, Framing::Length(12));
    assert_eq!(head(&with("Content-Length: 1048576\r\n")).body, Framing::Length(1 << 20));
    assert_eq!(head(&with("Transfer-Encoding: chunked\r\n")).body, Framing::Chunked);
    assert_eq!(head(&with("transfer-encoding:\t CHUNKED \r\n")).body, Framing::Chunked);
    assert_eq!(head(&with("Content-Length: \t5 \t\r\n")).body, Framing::Length(5));
    assert_eq!(head(&with("Transfer-Encoding: ,chunked, ,\r\n")).body, Framing::Chunked);

    use ParseError::*;
    let cases = [
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            ContentLengthRepeated,
            400,
            "6.3: differing",
        ),
        ("Content-Length: 5\r\ncontent-length: 5\r\n", ContentLengthRepeated, 400, "6.3: the same"),
        ("Content-Length: 5, 5\r\n", ContentLength, 400, "6.3: a list"),
        ("Content-Length: +5\r\n", ContentLength, 400, "9110 8.6: a sign"),
        ("Content-Length: -5\r\n", ContentLength, 400, "9110 8.6: a sign"),
        ("Content-Length: 5 5\r\n", ContentLength, 400, "9110 8.6"),
        ("Content-Length: 0x5\r\n", ContentLength, 400, "9110 8.6: hexadecimal"),
        ("Content-Length: 5.0\r\n", ContentLength, 400, "9110 8.6"),
        ("Content-Length:\r\n", ContentLength, 400, "9110 8.6: empty"),
        ("Content-Length: \u{661}\r\n", ContentLength, 400, "9110 8.6: another script's digit"),
        ("Content-Length: 18446744073709551616\r\n", ContentLength, 400, "9110 8.6: overflow"),
        ("Content-Length: 18446744073709551615\r\n", BodyTooLong, 413, "9110 15.5.14"),
        ("Content-Length: 1048577\r\n", BodyTooLong, 413, "9110 15.5.14"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndCoding, 400, "6.1"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", LengthAndCoding, 400, "6.1"),
        ("Transfer-Encoding: x\r\nContent-Length: 5\r\n", LengthAndCoding, 400, "6.1"),
        ("Transfer-Encoding: gzip, chunked\r\n", TransferCodingUnknown, 501, "6.1: unknown"),
        ("Transfer-Encoding: x;a=b,chunked\r\n", TransferCodingUnknown, 501, "6.1: unknown"),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            TransferCodingUnknown,
            501,
            "6.1: in two fields",
        ),
        ("Transfer-Encoding: gzip\r\n", TransferCoding, 400, "6.3: not chunked at last"),
        ("Transfer-Encoding: identity\r\n", TransferCoding, 400, "6.3: of RFC 2616"),
        ("Transfer-Encoding: chunked, gzip\r\n", TransferCoding, 400, "6.3: not at last"),
        ("Transfer-Encoding: chunked, chunked\r\n", TransferCoding, 400, "6.1: twice"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            TransferCoding,
            400,
            "6.1: twice",
        ),
        ("Transfer-Encoding: gzip, chunked, chunked\r\n", TransferCoding, 400, "6.1: twice"),
        ("Transfer-Encoding:\r\n", TransferCoding, 400, "6.1: empty"),
        ("Transfer-Encoding: , ,\r\n", TransferCoding, 400, "6.1: empty"),
        ("Transfer-Encoding: \"chunked\"\r\n", TransferCoding, 400, "7: not a token"),
        ("Transfer-Encoding: xchunked\r\n", TransferCoding, 400, "6.3: not chunked"),
        ("Transfer-Encoding: chunked;a=b\r\n", TransferCoding, 400, "7.1: no parameters"),
        ("Transfer-Encoding: chun ked\r\n", TransferCoding, 400, "7: not a token"),
    ];
    for (fields, reason, status, section) in cases {
        assert_eq!(refused(&with(fields), parse), reason, "{section}: {fields}");
        assert_eq!(reason.status(), status, "{section}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(old, parse), TransferCodingVersion, "6.1: HTTP/1.0 has none");
}

#[test]
fn a_connection_persists_by_version_and_wish() {
    // RFC 9112 section 9.3.
    let cases = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.2", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: upgrade , CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: close-not\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
        ("HTTP/1.0", "Connection: xkeep-alive\r\n", false),
    ];
    for (version, fields, persists) in cases {
        let bytes = format!("GET / {version}\r\nHost: a\r\n{fields}\r\n").into_bytes();
        assert_eq!(head(&bytes).keep_alive, persists, "{version} {fields}");
    }
}

#[test]
fn only_a_body_can_be_held_back() {
    // RFC 9110 section 10.1.1.
    let cases = [
        ("Expect: 100-continue\r\nContent-Length: 5\r\n", true),
        ("expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", true),
        ("Expect: 100-continue\r\nContent-Length: 0\r\n", false),
        ("Expect: 100-continue, 100-continue\r\nContent-Length: 5\r\n", true),
        ("Expect: ,100-continue ,\r\nContent-Length: 5\r\n", true),
        ("Expect: 100-continue\r\n", false),
        ("Expect:\r\nContent-Length: 5\r\n", false),
        ("Content-Length: 5\r\n", false),
    ];
    for (fields, held) in cases {
        assert_eq!(head(&with(fields)).expect_continue, held, "{fields}");
    }
    for fields in [
        "Expect: 200-ok\r\n",
        "Expect: 100-continue, a\r\n",
        "Expect: 100-continue=1\r\n",
        "Expect: 100-continue\r\nExpect: a\r\n",
    ] {
        assert_eq!(refused(&with(fields), parse), ParseError::Expectation, "{fields}");
        assert_eq!(ParseError::Expectation.status(), 417);
    }
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    assert!(!head(old).expect_continue);
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let bytes = b"\r\n\r\n\r\n\r\nGET /a HTTP/1.1\r\nHost: b\r\n\r\n";
    let head = head(bytes);
    assert_eq!((head.path.of(bytes), head.length), (&b"/a"[..], bytes.len()));
    assert_eq!(head.host.unwrap().of(bytes), b"b");
}

#[test]
fn what_is_too_long_is_refused_as_soon_as_it_is_known() {
    use ParseError::*;
    let parse = |bytes: &[u8]| request::parse(bytes, &small());
    let request = |target: usize, value: usize| {
        let (target, value) = ("/".repeat(target), "v".repeat(value));
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nA: {value}\r\n\r\n").into_bytes()
    };
    let frame = request(0, 0).len();
    assert_eq!(whole(&request(64, 0), parse).target.len(), 64);
    assert_eq!(refused(&request(65, 0), parse), TargetTooLong);
    assert_eq!(parse(format!("GET {}", "/".repeat(65)).as_bytes()), Err(TargetTooLong));
    assert_eq!(whole(&request(1, 255 - frame), parse).length, 256);
    assert_eq!(refused(&request(1, 256 - frame), parse), HeadTooLong);
    assert_eq!(refused("A".repeat(256).as_bytes(), parse), TargetTooLong);
    assert_eq!((TargetTooLong.status(), HeadTooLong.status()), (414, 431));

    let fields = |count: usize| with(&"A: b\r\n".repeat(count - 1));
    assert_eq!(whole(&fields(4), parse).headers.len(), 4);
    assert_eq!(refused(&fields(5), parse), TooManyHeaders);
    assert_eq!(whole(&fields(100), self::parse).headers.len(), 100);
    assert_eq!(refused(&fields(101), self::parse), TooManyHeaders);
    assert_eq!(TooManyHeaders.status(), 431);
}

#[test]
fn a_head_is_known_by_its_first_word() {
    for bytes in [&b"HEAD "[..], b"HEAD /a", b"HEAD  /", b"\r\n\r\nHEAD /a HTTP/1.1\r\n\0"] {
        assert!(request::is_head(bytes), "{}", bytes.escape_ascii());
    }
    for bytes in [&b""[..], b"\r\n", b"HEAD", b"HEADS /", b"head /", b" HEAD /", b"HEAD\t/"] {
        assert!(!request::is_head(bytes), "{}", bytes.escape_ascii());
    }
}

#[test]
fn methods_keep_their_promises() {
    for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"] {
        let method = Method::of(name.as_bytes());
        assert_eq!(method.as_str(), name);
        assert_ne!(method, Method::Other);
        // RFC 9110 sections 9.2.1 and 9.2.2.
        assert_eq!(method.is_safe(), ["GET", "HEAD", "OPTIONS", "TRACE"].contains(&name));
        assert_eq!(method.is_idempotent(), !["POST", "PATCH", "CONNECT"].contains(&name));
    }
    let bytes = b"PURGE /a HTTP/1.1\r\nHost: b\r\n\r\n";
    let head = head(bytes);
    assert_eq!((head.method, head.method_span.of(bytes)), (Method::Other, &b"PURGE"[..]));
    assert!(!head.method.is_idempotent());
}
