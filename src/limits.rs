//! Every bound of the server, named, with its unit. Where a bound can be set in `site.toml`, the
//! figure here is its default. Nothing in ringpress waits, queues, loops or buffers without one.

use std::time::Duration;

/// A request head (request line and headers), bytes. Over it: 431, or 414 for the target alone.
pub const REQUEST_HEAD_BYTES_MAX: usize = 16 * 1024;
/// A request target, bytes. Over it: 414.
pub const REQUEST_TARGET_BYTES_MAX: usize = 8 * 1024;
/// Header fields of one message, requests and responses alike. Over it: 431, or 502.
pub const HEADERS_MAX: usize = 100;
/// A request body, bytes. Over it: 413.
pub const REQUEST_BODY_BYTES_MAX: u64 = 1024 * 1024;
/// A response head of an upstream, bytes. Over it: 502.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// A response body of an upstream, bytes. Over it: 502.
pub const RESPONSE_BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A chunk-size line with its extensions, bytes (RFC 9112 section 7.1.1).
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// A trailer section after a chunked body, bytes (RFC 9112 section 7.1.2).
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;
/// Empty lines before a request line, which old clients send after a body (RFC 9112 section 2.2).
/// Over it: 400.
pub const EMPTY_LINES_MAX: usize = 4;
/// What is reserved at once for a body that was announced but not sent yet, bytes; beyond it a
/// buffer grows only with what arrives.
pub const BODY_RESERVE_BYTES_MAX: usize = 64 * 1024;
/// Pairs read of one query or urlencoded form; further ones are not looked at.
pub const QUERY_PAIRS_MAX: usize = 256;
/// Interim (1xx) responses before the final one. Over it: 502.
pub const INTERIM_RESPONSES_MAX: usize = 8;

/// Downstream connections a worker holds at once. Over it: 503 and close.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Connections over `CONNECTIONS_MAX` that are being told so at once, a worker; more are closed
/// without a word.
pub const TURNED_AWAY_MAX: u64 = 1024;
/// Pages a worker has in flight at once. Over it: 503.
pub const IN_FLIGHT_MAX: usize = 16_384;
/// How long a request head may take from its first byte. Over it: 408.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request body may take, and wait for its next byte. Over it: 408.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a downstream connection may be idle between requests before it is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a piece of a response may take to be written to a slow reader before the connection is
/// closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A response is written in pieces of so many bytes: each has `WRITE_TIMEOUT` and what it earns.
pub const WRITE_PIECE_BYTES: usize = 64 * 1024;
/// Bytes of a request body or of a response that earn a visitor one second beyond the timeout: who
/// is slower than this in the long run is cut off.
pub const RATE_BYTES_MIN: u64 = 1024;
/// Networks in `trusted_proxies`.
pub const TRUSTED_PROXIES_MAX: usize = 1024;
/// Addresses that proxies added to a request and that are looked at, from the last on.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// A header of the PROXY protocol with all its addresses and additions, bytes. Over it: closed.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;
/// A `tracestate` that is handed on, bytes (W3C Trace Context section 3.3.1.5).
pub const TRACE_STATE_BYTES_MAX: usize = 512;
/// Hashes of inline scripts or styles in the Content-Security-Policy. Over it: `unsafe-inline`.
pub const POLICY_HASHES_MAX: usize = 16;
/// Fields of an upstream's response that one page hands to the visitor, bytes. Over it: 502.
pub const PASSED_FIELDS_BYTES_MAX: usize = 16 * 1024;
/// How long a worker drains after it was told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes read and thrown away after an error answer, so that the client can read the answer
/// instead of a reset (RFC 9112 section 9.6).
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// How long that lingering close may take.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Backlog of a listening socket, connections; the kernel may cap it lower (`somaxconn`).
pub const LISTEN_BACKLOG: i32 = 4096;
/// Pause after accept failed for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM).
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A page, from its parsed head to its last fetch. Over it: 504.
pub const PAGE_DEADLINE: Duration = Duration::from_secs(10);
/// A fetch, from its start to its last byte, retry included. Over it: 504.
pub const FETCH_DEADLINE: Duration = Duration::from_secs(5);
/// A TCP connect to an upstream.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// From the request's last byte to the response head's last.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a pooled upstream connection may be idle before it is closed. Below the 60-75 s after
/// which common servers close theirs, so that we seldom send into a connection that is dying.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to one upstream, a worker. Over it a fetch waits for one, within its deadline.
pub const UPSTREAM_CONNECTIONS_MAX: usize = 16_384;
/// Idle connections kept to one upstream, a worker.
pub const UPSTREAM_IDLE_MAX: usize = 1024;
/// Fetches that wait for a connection to one upstream, a worker. Over it they fail at once.
pub const UPSTREAM_WAITERS_MAX: usize = 4096;
/// How often the control thread looks names up again.
pub const DNS_REFRESH: Duration = Duration::from_secs(30);
/// Addresses tried for one connection.
pub const CONNECT_ATTEMPTS_MAX: usize = 3;
/// Addresses kept of one name.
pub const ADDRESSES_MAX: usize = 16;
/// A part of a page's deadline that its optional fetches leave for the page to be made and sent:
/// one in so many, and no more than `PAGE_RESERVE_MAX`. They are given up then.
pub const PAGE_RESERVE_PARTS: u32 = 10;
/// The most that optional fetches leave of a page's deadline.
pub const PAGE_RESERVE_MAX: Duration = Duration::from_millis(250);

/// Answers of upstreams that a worker keeps, bytes. Over it the least useful ones go.
pub const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Calls that a worker makes for several pages at once. Over it each page asks for itself.
pub const CACHE_FLIGHTS_MAX: usize = 1024;
/// Of these, calls that nobody waits for, which renew answers. Over it they are not made.
pub const CACHE_REFRESHES_MAX: usize = 64;
/// Fetches that wait for one such call. Over it they fail at once: 503.
pub const CACHE_WAITERS_MAX: usize = 16_384;
/// Such calls that one fetch waits for, one after the other, while its own deadline has not passed.
pub const CACHE_FLIGHTS_TRIED_MAX: usize = 4;
/// How long a kept answer is not asked for again after that failed.
pub const CACHE_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Fields that ask whether a kept answer is still right, bytes. Over it that is not asked.
pub const CACHE_CONDITIONS_BYTES_MAX: usize = 1024;
/// How long it is remembered that an answer may not be kept: until then each page asks for itself,
/// without waiting for another.
pub const CACHE_UNSHARED_TIME: Duration = Duration::from_secs(10);

/// Fetches and lets of one page.
pub const PAGE_NODES_MAX: usize = 64;
/// Items of one `each`, default of `max_items`. Over it the page fails and says so.
pub const EACH_ITEMS_MAX: usize = 100;
/// Items of one `each` fetched at once, default of `concurrency`.
pub const EACH_CONCURRENCY: usize = 32;
/// A target (path and query) of a fetch, bytes.
pub const FETCH_TARGET_BYTES_MAX: usize = 8 * 1024;
/// A rendered page, bytes. Over it: 500.
pub const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// minijinja instructions of one render, expression or URL. Over it: 500.
pub const RENDER_FUEL: u64 = 10_000_000;
/// Digests of pages that a worker remembers; a page is kept when its digest comes again.
pub const MEMO_SEEN: usize = 8192;
/// A render that takes longer is counted and logged: nothing else runs on its worker meanwhile.
pub const RENDER_SLOW: Duration = Duration::from_millis(10);
/// Steps and expressions of a template with all it takes in. Over it: minijinja runs it itself.
pub const PROGRAM_STEPS_MAX: usize = 20_000;
/// Templates, blocks and macros within each other, as they are written. Over it: the same.
pub const PROGRAM_DEPTH_MAX: usize = 24;
/// Macros within each other, when they run. Over it: minijinja makes the page.
pub const PROGRAM_CALLS_MAX: usize = 24;
/// Depth of nested JSON (the same as serde_json's).
pub const JSON_DEPTH_MAX: usize = 128;
/// A site file or a template, bytes.
pub const SITE_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Templates of one site.
pub const TEMPLATES_MAX: usize = 4096;
/// Folders in folders of one site that are searched for templates.
pub const SITE_FOLDER_DEPTH_MAX: usize = 16;
/// Entries of a site's folders that are looked at, templates and others.
pub const SITE_ENTRIES_MAX: usize = 65_536;
/// Header fields that the templates of one fetch make, bytes. Over it: 400 or 500.
pub const FETCH_HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Problems of a site that are shown at once.
pub const REPORT_PROBLEMS_MAX: usize = 100;

/// First read of a downstream connection, bytes: all that an idle connection holds.
pub const DOWNSTREAM_READ_BYTES: usize = 1024;
/// Read from an upstream, bytes: the buffer grows by this when it is full.
pub const UPSTREAM_READ_BYTES: usize = 4 * 1024;
/// Room in front of a page for its response head, bytes.
pub const RESPONSE_HEAD_ROOM: usize = 1024;
/// Buffers a worker keeps for reuse; a larger one than `BUFFER_KEPT_BYTES_MAX` is given back.
pub const BUFFERS_KEPT_MAX: usize = 256;
/// The largest buffer a worker keeps for reuse, bytes.
pub const BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// Granularity of a worker's timers.
pub const TIMER_TICK: Duration = Duration::from_millis(4);
/// Slots of a worker's timer wheel; a timer beyond one turn is looked at once a turn.
pub const TIMER_SLOTS: usize = 1024;
/// The longest sleep a worker's timers ask of the driver, as some refuse one of years.
pub const TIMER_SLEEP_MAX: Duration = Duration::from_secs(3600);
/// The simulated driver: bytes that one direction of a connection holds.
pub const SIM_PIPE_BYTES: usize = 64 * 1024;
/// The simulated driver: polls of one run. More is taken for a loop without end.
pub const SIM_STEPS_MAX: u64 = 20_000_000;
/// The simulated driver: virtual time that each poll takes, so that a busy loop ages too.
pub const SIM_STEP_TIME: Duration = Duration::from_micros(1);
/// The simulated driver: how long after its cause a reset fault may strike.
pub const SIM_RESET_DELAY_MAX: Duration = Duration::from_secs(1);
/// Entries of a worker's submission ring; the completion ring is four times as large.
pub const RING_ENTRIES: u32 = 1024;
/// Log records waiting to be written; more are dropped and counted.
pub const LOG_QUEUE_MAX: usize = 8192;
/// Threads that serve: more CPUs than this are an error in `workers`.
pub const WORKERS_MAX: usize = 1024;

/// `ringpress plan`: blocking workers it counts up to.
pub const PLAN_WORKERS_MAX: u32 = 100_000;
/// `ringpress plan`: cores it counts up to. Its model takes chances down to e^-cores, which a
/// double holds for seven hundred.
pub const PLAN_CORES_MAX: u32 = 512;
/// `ringpress plan`: the lowest rate, pages a second; about four an hour.
pub const PLAN_RATE_PER_S_MIN: f64 = 0.001;
/// `ringpress plan`: the highest rate, pages a second.
pub const PLAN_RATE_PER_S_MAX: f64 = 10_000_000.0;
/// `ringpress plan`: the longest time, of an API or of a page's work.
pub const PLAN_TIME_MAX: Duration = Duration::from_secs(3600);

const _: () = assert!(REQUEST_TARGET_BYTES_MAX < REQUEST_HEAD_BYTES_MAX);
const _: () = assert!(DOWNSTREAM_READ_BYTES <= REQUEST_HEAD_BYTES_MAX);
const _: () = assert!(UPSTREAM_READ_BYTES <= RESPONSE_HEAD_BYTES_MAX);
const _: () = assert!(CONNECT_TIMEOUT.as_millis() < FETCH_DEADLINE.as_millis());
const _: () = assert!(EACH_CONCURRENCY <= EACH_ITEMS_MAX);
const _: () = assert!(UPSTREAM_IDLE_MAX <= UPSTREAM_CONNECTIONS_MAX);
const _: () = assert!(CACHE_REFRESHES_MAX <= CACHE_FLIGHTS_MAX);
const _: () = assert!(PAGE_RESERVE_PARTS > 1);
const _: () = assert!(TIMER_SLOTS.is_power_of_two());
