//! A response's body on its way out: the buffer it was made in, which h2 cuts into frames as the
//! peer's windows allow, and which goes back to the worker when the last of it is taken.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Buf;

use crate::driver::buffers::Buffers;

use super::room::{Room, Unsent};

/// A body, and how far it has gone. h2 keeps it until it has written all of it, or the stream ends.
pub(super) struct Body {
    buffer: Vec<u8>,
    at: usize,
    buffers: Buffers,
    progress: Rc<Progress>,
    _unsent: Unsent,
}

/// What is left of a body.
#[derive(Default)]
pub(super) struct Progress {
    left: Cell<usize>,
    /// Whether nobody has the body any more.
    is_dropped: Cell<bool>,
    /// Who waits until there is no more than so much left.
    waiting: Cell<Option<(usize, Waker)>>,
}

impl Body {
    /// The body in `buffer[from..]`, of an answer on the connection with this room.
    pub(super) fn new(
        buffer: Vec<u8>,
        from: usize,
        buffers: Buffers,
        room: &Rc<Room>,
    ) -> (Self, Rc<Progress>) {
        let at = from.min(buffer.len());
        let progress = Rc::new(Progress::default());
        progress.left.set(buffer.len() - at);
        let unsent = room.hold(buffer.len() - at);
        let body = Self { buffer, at, buffers, progress: Rc::clone(&progress), _unsent: unsent };
        (body, progress)
    }
}

impl Buf for Body {
    fn remaining(&self) -> usize {
        self.buffer.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.remaining());
        self.at = self.buffer.len().min(self.at + bytes);
        self.progress.left.set(self.remaining());
        self.progress.wake();
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.buffers.put(std::mem::take(&mut self.buffer));
        self.progress.is_dropped.set(true);
        self.progress.wake();
    }
}

impl Progress {
    /// What has not been written yet, bytes.
    pub(super) fn left(&self) -> usize {
        self.left.get()
    }

    /// Waits until no more than so much is left; false when the body was given up before.
    pub(super) fn poll_left(&self, left_max: usize, context: &Context<'_>) -> Poll<bool> {
        if self.left.get() <= left_max {
            return Poll::Ready(true);
        }
        if self.is_dropped.get() {
            return Poll::Ready(false);
        }
        self.waiting.set(Some((left_max, context.waker().clone())));
        Poll::Pending
    }

    fn wake(&self) {
        let Some((left_max, waker)) = self.waiting.take() else { return };
        if self.left.get() <= left_max || self.is_dropped.get() {
            waker.wake();
        } else {
            self.waiting.set(Some((left_max, waker)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_when_enough_has_gone_and_the_buffer_comes_back() {
        let buffers = Buffers::default();
        let room = Rc::default();
        let (mut body, progress) = Body::new(b"headpage".to_vec(), 4, buffers.clone(), &room);
        let context = Context::from_waker(Waker::noop());
        assert_eq!((body.chunk(), progress.left()), (&b"page"[..], 4));
        assert!(progress.poll_left(1, &context).is_pending());
        body.advance(2);
        assert!(progress.poll_left(1, &context).is_pending());
        body.advance(1);
        assert_eq!(progress.poll_left(1, &context), Poll::Ready(true));
        drop(body);
        assert_eq!(progress.poll_left(0, &context), Poll::Ready(false));
        assert_eq!(buffers.take().capacity(), 8);
    }
}
