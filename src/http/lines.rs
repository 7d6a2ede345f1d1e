//! Field lines that may go out: whole ones, none of which says where the message ends or what
//! becomes of its connection. That is for whoever frames it.

use memchr::memchr;

use super::head::{InvalidHead, is_field_name, is_field_value};

/// Field lines of a message that goes out, each with its CRLF, known to be that. As large as a
/// slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldLines<'a>(&'a [u8]);

impl<'a> FieldLines<'a> {
    /// None.
    pub const NONE: Self = Self(&[]);

    /// These lines.
    ///
    /// # Errors
    /// When the last one lacks its CRLF, a name is not a token, a value holds CR, LF or NUL, or a
    /// field [is of the framing](is_framing_field).
    pub fn new(lines: &'a [u8]) -> Result<Self, InvalidHead> {
        let mut left = lines;
        while !left.is_empty() {
            let end = memchr(b'\n', left).ok_or(InvalidHead::FieldValue)?;
            let (line, rest) = left.split_at(end + 1);
            let line = line.strip_suffix(b"\r\n").ok_or(InvalidHead::FieldValue)?;
            let colon = memchr(b':', line).ok_or(InvalidHead::FieldName)?;
            let (name, value) = line.split_at(colon);
            if !is_field_name(name) {
                return Err(InvalidHead::FieldName);
            }
            if !is_field_value(value) {
                return Err(InvalidHead::FieldValue);
            }
            if is_framing_field(name) {
                return Err(InvalidHead::Framing);
            }
            left = rest;
        }
        Ok(Self(lines))
    }

    /// Lines that were made by [`push_field`](super::push_field) under names that were looked at
    /// when the site was read.
    pub(crate) fn known(lines: &'a [u8]) -> Self {
        debug_assert!(Self::new(lines).is_ok(), "{}", lines.escape_ascii());
        Self(lines)
    }

    /// The same where what becomes of the connection is said, too, by whoever sees to that.
    pub(crate) fn with_framing(lines: &'a [u8]) -> Self {
        debug_assert!(lines.is_empty() || lines.ends_with(b"\r\n"));
        Self(lines)
    }

    /// The lines.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Whether a field says where a message ends, what becomes of its connection, or, as Host does,
/// what it is asked of (RFC 9110 sections 6.4.1, 7.2 and 7.6.1).
pub fn is_framing_field(name: &[u8]) -> bool {
    FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

const FRAMING: [&[u8]; 10] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_whole_are_taken() {
        for lines in [&b""[..], b"A: b\r\n", b"A:\r\nContent-Type: b: c\r\nX-Length: \x80\r\n"] {
            assert_eq!(FieldLines::new(lines).unwrap().as_bytes(), lines);
        }
    }

    #[test]
    fn lines_that_would_be_something_else_are_not() {
        use InvalidHead::{FieldName, FieldValue, Framing};
        let cases: [(&[u8], InvalidHead); 14] = [
            (b"\r\n", FieldName),
            (b"A: b", FieldValue),
            (b"A: b\r", FieldValue),
            (b"A: b\n", FieldValue),
            (b"A: b\r\n\r\nGET / HTTP/1.1\r\n", FieldName),
            (b"A: b\r\nGET / HTTP/1.1\r\n", FieldName),
            (b"A: b\r\n folded: c\r\n", FieldName),
            (b"A: b\rC: d\r\n", FieldValue),
            (b"A: b\0\r\n", FieldValue),
            (b": b\r\n", FieldName),
            (b"A : b\r\n", FieldName),
            (b"A: b\r\ncontent-LENGTH: 1\r\n", Framing),
            (b"Transfer-Encoding: chunked\r\n", Framing),
            (b"Host: b\r\n", Framing),
        ];
        for (lines, reason) in cases {
            assert_eq!(FieldLines::new(lines), Err(reason), "{}", lines.escape_ascii());
        }
    }
}
