//! The world of one run: its clock, its alarms, its random numbers, its trace.
//!
//! It is the thread's while the run lasts. What tasks hold of it, as connections and sleeps, may
//! outlive the run and then does nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::executor::Tasks;
use super::network::Network;
use super::{Counts, Faults};
use crate::limits::SIM_STEP_TIME;

/// All that is shared in a run.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) faults: Faults,
    pub(super) tasks: Tasks,
    pub(super) network: RefCell<Network>,
    counts: Cell<Counts>,
    base: Instant,
    now_ns: Cell<u64>,
    burnt_ns: Cell<u64>,
    alarms: RefCell<BTreeMap<AlarmKey, Alarm>>,
    alarm_next: Cell<u64>,
    closed: Cell<bool>,
    random: Cell<u64>,
    trace_hash: Cell<u64>,
}

/// When an alarm goes off, and its number among those of the same moment.
type AlarmKey = (u64, u64);

/// What is woken when its time has come.
pub(super) enum Alarm {
    /// The task that sleeps.
    Task(Waker),
    /// Whoever waits on either end of a connection: something arrives there.
    Connection(Rc<Connection>),
}

/// What a run looks like from outside.
#[derive(Clone, Copy, Default)]
pub(super) struct Report {
    pub(super) trace_hash: u64,
    pub(super) counts: Counts,
    pub(super) elapsed: Duration,
}

/// What is noted in the trace.
#[derive(Clone, Copy)]
pub(super) enum Event {
    Poll = 1,
    Connect,
    Accept,
    AcceptFailed,
    Read,
    Write,
    End,
    Reset,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            seed,
            faults,
            tasks: Tasks::default(),
            network: RefCell::default(),
            counts: Cell::default(),
            base: Instant::now(),
            now_ns: Cell::new(0),
            burnt_ns: Cell::new(0),
            alarms: RefCell::default(),
            alarm_next: Cell::new(0),
            closed: Cell::new(false),
            random: Cell::new(seed),
            trace_hash: Cell::new(FNV_OFFSET),
        }
    }

    /// The world of the run that this thread is in.
    pub(super) fn current() -> Rc<Self> {
        let Some(world) = WORLD.with_borrow(Option::clone) else {
            no_world();
        };
        world
    }

    /// Makes `world` this thread's. `None` when it has one.
    pub(super) fn enter(world: &Rc<Self>) -> Option<Inside> {
        WORLD.with_borrow_mut(|current| {
            if current.is_some() {
                return None;
            }
            *current = Some(Rc::clone(world));
            Some(Inside(()))
        })
    }

    /// What this thread's run, or its last one, did.
    pub(super) fn report() -> Report {
        let world = WORLD.with_borrow(Option::clone);
        world.map_or_else(|| LAST.get(), |world| world.report_now())
    }

    /// Lets go of all that holds this world in turn, so that it can be freed.
    pub(super) fn close(&self) {
        self.closed.set(true);
        // Each is dropped after it was taken out, as dropping it may come back here.
        let network = std::mem::take(&mut *self.network.borrow_mut());
        drop(network);
        let alarms = std::mem::take(&mut *self.alarms.borrow_mut());
        drop(alarms);
        let woken = self.tasks.woken();
        drop(woken);
    }

    /// Keeps the report of this run for after it.
    pub(super) fn keep_report(&self) {
        LAST.set(self.report_now());
    }

    fn report_now(&self) -> Report {
        let counts = Counts { tasks: self.tasks.count(), ..self.counts.get() };
        Report { trace_hash: self.trace_hash.get(), counts, elapsed: self.elapsed() }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// Adds to the trace.
    pub(super) fn note(&self, event: Event, who: u64, amount: u64) {
        let mut hash = self.trace_hash.get();
        for word in [event as u64, who, amount, self.now_ns()] {
            hash = (hash ^ word).wrapping_mul(FNV_PRIME).rotate_left(29);
        }
        self.trace_hash.set(hash);
    }

    pub(super) fn now(&self) -> Instant {
        self.base + self.elapsed()
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now_ns())
    }

    /// Counts one poll and the time it takes, and says how many there were.
    pub(super) fn step(&self, task: u64) -> u64 {
        self.now_ns.set(self.now_ns() + nanoseconds(SIM_STEP_TIME));
        self.note(Event::Poll, task, 0);
        self.count(|counts| counts.steps += 1);
        self.counts.get().steps
    }

    /// Lets time go by.
    pub(super) fn burn(&self, time: Duration) {
        self.burn_elsewhere(time);
        self.burnt_ns.set(self.burnt_ns.get().saturating_add(nanoseconds(time)));
    }

    pub(super) fn burn_elsewhere(&self, time: Duration) {
        self.now_ns.set(self.now_ns().saturating_add(nanoseconds(time)));
    }

    /// What was burnt here.
    pub(super) fn burnt(&self) -> Duration {
        Duration::from_nanos(self.burnt_ns.get())
    }

    /// Jumps to the next alarm; `false` when there is none.
    pub(super) fn jump(&self) -> bool {
        let Some((at, _)) = self.alarms.borrow().keys().next().copied() else { return false };
        self.now_ns.set(self.now_ns().max(at));
        true
    }

    /// Sets off the alarms whose time has come, in order.
    pub(super) fn ring(&self) {
        loop {
            let mut alarms = self.alarms.borrow_mut();
            let Some(first) = alarms.first_entry() else { return };
            if first.key().0 > self.now_ns() {
                return;
            }
            let alarm = first.remove();
            drop(alarms);
            match alarm {
                Alarm::Task(waker) => waker.wake(),
                Alarm::Connection(connection) => connection.wake(),
            }
        }
    }

    /// Sets an alarm; after the run there is nobody to hear it.
    pub(super) fn alarm(&self, at_ns: u64, alarm: Alarm) -> AlarmKey {
        let key = (at_ns, self.alarm_next.get());
        self.alarm_next.set(key.1 + 1);
        if self.closed.get() {
            return key;
        }
        self.alarms.borrow_mut().insert(key, alarm);
        key
    }

    pub(super) fn sleep(self: Rc<Self>, time: Duration) -> Sleep {
        let until_ns = self.now_ns().saturating_add(nanoseconds(time));
        Sleep { world: self, until_ns, alarm: None }
    }

    /// When what is sent now arrives.
    pub(super) fn arrival_ns(&self) -> u64 {
        self.now_ns().saturating_add(self.random_time_ns(self.faults.latency_max))
    }

    /// A random time up to `longest`.
    pub(super) fn random_time_ns(&self, longest: Duration) -> u64 {
        match nanoseconds(longest) {
            0 => 0,
            longest => self.random_below(longest.saturating_add(1)),
        }
    }

    /// Whether something of this probability happens.
    pub(super) fn chance(&self, probability: f64) -> bool {
        // 53 bits are what a double holds.
        let fraction = (self.random() >> 11) as f64 / (1_u64 << 53) as f64;
        fraction < probability
    }

    pub(super) fn random_below(&self, bound: u64) -> u64 {
        self.random().checked_rem(bound).unwrap_or(0)
    }

    /// The next number of SplitMix64.
    fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The thread is in a run while this is held.
pub(super) struct Inside(());

impl Drop for Inside {
    fn drop(&mut self) {
        let world = WORLD.with_borrow_mut(Option::take);
        drop(world);
    }
}

/// Waits until a moment of virtual time.
pub(super) struct Sleep {
    world: Rc<World>,
    until_ns: u64,
    alarm: Option<AlarmKey>,
}

impl Sleep {
    fn disarm(&mut self) {
        if let Some(key) = self.alarm.take() {
            let alarm = self.world.alarms.borrow_mut().remove(&key);
            drop(alarm);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.disarm();
        if self.world.now_ns() >= self.until_ns {
            return Poll::Ready(());
        }
        let alarm = Alarm::Task(context.waker().clone());
        self.alarm = Some(self.world.alarm(self.until_ns, alarm));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

#[expect(clippy::panic, reason = "a mistake of the test itself, and there is nothing to return")]
#[cold]
fn no_world() -> ! {
    panic!("the simulated driver is used outside Sim::run_seeded");
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
    static LAST: Cell<Report> = Cell::default();
}
