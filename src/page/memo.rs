//! Pages that were made before from the same inputs. A page that is a function of what its fetches
//! got and of its address need not be made again for the next visitor: the finished bytes are kept,
//! bounded, once the same inputs have come twice.
//!
//! The inputs are compared whole; their digest finds them and names the page for readers.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::http::Coding;
use crate::limits;

/// The finished pages of a worker.
pub(super) struct Memo {
    cache: Option<RefCell<Cache<u128, Rc<Made>, Bytes>>>,
    /// Digests that came lately; a page is kept when its digest is among them.
    seen: RefCell<Box<[u64]>>,
}

/// What a page is made of: all that it depends on, in a fixed order.
pub(super) struct Inputs<'a> {
    parts: SmallVec<[&'a [u8]; 8]>,
    pub(super) digest: u128,
}

/// A page, and what it was made of.
pub(super) struct Made {
    digest: u128,
    inputs: Vec<u8>,
    /// The lengths of the parts of the inputs.
    lengths: Vec<usize>,
    pub(super) body: Vec<u8>,
    /// The same in each coding that was asked for.
    packed: [OnceCell<Box<[u8]>>; Coding::PACKED.len()],
}

impl<'a> Inputs<'a> {
    /// No inputs yet; `version` is that of the site and the page.
    pub(super) fn new(version: u64) -> Self {
        Self { parts: SmallVec::new(), digest: u128::from(version) }
    }

    /// Adds a part.
    pub(super) fn push(&mut self, part: &'a [u8]) {
        let seed = (self.digest as u64) ^ (self.digest >> 64) as u64;
        self.digest = xxh3_128_with_seed(part, seed);
        self.parts.push(part);
    }
}

impl Memo {
    /// An empty memo for this many bytes; with none it keeps nothing.
    pub(super) fn new(bytes_max: u64) -> Self {
        let pages = usize::try_from(bytes_max / PAGE_BYTES_USUAL).unwrap_or(usize::MAX);
        let cache = (bytes_max > 0)
            .then(|| RefCell::new(Cache::with_weighter(pages.max(1), bytes_max, Bytes)));
        let seen = if bytes_max > 0 { limits::MEMO_SEEN } else { 0 };
        Self { cache, seen: RefCell::new(vec![0; seen].into()) }
    }

    /// Whether it keeps anything.
    pub(super) fn is_on(&self) -> bool {
        self.cache.is_some()
    }

    /// The page that was made of these inputs.
    pub(super) fn get(&self, inputs: &Inputs<'_>) -> Option<Rc<Made>> {
        let cache = self.cache.as_ref()?.borrow();
        cache.get(&inputs.digest).filter(|made| made.is_of(inputs)).cloned()
    }

    /// Notes a page that was made: the second time, keeps it.
    pub(super) fn put(&self, inputs: &Inputs<'_>, body: &[u8]) -> Option<Rc<Made>> {
        let cache = self.cache.as_ref()?;
        let (low, high) = (inputs.digest as u64, (inputs.digest >> 64) as u64);
        let mut seen = self.seen.borrow_mut();
        let place = low as usize % seen.len().max(1);
        let place = seen.get_mut(place)?;
        if std::mem::replace(place, high) != high {
            return None;
        }
        let made = Rc::new(Made {
            digest: inputs.digest,
            inputs: inputs.parts.concat(),
            lengths: inputs.parts.iter().map(|part| part.len()).collect(),
            body: body.to_vec(),
            packed: Default::default(),
        });
        cache.borrow_mut().insert(inputs.digest, Rc::clone(&made));
        Some(made)
    }

    /// Keeps a page in a coding, too, if it is still there.
    pub(super) fn keep_packed(&self, made: &Rc<Made>, coding: Coding, packed: &[u8]) {
        let Some(cache) = &self.cache else { return };
        let mut cache = cache.borrow_mut();
        let Some(kept) = cache.peek_mut(&made.digest) else { return };
        if !Rc::ptr_eq(&kept, made) {
            return;
        }
        if let Some(place) = place(coding).and_then(|place| kept.packed.get(place)) {
            let _ = place.set(packed.into());
        }
        // It is weighed anew when this is dropped, and others make room when it is put back.
        drop(kept);
        cache.insert(made.digest, Rc::clone(made));
    }
}

impl Made {
    /// The page in a coding, if it was packed before.
    pub(super) fn packed(&self, coding: Coding) -> Option<&[u8]> {
        Some(self.packed.get(place(coding)?)?.get()?)
    }

    fn is_of(&self, inputs: &Inputs<'_>) -> bool {
        let mut rest = self.inputs.as_slice();
        self.lengths.len() == inputs.parts.len()
            && self.lengths.iter().zip(&inputs.parts).all(|(length, part)| {
                let (first, after) = rest.split_at_checked(*length).unwrap_or_default();
                rest = after;
                first == *part
            })
    }
}

fn place(coding: Coding) -> Option<usize> {
    Coding::PACKED.iter().position(|packed| *packed == coding)
}

/// Weighs a page by what it takes.
#[derive(Clone)]
struct Bytes;

impl Weighter<u128, Rc<Made>> for Bytes {
    fn weight(&self, _: &u128, made: &Rc<Made>) -> u64 {
        let packed = made.packed.iter().filter_map(OnceCell::get).map(|packed| packed.len());
        let bytes = made.inputs.len() + made.body.len() + packed.sum::<usize>();
        (bytes + ENTRY_BYTES) as u64
    }
}

/// What a kept page takes beside its bytes.
const ENTRY_BYTES: usize = 256;
/// For a first size of the table.
const PAGE_BYTES_USUAL: u64 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs<'a>(parts: &[&'a str]) -> Inputs<'a> {
        let mut inputs = Inputs::new(1);
        parts.iter().for_each(|part| inputs.push(part.as_bytes()));
        inputs
    }

    #[test]
    fn a_page_is_kept_when_its_inputs_come_again() {
        let memo = Memo::new(1 << 20);
        let one = inputs(&["/a", "{}"]);
        memo.put(&one, b"page");
        assert!(memo.get(&one).is_none());
        memo.put(&one, b"page");
        assert_eq!(memo.get(&one).unwrap().body, b"page");
        assert!(memo.get(&inputs(&["/a", "{ }"])).is_none());
    }

    #[test]
    fn the_same_bytes_in_other_parts_are_other_inputs() {
        let memo = Memo::new(1 << 20);
        let (one, mut other) = (inputs(&["ab", "c"]), inputs(&["a", "bc"]));
        for _ in 0..2 {
            memo.put(&one, b"page");
        }
        assert_ne!(one.digest, other.digest);
        // Not even if the digests were the same.
        other.digest = one.digest;
        assert!(memo.get(&other).is_none());
    }

    #[test]
    fn it_stays_within_its_bytes() {
        let memo = Memo::new(64 * 1024);
        for n in 0..1000_u32 {
            let text = n.to_string();
            let one = inputs(&[&text]);
            memo.put(&one, &[0; 1024]);
            memo.put(&one, &[0; 1024]);
        }
        assert!(memo.cache.as_ref().unwrap().borrow().weight() <= 64 * 1024);
    }

    #[test]
    fn packed_pages_count_and_go_with_the_page() {
        let memo = Memo::new(64 * 1024);
        let one = inputs(&["/a"]);
        assert!(memo.put(&one, &[0; 8192]).is_none());
        let made = memo.put(&one, &[0; 8192]).unwrap();
        let weight = || memo.cache.as_ref().unwrap().borrow().weight();
        let before = weight();
        for coding in [Coding::Zstd, Coding::Gzip, Coding::Gzip, Coding::Identity] {
            memo.keep_packed(&made, coding, &[1; 4000]);
        }
        assert_eq!(weight(), before + 8000);
        let kept = memo.get(&one).unwrap();
        assert_eq!(kept.packed(Coding::Gzip), Some(&[1; 4000][..]));
        assert_eq!((kept.packed(Coding::Brotli), kept.packed(Coding::Identity)), (None, None));
        for n in 0..100 {
            let text = n.to_string();
            memo.put(&inputs(&[&text]), &[0; 8192]);
            if let Some(made) = memo.put(&inputs(&[&text]), &[0; 8192]) {
                memo.keep_packed(&made, Coding::Brotli, &[1; 8000]);
            }
            assert!(weight() <= 64 * 1024);
        }
        // One that is gone is not found by what belonged to it.
        memo.keep_packed(&made, Coding::Brotli, &[1; 8000]);
        assert!(weight() <= 64 * 1024);
    }

    #[test]
    fn without_bytes_it_keeps_nothing() {
        let memo = Memo::new(0);
        let one = inputs(&["/a"]);
        memo.put(&one, b"page");
        memo.put(&one, b"page");
        assert!(memo.get(&one).is_none());
    }
}
