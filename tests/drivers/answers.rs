//! What pages answer beside their bodies: statuses, redirects, fields, cookies.

use ringpress::driver::kind::Kind;

use super::stage::Script;
use super::upstream::Upstream;
use super::visitor::{Reply, Visitor};

on_every_driver!(
    a_status_by_expression,
    conditions_are_about_pages_that_are_there,
    redirects,
    redirects_lead_nowhere_else,
    fields_by_expression,
    fields_that_are_empty_are_not_said,
    cookies_are_set_and_forgotten,
    cookies_over_loopback,
    what_is_for_one_visitor_is_private,
);

fn a_status_by_expression(kind: Kind) {
    let user = "[page.fetch]\nuser = { from = 'api', path = '/u', optional = true }";
    let by_error = "status = '{{ errors.user.status if errors.user else \"\" }}'\n";
    let stage = Script::on(kind)
        .page("/is/{n}", "status = '{{ path.n }}'", "<p>{{ path.n }}</p>")
        .page("/none", "status = '{{ 404 if query.x }}'", "<p>as usual</p>")
        .page("/fixed", "status = 410", "<p>gone</p>")
        .page("/user", Box::leak(format!("{by_error}{user}").into_boxed_str()), "<p>who</p>")
        .start(Upstream::start(|call| call.status(404)));
    let mut visitor = stage.visitor();
    for status in [200, 201, 299, 300, 404, 418, 422, 503, 599] {
        let reply = visitor.get(&format!("/is/{status}"));
        assert_eq!((reply.status, reply.text()), (status, &*format!("<p>{status}</p>")));
        assert_eq!(reply.field("Content-Type"), Some("text/html; charset=utf-8"));
    }
    for status in [204, 205, 304] {
        let reply = visitor.get(&format!("/is/{status}"));
        assert_eq!((reply.status, reply.text()), (status, ""));
        assert_eq!(reply.field("Content-Type"), None);
    }
    // What is none comes from the visitor here: it is they who asked for what cannot be.
    for none in ["100", "199", "206", "600", "0", "-1", "20O", "99999999999", "200.5", "4%0d%0a"] {
        visitor.get(&format!("/is/{none}")).is_error(400);
    }
    assert_eq!(visitor.get("/none").page(), "<p>as usual</p>");
    assert_eq!(visitor.get("/none?x=1").status, 404);
    assert_eq!(visitor.get("/fixed").status, 410);
    let reply = visitor.get("/user");
    assert_eq!((reply.status, reply.text()), (404, "<p>who</p>"));
    visitor.send("HEAD /is/422 HTTP/1.1\r\nHost: test\r\n\r\n");
    let reply = visitor.reply_to_head();
    assert_eq!((reply.status, reply.field("Content-Length")), (422, Some("10")));
    drop(visitor);
    // Metrics know the status too.
    stage.await_responses(27);
    assert_eq!(stage.count(|metrics| metrics.statuses.get()[4]), 17);
    stage.finish();
}

fn conditions_are_about_pages_that_are_there(kind: Kind) {
    let stage = Script::on(kind)
        .server("memo_max = '1MiB'")
        .page("/{n}", "status = '{{ path.n }}'\nheaders = { X-N = '{{ path.n }}' }", "<p>x</p>")
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let reply = visitor.get("/200");
    let etag = reply.field("ETag").expect("a tag").to_owned();
    let ask =
        |path: &str, field: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n");
    let reply = visitor.ask(ask("/200", &format!("If-None-Match: {etag}")));
    assert_eq!((reply.status, reply.field("X-N")), (304, Some("200")));
    // Made before or not, its fields are its own.
    for _ in 0..3 {
        assert_eq!(visitor.get("/200").field("X-N"), Some("200"));
    }
    // Another status is no page that somebody could have (RFC 9110 section 13.2.1).
    for field in [format!("If-None-Match: {etag}"), "If-None-Match: *".into(), "If-Match: x".into()]
    {
        let reply = visitor.ask(ask("/404", &field));
        assert_eq!((reply.status, reply.text(), reply.field("ETag")), (404, "<p>x</p>", None));
    }
    drop(visitor);
    stage.finish();
}

fn location(visitor: &mut Visitor, target: &str) -> (u16, Option<String>) {
    let reply = visitor.get(target);
    if reply.status < 400 && reply.field("Location").is_some() {
        assert!(reply.body.is_empty());
        assert_eq!(reply.field("Content-Type"), None);
    }
    (reply.status, reply.field("Location").map(str::to_owned))
}

fn redirects(kind: Kind) {
    let stage = Script::on(kind)
        .page("/old/{id}", "redirect = '/items/{{ path.id }}?from={{ query.f }}#c'", "never")
        .page("/some/{id}", "redirect = '{{ \"/items/\" ~ path.id if query.go }}'", "<p>here</p>")
        .page("/all/{rest*}", "redirect = '/new/{{ path.rest }}'", "never")
        .page(
            "/away/{rest*}",
            "redirect = { to = 'https://example.com/{{ path.rest }}', status = 301 }",
            "never",
        )
        .page("/kept", "redirect = { to = '/', status = 308 }", "never")
        .page(
            "/after",
            "redirect = '/users/{{ user.id }}'\n\
             [page.fetch]\nuser = { from = 'api', path = '/u' }",
            "never",
        )
        .page("/broken", "redirect = '{{ [1] }}'", "never")
        .start(Upstream::json("{\"id\": 7}"));
    let mut visitor = stage.visitor();
    for (target, status, wanted) in [
        ("/old/a%2Fb%20%C3%BC?f=x%26y%23", 303, "/items/a%2Fb%20%C3%BC?from=x%26y%23#c"),
        ("/some/7?go=1", 303, "/items/7"),
        ("/some/a%20b%0d%0aX:y%3Fz?go=1", 303, "/items/a%20b%0D%0AX:y?z"),
        ("/all/a/b%20c", 303, "/new/a/b%20c"),
        ("/away/a/b%3Fc", 301, "https://example.com/a/b%3Fc"),
        ("/kept", 308, "/"),
        ("/after", 303, "/users/7"),
    ] {
        assert_eq!(location(&mut visitor, target), (status, Some(wanted.into())), "{target}");
    }
    assert_eq!(visitor.get("/some/7").page(), "<p>here</p>");
    visitor.get("/broken").is_error(500);
    visitor.send("HEAD /kept HTTP/1.1\r\nHost: test\r\n\r\n");
    let reply = visitor.reply_to_head();
    assert_eq!((reply.status, reply.field("Location")), (308, Some("/")));
    drop(visitor);
    stage.finish();
}

fn redirects_lead_nowhere_else(kind: Kind) {
    let stage = Script::on(kind)
        .page("/next", "redirect = '{{ query.to }}'", "<p>nowhere</p>")
        .page(
            "/listed",
            "redirect = { to = '{{ query.to }}', origins = ['https://a.example'] }",
            "<p>nowhere</p>",
        )
        .page("/to/{rest*}", "redirect = '/{{ path.rest }}'", "never")
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for (to, wanted) in [
        ("/a/b?c=d%26e%23f", "/a/b?c=d&e#f"),
        ("/a%20b%22%3C%0d%0aSet-Cookie:x", "/a%20b%22%3C%0D%0ASet-Cookie:x"),
        ("/%09/evil.example", "/%09/evil.example"),
        ("/a//evil.example", "/a//evil.example"),
        ("/@evil.example", "/@evil.example"),
        ("/100%25", "/100%25"),
    ] {
        assert_eq!(location(&mut visitor, &format!("/next?to={to}")), (303, Some(wanted.into())));
    }
    for evil in [
        "//evil.example",
        "///evil.example",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "%2F%2Fevil.example",
        "https://evil.example/",
        "https:evil.example",
        "HTTPS://evil.example",
        "javascript:alert(1)",
        "data:,x",
        "%20//evil.example",
        "%09//evil.example",
        "evil.example",
        "..//evil.example",
        "/..//evil.example",
        "/%2e%2e//evil.example",
        "/%252e%252e//evil.example",
        "@evil.example",
        "%00/",
    ] {
        for page in ["/next", "/listed"] {
            let reply = visitor.get(&format!("{page}?to={evil}"));
            reply.is_error(400);
            assert_eq!(reply.field("Location"), None, "{evil}");
        }
    }
    for (to, wanted) in [
        ("https://a.example", Some("https://a.example")),
        ("https://a.example/x%20y?z", Some("https://a.example/x%20y?z")),
        ("https://a.example.evil.example/", None),
        ("https://a.example@evil.example/", None),
        ("https://a.example:1@evil.example/", None),
        ("https://a.example%5C@evil.example/", Some("https://a.example/@evil.example/")),
        ("http://a.example/", None),
    ] {
        let (status, found) = location(&mut visitor, &format!("/listed?to={to}"));
        assert_eq!((status, found.as_deref()), (if wanted.is_some() { 303 } else { 400 }, wanted));
    }
    for nothing in ["/next", "/next?to="] {
        assert_eq!(visitor.get(nothing).page(), "<p>nowhere</p>");
    }
    assert_eq!(visitor.get("/to/%2Fevil.example").status, 400);
    assert_eq!(location(&mut visitor, "/to/%5Cevil"), (303, Some("/%5Cevil".into())));
    drop(visitor);
    stage.finish();
}

fn fields_by_expression(kind: Kind) {
    let stage = Script::on(kind)
        .page(
            "/p",
            "headers = { X-Robots-Tag = 'noindex', X-Q = '{{ query.q }}', X-U = '{{ user.u }}' }\n\
             [page.fetch]\nuser = { from = 'api', path = '/u' }",
            "<p>x</p>",
        )
        .start(Upstream::json("{\"u\": \"a\\r\\nX-Evil: 1\"}"));
    let mut visitor = stage.visitor();
    // The site's own data: it is the site that is broken.
    let reply = visitor.get("/p");
    reply.is_error(500);
    assert!(!reply.head.contains("Evil") && reply.field("X-Robots-Tag").is_none());
    drop(visitor);
    stage.finish();
    let stage = Script::on(kind)
        .page("/p", "headers = { X-Robots-Tag = 'noindex', X-Q = '{{ query.q }}' }", "<p>x</p>")
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let reply = visitor.get("/p?q=a%20b");
    assert_eq!(reply.page(), "<p>x</p>");
    assert_eq!((reply.field("X-Robots-Tag"), reply.field("X-Q")), (Some("noindex"), Some("a b")));
    // A pair that the visitor did not send makes no field.
    assert_eq!(visitor.get("/p").field("X-Q"), None);
    for evil in ["a%0d%0aX-Evil:1", "a%0aX-Evil:1", "%00", "a%0d"] {
        let reply = visitor.get(&format!("/p?q={evil}"));
        reply.is_error(400);
        assert!(!reply.head.contains("Evil"), "{}", reply.head);
    }
    drop(visitor);
    stage.finish();
}

fn fields_that_are_empty_are_not_said(kind: Kind) {
    let stage = Script::on(kind)
        .page(
            "/p",
            "headers = { X-If = '{{ \"x\" if query.h }}', X-None = '{{ none }}', X-Plain = '', \
             X-Empty = '{{ \"\" }}', X-Sent = '{{ query.h }}', X-Two = '{{ \"\" }}{{ \"\" }}', \
             X-Lacks = '{{ user.name }}', X-Of = 'a{{ \"\" }}' }\n\
             [page.fetch]\nuser = { from = 'api', path = '/u' }",
            "<p>x</p>",
        )
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for (target, wanted) in [
        ("/p", vec!["X-Of: a"]),
        ("/p?h=", vec!["X-Of: a"]),
        ("/p?h=%20", vec!["X-If: x", "X-Of: a"]),
        ("/p?h=1", vec!["X-If: x", "X-Sent: 1", "X-Of: a"]),
    ] {
        let reply = visitor.get(target);
        assert_eq!(reply.page(), "<p>x</p>", "{target}");
        let said = ["X-If", "X-None", "X-Plain", "X-Empty", "X-Sent", "X-Two", "X-Lacks", "X-Of"];
        let is_own = |line: &&str| said.iter().any(|name| line.starts_with(&format!("{name}:")));
        let lines: Vec<&str> = reply.head.lines().filter(is_own).collect();
        assert_eq!(lines, wanted, "{target}");
    }
    drop(visitor);
    stage.finish();
}

fn set_cookies(reply: &Reply) -> Vec<&str> {
    reply.head.lines().filter_map(|line| line.strip_prefix("Set-Cookie: ")).collect()
}

const COOKIES: &str = "[page.set_cookie]\n\
    theme = '{{ query.theme }}'\n\
    two = { value = 'a{{ query.n }}', max_age = '1h', path = '/shop', domain = 'Test.example', \
            same_site = 'Strict', http_only = false, secure = false }\n\
    old = { delete = 'query.forget is defined', value = '{{ none }}' }\n\
    parts = { value = '{{ query.parts }}', same_site = 'None', partitioned = true }\n";

fn cookies_are_set_and_forgotten(kind: Kind) {
    let shown = "{{ cookies.theme | default('-') }}|{{ cookies.raw | default('-') }}";
    let stage = Script::on(kind).page("/c", COOKIES, shown).start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let reply = visitor.get("/c?n=1");
    let two = "two=a1; Path=/shop; Domain=test.example; SameSite=Strict; Max-Age=3600";
    assert_eq!(set_cookies(&reply), [two]);
    assert_eq!(reply.page(), "-|-");
    let theme = "a%20%C3%BC%3B%2C%22%5C%0d%0a%25";
    let reply = visitor.get(&format!("/c?n=1&forget=1&theme={theme}&parts=p"));
    let cookies = set_cookies(&reply);
    let (gone, kept) = cookies.iter().partition::<Vec<&str>, _>(|line| line.starts_with("old="));
    assert_eq!(
        kept,
        [
            "theme=a%20%C3%BC%3B%2C%22%5C%0D%0A%25; Path=/; SameSite=Lax; HttpOnly; Secure",
            two,
            "parts=p; Path=/; SameSite=None; HttpOnly; Partitioned; Secure",
        ]
    );
    let forget = "old=; Path=/; SameSite=Lax; HttpOnly; Max-Age=0; \
                  Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure";
    assert_eq!(gone, [forget]);
    // It comes back as it was set. What others set is as they did.
    let cookie = "Cookie: theme=a%20%C3%BC%3B%2C%22%5C%0D%0A%25; raw=\"a%20b\"";
    let reply = visitor.ask(format!("GET /c?n=1 HTTP/1.1\r\nHost: test\r\n{cookie}\r\n\r\n"));
    assert_eq!(reply.page(), "a ü;,&quot;\\\r\n%|a%20b");
    visitor.get(&format!("/c?n=1&theme={}", "x".repeat(4100))).is_error(400);
    visitor.get("/c").is_error(400);
    drop(visitor);
    stage.finish();
}

fn cookies_over_loopback(kind: Kind) {
    let page =
        "[page.set_cookie]\na = '1'\n__Host-b = '2'\nc = { value = '3', same_site = 'None' }";
    let stage = Script::on(kind).page("/c", page, "x").start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for (host, is_secure) in
        [("localhost:8080", false), ("127.0.0.1", false), ("[::1]:80", false), ("10.0.0.1", true)]
    {
        let reply = visitor.ask(format!("GET /c HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let secure: Vec<bool> =
            set_cookies(&reply).iter().map(|line| line.ends_with("; Secure")).collect();
        // Some browsers take on `localhost` no Secure cookie; these names they take with it only.
        assert_eq!(secure, [is_secure, true, true], "{host}");
    }
    drop(visitor);
    stage.finish();
}

fn what_is_for_one_visitor_is_private(kind: Kind) {
    let stage = Script::on(kind)
        .page("/set", "set_cookie = { a = '{{ query.a }}' }", "x")
        .page("/said", "headers = { cache-control = 'no-store' }\nset_cookie = { a = '1' }", "x")
        .page("/go", "redirect = '/'\nset_cookie = { a = '1' }", "x")
        .page("/fields", "headers = { X-A = '1' }", "x")
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for (target, wanted) in [
        ("/set?a=1", Some("private, no-cache")),
        ("/set", None),
        ("/said", Some("no-store")),
        ("/go", Some("private, no-cache")),
        ("/fields", None),
    ] {
        assert_eq!(visitor.get(target).field("Cache-Control"), wanted, "{target}");
    }
    drop(visitor);
    stage.finish();
}
