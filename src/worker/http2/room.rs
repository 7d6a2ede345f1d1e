//! What the answers of one connection may hold at once. A client that opens no window, or reads
//! nothing, would otherwise hold as many pages in memory, and as many files open, as it may have
//! requests open; and it costs it nothing. Its other requests wait here, before they are begun.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::limits;

/// The room of one connection.
#[derive(Debug, Default)]
pub(in crate::worker) struct Room {
    /// Bodies that are not sent yet, bytes: all of one until the last of it is.
    unsent: Cell<usize>,
    /// How many these are.
    bodies: Cell<usize>,
    /// Files that may be open.
    files: Cell<usize>,
    /// Requests that wait: no more than a connection may have open.
    waiting: RefCell<Vec<Waker>>,
}

/// A body that is not sent yet, until dropped.
#[derive(Debug)]
pub(super) struct Unsent {
    room: Rc<Room>,
    bytes: usize,
}

/// A file that may be open, until dropped.
#[derive(Debug)]
pub(super) struct OpenFile(Rc<Room>);

impl Room {
    /// Whether one more body may be made. Beside a single one, however large, there may always be
    /// another: what a page needs is asked for while the page is still on its way.
    pub(in crate::worker) fn is_left(&self) -> bool {
        self.unsent.get() < limits::HTTP2_UNSENT_BYTES_MAX || self.bodies.get() < 2
    }

    /// Waits until one more body may be made.
    pub(in crate::worker) fn poll_left(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_left() {
            return Poll::Ready(());
        }
        self.wait(context);
        Poll::Pending
    }

    /// Waits until one more file may be opened.
    pub(super) fn poll_file(self: &Rc<Self>, context: &Context<'_>) -> Poll<OpenFile> {
        if self.files.get() < limits::HTTP2_FILES_MAX {
            self.files.set(self.files.get() + 1);
            return Poll::Ready(OpenFile(Rc::clone(self)));
        }
        self.wait(context);
        Poll::Pending
    }

    /// A body of so many bytes, whatever the bound: who has made it has waited before.
    pub(super) fn hold(self: &Rc<Self>, bytes: usize) -> Unsent {
        self.unsent.set(self.unsent.get().saturating_add(bytes));
        self.bodies.set(self.bodies.get() + 1);
        Unsent { room: Rc::clone(self), bytes }
    }

    fn wait(&self, context: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
    }

    /// Has all that wait look again: there may be room for some of them.
    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let was_left = self.room.is_left();
        self.room.unsent.set(self.room.unsent.get().saturating_sub(self.bytes));
        self.room.bodies.set(self.room.bodies.get().saturating_sub(1));
        if !was_left && self.room.is_left() {
            self.room.wake();
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.files.set(self.0.files.get().saturating_sub(1));
        self.0.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HTTP2_FILES_MAX, HTTP2_UNSENT_BYTES_MAX};

    #[test]
    fn who_waits_goes_on_when_there_is_room() {
        let room = Rc::new(Room::default());
        let context = Context::from_waker(Waker::noop());
        let most = room.hold(HTTP2_UNSENT_BYTES_MAX - 1);
        assert!(room.poll_left(&context).is_ready());
        let last = room.hold(1_000_000);
        assert!(room.poll_left(&context).is_pending() && room.waiting.borrow().len() == 1);
        drop(most);
        assert!(room.poll_left(&context).is_ready() && room.waiting.borrow().is_empty());
        drop(last);
        let large = room.hold(2 * HTTP2_UNSENT_BYTES_MAX);
        assert!(room.poll_left(&context).is_ready());
        let little = room.hold(1);
        assert!(room.poll_left(&context).is_pending());
        drop((little, large));
        let open = || room.poll_file(&context);
        let mut files: Vec<_> = (0..HTTP2_FILES_MAX).map(|_| open()).collect();
        assert!(files.iter().all(Poll::is_ready) && open().is_pending());
        files.pop();
        assert!(open().is_ready() && room.unsent.get() == 0);
    }
}
