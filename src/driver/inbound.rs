//! The read half of a connection, and the read that may be pending on it.

use std::future::{Future, poll_fn};
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
pub struct Inbound<R: Reader> {
    state: State<R>,
    /// Where reads are pending, once one has been: each connection that needs it has one, so that
    /// no read allocates.
    place: Option<Pin<Box<dyn Place<R>>>>,
}

enum State<R> {
    /// Between two reads.
    Ready(R),
    /// In a read that is in its place.
    Pending,
    /// After a read that nobody has asked for yet.
    Arrived(Read<R>),
    /// Gone, with a read that was cancelled.
    Lost,
}

/// Room for one read after the other.
trait Place<R> {
    /// Begins a read, the one before being over.
    fn begin(self: Pin<&mut Self>, reader: R, buffer: Vec<u8>, room: usize);

    /// Not to be called when the read is over.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Read<R>>;
}

pin_project! {
    struct Reads<B, F> {
        begin: B,
        #[pin] read: Option<F>,
    }
}

impl<R, B: Fn(R, Vec<u8>, usize) -> F, F: Future<Output = Read<R>>> Place<R> for Reads<B, F> {
    fn begin(self: Pin<&mut Self>, reader: R, buffer: Vec<u8>, room: usize) {
        let mut this = self.project();
        let read = (this.begin)(reader, buffer, room);
        this.read.set(Some(read));
    }

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Read<R>> {
        match self.project().read.as_pin_mut() {
            Some(read) => read.poll(context),
            None => Poll::Pending,
        }
    }
}

fn place<R: Reader>() -> Pin<Box<dyn Place<R>>> {
    Box::pin(Reads { begin: R::read, read: None })
}

pin_project! {
    // A read that is waited for: one that is begun here, one that was pending, or what has come.
    #[project = ReadingProjected]
    enum Reading<F, R> {
        Begun { #[pin] read: F },
        Pending { place: Option<Pin<Box<dyn Place<R>>>> },
        Over { read: Option<Read<R>> },
    }
}

impl<F: Future<Output = Read<R>>, R> Future for Reading<F, R> {
    /// What was read, none where the half is lost; and the place, where one was taken.
    type Output = (Option<Read<R>>, Option<Pin<Box<dyn Place<R>>>>);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ReadingProjected::Begun { read } => read.poll(context).map(|read| (Some(read), None)),
            ReadingProjected::Pending { place } => match place {
                Some(pending) => {
                    let read = pending.as_mut().poll(context);
                    read.map(|read| (Some(read), place.take()))
                }
                None => Poll::Ready((None, None)),
            },
            ReadingProjected::Over { read } => Poll::Ready((read.take(), None)),
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
        Self { state: State::Ready(reader), place: None }
    }

    /// The read half, if nothing is pending on it.
    pub fn into_reader(self) -> Option<R> {
        match self.state {
            State::Ready(reader) => Some(reader),
            _ => None,
        }
    }

    /// Leaves a read pending, for [`Inbound::is_quiet`] to look at and for the next read to give.
    pub fn pend(&mut self, buffer: Vec<u8>, room: usize) {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Ready(reader) => {
                self.place.get_or_insert_with(place).as_mut().begin(reader, buffer, room);
                State::Pending
            }
            other => other,
        };
    }

    /// What the pending read brings, if there is one.
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<Read<R>> {
        match (&self.state, &mut self.place) {
            (State::Pending, Some(place)) => place.as_mut().poll(context),
            _ => Poll::Pending,
        }
    }

    /// Watches for the end of the stream, with a read that is left pending. Bytes that come before
    /// it are for the next read to give; who has sent them is not watched any more.
    pub fn poll_sign(&mut self, room: usize, context: &mut Context<'_>) -> Poll<Sign> {
        self.pend(Vec::new(), room);
        let Poll::Ready(read) = self.poll_pending(context) else { return Poll::Pending };
        let sign = match read.result {
            Ok(1..) => Poll::Pending,
            Ok(0) => Poll::Ready(Sign::End),
            Err(_) => Poll::Ready(Sign::Broken),
        };
        self.state = State::Arrived(read);
        sign
    }

    /// Waits until the pending read is over, whatever it has brought: the next read gives that.
    pub fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(read) = self.poll_pending(context) {
            self.state = State::Arrived(read);
        }
        match self.state {
            State::Pending => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Whether the pending read has brought nothing: no byte, no end, no error. When it has, this
    /// half is of no more use.
    pub fn is_quiet(&mut self) -> bool {
        if !matches!(self.state, State::Pending) {
            return false;
        }
        let quiet = self.poll_pending(&mut Context::from_waker(Waker::noop())).is_pending();
        if !quiet {
            self.state = State::Lost;
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
        let (read, before) = match std::mem::replace(&mut self.state, State::Lost) {
            State::Ready(reader) => {
                (Reading::Begun { read: reader.read(buffer, room) }, Vec::new())
            }
            State::Pending => (Reading::Pending { place: self.place.take() }, buffer),
            State::Arrived(read) => (Reading::Over { read: Some(read) }, buffer),
            State::Lost => (Reading::Over { read: None }, buffer),
        };
        timer.until(deadline, read).map(move |read| {
            let (read, place) = read?;
            if place.is_some() {
                self.place = place;
            }
            Ok(match read {
                Some(read) => self.ready(read, before),
                None => (before, Err(io::ErrorKind::NotConnected.into())),
            })
        })
    }

    /// The same, but a read that is late stays pending. It takes a place, and begins here and now:
    /// what is left for the future is small.
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
        let before = match self.state {
            State::Ready(_) => {
                self.pend(buffer, room);
                Vec::new()
            }
            _ => buffer,
        };
        timer.set(deadline);
        async move {
            if matches!(self.state, State::Pending) {
                let pending = poll_fn(|context| self.poll_pending(context));
                let read = timer.until_expired(pending).await?;
                return Ok(self.ready(read, before));
            }
            timer.clear();
            match std::mem::replace(&mut self.state, State::Lost) {
                State::Arrived(read) => Ok(self.ready(read, before)),
                _ => Ok((before, Err(io::ErrorKind::NotConnected.into()))),
            }
        }
    }

    /// What a read brought, behind what was there `before` it was asked for.
    fn ready(&mut self, read: Read<R>, mut before: Vec<u8>) -> Arrived {
        let Read { reader, buffer, result } = read;
        self.state = State::Ready(reader);
        if before.is_empty() {
            return (buffer, result);
        }
        before.extend_from_slice(&buffer);
        (before, result)
    }
}
