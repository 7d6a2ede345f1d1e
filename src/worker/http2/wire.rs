//! A connection's bytes, as h2 wants to read and write them: tokio's two traits over halves that
//! take buffers and give them back.
//!
//! Reading: one read is pending at a time, with room for as much as the peer is in the habit of
//! sending. Writing: what h2 writes is gathered, and goes out as one write when h2 has nothing more
//! to say for now; so a flush here is a promise, kept by [`Wire::poll_written`]. While one such
//! write is under way the next is gathered, and then h2 waits.
//!
//! All of it is polled by one task, the connection's, so that there is one waker and none is lost.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::driver::timers::Timer;
use crate::driver::{Driver, Read, Reader, Writer};
use crate::limits;
use crate::tls;
use crate::worker::{Service, Worker};

use super::watch::HeadWatch;

/// Where a connection's bytes go: what HTTP/2 wants of a write half, encrypted or not.
pub(in crate::worker) trait Outbound: 'static {
    /// Writes all of `buffer[range]` and gives the buffer back.
    fn write(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Whether it is encrypted.
    fn is_secure(&self) -> bool;

    /// Says that nothing more will come, and ends our side of the stream.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>>;
}

impl<W: Writer> Outbound for tls::Writer<W> {
    fn write(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)> {
        self.write_range(buffer, range)
    }

    fn is_secure(&self) -> bool {
        tls::Writer::is_secure(self)
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.say_goodbye().await?;
        self.shutdown()
    }
}

/// Both halves of a connection, and what is on its way through them.
pub(super) struct Wire<D: Driver, S: Service, R, W> {
    worker: Rc<Worker<D, S>>,
    reading: Reading<R>,
    /// What was read, and how much of it was taken.
    arrived: (Vec<u8>, usize),
    /// How far the frames have come that h2 has been given.
    watch: HeadWatch,
    /// Room of the next read.
    room: usize,
    /// Reads that may begin before others have their turn.
    reads_left: usize,
    /// Whether we are to be woken once they had it.
    gives_way: bool,
    writing: Writing<W>,
    /// What is to be written next.
    gathered: Vec<u8>,
    /// What h2 waits for.
    blocked: Blocked,
    /// For the write that is under way.
    timer: Timer<D>,
}

enum Reading<R> {
    Idle(R),
    Busy(Pin<Box<dyn Future<Output = Read<R>>>>),
    /// The peer has ended its side, or the connection is broken.
    Ended,
}

enum Writing<W> {
    Idle(W),
    /// A write, or the end of our side.
    Busy(Pin<Box<dyn Future<Output = Written<W>>>>),
    /// Our side has ended, as it should.
    Finished,
    Broken,
}

/// What h2 waits for, beside what the peer sends.
enum Blocked {
    No,
    /// Room to write.
    Full,
    /// Our side to end.
    Ending,
}

struct Written<W> {
    /// None after the last.
    writer: Option<W>,
    buffer: Vec<u8>,
    result: io::Result<()>,
}

impl<D: Driver, S: Service, R: Reader, W: Outbound> Wire<D, S, R, W> {
    /// A wire on which so much has arrived already.
    pub(super) fn new(
        worker: &Rc<Worker<D, S>>,
        reader: R,
        writer: W,
        arrived: Vec<u8>,
    ) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            worker: Rc::clone(worker),
            reading: Reading::Idle(reader),
            arrived: (arrived, 0),
            watch: HeadWatch::default(),
            room: limits::DOWNSTREAM_READ_BYTES,
            reads_left: 0,
            gives_way: false,
            writing: Writing::Idle(writer),
            gathered: Vec::new(),
            blocked: Blocked::No,
            timer: worker.timers.timer(),
        }))
    }

    /// Begins a turn of the connection's task.
    pub(super) fn begin_turn(&mut self) {
        self.reads_left = limits::HTTP2_READS_A_TURN;
        self.gives_way = false;
    }

    /// Whether h2 has waited for something that has come, and should try again.
    pub(super) fn take_unblocked(&mut self) -> bool {
        let is_unblocked = match self.blocked {
            Blocked::No => false,
            Blocked::Full => self.gathered.len() < limits::HTTP2_WRITE_BYTES_MAX,
            Blocked::Ending => !matches!(self.writing, Writing::Busy(_)),
        };
        if is_unblocked {
            self.blocked = Blocked::No;
        }
        is_unblocked
    }

    /// Which head is under way, if one is.
    pub(super) fn head_under_way(&self) -> Option<u64> {
        self.watch.under_way()
    }

    /// Whether we have ended our side and the peer may still be sending.
    pub(super) fn may_linger(&self) -> bool {
        matches!(self.writing, Writing::Finished) && !matches!(self.reading, Reading::Ended)
    }

    /// Waits until all that h2 has written is with the kernel. A write has its time, as every piece
    /// of a response does.
    ///
    /// # Errors
    /// When the peer is gone, or does not read.
    pub(super) fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.writing {
                Writing::Idle(_) if self.gathered.is_empty() => return Poll::Ready(Ok(())),
                Writing::Idle(_) => {
                    let buffer = std::mem::take(&mut self.gathered);
                    self.start(buffer.len(), |writer| Box::pin(write(writer, buffer)));
                }
                Writing::Busy(future) => match future.as_mut().poll(context) {
                    Poll::Ready(written) => self.end_write(written)?,
                    Poll::Pending => {
                        ready!(self.timer.poll_expired(context));
                        self.writing = Writing::Broken;
                    }
                },
                Writing::Finished => return Poll::Ready(Ok(())),
                Writing::Broken => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn start(
        &mut self,
        bytes: usize,
        begin: impl FnOnce(W) -> Pin<Box<dyn Future<Output = Written<W>>>>,
    ) {
        match std::mem::replace(&mut self.writing, Writing::Broken) {
            Writing::Idle(writer) => {
                self.timer.set(self.worker.bounds.write_deadline(D::now(), bytes));
                self.writing = Writing::Busy(begin(writer));
            }
            other => self.writing = other,
        }
    }

    fn end_write(&mut self, written: Written<W>) -> io::Result<()> {
        self.timer.clear();
        if written.result.is_ok() {
            self.worker.metrics.bytes_out.add(written.buffer.len() as u64);
        }
        self.worker.buffers.put(written.buffer);
        self.writing = match (&written.result, written.writer) {
            (Err(_), _) => Writing::Broken,
            (Ok(()), Some(writer)) => Writing::Idle(writer),
            (Ok(()), None) => Writing::Finished,
        };
        written.result
    }

    /// Takes as much as there is room for.
    fn gather(&mut self, bytes: &[u8]) -> usize {
        if self.gathered.capacity() == 0 {
            self.gathered = self.worker.buffers.take();
        }
        let room = limits::HTTP2_WRITE_BYTES_MAX.saturating_sub(self.gathered.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.gathered.extend_from_slice(taken);
        taken.len()
    }

    fn poll_gather(&mut self, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if matches!(self.writing, Writing::Finished | Writing::Broken) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken: usize = slices.iter().map(|slice| self.gather(slice)).sum();
        if taken == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            self.blocked = Blocked::Full;
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    /// Waits for bytes that have arrived; none at the end of the stream.
    ///
    /// # Errors
    /// When the connection is broken.
    fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        while self.arrived.1 == self.arrived.0.len() {
            match &mut self.reading {
                Reading::Idle(_) if self.reads_left == 0 => {
                    self.give_way(context);
                    return Poll::Pending;
                }
                Reading::Idle(_) => self.start_read(),
                Reading::Busy(read) => {
                    let read = ready!(read.as_mut().poll(context));
                    self.end_read(read)?;
                }
                Reading::Ended => return Poll::Ready(Ok(&[])),
            }
        }
        let (bytes, at) = &self.arrived;
        Poll::Ready(Ok(bytes.get(*at..).unwrap_or_default()))
    }

    /// Goes on reading after the others: a task that only woke itself would at once, on some loops.
    fn give_way(&mut self, context: &Context<'_>) {
        if !std::mem::replace(&mut self.gives_way, true) {
            let waker = context.waker().clone();
            D::spawn(async move { waker.wake() });
        }
    }

    fn start_read(&mut self) {
        let Reading::Idle(reader) = std::mem::replace(&mut self.reading, Reading::Ended) else {
            return;
        };
        self.reads_left -= 1;
        let (mut buffer, _) = std::mem::take(&mut self.arrived);
        buffer.clear();
        if buffer.capacity() != self.room {
            buffer = Vec::new();
        }
        self.reading = Reading::Busy(Box::pin(reader.read(buffer, self.room)));
    }

    fn end_read(&mut self, read: Read<R>) -> io::Result<()> {
        self.reading = Reading::Ended;
        let bytes = read.result?;
        if bytes == 0 {
            return Ok(());
        }
        self.worker.metrics.bytes_in.add(bytes as u64);
        self.room = match bytes {
            full if full >= self.room => (self.room * 4).min(limits::HTTP2_READ_BYTES_MAX),
            little if little < limits::DOWNSTREAM_READ_BYTES => limits::DOWNSTREAM_READ_BYTES,
            _ => self.room,
        };
        self.reading = Reading::Idle(read.reader);
        self.arrived = (read.buffer, 0);
        Ok(())
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut result = self.poll_written(context)?;
        if result.is_ready() {
            self.start(0, |writer| Box::pin(finish(writer)));
            result = self.poll_written(context)?;
        }
        if result.is_pending() {
            self.blocked = Blocked::Ending;
        }
        result.map(Ok)
    }

    /// Reads and throws away what still comes: how much, or none at the end.
    pub(super) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let bytes = match ready!(self.poll_arrived(context)) {
            Ok(bytes) => bytes.len(),
            Err(_) => 0,
        };
        self.arrived.1 += bytes;
        Poll::Ready(bytes)
    }
}

async fn write<W: Outbound>(mut writer: W, buffer: Vec<u8>) -> Written<W> {
    let end = buffer.len();
    let (result, buffer) = writer.write(buffer, 0..end).await;
    Written { writer: Some(writer), buffer, result }
}

async fn finish<W: Outbound>(mut writer: W) -> Written<W> {
    let result = writer.finish().await;
    Written { writer: None, buffer: Vec::new(), result }
}

/// A wire as h2 sees it.
pub(super) struct Io<D: Driver, S: Service, R, W>(pub(super) Rc<RefCell<Wire<D, S, R, W>>>);

impl<D: Driver, S: Service, R: Reader, W: Outbound> AsyncRead for Io<D, S, R, W> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        let arrived = ready!(wire.poll_arrived(context))?;
        let taken = arrived.get(..into.remaining()).unwrap_or(arrived);
        let before = into.filled().len();
        into.put_slice(taken);
        let taken = into.filled().get(before..).unwrap_or_default();
        wire.arrived.1 += taken.len();
        wire.watch.pass(taken);
        Poll::Ready(Ok(()))
    }
}

impl<D: Driver, S: Service, R: Reader, W: Outbound> AsyncWrite for Io<D, S, R, W> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(&[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_finish(context)
    }
}
