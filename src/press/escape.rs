//! Percent-encoding (RFC 3986), by byte tables. What is written into a URL here can never be
//! read as anything but data: all but the unreserved characters is encoded.

#![expect(
    clippy::indexing_slicing,
    reason = "a table has a place for each octet, or for each hex digit"
)]

use minijinja::Value;
use minijinja::value::ValueKind;
use std::borrow::Cow;

/// Appends `text` so that it is one path segment, or one name or value of a query, whatever it
/// holds.
pub(super) fn push_component(text: &str, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        if UNRESERVED[usize::from(byte)] {
            out.push(byte);
        } else {
            let digit = |half: u8| HEX[usize::from(half & 15)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

/// Appends the `rest` of a path: its slashes stay, each segment is encoded.
pub(super) fn push_segments(rest: &str, out: &mut Vec<u8>) {
    for (at, segment) in rest.split('/').enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        push_component(segment, out);
    }
}

/// A value as the text it stands for in a URL or a header: numbers without a fraction have no
/// `.0`, flags are `true` and `false`. `None` for what is no text: lists, maps, none, undefined.
pub(super) fn plain_text(value: &Value) -> Option<Cow<'_, str>> {
    match value.kind() {
        ValueKind::String => value.as_str().map(Cow::Borrowed),
        ValueKind::Bool => Some(Cow::Borrowed(if value.is_true() { "true" } else { "false" })),
        ValueKind::Number if value.is_integer() => Some(Cow::Owned(value.to_string())),
        ValueKind::Number => {
            let number = f64::try_from(value.clone()).ok()?;
            // Rust shows floating point without an exponent, and whole numbers without `.0`.
            number.is_finite().then(|| Cow::Owned(number.to_string()))
        }
        _ => None,
    }
}

/// Whether a URL-encoded segment stands for `.` or `..`, which a server would resolve (RFC 3986
/// section 5.2.4): plainly, encoded, or encoded twice, as some servers decode twice.
pub(super) fn is_dot_segment(mut segment: &[u8]) -> bool {
    let mut dots = 0;
    while !segment.is_empty() {
        let Some(rest) = strip_dot(segment) else { return false };
        segment = rest;
        dots += 1;
    }
    dots == 1 || dots == 2
}

fn strip_dot(segment: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = segment.strip_prefix(b".") {
        return Some(rest);
    }
    let mut rest = segment.strip_prefix(b"%")?;
    while let Some(inner) = rest.strip_prefix(b"25") {
        rest = inner;
    }
    rest.strip_prefix(b"2e").or_else(|| rest.strip_prefix(b"2E"))
}

/// RFC 3986 section 2.3.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let is = byte as u8;
        table[byte] = is.is_ascii_alphanumeric() || matches!(is, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

pub(super) const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> String {
        let mut out = Vec::new();
        push_component(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(component("aZ09-._~"), "aZ09-._~");
        assert_eq!(component("a/b?c#d%e&f=g+h"), "a%2Fb%3Fc%23d%25e%26f%3Dg%2Bh");
        assert_eq!(component("é\r\n\0"), "%C3%A9%0D%0A%00");
    }

    #[test]
    fn dot_segments_are_seen_through_encoding() {
        for dots in [".", "..", "%2e", "%2E.", ".%2e", "%252e%252E", "%25252e"] {
            assert!(is_dot_segment(dots.as_bytes()), "{dots}");
        }
        for other in ["", "...", "a.", ".a", "%2f", "%", "%2", "%25", "%2e%2e%2e"] {
            assert!(!is_dot_segment(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn values_are_shown_as_urls_need_them() {
        let shown = |value: Value| plain_text(&value).map(Cow::into_owned);
        assert_eq!(shown(Value::from(3.0)).as_deref(), Some("3"));
        assert_eq!(shown(Value::from(1e21)).as_deref(), Some("1000000000000000000000"));
        assert_eq!(shown(Value::from(0.25)).as_deref(), Some("0.25"));
        assert_eq!(shown(Value::from(u64::MAX)).as_deref(), Some("18446744073709551615"));
        assert_eq!(shown(Value::from(true)).as_deref(), Some("true"));
        assert_eq!(shown(Value::from(())), None);
        assert_eq!(shown(Value::UNDEFINED), None);
        assert_eq!(shown(Value::from(vec![1])), None);
        assert_eq!(shown(Value::from(f64::NAN)), None);
    }
}
