//! `[server.rate_limit]`: how much one client may ask for.

use super::reader::{Entry, Reader, has_key, integer};
use crate::limits::RATE_CLIENTS_MAX;
use std::time::Duration;

/// A token bucket for each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// After how long a client may ask once more.
    pub interval: Duration,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// How many bits of an IPv4 address tell one client from another.
    pub prefix_v4: u8,
    /// The same, of an IPv6 address.
    pub prefix_v6: u8,
    /// Clients that a worker keeps count of.
    pub clients_max: usize,
}

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Option<RateLimit> {
    let mut limit = RateLimit {
        interval: Duration::ZERO,
        burst: 0,
        prefix_v4: 32,
        prefix_v6: 64,
        clients_max: RATE_CLIENTS_MAX,
    };
    let entries = reader.table(table);
    let mut burst = 0;
    for entry in &entries {
        match entry.key {
            "rate" => match entry.value.get_ref().as_str().and_then(parse_rate) {
                Some(interval) => limit.interval = interval,
                None => reader.wrong_form(entry, "a rate such as \"20/s\" or \"300/m\""),
            },
            "burst" => reader.count(entry, 1, BURST_MAX, &mut burst),
            "prefix_v4" => read_prefix(reader, entry, 32, &mut limit.prefix_v4),
            "prefix_v6" => read_prefix(reader, entry, 128, &mut limit.prefix_v6),
            "clients_max" => reader.count(entry, 1, CLIENTS_MAX, &mut limit.clients_max),
            _ => reader.unknown_key(entry, KEYS, "in [server.rate_limit]"),
        }
    }
    if !has_key(table, "rate") && table.value.get_ref().as_table().is_some() {
        let hint = "say how much one client may ask for, as in rate = \"20/s\"";
        reader.problem_hint(table.key_span.clone(), "`rate_limit` needs a `rate`", hint);
    }
    if limit.interval.is_zero() {
        return None;
    }
    // What comes in two seconds, as a page is often asked for with all that belongs to it.
    let usual = (2.0 / limit.interval.as_secs_f64()).clamp(1.0, BURST_MAX as f64);
    limit.burst = if burst > 0 { u32::try_from(burst).unwrap_or(u32::MAX) } else { usual as u32 };
    Some(limit)
}

/// The time between two requests of `20/s`, `300/m` or `1000/h`; `None` when it is none.
fn parse_rate(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_once('/')?;
    let unit = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return None,
    };
    let count: u32 = count.trim().parse().ok()?;
    unit.checked_div(count).filter(|interval| !interval.is_zero())
}

fn read_prefix(reader: &mut Reader<'_>, entry: &Entry<'_>, max: u8, into: &mut u8) {
    match integer(entry.value.get_ref()).and_then(|bits| u8::try_from(bits).ok()) {
        Some(bits) if (1..=max).contains(&bits) => *into = bits,
        _ => reader.wrong_form(entry, &format!("a number of bits from 1 to {max}")),
    }
}

/// Above what anybody can mean.
const BURST_MAX: usize = 1_000_000;
/// A GiB of them, about.
const CLIENTS_MAX: usize = 10_000_000;
const KEYS: &[&str] = &["rate", "burst", "prefix_v4", "prefix_v6", "clients_max"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(parse_rate("20/s"), Some(Duration::from_millis(50)));
        assert_eq!(parse_rate("30 / m"), Some(Duration::from_secs(2)));
        assert_eq!(parse_rate("1/h"), Some(Duration::from_secs(3600)));
        for wrong in ["", "20", "/s", "0/s", "-1/s", "1.5/s", "20/d", "20/s/s", "4000000000/s"] {
            assert_eq!(parse_rate(wrong), None, "{wrong}");
        }
    }
}
