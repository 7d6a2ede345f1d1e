//! Bodies of every framing.

use super::*;
use crate::limits::BODY_RESERVE_BYTES_MAX;

#[test]
fn a_length_ends_where_it_says() {
    let mut reader = BodyReader::new(Framing::Length(5), 100);
    let mut buffer = b"headhel".to_vec();
    assert_eq!(reader.room_hint(), 5);
    assert_eq!(reader.advance(&mut buffer, 4), Ok(Progress { end: 7, done: false }));
    assert_eq!(reader.room_hint(), 2);
    assert_eq!(reader.finish_at_eof(), Err(ParseError::Truncated));
    buffer.extend_from_slice(b"loGET ");
    assert_eq!(reader.advance(&mut buffer, 7), Ok(Progress { end: 9, done: true }));
    assert_eq!(&buffer[4..], b"helloGET ");
    assert_eq!(reader.finish_at_eof(), Ok(()));
    // Once done, it takes nothing more.
    assert_eq!(reader.advance(&mut buffer, 9), Ok(Progress { end: 9, done: true }));
}

#[test]
fn no_body_is_done_at_once() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut reader = BodyReader::new(framing, 0);
        assert!(reader.is_done());
        let mut buffer = b"headGET ".to_vec();
        assert_eq!(reader.advance(&mut buffer, 4), Ok(Progress { end: 4, done: true }));
        assert_eq!((reader.finish_at_eof(), reader.room_hint()), (Ok(()), 0));
    }
}

#[test]
fn chunks_are_taken_off() {
    let mut reader = BodyReader::new(Framing::Chunked, 100);
    let mut buffer = b"head5\r\nhel".to_vec();
    assert_eq!(reader.advance(&mut buffer, 4), Ok(Progress { end: 7, done: false }));
    assert!(reader.room_hint() >= 2);
    assert_eq!(reader.finish_at_eof(), Err(ParseError::Truncated));
    buffer.extend_from_slice(b"lo\r\n0\r\n\r\nHTTP");
    assert_eq!(reader.advance(&mut buffer, 7), Ok(Progress { end: 9, done: true }));
    assert_eq!(&buffer, b"headhelloHTTP");
    assert_eq!((reader.finish_at_eof(), reader.room_hint()), (Ok(()), 0));
}

#[test]
fn the_end_of_the_connection_ends_only_what_nothing_else_ends() {
    let mut reader = BodyReader::new(Framing::UntilClose, 6);
    let mut buffer = b"headabc".to_vec();
    assert_eq!(reader.advance(&mut buffer, 4), Ok(Progress { end: 7, done: false }));
    assert_eq!(reader.finish_at_eof(), Ok(()));
    buffer.extend_from_slice(b"def");
    assert_eq!(reader.advance(&mut buffer, 7), Ok(Progress { end: 10, done: false }));
    buffer.push(b'g');
    assert_eq!(reader.advance(&mut buffer, 10), Err(ParseError::BodyTooLong));
}

#[test]
fn an_announced_length_is_bounded_and_not_all_reserved() {
    let mut reader = BodyReader::new(Framing::Length(101), 100);
    assert_eq!(reader.advance(&mut Vec::new(), 0), Err(ParseError::BodyTooLong));
    let reader = BodyReader::new(Framing::Length(u64::MAX), u64::MAX);
    assert_eq!(reader.room_hint(), BODY_RESERVE_BYTES_MAX);
}

#[test]
fn an_offset_outside_the_buffer_is_its_end() {
    for framing in [Framing::None, Framing::Length(5), Framing::Chunked, Framing::UntilClose] {
        let progress = BodyReader::new(framing, 9).advance(&mut b"abc".to_vec(), 99).unwrap();
        assert_eq!(progress.end, 3);
    }
}
