//! JSON (RFC 8259) as a flat list of nodes over the text it came in: one pass, no tree. A node
//! says where its text is and where the next one begins; numbers stay digits, and only strings
//! with escapes are copied.
//!
//! What is accepted here, serde_json accepts, with the same meaning. The other way round it need
//! not be: what is rare (a name that is there twice, a number beyond 64 bits) is refused, and left
//! to serde_json, as is telling what is wrong with something that is not JSON.

use crate::limits::JSON_DEPTH_MAX;
use crate::press::octets::{WIDTH, json_marks, padded};
use smallvec::SmallVec;

/// A value, or the name of one in an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Of an object, the levels that may be in it; of its names, the same; of all else 0. So a name
    /// that stands within an object's nodes and has its level is one of its own.
    pub(super) level: u8,
    /// Of a name, [`tag`] of its text.
    pub(super) tag: u16,
    /// The node after this one and all in it; after a name's, that after its value.
    pub(super) next: u32,
    /// Where its text begins: of strings without the quotes, of all else as it is written.
    pub(super) start: u32,
    /// Bytes of its text.
    pub(super) len: u32,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    False,
    True,
    /// A number of 64 bits without fraction and exponent.
    Integer,
    Float,
    String,
    Array,
    /// A name, its value, the next name, its value and so on.
    Object,
}

/// All nodes of a text; the first is the whole.
#[derive(Debug, Default)]
pub(super) struct Tape {
    pub(super) nodes: Vec<Node>,
    /// The text, and after it those of strings that are written with escapes.
    text: String,
}

/// Reads a text that is one JSON value. `None` for what is not JSON, and for what is not ours.
pub(super) fn read(text: &str) -> Option<Tape> {
    // What escapes stand for is never longer than they are.
    if u32::try_from(text.len().checked_mul(2)?).is_err() {
        return None;
    }
    // Short names and values with quotes and commas: more nodes a byte are rare.
    let nodes = Vec::with_capacity(text.len() / NODE_BYTES_USUAL + 1);
    let mut copy = String::with_capacity(text.len() + text.len() / UNESCAPED_USUAL);
    copy.push_str(text);
    let tape = Tape { nodes, text: copy };
    let mut reader = Reader { text, bytes: text.as_bytes(), tape };
    let start = reader.after_space(0);
    let end = reader.value(start, JSON_DEPTH_MAX)?;
    (reader.after_space(end) == text.len()).then_some(reader.tape)
}

/// Reads what begins at a place, and gives the place behind it: those are in registers.
struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    tape: Tape,
}

impl Reader<'_> {
    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    #[inline]
    fn after_space(&self, at: usize) -> usize {
        match self.byte(at) {
            Some(..=b' ') => self.after_all_space(at),
            _ => at,
        }
    }

    fn after_all_space(&self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte(at) {
            at += 1;
        }
        at
    }

    /// Reads a value that may have `depth - 1` levels.
    fn value(&mut self, at: usize, depth: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' => self.string(at + 1, 0),
            b'{' => self.object(at, depth.checked_sub(1).filter(|left| *left > 0)?),
            b'[' => self.array(at, depth.checked_sub(1).filter(|left| *left > 0)?),
            b't' => self.word(at, "true", Kind::True),
            b'f' => self.word(at, "false", Kind::False),
            b'n' => self.word(at, "null", Kind::Null),
            _ => self.number(at),
        }
    }

    fn word(&mut self, at: usize, word: &str, kind: Kind) -> Option<usize> {
        if !self.bytes.get(at..)?.starts_with(word.as_bytes()) {
            return None;
        }
        self.push(kind, 0, 0, at, word.len());
        Some(at + word.len())
    }

    fn array(&mut self, start: usize, depth: usize) -> Option<usize> {
        let node = self.open(Kind::Array, 0, start);
        let mut at = self.after_space(start + 1);
        if self.byte(at)? == b']' {
            return self.close(node, at + 1);
        }
        loop {
            at = self.value(at, depth)?;
            at = self.after_space(at);
            match self.byte(at)? {
                b',' => at = self.after_space(at + 1),
                b']' => return self.close(node, at + 1),
                _ => return None,
            }
        }
    }

    fn object(&mut self, start: usize, depth: usize) -> Option<usize> {
        let level = depth as u8;
        let node = self.open(Kind::Object, level, start);
        let mut at = self.after_space(start + 1);
        if self.byte(at)? == b'}' {
            return self.close(node, at + 1);
        }
        let mut names = Names::default();
        loop {
            if self.byte(at)? != b'"' {
                return None;
            }
            let name = self.tape.nodes.len();
            at = self.string(at + 1, level)?;
            names.add(self.tape.nodes.get(name)?.tag);
            at = self.after_space(at);
            if self.byte(at)? != b':' {
                return None;
            }
            at = self.after_space(at + 1);
            at = self.value(at, depth)?;
            let next = self.tape.nodes.len() as u32;
            self.tape.nodes.get_mut(name)?.next = next;
            at = self.after_space(at);
            match self.byte(at)? {
                b',' => at = self.after_space(at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        if names.may_repeat && self.repeats(node) {
            return None;
        }
        self.close(node, at + 1)
    }

    /// Begins a list or an object, at its bracket.
    fn open(&mut self, kind: Kind, level: u8, at: usize) -> usize {
        let node = self.tape.nodes.len();
        self.push(kind, level, 0, at, 0);
        node
    }

    /// Ends it, behind its bracket.
    fn close(&mut self, node: usize, at: usize) -> Option<usize> {
        let next = u32::try_from(self.tape.nodes.len()).ok()?;
        let node = self.tape.nodes.get_mut(node)?;
        node.next = next;
        node.len = (at - node.start as usize) as u32;
        Some(at)
    }

    #[inline]
    fn push(&mut self, kind: Kind, level: u8, tag: u16, start: usize, len: usize) {
        // Texts and copies are within 4 GiB, and no node has less than a byte.
        let next = self.tape.nodes.len() as u32 + 1;
        let (start, len) = (start as u32, len as u32);
        self.tape.nodes.push(Node { kind, level, tag, next, start, len });
    }

    /// Reads a string, behind its first quote: a value, or where `level` is not 0 a name.
    #[inline]
    fn string(&mut self, start: usize, level: u8) -> Option<usize> {
        let end = start + plain_length(self.bytes.get(start..)?);
        if self.byte(end)? != b'"' {
            return self.escaped_string(start, end, level);
        }
        let tag = if level == 0 { 0 } else { tag_at(self.bytes, start, end - start) };
        self.push(Kind::String, level, tag, start, end - start);
        Some(end + 1)
    }

    /// Reads a string that has something other than plain characters at `at`.
    fn escaped_string(&mut self, start: usize, mut at: usize, level: u8) -> Option<usize> {
        let copy = self.tape.text.len();
        let mut plain = start;
        loop {
            self.tape.text.push_str(self.text.get(plain..at)?);
            match self.byte(at)? {
                b'"' => break,
                b'\\' => at = self.escape(at + 1)?,
                _ => return None,
            }
            plain = at;
            at += plain_length(self.bytes.get(at..)?);
        }
        let len = self.tape.text.len() - copy;
        let tag = if level == 0 { 0 } else { tag_at(self.tape.text.as_bytes(), copy, len) };
        self.push(Kind::String, level, tag, copy, len);
        Some(at + 1)
    }

    /// Copies what the escape stands for that is at `at`, after its backslash; gives its end.
    fn escape(&mut self, at: usize) -> Option<usize> {
        let character = match self.bytes.get(at)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(at + 1),
            _ => return None,
        };
        self.tape.text.push(character);
        Some(at + 1)
    }

    /// Four digits, or those of a surrogate and those of its pair.
    fn unicode(&mut self, at: usize) -> Option<usize> {
        let high = self.four_digits(at)?;
        let (code, end) = match high {
            0xD800..=0xDBFF => {
                if self.bytes.get(at + 4..at + 6)? != b"\\u" {
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
        self.tape.text.push(char::from_u32(code)?);
        Some(end)
    }

    fn four_digits(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 4)?;
        let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        are_digits.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }

    fn number(&mut self, start: usize) -> Option<usize> {
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
        self.push(kind, 0, 0, start, at - start);
        Some(at)
    }

    /// Whether a number is what its looks say.
    fn is_64_bits(&self, start: usize, end: usize, kind: Kind) -> Option<bool> {
        let text = self.text.get(start..end)?;
        Some(match kind {
            Kind::Integer => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
            _ if text.len() <= FLOAT_BYTES_SURE && !text.contains(['e', 'E']) => true,
            _ => serde_json::from_str::<f64>(text).is_ok(),
        })
    }

    #[inline]
    fn after_digits(&self, mut at: usize) -> usize {
        while let Some(b'0'..=b'9') = self.byte(at) {
            at += 1;
        }
        at
    }

    /// The same where there must be some.
    fn after_some_digits(&self, at: usize) -> Option<usize> {
        let end = self.after_digits(at);
        (end > at).then_some(end)
    }

    /// Whether an object, the last thing read, has a name twice.
    fn repeats(&self, node: usize) -> bool {
        let mut names: SmallVec<[&str; NAMES_FEW]> = SmallVec::new();
        let mut at = node + 1;
        while let Some(name) = self.tape.nodes.get(at) {
            names.push(self.tape.text(name));
            at = name.next as usize;
        }
        if names.len() <= NAMES_FEW {
            let twice = |(at, name): (usize, &&str)| names.iter().skip(at + 1).any(|n| n == name);
            return names.iter().enumerate().any(twice);
        }
        names.sort_unstable();
        names.windows(2).any(|pair| pair.first() == pair.last())
    }
}

impl Tape {
    /// The text of all nodes.
    #[inline]
    pub(super) fn all(&self) -> &str {
        &self.text
    }

    /// What nodes and text take, bytes.
    pub(super) fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.text.capacity()
    }

    /// The text of a node.
    #[inline]
    pub(super) fn text(&self, node: &Node) -> &str {
        let start = node.start as usize;
        self.text.get(start..start + node.len as usize).unwrap_or_default()
    }
}

/// Something of a name that tells it from most others: they are compared by it first.
#[inline]
pub(super) fn tag(name: &[u8]) -> u16 {
    tag_at(name, 0, name.len())
}

/// The same of a name in a text, of which it takes the first eight bytes, the last eight and the
/// length.
#[inline]
fn tag_at(text: &[u8], start: usize, len: usize) -> u16 {
    let word = |at: usize| text.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word));
    let (first, last) = match (word(start), len.checked_sub(WORD_BYTES)) {
        (Some(first), None) => (first & !(u64::MAX << (8 * len)), 0),
        (Some(first), Some(rest)) => (first, word(start + rest).unwrap_or_default()),
        // Hardly ever: a name at the end of its text.
        (None, _) => {
            let bytes = text.get(start..start + len).unwrap_or_default().iter().rev();
            (bytes.fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
        }
    };
    let mix = first ^ last.rotate_left(29) ^ (len as u64) << 59;
    (mix.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as u16
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

/// How many bytes there are before the first quote, backslash or control character.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    let (chunks, rest) = bytes.as_chunks::<WIDTH>();
    for chunk in chunks {
        let marks = json_marks(chunk);
        if marks != 0 {
            return length + marks.trailing_zeros() as usize;
        }
        length += WIDTH;
    }
    // The zeros behind the rest are control characters.
    length + (json_marks(&padded(rest)).trailing_zeros() as usize).min(rest.len())
}

const WORD_BYTES: usize = 8;
/// Names that are compared each with each.
const NAMES_FEW: usize = 12;

/// Digits that 64 bits always hold, the sign among them.
const DIGITS_SURE: usize = 18;
/// A number this long without an exponent is finite.
const FLOAT_BYTES_SURE: usize = 64;
/// Bytes of text a node, at least, in what APIs say.
const NODE_BYTES_USUAL: usize = 6;
/// Bytes of text for each byte of strings with escapes, at least, in what APIs say.
const UNESCAPED_USUAL: usize = 4;
