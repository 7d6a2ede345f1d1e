//! Toward visitors: every wait has an end, and every bound an answer.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::worker::Bounds;

use super::client::{Client, get, visit};
use super::server::{SERVER, Server, assert_took, item_site, run, run_with};
use super::upstream::{self, Step, answer, at, in_turn, json_filled, response};

const SECOND: Duration = Duration::from_secs(1);

fn bounds() -> Bounds {
    Bounds {
        head_timeout: SECOND * 2,
        body_timeout: SECOND * 3,
        idle_timeout: SECOND * 5,
        write_timeout: SECOND * 4,
        rate_min: 0,
        ..Bounds::default()
    }
}

/// A server of items, and its upstream, which answers at once.
fn start(bounds: Bounds) -> Server {
    upstream::start(at(81), |asked| vec![answer(asked.token)]);
    Server::start(&item_site("", ""), &[&[at(81)]], bounds)
}

#[test]
fn a_head_that_does_not_end_gets_408() {
    run(|| async {
        let server = start(bounds());
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send("GET /item/a HTTP/1.1\r\n").await.unwrap();
        let start = Sim::elapsed();
        Sim::sleep(SECOND).await;
        // Time is counted from the first byte: one more does not begin it anew.
        client.send("Host:").await.unwrap();
        let answer = client.answer(false).await.unwrap().unwrap();
        assert_took(Sim::elapsed() - start, SECOND * 2);
        assert_eq!((answer.status, answer.keep_alive), (408, false));
        client.ends().await.unwrap();
        drop(client);
        Sim::sleep(SECOND).await;
        assert_eq!(server.metrics.requests_malformed.get(), 1);
        server.assert_balanced();
    });
}

#[test]
fn a_408_can_be_read_by_a_client_that_is_still_sending() {
    run(|| async {
        let server = start(bounds());
        let mut client = Client::connect(SERVER).await.unwrap();
        for _ in 0..6 {
            client.send("G").await.unwrap();
            Sim::sleep(SECOND / 2).await;
        }
        let answer = client.answer(false).await.unwrap().unwrap();
        assert_eq!((answer.status, answer.keep_alive), (408, false));
        drop(client);
        Sim::sleep(SECOND * 3).await;
        server.assert_balanced();
    });
}

#[test]
fn an_empty_line_after_a_request_does_not_begin_another() {
    run(|| async {
        let server = start(bounds());
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send([get("/item/a").as_str(), "\r\n"].concat()).await.unwrap();
        assert_eq!(client.answer(false).await.unwrap().unwrap().status, 200);
        // Longer than a head may take: an idle connection may wait on.
        Sim::sleep(SECOND * 3).await;
        assert_eq!(client.ask(get("/item/b")).await.status, 200);
        drop(client);
        Sim::sleep(SECOND * 3).await;
        assert_eq!(server.metrics.requests_malformed.get(), 0);
        server.assert_balanced();
    });
}

#[test]
fn a_body_that_does_not_end_gets_408() {
    run(|| async {
        let server = start(bounds());
        let mut client = Client::connect(SERVER).await.unwrap();
        let head = "GET /item/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
        client.send([head, "12345"].concat()).await.unwrap();
        let start = Sim::elapsed();
        let answer = client.answer(false).await.unwrap().unwrap();
        assert_took(Sim::elapsed() - start, SECOND * 3);
        assert_eq!((answer.status, answer.keep_alive), (408, false));
        client.ends().await.unwrap();
        drop(client);
        Sim::sleep(SECOND).await;
        server.assert_balanced();
    });
}

#[test]
fn a_body_may_take_long_if_it_keeps_coming() {
    run(|| async {
        let server = start(Bounds { rate_min: 1000, ..bounds() });
        let head = "GET /item/a HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n";
        let mut steady = Client::connect(SERVER).await.unwrap();
        steady.send(head).await.unwrap();
        for _ in 0..10 {
            Sim::sleep(SECOND).await;
            steady.send([b'x'; 1000]).await.unwrap();
        }
        let answer = steady.answer(false).await.unwrap().unwrap();
        assert_eq!((answer.status, answer.keep_alive), (200, true));
        drop(steady);
        // One at a tenth of the rate has the timeout, and what its 300 bytes earn.
        let mut slow = Client::connect(SERVER).await.unwrap();
        slow.send(head).await.unwrap();
        let start = Sim::elapsed();
        for _ in 0..3 {
            Sim::sleep(SECOND).await;
            slow.send([b'x'; 100]).await.unwrap();
        }
        let answer = slow.answer(false).await.unwrap().unwrap();
        assert_took(Sim::elapsed() - start, SECOND * 3 + SECOND * 3 / 10);
        assert_eq!((answer.status, answer.keep_alive), (408, false));
        drop(slow);
        Sim::sleep(SECOND * 3).await;
        server.assert_balanced();
    });
}

#[test]
fn a_large_page_may_be_read_slowly() {
    let narrow = Faults { pipe_bytes: 1000, ..Faults::none() };
    run_with(narrow, || async {
        upstream::start(at(81), |asked| {
            vec![Step::Send(response(200, &json_filled(asked.token, 20_000)))]
        });
        let bounds = Bounds { rate_min: 1000, ..bounds() };
        let server = Server::start(&item_site("", ""), &[&[at(81)]], bounds);
        // Four seconds for the answer, and one more for each of its thousand bytes.
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send(get("/item/a")).await.unwrap();
        Sim::sleep(SECOND * 23).await;
        assert!(client.answer(false).await.unwrap().unwrap().body.len() > 20_000);
        client.send(get("/item/b")).await.unwrap();
        Sim::sleep(SECOND * 26).await;
        assert!(client.answer(false).await.is_err());
        drop(client);
        Sim::sleep(SECOND).await;
        server.assert_balanced();
        assert_eq!(server.metrics.requests_aborted.get(), 1);
    });
}

#[test]
fn who_stops_in_mid_body_has_no_longer_for_what_came() {
    run(|| async {
        let server = start(Bounds { rate_min: 1000, ..bounds() });
        let mut client = Client::connect(SERVER).await.unwrap();
        let head = "GET /item/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
        client.send(head).await.unwrap();
        // Fifty seconds of what they earn, sent at once.
        client.send(vec![b'x'; 50_000]).await.unwrap();
        Sim::sleep(SECOND).await;
        client.send("x").await.unwrap();
        let start = Sim::elapsed();
        let answer = client.answer(false).await.unwrap().unwrap();
        assert_took(Sim::elapsed() - start, SECOND * 3);
        assert_eq!((answer.status, answer.keep_alive), (408, false));
        drop(client);
        Sim::sleep(SECOND * 3).await;
        server.assert_balanced();
    });
}

#[test]
fn who_stops_in_mid_page_has_no_longer_for_its_length() {
    run(|| async {
        upstream::start(at(81), |asked| {
            vec![Step::Send(response(200, &json_filled(asked.token, 1_000_000)))]
        });
        let bounds = Bounds { rate_min: 10_000, ..bounds() };
        let server = Server::start(&item_site("", ""), &[&[at(81)]], bounds);
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send(get("/item/a")).await.unwrap();
        // Four seconds, and what a piece earns: not the hundred of the whole page.
        Sim::sleep(SECOND * 9).await;
        assert_eq!(server.metrics.connections.get(), 1);
        Sim::sleep(SECOND * 3).await;
        server.assert_balanced();
        assert_eq!(server.metrics.requests_aborted.get(), 1);
        drop(client);
        // One who takes a piece in its time has all of them.
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send(get("/item/b")).await.unwrap();
        for pieces in 1..=15 {
            Sim::sleep(SECOND * 5).await;
            client.until(pieces * 60_000).await.unwrap();
        }
        assert!(client.answer(false).await.unwrap().unwrap().body.len() > 1_000_000);
        drop(client);
        Sim::sleep(SECOND).await;
        server.assert_balanced();
    });
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    run(|| async {
        let server = start(bounds());
        for requests in [0, 2] {
            let mut client = Client::connect(SERVER).await.unwrap();
            for _ in 0..requests {
                assert_eq!(client.ask(get("/item/a")).await.status, 200);
            }
            let start = Sim::elapsed();
            client.ends().await.unwrap();
            assert_took(Sim::elapsed() - start, SECOND * 5);
        }
        assert_eq!(server.metrics.requests.get(), 2);
        server.assert_balanced();
    });
}

#[test]
fn a_visitor_who_does_not_read_is_let_go() {
    let narrow = Faults { pipe_bytes: 1000, ..Faults::none() };
    run_with(narrow, || async {
        upstream::start(at(81), |asked| {
            vec![Step::Send(response(200, &json_filled(asked.token, 20_000)))]
        });
        let server = Server::start(&item_site("", ""), &[&[at(81)]], bounds());
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send(get("/item/a")).await.unwrap();
        Sim::sleep(SECOND * 3).await;
        assert_eq!(server.metrics.connections.get(), 1);
        assert_eq!(server.metrics.in_flight.get(), 1);
        Sim::sleep(SECOND * 2).await;
        server.assert_balanced();
        assert_eq!(server.metrics.requests_aborted.get(), 1);
        // What it reads then ends before the answer does: nobody takes it for one.
        assert!(client.answer(false).await.is_err());
        // One who reads slowly, but does, has it all.
        let (answer, _) = visit(SERVER, "/item/b").await;
        assert!(answer.body.starts_with("token=b;xxx") && answer.body.len() > 20_000);
    });
}

#[test]
fn visitors_over_the_bound_are_turned_away() {
    run(|| async {
        let server = start(Bounds { connections_max: 2, ..bounds() });
        let mut first = Client::connect(SERVER).await.unwrap();
        assert_eq!(first.ask(get("/item/a")).await.status, 200);
        let mut second = Client::connect(SERVER).await.unwrap();
        assert_eq!(second.ask(get("/item/b")).await.status, 200);
        for _ in 0..3 {
            let (answer, _) = visit(SERVER, "/item/c").await;
            assert_eq!((answer.status, answer.keep_alive), (503, false));
            assert!((1..=30).contains(&answer.retry_after_s().unwrap()), "{}", answer.head);
        }
        assert_eq!(server.metrics.connections_shed.get(), 3);
        // Those within it are served on, and a place that is free again is given away.
        assert_eq!(first.ask(get("/item/d")).await.status, 200);
        drop(second);
        Sim::sleep(SECOND / 10).await;
        assert_eq!(visit(SERVER, "/item/e").await.0.status, 200);
    });
}

#[test]
fn requests_over_the_bound_are_answered_503_at_once() {
    run(|| async {
        upstream::start(at(81), |asked| vec![Step::Wait(SECOND), answer(asked.token)]);
        let bounds = Bounds { in_flight_max: 1, ..bounds() };
        let server = Server::start(&item_site("", ""), &[&[at(81)]], bounds);
        let mut slow = Client::connect(SERVER).await.unwrap();
        slow.send(get("/item/slow")).await.unwrap();
        Sim::sleep(SECOND / 10).await;
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!((answer.status, answer.keep_alive), (503, true));
        assert!(took < SECOND / 10, "{took:?}");
        // The answer to HEAD has no body, whatever it is (RFC 9110 section 9.3.2).
        let mut client = Client::connect(SERVER).await.unwrap();
        client.send("HEAD /item/a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(client.answer(true).await.unwrap().unwrap().status, 503);
        assert_eq!(slow.answer(false).await.unwrap().unwrap().status, 200);
        // Nobody needs a new connection to come back.
        assert_eq!(client.ask(get("/item/b")).await.status, 200);
        drop(client);
        assert_eq!(server.metrics.requests_shed_in_flight.get(), 2);
        drop(slow);
        Sim::sleep(SECOND * 3).await;
        server.assert_balanced();
    });
}

#[test]
fn a_broken_upstream_does_not_end_the_visitors_connection() {
    run(|| async {
        let script = vec![vec![Step::Send(b"garbage\r\n".to_vec())], vec![Step::Close]];
        upstream::start(at(81), in_turn(script));
        let _server = Server::start(&item_site("", ""), &[&[at(81)]], bounds());
        let mut client = Client::connect(SERVER).await.unwrap();
        for status in [502, 502, 200] {
            let answer = client.ask(get("/item/a")).await;
            assert_eq!((answer.status, answer.keep_alive), (status, true));
        }
    });
}

#[test]
fn a_visitor_who_was_refused_can_read_why_while_still_sending() {
    run(|| async {
        let server = start(bounds());
        let mut client = Client::connect(SERVER).await.unwrap();
        client
            .send("POST /item/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
            .await
            .unwrap();
        for _ in 0..10 {
            Sim::sleep(SECOND / 50).await;
            client.send([b'x'; 10_000]).await.unwrap();
        }
        let answer = client.answer(false).await.unwrap().unwrap();
        assert_eq!((answer.status, answer.keep_alive), (405, false));
        assert!(answer.head.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{}", answer.head);
        client.ends().await.unwrap();
        drop(client);
        Sim::sleep(SECOND).await;
        server.assert_balanced();
    });
}
