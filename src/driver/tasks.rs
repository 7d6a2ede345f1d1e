//! The tasks of a loop that is about to end, dropped.
//!
//! monoio drops a task only when it is polled to its end: one that waits for the network when the
//! runtime goes is leaked, and with it the sockets it holds. A listener would go on taking
//! connections that nobody ever answers. So the loop keeps hold of what its tasks hold, and lets
//! go of it at its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::FutureExt;

use super::clock::Stretch;

thread_local! {
    static TASKS: RefCell<BTreeMap<u64, Rc<dyn Holder>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A future whose work this thread can still drop when the runtime no longer would.
pub(super) struct Task<F> {
    work: Rc<Work<F>>,
    number: u64,
}

impl<F: Future<Output = ()> + 'static> Task<F> {
    /// A task of this thread's loop.
    pub(super) fn new(future: F) -> Self {
        let work = Rc::new(Work(RefCell::new(Some(Box::pin(future)))));
        let number = NEXT.get();
        NEXT.set(number.wrapping_add(1));
        let holder: Rc<dyn Holder> = Rc::<Work<F>>::clone(&work);
        TASKS.with_borrow_mut(|tasks| tasks.insert(number, holder));
        Self { work, number }
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let _stretch = Stretch::begin();
        let mut work = self.work.0.borrow_mut();
        let Some(future) = work.as_mut() else { return Poll::Ready(()) };
        // A panic is this task's own. Whoever logs panics has been told of it.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let work = work.take();
            // What is dropped may want to look into the list of tasks, as `drop_all` says.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
            Poll::Ready(())
        })
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        // The thread may be at its end already, and the list of its tasks gone.
        let _ = TASKS.try_with(|tasks| tasks.borrow_mut().remove(&self.number));
    }
}

/// Runs the main task of a loop, and lets go of all others when it ends, by a panic too.
pub(super) async fn run_main<F: Future>(main: impl FnOnce() -> F) -> F::Output {
    let output = AssertUnwindSafe(async { main().await }).catch_unwind().await;
    drop_all();
    output.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Drops the work of all tasks of this thread. Called inside the loop, as what the tasks hold may
/// need it to be given back, and outside of any task.
fn drop_all() {
    // One at a time and never while the list is borrowed: what a task drops may end another.
    while let Some((_, task)) = TASKS.with_borrow_mut(BTreeMap::pop_first) {
        task.let_go();
    }
}

/// The work of a task, until it is let go of.
struct Work<F>(RefCell<Option<Pin<Box<F>>>>);

trait Holder {
    fn let_go(&self);
}

impl<F> Holder for Work<F> {
    fn let_go(&self) {
        let work = self.0.borrow_mut().take();
        drop(work);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn what_a_waiting_task_holds_is_dropped_and_the_task_then_ends() {
        let held = Rc::new(());
        let in_task = Rc::clone(&held);
        let mut task = Box::pin(Task::new(async move {
            std::future::pending::<()>().await;
            drop(in_task);
        }));
        let mut context = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut context).is_pending());
        drop_all();
        assert_eq!(Rc::strong_count(&held), 1);
        assert!(task.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_panic_is_one_tasks_own_and_lets_go_of_what_that_held() {
        let held = Rc::new(());
        let in_task = Rc::clone(&held);
        let mut task = Box::pin(Task::new(async move {
            let _held = in_task;
            panic!("a panic that the test asked for");
        }));
        let mut context = Context::from_waker(Waker::noop());
        assert!(task.as_mut().poll(&mut context).is_ready());
        assert_eq!(Rc::strong_count(&held), 1);
        assert!(task.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_task_that_is_done_is_forgotten() {
        drop_all();
        drop(Task::new(async {}));
        assert!(TASKS.with_borrow(BTreeMap::is_empty));
    }
}
