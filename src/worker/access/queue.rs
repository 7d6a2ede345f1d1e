//! From workers to the thread that writes: buffers of whole lines, and the same buffers back.
//!
//! A worker has so many buffers and no more; when all of them wait to be written there is none for
//! the next record. So a disk that is slow, or a reader that has stopped, costs memory up to a
//! bound, and records, and never a worker's time. A buffer is handed over without waiting, some
//! thousand times a second at most; the channel is a ring without a lock, and the standard library
//! takes one only to wake a writer that sleeps.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::limits::{ACCESS_BUFFER_BYTES, ACCESS_LOG_QUEUE, ACCESS_RECORD_BYTES_MAX};

/// Where all workers' records go. A clone is the same.
#[derive(Clone, Debug)]
pub struct Sink(SyncSender<Message>);

/// What the thread that writes gets.
#[derive(Debug)]
pub enum Message {
    /// Whole lines.
    Lines(Lines),
    /// Something else is to be looked at.
    Look,
}

/// A buffer of whole lines, which goes back to its worker when it is dropped.
#[derive(Debug)]
pub struct Lines {
    bytes: Vec<u8>,
    home: SyncSender<Vec<u8>>,
}

/// A way from so many workers to one that writes.
pub fn queue(workers: usize) -> (Sink, Receiver<Message>) {
    let (sender, receiver) = sync_channel(workers.max(1).saturating_mul(ACCESS_LOG_QUEUE));
    (Sink(sender), receiver)
}

impl Sink {
    /// Has the writer look at what it is told otherwise. Where there is no room for that it is
    /// busy, and looks anyway.
    pub fn nudge(&self) {
        let _ = self.0.try_send(Message::Look);
    }

    /// One worker's end.
    pub(super) fn link(&self) -> Link {
        let (home, returned) = sync_channel(ACCESS_LOG_QUEUE);
        Link { sink: self.clone(), home, returned, made: Cell::new(0) }
    }
}

impl Lines {
    /// The lines.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.bytes.clear();
        // A worker that is gone does not want it any more.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// A worker's end of the queue.
#[derive(Debug)]
pub(super) struct Link {
    sink: Sink,
    home: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    /// Buffers that there are.
    made: Cell<usize>,
}

impl Link {
    /// An empty buffer that has room for all that is put into it before it is handed over; none
    /// while all of them wait to be written.
    pub(super) fn buffer(&self) -> Option<Vec<u8>> {
        if let Ok(buffer) = self.returned.try_recv() {
            return Some(buffer);
        }
        if self.made.get() >= ACCESS_LOG_QUEUE {
            return None;
        }
        self.made.set(self.made.get() + 1);
        Some(Vec::with_capacity(ACCESS_BUFFER_BYTES + ACCESS_RECORD_BYTES_MAX))
    }

    /// Hands a buffer over; gives it back where it cannot be.
    pub(super) fn hand_over(&self, bytes: Vec<u8>) -> Result<(), Vec<u8>> {
        let lines = Message::Lines(Lines { bytes, home: self.home.clone() });
        self.sink.0.try_send(lines).map_err(|refused| match refused {
            TrySendError::Full(Message::Lines(mut lines))
            | TrySendError::Disconnected(Message::Lines(mut lines)) => {
                std::mem::take(&mut lines.bytes)
            }
            _ => Vec::new(),
        })
    }
}
