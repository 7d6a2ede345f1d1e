//! An open-loop load: requests at times that do not depend on the answers, as visitors come.
//!
//! Arrivals are a Poisson process with a fixed seed, so that every server meets the same visitors.
//! Latency counts from the moment a request was due, not from the moment it was sent: a server
//! that stalls cannot hide the requests that waited meanwhile. How late the sending itself was is
//! reported next to it (`lag`); where that is not small, it is this program that was too slow.
//!
//! A visitor takes the connection that was used last, or opens one, and gives up after
//! `--patience-ms`. Each ends in one way and is counted once: as a page, as shed (503), or as a
//! failure by its name. With `--hold` so many connections are opened first and used in turn.
//! `--steps 100x5,1000x10,100x5` is a load whose rate changes, and tells how it went over time.
//! What happens is told on stdout, a JSON object a line: `opened`, `started`, `ended`, and the
//! result.
//!
//! `cargo run --release --example pace -- --target 127.0.0.1:8080 --rate 500 --seconds 10`

mod connection;
mod course;
mod load;
mod schedule;
mod tally;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use course::{Course, WAIT_MAX};
use load::Load;
use schedule::{Schedule, Step};
use tally::Tally;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    target: SocketAddr,
    /// Before the number that differs from request to request
    #[arg(long, default_value = "/users/")]
    path: String,
    /// The server always sends the page of this number (the floor does)
    #[arg(long)]
    fixed: Option<u64>,
    /// Arrivals a second, on average
    #[arg(long, required_unless_present = "steps", conflicts_with = "steps")]
    rate: Option<f64>,
    #[arg(long, default_value_t = 5.0, conflicts_with = "steps")]
    seconds: f64,
    /// Seconds of that load before it, while connections are opened, which are not counted
    #[arg(long, default_value_t = 0.0, conflicts_with = "steps")]
    warm: f64,
    /// Arrivals a second and seconds, as in 100x5,1000x10, and how the load went over time
    #[arg(long, value_delimiter = ',', value_parser = step)]
    steps: Vec<Step>,
    /// When a visitor gives up, milliseconds after the request was due
    #[arg(long, default_value_t = 5000)]
    patience_ms: u64,
    /// A visitor who finds so many connections in use is turned away, and counted
    #[arg(long, default_value_t = 15_000)]
    connections_max: usize,
    /// Open so many connections first, and use them in turn
    #[arg(long, default_value_t = 0)]
    hold: usize,
    /// Each visitor comes on a connection of their own, and closes it when the answer is there
    #[arg(long, conflicts_with = "hold")]
    once: bool,
    /// After the load, ask 20 times a second until five answers in a row come within this time
    #[arg(long)]
    recovered_ms: Option<u64>,
    #[arg(long)]
    cpu: Option<usize>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let steps = steps(&arguments)?;
    if let Some(cpu) = arguments.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
    {
        return Err(format!("this process may not run on CPU {cpu}").into());
    }
    let mut load = Load::new(&arguments)?;
    if arguments.hold > 0 {
        load.open(arguments.hold)?;
        tell("opened")?;
    }
    tell("started")?;
    let course = (!arguments.steps.is_empty()).then(|| Course::new(load.now(), &steps));
    let warm = Duration::from_secs_f64(arguments.warm);
    let mut tally = Tally::new(load.now() + warm, course);
    load.run(Schedule::poisson(&steps, arguments.seed), &mut tally)?;
    tell("ended")?;
    // Those who are still waiting and those who come later do not delay one another.
    let recovery = match arguments.recovered_ms {
        Some(ms) => Some(load.recovery(Duration::from_millis(ms), &mut tally)?),
        None => None,
    };
    load.finish(&mut tally)?;
    let (all, counted) = (seconds(&steps), seconds(&steps) - arguments.warm);
    let result = tally.result(arrivals(&steps) / all, counted, recovery)?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &result)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// The load that is asked for, within bounds.
fn steps(arguments: &Arguments) -> Result<Vec<Step>, String> {
    let period = period("seconds", arguments.seconds)? + period("warm", arguments.warm)?;
    let steady = arguments.rate.map(|rate| Step { rate, period });
    let steps: Vec<Step> = steady.into_iter().chain(arguments.steps.iter().copied()).collect();
    if !steps.iter().all(|step| step.rate > 0.0 && step.rate <= RATE_MAX) {
        return Err(format!("a rate is a number above 0, up to {RATE_MAX}"));
    }
    let seconds = seconds(&steps);
    if !(arguments.seconds > 0.0 && seconds > 0.0 && seconds <= SECONDS_MAX) {
        return Err(format!("a load takes a time above 0, up to {SECONDS_MAX} seconds"));
    }
    if arrivals(&steps) > ARRIVALS_MAX {
        return Err(format!("a load has up to {ARRIVALS_MAX} arrivals"));
    }
    if Duration::from_millis(arguments.patience_ms) > WAIT_MAX {
        return Err(format!("a patience is up to {WAIT_MAX:?}"));
    }
    Ok(steps)
}

fn period(option: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("--{option}: {error}"))
}

fn seconds(steps: &[Step]) -> f64 {
    steps.iter().map(|step| step.period.as_secs_f64()).sum()
}

/// How many there will be, on average.
fn arrivals(steps: &[Step]) -> f64 {
    steps.iter().map(|step| step.rate * step.period.as_secs_f64()).sum()
}

/// One step, as in `100x5`.
fn step(text: &str) -> Result<Step, String> {
    let parsed = text.split_once('x').and_then(|(rate, secs)| {
        let period = Duration::try_from_secs_f64(secs.parse().ok()?).ok()?;
        Some(Step { rate: rate.parse().ok()?, period })
    });
    parsed.ok_or_else(|| "write arrivals a second and seconds, as in 100x5".to_owned())
}

fn tell(event: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, r#"{{"event":"{event}"}}"#)?;
    out.flush()
}

/// Above this the schedule's own steps, a microsecond, are too coarse.
const RATE_MAX: f64 = 200_000.0;
/// Times of a load are kept in microseconds, 32 bits of them.
const SECONDS_MAX: f64 = 300.0;
/// Keeps the list of latencies within memory.
const ARRIVALS_MAX: f64 = 20_000_000.0;
