//! Runs of many seeds: whatever happens, each request gets its own whole answer or a broken
//! connection, in time, and in the end all is counted and nothing is left.

use std::cell::Cell;
use std::env;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::driver::timers::Timers;
use ringpress::metrics::{Counter, WorkerMetrics};
use ringpress::site::Source;
use ringpress::worker::Bounds;

use super::moods;
use super::server::Server;
use super::upstream::{self, Asked, Step};
use super::visitors::{self, Weather};

#[test]
fn on_a_perfect_network_each_request_gets_its_page() {
    each_seed(Weather::Fair, |_| Faults::none());
}

#[test]
fn bytes_that_are_cut_and_late_change_nothing() {
    each_seed(Weather::Fair, |_| Faults::rough());
}

#[test]
fn upstreams_that_misbehave_cost_only_their_pages() {
    each_seed(Weather::BadUpstreams, |_| Faults::rough());
}

#[test]
fn a_network_that_fails_costs_only_its_connections() {
    each_seed(Weather::BadNetwork, hostile);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let trace = |seed| {
        run(seed, hostile(seed), Weather::BadNetwork);
        Sim::trace_hash()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

/// A network where anything fails; every other one has little room in its connections, so that
/// writes wait for reads.
fn hostile(seed: u64) -> Faults {
    let roomy = Faults::hostile();
    match seed % 2 {
        0 => roomy,
        _ => Faults { pipe_bytes: 4000, ..roomy },
    }
}

/// Runs the seeds that the environment asks for, or the usual ones.
fn each_seed(weather: Weather, faults: impl Fn(u64) -> Faults) {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    if let Some(seed) = number("RINGPRESS_SIM_SEED") {
        run(seed, faults(seed), weather);
        return;
    }
    let seeds = number("RINGPRESS_SIM_SEEDS").unwrap_or(SEEDS);
    let runs: Vec<_> = (0..seeds).map(|seed| run(seed, faults(seed), weather)).collect();
    if seeds >= SEEDS {
        assert_worth_it(&runs, weather);
    }
}

/// Asserts that the seeds were lived through, and did not only turn everybody away: what is
/// tested for has happened.
fn assert_worth_it(runs: &[Arc<WorkerMetrics>], weather: Weather) {
    let total = |counter: fn(&WorkerMetrics) -> &Counter| {
        runs.iter().map(|metrics| counter(metrics).get()).sum::<u64>()
    };
    let (requests, pages) = (total(|of| &of.requests), total(|of| &of.statuses[2]));
    assert!(requests > runs.len() as u64 * 10, "{requests} requests");
    assert!(pages > requests / 4, "{pages} pages for {requests} requests");
    let counts = [
        ("malformed", total(|of| &of.requests_malformed)),
        ("reused", total(|of| &of.upstream_reused)),
        ("retries", total(|of| &of.upstream_retries)),
        ("hedges", total(|of| &of.upstream_hedges)),
        ("hedges won", total(|of| &of.upstream_hedges_won)),
    ];
    assert!(counts.iter().all(|(_, count)| *count > 0), "{counts:?}");
    let lost = [
        ("aborted", total(|of| &of.requests_aborted)),
        ("upstream errors", total(|of| &of.upstream_errors)),
        ("cancelled", total(|of| &of.upstream_cancelled)),
        ("5xx", total(|of| &of.statuses[5])),
        ("tried again", total(|of| &of.upstream_retried)),
        ("ejections", total(|of| &of.upstream_ejections)),
        ("breakers opened", total(|of| &of.upstream_breaker_opens)),
    ];
    assert!(weather != Weather::BadNetwork || lost.iter().all(|(_, n)| *n > 0), "{lost:?}");
    assert!(weather != Weather::Fair || lost[1].1 == 0, "{lost:?}");
}

/// One run, and what the server counted in it.
fn run(seed: u64, faults: Faults, weather: Weather) -> Arc<WorkerMetrics> {
    let outcome = Sim::run_seeded(seed, faults, || async move {
        let plan = move |asked: Asked<'_>| match weather {
            Weather::Fair => moods::well(asked),
            _ if moods::once_in(4) => moods::badly(asked),
            _ => moods::well(asked),
        };
        let server = start(plan);
        let timers = Timers::<Sim>::start();
        let visitors = 2 + Sim::random_below(6);
        let left = Rc::new(Cell::new(visitors));
        for number in 0..visitors {
            Sim::spawn(visitors::visit(weather, number, timers.clone(), Rc::clone(&left)));
        }
        while left.get() > 0 {
            Sim::sleep(Duration::from_millis(50)).await;
        }
        // By then lingering, idle and pooled connections have all grown too old.
        Sim::sleep(Duration::from_secs(8)).await;
        server.assert_balanced();
        assert_eq!(server.metrics.upstream_connections.get(), 0);
        server.orders.drain();
        Sim::sleep(Duration::from_secs(1)).await;
        assert!(server.ended.get().is_some(), "the server does not end");
        assert_eq!(Sim::counts().connections_open, 0);
        server.metrics
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"))
}

fn start(plan: impl Fn(Asked<'_>) -> Vec<Step> + Clone + 'static) -> Server {
    upstream::start(upstream::at(81), plan.clone());
    upstream::start(upstream::at(82), plan.clone());
    upstream::start(upstream::at(83), plan);
    let bounds = Bounds {
        // Longer than a page may take: who has only ended their own side gets it.
        half_close_timeout: Duration::from_secs(2),
        head_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(3),
        write_timeout: Duration::from_secs(2),
        ..Bounds::default()
    };
    let api = [upstream::at(81), upstream::at(82)];
    Server::start(&SITE, &[&api, &[upstream::at(83)]], bounds)
}

const SITE: Source = Source::Embedded {
    name: "simulated",
    files: &[
        ("site.toml", SITE_FILE),
        ("one.html", "token={{ item.token }};{{ item.filler }}."),
        (
            "many.html",
            "token={{ item.token }};{% for part in parts %}part={{ part.token }};{% endfor %}\
             side={{ side.token if side else 'none' }};{{ item.filler }}",
        ),
    ],
};

const SITE_FILE: &str = r#"
[upstreams.api]
url = "http://api.test"
connect_timeout = "300ms"
header_timeout = "800ms"
idle_timeout = "2s"
max_connections = 12
max_idle = 3
max_body = "1MiB"
retry = { on = ["connect", "reset", "timeout", "503"] }
hedge = { after = "30ms" }
eject = { failures = 3, for = "500ms" }
breaker = { failure_ratio = 0.5, requests_min = 6, open = "100ms" }

[upstreams.side]
url = "http://side.test"
deadline = "1s"
connect_timeout = "300ms"
idle_timeout = "2s"

[[page]]
path = "/one/{id}"
template = "one.html"
deadline = "1500ms"
[page.fetch]
item = { from = "api", path = "/item/{{ path.id }}" }

[[page]]
path = "/many/{id}"
template = "many.html"
deadline = "1500ms"
[page.fetch]
item = { from = "api", path = "/item/{{ path.id }}" }
parts = { from = "api", each = "item.parts", path = "/part/{{ path.id }}.{{ it }}" }
side = { from = "side", path = "/side/{{ path.id }}", optional = true }
"#;

/// Of each kind of weather.
const SEEDS: u64 = 256;
