//! Percent-encoding.

use super::*;
use crate::limits::QUERY_PAIRS_MAX;
use path::{InvalidPath, decode_segment, normalize, query_pairs};
use std::borrow::Cow;

#[test]
fn a_path_has_one_spelling() {
    // RFC 3986 section 6.2.2.
    let cases: [(&str, &str); 12] = [
        ("/", "/"),
        ("", ""),
        ("/a-b._~/c:@!$&'()*+,;=", "/a-b._~/c:@!$&'()*+,;="),
        ("/%61%2D%2e%7E%5f%39", "/a-.~_9"),
        ("/%2fa%2Fb", "/%2Fa%2Fb"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%20%25%3f", "/%20%25%3F"),
        ("/{a}|\"<>\\^`[]", "/%7Ba%7D%7C%22%3C%3E%5C%5E%60%5B%5D"),
        ("/%7b%7B{", "/%7B%7B%7B"),
        ("/%2e%2e/a/../b", "/../a/../b"),
        ("/%2561", "/%2561"),
        ("/%2C,", "/%2C,"),
    ];
    for (path, expected) in cases {
        let normal = normalize(path.as_bytes()).unwrap();
        assert_eq!(std::str::from_utf8(&normal), Ok(expected), "{path}");
        assert_eq!(normalize(&normal).unwrap(), normal, "{path}: once is enough");
    }
    assert!(matches!(normalize(b"/users/7"), Ok(Cow::Borrowed(_))));
}

#[test]
fn what_is_no_path_is_refused() {
    let cases: [(&[u8], InvalidPath); 12] = [
        (b"/%", InvalidPath::Escape),
        (b"/%4", InvalidPath::Escape),
        (b"/%4g", InvalidPath::Escape),
        (b"/%%41", InvalidPath::Escape),
        (b"/%+1", InvalidPath::Escape),
        (b"/%00", InvalidPath::Nul),
        (b"/\0", InvalidPath::Nul),
        (b"/caf\xc3\xa9", InvalidPath::Octet),
        (b"/a b", InvalidPath::Octet),
        (b"/a#b", InvalidPath::Octet),
        (b"/a?b", InvalidPath::Octet),
        (b"/a\x7f", InvalidPath::Octet),
    ];
    for (path, reason) in cases {
        assert_eq!(normalize(path), Err(reason), "{}", path.escape_ascii());
    }
}

#[test]
fn a_segment_is_text() {
    let cases = [("plain", "plain"), ("a%2Fb", "a/b"), ("caf%C3%a9", "caf\u{e9}"), ("a+b", "a+b")];
    for (segment, text) in cases {
        assert_eq!(decode_segment(segment.as_bytes()).unwrap(), text);
    }
    assert!(matches!(decode_segment(b"plain"), Ok(Cow::Borrowed(_))));
    assert_eq!(decode_segment(b"%C3"), Err(InvalidPath::Utf8));
    assert_eq!(decode_segment(b"\xc3"), Err(InvalidPath::Utf8));
    assert_eq!(decode_segment(b"%C0%AF"), Err(InvalidPath::Utf8), "an overlong slash");
    assert_eq!(decode_segment(b"a%2"), Err(InvalidPath::Escape));
    assert_eq!(decode_segment(b"a%00"), Err(InvalidPath::Nul));
    assert_eq!(decode_segment(b"a\0"), Err(InvalidPath::Nul));
}

#[test]
fn a_query_is_pairs() {
    type Pairs = [(&'static str, &'static str)];
    let cases: [(&[u8], &Pairs); 9] = [
        (b"", &[]),
        (b"a=1&b=2", &[("a", "1"), ("b", "2")]),
        (b"a=1&a=2", &[("a", "1"), ("a", "2")]),
        (b"&&a&&=b&", &[("a", ""), ("", "b")]),
        (b"a=b=c", &[("a", "b=c")]),
        (b"a+b=%2B+%26%3D", &[("a b", "+ &=")]),
        (b"a=%", &[("a", "%")]),
        (b"a=%zz%4", &[("a", "%zz%4")]),
        (b"a=%ff&b=\xff", &[("a", "\u{fffd}"), ("b", "\u{fffd}")]),
    ];
    for (query, expected) in cases {
        let pairs: Vec<_> = query_pairs(query).collect();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, expected, "{}", query.escape_ascii());
    }
    assert!(matches!(query_pairs(b"a=b").next(), Some((Cow::Borrowed("a"), Cow::Borrowed("b")))));
    assert_eq!(query_pairs(&b"a&".repeat(QUERY_PAIRS_MAX + 9)).count(), QUERY_PAIRS_MAX);
}
