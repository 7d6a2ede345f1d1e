//! The model against formulas written another way, for small figures; and its bounds.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::line::{Line, Lines};
use super::*;

fn load(rate_per_s: f64, upstream_ms: f64, work_ms: f64) -> Load {
    let time = |ms: f64| Duration::from_secs_f64(ms / 1e3);
    Load {
        rate: Rate::per_second(rate_per_s).unwrap(),
        upstream: Delay::new(time(upstream_ms)).unwrap(),
        work: Work::new(time(work_ms)).unwrap(),
    }
}

fn count<const MAX: u32>(count: u32) -> Count<MAX> {
    Count::new(count).unwrap()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(error <= tolerance * expected.abs().max(1e-12), "{found} is not {expected}");
}

/// Erlang C as in the textbook, with factorials.
fn erlang_c(offered: f64, servers: u32) -> f64 {
    let term = |n: u32| offered.powi(n as i32) / (1..=n).map(f64::from).product::<f64>();
    let waiting = term(servers) * f64::from(servers) / (f64::from(servers) - offered);
    waiting / ((0..servers).map(term).sum::<f64>() + waiting)
}

/// What a stable pool does: mean busy workers, the three waits, the response.
fn stable(load: &Load, workers: u32, cores: u32) -> (f64, [Wait; 3], Response) {
    match blocking(load, count(workers), count(cores)).state {
        State::Stable { busy, for_worker, for_core, wait, response } => {
            (busy, [for_worker, for_core, wait], response)
        }
        State::Overloaded { growth_per_s } => panic!("overloaded by {growth_per_s}"),
    }
}

/// Pages a second of a closed network, from its normalising constants (Buzen), not step by step.
fn buzen(upstream: f64, work: f64, pages: u32, cores: u32) -> f64 {
    let product = |n: u32, term: &dyn Fn(f64) -> f64| (1..=n).map(f64::from).map(term).product();
    let constant = |pages: u32| -> f64 {
        let ways = (0..=pages).map(|at_cpu| {
            let away: f64 = product(pages - at_cpu, &|n| upstream / n);
            let there: f64 = product(at_cpu, &|n| work / n.min(f64::from(cores)));
            away * there
        });
        ways.sum()
    };
    constant(pages - 1) / constant(pages)
}

#[test]
fn erlang_c_has_its_known_values() {
    let chance = |offered: f64, servers| Line::of_servers(offered, 1.0, servers).unwrap();
    assert_near(chance(0.7, 1).probability, 0.7, 1e-12);
    assert_near(chance(1.0, 2).probability, 1.0 / 3.0, 1e-12);
    assert_near(chance(2.0, 3).probability, 4.0 / 9.0, 1e-12);
    for servers in 1..=30 {
        for part in [0.01, 0.3, 0.8, 0.99] {
            let offered = part * f64::from(servers);
            assert_near(chance(offered, servers).probability, erlang_c(offered, servers), 1e-9);
        }
    }
    assert!(Line::of_servers(3.0, 1.0, 3).is_none());
}

#[test]
fn with_a_core_for_each_worker_it_is_erlang_c() {
    let load = load(100.0, 40.0, 10.0);
    for workers in 6..20 {
        let (busy, [for_worker, for_core, wait], _) = stable(&load, workers, workers);
        let chance = erlang_c(5.0, workers);
        assert_near(busy, 5.0, 1e-9);
        assert_near(for_worker.probability, chance, 1e-9);
        let leaving_per_s = f64::from(workers) / 0.05 - 100.0;
        let mean_ms = chance / leaving_per_s * 1e3;
        assert!((ms(for_worker.mean) - mean_ms).abs() < 1e-5, "{for_worker:?}");
        let p99_ms = ((chance / 0.01).ln() / leaving_per_s).max(0.0) * 1e3;
        assert!((ms(wait.p99) - p99_ms).abs() < 1e-3, "{:?} is not {p99_ms}", wait.p99);
        assert_eq!(for_core.mean, Duration::ZERO);
    }
}

#[test]
fn with_an_api_that_answers_at_once_it_is_a_line_for_the_cores() {
    for (workers, cores) in [(1, 1), (4, 1), (9, 3), (3, 9)] {
        let servers = cores.min(workers);
        let rate_per_s = 0.9 * f64::from(servers) / 0.002;
        let (_, [.., wait], _) = stable(&load(rate_per_s, 0.0, 2.0), workers, cores);
        let line = Line::of_servers(rate_per_s, 0.002, servers).unwrap();
        assert_near(ms(wait.mean), line.mean_s() * 1e3, 1e-3);
    }
}

#[test]
fn with_more_workers_than_cores_it_is_the_machine_repair_model() {
    for (upstream, work) in [(50.0, 2.4), (5.0, 5.0), (1.0, 20.0), (0.0, 3.0)] {
        for (workers, cores) in [(4, 1), (3, 2), (12, 4), (40, 7), (60, 32)] {
            let load = load(1.0, upstream, work);
            let found = blocking(&load, count(workers), count(cores)).rate_max_per_s;
            assert_near(found, buzen(upstream / 1e3, work / 1e3, workers, cores), 1e-9);
        }
    }
}

/// The project's reference: Flask in 4 workers on one core, API at 50 ms, about 2.4 ms of CPU
/// time a page. Measured: p50 54 ms and p99 68 ms at 20 pages a second, collapse before 100.
#[test]
fn it_says_what_was_measured_of_four_workers() {
    let (_, _, response) = stable(&load(20.0, 50.0, 2.4), 4, 1);
    assert_near(ms(response.p50), 54.0, 0.05);
    assert_near(ms(response.p99), 68.0, 0.05);
    let at_100 = blocking(&load(100.0, 50.0, 2.4), count(4), count(1));
    assert!(matches!(at_100.state, State::Overloaded { .. }));
    assert_eq!(at_100.bottleneck, Bottleneck::Workers);
    assert!(at_100.rate_max_per_s > 75.0 && at_100.rate_max_per_s < 4.0 / 0.0524);
}

/// Means of a simulated pool: API and CPU times exponential, one run of 200 000 pages each, of
/// which the first tenth is left out.
#[test]
fn it_says_what_a_simulation_says() {
    for (rate_per_s, workers, cores, worker_ms, core_ms) in
        [(200.0, 17, 2, 0.40, 0.295), (60.0, 4, 1, 35.7, 0.297)]
    {
        let work_ms = if cores == 2 { 3.0 } else { 2.4 };
        let (_, [for_worker, for_core, _], _) =
            stable(&load(rate_per_s, 50.0, work_ms), workers, cores);
        assert_near(ms(for_worker.mean), worker_ms, 0.15);
        assert_near(ms(for_core.mean), core_ms, 0.1);
    }
}

#[test]
fn percentiles_of_two_waits_are_those_of_their_sum() {
    let sure = |leaving_per_s| Line { probability: 1.0, leaving_per_s };
    // Two alike are Erlang's distribution: P(sum > t) = (1 + rt) e^-rt.
    for fast in [3.0, 3.0 + 1e-12, 3.0 + 1e-6] {
        assert_near(Lines(sure(3.0), sure(fast)).tail(0.7), 3.1 * (-2.1_f64).exp(), 1e-5);
    }
    let (slow, fast) = (2.0_f64, 5.0_f64);
    let sum = (fast * (-slow).exp() - slow * (-fast).exp()) / (fast - slow);
    assert_near(Lines(sure(fast), sure(slow)).tail(1.0), sum, 1e-12);
    let lines = Lines(Line { probability: 0.3, leaving_per_s: 40.0 }, sure(100.0));
    assert_near(lines.tail(lines.wait().p99.as_secs_f64()), 0.01, 1e-5);
}

#[test]
fn needed_is_the_fewest_that_fit() {
    let load = load(200.0, 50.0, 3.0);
    let fits = |workers: u32| stable(&load, workers, 2).1[2].p99 <= Duration::from_millis(20);
    assert_eq!(blocking_needed(&load, count(2), None), Needed::Count(count(11)));
    let Needed::Count(found) = blocking_needed(&load, count(2), Some(Duration::from_millis(20)))
    else {
        panic!("none");
    };
    assert!(fits(found.get()) && !fits(found.get() - 1));
}

#[test]
fn cores_can_be_too_few_for_any_number_of_workers() {
    let full = load(700.0, 50.0, 3.0);
    assert_eq!(blocking_needed(&full, count(2), None), Needed::MoreCores);
    let nearly = load(660.0, 50.0, 3.0);
    assert!(matches!(blocking_needed(&nearly, count(2), None), Needed::Count(_)));
    let soon = Some(Duration::from_millis(20));
    assert_eq!(blocking_needed(&nearly, count(2), soon), Needed::MoreCores);
    let found = blocking(&full, count(1000), count(2));
    assert_eq!(found.bottleneck, Bottleneck::Cpu);
    assert_near(found.rate_max_per_s, 2.0 / 0.003, 1e-9);
    assert_eq!(upstream_max(&full, count(1000), count(2)), None);
}

#[test]
fn the_slowest_api_is_where_the_rate_is_the_most() {
    for (workers, cores) in [(17, 2), (40, 1), (4, 8)] {
        let load = load(50.0, 1.0, 3.0);
        let upstream = Delay::new(upstream_max(&load, count(workers), count(cores)).unwrap());
        let there = Load { upstream: upstream.unwrap(), ..load };
        let found = blocking(&there, count(workers), count(cores)).rate_max_per_s;
        assert_near(found, 50.0, 1e-4);
    }
}

#[test]
fn an_event_loop_is_bound_by_its_cpu_or_by_pages_in_flight() {
    let on_loop = |rate_per_s, upstream_ms| load(rate_per_s, upstream_ms, 0.05);
    let found = event_loop(&on_loop(10_000.0, 50.0), count(1));
    assert_eq!(found.bottleneck, LoopBottleneck::Cpu);
    assert_near(found.rate_max_per_s, 20_000.0, 1e-9);
    let LoopState::Stable { wait, response, in_flight, .. } = found.state else {
        panic!("overloaded");
    };
    // M/M/1 at half its rate: a page waits as long as it works, and Little counts them.
    assert_near(ms(wait.mean), 0.05, 1e-3);
    assert_near(in_flight, 10_000.0 * response.mean.as_secs_f64(), 1e-6);
    let slow = event_loop(&on_loop(10_000.0, 5000.0), count(1));
    assert_eq!(slow.bottleneck, LoopBottleneck::InFlight);
    assert!(matches!(slow.state, LoopState::Overloaded { .. }));
    assert_near(slow.cpu_asked, found.cpu_asked, 1e-12);
    let wait_max = Duration::from_millis(1);
    let needed = event_loops_needed(&on_loop(50_000.0, 50.0), wait_max);
    assert_eq!(needed, Needed::Count(count(4)));
    assert_eq!(event_loops_needed(&load(1e6, 0.0, 1.0), wait_max), Needed::TooMany);
}

#[test]
fn the_largest_figures_end_soon_and_are_figures() {
    let begun = Instant::now();
    let most = [load(1e7, 3.6e6, 3.6e6), load(0.001, 3.6e6, 1e-6), load(0.001, 0.0, 1e-6)];
    for load in most.iter().chain(&[load(20_000.0, 1000.0, 0.05), load(511.9, 0.0, 1000.0)]) {
        let found = blocking(load, Workers::MOST, Cores::MOST);
        assert!(found.rate_max_per_s.is_finite() && found.rate_max_per_s > 0.0, "{found:?}");
        let by_cpu = Cores::MOST.float() / load.work.seconds();
        let bound = by_cpu.min(Workers::MOST.float() / load.page_s());
        assert!(found.rate_max_per_s <= bound * (1.0 + 1e-9), "{found:?}");
        let needed = blocking_needed(load, Cores::MOST, Some(Duration::ZERO));
        assert!(!matches!(needed, Needed::Count(n) if n > Workers::MOST));
        event_loops_needed(load, Duration::ZERO);
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_is_out_of_range_is_no_load() {
    for wrong in ["0", "-1", "NaN", "inf", "1e8", "0.0001", "", "many", "200/s"] {
        assert_eq!(wrong.parse::<Rate>(), Err(OutOfRange::Rate), "{wrong}");
    }
    assert_near("0.5".parse::<Rate>().unwrap().get(), 0.5, 0.0);
    for wrong in ["0", "-1", "1.5", "513", "99999999999", ""] {
        assert!(wrong.parse::<Cores>().is_err(), "{wrong}");
    }
    assert_eq!(Work::new(Duration::ZERO), None);
    assert_eq!(Delay::new(Duration::from_secs(3601)), None);
    assert!(Delay::new(Duration::ZERO).is_some());
}

fn loads() -> impl Strategy<Value = Load> {
    (0.1..2000.0, 0.0..1000.0, 0.01..20.0).prop_map(|(rate, upstream, work)| {
        let work: f64 = work;
        load(rate, upstream, work)
    })
}

/// Mean wait; an overload is one without end.
fn mean_wait_s(load: &Load, workers: u32, cores: u32) -> f64 {
    match blocking(load, count(workers), count(cores)).state {
        State::Stable { wait, .. } => wait.mean.as_secs_f64(),
        State::Overloaded { .. } => f64::INFINITY,
    }
}

proptest! {
    #[test]
    fn more_workers_never_wait_longer(load in loads(), workers in 1..200_u32, cores in 1..9_u32) {
        let few = mean_wait_s(&load, workers, cores);
        let more = mean_wait_s(&load, workers + 1, cores);
        prop_assert!(more <= few * (1.0 + 1e-6) + 1e-8, "{more} after {few}");
    }

    #[test]
    fn more_visitors_never_wait_less(load in loads(), workers in 1..200_u32, cores in 1..9_u32) {
        let rate = Rate::per_second(load.rate.get() * 1.1).unwrap();
        let few = mean_wait_s(&load, workers, cores);
        let more = mean_wait_s(&Load { rate, ..load }, workers, cores);
        prop_assert!(more >= few * (1.0 - 1e-6) - 1e-8, "{more} after {few}");
    }

    #[test]
    fn littles_law_holds(load in loads(), workers in 1..200_u32, cores in 1..9_u32) {
        if let State::Stable { busy, for_core, .. } =
            blocking(&load, count(workers), count(cores)).state
        {
            let held_s = load.page_s() + for_core.mean.as_secs_f64();
            assert_near(busy, load.rate.get() * held_s, 1e-6);
        }
    }

    #[test]
    fn percentiles_are_in_order(load in loads(), workers in 1..200_u32, cores in 1..9_u32) {
        if let State::Stable { for_worker, for_core, wait, .. } =
            blocking(&load, count(workers), count(cores)).state
        {
            prop_assert!((0.0..=1.0).contains(&wait.probability));
            prop_assert!(wait.p50 <= wait.p99);
            let slack = Duration::from_nanos(2) + wait.p99 / 1_000_000;
            prop_assert!(wait.p99 + slack >= for_worker.p99.max(for_core.p99));
        }
    }
}
