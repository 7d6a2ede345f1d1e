//! The read half of a connection, and the read that may be pending on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use super::timers::{Elapsed, Timer};
use super::{Driver, Read, Reader};

/// The read half of a connection. A read that is late either goes, and the half with it, or stays
/// pending, with what it brings for the next read to give.
pub struct Inbound<D: Driver>(State<D>);

enum State<D: Driver> {
    /// Between two reads.
    Ready(D::Reader),
    /// In a read.
    Pending(Pin<Box<dyn Future<Output = Read<D::Reader>>>>),
    /// Gone, with a read that was cancelled.
    Lost,
}

/// What a read brought: the buffer, with what has arrived appended, and how much that was.
pub type Arrived = (Vec<u8>, io::Result<usize>);

impl<D: Driver> Inbound<D> {
    /// A read half that nothing is pending on.
    pub fn new(reader: D::Reader) -> Self {
        Self(State::Ready(reader))
    }

    /// Leaves a read pending, for [`Inbound::is_quiet`] to look at and for the next read to give.
    pub fn pend(&mut self, buffer: Vec<u8>, room: usize) {
        self.0 = match std::mem::replace(&mut self.0, State::Lost) {
            State::Ready(reader) => State::Pending(Box::pin(reader.read(buffer, room))),
            pending_or_lost => pending_or_lost,
        };
    }

    /// Whether the pending read has brought nothing: no byte, no end, no error. When it has, this
    /// half is of no more use.
    pub fn is_quiet(&mut self) -> bool {
        let State::Pending(read) = &mut self.0 else { return false };
        let mut context = Context::from_waker(Waker::noop());
        let quiet = read.as_mut().poll(&mut context).is_pending();
        if !quiet {
            self.0 = State::Lost;
        }
        quiet
    }

    /// Waits for bytes, those of a pending read first.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline has come: the read is dropped, and this half is lost.
    pub async fn read(
        &mut self,
        timer: &mut Timer<D>,
        deadline: Instant,
        buffer: Vec<u8>,
        room: usize,
    ) -> Result<Arrived, Elapsed> {
        let outcome = match std::mem::replace(&mut self.0, State::Lost) {
            State::Ready(reader) => timer.until(deadline, reader.read(buffer, room)).await,
            State::Pending(read) => timer.until(deadline, read).await,
            State::Lost => return Ok((buffer, Err(io::ErrorKind::NotConnected.into()))),
        };
        Ok(self.ready(outcome?))
    }

    /// The same, but a read that is late stays pending. It costs an allocation.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline has come.
    pub async fn read_or_pend(
        &mut self,
        timer: &mut Timer<D>,
        deadline: Instant,
        buffer: Vec<u8>,
        room: usize,
    ) -> Result<Arrived, Elapsed> {
        self.pend(buffer, room);
        let State::Pending(read) = &mut self.0 else {
            return Ok((Vec::new(), Err(io::ErrorKind::NotConnected.into())));
        };
        let read = timer.until(deadline, read.as_mut()).await?;
        Ok(self.ready(read))
    }

    fn ready(&mut self, read: Read<D::Reader>) -> Arrived {
        self.0 = State::Ready(read.reader);
        (read.buffer, read.result)
    }
}
