//! The tables within `[upstreams.NAME]`: what to try again, and whom to leave alone for a while.

use super::reader::{At, Entry, Reader, has_key, is_empty_list};
use super::report::suggestion;
use crate::limits;
use std::time::Duration;
use toml::de::DeValue;

/// `retry`: which failures of an exchange are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts: usize,
    /// What is tried again.
    pub on: Vec<Cause>,
    /// The longest pause before the first retry; it doubles with each.
    pub backoff: Duration,
    /// The longest pause before any.
    pub backoff_max: Duration,
}

/// One cause for another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection could be made.
    Connect,
    /// The connection broke, or closed before the response was whole.
    Reset,
    /// The response was late, by one of the timeouts within the deadline.
    Timeout,
    /// A status that says that another try may help.
    Status(u16),
}

/// `hedge`: a second request for a fetch that takes long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hedge {
    /// After how long; the 95th percentile of recent exchanges if none.
    pub after: Option<Duration>,
}

/// `breaker`: when an upstream is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures among a thousand exchanges.
    pub failures_per_mille: u32,
    /// What takes longer is slow; nothing is if none.
    pub slow: Option<Duration>,
    /// Slow ones among a thousand exchanges.
    pub slow_per_mille: u32,
    /// The time over which they are counted.
    pub window: Duration,
    /// Exchanges in that time without which nothing is decided.
    pub requests_min: usize,
    /// How long it is left alone, and from one turn of probes to the next.
    pub open: Duration,
    /// Exchanges that must succeed then for all to be let through again.
    pub probes: usize,
}

/// `eject`: when one address of an upstream is left out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Failures in a row.
    pub failures: usize,
    /// For how long the first time.
    pub time: Duration,
}

/// `health`: how each address is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The target of the request, from the root of the host.
    pub path: String,
    /// How often.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// Failures in a row that take an address out.
    pub fails: usize,
    /// Passes in a row that take it back.
    pub passes: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: limits::RETRY_ATTEMPTS,
            on: [Cause::Connect, Cause::Reset]
                .into_iter()
                .chain([502, 503, 504].map(Cause::Status))
                .collect(),
            backoff: limits::RETRY_BACKOFF,
            backoff_max: limits::RETRY_BACKOFF_MAX,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures_per_mille: limits::BREAKER_FAILURES_PER_MILLE,
            slow: None,
            slow_per_mille: limits::BREAKER_SLOW_PER_MILLE,
            window: limits::BREAKER_WINDOW,
            requests_min: limits::BREAKER_REQUESTS_MIN,
            open: limits::BREAKER_OPEN,
            probes: limits::BREAKER_PROBES,
        }
    }
}

impl Default for Eject {
    fn default() -> Self {
        Self { failures: limits::EJECT_FAILURES, time: limits::EJECT_TIME }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: String::new(),
            interval: limits::HEALTH_INTERVAL,
            timeout: limits::HEALTH_TIMEOUT,
            fails: limits::HEALTH_FAILS,
            passes: limits::HEALTH_PASSES,
        }
    }
}

/// A policy that is off, on with its defaults, or a table.
pub(super) fn switch<T: Default>(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    read: fn(&mut Reader<'_>, &Entry<'_>) -> T,
) -> Option<T> {
    match entry.value.get_ref() {
        DeValue::Boolean(on) => on.then(T::default),
        DeValue::Table(_) => Some(read(reader, entry)),
        _ => {
            reader.wrong_form(entry, "true, false or a table");
            None
        }
    }
}

pub(super) fn read_retry(reader: &mut Reader<'_>, table: &Entry<'_>) -> Retry {
    let mut retry = Retry::default();
    for entry in &reader.table(table) {
        match entry.key {
            "attempts" => {
                reader.count(entry, 2, limits::RETRY_ATTEMPTS_MAX, &mut retry.attempts);
            }
            "on" => retry.on = read_causes(reader, entry),
            "backoff" => reader.duration(entry, &mut retry.backoff),
            "backoff_max" => reader.duration(entry, &mut retry.backoff_max),
            _ => reader.unknown_key(entry, &["attempts", "on", "backoff", "backoff_max"], PLACE),
        }
    }
    if retry.backoff > retry.backoff_max {
        let hint = "raise backoff_max, or lower backoff";
        reader.problem_hint(table.value.span(), "`backoff` is longer than `backoff_max`", hint);
    }
    retry
}

fn read_causes(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<Cause> {
    let texts = reader.strings(entry);
    if is_empty_list(entry) {
        let hint = "retry = false tries nothing again";
        reader.problem_hint(entry.value.span(), "`on` names nothing to try again", hint);
    }
    texts.into_iter().filter_map(|text| read_cause(reader, text)).collect()
}

fn read_cause(reader: &mut Reader<'_>, text: At<String>) -> Option<Cause> {
    let cause = match text.value.as_str() {
        "connect" => Some(Cause::Connect),
        "reset" => Some(Cause::Reset),
        "timeout" => Some(Cause::Timeout),
        "429" => Some(Cause::Status(429)),
        status => status.parse().ok().filter(|s| (500..=599).contains(s)).map(Cause::Status),
    };
    if cause.is_none() {
        let message = format!("`{}` is no reason for another try", text.value);
        let hint = suggestion(&text.value, CAUSES).unwrap_or_else(|| {
            let words = CAUSES.map(|cause| format!("\"{cause}\", ")).concat();
            format!("the reasons are {words}\"429\" and \"500\" to \"599\"")
        });
        reader.problem_hint(text.span, message, hint);
    }
    cause
}

pub(super) fn read_hedge(reader: &mut Reader<'_>, table: &Entry<'_>) -> Hedge {
    let mut hedge = Hedge::default();
    for entry in &reader.table(table) {
        match entry.key {
            "after" => {
                let mut after = limits::HEDGE_AFTER_MIN;
                reader.duration(entry, &mut after);
                hedge.after = Some(after);
            }
            _ => reader.unknown_key(entry, &["after"], "in `hedge`"),
        }
    }
    hedge
}

pub(super) fn read_breaker(reader: &mut Reader<'_>, table: &Entry<'_>) -> Breaker {
    let mut breaker = Breaker::default();
    for entry in &reader.table(table) {
        match entry.key {
            "failure_ratio" => reader.per_mille(entry, &mut breaker.failures_per_mille),
            "slow_ratio" => reader.per_mille(entry, &mut breaker.slow_per_mille),
            "slow" => {
                let mut slow = Duration::ZERO;
                reader.duration(entry, &mut slow);
                breaker.slow = Some(slow);
            }
            "window" => reader.duration(entry, &mut breaker.window),
            "requests_min" => reader.count(entry, 1, COUNT_MAX, &mut breaker.requests_min),
            "open" => reader.duration(entry, &mut breaker.open),
            "probes" => reader.count(entry, 1, COUNT_MAX, &mut breaker.probes),
            _ => reader.unknown_key(entry, BREAKER_KEYS, "in `breaker`"),
        }
    }
    if has_key(table, "slow_ratio") && !has_key(table, "slow") {
        let hint = "say which exchanges are slow, as in slow = \"2s\"";
        reader.problem_hint(table.value.span(), "`slow_ratio` needs `slow`", hint);
    }
    breaker
}

pub(super) fn read_eject(reader: &mut Reader<'_>, table: &Entry<'_>) -> Eject {
    let mut eject = Eject::default();
    for entry in &reader.table(table) {
        match entry.key {
            "failures" => reader.count(entry, 1, COUNT_MAX, &mut eject.failures),
            "for" => reader.duration(entry, &mut eject.time),
            _ => reader.unknown_key(entry, &["failures", "for"], "in `eject`"),
        }
    }
    eject
}

/// A table with a `path`, or `false`: there is no path that could be a default.
pub(super) fn read_health(reader: &mut Reader<'_>, table: &Entry<'_>) -> Option<Health> {
    if table.value.get_ref().as_bool() == Some(false) {
        return None;
    }
    if table.value.get_ref().as_bool() == Some(true) {
        let hint = "write health = { path = \"/healthz\" }, or whichever the upstream has";
        reader.problem_hint(table.value.span(), "`health` needs a `path`", hint);
        return None;
    }
    let mut health = Health::default();
    let before = reader.problems.len();
    for entry in &reader.table(table) {
        match entry.key {
            "path" => health.path = read_path(reader, entry)?,
            "interval" => reader.duration(entry, &mut health.interval),
            "timeout" => reader.duration(entry, &mut health.timeout),
            "fails" => reader.count(entry, 1, COUNT_MAX, &mut health.fails),
            "passes" => reader.count(entry, 1, COUNT_MAX, &mut health.passes),
            _ => reader.unknown_key(entry, HEALTH_KEYS, "in `health`"),
        }
    }
    if health.path.is_empty() && reader.problems.len() == before {
        let hint = "add path = \"/healthz\", or whichever the upstream has";
        reader.problem_hint(table.value.span(), "`health` has no `path`", hint);
    }
    if health.timeout > health.interval {
        let hint = "raise interval, or lower timeout";
        reader.problem_hint(table.value.span(), "`timeout` is longer than `interval`", hint);
    }
    Some(health)
}

fn read_path(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<String> {
    let path = reader.string(entry)?;
    if path.value.starts_with('/') && path.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(path.value);
    }
    let hint = "it begins with a slash, and what is not ASCII is percent-encoded";
    reader.problem_hint(path.span, format!("`{}` is not a path", path.value), hint);
    None
}

/// The most that any count here can be.
const COUNT_MAX: usize = 1_000_000;
const PLACE: &str = "in `retry`";
const CAUSES: [&str; 3] = ["connect", "reset", "timeout"];
const BREAKER_KEYS: &[&str] =
    &["failure_ratio", "slow", "slow_ratio", "window", "requests_min", "open", "probes"];
const HEALTH_KEYS: &[&str] = &["path", "interval", "timeout", "fails", "passes"];
