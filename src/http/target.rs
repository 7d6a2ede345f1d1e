//! The four forms of a request target (RFC 9112 section 3.2), and authorities.

use std::net::Ipv6Addr;

use memchr::{memchr, memchr2};

use super::{Method, ParseError, Span, octet};

/// A target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Starts with a slash, but for `*` and for CONNECT, where it is the target itself.
    pub(super) path: Span,
    /// Without its question mark.
    pub(super) query: Option<Span>,
    /// The authority, where the target has one: it counts, not the Host field.
    pub(super) host: Option<Span>,
    /// Whether it is an https URL.
    pub(super) is_https: bool,
}

impl Target {
    /// Takes the target of a `method` request apart; every octet of it is known to be visible.
    pub(super) fn parse(buf: &[u8], target: Span, method: Method) -> Result<Self, ParseError> {
        let bytes = target.of(buf);
        match (method, bytes) {
            (Method::Connect, authority) => {
                let (_, port) = split_port(authority).ok_or(ParseError::TargetForm)?;
                if !is_authority(authority) || port.is_none_or(<[u8]>::is_empty) {
                    return Err(ParseError::TargetForm);
                }
                Ok(Self { host: Some(target), ..Self::origin(buf, target, None) })
            }
            (Method::Options, b"*") | (_, [b'/', ..]) => Ok(Self::origin(buf, target, None)),
            _ => Self::absolute(buf, target),
        }
    }

    fn origin(buf: &[u8], target: Span, host: Option<Span>) -> Self {
        let (start, end) = (target.start as usize, target.end as usize);
        let (path, query) = match memchr(b'?', target.of(buf)) {
            None => (target, None),
            Some(at) => (Span::new(start, start + at), Some(Span::new(start + at + 1, end))),
        };
        Self { path, query, host, is_https: false }
    }

    fn absolute(buf: &[u8], target: Span) -> Result<Self, ParseError> {
        let bytes = target.of(buf);
        let after = |scheme: &[u8]| {
            let (start, rest) = bytes.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let (rest, is_https) = match after(b"http://") {
            Some(rest) => (rest, false),
            None => (after(b"https://").ok_or(ParseError::TargetForm)?, true),
        };
        let (start, end) = (target.end as usize - rest.len(), target.end as usize);
        let length = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let host = Span::new(start, start + length);
        if !is_authority(host.of(buf)) {
            return Err(ParseError::HostMalformed);
        }
        if rest.get(length) == Some(&b'/') {
            let origin = Self::origin(buf, Span::new(start + length, end), Some(host));
            return Ok(Self { is_https, ..origin });
        }
        // An empty path is `/` (RFC 9110 section 4.2.3). The one that ends `//` stands for it, so
        // that a path is always bytes of the buffer.
        let path = Span::new(start - 1, start);
        let query = (length < rest.len()).then(|| Span::new(start + length + 1, end));
        Ok(Self { path, query, host: Some(host), is_https })
    }
}

/// Whether `authority` is a host and maybe a port, as in Host: a name that is not empty (RFC 9110
/// section 4.2.1), an IPv4 address or an IPv6 address in brackets, and no user (section 4.2.4).
pub fn is_authority(authority: &[u8]) -> bool {
    let Some((host, port)) = split_port(authority) else {
        return false;
    };
    is_host(host) && port.is_none_or(is_port)
}

/// Splits at the colon before the port; `None` where a bracket is not closed or not the end.
fn split_port(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_end = match authority.first() {
        Some(b'[') => memchr(b']', authority)? + 1,
        _ => memchr(b':', authority).unwrap_or(authority.len()),
    };
    match authority.split_at_checked(host_end)? {
        (host, []) => Some((host, None)),
        (host, [b':', port @ ..]) => Some((host, Some(port))),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        let text = std::str::from_utf8(address);
        return text.is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    }
    let mut rest = host;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                tail
            }
            (&byte, tail) if octet::is_reg_name(byte) => tail,
            _ => return false,
        };
    }
    !host.is_empty()
}

fn is_port(port: &[u8]) -> bool {
    let number = port.iter().try_fold(0_u16, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.is_some()
}
