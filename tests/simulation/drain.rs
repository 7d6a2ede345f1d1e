//! The end of a worker: what is in flight is finished, and nobody waits forever.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::{Client, get};
use super::server::{SERVER, Server, assert_took, item_site, run};
use super::upstream::{self, Step, answer, at};

const SECOND: Duration = Duration::from_secs(1);

/// A server of items that take so long.
fn start(time: Duration) -> Server {
    upstream::start(at(81), move |asked| vec![Step::Wait(time), answer(asked.token)]);
    let bounds = Bounds { drain_timeout: SECOND * 3, ..Bounds::default() };
    Server::start(
        &item_site("header_timeout = '20s'\ndeadline = '20s'", "deadline = '20s'"),
        &[&[at(81)]],
        bounds,
    )
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_then_ends() {
    run(|| async {
        let server = start(SECOND);
        let mut idle = Client::connect(SERVER).await.unwrap();
        assert_eq!(idle.ask(get("/item/a")).await.status, 200);
        let mut busy = Client::connect(SERVER).await.unwrap();
        busy.send(get("/item/b")).await.unwrap();
        Sim::sleep(SECOND / 2).await;
        server.orders.drain();
        let start = Sim::elapsed();
        Sim::sleep(SECOND / 4).await;
        // An idle connection does not hold it up, and one that asks is still answered.
        idle.send(get("/item/c")).await.unwrap();
        for (mut client, token) in [(busy, "b"), (idle, "c")] {
            let answer = client.answer(false).await.unwrap().unwrap();
            assert_eq!(answer.body, format!("token={token};"));
            assert!(!answer.keep_alive, "{answer:?}");
            client.ends().await.unwrap();
        }
        Sim::sleep(SECOND).await;
        assert_took(server.ended.get().unwrap() - start, SECOND + SECOND / 4);
        assert_eq!(server.metrics.requests_aborted.get(), 0);
    });
}

#[test]
fn a_drain_of_an_idle_worker_ends_at_once() {
    run(|| async {
        let server = start(Duration::ZERO);
        let mut idle = Client::connect(SERVER).await.unwrap();
        assert_eq!(idle.ask(get("/item/a")).await.status, 200);
        server.orders.drain();
        Sim::sleep(SECOND / 4).await;
        assert!(server.ended.get().is_some());
    });
}

#[test]
fn a_drain_ends_in_time_whatever_is_in_flight() {
    run(|| async {
        let server = start(SECOND * 15);
        let mut busy = Client::connect(SERVER).await.unwrap();
        busy.send(get("/item/b")).await.unwrap();
        Sim::sleep(SECOND / 2).await;
        server.orders.drain();
        let start = Sim::elapsed();
        Sim::sleep(SECOND * 5).await;
        assert_took(server.ended.get().unwrap() - start, SECOND * 3);
    });
}

#[test]
fn a_worker_that_drains_listens_no_more() {
    run(|| async {
        let server = start(SECOND);
        let mut busy = Client::connect(SERVER).await.unwrap();
        busy.send(get("/item/b")).await.unwrap();
        Sim::sleep(SECOND / 4).await;
        server.orders.drain();
        Sim::sleep(SECOND / 4).await;
        // Whoever comes now must find another server, not a silent end at this one.
        assert!(Client::connect(SERVER).await.is_err());
        assert_eq!(busy.answer(false).await.unwrap().unwrap().status, 200);
    });
}

#[test]
fn a_worker_that_is_stopped_ends_at_once() {
    run(|| async {
        let server = start(SECOND * 15);
        let mut busy = Client::connect(SERVER).await.unwrap();
        busy.send(get("/item/b")).await.unwrap();
        Sim::sleep(SECOND / 2).await;
        server.orders.stop();
        Sim::sleep(SECOND / 4).await;
        assert!(server.ended.get().is_some());
    });
}
