//! A worker's timers: one coarse wheel and one task that turns it.
//!
//! A timer of the driver costs an entry in a heap or a submission to the ring, each time, and a
//! request sets several. These cost a few stores: a connection owns a [`Timer`] and sets it for
//! each wait; a deadline that moves later, or is cleared in time, touches neither a list nor the
//! driver. The price is precision. A timer never fires early, and up to
//! [`TIMER_TICK`] late.
//!
//! After a loop was away for long, as one page took long to make or the process was stopped, what
//! has come meanwhile is heard first. A runtime may give it in parts, and a timer that is due in
//! between would end waits whose answers are there.
//!
//! With nothing armed the task waits without bound, so an idle server makes no wake-ups.
//!
//! Refused: fine or ordered timers. What expires within one tick does so in no order.

#[cfg(test)]
mod tests;
mod wheel;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use self::wheel::{NEVER, Wheel};
use super::looks::Looks;
use super::ways::let_others_go;
use super::{Driver, tally};
use crate::limits::{LOOKS_MAX, LOOP_AWAY, LOOP_HEARS_MAX, TIMER_SLEEP_MAX, TIMER_TICK};

/// The timers of one worker: a handle, cheap to clone.
pub struct Timers<D: Driver> {
    shared: Rc<Shared>,
    driver: PhantomData<fn() -> D>,
}

impl<D: Driver> Timers<D> {
    /// The timers of this thread's loop, with the task that drives them. Called inside
    /// [`Driver::run`].
    pub fn start() -> Self {
        let shared = Rc::new(Shared::new(D::now()));
        D::spawn(turn::<D>(Rc::clone(&shared)));
        Self { shared, driver: PhantomData }
    }

    /// The time. It asks the driver: a cached time would be wrong by however long the loop was
    /// busy, and the 25 ns that it saves are not worth a deadline that starts in the past.
    pub fn now(&self) -> Instant {
        D::now()
    }

    /// A timer of the caller's own, to be set again and again.
    pub fn timer(&self) -> Timer<D> {
        let key = self.shared.wheel.borrow_mut().insert();
        Timer { shared: Rc::clone(&self.shared), key, driver: PhantomData }
    }

    /// Runs `future` for at most `limit` from now. See [`Timer::timeout`], which spares making a
    /// timer each time.
    pub fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<D, F> {
        let timer = self.timer();
        timer.set_after(limit);
        Limited { timer: Armed(timer), future }
    }

    /// Waits for `time` from now.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + use<D> {
        let timer = self.timer();
        timer.set_after(time);
        async move { timer.expired().await }
    }
}

impl<D: Driver> Clone for Timers<D> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared), driver: PhantomData }
    }
}

impl<D: Driver> fmt::Debug for Timers<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("driver", &D::NAME).finish_non_exhaustive()
    }
}

/// One timer, not set at first. One task waits for it at a time. Dropping it frees its entry.
pub struct Timer<D: Driver> {
    shared: Rc<Shared>,
    key: usize,
    driver: PhantomData<fn() -> D>,
}

impl<D: Driver> Timer<D> {
    /// Sets when it expires. One in the past expires at the next tick.
    pub fn set(&self, deadline: Instant) {
        self.shared.set(self.key, deadline);
    }

    /// Makes it never expire, until it is set again.
    pub fn clear(&self) {
        self.shared.wheel.borrow_mut().clear(self.key);
    }

    /// Waits until it expires, by the deadline it has then: [`Timer::set`] while this waits moves
    /// the end of the wait.
    pub fn expired(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| self.poll_expired(context))
    }

    /// Whether it has expired; if not, the task is woken when it does.
    pub fn poll_expired(&self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.poll_expired(self.key, context)
    }

    /// Runs `future` for at most `limit` from now, through this timer, which is cleared after.
    ///
    /// The future is polled first: when it is done and late at the same time, it is done.
    ///
    /// # Errors
    /// [`Elapsed`] when the time is over. The future is dropped with the returned one.
    pub fn timeout<F: Future>(
        &mut self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<'_, D, F> {
        self.set_after(limit);
        Limited { timer: Armed(self), future }
    }

    /// The same, until a point in time.
    ///
    /// # Errors
    /// [`Elapsed`] when that time has come.
    pub fn until<F: Future>(
        &mut self,
        deadline: Instant,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<'_, D, F> {
        self.set(deadline);
        Limited { timer: Armed(self), future }
    }

    /// The same, until the deadline that was set.
    ///
    /// # Errors
    /// [`Elapsed`] when that has come.
    pub fn until_expired<F: Future>(
        &mut self,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<'_, D, F> {
        Limited { timer: Armed(self), future }
    }

    fn set_after(&self, limit: Duration) {
        match D::now().checked_add(limit) {
            Some(deadline) => self.set(deadline),
            None => self.clear(),
        }
    }
}

impl<D: Driver> Drop for Timer<D> {
    fn drop(&mut self) {
        let waker = self.shared.wheel.borrow_mut().remove(self.key);
        drop(waker);
    }
}

impl<D: Driver> fmt::Debug for Timer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The time limit passed before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit passed")
    }
}

impl std::error::Error for Elapsed {}

/// A timer that is cleared when the wait is over, however it ends.
struct Armed<T: Expire>(T);

impl<T: Expire> Drop for Armed<T> {
    fn drop(&mut self) {
        self.0.disarm();
    }
}

/// What [`Limited`] needs of a timer, its own or a borrowed one.
trait Expire {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()>;
    fn disarm(&self);
}

impl<D: Driver> Expire for Timer<D> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_expired(context)
    }
    fn disarm(&self) {
        self.clear();
    }
}

impl<D: Driver> Expire for &mut Timer<D> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_expired(context)
    }
    fn disarm(&self) {
        self.clear();
    }
}

pin_project! {
    // A future with a time limit. A struct rather than an async block, which would hold the
    // inner future twice, as an argument and as a local.
    struct Limited<T: Expire, F> {
        timer: Armed<T>,
        #[pin]
        future: F,
    }
}

impl<T: Expire, F: Future> Future for Limited<T, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        this.timer.0.poll(context).map(|()| Err(Elapsed))
    }
}

/// What the handles, the timers and the task that turns the wheel share.
struct Shared {
    /// The value of an entry is the waker of the task that waits for it.
    wheel: RefCell<Wheel<Waker>>,
    start: Instant,
    /// The tick up to which the task that turns the wheel sleeps.
    sleeping_until: Cell<u64>,
    /// Whether a timer was armed for a tick before that.
    armed_earlier: Cell<bool>,
    turner: Cell<Option<Waker>>,
}

impl Shared {
    fn new(start: Instant) -> Self {
        Self {
            wheel: RefCell::new(Wheel::new()),
            start,
            sleeping_until: Cell::new(NEVER),
            armed_earlier: Cell::new(false),
            turner: Cell::new(None),
        }
    }

    fn set(&self, key: usize, deadline: Instant) {
        // Rounded up, so that it is not early. One tick below `NEVER` is centuries away.
        let due = self.elapsed_ns(deadline).div_ceil(TICK_NS);
        let tick = self.wheel.borrow_mut().set(key, due);
        if let Some(tick) = tick
            && tick < self.sleeping_until.get()
        {
            self.sleeping_until.set(tick);
            self.armed_earlier.set(true);
            if let Some(turner) = self.turner.take() {
                turner.wake();
            }
        }
    }

    fn poll_expired(&self, key: usize, context: &Context<'_>) -> Poll<()> {
        let mut wheel = self.wheel.borrow_mut();
        if wheel.expired(key) {
            return Poll::Ready(());
        }
        let place = wheel.value(key);
        if place.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let stale = place.replace(context.waker().clone());
        // A waker may be the last to hold a task, and the task may hold timers.
        drop(wheel);
        drop(stale);
        Poll::Pending
    }

    /// Expires what is due and wakes who waits for it. The vectors are the caller's, for reuse.
    fn advance(&self, now_ns: u64, expired: &mut Vec<usize>, wakers: &mut Vec<Waker>) {
        let mut wheel = self.wheel.borrow_mut();
        wheel.advance(now_ns / TICK_NS, expired);
        wakers.extend(expired.drain(..).filter_map(|key| wheel.value(key).take()));
        drop(wheel);
        for waker in wakers.drain(..) {
            waker.wake();
        }
    }

    /// Whether the wheel should have been turned long ago: the loop was busy with one thing, or the
    /// process was stopped.
    fn is_late(&self, now_ns: u64) -> bool {
        let due_ns = self.sleeping_until.get().saturating_mul(TICK_NS);
        now_ns.saturating_sub(due_ns) >= LOOP_AWAY_NS
    }

    fn poll_armed_earlier(&self, context: &Context<'_>) -> Poll<()> {
        if self.armed_earlier.take() {
            return Poll::Ready(());
        }
        self.turner.set(Some(context.waker().clone()));
        Poll::Pending
    }

    fn elapsed_ns(&self, time: Instant) -> u64 {
        let elapsed = time.saturating_duration_since(self.start);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Hears what had come while the loop was away, before anybody is told that the time is over: what
/// was in time is not late because nobody looked. For so long, whatever comes.
async fn hear<D: Driver>() {
    let (begun, mut looks) = (D::now_exactly(), Looks::<D>::new());
    let mut taken = tally::done().completed;
    for look in 1..=LOOKS_MAX {
        looks.look().await;
        // Those who have got something note that now.
        let_others_go::<D>().await;
        let before = std::mem::replace(&mut taken, tally::done().completed);
        // The first look may be before all that had come.
        let is_quiet = look > 1 && taken == before;
        if is_quiet || D::now_exactly().saturating_duration_since(begun) >= LOOP_HEARS_MAX {
            break;
        }
    }
}

/// Turns the wheel for as long as the loop runs: sleeps until the next entry must be looked at,
/// or until an earlier one is armed.
async fn turn<D: Driver>(shared: Rc<Shared>) {
    let (mut expired, mut wakers) = (Vec::new(), Vec::new());
    loop {
        let mut now_ns = shared.elapsed_ns(D::now());
        if shared.is_late(now_ns) {
            hear::<D>().await;
            now_ns = shared.elapsed_ns(D::now());
        }
        shared.advance(now_ns, &mut expired, &mut wakers);
        let next = shared.wheel.borrow().next_tick();
        shared.sleeping_until.set(next.unwrap_or(NEVER));
        let armed_earlier = |context: &mut Context<'_>| shared.poll_armed_earlier(context);
        let Some(next) = next else {
            poll_fn(armed_earlier).await;
            continue;
        };
        let time = Duration::from_nanos(next.saturating_mul(TICK_NS).saturating_sub(now_ns));
        let mut sleep = pin!(D::sleep(time.min(TIMER_SLEEP_MAX)));
        poll_fn(|context| match armed_earlier(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => sleep.as_mut().poll(context),
        })
        .await;
    }
}

/// A tick, in nanoseconds; as a constant, so that dividing by it is a multiplication.
const TICK_NS: u64 = TIMER_TICK.as_nanos() as u64;
const LOOP_AWAY_NS: u64 = LOOP_AWAY.as_nanos() as u64;
const _: () = assert!(TICK_NS > 0 && TIMER_TICK.as_secs() == 0);
