//! One try of a fetch: an address, a connection to it, an exchange on that.

use std::cell::Cell;
use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::driver::{Driver, is_resource_shortage};
use crate::http::{self, RequestLine};
use crate::limits;
use crate::tls::{self, ClientTls, HandshakeError, Session};

use super::breaker::Verdict;
use super::client::{Inner, Request};
use super::connection::{Bounds, Connection, Failure, Halves, Response};
use super::endpoint::Held;
use super::error::{FetchError, Phase, Unsecured};
use super::origin::Origin;
use super::pool::{Lease, Warmth, Wish};
use super::tally::Tally;

/// A try of a fetch.
#[derive(Clone, Copy)]
pub(super) struct Try<'a> {
    pub(super) request: &'a Request<'a>,
    /// Where there may be another.
    pub(super) course: Option<&'a Course>,
}

/// What one try has to do with others.
#[derive(Default)]
pub(super) struct Course {
    /// An address that another one would be preferred to.
    pub(super) avoid: Cell<Option<SocketAddr>>,
    /// The address that is asked, as soon as that is decided.
    pub(super) at: Cell<Option<SocketAddr>>,
}

impl Try<'_> {
    fn avoid(&self) -> Option<SocketAddr> {
        self.course.and_then(|course| course.avoid.get())
    }

    fn asks(&self, address: SocketAddr) {
        if let Some(course) = self.course {
            course.at.set(Some(address));
        }
    }
}

/// How an exchange ended: the response, with its connection if that can serve again.
type Outcome<D> = Result<(Response, Option<Connection<D>>), FetchError>;

/// A connection to an address, and whether it has served before.
type Connected<D> = (Held<D>, Connection<D>, bool);

impl<D: Driver> Inner<D> {
    /// Asks once, if the breaker lets it, and notes what became of it.
    #[expect(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
    pub(super) fn attempt<'a>(
        &'a self,
        origin: &'a Origin<D>,
        ask: Try<'a>,
    ) -> impl Future<Output = Result<Response, FetchError>> + use<'a, D> {
        async move {
            let start = D::now();
            let watch = origin.admit(start)?;
            let tally = Tally::begin(&origin.counts);
            let bounds = Bounds {
                deadline: ask.request.deadline,
                deadline_limit: ask.request.deadline.saturating_duration_since(start),
                begun: Cell::new(start),
                header_timeout: origin.plan.header_timeout,
                body_timeout: origin.plan.body_timeout,
                body_bytes_max: origin.plan.max_body,
            };
            let (outcome, held) = self.exchange(origin, ask, &bounds).await;
            let now = D::now();
            let response = outcome.as_ref().map(|(response, _)| response);
            let begun = bounds.begun.get();
            let given = bounds.deadline.saturating_duration_since(begun);
            let verdict = origin.verdict(response, given);
            if verdict == Verdict::Good {
                origin.served(now.saturating_duration_since(begun));
            }
            let took = now.saturating_duration_since(start);
            tally.end(response, took);
            origin.settle(watch, held.as_deref(), verdict, took, now);
            let (response, connection) = outcome?;
            if let (Some(held), Some(connection)) = (&held, connection) {
                origin.pool.put(held, connection, now);
            }
            Ok(response)
        }
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
    fn exchange<'a>(
        &'a self,
        origin: &'a Origin<D>,
        ask: Try<'a>,
        bounds: &'a Bounds,
    ) -> impl Future<Output = (Outcome<D>, Option<Held<D>>)> + use<'a, D> {
        async move {
            let request = ask.request;
            let mut bytes = match self.write(origin, request) {
                Ok(bytes) => bytes,
                Err(error) => return (Err(error), None),
            };
            let mut warmth = match request.method.is_idempotent() {
                true => Warmth::Any,
                false => Warmth::Lately,
            };
            loop {
                let (held, mut connection, reused) =
                    match self.connection(origin, bounds, warmth, ask).await {
                        Ok(connected) => connected,
                        Err(error) => return (Err(error), None),
                    };
                origin.counts.bytes_out.add(bytes.len() as u64);
                let buffers = (&self.requests, &self.responses);
                match connection.exchange(bytes, request.method, bounds, buffers).await {
                    Ok((mut response, true)) => {
                        response.reused = reused;
                        return (Ok((response, Some(connection))), Some(held));
                    }
                    Ok((mut response, false)) => {
                        response.reused = reused;
                        connection.close();
                        return (Ok((response, None)), Some(held));
                    }
                    Err(Failure { unanswered: Some(request_bytes), .. })
                        if reused && request.method.is_idempotent() =>
                    {
                        self.metrics.upstream_retries.add(1);
                        origin.counts.retries_stale.add(1);
                        bytes = request_bytes;
                        warmth = Warmth::New;
                    }
                    Err(Failure { error, .. }) => return (Err(error), Some(held)),
                }
            }
        }
    }

    /// A request as it goes out.
    fn write(&self, origin: &Origin<D>, request: &Request<'_>) -> Result<Vec<u8>, FetchError> {
        let mut bytes = self.requests.take();
        let line = RequestLine {
            method: request.method,
            target: request.target,
            host: origin.plan.authority.as_bytes(),
        };
        http::write_request_head(&mut bytes, line, request.headers, request.body_length())
            .map_err(FetchError::Request)?;
        // In one write with the head: no 100 is waited for.
        bytes.extend_from_slice(request.body.map_or(&[][..], Vec::as_slice));
        Ok(bytes)
    }

    /// A connection, when it is this fetch's turn to have one.
    async fn connection(
        &self,
        origin: &Origin<D>,
        bounds: &Bounds,
        warmth: Warmth,
        ask: Try<'_>,
    ) -> Result<Connected<D>, FetchError> {
        let (now, wish) = (D::now(), Wish { warmth, avoid: ask.avoid() });
        let lease = match origin.pool.try_lease(now, wish) {
            Some(lease) => lease,
            None if origin.pool.is_nowhere() => {
                return Err(FetchError::NoAddress { host: origin.plan.host.clone() });
            }
            // Boxed, as what follows is: no exchange holds room for what few begin with.
            None => {
                // For as long as an answer may still come in time: one that cannot would take the
                // place of one that can, and its connection along.
                let latest = origin.latest(bounds.deadline, now);
                let lease = Box::pin(self.until(latest, origin.pool.lease(now, wish)));
                let lease = lease.await.flatten().ok_or(FetchError::Busy)?;
                self.in_time(origin, bounds, lease)?
            }
        };
        bounds.begun.set(D::now());
        match lease {
            Lease::Reused(held, connection) => Ok(self.reused(origin, held, connection, ask)),
            Lease::Open(..) => Box::pin(self.connected(origin, bounds, (lease, wish), ask)).await,
        }
    }

    /// A lease that was waited for, if it has not come too late by what is known now.
    fn in_time(
        &self,
        origin: &Origin<D>,
        bounds: &Bounds,
        lease: Lease<D>,
    ) -> Result<Lease<D>, FetchError> {
        let now = D::now();
        if now <= origin.latest(bounds.deadline, now) {
            return Ok(lease);
        }
        if let Lease::Reused(held, connection) = lease {
            origin.pool.put(&held, connection, now);
        }
        Err(FetchError::Busy)
    }

    fn reused(
        &self,
        origin: &Origin<D>,
        held: Held<D>,
        connection: Connection<D>,
        ask: Try<'_>,
    ) -> Connected<D> {
        ask.asks(held.address());
        self.metrics.upstream_reused.add(1);
        origin.counts.reused.add(1);
        (held, connection, true)
    }

    /// The connection of a lease. One that is to be opened is so to the lease's address, and then
    /// to others in turn while they refuse.
    async fn connected(
        &self,
        origin: &Origin<D>,
        bounds: &Bounds,
        (mut lease, wish): (Lease<D>, Wish),
        ask: Try<'_>,
    ) -> Result<Connected<D>, FetchError> {
        let mut tried = SmallVec::<[SocketAddr; limits::CONNECT_ATTEMPTS_MAX]>::new();
        loop {
            let (held, slot) = match lease {
                Lease::Reused(held, connection) => {
                    return Ok(self.reused(origin, held, connection, ask));
                }
                Lease::Open(held, slot) => (held, slot),
            };
            let address = held.address();
            ask.asks(address);
            let now = D::now();
            let deadline = bounds.deadline.min(now + origin.plan.connect_timeout);
            let limit = deadline.saturating_duration_since(now);
            self.metrics.upstream_connects.add(1);
            origin.counts.connects.add(1);
            let failure = match self.open(origin, address, deadline, limit).await {
                Ok(halves) => {
                    let (timer, slot, usual) =
                        (self.timers.timer(), Some(slot), origin.usual.clone());
                    let responses = &self.responses;
                    let connection = Connection::new(halves, timer, slot, responses, usual);
                    return Ok((held, connection, false));
                }
                // With another address it would be the same.
                Err(failure) if failure.is_shed() => return Err(failure),
                Err(failure) => failure,
            };
            let now = D::now();
            origin.failed(&held, now);
            tried.push(address);
            if tried.len() >= limits::CONNECT_ATTEMPTS_MAX || now >= bounds.deadline {
                return Err(failure);
            }
            match origin.pool.another(now, &tried, slot, wish.warmth) {
                Some(other) => lease = other,
                None => return Err(failure),
            }
        }
    }

    /// Both halves of a new connection, secured where the upstream is, by the deadline, which is
    /// so far away.
    pub(super) async fn open(
        &self,
        origin: &Origin<D>,
        address: SocketAddr,
        deadline: Instant,
        limit: Duration,
    ) -> Result<Halves<D>, FetchError> {
        let (reader, writer) = self.connect(address, deadline, limit).await?;
        let Some(tls) = &origin.plan.tls else {
            return Ok((tls::Reader::Plain(reader), tls::Writer::Plain(writer)));
        };
        // Boxed: a handshake takes several times what else there is until then, and those who
        // open a connection all at once would hold that without having one to do.
        let secure = Box::pin(self.secure(tls, reader, writer));
        let secured = match self.until(deadline, secure).await {
            Some(secured) => secured.map_err(|error| {
                FetchError::Tls(Box::new(Unsecured { name: tls.name.clone(), address, error }))
            }),
            None => Err(FetchError::Timeout(Phase::Handshake, limit)),
        };
        match &secured {
            Ok((_, writer)) => {
                self.metrics.upstream_tls_handshakes.add(1);
                self.metrics.upstream_tls_resumed.add(writer.is_resumed().into());
            }
            Err(_) => self.metrics.upstream_tls_failures.add(1),
        }
        secured
    }

    async fn secure(
        &self,
        tls: &ClientTls,
        reader: D::Reader,
        writer: D::Writer,
    ) -> Result<Halves<D>, HandshakeError> {
        let session = Session::client(&tls.config, tls.name.clone());
        let session = session.map_err(HandshakeError::Refused)?;
        tls::handshake(session, reader, writer, self.responses.clone()).await
    }

    /// The same, before it is secured.
    async fn connect(
        &self,
        address: SocketAddr,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(D::Reader, D::Writer), FetchError> {
        loop {
            match self.until(deadline, Box::pin(D::connect(address))).await {
                Some(Err(error)) if is_resource_shortage(&error) => {
                    // That is no failure of the upstream's, and may be over in a moment.
                    if D::now() + limits::CONNECT_PAUSE >= deadline {
                        return Err(FetchError::Shortage(error));
                    }
                    self.timers.sleep(limits::CONNECT_PAUSE).await;
                }
                Some(connected) => return connected.map_err(FetchError::Connect),
                None => return Err(FetchError::Timeout(Phase::Connect, limit)),
            }
        }
    }

    async fn until<T>(&self, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
        self.timers.timer().until(deadline, work).await.ok()
    }
}
