//! Connections to upstreams that serve again, and those that must not.

use ringpress::driver::kind::Kind;

use super::stage::{Script, wait};
use super::upstream::{Gate, Then, Upstream, json};

on_every_driver!(
    closed_between_requests,
    dies_once_and_is_retried,
    dies_twice,
    dies_within_an_answer,
    resets_within_large_answers,
    surplus_in_one_piece,
    surplus_afterwards,
    an_answer_that_came_too_late,
    waits_for_a_free_connection,
);

const ADA: &str = r#"{"name": "Ada"}"#;
const EVIL: &str = r#"{"name": "Eve"}"#;

fn closed_between_requests(kind: Kind) {
    // The upstream never says that it will close, and always does.
    let stage = Script::on(kind).user_page().start(Upstream::bytes(json(ADA), || Then::Close));
    let mut visitor = stage.visitor();
    for _ in 0..30 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    }
    wait("closed connections to be noticed", || stage.count(|m| m.upstream_connections.get()) == 0);
    drop(visitor);
    stage.finish();
}

fn dies_once_and_is_retried(kind: Kind) {
    let upstream = Upstream::start(|call| match (call.connection, call.turn) {
        (1, 2) => Then::Close,
        _ => call.json(ADA),
    });
    let stage = Script::on(kind).user_page().start(upstream);
    let mut visitor = stage.visitor();
    for id in 1..=3 {
        assert_eq!(visitor.get(&format!("/users/{id}")).page(), "<p>Ada</p>");
    }
    assert_eq!(stage.upstream().calls(), ["/users/1", "/users/2", "/users/2", "/users/3"]);
    assert_eq!(stage.upstream().connections(), 2);
    assert_eq!(stage.count(|m| m.upstream_retries.get()), 1);
    drop(visitor);
    stage.finish();
}

fn dies_twice(kind: Kind) {
    let upstream = Upstream::start(|call| match (call.connection, call.turn) {
        (1, 1) => call.json(ADA),
        _ => Then::Close,
    });
    let stage = Script::on(kind).user_page().start(upstream);
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    visitor.get("/users/2").is_error(502);
    assert_eq!(stage.upstream().calls(), ["/users/1", "/users/2", "/users/2"]);
    assert_eq!(stage.count(|m| m.upstream_retries.get()), 1);
    drop(visitor);
    stage.finish();
}

fn dies_within_an_answer(kind: Kind) {
    let upstream = Upstream::start(|call| match (call.connection, call.turn) {
        (1, 2) => {
            call.send("HTTP/1.1 2");
            Then::Close
        }
        _ => call.json(ADA),
    });
    let stage = Script::on(kind).user_page().start(upstream);
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    visitor.get("/users/2").is_error(502);
    assert_eq!(stage.upstream().calls().len(), 2);
    assert_eq!(visitor.get("/users/3").page(), "<p>Ada</p>");
    drop(visitor);
    stage.finish();
}

fn resets_within_large_answers(kind: Kind) {
    const HALF: usize = 200_000;
    let upstream = Upstream::start(|call| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
        call.send(format!("{head}: {}\r\n\r\n", 2 * HALF));
        call.send(vec![b'a'; HALF]);
        Then::Reset
    });
    let policy = "max_body = '16MiB'\nbreaker = { requests_min = 1000 }";
    let stage = Script::on(kind).policy(policy).user_page().start(upstream);
    // Beside each other: then bytes and the reset behind them are often there at once.
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut visitor = stage.visitor();
                for id in 1..=4 {
                    visitor.get(&format!("/users/{id}")).is_error(502);
                }
            });
        }
    });
    stage.finish();
}

fn surplus_in_one_piece(kind: Kind) {
    for surplus in [json(EVIL), "x".to_owned(), "\r\n".to_owned()] {
        let answer = json(ADA) + &surplus;
        let stage = Script::on(kind).user_page().start(Upstream::bytes(answer, || Then::Keep));
        let mut visitor = stage.visitor();
        for _ in 0..5 {
            assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
        }
        assert_eq!(stage.upstream().connections(), 5);
        drop(visitor);
        stage.finish();
    }
}

fn surplus_afterwards(kind: Kind) {
    let (answered, sent) = (Gate::default(), Gate::default());
    let (wait_for, tell) = (answered.clone(), sent.clone());
    let upstream = Upstream::start(move |call| {
        call.json(ADA);
        if call.connection == 1 {
            wait_for.pass();
            call.send(json(EVIL));
            tell.open();
        }
        Then::Keep
    });
    let stage = Script::on(kind).user_page().start(upstream);
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    answered.open();
    sent.pass();
    for _ in 0..5 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    }
    assert_eq!(stage.upstream().connections(), 2);
    drop(visitor);
    stage.finish();
}

fn an_answer_that_came_too_late(kind: Kind) {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        if call.id() == "slow" {
            at.pass();
            return call.json(EVIL);
        }
        call.json(ADA)
    });
    // Long enough for the good answers on a busy machine.
    let stage = Script::on(kind).policy("header_timeout = '1s'").user_page().start(upstream);
    let mut visitor = stage.visitor();
    visitor.get("/users/slow").is_error(504);
    gate.open();
    for _ in 0..5 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    }
    assert_eq!(stage.upstream().connections(), 2);
    drop(visitor);
    stage.finish();
}

fn waits_for_a_free_connection(kind: Kind) {
    let upstream = Upstream::start(|call| {
        let id = call.id().to_owned();
        super::upstream::some_delay(id.parse().unwrap());
        call.json(format!("[{id}]"))
    });
    let stage = Script::on(kind)
        .policy("max_connections = 2")
        .page(
            "/",
            "[page.fetch]\nn = { from = 'api', each = 'range(20)', path = '/n/{{ it }}' }",
            "{% for value in n %}{{ value[0] }},{% endfor %}",
        )
        .start(upstream);
    let expected: String = (0..20).map(|n| format!("{n},")).collect();
    for _ in 0..3 {
        assert_eq!(stage.get("/").page(), expected);
    }
    assert_eq!(stage.upstream().connections(), 2);
    stage.finish();
}
