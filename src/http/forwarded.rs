//! Who a visitor is behind proxies: Forwarded (RFC 7239) and X-Forwarded-For, -Proto, -Host.
//!
//! Anybody can send such fields, so they count only as far as proxies that are trusted vouch for
//! them: the list is read from its end, each proxy having added the address it was asked from,
//! and the first address that is no trusted proxy's is the visitor's.

use std::net::IpAddr;

use memchr::{memchr, memchr2, memrchr, memrchr2};

use super::{Headers, is_authority};
use crate::limits::FORWARDED_HOPS_MAX;

/// What proxies say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// The visitor's address.
    pub client: IpAddr,
    /// Whether the visitor used HTTPS, if a proxy told.
    pub https: Option<bool>,
    /// The host, and port if there is one, that the visitor asked for, if a proxy told.
    pub host: Option<&'a [u8]>,
}

/// Which fields the proxies write. The others are not looked at: a proxy that does not know them
/// would hand on what the visitor wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host.
    XForwarded,
    /// Forwarded (RFC 7239).
    Forwarded,
}

/// What the fields of a request from `peer` say, as far as `is_trusted` proxies wrote them.
pub fn resolve<'a>(
    peer: IpAddr,
    headers: &Headers,
    buf: &'a [u8],
    fields: Fields,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Forwarded<'a> {
    let mut found = Forwarded { client: peer.to_canonical(), https: None, host: None };
    if !is_trusted(found.client) {
        return found;
    }
    match fields {
        Fields::XForwarded => {
            let hops = x_forwarded(headers, buf, b"x-forwarded-for");
            for hop in hops.take(FORWARDED_HOPS_MAX) {
                let Some(address) = node_address(hop) else { break };
                found.client = address;
                if !is_trusted(address) {
                    break;
                }
            }
            let proto = x_forwarded(headers, buf, b"x-forwarded-proto").next();
            found.https = proto.and_then(is_https);
            let host = x_forwarded(headers, buf, b"x-forwarded-host").next();
            found.host = host.filter(|host| is_authority(host));
        }
        Fields::Forwarded => {
            for element in forwarded(headers, buf).take(FORWARDED_HOPS_MAX) {
                // What stands before it is older, and may be anybody's.
                let Some(hop) = Hop::parse(element) else { break };
                found.https = hop.https.or(found.https);
                found.host = hop.host.or(found.host);
                let Some(address) = hop.client else { break };
                found.client = address;
                if !is_trusted(address) {
                    break;
                }
            }
        }
    }
    found
}

/// The elements of all fields of a name, the last first. Empty ones do not count (RFC 9110 section
/// 5.6.1.2).
fn x_forwarded<'a>(
    headers: &Headers,
    buf: &'a [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'a [u8]> {
    let elements = lines(headers, buf, name).flat_map(|line| line.rsplit(|&byte| byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The field lines of a name, the last first.
fn lines<'a>(
    headers: &Headers,
    buf: &'a [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'a [u8]> {
    let fields = headers.spans().iter().rev();
    let named = fields.filter(move |(field, _)| field.of(buf).eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.of(buf))
}

/// The elements of all Forwarded fields (RFC 7239 section 4), the last first; empty ones do not
/// count. Each line is taken apart by itself and from its end: so nothing that stands before an
/// element, as a quote that is never closed, can make another of it.
fn forwarded<'a>(headers: &Headers, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let elements = lines(headers, buf, b"forwarded").flat_map(|line| {
        let mut rest = Some(line);
        std::iter::from_fn(move || {
            let (before, element) = split_last(rest?);
            rest = before;
            Some(element.trim_ascii())
        })
    });
    elements.filter(|element| !element.is_empty())
}

/// What stands before the last comma that is in no quoted string, if there is one, and what stands
/// behind it. Where a quoted string has no beginning, all is one element, and malformed.
fn split_last(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut end = text.len();
    while let Some(at) = text.get(..end).and_then(|text| memrchr2(b',', b'"', text)) {
        if text.get(at) == Some(&b',') {
            return (text.get(..at), text.get(at + 1..).unwrap_or_default());
        }
        let Some(opening) = opening(text, at) else { break };
        end = opening;
    }
    (None, text)
}

/// Where the quoted string begins that is closed at `closing`: a quote behind an odd number of
/// backslashes is within it (quoted-pair, RFC 9110 section 5.6.4).
fn opening(text: &[u8], closing: usize) -> Option<usize> {
    let mut end = closing;
    loop {
        let before = text.get(..end)?;
        end = memrchr(b'"', before)?;
        let backslashes = before.get(..end)?.iter().rev().take_while(|byte| **byte == b'\\');
        if backslashes.count() % 2 == 0 {
            return Some(end);
        }
    }
}

/// One element of Forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hop<'a> {
    client: Option<IpAddr>,
    https: Option<bool>,
    host: Option<&'a [u8]>,
}

impl<'a> Hop<'a> {
    /// None where it is malformed.
    fn parse(element: &'a [u8]) -> Option<Self> {
        let (mut hop, mut rest) = (Self::default(), element);
        while !rest.is_empty() {
            let (pair, after) = next_pair(rest)?;
            note(&mut hop, pair);
            rest = after;
        }
        Some(hop)
    }
}

type Pair<'a> = (&'a [u8], &'a [u8]);

/// The next `name=value`, which may be empty, and what is behind the semicolon after it.
fn next_pair(text: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let text = text.trim_ascii_start();
    let name_end = memchr2(b';', b'=', text).unwrap_or(text.len());
    let (name, value) = text.split_at_checked(name_end)?;
    let (value, after) = match value.strip_prefix(b"=") {
        Some(value) => match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.split_at_checked(quoted_length(quoted)?)?,
            None => value.split_at_checked(memchr(b';', value).unwrap_or(value.len()))?,
        },
        None if name.is_empty() => (&[][..], value),
        None => return None,
    };
    let after = after.strip_prefix(b"\"").unwrap_or(after).trim_ascii_start();
    let after = match after.split_first() {
        None => after,
        Some((b';', after)) => after,
        Some(_) => return None,
    };
    Some(((name, value.trim_ascii_end()), after))
}

/// How long a quoted string is that goes on with `text`, without the quote that ends it. What is
/// in it stays as it is: what needs a backslash is no address and no host.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        length += memchr2(b'"', b'\\', text.get(length..)?)?;
        if text.get(length) == Some(&b'"') {
            return Some(length);
        }
        length += 2;
    }
}

fn note<'a>(hop: &mut Hop<'a>, (name, value): Pair<'a>) {
    if name.eq_ignore_ascii_case(b"for") {
        hop.client = node_address(value);
    } else if name.eq_ignore_ascii_case(b"proto") {
        hop.https = is_https(value);
    } else if name.eq_ignore_ascii_case(b"host") {
        hop.host = Some(value).filter(|host| is_authority(host));
    }
}

fn is_https(scheme: &[u8]) -> Option<bool> {
    if scheme.eq_ignore_ascii_case(b"https") {
        Some(true)
    } else {
        scheme.eq_ignore_ascii_case(b"http").then_some(false)
    }
}

/// The address of a node (RFC 7239 section 6): with a port or without, IPv6 in brackets, or bare
/// as X-Forwarded-For has it. `unknown` and made-up names have none.
fn node_address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
                return None;
            }
            IpAddr::V6(address.parse().ok()?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) && !address.is_empty() => {
                IpAddr::V4(address.parse().ok()?)
            }
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

/// A port, or a made-up name for one (RFC 7239 section 6).
fn is_port(text: &str) -> bool {
    let made_up = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(made_up),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, request};

    fn resolved(fields: Fields, lines: &str) -> (String, Option<bool>, Option<String>) {
        let head = format!("GET / HTTP/1.1\r\nHost: own\r\n{lines}\r\n");
        let buf = head.as_bytes();
        let parsed = request::parse(buf, &Limits::default()).unwrap().unwrap();
        let peer = IpAddr::from([10, 0, 0, 1]);
        let is_trusted = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10);
        let found = resolve(peer, &parsed.headers, buf, fields, is_trusted);
        let host = found.host.map(|host| String::from_utf8(host.to_vec()).unwrap());
        (found.client.to_string(), found.https, host)
    }

    fn client(fields: Fields, lines: &str) -> String {
        resolved(fields, lines).0
    }

    #[test]
    fn the_list_is_read_from_its_end_as_far_as_it_is_vouched_for() {
        for (lines, wanted) in [
            ("", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.1.1.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 10.1.1.1,10.2.2.2\r\n", "10.1.1.1"),
            ("X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1"),
            ("X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1"),
            ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 6.6.6.6, unknown\r\n", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1, \r\n", "192.0.2.1"),
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.1,, ,10.1.1.1,,\r\n", "192.0.2.1"),
            ("X-Forwarded-For: ,\r\n", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1x\r\n", "10.0.0.1"),
            ("Forwarded: for=6.6.6.6\r\n", "10.0.0.1"),
        ] {
            assert_eq!(client(Fields::XForwarded, lines), wanted, "{lines}");
        }
    }

    #[test]
    fn forwarded_fields_of_all_forms() {
        for (lines, wanted) in [
            ("Forwarded: for=192.0.2.1\r\n", "192.0.2.1"),
            ("Forwarded: For=\"192.0.2.1:99\" ; proto=http\r\n", "192.0.2.1"),
            ("Forwarded: for=\"[2001:db8::1]:4711\"\r\n", "2001:db8::1"),
            ("Forwarded: for=6.6.6.6, for=192.0.2.1;by=10.0.0.1, for=10.3.3.3\r\n", "192.0.2.1"),
            ("Forwarded: for=192.0.2.1\r\nForwarded: for=10.3.3.3\r\n", "192.0.2.1"),
            ("Forwarded: for=6.6.6.6, for=_hidden\r\n", "10.0.0.1"),
            ("Forwarded: for=6.6.6.6, proto=https\r\n", "10.0.0.1"),
            ("Forwarded: for=\"192.0.2.1\r\n", "10.0.0.1"),
            ("Forwarded: for=\"a,for=6.6.6.6\"\r\n", "10.0.0.1"),
            ("Forwarded: for\r\n", "10.0.0.1"),
            ("Forwarded: for=\"192.0.2.1\"x\r\n", "10.0.0.1"),
            ("Forwarded: , for=192.0.2.1\r\n", "192.0.2.1"),
            ("Forwarded: for=192.0.2.1,, \r\n", "192.0.2.1"),
            ("Forwarded: ;for=192.0.2.1;;a=\"\\\\\\\"\";\r\n", "192.0.2.1"),
            ("Forwarded: for=\"192.0.2.1\\\"\r\n", "10.0.0.1"),
            ("X-Forwarded-For: 6.6.6.6\r\n", "10.0.0.1"),
        ] {
            assert_eq!(client(Fields::Forwarded, lines), wanted, "{lines}");
        }
    }

    #[test]
    fn nothing_before_it_voids_what_a_proxy_has_added() {
        let good = "for=192.0.2.1;proto=https;host=a.example;by=\"[::1]\"";
        let wanted = ("192.0.2.1".to_owned(), Some(true), Some("a.example".to_owned()));
        for before in [
            "x",
            "\"",
            "for=\"",
            "for=6.6.6.6;a=\"\\\"\"",
            "for=6.6.6.6;a=\"\\\\\"",
            "for=6.6.6.6;a=\"b, for=7.7.7.7\"",
            "for=6.6.6.6;a=\"\\",
            "for=6.6.6.6\"x\"",
            "\\",
            "for=6.6.6.6,, ;",
            "=;=,",
        ] {
            let lines = format!("Forwarded: {before}, {good}\r\n");
            assert_eq!(resolved(Fields::Forwarded, &lines), wanted, "{lines}");
            let lines = format!("Forwarded: {before}\r\nForwarded: {good}\r\n");
            assert_eq!(resolved(Fields::Forwarded, &lines), wanted, "{lines}");
        }
        // A proxy further out has said what cannot be read: who is before it, nobody knows.
        let lines = "Forwarded: for=6.6.6.6, x, for=10.3.3.3\r\n";
        assert_eq!(client(Fields::Forwarded, lines), "10.3.3.3");
    }

    #[test]
    fn scheme_and_host_are_those_of_the_outermost_trusted_proxy() {
        let lines = "X-Forwarded-Proto: http, https\r\nX-Forwarded-Host: a.example:8443\r\n";
        let wanted = ("10.0.0.1".to_owned(), Some(true), Some("a.example:8443".to_owned()));
        assert_eq!(resolved(Fields::XForwarded, lines), wanted);
        let lines = "X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a/b\r\n";
        assert_eq!(resolved(Fields::XForwarded, lines), ("10.0.0.1".to_owned(), None, None));
        let lines = "Forwarded: for=6.6.6.6;host=evil, for=192.0.2.1;proto=https;host=a.example, \
                     for=10.9.9.9;proto=http\r\n";
        let wanted = ("192.0.2.1".to_owned(), Some(true), Some("a.example".to_owned()));
        assert_eq!(resolved(Fields::Forwarded, lines), wanted);
    }

    #[test]
    fn a_peer_that_is_not_trusted_says_nothing() {
        let head = b"GET / HTTP/1.1\r\nHost: own\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
        let parsed = request::parse(head, &Limits::default()).unwrap().unwrap();
        let peer = IpAddr::from([192, 0, 2, 7]);
        let found = resolve(peer, &parsed.headers, head, Fields::XForwarded, |_| false);
        assert_eq!(found, Forwarded { client: peer, https: None, host: None });
    }
}
