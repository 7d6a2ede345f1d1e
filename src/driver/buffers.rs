//! A worker's buffers, lent and taken back, so that the request path allocates none.

use std::cell::RefCell;
use std::rc::Rc;

use crate::limits;

/// A worker's free list of buffers. A clone is the same list.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Rc<RefCell<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty buffer, with whatever room its last use left it.
    pub fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back for reuse, unless there are enough or it has grown too large to keep.
    pub fn put(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > limits::BUFFER_KEPT_BYTES_MAX {
            return;
        }
        let mut kept = self.0.borrow_mut();
        if kept.len() < limits::BUFFERS_KEPT_MAX {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_with_its_room() {
        let buffers = Buffers::default();
        buffers.put(b"secret of one visitor".to_vec());
        let buffer = buffers.take();
        assert!(buffer.is_empty());
        assert!(buffer.capacity() >= 21);
        assert_eq!(buffers.take().capacity(), 0);
    }

    #[test]
    fn a_buffer_that_grew_too_large_and_one_too_many_are_given_back() {
        let buffers = Buffers::default();
        buffers.put(Vec::with_capacity(limits::BUFFER_KEPT_BYTES_MAX + 1));
        assert_eq!(buffers.take().capacity(), 0);
        for _ in 0..limits::BUFFERS_KEPT_MAX + 1 {
            buffers.put(Vec::with_capacity(8));
        }
        assert_eq!(buffers.0.borrow().len(), limits::BUFFERS_KEPT_MAX);
    }
}
