//! Access records: one for each request that has ended, in whichever way.
//!
//! A worker writes them into a buffer of its own and hands that over when it is full, or when it
//! looks after things; it never waits for whoever writes them. What does not fit is dropped and
//! counted. Nothing here is done, and no room is taken, where requests are not recorded.
//!
//! | file | is |
//! |---|---|
//! | `record` | one record, in each form |
//! | `escape` | what a visitor has sent, as it may stand in a log |
//! | `clock` | the time of day |
//! | `queue` | the way to the thread that writes |

mod clock;
mod escape;
mod queue;
mod record;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::limits::{ACCESS_BUFFER_BYTES, ACCESS_LOG_REPORT};
use crate::metrics::WorkerMetrics;
use crate::page::Notes;
use crate::site::{ALL_PPM, AccessLog};

pub use queue::{Lines, Message, Sink, queue};

use super::Worker;
use super::service::{Request, Service};
use clock::Clock;
use queue::Link;
use record::Record;

/// What was asked for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// A request; whether by HTTP/2.
    Request(&'a Request<'a>, bool),
    /// What was none, as far as it came: its first line, from whom, whether over TLS, and whether
    /// by HTTP/2.
    Line(&'a [u8], SocketAddr, bool, bool),
}

/// How it ended.
#[derive(Default)]
pub(super) struct Answered<'a> {
    /// The status that was sent, or was to be; 0 where it did not come to that.
    pub(super) status: u16,
    /// The body that was sent, bytes.
    pub(super) bytes: u64,
    /// Whether the visitor has taken all of it.
    pub(super) taken: bool,
    /// Whether it was turned away because of the load: there may be many of these.
    pub(super) shed: bool,
    /// Why it was refused, if it was.
    pub(super) reason: &'static str,
    /// What was noted of the page.
    pub(super) notes: Option<&'a Notes>,
}

/// A worker's access log.
#[derive(Debug)]
pub struct Access {
    plan: AccessLog,
    worker: usize,
    metrics: Arc<WorkerMetrics>,
    link: Link,
    state: RefCell<State>,
    chance: Cell<u64>,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    /// Whole lines. Without room while there is no buffer to be had.
    lines: Vec<u8>,
    /// The id of a request.
    id: Vec<u8>,
    /// When it was last told that records were dropped, and how many had been by then.
    reported: (Instant, u64),
}

impl Access {
    /// The log of worker `number`, from `now` on. `seed` decides which requests are in a sample.
    pub fn new(
        plan: &AccessLog,
        sink: &Sink,
        (number, seed): (usize, u64),
        metrics: Arc<WorkerMetrics>,
        now: Instant,
    ) -> Self {
        let state = State {
            clock: Clock::new(now),
            lines: Vec::new(),
            id: Vec::new(),
            reported: (now, metrics.access_records_dropped.get()),
        };
        let (link, state) = (sink.link(), RefCell::new(state));
        Self { plan: plan.clone(), worker: number, metrics, link, state, chance: Cell::new(seed) }
    }

    /// To be called a few times a second: what there is is handed over.
    fn housekeep(&self, now: Instant) {
        let mut state = self.state.borrow_mut();
        state.clock.set(now);
        self.hand_over(&mut state);
        let dropped = self.metrics.access_records_dropped.get();
        let (then, before) = state.reported;
        if dropped > before && now.saturating_duration_since(then) >= ACCESS_LOG_REPORT {
            state.reported = (now, dropped);
            let records = dropped - before;
            tracing::warn!(
                records,
                "access records were dropped: where they go to does not take them in time"
            );
        }
    }

    /// Of how many of a million requests like this one there is a record, if there is of this.
    fn sample(&self, answered: &Answered<'_>, took: Duration) -> Option<u32> {
        let ppm = self.plan.sample_ppm;
        let is_remarkable = answered.status >= 500 && !answered.shed;
        if ppm >= ALL_PPM || is_remarkable || took >= self.plan.slow {
            return Some(ALL_PPM);
        }
        (self.chance() < u64::from(ppm)).then_some(ppm)
    }

    /// A number below a million (xorshift, and the upper half of a product).
    fn chance(&self) -> u64 {
        let mut state = self.chance.get() | 1 << 63;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.chance.set(state);
        ((state >> 32) * u64::from(ALL_PPM)) >> 32
    }

    /// Writes a record, if there is room for one.
    fn write(&self, state: &mut State, record: &Record<'_>) {
        if state.lines.capacity() == 0 {
            state.lines = self.link.buffer().unwrap_or_default();
        }
        if state.lines.capacity() == 0 || state.lines.len() >= ACCESS_BUFFER_BYTES {
            self.metrics.access_records_dropped.add(1);
            return;
        }
        record.write(self.plan.format, &mut state.clock, &mut state.lines);
        self.metrics.access_records.add(1);
        if state.lines.len() >= ACCESS_BUFFER_BYTES {
            self.hand_over(state);
        }
    }

    fn hand_over(&self, state: &mut State) {
        if state.lines.is_empty() {
            return;
        }
        // What is refused stays here, and is tried again when the worker looks after things.
        if let Err(lines) = self.link.hand_over(std::mem::take(&mut state.lines)) {
            state.lines = lines;
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.hand_over(&mut self.state.borrow_mut());
    }
}

impl<D: Driver, S: Service> Worker<D, S> {
    /// Records requests there from now on, or nowhere.
    pub fn record_in(&self, access: Option<Access>) {
        self.access.replace(access.map(Rc::new));
    }

    /// Hands over what is recorded. To be called a few times a second, and at the end.
    pub fn hand_over_records(&self) {
        if let Some(access) = &*self.access.borrow() {
            access.housekeep(D::now());
        }
    }

    /// When a request begins of which there may be a record; none where there are none.
    #[inline]
    pub(super) fn begin_record(&self) -> Option<Instant> {
        self.access.borrow().is_some().then(D::now)
    }

    /// Records a request that has ended.
    #[inline]
    pub(super) fn record(&self, asked: Asked<'_>, begun: Option<Instant>, answered: Answered<'_>) {
        if let Some(begun) = begun {
            self.write_record(asked, begun, &answered);
        }
    }

    #[inline(never)]
    fn write_record(&self, asked: Asked<'_>, begun: Instant, answered: &Answered<'_>) {
        let Some(access) = self.access.borrow().clone() else { return };
        let at = D::now_exactly();
        let took = at.saturating_duration_since(begun);
        let Some(sample_ppm) = access.sample(answered, took) else { return };
        let mut state = access.state.borrow_mut();
        let mut id = std::mem::take(&mut state.id);
        id.clear();
        let client = match asked {
            Asked::Request(request, _) => {
                self.service().request_id(request, &mut id);
                self.service().client(request)
            }
            Asked::Line(_, peer, ..) => peer.ip().to_canonical(),
        };
        let (worker, query) = (access.worker, access.plan.query);
        let id_bytes = id.as_slice();
        let record =
            Record { asked, answered, client, id: id_bytes, at, took, worker, query, sample_ppm };
        access.write(&mut state, &record);
        state.id = id;
    }
}

/// A request of HTTP/2 that is being answered, which is recorded also when it is dropped: a stream
/// may end at any time.
#[cfg(feature = "http2")]
pub(super) struct Open<'a, D: Driver, S: Service> {
    pub(super) worker: &'a Worker<D, S>,
    pub(super) request: Request<'a>,
    /// None when there is nothing to be recorded, or it has been.
    pub(super) begun: Option<Instant>,
    pub(super) http2: bool,
}

#[cfg(feature = "http2")]
impl<D: Driver, S: Service> Open<'_, D, S> {
    /// It has ended.
    pub(super) fn end(&mut self, answered: Answered<'_>) {
        let begun = self.begun.take();
        self.worker.record(Asked::Request(&self.request, self.http2), begun, answered);
    }
}

#[cfg(feature = "http2")]
impl<D: Driver, S: Service> Drop for Open<'_, D, S> {
    fn drop(&mut self) {
        self.end(Answered::default());
    }
}

/// The first line of what was received.
pub(super) fn first_line(received: &[u8]) -> &[u8] {
    let begins = received.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let rest = received.get(begins.unwrap_or(received.len())..).unwrap_or_default();
    let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}
