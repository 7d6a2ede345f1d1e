//! What a server tells of itself at one moment: plain numbers, taken from all workers at once, for
//! whoever shows them. Counters count from the start of their worker; who wants rates takes two.

use serde::Serialize;

/// A server at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// Since the process started, milliseconds.
    pub uptime_ms: u64,
    /// Of ringpress.
    pub version: String,
    /// The site's folder.
    pub site: String,
    /// How the workers talk to the kernel.
    pub driver: String,
    /// Where visitors are served, as URLs.
    pub listening: Vec<String>,
    /// Whether new visitors are wanted: not while it drains.
    pub ready: bool,
    /// What became of the server's life so far.
    pub life: Life,
    /// Each worker.
    pub workers: Vec<Worker>,
    /// Each page, all workers together.
    pub pages: Vec<Page>,
    /// Each upstream, all workers together.
    pub upstreams: Vec<Upstream>,
}

/// Reloads, upgrades and accidents.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Life {
    /// Reloads that took.
    pub reloads: u64,
    /// Reloads that were refused, as the new site does not check.
    pub reloads_failed: u64,
    /// Why the last reload was refused; empty where the last one took.
    pub reload_problem: String,
    /// When the site was last loaded, milliseconds since 1970.
    pub loaded_unix_ms: u64,
    /// Upgrades that failed: the new process did not serve.
    pub upgrades_failed: u64,
    /// Workers that were started again after a panic.
    pub workers_restarted: u64,
    /// Workers that stood still for too long.
    pub workers_stalled: u64,
    /// When the first of the certificates in use expires, seconds since 1970; none without any.
    pub certificate_expiry_unix_s: Option<u64>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Worker {
    /// Which one, from 0 on.
    pub number: usize,
    /// The CPU it is pinned to.
    pub cpu: Option<usize>,
    /// Requests whose head was read whole.
    pub requests: u64,
    /// Requests answered, whole.
    pub responses: u64,
    /// Responses by the first digit of their status; index 0 is not used.
    pub statuses: [u64; 6],
    /// Requests answered 503 or 429 because of the load or the client's share.
    pub shed: u64,
    /// Connections to visitors, now.
    pub connections: u64,
    /// Pages in flight, now.
    pub in_flight: u64,
    /// Connections to upstreams, now.
    pub upstream_connections: u64,
    /// How late the loop was when it last looked, microseconds.
    pub lag_us: u64,
    /// Whether it sheds.
    pub overloaded: bool,
    /// CPU time of its thread, microseconds.
    pub cpu_us: u64,
    /// Turns of its loop.
    pub turns: u64,
    /// Operations handed to the kernel.
    pub operations: u64,
    /// How long pages took, from the head of the request to the answer.
    pub times: Times,
}

/// One page, by its pattern.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Page {
    /// Its path in the site file; empty for what no page was asked for.
    pub pattern: String,
    /// Its template.
    pub template: String,
    /// Answers by the first digit of their status; index 0 is not used.
    pub statuses: [u64; 6],
    /// How long it took, from the head of the request to the answer.
    pub times: Times,
    /// How long its template took.
    pub render: Times,
}

/// One upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Upstream {
    /// Its name in the site file.
    pub name: String,
    /// Scheme, host and port.
    pub authority: String,
    /// The state of its breaker, the worst of all workers': `closed`, `probing`, `open`; empty
    /// where it has none.
    pub breaker: String,
    /// Exchanges begun.
    pub exchanges: u64,
    /// Answers by the first digit of their status; index 0 is not used.
    pub statuses: [u64; 6],
    /// Exchanges that failed: refused, broken, late.
    pub errors: u64,
    /// Of these, the ones that were late.
    pub timeouts: u64,
    /// Fetches not begun: its breaker was open, or too many waited.
    pub rejected: u64,
    /// Tries again, and second requests.
    pub retries: u64,
    /// Exchanges under way, now.
    pub in_flight: u64,
    /// Connections open, now.
    pub connections: u64,
    /// Connections that were opened.
    pub connects: u64,
    /// Exchanges on a connection that had served before.
    pub reused: u64,
    /// How long exchanges took.
    pub times: Times,
}

/// How long things took: how many in each bucket of a log-linear histogram.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// All together, microseconds.
    pub sum_us: u64,
    /// How many in each bucket.
    #[serde(skip)]
    pub buckets: Vec<u64>,
}
