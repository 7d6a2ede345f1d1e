//! `[server.access_log]`: a record of each request, where to, and in which form.

use super::reader::{Entry, Reader, has_key};
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// How requests are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where records go.
    pub to: AccessTarget,
    /// How they are written.
    pub format: AccessFormat,
    /// How many of a million usual requests are recorded.
    pub sample_ppm: u32,
    /// From when on a request is recorded whatever the sample says.
    pub slow: Duration,
    /// Whether queries are recorded.
    pub query: bool,
}

/// Where access records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTarget {
    /// A file, or a FIFO. In a site file its path is taken from the site's folder on.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How an access record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// A JSON object a line, with all that is known.
    #[default]
    Json,
    /// As Apache and nginx do, with referer and user agent.
    Combined,
    /// The same without these: the Common Log Format.
    Common,
}

impl AccessLog {
    /// All requests, in JSON.
    pub fn to(to: AccessTarget) -> Self {
        let format = AccessFormat::default();
        Self { to, format, sample_ppm: ALL_PPM, slow: SLOW, query: true }
    }
}

impl AccessTarget {
    /// What a path means, where `stdout` and `stderr` are none.
    pub fn named(name: &str) -> Self {
        match name {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => Self::File(path.into()),
        }
    }
}

impl AccessFormat {
    fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "combined" => Some(Self::Combined),
            "common" => Some(Self::Common),
            _ => None,
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Option<AccessLog> {
    // As a path alone, or nothing at all.
    match table.value.get_ref() {
        DeValue::Boolean(false) => return None,
        DeValue::String(path) if is_path(path) => {
            return Some(AccessLog::to(AccessTarget::named(path)));
        }
        DeValue::Table(_) => {}
        _ => {
            reader.wrong_form(table, "a table with a `path`, a path alone, or false");
            return None;
        }
    }
    let mut log = AccessLog::to(AccessTarget::Stdout);
    for entry in &reader.table(table) {
        match entry.key {
            "path" => match entry.value.get_ref().as_str().filter(|path| is_path(path)) {
                Some(path) => log.to = AccessTarget::named(path),
                None => reader.wrong_form(entry, "a path, \"stdout\" or \"stderr\""),
            },
            "format" => match entry.value.get_ref().as_str().and_then(AccessFormat::named) {
                Some(format) => log.format = format,
                None => reader.wrong_form(entry, "\"json\", \"combined\" or \"common\""),
            },
            "sample" => match part_ppm(entry.value.get_ref()) {
                Some(ppm) => log.sample_ppm = ppm,
                None => reader.wrong_form(entry, "a part of all, from 0.000001 to 1"),
            },
            "slow" => reader.duration(entry, &mut log.slow),
            "query" => log.query = reader.flag(entry).unwrap_or(true),
            _ => reader.unknown_key(entry, KEYS, "in [server.access_log]"),
        }
    }
    if !has_key(table, "path") {
        let hint = "say where to, as in path = \"access.log\" or path = \"stdout\"";
        reader.problem_hint(table.key_span.clone(), "`access_log` needs a `path`", hint);
    }
    Some(log)
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// A part of all, in millionths.
fn part_ppm(value: &DeValue<'_>) -> Option<u32> {
    let number: f64 = match value {
        DeValue::Float(number) => number.as_str().parse().ok()?,
        DeValue::Integer(number) => number.as_str().parse().ok()?,
        _ => return None,
    };
    let ppm = (number * f64::from(ALL_PPM)).round();
    (1.0..=f64::from(ALL_PPM)).contains(&ppm).then_some(ppm as u32)
}

/// All of them.
pub const ALL_PPM: u32 = 1_000_000;
const SLOW: Duration = Duration::from_secs(1);
const KEYS: &[&str] = &["path", "format", "sample", "slow", "query"];
