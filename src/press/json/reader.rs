//! JSON (RFC 8259) read into a [`Tape`], in one pass.
//!
//! What is accepted here, serde_json accepts, with the same meaning. The other way round it need
//! not be: what is rare (a name that is there twice, a number beyond 64 bits) is refused, and left
//! to serde_json, as is telling what is wrong with something that is not JSON.

use super::tape::{Kind, Tape, tag_at};
use crate::limits::JSON_DEPTH_MAX;
use crate::press::octets::{PADDING, WIDTH, json_marks, padded};

/// Reads a text that is one JSON value. `None` for what is not JSON, and for what is not ours.
pub(super) fn read(text: &str) -> Option<Tape> {
    // What escapes stand for is never longer than they are.
    if u32::try_from(text.len().checked_mul(2)?.checked_add(PADDING)?).is_err() {
        return None;
    }
    // Short names and values with quotes and commas: more nodes a byte are rare.
    let mut tape = Tape::used();
    tape.nodes.reserve(text.len() / NODE_BYTES_USUAL + 1);
    tape.text.reserve(text.len() + text.len() / UNESCAPED_USUAL + PADDING + WIDTH);
    tape.text.extend_from_slice(text.as_bytes());
    let reader = Reader(text);
    let end = reader.value(0, JSON_DEPTH_MAX + 1, &mut tape)?;
    let is_all = reader.after_space(end) == text.len();
    tape.text.extend_from_slice(&[0; PADDING]);
    is_all.then_some(tape)
}

/// Reads what begins at a place, and gives the place behind it: those are in registers, as is where
/// the text is.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a str);

impl Reader<'_> {
    #[inline(always)]
    fn byte(self, at: usize) -> Option<u8> {
        self.0.as_bytes().get(at).copied()
    }

    /// So many bytes from a place on, where there are as many.
    #[inline(always)]
    fn bytes<const BYTES: usize>(&self, at: usize) -> Option<&[u8; BYTES]> {
        self.0.as_bytes().get(at..)?.first_chunk()
    }

    /// Behind white space, where there is any.
    #[inline(always)]
    fn after_space(self, at: usize) -> usize {
        match self.byte(at) {
            Some(..=b' ') => self.after_all_space(at),
            _ => at,
        }
    }

    #[cold]
    #[inline(never)]
    fn after_all_space(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte(at) {
            at += 1;
        }
        at
    }

    /// The next byte that is no white space, and its place. Mostly that is here.
    #[inline(always)]
    fn next(self, at: usize) -> Option<(u8, usize)> {
        match self.byte(at)? {
            ..=b' ' => self.next_behind_space(at),
            byte => Some((byte, at)),
        }
    }

    #[cold]
    #[inline(never)]
    fn next_behind_space(self, at: usize) -> Option<(u8, usize)> {
        let at = self.after_all_space(at);
        Some((self.byte(at)?, at))
    }

    /// Reads a value that may have `depth - 1` levels.
    #[inline(always)]
    fn value(self, at: usize, depth: usize, tape: &mut Tape) -> Option<usize> {
        let (byte, at) = self.next(at)?;
        match byte {
            b'"' => self.string(at + 1, tape),
            b'0'..=b'9' => match self.small_number(at, tape) {
                Some(end) => Some(end),
                None => self.number(at, tape),
            },
            b'{' => self.object(at, depth.checked_sub(1).filter(|left| *left > 0)?, tape),
            b'[' => self.array(at, depth.checked_sub(1).filter(|left| *left > 0)?, tape),
            b't' => self.word(at, b"true", Kind::True, tape),
            b'f' => self.word(at, b"false", Kind::False, tape),
            b'n' => self.word(at, b"null", Kind::Null, tape),
            _ => self.number(at, tape),
        }
    }

    #[inline(always)]
    fn word<const BYTES: usize>(
        self,
        at: usize,
        word: &[u8; BYTES],
        kind: Kind,
        tape: &mut Tape,
    ) -> Option<usize> {
        if self.bytes(at)? != word {
            return None;
        }
        tape.push(kind, 0, 0, at, BYTES);
        Some(at + BYTES)
    }

    #[inline(never)]
    fn array(self, start: usize, depth: usize, tape: &mut Tape) -> Option<usize> {
        let node = tape.open(Kind::Array, 0, start);
        let (byte, mut at) = self.next(start + 1)?;
        if byte == b']' {
            return tape.close(node, at + 1);
        }
        loop {
            at = self.value(at, depth, tape)?;
            let (byte, end) = self.next(at)?;
            match byte {
                b',' => at = end + 1,
                b']' => return tape.close(node, end + 1),
                _ => return None,
            }
        }
    }

    #[inline(never)]
    fn object(self, start: usize, depth: usize, tape: &mut Tape) -> Option<usize> {
        let level = depth as u8;
        let node = tape.open(Kind::Object, level, start);
        let (mut byte, mut at) = self.next(start + 1)?;
        if byte == b'}' {
            return tape.close(node, at + 1);
        }
        let mut names = Names::default();
        loop {
            if byte != b'"' {
                return None;
            }
            let name = tape.nodes.len();
            at = self.name(at + 1, level, &mut names, tape)?;
            (byte, at) = self.next(at)?;
            if byte != b':' {
                return None;
            }
            at = self.value(at + 1, depth, tape)?;
            let next = tape.nodes.len() as u32;
            tape.nodes.get_mut(name)?.next = next;
            (byte, at) = self.next(at)?;
            match byte {
                b',' => (byte, at) = self.next(at + 1)?,
                b'}' => break,
                _ => return None,
            }
        }
        if names.may_repeat && tape.repeats(node) {
            return None;
        }
        tape.close(node, at + 1)
    }

    /// Reads the name of a value, behind its first quote.
    #[inline(always)]
    fn name(self, start: usize, level: u8, names: &mut Names, tape: &mut Tape) -> Option<usize> {
        let end = self.after_plain(start)?;
        if self.byte(end)? != b'"' {
            let end = self.escaped_string(start, level, tape)?;
            names.add(tape.nodes.last()?.tag());
            return Some(end);
        }
        let tag = tag_at(self.0.as_bytes(), start, end - start);
        names.add(tag);
        tape.push(Kind::String, level, tag, start, end - start);
        Some(end + 1)
    }

    /// Reads a string that is a value, behind its first quote.
    #[inline(always)]
    fn string(self, start: usize, tape: &mut Tape) -> Option<usize> {
        let end = self.after_plain(start)?;
        if self.byte(end)? != b'"' {
            return self.escaped_string(start, 0, tape);
        }
        tape.push(Kind::String, 0, 0, start, end - start);
        Some(end + 1)
    }

    /// The place of the first quote, backslash or control character.
    #[inline(always)]
    fn after_plain(self, mut at: usize) -> Option<usize> {
        while let Some(chunk) = self.bytes(at) {
            let marks = json_marks(chunk);
            if marks != 0 {
                return Some(at + marks.trailing_zeros() as usize);
            }
            at += WIDTH;
        }
        // The zeros behind the rest are control characters.
        let rest = self.0.as_bytes().get(at..)?;
        Some(at + (json_marks(&padded(rest)).trailing_zeros() as usize).min(rest.len()))
    }

    /// Reads a string with escapes, which is copied: a value, or where `level` is not 0 a name.
    #[inline(never)]
    fn escaped_string(self, start: usize, level: u8, tape: &mut Tape) -> Option<usize> {
        let (copy, mut at) = (tape.text.len(), start);
        loop {
            let chunk = match self.bytes(at) {
                Some(chunk) => *chunk,
                // The zeros behind the rest are control characters.
                None => padded(self.0.as_bytes().get(at..)?),
            };
            tape.text.extend_from_slice(&chunk);
            let marks = json_marks(&chunk);
            if marks == 0 {
                at += WIDTH;
                continue;
            }
            let plain = marks.trailing_zeros() as usize;
            tape.text.truncate(tape.text.len() - WIDTH + plain);
            at += plain;
            match self.byte(at)? {
                b'"' => break,
                b'\\' => at = self.escape(at + 1, &mut tape.text)?,
                _ => return None,
            }
        }
        let len = tape.text.len() - copy;
        let tag = if level == 0 { 0 } else { tag_at(&tape.text, copy, len) };
        tape.push(Kind::String, level, tag, copy, len);
        Some(at + 1)
    }

    /// Copies what the escape stands for that is at `at`, after its backslash; gives its end.
    #[inline(always)]
    fn escape(self, at: usize, text: &mut Vec<u8>) -> Option<usize> {
        let character = match self.byte(at)? {
            same @ (b'"' | b'\\' | b'/') => same,
            b'n' => b'\n',
            b'u' => return self.unicode(at + 1, text),
            b'b' => 8,
            b'f' => 12,
            b'r' => b'\r',
            b't' => b'\t',
            _ => return None,
        };
        text.push(character);
        Some(at + 1)
    }

    /// Four digits, or those of a surrogate and those of its pair.
    #[inline(never)]
    fn unicode(self, at: usize, text: &mut Vec<u8>) -> Option<usize> {
        let high = self.four_digits(at)?;
        let (code, end) = match high {
            0xD800..=0xDBFF => {
                if self.bytes(at + 4)? != b"\\u" {
                    return None;
                }
                let low = self.four_digits(at + 6)?;
                if !(0xDC00..=0xDFFF).contains(&low) {
                    return None;
                }
                (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), at + 10)
            }
            code => (code, at + 4),
        };
        let character = char::from_u32(code)?;
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Some(end)
    }

    fn four_digits(self, at: usize) -> Option<u32> {
        let digits = self.0.get(at..at + 4)?;
        let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        are_digits.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }

    /// Reads a number of a few digits and nothing else.
    #[inline(always)]
    fn small_number(self, start: usize, tape: &mut Tape) -> Option<usize> {
        let word = u64::from_le_bytes(*self.bytes(start)?);
        // Of each byte the highest bit, where it is no digit.
        let others = word ^ ZEROS;
        let others = (others.wrapping_add(NO_DIGITS) | others) & HIGHEST_BITS;
        let digits = others.trailing_zeros() as usize / 8;
        let leading_zero = word & 0xff == u64::from(b'0') && digits > 1;
        let is_whole = match word.checked_shr(8 * digits as u32)? as u8 {
            b'.' | b'e' | b'E' => false,
            _ => digits > 0 && !leading_zero,
        };
        if !is_whole {
            return None;
        }
        tape.push(Kind::Integer, 0, 0, start, digits);
        Some(start + digits)
    }

    #[inline(never)]
    fn number(self, start: usize, tape: &mut Tape) -> Option<usize> {
        let whole = start + usize::from(self.byte(start)? == b'-');
        let mut at = self.after_digits(whole);
        let leading_zero = self.byte(whole) == Some(b'0');
        if at == whole || (leading_zero && at - whole > 1) {
            return None;
        }
        let mut is_float = false;
        if self.byte(at) == Some(b'.') {
            is_float = true;
            at = self.after_some_digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.byte(at) {
            is_float = true;
            let is_signed = matches!(self.byte(at + 1), Some(b'+' | b'-'));
            at = self.after_some_digits(at + 1 + usize::from(is_signed))?;
        }
        // Minus zero is a floating point number.
        let is_float = is_float || (leading_zero && whole != start);
        let kind = if is_float { Kind::Float } else { Kind::Integer };
        if (is_float || at - start > DIGITS_SURE) && !self.is_64_bits(start, at, kind)? {
            return None;
        }
        tape.push(kind, 0, 0, start, at - start);
        Some(at)
    }

    /// Whether a number is what its looks say.
    fn is_64_bits(self, start: usize, end: usize, kind: Kind) -> Option<bool> {
        let text = self.0.get(start..end)?;
        Some(match kind {
            Kind::Integer => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
            _ if text.len() <= FLOAT_BYTES_SURE && !text.contains(['e', 'E']) => true,
            _ => serde_json::from_str::<f64>(text).is_ok(),
        })
    }

    #[inline]
    fn after_digits(self, mut at: usize) -> usize {
        while let Some(b'0'..=b'9') = self.byte(at) {
            at += 1;
        }
        at
    }

    /// The same where there must be some.
    fn after_some_digits(self, at: usize) -> Option<usize> {
        let end = self.after_digits(at);
        (end > at).then_some(end)
    }
}

/// The names of an object, hardly: enough to know mostly that none is there twice.
#[derive(Default)]
struct Names {
    seen: u64,
    may_repeat: bool,
}

impl Names {
    #[inline]
    fn add(&mut self, tag: u16) {
        let bit = 1_u64 << (tag >> 10);
        self.may_repeat |= self.seen & bit != 0;
        self.seen |= bit;
    }
}

/// Eight digits, what makes a byte's highest bit of anything above nine, and those bits.
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
const NO_DIGITS: u64 = u64::from_le_bytes([0x76; 8]);
const HIGHEST_BITS: u64 = u64::from_le_bytes([0x80; 8]);
/// Digits that 64 bits always hold, the sign among them.
const DIGITS_SURE: usize = 18;
/// A number this long without an exponent is finite.
const FLOAT_BYTES_SURE: usize = 64;
/// Bytes of text a node, at least, in what APIs say.
const NODE_BYTES_USUAL: usize = 6;
/// Bytes of text for each byte of strings with escapes, at least, in what APIs say.
const UNESCAPED_USUAL: usize = 4;
