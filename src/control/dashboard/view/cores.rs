//! Each core by itself: small multiples, all in the same scale.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::charts::{Frame, SPARK, scale};
use super::super::history::{History, Outcomes, WorkerStep};
use super::super::spread::{Spread, quantile_us};
use super::super::words::Figure;
use super::per;
use crate::limits::{DASHBOARD_CORES_MAX, DASHBOARD_RECENT_STEPS};
use crate::metrics::snapshot::{Snapshot, Worker};

/// All cores.
#[derive(Debug, Serialize)]
pub(super) struct Cores {
    /// Whether they are so many that each gets little room.
    dense: bool,
    /// What the upper edge of each small chart stands for.
    scale: String,
    pub(super) list: Vec<Core>,
    left_out: usize,
}

/// One core: its worker.
#[derive(Debug, Serialize)]
pub(super) struct Core {
    number: usize,
    /// The CPU it is pinned to; empty where it roams.
    cpu: String,
    /// `fine`, `bad` where it sheds, `gone` where there is no worker now.
    kind: &'static str,
    word: &'static str,
    rate: Figure,
    p50: Figure,
    p99: Figure,
    in_flight: Figure,
    lag: Figure,
    shed: Figure,
    has_shed: bool,
    connections: Figure,
    busy: Figure,
    /// The same in whole percent, for the bar.
    busy_percent: u64,
    line: String,
    area: String,
    /// What the small chart says, for who does not see it.
    told: String,
}

impl Cores {
    pub(super) fn new(history: &History, now: &Snapshot) -> Self {
        // Who was there in the last two minutes and is not now is missed.
        let workers = history.steps().flat_map(|step| &step.workers).map(|one| one.number);
        let numbers: BTreeSet<usize> =
            workers.chain(now.workers.iter().map(|worker| worker.number)).collect();
        let shown: Vec<usize> = numbers.iter().copied().take(DASHBOARD_CORES_MAX).collect();
        let rates: Vec<_> = shown.iter().map(|number| rates(history, *number)).collect();
        let max = scale(rates.iter().flatten().flatten().copied(), 10.0);
        let frame = Frame::new(SPARK, max);
        let list = shown.iter().zip(&rates).map(|(number, rates)| {
            let worker = now.workers.iter().find(|worker| worker.number == *number);
            Core::new(*number, worker, history, rates, frame)
        });
        Self {
            dense: shown.len() > DENSE_ABOVE,
            scale: Figure::rate(max).text(),
            list: list.collect(),
            left_out: numbers.len() - shown.len(),
        }
    }
}

/// Up to so many cores have comfortable cards.
const DENSE_ABOVE: usize = 16;

impl Core {
    fn new(
        number: usize,
        worker: Option<&Worker>,
        history: &History,
        rates: &[Option<f64>],
        frame: Frame,
    ) -> Self {
        let recent = history.recent(DASHBOARD_RECENT_STEPS);
        let parts = recent.filter_map(|step| Some((step.seconds, step.worker(number)?)));
        let parts: Vec<(f64, &WorkerStep)> = parts.collect();
        let seconds: f64 = parts.iter().map(|(seconds, _)| seconds).sum();
        let outcomes = parts.iter().fold(Outcomes::default(), |sum, (_, part)| sum + part.outcomes);
        let times = Spread::sum(parts.iter().map(|(_, part)| &part.times));
        let cpu_us: u64 = parts.iter().map(|(_, part)| part.cpu_us).sum();
        let busy = per(cpu_us as f64, seconds * 1e4).clamp(0.0, 100.0);
        let (kind, word) = match worker {
            None => ("gone", "not there"),
            Some(worker) if worker.overloaded => ("bad", "overloaded"),
            Some(_) => ("fine", ""),
        };
        let gauge =
            |count: fn(&Worker) -> u64| worker.map_or(Figure::none(), |w| Figure::count(count(w)));
        let rate = |count: u64| match worker {
            Some(_) => Figure::rate(per(count as f64, seconds)),
            None => Figure::none(),
        };
        let highest = rates.iter().flatten().copied().fold(0.0, f64::max);
        let cpu = worker.and_then(|worker| worker.cpu);
        Self {
            number,
            cpu: cpu.map_or(String::new(), |cpu| format!("CPU {cpu}")),
            kind,
            word,
            rate: rate(outcomes.made()),
            p50: Figure::time(quantile_us(&times, 0.5)),
            p99: Figure::time(quantile_us(&times, 0.99)),
            in_flight: gauge(|worker| worker.in_flight),
            lag: Figure::time(worker.map(|worker| worker.lag_us as f64)),
            shed: rate(outcomes.shed),
            has_shed: outcomes.shed > 0,
            connections: gauge(|worker| worker.connections),
            // A thread that has run has used some: none at all is not known.
            busy: match worker {
                Some(worker) if worker.cpu_us > 0 => Figure::share(busy, 100.0),
                _ => Figure::none(),
            },
            busy_percent: busy.round() as u64,
            line: frame.line(rates),
            area: frame.area(rates),
            told: format!("pages a second: up to {} in two minutes", Figure::rate(highest).text()),
        }
    }
}

/// The rate of each step; none where there was no such worker.
fn rates(history: &History, number: usize) -> Vec<Option<f64>> {
    let rate = |part: &WorkerStep, seconds| per(part.outcomes.made() as f64, seconds);
    let steps = history.steps();
    steps.map(|step| step.worker(number).map(|part| rate(part, step.seconds))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::dashboard::samples;

    #[test]
    fn each_core_has_its_own_numbers_and_all_have_one_scale() {
        let mut history = History::default();
        let mut server = samples::Server::new(2);
        for _ in 0..10 {
            history.push(server.after(&[400, 20]));
        }
        let cores = Cores::new(&history, history.last().unwrap());
        let rates: Vec<_> = cores.list.iter().map(|core| core.rate.text()).collect();
        assert_eq!(rates, ["400/s", "20/s"]);
        assert_eq!(cores.scale, "400/s");
        assert_eq!(cores.list[1].cpu, "CPU 1");
        assert_eq!(cores.list[0].busy.text(), "40 %");
        assert!(!cores.dense);
    }

    #[test]
    fn a_core_that_is_missing_stays_in_its_place() {
        let mut history = History::default();
        let mut server = samples::Server::new(3);
        history.push(server.after(&[5, 5, 5]));
        history.push(server.after(&[5, 5, 5]));
        let mut snapshot = server.after(&[5, 5, 5]);
        snapshot.workers.remove(1);
        history.push(snapshot);
        let cores = Cores::new(&history, history.last().unwrap());
        let kinds: Vec<_> = cores.list.iter().map(|core| (core.number, core.kind)).collect();
        assert_eq!(kinds, [(0, "fine"), (1, "gone"), (2, "fine")]);
        assert_eq!(cores.list[1].rate.text(), "–");
        assert_eq!(cores.list[1].in_flight.text(), "–");
    }

    #[test]
    fn many_cores_get_less_room_and_too_many_are_counted() {
        let mut history = History::default();
        let mut server = samples::Server::new(DASHBOARD_CORES_MAX + 7);
        history.push(server.after(&[]));
        let cores = Cores::new(&history, history.last().unwrap());
        assert!(cores.dense);
        assert_eq!((cores.list.len(), cores.left_out), (DASHBOARD_CORES_MAX, 7));
    }
}
