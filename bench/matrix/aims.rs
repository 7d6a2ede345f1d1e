//! What the project aims for, and whether this run shows it.

use crate::contender::GUIDED;
use crate::record::{Results, Run};
use crate::report::served;

/// The rows of a table.
pub(crate) fn table(results: &Results) -> Vec<String> {
    let mut rows = vec!["| aim | measured | met |".to_owned(), "|---|---:|---|".to_owned()];
    for aim in aims(results) {
        let met = match aim.measured {
            None => "not measured",
            Some(value) if aim.bound.holds(value) => "yes",
            Some(_) => "**no**",
        };
        let measured = aim.measured.map_or("-".to_owned(), |value| format!("{value:.2}"));
        rows.push(format!("| {} {} | {measured} | {met} |", aim.what, aim.bound));
    }
    rows
}

struct Aim {
    what: String,
    bound: Bound,
    measured: Option<f64>,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
        }
    }
}

fn aims(results: &Results) -> Vec<Aim> {
    let figures = Figures { results };
    let mut aims = Vec::new();
    let mut aim = |what: &str, bound: Bound, measured: Option<f64>| {
        aims.push(Aim { what: what.to_owned(), bound, measured });
    };
    let (a, b, slow) = ("64 connections", "1000 connections", "4000 connections");
    aim("A: CPU ÷ floor", Bound::AtMost(1.6), figures.ratio('A', a, "monoio", "floor"));
    for (peer, times) in PEERS {
        let ratio = figures.ratio('A', a, peer, "monoio");
        aim(&format!("A: {peer} ÷ ours"), Bound::AtLeast(times), ratio);
    }
    let askama = figures.ratio('B', b, "axum-askama", "monoio");
    aim("B: axum-askama ÷ ours", Bound::AtLeast(1.4), askama);
    // No aim hangs on the guided build, and few measure it.
    if let Some(over_floor) = figures.ratio('A', a, GUIDED, "floor") {
        aim("A: CPU of the guided build ÷ floor", Bound::AtMost(1.6), Some(over_floor));
        let ordinary = figures.ratio('A', a, "monoio", GUIDED);
        aim("A: ours ÷ its guided build", Bound::AtLeast(1.0), ordinary);
    }
    aim(
        "D: p99 over the API's time at 80 % load or less, ms,",
        Bound::AtMost(2.0),
        figures.p99_at_most(0.8),
    );
    let growth = |scenario, point, base| {
        Some(figures.cpu(scenario, point, "monoio")? / figures.cpu('B', base, "monoio")?)
    };
    aim("C: CPU at 4000 in flight ÷ B", Bound::AtMost(1.2), growth('C', slow, b));
    aim("C: CPU at 9000 in flight ÷ B", Bound::AtMost(1.2), growth('C', MANY, b));
    aim("C: KiB a page in flight", Bound::AtMost(8.0), figures.kib_a_page());
    let (goodput, p99, shed) = figures.past_capacity();
    aim("D: worst goodput past capacity ÷ best", Bound::AtLeast(0.95), goodput);
    aim("D: p99 of served pages past capacity ÷ normal", Bound::AtMost(2.0), p99);
    aim("D: p99 of a 503, ms,", Bound::AtMost(5.0), shed);
    aim("D: seconds to recover", Bound::AtMost(1.0), figures.recovery());
    let many = figures.cpu('G', "19000 connections, 5000/s", "monoio");
    let few = figures.cpu('G', "64 connections, 5000/s", "monoio");
    let held = many.zip(few).map(|(many, few)| many / few);
    aim("G: CPU at 19 000 connections ÷ 64", Bound::AtMost(1.5), held);
    let (one, two) =
        (figures.cpu('H', "one worker", "monoio"), figures.cpu('H', "two workers", "monoio"));
    let workers = two.zip(one).map(|(two, one)| two / one);
    aim("H: CPU of two workers ÷ one", Bound::AtMost(1.05), workers);
    for (scenario, point) in [('A', a), ('B', b)] {
        let ratio = figures.ratio(scenario, point, "epoll", "monoio");
        aim(&format!("{scenario}: our epoll ÷ io_uring"), Bound::AtLeast(1.2), ratio);
    }
    aim("everywhere: our epoll ÷ io_uring, lowest,", Bound::AtLeast(1.0), figures.worst_of_epoll());
    aims
}

/// Medians of a run, and what is made of them.
struct Figures<'r> {
    results: &'r Results,
}

impl Figures<'_> {
    fn cpu(&self, scenario: char, point: &str, name: &str) -> Option<f64> {
        Some(self.results.middle(scenario, point, name, |run| run.cpu_us)?.median)
    }

    fn ratio(&self, scenario: char, point: &str, over: &str, under: &str) -> Option<f64> {
        Some(self.results.ratio(scenario, point, over, under)?.median)
    }

    fn arrivals(&self) -> impl Iterator<Item = &Run> + Clone {
        self.results.runs.iter().filter(|run| run.scenario == 'D' && run.contender == "monoio")
    }

    /// Pages a second that were served in time, at best.
    fn capacity(&self) -> Option<f64> {
        let goodput = self.arrivals().filter_map(|run| Some(run.open.as_ref()?.goodput));
        goodput.max_by(f64::total_cmp)
    }

    /// The p99 over the API's own time, at the highest rate up to a share of the capacity.
    fn p99_at_most(&self, share: f64) -> Option<f64> {
        let capacity = self.capacity()?;
        let below = self.arrivals().filter(|run| run.rate.is_some_and(|r| r <= capacity * share));
        let run = below
            .max_by(|a, b| a.rate.partial_cmp(&b.rate).unwrap_or(std::cmp::Ordering::Equal))?;
        Some(run.latency_ms?.p99 - run.delay_ms as f64)
    }

    /// Past the capacity: goodput over the best, p99 of pages over the normal one, p99 of a 503.
    fn past_capacity(&self) -> (Option<f64>, Option<f64>, Option<f64>) {
        let Some(capacity) = self.capacity() else { return (None, None, None) };
        let past = self.arrivals().filter(|run| {
            run.rate.is_some_and(|rate| rate > capacity * 1.05) || served(run) < Some(0.995)
        });
        let goodput = past.clone().filter_map(|run| Some(run.open.as_ref()?.goodput / capacity));
        let normal = self.p99_at_most(0.5).zip(self.arrivals().next());
        let normal = normal.map(|(over, run)| over + run.delay_ms as f64);
        let p99 = past.clone().filter_map(|run| Some(run.latency_ms?.p99 / normal?));
        let shed = past.filter_map(|run| Some(run.open.as_ref()?.shed_ms?.p99));
        (goodput.min_by(f64::total_cmp), p99.max_by(f64::total_cmp), shed.max_by(f64::total_cmp))
    }

    /// The longest that it took to be itself again.
    fn recovery(&self) -> Option<f64> {
        let open = self.arrivals().filter_map(|run| run.open.as_ref());
        let secs = open.map(|open| match (open.recovered, open.recovery_ms) {
            (Some(true), Some(ms)) => ms / 1e3,
            _ => f64::INFINITY,
        });
        secs.max_by(f64::total_cmp)
    }

    /// What 5000 more pages in flight take.
    fn kib_a_page(&self) -> Option<f64> {
        let memory = |point| {
            let bytes = |run: &Run| Some(run.memory_bytes as f64);
            Some(self.results.middle('C', point, "monoio", bytes)?.median)
        };
        Some((memory(MANY)? - memory("4000 connections")?) / 5000.0 / 1024.0)
    }

    /// The point where epoll comes nearest, or is ahead; of those with several rounds.
    fn worst_of_epoll(&self) -> Option<f64> {
        let letters = "ABCEFGH".chars();
        let points = letters.flat_map(|letter| {
            self.results.points(letter).into_iter().map(move |point| (letter, point))
        });
        let ratios =
            points.filter_map(|(letter, point)| self.ratio(letter, point, "epoll", "monoio"));
        ratios.min_by(f64::total_cmp)
    }
}

/// The point with 9000 pages in flight.
const MANY: &str = "9000/s, the API takes 1 s";
/// How many times our CPU time the others should take.
const PEERS: [(&str, f64); 8] = [
    ("axum-askama", 1.5),
    ("axum-minijinja", 2.5),
    ("actix-minijinja", 2.0),
    ("nginx-lua", 4.5),
    ("fastify", 10.0),
    ("go", 14.0),
    ("aiohttp", 20.0),
    ("flask-4", 100.0),
];
