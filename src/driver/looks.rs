//! A look at what the kernel has, without a wait.
//!
//! A loop hands over what its tasks have asked for, and takes what has come, when no task is ready
//! any more. A task that lets others go first is ready all the while; one that sleeps waits for a
//! millisecond or two, as timers are no finer. So whoever wants a look reads from a connection of
//! the loop with itself, on which a byte is sent just then: once nothing else is left to do the
//! loop looks, finds that byte at the least, and goes on. It costs about two microseconds.

use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Poll;

use super::{Driver, Reader, give_way, tally};
use crate::limits::LOOK_PAUSE;

/// What a task looks with.
pub(super) struct Looks<D: Driver>(State<D>);

enum State<D: Driver> {
    Hung(Bell<D>),
    /// A simulated loop looks before each task.
    Always,
    /// There is none, for want of descriptors: a timer has to do.
    Missing,
}

/// A connection of the loop with itself.
struct Bell<D: Driver> {
    rope: UnixStream,
    reader: D::Reader,
    buffer: Vec<u8>,
    /// Without it the connection would be over.
    writer: D::Writer,
}

impl<D: Driver> Looks<D> {
    pub(super) fn new() -> Self {
        Self(Bell::hang().map_or_else(State::without, State::Hung))
    }

    /// Comes back when all that was ready is done, what that has asked for was handed to the
    /// kernel, and what had come by then was taken; what waits for it goes on beside the caller. A
    /// loop whose tasks make ever more of them looks before it is through with these: whoever needs
    /// all of it looks until nothing comes.
    pub(super) async fn look(&mut self) {
        match std::mem::replace(&mut self.0, State::Missing) {
            State::Hung(bell) => {
                self.0 = bell.ring().await.map_or_else(State::without, State::Hung);
            }
            State::Always => {
                self.0 = State::Always;
                give_way::<D>().await;
            }
            State::Missing => D::sleep(LOOK_PAUSE).await,
        }
    }
}

impl<D: Driver> State<D> {
    fn without(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Unsupported => State::Always,
            _ => State::Missing,
        }
    }
}

impl<D: Driver> Bell<D> {
    fn hang() -> io::Result<Self> {
        let (rope, ear) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        let (reader, writer) = D::adopt(std::net::TcpStream::from(OwnedFd::from(ear)))?;
        Ok(Self { rope, reader, buffer: Vec::new(), writer })
    }

    async fn ring(self) -> io::Result<Self> {
        let Self { rope, reader, buffer, writer } = self;
        let mut read = pin!(reader.read(buffer, 1));
        let mut is_rung = false;
        // Not before the read is asked for, as that could be done at once, without a look.
        let read = poll_fn(|context| match read.as_mut().poll(context) {
            Poll::Ready(read) => Poll::Ready(Ok(read)),
            Poll::Pending if std::mem::replace(&mut is_rung, true) => Poll::Pending,
            Poll::Pending => match (&rope).write(&[0]) {
                Ok(1..) => Poll::Pending,
                Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Err(error) => Poll::Ready(Err(error)),
            },
        });
        let mut read = read.await?;
        tally::forget();
        if read.result? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.buffer.clear();
        Ok(Self { rope, reader: read.reader, buffer: read.buffer, writer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Writer;
    use crate::driver::sim::Sim;
    use std::cell::Cell;
    use std::io::Read as _;
    use std::rc::Rc;

    /// What had come before a look is there after it, what was asked for before it is with the
    /// kernel, and the look itself is not counted.
    fn takes_and_hands_over<D: Driver>() {
        let run = D::run(|| async {
            let (mut far, near) = UnixStream::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            let near = std::net::TcpStream::from(OwnedFd::from(near));
            let (reader, mut writer) = D::adopt(near).unwrap();
            let heard = Rc::new(Cell::new(0));
            let hears = Rc::clone(&heard);
            D::spawn(async move { hears.set(reader.read(Vec::new(), 8).await.result.unwrap()) });
            let mut looks = Looks::<D>::new();
            assert!(matches!(looks.0, State::Hung(_)));
            looks.look().await;
            let before = tally::done();
            looks.look().await;
            assert_eq!((heard.get(), tally::done()), (0, before));
            far.write_all(b"come").unwrap();
            D::spawn(async move { writer.write_all(b"asked".to_vec(), 0).await.0.unwrap() });
            // The main task of a loop is not among those that are ready.
            give_way::<D>().await;
            looks.look().await;
            let mut handed_over = [0; 8];
            assert_eq!(far.read(&mut handed_over).unwrap(), 5);
            give_way::<D>().await;
            assert_eq!(heard.get(), 4);
        });
        run.unwrap();
    }

    /// Where a look fails, the next one is a pause, and nobody waits for ever.
    fn goes_without<D: Driver>() {
        let run = D::run(|| async {
            let mut looks = Looks::<D>::new();
            let State::Hung(bell) = &looks.0 else { panic!("no bell") };
            bell.rope.shutdown(std::net::Shutdown::Both).unwrap();
            looks.look().await;
            assert!(matches!(looks.0, State::Missing));
            looks.look().await;
        });
        run.unwrap();
    }

    #[cfg(feature = "monoio")]
    #[test]
    fn on_monoio() {
        takes_and_hands_over::<crate::driver::monoio::MonoioUring>();
        goes_without::<crate::driver::monoio::MonoioUring>();
    }

    #[cfg(feature = "epoll")]
    #[test]
    fn on_epoll() {
        takes_and_hands_over::<crate::driver::epoll::Epoll>();
        goes_without::<crate::driver::epoll::Epoll>();
    }

    #[cfg(feature = "tokio-uring")]
    #[test]
    fn on_tokio_uring() {
        takes_and_hands_over::<crate::driver::tokio_uring::TokioUring>();
        goes_without::<crate::driver::tokio_uring::TokioUring>();
    }

    #[test]
    fn a_simulated_loop_looks_all_the_while() {
        let run = Sim::run(|| async {
            let before = Sim::elapsed();
            let mut looks = Looks::<Sim>::new();
            looks.look().await;
            assert!(matches!(looks.0, State::Always));
            assert!(Sim::elapsed() - before < LOOK_PAUSE);
        });
        run.unwrap();
    }
}
