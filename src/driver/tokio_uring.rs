//! tokio-uring: io_uring under tokio's loop, for comparison.
//!
//! Its ring has COOP_TASKRUN but not DEFER_TASKRUN: tokio-uring waits for the ring through epoll,
//! and a ring that defers its work to the next enter would never become readable.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

use super::shut::Shut;
use super::work::Work;
use super::{Driver, Read, Reader, Writer, tally};

/// tokio-uring's loop.
pub struct TokioUring;

impl Driver for TokioUring {
    const NAME: &'static str = "tokio-uring";
    const ACCEPTS_PENDING: usize = crate::limits::ACCEPTS_PENDING;
    // Nor can they be cancelled: each takes one connection more.
    const ACCEPTS_DROP: bool = false;
    type Listener = TokioUringListener;
    type Reader = TokioUringReader;
    type Writer = TokioUringWriter;

    fn run<F: Future>(main: impl FnOnce() -> F) -> io::Result<F::Output> {
        let runtime = runtime(true).or_else(|error| {
            if error.kind() == io::ErrorKind::InvalidInput { runtime(false) } else { Err(error) }
        })?;
        Ok(runtime.block_on(async { main().await }))
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        let mut work = Work::new(task);
        drop(tokio_uring::spawn(poll_fn(move |context| work.poll(context))));
    }

    fn now() -> Instant {
        super::clock::now()
    }

    fn now_exactly() -> Instant {
        Instant::now()
    }

    fn cpu_time() -> Duration {
        super::clock::cpu_time()
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn listen(listener: std::net::TcpListener) -> io::Result<TokioUringListener> {
        listener.set_nonblocking(false)?;
        let shut = Shut::new(&listener)?;
        Ok(TokioUringListener { listener: TcpListener::from_std(listener), shut })
    }

    async fn accept(
        listener: &TokioUringListener,
    ) -> io::Result<(TokioUringReader, TokioUringWriter, SocketAddr)> {
        let (stream, peer) = tally::operation(listener.listener.accept()).await?;
        let (reader, writer) = split(stream);
        Ok((reader, writer, peer))
    }

    fn shut(listener: &TokioUringListener) {
        listener.shut.shut();
    }

    async fn connect(address: SocketAddr) -> io::Result<(TokioUringReader, TokioUringWriter)> {
        let stream = tally::operation(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(split(stream))
    }

    fn adopt(stream: std::net::TcpStream) -> io::Result<(TokioUringReader, TokioUringWriter)> {
        stream.set_nonblocking(false)?;
        Ok(split(TcpStream::from_std(stream)))
    }
}

/// A listening socket of tokio-uring.
pub struct TokioUringListener {
    listener: TcpListener,
    shut: Shut,
}

fn runtime(flags: bool) -> io::Result<tokio_uring::Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(crate::limits::RING_ENTRIES * 4).setup_clamp();
    if flags {
        ring.setup_single_issuer().setup_coop_taskrun();
    }
    let mut builder = tokio_uring::builder();
    builder.entries(crate::limits::RING_ENTRIES).uring_builder(&ring);
    tokio_uring::Runtime::new(&builder)
}

fn split(stream: TcpStream) -> (TokioUringReader, TokioUringWriter) {
    let connection = Rc::new(Connection(stream));
    (TokioUringReader(Rc::clone(&connection)), TokioUringWriter(connection))
}

/// A connection, shut down when both halves are gone: an operation that is still in the ring
/// holds the descriptor, and would keep the connection open for as long as the peer is silent.
struct Connection(TcpStream);

impl Drop for Connection {
    fn drop(&mut self) {
        // An error means that the peer was faster.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// The read half of a tokio-uring connection.
pub struct TokioUringReader(Rc<Connection>);

impl Reader for TokioUringReader {
    async fn read(self, mut buffer: Vec<u8>, room: usize) -> Read<Self> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve_exact(room.max(1));
        }
        let filled = buffer.len();
        tally::submitted();
        let (result, slice) = self.0.0.read(buffer.slice(filled..)).await;
        tally::completed();
        Read { reader: self, buffer: slice.into_inner(), result }
    }
}

/// The write half of a tokio-uring connection.
pub struct TokioUringWriter(Rc<Connection>);

impl Writer for TokioUringWriter {
    async fn write_range(
        &mut self,
        mut buffer: Vec<u8>,
        range: Range<usize>,
    ) -> (io::Result<()>, Vec<u8>) {
        let Range { mut start, end } = range;
        // Not `write_all`, for the size of its future: see the driver on monoio.
        while start < end {
            tally::submitted();
            let (result, slice) = self.0.0.write(buffer.slice(start..end)).submit().await;
            tally::completed();
            buffer = slice.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(written) => start += written,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.0.0.shutdown(Shutdown::Write)
    }
}
