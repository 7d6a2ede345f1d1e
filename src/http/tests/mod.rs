//! Raw bytes in, values out: every refusal with the section of the RFC it is for, and the same
//! answer however the bytes were split.

mod bodies;
mod caching;
mod chunks;
mod heads;
mod paths;
mod random;
mod requests;
mod responses;

use super::*;

/// The server's bounds, made small where a test wants to reach them.
fn small() -> Limits {
    Limits { head_bytes_max: 256, target_bytes_max: 64, headers_max: 4, body_bytes_max: 100 }
}

/// The head that `bytes` are, asserted to be the same with bytes after it, and not to be there
/// with any byte less.
fn whole<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<Option<T>, ParseError>,
) -> T {
    let shown = bytes.escape_ascii();
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(None), "the first {end} bytes of {shown}");
    }
    let head = parse(bytes).unwrap_or_else(|error| panic!("{error:?} for {shown}"));
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b"\n\0 what follows\r\n\r\n");
    assert_eq!(parse(&longer).unwrap(), head, "with bytes after {shown}");
    head.unwrap_or_else(|| panic!("no head in {shown}"))
}

/// Why `bytes` are refused, asserted to be the one reason however few of them have come.
fn refused<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<Option<T>, ParseError>,
) -> ParseError {
    let shown = bytes.escape_ascii();
    let reason = match parse(bytes) {
        Err(reason) => reason,
        answer => panic!("{answer:?} for {shown}"),
    };
    let mut known = false;
    for end in 0..bytes.len() {
        let answer = parse(&bytes[..end]);
        assert!(
            answer == Err(reason) || answer == Ok(None) && !known,
            "{answer:?} for the first {end} bytes of {shown}, {reason:?} for all"
        );
        known = answer.is_err();
    }
    reason
}
