//! Who sleeps on a loop, and until when.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

thread_local! {
    static SLEEPERS: RefCell<Sleepers> = const { RefCell::new(Sleepers::new()) };
}

struct Sleepers {
    /// By the time, and by who was first.
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Sleepers {
    const fn new() -> Self {
        Self { wakers: BTreeMap::new(), next: 0 }
    }

    fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        let first = self.wakers.first_entry()?;
        if first.key().0 > now { None } else { Some(first.remove()) }
    }
}

/// Sleeps.
pub(super) fn sleep(time: Duration) -> Sleep {
    let now = Instant::now();
    // As good as for ever.
    let until = now.checked_add(time).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
    Sleep { until, number: None }
}

/// When the first sleeper is to be woken.
pub(super) fn first() -> Option<Instant> {
    SLEEPERS.with_borrow(|sleepers| sleepers.wakers.keys().next().map(|(until, _)| *until))
}

/// Wakes those whose time has come.
pub(super) fn wake(now: Instant) {
    while let Some(waker) = SLEEPERS.with_borrow_mut(|sleepers| sleepers.pop_due(now)) {
        waker.wake();
    }
}

/// One who sleeps.
pub(super) struct Sleep {
    until: Instant,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let waker = context.waker().clone();
        let before = SLEEPERS.with_borrow_mut(|sleepers| {
            let number = match self.number {
                // Whoever is not there any more was woken.
                Some(number) if !sleepers.wakers.contains_key(&(until, number)) => return None,
                Some(number) => number,
                None => {
                    sleepers.next += 1;
                    sleepers.next
                }
            };
            self.number = Some(number);
            Some(sleepers.wakers.insert((until, number), waker))
        });
        if before.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let key = (self.until, number);
        // An error is a thread at its end.
        let waker = SLEEPERS.try_with(|sleepers| sleepers.borrow_mut().wakers.remove(&key));
        drop(waker);
    }
}
