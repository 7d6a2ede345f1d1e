//! Pages within pages: what a page asks for by `fragment`, with fetches of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use ringpress::driver::kind::Kind;

use super::stage::Script;
use super::upstream::{Gate, Upstream};

on_every_driver!(
    fragments_within_fragments,
    fragments_are_made_beside_each_other,
    a_known_fragment_is_made_beside_the_pages_fetches,
    a_fragment_that_fails,
    an_internal_page_is_nobodys,
    a_page_that_only_takes_is_no_fragment,
    a_fragment_within_itself_and_too_deep,
    too_many_fragments,
    nothing_is_taken_for_a_fragment,
    what_a_fragment_sees,
    a_fragment_has_what_is_left_of_the_pages_time,
    a_page_with_fragments_is_remembered_with_them,
    fetches_of_fragments_are_told,
    includes_macros_and_layouts,
);

const USER: &str = "[page.fetch]\nuser = { from = 'api', path = '/users/{{ path.id }}' }";
const IDS: &str = "[page.fetch]\nids = { from = 'api', path = '/ids' }";
const CARDS: &str = "{% for id in ids %}[{{ fragment('/user/' ~ id) }}]{% endfor %}";
const NOTHING: &str = "{}";

fn fragments_within_fragments(kind: Kind) {
    let upstream = Upstream::start(|call| match call.target {
        "/ids" => call.json("[1, 2]"),
        "/users/1" => call.json(r#"{"name": "<Ada>", "team": 7}"#),
        "/users/2" => call.json(r#"{"name": "Bob", "team": 7}"#),
        "/teams/7" => call.json(r#"{"name": "Engines"}"#),
        _ => call.status(404),
    });
    let stage = Script::on(kind)
        .page("/", IDS, CARDS)
        .page("/user/{id}", USER, "{{ user.name }} of {{ fragment('/team/' ~ user.team) }}")
        .page(
            "/team/{id}",
            "[page.fetch]\nteam = { from = 'api', path = '/teams/{{ path.id }}' }",
            "<b>{{ team.name }}</b>",
        )
        .start(upstream);
    let expected = "[&lt;Ada&gt; of <b>Engines</b>][Bob of <b>Engines</b>]";
    assert_eq!(stage.get("/").page(), expected);
    // Each is a page by itself too.
    assert_eq!(stage.get("/user/2").page(), "Bob of <b>Engines</b>");
    stage.finish();
}

/// An API that answers when so many ask at once: one after the other they would wait in vain.
fn api_for_two() -> Upstream {
    let meeting = Arc::new(Barrier::new(2));
    Upstream::start(move |call| match call.target {
        "/ids" => call.json("[1, 2]"),
        _ => {
            meeting.wait();
            call.json(r#"{"name": "Ada"}"#)
        }
    })
}

fn fragments_are_made_beside_each_other(kind: Kind) {
    let stage = Script::on(kind)
        .page("/", IDS, CARDS)
        .page("/user/{id}", USER, "{{ user.name }}")
        .start(api_for_two());
    assert_eq!(stage.get("/").page(), "[Ada][Ada]");
    stage.finish();
}

fn a_known_fragment_is_made_beside_the_pages_fetches(kind: Kind) {
    let stage = Script::on(kind)
        .page("/own/{id}", USER, "{{ user.name }}|{{ fragment('/user/1') }}")
        .page("/user/{id}", USER, "{{ user.name }}")
        .start(api_for_two());
    assert_eq!(stage.get("/own/2").page(), "Ada|Ada");
    stage.finish();
}

fn a_fragment_that_fails(kind: Kind) {
    let upstream = Upstream::start(|call| match call.id() {
        "gone" => call.status(404),
        "broken" => call.status(500),
        "odd" => call.json("{}"),
        _ => call.json(r#"{"name": "Ada"}"#),
    });
    let stage = Script::on(kind)
        .server("development = true")
        .page("/user/{id}", USER, "{{ user.name }}")
        .page("/must/{id}", "", "{{ fragment('/user/' ~ path.id|urlencode) }}")
        .page("/may/{id}", "", "({{ fragment('/user/' ~ path.id|urlencode, optional=true) }})")
        .page("/literal", "", "({{ fragment('/user/broken', optional=true) }})")
        .page("/none", "", "\n{{ fragment('/nobody/' ~ 1) }}")
        .start(upstream);
    assert_eq!(stage.get("/must/1").page(), "Ada");
    for (id, status) in [("gone", 404), ("broken", 502), ("odd", 500)] {
        let reply = stage.get(&format!("/must/{id}"));
        reply.is_error(status);
        let told = format!("fragment `&#x2f;user&#x2f;{id}` failed");
        assert!(reply.text().contains(&told), "{}", reply.text());
        assert_eq!(stage.get(&format!("/may/{id}")).page(), "()");
    }
    // What fails within it is told as it is.
    assert!(stage.get("/must/odd").text().contains("page0.html:1"));
    assert_eq!(stage.get("/literal").page(), "()");
    // A mistake of the site is none of the visitor's, and said where it is.
    let reply = stage.get("/none");
    reply.is_error(500);
    assert!(reply.text().contains("no page of this site has the path"), "{}", reply.text());
    assert!(reply.text().contains("page4.html:2"), "{}", reply.text());
    stage.finish();
}

fn an_internal_page_is_nobodys(kind: Kind) {
    let stage = Script::on(kind)
        .page("/part", "internal = true", "part")
        .page("/", "", "a {{ fragment('/part') }}")
        .start(Upstream::json(NOTHING));
    assert_eq!(stage.get("/").page(), "a part");
    stage.get("/part").is_error(404);
    stage.get("/%70art").is_error(404);
    let options = "OPTIONS /part HTTP/1.1\r\nHost: test\r\n\r\n";
    assert_eq!(stage.visitor().ask(options).status, 404);
    stage.finish();
}

fn a_page_that_only_takes_is_no_fragment(kind: Kind) {
    let stage = Script::on(kind)
        .server("development = true")
        .page("/", "", "{{ fragment('/' ~ 'send') }}")
        .page("/send", "method = 'POST'", "sent")
        .start(Upstream::json(NOTHING));
    let reply = stage.get("/");
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("send` cannot be got"), "{}", reply.text());
    stage.finish();
}

fn a_fragment_within_itself_and_too_deep(kind: Kind) {
    let stage = Script::on(kind)
        .server("development = true")
        .page("/a/{x}", "", "{{ fragment('/b/' ~ path.x) }}")
        .page("/b/{x}", "", "{{ fragment('/a/' ~ path.x, optional=true) }}")
        .page(
            "/tree/{n}",
            "",
            "{{ path.n }}{% if path.n|int < query.end|int %} \
             {{ fragment('/tree/' ~ (path.n|int + 1) ~ '?end=' ~ query.end) }}{% endif %}",
        )
        .start(Upstream::json(NOTHING));
    let reply = stage.get("/a/1");
    reply.is_error(500);
    let told = "a fragment that needs itself: &#x2f;a&#x2f;1 -&gt; &#x2f;b&#x2f;1 -&gt; \
                &#x2f;a&#x2f;1";
    assert!(reply.text().contains(told), "{}", reply.text());
    assert_eq!(stage.get("/tree/0?end=4").page(), "0 1 2 3 4");
    let reply = stage.get("/tree/0?end=5");
    reply.is_error(500);
    assert!(reply.text().contains("over 4 deep"), "{}", reply.text());
    stage.finish();
}

fn too_many_fragments(kind: Kind) {
    let stage = Script::on(kind)
        .page("/n", "", "{% for n in range(query.n|int) %}{{ fragment('/p?' ~ n) }}{% endfor %}")
        .page("/p", "", "p")
        .page("/twice", "", "{{ fragment('/n?n=60') }}{{ fragment('/n?n=39&x') }}")
        // What is asked for depends on what was there before: without end.
        .page("/on", "", "{{ fragment('/p?' ~ range(query.a|length)|length) }}")
        .page(
            "/more",
            "",
            "{% set ns = namespace(t='') %}{% for n in range(9) %}{% set ns.t = \
            ns.t ~ fragment('/p?' ~ ns.t) %}{% endfor %}{{ ns.t }}",
        )
        .start(Upstream::json(NOTHING));
    assert_eq!(stage.get("/n?n=100").page(), "p".repeat(100));
    stage.get("/n?n=101").is_error(500);
    stage.get("/twice").is_error(500);
    assert_eq!(stage.get("/on?a=bc").page(), "p");
    stage.get("/more").is_error(500);
    stage.finish();
}

fn nothing_is_taken_for_a_fragment(kind: Kind) {
    let hostile =
        r#"{"name": "{{ fragment('/secret') }}\u0000\u0001\ue000", "id": "1/../../secret"}"#;
    let stage = Script::on(kind)
        .page("/secret", "internal = true", "HIDDEN")
        .page("/user/{id}", USER, "{{ user.name }}")
        .page("/", "", "{{ fragment('/user/1')|upper }}{{ fragment('/user/1')|length > 9 }}")
        .page("/id", USER_1, "{{ fragment('/user/' ~ user.id) }}")
        .page("/q", "", "{{ fragment('/user/' ~ query.id|urlencode) }}")
        .page("/raw", "", "{{ fragment('/user/' ~ query.id) }}")
        .start(Upstream::json(hostile));
    let page = stage.get("/");
    assert!(page.page().contains("FRAGMENT(") && !page.page().contains("HIDDEN"));
    // A fragment is a text like any other: filters have all of it.
    assert!(page.page().ends_with("True"), "{}", page.page());
    // A path is never resolved: no page has this one.
    stage.get("/id").is_error(500);
    let quoted = stage.get("/q?id=%27%22%3E%3Cb%3E%3Fx%23%25");
    assert!(quoted.page().starts_with("{{ fragment(&#x27;"), "{}", quoted.page());
    let calls = stage.upstream().calls();
    assert_eq!(calls.last().unwrap(), "/users/%27%22%3E%3Cb%3E%3Fx%23%25");
    for bad in ["%0D%0A", "%C3%A9", "a%20b", "%23", "%25"] {
        stage.get(&format!("/raw?id={bad}")).is_error(500);
    }
    stage.get("/q?id=..").is_error(400);
    stage.finish();
}

const USER_1: &str = "[page.fetch]\nuser = { from = 'api', path = '/users/1' }";

fn what_a_fragment_sees(kind: Kind) {
    let stage = Script::on(kind)
        .page("/{page}", "", "{{ fragment('/part/x%20y?q=inner') }}")
        .page(
            "/part/{name}",
            "",
            "{{ path.name }} {{ query.q }} {{ query.r is defined }} {{ cookies.c }} \
             {{ headers.x_a }} {{ request.path|safe }} {{ request.method }} {{ request.host }}",
        )
        .start(Upstream::json(NOTHING));
    let request = "GET /outer?q=outer&r=1 HTTP/1.1\r\nHost: test\r\nCookie: c=1\r\nX-A: b\r\n\r\n";
    let reply = stage.visitor().ask(request);
    assert_eq!(reply.page(), "x y inner False 1 b /outer GET test");
    stage.finish();
}

fn a_fragment_has_what_is_left_of_the_pages_time(kind: Kind) {
    let gate = Gate::default();
    let stage = Script::on(kind)
        .page("/user/{id}", USER, "{{ user.name }}")
        .page(
            "/short/{id}",
            "deadline = '100ms'\n[page.fetch]\n\
            user = { from = 'api', path = '/users/{{ path.id }}', deadline = '100ms' }",
            "x",
        )
        .page("/must", "deadline = '200ms'", "{{ fragment('/user/1') }}")
        .page("/may", "deadline = '200ms'", "({{ fragment('/user/' ~ 1, optional=true) }})")
        .page("/own", "", "{{ fragment('/short/1') }}")
        .start(Upstream::json_behind(&gate, r#"{"name": "Ada"}"#));
    stage.get("/must").is_error(504);
    assert_eq!(stage.get("/may").page(), "()");
    stage.get("/own").is_error(504);
    gate.open();
    stage.finish();
}

fn a_page_with_fragments_is_remembered_with_them(kind: Kind) {
    let count = Arc::new(AtomicUsize::new(1));
    let shown = Arc::clone(&count);
    let upstream = Upstream::start(move |call| match call.target {
        "/ids" => call.json("[1]"),
        _ => call.json(format!(r#"{{"name": {}}}"#, shown.load(Ordering::Acquire))),
    });
    let stage = Script::on(kind)
        .server("memo_max = '1MiB'")
        .page("/", IDS, CARDS)
        .page("/user/{id}", USER, "{{ user.name }}")
        .start(upstream);
    for _ in 0..4 {
        assert_eq!(stage.get("/").page(), "[1]");
    }
    assert_eq!(stage.count(|m| m.pages_remembered.get()), 2);
    let tag = stage.get("/").field("ETag").unwrap().to_owned();
    let again = format!("GET / HTTP/1.1\r\nHost: test\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(stage.visitor().ask(&again).status, 304);
    count.fetch_add(1, Ordering::AcqRel);
    let reply = stage.visitor().ask(&again);
    assert_eq!(reply.page(), "[2]");
    assert_ne!(reply.field("ETag").unwrap(), tag);
    stage.finish();
}

fn fetches_of_fragments_are_told(kind: Kind) {
    let upstream = Upstream::start(|call| match call.target {
        "/ids" => call.json("[1, 2]"),
        _ => call.json(r#"{"name": "Ada"}"#),
    });
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let stage = Script::on(kind)
        .server("development = true")
        .access_log(format!("path = '{}'", log.display()))
        .page("/", IDS, CARDS)
        .page("/user/{id}", USER, "{{ user.name }}")
        .start(upstream);
    let reply = stage.get("/");
    assert_eq!(reply.page(), "[Ada][Ada]");
    let timing = reply.field("Server-Timing").unwrap();
    assert_eq!(timing.matches("api-user;").count(), 2, "{timing}");
    assert_eq!(timing.matches("api-ids;").count(), 1, "{timing}");
    stage.finish();
    let written = std::fs::read_to_string(&log).unwrap();
    let record: serde_json::Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    assert_eq!(record["page"], "/");
    let fetches = record["fetches"].as_array().unwrap();
    let told = |fetch: &serde_json::Value| (fetch["fragment"].clone(), fetch["name"].clone());
    assert_eq!(told(&fetches[0]), (serde_json::Value::Null, "ids".into()));
    assert_eq!(told(&fetches[2]), ("/user/{id}".into(), "user".into()));
}

fn includes_macros_and_layouts(kind: Kind) {
    let layout = "<nav>{{ fragment('/nav') }}</nav>{% block main %}{{ fragment('/404') }}\
                  {% endblock %}";
    let stage = Script::on(kind)
        .file("layout.html", layout)
        .file("card.html", "{% macro card(n) %}({{ fragment('/part/' ~ n) }}){% endmacro %}")
        .file("item.html", "{{ fragment('/part/item') }}")
        .page(
            "/",
            "",
            "{% extends 'layout.html' %}{% from 'card.html' import card %}\
             {% block main %}{{ card(1) }}{% include 'item.html' %}{% endblock %}",
        )
        .page("/nav", "internal = true", "nav")
        .page("/404", "[page.fetch]\nx = { from = 'api', path = '/404' }", "x")
        .page("/part/{x}", "", "{{ path.x }}")
        // What only minijinja runs.
        .page("/slow", "", "{% block a %}{{ fragment('/part/a') }}{% endblock %}{{ self.a() }}")
        .start(Upstream::json(NOTHING));
    assert_eq!(stage.get("/").page(), "<nav>nav</nav>(1)item");
    assert_eq!(stage.get("/slow").page(), "aa");
    assert!(stage.upstream().calls().is_empty());
    stage.finish();
}
