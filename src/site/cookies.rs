//! Cookies as they are set: a field line each, with attributes that are known before.

use crate::config::{CookieAttributes, SameSite};
use crate::http::cookie::push_value;
use crate::limits::COOKIE_BYTES_MAX;
use std::time::Duration;

/// A cookie but for its value.
#[derive(Clone, Debug)]
pub(super) struct CookieShape {
    pub(super) name: String,
    /// All that stands after the value in any case.
    attributes: String,
    max_age: Option<Duration>,
    secure: bool,
    /// Whether browsers take it with Secure only.
    is_only_secure: bool,
}

/// A cookie is too long for browsers: this many bytes.
#[derive(Debug)]
pub(super) struct TooLong(pub(super) usize);

impl CookieShape {
    pub(super) fn new(name: &str, attributes: &CookieAttributes) -> Self {
        let CookieAttributes { max_age, path, domain, same_site, http_only, secure, partitioned } =
            attributes;
        let mut text = format!("; Path={path}");
        if let Some(domain) = domain {
            text += &format!("; Domain={domain}");
        }
        text += &format!("; SameSite={}", same_site.as_str());
        text += if *http_only { "; HttpOnly" } else { "" };
        text += if *partitioned { "; Partitioned" } else { "" };
        Self {
            name: name.to_owned(),
            attributes: text,
            max_age: *max_age,
            secure: *secure,
            is_only_secure: *partitioned || *same_site == SameSite::None || name.starts_with("__"),
        }
    }

    /// How long it stays, if that is said.
    pub(super) fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Appends the line that sets it to a text. To one who came to this machine's own loopback
    /// without TLS it is not Secure: not all browsers would keep it.
    pub(super) fn set(
        &self,
        text: &str,
        is_plain_loopback: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let start = self.begin(out);
        push_value(text, out);
        out.extend_from_slice(self.attributes.as_bytes());
        if let Some(max_age) = self.max_age {
            out.extend_from_slice(format!("; Max-Age={}", max_age.as_secs()).as_bytes());
        }
        self.end(is_plain_loopback, out);
        let length = out.len() - start - b"\r\n".len();
        if length > COOKIE_BYTES_MAX { Err(TooLong(length)) } else { Ok(()) }
    }

    /// Appends the line that has browsers forget it.
    pub(super) fn delete(&self, is_plain_loopback: bool, out: &mut Vec<u8>) {
        self.begin(out);
        out.extend_from_slice(self.attributes.as_bytes());
        out.extend_from_slice(LONG_AGO.as_bytes());
        self.end(is_plain_loopback, out);
    }

    /// Where the value of the line begins.
    fn begin(&self, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(b"Set-Cookie: ");
        let start = out.len();
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'=');
        start
    }

    fn end(&self, is_plain_loopback: bool, out: &mut Vec<u8>) {
        if self.secure && (self.is_only_secure || !is_plain_loopback) {
            out.extend_from_slice(b"; Secure");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Browsers know one or the other.
const LONG_AGO: &str = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
