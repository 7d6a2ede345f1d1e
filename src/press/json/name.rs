//! Names that templates look up in objects, made ready to be compared.

use super::tape::sign_of;
use std::sync::atomic::{AtomicU32, Ordering};

/// The name of a value in an object.
#[derive(Debug)]
pub(crate) struct Name {
    text: Box<str>,
    /// Its [`sign_of`].
    sign: u64,
    /// Its first eight bytes, and where it has some.
    first: u64,
    mask: u64,
    /// How many nodes behind its object it was the last time. A hint, which only one worker has.
    place: AtomicU32,
}

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let mut first = [0; WORD_BYTES];
        let mut mask = [0; WORD_BYTES];
        for (byte, (first, mask)) in text.bytes().zip(first.iter_mut().zip(&mut mask)) {
            (*first, *mask) = (byte, 0xff);
        }
        let (first, mask) = (u64::from_le_bytes(first), u64::from_le_bytes(mask));
        let (sign, place) = (sign_of(text), AtomicU32::new(1));
        Self { text: text.into(), sign, first, mask, place }
    }

    /// Where it was the last time, in nodes behind its object.
    #[inline(always)]
    pub(super) fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }

    /// Where it is.
    #[inline]
    pub(super) fn remember(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Its [`sign_of`].
    #[inline(always)]
    pub(super) fn sign(&self) -> u64 {
        self.sign
    }

    /// Whether `text` has it at a place. What most names are is known from a word.
    #[inline(always)]
    pub(super) fn is_at(&self, text: &[u8], at: usize) -> bool {
        let Some(found) = text.get(at..) else { return false };
        match found.first_chunk::<WORD_BYTES>() {
            Some(first) if u64::from_le_bytes(*first) & self.mask != self.first => false,
            Some(_) if self.text.len() <= WORD_BYTES => true,
            _ => self.is_all_of(found),
        }
    }

    #[inline(never)]
    fn is_all_of(&self, found: &[u8]) -> bool {
        found.get(..self.text.len()) == Some(self.text.as_bytes())
    }
}

const WORD_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_at_the_very_end_is_found() {
        let text = b"\"id\"";
        assert!(Name::new("id").is_at(text, 1));
        assert!(!Name::new("ie").is_at(text, 1));
        assert!(!Name::new("id\"x").is_at(text, 1));
        assert!(Name::new("").is_at(text, 4));
        assert!(!Name::new("a").is_at(text, 5));
    }

    proptest! {
        #[test]
        fn it_is_what_is_equal(text in "[ab]{0,24}", name in "[ab]{0,10}", start in 0..24_usize) {
            let found = text.get(start..start + name.len());
            let wanted = found == Some(name.as_str());
            prop_assert_eq!(Name::new(&name).is_at(text.as_bytes(), start), wanted);
        }
    }
}
