//! Event loops, one on each core: a page that waits for its API holds memory and no worker.

use std::time::Duration;

use super::line::{Line, Wait};
use super::pool::{Needed, Response, TAIL};
use super::{Cores, Load, Work};
use crate::limits::{IN_FLIGHT_MAX, PLAN_CORES_MAX};

/// What event loops make of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventLoop {
    /// Pages a second at which they are full; more get a 503 at once or wait.
    pub rate_max_per_s: f64,
    /// What is short there.
    pub bottleneck: LoopBottleneck,
    /// CPU time that the load asks of the cores, as a part of what they have. May be over 1.
    pub cpu_asked: f64,
    /// How it goes.
    pub state: LoopState,
}

/// Whether a load can be served at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoopState {
    /// As many pages go as come.
    Stable {
        /// For the loop's core.
        wait: Wait,
        /// From the request to the page.
        response: Response,
        /// Pages that are being made, on all loops together (Little's law).
        in_flight: f64,
        /// Memory of those, bytes.
        in_flight_bytes: f64,
    },
    /// More pages come than go.
    Overloaded {
        /// Pages a second that cannot be served.
        excess_per_s: f64,
    },
}

/// What is short first when the rate grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopBottleneck {
    /// The loops are always busy.
    Cpu,
    /// Each has as many pages in flight as it may ([`IN_FLIGHT_MAX`], which a site can change).
    InFlight,
}

/// What an event loop on each of `cores` makes of a load. Its `work` is that of a page on the loop.
pub fn event_loop(load: &Load, cores: Cores) -> EventLoop {
    let rate_per_s = load.rate.get();
    let by_cpu = cores.float() / load.work.seconds();
    let by_in_flight = cores.float() * IN_FLIGHT_MAX as f64 / load.page_s();
    let rate_max_per_s = by_cpu.min(by_in_flight);
    let state = match line(load, cores).filter(|_| rate_per_s < by_in_flight) {
        None => LoopState::Overloaded { excess_per_s: rate_per_s - rate_max_per_s },
        Some(line) => {
            let in_flight = rate_per_s * (load.page_s() + line.mean_s());
            let wait = line.wait();
            LoopState::Stable {
                wait,
                response: Response::of(load, &wait),
                in_flight,
                in_flight_bytes: in_flight * PAGE_IN_FLIGHT_BYTES as f64,
            }
        }
    };
    EventLoop {
        rate_max_per_s,
        bottleneck: if by_cpu <= by_in_flight {
            LoopBottleneck::Cpu
        } else {
            LoopBottleneck::InFlight
        },
        cpu_asked: rate_per_s / by_cpu,
        state,
    }
}

/// The fewest event loops, each with a core, on which 99 of 100 pages wait no longer than
/// `wait_max`.
pub fn event_loops_needed(load: &Load, wait_max: Duration) -> Needed<Cores> {
    let fits = |cores: Cores| match event_loop(load, cores).state {
        LoopState::Stable { .. } => {
            line(load, cores).is_some_and(|line| line.tail(wait_max.as_secs_f64()) <= TAIL)
        }
        LoopState::Overloaded { .. } => false,
    };
    (1..=PLAN_CORES_MAX)
        .filter_map(Cores::new)
        .find(|cores| fits(*cores))
        .map_or(Needed::TooMany, Needed::Count)
}

/// The line of pages for one of the loops.
fn line(load: &Load, cores: Cores) -> Option<Line> {
    Line::of_servers(load.rate.get() / cores.float(), load.work.seconds(), 1)
}

/// CPU time of a page on the event loop: measured on the project's reference page (`bench/site`,
/// one fetch, 1.5 KB of JSON, 3.7 KB of HTML) with `monoio`, where it is 53 µs at an API of 50 ms
/// and 1000 connections, and 68 µs at 500 ms and 4000. Yours differs: measure it.
pub const LOOP_WORK: Work = Work(Duration::from_micros(60));
/// Memory of a page in flight with its two connections, bytes: measured on the same page.
pub const PAGE_IN_FLIGHT_BYTES: u64 = 11 * 1024;
