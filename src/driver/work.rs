//! The work of a task. A panic in it is that task's own: no loop is told of it, whether the work
//! panics while it is done or when it is dropped, which may be anywhere in the loop.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::clock::Stretch;
use super::tally;

/// Work until it is done, has failed, or is let go of.
pub(super) struct Work<F: ?Sized>(Option<Pin<Box<F>>>);

#[cfg(any(feature = "monoio", feature = "epoll", feature = "tokio-uring"))]
impl<F: Future<Output = ()>> Work<F> {
    pub(super) fn new(future: F) -> Self {
        Self::boxed(Box::pin(future))
    }
}

impl<F: Future<Output = ()> + ?Sized> Work<F> {
    pub(super) fn boxed(future: Pin<Box<F>>) -> Self {
        Self(Some(future))
    }

    /// Goes on with it. Work that has panicked is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let _stretch = Stretch::begin();
        let Some(future) = &mut self.0 else { return Poll::Ready(()) };
        // Whoever logs panics has been told of it.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            caught(panic);
            let_go(self.0.take());
            Poll::Ready(())
        })
    }
}

#[cfg(any(feature = "monoio", feature = "epoll"))]
impl<F> Work<F> {
    /// Takes out what is left of it.
    pub(super) fn take(&mut self) -> Option<Pin<Box<F>>> {
        self.0.take()
    }
}

impl<F: ?Sized> Drop for Work<F> {
    fn drop(&mut self) {
        let_go(self.0.take());
    }
}

/// Drops something. A panic in that ends here, and is counted.
pub(super) fn let_go<T>(what: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(what))) {
        caught(panic);
    }
}

/// Counts a panic. What that carries may be anything, and may panic when it is dropped.
fn caught(panic: Box<dyn Any + Send>) {
    tally::panicked();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}
