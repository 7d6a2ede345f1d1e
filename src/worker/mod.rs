//! A worker: a pinned thread and all it owns. Listeners, downstream connections, admission, and
//! the service that answers; nothing of it is shared but read-only views of its counters.
//!
//! Refuses to block, and to queue without a bound: over its bounds it answers 503 at once.

pub mod access;
mod admission;
mod attend;
mod body;
mod clients;
mod conversation;
mod costs;
mod exchange;
mod forecast;
mod handshakes;
#[cfg(feature = "http2")]
mod http2;
pub mod listener;
pub mod mailbox;
mod orders;
mod overload;
pub mod pages;
mod proxied;
mod quota;
mod ready;
mod response;
mod secure;
pub mod service;
pub mod thread;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use rustls::ServerConfig;

use crate::driver::Driver;
use crate::driver::buffers::Buffers;
use crate::driver::tally;
use crate::driver::timers::Timers;
use crate::driver::usual::Usual;
use crate::http::{self, Limits};
use crate::limits;
use crate::metrics::{Counter, WorkerMetrics};
use crate::site::RateLimit;

use access::Access;
use admission::Admission;
use handshakes::Handshakes;
use orders::Order;
pub use orders::Orders;
pub use service::{Body, Request, Response, Service};

/// The bounds a worker keeps toward visitors.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Sizes of a request.
    pub limits: Limits,
    /// Connections at once.
    pub connections_max: usize,
    /// Connections over that which are being told so at once; more wait a moment, and are closed
    /// without a word then.
    pub turned_away_max: usize,
    /// Requests in flight at once.
    pub in_flight_max: usize,
    /// How long readable requests may all wait for the loop; none for as long as it takes.
    pub queue_target: Option<Duration>,
    /// What one client may ask for.
    pub rate_limit: Option<RateLimit>,
    /// From the first byte of a request head to its last.
    pub head_timeout: Duration,
    /// For a request body.
    pub body_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// For a page to be made for a visitor who has ended their side of the connection.
    pub half_close_timeout: Duration,
    /// For a response to be taken.
    pub write_timeout: Duration,
    /// Bytes of a body or a response that earn a second more than these timeouts; 0 for none.
    pub rate_min: u64,
    /// For the requests in flight when the worker is told to stop.
    pub drain_timeout: Duration,
    /// For a TLS handshake, the header of a proxy in front of it included.
    pub tls_handshake_timeout: Duration,
    /// TLS handshakes at once, of peers who have begun to speak.
    pub tls_handshakes_max: usize,
    /// Networks whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
    /// Whether a connection without TLS may begin as HTTP/2 (RFC 9113 section 3.3).
    #[cfg(feature = "http2")]
    pub http2_prior_knowledge: bool,
}

impl Bounds {
    /// The bounds of a head. How long the body may be that it announces, its page decides.
    fn head_limits(&self) -> Limits {
        Limits { body_bytes_max: u64::MAX, ..self.limits }
    }

    /// What so many bytes add to a timeout: whoever sends or takes them at the least rate is
    /// never late.
    fn earned(&self, bytes: usize) -> Duration {
        let ms = (bytes as u64).saturating_mul(1000).checked_div(self.rate_min);
        Duration::from_millis(ms.unwrap_or(0))
    }

    /// When a body must be whole that has come so far, or at least go on. What has come earns time
    /// for the whole, but no pause longer than the timeout.
    fn body_deadline(&self, begun: Instant, bytes: usize, now: Instant) -> Instant {
        (begun + self.earned(bytes)).min(now) + self.body_timeout
    }

    /// When so many bytes must be written that are begun now.
    fn write_deadline(&self, now: Instant, bytes: usize) -> Instant {
        now + self.write_timeout + self.earned(bytes)
    }

    /// Whether a connection from there begins with a header of the PROXY protocol: it either must
    /// or must not, as what comes first decides who the visitor is.
    fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxy_protocol.iter().any(|network| network.contains(&peer))
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections_max: limits::CONNECTIONS_MAX,
            turned_away_max: limits::TURNED_AWAY_MAX,
            in_flight_max: limits::IN_FLIGHT_MAX,
            queue_target: Some(limits::QUEUE_TARGET),
            rate_limit: None,
            head_timeout: limits::HEAD_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            idle_timeout: limits::IDLE_TIMEOUT,
            half_close_timeout: limits::HALF_CLOSE_TIMEOUT,
            write_timeout: limits::WRITE_TIMEOUT,
            rate_min: limits::RATE_BYTES_MIN,
            drain_timeout: limits::DRAIN_TIMEOUT,
            tls_handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            tls_handshakes_max: limits::TLS_HANDSHAKES_MAX,
            proxy_protocol: Vec::new(),
            #[cfg(feature = "http2")]
            http2_prior_knowledge: false,
        }
    }
}

/// A worker's own things; a thread has one, and everything on it shares that by `Rc`.
pub struct Worker<D: Driver, S: Service> {
    service: RefCell<Rc<S>>,
    bounds: Bounds,
    metrics: Arc<WorkerMetrics>,
    timers: Timers<D>,
    admission: Admission,
    /// For responses.
    buffers: Buffers,
    /// How large the heads of requests are.
    usual: Usual,
    date: Cell<[u8; 29]>,
    draining: Cell<bool>,
    /// Listeners that wait for a connection, and end when draining begins.
    accepting: RefCell<Vec<Waker>>,
    /// Loops that accept.
    acceptors: Counter,
    listeners: RefCell<Vec<Rc<D::Listener>>>,
    /// Connections with a request that has begun and not ended.
    busy: Counter,
    /// Connections over the bound that are being told so.
    turned_away: Counter,
    /// TLS handshakes under way.
    handshakes: Handshakes,
    #[cfg(feature = "http2")]
    http2: http2::Connections,
    shortage_reported: Cell<Option<Instant>>,
    unsendable_reported: Cell<Option<Instant>>,
    /// Where requests are recorded, if they are.
    access: RefCell<Option<Rc<Access>>>,
    /// What the loop had done when it was looked at last, and the CPU time, microseconds.
    stock: Cell<(tally::Done, u64)>,
}

/// How often a worker looks at its orders and at what has grown old.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// How often a lack of descriptors is logged, at most, and how often an answer that may not go out.
const REPORT_PAUSE: Duration = Duration::from_secs(10);

impl<D: Driver, S: Service> Worker<D, S> {
    /// A worker for the loop of this thread. Called inside [`Driver::run`].
    pub fn new(
        service: S,
        bounds: Bounds,
        metrics: Arc<WorkerMetrics>,
        timers: Timers<D>,
    ) -> Rc<Self> {
        let admission = Admission::new(&bounds, service.has_priorities(), D::now(), D::cpu_time());
        Rc::new(Self {
            service: RefCell::new(Rc::new(service)),
            admission,
            bounds,
            metrics,
            timers,
            buffers: Buffers::default(),
            usual: Usual::up_to(limits::DOWNSTREAM_READ_BYTES),
            date: Cell::new(date_now()),
            draining: Cell::new(false),
            accepting: RefCell::default(),
            acceptors: Counter::default(),
            listeners: RefCell::default(),
            busy: Counter::default(),
            turned_away: Counter::default(),
            handshakes: Handshakes::default(),
            #[cfg(feature = "http2")]
            http2: http2::Connections::default(),
            shortage_reported: Cell::new(None),
            unsendable_reported: Cell::new(None),
            access: RefCell::default(),
            stock: Cell::default(),
        })
    }

    /// Serves until ordered to stop; then until what is in flight is done, or the drain timeout.
    /// `housekeep` is called a few times a second.
    pub async fn serve(
        self: &Rc<Self>,
        listeners: Vec<(D::Listener, Option<Arc<ServerConfig>>)>,
        orders: &Orders,
        housekeep: impl Fn(),
    ) {
        for (listener, tls) in listeners {
            let listener = Rc::new(listener);
            for _ in 0..D::ACCEPTS_PENDING {
                let (worker, listener) = (Rc::clone(self), Rc::clone(&listener));
                D::spawn(listener::accept_all(worker, listener, tls.clone()));
            }
            self.listeners.borrow_mut().push(listener);
        }
        tally::count_turns::<D>();
        if self.bounds.queue_target.is_some() {
            D::spawn(Rc::clone(self).keep_time());
            D::spawn(Rc::clone(self).keep_gate());
        }
        let mut parting: Option<Parting> = None;
        let mut rouses = 0;
        loop {
            self.timers.sleep(HOUSEKEEPING).await;
            self.date.set(date_now());
            self.take_stock();
            housekeep();
            self.hand_over_records();
            let order = orders.look();
            if order == Order::Serve {
                if std::mem::replace(&mut rouses, orders.rouses()) != orders.rouses() {
                    self.listeners.borrow().iter().for_each(|one| D::cancel_accepts(one));
                }
                continue;
            }
            let now = D::now();
            self.start_draining(orders.are_sparing());
            let parting = *parting.get_or_insert(Parting {
                end: now + self.bounds.drain_timeout,
                patience: now + limits::HAND_OVER_PATIENCE.min(self.bounds.drain_timeout),
            });
            let is_patient = now < parting.patience;
            let waits = order == Order::HandOver && is_patient;
            let is_done = self.is_done(waits) && (self.acceptors.get() == 0 || !is_patient);
            if order == Order::Stop || now >= parting.end || is_done {
                self.report_cut(order);
                return;
            }
        }
    }

    /// Says how many requests end with the worker, as nothing else does.
    fn report_cut(&self, order: Order) {
        let requests = self.metrics.in_flight.get();
        if requests > 0 {
            let why = match order {
                Order::Stop => "told to end at once",
                _ => "the drain's limit (drain_timeout) is over",
            };
            tracing::warn!(requests, "{why}: requests were cut");
        }
    }

    /// Writes down what the loop counts for itself.
    fn take_stock(&self) {
        let metrics = &self.metrics;
        let used_us = u64::try_from(D::cpu_time().as_micros()).unwrap_or(u64::MAX);
        let done = tally::done();
        let (before, used_before_us) = self.stock.replace((done, used_us));
        metrics.operations.add(done.submitted.wrapping_sub(before.submitted));
        metrics.operations_completed.add(done.completed.wrapping_sub(before.completed));
        metrics.turns.add(done.turns.wrapping_sub(before.turns));
        metrics.panics.add(done.panics.wrapping_sub(before.panics));
        metrics.cpu_us.add(used_us.saturating_sub(used_before_us));
    }

    /// What it serves. Requests that are under way have what it was when they came.
    pub fn service(&self) -> Rc<S> {
        Rc::clone(&self.service.borrow())
    }

    /// Serves something else from now on.
    pub fn replace(&self, service: S) {
        self.admission.set_priorities(&self.bounds, service.has_priorities());
        self.service.replace(Rc::new(service));
        #[cfg(feature = "http2")]
        self.http2.forget_fields();
    }

    fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether a connection may stay after its page. When there are nearly as many as there may be,
    /// those that are only kept would keep others out. A few of them do not, and a crowd that comes
    /// back at once would have to open each of its connections anew.
    fn keeps_connections(&self) -> bool {
        let most = self.bounds.connections_max;
        let kept = admission::share(most, limits::CONNECTIONS_KEPT_PERCENT);
        let open = self.metrics.connections.get();
        let idle = open.saturating_sub(self.busy.get());
        !self.is_draining() && (open <= kept || idle < (most as u64).saturating_sub(kept))
    }

    /// Whether nothing is left to be done, as far as this worker knows. `waits` for those who keep
    /// a connection, too.
    fn is_done(&self, waits: bool) -> bool {
        let visitors = if waits { self.metrics.connections.get() } else { self.busy.get() };
        visitors == 0 && self.has_parted()
    }

    /// Accepts no more. The sockets end with that, unless they are of use to others.
    fn start_draining(&self, spare: bool) {
        self.draining.set(true);
        for listener in self.listeners.take() {
            if spare { D::cancel_accepts(&listener) } else { D::shut(&listener) }
        }
        self.accepting.take().into_iter().for_each(Waker::wake);
        #[cfg(feature = "http2")]
        self.http2.wake_all();
    }

    /// Whether all connections that are told of the end, as those of HTTP/2 are, know.
    fn has_parted(&self) -> bool {
        #[cfg(feature = "http2")]
        return self.http2.is_empty();
        #[cfg(not(feature = "http2"))]
        true
    }

    /// Waits for a connection, or for the worker to drain: then none. Where an accept may have
    /// taken a connection nobody has heard of, it is waited for: it ends by itself.
    async fn unless_draining<T>(&self, accept: impl Future<Output = T>) -> Option<T> {
        if !D::ACCEPTS_DROP {
            return Some(accept.await);
        }
        let mut accept = pin!(accept);
        poll_fn(|context| match accept.as_mut().poll(context) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending if self.is_draining() => Poll::Ready(None),
            Poll::Pending => {
                let mut accepting = self.accepting.borrow_mut();
                if !accepting.iter().any(|waker| waker.will_wake(context.waker())) {
                    accepting.push(context.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }

    /// A place for one more connection, unless the worker has as many as it may.
    fn enter(&self) -> Option<Visit> {
        if self.metrics.connections.get() >= self.bounds.connections_max as u64 {
            return None;
        }
        Some(Visit::new(Arc::clone(&self.metrics)))
    }

    fn report_shortage(&self, error: &io::Error) {
        if is_due::<D>(&self.shortage_reported) {
            tracing::warn!(
                %error,
                connections = self.metrics.connections.get(),
                "cannot accept: raise the open-files limit (LimitNOFILE, ulimit -n) or lower \
                 connections_max"
            );
        }
    }
}

/// Whether something is to be logged again, which is noted.
fn is_due<D: Driver>(reported: &Cell<Option<Instant>>) -> bool {
    let (now, last) = (D::now(), reported.get());
    let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= REPORT_PAUSE);
    if is_due {
        reported.set(Some(now));
    }
    is_due
}

/// When a worker that was told to end does so at the latest.
#[derive(Clone, Copy)]
struct Parting {
    end: Instant,
    /// Until when it waits for those who keep a connection.
    patience: Instant,
}

/// One connection in the count, until dropped.
struct Visit(Arc<WorkerMetrics>);

impl Visit {
    fn new(metrics: Arc<WorkerMetrics>) -> Self {
        metrics.connections.add(1);
        Self(metrics)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.connections.sub(1);
    }
}

/// One unit of a gauge, until dropped.
struct Held<'a>(&'a Counter);

impl<'a> Held<'a> {
    fn new(gauge: &'a Counter) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

fn date_now() -> [u8; 29] {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    http::format_date(since.as_secs())
}
