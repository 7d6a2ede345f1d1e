//! What stands between a site and its upstreams, if anything does: answers that were recorded,
//! which are given instead; or a recorder, which notes what the upstreams answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::limits::authoring::{RECORDS_WAITING_BYTES_MAX, RECORDS_WAITING_MAX};

/// What stands there.
#[derive(Clone, Debug)]
pub enum StandIn {
    /// Answers: nobody is asked.
    Answers(Arc<Answers>),
    /// Notes of what is answered.
    Recorder(Recorder),
}

/// Answers by upstream and target.
pub struct Answers {
    from: String,
    all: HashMap<String, HashMap<Vec<u8>, Box<[u8]>>>,
}

/// Takes notes, and never waits for whoever writes them down.
#[derive(Clone, Debug)]
pub struct Recorder {
    notes: SyncSender<Record>,
    tally: Arc<Tally>,
}

/// What has become of notes.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes that wait to be written down.
    waiting: AtomicU64,
    /// Answers that were not noted, as too many waited.
    lost: AtomicU64,
}

/// One answer of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The upstream's name.
    pub upstream: String,
    /// Path and query that it was asked for.
    pub target: Vec<u8>,
    /// The status.
    pub status: u16,
    /// Names and values of its fields.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl StandIn {
    /// Whether upstreams are left alone.
    pub fn is_offline(&self) -> bool {
        matches!(self, StandIn::Answers(_))
    }
}

// The same one, not one that is alike.
impl PartialEq for StandIn {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (StandIn::Answers(one), StandIn::Answers(other)) => Arc::ptr_eq(one, other),
            (StandIn::Recorder(one), StandIn::Recorder(other)) => {
                Arc::ptr_eq(&one.tally, &other.tally)
            }
            _ => false,
        }
    }
}

impl Eq for StandIn {}

impl Answers {
    /// No answers yet; `from` says in errors where they are kept.
    pub fn new(from: impl Into<String>) -> Self {
        Self { from: from.into(), all: HashMap::new() }
    }

    /// Adds the answer to a target, or to a method and a target with a space between where that is
    /// not GET: a whole HTTP/1.1 response. False when there is one already.
    pub fn insert(&mut self, upstream: &str, target: &[u8], response: Vec<u8>) -> bool {
        let targets = self.all.entry(upstream.to_owned()).or_default();
        targets.insert(target.to_owned(), response.into()).is_none()
    }

    /// The answer to a target.
    pub fn get(&self, upstream: &str, target: &[u8]) -> Option<&[u8]> {
        self.all.get(upstream)?.get(target).map(|response| &**response)
    }

    /// Where they are kept.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.values().map(HashMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("from", &self.from).field("len", &self.len()).finish()
    }
}

impl Recorder {
    /// A recorder, where its notes arrive, and what becomes of them. They end when all of its
    /// clones are gone.
    pub fn new() -> (Self, Receiver<Record>, Arc<Tally>) {
        let (notes, noted) = sync_channel(RECORDS_WAITING_MAX);
        let tally = Arc::new(Tally::default());
        (Self { notes, tally: Arc::clone(&tally) }, noted, tally)
    }

    /// Notes an answer, unless too many wait to be written down.
    pub fn note(&self, record: Record) {
        let bytes = record.bytes();
        let waiting = self.tally.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > RECORDS_WAITING_BYTES_MAX || self.notes.try_send(record).is_err() {
            self.tally.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.tally.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tally {
    /// Says that a note was written down.
    pub fn written(&self, record: &Record) {
        self.waiting.fetch_sub(record.bytes(), Ordering::Relaxed);
    }

    /// Answers that were not noted.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Record {
    fn bytes(&self) -> u64 {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len());
        (self.target.len() + self.body.len() + fields.sum::<usize>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_written_is_bounded_and_what_is_lost_counted() {
        let (recorder, noted, tally) = Recorder::new();
        let record = |bytes| Record {
            upstream: "api".into(),
            target: b"/".to_vec(),
            status: 200,
            fields: Vec::new(),
            body: vec![0; bytes],
        };
        recorder.note(record(RECORDS_WAITING_BYTES_MAX as usize));
        assert_eq!((tally.lost(), noted.try_iter().count()), (1, 0), "too long");
        for _ in 0..RECORDS_WAITING_MAX + 3 {
            recorder.note(record(1));
        }
        assert_eq!(tally.lost(), 4, "too many");
        noted.try_iter().for_each(|record| tally.written(&record));
        recorder.note(record(1));
        assert_eq!((tally.lost(), noted.try_iter().count()), (4, 1));
    }
}
