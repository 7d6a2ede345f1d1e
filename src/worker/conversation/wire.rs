//! The bytes of a conversation: reads and writes within their time, and how it ends.

use std::time::Instant;

use futures_util::FutureExt;

use crate::driver::file_body::FileBody;
use crate::driver::inbound::Arrived;
use crate::driver::timers::Elapsed;
use crate::driver::{Driver, Writer};
use crate::limits;
use crate::metrics::WorkerMetrics;

use super::super::service::Service;
use super::Conversation;

impl<D: Driver, S: Service> Conversation<'_, D, S> {
    /// Ends our side, then reads on for a while and throws away, so that the peer can read our
    /// answer: closing with bytes unread would reset the connection under it (RFC 9112 9.6).
    pub(super) async fn linger(&mut self) {
        self.say_goodbye().await;
        if self.writer.shutdown().is_err() {
            return;
        }
        let deadline = D::now() + limits::LINGER_TIMEOUT;
        let mut left = limits::LINGER_BYTES_MAX;
        while let Ok(n @ 1..) = self.read_or_end(deadline).await {
            self.buffer.clear();
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    }

    /// Tells the peer of a secured connection that it ends.
    pub(super) async fn say_goodbye(&mut self) {
        if self.writer.is_secure() {
            let goodbye = Box::pin(self.writer.say_goodbye());
            // A peer that is gone, or takes nothing, cannot be told.
            let _ = self.timer.timeout(limits::TLS_GOODBYE_TIMEOUT, goodbye).await;
        }
    }

    /// Reads more of a request into the buffer; 0 at the end of the stream. When it is late the
    /// read stays pending: the peer must be able to read that we refuse.
    // Neither this nor what else a connection waits in is an `async fn`, which would hold its
    // arguments twice.
    pub(super) fn read(
        &mut self,
        deadline: Instant,
        room: usize,
    ) -> impl Future<Output = Result<usize, Late>> {
        let Self { worker, inbound, timer, buffer: place, .. } = self;
        let read = inbound.read_or_pend(timer, deadline, std::mem::take(place), room);
        read.map(|read| count_received(&worker.metrics, place, read))
    }

    /// Reads into the buffer where being late means the end; 0 at the end of the stream.
    pub(super) fn read_or_end(
        &mut self,
        deadline: Instant,
    ) -> impl Future<Output = Result<usize, Late>> {
        let Self { worker, inbound, timer, buffer: place, .. } = self;
        let room = worker.usual.room();
        let read = inbound.read(timer, deadline, std::mem::take(place), room);
        read.map(|read| count_received(&worker.metrics, place, read))
    }

    /// Writes `buffer[from..]`; false when the peer did not take it in time. A large answer goes
    /// in pieces, each with its own time: who stops reading has no more than one piece earns.
    pub(super) fn write(
        &mut self,
        mut buffer: Vec<u8>,
        mut from: usize,
    ) -> impl Future<Output = (bool, Vec<u8>)> {
        let Self { worker, writer, timer, .. } = self;
        async move {
            while from < buffer.len() {
                let end = buffer.len().min(from + limits::WRITE_PIECE_BYTES);
                let deadline = worker.bounds.write_deadline(D::now(), end - from);
                match timer.until(deadline, writer.write_range(buffer, from..end)).await {
                    Ok((Ok(()), whole)) => {
                        worker.metrics.bytes_out.add((end - from) as u64);
                        (buffer, from) = (whole, end);
                    }
                    Ok((Err(_), whole)) => return (false, whole),
                    Err(_) => return (false, Vec::new()),
                }
            }
            (true, buffer)
        }
    }

    /// Sends a file, read piece by piece. Where it cannot be read to the end that was announced,
    /// all that is left is to end the connection (RFC 9112 section 8): false then, too.
    pub(super) async fn stream(&mut self, mut file: Box<FileBody>) -> bool {
        let mut buffer = self.worker.buffers.take();
        while file.left() > 0 {
            let piece = self.timer.timeout(limits::STATIC_READ_TIMEOUT, file.next(buffer)).await;
            let Ok(Ok(piece)) = piece else { return false };
            let (written, piece) = self.write(piece, 0).await;
            if !written {
                return false;
            }
            buffer = piece;
        }
        self.worker.buffers.put(buffer);
        true
    }

    /// Drops what has been answered from the buffer. What a large request left of room is given
    /// back, so that idle connections stay small.
    pub(super) fn consume(&mut self, end: usize) {
        self.buffer.drain(..end.min(self.buffer.len()));
        if self.buffer.is_empty() && self.buffer.capacity() > self.worker.usual.room() {
            self.buffer = Vec::new();
        }
    }
}

/// Takes what a read brought, and counts it.
fn count_received(
    metrics: &WorkerMetrics,
    place: &mut Vec<u8>,
    read: Result<Arrived, Elapsed>,
) -> Result<usize, Late> {
    let (buffer, result) = read.map_err(|_| Late::Elapsed)?;
    *place = buffer;
    let received = result.map_err(|_| Late::Broken)?;
    metrics.bytes_in.add(received as u64);
    Ok(received)
}

/// Why a read brought nothing.
pub(super) enum Late {
    /// The connection is broken.
    Broken,
    /// Time is over.
    Elapsed,
}
