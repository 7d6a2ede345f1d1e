//! What is kept, and then changed by those who ask with other methods than GET; and what is told
//! of it.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::site::Source;
use ringpress::worker::Bounds;

use super::caching::{body, counting, start, with_fields};
use super::client::{Answer, Client, get, visit};
use super::server::{SERVER, Server, item_site, run, site_of};
use super::upstream::{self, Step, at, json, response};

const MS: Duration = Duration::from_millis(1);

/// Things that can be got, and changed.
fn things() -> Source {
    site_of(
        "[[page]]\npath = '/item/{id}'\ntemplate = 'page.html'\ncache = '1h'\n[page.fetch]\n\
         item = { from = 'api', path = '/item/{{ path.id }}' }\n\
         [[page]]\npath = '/change/{id}'\ntemplate = 'page.html'\nmethod = ['GET', 'POST']\n\
         csrf = false\nform = { max_body = '1KiB' }\n[page.fetch]\n\
         item = { from = 'api', path = '/item/{{ path.id }}', method = 'POST' }\n",
        "token={{ item.token }};",
    )
}

async fn change(path: &str) -> u16 {
    let mut client = Client::connect(SERVER).await.unwrap();
    let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    client.ask(request).await.status
}

#[test]
fn what_was_changed_is_asked_for_anew() {
    run(|| async {
        let log = upstream::start(at(81), counting(""));
        let server = Server::start(&things(), &[&[at(81)]], Bounds::default());
        for (id, count) in [("a", 1), ("b", 2), ("a", 1)] {
            assert_eq!(body(&format!("/item/{id}")).await, format!("token={id}.{count};"));
        }
        assert_eq!(change("/change/a").await, 200);
        assert_eq!(body("/item/a").await, "token=a.4;");
        assert_eq!(body("/item/a").await, "token=a.4;");
        assert_eq!(body("/item/b").await, "token=b.2;", "another is as it was");
        assert_eq!(log.borrow().requests.len(), 4);
        Sim::sleep(MS * 1000).await;
        server.assert_balanced();
    });
}

#[test]
fn what_could_not_be_changed_is_as_it_was() {
    run(|| async {
        upstream::start(at(81), |asked| match asked.head.starts_with("POST") {
            true => vec![Step::Send(response(409, "{}"))],
            false => vec![with_fields("", &json(&asked.request.to_string()))],
        });
        let server = Server::start(&things(), &[&[at(81)]], Bounds::default());
        let before = body("/item/a").await;
        assert_eq!(change("/change/a").await, 502);
        assert_eq!(body("/item/a").await, before);
        assert_eq!(server.metrics.cache_hits.get(), 1);
    });
}

#[test]
fn a_call_that_was_begun_before_a_change_is_not_shared_after_it() {
    run(|| async {
        let count = std::cell::Cell::new(0);
        upstream::start(at(81), move |asked| {
            count.set(count.get() + 1);
            let wait = if asked.head.starts_with("POST") { MS * 10 } else { MS * 400 };
            vec![Step::Wait(wait), with_fields("", &json(&count.get().to_string()))]
        });
        let _server = Server::start(&things(), &[&[at(81)]], Bounds::default());
        Sim::spawn(async {
            assert_eq!(body("/item/a").await, "token=1;");
        });
        Sim::sleep(MS * 100).await;
        assert_eq!(change("/change/a").await, 200);
        assert_eq!(body("/item/a").await, "token=3;");
        assert_eq!(body("/item/a").await, "token=3;");
    });
}

#[test]
fn an_answer_that_is_kept_elsewhere_tells_its_age_from_the_first_on() {
    for cache in ["", "cache = true"] {
        run(|| async {
            let fields = "Cache-Control: max-age=60\r\nX-A: 1\r\nAge: 50\r\n";
            upstream::start(at(81), counting(fields));
            let page = format!(
                "[[page]]\npath = '/a'\ntemplate = 'page.html'\n{cache}\n[page.fetch]\n\
                 item = {{ from = 'api', path = '/item/a', pass = ['Cache-Control'] }}\n"
            );
            let _server = Server::start(&site_of(&page, ""), &[&[at(81)]], Bounds::default());
            let (answer, _) = visit(SERVER, "/a").await;
            assert!(answer.head.contains("\r\nAge: 50\r\n"), "{cache}: {}", answer.head);
        });
    }
}

/// One field more in the head of a request.
async fn with_field(path: &str, field: &str) -> Answer {
    let mut client = Client::connect(SERVER).await.unwrap();
    client.ask(get(path).replacen("\r\n", &format!("\r\n{field}\r\n"), 1)).await
}

#[test]
fn who_asks_without_a_trace_does_not_decide_for_those_with_one() {
    run(|| async {
        upstream::start(at(81), counting("Vary: traceparent\r\nCache-Control: max-age=60\r\n"));
        let _server = start("cache = true");
        assert_eq!(body("/item/a").await, "token=a.1;");
        let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(with_field("/item/a", trace).await.body, "token=a.2;");
    });
}

#[test]
fn who_shares_a_call_is_told_when_to_come_back_too() {
    for cache in ["", "cache = '1s'"] {
        run(|| async {
            upstream::start(at(81), |_| vec![Step::Send(response(500, "{}"))]);
            let policy = "breaker = { requests_min = 4, open = '25s' }";
            let source = item_site(policy, cache);
            let _server = Server::start(&source, &[&[at(81)]], Bounds::default());
            for id in 0..10 {
                visit(SERVER, &format!("/item/{id}")).await;
            }
            let (answer, _) = visit(SERVER, "/item/a").await;
            assert_eq!(answer.status, 503, "{answer:?}");
            let wait = answer.retry_after_s().unwrap();
            assert!((20..=30).contains(&wait), "{cache}: {wait}");
        });
    }
}

#[test]
fn what_is_replaced_has_not_made_room_for_another() {
    run(|| async {
        upstream::start(at(81), counting(""));
        let server = start("cache = '1s'");
        for count in 1..5 {
            assert_eq!(body("/item/a").await, format!("token=a.{count};"));
            Sim::sleep(MS * 2000).await;
        }
        assert_eq!(server.metrics.cache_evictions.get(), 0);
    });
}

#[test]
fn each_fetch_is_counted_once() {
    run(|| async {
        let log = upstream::start(at(81), |asked| {
            let fields = "Cache-Control: private\r\n";
            vec![Step::Wait(MS * 100), with_fields(fields, &json(asked.token))]
        });
        let server = start("cache = true");
        futures_util::future::join_all((0..20).map(|_| visit(SERVER, "/item/a"))).await;
        assert_eq!(log.borrow().requests.len(), 20);
        let of = &server.metrics;
        assert_eq!(of.cache_misses.get() + of.cache_coalesced.get() + of.cache_hits.get(), 20);
    });
}

#[test]
fn health_checks_say_who_asks_as_all_other_requests_do() {
    run(|| async {
        let log = upstream::start(at(81), |asked| {
            let is_known = asked.field("Authorization") == "Bearer tok"
                && asked.field("User-Agent").starts_with("ringpress/");
            vec![Step::Send(response(if is_known { 200 } else { 401 }, &json(asked.token)))]
        });
        let policy = "headers = { Authorization = 'Bearer tok' }\n\
                      health = { path = '/healthz', interval = '1s', fails = 1 }";
        let server = Server::start(&item_site(policy, ""), &[&[at(81)]], Bounds::default());
        Sim::sleep(MS * 5000).await;
        assert!(log.borrow().requests.len() > 2);
        assert_eq!(server.metrics.upstream_unwell.get(), 0);
    });
}
