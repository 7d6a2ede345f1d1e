//! Values of cookies: what may stand in one (RFC 6265 section 4.1.1), and the percent-encoding of
//! all else, which is ours: the RFC has none.

#![expect(
    clippy::indexing_slicing,
    reason = "a table has a place for each octet, or for each hex digit"
)]

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Appends `text` as the value of a cookie: whatever may not stand there is percent-encoded, and
/// percent signs are.
pub fn push_value(text: &str, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        if is_octet(byte) && byte != b'%' {
            out.push(byte);
        } else {
            let digit = |half: u8| HEX[usize::from(half & 15)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

/// The text that [`push_value`] has made a value of. One that it has not made, as it is.
pub fn decode_value(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return value.into();
    }
    percent_decode_str(value).decode_utf8().unwrap_or_else(|_| value.into())
}

/// The cookies of a field, each as its name and its value without quotes around it. What has no
/// `=` is none.
pub fn pairs(field: &str) -> impl Iterator<Item = (&str, &str)> {
    field.split(';').filter_map(|pair| pair.split_once('=')).map(|(name, value)| {
        let value = value.trim();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (name.trim(), quoted.unwrap_or(value))
    })
}

/// cookie-octet of RFC 6265: visible ASCII without quotes, commas, semicolons and backslashes.
fn is_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_set_is_read_as_it_was() {
        for text in ["dark", "a b", "50%", "%41", "ü;,\"\\\r\n\0\u{7f}", "a=b"] {
            let mut value = Vec::new();
            push_value(text, &mut value);
            assert!(value.iter().all(|byte| is_octet(*byte)), "{text}");
            let field = format!("x=1; t={}; y=2", String::from_utf8(value).unwrap());
            let (_, read) = pairs(&field).find(|(name, _)| *name == "t").unwrap();
            assert_eq!(decode_value(read), text);
        }
    }

    #[test]
    fn what_others_have_set_is_read_somehow() {
        let field = "a=1; b=\"2\" ;c = 3;d;=x; e=\"; f=%ff;g=%zz";
        let found: Vec<_> = pairs(field).collect();
        let wanted = [
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("", "x"),
            ("e", "\""),
            ("f", "%ff"),
            ("g", "%zz"),
        ];
        assert_eq!(found, wanted);
        assert_eq!((decode_value("%ff"), decode_value("%zz")), ("%ff".into(), "%zz".into()));
    }
}
