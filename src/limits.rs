//! Every bound of the server, named, with its unit. Where a bound can be set in `site.toml`, the
//! figure here is its default. Nothing in ringpress waits, queues, loops or buffers without one.

mod acme;
mod admin;
mod answers;
pub mod authoring;
mod caching;
mod coding;
mod dashboard;
mod doctor;
mod forms;
mod fragments;
mod http2;
mod press;
mod records;
mod statics;

use std::time::Duration;

pub use acme::*;
pub use admin::*;
pub use answers::*;
pub use caching::*;
pub use coding::*;
pub use dashboard::*;
pub use doctor::*;
pub use forms::*;
pub use fragments::*;
pub use http2::*;
pub use press::*;
pub use records::*;
pub use statics::*;

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
/// Connections over `CONNECTIONS_MAX` that are being told so at once, a worker.
pub const TURNED_AWAY_MAX: usize = 1024;
/// How long the next ones wait to be told; they are closed without a word then.
pub const TURNING_AWAY_WAIT: Duration = Duration::from_millis(100);
/// Pages a worker has in flight at once. Over it: 503.
pub const IN_FLIGHT_MAX: usize = 16_384;
/// Of these, in percent, what pages of low priority may have, and those of normal priority on a
/// site that has others. Over it: 503.
pub const IN_FLIGHT_LOW_PERCENT: usize = 50;
/// See `IN_FLIGHT_LOW_PERCENT`.
pub const IN_FLIGHT_NORMAL_PERCENT: usize = 90;
/// Connections, percent of a worker's most, over which only so many are kept idle as are left.
pub const CONNECTIONS_KEPT_PERCENT: usize = 90;
/// How long a readable request may wait for the loop. When all of them have waited for longer
/// than this for a `QUEUE_WINDOW`, the worker is overloaded: 503 for what it cannot make in time.
pub const QUEUE_TARGET: Duration = Duration::from_millis(20);
/// How long it must be so, and how often an overloaded worker adjusts what it takes.
pub const QUEUE_WINDOW: Duration = Duration::from_millis(100);
/// How often a worker with requests looks how late it is; one without, once in a `QUEUE_WINDOW`.
pub const QUEUE_TICK: Duration = Duration::from_millis(10);
/// Windows without a 503 after which a worker is not overloaded any more.
pub const QUEUE_WINDOWS_CALM: u32 = 5;
/// Pages that even the most overloaded worker takes on, a second.
pub const OVERLOAD_RATE_PER_S_MIN: f64 = 10.0;
/// Pages that an overloaded worker takes on at once, however slow they are.
pub const OVERLOAD_BURST_MIN: f64 = 4.0;
/// How long an overloaded worker makes pages before it looks at its sockets again; a page that
/// takes longer is a stint of its own.
pub const STINT: Duration = Duration::from_micros(300);
/// How often tasks give way, all together, until the loop looks at its sockets and timers. A look
/// takes about two microseconds.
pub const GIVE_WAYS_MAX: u32 = 32;
/// How often in a row a page may wake itself and go on at once; the next time the loop looks first.
pub const SELF_WAKES_MAX: u32 = 32;
/// Looks between two stints, for as long as each brings something. A new connection takes three
/// until its 503 is on its way: it is accepted, its request is read, the answer is handed over.
pub const LOOKS_MAX: u32 = 8;
/// How long these may go on.
pub const LOOKS_TIME_MAX: Duration = Duration::from_millis(2);
/// By how many times they may be longer than the stint after them: a third of the time is for
/// making pages, whatever comes.
pub const LOOKS_PER_STINT: u32 = 2;
/// The pause that stands in for a look where there are no descriptors for one.
pub const LOOK_PAUSE: Duration = Duration::from_millis(1);
/// Visitors that an overloaded worker turns away in one turn of its loop; the others wait for the
/// next. So those who ask again at once do not keep it from making pages.
pub const TURNED_AWAY_A_TURN_MAX: usize = 128;
/// What Retry-After says at least, seconds.
pub const RETRY_AFTER_S_MIN: u8 = 1;
/// And at most, seconds.
pub const RETRY_AFTER_S_MAX: u8 = 30;
/// Clients that a worker keeps count of for `rate_limit`. Over it: those it does not know yet are
/// let in uncounted.
pub const RATE_CLIENTS_MAX: usize = 65_536;
/// Clients looked at for one that may be forgotten, for each new one.
pub const RATE_CLIENTS_LOOKED_AT: usize = 8;
/// How long a page may wait for its fetches before its worker begins to look whether the visitor
/// is still there.
pub const WATCH_AFTER: Duration = Duration::from_millis(100);
/// Room of the read that looks, bytes: held while the page waits. What a request that comes
/// meanwhile has beyond it takes another read.
pub const WATCH_READ_BYTES: usize = 64;
/// How long a page goes on for a visitor who has ended their side of the connection. Over it: its
/// fetches are cancelled and the connection is closed.
pub const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
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
/// What a peer may send in a TLS handshake, bytes: a chain of many large certificates fits.
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 128 * 1024;
/// Room of a read in a TLS handshake, bytes: a usual chain of certificates takes one or two.
pub const TLS_READ_BYTES: usize = 4 * 1024;
/// Room that a read of a secured connection has beyond that of a plain one, bytes: what a record
/// or two have around their content.
pub const TLS_RECORD_ROOM_BYTES: usize = 128;
/// How long a TLS handshake may take with a visitor. Over it: closed.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Files that the `ca` of one upstream names.
pub const TLS_CA_FILES_MAX: usize = 16;
/// Names of a peer's certificate that are told when it is for none that was wanted.
pub const TLS_NAMES_TOLD_MAX: usize = 8;
/// A name out of a peer's certificate when it is told, characters.
pub const TLS_NAME_TOLD_CHARS_MAX: usize = 100;
/// Certificates in one file: authorities, or a chain.
pub const TLS_CERTIFICATES_MAX: usize = 1024;
/// Names of servers whose sessions a worker keeps to resume, an upstream.
pub const TLS_CLIENT_SESSIONS_MAX: usize = 16;
/// TLS handshakes that a worker has under way at once, of peers who have begun to speak. Over it:
/// closed, so that a flood of them cannot take the memory of pages.
pub const TLS_HANDSHAKES_MAX: usize = 4096;
/// Of these, those that may wait for their turn on a worker that is overloaded. Over it: closed
/// before anything is computed.
pub const TLS_HANDSHAKES_OVERLOADED_MAX: usize = 64;
/// How long a worker computes for handshakes before it looks at its sockets again.
pub const TLS_STINT: Duration = Duration::from_millis(1);
/// The same on a worker that is overloaded. Less than one handshake takes: one each time.
pub const TLS_STINT_OVERLOADED: Duration = Duration::from_micros(100);
/// The least time from one such look to the next.
pub const TLS_STINT_PAUSE: Duration = Duration::from_millis(1);
/// A file with a certificate or a key, bytes. Over it: an error.
pub const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Certificates in `[[server.tls]]`.
pub const TLS_IDENTITIES_MAX: usize = 4096;
/// How often the files of certificates are looked at.
pub const TLS_FILES_LOOK: Duration = Duration::from_secs(1);
/// How long before its end a certificate is warned of.
pub const TLS_EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);
/// How often.
pub const TLS_EXPIRY_REMINDER: Duration = Duration::from_secs(24 * 3600);
/// How long it may take to tell a peer that a secured connection ends.
pub const TLS_GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
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
/// How long a worker whose successor serves already waits for a last request on each connection
/// that is kept: who sends one now is told to come back on another, and loses nothing.
pub const HAND_OVER_PATIENCE: Duration = Duration::from_secs(5);
/// How long the workers may take to go over to a new site.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the successor of a server may take until it serves.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);
/// Listening sockets that a server takes over from its predecessor.
pub const INHERITED_SOCKETS_MAX: usize = 4096;
/// CPUs that a thread may be pinned to, by number: as many as fit into a set of them
/// (sched_setaffinity(2)).
pub const CPU_NUMBERS_MAX: usize = 1024;
/// How often the control thread looks after workers, signals and commands.
pub const CONTROL_LOOK: Duration = Duration::from_millis(100);
/// A worker's stack, of which only what is touched is memory: over what the deepest template takes
/// in a debug build.
pub const WORKER_STACK_BYTES: usize = 8 * 1024 * 1024;
/// How long a worker may stand still before another takes its place.
pub const WORKER_STALL_MAX: Duration = Duration::from_secs(10);
/// For how long one that does is looked at, to tell where it is.
pub const STALL_SAMPLES_TIME: Duration = Duration::from_millis(400);
/// How often then, times in a second of CPU time.
pub const STALL_SAMPLES_HZ: i32 = 199;
/// Functions that are told of it.
pub const STALL_FRAMES_MAX: usize = 100;
/// How long a worker that failed is left alone before it is started again; twice as long each time.
pub const WORKER_RESTART_PAUSE: Duration = Duration::from_millis(100);
/// And at most.
pub const WORKER_RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// After so long without a failure a worker counts as well again.
pub const WORKER_WELL_AFTER: Duration = Duration::from_secs(60);
/// Panics that are logged with their backtrace, in a minute.
pub const PANICS_LOGGED_PER_MINUTE: u32 = 20;
/// Bytes read and thrown away after an error answer, so that the client can read the answer
/// instead of a reset (RFC 9112 section 9.6).
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// How long that lingering close may take.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Backlog of a listening socket, connections; the kernel may cap it lower (`somaxconn`).
pub const LISTEN_BACKLOG: i32 = 4096;
/// Accepts that a driver on a ring keeps pending at a listening socket: each gives one connection
/// a turn of the loop, and what is over it waits in the backlog for the next.
pub const ACCEPTS_PENDING: usize = 32;
/// Connections that one accept loop takes before others have their turn.
pub const ACCEPT_BURST_MAX: usize = 64;
/// Pause after accept failed for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM).
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// A page, from its parsed head to its last fetch. Over it: 504.
pub const PAGE_DEADLINE: Duration = Duration::from_secs(10);
/// A fetch, from its start to its last byte, retry included. Over it: 504.
pub const FETCH_DEADLINE: Duration = Duration::from_secs(5);
/// A TCP connect to an upstream, and the TLS handshake after it where there is one.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before another try to connect, for want of descriptors or memory.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// From the request's last byte to the response head's last: if not set, the deadline decides.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long a pooled upstream connection may be idle before it is closed. Below the 60-75 s after
/// which common servers close theirs, so that we seldom send into a connection that is dying.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// From the response head's last byte to the body's last: likewise.
pub const RESPONSE_BODY_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Connections to one upstream of the whole server, divided among its workers. Over its share a
/// worker's fetch waits for one, within its deadline.
pub const UPSTREAM_CONNECTIONS_MAX: usize = 65_536;
/// Idle connections kept to one upstream, a worker.
pub const UPSTREAM_IDLE_MAX: usize = 1024;
/// Fetches that wait for a connection or for a place in flight to one upstream, a worker. Over it
/// they fail at once.
pub const UPSTREAM_WAITERS_MAX: usize = 4096;
/// Fetches from one upstream in flight at once, a worker. Over it a fetch waits its turn.
pub const UPSTREAM_IN_FLIGHT_MAX: usize = 65_536;
/// How long a fetch waits for a place in flight. Over it: 503.
pub const UPSTREAM_QUEUE_TIMEOUT: Duration = Duration::from_millis(100);
/// Tries of one fetch where an upstream has `retry`, the first included.
pub const RETRY_ATTEMPTS: usize = 2;
/// The most tries that may be asked for.
pub const RETRY_ATTEMPTS_MAX: usize = 5;
/// The longest pause before the first retry; it doubles with each, up to `RETRY_BACKOFF_MAX`.
pub const RETRY_BACKOFF: Duration = Duration::from_millis(25);
/// The longest pause before any retry, but for what a Retry-After asks.
pub const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Fetches that earn one more try, a retry or a hedge. Where none is saved, there is none.
pub const RETRY_EARNED_BY: u32 = 10;
/// Tries saved up, one upstream and worker; also what it starts with.
pub const RETRY_SAVED_MAX: u32 = 10;
/// How long earns a try by itself, for an upstream that is seldom asked.
pub const RETRY_DRIP: Duration = Duration::from_secs(10);
/// Exchanges that must have been timed before one is hedged by their 95th percentile.
pub const HEDGE_SAMPLES_MIN: u32 = 32;
/// A hedge is not sent earlier than this, however quick an upstream is.
pub const HEDGE_AFTER_MIN: Duration = Duration::from_millis(1);
/// A request to an upstream that is longer may not be taken whole before the answer comes, bytes:
/// that is listened for while it is sent.
pub const REQUEST_BYTES_AT_ONCE: usize = 16 * 1024;
/// Times kept of one upstream's exchanges; at that many, all count half.
pub const LATENCY_SAMPLES_MAX: u16 = 1024;
/// The same of the times that waiting for a connection goes by: what a slow spell has left there
/// is outvoted by a hundred quick answers.
pub const SERVICE_SAMPLES_MAX: u16 = 128;
/// Failed exchanges among a thousand that open a breaker.
pub const BREAKER_FAILURES_PER_MILLE: u32 = 800;
/// Slow exchanges among a thousand that open it, where `slow` says what slow is.
pub const BREAKER_SLOW_PER_MILLE: u32 = 900;
/// The time over which it looks back.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(10);
/// Parts of that time; the oldest is forgotten when a new one begins.
pub const BREAKER_SLICES: usize = 10;
/// Exchanges in that time without which it does not open.
pub const BREAKER_REQUESTS_MIN: usize = 20;
/// How long it stays open before it lets probes through, and from then to the next ones.
pub const BREAKER_OPEN: Duration = Duration::from_millis(500);
/// Probes that must succeed for it to close, and that are let through at once, each time.
pub const BREAKER_PROBES: usize = 3;
/// Probes that hang at once, from one time to the next. Over it no more are let through.
pub const BREAKER_HANGING_MAX: usize = 32;
/// A fetch whose upstream had less time than this, or than twice what it usually takes, and less
/// than the upstream's own limits, and was late, says nothing about the upstream.
pub const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// Failures in a row after which an address gets no new exchanges for a while.
pub const EJECT_FAILURES: usize = 5;
/// For how long the first time; it doubles with each, up to `EJECT_TIME_MAX`.
pub const EJECT_TIME: Duration = Duration::from_secs(10);
/// The longest that an address is left out before it is tried again.
pub const EJECT_TIME_MAX: Duration = Duration::from_secs(300);
/// How often an address is asked for its health, where an upstream has `health`.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// How long its answer may take. Over it: a failed check.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// Failed checks in a row after which an address gets no new exchanges.
pub const HEALTH_FAILS: usize = 3;
/// Passed checks in a row after which it gets them again.
pub const HEALTH_PASSES: usize = 2;
/// The answer to a health check, bytes. Over it: a failed check.
pub const HEALTH_BODY_BYTES_MAX: u64 = 64 * 1024;
/// How often names are looked up again whose addresses come without a time for which they hold.
pub const DNS_REFRESH: Duration = Duration::from_secs(30);
/// The shortest time after which a name is looked up again.
pub const DNS_TTL_MIN: Duration = Duration::from_secs(5);
/// The longest time after which it is.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(300);
/// How long a name server may take. Over it the next one is asked, in the end the system.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(2);
/// Name servers that are asked.
pub const DNS_SERVERS_MAX: usize = 3;
/// A name server's answer, bytes: more does not come by UDP unasked (RFC 1035 section 4.2.1).
pub const DNS_ANSWER_BYTES_MAX: usize = 512;
/// Records of such an answer. Over it: no answer.
pub const DNS_RECORDS_MAX: usize = 64;
/// Aliases (CNAME) on the way from a name to its addresses.
pub const DNS_ALIASES_MAX: usize = 8;
/// Addresses tried for one connection.
pub const CONNECT_ATTEMPTS_MAX: usize = 3;
/// Addresses kept of one name.
pub const ADDRESSES_MAX: usize = 16;

/// A part of a page's deadline that its optional fetches leave for the page to be made and sent:
/// one in so many, and no more than `PAGE_RESERVE_MAX`. They are given up then.
pub const PAGE_RESERVE_PARTS: u32 = 10;
/// The most that optional fetches leave of a page's deadline.
pub const PAGE_RESERVE_MAX: Duration = Duration::from_millis(250);

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
/// Digests of pages that a worker remembers; a page is kept when its digest comes again.
pub const MEMO_SEEN: usize = 8192;
/// A render that takes longer is counted and logged: nothing else runs on its worker meanwhile.
pub const RENDER_SLOW: Duration = Duration::from_millis(10);
/// Failures of pages that are logged in a `PAGE_FAILURES_PERIOD`, of one upstream and kind, a
/// worker; of what is turned away, one. The others are counted, and that is logged.
pub const PAGE_FAILURES_LOGGED_A_PERIOD: u32 = 10;
/// Slow renders that are logged in a `PAGE_FAILURES_PERIOD`, a worker; the others are counted.
pub const RENDERS_SLOW_LOGGED_A_PERIOD: u32 = 3;
/// Error pages of the site's own that fail and are logged in a `PAGE_FAILURES_PERIOD`, a worker;
/// the others are counted, and that is logged.
pub const ERROR_PAGES_LOGGED_A_PERIOD: u32 = 3;
/// See `PAGE_FAILURES_LOGGED_A_PERIOD`.
pub const PAGE_FAILURES_PERIOD: Duration = Duration::from_secs(1);
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
/// Characters of a line that are shown with a problem in it.
pub const EXCERPT_CHARS_MAX: usize = 120;

/// First read of a downstream connection, bytes, at most: all that an idle connection holds. Where
/// requests are smaller, so is it.
pub const DOWNSTREAM_READ_BYTES: usize = 1024;
/// Read from an upstream, bytes: the buffer grows by this when it is full.
pub const UPSTREAM_READ_BYTES: usize = 4 * 1024;
/// The same for an upstream that has not answered yet, bytes: all that wait for it hold this.
pub const UPSTREAM_READ_BYTES_FIRST: usize = 1024;
/// Room in front of a page for its response head, bytes.
pub const RESPONSE_HEAD_ROOM: usize = 1024;
/// Buffers a worker keeps for reuse; a larger one than `BUFFER_KEPT_BYTES_MAX` is given back.
pub const BUFFERS_KEPT_MAX: usize = 256;
/// The largest buffer a worker keeps for reuse, bytes.
pub const BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// By how much a worker's timers must be late until what has come is heard before they expire.
pub const LOOP_AWAY: Duration = Duration::from_millis(50);
/// For how long it is heard then, whatever comes.
pub const LOOP_HEARS_MAX: Duration = Duration::from_millis(500);
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
/// The driver `ring`: buffers of a worker that the kernel receives into.
pub const RING_BUFFERS: u16 = 128;
/// The driver `ring`: bytes of each of them, the most that one read brings.
pub const RING_BUFFER_BYTES: u32 = 16 * 1024;
/// The driver `ring`: tasks that run before the loop looks at what has come.
pub const RING_TASKS_A_TURN_MAX: usize = 256;
/// The driver `ring`: how long a loop that ends waits for the kernel to be done.
pub const RING_END_TIME: Duration = Duration::from_secs(1);
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
const _: () = assert!(UPSTREAM_QUEUE_TIMEOUT.as_millis() < FETCH_DEADLINE.as_millis());
const _: () = assert!(RETRY_ATTEMPTS <= RETRY_ATTEMPTS_MAX);
const _: () = assert!(RETRY_BACKOFF.as_millis() <= RETRY_BACKOFF_MAX.as_millis());
const _: () = assert!(HEDGE_SAMPLES_MIN <= LATENCY_SAMPLES_MAX as u32);
const _: () = assert!(DNS_TTL_MIN.as_millis() <= DNS_TTL_MAX.as_millis());
const _: () = assert!(HEALTH_TIMEOUT.as_millis() <= HEALTH_INTERVAL.as_millis());
const _: () = assert!(PAGE_RESERVE_PARTS > 1);
const _: () = assert!(TIMER_SLOTS.is_power_of_two());
const _: () = assert!(IN_FLIGHT_LOW_PERCENT <= IN_FLIGHT_NORMAL_PERCENT);
const _: () = assert!(IN_FLIGHT_NORMAL_PERCENT <= 100 && CONNECTIONS_KEPT_PERCENT <= 100);
const _: () = assert!(QUEUE_TICK.as_millis() < QUEUE_WINDOW.as_millis());
const _: () = assert!(STINT.as_micros() <= LOOKS_TIME_MAX.as_micros() && LOOKS_MAX >= 3);
const _: () = assert!(TLS_STINT_PAUSE.as_micros() <= TLS_STINT.as_micros());
const _: () = assert!(TLS_HANDSHAKES_OVERLOADED_MAX <= TLS_HANDSHAKES_MAX);
const _: () = assert!(RETRY_AFTER_S_MIN < RETRY_AFTER_S_MAX && RETRY_AFTER_S_MAX < 100);
