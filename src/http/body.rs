//! Where a body ends, for requests and responses alike (RFC 9112 section 6).

use super::{ChunkedDecoder, ParseError};
use crate::limits::BODY_RESERVE_BYTES_MAX;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// All that comes until the connection closes; responses only.
    UntilClose,
}

/// How far a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where the body ends in the buffer so far. What stands after it is no part of it.
    pub end: usize,
    /// Whether that is all of it.
    pub done: bool,
}

/// Finds the end of one body in the buffer it is read into. The body stands in that buffer as
/// plain bytes, its framing taken off.
#[derive(Clone, Debug)]
pub struct BodyReader {
    kind: Kind,
}

impl BodyReader {
    /// A reader at the start of a body of at most `body_bytes_max` bytes.
    pub fn new(framing: Framing, body_bytes_max: u64) -> Self {
        let kind = match framing {
            Framing::None => Kind::Length { announced: 0, remaining: 0, max: 0 },
            Framing::Length(length) => {
                Kind::Length { announced: length, remaining: length, max: body_bytes_max }
            }
            Framing::Chunked => Kind::Chunked(ChunkedDecoder::new(body_bytes_max)),
            Framing::UntilClose => Kind::UntilClose { left: body_bytes_max },
        };
        Self { kind }
    }

    /// Takes what has been read into `buffer[from..]`, where `from` is the end of the body so far:
    /// the end of the head at first, then [`Progress::end`] of the call before.
    ///
    /// # Errors
    /// When the framing is malformed or the body is over its limit.
    pub fn advance(&mut self, buffer: &mut Vec<u8>, from: usize) -> Result<Progress, ParseError> {
        let from = from.min(buffer.len());
        let arrived = buffer.len() - from;
        match &mut self.kind {
            Kind::Length { announced, max, .. } if *announced > *max => {
                Err(ParseError::BodyTooLong)
            }
            Kind::Length { remaining, .. } => {
                let taken = usize::try_from(*remaining).map_or(arrived, |n| n.min(arrived));
                *remaining -= taken as u64;
                Ok(Progress { end: from + taken, done: *remaining == 0 })
            }
            Kind::Chunked(decoder) => decoder.decode(buffer, from),
            Kind::UntilClose { left } => {
                *left = left.checked_sub(arrived as u64).ok_or(ParseError::BodyTooLong)?;
                Ok(Progress { end: buffer.len(), done: false })
            }
        }
    }

    /// Whether the body is complete without another byte.
    pub fn is_done(&self) -> bool {
        match &self.kind {
            Kind::Length { announced, remaining, max } => *remaining == 0 && announced <= max,
            Kind::Chunked(decoder) => decoder.is_done(),
            Kind::UntilClose { .. } => false,
        }
    }

    /// What the end of the connection means: the end of the body where nothing else ends it.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when the framing said that more would come.
    pub fn finish_at_eof(&self) -> Result<(), ParseError> {
        match self.kind {
            Kind::UntilClose { .. } => Ok(()),
            _ if self.is_done() => Ok(()),
            _ => Err(ParseError::Truncated),
        }
    }

    /// How many bytes to make room for before the next read: what is known to come, up to
    /// [`BODY_RESERVE_BYTES_MAX`], since announcing a body costs the peer nothing.
    pub fn room_hint(&self) -> usize {
        let missing = match &self.kind {
            Kind::Length { remaining, .. } => *remaining,
            Kind::Chunked(decoder) => decoder.missing(),
            Kind::UntilClose { .. } => 0,
        };
        usize::try_from(missing).map_or(BODY_RESERVE_BYTES_MAX, |n| n.min(BODY_RESERVE_BYTES_MAX))
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Length { announced: u64, remaining: u64, max: u64 },
    Chunked(ChunkedDecoder),
    UntilClose { left: u64 },
}
