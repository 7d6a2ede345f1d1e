//! Sixteen bytes at once.

use wide::u8x16;

/// A bit for each byte that does not stand for itself in a JSON string: a quote, a backslash, a
/// control character (RFC 8259 section 7). The first byte's is the lowest.
#[inline]
pub(super) fn json_marks(bytes: &[u8; WIDTH]) -> u32 {
    let bytes = u8x16::new(*bytes);
    let control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    (control | quote | backslash).to_bitmask()
}

/// The same for those of `< > & " ' /`.
#[inline]
pub(super) fn html_marks(bytes: &[u8; WIDTH]) -> u32 {
    let bytes = u8x16::new(*bytes);
    // Two of them differ in one bit each time: `<` and `>`, `"` and `&`, `'` and `/`.
    let pair = |other: u8, one: u8| (bytes & u8x16::splat(other)).simd_eq(u8x16::splat(one));
    (pair(0xfd, b'<') | pair(0xfb, b'"') | pair(0xf7, b'\'')).to_bitmask()
}

/// The end of `bytes` behind the last whole sixteen, and zeros.
#[inline]
pub(super) fn padded(rest: &[u8]) -> [u8; WIDTH] {
    let mut bytes = [0; WIDTH];
    bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    bytes
}

/// How many bytes those are.
pub(super) const WIDTH: usize = 16;
/// Bytes behind a text with which all of it can be read in steps of [`WIDTH`], and from any byte
/// of the last one on.
pub(super) const PADDING: usize = 2 * WIDTH;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..WIDTH {
                let mut bytes = [b'a'; WIDTH];
                bytes[place] = byte;
                let mark = |is: bool| u32::from(is) << place;
                assert_eq!(json_marks(&bytes), mark(byte < b' ' || b"\"\\".contains(&byte)));
                assert_eq!(html_marks(&bytes), mark(b"<>&\"'/".contains(&byte)));
            }
        }
    }
}
