//! The bytes of a conversation: reads and writes within their time, and how it ends.

use std::io;
use std::time::Instant;

use crate::driver::file_body::FileBody;
use crate::driver::{Driver, Writer};
use crate::limits;

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
    pub(super) async fn read(&mut self, deadline: Instant, room: usize) -> Result<usize, Late> {
        let buffer = std::mem::take(&mut self.buffer);
        let read = self.inbound.read_or_pend(&mut self.timer, deadline, buffer, room).await;
        let (buffer, result) = read.map_err(|_| Late::Elapsed)?;
        self.buffer = buffer;
        self.count_received(result)
    }

    /// Reads into the buffer where being late means the end; 0 at the end of the stream.
    pub(super) async fn read_or_end(&mut self, deadline: Instant) -> Result<usize, Late> {
        let buffer = std::mem::take(&mut self.buffer);
        let room = limits::DOWNSTREAM_READ_BYTES;
        let read = self.inbound.read(&mut self.timer, deadline, buffer, room).await;
        let (buffer, result) = read.map_err(|_| Late::Elapsed)?;
        self.buffer = buffer;
        self.count_received(result)
    }

    /// Counts what a read brought.
    fn count_received(&self, result: io::Result<usize>) -> Result<usize, Late> {
        let received = result.map_err(|_| Late::Broken)?;
        self.worker.metrics.bytes_in.add(received as u64);
        Ok(received)
    }

    /// Writes `buffer[from..]`; false when the peer did not take it in time. A large answer goes
    /// in pieces, each with its own time: who stops reading has no more than one piece earns.
    pub(super) async fn write(&mut self, mut buffer: Vec<u8>, mut from: usize) -> (bool, Vec<u8>) {
        let bounds = &self.worker.bounds;
        while from < buffer.len() {
            let end = buffer.len().min(from + limits::WRITE_PIECE_BYTES);
            let deadline = bounds.write_deadline(D::now(), end - from);
            match self.timer.until(deadline, self.writer.write_range(buffer, from..end)).await {
                Ok((Ok(()), whole)) => {
                    self.worker.metrics.bytes_out.add((end - from) as u64);
                    (buffer, from) = (whole, end);
                }
                Ok((Err(_), whole)) => return (false, whole),
                Err(_) => return (false, Vec::new()),
            }
        }
        (true, buffer)
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
        if self.buffer.is_empty() && self.buffer.capacity() > limits::DOWNSTREAM_READ_BYTES {
            self.buffer = Vec::new();
        }
    }
}

/// Why a read brought nothing.
pub(super) enum Late {
    /// The connection is broken.
    Broken,
    /// Time is over.
    Elapsed,
}
