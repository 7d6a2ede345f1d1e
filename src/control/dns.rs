//! Questions to a name server and its answers, as messages (RFC 1035 section 4): bytes in, values
//! out.
//!
//! Only what an upstream's name needs: addresses, the aliases on the way to them, and how long they
//! hold. Refuses what does not answer the question, and what was cut short: the system's resolver
//! can ask again by TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::limits::{DNS_ALIASES_MAX, DNS_RECORDS_MAX};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
}

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// None, if the name has none of this kind.
    pub(super) addresses: Vec<IpAddr>,
    /// How long that holds: the shortest time of all records on the way; none without addresses.
    pub(super) ttl: Option<Duration>,
}

/// A question, with the recursion that stub resolvers want; none for what is no host name.
pub(super) fn question(id: u16, host: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&[RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&encoded(host)?);
    message.extend_from_slice(&[0, kind.number(), 0, CLASS_IN]);
    Some(message)
}

/// The answer to that question; none if the message is none, or says that there is no answer.
pub(super) fn answer(message: &[u8], id: u16, host: &str, kind: Kind) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let header = reader.take(12)?;
    let [a, b, flags, code, 0, 1, answers @ ..] = header else { return None };
    let answers = u16::from_be_bytes([*answers.first()?, *answers.get(1)?]);
    let is_answer = flags & RESPONSE != 0 && flags & (OPCODE | TRUNCATED) == 0;
    if [*a, *b] != id.to_be_bytes() || !is_answer || code & RESPONSE_CODE != 0 {
        return None;
    }
    let mut name = encoded(host)?;
    let asked = reader.name()? == name && reader.take(4)? == [0, kind.number(), 0, CLASS_IN];
    if !asked || usize::from(answers) > DNS_RECORDS_MAX {
        return None;
    }
    let records: Option<Vec<Record<'_>>> = (0..answers).map(|_| reader.record()).collect();
    let records = records?;
    let mut ttl = u32::MAX;
    for _ in 0..DNS_ALIASES_MAX {
        let alias = records.iter().find(|record| record.kind == CNAME && record.name == name);
        let Some(alias) = alias else { break };
        ttl = ttl.min(alias.ttl);
        name = Reader { message, at: alias.data_at }.name()?;
    }
    let mut addresses = Vec::new();
    for record in records.iter().filter(|record| record.name == name) {
        if let Some(address) = kind.address(record) {
            ttl = ttl.min(record.ttl);
            addresses.push(address);
        }
    }
    let holds = (!addresses.is_empty()).then(|| Duration::from_secs(ttl.into()));
    Some(Answer { addresses, ttl: holds })
}

/// Whether a name server says, of the question of this number, that it has no answer.
pub(super) fn is_refusal(message: &[u8], id: u16) -> bool {
    let header = message.first_chunk::<4>();
    header.is_some_and(|[a, b, flags, code]| {
        [*a, *b] == id.to_be_bytes()
            && flags & RESPONSE != 0
            && (flags & TRUNCATED != 0 || code & RESPONSE_CODE != 0)
    })
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::A => 1,
            Kind::Aaaa => 28,
        }
    }

    fn address(self, record: &Record<'_>) -> Option<IpAddr> {
        if record.kind != u16::from(self.number()) {
            return None;
        }
        match self {
            Kind::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(record.data).ok()?).into()),
            Kind::Aaaa => Some(Ipv6Addr::from(<[u8; 16]>::try_from(record.data).ok()?).into()),
        }
    }
}

/// A resource record.
struct Record<'a> {
    /// In lower case, labels with their lengths, without the root.
    name: Vec<u8>,
    kind: u16,
    ttl: u32,
    data: &'a [u8],
    /// Where `data` is in the message: a name in it may point to others.
    data_at: usize,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let name = self.name()?;
        let kind = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        let class = self.take(2)?;
        let ttl = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        let data_at = self.at;
        let data = self.take(length.into())?;
        // A time with its highest bit set is none (RFC 2181 section 8).
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        let kind = if class == [0, CLASS_IN] { kind } else { 0 };
        Some(Record { name, kind, ttl, data, data_at })
    }

    /// A name, whose end may be elsewhere in the message: always further in front, so that names
    /// cannot go round in circles.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut inner = Reader { message: self.message, at: self.at };
        let (mut after, mut start) = (None, self.at);
        loop {
            let length = *inner.take(1)?.first()?;
            match length {
                0 => break,
                1..=LABEL_BYTES_MAX => {
                    name.push(length);
                    name.extend(inner.take(length.into())?.iter().map(u8::to_ascii_lowercase));
                }
                POINTER.. => {
                    let low = *inner.take(1)?.first()?;
                    after = after.or(Some(inner.at));
                    let target = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                    if target >= start {
                        return None;
                    }
                    (inner.at, start) = (target, target);
                }
                _ => return None,
            }
            if name.len() > NAME_BYTES_MAX {
                return None;
            }
        }
        name.push(0);
        self.at = after.unwrap_or(inner.at);
        Some(name)
    }
}

/// A host name as messages have it, in lower case.
fn encoded(host: &str) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    for label in host.strip_suffix('.').unwrap_or(host).split('.') {
        let length =
            u8::try_from(label.len()).ok().filter(|n| (1..=LABEL_BYTES_MAX).contains(n))?;
        name.push(length);
        name.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    name.push(0);
    (name.len() <= NAME_BYTES_MAX + 1).then_some(name)
}

const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RESPONSE_CODE: u8 = 0x0f;
const CLASS_IN: u8 = 1;
const CNAME: u16 = 5;
const POINTER: u8 = 0xc0;
const LABEL_BYTES_MAX: u8 = 63;
const NAME_BYTES_MAX: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    /// `www.example.com` is an alias of `a.example.com`, which has two addresses; names are
    /// compressed, and one record is of somebody else.
    fn message() -> Vec<u8> {
        let mut bytes = question(7, "www.example.com", Kind::A).unwrap();
        (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, 4);
        let record = |name: &[u8], kind: u8, ttl: u8, data: &[u8]| {
            [name, &[0, kind, 0, 1, 0, 0, 0, ttl, 0, data.len() as u8], data].concat()
        };
        bytes.extend(record(&[0xc0, 12], 5, 60, b"\x01A\xc0\x10"));
        let a = b"\x01a\xc0\x10";
        bytes.extend(record(a, 1, 30, &[192, 0, 2, 1]));
        bytes.extend(record(a, 1, 90, &[192, 0, 2, 2]));
        bytes.extend(record(b"\x05other\xc0\x10", 1, 1, &[192, 0, 2, 66]));
        bytes
    }

    #[test]
    fn an_answer_is_read_through_aliases_and_holds_as_long_as_its_shortest_record() {
        let answer = answer(&message(), 7, "WWW.example.com.", Kind::A).unwrap();
        let expected = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(answer.addresses, expected);
        assert_eq!(answer.ttl, Some(Duration::from_secs(30)));
    }

    #[test]
    fn what_does_not_answer_the_question_is_no_answer() {
        let bytes = message();
        assert_eq!(answer(&bytes, 8, "www.example.com", Kind::A), None);
        assert_eq!(answer(&bytes, 7, "www.example.org", Kind::A), None);
        assert_eq!(answer(&bytes, 7, "www.example.com", Kind::Aaaa), None);
        for (at, byte) in [(2, 0x01), (2, 0x83), (2, 0x89), (3, 0x83), (5, 0), (5, 2)] {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            assert_eq!(answer(&wrong, 7, "www.example.com", Kind::A), None, "{at}: {byte}");
        }
    }

    #[test]
    fn no_message_panics_or_loops() {
        let bytes = message();
        for length in 0..bytes.len() {
            assert_eq!(answer(&bytes[..length], 7, "www.example.com", Kind::A), None);
        }
        for at in 0..bytes.len() {
            for byte in [0, 1, 12, 63, 64, 0xc0, 0xff] {
                let mut wrong = bytes.clone();
                wrong[at] = byte;
                let _ = answer(&wrong, 7, "www.example.com", Kind::A);
            }
        }
        // A name that points at itself, and two that point at each other.
        let mut circle = question(7, "a", Kind::A).unwrap();
        (circle[2], circle[7]) = (0x80, 1);
        let at = circle.len() as u8;
        circle.extend([0xc0, at]);
        assert_eq!(answer(&circle, 7, "a", Kind::A), None);
    }

    #[test]
    fn a_name_without_addresses_is_an_answer() {
        let mut bytes = question(7, "a.test", Kind::Aaaa).unwrap();
        bytes[2] = 0x80;
        let none = Answer { addresses: Vec::new(), ttl: None };
        assert_eq!(answer(&bytes, 7, "a.test", Kind::Aaaa), Some(none));
    }

    #[test]
    fn a_refusal_is_told_from_what_answers_something_else() {
        let mut bytes = question(7, "a.test", Kind::A).unwrap();
        assert!(!is_refusal(&bytes, 7));
        (bytes[2], bytes[3]) = (0x81, 0x83);
        assert!(is_refusal(&bytes, 7));
        assert!(!is_refusal(&bytes, 8) && !is_refusal(&bytes[..3], 7));
    }

    #[test]
    fn what_is_no_host_name_is_not_asked_for() {
        let long = "a".repeat(64);
        let many = "a.".repeat(127);
        assert!(question(1, &many, Kind::A).is_some());
        for host in ["", ".", "a..b", long.as_str(), &format!("{many}bc")] {
            assert_eq!(question(1, host, Kind::A), None, "{host}");
        }
    }
}
