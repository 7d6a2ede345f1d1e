//! Runs of many seeds: whatever happens, each request gets its own whole answer or a broken
//! connection, in time, and in the end all is counted and nothing is left.

use std::cell::Cell;
use std::env;
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::driver::timers::Timers;
use ringpress::site::Source;
use ringpress::worker::Bounds;

use super::moods;
use super::server::Server;
use super::upstream::{self, Asked, Step};
use super::visitors::{self, Weather};

#[test]
fn on_a_perfect_network_each_request_gets_its_page() {
    each_seed(|seed| run(seed, Faults::none(), Weather::Fair));
}

#[test]
fn bytes_that_are_cut_and_late_change_nothing() {
    each_seed(|seed| run(seed, Faults::rough(), Weather::Fair));
}

#[test]
fn upstreams_that_misbehave_cost_only_their_pages() {
    each_seed(|seed| run(seed, Faults::rough(), Weather::BadUpstreams));
}

#[test]
fn a_network_that_fails_costs_only_its_connections() {
    each_seed(|seed| run(seed, Faults::hostile(), Weather::BadNetwork));
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let trace = |seed| {
        run(seed, Faults::hostile(), Weather::BadNetwork);
        Sim::trace_hash()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

/// Runs the seeds that the environment asks for, or the usual ones.
fn each_seed(run: impl Fn(u64)) {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    match number("RINGPRESS_SIM_SEED") {
        Some(seed) => run(seed),
        None => (0..number("RINGPRESS_SIM_SEEDS").unwrap_or(SEEDS)).for_each(run),
    }
}

fn run(seed: u64, faults: Faults, weather: Weather) {
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
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn start(plan: impl Fn(Asked<'_>) -> Vec<Step> + Clone + 'static) -> Server {
    upstream::start(upstream::at(81), plan.clone());
    upstream::start(upstream::at(82), plan.clone());
    upstream::start(upstream::at(83), plan);
    let bounds = Bounds {
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
const SEEDS: u64 = 128;
