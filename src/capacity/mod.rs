//! How much a load needs: of blocking workers, which hold a page while its API takes its time, and
//! of event loops, which do not. A model in figures: no IO, no clock, nothing measured here.
//!
//! **The load.** Pages are asked for at random, `rate` a second (Poisson arrivals). Each waits for
//! its API for `upstream` and takes `work` of CPU time. Times are seconds inside, [`Duration`] at
//! the edges.
//!
//! **Blocking workers** ([`blocking`], [`blocking_needed`]). A page holds one of `c` workers for
//! `upstream + work`, and longer when it has to wait for one of `k` cores. How many pages a second
//! `n` busy workers finish, X(n), is the throughput of a closed network of a delay and a station
//! with `k` servers: the machine repair model, solved exactly by mean value analysis (Reiser and
//! Lavenberg 1980). In it the delay may have any distribution. In front of the workers is a line:
//! a birth-death chain with births at `rate` and deaths at X(n) for `n` up to `c` and X(c) beyond,
//! which is Norton's theorem for queues (Chandy, Herzog and Woo 1975). Where cores are not short,
//! X(n) = n / (upstream + work), and the chain is M/M/c: the wait is Erlang's C formula (1917).
//! Where the API takes no time it is M/M/k of the cores. A page that finds all workers busy waits
//! an exponential time, so P(wait > t) = C e^-(X(c) - rate)t: percentiles follow from that.
//!
//! The wait for a core has the chain's mean (by Little's law: busy workers / rate - upstream -
//! work) and the shape of M/M/k; it is exact for many workers. Percentiles of the whole wait are
//! of the sum of the two waits, taken as independent. Those of the response are `upstream + work`
//! plus that: a real API's delay is nearly constant, not exponential.
//!
//! **Event loops** ([`event_loop`], [`event_loops_needed`]). A waiting page holds memory, nothing
//! else. Each core's loop is an M/M/1 line of its own with an even part of the rate, as a page
//! stays on the core that accepted it.
//!
//! **What to keep in mind.** Service times count as exponential, in the line for a worker and on
//! the CPU: with constant ones it can be half as long (Pollaczek and Khinchine), so both
//! sides look a little worse than they are, and collapse at the same rate. Visitors who come in
//! bursts wait longer than the model says, on both sides.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::{
    PLAN_CORES_MAX, PLAN_RATE_PER_S_MAX, PLAN_RATE_PER_S_MIN, PLAN_TIME_MAX, PLAN_WORKERS_MAX,
};

mod event_loop;
mod line;
mod pool;

pub use event_loop::{
    EventLoop, LOOP_WORK, LoopBottleneck, LoopState, PAGE_IN_FLIGHT_BYTES, event_loop,
    event_loops_needed,
};
pub use line::Wait;
pub use pool::{
    Blocking, Bottleneck, Needed, Response, State, WORKER_BYTES, blocking, blocking_needed,
    upstream_max,
};

/// What comes in, and what each page of it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Pages asked for.
    pub rate: Rate,
    /// What a page waits for its API.
    pub upstream: Delay,
    /// CPU time of a page.
    pub work: Work,
}

impl Load {
    /// The least time a page can take, seconds.
    fn page_s(&self) -> f64 {
        self.upstream.seconds() + self.work.seconds()
    }
}

/// Pages a second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// `None` when it is not from [`PLAN_RATE_PER_S_MIN`] to [`PLAN_RATE_PER_S_MAX`].
    pub fn per_second(pages: f64) -> Option<Self> {
        (PLAN_RATE_PER_S_MIN..=PLAN_RATE_PER_S_MAX).contains(&pages).then_some(Self(pages))
    }

    /// Pages a second.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        text.trim().parse().ok().and_then(Self::per_second).ok_or(OutOfRange::Rate)
    }
}

/// How long an API takes to answer; it may be no time at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(Duration);

impl Delay {
    /// `None` when it is longer than [`PLAN_TIME_MAX`].
    pub fn new(delay: Duration) -> Option<Self> {
        (delay <= PLAN_TIME_MAX).then_some(Self(delay))
    }

    /// As a duration.
    pub fn get(self) -> Duration {
        self.0
    }

    fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

/// CPU time of a page, which always takes some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work(Duration);

impl Work {
    /// `None` when it is nothing or longer than [`PLAN_TIME_MAX`].
    pub fn new(work: Duration) -> Option<Self> {
        (!work.is_zero() && work <= PLAN_TIME_MAX).then_some(Self(work))
    }

    /// As a duration.
    pub fn get(self) -> Duration {
        self.0
    }

    fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

/// Blocking workers: processes or threads that do one page at a time.
pub type Workers = Count<{ PLAN_WORKERS_MAX }>;
/// CPU cores.
pub type Cores = Count<{ PLAN_CORES_MAX }>;

/// How many there are of something, from 1 to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const MAX: u32>(u32);

impl<const MAX: u32> Count<MAX> {
    /// The most there can be.
    pub const MOST: Self = Self(MAX);

    /// `None` when it is not from 1 to `MAX`.
    pub fn new(count: u32) -> Option<Self> {
        (1..=MAX).contains(&count).then_some(Self(count))
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0
    }

    fn float(self) -> f64 {
        f64::from(self.0)
    }
}

impl<const MAX: u32> FromStr for Count<MAX> {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let count: Result<u32, ParseIntError> = text.trim().parse();
        count.ok().and_then(Self::new).ok_or(OutOfRange::Count { max: MAX })
    }
}

impl<const MAX: u32> fmt::Display for Count<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is not what a load or a plan has; it displays what is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// No [`Rate`].
    Rate,
    /// No [`Count`].
    Count {
        /// The largest one.
        max: u32,
    },
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => write!(
                f,
                "write pages a second, from {PLAN_RATE_PER_S_MIN} to {PLAN_RATE_PER_S_MAX}, \
                 as in 200 or 0.5"
            ),
            Self::Count { max } => write!(f, "write a whole number from 1 to {max}"),
        }
    }
}

impl std::error::Error for OutOfRange {}

/// A time of the model as a duration. What is too long for one is as good as for ever.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
