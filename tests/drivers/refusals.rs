//! What is no request as we speak HTTP: a 4xx or 5xx, and the end of the connection, since where
//! the next message would start is in doubt. Which messages those are is in
//! tests/conformance/requests.txt.

use ringpress::driver::kind::Kind;

use super::stage::{Script, Stage};
use super::upstream::Upstream;
use super::visitor::get;

on_every_driver!(refusals_are_counted, too_large, slow_heads, garbage);

fn stage(kind: Kind) -> Stage {
    Script::on(kind).user_page().plain_page().start(Upstream::json(r#"{"name": "Ada"}"#))
}

/// Sends bytes that must be refused, with a request behind them that must never be one.
fn refused(stage: &Stage, bytes: &str, status: u16) {
    let mut visitor = stage.visitor();
    visitor.send(bytes.to_owned() + &get("/users/smuggled"));
    let reply = visitor.reply();
    assert_eq!(reply.status, status, "{:?}: {}", &bytes[..bytes.len().min(200)], reply.text());
    reply.is_error(status);
    assert_eq!(reply.field("Connection"), Some("close"), "{bytes:?}");
    assert!(visitor.at_end(), "{bytes:?}");
}

fn nothing_came_through(stage: Stage, refused: u64) {
    assert!(stage.upstream().calls().is_empty(), "{:?}", stage.upstream().calls());
    assert_eq!(stage.count(|m| m.requests_malformed.get()), refused);
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    stage.finish();
}

fn refusals_are_counted(kind: Kind) {
    let stage = stage(kind);
    let head = |fields: &str| format!("GET /plain HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
    refused(&stage, "GET /plain HTTP/1.1\r\n\r\n", 400);
    refused(&stage, &(head("Transfer-Encoding: chunked\r\n") + "x\r\n"), 400);
    refused(&stage, &head("Transfer-Encoding: gzip, chunked\r\n"), 501);
    refused(&stage, "GET /plain HTTP/2.0\r\n\r\n", 505);
    nothing_came_through(stage, 4);
}

fn too_large(kind: Kind) {
    let stage = Script::on(kind)
        .bounds(|bounds| bounds.limits.body_bytes_max = 100)
        .user_page()
        .plain_page()
        .start(Upstream::json("{}"));
    let head = |fields: &str| format!("GET /plain HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
    refused(&stage, &head("Content-Length: 101\r\n"), 413);
    let chunk = format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101));
    refused(&stage, &(head("Transfer-Encoding: chunked\r\n") + &chunk), 413);
    // At the bound, all is well.
    let mut visitor = stage.visitor();
    let body = "x".repeat(100);
    assert_eq!(visitor.ask(head("Content-Length: 100\r\n") + &body).page(), "<p>plain</p>");
    drop(visitor);
    nothing_came_through(stage, 2);
}

fn slow_heads(kind: Kind) {
    let stage = Script::on(kind)
        .bounds(|bounds| {
            bounds.head_timeout = std::time::Duration::from_millis(50);
            bounds.body_timeout = std::time::Duration::from_millis(50);
            bounds.rate_min = 1_000_000;
            bounds.idle_timeout = std::time::Duration::from_millis(200);
        })
        .plain_page()
        .start(Upstream::json("{}"));
    let body = "GET /plain HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab";
    for begun in ["G", "GET /plain HTTP/1.1\r\nHost: t\r\n", body] {
        let mut visitor = stage.visitor();
        visitor.send(begun);
        visitor.reply().is_error(408);
        assert!(visitor.at_end());
    }
    // One that says nothing at all is let go without a word.
    assert!(stage.visitor().at_end());
    stage.finish();
}

fn garbage(kind: Kind) {
    let stage = stage(kind);
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on";
    let mut visitor = stage.visitor();
    visitor.send(tls);
    visitor.reply().is_error(400);
    assert!(visitor.at_end());
    // Bytes from a fixed generator, sent to many connections: answered or cut off, never a hang.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..50 {
        let mut visitor = stage.visitor();
        let bytes: Vec<u8> = (0..300)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[3]
            })
            .collect();
        visitor.send(bytes);
        visitor.finish_sending();
        while visitor.try_reply(false).is_ok() {}
    }
    drop(visitor);
    assert!(stage.upstream().calls().is_empty());
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    stage.finish();
}
