//! The time of day as logs have it. It is asked for when a worker looks after things; between two
//! such times it goes by the worker's own clock, and what is written of it is made once a second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http;

/// The time of day.
#[derive(Debug)]
pub(super) struct Clock {
    /// Two clocks at one moment.
    base: (Instant, Duration),
    second: u64,
    /// `2026-11-28T05:10:03`
    iso: [u8; 19],
    /// `28/Nov/2026:05:10:03 +0000`
    common: [u8; 26],
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        let zero = (*b"1970-01-01T00:00:00", *b"01/Jan/1970:00:00:00 +0000");
        let mut clock =
            Self { base: (now, Duration::ZERO), second: 0, iso: zero.0, common: zero.1 };
        clock.set(now);
        clock
    }

    /// Asks for the time.
    pub(super) fn set(&mut self, now: Instant) {
        self.set_to(now, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    }

    fn set_to(&mut self, now: Instant, unix: Duration) {
        self.base = (now, unix);
    }

    /// Appends a moment as RFC 3339 has it, to the millisecond.
    pub(super) fn push_iso(&mut self, moment: Instant, out: &mut Vec<u8>) {
        let unix = self.go_to(moment);
        out.extend_from_slice(&self.iso);
        let ms = unix.subsec_millis();
        let digit = |of: u32| b'0' + u8::try_from(of % 10).unwrap_or(0);
        out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
    }

    /// Appends a moment as the Common Log Format has it.
    pub(super) fn push_common(&mut self, moment: Instant, out: &mut Vec<u8>) {
        self.go_to(moment);
        out.extend_from_slice(&self.common);
    }

    fn go_to(&mut self, moment: Instant) -> Duration {
        let (then, unix) = self.base;
        let unix = unix.saturating_add(moment.saturating_duration_since(then));
        if unix.as_secs() != self.second {
            self.second = unix.as_secs();
            self.write();
        }
        unix
    }

    /// Writes the second anew, from what a Date says: `Sun, 06 Nov 1994 08:49:37 GMT`.
    fn write(&mut self) {
        let date = http::format_date(self.second);
        let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
        let number = MONTHS.iter().position(|name| name[..] == *month).map_or(0, |month| month + 1);
        let digit = |of: usize| b'0' + u8::try_from(of % 10).unwrap_or(0);
        self.iso[..4].copy_from_slice(year);
        self.iso[5..7].copy_from_slice(&[digit(number / 10), digit(number)]);
        self.iso[8..10].copy_from_slice(day);
        self.iso[11..].copy_from_slice(time);
        self.common[..2].copy_from_slice(day);
        self.common[3..6].copy_from_slice(month);
        self.common[7..11].copy_from_slice(year);
        self.common[12..20].copy_from_slice(time);
    }
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_moment() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        clock.set_to(start, Duration::from_millis(784_111_777_007));
        let mut told = |after: u64| {
            let (mut iso, mut common) = (Vec::new(), Vec::new());
            clock.push_iso(start + Duration::from_millis(after), &mut iso);
            clock.push_common(start + Duration::from_millis(after), &mut common);
            (String::from_utf8(iso).unwrap(), String::from_utf8(common).unwrap())
        };
        let expected = ("1994-11-06T08:49:37.007Z", "06/Nov/1994:08:49:37 +0000");
        assert_eq!(told(0), (expected.0.to_owned(), expected.1.to_owned()));
        let expected = ("1994-11-06T08:49:37.999Z", "06/Nov/1994:08:49:37 +0000");
        assert_eq!(told(992), (expected.0.to_owned(), expected.1.to_owned()));
        let expected = ("1994-12-25T08:49:38.000Z", "25/Dec/1994:08:49:38 +0000");
        assert_eq!(told(993 + 49 * 86_400_000), (expected.0.to_owned(), expected.1.to_owned()));
    }
}
