//! Kept answers that are no longer fresh: shown while they are asked for again, and when that
//! fails.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;

use super::caching::{body, counting, start, with_fields};
use super::client::visit;
use super::server::{SERVER, assert_took, run};
use super::upstream::{self, Step, at, in_turn, json, response};

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[test]
fn a_stale_answer_is_shown_at_once_while_it_is_asked_for_again_once() {
    run(|| async {
        let log = upstream::start(
            at(81),
            in_turn(vec![
                vec![Step::Send(response(200, &json("one")))],
                vec![Step::Wait(500 * MS), Step::Send(response(200, &json("two")))],
            ]),
        );
        let server = start("cache = { ttl = '10s', stale_while_revalidate = '20s' }");
        assert_eq!(body("/item/a").await, "token=one;");
        Sim::sleep(15 * SEC).await;
        for _ in 0..5 {
            let (answer, took) = visit(SERVER, "/item/a").await;
            assert_eq!(answer.body, "token=one;");
            assert!(took < 100 * MS, "{took:?}");
        }
        Sim::sleep(SEC).await;
        assert_eq!(body("/item/a").await, "token=two;");
        assert_eq!(log.borrow().requests.len(), 2);
        let of = &server.metrics;
        assert_eq!((of.cache_stale.get(), of.cache_refreshes.get()), (5, 1));
        Sim::sleep(SEC).await;
        server.assert_balanced();
    });
}

#[test]
fn what_is_too_old_to_be_shown_is_waited_for() {
    run(|| async {
        let log = upstream::start(at(81), counting(""));
        let _server = start("cache = { ttl = '10s', stale_while_revalidate = '20s' }");
        assert_eq!(body("/item/a").await, "token=a.1;");
        Sim::sleep(31 * SEC).await;
        assert_eq!(body("/item/a").await, "token=a.2;");
        assert_eq!(log.borrow().requests.len(), 2);
    });
}

#[test]
fn an_answer_may_say_itself_how_long_it_is_shown_stale() {
    run(|| async {
        let fields = "Cache-Control: max-age=10, stale-while-revalidate=20\r\n";
        let log = upstream::start(at(81), counting(fields));
        let server = start("cache = true");
        assert_eq!(body("/item/a").await, "token=a.1;");
        Sim::sleep(15 * SEC).await;
        assert_eq!(body("/item/a").await, "token=a.1;");
        Sim::sleep(SEC).await;
        assert_eq!(body("/item/a").await, "token=a.2;");
        assert_eq!(log.borrow().requests.len(), 2);
        assert_eq!(server.metrics.cache_stale.get(), 1);
    });
}

/// What a dead API does: nobody is there, it answers 500, it hangs.
fn troubles() -> [Vec<Step>; 5] {
    [
        vec![Step::Close],
        vec![Step::Send(response(500, "{}"))],
        vec![Step::Send(response(429, "{}"))],
        vec![Step::Send(response(200, "no JSON"))],
        vec![Step::Hang],
    ]
}

#[test]
fn while_an_api_is_dead_its_last_answer_is_shown_at_once_but_for_the_first_visitor() {
    for trouble in troubles() {
        run(move || async move {
            let log = upstream::start(at(81), move |asked| {
                let is_dead = (SEC..40 * SEC).contains(&Sim::elapsed());
                if is_dead { trouble.clone() } else { counting("")(asked) }
            });
            let page = "deadline = '800ms'\ncache = { ttl = '1s', stale_if_error = '60s' }";
            let server = start(page);
            body("/item/a").await;
            Sim::sleep(2 * SEC).await;
            let (first, took) = visit(SERVER, "/item/a").await;
            assert_eq!(first.status, 200);
            assert!(took < SEC, "{took:?}");
            let before = log.borrow().requests.len();
            for _ in 0..30 {
                let (answer, took) = visit(SERVER, "/item/a").await;
                assert_eq!((answer.status, answer.body.as_str()), (200, "token=a.1;"));
                assert!(took < 100 * MS, "{took:?}");
                Sim::sleep(100 * MS).await;
            }
            // Three seconds: it is asked once a second, and not before the last call has ended.
            let asked = log.borrow().requests.len() - before;
            assert!(asked <= 4, "{asked} times");
            // And when it is back that is noticed.
            Sim::sleep(45 * SEC).await;
            body("/item/a").await;
            Sim::sleep(SEC / 2).await;
            let hits = server.metrics.cache_hits.get();
            body("/item/a").await;
            assert_eq!(server.metrics.cache_hits.get(), hits + 1);
            Sim::sleep(6 * SEC).await;
            server.assert_balanced();
        });
    }
}

#[test]
fn a_dead_api_is_an_error_once_its_last_answer_is_too_old() {
    run(|| async {
        let script = vec![vec![Step::Send(response(200, &json("a")))]];
        let answers = in_turn(script);
        upstream::start(at(81), move |asked| {
            if Sim::elapsed() < SEC { answers(asked) } else { vec![Step::Close] }
        });
        let _server = start("cache = { ttl = '1s', stale_if_error = '10s' }");
        body("/item/a").await;
        Sim::sleep(5 * SEC).await;
        body("/item/a").await;
        Sim::sleep(7 * SEC).await;
        assert_eq!(visit(SERVER, "/item/a").await.0.status, 502);
    });
}

#[test]
fn an_answer_that_is_another_now_is_not_shown_any_more() {
    for (status, expected) in [(404, 404), (410, 410), (403, 502), (301, 502)] {
        run(move || async move {
            let script = vec![
                vec![Step::Send(response(200, &json("a")))],
                vec![Step::Send(response(status, ""))],
                // The first may be of a pooled connection, which is replaced.
                vec![Step::Close],
                vec![Step::Close],
            ];
            upstream::start(at(81), in_turn(script));
            let _server = start("cache = { ttl = '1s', stale_if_error = '60s' }");
            body("/item/a").await;
            Sim::sleep(5 * SEC).await;
            assert_eq!(visit(SERVER, "/item/a").await.0.status, expected);
            // Nor when the API then dies.
            assert_eq!(visit(SERVER, "/item/a").await.0.status, 502);
        });
    }
}

#[test]
fn an_answer_that_must_be_revalidated_is_never_shown_stale() {
    run(|| async {
        let script = vec![
            vec![with_fields("Cache-Control: max-age=1, must-revalidate\r\n", &json("a"))],
            vec![Step::Send(response(500, "{}"))],
        ];
        upstream::start(at(81), in_turn(script));
        let page = "cache = { stale_if_error = '60s', stale_while_revalidate = '60s' }";
        let _server = start(page);
        body("/item/a").await;
        Sim::sleep(5 * SEC).await;
        assert_eq!(visit(SERVER, "/item/a").await.0.status, 502);
    });
}

#[test]
fn an_api_that_hangs_costs_the_deadline_once_and_the_page_goes_out() {
    run(|| async {
        let script = vec![vec![Step::Send(response(200, &json("a")))], vec![Step::Hang]];
        upstream::start(at(81), in_turn(script));
        let page = "deadline = '700ms'\ncache = { ttl = '1s', stale_if_error = '60s' }";
        let _server = start(page);
        body("/item/a").await;
        Sim::sleep(5 * SEC).await;
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!(answer.body, "token=a;");
        assert_took(took, 700 * MS);
    });
}
