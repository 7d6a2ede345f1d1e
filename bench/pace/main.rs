//! An open-loop load: requests at times that do not depend on the answers, as visitors come.
//!
//! Arrivals are a Poisson process with a fixed seed, so that every server meets the same visitors.
//! Latency counts from the moment a request was due, not from the moment it was sent: a server
//! that stalls cannot hide the requests that waited meanwhile. How late the sending itself was is
//! reported next to it (`lag`); where that is not small, it is this program that was too slow.
//!
//! A visitor takes the connection that was used last, or opens one, and gives up after
//! `--patience-ms`. With `--hold` so many connections are opened first and used in turn. What
//! happens is told on stdout, a JSON object a line: `opened`, `started`, `ended`, and the result.
//!
//! `cargo run --release --example pace -- --target 127.0.0.1:8080 --rate 500 --seconds 10`

mod connection;
mod load;
mod schedule;
mod tally;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use load::Load;
use schedule::Schedule;
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
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// When a visitor gives up, milliseconds after the request was due
    #[arg(long, default_value_t = 5000)]
    patience_ms: u64,
    /// A visitor who finds so many connections in use is turned away, and counted
    #[arg(long, default_value_t = 15_000)]
    connections_max: usize,
    /// Open so many connections first, and use them in turn
    #[arg(long, default_value_t = 0)]
    hold: usize,
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
    if !(arguments.rate > 0.0 && arguments.rate <= RATE_MAX) {
        return Err(format!("--rate is a number above 0, up to {RATE_MAX}").into());
    }
    if !(arguments.seconds > 0.0 && arguments.seconds <= SECONDS_MAX) {
        return Err(format!("--seconds is a number above 0, up to {SECONDS_MAX}").into());
    }
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
    let period = Duration::from_secs_f64(arguments.seconds);
    tell("started")?;
    let mut tally = Tally::default();
    load.run(Schedule::poisson(arguments.rate, period, arguments.seed), &mut tally)?;
    tell("ended")?;
    // Those who are still waiting and those who come later do not delay one another.
    let recovery = match arguments.recovered_ms {
        Some(ms) => Some(load.recovery(Duration::from_millis(ms), &mut tally)?),
        None => None,
    };
    load.finish(&mut tally)?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &tally.result(arguments.rate, arguments.seconds, recovery))?;
    out.write_all(b"\n")?;
    Ok(())
}

fn tell(event: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, r#"{{"event":"{event}"}}"#)?;
    out.flush()
}

/// Above this the schedule's own steps, a microsecond, are too coarse.
const RATE_MAX: f64 = 200_000.0;
/// Keeps the list of latencies within memory.
const SECONDS_MAX: f64 = 300.0;
