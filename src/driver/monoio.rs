//! monoio's connections, shared by its two drivers, and its io_uring driver.
//!
//! Owns nothing of the protocol: bytes only. Refuses no kernel that has a ring: the flags that
//! make a ring cheap for one thread (SINGLE_ISSUER, COOP_TASKRUN, DEFER_TASKRUN; Linux 6.1) are
//! tried first and left out where the kernel does not know them.

#[cfg(feature = "monoio")]
use std::cell::RefCell;
use std::future::Future;
use std::io;
#[cfg(feature = "monoio")]
use std::net::SocketAddr;
use std::ops::Range;
#[cfg(feature = "monoio")]
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use monoio::buf::{IoBuf, IoBufMut};
#[cfg(feature = "monoio")]
use monoio::io::Canceller;
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
#[cfg(feature = "monoio")]
use monoio::net::TcpListener;
use monoio::net::TcpStream;

#[cfg(feature = "monoio")]
use super::shut::Shut;
use super::{Read, Reader, Writer, tally};

/// monoio on io_uring: the driver for production.
#[cfg(feature = "monoio")]
pub struct MonoioUring;

#[cfg(feature = "monoio")]
impl super::Driver for MonoioUring {
    const NAME: &'static str = "monoio";
    const ACCEPTS_PENDING: usize = crate::limits::ACCEPTS_PENDING;
    const ACCEPTS_DROP: bool = false;
    const HANDS_OVER_IN_PARTS: bool = true;
    type Listener = MonoioListener;
    type Reader = MonoioReader;
    type Writer = MonoioWriter;

    fn run<F: Future>(main: impl FnOnce() -> F) -> io::Result<F::Output> {
        let mut runtime = ring(true).or_else(|error| {
            if error.kind() == io::ErrorKind::InvalidInput { ring(false) } else { Err(error) }
        })?;
        let run = AssertUnwindSafe(|| runtime.block_on(super::tasks::run_main(main)));
        Ok(catch_unwind(run).unwrap_or_else(|panic| {
            runtime.block_on(super::tasks::run_last());
            resume_unwind(panic)
        }))
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        drop(monoio::spawn(super::tasks::Task::new(task)));
    }

    fn now() -> std::time::Instant {
        super::clock::now()
    }

    fn now_exactly() -> std::time::Instant {
        std::time::Instant::now()
    }

    fn cpu_time() -> std::time::Duration {
        super::clock::cpu_time()
    }

    async fn sleep(time: std::time::Duration) {
        monoio::time::sleep(time).await;
    }

    fn listen(listener: std::net::TcpListener) -> io::Result<MonoioListener> {
        // A ring waits by itself; on a non-blocking socket it would answer EAGAIN instead.
        listener.set_nonblocking(false)?;
        let (shut, accepts) = (Shut::new(&listener)?, RefCell::default());
        Ok(MonoioListener { listener: TcpListener::from_std(listener)?, accepts, shut })
    }

    async fn accept(
        listener: &MonoioListener,
    ) -> io::Result<(MonoioReader, MonoioWriter, SocketAddr)> {
        let handle = listener.accepts.borrow().handle();
        let accept = listener.listener.cancelable_accept(handle);
        let (stream, peer) = tally::operation(accept).await?;
        let (reader, writer) = split(stream);
        Ok((reader, writer, peer))
    }

    fn cancel_accepts(listener: &MonoioListener) {
        let accepts = listener.accepts.take().cancel();
        listener.accepts.replace(accepts);
    }

    fn shut(listener: &MonoioListener) {
        listener.shut.shut();
    }

    async fn connect(address: SocketAddr) -> io::Result<(MonoioReader, MonoioWriter)> {
        let stream = tally::operation(TcpStream::connect_addr(address)).await?;
        stream.set_nodelay(true)?;
        Ok(split(stream))
    }

    fn adopt(stream: std::net::TcpStream) -> io::Result<(MonoioReader, MonoioWriter)> {
        stream.set_nonblocking(false)?;
        Ok(split(TcpStream::from_std(stream)?))
    }
}

/// A listening socket of monoio's ring.
#[cfg(feature = "monoio")]
pub struct MonoioListener {
    listener: TcpListener,
    /// The accepts that are in the ring.
    accepts: RefCell<Canceller>,
    shut: Shut,
}

/// A runtime on a ring, with the flags of Linux 6.1 or without.
#[cfg(feature = "monoio")]
fn ring(
    flags: bool,
) -> io::Result<monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>> {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_cqsize(crate::limits::RING_ENTRIES * 4).setup_clamp();
    if flags {
        builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    }
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(crate::limits::RING_ENTRIES)
        .uring_builder(builder)
        .enable_timer()
        .build()
}

/// The read half of a monoio connection.
pub struct MonoioReader(OwnedReadHalf<TcpStream>);

impl Reader for MonoioReader {
    // Not an `async fn`, which would hold the half and the buffer twice. Each connection has one.
    fn read(
        mut self,
        mut buffer: Vec<u8>,
        room: usize,
    ) -> impl Future<Output = Read<Self>> + 'static {
        if buffer.len() == buffer.capacity() {
            buffer.reserve_exact(room.max(1));
        }
        async move {
            let (filled, free) = (buffer.len(), buffer.capacity());
            tally::submitted();
            // Through a slice: reading into the Vec itself would set its length to what this read
            // brought, and so cut off what was there before.
            let (result, slice) = self.0.read(buffer.slice_mut(filled..free)).await;
            tally::completed();
            Read { reader: self, buffer: slice.into_inner(), result }
        }
    }
}

/// The write half of a monoio connection.
pub struct MonoioWriter(OwnedWriteHalf<TcpStream>);

impl Writer for MonoioWriter {
    // Not an `async fn`, which would hold the buffer twice.
    fn write_range(
        &mut self,
        mut buffer: Vec<u8>,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)> {
        let Range { mut start, end } = range;
        // monoio's own `write_all` is the same loop in a future of twice the size, and each
        // connection has room for two of them.
        async move {
            while start < end {
                tally::submitted();
                let (result, slice) = self.0.write(buffer.slice(start..end)).await;
                tally::completed();
                buffer = slice.into_inner();
                match result {
                    Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                    Ok(written) => start += written,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (Err(error), buffer),
                }
            }
            (Ok(()), buffer)
        }
    }

    fn shutdown(&mut self) -> io::Result<()> {
        // monoio calls shutdown(2) at once and answers with a future that is ready: there is
        // nothing to wait for.
        drop(self.0.shutdown());
        Ok(())
    }
}

/// The two halves of a monoio connection.
pub(super) fn split(stream: TcpStream) -> (MonoioReader, MonoioWriter) {
    let (reader, writer) = stream.into_split();
    (MonoioReader(reader), MonoioWriter(writer))
}
