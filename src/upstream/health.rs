//! Active health checks: each worker asks each address now and then whether it is well.
//!
//! A check has a connection of its own, which is neither pooled nor counted: an upstream whose
//! connections are all in use is not unwell for that.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use futures_util::future::join_all;

use crate::config::Health;
use crate::driver::Driver;
use crate::http::{self, FieldLines, Method, RequestLine};
use crate::limits;

use super::client::Inner;
use super::connection::{Bounds, Connection};
use super::endpoint::Endpoint;
use super::error::FetchError;
use super::origin::{Origin, answers};

/// Starts the checks of all upstreams that have some. They end with the client.
pub(super) fn start<D: Driver>(client: &Rc<Inner<D>>) {
    for (index, origin) in client.origins.iter().enumerate() {
        if let Some(policy) = &origin.plan.health {
            D::spawn(check_on(Rc::downgrade(client), index, policy.clone()));
        }
    }
}

async fn check_on<D: Driver>(client: Weak<Inner<D>>, index: usize, policy: Health) {
    // From then on workers ask at different times.
    let Some(mut pause) = client.upgrade().map(|c| c.random.up_to(policy.interval)) else { return };
    loop {
        let Some(timers) = client.upgrade().map(|client| client.timers.clone()) else { return };
        timers.sleep(pause).await;
        let Some(client) = client.upgrade() else { return };
        let Some(origin) = client.origins.get(index) else { return };
        let endpoints = origin.pool.endpoints();
        join_all(endpoints.iter().map(|one| client.check(origin, one, &policy))).await;
        // Nine to eleven tenths of the interval.
        pause = policy.interval / 10 * 9 + client.random.up_to(policy.interval / 5);
    }
}

impl<D: Driver> Inner<D> {
    async fn check(&self, origin: &Origin<D>, endpoint: &Endpoint<D>, policy: &Health) {
        let outcome = self.ask(origin, endpoint, policy).await;
        if matches!(outcome, Err(FetchError::Shortage(_))) {
            return;
        }
        let passed = outcome.as_ref().is_ok_and(|status| (200..300).contains(status));
        if !endpoint.checked(policy, passed) {
            return;
        }
        let (upstream, address) = (origin.plan.name.as_str(), endpoint.address());
        if passed {
            tracing::info!(upstream, %address, "an address passes its health checks again");
        } else {
            self.metrics.upstream_unwell.add(1);
            let found = outcome.map_or_else(|error| error.to_string(), |status| status.to_string());
            tracing::warn!(upstream, %address, found, "an address fails its health checks");
        }
    }

    /// The status of the answer.
    async fn ask(
        &self,
        origin: &Origin<D>,
        endpoint: &Endpoint<D>,
        policy: &Health,
    ) -> Result<u16, FetchError> {
        let deadline = D::now() + policy.timeout;
        let halves = self.open(origin, endpoint.address(), deadline, policy.timeout).await?;
        let timer = self.timers.timer();
        let mut connection = Connection::new(halves, timer, None, &self.responses, answers());
        let mut request = self.requests.take();
        let line = RequestLine {
            method: Method::Get,
            target: policy.path.as_bytes(),
            host: origin.plan.authority.as_bytes(),
        };
        // As the upstream is asked for all else: some answer nobody whom they do not know.
        let lines = FieldLines::new(&origin.plan.headers).map_err(FetchError::Request)?;
        let lines = [lines.as_bytes(), b"Connection: close\r\n"].concat();
        let lines = FieldLines::with_framing(&lines);
        http::write_request_head(&mut request, line, lines, None).map_err(FetchError::Request)?;
        let bounds = Bounds {
            begun: Cell::new(D::now()),
            deadline,
            deadline_limit: policy.timeout,
            header_timeout: policy.timeout,
            body_timeout: policy.timeout,
            body_bytes_max: limits::HEALTH_BODY_BYTES_MAX,
        };
        let buffers = (&self.requests, &self.responses);
        let exchange = connection.exchange(request, Method::Get, &bounds, buffers);
        let (response, _) = exchange.await.map_err(|failure| failure.error)?;
        connection.close();
        let status = response.head.status;
        self.responses.put(response.buffer);
        Ok(status)
    }
}
