//! Who waits for something that is short: first come, first served, and not too many.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::limits;

/// A queue of tasks.
#[derive(Debug, Default)]
pub(super) struct Queue(RefCell<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    queue: VecDeque<(u64, Option<Waker>)>,
    next_number: u64,
}

impl Queue {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().queue.is_empty()
    }

    /// Waits for its turn, and then until `take` gives something. None when too many wait already.
    pub(super) async fn wait<T>(&self, take: impl Fn() -> Option<T>) -> Option<T> {
        let ticket = Ticket { queue: self, number: self.enter()? };
        poll_fn(|context| match ticket.is_first().then(&take).flatten() {
            Some(taken) => Poll::Ready(Some(taken)),
            None => {
                ticket.sleep(context.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// Wakes the first that sleeps. It stays in the queue until it has what it waits for.
    pub(super) fn wake_next(&self) {
        let waker = self.0.borrow_mut().queue.iter_mut().find_map(|(_, waker)| waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn enter(&self) -> Option<u64> {
        let mut waiters = self.0.borrow_mut();
        if waiters.queue.len() >= limits::UPSTREAM_WAITERS_MAX {
            return None;
        }
        let number = waiters.next_number;
        waiters.next_number += 1;
        waiters.queue.push_back((number, None));
        Some(number)
    }
}

/// A place in the queue, given up on drop.
struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Ticket<'_> {
    fn is_first(&self) -> bool {
        let waiters = self.queue.0.borrow();
        waiters.queue.front().is_some_and(|(number, _)| *number == self.number)
    }

    fn sleep(&self, waker: &Waker) {
        let mut waiters = self.queue.0.borrow_mut();
        if let Some((_, slot)) = waiters.queue.iter_mut().find(|(n, _)| *n == self.number) {
            *slot = Some(waker.clone());
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut waiters = self.queue.0.borrow_mut();
        let woken = waiters.queue.iter().any(|(n, waker)| *n == self.number && waker.is_none());
        waiters.queue.retain(|(n, _)| *n != self.number);
        drop(waiters);
        // One that was woken and left without taking passes the chance on; one that took does so
        // too, which costs the next a look and loses nothing.
        if woken {
            self.queue.wake_next();
        }
    }
}

/// A bound on what is in flight, with a queue before it.
#[derive(Debug)]
pub(super) struct Gate {
    max: usize,
    inside: Cell<usize>,
    queue: Queue,
}

/// A place behind a gate, given back on drop.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Gate);

impl Gate {
    pub(super) fn new(max: usize) -> Self {
        Self { max, inside: Cell::new(0), queue: Queue::default() }
    }

    /// A place, if one is free and nobody waits for it.
    pub(super) fn try_enter(&self) -> Option<Pass<'_>> {
        self.queue.is_empty().then(|| self.take()).flatten()
    }

    /// Waits for a place. None when too many wait already.
    pub(super) async fn enter(&self) -> Option<Pass<'_>> {
        self.queue.wait(|| self.take()).await
    }

    fn take(&self) -> Option<Pass<'_>> {
        (self.inside.get() < self.max).then(|| {
            self.inside.set(self.inside.get() + 1);
            Pass(self)
        })
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        debug_assert!(self.0.inside.get() > 0);
        self.0.inside.set(self.0.inside.get().saturating_sub(1));
        self.0.queue.wake_next();
    }
}
