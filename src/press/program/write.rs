//! Appending text, escaped for where it goes.

/// Appends a text with `< > & " ' /` as character references, as minijinja writes them.
#[inline]
pub(super) fn push_html(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_length(rest);
        let (before, after) = rest.split_at(plain);
        out.extend_from_slice(before);
        let Some((special, after)) = after.split_first() else { return };
        out.extend_from_slice(reference(*special));
        rest = after;
    }
}

/// How many bytes there are before the first that is special.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for chunk in words {
        let word = u64::from_le_bytes(*chunk);
        // What is special is ASCII below 64, and so are space, digits and most punctuation: letters
        // and spaces are passed by eight, the rest is looked at.
        let low = !word & !(word << 1) & HIGHS;
        let spaces = word ^ (0x20 * ONES);
        let is_space = !(((spaces & !HIGHS) + !HIGHS) | spaces | !HIGHS);
        if low & !is_space != 0 {
            let found = chunk.iter().position(|byte| is_special(*byte));
            if let Some(at) = found {
                return length + at;
            }
        }
        length += 8;
    }
    length + rest.iter().take_while(|byte| !is_special(**byte)).count()
}

#[inline]
fn is_special(byte: u8) -> bool {
    SPECIAL[usize::from(byte)]
}

fn reference(byte: u8) -> &'static [u8] {
    match byte {
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'&' => b"&amp;",
        b'"' => b"&quot;",
        b'\'' => b"&#x27;",
        _ => b"&#x2f;",
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

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

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
