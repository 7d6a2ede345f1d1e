//! Characters that XML cannot have, not even escaped (XML 1.0 section 2.2). A reader of feeds
//! that finds one refuses the whole of it, and an API may deliver any.

/// Puts U+FFFD in the place of each such character from `start` on. What is replaced cannot join
/// what stood on both sides of it, as it could if it were dropped.
pub(crate) fn replace_forbidden(out: &mut Vec<u8>, start: usize) {
    let rest = out.get(start..).unwrap_or_default();
    let Some(first) = find(rest) else { return };
    let rest = rest.to_vec();
    out.truncate(start + first);
    let mut left = rest.get(first..).unwrap_or_default();
    while !left.is_empty() {
        let plain = find(left).unwrap_or(left.len());
        let (before, after) = left.split_at_checked(plain).unwrap_or((left, &[]));
        out.extend_from_slice(before);
        left = after.get(length(after)..).unwrap_or_default();
        if !after.is_empty() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

const REPLACEMENT: &str = "\u{fffd}";

/// Where the first one is.
fn find(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = bytes.get(at..)?.iter().position(|&byte| is_suspect(byte)) {
        at += found;
        if length(bytes.get(at..)?) > 0 {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn is_suspect(byte: u8) -> bool {
    byte == 0xef || (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// How many bytes the one at the beginning has; 0 where there is none.
fn length(bytes: &[u8]) -> usize {
    match bytes {
        [0xef, 0xbf, 0xbe | 0xbf, ..] => 3,
        [0xef, ..] | [] => 0,
        [byte, ..] => usize::from(is_suspect(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_xml_cannot_have_is_replaced() {
        for (text, wanted) in [
            ("", ""),
            ("plain\t\r\n\u{7f}\u{85}\u{2028}\u{fffd}\u{ff01}\u{1f600}", ""),
            ("a\0b\u{1}\u{2}c\u{1f}", "a\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}"),
            ("\u{ffff}a\u{fffe}", "\u{fffd}a\u{fffd}"),
            ("\u{b}", "\u{fffd}"),
        ] {
            let mut out = format!("\0{text}").into_bytes();
            replace_forbidden(&mut out, 1);
            let wanted = if wanted.is_empty() { text } else { wanted };
            assert_eq!(String::from_utf8(out).unwrap(), format!("\0{wanted}"), "{text:?}");
        }
    }
}
