//! JSON (RFC 8259) as a flat list of nodes over the text it came in: one pass, no tree. A node
//! says where its text is and where the next one begins; numbers stay digits, and only strings
//! with escapes are copied.
//!
//! What is accepted here, serde_json accepts, with the same meaning. The other way round it need
//! not be: what is rare (a name that is there twice, a number beyond 64 bits) is refused, and left
//! to serde_json, as is telling what is wrong with something that is not JSON.

use crate::limits::JSON_DEPTH_MAX;
use crate::press::octets::{HIGHS, ONES, zeros};
use smallvec::SmallVec;

/// A value, or the name of one in an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Of a string, [`tag`] of its text.
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
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, tape };
    reader.skip_space();
    reader.value(JSON_DEPTH_MAX)?;
    reader.skip_space();
    (reader.at == reader.bytes.len()).then_some(reader.tape)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    tape: Tape,
}

impl Reader<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.skip_all_space();
        }
    }

    fn skip_all_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads a value that may have `depth - 1` levels.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(depth.checked_sub(1).filter(|left| *left > 0)?),
            b'[' => self.array(depth.checked_sub(1).filter(|left| *left > 0)?),
            b't' => self.word("true", Kind::True),
            b'f' => self.word("false", Kind::False),
            b'n' => self.word("null", Kind::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Option<()> {
        if !self.bytes.get(self.at..)?.starts_with(word.as_bytes()) {
            return None;
        }
        self.push(kind, 0, self.at, word.len());
        self.at += word.len();
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let node = self.open(Kind::Array);
        self.skip_space();
        if self.peek()? == b']' {
            return self.close(node);
        }
        loop {
            self.value(depth)?;
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => return self.close(node),
                _ => return None,
            }
            self.skip_space();
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let node = self.open(Kind::Object);
        self.skip_space();
        if self.peek()? == b'}' {
            return self.close(node);
        }
        let mut names = Names::default();
        loop {
            if self.peek()? != b'"' {
                return None;
            }
            let name = self.string()?;
            names.add(self.tape.nodes.get(name)?.tag);
            self.skip_space();
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            self.skip_space();
            self.value(depth)?;
            let next = self.tape.nodes.len() as u32;
            self.tape.nodes.get_mut(name)?.next = next;
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
            self.skip_space();
        }
        if names.may_repeat && self.repeats(node) {
            return None;
        }
        self.close(node)
    }

    /// Begins a list or an object, at its bracket.
    fn open(&mut self, kind: Kind) -> usize {
        let node = self.tape.nodes.len();
        self.push(kind, 0, self.at, 0);
        self.at += 1;
        node
    }

    /// Ends it, at its bracket.
    fn close(&mut self, node: usize) -> Option<()> {
        self.at += 1;
        let next = u32::try_from(self.tape.nodes.len()).ok()?;
        let at = self.at;
        let node = self.tape.nodes.get_mut(node)?;
        node.next = next;
        node.len = (at - node.start as usize) as u32;
        Some(())
    }

    #[inline]
    fn push(&mut self, kind: Kind, tag: u16, start: usize, len: usize) {
        // Texts and copies are within 4 GiB, and no node has less than a byte.
        let next = self.tape.nodes.len() as u32 + 1;
        self.tape.nodes.push(Node { kind, tag, next, start: start as u32, len: len as u32 });
    }

    /// Reads a string, at its first quote, and gives its node.
    #[inline]
    fn string(&mut self) -> Option<usize> {
        let node = self.tape.nodes.len();
        let start = self.at + 1;
        let end = start + plain_length(self.bytes.get(start..)?);
        if self.bytes.get(end)? == &b'"' {
            let tag = tag(self.bytes.get(start..end)?);
            self.push(Kind::String, tag, start, end - start);
            self.at = end + 1;
            return Some(node);
        }
        self.escaped_string(start, end).map(|()| node)
    }

    /// Reads a string that has something other than plain characters at `at`.
    #[cold]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Option<()> {
        let copy = self.tape.text.len();
        let mut plain = start;
        loop {
            self.tape.text.push_str(self.text.get(plain..at)?);
            match self.bytes.get(at)? {
                b'"' => break,
                b'\\' => at = self.escape(at + 1)?,
                _ => return None,
            }
            plain = at;
            at += plain_length(self.bytes.get(at..)?);
        }
        let len = self.tape.text.len() - copy;
        let tag = tag(self.tape.text.as_bytes().get(copy..)?);
        self.push(Kind::String, tag, copy, len);
        self.at = at + 1;
        Some(())
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

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let whole = self.digits();
        let leading_zero = self.bytes.get(self.at - whole) == Some(&b'0');
        if whole == 0 || (leading_zero && whole > 1) {
            return None;
        }
        let mut is_float = false;
        if self.peek() == Some(b'.') {
            self.at += 1;
            is_float = true;
            if self.digits() == 0 {
                return None;
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            is_float = true;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return None;
            }
        }
        let text = self.text.get(start..self.at)?;
        // Minus zero is a floating point number.
        let kind = if is_float || text == "-0" { Kind::Float } else { Kind::Integer };
        let usual = match kind {
            Kind::Integer => text.len() <= DIGITS_SURE,
            _ => text.len() <= FLOAT_BYTES_SURE && !text.contains(['e', 'E']),
        };
        if !usual && !self.is_64_bits(text, kind) {
            return None;
        }
        self.push(kind, 0, start, text.len());
        Some(())
    }

    /// Whether a number is what its looks say.
    #[cold]
    fn is_64_bits(&self, text: &str, kind: Kind) -> bool {
        match kind {
            Kind::Integer => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
            _ => serde_json::from_str::<f64>(text).is_ok(),
        }
    }

    /// Skips digits, and counts them.
    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
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

    /// The text of a node.
    #[inline]
    pub(super) fn text(&self, node: &Node) -> &str {
        let start = node.start as usize;
        self.text.get(start..start + node.len as usize).unwrap_or_default()
    }
}

/// Something of a text that tells it from most others: names are compared by it first.
#[inline]
pub(super) fn tag(text: &[u8]) -> u16 {
    let byte = |at: usize| u32::from(text.get(at).copied().unwrap_or_default());
    let half = byte(text.len() / 2);
    let last = byte(text.len().wrapping_sub(1));
    let mix = byte(0) | half << 8 | last << 16 | (text.len() as u32) << 24;
    (mix.wrapping_mul(0x9E37_79B1) >> 16) as u16
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
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quote = zeros(word ^ (u64::from(b'"') * ONES));
        let backslash = zeros(word ^ (u64::from(b'\\') * ONES));
        let control = word.wrapping_sub(0x20 * ONES) & !word & HIGHS;
        let found = quote | backslash | control;
        if found != 0 {
            // In each of the three the lowest mark is a true one.
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    length + rest.iter().take_while(is_plain).count()
}

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
