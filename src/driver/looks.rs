//! A look at what the kernel has, without a wait.
//!
//! A loop hands over what its tasks have asked for, and takes what has come, when no task is ready
//! any more. A task that lets others go first is ready all the while; one that sleeps waits for a
//! millisecond or two, as timers are no finer. So whoever wants a look reads from a connection of
//! the loop with itself, on which a byte is sent just then: once nothing else is left to do the
//! loop looks, finds that byte at the least, and goes on. It costs about two microseconds.
//!
//! A ring with DEFER_TASKRUN hands over what has come in the order it came, some twenty at a time.
//! What is read only once it is there goes before all of them. So there the byte must find its read
//! waiting in the kernel: there are two connections, and with each look at one the kernel is given
//! the read for the next.

use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ways::let_others_go;
use super::{Driver, Read, Reader, tally};
use crate::limits::LOOK_PAUSE;

/// What a task looks with.
pub(crate) struct Looks<D: Driver>(State<D>);

enum State<D: Driver> {
    /// The first is for the next look.
    Hung([Bell<D>; 2]),
    /// A simulated loop looks before each task.
    Always,
    /// There is none, for want of descriptors: a timer has to do.
    Missing,
}

/// A connection of the loop with itself.
struct Bell<D: Driver> {
    rope: UnixStream,
    /// The read, which the kernel has once it was polled and the loop has looked.
    ear: Pin<Box<dyn Future<Output = Read<D::Reader>>>>,
    /// Without it the connection would be over.
    _writer: D::Writer,
}

impl<D: Driver> Looks<D> {
    pub(crate) fn new() -> Self {
        let hung = Bell::hang().and_then(|bell| Ok([bell, Bell::hang()?]));
        Self(hung.map_or_else(State::without, State::Hung))
    }

    /// Comes back when all that was ready is done, what that has asked for was handed to the
    /// kernel, and what had come by then was taken, however much that is; what waits for it goes on
    /// beside the caller. A loop whose tasks make ever more of them looks before it is through with
    /// these: whoever needs all of it looks until nothing comes.
    pub(super) async fn look(&mut self) {
        match &mut self.0 {
            State::Hung([bell, next]) => match ring(bell, next).await {
                Ok(()) => std::mem::swap(bell, next),
                Err(error) => self.0 = State::without(error),
            },
            State::Always => let_others_go::<D>().await,
            State::Missing => D::sleep(LOOK_PAUSE).await,
        }
    }

    /// The same where there is a kernel to look at. There is no pause where descriptors are
    /// missing, and nothing to do in a simulation, where a timer comes in its turn.
    pub(crate) async fn look_at_kernel(&mut self) {
        if matches!(self.0, State::Hung(_)) {
            self.look().await;
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
        Ok(Self { rope, ear: Box::pin(reader.read(Vec::new(), 1)), _writer: writer })
    }

    /// Whether it was rung. What the loop does for itself is not counted.
    fn listen(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(mut read) = tally::aside(|| self.ear.as_mut().poll(context)) else {
            return Poll::Pending;
        };
        read.buffer.clear();
        self.ear = Box::pin(read.reader.read(read.buffer, 1));
        Poll::Ready(match read.result {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            result => result.map(drop),
        })
    }

    fn pull(&self) -> io::Result<()> {
        match (&self.rope).write(&[0])? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            _ => Ok(()),
        }
    }
}

/// Rings one and hears it; the other one's read goes to the kernel with that.
async fn ring<D: Driver>(bell: &mut Bell<D>, next: &mut Bell<D>) -> io::Result<()> {
    let mut is_rung = false;
    poll_fn(|context| {
        // Nobody rings this one. A byte of a look that was given up is taken so.
        if D::HANDS_OVER_IN_PARTS
            && let Poll::Ready(Err(error)) = next.listen(context)
        {
            return Poll::Ready(Err(error));
        }
        // Not before the read is asked for, as that could be done at once, without a look.
        match bell.listen(context) {
            Poll::Ready(heard) => Poll::Ready(heard),
            Poll::Pending if std::mem::replace(&mut is_rung, true) => Poll::Pending,
            Poll::Pending => match bell.pull() {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    })
    .await
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
            let_others_go::<D>().await;
            looks.look().await;
            let mut handed_over = [0; 8];
            assert_eq!(far.read(&mut handed_over).unwrap(), 5);
            let_others_go::<D>().await;
            assert_eq!(heard.get(), 4);
        });
        run.unwrap();
    }

    /// However much has come, it is there after one look.
    fn takes_all<D: Driver>() {
        let run = D::run(|| async {
            let heard = Rc::new(Cell::new(0));
            let mut fars = Vec::new();
            for _ in 0..MANY {
                let (far, near) = UnixStream::pair().unwrap();
                let near = std::net::TcpStream::from(OwnedFd::from(near));
                let ((reader, writer), heard) = (D::adopt(near).unwrap(), Rc::clone(&heard));
                D::spawn(async move {
                    assert_eq!(reader.read(Vec::new(), 8).await.result.unwrap(), 1);
                    heard.set(heard.get() + 1);
                    drop(writer);
                });
                fars.push(far);
            }
            let mut looks = Looks::<D>::new();
            for _ in 0..3 {
                looks.look().await;
            }
            assert_eq!(heard.get(), 0);
            fars.iter_mut().for_each(|far| far.write_all(b"!").unwrap());
            looks.look().await;
            // A runtime may run only so many tasks in a turn. These bring nothing more.
            for _ in 0..MANY / 50 {
                let_others_go::<D>().await;
            }
            assert_eq!(heard.get(), MANY);
        });
        run.unwrap();
    }

    const MANY: usize = 100;

    /// Where a look fails, the next one is a pause, and nobody waits for ever.
    fn goes_without<D: Driver>() {
        let run = D::run(|| async {
            let mut looks = Looks::<D>::new();
            let State::Hung([bell, _]) = &looks.0 else { panic!("no bell") };
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
        takes_all::<crate::driver::monoio::MonoioUring>();
        goes_without::<crate::driver::monoio::MonoioUring>();
    }

    #[cfg(feature = "ring")]
    #[test]
    fn on_ring() {
        takes_and_hands_over::<crate::driver::ring::Ring>();
        takes_all::<crate::driver::ring::Ring>();
        goes_without::<crate::driver::ring::Ring>();
    }

    #[cfg(feature = "epoll")]
    #[test]
    fn on_epoll() {
        takes_and_hands_over::<crate::driver::epoll::Epoll>();
        takes_all::<crate::driver::epoll::Epoll>();
        goes_without::<crate::driver::epoll::Epoll>();
    }

    #[cfg(feature = "tokio-uring")]
    #[test]
    fn on_tokio_uring() {
        takes_and_hands_over::<crate::driver::tokio_uring::TokioUring>();
        takes_all::<crate::driver::tokio_uring::TokioUring>();
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
