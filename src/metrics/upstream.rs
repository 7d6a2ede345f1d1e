//! What one worker counts of one upstream.

use super::family::{Family, Kind, table};
use super::{Counter, Histogram, Statuses};

/// Why exchanges gave no whole response.
const FAILURES: Family = Family {
    name: "ringpress_upstream_failures_total",
    help: "Exchanges that gave no whole response: connect (refused, unreachable), tls (no secure \
           connection), timeout, broken (the connection ended), protocol (no HTTP/1.1 as we speak \
           it), other (no address, no descriptor left).",
    kind: Kind::Counter,
};
/// What was not begun.
const REJECTS: Family = Family {
    name: "ringpress_upstream_rejects_total",
    help: "Fetches that were not begun: the breaker was open (breaker), or too many were under \
           way or waited (full).",
    kind: Kind::Counter,
};
/// Second exchanges for a fetch.
const RETRIES: Family = Family {
    name: "ringpress_upstream_retries_total",
    help: "Further exchanges for a fetch: as a pooled connection had died (stale), as retry has \
           it (retry), as hedge has it (hedge).",
    kind: Kind::Counter,
};
/// Bytes to and from it.
const BYTES: Family = Family {
    name: "ringpress_upstream_bytes_total",
    help: "Bytes of requests to an upstream (out) and of its whole responses (in), before \
           encryption and without chunk framing.",
    kind: Kind::Counter,
};

pub(super) const RESPONSES: Family = Family {
    name: "ringpress_upstream_responses_total",
    help: "Whole responses of an upstream, by the class of their status.",
    kind: Kind::Counter,
};
pub(super) const DURATION: Family = Family {
    name: "ringpress_upstream_duration_seconds",
    help: "How long exchanges with an upstream took, connecting and failures included.",
    kind: Kind::Histogram,
};

table! {
    /// What one worker counts of one upstream.
    #[derive(Debug, Default)]
    pub struct UpstreamMetrics {
        /// Exchanges with an upstream that were begun.
        exchanges: Counter as "ringpress_upstream_exchanges_total",
        /// It could not be connected to.
        failed_connect: Counter of FAILURES["reason" = "connect"],
        /// There is no TLS with it.
        failed_tls: Counter of FAILURES["reason" = "tls"],
        /// It was late.
        failed_timeout: Counter of FAILURES["reason" = "timeout"],
        /// The connection ended too early.
        failed_broken: Counter of FAILURES["reason" = "broken"],
        /// It did not speak as we do.
        failed_protocol: Counter of FAILURES["reason" = "protocol"],
        /// Something else.
        failed_other: Counter of FAILURES["reason" = "other"],
        /// Exchanges that were given up because nobody waited for them any more.
        cancelled: Counter as "ringpress_upstream_cancelled_total",
        /// Its breaker was open.
        rejected_breaker: Counter of REJECTS["reason" = "breaker"],
        /// Too many were under way or waited.
        rejected_full: Counter of REJECTS["reason" = "full"],
        /// Sent again because a pooled connection had died.
        retries_stale: Counter of RETRIES["reason" = "stale"],
        /// Tried again after a failure.
        retries: Counter of RETRIES["reason" = "retry"],
        /// Sent a second time because the first took long.
        hedges: Counter of RETRIES["reason" = "hedge"],
        /// Connections to an upstream that were opened, or tried to.
        connects: Counter as "ringpress_upstream_connects_total",
        /// Exchanges on a connection that had served before.
        reused: Counter as "ringpress_upstream_reused_total",
        /// Connections to an upstream that are open, idle or in use.
        connections: Gauge as "ringpress_upstream_connections",
        /// Exchanges under way.
        in_flight: Gauge as "ringpress_upstream_in_flight",
        /// Bytes that came from it.
        bytes_in: Counter of BYTES["direction" = "in"],
        /// Bytes that went to it.
        bytes_out: Counter of BYTES["direction" = "out"],
    }
    with {
        /// Whole responses by the class of their status.
        statuses: Statuses,
        /// How long exchanges took.
        duration: Histogram,
        /// How its breaker is, as [`Breaker`].
        breaker: Counter,
    }
}

/// How a breaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Breaker {
    /// There is none.
    Missing = 0,
    /// All is let through.
    Closed = 1,
    /// A few are let through, to see how it is.
    Probing = 2,
    /// Nothing is let through.
    Open = 3,
}

impl Breaker {
    /// All states there are.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Closed, Self::Probing, Self::Open];

    /// The word for it; none where there is none.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "",
            Self::Closed => "closed",
            Self::Probing => "probing",
            Self::Open => "open",
        }
    }
}

impl UpstreamMetrics {
    /// Says how its breaker is.
    pub fn set_breaker(&self, state: Breaker) {
        self.breaker.set(state as u64);
    }

    /// How its breaker is.
    pub fn breaker(&self) -> Breaker {
        let state = usize::try_from(self.breaker.get()).unwrap_or_default();
        Breaker::ALL.get(state).copied().unwrap_or(Breaker::Missing)
    }

    /// Exchanges that gave no whole response.
    pub fn failed(&self) -> u64 {
        let fields = Self::FIELDS.iter().filter(|field| field.family == FAILURES);
        fields.map(|field| (field.get)(self).get()).sum()
    }

    pub(super) fn add(&self, other: &Self) {
        for field in Self::FIELDS.iter().filter(|field| field.family.kind.grows()) {
            (field.get)(self).add((field.get)(other).get());
        }
        self.statuses.add(&other.statuses);
        self.duration.add(&other.duration);
    }
}
