//! What upstreams answer: every framing, in pieces, and every way to get it wrong.

use std::time::Duration;

use ringpress::driver::kind::Kind;

use super::stage::{Script, Stage, wait};
use super::upstream::{Gate, Then, Upstream, json};

on_every_driver!(
    split_at_every_byte,
    framings,
    no_content,
    interim_responses,
    refused_connection,
    up_only_later,
    statuses,
    not_json,
    truncated,
    broken,
    header_timeout,
    fetch_deadline_within_a_body,
    page_deadline,
    too_large_a_body,
    failures_cancel_what_is_under_way,
);

fn before(kind: Kind, upstream: Upstream) -> Stage {
    Script::on(kind).user_page().start(upstream)
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       5;x=\"y\"\r\n{\"nam\r\n9\r\ne\": \"Ada\"\r\n1\r\n}\r\n0\r\nT: t\r\n\r\n";

fn split_at_every_byte(kind: Kind) {
    let whole = [CHUNKED.to_owned(), json(r#"{"name": "Ada"}"#)];
    let lengths = whole.clone().map(|answer| answer.len());
    let upstream = Upstream::start(move |call| {
        let (which, at) = call.id().split_once('-').unwrap();
        let answer = whole[which.parse::<usize>().unwrap()].as_bytes();
        let (first, second) = answer.split_at(at.parse().unwrap());
        call.send(first);
        // So that the two arrive as two; if they do not, the test is only a little easier.
        std::thread::sleep(Duration::from_micros(300));
        call.send(second);
        Then::Keep
    });
    let stage = before(kind, upstream);
    let mut visitor = stage.visitor();
    for (which, length) in lengths.into_iter().enumerate() {
        for at in 0..=length {
            assert_eq!(visitor.get(&format!("/users/{which}-{at}")).page(), "<p>Ada</p>", "{at}");
        }
    }
    assert_eq!(stage.upstream().connections(), 1);
    drop(visitor);
    stage.finish();
}

fn framings(kind: Kind) {
    const BODY: &str = r#"{"name": "Ada"}"#;
    let until_close = format!("HTTP/1.1 200 OK\r\n\r\n{BODY}");
    let http10 = format!("HTTP/1.0 200 OK\r\n\r\n{BODY}");
    let closing = json(BODY).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    for (answer, connections) in [
        (CHUNKED.to_owned(), 1),
        (json(BODY), 1),
        (json(BODY).replace("200 OK", "200 "), 1),
        (json(BODY).replace("200 OK", "201 Created"), 1),
        (until_close, 3),
        (http10, 3),
        (closing, 3),
    ] {
        let text = answer.clone();
        let upstream = Upstream::start(move |call| {
            call.send(&text);
            if connections == 3 { Then::Close } else { Then::Keep }
        });
        let stage = before(kind, upstream);
        for _ in 0..3 {
            assert_eq!(stage.get("/users/1").page(), "<p>Ada</p>", "{answer}");
        }
        assert_eq!(stage.upstream().connections(), connections, "{answer}");
        stage.finish();
    }
}

fn no_content(kind: Kind) {
    let upstream = Upstream::bytes("HTTP/1.1 204 No Content\r\n\r\n", || Then::Keep);
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nuser = { from = 'api', path = '/u' }",
            "{{ 'nobody' if user is none else 'somebody' }}",
        )
        .start(upstream);
    for _ in 0..3 {
        assert_eq!(stage.get("/").page(), "nobody");
    }
    assert_eq!(stage.upstream().connections(), 1);
    stage.finish();
}

fn interim_responses(kind: Kind) {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n";
    let answer = "HTTP/1.1 100 Continue\r\n\r\n".to_owned() + HINTS + &json(r#"{"name": "Ada"}"#);
    let stage = before(kind, Upstream::bytes(answer, || Then::Keep));
    for _ in 0..2 {
        assert_eq!(stage.get("/users/1").page(), "<p>Ada</p>");
    }
    assert_eq!(stage.upstream().connections(), 1);
    stage.finish();
    // One that never comes to the point is given up.
    let stage = before(kind, Upstream::bytes(HINTS.repeat(100), || Then::Keep));
    stage.get("/users/1").is_error(502);
    stage.finish();
}

/// A port of ours where nobody listens, until somebody does.
fn silent_port() -> (socket2::Socket, std::net::SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

fn refused_connection(kind: Kind) {
    let (_port, address) = silent_port();
    let stage = Script::on(kind).user_page().plain_page().start_before(address);
    for _ in 0..3 {
        stage.get("/users/1").is_error(502);
    }
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    assert_eq!(stage.count(|m| m.upstream_errors.get()), 3);
    assert_eq!(stage.count(|m| m.upstream_connections.get()), 0);
    stage.finish();
}

fn up_only_later(kind: Kind) {
    let (port, address) = silent_port();
    let stage = Script::on(kind).user_page().start_before(address);
    let mut visitor = stage.visitor();
    visitor.get("/users/1").is_error(502);
    port.listen(16).unwrap();
    let _upstream = Upstream::on(port.into(), |call| call.json(r#"{"name": "Ada"}"#));
    assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    drop(visitor);
    stage.finish();
}

fn statuses(kind: Kind) {
    let upstream = Upstream::start(|call| call.status(call.id().parse().unwrap()));
    let stage = before(kind, upstream);
    let mut visitor = stage.visitor();
    for (upstream, page) in [
        (404, 404),
        (410, 410),
        (400, 502),
        (401, 502),
        (403, 502),
        (429, 502),
        (301, 502),
        (500, 502),
        (503, 502),
        (599, 502),
    ] {
        visitor.get(&format!("/users/{upstream}")).is_error(page);
    }
    // An error is an answer like any other: its connection is as good as before.
    assert_eq!(stage.upstream().connections(), 1);
    drop(visitor);
    stage.finish();
}

fn not_json(kind: Kind) {
    for body in ["", "<html></html>", "{\"name\": ", "{} {}", "{\"name\": \"\u{1}\"}", "nul"] {
        let stage = before(kind, Upstream::bytes(json(body), || Then::Keep));
        stage.get("/users/1").is_error(502);
        stage.finish();
    }
    let deep = "[".repeat(100_000);
    let stage = before(kind, Upstream::bytes(json(&deep), || Then::Keep));
    stage.get("/users/1").is_error(502);
    stage.finish();
}

fn truncated(kind: Kind) {
    let counted = json(r#"{"name": "Ada"}"#);
    for whole in [counted.as_str(), CHUNKED] {
        // Nothing at all, within the head, and within the body. The first is no second chance,
        // as the connection is new.
        for length in [0, 9, 30, whole.len() - 8, whole.len() - 1] {
            let stage = before(kind, Upstream::bytes(&whole[..length], || Then::Close));
            stage.get("/users/1").is_error(502);
            assert_eq!(stage.upstream().calls().len(), 1, "{length}");
            assert_eq!(stage.count(|m| m.upstream_errors.get()), 1);
            stage.finish();
        }
    }
}

fn broken(kind: Kind) {
    for answer in [
        "garbage\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\n{}",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let stage = before(kind, Upstream::bytes(answer, || Then::Keep));
        stage.get("/users/1").is_error(502);
        wait("the connection to end", || stage.count(|m| m.upstream_connections.get()) == 0);
        stage.finish();
    }
    let endless = "HTTP/1.1 200 OK\r\nX: ".to_owned() + &"x".repeat(200_000);
    let stage = before(kind, Upstream::bytes(endless, || Then::Keep));
    stage.get("/users/1").is_error(502);
    stage.finish();
}

/// An upstream that sends a beginning and then waits at a gate.
fn stalls_after(beginning: &'static str) -> (Gate, Upstream) {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        call.send(beginning);
        at.pass();
        Then::Close
    });
    (gate, upstream)
}

fn header_timeout(kind: Kind) {
    for beginning in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let (gate, upstream) = stalls_after(beginning);
        let stage = Script::on(kind).policy("header_timeout = '50ms'").user_page().start(upstream);
        stage.get("/users/1").is_error(504);
        assert_eq!(stage.count(|m| m.upstream_retries.get()), 0);
        wait("the connection to end", || stage.count(|m| m.upstream_connections.get()) == 0);
        gate.open();
        stage.finish();
    }
}

fn fetch_deadline_within_a_body(kind: Kind) {
    let (gate, upstream) = stalls_after("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"na");
    let stage = Script::on(kind).policy("deadline = '100ms'").user_page().start(upstream);
    stage.get("/users/1").is_error(504);
    gate.open();
    stage.finish();
}

fn page_deadline(kind: Kind) {
    let (gate, upstream) = stalls_after("");
    let stage = Script::on(kind)
        .page(
            "/",
            "deadline = '100ms'\n[page.fetch]\n\
             a = { from = 'api', path = '/a' }\nb = { from = 'api', path = '/b' }",
            "{{ a }}{{ b }}",
        )
        .start(upstream);
    stage.get("/").is_error(504);
    gate.open();
    stage.finish();
}

fn too_large_a_body(kind: Kind) {
    let counted = json(&format!(r#"{{"name": "{}"}}"#, "x".repeat(2000)));
    let until_close = "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &"x".repeat(100_000);
    let chunks = "400\r\n".to_owned() + &"x".repeat(1024) + "\r\n";
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned() + &chunks.repeat(50);
    for answer in [counted, until_close, chunked] {
        let upstream = Upstream::bytes(answer, || Then::Keep);
        let stage = Script::on(kind).policy("max_body = '1KiB'").user_page().start(upstream);
        stage.get("/users/1").is_error(502);
        stage.finish();
    }
}

fn failures_cancel_what_is_under_way(kind: Kind) {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| match call.target {
        "/bad" => call.status(500),
        _ => {
            at.pass();
            call.json("{}")
        }
    });
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nslow = { from = 'api', path = '/slow' }\n\
             bad = { from = 'api', path = '/bad' }",
            "{{ slow }}{{ bad }}",
        )
        .start(upstream);
    stage.get("/").is_error(502);
    assert_eq!(stage.count(|m| m.upstream_cancelled.get()), 1);
    wait("one connection to be left", || stage.count(|m| m.upstream_connections.get()) <= 1);
    gate.open();
    stage.finish();
}
