//! A loop of our own on io_uring, for Linux 6.1 and later.
//!
//! A connection that waits holds no memory to be read into: the kernel takes one of the ring's
//! buffers when bytes come. A waker is a number. So what waits is small, and cheap to wake.
//!
//! Unsafe code is in four files, all of them here: `kernel` and `operations` (what the kernel works
//! on), `buffers` (memory it receives into), `wakers`.

mod buffers;
mod kernel;
mod operations;
mod sleeps;
mod streams;
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod wakers;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use self::kernel::{Kernel, Ticket, Wait};
use self::operations::Finished;
use self::tasks::Next;
use super::shut::Shut;
use super::{Driver, Read, Reader, Writer, clock, tally};
use crate::limits::RING_TASKS_A_TURN_MAX;

thread_local! {
    static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
}

/// Our own loop on io_uring.
pub struct Ring;

impl Driver for Ring {
    const NAME: &'static str = "ring";
    const ACCEPTS_PENDING: usize = crate::limits::ACCEPTS_PENDING;
    const ACCEPTS_DROP: bool = false;
    const HANDS_OVER_IN_PARTS: bool = true;
    type Listener = RingListener;
    type Reader = RingReader;
    type Writer = RingWriter;

    fn run<F: Future>(main: impl FnOnce() -> F) -> io::Result<F::Output> {
        if KERNEL.with_borrow(Option::is_some) {
            return Err(io::Error::other("this thread has a loop already"));
        }
        KERNEL.set(Some(Kernel::new()?));
        let run = AssertUnwindSafe(|| drive(pin!(async { main().await })));
        let output = catch_unwind(run);
        tasks::drop_all();
        if let Some(kernel) = KERNEL.take() {
            kernel.end();
        }
        output.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        tasks::spawn(task);
    }

    fn now() -> Instant {
        clock::now()
    }

    fn now_exactly() -> Instant {
        Instant::now()
    }

    fn cpu_time() -> Duration {
        clock::cpu_time()
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        sleeps::sleep(time)
    }

    fn listen(listener: std::net::TcpListener) -> io::Result<RingListener> {
        // A ring waits by itself; on a non-blocking socket it would answer EAGAIN instead.
        listener.set_nonblocking(false)?;
        let (shut, accepts) = (Shut::new(&listener)?, RefCell::default());
        Ok(RingListener { socket: Rc::new(listener.into()), accepts, shut })
    }

    async fn accept(listener: &RingListener) -> io::Result<(RingReader, RingWriter, SocketAddr)> {
        let accept = begin(|kernel| kernel.accept(Rc::clone(&listener.socket)));
        let ticket = accept.0;
        listener.accepts.borrow_mut().extend(ticket);
        let finished = tally::operation(accept).await;
        listener.accepts.borrow_mut().retain(|one| Some(*one) != ticket);
        finished.result?;
        let (socket, peer) = *finished.accepted.ok_or(io::ErrorKind::InvalidData)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let (reader, writer) = split(Rc::new(socket));
        Ok((reader, writer, peer))
    }

    fn cancel_accepts(listener: &RingListener) {
        let accepts = listener.accepts.take();
        let _ = on_kernel(|kernel| accepts.iter().for_each(|accept| kernel.hurry(*accept)));
    }

    fn shut(listener: &RingListener) {
        listener.shut.shut();
    }

    async fn connect(address: SocketAddr) -> io::Result<(RingReader, RingWriter)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let socket = Rc::new(OwnedFd::from(socket));
        let to = SockAddr::from(address);
        tally::operation(begin(|kernel| kernel.connect(Rc::clone(&socket), &to))).await.result?;
        Ok(split(socket))
    }

    fn adopt(stream: std::net::TcpStream) -> io::Result<(RingReader, RingWriter)> {
        stream.set_nonblocking(false)?;
        Ok(split(Rc::new(stream.into())))
    }
}

/// Runs the loop until its main task is done.
fn drive<F: Future>(mut main: Pin<&mut F>) -> io::Result<F::Output> {
    let waker = tasks::begin();
    let mut context = Context::from_waker(&waker);
    loop {
        for _ in 0..RING_TASKS_A_TURN_MAX {
            match tasks::next() {
                None => break,
                Some(Next::Task(task)) => tasks::run(task),
                Some(Next::Main) => {
                    let _stretch = clock::Stretch::begin();
                    if let Poll::Ready(output) = main.as_mut().poll(&mut context) {
                        return Ok(output);
                    }
                }
            }
        }
        let wait = wait();
        on_kernel(|kernel| kernel.turn(wait)).unwrap_or_else(|| Err(gone()))?;
        for _ in 0..on_kernel(Kernel::completions).unwrap_or(0) {
            if let Some(waker) = on_kernel(Kernel::take).flatten().and_then(|one| one.woken) {
                waker.wake();
            }
        }
        sleeps::wake(Instant::now());
    }
}

/// How long there is nothing to do but what the kernel brings.
fn wait() -> Wait {
    if tasks::is_any_ready() {
        return Wait::Not;
    }
    let Some(until) = sleeps::first() else { return Wait::Ever };
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Wait::Not,
        time => Wait::For(time),
    }
}

/// Does that with the ring of this thread's loop; none where there is no loop. What is dropped in
/// it must not lead back here.
fn on_kernel<R>(work: impl FnOnce(&mut Kernel) -> R) -> Option<R> {
    // An error is a thread at its end.
    KERNEL.try_with(|kernel| kernel.borrow_mut().as_mut().map(work)).ok().flatten()
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the loop is at its end")
}

/// An operation that somebody waits for. One that is dropped is cancelled.
struct Operation(Option<Ticket>);

/// Begins an operation.
fn begin(begin: impl FnOnce(&mut Kernel) -> Option<Ticket>) -> Operation {
    Operation(on_kernel(begin).flatten())
}

impl Future for Operation {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Finished> {
        let polled = self.0.and_then(|ticket| on_kernel(|kernel| kernel.poll(ticket, context)));
        let Some((polled, aside)) = polled else {
            return Poll::Ready(Finished {
                result: Err(gone()),
                buffer: Vec::new(),
                accepted: None,
            });
        };
        drop(aside);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(ticket) = self.0 {
            drop(on_kernel(|kernel| kernel.leave(ticket)));
        }
    }
}

/// A listening socket on a ring.
pub struct RingListener {
    socket: Rc<OwnedFd>,
    /// The accepts that are in the ring.
    accepts: RefCell<Vec<Ticket>>,
    shut: Shut,
}

/// The read half of a connection on a ring.
pub struct RingReader(Option<Ticket>);

/// The write half of a connection on a ring.
pub struct RingWriter(Rc<OwnedFd>);

/// The halves of a connection.
fn split(socket: Rc<OwnedFd>) -> (RingReader, RingWriter) {
    let place = on_kernel(|kernel| kernel.open(Rc::clone(&socket)));
    (RingReader(place.flatten()), RingWriter(socket))
}

impl Drop for RingReader {
    fn drop(&mut self) {
        if let Some(ticket) = self.0 {
            drop(on_kernel(|kernel| kernel.close(ticket)));
        }
    }
}

impl Reader for RingReader {
    fn read(self, buffer: Vec<u8>, room: usize) -> impl Future<Output = Read<Self>> + 'static {
        Reading { reader: Some(self), buffer: Some(buffer), room }
    }
}

/// A read. The buffer is here until it is polled first.
struct Reading {
    reader: Option<RingReader>,
    buffer: Option<Vec<u8>>,
    room: usize,
}

impl Future for Reading {
    type Output = Read<RingReader>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let begun = self.buffer.take();
        let Some(reader) = &self.reader else { return Poll::Pending };
        let polled = reader.0.and_then(|ticket| {
            on_kernel(|kernel| {
                if let Some(buffer) = begun {
                    tally::submitted();
                    kernel.read(ticket, buffer, self.room);
                }
                kernel.poll_read(ticket, context)
            })
        });
        let (buffer, result) = match polled {
            Some((Poll::Ready(read), _)) => {
                tally::completed();
                read
            }
            Some((Poll::Pending, stale)) => {
                drop::<Option<Waker>>(stale);
                return Poll::Pending;
            }
            None => (Vec::new(), Err(gone())),
        };
        match self.reader.take() {
            Some(reader) => Poll::Ready(Read { reader, buffer, result }),
            None => Poll::Pending,
        }
    }
}

impl Writer for RingWriter {
    // Not an `async fn`, which would hold the buffer twice.
    fn write_range(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)> {
        let Range { mut start, end } = range;
        let (mut idle, mut send) = (Some(buffer), Operation(None));
        poll_fn(move |context| {
            loop {
                if let Some(buffer) = idle.take() {
                    if start >= end {
                        return Poll::Ready((Ok(()), buffer));
                    }
                    tally::submitted();
                    send = begin(|kernel| kernel.send(Rc::clone(&self.0), buffer, start..end));
                }
                let Poll::Ready(sent) = Pin::new(&mut send).poll(context) else {
                    return Poll::Pending;
                };
                tally::completed();
                match sent.result {
                    Ok(0) => {
                        return Poll::Ready((Err(io::ErrorKind::WriteZero.into()), sent.buffer));
                    }
                    Ok(count) => start += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready((Err(error), sent.buffer)),
                }
                idle = Some(sent.buffer);
            }
        })
    }

    fn shutdown(&mut self) -> io::Result<()> {
        SockRef::from(&*self.0).shutdown(Shutdown::Write)
    }
}
