//! The two larger charts: what became of requests, and how long pages took.

#![expect(clippy::indexing_slicing, reason = "arrays of as many kinds as are counted to")]

use serde::Serialize;

use super::super::charts::{CHART, Frame, Short, scale};
use super::super::history::{History, Outcomes, Step};
use super::super::spread::{Spread, quantile_us};
use super::super::words::{Figure, clock};
use super::per;

/// A chart of the last two minutes.
#[derive(Debug, Serialize)]
pub(super) struct Graph {
    /// What its upper edge and its middle stand for.
    top: String,
    middle: String,
    series: Vec<Series>,
    columns: Vec<Column>,
    /// A column's width.
    pitch: String,
    /// What it shows, for who does not see it.
    told: String,
}

/// One quantity of a chart.
#[derive(Debug, Serialize)]
struct Series {
    /// A class of the style sheet, that says how it is drawn.
    kind: &'static str,
    label: &'static str,
    /// Its last value.
    last: String,
    /// Of a filled shape; may be empty.
    area: String,
    /// Of a line; may be empty.
    line: String,
}

/// What is under the pointer.
#[derive(Debug, Serialize)]
struct Column {
    x: String,
    told: String,
}

impl Graph {
    /// Pages a second, by what became of them.
    pub(super) fn pages(history: &History) -> Self {
        let steps = history.steps();
        let each: Vec<[f64; 4]> = steps.clone().map(rates).collect();
        let max = scale([top(&each)], 10.0);
        let frame = Frame::new(CHART, max);
        let bands: Vec<Vec<f64>> =
            (0..KINDS.len()).map(|at| each.iter().map(|rates| rates[at]).collect()).collect();
        let last = each.last().copied().unwrap_or_default();
        let areas = frame.stack(&bands).into_iter();
        let fine: Vec<_> = each.iter().map(|rates| Some(rates[0])).collect();
        let mut lines = [frame.line(&fine)].into_iter();
        let series = KINDS.iter().zip(areas).zip(last).map(|(((kind, label), area), last)| {
            let line = lines.next().unwrap_or_default();
            Series { kind, label, last: Figure::rate(last).text(), area, line }
        });
        let told = |rates: &[f64; 4]| {
            let all = Figure::rate(rates.iter().sum()).text();
            let parts = KINDS.iter().zip(rates).filter(|(_, rate)| **rate > 0.0);
            let parts: Vec<_> = parts
                .map(|((_, label), rate)| format!("{label} {}", Figure::rate(*rate).text()))
                .collect();
            if parts.is_empty() { all } else { format!("{all}: {}", parts.join(", ")) }
        };
        let columns = columns(frame, steps.zip(&each).map(|(step, rates)| (step, told(rates))));
        let now = each.last().map_or_else(|| "nothing yet".to_owned(), told);
        Self {
            top: Figure::rate(max).round(),
            middle: Figure::rate(max / 2.0).round(),
            series: series.collect(),
            columns,
            pitch: Short(frame.pitch()).to_string(),
            told: format!("Pages a second over two minutes, by outcome. Now {now}."),
        }
    }

    /// The median and the slowest hundredth.
    pub(super) fn times(history: &History) -> Self {
        let steps = history.steps();
        let each: Vec<[Option<f64>; 2]> = steps.clone().map(quantiles).collect();
        let max = scale(each.iter().flatten().flatten().copied(), 1000.0);
        let frame = Frame::new(CHART, max);
        let of = |at: usize| each.iter().map(|two| two[at]).collect::<Vec<_>>();
        let series = |at: usize, kind, label| Series {
            kind,
            label,
            last: Figure::time(each.last().and_then(|two| two[at])).text(),
            area: frame.area(&of(at)),
            line: frame.line(&of(at)),
        };
        let told = |[p50, p99]: &[Option<f64>; 2]| {
            format!("p50 {}, p99 {}", Figure::time(*p50).text(), Figure::time(*p99).text())
        };
        let columns = columns(frame, steps.zip(&each).map(|(step, two)| (step, told(two))));
        let now = each.last().map_or_else(|| "nothing yet".to_owned(), told);
        Self {
            top: Figure::time(Some(max)).round(),
            middle: Figure::time(Some(max / 2.0)).round(),
            series: vec![series(1, "p99", "p99"), series(0, "p50", "p50")],
            columns,
            pitch: Short(frame.pitch()).to_string(),
            told: format!("How long pages took over two minutes. Now {now}."),
        }
    }
}

/// What can become of a request: the class, and how it is called.
const KINDS: [(&str, &str); 4] =
    [("ok", "answered"), ("refused", "4xx"), ("failed", "5xx"), ("shed", "shed")];

/// What the chart reaches up to. Those who are turned away may ask again a hundred times as often
/// as pages are made; so that these can still be seen, the others are cut off.
fn top(each: &[[f64; 4]]) -> f64 {
    let most = |count: fn(&[f64; 4]) -> f64| each.iter().map(count).fold(0.0, f64::max);
    let (made, all) = (most(|rates| rates[..3].iter().sum()), most(|rates| rates.iter().sum()));
    if made > 0.0 { all.min(made * MADE_PART) } else { all }
}

/// What was made fills at least one in so many parts of the chart's height.
const MADE_PART: f64 = 4.0;

fn rates(step: &Step) -> [f64; 4] {
    let Outcomes { fine, refused, failed, shed } = step.outcomes();
    [fine, refused, failed, shed].map(|count| per(count as f64, step.seconds))
}

fn quantiles(step: &Step) -> [Option<f64>; 2] {
    let times = Spread::sum(step.workers.iter().map(|worker| &worker.times));
    [0.5, 0.99].map(|share| quantile_us(&times, share))
}

fn columns<'a>(
    frame: Frame,
    steps: impl ExactSizeIterator<Item = (&'a Step, String)>,
) -> Vec<Column> {
    let of = steps.len();
    let columns = steps.enumerate().map(|(at, (step, told))| {
        let x = (frame.x(at, of) - frame.pitch() / 2.0).max(0.0);
        Column { x: Short(x).to_string(), told: format!("{}  {told}", clock(step.ended_unix_ms)) }
    });
    columns.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::dashboard::samples;

    #[test]
    fn what_became_of_requests_is_stacked() {
        let mut history = History::default();
        let mut server = samples::Server::new(1);
        history.push(server.after(&[100]));
        history.push(server.after(&[100]));
        let mut snapshot = server.after(&[100]);
        snapshot.workers[0].statuses[5] += 40;
        snapshot.workers[0].shed += 30;
        history.push(snapshot);
        let graph = Graph::pages(&history);
        let lasts: Vec<_> = graph.series.iter().map(|series| &*series.last).collect();
        assert_eq!(lasts, ["100/s", "0/s", "10/s", "30/s"]);
        assert_eq!(graph.top, "150/s");
        assert!(graph.series[1].area.is_empty() && !graph.series[3].area.is_empty());
        let told = &graph.columns[1].told;
        assert!(told.ends_with("140/s: answered 100/s, 5xx 10/s, shed 30/s"), "{told}");
    }

    #[test]
    fn pages_are_seen_below_however_many_are_turned_away() {
        assert_eq!(top(&[[30.0, 5.0, 5.0, 9000.0], [20.0, 0.0, 0.0, 0.0]]), 160.0);
        assert_eq!(top(&[[30.0, 0.0, 0.0, 10.0]]), 40.0);
        assert_eq!(top(&[[0.0, 0.0, 0.0, 500.0]]), 500.0);
        assert_eq!(top(&[]), 0.0);
    }

    #[test]
    fn a_second_without_pages_is_a_gap() {
        let mut history = History::default();
        let mut server = samples::Server::new(1);
        for pages in [50, 50, 50, 0, 50, 50] {
            history.push(server.after(&[pages]));
        }
        let graph = Graph::times(&history);
        assert_eq!(graph.columns.len(), 5);
        assert_eq!(graph.series[0].line.matches('M').count(), 2);
        assert!(graph.columns[2].told.ends_with("p50 –, p99 –"));
    }

    #[test]
    fn without_history_charts_are_empty() {
        for graph in [Graph::pages(&History::default()), Graph::times(&History::default())] {
            assert!(graph.columns.is_empty());
            assert!(graph.series.iter().all(|series| series.area.is_empty()));
            assert!(graph.told.contains("nothing yet"));
        }
    }
}
