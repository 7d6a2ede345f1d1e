//! An upstream with several addresses: who is asked, who is left out, and who comes back.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::visit;
use super::server::{SERVER, Server, item_site, run};
use super::upstream::{self, Asked, Log, Step, answer, at, response};

const MS: Duration = Duration::from_millis(1);
const THREE: [SocketAddr; 3] = [at(81), at(82), at(83)];

fn serve(policy: &str, addresses: &[SocketAddr]) -> Server {
    Server::start(&item_site(policy, ""), &[addresses], Bounds::default())
}

/// Answers well after so many milliseconds.
fn after(time: u32) -> impl Fn(Asked<'_>) -> Vec<Step> {
    move |asked| vec![Step::Wait(MS * time), answer(asked.token)]
}

/// Visits one after the other; how many got something else than their page.
async fn failures(visits: usize) -> usize {
    let mut failures = 0;
    for _ in 0..visits {
        failures += usize::from(visit(SERVER, "/item/a").await.0.body != "token=a;");
    }
    failures
}

/// Items asked for so far, without health checks.
fn items(log: &RefCell<Log>) -> usize {
    log.borrow().requests.iter().filter(|(_, token)| token != "healthz").count()
}

#[test]
fn the_address_with_the_fewest_exchanges_under_way_is_next() {
    run(|| async {
        let logs = [after(300), after(20), after(20)];
        let mut address = THREE.into_iter();
        let logs = logs.map(|plan| upstream::start(address.next().unwrap(), plan));
        let server = serve("", &THREE);
        for _ in 0..120 {
            Sim::spawn(async { assert_eq!(failures(1).await, 0) });
            Sim::sleep(10 * MS).await;
        }
        Sim::sleep(1000 * MS).await;
        let counts = logs.each_ref().map(|log| items(log));
        // In turn it would be 40 each. Here a slow one keeps as many busy as the others do.
        assert!(counts[0] < 20 && counts[1] > 45 && counts[2] > 45, "{counts:?}");
        server.assert_exchanges(120);
    });
}

#[test]
fn addresses_that_are_alike_take_turns_and_keep_their_connections() {
    run(|| async {
        let logs = THREE.map(|address| upstream::start(address, after(1)));
        let server = serve("", &THREE);
        assert_eq!(failures(30).await, 0);
        assert_eq!(logs.each_ref().map(|log| items(log)), [10, 10, 10]);
        assert_eq!(server.metrics.upstream_connects.get(), 3);
    });
}

#[test]
fn the_bound_on_connections_is_over_all_addresses() {
    run(|| async {
        let logs = THREE.map(|address| upstream::start(address, after(20)));
        let server = serve("max_connections = 2", &THREE);
        let done = Rc::new(Cell::new(0));
        for _ in 0..30 {
            let done = Rc::clone(&done);
            Sim::spawn(async move {
                assert_eq!(failures(1).await, 0);
                done.set(done.get() + 1);
            });
            Sim::sleep(MS).await;
            assert!(server.metrics.upstream_connections.get() <= 2);
        }
        Sim::sleep(1000 * MS).await;
        assert_eq!(done.get(), 30);
        let connections: usize = logs.iter().map(|log| log.borrow().connections).sum();
        assert_eq!(connections, 2, "one that is idle elsewhere is used, not closed");
    });
}

#[test]
fn an_address_that_refuses_is_soon_left_out_and_no_visitor_sees_it() {
    run(|| async {
        let logs = [at(81), at(83)].map(|address| upstream::start(address, after(1)));
        let server = serve("eject = { failures = 3, for = '10s' }", &THREE);
        assert_eq!(failures(100).await, 0);
        assert_eq!(server.metrics.upstream_ejections.get(), 1);
        // Two that answer, and three that were refused.
        assert_eq!(server.metrics.upstream_connects.get(), 5);
        assert_eq!(logs.each_ref().map(|log| items(log)).iter().sum::<usize>(), 100);
        // After a while it is tried again, and again after twice the time.
        Sim::sleep(10_000 * MS).await;
        upstream::start(at(82), after(1));
        assert_eq!(failures(30).await, 0);
        assert_eq!(server.metrics.upstream_ejections.get(), 1);
    });
}

#[test]
fn an_address_that_never_answers_is_left_out_and_on_probation_costs_one_visitor() {
    run(|| async {
        let (hangs, in_vain) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
        let (is_hanging, asked_in_vain) = (Rc::clone(&hangs), Rc::clone(&in_vain));
        upstream::start(at(81), after(1));
        upstream::start(at(83), after(1));
        upstream::start(at(82), move |asked| match is_hanging.get() {
            true => {
                asked_in_vain.set(asked_in_vain.get() + 1);
                vec![Step::Hang]
            }
            false => vec![answer(asked.token)],
        });
        let policy = "header_timeout = '200ms'\neject = { failures = 3, for = '10s' }";
        let server = serve(policy, &THREE);
        assert_eq!(failures(100).await, 3);
        Sim::sleep(10_000 * MS).await;
        assert_eq!(failures(100).await, 1, "one tells");
        assert_eq!(server.metrics.upstream_ejections.get(), 2);
        Sim::sleep(15_000 * MS).await;
        assert_eq!(failures(100).await, 0, "for twice the time");
        hangs.set(false);
        Sim::sleep(5_000 * MS).await;
        assert_eq!(failures(100).await, 0);
        assert_eq!(in_vain.get(), 4);
        assert_eq!(server.metrics.upstream_ejections.get(), 2);
    });
}

#[test]
fn never_more_than_half_are_left_out() {
    run(|| async {
        for address in THREE {
            upstream::start(address, |_| vec![Step::Send(response(500, "{}"))]);
        }
        let server = serve("eject = { failures = 3, for = '10s' }\nbreaker = false", &THREE);
        assert_eq!(failures(100).await, 100);
        assert_eq!(server.metrics.upstream_ejections.get(), 1);
    });
    run(|| async {
        upstream::start(at(81), |_| vec![Step::Send(response(500, "{}"))]);
        let server = serve("breaker = false", &[at(81)]);
        assert_eq!(failures(100).await, 100);
        assert_eq!(server.metrics.upstream_ejections.get(), 0);
    });
}

#[test]
fn a_retry_prefers_another_address() {
    run(|| async {
        let bad = upstream::start(at(81), |_| vec![Step::Send(response(503, "{}"))]);
        let good = upstream::start(at(82), after(1));
        let server = serve("retry = true\neject = false", &[at(81), at(82)]);
        assert_eq!(failures(12).await, 0);
        assert_eq!(server.metrics.upstream_retried.get(), items(&bad) as u64);
        assert_eq!(items(&good), 12);
    });
}

#[test]
fn health_checks_take_an_address_out_and_back() {
    run(|| async {
        let well = Rc::new(Cell::new(true));
        let is_well = Rc::clone(&well);
        let a = upstream::start(at(81), after(1));
        let b = upstream::start(at(82), move |asked| match is_well.get() {
            false if asked.token == "healthz" => vec![Step::Send(response(500, "{}"))],
            _ => vec![answer(asked.token)],
        });
        let policy = "health = { path = '/healthz', interval = '1s', fails = 2, passes = 3 }";
        let server = serve(policy, &[at(81), at(82)]);
        assert_eq!(failures(20).await, 0);
        assert_eq!((items(&a), items(&b)), (10, 10));
        well.set(false);
        Sim::sleep(3500 * MS).await;
        assert_eq!(failures(20).await, 0);
        assert_eq!((items(&a), items(&b)), (30, 10), "all of them went to the other");
        assert_eq!(server.metrics.upstream_unwell.get(), 1);
        well.set(true);
        Sim::sleep(1500 * MS).await;
        assert_eq!(failures(10).await, 0);
        assert_eq!((items(&a), items(&b)), (40, 10), "one pass is not enough");
        Sim::sleep(3000 * MS).await;
        assert_eq!(failures(20).await, 0);
        assert_eq!((items(&a), items(&b)), (50, 20));
        // Checks are no fetches, and keep no connections.
        server.assert_exchanges(70);
        assert!(server.metrics.upstream_connections.get() <= 2);
    });
}

#[test]
fn where_no_address_is_well_all_are_asked() {
    run(|| async {
        for address in [at(81), at(82)] {
            upstream::start(address, |asked| match asked.token {
                "healthz" => vec![Step::Hang],
                token => vec![answer(token)],
            });
        }
        let policy =
            "health = { path = '/healthz', interval = '1s', timeout = '100ms', fails = 1 }";
        let server = serve(policy, &[at(81), at(82)]);
        Sim::sleep(3000 * MS).await;
        assert_eq!(server.metrics.upstream_unwell.get(), 2);
        assert_eq!(failures(10).await, 0);
    });
}

#[test]
fn where_addresses_change_what_is_under_way_ends_and_what_comes_goes_to_the_new() {
    run(|| async {
        let old = upstream::start(at(81), after(500));
        let new = upstream::start(at(82), after(1));
        let server = serve("", &[at(81)]);
        assert_eq!(failures(1).await, 0);
        let done = Rc::new(Cell::new(false));
        let is_done = Rc::clone(&done);
        Sim::spawn(async move {
            assert_eq!(failures(1).await, 0);
            is_done.set(true);
        });
        Sim::sleep(100 * MS).await;
        server.directory[0].set(vec![at(82)]);
        Sim::sleep(150 * MS).await;
        assert_eq!(failures(10).await, 0);
        assert_eq!((items(&old), items(&new)), (2, 10));
        Sim::sleep(500 * MS).await;
        assert!(done.get());
        assert_eq!(old.borrow().closed, [true]);
        assert_eq!(server.metrics.upstream_connections.get(), 1);
    });
}
