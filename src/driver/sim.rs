//! The simulated driver, for tests: an in-memory network, virtual time, seeded faults.
//!
//! A run is a function of its seed: which ready task goes next, how bytes are cut and delayed,
//! what fails and when. So a failure is found by trying seeds, and found again by its seed, which
//! every failure prints. Time is virtual and jumps to the next timer when no task is ready: a
//! minute of idle timeouts takes no time at all.
//!
//! The network has TCP's manners where a server depends on them. An end that shuts down is read
//! to its last byte; one that closes with bytes unread resets its peer, which then loses what it
//! had not read (RFC 9112 section 9.6); bytes are bounded in each direction.
//!
//! Refused: real sockets, other threads, and runs within runs. A waker that is called from
//! another thread works, but the run is then no longer a function of its seed.

mod connection;
mod executor;
mod network;
#[cfg(test)]
mod tests;
mod world;

pub use self::connection::{ReadHalf, WriteHalf};
pub use self::network::Listener;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use self::world::World;
use super::{Driver, tally};
use crate::limits::{SIM_PIPE_BYTES, SIM_STEPS_MAX};

/// The simulated driver.
#[derive(Debug)]
pub enum Sim {}

impl Sim {
    /// Runs the future that `main` makes in a world of its own. Tasks that are still there when
    /// it is done are dropped.
    ///
    /// A panic of any task, or of `main`, goes on to the caller after the seed was printed.
    ///
    /// # Errors
    /// When nothing can ever happen again, when it takes too many steps, and inside a run.
    pub fn run_seeded<F: Future>(
        seed: u64,
        faults: Faults,
        main: impl FnOnce() -> F,
    ) -> Result<F::Output, SimFailure> {
        executor::run(seed, faults, main)
    }

    /// A listener on a virtual address. Port 0 chooses one; an unspecified IP address is reached
    /// through any.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        network::bind(&World::current(), address)
    }

    /// A digest of all that happened, in order: of this run, or of the thread's last one.
    pub fn trace_hash() -> u64 {
        World::report().trace_hash
    }

    /// What was counted in this run, or in the thread's last one.
    pub fn counts() -> Counts {
        World::report().counts
    }

    /// The virtual time since the start of this run, or what the thread's last one took.
    pub fn elapsed() -> Duration {
        World::report().elapsed
    }

    /// Keeps the CPU busy for so long, in the run's time: nothing else runs meanwhile.
    pub fn burn(time: Duration) {
        World::current().burn(time);
    }

    /// The same, by another program: it is no CPU time of this thread's.
    pub fn burn_elsewhere(time: Duration) {
        World::current().burn_elsewhere(time);
    }

    /// A random number below `bound`, from the run's seed, for what a test wants to vary.
    pub fn random_below(bound: u64) -> u64 {
        World::current().random_below(bound)
    }
}

impl Driver for Sim {
    const NAME: &'static str = "sim";
    const ACCEPTS_PENDING: usize = 4;
    const IS_SIMULATED: bool = true;
    type Listener = Listener;
    type Reader = ReadHalf;
    type Writer = WriteHalf;

    /// A run with seed 0 and without faults.
    fn run<F: Future>(main: impl FnOnce() -> F) -> io::Result<F::Output> {
        Self::run_seeded(0, Faults::none(), main).map_err(io::Error::other)
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        executor::spawn(&World::current(), task);
    }

    fn now() -> Instant {
        World::current().now()
    }

    fn now_exactly() -> Instant {
        World::current().now()
    }

    fn cpu_time() -> Duration {
        World::current().burnt()
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        World::current().sleep(time)
    }

    /// Real sockets have no place here: see [`Sim::bind`].
    fn listen(_listener: std::net::TcpListener) -> io::Result<Listener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shut(listener: &Listener) {
        listener.shut();
    }

    async fn accept(listener: &Listener) -> io::Result<(ReadHalf, WriteHalf, SocketAddr)> {
        tally::operation(listener.accept()).await
    }

    fn connect(
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(ReadHalf, WriteHalf)>> + 'static {
        network::connect(address)
    }

    /// Real sockets have no place here.
    fn adopt(_stream: std::net::TcpStream) -> io::Result<(ReadHalf, WriteHalf)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What goes wrong in a run, and how much of it. Probabilities are from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// That a read gives only some of the bytes that are there, or a write goes out in parts.
    pub split: f64,
    /// How long bytes, ends, resets and connects are on their way, at most; each takes a random
    /// time up to it, and bytes stay in order.
    pub latency_max: Duration,
    /// That a read or a write is followed by a reset of its connection, within
    /// [`SIM_RESET_DELAY_MAX`](crate::limits::SIM_RESET_DELAY_MAX); both ends see it, each when
    /// it gets there.
    pub reset: f64,
    /// That an accept fails for want of descriptors (EMFILE). The connection keeps waiting.
    pub accept_failed: f64,
    /// That a connect is refused.
    pub connect_refused: f64,
    /// That a connect is never answered.
    pub connect_hung: f64,
    /// Bytes that one direction of a connection holds, sent and not yet read.
    pub pipe_bytes: usize,
    /// Whether ready tasks run in the order in which they were woken, as on the real loops, and not
    /// in one that the seed chooses: for what depends on how long a queue is.
    pub in_order: bool,
    /// Polls of the run before it is given up.
    pub steps_max: u64,
}

impl Faults {
    /// A perfect network.
    pub fn none() -> Self {
        Self {
            split: 0.0,
            latency_max: Duration::ZERO,
            reset: 0.0,
            accept_failed: 0.0,
            connect_refused: 0.0,
            connect_hung: 0.0,
            pipe_bytes: SIM_PIPE_BYTES,
            in_order: false,
            steps_max: SIM_STEPS_MAX,
        }
    }

    /// A network that cuts and delays but loses nothing: what works without faults works here.
    pub fn rough() -> Self {
        Self { split: 0.5, latency_max: Duration::from_millis(5), ..Self::none() }
    }

    /// A network where anything fails: what is left is that nothing hangs, leaks or panics.
    pub fn hostile() -> Self {
        Self {
            reset: 0.02,
            accept_failed: 0.05,
            connect_refused: 0.05,
            connect_hung: 0.02,
            ..Self::rough()
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections made.
    pub connections: u64,
    /// Connections of which at least one end is not closed yet.
    pub connections_open: u64,
    /// Bytes that were read, in both directions.
    pub bytes: u64,
    /// Ends of connections that were reset, by a fault or by a close with bytes unread.
    pub resets: u64,
    /// Tasks that are not done yet, without `main`.
    pub tasks: u64,
    /// Polls.
    pub steps: u64,
}

/// Why a run ended without an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimFailure {
    /// No task is ready and no timer is pending: all of them wait for one another.
    Deadlock {
        /// The seed to find it again with.
        seed: u64,
        /// When in the run it happened.
        virtual_time: Duration,
        /// How many tasks wait, without `main`.
        tasks: u64,
    },
    /// The run was given up after [`Faults::steps_max`] polls.
    Steps {
        /// The seed to find it again with.
        seed: u64,
        /// When in the run it happened.
        virtual_time: Duration,
        /// How many polls there were.
        steps: u64,
    },
    /// This thread is in a run already.
    Nested,
}

impl fmt::Display for SimFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock { seed, virtual_time, tasks } => write!(
                f,
                "seed {seed}: deadlock at {virtual_time:?}: main and {tasks} tasks wait, and no \
                 timer is pending"
            ),
            Self::Steps { seed, virtual_time, steps } => {
                write!(f, "seed {seed}: no end after {steps} steps, at {virtual_time:?}")
            }
            Self::Nested => f.write_str("a simulation is running on this thread already"),
        }
    }
}

impl std::error::Error for SimFailure {}
