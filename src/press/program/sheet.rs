//! What a program writes on.

#![expect(clippy::indexing_slicing, reason = "a table has a place for each octet")]

use super::op::{FIRST_BYTES as TEXT_BYTES, Text};
use crate::limits::PAGE_BYTES_MAX;
use crate::press::octets::{PADDING, WIDTH, html_marks};

/// Bytes that are written up to a point, with room behind it: so that a short text goes there
/// sixteen bytes at once, whether all of them are wanted or not. What is too much for a page is
/// not written, and [`Sheet::is_full`] from then on.
#[derive(Default)]
pub(super) struct Sheet {
    bytes: Vec<u8>,
    written: usize,
    /// Where it began.
    start: usize,
    /// Bytes that were written and taken back.
    taken_back: usize,
    full: bool,
}

impl Sheet {
    /// Goes on where `bytes` end.
    pub(super) fn on(bytes: Vec<u8>) -> Self {
        let written = bytes.len();
        Self { bytes, written, start: written, ..Self::default() }
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

    /// Whether there was more than a page may have.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// All bytes that were ever written on it.
    #[inline]
    pub(super) fn printed(&self) -> usize {
        self.written - self.start + self.taken_back
    }

    /// Takes back what was written behind a point.
    pub(super) fn truncate(&mut self, len: usize) {
        let len = len.min(self.written);
        self.taken_back += self.written - len;
        self.written = len;
    }

    /// What was written behind a point.
    pub(super) fn since(&self, from: usize) -> &[u8] {
        self.bytes.get(from..self.written).unwrap_or_default()
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.place(bytes.len()) {
            place.copy_from_slice(bytes);
            self.written += bytes.len();
        }
    }

    /// Appends a text of the template.
    #[inline(always)]
    pub(super) fn push_text(&mut self, text: &Text) {
        let Some(place) = self.place(TEXT_BYTES + text.rest.len() * WIDTH) else { return };
        let Some((first, place)) = place.split_first_chunk_mut() else { return };
        *first = text.first;
        for (to, from) in place.as_chunks_mut::<WIDTH>().0.iter_mut().zip(&text.rest) {
            *to = *from;
        }
        self.written += text.len();
    }

    /// Appends a part of a text.
    #[inline(always)]
    pub(super) fn push_part(&mut self, text: &[u8], start: usize, len: usize) {
        if len <= WIDTH
            && let Some(chunk) = read::<WIDTH>(text, start)
            && let Some(window) = self.window()
        {
            *window = *chunk;
            self.written += len;
        } else {
            self.push(text.get(start..start + len).unwrap_or_default());
        }
    }

    /// Appends a text with `< > & " ' /` as character references, as minijinja writes them.
    #[inline(never)]
    pub(super) fn push_html(&mut self, text: &[u8]) {
        // Behind all but the end of a text there is enough of it to be read.
        let bulk = text.len().saturating_sub(PADDING);
        if bulk > 0 {
            self.push_html_part(text, 0, bulk);
        }
        let mut end = [0; 2 * PADDING];
        let rest = text.get(bulk..).unwrap_or_default();
        end.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.push_html_part(&end, 0, rest.len());
    }

    /// The same with a part of a text, behind which are [`PADDING`] bytes more.
    #[inline(always)]
    pub(super) fn push_html_part(&mut self, text: &[u8], start: usize, len: usize) {
        let (mut from, end) = (start, start + len);
        if end + PADDING > text.len() {
            return self.push_html(text.get(start..end).unwrap_or_default());
        }
        while from < end {
            let (Some(source), Some(window)) = (read(text, from), self.window::<ESCAPED>()) else {
                return;
            };
            let take = (end - from).min(WIDTH);
            let chunk = part::<WIDTH, PADDING>(source, 0);
            let mut marks = html_marks(&chunk) & (u32::MAX >> (u32::BITS as usize - take));
            put(window, 0, chunk);
            let (mut at, mut done) = (0, 0);
            while marks != 0 {
                let next = marks.trailing_zeros() as usize;
                marks &= marks - 1;
                at += next - done;
                let [byte] = part(source, next % WIDTH);
                let reference = REFERENCES[usize::from(byte)];
                put(window, at, reference.to_le_bytes());
                at += (reference >> 56) as usize;
                done = next + 1;
                put(window, at, part::<WIDTH, PADDING>(source, next % WIDTH + 1));
            }
            self.written += at + take - done;
            from += take;
        }
    }

    /// The next bytes, of which any number may be written.
    #[inline(always)]
    fn window<const BYTES: usize>(&mut self) -> Option<&mut [u8; BYTES]> {
        self.place(BYTES)?.first_chunk_mut()
    }

    /// So many bytes that are next; none where they would be too many.
    #[inline(always)]
    fn place(&mut self, bytes: usize) -> Option<&mut [u8]> {
        if self.bytes.len().checked_sub(self.written).is_none_or(|room| room < bytes) {
            self.grow(bytes);
        }
        self.bytes.get_mut(self.written..)?.get_mut(..bytes)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, bytes: usize) {
        let (needed, most) = (self.written + bytes, self.start + PAGE_BYTES_MAX);
        if needed > most {
            self.full = true;
            return;
        }
        // Never beyond the bound: it is looked at here alone.
        let len = needed.max(self.bytes.len() + self.bytes.len() / 2).max(FIRST_BYTES);
        let len = len.min(most);
        self.bytes.resize(len, 0);
    }
}

/// The next bytes of a text.
#[inline(always)]
fn read<const BYTES: usize>(text: &[u8], at: usize) -> Option<&[u8; BYTES]> {
    text.get(at..)?.first_chunk()
}

/// Some of them: there are as many from there on.
#[inline(always)]
fn part<const BYTES: usize, const ALL: usize>(source: &[u8; ALL], at: usize) -> [u8; BYTES] {
    let part = source.get(at..).and_then(|rest| rest.first_chunk());
    debug_assert!(part.is_some(), "nothing at {at}");
    part.copied().unwrap_or([0; BYTES])
}

/// Puts bytes into a window that has room for them.
#[inline(always)]
fn put<const BYTES: usize>(window: &mut [u8; ESCAPED], at: usize, bytes: [u8; BYTES]) {
    debug_assert!(at + BYTES <= ESCAPED, "no room at {at}");
    let place = window.get_mut(at % ESCAPED_AT..).and_then(|place| place.first_chunk_mut());
    if let Some(place) = place {
        *place = bytes;
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
/// Where what a chunk becomes ends at most: a power of two, so that it needs no comparison to be in
/// a window.
const ESCAPED_AT: usize = (WIDTH * REFERENCE_BYTES_MAX + 1).next_power_of_two();
/// A window for that, and for a chunk behind it.
const ESCAPED: usize = ESCAPED_AT + WIDTH;
/// The room to begin with.
const FIRST_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::HtmlEscape;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut sheet = Sheet::on(b"before ".to_vec());
        sheet.push_html(text.as_bytes());
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

    #[test]
    fn what_is_too_much_for_a_page_is_not_written() {
        let mut sheet = Sheet::on(b"before".to_vec());
        // Room grows by more than is asked for: that is no leave to fill it.
        let piece = vec![b'a'; PAGE_BYTES_MAX / 16];
        (0..16).for_each(|_| sheet.push(&piece));
        assert!(!sheet.is_full());
        assert_eq!(sheet.printed(), PAGE_BYTES_MAX);
        sheet.push(b"one more");
        assert!(sheet.is_full());
        assert!(sheet.into_bytes().len() <= "before".len() + PAGE_BYTES_MAX);
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
