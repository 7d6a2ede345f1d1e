//! Fields of responses: what browsers are told about pages, and what upstreams may say to
//! visitors.

use ringpress::driver::kind::Kind;

use super::stage::Script;
use super::upstream::{Then, Upstream};
use super::visitor::get;

on_every_driver!(
    security_fields,
    what_a_304_says,
    fields_of_upstreams,
    an_answer_that_is_packed_says_so,
);

fn security_fields(kind: Kind) {
    let stage = Script::on(kind).plain_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for target in ["/plain", "/none"] {
        let reply = visitor.get(target);
        let policy = reply.field("Content-Security-Policy").expect("a policy");
        assert!(policy.starts_with("default-src 'self'; script-src 'self';"), "{policy}");
        assert_eq!(reply.field("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(reply.field("Referrer-Policy"), Some("strict-origin-when-cross-origin"));
    }
    // What was no request gets a page too.
    let reply = visitor.ask("GET /plain HTTP/1.1\r\n\r\n");
    assert!(reply.field("Content-Security-Policy").is_some(), "{}", reply.head);
    drop(visitor);
    stage.finish();
    let server = "[server.headers]\nContent-Security-Policy = \"default-src *\"\n\
                  X-Content-Type-Options = false\nPermissions-Policy = 'camera=()'";
    let stage = Script::on(kind).server(server).plain_page().start(Upstream::json("{}"));
    let reply = stage.get("/plain");
    assert_eq!(reply.field("Content-Security-Policy"), Some("default-src *"));
    assert_eq!(reply.field("X-Content-Type-Options"), None);
    assert_eq!(reply.field("Permissions-Policy"), Some("camera=()"));
    stage.finish();
}

/// What the page would have said that is not sent (RFC 9110 section 15.4.5).
fn what_a_304_says(kind: Kind) {
    let server = "memo_max = '1MiB'\n[server.headers]\nCache-Control = 'max-age=60'\n\
                  Vary = 'Cookie'";
    let script = Script::on(kind).server(server).plain_page();
    #[cfg(feature = "http2")]
    let script = script.bounds(|bounds| bounds.http2_prior_knowledge = true);
    let stage = script.page("/untagged", "", "{{ now * 0 }}").start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for target in ["/plain", "/untagged"] {
        let page = visitor.get(target);
        assert_eq!(page.field("ETag").is_some(), target == "/plain");
        let tag = page.field("ETag").unwrap_or("*");
        let again = format!("GET {target} HTTP/1.1\r\nHost: t\r\nIf-None-Match: {tag}\r\n\r\n");
        let again = visitor.ask(again);
        assert_eq!((again.status, again.field("Content-Type")), (304, None));
        assert_eq!(again.field("Cache-Control"), Some("max-age=60"));
        let vary = |head: &str| head.lines().filter(|line| line.starts_with("Vary")).count();
        assert_eq!(vary(&again.head), vary(&page.head));
        #[cfg(feature = "http2")]
        super::browser::browse(async {
            let mut browser = super::browser::Browser::to(stage.address()).await;
            let mut had = super::browser::get(target);
            had.headers_mut().insert("if-none-match", tag.parse().unwrap());
            let again = super::browser::page(browser.ask(had).await).await.unwrap();
            assert_eq!((again.status, again.field("content-type")), (304, None));
            assert_eq!(again.field("cache-control"), Some("max-age=60"));
            browser.close().await.expect("an orderly end");
        });
    }
    drop(visitor);
    stage.finish();
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: x-hop\r\n\
    Set-Cookie: a=1; HttpOnly\r\nset-cookie: b=2\r\nX-Rate: 7\r\nX-Hop: 1\r\nX-Other: 1\r\n\r\n\
    {\"name\": \"Ada\"}";

fn fields_of_upstreams(kind: Kind) {
    let user = |rest: &'static str| {
        let script = Script::on(kind).page("/users/{id}", rest, "<p>{{ user.name }}</p>");
        script.start(Upstream::bytes(ANSWER, || Then::Keep))
    };
    let stage = user(
        "[page.fetch.user]\nfrom = 'api'\npath = '/u/{{ path.id }}'\n\
         pass = ['Set-Cookie', 'X-Rate', 'X-Hop', 'X-None']",
    );
    let mut visitor = stage.visitor();
    visitor.send(get("/users/1"));
    let reply = visitor.reply();
    assert_eq!(reply.page(), "<p>Ada</p>");
    let cookies: Vec<&str> = reply.head.lines().filter(|l| l.starts_with("Set-Cookie")).collect();
    assert_eq!(cookies, ["Set-Cookie: a=1; HttpOnly", "Set-Cookie: b=2"]);
    assert_eq!(reply.field("X-Rate"), Some("7"));
    // It is the connection's, whoever names it.
    assert_eq!(reply.field("X-Hop"), None);
    assert_eq!(reply.field("X-Other"), None);
    // What is no page passes nothing on.
    assert_eq!(visitor.get("/none").field("X-Rate"), None);
    drop(visitor);
    stage.finish();
    let stage = user("[page.fetch]\nuser = { from = 'api', path = '/u/{{ path.id }}' }");
    let reply = stage.get("/users/1");
    for name in ["Set-Cookie", "X-Rate", "X-Hop"] {
        assert_eq!(reply.field(name), None);
    }
    stage.finish();
}

/// Otherwise whoever looks for the cause sees that line 1 has no JSON.
fn an_answer_that_is_packed_says_so(kind: Kind) {
    let packed = "HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc";
    let stage = Script::on(kind).server("development = true").user_page();
    let stage = stage.start(Upstream::bytes(packed, || Then::Keep));
    let reply = stage.get("/users/1");
    assert_eq!(reply.status, 502);
    let text = reply.text();
    assert!(text.contains("is not JSON, but packed (gzip), which nobody asked for"), "{text}");
    stage.finish();
}
