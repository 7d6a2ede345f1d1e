//! Exchanges with upstreams: deadlines, addresses, and the one safe retry.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::worker::Bounds;

use super::client::visit;
use super::server::{SERVER, Server, assert_took, item_site, run, run_with};
use super::upstream::{self, Step, answer, at, in_turn, json, response};

const MS: Duration = Duration::from_millis(1);

/// A server of items whose upstream has these addresses.
fn start(policy: &str, page: &str, addresses: &[std::net::SocketAddr]) -> Server {
    Server::start(&item_site(policy, page), &[addresses], Bounds::default())
}

#[test]
fn a_head_that_does_not_come_costs_the_header_timeout() {
    run(|| async {
        upstream::start(at(81), |_| vec![Step::Hang]);
        let server = start("header_timeout = '300ms'", "", &[at(81)]);
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!(answer.status, 504);
        assert_took(took, 300 * MS);
        // Its connection may still bring the answer: to nobody.
        assert_eq!(server.metrics.upstream_connections.get(), 0);
        assert_eq!(server.metrics.upstream_retries.get(), 0);
        server.assert_exchanges(1);
    });
}

#[test]
fn a_head_that_drips_costs_the_header_timeout_too() {
    run(|| async {
        upstream::start(at(81), |_| {
            let drip = |byte: &u8| [Step::Wait(100 * MS), Step::Send(vec![*byte])];
            response(200, "{}").iter().flat_map(drip).collect()
        });
        let _server = start("header_timeout = '300ms'", "", &[at(81)]);
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!(answer.status, 504);
        assert_took(took, 300 * MS);
    });
}

#[test]
fn a_body_that_does_not_end_costs_the_fetchs_deadline() {
    run(|| async {
        upstream::start(at(81), |asked| {
            let mut whole = response(200, &json(asked.token));
            whole.pop();
            vec![Step::Send(whole), Step::Hang]
        });
        let _server = start("header_timeout = '300ms'\ndeadline = '700ms'", "", &[at(81)]);
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!(answer.status, 504);
        assert_took(took, 700 * MS);
    });
}

#[test]
fn the_pages_deadline_is_over_all() {
    run(|| async {
        upstream::start(at(81), |_| vec![Step::Hang]);
        let _server = start("deadline = '3s'", "deadline = '400ms'", &[at(81)]);
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!(answer.status, 504);
        assert_took(took, 400 * MS);
    });
}

#[test]
fn connects_that_hang_cost_a_connect_timeout_each() {
    let hung = Faults { connect_hung: 1.0, ..Faults::none() };
    run_with(hung, || async {
        let addresses = [at(81), at(82)];
        let server = start("connect_timeout = '300ms'", "deadline = '5s'", &addresses);
        // The visitor's own connect would hang as well, so the worker's client is asked.
        let outcome = server.fetch("/item/a").await.unwrap_err();
        assert!(outcome.is_timeout(), "{outcome}");
        assert_took(Sim::elapsed(), 600 * MS);
        assert_eq!(server.metrics.upstream_connects.get(), 2);
        assert_eq!(server.metrics.upstream_connections.get(), 0);
    });
}

#[test]
fn an_address_that_refuses_is_passed_over() {
    run(|| async {
        let log = upstream::start(at(82), |asked| vec![answer(asked.token), Step::Close]);
        // Nobody listens at the first.
        let server = start("", "", &[at(81), at(82)]);
        for token in ["a", "b", "c"] {
            let (answer, _) = visit(SERVER, &format!("/item/{token}")).await;
            assert_eq!(answer.body, format!("token={token};"));
        }
        assert_eq!(log.borrow().connections, 3);
        assert!(server.metrics.upstream_connects.get() > 3);
        server.assert_exchanges(3);
    });
}

#[test]
fn an_upstream_that_is_nowhere_is_a_bad_gateway() {
    run(|| async {
        let _server = start("", "", &[at(81)]);
        assert_eq!(visit(SERVER, "/item/a").await.0.status, 502);
        drop(_server);
    });
    run(|| async {
        let _server = start("", "", &[]);
        assert_eq!(visit(SERVER, "/item/a").await.0.status, 502);
    });
}

#[test]
fn a_pooled_connection_that_dies_unanswered_is_replaced_once() {
    run(|| async {
        let again = vec![vec![answer("a")], vec![Step::Close], vec![answer("b")]];
        let log = upstream::start(at(81), in_turn(again));
        let server = start("", "", &[at(81)]);
        assert_eq!(visit(SERVER, "/item/a").await.0.body, "token=a;");
        assert_eq!(visit(SERVER, "/item/b").await.0.body, "token=b;");
        let asked = |n, token: &str| (n, token.to_owned());
        assert_eq!(log.borrow().requests, [asked(0, "a"), asked(0, "b"), asked(1, "b")]);
        assert_eq!(server.metrics.upstream_retries.get(), 1);
        server.assert_exchanges(2);
    });
}

#[test]
fn the_replacement_of_a_connection_is_not_replaced() {
    run(|| async {
        let again = vec![vec![answer("a")], vec![Step::Close], vec![Step::Close]];
        let log = upstream::start(at(81), in_turn(again));
        let server = start("", "", &[at(81)]);
        assert_eq!(visit(SERVER, "/item/a").await.0.status, 200);
        assert_eq!(visit(SERVER, "/item/b").await.0.status, 502);
        assert_eq!(log.borrow().requests.len(), 3);
        assert_eq!(server.metrics.upstream_retries.get(), 1);
        assert_eq!(visit(SERVER, "/item/c").await.0.status, 200);
    });
}

#[test]
fn what_was_answered_in_part_is_not_asked_again() {
    for part in [&b"HTTP/1.1 2"[..], b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r"] {
        run(|| async {
            let script = vec![vec![answer("a")], vec![Step::Send(part.to_vec()), Step::Close]];
            let log = upstream::start(at(81), in_turn(script));
            let server = start("", "", &[at(81)]);
            assert_eq!(visit(SERVER, "/item/a").await.0.status, 200);
            assert_eq!(visit(SERVER, "/item/b").await.0.status, 502);
            assert_eq!(log.borrow().requests.len(), 2, "{:?}", String::from_utf8_lossy(part));
            assert_eq!(server.metrics.upstream_retries.get(), 0);
        });
    }
}

#[test]
fn a_new_connection_that_dies_is_not_replaced() {
    run(|| async {
        let log = upstream::start(at(81), in_turn(vec![vec![Step::Close]]));
        let server = start("", "", &[at(81)]);
        assert_eq!(visit(SERVER, "/item/a").await.0.status, 502);
        assert_eq!(log.borrow().requests.len(), 1);
        server.assert_exchanges(1);
    });
}

#[test]
fn after_bytes_too_many_a_connection_is_not_used_again() {
    run(|| async {
        // A whole second response: on the next exchange it would pass for the answer.
        let twice = [response(200, &json("a")), response(200, &json("forged"))].concat();
        let log = upstream::start(at(81), in_turn(vec![vec![Step::Send(twice)]]));
        let _server = start("", "", &[at(81)]);
        assert_eq!(visit(SERVER, "/item/a").await.0.body, "token=a;");
        assert_eq!(visit(SERVER, "/item/b").await.0.body, "token=b;");
        assert_eq!(log.borrow().connections, 2);
    });
    run(|| async {
        // The same, a moment later.
        let forged = Step::Send(response(200, &json("forged")));
        let script = vec![vec![answer("a"), Step::Wait(10 * MS), forged]];
        let log = upstream::start(at(81), in_turn(script));
        let _server = start("", "", &[at(81)]);
        assert_eq!(visit(SERVER, "/item/a").await.0.body, "token=a;");
        Sim::sleep(20 * MS).await;
        assert_eq!(visit(SERVER, "/item/b").await.0.body, "token=b;");
        assert_eq!(log.borrow().connections, 2);
    });
}
