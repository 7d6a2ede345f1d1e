//! What a loop asks of the kernel, counted.
//!
//! An operation is a read, a write, an accept or a connect as a task asks for it: on a ring an
//! entry in the submission queue, on epoll what is tried again when the kernel says so. It is
//! submitted when it is begun and completed when its task has the result; one whose task was
//! dropped before never is. What the loops do for themselves (their timers, wake-ups,
//! cancellations, descriptors that they close) is not counted: they show nobody their rings.
//!
//! A turn is a stretch of the loop between two waits for the kernel in which at least one operation
//! had come back; operations by turns is how much each wait brings.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

use futures_util::FutureExt;

use super::Driver;

thread_local! {
    static SUBMITTED: Cell<u64> = const { Cell::new(0) };
    static COMPLETED: Cell<u64> = const { Cell::new(0) };
    static TURNS: Cell<u64> = const { Cell::new(0) };
    static PANICS: Cell<u64> = const { Cell::new(0) };
    /// Whether this turn is counted already.
    static MARKED: Cell<bool> = const { Cell::new(true) };
    static MARKER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// What this thread's loop has done, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Operations handed to the kernel.
    pub submitted: u64,
    /// Operations that have come back.
    pub completed: u64,
    /// Turns in which some had.
    pub turns: u64,
    /// Panics of tasks, in their end too. Those of pages are caught before, and counted there.
    pub panics: u64,
}

/// What this thread's loop has done so far.
pub fn done() -> Done {
    Done {
        submitted: SUBMITTED.get(),
        completed: COMPLETED.get(),
        turns: TURNS.get(),
        panics: PANICS.get(),
    }
}

/// Counts the turns of this thread's loop, for as long as it runs.
pub fn count_turns<D: Driver>() {
    let counting = Counting;
    D::spawn(poll_fn(move |context| {
        let Counting = &counting;
        TURNS.set(TURNS.get() + 1);
        MARKED.set(false);
        MARKER.with_borrow_mut(|marker| match marker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        });
        Poll::<()>::Pending
    }));
}

/// That turns are counted. What is to be woken belongs to the loop, and is let go of with it.
struct Counting;

impl Drop for Counting {
    fn drop(&mut self) {
        // An error is a thread at its end.
        let _ = MARKED.try_with(|marked| marked.set(true));
        let _ = MARKER.try_with(|marker| drop(marker.take()));
    }
}

/// Counts an operation, begun here and done when it is.
// Not an `async fn`, which would hold the operation twice.
#[inline]
pub(super) fn operation<F: Future>(operation: F) -> impl Future<Output = F::Output> + use<F> {
    submitted();
    operation.map(|result| {
        completed();
        result
    })
}

/// An operation is handed to the kernel.
#[inline]
pub(super) fn submitted() {
    SUBMITTED.set(SUBMITTED.get() + 1);
}

/// A task has panicked.
#[cfg(any(feature = "ring", feature = "monoio", feature = "epoll", feature = "tokio-uring"))]
pub(super) fn panicked() {
    PANICS.set(PANICS.get() + 1);
}

/// What is begun and done meanwhile is the loop's own, and not counted.
pub(super) fn aside<R>(what: impl FnOnce() -> R) -> R {
    let before = (SUBMITTED.get(), COMPLETED.get());
    let result = what();
    SUBMITTED.set(before.0);
    COMPLETED.set(before.1);
    result
}

/// One has come back.
#[inline]
pub(super) fn completed() {
    COMPLETED.set(COMPLETED.get() + 1);
    if !MARKED.replace(true) {
        // Whoever counts goes to the end of the queue: once a turn, whatever else has come.
        MARKER.with_borrow(|marker| marker.iter().for_each(Waker::wake_by_ref));
    }
}
