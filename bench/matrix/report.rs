//! The report that people read: `README.md` of a folder of results.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use crate::contender::{DRIVERS, Group};
use crate::record::{Measured, Results, Run, Spread};
use crate::scenario::TITLES;
use crate::{aims, forecast};

/// Writes the report next to `raw.json`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<(), String> {
    for (name, text) in [("README.md", text(results)), ("summary.md", summary(results))] {
        let path = folder.join(name);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        fs::write(&path, text).map_err(failed)?;
    }
    Ok(())
}

/// The table of the project's README.
pub(crate) fn summary(results: &Results) -> String {
    let mut out = String::new();
    let machine = &results.machine;
    line(
        &mut out,
        "| contender | CPU µs a page, API at once | API at 50 ms, 1000 connections | keeps up to \
         | memory at 4000 waiting pages |",
    );
    line(&mut out, "|---|---:|---:|---:|---:|");
    let cpu = |letter, point, name: &str| results.middle(letter, point, name, |run| run.cpu_us);
    let mut rows: Vec<&Measured> = results.contenders.iter().collect();
    rows.sort_by(|a, b| {
        let of = |one: &Measured| cpu('A', FEW, &one.name).map_or(f64::INFINITY, |cpu| cpu.median);
        of(a).total_cmp(&of(b))
    });
    for one in rows {
        let memory = |run: &Run| Some(run.memory_bytes as f64 / (1 << 20) as f64);
        let memory = results.middle('C', "4000 connections", &one.name, memory);
        let cells = [
            name(one),
            cpu('A', FEW, &one.name).map_or("-".to_owned(), with_spread),
            cpu('B', "1000 connections", &one.name).map_or("-".to_owned(), with_spread),
            keeps_up_to(results, &one.name),
            memory.map_or("-".to_owned(), |memory| format!("{:.0} MiB", memory.median)),
        ];
        line(&mut out, &format!("| {} |", cells.join(" | ")));
    }
    line(
        &mut out,
        &format!(
            "\n{}; {}, {}, commit {}. Medians of the rounds, taking turns (lowest to highest).",
            machine.date, machine.cpu, machine.kernel, machine.commit
        ),
    );
    out
}

pub(crate) fn text(results: &Results) -> String {
    let mut out = String::new();
    head(results, &mut out);
    for (letter, title) in TITLES {
        let points = results.points(letter);
        if points.is_empty() {
            continue;
        }
        line(&mut out, &format!("\n## {letter}: {title}\n"));
        match letter {
            'D' => arrivals(results, &points, &mut out),
            _ => points.iter().for_each(|point| closed(results, letter, point, &mut out)),
        }
    }
    drivers(results, &mut out);
    line(&mut out, "\n## Aims\n");
    aims::table(results).iter().for_each(|row| line(&mut out, row));
    line(&mut out, "\n## What `ringpress plan` says of it\n");
    forecast::lines(results).iter().for_each(|row| line(&mut out, row));
    line(&mut out, "\n## Versions\n");
    for one in &results.contenders {
        line(&mut out, &format!("- `{}`: {}; {}", one.name, one.label, one.version));
    }
    out
}

fn head(results: &Results, out: &mut String) {
    let machine = &results.machine;
    line(out, &format!("# Measured on {}\n", machine.date));
    if results.short {
        line(out, "**A short run: it shows that everything works. Its figures mean nothing.**\n");
    }
    line(
        out,
        &format!(
            "{} CPUs ({}), {} GiB, {}, {}, {}, commit {}; at most {} open files a process. The \
             server has CPU 0 to itself, the API and the load share CPU 1. `cargo bench --bench \
             matrix{}{}`\n",
            machine.cpus,
            machine.cpu,
            machine.memory_gib,
            machine.kernel,
            machine.rustc,
            machine.wrk.split(" [").next().unwrap_or_default(),
            machine.commit,
            machine.files_max,
            if results.command.is_empty() { "" } else { " -- " },
            results.command,
        ),
    );
    for (name, why) in &results.missing {
        line(out, &format!("Missing: `{name}`: {why}\n"));
    }
    if !results.partial.is_empty() {
        line(out, "**Partial.** What went wrong:\n");
        results.partial.iter().for_each(|said| line(out, &format!("- {said}")));
        line(out, "");
    }
    line(
        out,
        "CPU time is user and system time of all threads of the server a page, in µs: the median \
         of the rounds (lowest to highest). Contenders took turns, round by round; ratios are \
         medians of the ratios of each round. Figures of different days do not compare.\n",
    );
    for (plot, what) in PLOTS {
        line(out, &format!("![{what}]({plot}.svg)\n"));
    }
}

/// A point of a scenario: a row for each contender, the cheapest first.
fn closed(results: &Results, letter: char, point: &str, out: &mut String) {
    let cpu = |name: &str| results.middle(letter, point, name, |run| run.cpu_us);
    let taking_part = results
        .contenders
        .iter()
        .filter(|one| results.of(letter, point, &one.name).next().is_some());
    let mut rows: Vec<&Measured> = taking_part.collect();
    rows.sort_by(|a, b| {
        let of = |one: &Measured| cpu(&one.name).map_or(f64::INFINITY, |cpu| cpu.median);
        of(a).total_cmp(&of(b))
    });
    let rounds = results.runs.iter().filter(|run| run.scenario == letter && run.point == point);
    let rounds = rounds.map(|run| run.round).max().unwrap_or(0);
    line(out, &format!("\n**{point}**, rounds: {rounds}\n"));
    line(
        out,
        "| contender | CPU µs a page | ÷ floor | ÷ ours | pages/s | p50 ms | p99 ms | memory MiB \
         | errors |",
    );
    line(out, "|---|---:|---:|---:|---:|---:|---:|---:|---|");
    for one in rows {
        let of = |figure: fn(&Run) -> Option<f64>| {
            results.middle(letter, point, &one.name, figure).map(|spread| spread.median)
        };
        let ratio =
            |base: &str| results.ratio(letter, point, &one.name, base).map(|ratio| ratio.median);
        let cells = [
            name(one),
            cpu(&one.name).map_or("-".to_owned(), with_spread),
            number(ratio("floor"), 2),
            number(ratio("monoio"), 2),
            number(of(|run| Some(run.pages_per_s)), 0),
            number(of(|run| run.latency_ms.map(|ms| ms.p50)), 1),
            number(of(|run| run.latency_ms.map(|ms| ms.p99)), 1),
            number(of(|run| Some(run.memory_bytes as f64 / (1 << 20) as f64)), 0),
            failures(results.of(letter, point, &one.name)),
        ];
        line(out, &format!("| {} |", cells.join(" | ")));
    }
}

/// Scenario D: a row for each contender, a column for each rate.
fn arrivals(results: &Results, points: &[&str], out: &mut String) {
    line(
        out,
        "Each cell: p50 / p99 in ms of the pages that were served, counted from the moment the \
         request was due, and the share that was served in time where it is below 99.5 %. `-`: not \
         tried, as half of a lower rate was already lost.\n",
    );
    line(out, &format!("| contender | {} | keeps up to |", points.join(" | ")));
    line(out, &format!("|---|{}---:|", "---:|".repeat(points.len())));
    for one in &results.contenders {
        if !points.iter().any(|point| results.of('D', point, &one.name).next().is_some()) {
            continue;
        }
        let cells: Vec<String> = points
            .iter()
            .map(|point| {
                let of = |figure: &dyn Fn(&Run) -> Option<f64>| {
                    results.middle('D', point, &one.name, figure).map(|spread| spread.median)
                };
                let Some(share) = of(&served) else { return "-".to_owned() };
                let p50 = number(of(&|run| run.latency_ms.map(|ms| ms.p50)), 0);
                let p99 = number(of(&|run| run.latency_ms.map(|ms| ms.p99)), 0);
                let lost = if share < 0.995 {
                    format!(" ({:.0} %)", share * 100.0)
                } else {
                    String::new()
                };
                format!("{p50} / {p99}{lost}")
            })
            .collect();
        let knee = keeps_up_to(results, &one.name);
        line(out, &format!("| {} | {} | {knee} |", name(one), cells.join(" | ")));
    }
    line(out, "\nWhat was not served, at the highest rate that was tried:\n");
    for one in &results.contenders {
        let last = points.iter().rev().find_map(|point| results.of('D', point, &one.name).next());
        let Some((run, open)) = last.and_then(|run| Some((run, run.open.as_ref()?))) else {
            continue;
        };
        let mut said: Vec<String> =
            run.failures.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if open.shed > 0 {
            let p99 = number(open.shed_ms.map(|ms| ms.p99), 1);
            said.push(format!("{} turned away with 503 (p99 {p99} ms)", open.shed));
        }
        let recovery = match (open.recovered, open.recovery_ms) {
            (Some(true), Some(ms)) => format!("itself again {:.1} s after the load", ms / 1e3),
            (Some(false), _) => "not itself again within 10 s".to_owned(),
            _ => String::new(),
        };
        let said = if said.is_empty() { "nothing".to_owned() } else { said.join(", ") };
        line(out, &format!("- {} at {}: {said}; {recovery}", name(one), run.point));
    }
    lateness(results, out);
}

/// Whether the load kept its schedule, and where it did not.
fn lateness(results: &Results, out: &mut String) {
    let lag = |run: &Run| Some(run.open.as_ref()?.lag_ms?.p99);
    let runs = results.runs.iter().filter(|run| run.scenario == 'D');
    let asked = runs.clone().filter(|run| run.rate.is_some_and(|rate| rate <= KEPT_RATE));
    let well = asked.filter(|run| served(run).is_some_and(|share| share >= 0.995));
    if let Some(worst) = well.filter_map(lag).max_by(f64::total_cmp) {
        line(
            out,
            &format!(
                "\nThe load's own lateness: up to {KEPT_RATE}/s, where the server kept up, 99 of \
                 100 requests left within {worst:.1} ms of when they were due, in the worst run."
            ),
        );
    }
    let late = runs.filter_map(|run| Some((run, lag(run)?))).filter(|(_, ms)| *ms > LATE_MS);
    let late: Vec<String> =
        late.map(|(run, ms)| format!("{} at {} ({ms:.0} ms)", run.contender, run.point)).collect();
    if !late.is_empty() {
        let late = late.join(", ");
        line(
            out,
            &format!(
                "Its p99 was over {LATE_MS} ms, so that what came was less even than what was \
                 due (latency counts from when it was due all the same): {late}."
            ),
        );
    }
}

/// The share of arrivals that got their page before the visitor gave up.
pub(crate) fn served(run: &Run) -> Option<f64> {
    let open = run.open.as_ref()?;
    let lost: u64 = open.shed + run.failures.values().sum::<u64>();
    let all = open.pages + lost;
    (all > 0).then(|| open.pages as f64 / all as f64)
}

/// The highest rate that a contender keeps up with, in words.
fn keeps_up_to(results: &Results, name: &str) -> String {
    let is_its = |run: &&Run| run.scenario == 'D' && run.contender == name;
    match (results.runs.iter().find(is_its), knee(results, name)) {
        (None, _) => "-".to_owned(),
        (_, None) => "less than 20/s".to_owned(),
        (_, Some(rate)) => format!("{rate}/s"),
    }
}

/// The highest rate up to which all pages are served without a queue to speak of.
pub(crate) fn knee(results: &Results, name: &str) -> Option<f64> {
    let mut knee = None;
    for point in results.points('D') {
        let run = results.of('D', point, name).next()?;
        let p99 = run.latency_ms.map_or(f64::INFINITY, |ms| ms.p99);
        if served(run)? < 0.995 || p99 > run.delay_ms as f64 + QUEUE_MS_MAX {
            break;
        }
        knee = run.rate;
    }
    knee
}

/// The drivers against each other, over all scenarios.
fn drivers(results: &Results, out: &mut String) {
    line(out, "\n## The drivers side by side\n");
    line(
        out,
        "The same server code, a build of its own for each driver. CPU µs a page, and how \
         many times that of monoio on io_uring epoll takes: compared round by round, median \
         (lowest to highest).\n",
    );
    // Those that this run has measured.
    let is_measured = |name: &&str| results.runs.iter().any(|run| run.contender == *name);
    let names: Vec<&str> = DRIVERS.map(|(name, _)| name).into_iter().filter(is_measured).collect();
    line(out, &format!("| scenario | {} | epoll ÷ monoio |", names.join(" | ")));
    line(out, &format!("|---|{}---:|", "---:|".repeat(names.len())));
    for (letter, _) in TITLES {
        for point in results.points(letter) {
            let cpu = |name| results.middle(letter, point, name, |run: &Run| run.cpu_us);
            let cells = names.iter().map(|name| cpu(name).map_or("-".to_owned(), with_spread));
            let cells: Vec<String> = cells.collect();
            let verdict = match results.ratio(letter, point, "epoll", "monoio") {
                None => "-".to_owned(),
                Some(ratio) if ratio.low == ratio.high => {
                    format!("{:.2} (one round)", ratio.median)
                }
                Some(ratio) => {
                    let Spread { median, low, high } = ratio;
                    let said = if ratio.is_undecided() { ": no difference shown" } else { "" };
                    format!("{median:.2} ({low:.2}-{high:.2}){said}")
                }
            };
            line(out, &format!("| {letter}, {point} | {} | {verdict} |", cells.join(" | ")));
        }
    }
}

fn name(one: &Measured) -> String {
    if one.group == Group::Ringpress { format!("**{}**", one.label) } else { one.label.clone() }
}

fn failures<'a>(runs: impl Iterator<Item = &'a Run>) -> String {
    let mut all = std::collections::BTreeMap::new();
    let mut rounds = 0;
    for run in runs {
        rounds += u32::from(!run.failures.is_empty());
        for (name, count) in &run.failures {
            *all.entry(name.clone()).or_insert(0) += count;
        }
    }
    let said: Vec<String> = all.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if said.is_empty() { String::new() } else { format!("{} ({rounds} rounds)", said.join(", ")) }
}

fn with_spread(spread: Spread) -> String {
    let digits = usize::from(spread.median < 100.0);
    let Spread { median, low, high } = spread;
    if low == high {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({low:.digits$}-{high:.digits$})")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

fn line(out: &mut String, text: &str) {
    // Writing into a String does not fail.
    let _ = writeln!(out, "{text}");
}

/// What bench/plots.py draws.
const PLOTS: [(&str, &str); 4] = [
    ("cpu", "CPU time a page, by contender"),
    ("arrivals", "Latency against arrivals a second"),
    ("memory", "Memory against pages in flight"),
    ("drivers", "The drivers side by side"),
];
/// The point of scenario A.
const FEW: &str = "64 connections";
/// The rate that the load must hold on the CPU that it shares with the API.
const KEPT_RATE: f64 = 8000.0;
/// Later than this is late.
const LATE_MS: f64 = 20.0;
/// A p99 above the API's time by more than this is a queue.
const QUEUE_MS_MAX: f64 = 100.0;
