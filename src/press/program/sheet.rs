//! What a program writes on.

use super::op::Text;
use crate::press::octets::{WIDTH, html_marks, padded};

/// Bytes that are written up to a point, with room behind it: so that a short text goes there
/// sixteen bytes at once, whether all of them are wanted or not.
#[derive(Default)]
pub(super) struct Sheet {
    bytes: Vec<u8>,
    written: usize,
}

impl Sheet {
    /// Goes on where `bytes` end.
    pub(super) fn on(bytes: Vec<u8>) -> Self {
        let written = bytes.len();
        Self { bytes, written }
    }

    /// What has been written, with what was there before.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.written);
        self.bytes
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.written
    }

    /// Takes back what was written behind a point.
    pub(super) fn truncate(&mut self, len: usize) {
        self.written = len.min(self.written);
    }

    /// What was written behind a point.
    pub(super) fn since(&self, from: usize) -> &[u8] {
        self.bytes.get(from..self.written).unwrap_or_default()
    }

    /// Appends bytes.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len());
        let place = self.bytes.get_mut(self.written..).unwrap_or_default();
        if bytes.len() <= WIDTH {
            place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        } else if let Some(place) = place.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.written += bytes.len();
    }

    /// Appends a text of the template.
    #[inline]
    pub(super) fn push_text(&mut self, text: &Text) {
        self.room(text.len());
        let mut at = self.written;
        for chunk in text.chunks() {
            self.place(at, *chunk);
            at += WIDTH;
        }
        self.written += text.len();
    }

    /// Appends a text with `< > & " ' /` as character references, as minijinja writes them.
    pub(super) fn push_html(&mut self, text: &str) {
        let (chunks, rest) = text.as_bytes().as_chunks::<WIDTH>();
        for chunk in chunks {
            self.push_escaped(chunk, WIDTH);
        }
        if !rest.is_empty() {
            self.push_escaped(&padded(rest), rest.len());
        }
    }

    /// Appends the first `len` bytes of a chunk, of which the others are zero, escaped.
    #[inline]
    fn push_escaped(&mut self, chunk: &[u8; WIDTH], len: usize) {
        self.room(WIDTH * REFERENCE_BYTES_MAX);
        let mut marks = html_marks(chunk);
        let mut at = self.written;
        self.place(at, *chunk);
        let mut done = 0;
        while marks != 0 {
            let next = marks.trailing_zeros() as usize;
            marks &= marks - 1;
            at += next - done;
            let byte = chunk.get(next).copied().unwrap_or_default();
            let reference = REFERENCES[usize::from(byte)];
            self.place(at, reference.to_le_bytes());
            at += (reference >> 56) as usize;
            done = next + 1;
            let rest = u128::from_le_bytes(*chunk).unbounded_shr(8 * done as u32);
            self.place(at, rest.to_le_bytes());
        }
        self.written = at + len - done;
    }

    /// Puts bytes where there is room.
    #[inline]
    fn place<const BYTES: usize>(&mut self, at: usize, bytes: [u8; BYTES]) {
        let place = self.bytes.get_mut(at..).and_then(|place| place.first_chunk_mut());
        debug_assert!(place.is_some(), "no room at {at}");
        if let Some(place) = place {
            *place = bytes;
        }
    }

    /// Makes sure that so many bytes have room, and sixteen more.
    #[inline]
    fn room(&mut self, bytes: usize) {
        if self.bytes.len() - self.written < bytes + WIDTH {
            self.grow(bytes + WIDTH);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let len = (self.written + bytes).max(2 * self.bytes.len()).max(FIRST_BYTES);
        self.bytes.resize(len, 0);
    }
}

/// What stands for a special byte, in the order of memory, and in the highest byte how long that
/// is; zero for all others.
const REFERENCES: [u64; 256] = {
    let mut table = [0; 256];
    table[b'<' as usize] = u64::from_le_bytes(*b"&lt;\0\0\0\x04");
    table[b'>' as usize] = u64::from_le_bytes(*b"&gt;\0\0\0\x04");
    table[b'&' as usize] = u64::from_le_bytes(*b"&amp;\0\0\x05");
    table[b'"' as usize] = u64::from_le_bytes(*b"&quot;\0\x06");
    table[b'\'' as usize] = u64::from_le_bytes(*b"&#x27;\0\x06");
    table[b'/' as usize] = u64::from_le_bytes(*b"&#x2f;\0\x06");
    table
};

/// The longest of them.
const REFERENCE_BYTES_MAX: usize = 6;
/// The room to begin with; it doubles.
const FIRST_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::HtmlEscape;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut sheet = Sheet::on(b"before ".to_vec());
        sheet.push_html(text);
        sheet.push(b" after");
        let bytes = sheet.into_bytes();
        let page = std::str::from_utf8(&bytes).unwrap();
        page.strip_prefix("before ").unwrap().strip_suffix(" after").unwrap().to_owned()
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..128_u8 {
            for place in 0..36 {
                let mut text = "a b.c\u{e9}d efgh ijklmnop qrst uvwxyz 0123".to_owned();
                let place = if text.is_char_boundary(place) { place } else { place + 1 };
                text.insert(place, char::from(byte));
                assert_eq!(escaped(&text), HtmlEscape(&text).to_string(), "{text:?}");
            }
        }
    }

    #[test]
    fn a_text_that_needs_more_room_than_there_is() {
        let text = "some <b> & \"c\" / 'd' and then nothing special for a while, ".repeat(400);
        assert_eq!(escaped(&text), HtmlEscape(&text).to_string());
        let text = "<>&\"'/".repeat(FIRST_BYTES);
        assert_eq!(escaped(&text), HtmlEscape(&text).to_string());
    }

    #[test]
    fn texts_of_every_length_stand_as_they_are() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(300);
        let mut sheet = Sheet::default();
        let mut wanted = String::new();
        for length in (0..100).chain([1000, 9000, 10_000]) {
            sheet.push(&long.as_bytes()[..length]);
            sheet.push_text(&Text::from(&long.as_bytes()[..length]));
            wanted.push_str(&long[..length]);
            wanted.push_str(&long[..length]);
            assert_eq!(sheet.len(), wanted.len());
        }
        assert_eq!(sheet.since(100), &wanted.as_bytes()[100..]);
        sheet.truncate(70);
        assert_eq!(sheet.into_bytes(), &wanted.as_bytes()[..70]);
    }

    proptest! {
        #[test]
        fn as_minijinja_escapes(text in ".*") {
            prop_assert_eq!(escaped(&text), HtmlEscape(&text).to_string());
        }

        #[test]
        fn as_minijinja_escapes_markup(text in "[<>&\"'/ a-c\u{e9}]{0,40}") {
            prop_assert_eq!(escaped(&text), HtmlEscape(&text).to_string());
        }
    }
}
