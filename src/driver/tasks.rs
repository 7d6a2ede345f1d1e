//! The tasks of a loop that is about to end, dropped.
//!
//! monoio drops a task only when it is polled to its end: one that waits for the network when the
//! runtime goes is leaked, and with it the sockets it holds. A listener would go on taking
//! connections that nobody ever answers. So the loop keeps hold of what its tasks hold, and lets
//! go of it at its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::FutureExt;

use super::work::{Work, let_go};

thread_local! {
    static TASKS: RefCell<BTreeMap<u64, Rc<dyn Holder>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A future whose work this thread can still drop when the runtime no longer would.
pub(super) struct Task<F> {
    work: Rc<RefCell<Work<F>>>,
    number: u64,
}

impl<F: Future<Output = ()> + 'static> Task<F> {
    /// A task of this thread's loop.
    pub(super) fn new(future: F) -> Self {
        let work = Rc::new(RefCell::new(Work::new(future)));
        let number = NEXT.get();
        NEXT.set(number.wrapping_add(1));
        let holder: Rc<dyn Holder> = Rc::<RefCell<Work<F>>>::clone(&work);
        TASKS.with_borrow_mut(|tasks| tasks.insert(number, holder));
        Self { work, number }
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.work.borrow_mut().poll(context)
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

/// Lets go of all tasks, where it was not the main one that has unwound, but the loop from under
/// it. Run by that loop once more.
pub(super) async fn run_last() {
    drop_all();
}

/// Drops the work of all tasks of this thread. Called inside the loop, as what the tasks hold may
/// need it to be given back, and outside of any task.
fn drop_all() {
    // One at a time and never while the list is borrowed: what a task drops may end another.
    while let Some((_, task)) = TASKS.with_borrow_mut(BTreeMap::pop_first) {
        task.let_go();
    }
}

trait Holder {
    fn let_go(&self);
}

impl<F> Holder for RefCell<Work<F>> {
    fn let_go(&self) {
        let work = self.borrow_mut().take();
        let_go(work);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may block")]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::panic;
    use std::task::Waker;

    use super::*;
    use crate::driver::{Driver, give_way, tally};

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

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic::panic_any(Again);
        }
    }

    /// What a panic carries.
    struct Again;

    impl Drop for Again {
        fn drop(&mut self) {
            panic!("a panic that the test asked for");
        }
    }

    #[test]
    fn a_panic_in_the_end_of_a_task_is_its_own_too_and_is_counted() {
        let before = tally::done().panics;
        let holds = || {
            let held = PanicsWhenDropped;
            Task::new(async move { drop(held) })
        };
        drop(holds());
        let kept = holds();
        drop_all();
        drop(kept);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Box::pin(holds()).as_mut().poll(&mut context).is_ready());
        assert_eq!(tally::done().panics - before, 3);
    }

    /// Whether a loop that unwinds from under its tasks lets go of their sockets.
    fn unwinds<D: Driver>() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let run = AssertUnwindSafe(|| {
            D::run(|| async move {
                let listener = D::listen(listener).unwrap();
                D::spawn(async move { drop(D::accept(&listener).await) });
                give_way::<D>().await;
                // Not one of ours, which would not tell the loop.
                drop(monoio::spawn(async { panic!("a panic that the test asked for") }));
                std::future::pending::<()>().await;
            })
        });
        assert!(panic::catch_unwind(run).is_err());
        assert!(TASKS.with_borrow(BTreeMap::is_empty));
        // The kernel takes a ring apart a moment later.
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
    }

    #[cfg(feature = "monoio")]
    #[test]
    fn monoio_unwinds() {
        unwinds::<crate::driver::monoio::MonoioUring>();
    }

    #[cfg(feature = "epoll")]
    #[test]
    fn epoll_unwinds() {
        unwinds::<crate::driver::epoll::Epoll>();
    }

    #[test]
    fn a_task_that_is_done_is_forgotten() {
        drop_all();
        drop(Task::new(async {}));
        assert!(TASKS.with_borrow(BTreeMap::is_empty));
    }
}
