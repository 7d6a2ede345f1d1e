//! Entity tags (RFC 9110 section 8.8.3) and the condition on them that readers send.

#![expect(
    clippy::indexing_slicing,
    reason = "a table has a place for each octet, or for each hex digit"
)]

use super::Coding;

/// A strong entity tag, with its quotes: two responses that have it are the same byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag([u8; TAG_BYTES]);

impl EntityTag {
    /// The tag that shows this number.
    pub fn new(number: u128) -> Self {
        let mut tag = [b'"'; TAG_BYTES];
        for (at, place) in tag.iter_mut().skip(1).take(DIGITS).enumerate() {
            let digit = (number >> (4 * (DIGITS - 1 - at))) & 15;
            *place = DIGIT[digit as usize];
        }
        Self(tag)
    }

    /// The tag of the same bytes packed in this coding: they are other bytes (RFC 9110 section
    /// 8.8.3.3).
    #[must_use]
    pub fn coded(mut self, coding: Coding) -> Self {
        let mark = match coding {
            Coding::Identity => 0,
            Coding::Gzip => 1,
            Coding::Brotli => 2,
            Coding::Zstd => 3,
        };
        if let Some(last) = self.0.get_mut(DIGITS) {
            let digit = char::from(*last).to_digit(16).unwrap_or(0) as usize ^ mark;
            *last = DIGIT.get(digit).copied().unwrap_or(*last);
        }
        self
    }

    /// Whether it is among the tags of a value, weak or strong.
    pub fn is_among(&self, value: &[u8]) -> bool {
        value.trim_ascii() != b"*" && self.is_in(value, true)
    }

    /// As it is written in a field.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a value of `If-None-Match` names it, or anything (RFC 9110 section 13.1.2): then a
    /// reader has what we would send. Weak and strong tags are the same here.
    pub fn is_named_by(&self, value: &[u8]) -> bool {
        self.is_in(value, true)
    }

    /// Whether a value of `If-Match` names it, or anything (RFC 9110 section 13.1.1). A weak tag
    /// is not the same here.
    pub fn is_demanded_by(&self, value: &[u8]) -> bool {
        self.is_in(value, false)
    }

    fn is_in(&self, value: &[u8], or_weak: bool) -> bool {
        let mut rest = value.trim_ascii();
        if rest == b"*" {
            return true;
        }
        // Commas may be within tags, so the tags themselves are looked for.
        while let Some(start) = memchr::memchr(b'"', rest) {
            let Some(length) = rest.get(start + 1..).and_then(|tag| memchr::memchr(b'"', tag))
            else {
                return false;
            };
            let end = start + length + 2;
            let is_weak = start >= 2 && rest.get(start - 2..start) == Some(b"W/");
            if rest.get(start..end) == Some(&self.0) && (or_weak || !is_weak) {
                return true;
            }
            rest = rest.get(end..).unwrap_or_default();
        }
        false
    }
}

const DIGITS: usize = 32;
const TAG_BYTES: usize = DIGITS + 2;
const DIGIT: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_tag_demands_nothing() {
        let tag = EntityTag::new(7);
        let text = String::from_utf8(tag.as_bytes().to_vec()).unwrap();
        for (value, demanded) in [
            ("*".to_owned(), true),
            (text.clone(), true),
            (format!("\"other\", {text}"), true),
            (format!("W/{text}"), false),
            (format!("W/{text}, {text}"), true),
            ("\"other\"".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(tag.is_demanded_by(value.as_bytes()), demanded, "{value}");
        }
    }

    #[test]
    fn each_coding_has_a_tag_of_its_own() {
        let plain = EntityTag::new(0xf);
        assert_eq!(plain.coded(Coding::Identity), plain);
        let mut tags = Coding::PACKED.map(|coding| plain.coded(coding)).to_vec();
        tags.push(plain);
        for (at, tag) in tags.iter().enumerate() {
            assert!(tag.as_bytes().starts_with(b"\"0000") && tag.as_bytes().len() == 34);
            assert!(!tags[..at].contains(tag), "{tag:?}");
            assert!(tag.is_among(tag.as_bytes()) && !tag.is_among(b"*"));
        }
    }

    #[test]
    fn a_tag_is_its_number_in_quotes() {
        assert_eq!(EntityTag::new(0x1f).as_bytes(), b"\"0000000000000000000000000000001f\"");
        let all = EntityTag::new(u128::MAX);
        assert_eq!(all.as_bytes(), format!("\"{}\"", "f".repeat(32)).as_bytes());
    }

    #[test]
    fn conditions_name_tags() {
        let tag = EntityTag::new(7);
        let text = String::from_utf8(tag.as_bytes().to_vec()).unwrap();
        for value in [
            text.clone(),
            format!("W/{text}"),
            format!("\"a,b\", {text}"),
            format!("\"x\",W/\"y\" ,{text} "),
            " * ".to_owned(),
        ] {
            assert!(tag.is_named_by(value.as_bytes()), "{value}");
        }
        for value in ["", "\"7\"", "\"", "\"0000000000000000000000000000007", "**", "W/\"*\""] {
            assert!(!tag.is_named_by(value.as_bytes()), "{value}");
        }
    }
}
