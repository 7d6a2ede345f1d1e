//! Answers that are kept: for how long, for whom, and how many.

use std::cell::Cell;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::{Client, get, visit};
use super::server::{SERVER, Server, item_site, run, site_of};
use super::upstream::{self, Asked, Step, at, in_turn, json, json_filled, response};

const SEC: Duration = Duration::from_secs(1);

/// An answer with these field lines.
pub(crate) fn with_fields(fields: &str, body: &str) -> Step {
    let length = body.len();
    let head = format!("HTTP/1.1 200 X\r\n{fields}Content-Length: {length}\r\n\r\n");
    Step::Send((head + body).into_bytes())
}

/// An upstream that tells each time it is asked: `token.1`, `token.2` and so on.
pub(crate) fn counting(fields: &'static str) -> impl Fn(Asked<'_>) -> Vec<Step> {
    let count = Cell::new(0);
    move |asked| {
        count.set(count.get() + 1);
        vec![with_fields(fields, &json(&format!("{}.{}", asked.token, count.get())))]
    }
}

/// A server of one page `/item/{id}` that keeps answers as `page` says.
pub(crate) fn start(page: &str) -> Server {
    Server::start(&item_site("", page), &[&[at(81)]], Bounds::default())
}

pub(crate) async fn body(path: &str) -> String {
    let (answer, _) = visit(SERVER, path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// How many times an upstream is asked by visits at these seconds.
fn asked_at(page: &'static str, fields: &'static str, seconds: &'static [u32]) -> usize {
    run(move || async move {
        let log = upstream::start(at(81), counting(fields));
        let server = start(page);
        for second in seconds {
            Sim::sleep((*second * SEC).saturating_sub(Sim::elapsed())).await;
            body("/item/a").await;
        }
        Sim::sleep(SEC).await;
        server.assert_balanced();
        log.borrow().requests.len()
    })
}

#[test]
fn a_declared_ttl_is_how_long_an_answer_is_shown() {
    run(|| async {
        let log = upstream::start(at(81), counting("Cache-Control: no-cache, max-age=0\r\n"));
        let server = start("cache = '10s'");
        assert_eq!(body("/item/a").await, "token=a.1;");
        assert_eq!(body("/item/b").await, "token=b.2;");
        Sim::sleep(9 * SEC).await;
        assert_eq!(body("/item/a").await, "token=a.1;");
        Sim::sleep(2 * SEC).await;
        assert_eq!(body("/item/a").await, "token=a.3;");
        assert_eq!(log.borrow().requests.len(), 3);
        let of = &server.metrics;
        assert_eq!((of.cache_hits.get(), of.cache_misses.get()), (1, 3));
        Sim::sleep(SEC).await;
        server.assert_balanced();
    });
}

#[test]
fn without_being_told_to_nothing_is_kept() {
    for page in ["", "cache = false"] {
        assert_eq!(asked_at(page, "Cache-Control: max-age=60\r\n", &[0, 1, 2]), 3);
    }
}

#[test]
fn an_answer_says_how_long_it_may_be_shown() {
    for (fields, expected) in [
        ("Cache-Control: max-age=10\r\n", 2),
        ("Cache-Control: s-maxage=20, max-age=1\r\n", 1),
        ("Cache-Control: max-age=10\r\nVary: Accept\r\n", 2),
        ("Cache-Control: max-age=20\r\nAge: 8\r\n", 2),
        ("Cache-Control: max-age=10\r\nAge: 8\r\n", 3),
        ("", 3),
        ("Expires: 0\r\n", 3),
        ("Cache-Control: max-age=60, no-store\r\n", 3),
        ("Cache-Control: max-age=60, private\r\n", 3),
        ("Cache-Control: max-age=60, no-cache\r\n", 3),
        ("Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n", 3),
        ("Cache-Control: max-age=60\r\nVary: *\r\n", 3),
        // What ties a fetch to the visitor who asked is another for each.
        ("Cache-Control: max-age=60\r\nVary: X-Request-Id\r\n", 3),
    ] {
        assert_eq!(asked_at("cache = true", fields, &[0, 5, 15]), expected, "{fields}");
    }
}

#[test]
fn what_is_not_for_others_stays_so_whatever_a_site_declares() {
    for fields in [
        "Cache-Control: no-store\r\n",
        "Cache-Control: private\r\n",
        "Set-Cookie: a=b\r\n",
        "Vary: *\r\n",
    ] {
        let page = "cache = { ttl = '60s', stale_while_revalidate = '60s' }";
        assert_eq!(asked_at(page, fields, &[0, 1, 2]), 3, "{fields}");
    }
    let page = "cache = { ttl = '60s', credentials = true }";
    assert_eq!(asked_at(page, "Cache-Control: private\r\n", &[0, 1, 2]), 1);
    assert_eq!(asked_at(page, "Cache-Control: no-store\r\n", &[0, 1, 2]), 3);
}

#[test]
fn a_declared_ttl_counts_from_when_an_answer_came() {
    assert_eq!(asked_at("cache = '10s'", "Age: 3600\r\n", &[0, 9, 15]), 2);
}

#[test]
fn a_cookie_that_is_passed_on_is_for_nobody_else() {
    run(|| async {
        let log = upstream::start(at(81), |_| vec![with_fields("Set-Cookie: a=b\r\n", "1")]);
        let text = "[[page]]\npath = '/'\ntemplate = 'page.html'\n[page.fetch]\n\
                    a = { from = 'api', path = '/a', pass = 'Set-Cookie', \
                    cache = { ttl = '60s', credentials = true } }\n";
        let _server = Server::start(&site_of(text, "{{ a }}"), &[&[at(81)]], Bounds::default());
        for _ in 0..3 {
            let (answer, _) = visit(SERVER, "/").await;
            assert!(answer.head.contains("Set-Cookie: a=b\r\n"), "{answer:?}");
        }
        assert_eq!(log.borrow().requests.len(), 3);
    });
}

/// A visit with a field line, and the body.
async fn body_with(line: &str) -> String {
    let request = get("/").replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1);
    Client::connect(SERVER).await.unwrap().ask(request).await.body
}

#[test]
fn other_fields_of_a_request_are_another_request() {
    run(|| async {
        // It says nothing of Vary, as many do not.
        let log = upstream::start(at(81), |asked| {
            let language = asked.field("accept-language");
            vec![with_fields("Cache-Control: max-age=60\r\n", &format!("\"{language}\""))]
        });
        let page = "[[page]]\npath = '/'\ntemplate = 'page.html'\n[page.fetch]\n\
                    a = { from = 'api', path = '/a', cache = true, \
                    headers = { Accept-Language = '{{ headers.accept_language }}' } }\n";
        let source = site_of(page, "{{ a }}");
        let _server = Server::start(&source, &[&[at(81)]], Bounds::default());
        for _ in 0..3 {
            assert_eq!(body_with("Accept-Language: de").await, "de");
            assert_eq!(body_with("Accept-Language: en").await, "en");
        }
        assert_eq!(log.borrow().requests.len(), 2);
    });
}

#[test]
fn credentials_are_kept_apart_and_only_if_so_said() {
    let site = |cache: &str, page_cache: &str| {
        let page = format!(
            "[[page]]\npath = '/'\ntemplate = 'page.html'\n{page_cache}\n[page.fetch]\n\
             a = {{ from = 'api', path = '/a', headers = {{ Cookie = '{{{{ headers.cookie }}}}' \
             }}{cache} }}\n"
        );
        site_of(&page, "{{ a }}")
    };
    for (source, expected) in [
        (site(", cache = { ttl = '60s', credentials = true }", ""), 2),
        (site("", "cache = { ttl = '60s', credentials = true }"), 2),
        (site("", "cache = '60s'"), 6),
    ] {
        run(move || async move {
            let log = upstream::start(at(81), |asked| {
                let cookie = asked.field("cookie");
                vec![with_fields("Cache-Control: private\r\n", &format!("\"{cookie}\""))]
            });
            let _server = Server::start(&source, &[&[at(81)]], Bounds::default());
            for _ in 0..3 {
                assert_eq!(body_with("Cookie: of=ann").await, "of=ann");
                assert_eq!(body_with("Cookie: of=bob").await, "of=bob");
            }
            assert_eq!(log.borrow().requests.len(), expected);
        });
    }
}

#[test]
fn an_answer_that_is_still_right_is_not_sent_again() {
    run(|| async {
        let log = upstream::start(at(81), |asked| {
            if asked.field("if-none-match") == "\"v1\"" {
                let date = asked.field("if-modified-since");
                assert_eq!(date, "Mon, 03 Mar 2014 12:00:00 GMT");
                let fields = "ETag: \"v1\"\r\nCache-Control: max-age=100\r\n";
                return vec![Step::Send(format!("HTTP/1.1 304 X\r\n{fields}\r\n").into_bytes())];
            }
            let fields = "ETag: \"v1\"\r\nLast-Modified: Mon, 03 Mar 2014 12:00:00 GMT\r\n\
                          Cache-Control: max-age=10\r\n";
            vec![with_fields(fields, &json("one"))]
        });
        let server = start("cache = true");
        assert_eq!(body("/item/a").await, "token=one;");
        Sim::sleep(11 * SEC).await;
        // It is asked, and then is good for as long as the 304 says.
        assert_eq!(body("/item/a").await, "token=one;");
        Sim::sleep(50 * SEC).await;
        assert_eq!(body("/item/a").await, "token=one;");
        assert_eq!(log.borrow().requests.len(), 2);
        let of = &server.metrics;
        assert_eq!((of.cache_revalidated.get(), of.cache_hits.get()), (1, 1));
        Sim::sleep(60 * SEC).await;
        assert_eq!(body("/item/a").await, "token=one;");
        assert_eq!(log.borrow().requests.len(), 3);
    });
}

#[test]
fn a_304_for_another_version_than_the_kept_one_keeps_nothing_alive() {
    for tag in ["\"v2\"", "W/\"v2\""] {
        run(move || async move {
            let log = upstream::start(at(81), move |asked| {
                if asked.request == 0 {
                    return vec![with_fields(
                        "ETag: \"v1\"\r\nCache-Control: max-age=10\r\n",
                        &json("one"),
                    )];
                }
                // It has moved on, and says so of what nobody here has.
                let fields = format!("ETag: {tag}\r\nCache-Control: max-age=100\r\n");
                match asked.field("if-none-match") {
                    "" => vec![with_fields(&fields, &json("two"))],
                    _ => vec![Step::Send(format!("HTTP/1.1 304 X\r\n{fields}\r\n").into_bytes())],
                }
            });
            let server = start("cache = true");
            assert_eq!(body("/item/a").await, "token=one;");
            Sim::sleep(11 * SEC).await;
            for _ in 0..3 {
                assert_eq!(body("/item/a").await, "token=two;");
            }
            assert_eq!(log.borrow().requests.len(), 3);
            assert_eq!(server.metrics.cache_revalidated.get(), 0);
            server.assert_exchanges(3);
        });
    }
}

#[test]
fn what_is_not_there_is_kept_for_as_long_as_the_answer_says() {
    for (fields, expected) in [("", 3), ("Cache-Control: max-age=60\r\n", 1)] {
        run(move || async move {
            let log = upstream::start(at(81), move |_| {
                let head = format!("HTTP/1.1 404 X\r\n{fields}Content-Length: 0\r\n\r\n");
                vec![Step::Send(head.into_bytes())]
            });
            let _server = start("cache = '60s'");
            for _ in 0..3 {
                assert_eq!(visit(SERVER, "/item/a").await.0.status, 404);
            }
            assert_eq!(log.borrow().requests.len(), expected, "{fields}");
        });
    }
}

#[test]
fn what_is_kept_stays_within_its_bytes() {
    run(|| async {
        let log = upstream::start(at(81), |asked| {
            vec![Step::Send(response(200, &json_filled(asked.token, 4000)))]
        });
        let source = site_of(
            "[server]\ncache_max = '64KiB'\n[[page]]\npath = '/item/{id}'\n\
             template = 'page.html'\ncache = '1h'\n[page.fetch]\n\
             item = { from = 'api', path = '/item/{{ path.id }}' }\n",
            "{{ item.token }}",
        );
        let server = Server::start(&source, &[&[at(81)]], Bounds::default());
        let of = &server.metrics;
        for token in 0..100 {
            assert_eq!(body(&format!("/item/{token}")).await, token.to_string());
            assert!(of.cache_bytes.get() <= 64 * 1024, "{}", of.cache_bytes.get());
        }
        assert_eq!(log.borrow().requests.len(), 100);
        assert!(of.cache_bytes.get() > 32 * 1024, "{}", of.cache_bytes.get());
        assert!(of.cache_evictions.get() > 80, "{}", of.cache_evictions.get());
        // The last one is still there.
        body("/item/99").await;
        assert_eq!(of.cache_hits.get(), 1);
    });
}

#[test]
fn fields_that_are_passed_on_are_kept_with_the_answer_and_tell_its_age() {
    run(|| async {
        let script = vec![
            vec![with_fields("Cache-Control: max-age=60\r\nX-A: 1\r\nAge: 4\r\n", "1")],
            vec![with_fields("Cache-Control: max-age=60\r\nX-A: 2\r\n", "2")],
        ];
        upstream::start(at(81), in_turn(script));
        let pass = "cache = true, pass = ['Cache-Control', 'X-A']";
        let page = |path: &str, rest: &str| {
            format!(
                "[[page]]\npath = '{path}'\ntemplate = 'page.html'\n[page.fetch]\n\
                 a = {{ from = 'api', path = '/a', {rest} }}\n"
            )
        };
        let source = site_of(&(page("/", pass) + &page("/b", "cache = true")), "{{ a }}");
        let _server = Server::start(&source, &[&[at(81)]], Bounds::default());
        let (first, _) = visit(SERVER, "/").await;
        assert!(first.head.contains("X-A: 1\r\n"), "{first:?}");
        Sim::sleep(10 * SEC).await;
        let (second, _) = visit(SERVER, "/").await;
        assert!(second.head.contains("Cache-Control: max-age=60\r\nX-A: 1\r\n"), "{second:?}");
        assert!(second.head.contains("Age: 14\r\n"), "{second:?}");
        // Where others are wanted, or none, what is kept without them is of no use.
        let (other, _) = visit(SERVER, "/b").await;
        assert_eq!(other.body, "2");
        assert!(!other.head.contains("X-A") && !other.head.contains("Age"), "{other:?}");
    });
}

#[test]
fn a_page_from_what_is_kept_is_made_once() {
    run(|| async {
        upstream::start(at(81), |asked| vec![Step::Send(response(200, &json(asked.token)))]);
        let source = site_of(
            "[server]\nmemo_max = '1MiB'\n[[page]]\npath = '/item/{id}'\n\
             template = 'page.html'\ncache = '1h'\n[page.fetch]\n\
             item = { from = 'api', path = '/item/{{ path.id }}' }\n",
            "{{ item.token }}",
        );
        let server = Server::start(&source, &[&[at(81)]], Bounds::default());
        for _ in 0..4 {
            assert_eq!(body("/item/a").await, "a");
        }
        assert_eq!(server.metrics.pages_remembered.get(), 2);
        assert_eq!(server.metrics.cache_hits.get(), 3);
    });
}
