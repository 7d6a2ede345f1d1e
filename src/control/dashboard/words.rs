//! Numbers as people read them.

use serde::Serialize;

/// A number and its unit, which is set smaller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Figure {
    /// The number.
    pub(super) n: String,
    /// Its unit; may be empty.
    pub(super) u: &'static str,
}

impl Figure {
    pub(super) fn new(n: impl Into<String>, u: &'static str) -> Self {
        Self { n: n.into(), u }
    }

    /// What is not known, or of nothing.
    pub(super) fn none() -> Self {
        Self::new("–", "")
    }

    /// A count.
    pub(super) fn count(count: u64) -> Self {
        Self::new(grouped(count), "")
    }

    /// A rate, a second.
    pub(super) fn rate(rate: f64) -> Self {
        Self::new(decimal(rate), "/s")
    }

    /// A time in microseconds; none of nothing.
    pub(super) fn time(us: Option<f64>) -> Self {
        match us {
            None => Self::none(),
            Some(us) if us > 0.0 && us < 1.0 => Self::new("<1", "µs"),
            Some(us) if us < 999.5 => Self::new(format!("{us:.0}"), "µs"),
            Some(us) if us < 999_500.0 => Self::new(decimal(us / 1e3), "ms"),
            Some(us) => Self::new(decimal(us / 1e6), "s"),
        }
    }

    /// A part of a whole.
    pub(super) fn share(part: f64, whole: f64) -> Self {
        if whole <= 0.0 {
            return Self::none();
        }
        let percent = 100.0 * part / whole;
        if percent > 0.0 && percent < 0.1 {
            return Self::new("<0.1", "%");
        }
        let whole_number = percent == 0.0 || percent >= 9.95;
        Self::new(format!("{percent:.*}", usize::from(!whole_number)), "%")
    }

    /// As one text, of a number that was chosen because it is round.
    pub(super) fn round(&self) -> String {
        let n = self.n.strip_suffix(".0").unwrap_or(&self.n);
        Self::new(n, self.u).text()
    }

    /// As one text.
    pub(super) fn text(&self) -> String {
        let space = if self.u.is_empty() || self.u.starts_with('/') { "" } else { " " };
        format!("{}{space}{}", self.n, self.u)
    }
}

/// Three digits of a number that is not negative, or all before its point.
fn decimal(number: f64) -> String {
    match number {
        n if n <= 0.0 => "0".to_owned(),
        n if n < 0.095 => "<0.1".to_owned(),
        n if n < 9.95 => format!("{n:.1}"),
        n => grouped(n.round() as u64),
    }
}

/// A number in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How bad it is that so much of a whole has failed: a class of the style sheet; empty where
/// nothing has.
pub(super) fn severity(failed: u64, all: u64) -> &'static str {
    match failed {
        0 => "",
        failed if failed.saturating_mul(100) < all => "warn",
        _ => "bad",
    }
}

/// How long something takes or took, in its two largest units.
pub(super) fn long(ms: u64) -> String {
    let s = ms / 1000;
    let (days, hours, minutes) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    let two = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{} {unit}", grouped(large)),
        small => format!("{} {unit} {small} {smaller}", grouped(large)),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => two(minutes, "min", s % 60, "s"),
        (0, _, _) => two(hours, "h", minutes, "min"),
        (1, _, _) => two(1, "day", hours, "h"),
        _ => two(days, "days", hours, "h"),
    }
}

/// The time of day, in UTC.
pub(super) fn clock(unix_ms: u64) -> String {
    let s = unix_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// One, or several, of something.
pub(super) fn several(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_help() {
        let rate = |rate| Figure::rate(rate).text();
        let rates = [0.0, 0.04, 0.5, 9.94, 9.96, 412.4, 1203.6, 1_234_567.0].map(rate);
        let wanted = ["0/s", "<0.1/s", "0.5/s", "9.9/s", "10/s", "412/s", "1,204/s", "1,234,567/s"];
        assert_eq!(rates, wanted);
        assert_eq!(rate(-1.0), "0/s");
        assert_eq!(rate(f64::NAN), "0/s");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let time = |us| Figure::time(Some(us)).text();
        let times = [12.0, 999.0, 999.6, 1240.0, 52_300.0, 999_600.0, 12_000_000.0].map(time);
        assert_eq!(times, ["12 µs", "999 µs", "1.0 ms", "1.2 ms", "52 ms", "1.0 s", "12 s"]);
        assert_eq!([0.0, 0.2, 0.9, 1.0].map(time), ["0 µs", "<1 µs", "<1 µs", "1 µs"]);
        assert_eq!(Figure::time(None).text(), "–");
        assert_eq!(Figure::time(Some(2e6)).round(), "2 s");
        assert_eq!(Figure::time(Some(1.5e6)).round(), "1.5 s");
    }

    #[test]
    fn shares_of_nothing_are_none() {
        assert_eq!(Figure::share(0.0, 0.0).text(), "–");
        let share = |part| Figure::share(part, 1000.0).text();
        let shares = [0.0, 0.5, 34.0, 99.6, 426.0, 1000.0].map(share);
        assert_eq!(shares, ["0 %", "<0.1 %", "3.4 %", "10 %", "43 %", "100 %"]);
    }

    #[test]
    fn one_in_a_hundred_is_bad() {
        assert_eq!([severity(0, 0), severity(1, 101), severity(1, 100)], ["", "warn", "bad"]);
        assert_eq!(severity(u64::MAX, u64::MAX), "bad");
    }

    #[test]
    fn whiles_are_told_in_two_units() {
        let whiles = [900, 59_000, 120_000, 200_000, 7_500_000, 90_000_000, 900_000_000].map(long);
        let wanted =
            ["0 s", "59 s", "2 min", "3 min 20 s", "2 h 5 min", "1 day 1 h", "10 days 10 h"];
        assert_eq!(whiles, wanted);
        assert_eq!(clock(1_795_844_307_999), "05:38:27");
        assert_eq!(several(1, "core", "cores"), "1 core");
        assert_eq!(several(2000, "core", "cores"), "2,000 cores");
    }
}
