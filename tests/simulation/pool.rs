//! The connections to an upstream: reused, bounded, and let go in time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::{Client, get, visit};
use super::server::{SERVER, Server, assert_took, item_site, run, site_of};
use super::upstream::{self, Asked, Log, Step, answer, at, in_turn};

const MS: Duration = Duration::from_millis(1);

/// A server of items and its upstream.
fn start(
    policy: &str,
    plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static,
) -> (Server, Rc<RefCell<Log>>) {
    let log = upstream::start(at(81), plan);
    (Server::start(&item_site(policy, ""), &[&[at(81)]], Bounds::default()), log)
}

/// An answer that takes so many milliseconds.
fn after(time: u32) -> impl Fn(Asked<'_>) -> Vec<Step> {
    move |asked| vec![Step::Wait(MS * time), answer(asked.token)]
}

type Visits = Rc<RefCell<Vec<(String, u16, Duration)>>>;

/// Visits at once, a millisecond apart, and waits for so long; what came, in that order.
async fn visit_all(tokens: &[&str], wait: Duration) -> Vec<(String, u16, Duration)> {
    let visits = Visits::default();
    for token in tokens {
        let (token, visits) = ((*token).to_owned(), Rc::clone(&visits));
        Sim::spawn(async move {
            let (answer, took) = visit(SERVER, &format!("/item/{token}")).await;
            let expected = format!("token={token};");
            assert!(answer.status != 200 || answer.body == expected, "{token}: {answer:?}");
            visits.borrow_mut().push((token, answer.status, took));
        });
        Sim::sleep(MS).await;
    }
    Sim::sleep(wait).await;
    visits.take()
}

#[test]
fn at_the_bound_fetches_wait_in_turn() {
    run(|| async {
        let (server, log) = start("max_connections = 2", after(100));
        let visits = visit_all(&["a", "b", "c", "d", "e", "f"], MS * 1000).await;
        let order: String = visits.iter().map(|(token, ..)| token.as_str()).collect();
        assert_eq!(order, "abcdef");
        assert!(visits.iter().all(|(_, status, _)| *status == 200), "{visits:?}");
        assert_eq!((log.borrow().connections, log.borrow().busy_max), (2, 2));
        server.assert_exchanges(6);
    });
}

#[test]
fn a_newcomer_does_not_pass_those_who_wait() {
    run(|| async {
        // Whenever an exchange ends there are new ones that come just then.
        let (_server, log) = start("max_connections = 1\ndeadline = '2s'", after(10));
        let names: Vec<String> = (0..80).map(|n| format!("{n}")).collect();
        let tokens: Vec<&str> = names.iter().map(String::as_str).collect();
        let visits = visit_all(&tokens, MS * 1500).await;
        assert_eq!(visits.len(), 80);
        assert!(visits.iter().all(|(_, status, _)| *status == 200), "{visits:?}");
        let order: Vec<String> =
            log.borrow().requests.iter().map(|(_, token)| token.clone()).collect();
        assert_eq!(order, names);
    });
}

#[test]
fn one_who_pipelines_does_not_keep_the_others_waiting() {
    run(|| async {
        let (_server, log) = start("max_connections = 1", after(10));
        let mut greedy = Client::connect(SERVER).await.unwrap();
        let requests = (0..20).map(|n| get(&format!("/item/g{n}")));
        greedy.send(requests.collect::<String>()).await.unwrap();
        Sim::sleep(MS * 5).await;
        assert_eq!(visit(SERVER, "/item/a").await.0.status, 200);
        assert_eq!(log.borrow().requests[1].1, "a");
        for _ in 0..20 {
            assert_eq!(greedy.answer(false).await.unwrap().unwrap().status, 200);
        }
    });
}

#[test]
fn who_waits_for_a_connection_until_it_is_too_late_for_an_answer_is_told_so() {
    run(|| async {
        let policy = "max_connections = 1\ndeadline = '300ms'";
        let (server, _log) = start(policy, in_turn(vec![late(250), late(250)]));
        let visits = visit_all(&["a", "b", "c"], MS * 1000).await;
        // When the first was answered it was too late for the others, and known to be.
        let statuses: Vec<u16> = visits.iter().map(|(_, status, _)| *status).collect();
        assert_eq!(statuses, [200, 503, 503]);
        for (_, _, took) in &visits[1..] {
            assert_took(*took, MS * 240);
        }
        server.assert_exchanges(3);
        // And nothing is left of it.
        assert_eq!(visit(SERVER, "/item/d").await.0.status, 200);
    });
}

fn late(time: u32) -> Vec<Step> {
    vec![Step::Wait(MS * time), answer("a")]
}

#[test]
fn a_failed_exchange_frees_its_place_for_who_waits() {
    run(|| async {
        let script = vec![vec![Step::Wait(MS * 100), Step::Close]];
        let (_server, log) = start("max_connections = 1", in_turn(script));
        let visits = visit_all(&["a", "b"], MS * 500).await;
        let statuses: Vec<u16> = visits.iter().map(|(_, status, _)| *status).collect();
        assert_eq!(statuses, [502, 200]);
        assert_eq!(log.borrow().connections, 2);
    });
}

#[test]
fn the_warmest_connection_serves_next() {
    run(|| async {
        let (server, log) = start("idle_timeout = '1s'", after(50));
        visit_all(&["a", "b", "c"], MS * 100).await;
        assert_eq!(server.metrics.upstream_connections.get(), 3);
        // One at a time, for longer than the idle timeout: the last is used, the others age.
        for token in 0..12 {
            assert_eq!(visit(SERVER, &format!("/item/{token}")).await.0.status, 200);
            Sim::sleep(MS * 50).await;
        }
        let log = log.borrow();
        assert!(log.requests[3..].iter().all(|(connection, _)| *connection == 2), "{log:?}");
        assert_eq!(log.closed, [true, true, false]);
        assert_eq!(server.metrics.upstream_connections.get(), 1);
        assert_eq!(server.metrics.upstream_reused.get(), 12);
    });
}

#[test]
fn idle_connections_are_closed_in_time_and_bounded() {
    run(|| async {
        let (server, log) = start("idle_timeout = '1s'\nmax_idle = 2", after(50));
        visit_all(&["a", "b", "c", "d"], MS * 100).await;
        assert_eq!(log.borrow().connections, 4);
        assert_eq!(server.metrics.upstream_connections.get(), 2);
        Sim::sleep(MS * 800).await;
        assert_eq!(server.metrics.upstream_connections.get(), 2);
        Sim::sleep(MS * 400).await;
        assert_eq!(server.metrics.upstream_connections.get(), 0);
        assert_eq!(log.borrow().closed, [true; 4]);
    });
}

#[test]
fn an_upstream_may_close_while_idle_and_no_exchange_is_lost() {
    run(|| async {
        let (server, log) =
            start("", |asked| vec![answer(asked.token), Step::Wait(MS * 20), Step::Close]);
        for token in 0..5 {
            assert_eq!(visit(SERVER, &format!("/item/{token}")).await.0.status, 200);
            Sim::sleep(MS * 40).await;
        }
        assert_eq!(log.borrow().connections, 5);
        // It was noticed before anything was sent, so that nothing had to be sent again.
        assert_eq!(server.metrics.upstream_reused.get(), 0);
        assert_eq!(server.metrics.upstream_retries.get(), 0);
        // And without a visitor, too.
        Sim::sleep(MS * 200).await;
        assert_eq!(server.metrics.upstream_connections.get(), 0);
        server.assert_exchanges(5);
    });
}

/// A page whose fetch is a POST.
fn start_post(plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static) -> (Server, Rc<RefCell<Log>>) {
    let log = upstream::start(at(81), plan);
    let page = "[[page]]\npath = '/item/{id}'\ntemplate = 'page.html'\n[page.fetch]\n\
                item = { from = 'api', method = 'POST', path = '/item/{{ path.id }}' }\n";
    let site = site_of(page, "token={{ item.token }};");
    (Server::start(&site, &[&[at(81)]], Bounds::default()), log)
}

#[test]
fn what_may_not_be_sent_twice_goes_over_a_connection_that_has_just_served() {
    run(|| async {
        let (server, log) = start_post(after(50));
        visit_all(&["a", "b"], MS * 500).await;
        assert_eq!(visit(SERVER, "/item/c").await.0.status, 200);
        assert_eq!(log.borrow().connections, 2);
        Sim::sleep(MS * 1200).await;
        // Those that are idle for longer stay, for what may be sent again.
        assert_eq!(visit(SERVER, "/item/d").await.0.status, 200);
        assert_eq!(log.borrow().closed, [false, false, false]);
        assert_eq!(server.metrics.upstream_reused.get(), 1);
    });
}

#[test]
fn what_may_not_be_sent_twice_is_not() {
    run(|| async {
        let (server, log) = start_post(|asked| match asked.token {
            "a" => vec![answer("a")],
            _ => vec![Step::Close],
        });
        for (token, status) in [("a", 200), ("b", 502), ("c", 502)] {
            assert_eq!(visit(SERVER, &format!("/item/{token}")).await.0.status, status);
        }
        assert_eq!(log.borrow().requests.len(), 3, "{log:?}");
        assert_eq!(log.borrow().connections, 2);
        server.assert_exchanges(3);
    });
}
