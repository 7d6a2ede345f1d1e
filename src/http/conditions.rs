//! Conditions on a request (RFC 9110 section 13) and ranges of an answer (section 14), for what has
//! an entity tag, a time at which it was changed, and a length.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{EntityTag, Headers};

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Validators {
    /// Its entity tag.
    pub etag: EntityTag,
    /// When it was changed, in seconds since 1970, if that is known.
    pub modified: Option<u64>,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All are met.
    Proceed,
    /// The reader has it: 304.
    NotModified,
    /// It is not what the reader wants to have: 412.
    Failed,
}

/// Which part of something is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: no range was asked for, or none that counts.
    Whole,
    /// From one byte to another, both included.
    Range(u64, u64),
    /// None of it, as it ends before: 416.
    Unsatisfiable,
}

impl Validators {
    /// Evaluates the conditions of a GET or HEAD, in the order of RFC 9110 section 13.2.2.
    pub fn verdict(&self, headers: &Headers, bytes: &[u8]) -> Verdict {
        let values = |name: &'static str| {
            let fields = headers.iter(bytes);
            fields.filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
        };
        let date = |name: &'static [u8]| headers.get(bytes, name).and_then(seconds);
        if values("if-match").next().is_some() {
            if !values("if-match").any(|value| self.etag.is_demanded_by(value)) {
                return Verdict::Failed;
            }
        } else if let (Some(since), Some(modified)) = (date(b"if-unmodified-since"), self.modified)
            && modified > since
        {
            return Verdict::Failed;
        }
        if values("if-none-match").next().is_some() {
            if values("if-none-match").any(|value| self.etag.is_named_by(value)) {
                return Verdict::NotModified;
            }
        } else if let (Some(since), Some(modified)) = (date(b"if-modified-since"), self.modified)
            && modified <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Which part of something of this length is to be sent for a GET. Several ranges are answered
    /// with all of it, which a server may (RFC 9110 section 14.2). `now` is in seconds since 1970.
    pub fn part(&self, headers: &Headers, bytes: &[u8], length: u64, now: u64) -> Part {
        let Some(range) = headers.get(bytes, b"range") else { return Part::Whole };
        let is_current = headers.get(bytes, b"if-range").is_none_or(|value| {
            // A date says which one it was only if there were no two in its second (RFC 9110
            // section 8.8.2.2).
            let by_date = || {
                let wanted = seconds(value);
                wanted.is_some() && wanted == self.modified && wanted.is_some_and(|at| at + 1 < now)
            };
            value.trim_ascii() == self.etag.as_bytes() || by_date()
        });
        if is_current { of_range(range, length) } else { Part::Whole }
    }
}

/// A value of Range for something of this length (RFC 9110 section 14.1.2). What is malformed does
/// not count.
fn of_range(value: &[u8], length: u64) -> Part {
    let asked = |value: &[u8]| {
        let (unit, set) = value.split_at(memchr::memchr(b'=', value)?);
        let is_bytes = unit.trim_ascii().eq_ignore_ascii_case(b"bytes");
        let mut ranges = set.get(1..)?.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let one = ranges.by_ref().find(|range| !range.is_empty())?;
        let is_alone = ranges.all(<[u8]>::is_empty);
        let (first, last) = one.split_at(memchr::memchr(b'-', one)?);
        let (first, last) = (first.trim_ascii(), last.get(1..)?.trim_ascii());
        let range = match (number(first)?, number(last)?) {
            (None, None) => return None,
            (None, Some(suffix)) => (length.saturating_sub(suffix), length.checked_sub(1)),
            (Some(first), last) => {
                if last.is_some_and(|last| last < first) {
                    return None;
                }
                let end = length.checked_sub(1);
                (first, end.map(|end| last.map_or(end, |last| last.min(end))))
            }
        };
        (is_bytes && is_alone).then_some(range)
    };
    match asked(value) {
        None => Part::Whole,
        Some((first, Some(last))) if first <= last => Part::Range(first, last),
        Some(_) => Part::Unsatisfiable,
    }
}

/// A number in digits, or none where there are none; the outer none for anything else. What is
/// larger than any file is that.
fn number(digits: &[u8]) -> Option<Option<u64>> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: u64, byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Some((!digits.is_empty()).then(|| digits.iter().fold(0, digit)))
}

fn seconds(value: &[u8]) -> Option<u64> {
    let date: SystemTime = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, request};
    use super::*;

    const TAG: &str = "\"00000000000000000000000000000007\"";
    const AT: u64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn validators() -> Validators {
        Validators { etag: EntityTag::new(7), modified: Some(AT) }
    }

    fn parsed(fields: &str) -> (Vec<u8>, Headers) {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        let head = request::parse(&text, &Limits::default()).unwrap().unwrap();
        (text, head.headers)
    }

    #[test]
    fn conditions_in_the_order_of_the_rfc() {
        use Verdict::{Failed, NotModified, Proceed};
        for (fields, wanted) in [
            (String::new(), Proceed),
            (format!("If-None-Match: {TAG}\r\n"), NotModified),
            (format!("If-None-Match: W/{TAG}\r\n"), NotModified),
            ("If-None-Match: *\r\n".to_owned(), NotModified),
            ("If-None-Match: \"x\"\r\n".to_owned(), Proceed),
            // The tag goes before the date.
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DATE}\r\n"), Proceed),
            (format!("If-Modified-Since: {DATE}\r\n"), NotModified),
            (format!("If-Modified-Since: {BEFORE}\r\n"), Proceed),
            ("If-Modified-Since: yesterday\r\n".to_owned(), Proceed),
            (format!("If-Match: {TAG}\r\n"), Proceed),
            (format!("If-Match: W/{TAG}\r\n"), Failed),
            (format!("If-Match: \"x\"\r\nIf-None-Match: {TAG}\r\n"), Failed),
            (format!("If-Match: \"x\"\r\nIf-Match: {TAG}\r\n"), Proceed),
            (format!("If-Match: {TAG}\r\nIf-Unmodified-Since: {BEFORE}\r\n"), Proceed),
            (format!("If-Unmodified-Since: {BEFORE}\r\n"), Failed),
            (format!("If-Unmodified-Since: {DATE}\r\n"), Proceed),
        ] {
            let (text, headers) = parsed(&fields);
            assert_eq!(validators().verdict(&headers, &text), wanted, "{fields}");
        }
    }

    #[test]
    fn ranges() {
        use Part::{Range, Unsatisfiable, Whole};
        for (value, wanted) in [
            ("bytes=0-0", Range(0, 0)),
            ("bytes=2-4", Range(2, 4)),
            ("Bytes = 2 - 4 ", Range(2, 4)),
            ("bytes=2-", Range(2, 9)),
            ("bytes=2-99999999999999999999999", Range(2, 9)),
            ("bytes=-3", Range(7, 9)),
            ("bytes=-99", Range(0, 9)),
            ("bytes=-0", Unsatisfiable),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=4-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=,0-1,", Range(0, 1)),
            ("bytes=-", Whole),
            ("bytes=", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("lines=0-1", Whole),
            ("bytes", Whole),
        ] {
            assert_eq!(of_range(value.as_bytes(), 10), wanted, "{value}");
        }
        assert_eq!(of_range(b"bytes=0-0", 0), Unsatisfiable);
        assert_eq!(of_range(b"bytes=-5", 0), Unsatisfiable);
    }

    #[test]
    fn a_range_of_what_the_reader_knew_before() {
        let part = |condition: &str, now| {
            let (text, headers) = parsed(&format!("Range: bytes=1-2\r\n{condition}"));
            validators().part(&headers, &text, 10, now)
        };
        assert_eq!(part("", AT), Part::Range(1, 2));
        assert_eq!(part(&format!("If-Range: {TAG}\r\n"), AT), Part::Range(1, 2));
        assert_eq!(part(&format!("If-Range: W/{TAG}\r\n"), AT), Part::Whole);
        assert_eq!(part("If-Range: \"x\"\r\n", AT), Part::Whole);
        assert_eq!(part(&format!("If-Range: {DATE}\r\n"), AT + 60), Part::Range(1, 2));
        assert_eq!(part(&format!("If-Range: {DATE}\r\n"), AT + 1), Part::Whole);
        assert_eq!(part(&format!("If-Range: {BEFORE}\r\n"), AT + 60), Part::Whole);
    }
}
