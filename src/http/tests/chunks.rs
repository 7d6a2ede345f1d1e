//! Chunked bodies.

use super::*;
use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// What a body decodes to and what stands after it, or why it is refused, fed in `parts`; `None`
/// when it has not ended.
pub(super) type Outcome = Result<Option<(Vec<u8>, Vec<u8>)>, ParseError>;

/// Feeds a body after some bytes that are not its own, as a head would be.
pub(super) fn feed<'a>(parts: impl IntoIterator<Item = &'a [u8]>, max: u64) -> Outcome {
    let head = b"head";
    let mut decoder = ChunkedDecoder::new(max);
    let mut buffer = head.to_vec();
    let mut end = head.len();
    for part in parts {
        buffer.extend_from_slice(part);
        let progress = decoder.decode(&mut buffer, end)?;
        assert!(progress.end >= end && progress.end <= buffer.len());
        if !progress.done {
            assert_eq!(progress.end, buffer.len(), "what is no data was not taken off");
        }
        assert_eq!(&buffer[..head.len()], head, "bytes before the body were touched");
        assert_eq!(progress.done, decoder.is_done());
        end = progress.end;
    }
    let body = buffer[head.len()..end].to_vec();
    Ok(decoder.is_done().then(|| (body, buffer.split_off(end))))
}

/// The outcome, asserted to be the same whole, cut at every byte, and byte by byte.
fn decode(bytes: &[u8]) -> Outcome {
    let outcome = feed([bytes], 1000);
    for at in 0..=bytes.len() {
        let cut = feed([&bytes[..at], &bytes[at..]], 1000);
        assert_eq!(cut, outcome, "cut at {at} of {}", bytes.escape_ascii());
    }
    assert_eq!(feed(bytes.chunks(1), 1000), outcome, "{} by bytes", bytes.escape_ascii());
    outcome
}

#[test]
fn chunks_are_joined_and_what_follows_is_kept() {
    let long = format!("{:x}\r\n{}\r\n0\r\n\r\n", 777, "d".repeat(777));
    let cases: [(&[u8], &[u8], &[u8]); 11] = [
        (b"0\r\n\r\n", b"", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
        (b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n", b"hello, world", b""),
        (b"1\r\na\r\n1\r\nb\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"ab", b"GET / HTTP/1.1\r\n"),
        (b"0000A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", b""),
        (b"2;a\r\nhi\r\n0;b=\"c;d\"; e\r\n\r\n", b"hi", b""),
        (b"2 \t;a\r\nhi\r\n0 ; b = c\r\n\r\n", b"hi", b""),
        (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", b""),
        (b"2\r\nhi\r\n0\r\nExpires: never\r\nA:\r\n\r\n", b"hi", b""),
        (b"0\r\n\r\n0\r\n\r\n", b"", b"0\r\n\r\n"),
        (long.as_bytes(), &[b'd'; 777], b""),
    ];
    for (bytes, body, after) in cases {
        let expected = Ok(Some((body.to_vec(), after.to_vec())));
        assert_eq!(decode(bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_body_that_has_not_ended_is_not_done() {
    let bytes = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Ok(None), "the first {end} bytes");
    }
}

#[test]
fn malformed_framing_is_refused() {
    use ParseError::*;
    // RFC 9112 section 7.1 and below.
    let cases: [(&[u8], ParseError, &str); 34] = [
        (b"\r\n", ChunkSize, "7.1: no size"),
        (b";a\r\n", ChunkSize, "7.1: no size"),
        (b" 5\r\nhello\r\n", ChunkSize, "7.1: space before"),
        (b"5 \r\nhello\r\n", ChunkSize, "7.1: space after"),
        (b"5 5\r\nhello\r\n", ChunkSize, "7.1: space within"),
        (b"5\t\n;a\r\nhello\r\n", ChunkSize, "2.2: bare LF"),
        (b" ;a\r\nhello\r\n", ChunkSize, "7.1: no size"),
        (b"+5\r\nhello\r\n", ChunkSize, "7.1: a sign"),
        (b"-5\r\nhello\r\n", ChunkSize, "7.1: a sign"),
        (b"0x5\r\nhello\r\n", ChunkSize, "7.1: a prefix"),
        (b"5_0\r\n", ChunkSize, "7.1"),
        (b"g\r\n", ChunkSize, "7.1"),
        (b"\xef\xbc\x95\r\n", ChunkSize, "7.1: another script's digit"),
        (b"10000000000000000\r\n", ChunkSize, "7.1: overflow"),
        (b"100000000000000005\r\nhello", ChunkSize, "7.1: overflow"),
        (b"ffffffffffffffff\r\n", BodyTooLong, "our limit"),
        (b"5\nhello\r\n", ChunkSize, "2.2: bare LF"),
        (b"5\rhello\r\n", LineEnding, "2.2: bare CR"),
        (b"5\r\r\nhello\r\n", LineEnding, "2.2: bare CR"),
        (b"5;a\nhello\r\n", ChunkExtension, "7.1.1: bare LF"),
        (b"5;a\rb\r\nhello\r\n", LineEnding, "7.1.1: bare CR"),
        (b"5;\0\r\nhello\r\n", ChunkExtension, "7.1.1: NUL"),
        (b"5\r\nhello0\r\n\r\n", ChunkEnd, "7.1: no CRLF"),
        (b"5\r\nhello\n0\r\n\r\n", ChunkEnd, "2.2: bare LF"),
        (b"5\r\nhello\r0\r\n\r\n", ChunkEnd, "2.2: bare CR"),
        (b"5\r\nhello!\r\n0\r\n\r\n", ChunkEnd, "7.1: more data than said"),
        (b"0\r\n\n", Trailer, "2.2: bare LF"),
        (b"0\r\n\rA", Trailer, "2.2: bare CR"),
        (b"0\r\nA: b\n\r\n", Trailer, "2.2: bare LF"),
        (b"0\r\nA: b\r\n c\r\n\r\n", Trailer, "5.2: folded"),
        (b"0\r\nA : b\r\n\r\n", Trailer, "5.1: space before the colon"),
        (b"0\r\n: b\r\n\r\n", Trailer, "9110 5.1: no name"),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", Trailer, "7.1.2: the next request"),
        (b"0\r\nA: \0\r\n\r\n", Trailer, "9110 5.5: NUL"),
    ];
    for (bytes, reason, section) in cases {
        assert_eq!(decode(bytes), Err(reason), "{section}: {}", bytes.escape_ascii());
    }
}

#[test]
fn lines_trailers_and_bodies_are_bounded() {
    use ParseError::*;
    // The line is all up to its CR; the trailer section all up to its last LF.
    let extension = |length: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length - 3));
    assert!(decode(extension(CHUNK_LINE_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(decode(extension(CHUNK_LINE_BYTES_MAX + 1).as_bytes()), Err(ChunkLineTooLong));
    let zeros = "0".repeat(CHUNK_LINE_BYTES_MAX + 1);
    assert_eq!(feed([zeros.as_bytes()], 9), Err(ChunkLineTooLong));

    let trailer = |length: usize| format!("0\r\n{}\r\n\r\n", "A:".repeat(length / 2 - 2));
    assert!(feed([trailer(TRAILER_BYTES_MAX).as_bytes()], 9).unwrap().is_some());
    let long = trailer(TRAILER_BYTES_MAX + 2);
    assert_eq!(feed([long.as_bytes()], 9), Err(TrailerTooLong));
    assert_eq!(TrailerTooLong.status(), 431);

    let body: &[u8] = b"5\r\nhello\r\n4\r\n you\r\n0\r\n\r\n";
    assert!(feed([body], 9).unwrap().is_some());
    assert_eq!(feed([body], 8), Err(BodyTooLong));
    assert_eq!(feed([&b"9\r\n"[..]], 8), Err(BodyTooLong), "before any data has come");
    assert_eq!(BodyTooLong.status(), 413);
}
