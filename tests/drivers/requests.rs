//! Requests as visitors send them: many, in pieces, at once, with and without bodies.

use std::time::{Duration, SystemTime};

use ringpress::driver::kind::Kind;

use super::stage::Script;
use super::upstream::{Upstream, some_delay};
use super::visitor::{Visitor, get};

on_every_driver!(
    keep_alive,
    large_after_small,
    pipelined,
    byte_by_byte,
    bodies_are_read_and_passed_over,
    a_body_that_keeps_coming_may_take_its_time,
    head_has_no_body,
    options,
    wrong_method,
    unknown_method,
    http_1_0,
    connection_close,
    expect_continue,
    date,
    a_large_page_reaches_a_slow_reader,
);

/// A page that says which user it is, after a delay.
fn echo() -> Upstream {
    Upstream::start(|call| {
        some_delay(call.id().bytes().map(usize::from).sum());
        call.json(format!(r#"{{"name": "user {}"}}"#, call.id()))
    })
}

fn keep_alive(kind: Kind) {
    let stage = Script::on(kind).user_page().start(Upstream::json(r#"{"name": "Ada"}"#));
    let mut visitor = stage.visitor();
    for id in 0..200 {
        let reply = visitor.get(&format!("/users/{id}"));
        assert_eq!(reply.page(), "<p>Ada</p>");
        assert_eq!(reply.field("Connection"), None);
    }
    assert_eq!(stage.count(|m| m.accepted.get()), 1);
    stage.await_responses(200);
    assert_eq!(stage.upstream().connections(), 1);
    assert_eq!(stage.count(|m| m.upstream_reused.get()), 199);
    drop(visitor);
    stage.finish();
}

/// A connection has the room that requests lately needed: one that needs more is whole all the
/// same, whichever came before it, on the same connection or on a new one.
fn large_after_small(kind: Kind) {
    let stage = Script::on(kind).user_page().start(echo());
    let mut visitor = stage.visitor();
    let ask = |id: usize, padding: usize| {
        let lines = get(&format!("/users/{id}"));
        lines.replacen("\r\n", &format!("\r\nX-Padding: {}\r\n", "x".repeat(padding)), 1)
    };
    for round in 0..4 {
        for id in 0..40 {
            visitor.send(ask(id, 0));
            assert_eq!(visitor.reply().page(), format!("<p>user {id}</p>"));
        }
        // Around each room there is, and beyond the largest.
        for padding in (130..330).step_by(7).chain([500, 700, 1000, 1100, 5000]) {
            visitor.send(ask(padding + round, padding));
            assert_eq!(visitor.reply().page(), format!("<p>user {}</p>", padding + round));
        }
        visitor = stage.visitor();
    }
    drop(visitor);
    stage.finish();
}

fn pipelined(kind: Kind) {
    let stage = Script::on(kind).user_page().start(echo());
    let mut visitor = stage.visitor();
    visitor.send((0..50).map(|id| get(&format!("/users/{id}"))).collect::<String>());
    visitor.finish_sending();
    for id in 0..50 {
        assert_eq!(visitor.reply().page(), format!("<p>user {id}</p>"));
    }
    assert!(visitor.at_end());
    drop(visitor);
    stage.finish();
}

fn byte_by_byte(kind: Kind) {
    let stage = Script::on(kind).user_page().start(echo());
    let mut visitor = stage.visitor();
    let chunked = "GET /users/1 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n";
    let counted = "GET /users/2 HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc";
    for (request, page) in [(chunked, "<p>user 1</p>"), (counted, "<p>user 2</p>")] {
        for byte in request.bytes() {
            visitor.send([byte]);
        }
        assert_eq!(visitor.reply().page(), page);
    }
    drop(visitor);
    stage.finish();
}

fn bodies_are_read_and_passed_over(kind: Kind) {
    let stage = Script::on(kind).user_page().start(echo());
    let mut visitor = stage.visitor();
    // A body that looks like a request must not become one.
    let hidden = get("/users/hidden");
    let request = format!(
        "GET /users/1 HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    visitor.send(request + &get("/users/2"));
    assert_eq!(visitor.reply().page(), "<p>user 1</p>");
    assert_eq!(visitor.reply().page(), "<p>user 2</p>");
    let large = "x".repeat(500_000);
    visitor.send(format!(
        "GET /users/3 HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        large.len()
    ));
    visitor.send(large);
    assert_eq!(visitor.reply().page(), "<p>user 3</p>");
    assert_eq!(stage.upstream().calls(), ["/users/1", "/users/2", "/users/3"]);
    drop(visitor);
    stage.finish();
}

fn a_body_that_keeps_coming_may_take_its_time(kind: Kind) {
    let stage = Script::on(kind)
        .bounds(|bounds| {
            bounds.body_timeout = Duration::from_secs(2);
            bounds.rate_min = 1;
        })
        .plain_page()
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    visitor.send("GET /plain HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n");
    for byte in *b"hello" {
        std::thread::sleep(Duration::from_millis(500));
        visitor.send([byte]);
    }
    assert_eq!(visitor.reply().page(), "<p>plain</p>");
    drop(visitor);
    stage.finish();
}

fn head_has_no_body(kind: Kind) {
    let stage = Script::on(kind).user_page().start(Upstream::json(r#"{"name": "Ada"}"#));
    let mut visitor = stage.visitor();
    for target in ["/users/1", "/nowhere"] {
        let whole = visitor.get(target);
        // Were there a body, the next answer would begin with it.
        for _ in 0..3 {
            visitor.send(format!("HEAD {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
            let head = visitor.reply_to_head();
            assert_eq!(head.status, whole.status);
            assert_eq!(head.field("Content-Type"), whole.field("Content-Type"));
            if whole.status == 200 {
                assert_eq!(head.field("Content-Length"), whole.field("Content-Length"));
            }
        }
    }
    drop(visitor);
    stage.finish();
}

fn options(kind: Kind) {
    let stage = Script::on(kind).user_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for target in ["/users/1", "*"] {
        let reply = visitor.ask(format!("OPTIONS {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(reply.status, 204, "{target}");
        assert_eq!(reply.field("Allow"), Some("GET, HEAD, OPTIONS"), "{target}");
    }
    assert!(stage.upstream().calls().is_empty());
    drop(visitor);
    stage.finish();
}

fn wrong_method(kind: Kind) {
    let stage = Script::on(kind).user_page().start(Upstream::json(r#"{"name": "Ada"}"#));
    let mut visitor = stage.visitor();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let reply = visitor.ask(format!("{method} /users/1 HTTP/1.1\r\nHost: test\r\n\r\n"));
        reply.is_error(405);
        assert_eq!(reply.field("Allow"), Some("GET, HEAD, OPTIONS"), "{method}");
    }
    // No body at all, said in so many words: nothing that would have to be closed for.
    let empty = "POST /users/1 HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
    let reply = visitor.ask(empty);
    reply.is_error(405);
    assert_eq!(reply.field("Connection"), None);
    // A body nobody reads: its end is not looked for, so nothing after it is a request.
    let hidden = get("/users/hidden");
    visitor.send(format!(
        "POST /users/1 HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    ));
    let reply = visitor.reply();
    reply.is_error(405);
    assert_eq!(reply.field("Connection"), Some("close"));
    assert!(visitor.at_end());
    assert!(stage.upstream().calls().is_empty());
    drop(visitor);
    stage.finish();
}

fn unknown_method(kind: Kind) {
    let stage = Script::on(kind).user_page().plain_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for method in ["BREW", "get", "PROPFIND"] {
        let reply = visitor.ask(format!("{method} /users/1 HTTP/1.1\r\nHost: test\r\n\r\n"));
        reply.is_error(501);
    }
    assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    drop(visitor);
    stage.finish();
}

fn http_1_0(kind: Kind) {
    let stage = Script::on(kind).user_page().start(echo());
    let mut once = stage.visitor();
    let reply = once.ask("GET /users/1 HTTP/1.0\r\n\r\n");
    assert_eq!(reply.page(), "<p>user 1</p>");
    assert_eq!(reply.field("Connection"), Some("close"));
    assert!(once.at_end());
    let mut twice = stage.visitor();
    for id in 2..4 {
        let request = format!("GET /users/{id} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let reply = twice.ask(request);
        assert_eq!(reply.page(), format!("<p>user {id}</p>"));
        assert_eq!(reply.field("Connection"), Some("keep-alive"));
    }
    drop((once, twice));
    stage.finish();
}

fn connection_close(kind: Kind) {
    let stage = Script::on(kind).user_page().start(echo());
    let mut visitor = stage.visitor();
    let request = "GET /users/1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    visitor.send(request.to_owned() + &get("/users/2"));
    let reply = visitor.reply();
    assert_eq!(reply.page(), "<p>user 1</p>");
    assert_eq!(reply.field("Connection"), Some("close"));
    assert!(visitor.at_end());
    assert_eq!(stage.upstream().calls(), ["/users/1"]);
    drop(visitor);
    stage.finish();
}

fn expect_continue(kind: Kind) {
    let stage = Script::on(kind).user_page().start(echo());
    let mut visitor = stage.visitor();
    let head = |method: &str, expectation: &str| {
        format!(
            "{method} /users/1 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\
             Expect: {expectation}\r\n\r\n"
        )
    };
    let interim = visitor.ask(head("GET", "100-continue"));
    assert_eq!(interim.status, 100);
    assert_eq!(visitor.ask("hello").page(), "<p>user 1</p>");
    // A body that came along needs no invitation.
    assert_eq!(visitor.ask(head("GET", "100-continue") + "hello").page(), "<p>user 1</p>");
    // A body that is not wanted is not asked for.
    let refused = visitor.ask(head("POST", "100-continue"));
    refused.is_error(405);
    assert!(visitor.at_end());
    let mut other = stage.visitor();
    other.ask(head("GET", "a-miracle")).is_error(417);
    assert!(other.at_end());
    drop((visitor, other));
    stage.finish();
}

fn date(kind: Kind) {
    let stage = Script::on(kind).plain_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for target in ["/plain", "/nowhere"] {
        let reply = visitor.get(target);
        let date = reply.field("Date").expect("a Date").to_owned();
        let time = httpdate::parse_http_date(&date).expect("a Date as RFC 9110 has it");
        assert_eq!(httpdate::fmt_http_date(time), date);
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        assert!(time > now - hour && time < now + hour, "{date}");
    }
    drop(visitor);
    stage.finish();
}

fn a_large_page_reaches_a_slow_reader(kind: Kind) {
    const LENGTH: usize = 3_000_000;
    let upstream =
        Upstream::start(|call| call.json(format!(r#"{{"name": "{}"}}"#, "x".repeat(LENGTH))));
    let stage = Script::on(kind).user_page().start(upstream);
    let mut slow: Vec<Visitor> = (0..4).map(|_| stage.visitor()).collect();
    for visitor in &mut slow {
        visitor.send(get("/users/1"));
    }
    // While those do not read at all, others are served.
    assert_eq!(stage.get("/users/2").page().len(), LENGTH + 7);
    for visitor in &mut slow {
        let reply = visitor.reply();
        assert_eq!(reply.page().len(), LENGTH + 7);
        assert!(reply.body[3..LENGTH + 3].iter().all(|&byte| byte == b'x'));
    }
    drop(slow);
    stage.finish();
}
