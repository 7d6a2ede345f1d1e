//! Visitors who leave while their page is being made, and those who only seem to.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::{Client, get};
use super::server::{SERVER, Server, assert_took, item_site, run};
use super::upstream::{self, Step, answer, at};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A server whose items take so long, but `quick` ones; and what their upstream sees.
fn start(time: Duration) -> (Server, std::rc::Rc<std::cell::RefCell<upstream::Log>>) {
    let log = upstream::start(at(81), move |asked| match asked.token {
        "quick" => vec![answer(asked.token)],
        _ => vec![Step::Wait(time), answer(asked.token)],
    });
    let server = Server::start(&item_site("", ""), &[&[at(81)]], Bounds::default());
    (server, log)
}

#[test]
fn one_who_closes_has_their_fetches_cancelled_after_a_grace() {
    run(|| async {
        let (server, log) = start(SECOND * 4);
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send(get("/item/a")).await.unwrap();
        Sim::sleep(SECOND / 2).await;
        drop(client);
        // It may have ended its own side only, and still be listening.
        Sim::sleep(900 * MS).await;
        assert_eq!(server.metrics.in_flight.get(), 1);
        Sim::sleep(200 * MS).await;
        server.assert_balanced();
        assert_eq!(server.metrics.requests_abandoned.get(), 1);
        assert_eq!(server.metrics.requests_aborted.get(), 1);
        assert_eq!(server.metrics.upstream_cancelled.get(), 1);
        assert_eq!(server.metrics.upstream_connections.get(), 0);
        Sim::sleep(SECOND * 4).await;
        assert!(log.borrow().closed[0], "the upstream is told by a close");
    });
}

#[test]
fn one_who_resets_has_them_cancelled_at_once() {
    run(|| async {
        let (server, _log) = start(SECOND * 4);
        let mut client = Client::connect(SERVER).await.unwrap();
        // An answer that is never read makes a reset of a close.
        client.send([get("/item/quick"), get("/item/a")].concat()).await.unwrap();
        Sim::sleep(SECOND / 2).await;
        assert_eq!(server.metrics.in_flight.get(), 1);
        drop(client);
        Sim::sleep(MS).await;
        server.assert_balanced();
        assert_eq!(server.metrics.requests_abandoned.get(), 1);
        assert_eq!(server.metrics.upstream_cancelled.get(), 1);
    });
}

#[test]
fn one_who_ends_their_side_only_is_answered_if_it_does_not_take_too_long() {
    run(|| async {
        let (server, _log) = start(SECOND * 3 / 2);
        for (ends_after, answered) in [(Duration::ZERO, false), (SECOND, true)] {
            let mut client = Client::connect(SERVER).await.unwrap();
            client.send(get("/item/a")).await.unwrap();
            let start = Sim::elapsed();
            Sim::sleep(ends_after).await;
            client.finish().unwrap();
            let answer = client.answer(false).await.unwrap();
            assert_eq!(answer.is_some_and(|answer| answer.body == "token=a;"), answered);
            match answered {
                true => assert_took(Sim::elapsed() - start, SECOND * 3 / 2),
                false => assert_took(Sim::elapsed() - start, SECOND + 100 * MS),
            }
        }
        Sim::sleep(SECOND).await;
        assert_eq!(server.metrics.requests_abandoned.get(), 1);
        server.assert_balanced();
    });
}

#[test]
fn what_is_sent_meanwhile_is_the_next_request() {
    run(|| async {
        let (server, _log) = start(SECOND);
        let mut client = Client::connect(SERVER).await.unwrap();
        let second = get("/item/quick");
        // The second request comes in three parts: with the first, while that waits, and after.
        let (with, rest) = second.split_at(9);
        let (meanwhile, after) = rest.split_at(9);
        client.send([get("/item/a").as_str(), with].concat()).await.unwrap();
        Sim::sleep(SECOND / 2).await;
        client.send(meanwhile).await.unwrap();
        assert_eq!(client.answer(false).await.unwrap().unwrap().body, "token=a;");
        Sim::sleep(SECOND).await;
        client.send(after).await.unwrap();
        assert_eq!(client.answer(false).await.unwrap().unwrap().body, "token=quick;");
        // And a whole one, and an end behind it.
        client.send(get("/item/b")).await.unwrap();
        Sim::sleep(SECOND / 2).await;
        client.send(get("/item/c")).await.unwrap();
        client.finish().unwrap();
        for body in ["token=b;", "token=c;"] {
            assert_eq!(client.answer(false).await.unwrap().unwrap().body, body);
        }
        client.ends().await.unwrap();
        drop(client);
        Sim::sleep(SECOND).await;
        assert_eq!(server.metrics.requests_aborted.get(), 0);
        server.assert_balanced();
    });
}
