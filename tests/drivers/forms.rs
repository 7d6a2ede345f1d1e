//! Pages that take forms: methods, what comes with them, who may send them, and what upstreams are
//! sent for it.

use ringpress::driver::kind::Kind;

use super::stage::{Script, Stage};
use super::upstream::{Call, Then, Upstream, json};
use super::visitor::{Visitor, get};

on_every_driver!(
    a_form_is_sent_on_and_shown_again,
    what_is_not_there_is_left_out,
    a_list_is_a_pair_for_each_item,
    what_a_form_lacks_is_told,
    methods_of_a_page,
    other_sites_are_refused,
    who_is_trusted,
    a_post_is_sent_once,
    a_post_takes_a_connection_that_has_just_served,
    a_page_is_remembered_and_what_is_posted_is_not,
    conditions_are_not_met_by_what_changes,
);

const COMMENT: &str = "method = ['GET', 'POST']\n\
    [page.fetch.item]\nfrom = 'api'\npath = '/items/{{ path.id }}'\n\
    [page.fetch.sent]\nfrom = 'api'\nmethod = 'POST'\npath = '/comments'\naccept = 422\n\
    when = \"request.method == 'POST'\"\n\
    json = { item = '{{ item.id }}', text = '{{ form.text }}', of = 'by {{ form.name }}', \
    tags = '{{ form_list.tag }}', none = '{{ form.none }}', kind = [1, true] }\n";

const COMMENT_TEMPLATE: &str = "<h1>{{ item.name }}</h1>{{ request.method }} {{ statuses.sent }} \
    {% if sent %}{{ sent.error }}{% endif %}<input value=\"{{ form.text | default('') }}\">";

/// An API whose comments are taken when they have a text that is not `bad`.
fn api(call: &mut Call<'_>) -> Then {
    if !call.head.starts_with("POST /comments ") {
        return call.json(r#"{"id": 7, "name": "Tea"}"#);
    }
    let sent = String::from_utf8(call.body.to_vec()).unwrap();
    assert!(call.head.contains("Content-Type: application/json\r\n"), "{}", call.head);
    assert!(!call.head.to_lowercase().contains("expect"), "{}", call.head);
    if sent.contains("\"text\":\"bad\"") {
        call.send(json(r#"{"error": "<b>no"}"#).replace("200 OK", "422 Unprocessable Content"));
        return Then::Keep;
    }
    let expected =
        r#"{"item":7,"text":"a \"q\"\r\n&<","of":"by Ann","tags":["x","y"],"kind":[1,true]}"#;
    assert_eq!(sent, expected);
    call.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    Then::Keep
}

/// A POST of a form as browsers send it.
pub(crate) fn post(target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\n{fields}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn a_form_is_sent_on_and_shown_again(kind: Kind) {
    let stage = Script::on(kind)
        .page("/submit/{id}", COMMENT, COMMENT_TEMPLATE)
        .start(Upstream::start(api));
    let mut visitor = stage.visitor();
    let empty = "<h1>Tea</h1>GET None <input value=\"\">";
    assert_eq!(visitor.get("/submit/7").page(), empty);
    assert_eq!(stage.upstream().calls(), ["/items/7"]);
    let body = "text=a+%22q%22%0D%0A%26%3C&name=Ann&tag=x&tag=y";
    let reply = visitor.ask(post("/submit/7", "", body));
    assert!(reply.page().starts_with("<h1>Tea</h1>POST 201 <input"), "{}", reply.text());
    let reply = visitor.ask(post("/submit/7", "", "text=bad&name=%22%3E%3Cscript%3E"));
    let expected = "<h1>Tea</h1>POST 422 &lt;b&gt;no<input value=\"bad\">";
    assert_eq!(reply.page(), expected);
    assert_eq!(stage.upstream().connections(), 1);
    drop(visitor);
    stage.finish();
}

const ABSENT: &str = "{ a = '{{ form[\"a-b\"] }}', b = '{{ query[\"a\"] }}', c = '{{ (form.c) }}', \
    d = '{{ form.d|trim }}', e = '{{ \"e\" if form.c }}', f = '{{ headers[\"x-f\"] }}', g = 'g' }";

/// Whatever is written to look for it, and in whatever body.
fn what_is_not_there_is_left_out(kind: Kind) {
    let upstream = Upstream::start(|call| {
        let sent = String::from_utf8(call.body.to_vec()).unwrap();
        let names: Vec<_> = sent.lines().filter_map(|line| line.split("name=").nth(1)).collect();
        let shown = if names.is_empty() { sent } else { names.concat() };
        call.json(serde_json::Value::from(shown).to_string())
    });
    let page = |body: &str| {
        let begin = "method = ['GET', 'POST']\n[page.fetch.sent]\nfrom = 'api'\nmethod = 'POST'\n\
                     path = '/send'";
        &*Box::leak(format!("{begin}\n{body} = {ABSENT}").into_boxed_str())
    };
    let stage = Script::on(kind)
        .page("/json", page("json"), "{{ sent|safe }}")
        .page("/form", page("form"), "{{ sent|safe }}")
        .page("/parts", page("multipart"), "{{ sent|safe }}")
        .start(upstream);
    let mut visitor = stage.visitor();
    for (target, none, all) in [
        ("/json", r#"{"g":"g"}"#, r#"{"a":"A","c":"C","d":"D","e":"e","g":"g"}"#),
        ("/form", "g=g", "a=A&c=C&d=D&e=e&g=g"),
        ("/parts", "\"g\"", r#""a""c""d""e""g""#),
    ] {
        assert_eq!(visitor.ask(post(target, "", "")).page(), none);
        assert_eq!(visitor.ask(post(target, "", "a-b=A&c=C&d=+D+")).page(), all);
    }
    drop(visitor);
    stage.finish();
}

fn a_list_is_a_pair_for_each_item(kind: Kind) {
    let upstream = Upstream::start(|call| {
        let target = call.head.split(' ').nth(1).unwrap();
        let shown = format!("{target} {}", String::from_utf8_lossy(call.body));
        call.json(serde_json::Value::from(shown).to_string())
    });
    let stage = Script::on(kind)
        .page(
            "/send",
            "method = ['GET', 'POST']\n[page.fetch.sent]\nfrom = 'api'\nmethod = 'POST'\n\
             path = '/send'\nquery = { q = '{{ form_list.tag|reverse }}', n = '{{ [1, 2] }}' }\n\
             form = { a = 'b', tag = '{{ form_list.tag }}', c = 'd' }",
            "{{ sent|safe }}",
        )
        .page(
            "/broken",
            "method = 'POST'\n[page.fetch.sent]\nfrom = 'api'\npath = '/send'\n\
             query = { n = '{{ [[1]] }}' }",
            "{{ sent }}",
        )
        .start(upstream);
    let mut visitor = stage.visitor();
    for (sent, query, body) in [
        ("", "?n=1&n=2", "a=b&c=d"),
        ("tag=x", "?q=x&n=1&n=2", "a=b&tag=x&c=d"),
        ("tag=x&tag=%26&tag=", "?q=&q=%26&q=x&n=1&n=2", "a=b&tag=x&tag=%26&tag=&c=d"),
    ] {
        let reply = visitor.ask(post("/send", "", sent));
        assert_eq!(reply.page(), format!("/send{query} {body}"));
    }
    // As a whole, they are as long as one may be.
    let many = "tag=%0A&".repeat(990);
    visitor.ask(post("/send", "", &many)).page();
    let long = format!("tag={}&", "%0A".repeat(2000)).repeat(3);
    visitor.ask(post("/send", "", &long)).is_error(400);
    visitor.ask(post("/broken", "", "")).is_error(500);
    drop(visitor);
    stage.finish();
}

fn what_a_form_lacks_is_told(kind: Kind) {
    let within = "method = 'POST'\n[page.fetch.sent]\nfrom = 'api'\nmethod = 'POST'\n\
                  path = '/send'\njson = { a = 'x{{ form.a }}{{ query.b }}y' }";
    let stage = Script::on(kind)
        .page("/send", within, "sent")
        .page("/status", "method = 'POST'\nstatus = '{{ form.a }}'", "sent")
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for (target, body, told) in [
        ("/send?b=1", "", "Something is missing in the form"),
        ("/send", "a=1", "This address cannot be read."),
        ("/status", "a=1", "Something is missing in the form"),
    ] {
        let reply = visitor.ask(post(target, "", body));
        reply.is_error(400);
        assert!(reply.text().contains(told), "{target}: {}", reply.text());
    }
    drop(visitor);
    stage.finish();
}

fn methods_of_a_page(kind: Kind) {
    let hook = "method = 'POST'\ncsrf = false";
    let stage = Script::on(kind)
        .page("/form", "method = ['GET', 'POST']", "{{ request.method }}{{ form | length }}")
        .page("/hook", hook, "{{ form.a.b if form.a else '-' }}")
        .page("/thing", "method = ['GET', 'PUT', 'PATCH', 'DELETE']", "{{ request.method }}")
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let ask = |method: &str, target: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
    };
    for (target, allowed) in [
        ("/form", "GET, HEAD, POST, OPTIONS"),
        ("/hook", "POST, OPTIONS"),
        ("/thing", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let reply = visitor.ask(ask("OPTIONS", target));
        assert_eq!((reply.status, reply.field("Allow")), (204, Some(allowed)));
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let reply = visitor.ask(ask(method, target));
            if allowed.split(", ").any(|name| name == method) {
                reply.page();
            } else {
                reply.is_error(405);
                assert_eq!(reply.field("Allow"), Some(allowed), "{method}");
            }
        }
    }
    let all = visitor.ask("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(all.field("Allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    // Without a body and without a length there is none (RFC 9112 section 6.3).
    let bare = "POST /form HTTP/1.1\r\nHost: test\r\n\r\n";
    assert_eq!(visitor.ask(bare).page(), "POST0");
    let old = "POST /form HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n";
    visitor.ask(old).is_error(411);
    let reply = stage.visitor().ask(
        "POST /hook HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: 15\r\n\r\n{\"a\":{\"b\":\"<\"}}",
    );
    assert_eq!(reply.page(), "&lt;");
    drop(visitor);
    stage.finish();
}

fn guarded(kind: Kind, server: &'static str) -> Stage {
    Script::on(kind)
        .server(server)
        .page("/form", "method = ['GET', 'POST']", "{{ form.a }}")
        .page("/hook", "method = ['POST']\ncsrf = false", "{{ form.a }}")
        .start(Upstream::json("{}"))
}

/// What comes of a POST with these fields: the status alone, on a connection of its own.
fn status(stage: &Stage, target: &str, fields: &str) -> u16 {
    let reply = stage.visitor().ask(post(target, fields, "a=1"));
    match reply.status {
        200 => assert_eq!(reply.page(), "1"),
        403 => {
            reply.is_error(403);
            assert!(reply.text().contains("another site"), "{}", reply.text());
        }
        other => panic!("{other}"),
    }
    reply.status
}

fn other_sites_are_refused(kind: Kind) {
    let stage = guarded(kind, "");
    for (fields, expected) in [
        ("", 200),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        ("Sec-Fetch-Site: none\r\n", 200),
        ("Sec-Fetch-Site: same-site\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: nonsense\r\n", 403),
        // It is the browser's word, and Origin is not looked at then.
        ("Sec-Fetch-Site: cross-site\r\nOrigin: http://test\r\n", 403),
        ("Origin: http://test\r\n", 200),
        ("Origin: http://TEST:80\r\n", 200),
        ("Origin: https://test\r\n", 200),
        ("Origin: http://test:81\r\n", 403),
        ("Origin: http://evil.test\r\n", 403),
        ("Origin: http://test.evil\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: nonsense\r\n", 403),
        ("Origin: http://test/path\r\n", 403),
    ] {
        assert_eq!(status(&stage, "/form", fields), expected, "{fields}");
        assert_eq!(status(&stage, "/hook", fields), 200, "{fields}");
    }
    // Who only reads may come from anywhere.
    let link = get("/form").replacen("\r\n\r\n", "\r\nSec-Fetch-Site: cross-site\r\n\r\n", 1);
    assert_ne!(stage.visitor().ask(link).status, 403);
    // What is refused is so before it is asked for.
    let mut visitor = stage.visitor();
    let held = post("/form", "Expect: 100-continue\r\nSec-Fetch-Site: cross-site\r\n", "a=1");
    let (head, _) = held.rsplit_once("a=1").unwrap();
    visitor.ask(head).is_error(403);
    assert!(visitor.at_end());
    drop(visitor);
    stage.finish();
}

fn who_is_trusted(kind: Kind) {
    let server = "trusted_origins = ['https://Pay.example:443']\ntrusted_proxies = ['127.0.0.1']";
    let stage = guarded(kind, server);
    for (fields, expected) in [
        ("Sec-Fetch-Site: cross-site\r\nOrigin: https://pay.example\r\n", 200),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: http://pay.example\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: https://pay.example.evil\r\n", 403),
        // The host is the one that the visitor sees.
        ("X-Forwarded-Host: a.example\r\nOrigin: https://a.example\r\n", 200),
        ("X-Forwarded-Host: a.example\r\nOrigin: http://test\r\n", 403),
        // A page over TLS takes nothing from one without.
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\n\
             Origin: http://a.example\r\n",
            403,
        ),
    ] {
        assert_eq!(status(&stage, "/form", fields), expected, "{fields}");
    }
    stage.finish();
}

const SEND: &str = "method = ['GET', 'POST']\n[page.fetch]\n\
    sent = { from = 'api', method = 'POST', path = '/send', form = { a = '{{ form.a }}', \
    b = 'x & {{ form.b }}' }, when = \"request.method == 'POST'\", optional = true }";

/// Whatever an upstream does with it, it has a POST once.
fn a_post_is_sent_once(kind: Kind) {
    let upstream = Upstream::start(|call| {
        if call.head.starts_with("POST") {
            assert_eq!(call.body, b"a=1%2B1&b=x%20%26%20%C3%A9");
            assert!(call.head.contains("Content-Length: 26\r\n"), "{}", call.head);
            return Then::Close;
        }
        call.json("{}")
    });
    let stage = Script::on(kind)
        .policy("retry = true\nhedge = { after = '1ms' }")
        .page("/send", SEND, "{{ errors.sent.status }}")
        .page("/warm", "[page.fetch]\na = { from = 'api', path = '/warm' }", "warm")
        .start(upstream);
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        // On a connection that has served, and on a new one.
        assert_eq!(visitor.get("/warm").page(), "warm");
        let reply = visitor.ask(post("/send", "", "a=1%2B1&b=%C3%A9"));
        assert_eq!(reply.page(), "502");
    }
    let calls = stage.upstream().calls();
    assert_eq!(calls.iter().filter(|call| *call == "/send").count(), 3, "{calls:?}");
    drop(visitor);
    stage.finish();
}

fn a_post_takes_a_connection_that_has_just_served(kind: Kind) {
    let upstream = Upstream::start(|call| call.json("{}"));
    let stage = Script::on(kind).page("/send", SEND, "{{ errors.sent is none }}").start(upstream);
    let mut visitor = stage.visitor();
    for _ in 0..2 {
        assert!(visitor.ask(post("/send", "", "a=1&b=2")).page().eq_ignore_ascii_case("true"));
    }
    assert_eq!(stage.upstream().connections(), 1);
    drop(visitor);
    stage.finish();
}

fn a_page_is_remembered_and_what_is_posted_is_not(kind: Kind) {
    let stage = Script::on(kind)
        .server("memo_max = '1MiB'")
        .page("/form", "method = ['GET', 'POST']", "<p>{{ form.a | default('-') }}</p>")
        .start(Upstream::json("{}"));
    let mut visitor = Visitor::to(stage.address());
    for _ in 0..3 {
        let reply = visitor.get("/form");
        assert_eq!(reply.page(), "<p>-</p>");
        assert!(reply.field("etag").is_some());
        for value in ["1", "2"] {
            let reply = visitor.ask(post("/form", "", &format!("a={value}")));
            assert_eq!(reply.page(), format!("<p>{value}</p>"));
            assert_eq!(reply.field("etag"), None);
        }
    }
    assert_eq!(stage.count(|metrics| metrics.pages_remembered.get()), 1);
    drop(visitor);
    stage.finish();
}

fn conditions_are_not_met_by_what_changes(kind: Kind) {
    let upstream = Upstream::start(|call| call.json("{}"));
    let stage = Script::on(kind).page("/send", SEND, "sent").start(upstream);
    for (fields, status) in [
        ("If-Match: \"a\"\r\n", 412),
        ("If-Match: *\r\n", 412),
        ("If-None-Match: *\r\n", 412),
        ("If-None-Match: \"a\"\r\n", 200),
    ] {
        let reply = stage.visitor().ask(post("/send", fields, "a=1&b=2"));
        assert_eq!(reply.status, status, "{fields}");
    }
    assert_eq!(stage.upstream().calls().len(), 1, "what is refused is not done");
    stage.finish();
}
