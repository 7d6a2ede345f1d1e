//! The body of a response in the making.

use std::io::{self, Write};

use crate::driver::buffers::Buffers;
use crate::limits::RESPONSE_HEAD_ROOM;

/// A body, appended to a buffer that has room for the head in front, so that both go out in one
/// write without being copied together. The buffer is taken when the first byte is written.
#[derive(Debug)]
pub struct Body {
    /// Empty, or the room and what comes after it.
    buffer: Vec<u8>,
    buffers: Buffers,
}

impl Body {
    /// An empty body, whose buffer will be one of these.
    pub(super) fn new(buffers: Buffers) -> Self {
        Self { buffer: Vec::new(), buffers }
    }

    /// What there is of it.
    pub fn as_slice(&self) -> &[u8] {
        self.buffer.get(RESPONSE_HEAD_ROOM..).unwrap_or_default()
    }

    /// How long it is, bytes.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing has been written, or nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes back all that was written.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Takes back what is over so many bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.buffer.truncate(bytes.saturating_add(RESPONSE_HEAD_ROOM));
    }

    /// Makes it these bytes, whatever it was.
    pub fn set(&mut self, bytes: impl AsRef<[u8]>) {
        self.clear();
        self.extend_from_slice(bytes.as_ref());
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.buffer().push(byte);
    }

    /// The buffer, to append to: its first [`RESPONSE_HEAD_ROOM`] bytes are the head's.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.is_empty() {
            self.buffer = self.buffers.take();
            self.buffer.resize(RESPONSE_HEAD_ROOM, 0);
        }
        &mut self.buffer
    }

    /// The buffer, to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.buffer();
        std::mem::take(&mut self.buffer)
    }
}

/// Writing does not fail.
impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_for_the_head_is_not_seen() {
        let mut body = Body::new(Buffers::default());
        assert_eq!((body.len(), body.is_empty(), body.as_slice()), (0, true, &b""[..]));
        body.truncate(1);
        body.clear();
        assert_eq!(body.buffer.capacity(), 0);
        body.push(b'a');
        write!(body, "bc").unwrap();
        body.extend_from_slice(b"d");
        assert_eq!((body.len(), body.as_slice()), (4, &b"abcd"[..]));
        body.truncate(9);
        body.truncate(1);
        assert_eq!(body.as_slice(), b"a");
        body.set("<p>page</p>");
        assert_eq!(body.as_slice(), b"<p>page</p>");
        assert_eq!(&body.take()[RESPONSE_HEAD_ROOM..], b"<p>page</p>");
        // Nothing of it is left for the next one, nor room for a head that is not there.
        assert_eq!(body.as_slice(), b"");
        assert_eq!(body.take().len(), RESPONSE_HEAD_ROOM);
    }
}
