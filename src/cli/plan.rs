//! `ringpress plan`: what a load needs, of blocking workers and of event loops. The model is
//! [`crate::capacity`]; here are the questions put to it and the words around its answers.

mod json;
mod text;
mod words;

use std::time::Duration;

use clap::Args;

use crate::capacity::{
    Blocking, Cores, Delay, EventLoop, LOOP_WORK, Load, Needed, Rate, WORKER_BYTES, Work, Workers,
    blocking, blocking_needed, event_loop, event_loops_needed, upstream_max,
};
use crate::config;
use crate::control::machine;

use super::{Exit, options, say};

/// `ringpress plan`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Pages asked for, a second
    #[arg(long, value_name = "PAGES/S", allow_hyphen_values = true)]
    rate: Rate,
    /// How long the API takes for a page, as in 50ms or 2s
    #[arg(long, value_name = "TIME", value_parser = delay, allow_hyphen_values = true)]
    upstream: Delay,
    /// CPU time of a page in a blocking worker, as in 3ms or 800us
    #[arg(long, value_name = "TIME", value_parser = work, allow_hyphen_values = true)]
    work: Work,
    /// Blocking workers that you have: processes times threads
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    workers: Option<Workers>,
    /// CPU cores for them; all that this process may use if left out. 1 for threads of one Python
    /// process
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cores: Option<Cores>,
    /// What 99 of 100 pages may wait for a worker and a core, at most
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = delay,
          allow_hyphen_values = true)]
    wait: Delay,
    /// Memory of a blocking worker, as in 60MiB; assumed if left out
    #[arg(long, value_name = "SIZE", value_parser = options::size, allow_hyphen_values = true)]
    worker_memory: Option<u64>,
    /// CPU time of a page in ringpress; as measured on its reference page if left out
    #[arg(long, value_name = "TIME", value_parser = work, allow_hyphen_values = true)]
    loop_work: Option<Work>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let plan = Plan::of(arguments);
    if arguments.json {
        say(json::show(&plan));
    } else {
        say(text::show(&plan));
    }
    Exit::Fine
}

fn delay(text: &str) -> Result<Delay, String> {
    let delay = options::duration(text)?;
    Delay::new(delay).ok_or_else(|| "write a time of an hour at most".into())
}

fn work(text: &str) -> Result<Work, String> {
    let work = options::duration(text)?;
    Work::new(work).ok_or_else(|| "write a time over nothing, of an hour at most".into())
}

/// What was asked, and all answers.
struct Plan {
    machine: Machine,
    /// A worker's memory, bytes, and whether it was said or is assumed.
    worker_bytes: u64,
    worker_bytes_assumed: bool,
    loop_work_assumed: bool,
    here: Answers,
    /// The slowest API that the workers could bear, if there are workers, and any.
    upstream_max: Option<Duration>,
    /// At the same rate, with the API at multiples of its delay.
    slower: Vec<Answers>,
    /// With the same API, at multiples of the rate.
    more: Vec<Answers>,
}

/// What a load has to do with, whatever the load is.
struct Machine {
    workers: Option<Workers>,
    cores: Cores,
    wait_max: Duration,
    loop_work: Work,
}

/// What one load comes to.
struct Answers {
    load: Load,
    /// Workers that keep up.
    to_keep_up: Needed<Workers>,
    /// Workers with which the wait is within its bound.
    for_wait: Needed<Workers>,
    /// What those make of it that there are.
    workers: Option<Blocking>,
    /// Event loops with which the wait is within the same bound.
    loops: Needed<Cores>,
    /// What one on each of the cores makes of it.
    event_loop: EventLoop,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let machine = Machine {
            workers: arguments.workers,
            cores: arguments.cores.unwrap_or_else(own_cores),
            wait_max: arguments.wait.get(),
            loop_work: arguments.loop_work.unwrap_or(LOOP_WORK),
        };
        let load =
            Load { rate: arguments.rate, upstream: arguments.upstream, work: arguments.work };
        let slower = delays(load.upstream).map(|upstream| Load { upstream, ..load });
        let more = rates(load.rate).map(|rate| Load { rate, ..load });
        Self {
            here: machine.answers(load),
            upstream_max: machine
                .workers
                .and_then(|workers| upstream_max(&load, workers, machine.cores)),
            slower: slower.map(|load| machine.answers(load)).collect(),
            more: more.map(|load| machine.answers(load)).collect(),
            worker_bytes: arguments.worker_memory.unwrap_or(WORKER_BYTES),
            worker_bytes_assumed: arguments.worker_memory.is_none(),
            loop_work_assumed: arguments.loop_work.is_none(),
            machine,
        }
    }
}

impl Machine {
    fn answers(&self, load: Load) -> Answers {
        let on_loop = Load { work: self.loop_work, ..load };
        Answers {
            load,
            to_keep_up: blocking_needed(&load, self.cores, None),
            for_wait: blocking_needed(&load, self.cores, Some(self.wait_max)),
            workers: self.workers.map(|workers| blocking(&load, workers, self.cores)),
            loops: event_loops_needed(&on_loop, self.wait_max),
            event_loop: event_loop(&on_loop, self.cores),
        }
    }
}

/// The cores that this process may use.
fn own_cores() -> Cores {
    let cores = machine::cpus(&config::Workers::All).map_or(1, |cpus| cpus.len());
    u32::try_from(cores).ok().and_then(Cores::new).unwrap_or(Cores::MOST)
}

/// An API's delay and some longer ones.
fn delays(upstream: Delay) -> impl Iterator<Item = Delay> {
    // Nothing times ten is nothing: then some usual delays.
    let step = if upstream.get().is_zero() { USUAL_DELAY } else { upstream.get() };
    let longer = DELAY_TIMES.iter().filter_map(move |times| step.checked_mul(*times));
    std::iter::once(upstream)
        .chain(longer.filter(move |longer| *longer > upstream.get()).filter_map(Delay::new))
}

/// A rate, a lower one and some higher ones.
fn rates(rate: Rate) -> impl Iterator<Item = Rate> {
    RATE_TIMES.iter().filter_map(move |times| Rate::per_second(rate.get() * times))
}

const DELAY_TIMES: [u32; 4] = [1, 2, 5, 10];
const RATE_TIMES: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];
const USUAL_DELAY: Duration = Duration::from_millis(10);
