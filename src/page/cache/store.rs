//! Answers of upstreams that are kept: bounded in bytes, found by the whole request that they
//! answer.
//!
//! The request is compared byte for byte, all field lines that its fetch sends included. So what
//! an API forgets to say in Vary can never be mixed up, and credentials are told apart.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::http::caching::{Declared, Keeping, Windows};
use crate::limits::{CACHE_CHANGES_MAX, CACHE_RETRY_PAUSE, CACHE_UNSHARED_TIME};
use crate::metrics::WorkerMetrics;
use crate::press::Data;

/// The kept answers of a worker.
pub(super) struct Store {
    /// When something was last changed whose resource has this place; none while nothing was.
    changed: Vec<Option<Instant>>,
    cache: Cache<u128, Rc<Kept>, Bytes, DefaultHashBuilder, CountEvictions>,
}

/// A request: all that tells it from another.
#[derive(Clone, Copy)]
pub(in crate::page) struct Key<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) digest: u128,
}

/// An answer, and what is known of it. It is not changed, but for when asking again failed.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) key: Box<[u8]>,
    pub(super) what: What,
    pub(super) status: u16,
    /// The body as it came, bytes.
    pub(super) body_bytes: usize,
    /// Field lines for visitors.
    pub(super) passed: Vec<u8>,
    /// Field lines that ask whether it is still right (RFC 9111 section 4.3.1).
    pub(super) conditions: Vec<u8>,
    pub(super) keeping: Keeping,
    /// When it was asked for.
    pub(super) asked: Instant,
    pub(super) received: Instant,
    pub(super) unix_received: u64,
    pub(super) initial_age: Duration,
    /// Whether anybody else than the one who asked may have it.
    pub(super) may_be_kept: bool,
    /// When asking again last failed.
    pub(super) failed: Cell<Option<Instant>>,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// This.
    Data(Arc<Data>),
    /// That there is nothing: 404 or 410.
    Gone,
    /// Something that may not be kept: all that is, is that it came.
    NotForOthers,
}

/// What may be done with a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Show it.
    Fresh,
    /// Show it. Ask again meanwhile, if so said.
    Stale(bool),
    /// Ask first.
    Old,
    /// Ask, and let nobody else have the answer.
    NotForOthers,
}

impl<'a> Key<'a> {
    pub(in crate::page) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, digest: xxh3_128(bytes) }
    }

    /// The identity of the upstream, which may hold any octet, and the target.
    fn resource(&self) -> &'a [u8] {
        let target = self.bytes.get(size_of::<u64>()..).unwrap_or_default();
        let end = memchr::memchr(b'\n', target).unwrap_or(target.len());
        self.bytes.get(..size_of::<u64>() + end).unwrap_or_default()
    }
}

impl Kept {
    /// What a fetch that declares this may do with it.
    pub(super) fn state(&self, declared: &Declared, now: Instant) -> State {
        if matches!(self.what, What::NotForOthers) {
            let lasts = self.resident(now) < CACHE_UNSHARED_TIME;
            return if lasts { State::NotForOthers } else { State::Old };
        }
        if !self.keeping.may_keep(declared) {
            return State::Old;
        }
        let (age, windows) = (self.age_for(declared, now), self.windows(declared));
        let failed = self.failed.get().map(|failed| now.saturating_duration_since(failed));
        let rests = failed.is_some_and(|since| since < CACHE_RETRY_PAUSE);
        if age < windows.fresh {
            State::Fresh
        } else if age < windows.while_revalidate || (failed.is_some() && age < windows.if_error) {
            State::Stale(!rests)
        } else {
            State::Old
        }
    }

    /// Whether those may have it who asked for the same while it was on its way.
    pub(super) fn may_be_shared(&self, declared: &Declared) -> bool {
        self.may_be_kept && self.keeping.may_share(declared)
    }

    /// Whether it may be shown in place of an error.
    pub(super) fn stands_for_error(&self, declared: &Declared, now: Instant) -> bool {
        !matches!(self.what, What::NotForOthers)
            && self.keeping.may_keep(declared)
            && self.age_for(declared, now) < self.windows(declared).if_error
    }

    /// Whether it is of any use to keep it, for a fetch that declares this.
    pub(super) fn is_worth_it(&self, declared: &Declared) -> bool {
        let windows = self.windows(declared);
        let until = windows.fresh.max(windows.while_revalidate).max(windows.if_error);
        self.age_for(declared, self.received) < until || !self.conditions.is_empty()
    }

    /// How old it is (RFC 9111 section 4.2.3).
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.initial_age.saturating_add(self.resident(now))
    }

    /// A declared ttl counts from when the answer came, however old it was.
    fn age_for(&self, declared: &Declared, now: Instant) -> Duration {
        if declared.ttl.is_some() && self.is_whole() { self.resident(now) } else { self.age(now) }
    }

    fn resident(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.received)
    }

    fn windows(&self, declared: &Declared) -> Windows {
        self.keeping.windows(declared, self.unix_received, self.is_whole())
    }

    fn is_whole(&self) -> bool {
        matches!(self.what, What::Data(_))
    }

    /// What is left of an answer that may not be kept.
    pub(super) fn only_that_it_came(&self) -> Self {
        Self {
            key: self.key.clone(),
            what: What::NotForOthers,
            status: self.status,
            body_bytes: 0,
            passed: Vec::new(),
            conditions: Vec::new(),
            keeping: Keeping::default(),
            asked: self.asked,
            received: self.received,
            unix_received: self.unix_received,
            initial_age: self.initial_age,
            may_be_kept: false,
            failed: Cell::new(None),
        }
    }

    fn memory(&self) -> usize {
        let data = match &self.what {
            What::Data(data) => data.memory(self.body_bytes),
            What::Gone | What::NotForOthers => 0,
        };
        let lines = self.passed.capacity() + self.conditions.capacity();
        data + lines + self.key.len() + size_of::<Self>() + ENTRY_BYTES
    }
}

impl Store {
    /// An empty store for so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        let answers = usize::try_from(bytes_max / ANSWER_BYTES_USUAL).unwrap_or(usize::MAX);
        let hash = DefaultHashBuilder::default();
        let cache = Cache::with(answers.max(1), bytes_max, Bytes, hash, CountEvictions);
        Self { changed: Vec::new(), cache }
    }

    /// The answer to this request.
    pub(super) fn get(&self, key: &Key<'_>) -> Option<Rc<Kept>> {
        let kept = self.cache.get(&key.digest).filter(|kept| *kept.key == *key.bytes)?;
        (!self.has_changed_since(key, kept.asked)).then(|| Rc::clone(kept))
    }

    /// Notes that what a target stands for may be another thing now: no answer that was asked for
    /// before is shown again (RFC 9111 section 4.4).
    pub(super) fn change(&mut self, identity: u64, target: &[u8], now: Instant) {
        self.changed.resize(CACHE_CHANGES_MAX, None);
        let resource = [&identity.to_le_bytes()[..], target].concat();
        if let Some(place) = self.changed.get_mut(place_of(&resource)) {
            *place = Some(now);
        }
    }

    /// Whether what a request asks for may have been changed since then.
    pub(super) fn has_changed_since(&self, key: &Key<'_>, asked: Instant) -> bool {
        if self.changed.is_empty() {
            return false;
        }
        let changed = self.changed.get(place_of(key.resource())).copied().flatten();
        changed.is_some_and(|changed| asked <= changed)
    }

    /// Keeps an answer, in place of what was kept for its request.
    pub(super) fn put(&mut self, kept: Rc<Kept>, metrics: &WorkerMetrics) {
        let before = self.cache.weight();
        let digest = Key::new(&kept.key).digest;
        let replaced = u64::from(self.cache.peek(&digest).is_some());
        let evicted = self.cache.insert_with_lifecycle(digest, kept);
        // What is replaced makes room for no other.
        metrics.cache_evictions.add(evicted.saturating_sub(replaced));
        self.weighed(before, metrics);
    }

    /// Forgets what is kept for a request.
    pub(super) fn remove(&mut self, key: &Key<'_>, metrics: &WorkerMetrics) {
        let before = self.cache.weight();
        self.cache.remove_if(&key.digest, |kept| *kept.key == *key.bytes);
        self.weighed(before, metrics);
    }

    fn weighed(&self, before: u64, metrics: &WorkerMetrics) {
        let after = self.cache.weight();
        metrics.cache_bytes.add(after.saturating_sub(before));
        metrics.cache_bytes.sub(before.saturating_sub(after));
    }
}

/// Where it is noted that a resource was changed. Several share a place: one that was not changed
/// is then asked for once more.
fn place_of(resource: &[u8]) -> usize {
    (xxh3_64(resource) % CACHE_CHANGES_MAX as u64) as usize
}

/// Weighs an answer by what it takes.
#[derive(Clone)]
struct Bytes;

impl Weighter<u128, Rc<Kept>> for Bytes {
    fn weight(&self, _: &u128, kept: &Rc<Kept>) -> u64 {
        kept.memory() as u64
    }
}

/// Counts what is evicted for one answer.
struct CountEvictions;

impl Lifecycle<u128, Rc<Kept>> for CountEvictions {
    type RequestState = u64;

    fn begin_request(&self) -> u64 {
        0
    }

    fn on_evict(&self, evicted: &mut u64, _: u128, _: Rc<Kept>) {
        *evicted += 1;
    }
}

/// What a kept answer takes in the tables of the store.
const ENTRY_BYTES: usize = 128;
/// For a first size of the table.
const ANSWER_BYTES_USUAL: u64 = 16 * 1024;
