//! Eight bytes at once, in a word.

/// Marks in the high bit of each byte that is zero; above a true mark there may be false ones.
#[inline]
pub(super) fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Marks in the high bit of each byte that is not zero. The other bits say nothing.
#[inline]
pub(super) fn nonzeros(word: u64) -> u64 {
    ((word & !HIGHS) + !HIGHS) | word
}

/// A word of ones: times a byte, a word of that byte.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
/// The high bit of each byte.
pub(super) const HIGHS: u64 = 0x8080_8080_8080_8080;
