//! JSON (RFC 8259) as a flat list of nodes over the text it came in: no tree. A node
//! says where its text is and where the next one begins; numbers stay digits, and only strings
//! with escapes are copied.

#![expect(clippy::indexing_slicing, reason = "three bits choose one of eight")]

use crate::limits::{TAPE_KEPT_BYTES_MAX, TAPES_KEPT_MAX};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::mem::take;

/// A value, or the name of one in an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// All that a name is compared by first, in a word: from the lowest byte on its [`Kind`], its
    /// level, its [`tag`] in two bytes, and the bytes of its text in four.
    ///
    /// The level of an object is how many levels may be in it; its names have the same, and all
    /// else has 0. So a name that stands within an object's nodes and has its level is its own.
    /// Only names have a tag.
    sign: u64,
    /// Where its text begins: of strings without the quotes, of all else as it is written.
    pub(super) start: u32,
    /// The node after this one and all in it; after a name's, that after its value.
    pub(super) next: u32,
}

impl Node {
    #[inline(always)]
    fn new(kind: Kind, level: u8, tag: u16, (start, len): (u32, u32), next: u32) -> Self {
        let sign = sign(kind, tag, len) | u64::from(level) << LEVEL_SHIFT;
        Self { sign, start, next }
    }

    #[inline(always)]
    pub(super) fn kind(&self) -> Kind {
        Kind::ALL[(self.sign & 7) as usize]
    }

    #[inline(always)]
    pub(super) fn is_object(&self) -> bool {
        self.sign as u8 == Kind::Object as u8
    }

    /// Bytes of its text.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        (self.sign >> LEN_SHIFT) as usize
    }

    /// Whether it is a name with this [`sign`], of whatever object.
    #[inline(always)]
    pub(super) fn is_like(&self, sign: u64) -> bool {
        self.sign & !LEVEL == sign && self.sign & LEVEL != 0
    }

    /// Whether it is a name with this [`sign`], of an object with the level of this one.
    #[inline(always)]
    pub(super) fn is_within(&self, object: &Node, sign: u64) -> bool {
        self.sign == sign | object.sign & LEVEL
    }

    pub(super) fn tag(&self) -> u16 {
        (self.sign >> TAG_SHIFT) as u16
    }
}

/// What names with a tag and a length have in common.
#[inline(always)]
fn sign(kind: Kind, tag: u16, len: u32) -> u64 {
    kind as u64 | u64::from(tag) << TAG_SHIFT | u64::from(len) << LEN_SHIFT
}

/// The sign of a name. None is so long that it has no place in it.
pub(super) fn sign_of(name: &str) -> u64 {
    let bytes = name.as_bytes();
    sign(Kind::String, tag(bytes), u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
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

impl Kind {
    /// All of them, in their order.
    const ALL: [Self; 8] = [
        Self::Null,
        Self::False,
        Self::True,
        Self::Integer,
        Self::Float,
        Self::String,
        Self::Array,
        Self::Object,
    ];
}

/// All nodes of a text; the first is the whole.
#[derive(Debug, Default)]
pub(super) struct Tape {
    pub(super) nodes: Vec<Node>,
    /// The text, after it those of strings that are written with escapes, and [`PADDING`] zeros.
    pub(super) text: Vec<u8>,
}

thread_local! {
    /// Tapes that nobody needs any more, for the next texts: a worker reads one after the other.
    static USED: RefCell<Vec<Tape>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Tape {
    fn drop(&mut self) {
        let memory = self.memory();
        if memory == 0 || memory > TAPE_KEPT_BYTES_MAX {
            return;
        }
        // An error is a thread at its end, or one that is just taking a tape.
        let _ = USED.try_with(|used| {
            let Ok(mut used) = used.try_borrow_mut() else { return };
            if used.len() < TAPES_KEPT_MAX {
                let (mut nodes, mut text) = (take(&mut self.nodes), take(&mut self.text));
                nodes.clear();
                text.clear();
                used.push(Self { nodes, text });
            }
        });
    }
}

impl Tape {
    /// An empty tape, with the room that its last use left it.
    pub(super) fn used() -> Self {
        let used = USED.try_with(|used| used.try_borrow_mut().ok()?.pop());
        used.ok().flatten().unwrap_or_default()
    }

    /// Gives back the room that it has to spare.
    pub(super) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.text.shrink_to_fit();
    }

    /// Begins a list or an object, at its bracket.
    #[inline(always)]
    pub(super) fn open(&mut self, kind: Kind, level: u8, at: usize) -> usize {
        let node = self.nodes.len();
        self.push(kind, level, 0, at, 0);
        node
    }

    /// Ends it, behind its bracket.
    #[inline(always)]
    pub(super) fn close(&mut self, node: usize, at: usize) -> Option<usize> {
        let next = u32::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(node)?;
        node.next = next;
        node.sign |= ((at - node.start as usize) as u64) << LEN_SHIFT;
        Some(at)
    }

    #[inline(always)]
    pub(super) fn push(&mut self, kind: Kind, level: u8, tag: u16, start: usize, len: usize) {
        // Texts and copies are within 4 GiB, and no node has less than a byte.
        let next = self.nodes.len() as u32 + 1;
        let part = (start as u32, len as u32);
        self.nodes.push(Node::new(kind, level, tag, part, next));
    }

    /// Whether an object, the last thing read, has a name twice.
    pub(super) fn repeats(&self, node: usize) -> bool {
        let mut names: SmallVec<[&[u8]; NAMES_FEW]> = SmallVec::new();
        let mut at = node + 1;
        while let Some(name) = self.nodes.get(at) {
            names.push(self.part(name));
            at = name.next as usize;
        }
        if names.len() <= NAMES_FEW {
            let twice = |(at, name): (usize, &&[u8])| names.iter().skip(at + 1).any(|n| n == name);
            return names.iter().enumerate().any(twice);
        }
        names.sort_unstable();
        names.windows(2).any(|pair| pair.first() == pair.last())
    }

    /// The text of all nodes.
    #[inline(always)]
    pub(super) fn all(&self) -> &[u8] {
        &self.text
    }

    /// What nodes and text take, bytes.
    pub(super) fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.text.capacity()
    }

    /// The text of a node.
    pub(super) fn text(&self, node: &Node) -> &str {
        // It is one: what was read was one, cut between characters, and escapes stand for some.
        str::from_utf8(self.part(node)).unwrap_or_default()
    }

    /// The same as bytes, which takes no time.
    #[inline]
    pub(super) fn part(&self, node: &Node) -> &[u8] {
        let start = node.start as usize;
        self.text.get(start..start + node.len()).unwrap_or_default()
    }
}

/// Something of a name that tells it from most others: they are compared by it first.
#[inline]
pub(super) fn tag(name: &[u8]) -> u16 {
    tag_at(name, 0, name.len())
}

/// The same of a name in a text, of which it takes the first eight bytes, the last eight and the
/// length.
#[inline(always)]
pub(super) fn tag_at(text: &[u8], start: usize, len: usize) -> u16 {
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

const LEVEL_SHIFT: u32 = 8;
const LEVEL: u64 = 0xff << LEVEL_SHIFT;
const TAG_SHIFT: u32 = 16;
const LEN_SHIFT: u32 = 32;
const WORD_BYTES: usize = 8;
/// Names that are compared each with each.
const NAMES_FEW: usize = 12;
