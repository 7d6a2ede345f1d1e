//! What an upstream's policy does over real sockets: who is asked again, elsewhere, or not at all.

use std::net::SocketAddr;
use std::thread;

use ringpress::driver::kind::Kind;
use socket2::{Domain, Socket, Type};

use super::stage::{Script, wait};
use super::upstream::{Gate, Then, Upstream};
use super::visitor::Visitor;

on_every_driver!(
    one_of_three_addresses_refuses,
    a_failure_is_tried_again,
    a_slow_answer_is_hedged,
    a_breaker_opens,
    more_than_may_be_in_flight,
    an_address_fails_its_health_checks,
    a_body_that_does_not_come,
    connections_are_shared_out_among_workers,
);

const ADA: &str = r#"{"name": "Ada"}"#;

fn one_of_three_addresses_refuses(kind: Kind) {
    // A port that is taken, so that nobody else is given it, and that nobody listens on.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let nobody = taken.local_addr().ok().and_then(|address| address.as_socket()).expect("a port");
    let upstreams = [Upstream::json(ADA), Upstream::json(ADA)];
    let addresses = [upstreams[0].address(), nobody, upstreams[1].address()];
    let stage =
        Script::on(kind).policy("eject = { failures = 3 }").user_page().start_at(&addresses);
    let mut visitor = stage.visitor();
    for _ in 0..60 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    }
    assert_eq!(stage.count(|m| m.upstream_ejections.get()), 1);
    assert_eq!(stage.count(|m| m.upstream_connects.get()), 5);
    let calls = upstreams.each_ref().map(|upstream| upstream.calls().len());
    assert!(calls[0] + calls[1] == 60 && calls[0].abs_diff(calls[1]) <= 6, "{calls:?}");
    drop(visitor);
    stage.finish();
}

fn a_failure_is_tried_again(kind: Kind) {
    let upstream = Upstream::start(|call| match call.connection {
        1 => Then::Reset,
        2 => call.status(503),
        _ => call.json(ADA),
    });
    let policy = "retry = { attempts = 3, backoff = '1ms' }\nmax_idle = 0";
    let stage = Script::on(kind).policy(policy).user_page().start(upstream);
    assert_eq!(stage.get("/users/1").page(), "<p>Ada</p>");
    assert_eq!(stage.count(|m| m.upstream_retried.get()), 2);
    assert_eq!(stage.count(|m| m.upstream_exchanges.get()), 1);
    stage.finish();
}

fn a_slow_answer_is_hedged(kind: Kind) {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        if call.connection == 1 {
            at.pass();
            return call.json(r#"{"name": "Eve"}"#);
        }
        call.json(ADA)
    });
    let stage = Script::on(kind).policy("hedge = { after = '20ms' }").user_page().start(upstream);
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    wait("the loser's end", || stage.count(|m| m.upstream_connections.get()) == 1);
    gate.open();
    for _ in 0..10 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    }
    assert!(stage.count(|m| m.upstream_hedges_won.get()) >= 1);
    drop(visitor);
    stage.finish();
}

fn a_breaker_opens(kind: Kind) {
    let upstream = Upstream::start(|call| call.status(500));
    let policy = "breaker = { requests_min = 5, open = '1h' }";
    let stage = Script::on(kind).policy(policy).user_page().start(upstream);
    let mut visitor = stage.visitor();
    for _ in 0..5 {
        visitor.get("/users/1").is_error(502);
    }
    for _ in 0..5 {
        visitor.get("/users/1").is_error(503);
    }
    assert_eq!(stage.upstream().calls().len(), 5);
    assert_eq!(stage.count(|m| m.upstream_breaker_rejects.get()), 5);
    drop(visitor);
    stage.finish();
}

fn more_than_may_be_in_flight(kind: Kind) {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        at.pass();
        call.json(ADA)
    });
    let policy = "max_in_flight = 1\nqueue_timeout = '20ms'";
    let stage = Script::on(kind).policy(policy).user_page().start(upstream);
    let mut first = stage.visitor();
    first.send(super::visitor::get("/users/1"));
    wait("the first call", || stage.upstream().calls().len() == 1);
    stage.get("/users/2").is_error(503);
    gate.open();
    assert_eq!(first.reply().page(), "<p>Ada</p>");
    assert_eq!(stage.get("/users/3").page(), "<p>Ada</p>");
    assert_eq!(stage.upstream().calls(), ["/users/1", "/users/3"]);
    drop(first);
    stage.finish();
}

fn an_address_fails_its_health_checks(kind: Kind) {
    let well = Upstream::json(ADA);
    let unwell = Upstream::start(|call| match call.target {
        "/healthz" => call.status(503),
        _ => call.json(ADA),
    });
    let policy = "health = { path = '/healthz', interval = '100ms', timeout = '100ms', fails = 2 }";
    let addresses = [well.address(), unwell.address()];
    let stage = Script::on(kind).policy(policy).user_page().start_at(&addresses);
    wait("an address to be taken out", || stage.count(|m| m.upstream_unwell.get()) > 0);
    let calls = |of: &Upstream| of.calls().iter().filter(|call| *call != "/healthz").count();
    let before = calls(&unwell);
    for _ in 0..10 {
        assert_eq!(stage.get("/users/1").page(), "<p>Ada</p>");
    }
    // On a busy machine the other one may be late with its answers too, and both be asked.
    if stage.count(|m| m.upstream_unwell.get()) == 1 {
        assert_eq!((calls(&well), calls(&unwell)), (10, before));
    }
    stage.finish();
}

fn a_body_that_does_not_come(kind: Kind) {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        call.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{");
        at.pass();
        Then::Close
    });
    let stage = Script::on(kind).policy("body_timeout = '50ms'").user_page().start(upstream);
    stage.get("/users/1").is_error(504);
    gate.open();
    stage.finish();
}

fn connections_are_shared_out_among_workers(kind: Kind) {
    let upstream = Upstream::start(|call| {
        super::upstream::some_delay(call.id().parse().expect("a number"));
        call.json(ADA)
    });
    let stage =
        Script::on(kind).workers(2).policy("max_connections = 2").user_page().start(upstream);
    let address = stage.address();
    thread::scope(|scope| {
        for id in 0..40 {
            scope.spawn(move || {
                let reply = Visitor::to(address).get(&format!("/users/{id}"));
                assert_eq!(reply.page(), "<p>Ada</p>");
            });
        }
    });
    assert!(stage.upstream().connections() <= 2, "{}", stage.upstream().connections());
    stage.finish();
}
