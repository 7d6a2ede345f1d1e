//! One run: a load on a server, and a window of it that is looked at.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::arena::{Arena, Generator, Server, failures};
use crate::pages::Reference;
use crate::record::{Open, Quantiles, Run};
use crate::scenario::{Load, Point, Scenario};

/// Measures one contender at one point, once.
///
/// # Errors
/// When there is no figure: the generator failed, or the API.
pub(crate) fn run(
    arena: &Arena,
    reference: &Reference,
    server: &mut Server,
    scenario: &Scenario,
    point: &Point,
    round: u32,
) -> Result<Run, String> {
    arena.api.delay(point.delay_ms)?;
    let watch = reference.watch(&server.contender, server.port, point.page);
    let outcome = match point.load {
        Load::Closed { connections } => closed(arena, server, point, connections),
        Load::Open { rate, hold } => open(arena, server, point, rate, hold),
    };
    let seen = watch.end();
    let (edges, outcome) = outcome?;
    let (connections, rate) = match point.load {
        Load::Closed { connections } => (connections, None),
        Load::Open { rate, hold } => (hold, Some(rate)),
    };
    let secs = edges.time.as_secs_f64();
    // A hot page may be served without asking the API: there the generator's count is right, and
    // with an API that answers at once nothing is under way at the end.
    let pages = if point.hot {
        (outcome.pages_per_s * secs).round() as u64
    } else {
        edges.answers / point.page.fetches()
    };
    let cpu_us = edges.cpu.as_secs_f64() * 1e6 / pages as f64;
    Ok(Run {
        scenario: scenario.letter,
        point: point.name.clone(),
        contender: server.contender.name.clone(),
        round,
        delay_ms: point.delay_ms,
        connections,
        rate,
        window_secs: secs,
        pages,
        pages_per_s: pages as f64 / secs,
        cpu_us: (pages >= PAGES_MIN && edges.cpu >= CPU_MIN).then_some(cpu_us),
        latency_ms: outcome.latency_ms,
        memory_bytes: edges.memory_bytes,
        memory_start_bytes: server.start_bytes,
        failures: outcome.failures,
        seen,
        open: outcome.open,
        crashed: server.alive().err(),
    })
}

/// What a generator says of its load.
struct Outcome {
    pages_per_s: f64,
    latency_ms: Option<Quantiles>,
    failures: BTreeMap<String, u64>,
    open: Option<Open>,
}

/// What passed between the two ends of a window.
struct Edges {
    time: Duration,
    cpu: Duration,
    answers: u64,
    memory_bytes: u64,
}

/// The start of a window.
struct Edge {
    at: Instant,
    cpu: Duration,
    answers: u64,
}

impl Edge {
    fn start(arena: &Arena, server: &Server) -> Result<Self, String> {
        let answers = arena.api.answers()?;
        Ok(Self { at: Instant::now(), cpu: server.program.cpu(), answers })
    }

    fn end(self, arena: &Arena, server: &Server) -> Result<Edges, String> {
        let answers = arena.api.answers()?;
        let (time, cpu) = (self.at.elapsed(), server.program.cpu());
        Ok(Edges {
            time,
            cpu: cpu.saturating_sub(self.cpu),
            answers: answers.saturating_sub(self.answers),
            memory_bytes: server.program.usage().memory_bytes,
        })
    }
}

fn closed(
    arena: &Arena,
    server: &Server,
    point: &Point,
    connections: usize,
) -> Result<(Edges, Outcome), String> {
    let path = point.page.path();
    let script = arena.root.join("bench/load.lua").to_string_lossy().into_owned();
    let mut arguments = ["-t1", "--timeout", "10s", "-d", "60s"].map(str::to_owned).to_vec();
    arguments.extend([format!("-c{connections}"), "-s".to_owned(), script]);
    arguments.extend([format!("http://127.0.0.1:{}", server.port), "--".to_owned()]);
    arguments.push(if point.hot { format!("{path}42") } else { path.to_owned() });
    arguments.extend(point.hot.then(|| "hot".to_owned()));
    let wrk = Generator::start(Path::new("wrk"), &arguments)?;
    thread::sleep(point.warm);
    let start = Edge::start(arena, server)?;
    thread::sleep(point.window);
    let edges = start.end(arena, server)?;
    wrk.interrupt();
    let said: Wrk = wrk.result()?;
    let failed = [
        ("not connected", said.connect),
        ("connection broke", said.read + said.write),
        ("error status", said.status),
        ("timed out", said.timeout),
    ];
    let latency_ms = (said.requests > 0).then_some(said.latency);
    let pages_per_s = said.requests.saturating_sub(said.status) as f64 / said.seconds;
    let outcome = Outcome { pages_per_s, latency_ms, failures: failures(&failed), open: None };
    Ok((edges, outcome))
}

/// What bench/load.lua prints.
#[derive(Deserialize)]
struct Wrk {
    requests: u64,
    seconds: f64,
    #[serde(flatten)]
    latency: Quantiles,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
}

fn open(
    arena: &Arena,
    server: &Server,
    point: &Point,
    rate: f64,
    hold: usize,
) -> Result<(Edges, Outcome), String> {
    let secs = point.window.as_secs_f64();
    let mut arguments = vec![
        format!("--target=127.0.0.1:{}", server.port),
        format!("--path={}", point.page.path()),
        format!("--rate={rate}"),
        // A slow rate needs time for a p99 worth its name.
        format!("--seconds={}", if rate < 100.0 { secs * 2.0 } else { secs }),
        format!("--warm={}", point.warm.as_secs_f64()),
        format!("--hold={hold}"),
    ];
    if server.contender.fixed {
        arguments.push("--fixed=42".to_owned());
    }
    // How soon it is itself again is the question of overload.
    if hold == 0 && point.delay_ms <= RECOVERED_MS {
        arguments.push(format!("--recovered-ms={}", point.delay_ms + RECOVERED_MS));
    }
    let mut pace = Generator::start(&arena.tools.pace, &arguments)?;
    while !pace.line()?.contains("started") {}
    thread::sleep(point.warm);
    let start = Edge::start(arena, server)?;
    while !pace.line()?.contains("ended") {}
    let edges = start.end(arena, server)?;
    let said: Pace = pace.result()?;
    let outcome = Outcome {
        pages_per_s: said.open.goodput,
        latency_ms: said.page_ms,
        failures: said.failures,
        open: Some(said.open),
    };
    Ok((edges, outcome))
}

/// What bench/pace prints.
#[derive(Deserialize)]
struct Pace {
    page_ms: Option<Quantiles>,
    failures: BTreeMap<String, u64>,
    #[serde(flatten)]
    open: Open,
}

/// Fewer are no base for a figure.
const PAGES_MIN: u64 = 20;
/// The kernel counts in steps of 10 ms.
const CPU_MIN: Duration = Duration::from_millis(50);
/// A server is itself again when pages come within this, over the API's own time.
const RECOVERED_MS: u64 = 50;
