//! The chunked transfer coding, taken off in place (RFC 9112 section 7.1).
//!
//! Stricter than the RFC where it leaves room: CRLF only, white space by an extension only, and
//! trailers are checked and dropped, never merged (section 7.1.2).

use super::{ParseError, Progress, octet};
use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// Takes the framing off a chunked body, however the bytes arrive.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Of the chunk at hand: the size read so far, then what is missing of its data.
    remaining: u64,
    /// Of the chunk-size line or the trailer section at hand.
    line_bytes: usize,
    /// What the body may still grow by.
    body_bytes_left: u64,
}

impl ChunkedDecoder {
    /// A decoder at the start of a body of at most `body_bytes_max` bytes.
    pub fn new(body_bytes_max: u64) -> Self {
        Self {
            state: State::SizeStart,
            remaining: 0,
            line_bytes: 0,
            body_bytes_left: body_bytes_max,
        }
    }

    /// Decodes `buffer[from..]`, where `from` is the end of what was decoded before. The data
    /// moves down to `from` and ends at [`Progress::end`]. Unless the body is done, the buffer
    /// ends there too; if it is, the bytes that follow the body stand from there on.
    ///
    /// # Errors
    /// When the framing is malformed or over a limit; the buffer's bytes from `from` on are then
    /// of no use.
    pub fn decode(&mut self, buffer: &mut Vec<u8>, from: usize) -> Result<Progress, ParseError> {
        let length = buffer.len();
        let mut end = from.min(length);
        let mut read = end;
        while self.state != State::Done {
            let input = buffer.get(read..).unwrap_or_default();
            let Some(&byte) = input.first() else {
                break;
            };
            if self.state != State::Data {
                self.step(byte)?;
                read += 1;
                continue;
            }
            let run = usize::try_from(self.remaining).map_or(input.len(), |n| n.min(input.len()));
            if read != end {
                buffer.copy_within(read..read + run, end);
            }
            read += run;
            end += run;
            self.remaining -= run as u64;
            if self.remaining == 0 {
                self.state = State::DataCr;
            }
        }
        if read != end {
            buffer.copy_within(read..length, end);
            buffer.truncate(end + (length - read));
        }
        Ok(Progress { end, done: self.is_done() })
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The bytes that must come at least, as far as is known.
    pub(super) fn missing(&self) -> u64 {
        match self.state {
            State::Data => self.remaining.saturating_add(LAST_CHUNK),
            State::Done => 0,
            _ => LAST_CHUNK,
        }
    }

    /// Takes one byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), ParseError> {
        self.state = match self.state {
            State::SizeStart | State::Size | State::SizePadding => self.size(byte)?,
            State::Extension => {
                self.count(CHUNK_LINE_BYTES_MAX, ParseError::ChunkLineTooLong)?;
                match byte {
                    b'\r' => State::SizeLf,
                    byte if octet::is_field_value(byte) => State::Extension,
                    _ => return Err(ParseError::ChunkExtension),
                }
            }
            State::SizeLf => self.size_end(byte)?,
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => State::SizeStart,
            State::DataCr | State::DataLf => return Err(ParseError::ChunkEnd),
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => self.trailer(byte)?,
            State::Data | State::Done => self.state,
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<State, ParseError> {
        if self.state == State::SizeStart {
            (self.remaining, self.line_bytes) = (0, 0);
        }
        self.count(CHUNK_LINE_BYTES_MAX, ParseError::ChunkLineTooLong)?;
        match (octet::hex(byte), byte) {
            (Some(digit), _) if self.state != State::SizePadding => {
                let size = self.remaining.checked_mul(16).ok_or(ParseError::ChunkSize)?;
                self.remaining = size | u64::from(digit);
                Ok(State::Size)
            }
            (None, b'\r') if self.state == State::Size => Ok(State::SizeLf),
            (None, b';') if self.state != State::SizeStart => Ok(State::Extension),
            (None, b' ' | b'\t') if self.state != State::SizeStart => Ok(State::SizePadding),
            _ => Err(ParseError::ChunkSize),
        }
    }

    fn size_end(&mut self, byte: u8) -> Result<State, ParseError> {
        if byte != b'\n' {
            return Err(ParseError::LineEnding);
        }
        if self.remaining == 0 {
            self.line_bytes = 0;
            return Ok(State::TrailerStart);
        }
        let left = self.body_bytes_left.checked_sub(self.remaining);
        self.body_bytes_left = left.ok_or(ParseError::BodyTooLong)?;
        Ok(State::Data)
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ParseError> {
        self.count(TRAILER_BYTES_MAX, ParseError::TrailerTooLong)?;
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, byte) if octet::is_tchar(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if octet::is_field_value(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(ParseError::Trailer),
        }
    }

    fn count(&mut self, max: usize, error: ParseError) -> Result<(), ParseError> {
        self.line_bytes += 1;
        if self.line_bytes > max { Err(error) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size: there must be one.
    SizeStart,
    Size,
    /// White space after a size: an extension must follow (RFC 9112 section 7.1.1).
    SizePadding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// CRLF after a chunk, then `0`, CRLF, CRLF.
const LAST_CHUNK: u64 = 7;
