//! The report: each scene in a table, and whether the project's aims are met.

use std::fs;
use std::path::Path;

use crate::contender::DRIVERS;
use crate::record::{Quantiles, Results, Run, Slice};
use crate::scene::Kind;

/// Writes `README.md`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<(), String> {
    let path = folder.join("README.md");
    fs::write(&path, text(results)).map_err(|error| format!("{}: {error}", path.display()))
}

/// All of the report.
pub(crate) fn text(results: &Results) -> String {
    let mut out = head(results);
    let mut scenes: Vec<&Run> = Vec::new();
    for run in &results.runs {
        if !scenes.iter().any(|one| one.scene == run.scene) {
            scenes.push(run);
        }
    }
    out.push_str("\n## Aims\n\n| aim | contender | measured | met |\n|---|---|---:|---|\n");
    let ours = |run: &&Run| DRIVERS.iter().any(|(name, _)| *name == run.contender);
    for run in results.runs.iter().filter(ours) {
        aims(run).iter().for_each(|row| out.push_str(row));
    }
    for scene in scenes {
        out.push_str(&format!("\n## {}: {}\n\n{HEADER}", scene.scene, scene.title));
        let same = results.runs.iter().filter(|run| run.scene == scene.scene);
        same.clone().for_each(|run| rows(run, &mut out));
        out.push('\n');
        same.for_each(|run| notes(run, &mut out));
    }
    out
}

const HEADER: &str = "| contender | part | arrived | pages | 503 | failed | pages/s | p50 ms \
    | p99 ms | 503 p50 ms | 503 p99 ms | in flight, most | MiB |\n\
    |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let mut out = format!("# The story, measured on {}\n\n", machine.date);
    if results.short {
        out.push_str(
            "**A short run: it shows that everything works. Its figures mean nothing.**\n\n",
        );
    }
    let dashes = if results.command.is_empty() { "" } else { " -- " };
    out.push_str(&format!(
        "{} CPUs ({}), {} GiB, {}, {}, commit {}; at most {} open files a process. The server has \
         CPU 0 to itself, one worker; the APIs and the load share CPU 1. `cargo bench --bench \
         story{dashes}{}`\n\n",
        machine.cpus,
        machine.cpu,
        machine.memory_gib,
        machine.kernel,
        machine.rustc,
        machine.commit,
        machine.files_max,
        results.command,
    ));
    for (name, why) in &results.missing {
        out.push_str(&format!("Missing: `{name}`: {why}\n\n"));
    }
    for what in &results.partial {
        out.push_str(&format!("**Went wrong:** {what}\n\n"));
    }
    out.push_str(
        "Visitors come at times that do not depend on the answers; a time counts from when a \
         visitor was due, and each gives up after 5 s. Every one of them is a page, a 503 or a \
         failure: that pages + 503 + failed = arrived is checked of every run. Pages a second are \
         those that came in the part, whenever they were due.\n\n![Pages a second and their \
         latency, over time](story.svg)\n",
    );
    out
}

fn rows(run: &Run, out: &mut String) {
    for kind in [Kind::Calm, Kind::Trouble, Kind::After] {
        for (name, step) in run.steps(kind) {
            let quantile = |of: Option<Quantiles>, pick: fn(Quantiles) -> f64| {
                of.map_or("-".to_owned(), |ms| format!("{:.1}", pick(ms)))
            };
            let cells = [
                run.label.clone(),
                name.to_owned(),
                step.arrived.to_string(),
                step.pages.to_string(),
                step.shed.to_string(),
                step.failed.to_string(),
                format!("{:.0}", run.goodput(step)),
                quantile(step.page_ms, |ms| ms.p50),
                quantile(step.page_ms, |ms| ms.p99),
                quantile(step.shed_ms, |ms| ms.p50),
                quantile(step.shed_ms, |ms| ms.p99),
                run.in_flight_max(step).to_string(),
                mebibytes(run, step),
            ];
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
}

fn mebibytes(run: &Run, step: &Slice) -> String {
    let bytes = run.memory_bytes(step);
    bytes.map_or("-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)))
}

fn notes(run: &Run, out: &mut String) {
    let recovery = run.recovery_s().map_or("not within the run".to_owned(), |secs| {
        format!("{secs:.1} s after the end of the trouble")
    });
    out.push_str(&format!("- {}: as before {recovery}", run.label));
    if let Some(capacity) = run.capacity {
        out.push_str(&format!("; at most {capacity:.0} pages/s before"));
    }
    if let Some(capacity) = run.capacity_after {
        out.push_str(&format!(", {capacity:.0} after"));
    }
    if let Some(bytes) = run.page_bytes() {
        out.push_str(&format!("; {:.1} KiB a page more in flight", bytes / 1024.0));
    }
    let failures = run.load.failures.iter().map(|(name, count)| format!("{count} {name}"));
    let failures: Vec<String> = failures.collect();
    if !failures.is_empty() {
        out.push_str(&format!("; failed: {}", failures.join(", ")));
    }
    if let Some(lag) = run.load.lag_ms {
        out.push_str(&format!("; sent late by {:.1} ms at the 99th percentile", lag.p99));
    }
    if let Some(beside) = &run.beside {
        let failed: u64 = beside.failures.values().sum();
        let (pages, shed) = (beside.pages, beside.shed);
        out.push_str(&format!("; of A: {pages} pages, {shed} times 503, {failed} failed"));
    }
    if let Some(words) = &run.crashed {
        out.push_str(&format!("; **it ended: {words}**"));
    }
    let seconds: Vec<String> = run.each_second().iter().map(u64::to_string).collect();
    out.push_str(&format!(". Pages in each second: {}.\n", seconds.join(" ")));
}

/// Rows of the table of aims: what the project has set itself for this scene.
fn aims(run: &Run) -> Vec<String> {
    let mut rows = Vec::new();
    let late = run.load.lag_ms.filter(|lag| lag.p99 > LATE_MS);
    let missed = late.map_or("**no**".to_owned(), |lag| {
        format!("**no**; the load itself was late by {:.0} ms", lag.p99)
    });
    let mut aim = |what: &str, measured: Option<f64>, is_met: fn(f64) -> bool| {
        let met = match measured.map(is_met) {
            None => "not measured",
            Some(true) => "yes",
            Some(false) => &missed,
        };
        let measured = measured.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let row = format!("| {}: {what} | {} | {measured} | {met} |\n", run.scene, run.contender);
        rows.push(row);
    };
    let p99 = |step: &Slice| step.page_ms.map(|ms| ms.p99);
    let over_calm = |step: &Slice| Some(p99(step)? / run.calm_p99()?);
    match run.scene.as_str() {
        "spike" | "crowd" | "strangers" => {
            let crowd = run.steps(Kind::Trouble).next().map(|(_, step)| step);
            let share = crowd.zip(run.most()).map(|(step, most)| run.goodput(step) / most);
            aim("goodput ÷ the most there can be, at least 0.95", share, |value| value >= 0.95);
            let times = crowd.and_then(over_calm);
            aim("p99 of pages ÷ that before, at most 2", times, |value| value <= 2.0);
            let shed = crowd.and_then(|step| step.shed_ms).map(|ms| ms.p99);
            aim("p99 of a 503, at most 5 ms", shed, |value| value <= 5.0);
        }
        "slow" => {
            let kib = run.page_bytes().map(|bytes| bytes / 1024.0);
            aim("KiB a page more in flight, at most 8", kib, |value| value <= 8.0);
            let shown = run.load.pages as f64 / run.load.arrived.max(1) as f64;
            aim("share of visitors who get their page, 1", Some(shown), |value| value >= 1.0);
        }
        "apart" => {
            for (name, step) in run.steps(Kind::Trouble) {
                let what = format!("p99 of B while {name} ÷ that before, at most 1.1");
                aim(&what, over_calm(step), |value| value <= 1.1);
            }
        }
        _ => {}
    }
    let recovery = run.recovery_s().or(Some(f64::INFINITY));
    aim("seconds until all is as before, at most 1", recovery, |value| value <= 1.0);
    rows
}

/// A load whose p99 is later than this, milliseconds, is not the one that was meant: what it shows
/// may be its own doing.
const LATE_MS: f64 = 20.0;
