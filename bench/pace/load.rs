//! The loop: sends what is due, reads what has come, gives up on what takes too long.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::OwnedFd;

use crate::Arguments;
use crate::connection::{Connection, Exchange, Reuse, Step};
use crate::schedule::Schedule;
use crate::tally::{Outcome, Tally};

/// Connections to one server, and the requests on them.
pub(crate) struct Load {
    target: SocketAddr,
    path: String,
    fixed: Option<u64>,
    patience: Duration,
    connections_max: usize,
    in_turn: bool,
    once: bool,
    epoll: OwnedFd,
    started: Instant,
    slots: Vec<Slot>,
    free: Vec<usize>,
    idle: VecDeque<(usize, u64)>,
    /// Exchanges by the time they were due: the slot, and which of its exchanges it is.
    waiting: VecDeque<(Duration, usize, u64)>,
    busy: usize,
    next_number: u64,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
}

/// A place for a connection. The generation tells a connection from those before it, and one
/// exchange from the one before.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    generation: u64,
}

impl Load {
    pub(crate) fn new(arguments: &Arguments) -> io::Result<Self> {
        raise_files_limit();
        Ok(Self {
            target: arguments.target,
            path: arguments.path.clone(),
            fixed: arguments.fixed,
            patience: Duration::from_millis(arguments.patience_ms),
            connections_max: arguments.connections_max.max(arguments.hold),
            in_turn: arguments.hold > 0,
            once: arguments.once,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            started: Instant::now(),
            slots: Vec::new(),
            free: Vec::new(),
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            busy: 0,
            next_number: 0,
            events: Vec::with_capacity(EVENTS_MAX),
            scratch: vec![0; 64 * 1024],
        })
    }

    /// Opens connections and gets a page on each, a few at a time.
    pub(crate) fn open(&mut self, count: usize) -> io::Result<()> {
        let mut tally = Tally::default();
        while self.idle.len() < count {
            let held = self.idle.len() + self.busy;
            if self.busy < OPENING_AT_ONCE && held < count {
                let exchange = self.exchange(self.now());
                self.on_new_connection(exchange, &mut tally)?;
            } else {
                self.turn(None, &mut tally)?;
            }
            if self.now() > OPENING_TIME_MAX {
                let held = self.idle.len();
                return Err(io::Error::other(format!("only {held} of {count} connections open")));
            }
        }
        Ok(())
    }

    /// Sends what a schedule says, when it says so.
    pub(crate) fn run(
        &mut self,
        mut schedule: impl Iterator<Item = Duration>,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let start = self.now();
        let (mut next, mut sent) = (schedule.next(), 0);
        while let Some(after) = next {
            let due = start + after;
            let now = self.now();
            if due > now {
                sent = 0;
                self.turn(Some(due), tally)?;
                continue;
            }
            if sent == SENT_AT_ONCE_MAX {
                // Behind, and yet to look at what has come: else nothing would ever be read.
                sent = 0;
                self.turn(Some(now), tally)?;
            }
            tally.arrive(due, now - due);
            self.arrive(due, tally)?;
            sent += 1;
            next = schedule.next();
        }
        Ok(())
    }

    /// Asks gently until the server is itself again: the time from now to the first of five
    /// answers in a row that came within `quick`. What is still waiting goes on waiting.
    pub(crate) fn recovery(
        &mut self,
        quick: Duration,
        tally: &mut Tally,
    ) -> io::Result<Option<Duration>> {
        let start = self.now();
        let (mut first, mut good) = (start, 0);
        for after in Schedule::even(PROBES_A_SECOND, PROBING_TIME_MAX) {
            while self.now() < start + after {
                self.turn(Some(start + after), tally)?;
            }
            let due = self.now();
            if due - start > PROBING_TIME_MAX {
                break;
            }
            let Some(took) = self.probe(due, quick * 2, tally)? else {
                good = 0;
                continue;
            };
            if took > quick {
                good = 0;
                continue;
            }
            if good == 0 {
                first = due;
            }
            good += 1;
            if good == PROBES_GOOD {
                return Ok(Some(first - start));
            }
        }
        Ok(None)
    }

    /// How long a page takes on a connection of its own, or `None` if it does not come. The
    /// requests of the load are looked after meanwhile.
    fn probe(
        &mut self,
        due: Duration,
        patience: Duration,
        tally: &mut Tally,
    ) -> io::Result<Option<Duration>> {
        let Ok(mut connection) = Connection::open(self.target) else { return Ok(None) };
        let mut step = connection.begin(self.exchange(due));
        loop {
            match step {
                Step::Ended(_, Outcome::Page, _) => return Ok(Some(self.now() - due)),
                Step::Ended(..) | Step::Broken(..) => return Ok(None),
                Step::Waiting if self.now() - due > patience => return Ok(None),
                Step::Waiting => {}
            }
            // Reads what comes for others too, so that the server can go on.
            self.turn(Some(self.now() + Duration::from_millis(1)), tally)?;
            let mut scratch = std::mem::take(&mut self.scratch);
            step = connection.advance(&mut scratch);
            self.scratch = scratch;
        }
    }

    /// Waits for those who still wait, until they give up.
    pub(crate) fn finish(&mut self, tally: &mut Tally) -> io::Result<()> {
        while self.busy > 0 {
            self.turn(None, tally)?;
        }
        Ok(())
    }

    /// A visitor comes.
    fn arrive(&mut self, due: Duration, tally: &mut Tally) -> io::Result<()> {
        let exchange = self.exchange(due);
        while let Some((at, generation)) = self.next_idle() {
            if self.slots[at].generation == generation && self.slots[at].connection.is_some() {
                self.begin(at, exchange, tally);
                return Ok(());
            }
        }
        self.on_new_connection(exchange, tally)
    }

    fn next_idle(&mut self) -> Option<(usize, u64)> {
        if self.in_turn { self.idle.pop_front() } else { self.idle.pop_back() }
    }

    fn on_new_connection(&mut self, exchange: Exchange, tally: &mut Tally) -> io::Result<()> {
        let waited = self.now().saturating_sub(exchange.due);
        if self.slots.len() - self.free.len() >= self.connections_max {
            tally.note(Outcome::TurnedAway, exchange.due, waited);
            return Ok(());
        }
        let Ok(connection) = Connection::open(self.target) else {
            tally.note(Outcome::NotConnected, exchange.due, waited);
            return Ok(());
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &connection.stream, epoll::EventData::new_u64(at as u64), flags)?;
        self.slots[at].connection = Some(connection);
        self.begin(at, exchange, tally);
        Ok(())
    }

    fn begin(&mut self, at: usize, exchange: Exchange, tally: &mut Tally) {
        let slot = &mut self.slots[at];
        slot.generation += 1;
        self.waiting.push_back((exchange.due, at, slot.generation));
        self.busy += 1;
        let Some(connection) = &mut slot.connection else { return };
        let step = connection.begin(exchange);
        self.follow(at, step, tally);
    }

    /// One wait for events, at most until `until`, and all that follows from them.
    fn turn(&mut self, until: Option<Duration>, tally: &mut Tally) -> io::Result<()> {
        let now = self.now();
        let gives_up = self.waiting.front().map(|(due, ..)| *due + self.patience);
        let until = until.into_iter().chain(gives_up).min().unwrap_or(now + TURN_MAX);
        let wait = until.saturating_sub(now).min(TURN_MAX);
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        if self.take_events(&mut events, Duration::ZERO)? == 0 {
            self.take_events(&mut events, wait)?;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        for event in &events {
            let at = event.data.u64() as usize;
            if let Some(connection) = self.slots.get_mut(at).and_then(|s| s.connection.as_mut()) {
                let step = connection.advance(&mut scratch);
                self.follow(at, step, tally);
            }
        }
        self.scratch = scratch;
        self.events = events;
        self.give_up(tally);
        Ok(())
    }

    /// How many events there are, after at most `wait`. Waits in ppoll, to the nanosecond: epoll
    /// itself would round up to milliseconds, and send late.
    fn take_events(&self, events: &mut Vec<epoll::Event>, wait: Duration) -> io::Result<usize> {
        let none = Timespec::default();
        if !wait.is_zero() {
            let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
            let mut ready = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let room = rustix::buffer::spare_capacity(events);
        match epoll::wait(&self.epoll, room, Some(&none)) {
            Ok(count) => Ok(count),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn follow(&mut self, at: usize, step: Step, tally: &mut Tally) {
        match step {
            Step::Waiting => {}
            Step::Ended(exchange, outcome, reuse) => {
                self.busy -= 1;
                tally.note(outcome, exchange.due, self.now().saturating_sub(exchange.due));
                let slot = &mut self.slots[at];
                slot.generation += 1;
                match reuse {
                    Reuse::Yes if !self.once => self.idle.push_back((at, slot.generation)),
                    Reuse::Yes | Reuse::No => self.close(at),
                }
            }
            Step::Broken(exchange, outcome) => {
                let used = self.slots[at].connection.as_ref().is_some_and(|one| one.used);
                self.close(at);
                let Some(exchange) = exchange else { return };
                self.busy -= 1;
                // A server may close an idle connection just when it is used again: no client
                // shows that to a visitor.
                if used && !exchange.retried {
                    // Only epoll::add could fail here, and the visitor then gives up.
                    if self.on_new_connection(exchange.again(), tally).is_ok() {
                        return;
                    }
                }
                tally.note(outcome, exchange.due, self.now().saturating_sub(exchange.due));
            }
        }
    }

    /// Ends the exchanges whose visitors have waited long enough.
    fn give_up(&mut self, tally: &mut Tally) {
        let now = self.now();
        while let Some((due, at, generation)) = self.waiting.front().copied() {
            let current = self.slots[at].generation == generation;
            if current && due + self.patience > now {
                break;
            }
            self.waiting.pop_front();
            let connection = self.slots[at].connection.as_mut();
            if current && connection.is_some_and(|one| one.abandon().is_some()) {
                self.busy -= 1;
                tally.note(Outcome::TimedOut, due, now.saturating_sub(due));
                self.close(at);
            }
        }
    }

    fn close(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        slot.generation += 1;
        // Closing the socket takes it out of epoll.
        if slot.connection.take().is_some() {
            self.free.push(at);
        }
    }

    fn exchange(&mut self, due: Duration) -> Exchange {
        let number = self.next_number % NUMBERS;
        self.next_number += 1;
        let (path, host) = (&self.path, self.target);
        let request = format!("GET {path}{number} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        Exchange::new(request, self.fixed.unwrap_or(number), due)
    }

    /// Since the start of the program.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// One descriptor a connection: as many as this process may have.
fn raise_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, connections fail and are counted.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

const EVENTS_MAX: usize = 1024;
/// Requests that are sent before what has come is looked at.
const SENT_AT_ONCE_MAX: usize = 64;
const TURN_MAX: Duration = Duration::from_millis(100);
const OPENING_AT_ONCE: usize = 64;
const OPENING_TIME_MAX: Duration = Duration::from_secs(60);
const PROBES_A_SECOND: f64 = 20.0;
const PROBES_GOOD: u32 = 5;
const PROBING_TIME_MAX: Duration = Duration::from_secs(10);
/// So many different pages are asked for.
const NUMBERS: u64 = 100_000;
