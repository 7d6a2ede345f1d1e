//! Static files that are kept in memory: bounded in bytes, found by what is asked for.

use std::rc::Rc;

use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::item::Item;

/// The files that a worker keeps.
pub(super) struct Shelf(Cache<u128, Rc<Item>, Bytes>);

impl Shelf {
    /// None yet, and up to so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        let files = bytes_max / FILE_BYTES_USUAL;
        Self(Cache::with_weighter(files, bytes_max as u64, Bytes))
    }

    /// The file of this name.
    pub(super) fn get(&self, key: (usize, &str)) -> Option<Rc<Item>> {
        // Two names have one digest as seldom as two files: never by chance, and only the site's
        // owner chooses names that there are files of.
        self.0.get(&digest(key)).filter(|item| item.name == key.1).cloned()
    }

    /// Keeps a file, under its own name.
    pub(super) fn put(&mut self, place: usize, item: &Rc<Item>) {
        self.0.insert(digest((place, &item.name)), Rc::clone(item));
    }

    /// Keeps it no more.
    pub(super) fn forget(&mut self, key: (usize, &str)) {
        self.0.remove(&digest(key));
    }
}

fn digest((place, name): (usize, &str)) -> u128 {
    xxh3_128_with_seed(name.as_bytes(), place as u64)
}

/// Weighs a file by what it takes.
#[derive(Clone)]
struct Bytes;

impl Weighter<u128, Rc<Item>> for Bytes {
    fn weight(&self, _: &u128, item: &Rc<Item>) -> u64 {
        (item.weight() + ENTRY_BYTES) as u64
    }
}

/// What a kept file takes beside its bytes.
const ENTRY_BYTES: usize = 512;
/// For a first size of the table.
const FILE_BYTES_USUAL: usize = 16 * 1024;
