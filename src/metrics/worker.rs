//! What one worker counts of itself.

use super::family::{Family, Kind, table};
use super::sets::Sets;
use super::{Histogram, PageMetrics, Statuses, UpstreamMetrics};

/// Requests that were turned away.
const SHED: Family = Family {
    name: "ringpress_requests_shed_total",
    help: "Requests answered 503 or 429 because of the load or the client's share, by reason.",
    kind: Kind::Counter,
};
/// Handshakes of visitors.
const HANDSHAKES: Family = Family {
    name: "ringpress_tls_handshakes_total",
    help: "TLS handshakes with visitors, by how they ended.",
    kind: Kind::Counter,
};
/// Bytes to and from visitors.
const BYTES: Family = Family {
    name: "ringpress_visitor_bytes_total",
    help: "Bytes of HTTP that came from visitors (in) and went to them (out), before encryption.",
    kind: Kind::Counter,
};
/// What the loop asked of the kernel.
const OPERATIONS: Family = Family {
    name: "ringpress_loop_operations_total",
    help: "Reads, writes, accepts and connects handed to the kernel (submitted), and those that \
           came back with a result (completed); the rest is under way or was given up.",
    kind: Kind::Counter,
};
/// What became of fetches that may be kept.
const CACHE: Family = Family {
    name: "ringpress_cache_fetches_total",
    help: "Fetches of answers that may be kept, by what they found: a fresh answer (hit), one \
           that was no longer fresh (stale), none (miss), or the call of another fetch to wait \
           for (coalesced).",
    kind: Kind::Counter,
};
/// Pages that were packed.
const PACKED: Family = Family {
    name: "ringpress_compressed_pages_total",
    help: "Pages that went out compressed, by coding.",
    kind: Kind::Counter,
};
/// What they were before.
const PACKED_BEFORE: Family = Family {
    name: "ringpress_compressed_pages_plain_bytes_total",
    help: "Bytes of these pages before they were compressed.",
    kind: Kind::Counter,
};
/// What they were then.
const PACKED_AFTER: Family = Family {
    name: "ringpress_compressed_pages_bytes_total",
    help: "Bytes of these pages as they went out.",
    kind: Kind::Counter,
};
/// What that took.
const PACKED_TIME: Family = Family {
    name: "ringpress_compression_seconds_total",
    help: "Time that compressing pages has taken; those that were kept compressed took none.",
    kind: Kind::CounterMicros,
};
/// Handshakes with upstreams.
const UPSTREAM_HANDSHAKES: Family = Family {
    name: "ringpress_worker_upstream_tls_handshakes_total",
    help: "TLS handshakes with upstreams, by how they ended.",
    kind: Kind::Counter,
};
/// How fetches ended.
const FETCHES: Family = Family {
    name: "ringpress_worker_fetches_ended_total",
    help: "Fetches that ended with a whole response (done), failed, or were given up because \
           nobody waited for them any more (cancelled).",
    kind: Kind::Counter,
};

/// Responses to visitors, by status.
pub(super) const RESPONSES: Family = Family {
    name: "ringpress_responses_total",
    help: "Requests answered, whole, by the class of their status.",
    kind: Kind::Counter,
};
/// How late the loop is.
pub(super) const LAG: Family = Family {
    name: "ringpress_loop_lag_seconds",
    help: "How late the event loop was when it looked: every 10 ms while there are requests, \
           every 100 ms otherwise. Not counted where queue_target is off.",
    kind: Kind::Histogram,
};

table! {
    /// What one worker counts. Aligned so that no two workers write to one cache line.
    #[derive(Debug, Default)]
    #[repr(align(128))]
    pub struct WorkerMetrics {
        /// Connections accepted.
        accepted: Counter as "ringpress_connections_accepted_total",
        /// Accepts that failed, for want of descriptors or otherwise.
        accept_errors: Counter as "ringpress_accept_errors_total",
        /// Downstream connections open now.
        connections: Gauge as "ringpress_connections",
        /// Connections answered 503 and closed because too many were open.
        connections_shed: Counter as "ringpress_connections_shed_total",
        /// TLS handshakes that were done.
        tls_handshakes: Counter of HANDSHAKES["result" = "done"],
        /// TLS handshakes that failed: no TLS, nothing that both sides know, too late, broken off.
        tls_handshakes_failed: Counter of HANDSHAKES["result" = "failed"],
        /// Connections closed before their TLS handshake because there were too many.
        tls_handshakes_shed: Counter of HANDSHAKES["result" = "shed"],
        /// TLS handshakes with visitors that resumed an earlier session.
        tls_handshakes_resumed: Counter as "ringpress_tls_handshakes_resumed_total",
        /// Requests whose head was read whole.
        requests: Counter as "ringpress_requests_total",
        /// Requests answered, whole.
        responses: Counter as "ringpress_requests_answered_total",
        /// Requests that were not HTTP as we speak it, and answered with a 4xx or 5xx.
        requests_malformed: Counter as "ringpress_requests_malformed_total",
        /// Requests answered 503 because too many pages were in flight.
        requests_shed_in_flight: Counter of SHED["reason" = "in_flight"],
        /// Requests answered 503 because the loop was too late.
        requests_shed_delay: Counter of SHED["reason" = "delay"],
        /// Requests answered 429 because their client had had its share.
        requests_shed_rate: Counter of SHED["reason" = "rate"],
        /// Requests let in without being counted as their client's, as too many clients were known.
        requests_uncounted: Counter as "ringpress_requests_uncounted_total",
        /// Connections that ended in the middle of a request or of its answer.
        requests_aborted: Counter as "ringpress_requests_aborted_total",
        /// Of the aborted requests, those whose page was given up because the visitor had left.
        requests_abandoned: Counter as "ringpress_requests_abandoned_total",
        /// Bytes that came from visitors.
        bytes_in: Counter of BYTES["direction" = "in"],
        /// Bytes that went to visitors.
        bytes_out: Counter of BYTES["direction" = "out"],
        /// How late the event loop was when it last looked.
        queue_delay_us: StateMicros as "ringpress_loop_delay_seconds",
        /// Whether the worker is overloaded and turns requests away: 1, or 0.
        overloaded: State as "ringpress_overloaded",
        /// Pages in flight now.
        in_flight: Gauge as "ringpress_requests_in_flight",
        /// Cookies of sessions that were none: changed, too old, or sealed by others.
        sessions_refused: Counter as "ringpress_sessions_refused_total",
        /// Panics: of requests, each of which was answered 500, and of tasks beside them.
        panics: Counter as "ringpress_panics_total",
        /// CPU time that the worker's thread has used.
        cpu_us: CounterMicros as "ringpress_worker_cpu_seconds_total",
        /// Turns of the event loop in which something had come back from the kernel.
        turns: Counter as "ringpress_loop_turns_total",
        /// Operations handed to the kernel.
        operations: Counter of OPERATIONS["state" = "submitted"],
        /// Operations that have come back.
        operations_completed: Counter of OPERATIONS["state" = "completed"],
        /// Pages whose inputs had come before, and whose bytes were kept.
        pages_remembered: Counter as "ringpress_pages_remembered_total",
        /// Pages that went out in zstd.
        packed_zstd: Counter of PACKED["coding" = "zstd"],
        /// Pages that went out in Brotli.
        packed_brotli: Counter of PACKED["coding" = "br"],
        /// Pages that went out in gzip.
        packed_gzip: Counter of PACKED["coding" = "gzip"],
        /// Bytes of pages before they were packed in zstd.
        packed_zstd_before: Counter of PACKED_BEFORE["coding" = "zstd"],
        /// Bytes of pages before they were packed in Brotli.
        packed_brotli_before: Counter of PACKED_BEFORE["coding" = "br"],
        /// Bytes of pages before they were packed in gzip.
        packed_gzip_before: Counter of PACKED_BEFORE["coding" = "gzip"],
        /// Bytes of pages that were packed in zstd.
        packed_zstd_after: Counter of PACKED_AFTER["coding" = "zstd"],
        /// Bytes of pages that were packed in Brotli.
        packed_brotli_after: Counter of PACKED_AFTER["coding" = "br"],
        /// Bytes of pages that were packed in gzip.
        packed_gzip_after: Counter of PACKED_AFTER["coding" = "gzip"],
        /// Time that went into zstd.
        packed_zstd_us: CounterMicros of PACKED_TIME["coding" = "zstd"],
        /// Time that went into Brotli.
        packed_brotli_us: CounterMicros of PACKED_TIME["coding" = "br"],
        /// Time that went into gzip.
        packed_gzip_us: CounterMicros of PACKED_TIME["coding" = "gzip"],
        /// Access records that were handed on to be written.
        access_records: Counter as "ringpress_access_records_total",
        /// Access records that were dropped, as the log could not take them in time.
        access_records_dropped: Counter as "ringpress_access_records_dropped_total",
        /// Renders during which nothing else ran for longer than 10 ms.
        renders_slow: Counter as "ringpress_renders_slow_total",
        /// Fetches that were started, those that were answered by what is kept excluded.
        upstream_exchanges: Counter as "ringpress_worker_fetches_total",
        /// Fetches that ended with a whole response.
        upstream_responses: Counter of FETCHES["result" = "done"],
        /// Fetches that failed.
        upstream_errors: Counter of FETCHES["result" = "failed"],
        /// Fetches whose task was dropped before they ended, as when a sibling fetch failed.
        upstream_cancelled: Counter of FETCHES["result" = "cancelled"],
        /// Connections to upstreams that were opened.
        upstream_connects: Counter as "ringpress_worker_upstream_connects_total",
        /// TLS handshakes with upstreams that went well.
        upstream_tls_handshakes: Counter of UPSTREAM_HANDSHAKES["result" = "done"],
        /// TLS handshakes with upstreams that failed or were late.
        upstream_tls_failures: Counter of UPSTREAM_HANDSHAKES["result" = "failed"],
        /// TLS handshakes with upstreams that went on with the keys of an earlier one.
        upstream_tls_resumed: Counter as "ringpress_worker_upstream_tls_handshakes_resumed_total",
        /// Exchanges with upstreams on a connection that had served before.
        upstream_reused: Counter as "ringpress_worker_upstream_reused_total",
        /// Exchanges sent again, on a new connection, because a pooled one died before its answer.
        upstream_retries: Counter as "ringpress_worker_upstream_resent_total",
        /// Tries after a failure, as an upstream's `retry` has them.
        upstream_retried: Counter as "ringpress_worker_upstream_retries_total",
        /// Second requests for fetches that took long, as `hedge` has them.
        upstream_hedges: Counter as "ringpress_worker_upstream_hedges_total",
        /// Second requests whose answer was the first good one.
        upstream_hedges_won: Counter as "ringpress_worker_upstream_hedges_won_total",
        /// Retries and hedges that were not sent because the budget was spent.
        upstream_retries_denied: Counter as "ringpress_worker_upstream_retries_denied_total",
        /// Times that a breaker opened.
        upstream_breaker_opens: Counter as "ringpress_worker_upstream_breaker_opens_total",
        /// Exchanges that were not begun because a breaker was open.
        upstream_breaker_rejects: Counter as "ringpress_worker_upstream_breaker_rejects_total",
        /// Times that an address was left out for its failures.
        upstream_ejections: Counter as "ringpress_worker_upstream_ejections_total",
        /// Times that an address was taken out by its health checks.
        upstream_unwell: Counter as "ringpress_worker_upstream_unwell_total",
        /// Fetches that failed because `max_in_flight` were in flight.
        upstream_queue_rejects: Counter as "ringpress_worker_upstream_queue_rejects_total",
        /// Upstream connections open now, idle or in use.
        upstream_connections: Gauge as "ringpress_worker_upstream_connections",
        /// Fetches that got a kept answer, fresh.
        cache_hits: Counter of CACHE["result" = "hit"],
        /// Fetches that got a kept answer that was no longer fresh.
        cache_stale: Counter of CACHE["result" = "stale"],
        /// Fetches that may be kept, and for which an upstream was asked.
        cache_misses: Counter of CACHE["result" = "miss"],
        /// Fetches that waited for the call of another.
        cache_coalesced: Counter of CACHE["result" = "coalesced"],
        /// Kept answers that an upstream said are still right (304).
        cache_revalidated: Counter as "ringpress_cache_revalidated_total",
        /// Calls that renewed a kept answer while nobody waited.
        cache_refreshes: Counter as "ringpress_cache_refreshes_total",
        /// Kept answers that made room for others.
        cache_evictions: Counter as "ringpress_cache_evictions_total",
        /// What kept answers take now.
        cache_bytes: Gauge as "ringpress_cache_bytes",
    }
    with {
        /// Responses by the class of their status.
        statuses: Statuses,
        /// How late the loop was, each time that it looked.
        lag: Histogram,
        /// Of each page.
        pages: Sets<PageMetrics>,
        /// Of each upstream.
        upstreams: Sets<UpstreamMetrics>,
    }
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
        self.statuses.count(status);
    }

    /// Adds what a worker has counted that is gone: that is still true, while what it had open is
    /// not open any more. Only who owns these may call this.
    pub fn add(&self, gone: &Self) {
        for field in Self::FIELDS.iter().filter(|field| field.family.kind.grows()) {
            (field.get)(self).add((field.get)(gone).get());
        }
        self.statuses.add(&gone.statuses);
        self.lag.add(&gone.lag);
        self.pages.add(&gone.pages, PageMetrics::add);
        self.upstreams.add(&gone.upstreams, UpstreamMetrics::add);
    }

    /// Forgets pages and upstreams that another has none of.
    pub fn retain_as(&self, other: &Self) {
        self.pages.retain_as(&other.pages);
        self.upstreams.retain_as(&other.upstreams);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn what_is_gone_has_been_counted_and_is_not_open() {
        let metrics = WorkerMetrics::default();
        metrics.accepted.add(3);
        metrics.connections.add(2);
        metrics.count_status(404);
        let [page] = &metrics.pages.of(&["/"], 9)[..] else { panic!("one page") };
        page.duration.record(Duration::from_micros(5));
        let [upstream] = &metrics.upstreams.of(&["api"], 9)[..] else { panic!("one upstream") };
        upstream.exchanges.add(7);
        upstream.connections.add(1);
        let sum = WorkerMetrics::default();
        (0..2).for_each(|_| sum.add(&metrics));
        assert_eq!((sum.accepted.get(), sum.connections.get()), (6, 0));
        assert_eq!(sum.statuses.get()[4], 2);
        assert_eq!(sum.pages.of(&["/"], 9)[0].duration.read().count, 2);
        let upstream = &sum.upstreams.of(&["api"], 9)[0];
        assert_eq!((upstream.exchanges.get(), upstream.connections.get()), (14, 0));
        let other = WorkerMetrics::default();
        drop(other.pages.of(&["/new"], 9));
        sum.retain_as(&other);
        assert!(sum.pages.all().is_empty() && sum.upstreams.all().is_empty());
    }

    #[test]
    fn parts_of_a_metric_are_next_to_each_other_and_no_two_are_the_same() {
        let mut seen = BTreeSet::new();
        let mut last = "";
        for field in WorkerMetrics::FIELDS {
            let name = field.family.name;
            assert!(name == last || !seen.contains(&(name, None)), "{name} twice");
            assert!(seen.insert((name, field.label)), "{name} {:?} twice", field.label);
            seen.insert((name, None));
            last = name;
        }
    }
}
