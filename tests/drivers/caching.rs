//! Answers that are kept, and calls that are shared, over real sockets.

use std::thread;

use ringpress::driver::kind::Kind;

use super::stage::{Script, wait};
use super::upstream::{Gate, Then, Upstream};

on_every_driver!(many_make_one_call_and_its_answer_is_kept, an_answer_is_still_right);

fn many_make_one_call_and_its_answer_is_kept(kind: Kind) {
    const VISITORS: u64 = 20;
    let gate = Gate::default();
    let door = gate.clone();
    let upstream = Upstream::start(move |call| {
        door.pass();
        call.json(r#"{"name": "Ada"}"#)
    });
    let stage = Script::on(kind)
        .page(
            "/users/{id}",
            "cache = '1h'\n[page.fetch]\nuser = { from = 'api', path = '/users/{{ path.id }}' }",
            "<p>{{ user.name }}</p>",
        )
        .start(upstream);
    thread::scope(|scope| {
        for _ in 0..VISITORS {
            scope.spawn(|| assert_eq!(stage.get("/users/1").page(), "<p>Ada</p>"));
        }
        wait("all to share a call", || {
            stage.count(|metrics| metrics.cache_coalesced.get()) == VISITORS - 1
        });
        gate.open();
    });
    assert_eq!(stage.get("/users/1").page(), "<p>Ada</p>");
    assert_eq!(stage.upstream().calls(), ["/users/1"]);
    assert_eq!(stage.count(|metrics| metrics.cache_hits.get()), 1);
    stage.finish();
}

fn an_answer_is_still_right(kind: Kind) {
    let upstream = Upstream::start(|call| {
        let fields = "ETag: \"v1\"\r\nCache-Control: no-cache\r\n";
        if call.head.contains("If-None-Match: \"v1\"\r\n") {
            call.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
        } else {
            call.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n42"));
        }
        Then::Keep
    });
    let stage = Script::on(kind)
        .page("/", "cache = true\n[page.fetch]\nn = { from = 'api', path = '/n' }", "{{ n }}")
        .start(upstream);
    for _ in 0..3 {
        assert_eq!(stage.get("/").page(), "42");
    }
    assert_eq!(stage.upstream().calls().len(), 3);
    assert_eq!(stage.count(|metrics| metrics.cache_revalidated.get()), 2);
    stage.finish();
}
