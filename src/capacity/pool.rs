//! Blocking workers on the cores of a machine, and the line in front of them.

#![expect(
    clippy::indexing_slicing,
    reason = "`likely` is from one to the length of the list, which never changes"
)]

use std::time::Duration;

use super::line::{Line, Lines, Wait, bisect, blocked};
use super::{Cores, Load, Workers, duration};
use crate::limits::PLAN_WORKERS_MAX;

/// What blocking workers make of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blocking {
    /// Where they collapse: pages a second they finish when all of them are always busy.
    pub rate_max_per_s: f64,
    /// What is short there.
    pub bottleneck: Bottleneck,
    /// CPU time that the load asks of the cores, as a part of what they have. May be over 1.
    pub cpu_asked: f64,
    /// How it goes.
    pub state: State,
}

/// Whether a load can be served at all.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are a dozen of them, and none is kept")]
pub enum State {
    /// As many pages go as come.
    Stable {
        /// Workers that hold a page, on average.
        busy: f64,
        /// For a worker.
        for_worker: Wait,
        /// For a core, while holding a worker.
        for_core: Wait,
        /// Both together.
        wait: Wait,
        /// From the request to the page.
        response: Response,
    },
    /// More pages come than go: the line grows until requests time out.
    Overloaded {
        /// Pages by which the line grows each second.
        growth_per_s: f64,
    },
}

/// How long pages take: API and CPU time as constants, and the wait's mean and percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The mean.
    pub mean: Duration,
    /// Half of all pages take no longer.
    pub p50: Duration,
    /// 99 of 100 pages take no longer.
    pub p99: Duration,
}

impl Response {
    pub(super) fn of(load: &Load, wait: &Wait) -> Self {
        let with = |wait: Duration| duration(load.page_s()).saturating_add(wait);
        Self { mean: with(wait.mean), p50: with(wait.p50), p99: with(wait.p99) }
    }
}

/// What is short first when the rate grows: workers / (upstream + work) and cores / work are the
/// two bounds (Denning and Buzen 1978). Where they are near each other, both slow the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    /// More of them would help.
    Workers,
    /// More workers would not help.
    Cpu,
}

/// How many it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed<T> {
    /// So many.
    Count(T),
    /// The cores are too few for any number.
    MoreCores,
    /// More than the model goes to.
    TooMany,
}

/// What `workers` on `cores` make of a load.
pub fn blocking(load: &Load, workers: Workers, cores: Cores) -> Blocking {
    let pool = Pool::empty(load, cores).with(workers);
    let by_workers = workers.float() / load.page_s();
    let by_cpu = cores.float() / load.work.seconds();
    let state = match pool.lines() {
        None => State::Overloaded { growth_per_s: load.rate.get() - pool.finished_per_s },
        Some(lines) => {
            let (Lines(for_worker, for_core), wait) = (lines, lines.wait());
            State::Stable {
                busy: pool.busy(for_worker),
                for_worker: for_worker.wait(),
                for_core: for_core.wait(),
                wait,
                response: Response::of(load, &wait),
            }
        }
    };
    Blocking {
        rate_max_per_s: pool.finished_per_s,
        bottleneck: if by_workers <= by_cpu { Bottleneck::Workers } else { Bottleneck::Cpu },
        cpu_asked: load.rate.get() / by_cpu,
        state,
    }
}

/// The fewest workers that keep up with a load; with `wait_max`, the fewest with which 99 of 100
/// pages wait no longer than that, for a worker and for a core together.
pub fn blocking_needed(load: &Load, cores: Cores, wait_max: Option<Duration>) -> Needed<Workers> {
    let rate_per_s = load.rate.get();
    let for_core = Line::of_servers(rate_per_s, load.work.seconds(), cores.get());
    let fits = |lines: Lines| wait_max.is_none_or(|max| lines.tail(max.as_secs_f64()) <= TAIL);
    // With workers without number, only the wait for a core is left.
    if !for_core.is_some_and(|line| fits(Lines(Line::NONE, line))) {
        return Needed::MoreCores;
    }
    if rate_per_s * load.page_s() >= f64::from(PLAN_WORKERS_MAX) {
        return Needed::TooMany;
    }
    let mut pool = Pool::empty(load, cores);
    for count in 1..=PLAN_WORKERS_MAX {
        pool.add_worker();
        if pool.lines().is_some_and(fits) {
            return Workers::new(count).map_or(Needed::TooMany, Needed::Count);
        }
    }
    Needed::TooMany
}

/// The slowest API that the workers could bear at the rate of `load`, whatever its API takes;
/// `None` if they could not with any.
pub fn upstream_max(load: &Load, workers: Workers, cores: Cores) -> Option<Duration> {
    let keeps_up = |upstream_s: f64| {
        let pool = Pool { upstream_s, ..Pool::empty(load, cores) };
        pool.with(workers).finished_per_s > load.rate.get()
    };
    if !keeps_up(0.0) {
        return None;
    }
    // With a core for each worker this is the very bound; without, it is less.
    let bound_s = (workers.float() / load.rate.get() - load.work.seconds()).max(0.0);
    if workers.get() <= cores.get() {
        return Some(duration(bound_s));
    }
    Some(duration(bisect(0.0, bound_s, UPSTREAM_STEPS, keeps_up)))
}

/// Busy workers as a closed network, and the chain of how many are busy, built up worker by
/// worker. Every step only adds and multiplies what is positive, so nothing cancels or overflows.
struct Pool {
    rate_per_s: f64,
    upstream_s: f64,
    work_s: f64,
    cores: Cores,
    workers: f64,
    /// X(n): pages a second that all workers finish when all are busy.
    finished_per_s: f64,
    /// The chance that so many of the busy workers are at the CPU, for each number below `cores`.
    at_cpu: Vec<f64>,
    /// How many of those chances, from the first on, are not taken for nothing.
    likely: usize,
    /// The chance that `cores` or more are.
    cores_full: f64,
    /// The chance that all workers are busy if pages that find them so go away.
    blocked: f64,
    /// Busy workers on average if there were one less, and pages went away.
    busy_before: f64,
    /// The same with all.
    busy_now: f64,
}

impl Pool {
    fn empty(load: &Load, cores: Cores) -> Self {
        let mut at_cpu = vec![0.0; cores.get() as usize];
        if let Some(none) = at_cpu.first_mut() {
            *none = 1.0;
        }
        Self {
            rate_per_s: load.rate.get(),
            upstream_s: load.upstream.seconds(),
            work_s: load.work.seconds(),
            cores,
            workers: 0.0,
            finished_per_s: 0.0,
            at_cpu,
            likely: 1,
            cores_full: 0.0,
            blocked: 1.0,
            busy_before: 0.0,
            busy_now: 0.0,
        }
    }

    fn with(mut self, workers: Workers) -> Self {
        for _ in 0..workers.get() {
            self.add_worker();
        }
        self
    }

    fn add_worker(&mut self) {
        self.workers += 1.0;
        self.add_to_network();
        self.blocked = blocked(self.rate_per_s / self.finished_per_s, self.blocked);
        self.busy_before = self.busy_now;
        self.busy_now += (self.workers - self.busy_now) * self.blocked;
    }

    /// Mean value analysis: what a network with one page more does follows from what one without
    /// it did, as a page that arrives sees the network as if it were not in it.
    fn add_to_network(&mut self) {
        if self.cores_full >= ALWAYS {
            return;
        }
        let last = self.at_cpu.last().copied().unwrap_or(0.0);
        let each_core_s = self.work_s / self.cores.float();
        self.cores_full = each_core_s * (self.cores_full + last);
        self.likely = (self.likely + 1).min(self.at_cpu.len());
        let at_cpu = &mut self.at_cpu[..self.likely];
        for at in (1..at_cpu.len()).rev() {
            at_cpu[at] = at_cpu[at - 1] * self.work_s / at as f64;
        }
        at_cpu[0] *= self.upstream_s / self.workers;
        let between_s = at_cpu.iter().sum::<f64>() + self.cores_full;
        self.finished_per_s = 1.0 / between_s;
        self.cores_full /= between_s;
        for chance in &mut *at_cpu {
            *chance /= between_s;
        }
        // Above the mean the chances fall, and with more workers each leads to a smaller one of
        // its successor: the least likely are left out for good. Those below may still grow.
        let mean = self.finished_per_s * self.work_s;
        while self.likely as f64 > mean + 2.0 && self.at_cpu[self.likely - 1] < UNLIKELY {
            self.likely -= 1;
            self.at_cpu[self.likely] = 0.0;
        }
    }

    /// The line for a worker and the one for a core; `None` when more come than can go.
    fn lines(&self) -> Option<Lines> {
        let for_worker = Line::of(self.rate_per_s, self.finished_per_s, self.blocked)?;
        let shape = Line::of_servers(self.rate_per_s, self.work_s, self.cores.get())?;
        let held_s = self.busy(for_worker) / self.rate_per_s;
        let mean_s = held_s - self.upstream_s - self.work_s;
        // What is left of nothing after rounding is nothing.
        if shape.probability <= 0.0 || mean_s <= held_s * NEGLIGIBLE {
            return Some(Lines(for_worker, Line::NONE));
        }
        let leaving_per_s = shape.probability / mean_s;
        Some(Lines(for_worker, Line { leaving_per_s, ..shape }))
    }

    /// Workers that hold a page, on average.
    fn busy(&self, for_worker: Line) -> f64 {
        let all = for_worker.probability;
        self.busy_before * (1.0 - all) + self.workers * all
    }
}

/// Memory of one blocking worker, bytes: assumed, as for a process of a Python application. Take
/// what yours has.
pub const WORKER_BYTES: u64 = 60 * 1024 * 1024;
/// The part of pages that may wait longer than a p99.
pub(super) const TAIL: f64 = 0.01;
/// A chance that is one but for rounding.
const ALWAYS: f64 = 1.0 - 1e-15;
/// A chance that adds nothing to a sum of chances.
const UNLIKELY: f64 = 1e-40;
/// Halvings that find the slowest API: the interval ends a million times as narrow.
const UPSTREAM_STEPS: u32 = 20;
/// A wait for a core that is less than this part of the time a page holds its worker.
const NEGLIGIBLE: f64 = 1e-9;
