//! The answers to those who are turned away: ready to be written, but for two digits.

#![expect(clippy::indexing_slicing, reason = "a place for each kind of refusal")]

use crate::limits;

/// Which answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 503: there is no room, for anybody.
    Busy,
    /// 429: this client has had its share (RFC 6585 section 4).
    TooMany,
}

impl Refusal {
    pub(super) fn status(self) -> u16 {
        match self {
            Refusal::Busy => 503,
            Refusal::TooMany => 429,
        }
    }

    /// The length of the text of the answer.
    pub(super) fn body_bytes(self) -> u64 {
        match self {
            Refusal::Busy => BUSY_BODY_BYTES as u64,
            Refusal::TooMany => TOO_MANY_BODY_BYTES as u64,
        }
    }

    /// The text of the answer.
    #[cfg(feature = "http2")]
    pub(super) fn body(self) -> &'static [u8] {
        let (answer, bytes) = match self {
            Refusal::Busy => (BUSY, BUSY_BODY_BYTES),
            Refusal::TooMany => (TOO_MANY, TOO_MANY_BODY_BYTES),
        };
        answer.get(answer.len() - bytes..).unwrap_or_default()
    }

    /// Appends the answer to `out`, without its body if it answers a HEAD (RFC 9110 section
    /// 9.3.2). Neither needs a Date (RFC 9110 section 6.6.1).
    pub(super) fn write(self, out: &mut Vec<u8>, retry_after_s: u8, persists: bool, to_head: bool) {
        let (answer, body) = match (self, persists) {
            (Refusal::Busy, true) => (BUSY, BUSY_BODY_BYTES),
            (Refusal::Busy, false) => (BUSY_CLOSE, BUSY_BODY_BYTES),
            (Refusal::TooMany, true) => (TOO_MANY, TOO_MANY_BODY_BYTES),
            (Refusal::TooMany, false) => (TOO_MANY_CLOSE, TOO_MANY_BODY_BYTES),
        };
        let length = if to_head { answer.len() - body } else { answer.len() };
        let start = out.len();
        out.extend_from_slice(answer.get(..length).unwrap_or_default());
        let seconds = retry_after_s.min(limits::RETRY_AFTER_S_MAX);
        let tens = if seconds < 10 { b' ' } else { b'0' + seconds / 10 };
        let digits = [tens, b'0' + seconds % 10];
        let at = start + RETRY_AFTER_AT[self as usize];
        if let Some(place) = out.get_mut(at..at + digits.len()) {
            place.copy_from_slice(&digits);
        }
    }
}

/// The answers: with room for two digits, of which the first may be a space, as a field's value
/// may begin with any number of them (RFC 9112 section 5).
macro_rules! answers {
    ($persists:ident, $closes:ident, $line:literal, $length:literal, $body:literal) => {
        const $persists: &[u8] = concat!($line, RETRY!(), $length, "\r\n\r\n", $body).as_bytes();
        const $closes: &[u8] =
            concat!($line, RETRY!(), $length, "\r\nConnection: close\r\n\r\n", $body).as_bytes();
    };
}
macro_rules! RETRY {
    () => {
        "Retry-After: --\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "
    };
}
answers!(
    BUSY,
    BUSY_CLOSE,
    "HTTP/1.1 503 Service Unavailable\r\n",
    "52",
    "The server is busy. Please try again in a moment. \r\n"
);
answers!(
    TOO_MANY,
    TOO_MANY_CLOSE,
    "HTTP/1.1 429 Too Many Requests\r\n",
    "57",
    "Too many requests from you. Please try again in a while.\n"
);
const BUSY_BODY_BYTES: usize = 52;
const TOO_MANY_BODY_BYTES: usize = 57;
/// Where the two digits are, of each kind of answer.
const RETRY_AFTER_AT: [usize; 2] = [
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: ".len(),
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: ".len(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Framing, Limits, response};

    #[test]
    fn the_ready_made_answers_are_framed_right() {
        for refusal in [Refusal::Busy, Refusal::TooMany] {
            for (persists, seconds) in [(true, 1), (false, 30), (true, 9), (false, 10)] {
                let mut bytes = b"before".to_vec();
                refusal.write(&mut bytes, seconds, persists, false);
                let bytes = bytes.strip_prefix(b"before").unwrap();
                let head = response::parse(bytes, &Limits::response(), false).unwrap().unwrap();
                assert_eq!(head.status, refusal.status());
                assert_eq!(head.keep_alive, persists);
                let length = (bytes.len() - head.length) as u64;
                assert_eq!(head.framing, Framing::Length(length));
                let told = head.headers.get(bytes, b"retry-after").unwrap();
                assert_eq!(told, seconds.to_string().as_bytes());
                let mut to_head = Vec::new();
                refusal.write(&mut to_head, seconds, persists, true);
                assert_eq!(to_head, bytes[..head.length]);
            }
        }
    }
}
