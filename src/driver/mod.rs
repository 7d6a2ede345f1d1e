//! The seam: how a worker talks to the kernel, or to a simulated network in tests.
//!
//! A driver is a type, not a value: its loop is the thread's, so its functions need no handle.
//! Nothing here is `Send`; everything stays on the worker that made it.
//!
//! A read gives its [`Reader`] away and gets it back with the bytes. So a read that is dropped,
//! by a timeout say, takes its connection's read half with it: what it may have lost can never be
//! mistaken for nothing, and such a connection can only be closed, never pooled. And a read may
//! be left pending while its connection is idle, which is how a pooled connection notices bytes
//! or an end that nobody asked for.

#[forbid(unsafe_code)]
pub mod beneath;
#[forbid(unsafe_code)]
pub mod buffers;
#[cfg(any(feature = "ring", feature = "monoio", feature = "epoll", feature = "tokio-uring"))]
#[forbid(unsafe_code)]
mod clock;
#[cfg(feature = "epoll")]
#[forbid(unsafe_code)]
pub mod epoll;
#[forbid(unsafe_code)]
pub mod file_body;
#[forbid(unsafe_code)]
pub mod inbound;
#[forbid(unsafe_code)]
pub mod kind;
#[forbid(unsafe_code)]
pub(crate) mod looks;
#[cfg(any(feature = "monoio", feature = "epoll"))]
#[forbid(unsafe_code)]
pub mod monoio;
#[forbid(unsafe_code)]
pub mod offload;
#[cfg(feature = "ring")]
pub mod ring;
#[cfg(any(feature = "ring", feature = "monoio", feature = "epoll", feature = "tokio-uring"))]
#[forbid(unsafe_code)]
mod shut;
#[cfg(feature = "sim")]
#[forbid(unsafe_code)]
pub mod sim;
#[forbid(unsafe_code)]
pub mod stints;
#[forbid(unsafe_code)]
pub mod tally;
#[cfg(any(feature = "monoio", feature = "epoll"))]
#[forbid(unsafe_code)]
mod tasks;
#[forbid(unsafe_code)]
pub mod timers;
#[cfg(feature = "tokio-uring")]
#[forbid(unsafe_code)]
pub mod tokio_uring;
#[forbid(unsafe_code)]
pub(crate) mod turns;
#[forbid(unsafe_code)]
pub mod usual;
#[forbid(unsafe_code)]
pub mod wakes;
#[forbid(unsafe_code)]
mod ways;
#[cfg(any(feature = "ring", feature = "monoio", feature = "epoll", feature = "tokio-uring"))]
#[forbid(unsafe_code)]
mod work;

#[cfg(not(any(feature = "ring", feature = "monoio", feature = "epoll", feature = "tokio-uring")))]
compile_error!("ringpress needs a driver: turn on the feature monoio, ring, epoll or tokio-uring");

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

pub use ways::give_way;

/// How a worker talks to the kernel. See the table in the README for the drivers there are.
pub trait Driver: Sized + 'static {
    /// The name, as in `--driver` and in the logs.
    const NAME: &'static str;
    /// How many accepts are worth being pending at one listener. On a ring each brings one
    /// connection a turn of the loop; who is told when to accept takes all that are there.
    const ACCEPTS_PENDING: usize;
    /// Whether an accept may be dropped and no connection is lost. One that is in a ring may have
    /// taken a connection that nobody has heard of yet.
    const ACCEPTS_DROP: bool = true;
    /// Whether the kernel hands over only so much of what has come at a time, in the order it came.
    const HANDS_OVER_IN_PARTS: bool = false;
    /// Whether there is no kernel behind it, and so no other thread that has to do with it.
    const IS_SIMULATED: bool = false;
    /// Descriptors that a connection to an upstream takes.
    const DESCRIPTORS_A_CONNECT: usize = 1;
    /// A listening socket of this driver.
    type Listener: 'static;
    /// The read half of a connection.
    type Reader: Reader;
    /// The write half of a connection. The connection closes when both halves are dropped.
    type Writer: Writer;

    /// Runs a loop on this thread until the future that `main` makes is done. Tasks that are
    /// still there then are dropped.
    ///
    /// # Errors
    /// When the kernel gives no ring or no epoll instance; the cause is the kernel's own.
    fn run<F: Future>(main: impl FnOnce() -> F) -> io::Result<F::Output>;

    /// Starts a task on this thread's loop. Its wakers are this thread's own: woken on another they
    /// panic there, on some drivers. See [`wakes::from_anywhere`] for a task that is to be woken by
    /// others, and [`offload`] for work that blocks.
    fn spawn(task: impl Future<Output = ()> + 'static);

    /// The time, which in simulation is virtual. A task may be told when it went on, as it is only
    /// for microseconds that it does before it waits again.
    fn now() -> Instant;

    /// The time, also within what takes long.
    fn now_exactly() -> Instant;

    /// CPU time that this thread has used, ever.
    fn cpu_time() -> Duration;

    /// Waits. Costly on some drivers: the request path uses [`Timers`](timers::Timers) instead.
    fn sleep(time: Duration) -> impl Future<Output = ()>;

    /// Takes over a socket that listens.
    ///
    /// # Errors
    /// When the kernel refuses to register it.
    fn listen(listener: std::net::TcpListener) -> io::Result<Self::Listener>;

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The kernel's: those for want of descriptors pass, see [`is_resource_shortage`].
    fn accept(
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer, SocketAddr)>>;

    /// Has the accepts that are pending end, each with a connection or with an error, and leaves
    /// the socket as it is: others may go on accepting from it. Nothing to do where accepts can be
    /// dropped.
    fn cancel_accepts(listener: &Self::Listener) {
        let _ = listener;
    }

    /// Ends a listening socket, for all who accept from it, in other processes too. Pending accepts
    /// end with an error.
    fn shut(listener: &Self::Listener);

    /// Connects, with TCP_NODELAY set.
    ///
    /// # Errors
    /// The kernel's: refused, unreachable and so on.
    fn connect(
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>> + 'static;

    /// Takes over a stream that is connected, of whatever family.
    ///
    /// # Errors
    /// When the kernel refuses to register it; [`io::ErrorKind::Unsupported`] where this driver has
    /// nothing to do with the machine's sockets.
    fn adopt(stream: std::net::TcpStream) -> io::Result<(Self::Reader, Self::Writer)>;
}

/// The read half of a connection.
pub trait Reader: Sized + 'static {
    /// Waits for bytes and appends them to `buffer`. A driver that must own memory before data is
    /// there reserves `room` bytes when `buffer` has none to spare, no more. `Ok(0)` is the end.
    fn read(self, buffer: Vec<u8>, room: usize) -> impl Future<Output = Read<Self>> + 'static;
}

/// What a read gives back.
#[derive(Debug)]
pub struct Read<R> {
    /// The read half, for the next read.
    pub reader: R,
    /// The buffer, with what has arrived appended.
    pub buffer: Vec<u8>,
    /// How many bytes were appended; 0 at the end of the stream.
    pub result: io::Result<usize>,
}

/// The write half of a connection.
pub trait Writer: 'static {
    /// Writes all of `buffer[range]` and gives the buffer back, whole. Where the range ends before
    /// it begins there is nothing to write; it ends within the buffer.
    fn write_range(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Writes all of `buffer[from..]` and gives the buffer back, whole.
    fn write_all(
        &mut self,
        buffer: Vec<u8>,
        from: usize,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)> {
        let end = buffer.len();
        self.write_range(buffer, from..end)
    }

    /// Ends the stream toward the peer (`shutdown(2)` with SHUT_WR); reading goes on.
    fn shutdown(&mut self) -> io::Result<()>;

    /// Whether nothing has arrived that a pending read does not know of yet. On a ring there is
    /// no such thing: reads are done by the kernel, in the order in which bytes come. A driver
    /// that is told when to read may be told of one connection before another, and must look.
    fn is_quiet(&self) -> bool {
        true
    }
}

/// Whether an accept failed because it was cancelled.
pub fn is_cancellation(error: &io::Error) -> bool {
    const ECANCELED: i32 = 125;
    error.raw_os_error() == Some(ECANCELED)
}

/// Whether an accept failed because descriptors or memory ran short: it is worth trying again
/// after a pause, and the connections that wait are still there.
pub fn is_resource_shortage(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    const ENOMEM: i32 = 12;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

/// One connection and one message through driver `D` on loopback: what [`kind::Kind::self_test`]
/// runs on the loop.
async fn self_test<D: Driver>() -> io::Result<()> {
    const MESSAGE: &[u8] = b"ringpress";
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let listener = D::listen(listener)?;
    D::spawn(async move {
        if let Ok((_reader, mut writer)) = D::connect(address).await {
            let _ = writer.write_all(MESSAGE.to_vec(), 0).await;
        }
    });
    let (mut reader, _writer, _) = D::accept(&listener).await?;
    let mut buffer = Vec::new();
    while buffer.len() < MESSAGE.len() {
        let read = reader.read(buffer, MESSAGE.len()).await;
        (reader, buffer) = (read.reader, read.buffer);
        if read.result? == 0 {
            break;
        }
    }
    if buffer == MESSAGE {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the message came back changed"))
    }
}
