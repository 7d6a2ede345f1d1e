//! The read half of a connection, and the read that may be pending on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::timers::{Elapsed, Timer};
use super::{Driver, Read, Reader};

/// The read half of a connection. A read that is late either goes, and the half with it, or stays
/// pending, with what it brings for the next read to give.
pub struct Inbound<R: Reader>(State<R>);

enum State<R: Reader> {
    /// Between two reads.
    Ready(R),
    /// In a read.
    Pending(Pin<Box<dyn Future<Output = Read<R>>>>),
    /// After a read that nobody has asked for yet.
    Arrived(Read<R>),
    /// Gone, with a read that was cancelled.
    Lost,
}

/// What a read brought: the buffer, with what has arrived appended, and how much that was.
pub type Arrived = (Vec<u8>, io::Result<usize>);

/// What a connection says while nobody reads from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The peer has ended its side.
    End,
    /// The connection is broken.
    Broken,
}

impl<R: Reader> Inbound<R> {
    /// A read half that nothing is pending on.
    pub fn new(reader: R) -> Self {
        Self(State::Ready(reader))
    }

    /// The read half, if nothing is pending on it.
    pub fn into_reader(self) -> Option<R> {
        match self.0 {
            State::Ready(reader) => Some(reader),
            _ => None,
        }
    }

    /// Leaves a read pending, for [`Inbound::is_quiet`] to look at and for the next read to give.
    pub fn pend(&mut self, buffer: Vec<u8>, room: usize) {
        self.0 = match std::mem::replace(&mut self.0, State::Lost) {
            State::Ready(reader) => State::Pending(Box::pin(reader.read(buffer, room))),
            other => other,
        };
    }

    /// Watches for the end of the stream, with a read that is left pending. Bytes that come before
    /// it are for the next read to give; who has sent them is not watched any more.
    pub fn poll_sign(&mut self, room: usize, context: &mut Context<'_>) -> Poll<Sign> {
        self.pend(Vec::new(), room);
        let State::Pending(read) = &mut self.0 else { return Poll::Pending };
        let Poll::Ready(read) = read.as_mut().poll(context) else { return Poll::Pending };
        let sign = match read.result {
            Ok(1..) => Poll::Pending,
            Ok(0) => Poll::Ready(Sign::End),
            Err(_) => Poll::Ready(Sign::Broken),
        };
        self.0 = State::Arrived(read);
        sign
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
    pub async fn read<D: Driver>(
        &mut self,
        timer: &mut Timer<D>,
        deadline: Instant,
        buffer: Vec<u8>,
        room: usize,
    ) -> Result<Arrived, Elapsed> {
        match std::mem::replace(&mut self.0, State::Lost) {
            State::Ready(reader) => {
                let read = timer.until(deadline, reader.read(buffer, room)).await?;
                Ok(self.ready(read, Vec::new()))
            }
            State::Pending(read) => {
                let read = timer.until(deadline, read).await?;
                Ok(self.ready(read, buffer))
            }
            State::Arrived(read) => Ok(self.ready(read, buffer)),
            State::Lost => Ok((buffer, Err(io::ErrorKind::NotConnected.into()))),
        }
    }

    /// The same, but a read that is late stays pending. It costs an allocation.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline has come.
    pub async fn read_or_pend<D: Driver>(
        &mut self,
        timer: &mut Timer<D>,
        deadline: Instant,
        buffer: Vec<u8>,
        room: usize,
    ) -> Result<Arrived, Elapsed> {
        let before = match std::mem::replace(&mut self.0, State::Lost) {
            State::Ready(reader) => {
                self.0 = State::Pending(Box::pin(reader.read(buffer, room)));
                Vec::new()
            }
            State::Arrived(read) => return Ok(self.ready(read, buffer)),
            pending_or_lost => {
                self.0 = pending_or_lost;
                buffer
            }
        };
        let State::Pending(read) = &mut self.0 else {
            return Ok((before, Err(io::ErrorKind::NotConnected.into())));
        };
        let read = timer.until(deadline, read.as_mut()).await?;
        Ok(self.ready(read, before))
    }

    /// What a read brought, behind what was there `before` it was asked for.
    fn ready(&mut self, read: Read<R>, mut before: Vec<u8>) -> Arrived {
        let Read { reader, buffer, result } = read;
        self.0 = State::Ready(reader);
        if before.is_empty() {
            return (buffer, result);
        }
        before.extend_from_slice(&buffer);
        (before, result)
    }
}
