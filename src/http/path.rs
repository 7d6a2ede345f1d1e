//! Percent-encoding of paths and queries: one spelling for routing, text for parameters.
//!
//! It never resolves `.` and `..` and never turns `%2F` into a slash: whatever a path looks like,
//! it has the segments that were sent.

#![expect(
    clippy::indexing_slicing,
    reason = "a table has a place for each octet, or for each hex digit"
)]

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2};
use percent_encoding::percent_decode;

use super::octet;
use crate::limits::QUERY_PAIRS_MAX;

/// A path or segment that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPath {
    /// A `%` without two hexadecimal digits.
    Escape,
    /// A NUL, which no path of ours has and which other software takes for an end.
    Nul,
    /// An octet outside visible ASCII, a fragment, or a query.
    Octet,
    /// Not UTF-8 once decoded.
    Utf8,
}

/// The one spelling of a path (RFC 3986 section 6.2.2): unreserved characters are decoded, what
/// may not stand in a path is encoded, digits of escapes are upper case, and all else is left.
/// Two paths mean the same to a route exactly when these are equal.
///
/// # Errors
/// When the path is no path: see [`InvalidPath`].
pub fn normalize(path: &[u8]) -> Result<Cow<'_, [u8]>, InvalidPath> {
    let plain = path.iter().position(|&byte| !octet::is_path(byte)).unwrap_or(path.len());
    let (kept, mut rest) = path.split_at_checked(plain).unwrap_or((path, &[]));
    if rest.is_empty() {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = Vec::with_capacity(path.len() + 2 * rest.len());
    out.extend_from_slice(kept);
    while let [byte, tail @ ..] = rest {
        rest = match *byte {
            b'%' => {
                let (octet, tail) = escaped(tail)?;
                if octet::is_unreserved(octet) {
                    out.push(octet);
                } else {
                    push_escape(&mut out, octet);
                }
                tail
            }
            b'?' => return Err(InvalidPath::Octet),
            0 => return Err(InvalidPath::Nul),
            byte if octet::is_path(byte) => {
                out.push(byte);
                tail
            }
            byte if octet::is_target(byte) => {
                push_escape(&mut out, byte);
                tail
            }
            _ => return Err(InvalidPath::Octet),
        };
    }
    Ok(Cow::Owned(out))
}

/// The text of one segment, all escapes decoded; `%2F` is a slash in it.
///
/// # Errors
/// When it holds a malformed escape or NUL, or is not UTF-8.
pub fn decode_segment(segment: &[u8]) -> Result<Cow<'_, str>, InvalidPath> {
    let decoded = match memchr(b'%', segment) {
        None => Cow::Borrowed(segment),
        Some(plain) => Cow::Owned(decode(segment, plain)?),
    };
    if memchr(0, &decoded).is_some() {
        return Err(InvalidPath::Nul);
    }
    match decoded {
        Cow::Borrowed(bytes) => {
            std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| InvalidPath::Utf8)
        }
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|_| InvalidPath::Utf8)
        }
    }
}

/// The pairs of a query or of an `application/x-www-form-urlencoded` body, the first
/// [`QUERY_PAIRS_MAX`] of them. As browsers write them and the URL standard reads them, nothing is
/// an error: `+` is a space, a `%` without digits is itself, bytes that are not UTF-8 become
/// U+FFFD.
pub fn query_pairs(query: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_pairs(query).take(QUERY_PAIRS_MAX)
}

/// The same, and all of them: of a body whose pairs are bounded elsewhere.
pub fn form_pairs(body: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let name_end = memchr(b'=', pair).unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(name_end).unwrap_or((pair, &[]));
        (form_text(name), form_text(value.get(1..).unwrap_or_default()))
    })
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "The path has a % that is not followed by two hexadecimal digits.",
            Self::Nul => "The path holds a NUL.",
            Self::Octet => "The path holds an octet that must be percent-encoded.",
            Self::Utf8 => "The path is not UTF-8.",
        })
    }
}

impl std::error::Error for InvalidPath {}

/// The octet of an escape whose `%` has been taken, and what follows it.
fn escaped(tail: &[u8]) -> Result<(u8, &[u8]), InvalidPath> {
    let [high, low, tail @ ..] = tail else {
        return Err(InvalidPath::Escape);
    };
    match (octet::hex(*high), octet::hex(*low)) {
        (Some(0), Some(0)) => Err(InvalidPath::Nul),
        (Some(high), Some(low)) => Ok((high << 4 | low, tail)),
        _ => Err(InvalidPath::Escape),
    }
}

fn push_escape(out: &mut Vec<u8>, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', DIGITS[usize::from(octet >> 4)], DIGITS[usize::from(octet & 15)]]);
}

/// Decodes every escape; the first stands at `plain`.
fn decode(segment: &[u8], plain: usize) -> Result<Vec<u8>, InvalidPath> {
    let mut out = Vec::with_capacity(segment.len());
    let (start, mut rest) = segment.split_at_checked(plain).unwrap_or((segment, &[]));
    out.extend_from_slice(start);
    while let [byte, tail @ ..] = rest {
        let (octet, tail) = if *byte == b'%' { escaped(tail)? } else { (*byte, tail) };
        out.push(octet);
        rest = tail;
    }
    Ok(out)
}

fn form_text(bytes: &[u8]) -> Cow<'_, str> {
    if memchr2(b'+', b'%', bytes).is_none() {
        return String::from_utf8_lossy(bytes);
    }
    let spaced: Vec<u8> =
        bytes.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).decode_utf8_lossy().into_owned())
}
