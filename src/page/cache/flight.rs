//! One call that several pages wait for.
//!
//! It belongs to none of them: who leaves, or has no time left, takes nothing from the others.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::store::Key;

/// A call on its way, and who waits for what comes of it.
pub(super) struct Flight<T> {
    key: Box<[u8]>,
    /// When it was begun.
    pub(super) begun: Instant,
    outcome: RefCell<Option<T>>,
    waiters: RefCell<Waiters>,
}

#[derive(Default)]
struct Waiters {
    /// A place each; none for one that is free.
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl<T: Clone> Flight<T> {
    pub(super) fn new(key: &Key<'_>, begun: Instant) -> Rc<Self> {
        let (outcome, waiters) = (RefCell::default(), RefCell::default());
        Rc::new(Self { key: key.bytes.into(), begun, outcome, waiters })
    }

    /// Whether this is what the call asks for.
    pub(super) fn is_for(&self, key: &Key<'_>) -> bool {
        *self.key == *key.bytes
    }

    /// How many wait.
    pub(super) fn waiters(&self) -> usize {
        let waiters = self.waiters.borrow();
        waiters.places.len() - waiters.free.len()
    }

    /// Tells all who wait what came of it.
    pub(super) fn end(&self, outcome: T) {
        *self.outcome.borrow_mut() = Some(outcome);
        let places = {
            let mut waiters = self.waiters.borrow_mut();
            waiters.places.iter_mut().map(Option::take).collect::<Vec<_>>()
        };
        places.into_iter().flatten().for_each(Waker::wake);
    }

    /// Waits for what comes of it. Counts as one who waits from now on.
    pub(super) fn landing(self: &Rc<Self>) -> Landing<T> {
        let mut waiters = self.waiters.borrow_mut();
        let place = waiters.free.pop().unwrap_or_else(|| {
            waiters.places.push(None);
            waiters.places.len() - 1
        });
        Landing { flight: Rc::clone(self), place }
    }
}

/// See [`Flight::landing`].
pub(super) struct Landing<T> {
    flight: Rc<Flight<T>>,
    place: usize,
}

impl<T: Clone> Future for Landing<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let Some(outcome) = &*self.flight.outcome.borrow() {
            return Poll::Ready(outcome.clone());
        }
        let mut waiters = self.flight.waiters.borrow_mut();
        if let Some(place) = waiters.places.get_mut(self.place)
            && !place.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *place = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        let mut waiters = self.flight.waiters.borrow_mut();
        let waker = waiters.places.get_mut(self.place).and_then(Option::take);
        waiters.free.push(self.place);
        drop(waiters);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_wait_are_told_and_who_left_counts_no_more() {
        let flight = Flight::new(&Key::new(b"a"), Instant::now());
        let mut context = Context::from_waker(Waker::noop());
        let (mut one, two) = (flight.landing(), flight.landing());
        assert_eq!(flight.waiters(), 2);
        assert!(Pin::new(&mut one).poll(&mut context).is_pending());
        drop(two);
        assert_eq!(flight.waiters(), 1);
        let mut three = flight.landing();
        assert_eq!(flight.waiters(), 2);
        flight.end(7);
        assert_eq!(Pin::new(&mut one).poll(&mut context), Poll::Ready(7));
        assert_eq!(Pin::new(&mut three).poll(&mut context), Poll::Ready(7));
    }
}
