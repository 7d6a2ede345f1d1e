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
    an_answer_that_is_not_json_is_known_by_how_it_begins,
    an_answer_that_is_nested_too_deep_says_how_deep,
    an_answer_of_304_says_what_that_is,
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

/// What a page in development tells of an upstream that answers so.
fn failure(kind: Kind, answer: impl Into<Vec<u8>>) -> String {
    let stage = Script::on(kind).server("development = true").user_page();
    let stage = stage.start(Upstream::bytes(answer, || Then::Keep));
    let reply = stage.get("/users/1");
    assert_eq!(reply.status, 502);
    stage.finish();
    let pairs = [("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&#x2f;", "/")];
    pairs.iter().fold(reply.text().to_owned(), |text, (from, to)| text.replace(from, to))
}

fn response(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 X\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn an_answer_that_is_not_json_is_known_by_how_it_begins(kind: Kind) {
    let body = "<!doctype html>\n<title>Maintenance</title>\u{7}".to_owned() + &"e".repeat(500);
    let text = failure(kind, response("Content-Type: text/html\r\n", &body));
    let told = "the response is not JSON (Content-Type \"text/html\"), and begins with \
                \"<!doctype html>\\n<title>Maintenance</title>\\u{7}eeeeeeeeeeeeeeeee\"...";
    assert!(text.contains(told), "{text}");
    assert!(text.contains("expected value at line 1, column 1"), "{text}");
    // A character is not cut in two, and what is no text does no harm.
    let text = failure(kind, response("", &"é".repeat(100).replacen('é', "x", 1)));
    let told = format!("(without a Content-Type), and begins with \"x{}\"...", "é".repeat(29));
    assert!(text.contains(&told), "{text}");
    let text = failure(kind, response("", ""));
    assert!(text.contains("the response is not JSON, but empty"), "{text}");
    let text = failure(kind, b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec());
    assert!(text.contains("begins with \"\u{fffd}\u{fffd}\""), "{text}");
}

fn an_answer_that_is_nested_too_deep_says_how_deep(kind: Kind) {
    let nested = "[".repeat(128) + &"]".repeat(128);
    let text = failure(kind, response("", &nested));
    assert!(text.contains("the response cannot be read"), "{text}");
    assert!(text.contains("nested deeper than 127 at line 1, column 128"), "{text}");
    assert!(!text.contains("not JSON"), "{text}");
}

fn an_answer_of_304_says_what_that_is(kind: Kind) {
    let text = failure(kind, "HTTP/1.1 304 X\r\n\r\n");
    assert!(text.contains("304 (Not Modified), which is for whoever has the answer"), "{text}");
}
