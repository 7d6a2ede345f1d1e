//! The PROXY protocol, versions 1 and 2: what a load balancer writes in front of a connection that
//! it hands on, to say whose it is (HAProxy's specification, 2020-03-05).
//!
//! It must be asked for: nothing here guesses whether a connection begins with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Where the connection comes from; none when the balancer made it itself, as for a health
    /// check, or does not tell: then it is the balancer's own address.
    pub source: Option<SocketAddr>,
    /// Bytes of the header. What the visitor sent comes after them.
    pub length: usize,
}

/// What is no PROXY header. The connection must be closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidProxyHeader;

/// Reads the header at the start of `buf`, or `None` if it needs more bytes.
///
/// # Errors
/// As soon as no further bytes could make it a header that is accepted, limits included.
pub fn parse(buf: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let begins = |with: &[u8]| {
        let common = with.len().min(buf.len());
        buf.get(..common) == with.get(..common)
    };
    if begins(SIGNATURE) {
        return if buf.len() < BINARY_BYTES { Ok(None) } else { binary(buf) };
    }
    if begins(b"PROXY ") { text(buf) } else { Err(InvalidProxyHeader) }
}

/// Version 2: the signature, version and command, family and protocol, a length, and so much.
fn binary(buf: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let byte = |at: usize| buf.get(at).copied().unwrap_or_default();
    let body = usize::from(u16::from_be_bytes([byte(14), byte(15)]));
    let length = BINARY_BYTES + body;
    if byte(12) >> 4 != 2 || length > PROXY_HEADER_BYTES_MAX {
        return Err(InvalidProxyHeader);
    }
    let Some(body) = buf.get(BINARY_BYTES..length) else { return Ok(None) };
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let source = match (byte(12) & 0x0f, byte(13)) {
        // LOCAL: addresses, if there are any, mean nothing.
        (0, _) => None,
        // PROXY: TCP over IPv4 or IPv6.
        (1, 0x11) => {
            let address: Option<&[u8; 4]> = body.first_chunk();
            let address = address.map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)));
            Some(address.zip(port(8)).ok_or(InvalidProxyHeader)?)
        }
        (1, 0x21) => {
            let address: Option<&[u8; 16]> = body.first_chunk();
            let address = address.map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
            Some(address.zip(port(32)).ok_or(InvalidProxyHeader)?)
        }
        // Unspecified, or something that is not TCP: it is to be accepted, and not looked at.
        (1, _) => None,
        _ => return Err(InvalidProxyHeader),
    };
    Ok(Some(ProxyHeader { source: source.map(SocketAddr::from), length }))
}

/// Version 1: `PROXY TCP4 source destination source-port destination-port`, CR and LF.
fn text(buf: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let line = buf.get(..buf.len().min(TEXT_BYTES_MAX)).unwrap_or_default();
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if line.len() == TEXT_BYTES_MAX { Err(InvalidProxyHeader) } else { Ok(None) };
    };
    let line = std::str::from_utf8(line.get(6..end).unwrap_or_default());
    let line = line.map_err(|_| InvalidProxyHeader)?;
    let length = end + 2;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Some(ProxyHeader { source: None, length }));
    }
    let mut words = line.split(' ');
    let source = match words.next() {
        Some("TCP4") => both::<Ipv4Addr>(&mut words).map(IpAddr::V4),
        Some("TCP6") => both::<Ipv6Addr>(&mut words).map(IpAddr::V6),
        _ => None,
    };
    let port = both_ports(&mut words);
    let (Some(source), Some(port), None) = (source, port, words.next()) else {
        return Err(InvalidProxyHeader);
    };
    Ok(Some(ProxyHeader { source: Some(SocketAddr::new(source, port)), length }))
}

/// The source of a source and a destination.
fn both<'a, T: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    let source = words.next()?.parse().ok()?;
    words.next()?.parse::<T>().ok()?;
    Some(source)
}

fn both_ports<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<u16> {
    let mut digits = words.take(2).map(|word| {
        let plain = word.bytes().all(|byte| byte.is_ascii_digit());
        let padded = word.len() > 1 && word.starts_with('0');
        if plain && !padded { word.parse().ok() } else { None }
    });
    let source = digits.next()??;
    digits.next()??;
    Some(source)
}

/// How a header of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// A header of version 2 without addresses.
const BINARY_BYTES: usize = 16;
/// A header of version 1, CR and LF included.
const TEXT_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, body].concat()
    }

    fn source(buf: &[u8]) -> Result<Option<String>, InvalidProxyHeader> {
        // What is whole needs nothing after it, and less than it is never enough.
        for end in 0..buf.len() {
            assert_eq!(parse(&buf[..end]), Ok(None), "{end} of {buf:?}");
        }
        let whole = parse(buf)?.unwrap();
        assert_eq!(whole.length, buf.len());
        let more = [buf, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&more), Ok(Some(whole)));
        Ok(whole.source.map(|source| source.to_string()))
    }

    #[test]
    fn version_1() {
        let shown = |text: &str| Ok(Some(text.to_owned()));
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";
        assert_eq!(source(line), shown("192.0.2.1:56324"));
        let line = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n";
        assert_eq!(source(line), shown("[2001:db8::1]:56324"));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(source(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Ok(None));
    }

    #[test]
    fn version_2_of_all_kinds() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
        assert_eq!(source(&version_2(1, 0x11, &v4)), Ok(Some("192.0.2.1:56324".to_owned())));
        let with_tlv = [&v4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(source(&version_2(1, 0x11, &with_tlv)), Ok(Some("192.0.2.1:56324".into())));
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 80;
        assert_eq!(source(&version_2(1, 0x21, &v6)), Ok(Some("[::1]:80".to_owned())));
        assert_eq!(source(&version_2(0, 0x00, b"")), Ok(None));
        assert_eq!(source(&version_2(0, 0x11, &v4)), Ok(None));
        assert_eq!(source(&version_2(1, 0x00, b"")), Ok(None));
        assert_eq!(source(&version_2(1, 0x31, &[0; 216])), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused_at_once() {
        for wrong in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXX",
            b"PROXY TCP5 192.0.2.1 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
            b"PROXY TCP4 192.0.2.1  198.51.100.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY \r\n",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(),
            &version_2(1, 0x11, &[1, 2, 3]),
            &version_2(2, 0x11, &[0; 12]),
            &[SIGNATURE, &[0x11, 0x11, 0, 0]].concat(),
            &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        ] {
            assert_eq!(parse(wrong), Err(InvalidProxyHeader), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(tail in prop::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
            let start = [&b"PROXY TCP4 "[..], SIGNATURE, b""][kind as usize];
            let buf = [start, &tail].concat();
            let whole = parse(&buf);
            for end in 0..buf.len() {
                let part = parse(&buf[..end]);
                prop_assert!(part == Ok(None) || part == whole, "{part:?} {whole:?}");
            }
        }
    }
}
