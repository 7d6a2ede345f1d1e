//! `[upstreams.NAME]`: where an API is, and how patient we are with it.

use super::origin::Origin;
use super::policies::{self, Breaker, Eject, Health, Hedge, Retry};
use super::reader::{At, Entry, Reader, is_empty_list};
use super::units;
use super::upstream_tls::{self, UpstreamTls};
use crate::limits;
use std::net::SocketAddr;
use std::time::Duration;

/// `[upstreams.NAME]`, with the defaults of [`limits`] where nothing is written.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// NAME, as fetches say in `from`.
    pub name: At<String>,
    /// Where it is; `None` when that could not be read, which is a problem.
    pub origin: Option<Origin>,
    /// How TLS is spoken with it, where something is said about that.
    pub tls: Option<UpstreamTls>,
    /// Its addresses, where they are not to be looked up.
    pub addresses: Vec<SocketAddr>,
    /// A fetch, from its start to its last byte.
    pub deadline: Duration,
    /// A TCP connect, and the TLS handshake after it.
    pub connect_timeout: Duration,
    /// From the request's last byte to the end of the response head.
    pub header_timeout: Duration,
    /// From there to the end of the body.
    pub body_timeout: Duration,
    /// How long a pooled connection may be idle.
    pub idle_timeout: Duration,
    /// Connections that all workers together have to it.
    pub max_connections: usize,
    /// Fetches that a worker has in flight to it.
    pub max_in_flight: usize,
    /// How long a fetch waits to be one of these.
    pub queue_timeout: Duration,
    /// Idle connections a worker keeps to it.
    pub max_idle: usize,
    /// A response body, bytes.
    pub max_body: u64,
    /// Which failures are tried again, if any.
    pub retry: Option<Retry>,
    /// Whether a fetch that takes long is sent a second time.
    pub hedge: Option<Hedge>,
    /// When to stop asking it for a while.
    pub breaker: Option<Breaker>,
    /// When to leave out one of its addresses.
    pub eject: Option<Eject>,
    /// How its addresses are asked whether they are well.
    pub health: Option<Health>,
    /// Header fields sent with every request, as they go out: `name: value` and CRLF.
    pub headers: Vec<u8>,
    /// Those whose values are elsewhere.
    pub secret_headers: Vec<SecretField>,
}

/// A header field whose value the site file only names: site files are shown and shared.
#[derive(Clone, Debug)]
pub struct SecretField {
    /// Its name.
    pub name: String,
    /// Where its value is: `env:NAME` or `file:PATH`.
    pub place: At<String>,
}

/// How a header has its value from elsewhere.
pub const SECRET_HINT: &str = "the whole value of the header, as in `Bearer abc`, is what the \
                               variable of env:NAME or the file of file:PATH holds";

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Vec<Upstream> {
    let mut upstreams = Vec::new();
    for entry in reader.table(table) {
        upstreams.push(read_one(reader, &entry));
    }
    upstreams
}

impl Upstream {
    /// What nothing else is written of.
    fn new(name: At<String>) -> Self {
        Self {
            name,
            origin: None,
            tls: None,
            addresses: Vec::new(),
            deadline: limits::FETCH_DEADLINE,
            connect_timeout: limits::CONNECT_TIMEOUT,
            header_timeout: limits::HEADER_TIMEOUT,
            body_timeout: limits::RESPONSE_BODY_TIMEOUT,
            idle_timeout: limits::UPSTREAM_IDLE_TIMEOUT,
            max_connections: limits::UPSTREAM_CONNECTIONS_MAX,
            max_in_flight: limits::UPSTREAM_IN_FLIGHT_MAX,
            queue_timeout: limits::UPSTREAM_QUEUE_TIMEOUT,
            max_idle: limits::UPSTREAM_IDLE_MAX,
            max_body: limits::RESPONSE_BODY_BYTES_MAX,
            retry: None,
            hedge: None,
            breaker: Some(Breaker::default()),
            eject: Some(Eject::default()),
            health: None,
            headers: Vec::new(),
            secret_headers: Vec::new(),
        }
    }
}

fn read_one(reader: &mut Reader<'_>, table: &Entry<'_>) -> Upstream {
    let name = At { value: table.key.to_owned(), span: table.key_span.clone() };
    let mut upstream = Upstream::new(name);
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if table.key.is_empty() || !table.key.bytes().all(is_label) {
        let message = format!("`{}` cannot be the name of an upstream", table.key.escape_default());
        let hint = "a name is letters, digits and any of -_.";
        reader.problem_hint(table.key_span.clone(), message, hint);
    }
    let mut has_url = false;
    for entry in &reader.table(table) {
        has_url |= entry.key == "url";
        if !read_bound(reader, entry, &mut upstream) && !read_policy(reader, entry, &mut upstream) {
            let place = format!("in [upstreams.{}]", table.key);
            reader.unknown_key(entry, KEYS, &place);
        }
    }
    if !has_url {
        let message = format!("upstream `{}` has no `url`", table.key);
        reader.problem_hint(table.key_span.clone(), message, "add url = \"https://HOST\"");
    }
    for entry in &reader.table(table) {
        check_time(reader, entry, &upstream);
        if entry.key == "tls" && upstream.origin.as_ref().is_some_and(|origin| !origin.is_secure) {
            let message = "`tls` is for https://, and the `url` of this upstream is http://";
            let hint = "write https:// in url, or leave tls out";
            reader.problem_hint(entry.key_span.clone(), message, hint);
        }
    }
    upstream.max_idle = upstream.max_idle.min(upstream.max_connections);
    upstream
}

/// A wait that is written, and would be cut short by the deadline, is a mistake about one of them.
fn check_time(reader: &mut Reader<'_>, entry: &Entry<'_>, upstream: &Upstream) {
    let written = || entry.value.get_ref().as_str().and_then(units::parse_duration);
    let (what, time) = match entry.key {
        "connect_timeout" | "header_timeout" | "body_timeout" | "queue_timeout" => {
            (entry.key, written())
        }
        "hedge" => ("after", upstream.hedge.and_then(|hedge| hedge.after)),
        "breaker" => ("slow", upstream.breaker.and_then(|breaker| breaker.slow)),
        "retry" => {
            let backoff =
                entry.value.get_ref().get("backoff").and_then(|value| value.get_ref().as_str());
            ("backoff", backoff.and_then(units::parse_duration))
        }
        _ => return,
    };
    if time.is_some_and(|time| time > upstream.deadline) {
        let deadline = upstream.deadline;
        let message = format!("`{what}` is longer than the upstream's `deadline` ({deadline:?})");
        let hint = "it can never pass: lower it, or raise deadline";
        reader.problem_hint(entry.value.span(), message, hint);
    }
}

/// Reads an entry that is a bound; false when it is none.
fn read_bound(reader: &mut Reader<'_>, entry: &Entry<'_>, upstream: &mut Upstream) -> bool {
    match entry.key {
        "deadline" => reader.duration(entry, &mut upstream.deadline),
        "connect_timeout" => reader.duration(entry, &mut upstream.connect_timeout),
        "header_timeout" => reader.duration(entry, &mut upstream.header_timeout),
        "body_timeout" => reader.duration(entry, &mut upstream.body_timeout),
        "idle_timeout" => reader.duration(entry, &mut upstream.idle_timeout),
        "queue_timeout" => reader.duration(entry, &mut upstream.queue_timeout),
        "max_connections" => reader.count(entry, 1, COUNT_MAX, &mut upstream.max_connections),
        "max_in_flight" => reader.count(entry, 1, COUNT_MAX, &mut upstream.max_in_flight),
        "max_idle" => reader.count(entry, 0, COUNT_MAX, &mut upstream.max_idle),
        "max_body" => reader.size(entry, BODY_BYTES_MAX, &mut upstream.max_body),
        _ => return false,
    }
    true
}

/// Reads an entry that says what else is to be done; false when it is none.
fn read_policy(reader: &mut Reader<'_>, entry: &Entry<'_>, upstream: &mut Upstream) -> bool {
    match entry.key {
        "url" => upstream.origin = read_url(reader, entry),
        "tls" => upstream.tls = Some(upstream_tls::read(reader, entry)),
        "addresses" => upstream.addresses = read_addresses(reader, entry),
        "retry" => upstream.retry = policies::switch(reader, entry, policies::read_retry),
        "hedge" => upstream.hedge = policies::switch(reader, entry, policies::read_hedge),
        "breaker" => upstream.breaker = policies::switch(reader, entry, policies::read_breaker),
        "eject" => upstream.eject = policies::switch(reader, entry, policies::read_eject),
        "health" => upstream.health = policies::read_health(reader, entry),
        "headers" => read_headers(reader, entry, upstream),
        _ => return false,
    }
    true
}

fn read_addresses(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    let texts = reader.strings(entry);
    if texts.len() > limits::ADDRESSES_MAX {
        let message = format!("`addresses` has {}; the most are", texts.len());
        reader.problem(entry.value.span(), format!("{message} {}", limits::ADDRESSES_MAX));
    }
    for text in texts {
        match text.value.parse::<SocketAddr>() {
            Ok(address) if addresses.contains(&address) => {
                reader.problem(text.span, format!("the address {address} is there twice"));
            }
            Ok(address) if address.port() == 0 => {
                let message = format!("nobody can be asked at port 0, as `{address}` says");
                reader.problem_hint(text.span, message, "a port is a number from 1 to 65535");
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let message = format!("`{}` is not an address with a port", text.value);
                let hint =
                    "write it as in \"10.0.0.1:8080\" or \"[2001:db8::1]:8080\"; names are for url";
                reader.problem_hint(text.span, message, hint);
            }
        }
    }
    if is_empty_list(entry) {
        let hint = "leave it out, and the host of url is looked up";
        reader.problem_hint(entry.value.span(), "`addresses` is empty", hint);
    }
    addresses
}

fn read_url(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Origin> {
    let url = reader.string(entry)?;
    match Origin::parse(&url.value) {
        Ok(origin) => Some(origin),
        Err((message, Some(hint))) => {
            reader.problem_hint(url.span, message, hint);
            None
        }
        Err((message, None)) => {
            reader.problem(url.span, message);
            None
        }
    }
}

fn read_headers(reader: &mut Reader<'_>, entry: &Entry<'_>, upstream: &mut Upstream) {
    let Upstream { headers: lines, secret_headers, .. } = upstream;
    for (name, value) in reader.fields(entry) {
        let text = value.value.trim();
        if let Some((message, hint)) = header_name_trouble(&name.value) {
            reader.problem_hint(name.span, message, hint);
        } else if header_value_trouble(value.value.as_bytes()) {
            let message = format!("the value of header `{}` holds a control character", name.value);
            reader.problem(value.span, message);
        } else if let Some(found) = ["{{", "${"].iter().find(|mark| text.contains(**mark)) {
            let message = format!("`{found}` in header `{}` would be sent as it is", name.value);
            let hint = "for a secret write \"env:NAME\" or \"file:PATH\" as the whole value; for \
                        what is another for each visitor, `headers` of the fetch";
            reader.problem_hint(value.span, message, hint);
        } else if text.starts_with("env:") || text.starts_with("file:") {
            let place = At { value: text.to_owned(), span: value.span };
            if matches!(text, "env:" | "file:") {
                let message = format!("`{text}` names nothing");
                reader.problem_hint(place.span, message, SECRET_HINT);
                continue;
            }
            secret_headers.push(SecretField { name: name.value, place });
        } else {
            lines.extend_from_slice(name.value.as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(text.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
    }
}

/// Why a request to an upstream cannot have a field of this name, and what to do, if it cannot.
pub fn header_name_trouble(name: &str) -> Option<(String, String)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let hint = "a name is letters, digits and any of !#$%&'*+-.^_`|~";
        return Some((format!("`{name}` is not a header name"), hint.to_owned()));
    }
    // RFC 9110 section 7.6.1: fields of the connection, and those that frame the message.
    let lower = name.to_ascii_lowercase();
    if OWN_HEADERS.contains(&lower.as_str()) {
        let message = format!("header `{name}` is ringpress's own to send");
        return Some((message, "leave it out".to_owned()));
    }
    None
}

/// Whether a field value holds what could end the field, or any other control character but a
/// tab (RFC 9110 section 5.5).
pub fn header_value_trouble(value: &[u8]) -> bool {
    value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
}

const OWN_HEADERS: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const COUNT_MAX: usize = 1_000_000;
const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;

const KEYS: &[&str] = &[
    "url",
    "tls",
    "addresses",
    "deadline",
    "connect_timeout",
    "header_timeout",
    "body_timeout",
    "idle_timeout",
    "queue_timeout",
    "max_connections",
    "max_in_flight",
    "max_idle",
    "max_body",
    "retry",
    "hedge",
    "breaker",
    "eject",
    "health",
    "headers",
];
