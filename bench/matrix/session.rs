//! A session of measuring: who takes part, in which order, and what goes wrong on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::arena::{Arena, Manner, Server};
use crate::contender::Contender;
use crate::machine::first_line;
use crate::pages::Reference;
use crate::prepare::Tools;
use crate::record::{INTERRUPTED, Measured, Results, Run};
use crate::scenario::{Load, Point, Scenario};
use crate::{arena, measure};

/// All that a session holds.
pub(crate) struct Session {
    arena: Arena,
    reference: Reference,
    contenders: Vec<Contender>,
    results: Results,
    has_wrk: bool,
    interrupted: Arc<AtomicBool>,
}

impl Session {
    /// Starts the API and learns the right pages.
    ///
    /// # Errors
    /// When our own programs do not run.
    pub(crate) fn open(
        root: &Path,
        tools: Tools,
        contenders: Vec<Contender>,
        mut results: Results,
    ) -> Result<Self, String> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(|error| format!("signals: {error}"))?;
        }
        let load_cpu = core_affinity::CoreId { id: arena::LOAD_CPU };
        // It was looked at before; and where it fails, this thread merely takes time of CPU 0.
        core_affinity::set_for_current(load_cpu);
        let mut arena = Arena::open(root, tools)?;
        let reference = arena.reference()?;
        let has_wrk = results.machine.wrk != "unknown";
        if !has_wrk {
            let message =
                "wrk is missing, so A, B, C, E, F and H were not measured: apt-get install wrk";
            complain(&mut results, message);
        }
        Ok(Self { arena, reference, contenders, results, has_wrk, interrupted })
    }

    pub(crate) fn results(&self) -> &Results {
        &self.results
    }

    /// Starts everyone once; who does not start, or has another page than ours, is out.
    pub(crate) fn compare_pages(&mut self) {
        for contender in std::mem::take(&mut self.contenders) {
            if self.stopped() {
                return;
            }
            let server = match self.arena.start(&contender, "0,", Manner::default()) {
                Ok(server) => server,
                Err(why) => {
                    miss(&mut self.results, &contender.name, &why);
                    continue;
                }
            };
            match self.reference.check(&contender, server.port) {
                Ok(pages) => {
                    let version: Vec<&str> = contender.version.iter().map(String::as_str).collect();
                    let directory = self.arena.root.join(&contender.directory);
                    let version = first_line(&directory, &version);
                    println!("{:18} {pages} pages as ours; {version}", contender.name);
                    let (name, label) = (contender.name.clone(), contender.label.clone());
                    let measured = Measured { name, label, group: contender.group, version };
                    self.results.contenders.retain(|one| one.name != measured.name);
                    self.results.contenders.push(measured);
                    self.contenders.push(contender);
                }
                Err(why) => {
                    let message = format!("{} has other pages than ours: {why}", contender.name);
                    complain(&mut self.results, &message);
                }
            }
        }
    }

    /// Measures everyone at every point, round by round, and saves what there is after each.
    ///
    /// # Errors
    /// When the results cannot be saved, or the API has ended.
    pub(crate) fn measure(&mut self, scenarios: &[Scenario], folder: &Path) -> Result<(), String> {
        for scenario in scenarios {
            println!("\n{}: {}", scenario.letter, scenario.title);
            let mut servers = Servers::default();
            let mut collapsed = BTreeSet::new();
            for point in &scenario.points {
                if matches!(point.load, Load::Closed { .. }) && !self.has_wrk {
                    continue;
                }
                for round in 1..=point.rounds {
                    self.round(scenario, point, round, &mut servers, &mut collapsed)?;
                }
                self.results.save(folder)?;
                if self.stopped() {
                    let at = (scenario.letter, &point.name);
                    let message = format!("{INTERRUPTED} in scenario {} at {}", at.0, at.1);
                    complain(&mut self.results, &message);
                    return self.results.save(folder);
                }
            }
        }
        self.results.save(folder)
    }

    fn round(
        &mut self,
        scenario: &Scenario,
        point: &Point,
        round: u32,
        servers: &mut Servers,
        collapsed: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let takes_part = |one: &&Contender| point.has(one) && !collapsed.contains(&one.name);
        let turn: Vec<Contender> = self.contenders.iter().filter(takes_part).cloned().collect();
        for contender in turn {
            if self.stopped() {
                return Ok(());
            }
            let at = format!("{} at {}, {}", contender.name, scenario.letter, point.name);
            let server = match servers.of(&mut self.arena, &contender, point) {
                Ok(server) => server,
                Err(why) => {
                    complain(&mut self.results, &format!("{at}: {why}"));
                    continue;
                }
            };
            match measure::run(&self.arena, &self.reference, server, scenario, point, round) {
                Ok(run) => {
                    println!("{}", line(&run));
                    if let Some(words) = &run.crashed {
                        complain(&mut self.results, &format!("{at}, round {round}: {words}"));
                    }
                    if run.seen.wrong > 0 {
                        let message =
                            format!("{at}, round {round}: {} wrong pages", run.seen.wrong);
                        complain(&mut self.results, &message);
                    }
                    let unwell =
                        run.open.as_ref().is_some_and(|open| open.recovered == Some(false));
                    if unwell || run.crashed.is_some() || point.is_crowded() {
                        servers.end(&contender.name);
                    }
                    // Past its knee by far: higher rates would show the same, and take a minute.
                    if run.rate.is_some_and(|rate| run.connections == 0 && is_lost(&run, rate)) {
                        collapsed.insert(contender.name.clone());
                    }
                    if self.arena.api.is_full() {
                        let message =
                            format!("{at}, round {round}: the API had no descriptors left");
                        complain(&mut self.results, &message);
                    }
                    self.results.runs.push(run);
                }
                Err(why) => {
                    servers.end(&contender.name);
                    complain(&mut self.results, &format!("{at}, round {round}: {why}"));
                }
            }
        }
        // Without the API nothing more can be had.
        self.arena.api.answers().map(drop)
    }

    fn stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// Less than half of the pages came.
fn is_lost(run: &Run, rate: f64) -> bool {
    run.open.as_ref().is_some_and(|open| open.goodput < rate / 2.0)
}

/// The servers of a scenario, by name and workers; started when they are first needed.
#[derive(Default)]
struct Servers {
    running: BTreeMap<(String, String), Server>,
}

impl Servers {
    fn of<'s>(
        &'s mut self,
        arena: &mut Arena,
        contender: &Contender,
        point: &Point,
    ) -> Result<&'s mut Server, String> {
        let workers = point.workers;
        let key = (contender.name.clone(), workers.to_owned());
        if !self.running.contains_key(&key) {
            let manner = Manner { memo: point.hot, sheds: point.sheds };
            let server = arena.start(contender, workers, manner)?;
            self.running.insert(key.clone(), server);
        }
        self.running.get_mut(&key).ok_or_else(|| "does not run".to_owned())
    }

    fn end(&mut self, name: &str) {
        self.running.retain(|(running, _), _| running != name);
    }
}

/// Notes who cannot take part, and says so.
pub(crate) fn miss(results: &mut Results, name: &str, why: &str) {
    eprintln!("! {name} is missing: {why}");
    results.missing.insert(name.to_owned(), why.to_owned());
}

/// Notes what makes the results partial, and says so.
fn complain(results: &mut Results, message: &str) {
    eprintln!("! {message}");
    results.partial.push(message.to_owned());
}

/// A run, for who watches.
fn line(run: &Run) -> String {
    let cpu = run.cpu_us.map_or("      -".to_owned(), |us| format!("{us:7.1}"));
    let (p50, p99) = run.latency_ms.map_or((0.0, 0.0), |latency| (latency.p50, latency.p99));
    let failures: Vec<String> =
        run.failures.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let rest = format!("{} {}", failures.join(", "), if run.seen.wrong > 0 { "WRONG" } else { "" });
    format!(
        "{} {:24} {:18} {} µs a page {:8.0}/s  p50 {p50:8.2}  p99 {p99:8.2} ms {:5} MiB  {rest}",
        run.scenario,
        run.point,
        run.contender,
        cpu,
        run.pages_per_s,
        run.memory_bytes >> 20,
    )
    .trim_end()
    .to_owned()
}
