//! A second request for an answer that takes long, and what becomes of the one that loses.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::visit;
use super::server::{SERVER, Server, assert_took, item_site, run};
use super::upstream::{self, Asked, Log, Step, answer, at, in_turn, response};

const MS: Duration = Duration::from_millis(1);

/// A server of items and its upstream.
fn start(
    policy: &str,
    plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static,
) -> (Server, Rc<RefCell<Log>>) {
    let log = upstream::start(at(81), plan);
    (Server::start(&item_site(policy, ""), &[&[at(81)]], Bounds::default()), log)
}

/// Visits, and asserts that the page is the right one; how long it took.
async fn page(token: &str) -> Duration {
    let (answer, took) = visit(SERVER, &format!("/item/{token}")).await;
    assert_eq!(answer.body, format!("token={token};"));
    took
}

#[test]
fn a_hedge_cuts_a_slow_answer_short_and_the_losers_connection_is_closed() {
    run(|| async {
        let slow = vec![Step::Wait(1000 * MS), answer("a")];
        let (server, log) = start("hedge = { after = '50ms' }", in_turn(vec![slow]));
        assert_took(page("a").await, 50 * MS);
        assert_eq!(server.metrics.upstream_hedges.get(), 1);
        assert_eq!(server.metrics.upstream_hedges_won.get(), 1);
        assert_eq!(server.metrics.upstream_connections.get(), 1, "the loser's is closed");
        // The loser's answer would come now: it can pass for nobody's.
        for token in ["b", "c", "d"] {
            page(token).await;
            Sim::sleep(400 * MS).await;
        }
        let connections: Vec<usize> = log.borrow().requests.iter().map(|(on, _)| *on).collect();
        assert_eq!(connections, [0, 1, 1, 1, 1]);
        assert_eq!(log.borrow().closed, [true, false]);
        server.assert_exchanges(4);
    });
}

#[test]
fn a_hedge_goes_to_another_address() {
    run(|| async {
        let slow = |asked: Asked<'_>| vec![Step::Wait(500 * MS), answer(asked.token)];
        let (a, b) = (upstream::start(at(81), slow), upstream::start(at(82), slow));
        let policy = "hedge = { after = '50ms' }";
        let server = Server::start(&item_site(policy, ""), &[&[at(81), at(82)]], Bounds::default());
        assert_took(page("a").await, 500 * MS);
        assert_eq!((a.borrow().requests.len(), b.borrow().requests.len()), (1, 1));
        // The first one won: the hedge is closed.
        assert_eq!(server.metrics.upstream_hedges_won.get(), 0);
        assert_eq!(server.metrics.upstream_connections.get(), 1);
    });
}

#[test]
fn a_hedge_that_fails_does_not_spoil_the_first() {
    run(|| async {
        let slow = vec![Step::Wait(300 * MS), answer("a")];
        let script = vec![slow, vec![Step::Send(response(500, "{}"))]];
        let (server, _log) = start("hedge = { after = '50ms' }", in_turn(script));
        assert_took(page("a").await, 300 * MS);
        assert_eq!(server.metrics.upstream_hedges_won.get(), 0);
    });
    run(|| async {
        // Nor is the first's failure the last word while the hedge is under way.
        let slow = vec![Step::Wait(100 * MS), Step::Close];
        let script = vec![slow, vec![Step::Wait(200 * MS), answer("a")]];
        let (server, _log) = start("hedge = { after = '50ms' }", in_turn(script));
        assert_took(page("a").await, 250 * MS);
        assert_eq!(server.metrics.upstream_hedges_won.get(), 1);
    });
}

#[test]
fn what_is_usual_decides_when_to_hedge() {
    run(|| async {
        let number = Cell::new(0);
        let (server, _log) = start("hedge = true", move |asked| {
            number.set(number.get() + 1);
            let time = if number.get() % 50 == 0 { 2000 } else { 20 };
            vec![Step::Wait(MS * time), answer(asked.token)]
        });
        for n in 1..=200 {
            let took = page("a").await;
            // The first slow one comes when enough is known: a p95 of about 20 ms, twice.
            assert!(took < 100 * MS, "{n}: {took:?}");
        }
        let hedges = server.metrics.upstream_hedges.get();
        assert!((4..20).contains(&hedges), "{hedges}");
    });
}

#[test]
fn hedges_have_the_budget_of_retries() {
    run(|| async {
        let (server, log) = start("hedge = { after = '10ms' }", |asked| {
            vec![Step::Wait(50 * MS), answer(asked.token)]
        });
        for _ in 0..200 {
            page("a").await;
        }
        let hedges = log.borrow().requests.len() - 200;
        assert!((20..=20 + 12).contains(&hedges), "{hedges}");
        assert!(server.metrics.upstream_retries_denied.get() > 100);
    });
}
