//! `[server]`: where to listen, on which CPUs, and the bounds toward visitors.

use std::collections::BTreeSet;

use super::access_log::{self, AccessLog};
use super::acme::{self, Acme};
use super::compress::{self, Compress};
use super::forms;
use super::headers::{self, PageField};
use super::proxies::{self, ForwardedFields};
use super::rate_limit::{self, RateLimit};
use super::reader::{Entry, Reader, has_key, integer};
use super::secure::{self, Secure};
use super::session::{self, Session};
use super::spots::Spots;
use crate::limits;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use toml::de::DeValue;

/// `[server]`, with the defaults of [`limits`] where nothing is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Addresses; each worker has one socket for each.
    pub listen: Vec<SocketAddr>,
    /// Whether nobody has said so: a site that is served over HTTPS then has no others.
    pub listens_as_usual: bool,
    /// How HTTPS is served, if it is.
    pub secure: Secure,
    /// Which CPUs serve.
    pub workers: Workers,
    /// How workers talk to the kernel.
    pub driver: DriverChoice,
    /// Whether a visitor goes to the worker on whose CPU their packets come in.
    pub incoming_cpu: bool,
    /// Whether error pages show what happened inside.
    pub development: bool,
    /// Connections a worker holds at once.
    pub connections_max: usize,
    /// Pages a worker has in flight at once.
    pub in_flight_max: usize,
    /// How long readable requests may all wait for the loop before a worker sheds; none for ever.
    pub queue_target: Option<Duration>,
    /// How much one client may ask for; none for all it likes.
    pub rate_limit: Option<RateLimit>,
    /// Finished pages a worker keeps, bytes; 0 for none.
    pub memo_max: u64,
    /// Answers of upstreams a worker keeps for fetches that ask for it, bytes.
    pub cache_max: u64,
    /// How pages are packed.
    pub compress: Compress,
    /// How long a request head may take.
    pub head_timeout: Duration,
    /// How long a request body may take.
    pub body_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long a page goes on for a visitor who has ended their side of the connection.
    pub half_close_timeout: Duration,
    /// How long a response may take to be written.
    pub write_timeout: Duration,
    /// Bytes of a body or a response that earn a visitor a second more than these timeouts; 0 for
    /// none.
    pub rate_min: u64,
    /// How long a worker drains.
    pub drain_timeout: Duration,
    /// A request head, bytes.
    pub request_head_max: usize,
    /// A request body, bytes.
    pub request_body_max: u64,
    /// Whose word about visitors is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Other sites whose forms are taken, each an origin in lower case.
    pub trusted_origins: Vec<String>,
    /// Which fields they say it in.
    pub forwarded: ForwardedFields,
    /// Whether connections from them begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The field in which request ids come from them, and go to upstreams; none for neither.
    pub request_id: Option<String>,
    /// Which certificate to get from an ACME directory, if any.
    pub acme: Option<Acme>,
    /// How requests are recorded, if they are.
    pub access_log: Option<AccessLog>,
    /// How sessions are kept, if they are.
    pub session: Option<Session>,
    /// Fields of all HTML, in place of the usual ones or beside them.
    pub headers: Vec<PageField>,
    /// Where in the site file stands what is looked at again later.
    pub spots: Spots,
}

/// `workers`: how many threads serve, and where they are pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each CPU this process may use.
    All,
    /// That many, on the first CPUs.
    Count(usize),
    /// One for each of these CPUs.
    Cpus(Vec<usize>),
}

/// `driver`: which way to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where it works, else epoll.
    Auto,
    /// io_uring through monoio.
    Monoio,
    /// io_uring through our own loop.
    Ring,
    /// io_uring through tokio-uring.
    TokioUring,
    /// epoll through monoio.
    Epoll,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080)],
            listens_as_usual: true,
            secure: Secure::default(),
            workers: Workers::All,
            driver: DriverChoice::Auto,
            incoming_cpu: false,
            development: false,
            connections_max: limits::CONNECTIONS_MAX,
            in_flight_max: limits::IN_FLIGHT_MAX,
            queue_target: Some(limits::QUEUE_TARGET),
            rate_limit: None,
            memo_max: 0,
            cache_max: limits::CACHE_BYTES_MAX,
            compress: Compress::default(),
            head_timeout: limits::HEAD_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            idle_timeout: limits::IDLE_TIMEOUT,
            half_close_timeout: limits::HALF_CLOSE_TIMEOUT,
            write_timeout: limits::WRITE_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
            request_head_max: limits::REQUEST_HEAD_BYTES_MAX,
            rate_min: limits::RATE_BYTES_MIN,
            request_body_max: limits::REQUEST_BODY_BYTES_MAX,
            trusted_proxies: Vec::new(),
            trusted_origins: Vec::new(),
            forwarded: ForwardedFields::XForwarded,
            proxy_protocol: false,
            request_id: Some("X-Request-Id".to_owned()),
            acme: None,
            access_log: None,
            session: None,
            headers: Vec::new(),
            spots: Spots::default(),
        }
    }
}

impl Server {
    /// Listens with TLS there, and without it only where somebody has said so.
    pub fn listen_tls(&mut self, addresses: Vec<SocketAddr>) {
        self.secure.listen = addresses;
        if self.listens_as_usual {
            self.listen.clear();
        }
    }

    /// Whether what comes from this address, in canonical form, may speak for visitors.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

impl DriverChoice {
    /// The driver of this name, as in `site.toml` and `--driver`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "monoio" => Some(Self::Monoio),
            "ring" => Some(Self::Ring),
            "tokio-uring" => Some(Self::TokioUring),
            "epoll" => Some(Self::Epoll),
            _ => None,
        }
    }
}

/// An address to listen on. Names other than `localhost` are refused: a look-up at startup would
/// decide in secret which network the site is open to.
pub fn listen_address(text: &str) -> Option<SocketAddr> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().ok()
}

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Server {
    let mut server = Server::default();
    for entry in &reader.table(table) {
        match entry.key {
            "listen" => {
                server.listens_as_usual = false;
                read_listen(reader, entry, &mut server.listen);
            }
            "workers" => read_workers(reader, entry, &mut server.workers),
            "driver" => match entry.value.get_ref().as_str().and_then(DriverChoice::from_name) {
                Some(driver) => server.driver = driver,
                None => reader.wrong_form(entry, DRIVERS),
            },
            "incoming_cpu" => server.incoming_cpu = reader.flag(entry).unwrap_or_default(),
            "development" => server.development = reader.flag(entry).unwrap_or_default(),
            "connections_max" => reader.count(entry, 1, COUNT_MAX, &mut server.connections_max),
            "in_flight_max" => reader.count(entry, 1, COUNT_MAX, &mut server.in_flight_max),
            "queue_target" if entry.value.get_ref().as_bool() == Some(false) => {
                server.queue_target = None;
            }
            "queue_target" => {
                let target = server.queue_target.get_or_insert(limits::QUEUE_TARGET);
                reader.duration(entry, target);
            }
            "rate_limit" => server.rate_limit = rate_limit::read(reader, entry),
            "memo_max" if entry.value.get_ref().as_bool() == Some(false) => server.memo_max = 0,
            "memo_max" => reader.size(entry, MEMO_BYTES_LIMIT, &mut server.memo_max),
            "cache_max" => reader.size(entry, MEMO_BYTES_LIMIT, &mut server.cache_max),
            "compress" => server.compress = compress::read(reader, entry),
            "head_timeout" => reader.duration(entry, &mut server.head_timeout),
            "body_timeout" => reader.duration(entry, &mut server.body_timeout),
            "idle_timeout" => reader.duration(entry, &mut server.idle_timeout),
            "half_close_timeout" => reader.duration(entry, &mut server.half_close_timeout),
            "write_timeout" => reader.duration(entry, &mut server.write_timeout),
            "rate_min" if entry.value.get_ref().as_bool() == Some(false) => server.rate_min = 0,
            "rate_min" => reader.size(entry, RATE_BYTES_LIMIT, &mut server.rate_min),
            "drain_timeout" => reader.duration(entry, &mut server.drain_timeout),
            "request_head_max" => read_head_max(reader, entry, &mut server.request_head_max),
            "request_body_max" => {
                reader.size(entry, BODY_BYTES_MAX, &mut server.request_body_max);
            }
            "trusted_proxies" => proxies::read(reader, entry, &mut server.trusted_proxies),
            "trusted_origins" => forms::read_origins(reader, entry, &mut server.trusted_origins),
            "forwarded" => match entry.value.get_ref().as_str().and_then(ForwardedFields::named) {
                Some(fields) => server.forwarded = fields,
                None => reader.wrong_form(entry, "\"x-forwarded\" or \"forwarded\""),
            },
            "proxy_protocol" => server.proxy_protocol = reader.flag(entry).unwrap_or_default(),
            "request_id" => headers::read_request_id(reader, entry, &mut server.request_id),
            "access_log" => server.access_log = access_log::read(reader, entry),
            "acme" => server.acme = acme::read(reader, entry),
            "session" => server.session = session::read(reader, entry),
            "headers" => server.headers = headers::read(reader, entry),
            _ if secure::read(reader, entry, &mut server.secure) => {}
            _ => reader.unknown_key(entry, KEYS, "in [server]"),
        }
        server.spots.note(entry);
        needs(reader, table, entry);
    }
    if !server.secure.listen.is_empty() {
        server.listen_tls(server.secure.listen.clone());
    }
    server
}

/// Complains about a key that means nothing without another.
fn needs(reader: &mut Reader<'_>, table: &Entry<'_>, entry: &Entry<'_>) {
    let believes = matches!(entry.key, "forwarded" | "proxy_protocol");
    if believes && !has_key(table, "trusted_proxies") {
        let message = format!("`{}` needs `trusted_proxies`", entry.key);
        let hint = "say whose word counts, as in trusted_proxies = [\"10.0.0.0/8\"]";
        reader.problem_hint(entry.key_span.clone(), message, hint);
    }
    let has_certificate = has_key(table, "tls") || has_key(table, "acme");
    if entry.key == "listen_tls" && !has_certificate {
        reader.problem_hint(entry.key_span.clone(), "`listen_tls` needs a certificate", TLS);
    }
}

pub(super) fn read_listen(reader: &mut Reader<'_>, entry: &Entry<'_>, into: &mut Vec<SocketAddr>) {
    let texts = match entry.value.get_ref() {
        DeValue::String(text) => vec![(text.to_string(), entry.value.span())],
        DeValue::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| match item.get_ref().as_str() {
                Some(text) => (text.to_owned(), item.span()),
                // What is no text is told as it is written.
                None => (reader.text_of(item.span()), item.span()),
            })
            .collect(),
        _ => {
            reader.wrong_form(entry, "a list of addresses such as [\"0.0.0.0:8080\"]");
            return;
        }
    };
    let mut addresses = Vec::new();
    for (text, span) in texts {
        match listen_address(&text) {
            Some(address) if addresses.contains(&address) => {
                reader.problem(span, format!("`{text}` is listed twice"));
            }
            Some(address) => addresses.push(address),
            None => reader.problem_hint(
                span,
                format!("`{text}` is not an address to listen on"),
                "write an IP address and a port, as in \"0.0.0.0:8080\" or \"[::]:8080\"",
            ),
        }
    }
    *into = addresses;
}

fn read_workers(reader: &mut Reader<'_>, entry: &Entry<'_>, into: &mut Workers) {
    let cpus = |items: &toml::de::DeArray<'_>| -> Option<Vec<usize>> {
        items.iter().map(|item| integer(item.get_ref()).filter(|cpu| *cpu <= CPU_MAX)).collect()
    };
    match entry.value.get_ref() {
        DeValue::String(text) if text == "all" => *into = Workers::All,
        DeValue::Array(items) => match cpus(items) {
            Some(list) if list.is_empty() || list.len() > limits::WORKERS_MAX => {
                reader.wrong_form(entry, &format!("1 to {} CPUs", limits::WORKERS_MAX));
            }
            Some(list) if list.iter().collect::<BTreeSet<_>>().len() < list.len() => {
                reader.problem(entry.value.span(), "`workers` names a CPU twice");
            }
            Some(list) => *into = Workers::Cpus(list),
            None => reader.wrong_form(entry, "a list of CPU numbers such as [0, 2, 4]"),
        },
        value => match integer(value) {
            Some(count) if (1..=limits::WORKERS_MAX).contains(&count) => {
                *into = Workers::Count(count);
            }
            _ => reader.wrong_form(entry, "\"all\", a count, or a list of CPUs such as [0, 2]"),
        },
    }
}

fn read_head_max(reader: &mut Reader<'_>, entry: &Entry<'_>, into: &mut usize) {
    let mut size = *into as u64;
    reader.size(entry, HEAD_BYTES_MAX, &mut size);
    *into = usize::try_from(size).unwrap_or(*into);
}

/// What to do where there is no certificate.
pub const TLS: &str = "add a table [[server.tls]] with certificate = \"example.pem\" and, if that \
                       is another file, key = \"example.key\"";
const DRIVERS: &str = "\"auto\", \"monoio\", \"ring\", \"tokio-uring\" or \"epoll\"";
/// Above any count of connections a machine can hold.
const COUNT_MAX: usize = 10_000_000;
const CPU_MAX: usize = 65_535;
const HEAD_BYTES_MAX: u64 = 1024 * 1024;
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// The most that `rate_min` may be: 1 GiB a second.
const RATE_BYTES_LIMIT: u64 = 1 << 30;
/// The most that `memo_max` and `cache_max` may be: 1 TiB.
const MEMO_BYTES_LIMIT: u64 = 1 << 40;
const KEYS: &[&str] = &[
    "listen",
    "listen_tls",
    "tls",
    "http2",
    "tls_handshake_timeout",
    "redirect_to_https",
    "hsts",
    "workers",
    "driver",
    "incoming_cpu",
    "development",
    "connections_max",
    "in_flight_max",
    "queue_target",
    "rate_limit",
    "memo_max",
    "cache_max",
    "compress",
    "head_timeout",
    "body_timeout",
    "idle_timeout",
    "half_close_timeout",
    "write_timeout",
    "rate_min",
    "drain_timeout",
    "request_head_max",
    "request_body_max",
    "trusted_proxies",
    "trusted_origins",
    "forwarded",
    "proxy_protocol",
    "request_id",
    "acme",
    "access_log",
    "session",
    "headers",
];
