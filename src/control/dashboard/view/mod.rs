//! What the page shows, made from the history: numbers as texts, charts as paths. The template
//! only puts it into place.

mod cores;
mod graphs;
mod state;
mod tables;

use serde::Serialize;

use self::cores::Cores;
use self::graphs::Graph;
use self::state::{Notice, State};
use self::tables::{Fact, PageRow, UpstreamRow};
use super::history::{History, Outcomes, Step};
use super::spread::{Spread, quantile_us};
use super::words::{Figure, clock, grouped, long, severity};
use crate::limits::DASHBOARD_RECENT_STEPS;
use crate::metrics::snapshot::Snapshot;

/// All that the page shows.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// What the browser's tab says.
    title: String,
    site: String,
    version: String,
    driver: String,
    /// How long the server has run.
    up: String,
    /// The time of the last snapshot.
    clock: String,
    state: State,
    notices: Vec<Notice>,
    totals: Totals,
    pages_graph: Graph,
    times_graph: Graph,
    cores: Cores,
    upstreams: Vec<UpstreamRow>,
    upstreams_left_out: usize,
    slowest: Vec<PageRow>,
    heaviest: Vec<PageRow>,
    facts: Vec<Fact>,
}

/// The server as a whole, over the last seconds.
#[derive(Debug, Serialize)]
struct Totals {
    rate: Figure,
    p50: Figure,
    p99: Figure,
    in_flight: Figure,
    connections: Figure,
    shed: Figure,
    has_shed: bool,
    failed: Figure,
    failed_kind: &'static str,
    cpu: Figure,
    cpu_of: String,
}

impl View {
    /// What there is to show; before the first snapshot, nothing of it.
    pub(super) fn new(history: &History) -> Self {
        let nothing = Snapshot::default();
        let now = history.last().unwrap_or(&nothing);
        let totals = Totals::new(history, now);
        let state = State::new(history, now);
        let site = name_of(&now.site).to_owned();
        let mark = if state.is_fine() { "" } else { "⚠ " };
        Self {
            title: format!("{mark}{} · {site}", totals.rate.text()),
            site,
            version: now.version.clone(),
            driver: now.driver.clone(),
            up: long(now.uptime_ms),
            clock: clock(now.unix_ms),
            notices: state::notices(history, now),
            state,
            totals,
            pages_graph: Graph::pages(history),
            times_graph: Graph::times(history),
            cores: Cores::new(history, now),
            upstreams: tables::upstreams(history, now),
            upstreams_left_out: tables::upstreams_left_out(now),
            slowest: tables::slowest(history),
            heaviest: tables::heaviest(history),
            facts: tables::facts(now),
        }
    }
}

impl Totals {
    fn new(history: &History, now: &Snapshot) -> Self {
        let recent = history.recent(DASHBOARD_RECENT_STEPS);
        let seconds = seconds(recent.clone());
        let outcomes = recent.clone().map(Step::outcomes).fold(Outcomes::default(), |a, b| a + b);
        let workers = || recent.clone().flat_map(|step| &step.workers);
        let times = Spread::sum(workers().map(|worker| &worker.times));
        let sum = |gauge: fn(&crate::metrics::snapshot::Worker) -> u64| {
            Figure::count(now.workers.iter().map(gauge).sum())
        };
        let cpu_us: u64 = workers().map(|worker| worker.cpu_us).sum();
        let of = now.workers.len() as u64;
        let per_second = |count: u64| per(count as f64, seconds);
        Self {
            rate: Figure::rate(per_second(outcomes.made())),
            p50: Figure::time(quantile_us(&times, 0.5)),
            p99: Figure::time(quantile_us(&times, 0.99)),
            in_flight: sum(|worker| worker.in_flight),
            connections: sum(|worker| worker.connections),
            shed: Figure::rate(per_second(outcomes.shed)),
            has_shed: outcomes.shed > 0,
            failed: Figure::share(outcomes.failed as f64, outcomes.made() as f64),
            failed_kind: severity(outcomes.failed, outcomes.made()),
            // A thread that has run has used some: none at all is not known.
            cpu: match cpu_us {
                0 => Figure::none(),
                us => Figure::share(us as f64, seconds * 1e6 * of as f64),
            },
            cpu_of: format!("of {} {}", grouped(of), if of == 1 { "core" } else { "cores" }),
        }
    }
}

/// How long steps took in all, seconds.
fn seconds<'a>(steps: impl Iterator<Item = &'a Step>) -> f64 {
    steps.map(|step| step.seconds).sum()
}

/// So many in so many seconds, a second; none in none.
fn per(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

/// The last part of a site's path: what people call it.
fn name_of(site: &str) -> &str {
    let path = site.trim_end_matches('/');
    let path = path.strip_suffix("/site.toml").unwrap_or(path);
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(site)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::dashboard::samples;

    #[test]
    fn before_anything_is_known_there_is_a_page_all_the_same() {
        let view = View::new(&History::default());
        assert_eq!(view.totals.rate.text(), "0/s");
        assert_eq!(view.totals.p99.text(), "–");
        assert_eq!(view.totals.cpu.text(), "–");
        assert!(view.cores.list.is_empty() && view.slowest.is_empty());
    }

    #[test]
    fn totals_are_those_of_the_last_seconds() {
        let mut server = samples::Server::new(2);
        let mut history = History::default();
        history.push(server.after(&[100, 100]));
        for _ in 0..60 {
            history.push(server.after(&[100, 100]));
        }
        for _ in 0..DASHBOARD_RECENT_STEPS {
            history.push(server.after(&[300, 200]));
        }
        let totals = View::new(&history).totals;
        assert_eq!(totals.rate.text(), "500/s");
        assert_eq!(totals.shed.text(), "0/s");
        assert_ne!(totals.p50.text(), "–");
        assert_eq!(totals.cpu_of, "of 2 cores");
    }

    #[test]
    fn a_worker_that_began_anew_is_no_leap() {
        let mut server = samples::Server::new(1);
        let mut history = History::default();
        history.push(server.after(&[1_000_000]));
        history.push(server.after(&[100]));
        server.restart(0);
        history.push(server.after(&[100]));
        assert_eq!(View::new(&history).totals.rate.text(), "100/s");
    }

    #[test]
    fn sites_are_called_by_their_folder() {
        assert_eq!(name_of("/srv/news/"), "news");
        assert_eq!(name_of("/srv/news/site.toml"), "news");
        assert_eq!(name_of("news (embedded)"), "news (embedded)");
        assert_eq!(name_of("."), ".");
        assert_eq!(name_of("/"), "/");
    }
}
