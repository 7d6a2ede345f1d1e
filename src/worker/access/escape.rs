//! What a visitor has sent, as it may stand in a log: no byte of it ends a line or a field, moves
//! the cursor of a terminal, or is no text.

#![expect(
    clippy::indexing_slicing,
    reason = "a table has a place for each octet, or for each hex digit"
)]

/// Appends the inside of a JSON string (RFC 8259 section 7), in no more than `room` bytes. What is
/// not UTF-8 becomes U+FFFD.
pub(super) fn push_json(out: &mut Vec<u8>, bytes: &[u8], room: usize) {
    let end = out.len() + room;
    let mut rest = push_plain(out, bytes, end);
    while let Some(&byte) = rest.first() {
        if out.len() + LONGEST_JSON > end {
            return;
        }
        let used = match byte {
            b'"' | b'\\' => {
                out.extend_from_slice(&[b'\\', byte]);
                1
            }
            0..=0x7f => {
                push_unicode(out, u32::from(byte));
                1
            }
            _ => match first_char(rest) {
                // C1 controls, and what JavaScript takes for the end of a line.
                Some(one @ ('\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}')) => {
                    push_unicode(out, u32::from(one));
                    one.len_utf8()
                }
                Some(one) => {
                    out.extend_from_slice(rest.get(..one.len_utf8()).unwrap_or_default());
                    one.len_utf8()
                }
                None => {
                    out.extend_from_slice(b"\\ufffd");
                    1
                }
            },
        };
        rest = push_plain(out, rest.get(used..).unwrap_or_default(), end);
    }
}

/// Appends the same as nginx does in its combined format, in no more than `room` bytes: quotes,
/// backslashes and all that is not visible ASCII as `\xHH`.
pub(super) fn push_combined(out: &mut Vec<u8>, bytes: &[u8], room: usize) {
    let end = out.len() + room;
    let mut rest = push_plain(out, bytes, end);
    while let Some((&byte, after)) = rest.split_first() {
        if out.len() + LONGEST_COMBINED > end {
            return;
        }
        let (high, low) = (UPPER[usize::from(byte >> 4)], UPPER[usize::from(byte & 15)]);
        out.extend_from_slice(&[b'\\', b'x', high, low]);
        rest = push_plain(out, after, end);
    }
}

/// Appends what needs no escape, and gives the rest. At the end of the room there is none.
fn push_plain<'a>(out: &mut Vec<u8>, bytes: &'a [u8], end: usize) -> &'a [u8] {
    let plain = bytes.iter().position(|byte| !PLAIN[usize::from(*byte)]).unwrap_or(bytes.len());
    let room = end.saturating_sub(out.len());
    let (head, rest) = bytes.split_at(plain.min(room));
    out.extend_from_slice(head);
    if plain > room { &[] } else { rest }
}

fn push_unicode(out: &mut Vec<u8>, code: u32) {
    let digit = |shift: u32| LOWER[(code >> shift & 15) as usize];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

fn first_char(bytes: &[u8]) -> Option<char> {
    let text = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    text.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next())
}

/// Bytes that stand for themselves in both forms.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};
const LONGEST_JSON: usize = 6;
const LONGEST_COMBINED: usize = 4;
const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1000;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_json(&mut out, bytes, MOST);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_text_comes_back_and_what_is_not_is_replaced() {
        for text in
            ["", "plain /a?b=c", "a\"b\\c", "tab\tline\r\n\u{0}\u{1b}[31m\u{7f}", "é𝄞\u{85}"]
        {
            let read: String =
                serde_json::from_str(&format!("\"{}\"", json(text.as_bytes()))).unwrap();
            assert_eq!(read, text);
        }
        assert_eq!(
            json(b"a\xff\xc3(\xe2\x82b\xf0\x9f"),
            "a\\ufffd\\ufffd(\\ufffd\\ufffdb\\ufffd\\ufffd"
        );
        assert_eq!(json("\u{9b}31m\u{2028}".as_bytes()), "\\u009b31m\\u2028");
        let all: Vec<u8> = (0..=255).collect();
        assert!(json(&all).bytes().all(|byte| byte >= 0x20 && byte != 0x7f));
    }

    #[test]
    fn combined_is_as_nginx_writes_it() {
        let mut out = Vec::new();
        push_combined(&mut out, "a \"b\" \\ \t\r\né\u{7f}".as_bytes(), MOST);
        assert_eq!(out, b"a \\x22b\\x22 \\x5C \\x09\\x0D\\x0A\\xC3\\xA9\\x7F");
    }

    #[test]
    fn what_is_too_long_is_cut_between_two_characters() {
        for text in [
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "\n\n\n\n\n\n\n\n\n\n\n",
            "ééééééééééé",
            "a\"a\"a\"a\"a\"aa",
        ] {
            for room in 0..24 {
                let (mut json, mut combined) = (b"#".to_vec(), b"#".to_vec());
                push_json(&mut json, text.as_bytes(), room);
                push_combined(&mut combined, text.as_bytes(), room);
                assert!(json.len() <= room + 1 && combined.len() <= room + 1);
                let json = String::from_utf8(json).unwrap();
                let read: String = serde_json::from_str(&format!("\"{}\"", &json[1..])).unwrap();
                assert!(text.starts_with(&read), "{json}");
            }
        }
    }
}
