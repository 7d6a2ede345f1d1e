//! Those who wait for their turn to do long work, first come first served, and how much of it may
//! be done before the loop looks at its sockets again. No clock, no task: whoever has long work to
//! do in turns says when a stint begins, and how long each piece took.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A line of those who wait, and what is left of the stint.
#[derive(Default)]
pub(crate) struct Turns {
    line: RefCell<VecDeque<Rc<Place>>>,
    /// None while there are no stints.
    left: Cell<Option<Duration>>,
    /// Who begins the next stint, and waits for the end of this one.
    keeper: Cell<Option<Waker>>,
}

/// A place in the line.
pub(crate) struct Place {
    since: Instant,
    called: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Turns {
    /// Whether stints are being kept.
    pub(crate) fn are_kept(&self) -> bool {
        self.left.get().is_some()
    }

    /// Begins a stint of so much time.
    pub(crate) fn begin(&self, stint: Duration) {
        self.left.set(Some(stint));
        self.call_next();
    }

    /// Whether the stint is used up.
    pub(crate) fn is_used_up(&self) -> bool {
        self.left.get().is_none_or(|left| left.is_zero())
    }

    /// Waits until it is.
    pub(crate) fn used_up(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_used_up() {
            return Poll::Ready(());
        }
        self.keeper.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Ends stints. Those who wait are forgotten.
    pub(crate) fn end(&self) {
        self.left.set(None);
        // Dropped when the line is not borrowed any more.
        drop(self.line.take());
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.line.borrow().len()
    }

    /// Since when the first one does.
    pub(crate) fn first_since(&self) -> Option<Instant> {
        self.line.borrow().front().map(|place| place.since)
    }

    /// A place at the end of the line; whoever drops it has left.
    pub(crate) fn enter(&self, now: Instant) -> Rc<Place> {
        let place = Rc::new(Place { since: now, called: Cell::default(), waker: Cell::default() });
        self.line.borrow_mut().push_back(Rc::clone(&place));
        self.call_next();
        place
    }

    /// Somebody's turn is over, and took so long.
    pub(crate) fn took(&self, used: Duration) {
        self.left.set(self.left.get().map(|left| left.saturating_sub(used)));
        self.call_next();
    }

    /// Calls who is next, while the stint lasts.
    fn call_next(&self) {
        if self.is_used_up() {
            if let Some(keeper) = self.keeper.take() {
                keeper.wake();
            }
            return;
        }
        let mut line = self.line.borrow_mut();
        // One that only the line holds has nobody waiting for it any more.
        let next = std::iter::from_fn(|| line.pop_front()).find(|one| Rc::strong_count(one) > 1);
        drop(line);
        if let Some(place) = next {
            place.called.set(true);
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Place {
    /// Waits for the turn.
    pub(crate) fn called(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| match self.called.get() {
            true => Poll::Ready(()),
            false => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
    }
}
