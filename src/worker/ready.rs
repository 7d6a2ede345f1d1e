//! The answers to those who are turned away: ready to be written, but for two digits and the date.

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
        self.body().len() as u64
    }

    /// The text of the answer.
    pub(super) fn body(self) -> &'static [u8] {
        let end = match self {
            Refusal::Busy => BUSY_END,
            Refusal::TooMany => TOO_MANY_END,
        };
        end.get(2..).unwrap_or_default()
    }

    /// Appends the answer to `out`. All that is done for each is to copy bytes.
    pub(super) fn write(self, out: &mut Vec<u8>, terms: &Terms<'_>) {
        let (head, end) = match self {
            Refusal::Busy => (BUSY, BUSY_END),
            Refusal::TooMany => (TOO_MANY, TOO_MANY_END),
        };
        let start = out.len();
        out.extend_from_slice(head);
        let seconds = terms.retry_after_s.min(limits::RETRY_AFTER_S_MAX);
        let tens = if seconds < 10 { b' ' } else { b'0' + seconds / 10 };
        let digits = [tens, b'0' + seconds % 10];
        let at = start + RETRY_AFTER_AT[self as usize];
        for (at, bytes) in [(at, &digits[..]), (at + DATE_AFTER, &terms.date[..])] {
            if let Some(place) = out.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        out.extend_from_slice(terms.fields);
        if !terms.persists {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        // Without its body if it answers a HEAD (RFC 9110 section 9.3.2).
        let left = if terms.to_head { end.len() - self.body().len() } else { end.len() };
        out.extend_from_slice(end.get(..left).unwrap_or_default());
    }
}

/// What an answer says beside that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) retry_after_s: u8,
    /// The Date, which a 4xx must have (RFC 9110 section 6.6.1).
    pub(super) date: &'a [u8; 29],
    /// Field lines of all answers on this connection.
    pub(super) fields: &'a [u8],
    /// Whether the connection stays.
    pub(super) persists: bool,
    /// Whether it answers a HEAD.
    pub(super) to_head: bool,
}

/// The answers: with room for two digits, of which the first may be a space, as a field's value
/// may begin with any number of them (RFC 9112 section 5), and for a date.
macro_rules! answers {
    ($head:ident, $end:ident, $line:literal, $length:literal, $body:literal) => {
        const $head: &[u8] = concat!($line, RETRY!(), DATE!(), $length, "\r\n").as_bytes();
        const $end: &[u8] = concat!("\r\n", $body).as_bytes();
    };
}
macro_rules! RETRY {
    () => {
        "Retry-After: --\r\nDate: "
    };
}
macro_rules! DATE {
    () => {
        "---, -- --- ---- --:--:-- GMT\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: "
    };
}
answers!(
    BUSY,
    BUSY_END,
    "HTTP/1.1 503 Service Unavailable\r\n",
    "52",
    "The server is busy. Please try again in a moment. \r\n"
);
answers!(
    TOO_MANY,
    TOO_MANY_END,
    "HTTP/1.1 429 Too Many Requests\r\n",
    "57",
    "Too many requests from you. Please try again in a while.\n"
);
/// Where the two digits are, of each kind of answer.
const RETRY_AFTER_AT: [usize; 2] = [
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: ".len(),
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: ".len(),
];
/// Where the date is, from there on.
const DATE_AFTER: usize = "--\r\nDate: ".len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Framing, Limits, format_date, response};

    #[test]
    fn the_ready_made_answers_are_framed_right() {
        let date = &format_date(784_111_777);
        for refusal in [Refusal::Busy, Refusal::TooMany] {
            for (persists, retry_after_s, fields) in
                [(true, 1, ""), (false, 30, "A: b\r\n"), (true, 9, "A: b\r\n"), (false, 10, "")]
            {
                let fields = fields.as_bytes();
                let terms = Terms { retry_after_s, date, fields, persists, to_head: false };
                let mut bytes = b"before".to_vec();
                refusal.write(&mut bytes, &terms);
                let bytes = bytes.strip_prefix(b"before").unwrap();
                let head = response::parse(bytes, &Limits::response(), false).unwrap().unwrap();
                assert_eq!(head.status, refusal.status());
                assert_eq!(head.keep_alive, persists);
                let length = (bytes.len() - head.length) as u64;
                assert_eq!((head.framing, refusal.body_bytes()), (Framing::Length(length), length));
                let field = |name: &str| head.headers.get(bytes, name.as_bytes());
                assert_eq!(field("retry-after").unwrap(), retry_after_s.to_string().as_bytes());
                assert_eq!(field("date").unwrap(), b"Sun, 06 Nov 1994 08:49:37 GMT");
                assert_eq!(field("a").is_some(), !fields.is_empty());
                let mut to_head = Vec::new();
                refusal.write(&mut to_head, &Terms { to_head: true, ..terms });
                assert_eq!(to_head, bytes[..head.length]);
            }
        }
    }
}
