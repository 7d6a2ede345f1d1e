//! The read half of a connection, and the read that may be pending on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_util::FutureExt;
use pin_project_lite::pin_project;

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

pin_project! {
    // A read that is waited for: one that is begun here, one that was pending, or what has come.
    #[project = ReadingProjected]
    enum Reading<F, R> {
        Begun { #[pin] read: F },
        Pending { read: Pin<Box<dyn Future<Output = Read<R>>>> },
        Over { read: Option<Read<R>> },
    }
}

impl<F: Future<Output = Read<R>>, R> Future for Reading<F, R> {
    /// None where the half is lost.
    type Output = Option<Read<R>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ReadingProjected::Begun { read } => read.poll(context).map(Some),
            ReadingProjected::Pending { read } => read.as_mut().poll(context).map(Some),
            ReadingProjected::Over { read } => Poll::Ready(read.take()),
        }
    }
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
    // Not an `async fn`, which would hold its arguments twice: connections are idle in this.
    pub fn read<'a, D: Driver>(
        &'a mut self,
        timer: &'a mut Timer<D>,
        deadline: Instant,
        buffer: Vec<u8>,
        room: usize,
    ) -> impl Future<Output = Result<Arrived, Elapsed>> + use<'a, R, D> {
        let (read, before) = match std::mem::replace(&mut self.0, State::Lost) {
            State::Ready(reader) => {
                (Reading::Begun { read: reader.read(buffer, room) }, Vec::new())
            }
            State::Pending(read) => (Reading::Pending { read }, buffer),
            State::Arrived(read) => (Reading::Over { read: Some(read) }, buffer),
            State::Lost => (Reading::Over { read: None }, buffer),
        };
        timer.until(deadline, read).map(move |read| {
            Ok(match read? {
                Some(read) => self.ready(read, before),
                None => (before, Err(io::ErrorKind::NotConnected.into())),
            })
        })
    }

    /// The same, but a read that is late stays pending. It costs an allocation, and begins here and
    /// now: what is left for the future is small.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline has come.
    pub fn read_or_pend<'a, D: Driver>(
        &'a mut self,
        timer: &'a mut Timer<D>,
        deadline: Instant,
        buffer: Vec<u8>,
        room: usize,
    ) -> impl Future<Output = Result<Arrived, Elapsed>> + use<'a, R, D> {
        let before = match std::mem::replace(&mut self.0, State::Lost) {
            State::Ready(reader) => {
                self.0 = State::Pending(Box::pin(reader.read(buffer, room)));
                Vec::new()
            }
            other => {
                self.0 = other;
                buffer
            }
        };
        timer.set(deadline);
        async move {
            if let State::Pending(read) = &mut self.0 {
                let read = timer.until_expired(read.as_mut()).await?;
                return Ok(self.ready(read, before));
            }
            timer.clear();
            match std::mem::replace(&mut self.0, State::Lost) {
                State::Arrived(read) => Ok(self.ready(read, before)),
                _ => Ok((before, Err(io::ErrorKind::NotConnected.into()))),
            }
        }
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
