//! Counters that one worker writes and any thread may read.
//!
//! A counter has a single writer, so that it needs no atomic read-modify-write: a relaxed load
//! and a relaxed store, which cost what a plain variable costs.

pub mod snapshot;

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes and any thread may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the worker that owns the counter may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away, for a counter that is a gauge. Only the owning worker may call this.
    pub fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets it, for a counter that is a gauge. Only the owning worker may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now, or a moment ago.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts. Aligned so that no two workers write to one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    /// Connections accepted.
    pub accepted: Counter,
    /// Accepts that failed, for want of descriptors or otherwise.
    pub accept_errors: Counter,
    /// Downstream connections open now.
    pub connections: Counter,
    /// Connections answered 503 and closed because too many were open.
    pub connections_shed: Counter,
    /// TLS handshakes that were done.
    pub tls_handshakes: Counter,
    /// Of these, the ones that resumed an earlier session.
    pub tls_handshakes_resumed: Counter,
    /// TLS handshakes that failed: no TLS, nothing that both sides know, too late, broken off.
    pub tls_handshakes_failed: Counter,
    /// Connections closed before their TLS handshake because there were too many.
    pub tls_handshakes_shed: Counter,
    /// Requests whose head was read whole.
    pub requests: Counter,
    /// Requests answered, whole.
    pub responses: Counter,
    /// Requests that were not HTTP as we speak it, and answered with a 4xx or 5xx.
    pub requests_malformed: Counter,
    /// Requests answered 503 because too many pages were in flight.
    pub requests_shed_in_flight: Counter,
    /// Requests answered 503 because the loop was too late.
    pub requests_shed_delay: Counter,
    /// Requests answered 429 because their client had had its share.
    pub requests_shed_rate: Counter,
    /// Requests let in without being counted as their client's, as too many clients were known.
    pub requests_uncounted: Counter,
    /// Connections that ended in the middle of a request or of its answer.
    pub requests_aborted: Counter,
    /// Of these, the requests whose page was given up because the visitor had left.
    pub requests_abandoned: Counter,
    /// How late the loop was when it last looked, microseconds.
    pub queue_delay_us: Counter,
    /// Whether the worker is overloaded: 1, or 0.
    pub overloaded: Counter,
    /// Pages in flight now.
    pub in_flight: Counter,
    /// Requests that panicked; each was answered 500.
    pub panics: Counter,
    /// Pages whose inputs had come before, and whose bytes were kept.
    pub pages_remembered: Counter,
    /// Access records that were handed on to be written.
    pub access_records: Counter,
    /// Access records that were dropped, as the log could not take them in time.
    pub access_records_dropped: Counter,
    /// Renders that took longer than [`RENDER_SLOW`](crate::limits::RENDER_SLOW).
    pub renders_slow: Counter,
    /// Responses by the first digit of their status; index 0 is not used.
    pub statuses: [Counter; 6],
    /// Exchanges with upstreams that were started.
    pub upstream_exchanges: Counter,
    /// Exchanges that ended with a whole response.
    pub upstream_responses: Counter,
    /// Exchanges that failed.
    pub upstream_errors: Counter,
    /// Exchanges whose task was dropped before they ended, as when a sibling fetch failed.
    pub upstream_cancelled: Counter,
    /// Connections to upstreams that were opened.
    pub upstream_connects: Counter,
    /// TLS handshakes with upstreams that went well.
    pub upstream_tls_handshakes: Counter,
    /// Of these, those that went on with the keys of an earlier one, in half the time.
    pub upstream_tls_resumed: Counter,
    /// TLS handshakes with upstreams that failed or were late.
    pub upstream_tls_failures: Counter,
    /// Exchanges on a connection that had served before.
    pub upstream_reused: Counter,
    /// Exchanges sent again, on a new connection, because a pooled one died before its answer.
    pub upstream_retries: Counter,
    /// Tries after a failure, as an upstream's `retry` has them.
    pub upstream_retried: Counter,
    /// Second requests for fetches that took long, as `hedge` has them.
    pub upstream_hedges: Counter,
    /// Those of them whose answer was the first good one.
    pub upstream_hedges_won: Counter,
    /// Retries and hedges that were not sent because the budget was spent.
    pub upstream_retries_denied: Counter,
    /// Times that a breaker opened.
    pub upstream_breaker_opens: Counter,
    /// Exchanges that were not begun because a breaker was open.
    pub upstream_breaker_rejects: Counter,
    /// Times that an address was left out for its failures.
    pub upstream_ejections: Counter,
    /// Times that an address was taken out by its health checks.
    pub upstream_unwell: Counter,
    /// Fetches that failed because `max_in_flight` were in flight.
    pub upstream_queue_rejects: Counter,
    /// Upstream connections open now, idle or in use.
    pub upstream_connections: Counter,
    /// Fetches that got a kept answer, fresh.
    pub cache_hits: Counter,
    /// Fetches that got a kept answer that was no longer fresh.
    pub cache_stale: Counter,
    /// Fetches that may be kept, and for which an upstream was asked.
    pub cache_misses: Counter,
    /// Fetches that waited for the call of another.
    pub cache_coalesced: Counter,
    /// Kept answers that an upstream said are still right (304).
    pub cache_revalidated: Counter,
    /// Calls that renewed a kept answer while nobody waited.
    pub cache_refreshes: Counter,
    /// Kept answers that made room for others.
    pub cache_evictions: Counter,
    /// What kept answers take now, bytes.
    pub cache_bytes: Counter,
}

impl WorkerMetrics {
    /// Requests that were turned away, for whichever reason. All others that were read whole,
    /// [`WorkerMetrics::requests`], were admitted, but for those that are just being judged.
    pub fn requests_shed(&self) -> u64 {
        let in_flight = self.requests_shed_in_flight.get();
        in_flight + self.requests_shed_delay.get() + self.requests_shed_rate.get()
    }

    /// Counts a response by its status.
    pub fn count_status(&self, status: u16) {
        if let Some(class) = self.statuses.get(usize::from(status / 100)) {
            class.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_comes_back_to_zero() {
        let gauge = Counter::default();
        gauge.add(3);
        gauge.sub(2);
        assert_eq!(gauge.get(), 1);
        gauge.sub(1);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn statuses_are_counted_by_class_and_nonsense_is_not() {
        let metrics = WorkerMetrics::default();
        metrics.count_status(200);
        metrics.count_status(204);
        metrics.count_status(503);
        metrics.count_status(999);
        assert_eq!(metrics.statuses[2].get(), 2);
        assert_eq!(metrics.statuses[5].get(), 1);
    }
}
