//! Appending text, escaped for where it goes.

use crate::press::octets::{HIGHS, ONES, nonzeros};

/// Appends a text with `< > & " ' /` as character references, as minijinja writes them.
#[inline]
pub(super) fn push_html(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let plain = plain_length(bytes);
    let (before, rest) = bytes.split_at(plain);
    out.extend_from_slice(before);
    if !rest.is_empty() {
        push_mixed(rest, out);
    }
}

/// The same for a text with something special in it, which often has more of that: by way of a
/// small buffer, into which eight bytes go at once whether all eight are wanted or not.
fn push_mixed(bytes: &[u8], out: &mut Vec<u8>) {
    let mut buffer = [0; BUFFER_BYTES];
    let mut filled = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        if filled > BUFFER_BYTES - WORD_ROOM_BYTES {
            out.extend_from_slice(buffer.get(..filled).unwrap_or_default());
            filled = 0;
        }
        filled = push_word(u64::from_le_bytes(*word), 8, &mut buffer, filled);
    }
    out.extend_from_slice(buffer.get(..filled).unwrap_or_default());
    if !rest.is_empty() {
        let mut word = [0; 8];
        rest.iter().zip(&mut word).for_each(|(from, to)| *to = *from);
        filled = push_word(u64::from_le_bytes(word), rest.len(), &mut buffer, 0);
        out.extend_from_slice(buffer.get(..filled).unwrap_or_default());
    }
}

/// Escapes the first `len` bytes of a word, of which the others are zero, into the buffer; gives
/// how far that is filled then.
#[inline]
fn push_word(word: u64, len: usize, buffer: &mut [u8; BUFFER_BYTES], mut filled: usize) -> usize {
    let mut marks = specials(word);
    let mut rest = word;
    let mut done = 0;
    while marks != 0 {
        let at = marks.trailing_zeros() as usize / 8;
        place(buffer, filled, rest);
        filled += at - done;
        let byte = word >> (8 * at) & 0xff;
        let reference = REFERENCES[byte as usize];
        place(buffer, filled, reference);
        filled += (reference >> 56) as usize;
        rest = word >> (8 * at) >> 8;
        done = at + 1;
        marks &= marks - 1;
    }
    place(buffer, filled, rest);
    filled + len - done
}

#[inline]
fn place(buffer: &mut [u8; BUFFER_BYTES], at: usize, word: u64) {
    if let Some(place) = buffer.get_mut(at..at + 8) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// How many bytes there are before the first that is special.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + rest.iter().take_while(|byte| REFERENCES[usize::from(**byte)] == 0).count()
}

/// Marks in the high bit of each byte that is special.
#[inline]
fn specials(word: u64) -> u64 {
    // Two of them differ in one bit each time: `<` and `>`, `"` and `&`, `'` and `/`.
    let no_angles = nonzeros((word & (0xfd * ONES)) ^ (0x3c * ONES));
    let no_marks = nonzeros((word & (0xfb * ONES)) ^ (0x22 * ONES));
    let no_others = nonzeros((word & (0xf7 * ONES)) ^ (0x27 * ONES));
    !(no_angles & no_marks & no_others) & HIGHS
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

/// The most that a word becomes, and what is written after that.
const WORD_ROOM_BYTES: usize = 8 * 6 + 8;
/// On the stack: as many bytes as most texts with markup have.
const BUFFER_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::HtmlEscape;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        push_html(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..128_u8 {
            for place in 0..20 {
                let mut text = "a b.c\u{e9}d efgh ijklmnop".to_owned();
                let place = if text.is_char_boundary(place) { place } else { place + 1 };
                text.insert(place, char::from(byte));
                assert_eq!(escaped(&text), HtmlEscape(&text).to_string(), "{text:?}");
            }
        }
    }

    #[test]
    fn a_text_longer_than_the_buffer() {
        let text = "some <b> & \"c\" / 'd' and then nothing special for a while, ".repeat(40);
        assert_eq!(escaped(&text), HtmlEscape(&text).to_string());
        let text = "<>&\"'/".repeat(200);
        assert_eq!(escaped(&text), HtmlEscape(&text).to_string());
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
