//! Giving way: letting others go first, and the loop look at what has come.
//!
//! A loop looks at its sockets when no task is ready any more, and a task that lets others go first
//! is ready all the while. Two of them that do nothing else would keep out all who wait for the
//! network or for a timer. So after so many times those who give way wait until the loop has
//! looked, all of them together, and it costs each of them next to nothing.
//!
//! On epoll a loop takes what has come from the network while tasks are ready, but looks at no
//! timer. So it looks twice: by the second time all who give way wait for that, and it is idle.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::limits::GIVE_WAYS_MAX;

use super::Driver;
use super::looks::Looks;

thread_local! {
    static WAYS: Ways = const { Ways::new() };
}

/// How this thread's tasks give way.
struct Ways {
    /// How often they have since the loop looked.
    given: Cell<u32>,
    /// How often it looked for those who wait for that.
    looks: Cell<u64>,
    /// Who waits for it.
    waiting: RefCell<Vec<Waker>>,
    /// Whether anybody does: then all who give way wait with them.
    is_awaited: Cell<bool>,
    /// Whether there is a task that looks.
    is_kept: Cell<bool>,
    keeper: Cell<Option<Waker>>,
}

impl Ways {
    const fn new() -> Self {
        Self {
            given: Cell::new(0),
            looks: Cell::new(0),
            waiting: RefCell::new(Vec::new()),
            is_awaited: Cell::new(false),
            is_kept: Cell::new(false),
            keeper: Cell::new(None),
        }
    }

    fn poll_wanted(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_awaited.get() {
            return Poll::Ready(());
        }
        self.keeper.set(Some(context.waker().clone()));
        Poll::Pending
    }

    fn looked(&self) {
        self.given.set(0);
        self.is_awaited.set(false);
        self.looks.set(self.looks.get().wrapping_add(1));
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Lets all tasks that are ready go first; and what has come from the network or by a timer, now
/// and then: whoever does this in a loop keeps nobody waiting for ever.
pub async fn give_way<D: Driver>() {
    let given = WAYS.with(|ways| ways.given.replace(ways.given.get().saturating_add(1)));
    if given < GIVE_WAYS_MAX && !is_look_awaited() || D::IS_SIMULATED {
        return let_others_go::<D>().await;
    }
    let looks = WAYS.with(|ways| ways.looks.get());
    poll_fn(|context| {
        if WAYS.with(|ways| ways.looks.get()) != looks {
            return Poll::Ready(());
        }
        wake_after_look::<D>(context.waker());
        Poll::Pending
    })
    .await;
}

/// Lets all tasks that are ready go first. A task that only woke itself would go on at once, on
/// some loops.
pub(super) async fn let_others_go<D: Driver>() {
    let mut given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        D::spawn(async move { waker.wake() });
        Poll::Pending
    })
    .await;
}

/// Whether somebody waits for the loop to look.
pub(super) fn is_look_awaited() -> bool {
    WAYS.with(|ways| ways.is_awaited.get())
}

/// Wakes that once all who are ready have had their turn, and the loop has looked.
pub(super) fn wake_after_look<D: Driver>(waker: &Waker) {
    WAYS.with(|ways| {
        ways.waiting.borrow_mut().push(waker.clone());
        ways.is_awaited.set(true);
        if let Some(keeper) = ways.keeper.take() {
            keeper.wake();
        } else if !ways.is_kept.replace(true) {
            D::spawn(keep::<D>(Kept));
        }
    });
}

/// Looks whenever somebody waits for that, for as long as the loop runs.
async fn keep<D: Driver>(_kept: Kept) {
    let mut looks = Looks::<D>::new();
    loop {
        poll_fn(|context| WAYS.with(|ways| ways.poll_wanted(context))).await;
        looks.look().await;
        looks.look().await;
        WAYS.with(Ways::looked);
    }
}

/// That there is one who looks. Those who wait are forgotten with it: their loop is at its end.
struct Kept;

impl Drop for Kept {
    fn drop(&mut self) {
        // An error is a thread at its end.
        let _ = WAYS.try_with(|ways| {
            ways.is_kept.set(false);
            ways.given.set(0);
            ways.is_awaited.set(false);
            drop(ways.keeper.take());
            drop(ways.waiting.take());
        });
    }
}
