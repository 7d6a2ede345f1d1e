//! Who is let in: the bounds on what is in flight and on what one client asks for, and, when the
//! loop is late, the newest of those that wait, the highest priority first.
//!
//! A worker that is not overloaded pays a branch for each request. An overloaded one has requests
//! wait for the end of the loop's turn, on a stack: by then all that was readable is there, and
//! the newest, whose visitors have waited least and will wait longest, go first (as in adaptive
//! LIFO). What [`Overload`] does not take on is answered at once.

#![expect(clippy::indexing_slicing, reason = "a stack for each priority")]

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::driver::looks::Looks;
use crate::driver::{Driver, stints};
use crate::limits;
use crate::metrics::WorkerMetrics;
use crate::site::Priority;

use super::clients::{Clients, Share};
use super::forecast::{Forecast, Seen};
use super::overload::{Done, Overload};
use super::ready::Refusal;
use super::service::{Request, Service};
use super::{Bounds, Held, Worker};

/// What a worker's admission knows.
pub(super) struct Admission {
    overload: Option<RefCell<Overload>>,
    forecast: Option<Forecast>,
    clients: Option<RefCell<Clients>>,
    /// Whether each request must be judged: there is a limit for clients, or too much load.
    is_strict: Cell<bool>,
    /// Requests in flight up to which it does not matter which is which.
    in_flight_easy: Cell<u64>,
    has_priorities: Cell<bool>,
    /// Those that wait for the end of the turn, by priority, the newest last.
    waiting: RefCell<[Vec<Rc<Ticket>>; 3]>,
    gate: Cell<Option<Waker>>,
    chance: Cell<u64>,
}

/// A request that is turned away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shed {
    pub(super) refusal: Refusal,
    pub(super) retry_after_s: u8,
}

/// A request that waits, and what becomes of it.
#[derive(Default)]
struct Ticket {
    verdict: Cell<Option<bool>>,
    waker: Cell<Option<Waker>>,
}

impl Ticket {
    fn wake_if(&self, taken: bool) {
        if self.verdict.get() == Some(taken)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

impl Admission {
    /// `now`, when the worker has used so much of the CPU.
    pub(super) fn new(bounds: &Bounds, has_priorities: bool, now: Instant, busy: Duration) -> Self {
        stints::set_crowded(false);
        let clients = bounds.rate_limit.map(|limit| RefCell::new(Clients::new(limit, now)));
        let easy = Cell::new(easy(bounds.in_flight_max, has_priorities));
        let seen = Seen { at: now, busy, finished: 0, shed: 0, in_flight: 0 };
        let overload = |target| RefCell::new(Overload::new(target, now));
        Self {
            overload: bounds.queue_target.map(overload),
            forecast: bounds.queue_target.map(|target| Forecast::new(target, seen)),
            is_strict: Cell::new(clients.is_some()),
            clients,
            in_flight_easy: easy,
            has_priorities: Cell::new(has_priorities),
            waiting: RefCell::default(),
            gate: Cell::new(None),
            chance: Cell::new(0),
        }
    }

    /// Goes along where some requests go before others now, or none any more.
    pub(super) fn set_priorities(&self, bounds: &Bounds, has_priorities: bool) {
        self.in_flight_easy.set(easy(bounds.in_flight_max, has_priorities));
        self.has_priorities.set(has_priorities);
    }

    /// Whether a request is let in without being looked at, when so many are in flight.
    #[inline]
    pub(super) fn is_easy(&self, in_flight: u64, now: Instant) -> bool {
        in_flight < self.in_flight_easy.get() && !self.is_strict.get() && self.foresees(now)
    }

    /// Whether one more page can be made in time, as far as can be foreseen.
    #[inline]
    fn foresees(&self, now: Instant) -> bool {
        self.forecast.as_ref().is_none_or(|forecast| forecast.take(now))
    }

    /// Before one request is judged: looks whether there is too much, if it is not known yet.
    fn look_ahead(&self, now: Instant, busy: impl FnOnce() -> Duration, metrics: &WorkerMetrics) {
        let (Some(overload), Some(forecast)) = (&self.overload, &self.forecast) else { return };
        if self.is_overloaded() || forecast.take(now) {
            return;
        }
        let mut overload = overload.borrow_mut();
        let per_s = forecast.per_s().unwrap_or_default().max(overload.drain_per_s());
        let done = Done::new(metrics, busy());
        // What is in flight is to be made, too, and may cost more than was foreseen.
        let in_flight_s = metrics.in_flight.get() as f64 / per_s.max(1.0);
        let in_flight = Duration::try_from_secs_f64(in_flight_s).unwrap_or_default();
        overload.foresee(now, per_s, forecast.backlog(now).max(in_flight), done);
        self.set_overloaded(true, metrics);
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.overload.as_ref().is_some_and(|overload| overload.borrow().is_overloaded())
    }

    fn tick(&self, now: Instant, delay: Duration, busy: Duration, metrics: &WorkerMetrics) {
        let (Some(overload), Some(forecast)) = (&self.overload, &self.forecast) else { return };
        let done = Done::new(metrics, busy);
        let mut overload = overload.borrow_mut();
        overload.tick(now, delay, stints::delay(now), done);
        let is_overloaded = overload.is_overloaded();
        let (shed, in_flight) = (metrics.requests_shed(), metrics.in_flight.get());
        forecast.learn(Seen { at: now, busy, finished: done.pages, shed, in_flight });
        self.set_overloaded(is_overloaded, metrics);
        drop(overload);
        self.knock();
        metrics.lag.record(delay);
        metrics.queue_delay_us.set(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
    }

    fn set_overloaded(&self, is_overloaded: bool, metrics: &WorkerMetrics) {
        self.is_strict.set(is_overloaded || self.clients.is_some());
        stints::set_crowded(is_overloaded);
        metrics.overloaded.set(u64::from(is_overloaded));
    }

    /// Waits for the end of the turn, and for what is decided then.
    async fn verdict(&self, priority: Priority) -> bool {
        let ticket = Rc::<Ticket>::default();
        self.waiting.borrow_mut()[place(priority)].push(Rc::clone(&ticket));
        if let Some(gate) = self.gate.take() {
            // It goes to the end of the queue: behind all that is readable now.
            gate.wake();
        }
        poll_fn(|context| match ticket.verdict.get() {
            Some(taken) => Poll::Ready(taken),
            None => {
                ticket.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// Decides on all that wait, and waits for the next.
    fn open_gate(&self, now: Instant, context: &Context<'_>) {
        self.gate.set(Some(context.waker().clone()));
        let Some(overload) = &self.overload else { return };
        let mut stacks = std::mem::take(&mut *self.waiting.borrow_mut());
        let mut overload = overload.borrow_mut();
        for priority in HIGHEST_FIRST {
            let among_others = self.has_priorities.get().then_some(priority);
            for ticket in stacks[place(priority)].iter().rev() {
                // One that only the stack holds has nobody waiting for it any more.
                if Rc::strong_count(ticket) > 1 && overload.take(now, among_others) {
                    ticket.verdict.set(Some(true));
                }
            }
        }
        // The oldest of the others first: nobody who is not served waits for long.
        let waits = |ticket: &&Rc<Ticket>| ticket.verdict.get().is_none();
        let others = stacks.iter().flatten().filter(waits);
        for ticket in others.take(limits::TURNED_AWAY_A_TURN_MAX) {
            ticket.verdict.set(Some(false));
        }
        drop(overload);
        // A refusal takes next to no time, a page does: nobody waits to be refused.
        for taken in [false, true] {
            for priority in HIGHEST_FIRST {
                for ticket in stacks[place(priority)].iter().rev() {
                    ticket.wake_if(taken);
                }
            }
        }
        stacks.iter_mut().for_each(|stack| stack.retain(|ticket| waits(&ticket)));
        *self.waiting.borrow_mut() = stacks;
    }

    /// Those who wait for a verdict, and came when there were too many, have it now.
    fn knock(&self) {
        let is_empty = self.waiting.borrow().iter().all(Vec::is_empty);
        if !is_empty && let Some(gate) = self.gate.take() {
            gate.wake();
        }
    }

    /// What a client that was turned away is told.
    pub(super) fn retry_after_s(&self, in_flight: u64) -> u8 {
        let Some(overload) = &self.overload else { return limits::RETRY_AFTER_S_MIN };
        overload.borrow_mut().retry_after_s(self.chance(), in_flight)
    }

    fn share(&self, client: IpAddr, now: Instant) -> Share {
        self.clients.as_ref().map_or(Share::Left, |clients| clients.borrow_mut().ask(client, now))
    }

    /// A number that is hard to foresee and the same in every simulation: SplitMix64.
    fn chance(&self) -> u64 {
        let state = self.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.chance.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }
}

impl<D: Driver, S: Service> Worker<D, S> {
    /// A place for a request, if it is clear that there is one.
    pub(super) fn admit(&self) -> Option<Held<'_>> {
        let in_flight = &self.metrics.in_flight;
        self.admission.is_easy(in_flight.get(), D::now()).then(|| Held::new(in_flight))
    }

    /// A place for a request, or what to answer to it instead.
    ///
    /// # Errors
    /// [`Shed`], which is counted already.
    pub(super) async fn judge(&self, request: Request<'_>) -> Result<Held<'_>, Shed> {
        let (admission, metrics) = (&self.admission, &self.metrics);
        if admission.clients.is_some() {
            match admission.share(self.service().client(&request), D::now()) {
                Share::Left => {}
                Share::Uncounted => metrics.requests_uncounted.add(1),
                Share::Used(time) => {
                    metrics.requests_shed_rate.add(1);
                    let seconds = u8::try_from(time.as_millis().div_ceil(1000));
                    let retry_after_s = seconds.unwrap_or(u8::MAX).max(limits::RETRY_AFTER_S_MIN);
                    return Err(Shed { refusal: Refusal::TooMany, retry_after_s });
                }
            }
        }
        let service = self.service();
        let priority = match service.has_priorities() {
            true => service.priority(&request),
            // Nothing is to be left for others.
            false => Priority::High,
        };
        admission.look_ahead(D::now(), || self.cpu_time_of_pages(), metrics);
        if admission.is_overloaded() && !admission.verdict(priority).await {
            metrics.requests_shed_delay.add(1);
            return Err(self.busy());
        }
        let percent = match priority {
            Priority::Low => limits::IN_FLIGHT_LOW_PERCENT,
            Priority::Normal => limits::IN_FLIGHT_NORMAL_PERCENT,
            Priority::High => 100,
        };
        if metrics.in_flight.get() >= share(self.bounds.in_flight_max, percent) {
            metrics.requests_shed_in_flight.add(1);
            return Err(self.busy());
        }
        Ok(Held::new(&metrics.in_flight))
    }

    fn busy(&self) -> Shed {
        let retry_after_s = self.admission.retry_after_s(self.metrics.in_flight.get());
        Shed { refusal: Refusal::Busy, retry_after_s }
    }

    /// Looks how late the loop is, for as long as it runs. Its own task, so that it waits its turn
    /// as requests do.
    pub(super) async fn keep_time(self: Rc<Self>) {
        let (mut before, mut looks) = (0, Looks::<D>::new());
        loop {
            let requests = self.metrics.requests.get();
            let is_idle = requests == before && !self.admission.is_overloaded();
            before = requests;
            let tick = if is_idle { limits::QUEUE_WINDOW } else { limits::QUEUE_TICK };
            let due = D::now() + tick;
            D::sleep(tick).await;
            // Timers go before what came over the network. This comes after what has come by now.
            looks.look_at_kernel().await;
            let now = D::now();
            let delay = now.saturating_duration_since(due);
            self.admission.tick(now, delay, self.cpu_time_of_pages(), &self.metrics);
        }
    }

    /// Decides at the end of each turn who is let in, for as long as the loop runs.
    pub(super) async fn keep_gate(self: Rc<Self>) {
        poll_fn(|context| {
            self.admission.open_gate(D::now(), context);
            Poll::<()>::Pending
        })
        .await;
    }
}

impl Done {
    fn new(metrics: &WorkerMetrics, busy: Duration) -> Self {
        let pages = metrics.responses.get().saturating_sub(metrics.requests_shed());
        let (requests, in_flight) = (metrics.requests.get(), metrics.in_flight.get());
        Self { requests, pages, in_flight, busy }
    }
}

/// How many may be in flight without anybody being asked who goes first.
fn easy(in_flight_max: usize, has_priorities: bool) -> u64 {
    share(in_flight_max, if has_priorities { limits::IN_FLIGHT_LOW_PERCENT } else { 100 })
}

/// So many percent, but at least one.
pub(super) fn share(of: usize, percent: usize) -> u64 {
    (of as u64).saturating_mul(percent as u64).div_ceil(100).max(1)
}

const HIGHEST_FIRST: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

fn place(priority: Priority) -> usize {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TURNED_AWAY_A_TURN_MAX;

    #[test]
    fn in_a_turn_the_newest_are_served_and_of_the_others_the_oldest_are_told() {
        let now = Instant::now();
        let admission = Admission::new(&Bounds::default(), false, now, Duration::ZERO);
        let overload = admission.overload.as_ref().unwrap();
        overload.borrow_mut().foresee(now, 1000.0, Duration::ZERO, Done::default());
        let tickets: Vec<Rc<Ticket>> = (0..300).map(|_| Rc::default()).collect();
        admission.waiting.borrow_mut()[place(Priority::High)].extend(tickets.iter().cloned());
        let context = Context::from_waker(Waker::noop());
        admission.open_gate(now, &context);
        let verdicts = |range: std::ops::Range<usize>, wanted| {
            tickets[range].iter().all(|ticket| ticket.verdict.get() == wanted)
        };
        let told = TURNED_AWAY_A_TURN_MAX;
        assert!(verdicts(296..300, Some(true)), "what can be made at once");
        assert!(verdicts(0..told, Some(false)) && verdicts(told..296, None));
        // Newer ones do not keep the others waiting.
        let newer: Vec<Rc<Ticket>> = (0..300).map(|_| Rc::default()).collect();
        admission.waiting.borrow_mut()[place(Priority::High)].extend(newer.iter().cloned());
        admission.open_gate(now, &context);
        assert!(verdicts(told..2 * told, Some(false)) && verdicts(2 * told..296, None));
    }
}
