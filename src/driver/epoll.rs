//! monoio's epoll driver: the same server without a ring, where io_uring is blocked, and for
//! comparison.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use monoio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::monoio::{MonoioReader, MonoioWriter};
use super::shut::Shut;
use super::tasks::{self, Task};
use super::{Driver, Writer, tally};

/// monoio on epoll.
pub struct Epoll;

impl Driver for Epoll {
    const NAME: &'static str = "epoll";
    const ACCEPTS_PENDING: usize = 1;
    /// With the probe, see [`EpollWriter`].
    const DESCRIPTORS_A_CONNECT: usize = 2;
    type Listener = EpollListener;
    type Reader = MonoioReader;
    type Writer = EpollWriter;

    fn run<F: Future>(main: impl FnOnce() -> F) -> io::Result<F::Output> {
        let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
            .with_entries(crate::limits::RING_ENTRIES)
            .enable_timer()
            .build()?;
        let run = AssertUnwindSafe(|| runtime.block_on(tasks::run_main(main)));
        Ok(catch_unwind(run).unwrap_or_else(|panic| {
            runtime.block_on(tasks::run_last());
            resume_unwind(panic)
        }))
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        drop(monoio::spawn(Task::new(task)));
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
        monoio::time::sleep(time).await;
    }

    fn listen(listener: std::net::TcpListener) -> io::Result<EpollListener> {
        listener.set_nonblocking(true)?;
        let shut = Shut::new(&listener)?;
        Ok(EpollListener { listener: TcpListener::from_std(listener)?, shut })
    }

    async fn accept(
        listener: &EpollListener,
    ) -> io::Result<(MonoioReader, EpollWriter, SocketAddr)> {
        let (stream, peer) = tally::operation(listener.listener.accept()).await?;
        let (reader, writer) = super::monoio::split(stream);
        Ok((reader, EpollWriter { writer, probe: None }, peer))
    }

    fn shut(listener: &EpollListener) {
        listener.shut.shut();
    }

    async fn connect(address: SocketAddr) -> io::Result<(MonoioReader, EpollWriter)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let probe = std::net::TcpStream::from(socket.try_clone()?);
        let stream = TcpStream::from_std(socket.into())?;
        tally::operation(stream.writable(false)).await?;
        if let Some(error) = probe.take_error()? {
            return Err(error);
        }
        let (reader, writer) = super::monoio::split(stream);
        Ok((reader, EpollWriter { writer, probe: Some(probe) }))
    }

    fn adopt(stream: std::net::TcpStream) -> io::Result<(MonoioReader, EpollWriter)> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = super::monoio::split(TcpStream::from_std(stream)?);
        Ok((reader, EpollWriter { writer, probe: None }))
    }
}

/// A listening socket on epoll.
pub struct EpollListener {
    listener: TcpListener,
    shut: Shut,
}

/// The write half of a connection on epoll.
pub struct EpollWriter {
    writer: MonoioWriter,
    /// The same socket once more, of a connection that was opened and may be pooled: to look for
    /// bytes that epoll has not told of yet. monoio lends nobody its own.
    probe: Option<std::net::TcpStream>,
}

impl Writer for EpollWriter {
    fn write_range(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)> {
        self.writer.write_range(buffer, range)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.writer.shutdown()
    }

    fn is_quiet(&self) -> bool {
        self.probe.as_ref().is_none_or(|probe| {
            probe.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        })
    }
}
