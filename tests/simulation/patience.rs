//! Being late, and whose fault it is: an upstream that had too little time is not one that fails.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::limits;
use ringpress::site::Source;
use ringpress::worker::Bounds;

use super::client::{Answer, visit};
use super::server::{SERVER, Server, assert_took, item_site, run};
use super::upstream::{self, Asked, Step, answer, at};

const MS: Duration = Duration::from_millis(1);

/// A page of an API that is asked for what another one has said first, and pages of each alone.
fn two_apis() -> Source {
    let site = "
        [upstreams.first]\nurl = 'http://first.test'\n
        [upstreams.second]\nurl = 'http://second.test'\neject = { failures = 2 }\n
        [[page]]\npath = '/both'\ntemplate = 'page.html'\ndeadline = '1s'\n[page.fetch]\n\
        a = { from = 'first', path = '/item/a' }\n\
        b = { from = 'second', path = '/item/{{ a.token }}' }\n
        [[page]]\npath = '/second'\ntemplate = 'page.html'\n[page.fetch]\n\
        b = { from = 'second', path = '/item/b' }\n";
    let files = [("site.toml", site), ("page.html", "token={{ b.token }};")];
    Source::Embedded { name: "two", files: Box::leak(Box::new(files)) }
}

/// An answer that takes so long.
fn after(time: &Rc<Cell<Duration>>) -> impl Fn(Asked<'_>) -> Vec<Step> + use<> {
    let time = Rc::clone(time);
    move |asked| vec![Step::Wait(time.get()), answer(asked.token)]
}

fn time(ms: u32) -> Rc<Cell<Duration>> {
    Rc::new(Cell::new(MS * ms))
}

/// So many visits at once.
async fn crowd(path: &str, count: usize) -> Vec<(Answer, Duration)> {
    futures_util::future::join_all((0..count).map(|_| visit(SERVER, path))).await
}

fn statuses(answers: &[(Answer, Duration)]) -> Vec<u16> {
    answers.iter().map(|(answer, _)| answer.status).collect()
}

#[test]
fn what_another_api_has_left_of_a_page_says_nothing_about_this_one() {
    // Known, and asked for the first time.
    for before in [10, 0] {
        run(|| async move {
            let (first, second) = (time(50), time(250));
            upstream::start(at(81), after(&first));
            let log = upstream::start(at(82), after(&second));
            upstream::start(at(83), after(&second));
            let addresses: [&[_]; 2] = [&[at(81)], &[at(82), at(83)]];
            let server = Server::start(&two_apis(), &addresses, Bounds::default());
            assert_eq!(statuses(&crowd("/second", before).await), vec![200; before]);
            first.set(MS * 800);
            assert_eq!(statuses(&crowd("/both", 40).await), [504; 40]);
            assert_eq!(server.metrics.upstream_breaker_opens.get(), 0);
            assert_eq!(server.metrics.upstream_ejections.get(), 0);
            assert_eq!(statuses(&crowd("/second", 40).await), [200; 40]);
            assert!(log.borrow().requests.len() >= 40, "both are asked");
        });
    }
}

#[test]
fn a_page_in_a_hurry_does_not_take_its_api_from_the_others() {
    let hurried = "deadline = '300ms'\n[page.fetch]\n\
                   item = { from = 'api', path = '/item/a' }\n[[page]]\npath = '/{id}'\n\
                   template = 'item.html'\n";
    run(|| async move {
        let api = time(400);
        upstream::start(at(81), after(&api));
        let site = item_site("", hurried);
        let server = Server::start(&site, &[&[at(81)]], Bounds::default());
        assert_eq!(statuses(&crowd("/a", 10).await), [200; 10]);
        assert_eq!(statuses(&crowd("/item/a", 40).await), [504; 40]);
        assert_eq!(server.metrics.upstream_breaker_opens.get(), 0);
        assert_eq!(statuses(&crowd("/a", 10).await), [200; 10]);
        // What takes far longer than it ever did is unwell, however little time it is given.
        api.set(MS * 50);
        for _ in 0..100 {
            assert_eq!(statuses(&crowd("/a", 10).await), [200; 10]);
        }
        // The breaker forgets how well all was.
        Sim::sleep(limits::BREAKER_WINDOW).await;
        api.set(MS * 10_000);
        assert_eq!(statuses(&crowd("/item/a", 40).await), [504; 40]);
        assert_eq!(server.metrics.upstream_breaker_opens.get(), 1);
        assert_eq!(statuses(&crowd("/a", 1).await), [503]);
    });
}

#[test]
fn a_slow_spell_that_is_over_does_not_send_those_who_wait_away() {
    run(|| async {
        let api = time(400);
        upstream::start(at(81), after(&api));
        let policy = "max_connections = 2\ndeadline = '500ms'";
        let _server = Server::start(&item_site(policy, ""), &[&[at(81)]], Bounds::default());
        for _ in 0..200 {
            assert_eq!(statuses(&crowd("/item/a", 2).await), [200; 2]);
        }
        api.set(MS * 10);
        for _ in 0..64 {
            assert_eq!(statuses(&crowd("/item/a", 2).await), [200; 2]);
        }
        // Thirty times ten milliseconds, two at a time.
        assert_eq!(statuses(&crowd("/item/a", 60).await), [200; 60]);
    });
}

#[test]
fn who_would_get_a_connection_too_late_leaves_it_to_the_next() {
    run(|| async {
        let api = time(200);
        let log = upstream::start(at(81), after(&api));
        let policy = "max_connections = 2\ndeadline = '500ms'";
        let server = Server::start(&item_site(policy, ""), &[&[at(81)]], Bounds::default());
        for at in 0..5 {
            let answers = crowd("/item/a", 60).await;
            let (pages, others): (Vec<_>, Vec<_>) =
                answers.into_iter().partition(|(answer, _)| answer.status == 200);
            assert_eq!(pages.len(), 4, "as many as two connections can bring in half a second");
            for (answer, took) in others {
                assert_eq!(answer.status, 503);
                assert!(answer.head.contains("\r\nRetry-After: "), "{}", answer.head);
                // At first it is not known how long an answer takes.
                assert_took(took, MS * if at == 0 { 400 } else { 250 });
            }
        }
        assert_eq!(log.borrow().connections, 2, "nobody's connection was given up");
        assert_eq!(server.metrics.upstream_breaker_opens.get(), 0);
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!(answer.status, 200);
        assert_took(took, MS * 200);
    });
}

#[test]
fn a_slow_api_has_the_time_that_its_deadline_says() {
    run(|| async {
        upstream::start(at(81), after(&time(8000)));
        let site = item_site("deadline = '20s'", "deadline = '20s'");
        let _server = Server::start(&site, &[&[at(81)]], Bounds::default());
        let (answer, took) = visit(SERVER, "/item/a").await;
        assert_eq!(answer.status, 200);
        assert_took(took, MS * 8000);
    });
}

#[test]
fn the_items_of_a_list_are_no_more_at_once_than_may_be_in_flight() {
    run(|| async {
        let log = upstream::start(at(81), after(&time(60)));
        let site = "[upstreams.api]\nurl = 'http://api.test'\nmax_in_flight = 5\n\
            [[page]]\npath = '/'\ntemplate = 'page.html'\n[page.fetch]\n\
            items = { from = 'api', each = 'range(20)', path = '/item/a{{ it }}' }\n";
        let files = [("site.toml", site), ("page.html", "{{ items|length }}")];
        let site = Source::Embedded { name: "items", files: Box::leak(Box::new(files)) };
        let _server = Server::start(&site, &[&[at(81)]], Bounds::default());
        let (answer, took) = visit(SERVER, "/").await;
        assert_eq!((answer.status, &*answer.body), (200, "20"));
        assert_took(took, MS * 240);
        assert_eq!(log.borrow().busy_max, 5);
    });
}
