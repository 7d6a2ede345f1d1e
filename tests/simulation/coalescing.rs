//! Many visitors who want the same at the same time: one call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::worker::Bounds;

use super::caching::{start, with_fields};
use super::client::{Answer, Client, get, visit};
use super::moods;
use super::server::{SERVER, Server, assert_took, item_site, run, site_of};
use super::upstream::{self, Asked, Step, at, json, response};

const MS: Duration = Duration::from_millis(1);

/// The answers that so many visitors get who come at once, and the longest time one took.
async fn crowd(visitors: usize, path: &'static str) -> (Vec<Answer>, Duration) {
    let answers = Rc::<RefCell<Vec<(Answer, Duration)>>>::default();
    for _ in 0..visitors {
        let answers = Rc::clone(&answers);
        Sim::spawn(async move {
            let answer = visit(SERVER, path).await;
            answers.borrow_mut().push(answer);
        });
    }
    while answers.borrow().len() < visitors {
        Sim::sleep(10 * MS).await;
    }
    let longest = answers.borrow().iter().map(|(_, took)| *took).max().unwrap();
    let answers = answers.take().into_iter().map(|(answer, _)| answer);
    (answers.collect(), longest)
}

fn slow(time: Duration, bytes: Vec<u8>) -> impl Fn(Asked<'_>) -> Vec<Step> {
    move |_| vec![Step::Wait(time), Step::Send(bytes.clone())]
}

#[test]
fn a_hundred_visitors_make_one_call() {
    run(|| async {
        let log = upstream::start(at(81), slow(300 * MS, response(200, &json("a"))));
        let server = start("cache = '1s'");
        let (answers, longest) = crowd(100, "/item/a").await;
        assert!(answers.iter().all(|answer| answer.body == "token=a;"), "{answers:?}");
        assert_took(longest, 300 * MS);
        assert_eq!(log.borrow().requests.len(), 1);
        let of = &server.metrics;
        assert_eq!((of.cache_misses.get(), of.cache_coalesced.get()), (1, 99));
        Sim::sleep(500 * MS).await;
        server.assert_balanced();
    });
}

#[test]
fn who_is_told_not_to_share_asks() {
    run(|| async {
        let log = upstream::start(at(81), slow(300 * MS, response(200, &json("a"))));
        let _server = start("cache = { ttl = '1s', coalesce = false }");
        let (answers, _) = crowd(20, "/item/a").await;
        assert!(answers.iter().all(|answer| answer.body == "token=a;"), "{answers:?}");
        assert_eq!(log.borrow().requests.len(), 20);
    });
}

#[test]
fn an_error_is_shared_too() {
    run(|| async {
        let log = upstream::start(at(81), slow(300 * MS, response(500, "{}")));
        let server = start("cache = '1s'");
        let (answers, _) = crowd(50, "/item/a").await;
        assert!(answers.iter().all(|answer| answer.status == 502), "{answers:?}");
        assert_eq!(log.borrow().requests.len(), 1);
        // But not kept.
        visit(SERVER, "/item/a").await;
        assert_eq!(log.borrow().requests.len(), 2);
        Sim::sleep(500 * MS).await;
        server.assert_balanced();
    });
}

#[test]
fn an_answer_for_one_alone_is_shared_with_nobody() {
    for (page, fields) in [
        ("cache = '1s'", "Cache-Control: private\r\n"),
        ("cache = true", "Cache-Control: no-cache\r\nETag: \"v\"\r\n"),
    ] {
        run(move || async move {
            let log = upstream::start(at(81), move |_| {
                vec![Step::Wait(300 * MS), with_fields(fields, &json("a"))]
            });
            let _server = start(page);
            crowd(10, "/item/a").await;
            assert_eq!(log.borrow().requests.len(), 10);
            // Once that is known, nobody waits for another's call.
            let (_, longest) = crowd(10, "/item/a").await;
            assert_took(longest, 300 * MS);
            assert_eq!(log.borrow().requests.len(), 20);
        });
    }
}

/// Two pages that ask for the same: `/short` and `/long`, with further keys for each.
fn short_and_long(short: [&str; 2], long: [&str; 2]) -> Server {
    let page = |path: &str, [page, fetch]: [&str; 2]| {
        format!(
            "[[page]]\npath = '{path}'\ntemplate = 'page.html'\n{page}\n[page.fetch]\n\
             a = {{ from = 'api', path = '/a', cache = '10s'{fetch} }}\n"
        )
    };
    let source = site_of(&(page("/short", short) + &page("/long", long)), "{{ a.token }}");
    Server::start(&source, &[&[at(81)]], Bounds::default())
}

#[test]
fn who_has_less_time_takes_nothing_from_the_others() {
    run(|| async {
        let log = upstream::start(at(81), slow(400 * MS, response(200, &json("a"))));
        let _server = short_and_long(["deadline = '100ms'", ""], ["deadline = '2s'", ""]);
        Sim::spawn(async {
            let (answer, took) = visit(SERVER, "/short").await;
            assert_eq!(answer.status, 504);
            assert_took(took, 100 * MS);
        });
        Sim::sleep(20 * MS).await;
        let (answer, took) = visit(SERVER, "/long").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "a"));
        // It is the call that was begun for the other.
        assert!(took < 400 * MS, "{took:?}");
        assert_eq!(log.borrow().requests.len(), 1);
    });
}

#[test]
fn who_leaves_takes_nothing_from_the_others() {
    run(|| async {
        let log = upstream::start(at(81), slow(400 * MS, response(200, &json("a"))));
        let server = short_and_long(["", ""], ["", ""]);
        let mut leaver = Client::connect(SERVER).await.unwrap();
        leaver.send(get("/long")).await.unwrap();
        Sim::sleep(5 * MS).await;
        drop(leaver);
        let (answer, _) = visit(SERVER, "/long").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "a"));
        assert_eq!(log.borrow().requests.len(), 1);
        Sim::sleep(500 * MS).await;
        assert_eq!(server.metrics.upstream_cancelled.get(), 0);
    });
}

#[test]
fn where_a_call_had_too_little_time_another_takes_over() {
    run(|| async {
        let log = upstream::start(at(81), slow(400 * MS, response(200, &json("a"))));
        let _server = short_and_long(["", ", deadline = '100ms'"], ["", ", deadline = '2s'"]);
        Sim::spawn(async {
            assert_eq!(visit(SERVER, "/short").await.0.status, 504);
        });
        Sim::sleep(20 * MS).await;
        let (answers, longest) = crowd(10, "/long").await;
        assert!(answers.iter().all(|answer| answer.body == "a"), "{answers:?}");
        assert!(longest < 700 * MS, "{longest:?}");
        assert_eq!(log.borrow().requests.len(), 2);
    });
}

#[test]
fn a_head_that_does_not_come_costs_all_who_wait_no_more_than_the_first() {
    run(|| async {
        let log = upstream::start(at(81), |_| vec![Step::Hang]);
        let source = item_site("header_timeout = '300ms'", "cache = '10s'");
        let _server = Server::start(&source, &[&[at(81)]], Bounds::default());
        let (answers, longest) = crowd(10, "/item/a").await;
        assert!(answers.iter().all(|answer| answer.status == 504), "{answers:?}");
        assert_took(longest, 300 * MS);
        assert_eq!(log.borrow().requests.len(), 1);
    });
}

#[test]
fn items_of_one_page_that_are_the_same_are_one_call() {
    run(|| async {
        let log = upstream::start(at(81), |asked| {
            vec![Step::Wait(100 * MS), Step::Send(response(200, &json(asked.token)))]
        });
        let source = site_of(
            "[[page]]\npath = '/'\ntemplate = 'page.html'\ncache = '10s'\n[page.fetch]\n\
             a = { from = 'api', path = '/{{ it }}', each = '[1, 2, 1, 1]' }\n",
            "{% for x in a %}{{ x.token }};{% endfor %}",
        );
        let _server = Server::start(&source, &[&[at(81)]], Bounds::default());
        assert_eq!(visit(SERVER, "/").await.0.body, "1;2;1;1;");
        assert_eq!(log.borrow().requests.len(), 2);
    });
}

#[test]
fn whatever_upstreams_do_each_gets_its_own_and_all_is_counted() {
    let mut seen = [0; 4];
    for seed in 0..64 {
        let run = Sim::run_seeded(seed, Faults::rough(), || async {
            upstream::start(at(81), |asked| match moods::once_in(4) {
                true => moods::badly(asked),
                false => moods::well(asked),
            });
            let policy = "max_connections = 3\nheader_timeout = '800ms'\nidle_timeout = '2s'";
            let page = "deadline = '1500ms'\ncache = { ttl = '150ms', \
                        stale_while_revalidate = '200ms', stale_if_error = '500ms' }";
            let server = Server::start(&item_site(policy, page), &[&[at(81)]], Bounds::default());
            let left = Rc::new(Cell::new(30));
            for _ in 0..left.get() {
                Sim::spawn(visit_by_chance(Rc::clone(&left)));
            }
            while left.get() > 0 {
                Sim::sleep(50 * MS).await;
            }
            Sim::sleep(10_000 * MS).await;
            server.assert_balanced();
            let of = &server.metrics;
            [&of.cache_hits, &of.cache_stale, &of.cache_coalesced, &of.cache_refreshes]
                .map(|counter| counter.get())
        });
        let counts = run.unwrap_or_else(|failure| panic!("{failure}"));
        seen.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert!(seen.iter().all(|count| *count > 64), "{seen:?}");
}

/// Visits, for a few of the same pages, now and then.
async fn visit_by_chance(left: Rc<Cell<u64>>) {
    for _ in 0..4 {
        Sim::sleep(moods::up_to_ms(700)).await;
        let token = Sim::random_below(3).to_string();
        let (answer, took) = visit(SERVER, &format!("/item/{token}")).await;
        assert!(took < 1800 * MS, "{took:?}");
        match answer.status {
            200 => assert!(answer.body.starts_with(&format!("token={token};")), "{answer:?}"),
            status => assert!([404, 502, 503, 504].contains(&status), "{answer:?}"),
        }
    }
    left.set(left.get() - 1);
}
