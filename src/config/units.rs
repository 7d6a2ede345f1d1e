//! Durations and sizes as people write them: `"300ms"`, `"64KiB"`.

use std::time::Duration;

/// A duration such as `300us`, `2.5ms`, `1.5s`, `2m`, `1h` or `1d`; `None` when it is none, or
/// longer than a day, which no wait of a web server should be.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let unit_ns = match unit {
        "us" => 1000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => DAY_NS,
        _ => return None,
    };
    let ns = scaled(number, unit_ns)?;
    (ns <= DAY_NS).then(|| Duration::from_nanos(ns))
}

/// An age such as `365d`, or a duration, whole seconds; `None` when it is none, or longer than ten
/// years.
pub(super) fn parse_age(text: &str) -> Option<Duration> {
    let days = text.trim().strip_suffix('d').and_then(|number| scaled(number.trim_end(), DAY_S));
    let age = days.map(Duration::from_secs).or_else(|| parse_duration(text))?;
    (age.subsec_nanos() == 0 && age.as_secs() <= 3660 * DAY_S).then_some(age)
}

/// Whether this is a duration that is too long for [`parse_duration`].
pub(super) fn is_too_long(text: &str) -> bool {
    let parts = split_unit(text).map(|(number, unit)| (scaled(number, 1000), unit));
    let is_unit = |unit| matches!(unit, "us" | "ms" | "s" | "m" | "h" | "d");
    parts.is_some_and(|(number, unit)| number.is_some() && is_unit(unit))
        && parse_duration(text).is_none()
}

/// A size such as `512B`, `64KiB` or `1.5MiB`, in bytes; `None` when it is none.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let unit_bytes = match unit {
        "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    scaled(number, unit_bytes)
}

fn split_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    (!number.is_empty()).then(|| (number, unit.trim_start()))
}

/// `number`, which may have up to three decimals, times `unit`; `None` when it is not a number or
/// does not fit.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.is_empty() || decimals.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let thousandths: u64 = format!("{decimals:0<3}").parse().ok()?;
    let part = thousandths.checked_mul(unit)? / 1000;
    whole.checked_mul(unit)?.checked_add(part)
}

const DAY_S: u64 = 24 * 3600;
const DAY_NS: u64 = DAY_S * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2 m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("24h"), Some(Duration::from_secs(24 * 3600)));
        assert_eq!(parse_duration("60us"), Some(Duration::from_micros(60)));
        assert_eq!(parse_duration("2.4ms"), Some(Duration::from_micros(2400)));
        assert_eq!(parse_duration("0.001us"), Some(Duration::from_nanos(1)));
        for wrong in ["", "5", "s", "-1s", "1.s", "1..5s", "1.2.3s", "25h", "1 day", "1e3s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages() {
        assert_eq!(parse_age("365d"), Some(Duration::from_secs(31_536_000)));
        assert_eq!(parse_age("0s"), Some(Duration::ZERO));
        assert_eq!(parse_age("1.5 d"), Some(Duration::from_secs(129_600)));
        for wrong in ["", "d", "365", "1500ms", "9999d", "-1d"] {
            assert_eq!(parse_age(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("1.5MiB"), Some(1_572_864));
        assert_eq!(parse_size("1kB"), Some(1000));
        for wrong in ["", "64", "KiB", "99999999999999999999B", "9999999999999GiB", "1 K"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
