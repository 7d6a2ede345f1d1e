//! What tells one version of an answer from another: its entity tag and its date (RFC 9110 section
//! 8.8), and the questions made from them.

use crate::http::{self, line_name};
use crate::limits::CACHE_CONDITIONS_BYTES_MAX;
use crate::upstream::Response;

/// Each validator, and the field that asks about it.
const VALIDATORS: [(&str, &str); 2] =
    [("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")];

/// The fields that ask whether an answer is still right, if it has any that tell.
pub(super) fn conditions(response: &Response) -> Vec<u8> {
    let mut lines = Vec::new();
    for (of, name) in VALIDATORS {
        if let Some(value) = value(response, of) {
            // A value that came in a head holds nothing that could end its line.
            let _ = http::push_field(&mut lines, name, value);
        }
    }
    if lines.len() > CACHE_CONDITIONS_BYTES_MAX { Vec::new() } else { lines }
}

/// Whether a 304 is about the answer that was asked about under these conditions (RFC 9111 section
/// 4.3.4). One without a validator can be about nothing else: nothing else was asked.
pub(super) fn selects(response: &Response, conditions: &[u8]) -> bool {
    for (of, name) in VALIDATORS {
        // The tag decides where both have one.
        if let (Some(new), Some(kept)) = (value(response, of), asked(conditions, name)) {
            return is_same(new, kept);
        }
    }
    // A tag, of which nothing is known.
    value(response, VALIDATORS[0].0).is_none()
}

/// Whether two validators are of the same version: by strong comparison where the new one is
/// strong, else by weak comparison (RFC 9110 section 8.8.3.2).
fn is_same(new: &[u8], kept: &[u8]) -> bool {
    match new.strip_prefix(b"W/") {
        Some(new) => new == kept.strip_prefix(b"W/").unwrap_or(kept),
        None => new == kept,
    }
}

fn value<'a>(response: &'a Response, name: &str) -> Option<&'a [u8]> {
    let value = response.head.headers.get(&response.buffer, name.as_bytes());
    value.filter(|value| !value.is_empty())
}

/// The value of a field among these lines.
fn asked<'a>(conditions: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = conditions.split(|&byte| byte == b'\n');
    let line = lines.find(|line| line_name(line).eq_ignore_ascii_case(name.as_bytes()))?;
    Some(line.get(name.len() + 1..)?.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, response};

    fn answer(fields: &str) -> Response {
        let buffer = format!("HTTP/1.1 304 X\r\n{fields}\r\n").into_bytes();
        let head = response::parse(&buffer, &Limits::response(), false).unwrap().unwrap();
        Response { head, buffer, body: 0..0, reused: false }
    }

    #[test]
    fn a_304_is_about_what_has_its_validator() {
        let date = "Last-Modified: Mon, 03 Mar 2014 12:00:00 GMT\r\n";
        let later = "Last-Modified: Tue, 04 Mar 2014 12:00:00 GMT\r\n";
        let both = format!("ETag: \"a\"\r\n{date}");
        for (kept, new, selected) in [
            ("ETag: \"a\"\r\n", "ETag: \"a\"\r\n", true),
            ("ETag: \"a\"\r\n", "ETag: \"b\"\r\n", false),
            ("ETag: \"a\"\r\n", "ETag: W/\"a\"\r\n", true),
            ("ETag: W/\"a\"\r\n", "ETag: W/\"a\"\r\n", true),
            ("ETag: W/\"a\"\r\n", "ETag: \"a\"\r\n", false),
            ("ETag: W/\"a\"\r\n", "ETag: W/\"b\"\r\n", false),
            ("ETag: \"a\"\r\n", "", true),
            ("ETag: \"a\"\r\n", later, true),
            (&both, later, false),
            (&both, date, true),
            (&both, &format!("ETag: \"b\"\r\n{date}"), false),
            (&both, &format!("ETag: \"a\"\r\n{later}"), true),
            (date, date, true),
            (date, later, false),
            (date, "", true),
            (date, "ETag: \"a\"\r\n", false),
            (date, &both, true),
        ] {
            let conditions = conditions(&answer(kept));
            assert_eq!(selects(&answer(new), &conditions), selected, "{kept:?} {new:?}");
        }
    }
}
