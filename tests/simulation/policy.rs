//! What becomes of fetches from an upstream that fails or is late: breaker, retries, bounds.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::{Answer, visit};
use super::server::{SERVER, Server, assert_took, item_site, run};
use super::upstream::{self, Asked, Log, Step, answer, at, in_turn, json, response};

const MS: Duration = Duration::from_millis(1);

/// A server of items and its upstream.
fn start(
    policy: &str,
    plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static,
) -> (Server, Rc<RefCell<Log>>) {
    let log = upstream::start(at(81), plan);
    (Server::start(&item_site(policy, ""), &[&[at(81)]], Bounds::default()), log)
}

async fn ask(token: &str) -> (Answer, Duration) {
    visit(SERVER, &format!("/item/{token}")).await
}

/// What so many visits after each other are answered.
async fn statuses(visits: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..visits {
        statuses.push(ask("a").await.0.status);
    }
    statuses
}

fn status(status: u16) -> Vec<Step> {
    vec![Step::Send(response(status, "{}"))]
}

#[test]
fn a_breaker_opens_and_closes_again() {
    run(|| async {
        let (broken, is_broken) = shared(true);
        let policy =
            "breaker = { failure_ratio = 0.5, requests_min = 10, open = '2s', probes = 2 }";
        let (server, log) = start(policy, move |asked| match is_broken.get() {
            true => status(500),
            false => vec![answer(asked.token)],
        });
        assert_eq!(statuses(10).await, [502; 10]);
        let (answer, took) = ask("a").await;
        assert_eq!(answer.status, 503);
        assert!(answer.head.contains("\r\nRetry-After: 2\r\n"), "{}", answer.head);
        assert_took(took, Duration::ZERO);
        assert_eq!(statuses(50).await, [503; 50]);
        assert_eq!(log.borrow().requests.len(), 10, "the upstream is left alone");
        Sim::sleep(2000 * MS).await;
        assert_eq!(statuses(3).await, [502, 503, 503], "one probe that fails is enough");
        broken.set(false);
        Sim::sleep(1000 * MS).await;
        assert_eq!(statuses(1).await, [503]);
        Sim::sleep(1000 * MS).await;
        assert_eq!(statuses(50).await, [200; 50]);
        assert_eq!(server.metrics.upstream_breaker_opens.get(), 1);
        assert_eq!(server.metrics.upstream_breaker_rejects.get(), 54);
        server.assert_exchanges(115);
    });
}

#[test]
fn a_probe_that_nobody_waits_for_makes_room_for_another() {
    run(|| async {
        let (hangs, is_hanging) = shared(false);
        let policy = "breaker = { requests_min = 10, open = '1s', probes = 1 }";
        let count = Cell::new(0);
        let (server, _log) = start(policy, move |asked| match is_hanging.get() {
            true => vec![Step::Hang],
            false if count.replace(count.get() + 1) < 10 => status(500),
            false => vec![answer(asked.token)],
        });
        statuses(10).await;
        Sim::sleep(1000 * MS).await;
        hangs.set(true);
        let probe = Box::pin(server.fetch("/item/a"));
        let while_probing = Box::pin(async {
            Sim::sleep(100 * MS).await;
            assert_eq!(statuses(1).await, [503]);
        });
        // The probe is dropped, as a fetch is whose page needs it no longer.
        drop(futures_util::future::select(probe, while_probing).await);
        hangs.set(false);
        assert_eq!(statuses(10).await, [200; 10]);
    });
}

#[test]
fn by_default_a_breaker_is_for_what_is_down_not_for_what_fails_at_times() {
    run(|| async {
        let number = Cell::new(0);
        let (server, log) = start("", move |asked| {
            number.set(number.get() + 1);
            if number.get() % 2 == 0 { status(500) } else { vec![answer(asked.token)] }
        });
        let statuses = statuses(200).await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 100);
        assert_eq!(log.borrow().requests.len(), 200);
        assert_eq!(server.metrics.upstream_breaker_opens.get(), 0);
    });
    run(|| async {
        let (_server, log) = start("", |_| status(503));
        assert_eq!(statuses(30).await, [[502; 20].as_slice(), &[503; 10]].concat());
        assert_eq!(log.borrow().requests.len(), 20);
    });
    run(|| async {
        let (_server, _log) = start("", |_| status(404));
        assert_eq!(statuses(100).await, [404; 100], "the upstream is well: it has no such item");
    });
    run(|| async {
        let (_server, _log) = start("breaker = false", |_| status(503));
        assert_eq!(statuses(100).await, [502; 100]);
    });
}

#[test]
fn a_failure_that_is_named_is_tried_again() {
    for first in [status(503), vec![Step::Close], vec![Step::Send(b"HTTP/1".to_vec()), Step::Close]]
    {
        run(|| async move {
            let (server, log) = start("retry = true", in_turn(vec![first]));
            assert_eq!(ask("a").await.0.body, "token=a;");
            assert_eq!(log.borrow().requests.len(), 2);
            assert_eq!(server.metrics.upstream_retried.get(), 1);
            server.assert_exchanges(1);
        });
    }
    for first in [status(500), status(404), status(429), vec![Step::Send(b"SMTP".to_vec())]] {
        run(|| async move {
            let (_server, log) = start("retry = true", in_turn(vec![first]));
            assert_ne!(ask("a").await.0.status, 200);
            assert_eq!(log.borrow().requests.len(), 1);
        });
    }
}

#[test]
fn a_late_head_is_tried_again_where_that_is_named_and_within_the_deadline() {
    run(|| async {
        let policy = "header_timeout = '300ms'\ndeadline = '1s'\nbreaker = false\n\
                      retry = { on = ['timeout'], attempts = 5, backoff = '1ms' }";
        let (server, log) = start(policy, in_turn(vec![vec![Step::Hang]]));
        let (answer, took) = ask("a").await;
        assert_eq!(answer.body, "token=a;");
        assert_took(took, 300 * MS);
        assert_eq!(log.borrow().requests.len(), 2);
        drop(server);
    });
    run(|| async {
        let policy = "header_timeout = '300ms'\ndeadline = '1s'\n\
                      retry = { on = ['timeout'], attempts = 5, backoff = '1ms' }";
        let (_server, log) = start(policy, |_| vec![Step::Hang]);
        let (answer, took) = ask("a").await;
        assert_eq!(answer.status, 504);
        assert_took(took, 1000 * MS);
        assert_eq!(log.borrow().requests.len(), 4);
    });
}

#[test]
fn retries_cost_a_tenth_of_the_fetches_and_a_few_saved_up() {
    run(|| async {
        let (server, log) =
            start("retry = { attempts = 5, backoff = '1ms' }\nbreaker = false", |_| status(503));
        assert_eq!(statuses(300).await, [502; 300]);
        let retries = log.borrow().requests.len() - 300;
        assert!((30..=30 + 11).contains(&retries), "{retries} retries");
        assert_eq!(server.metrics.upstream_retried.get(), retries as u64);
        assert!(server.metrics.upstream_retries_denied.get() > 200);
    });
}

#[test]
fn a_retry_after_is_waited_for_where_that_fits_the_deadline() {
    let busy = |seconds: &str| {
        let head = format!("HTTP/1.1 503 X\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n");
        vec![vec![Step::Send(head.into_bytes())]]
    };
    run(|| async move {
        let (_server, log) = start("retry = true", in_turn(busy("1")));
        let (answer, took) = ask("a").await;
        assert_eq!(answer.body, "token=a;");
        assert_took(took, 1000 * MS);
        assert_eq!(log.borrow().requests.len(), 2);
    });
    for seconds in ["60", "5", "later"] {
        run(|| async move {
            let (_server, log) = start("retry = true", in_turn(busy(seconds)));
            let (answer, took) = ask("a").await;
            assert_eq!(answer.status, 502);
            assert_took(took, Duration::ZERO);
            assert_eq!(log.borrow().requests.len(), 1);
        });
    }
}

#[test]
fn a_body_that_does_not_come_costs_the_body_timeout() {
    run(|| async {
        // One that comes in time, though later than the head would have been.
        let mut whole = response(200, &json("a"));
        let last = whole.pop().into_iter().collect();
        let script = vec![vec![Step::Send(whole), Step::Wait(200 * MS), Step::Send(last)]];
        let policy = "body_timeout = '300ms'\nheader_timeout = '100ms'";
        let (_server, _log) = start(policy, in_turn(script));
        assert_eq!(ask("a").await.0.body, "token=a;");
    });
    run(|| async {
        let (server, _log) = start("body_timeout = '300ms'\nheader_timeout = '100ms'", |asked| {
            let mut whole = response(200, &json(asked.token));
            whole.pop();
            vec![Step::Send(whole), Step::Hang]
        });
        let (answer, took) = ask("a").await;
        assert_eq!(answer.status, 504);
        assert_took(took, 300 * MS);
        assert_eq!(server.metrics.upstream_connections.get(), 0);
    });
}

#[test]
fn beyond_what_may_be_in_flight_fetches_wait_a_moment_and_are_shed() {
    run(|| async {
        let policy = "max_in_flight = 2\nqueue_timeout = '150ms'";
        let (server, log) = start(policy, |asked| vec![Step::Wait(100 * MS), answer(asked.token)]);
        let answers = Rc::<RefCell<Vec<(u16, Duration)>>>::default();
        for _ in 0..10 {
            let answers = Rc::clone(&answers);
            Sim::spawn(async move {
                let (answer, took) = ask("a").await;
                answers.borrow_mut().push((answer.status, took));
            });
            Sim::sleep(MS).await;
        }
        Sim::sleep(1000 * MS).await;
        let answers = answers.take();
        let pages = answers.iter().filter(|(status, _)| *status == 200).count();
        let shed: Vec<_> = answers.iter().filter(|(status, _)| *status == 503).collect();
        // Two at once, two after those; the third pair would begin too late.
        assert_eq!((pages, shed.len()), (4, 6), "{answers:?}");
        shed.iter().for_each(|(_, took)| assert_took(*took, 150 * MS));
        assert_eq!(log.borrow().busy_max, 2);
        assert_eq!(server.metrics.upstream_queue_rejects.get(), 6);
        server.assert_exchanges(10);
        // And nothing is left of it.
        assert_eq!(statuses(5).await, [200; 5]);
    });
}

/// A switch: the test's end and the upstream's.
fn shared(on: bool) -> (Rc<Cell<bool>>, Rc<Cell<bool>>) {
    let switch = Rc::new(Cell::new(on));
    (Rc::clone(&switch), switch)
}

thread_local! {
    /// What is logged on this thread, where somebody wants to know.
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// What a run logs, line by line.
fn logged<F: Future<Output = ()>>(main: impl FnOnce() -> F) -> Vec<String> {
    static SUBSCRIBER: Once = Once::new();
    // For the whole program: what is set for one thread is not sure to be seen beside others.
    SUBSCRIBER.call_once(|| {
        tracing_subscriber::fmt().with_writer(|| Lines).with_ansi(false).init();
    });
    LOGGED.set(Some(Vec::new()));
    run(main);
    let bytes = LOGGED.take().unwrap();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.extend(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn of_many_pages_that_fail_a_few_are_logged_and_the_others_counted() {
    let lines = logged(|| async {
        let (_server, _log) = start("breaker = { open = '30s' }", |_| status(500));
        for _ in 0..1000 {
            ask("a").await;
            Sim::sleep(5 * MS).await;
        }
        Sim::sleep(1500 * MS).await;
    });
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    let failed = |status: &str| {
        let those = lines.iter().filter(|line| line.contains("page failed"));
        those.filter(|line| line.contains(status)).count()
    };
    assert_eq!(failed("status=502"), 10, "of twenty, in a tenth of a second");
    let refused = failed("status=503");
    assert!((4..=7).contains(&refused), "{refused} in five seconds");
    assert_eq!(count("its breaker opens"), 1);
    // And nobody is forgotten.
    let more = lines.iter().filter(|line| line.contains("more pages failed"));
    let pages = more.map(|line| {
        assert!(line.contains("upstream=\"api\""), "{line}");
        let (_, number) = line.split_once("pages=").unwrap();
        number.split_whitespace().next().unwrap().parse::<usize>().unwrap()
    });
    assert_eq!(pages.sum::<usize>() + refused + 10, 1000);
}
