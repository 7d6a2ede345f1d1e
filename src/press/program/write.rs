//! Appending text, escaped for where it goes.

use crate::press::octets::{ONES, zeros};

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
    let mut at = 0;
    while at < bytes.len() {
        if filled > BUFFER_BYTES - 16 {
            out.extend_from_slice(buffer.get(..filled).unwrap_or_default());
            filled = 0;
        }
        let mut word = [0; 8];
        match bytes.get(at..at + 8) {
            Some(whole) => word.copy_from_slice(whole),
            None => bytes.iter().skip(at).zip(&mut word).for_each(|(from, to)| *to = *from),
        }
        let found = specials(u64::from_le_bytes(word));
        let plain = (found.trailing_zeros() as usize / 8).min(bytes.len() - at);
        place(&mut buffer, filled, word);
        filled += plain;
        at += plain;
        if plain < 8 && at < bytes.len() {
            let (reference, length) = reference(word[plain]);
            place(&mut buffer, filled, reference);
            filled += length;
            at += 1;
        }
    }
    out.extend_from_slice(buffer.get(..filled).unwrap_or_default());
}

#[inline]
fn place(buffer: &mut [u8; BUFFER_BYTES], at: usize, word: [u8; 8]) {
    if let Some(place) = buffer.get_mut(at..at + 8) {
        place.copy_from_slice(&word);
    }
}

/// How many bytes there are before the first that is special.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let found = specials(word);
        if found != 0 {
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + rest.iter().take_while(|byte| !is_special(**byte)).count()
}

/// Marks in the high bit of each byte that is special; the lowest is a true one.
#[inline]
fn specials(word: u64) -> u64 {
    // Two of them differ in one bit each time: `<` and `>`, `"` and `&`, `'` and `/`.
    let angles = zeros((word & (0xfd * ONES)) ^ (0x3c * ONES));
    let marks = zeros((word & (0xfb * ONES)) ^ (0x22 * ONES));
    let others = zeros((word & (0xf7 * ONES)) ^ (0x27 * ONES));
    angles | marks | others
}

#[inline]
fn is_special(byte: u8) -> bool {
    SPECIAL[usize::from(byte)]
}

/// What stands for a byte, and how long that is.
#[inline]
fn reference(byte: u8) -> ([u8; 8], usize) {
    match byte {
        b'<' => (*b"&lt;    ", 4),
        b'>' => (*b"&gt;    ", 4),
        b'&' => (*b"&amp;   ", 5),
        b'"' => (*b"&quot;  ", 6),
        b'\'' => (*b"&#x27;  ", 6),
        _ => (*b"&#x2f;  ", 6),
    }
}

const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let special = b"<>&\"'/";
    let mut at = 0;
    while at < special.len() {
        table[special[at] as usize] = true;
        at += 1;
    }
    table
};

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
