//! The model of `ringpress plan` against what was measured: how far off it is.

use std::time::Duration;

use ringpress::capacity::{self, Cores, Delay, Load, LoopState, Rate, State, Work, Workers};

use crate::record::Results;
use crate::report::knee;

/// The lines of the section.
pub(crate) fn lines(results: &Results) -> Vec<String> {
    let mut rows = Vec::new();
    for (name, workers) in [("flask-1", 1), ("flask-4", 4), ("flask-16", 16)] {
        rows.extend(blocking(results, name, workers));
    }
    rows.extend(event_loop(results, "monoio"));
    if rows.is_empty() {
        return vec!["Scenario D, with Flask and monoio, was not measured.".to_owned()];
    }
    let mut lines = vec![
        "The model is given the API's delay as set, the CPU time a page as measured in D at the \
         lowest rate that kept the server busy for 0.2 s, and one core; it has not seen the \
         latencies. The error is that of the mean.\n"
            .to_owned(),
        "| contender | arrivals | model, mean ms | measured, mean ms | error | keeps up to: model \
         | measured |"
            .to_owned(),
        "|---|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    lines.extend(rows);
    lines
}

fn blocking(results: &Results, name: &str, workers: u32) -> Vec<String> {
    let row = |point: &str| {
        let (load, measured) = load(results, name, point)?;
        let says = capacity::blocking(&load, Workers::new(workers)?, Cores::new(1)?);
        let mean = match says.state {
            State::Stable { response, .. } => Some(response.mean),
            State::Overloaded { .. } => None,
        };
        Some(row(results, name, point, mean, measured, says.rate_max_per_s))
    };
    results.points('D').into_iter().filter_map(row).collect()
}

fn event_loop(results: &Results, name: &str) -> Vec<String> {
    let row = |point: &str| {
        let (load, measured) = load(results, name, point)?;
        let says = capacity::event_loop(&load, Cores::new(1)?);
        let mean = match says.state {
            LoopState::Stable { response, .. } => Some(response.mean),
            LoopState::Overloaded { .. } => None,
        };
        Some(row(results, name, point, mean, measured, says.rate_max_per_s))
    };
    results.points('D').into_iter().filter_map(row).collect()
}

/// The load of a point, and the mean response that was measured, if pages came.
fn load(results: &Results, name: &str, point: &str) -> Option<(Load, Option<f64>)> {
    let run = results.of('D', point, name).next()?;
    // A server that has more to do does it in larger batches, so the figure at a low rate is an
    // upper bound; the one of this very rate would be a forecast from the outcome.
    let first = results.points('D').into_iter().find_map(|point| {
        let run = results.of('D', point, name).next()?;
        run.cpu_us.filter(|us| us * run.pages as f64 >= BUSY_US_MIN)
    })?;
    let load = Load {
        rate: Rate::per_second(run.rate?)?,
        upstream: Delay::new(Duration::from_millis(run.delay_ms))?,
        work: Work::new(Duration::from_secs_f64(first / 1e6))?,
    };
    Some((load, run.latency_ms.map(|ms| ms.mean)))
}

fn row(
    results: &Results,
    name: &str,
    point: &str,
    model: Option<Duration>,
    measured: Option<f64>,
    rate_max: f64,
) -> String {
    let model = model.map(|mean| mean.as_secs_f64() * 1e3);
    let error = model.zip(measured).map(|(model, measured)| (model / measured - 1.0) * 100.0);
    let said = |value: Option<f64>, otherwise: &str| {
        value.map_or(otherwise.to_owned(), |value| format!("{value:.1}"))
    };
    format!(
        "| {name} | {point} | {} | {} | {} | {rate_max:.0}/s | {} |",
        said(model, "collapse"),
        said(measured, "no page"),
        error.map_or("-".to_owned(), |error| format!("{error:+.0} %")),
        knee(results, name).map_or("less than 20/s".to_owned(), |rate| format!("{rate}/s")),
    )
}

/// CPU time is counted in steps of 10 ms: less than this is no base for a figure.
const BUSY_US_MIN: f64 = 200_000.0;
