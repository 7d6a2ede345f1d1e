//! What a page is made of: its fetches, its lets, its template, and what it makes of hostile
//! input.

use std::sync::atomic::{AtomicUsize, Ordering};

use ringpress::driver::kind::Kind;

use super::stage::Script;
use super::upstream::{Upstream, some_delay};
use super::visitor::{Visitor, get};

on_every_driver!(
    one_fetch,
    fan_out_keeps_order,
    fan_out_with_optional_items,
    optional_fetch_fails,
    dependent_fetches,
    lets,
    query_default,
    hostile_json_is_escaped,
    a_parameter_is_one_segment,
    dot_segments_are_refused,
    no_header_is_injected,
    a_template_that_fails_is_never_half_a_page,
    no_such_page,
    a_page_from_the_same_inputs_is_made_once,
    any_page_is_had_already_with_a_tag_or_without,
    a_template_that_never_ends_is_one_500,
);

fn one_fetch(kind: Kind) {
    let stage = Script::on(kind).user_page().start(Upstream::json(r#"{"name": "Ada"}"#));
    let reply = stage.get("/users/1");
    assert_eq!(reply.page(), "<p>Ada</p>");
    assert_eq!(stage.upstream().calls(), ["/users/1"]);
    stage.finish();
}

fn fan_out_keeps_order(kind: Kind) {
    let upstream = Upstream::start(|call| match call.target {
        "/top" => call.json(format!("{:?}", (1..=40).collect::<Vec<_>>())),
        _ => {
            let id = call.id().to_owned();
            some_delay(id.parse().unwrap());
            call.json(format!(r#"{{"title": "story {id}"}}"#))
        }
    });
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nids = { from = 'api', path = '/top' }\n\
             stories = { from = 'api', each = 'ids[:30]', path = '/item/{{ it }}' }",
            "{% for story in stories %}<li>{{ story.title }}{% endfor %}",
        )
        .start(upstream);
    let expected: String = (1..=30).map(|id| format!("<li>story {id}")).collect();
    for _ in 0..5 {
        assert_eq!(stage.get("/").page(), expected);
    }
    assert_eq!(stage.upstream().calls().len(), 5 * 31);
    stage.finish();
}

fn fan_out_with_optional_items(kind: Kind) {
    let upstream = Upstream::start(|call| match call.id().parse::<u32>().unwrap() {
        2 => call.status(500),
        id => call.json(format!("{}", id * 10)),
    });
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nn = { from = 'api', each = '[1, 2, 3]', path = '/n/{{ it }}', \
             optional = true }",
            "{% for value in n %}[{{ 'gone' if value is none else value }}]{% endfor %}",
        )
        .start(upstream);
    assert_eq!(stage.get("/").page(), "[10][gone][30]");
    stage.finish();
}

fn optional_fetch_fails(kind: Kind) {
    let upstream = Upstream::start(|call| match call.target {
        "/must" => call.json(r#"{"name": "Ada"}"#),
        _ => call.status(500),
    });
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nmust = { from = 'api', path = '/must' }\n\
             may = { from = 'api', path = '/may', optional = true }",
            "{{ must.name }}{% if may %} with{% else %} without{% endif %}\
             {% if errors.may %} {{ errors.may.status }}{% endif %}",
        )
        .start(upstream);
    assert_eq!(stage.get("/").page(), "Ada without 502");
    stage.finish();
}

fn dependent_fetches(kind: Kind) {
    let upstream = Upstream::start(|call| match call.target {
        "/users/7" => call.json(r#"{"name": "Ada", "team": "a/b"}"#),
        "/teams/a%2Fb" => call.json(r#"{"name": "Engines", "lead": 9}"#),
        "/users/9" => call.json(r#"{"name": "Charles"}"#),
        _ => call.status(404),
    });
    let stage = Script::on(kind)
        .page(
            "/users/{id}",
            "[page.fetch]\nlead = { from = 'api', path = '/users/{{ team.lead }}' }\n\
             team = { from = 'api', path = '/teams/{{ user.team }}' }\n\
             user = { from = 'api', path = '/users/{{ path.id }}' }",
            "{{ user.name }}, {{ team.name }}, {{ lead.name }}",
        )
        .start(upstream);
    assert_eq!(stage.get("/users/7").page(), "Ada, Engines, Charles");
    assert_eq!(stage.upstream().calls(), ["/users/7", "/teams/a%2Fb", "/users/9"]);
    stage.finish();
}

fn lets(kind: Kind) {
    let body = r#"[{"t": 3, "n": "c"}, {"t": 9, "n": "i"}, {"t": 1, "n": "a"}]"#;
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nall = { from = 'api', path = '/all' }\n[page.let]\n\
             newest = \"all | sort(attribute='t', reverse=true) | first\"\n\
             shout = 'newest.n | upper'",
            "{{ shout }}{{ newest.t }}",
        )
        .start(Upstream::json(body));
    assert_eq!(stage.get("/").page(), "I9");
    stage.finish();
}

fn query_default(kind: Kind) {
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nposts = { from = 'api', path = '/posts', \
             query = { limit = '{{ query.limit | default(10) }}', tag = '{{ query.tag }}' } }",
            "{{ posts.n }}",
        )
        .start(Upstream::json(r#"{"n": 1}"#));
    assert_eq!(stage.get("/?tag=x").page(), "1");
    assert_eq!(stage.get("/?limit=5&tag=a%26b+c%3D").page(), "1");
    let calls = stage.upstream().calls();
    assert_eq!(calls[0], "/posts?limit=10&tag=x");
    assert!(calls[1].starts_with("/posts?limit=5&tag=a%26b"), "{calls:?}");
    assert!(!calls[1].contains("c="), "{calls:?}");
    stage.finish();
}

fn hostile_json_is_escaped(kind: Kind) {
    let hostile = r#"{"name": "<script>alert('x')</script>\"&\u2028\u0000", "<b>": "</title>"}"#;
    let stage = Script::on(kind)
        .page(
            "/{id}",
            "[page.fetch]\nuser = { from = 'api', path = '/u' }",
            "<a title=\"{{ user.name }}\">{{ user.name }}</a>{{ user }}<i>{{ path.id }}</i>",
        )
        .start(Upstream::json(hostile));
    let reply = stage.get("/%3Cscript%3E%22'");
    let page = reply.page();
    assert!(page.contains("&lt;script&gt;alert("), "{page}");
    for forbidden in ["<script", "</script", "</title", "<b>", "'x'"] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    let (title, _) = page.strip_prefix("<a title=\"").unwrap().split_once("\">").unwrap();
    assert!(!title.contains(['"', '<', '>']), "{title}");
    stage.finish();
}

fn a_parameter_is_one_segment(kind: Kind) {
    let stage = Script::on(kind)
        .user_page()
        .page(
            "/files/{rest*}",
            "[page.fetch]\nfile = { from = 'api', path = '/raw/{{ path.rest }}' }",
            "{{ file.name }}",
        )
        .start(Upstream::json(r#"{"name": "x"}"#));
    for (asked, sent) in [
        ("/users/a%2Fb%3Fc", "/users/a%2Fb%3Fc"),
        ("/users/a%20b%23%25", "/users/a%20b%23%25"),
        ("/users/%C3%A9%26=", "/users/%C3%A9"),
        ("/users/..%2F..%2Fadmin", "/users/..%2F..%2Fadmin"),
        ("/files/a/b/c", "/raw/a/b/c"),
    ] {
        stage.get(asked).page();
        let calls = stage.upstream().calls();
        let last = calls.last().unwrap();
        assert!(last.starts_with(sent), "{asked} became {last}");
        assert_eq!(last.matches('/').count(), sent.matches('/').count(), "{asked} became {last}");
        assert!(!last.contains('?'), "{asked} became {last}");
    }
    stage.finish();
}

fn dot_segments_are_refused(kind: Kind) {
    let stage = Script::on(kind)
        .user_page()
        .page(
            "/files/{rest*}",
            "[page.fetch]\nfile = { from = 'api', path = '/raw/{{ path.rest }}' }",
            "{{ file.name }}",
        )
        .start(Upstream::json(r#"{"name": "x"}"#));
    let mut visitor = stage.visitor();
    for target in [
        "/users/..",
        "/users/.",
        "/users/%2e%2e",
        "/users/%2E.",
        "/users/%00",
        "/users/%zz",
        "/users/%ff",
        "/files/../secret",
        "/files/a/%2e%2e/b",
        "/files/a/..",
    ] {
        let reply = visitor.get(target);
        assert_eq!(reply.status, 400, "{target}");
        reply.is_error(400);
    }
    assert!(stage.upstream().calls().is_empty());
    drop(visitor);
    stage.finish();
}

fn no_header_is_injected(kind: Kind) {
    let upstream = Upstream::start(|call| {
        assert!(!call.head.to_ascii_lowercase().contains("\r\nevil"), "{}", call.head);
        call.json(r#"{"n": 1}"#)
    });
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nposts = { from = 'api', path = '/p', \
             headers = { X-Tag = '{{ query.tag }}' } }",
            "{{ posts.n }}",
        )
        .start(upstream);
    assert_eq!(stage.get("/?tag=fine").page(), "1");
    for tag in ["a%0d%0aEvil:+1", "a%0aEvil:+1", "%00"] {
        let reply = stage.get(&format!("/?tag={tag}"));
        assert!(matches!(reply.status, 400 | 500), "{tag}: {}", reply.status);
    }
    assert_eq!(stage.upstream().calls().len(), 1);
    stage.finish();
}

fn a_template_that_fails_is_never_half_a_page(kind: Kind) {
    let stage = Script::on(kind)
        .page(
            "/",
            "[page.fetch]\nuser = { from = 'api', path = '/u' }",
            "<p>the first half</p>{{ user.missing.deeper }}<p>the other half</p>",
        )
        .plain_page()
        .start(Upstream::json(r#"{"name": "Ada"}"#));
    let mut visitor = stage.visitor();
    visitor.send(get("/") + &get("/plain"));
    let reply = visitor.reply();
    reply.is_error(500);
    assert!(!reply.text().contains("half"), "{}", reply.text());
    assert_eq!(visitor.reply().page(), "<p>plain</p>");
    drop(visitor);
    stage.finish();
}

fn no_such_page(kind: Kind) {
    let stage = Script::on(kind).user_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for target in ["/", "/users", "/users/", "/users/1/", "/users/1/2", "/%3Cscript%3E"] {
        let reply = visitor.get(target);
        reply.is_error(404);
        assert!(!reply.text().contains("<script"), "{}", reply.text());
    }
    assert!(stage.upstream().calls().is_empty());
    drop(visitor);
    stage.finish();
}

fn a_page_from_the_same_inputs_is_made_once(kind: Kind) {
    let calls = AtomicUsize::new(0);
    let upstream = Upstream::start(move |call| {
        // The third answer is another one.
        let name = if calls.fetch_add(1, Ordering::Relaxed) == 2 { "Bob" } else { "Ada" };
        call.json(format!(r#"{{"name": "{name}"}}"#))
    });
    let stage = Script::on(kind).server("memo_max = '1MiB'").user_page().start(upstream);
    let mut visitor = Visitor::to(stage.address());
    let replies = [1, 2, 3, 4].map(|_| visitor.ask(get("/users/1")));
    let tags = replies.each_ref().map(|reply| reply.field("etag").unwrap().to_owned());
    assert_eq!(replies[3].page(), "<p>Ada</p>");
    assert_eq!(replies[2].page(), "<p>Bob</p>");
    assert!(tags[0] == tags[1] && tags[0] == tags[3] && tags[0] != tags[2], "{tags:?}");
    assert!(tags[0].starts_with('"') && tags[0].len() == 34, "{tags:?}");
    assert_eq!(stage.count(|metrics| metrics.pages_remembered.get()), 1);
    let condition = |tag: &str| format!("If-None-Match: \"x\", W/{tag}\r\n\r\n");
    let request = |tag: &str| {
        let lines = format!("\r\n{}", condition(tag));
        get("/users/1").replacen("\r\n\r\n", &lines, 1)
    };
    visitor.send(request(&tags[0]));
    let reply = visitor.reply_to_head();
    assert_eq!((reply.status, reply.field("etag")), (304, Some(&*tags[0])));
    assert_eq!(reply.field("content-length"), None);
    assert_eq!(visitor.ask(request(&tags[2])).page(), "<p>Ada</p>");
    assert_ne!(visitor.ask(get("/users/2")).field("etag"), Some(&*tags[0]));
    drop(visitor);
    stage.finish();
}

/// Nobody has a tag of a page that has none, but `*` is true of any page (RFC 9110 section 13.1.2).
fn any_page_is_had_already_with_a_tag_or_without(kind: Kind) {
    for server in ["", "memo_max = '1MiB'"] {
        let stage = Script::on(kind)
            .server(server)
            .user_page()
            .plain_page()
            .start(Upstream::json(r#"{"name": "Ada"}"#));
        let mut visitor = stage.visitor();
        let with = |request: String, value: &str| {
            request.replacen("\r\n\r\n", &format!("\r\nIf-None-Match: {value}\r\n\r\n"), 1)
        };
        for target in ["/plain", "/users/1"] {
            for method in ["GET", "HEAD"] {
                visitor.send(with(get(target), "*").replacen("GET", method, 1));
                let reply = visitor.reply_to_head();
                assert_eq!((reply.status, reply.field("content-length")), (304, None));
            }
            assert_eq!(visitor.ask(with(get(target), "\"*\"")).status, 200);
        }
        visitor.ask(with(get("/nowhere"), "*")).is_error(404);
        drop(visitor);
        stage.finish();
    }
}

fn a_template_that_never_ends_is_one_500(kind: Kind) {
    let endless =
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let stage = Script::on(kind)
        .plain_page()
        .page("/endless", "", endless)
        .page("/huge", "", "{% for a in range(100000) %}{{ 'x' * 1000 }}{% endfor %}")
        .start(Upstream::json("{}"));
    stage.get("/endless").is_error(500);
    assert_eq!(stage.count(|metrics| metrics.renders_slow.get()), 1);
    stage.get("/huge").is_error(500);
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    assert_eq!(stage.count(|metrics| metrics.panics.get()), 0);
    stage.finish();
}
