//! The story that people come with, in miniature and exact: the API slows down, a crowd comes, the
//! API dies and comes back, one of its addresses is dead, half of its answers are broken, and one
//! API has nothing to do with the other. Visitors come at times that do not depend on the answers,
//! and each of them is accounted for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::site::Source;
use ringpress::worker::Bounds;

use super::client::{Client, get};
use super::server::{SERVER, Server, item_site, run};
use super::upstream::{self, Asked, Step, answer, at, json, response};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// What a page takes beyond what its API does: nothing but the turns of the loop.
const OWN: Duration = MS;

/// One request, whatever has become of it.
#[derive(Clone, Debug)]
struct Visit {
    /// Since the start of the run.
    due: Duration,
    path: String,
    status: u16,
    took: Duration,
    retry_after: bool,
}

/// The visits of a load, in the order they ended.
type Visits = Rc<RefCell<Vec<Visit>>>;

/// Visitors one after the other, so many a second, for so long; each on a connection of its own.
/// Comes back when the last has come, not when it has its answer.
async fn load(visits: &Visits, path: &str, rate: u32, period: Duration) {
    let (start, count) = (Sim::elapsed(), (period * rate).as_secs() as u32);
    for number in 0..count {
        let due = start + SECOND * number / rate;
        Sim::sleep(due.saturating_sub(Sim::elapsed())).await;
        let (visits, path) = (Rc::clone(visits), format!("{path}/{number}"));
        Sim::spawn(async move {
            let answer = Client::connect(SERVER).await.unwrap().ask(get(&path)).await;
            let token = path.rsplit('/').next().unwrap();
            if answer.status == 200 {
                assert_eq!(answer.body, format!("token={token};"), "{path}");
            }
            let retry_after = answer.head.contains("\r\nRetry-After: ");
            let took = Sim::elapsed() - due;
            let visit = Visit { due, path, status: answer.status, took, retry_after };
            visits.borrow_mut().push(visit);
        });
    }
    Sim::sleep((start + period).saturating_sub(Sim::elapsed())).await;
}

/// Waits for the last answers, and asserts that everybody got one: what the visitors count is
/// what the server counts.
async fn settle(server: &Server, visits: &Visits, arrived: usize) -> Vec<Visit> {
    Sim::sleep(SECOND * 12).await;
    let visits = visits.take();
    assert_eq!(visits.len(), arrived);
    let of = &server.metrics;
    assert_eq!(of.requests.get(), arrived as u64);
    assert_eq!(of.requests_aborted.get(), 0);
    assert_eq!(of.statuses[2].get(), count(&visits, |visit| visit.status == 200) as u64);
    assert_eq!(of.statuses[5].get(), count(&visits, |visit| visit.status >= 500) as u64);
    assert_eq!(of.statuses[2].get() + of.statuses[5].get(), arrived as u64);
    server.assert_balanced();
    visits
}

fn count(visits: &[Visit], is_meant: impl Fn(&Visit) -> bool) -> usize {
    visits.iter().filter(|visit| is_meant(visit)).count()
}

/// Those who were due in that part of the run, in milliseconds.
fn due(visits: &[Visit], part: Range<u32>) -> Vec<Visit> {
    let part = MS * part.start..MS * part.end;
    visits.iter().filter(|visit| part.contains(&visit.due)).cloned().collect()
}

/// How many had which status.
fn statuses(visits: &[Visit]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    visits.iter().for_each(|visit| *counts.entry(visit.status).or_default() += 1);
    counts
}

fn longest(visits: &[Visit]) -> Duration {
    visits.iter().map(|visit| visit.took).max().unwrap_or_default()
}

/// An answer after a time that may change meanwhile.
fn after(time: &Rc<Cell<Duration>>) -> impl Fn(Asked<'_>) -> Vec<Step> + 'static {
    let time = Rc::clone(time);
    move |asked| vec![Step::Wait(time.get()), answer(asked.token)]
}

#[test]
fn when_the_api_slows_down_pages_take_as_long_as_it_does_and_no_longer() {
    run(|| async {
        let api = Rc::new(Cell::new(MS * 50));
        let log = upstream::start(at(81), after(&api));
        let server = Server::start(&item_site("", ""), &[&[at(81)]], Bounds::default());
        let visits = Visits::default();
        for time in [50, 500, 50] {
            api.set(MS * time);
            load(&visits, "/item", 200, SECOND * 3).await;
        }
        let visits = settle(&server, &visits, 1800).await;
        assert_eq!(statuses(&visits), BTreeMap::from([(200, 1800)]));
        for (part, time) in [(0..3000, 50), (3000..6000, 500), (6000..9000, 50)] {
            let part = due(&visits, part);
            assert_eq!(part.len(), 600);
            assert!(part.iter().all(|visit| visit.took >= MS * time), "{time}");
            assert!(longest(&part) <= MS * time + OWN, "{time}: {:?}", longest(&part));
        }
        // At 200 a second 100 are on their way when each takes half a second, and nobody waits.
        assert!((95..=105).contains(&log.borrow().busy_max), "{}", log.borrow().busy_max);
    });
}

#[test]
fn a_crowd_of_ten_times_what_can_be_served_takes_nothing_from_those_who_are() {
    run(|| async {
        let api = Rc::new(Cell::new(MS * 50));
        let log = upstream::start(at(81), after(&api));
        // Twenty at once, each for 50 ms: 400 pages a second.
        let bounds = Bounds { in_flight_max: 20, ..Bounds::default() };
        let server = Server::start(&item_site("", ""), &[&[at(81)]], bounds);
        let visits = Visits::default();
        for rate in [200, 4000, 200] {
            load(&visits, "/item", rate, SECOND * 2).await;
        }
        let visits = settle(&server, &visits, 8800).await;
        for calm in [due(&visits, 0..2000), due(&visits, 4050..6000)] {
            assert!(calm.iter().all(|visit| visit.status == 200));
            assert!(longest(&calm) <= MS * 50 + OWN, "{:?}", longest(&calm));
        }
        let crowd = due(&visits, 2000..4000);
        let (pages, shed): (Vec<Visit>, Vec<Visit>) =
            crowd.iter().cloned().partition(|visit| visit.status == 200);
        // Goodput is what it can be: 95 % of 400 a second for two seconds.
        assert!((760..=820).contains(&pages.len()), "{}", pages.len());
        assert!(longest(&pages) <= MS * 50 + OWN, "{:?}", longest(&pages));
        assert!(shed.iter().all(|visit| visit.status == 503 && visit.retry_after));
        assert!(longest(&shed) <= OWN, "{:?}", longest(&shed));
        assert_eq!(server.metrics.requests_shed(), count(&visits, |one| one.status == 503) as u64);
        // The API never had more to do than what is allowed.
        assert!(log.borrow().busy_max <= 20);
        assert_eq!(log.borrow().requests.len(), count(&visits, |one| one.status == 200));
    });
}

/// What is wrong with an API for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nobody listens, and who was connected is cut off.
    Dead,
    /// It takes connections and requests, and answers them when it is well again (SIGSTOP).
    Frozen,
    /// The same, and what was asked meanwhile is lost.
    Lost,
    /// It answers 500.
    Broken,
    /// The same, after a time in which others ask.
    SlowlyBroken,
}

/// An upstream with that trouble in that part of the run, in milliseconds.
fn start_troubled(
    address: SocketAddr,
    trouble: Trouble,
    part: Range<u32>,
) -> Rc<RefCell<upstream::Log>> {
    let (from, until) = (MS * part.start, MS * part.end);
    let plan = move |asked: Asked<'_>| {
        let well = vec![Step::Wait(MS * 10), answer(asked.token)];
        let broken = Step::Send(response(500, "{}"));
        match trouble {
            _ if !(from..until).contains(&Sim::elapsed()) => well,
            Trouble::Dead => vec![Step::Close],
            Trouble::Frozen => [vec![Step::Wait(until - Sim::elapsed())], well].concat(),
            Trouble::Lost => vec![Step::Hang],
            Trouble::Broken => vec![broken],
            Trouble::SlowlyBroken => vec![Step::Wait(MS * 700), broken],
        }
    };
    if trouble != Trouble::Dead {
        return upstream::start(address, plan);
    }
    let log = upstream::start_until(address, from, plan);
    Sim::spawn(async move {
        Sim::sleep(until.saturating_sub(Sim::elapsed())).await;
        upstream::start(address, plan);
    });
    log
}

#[test]
fn while_the_api_is_dead_everyone_is_told_at_once_and_then_it_is_back() {
    run(|| async {
        let log = start_troubled(at(81), Trouble::Dead, 2000..12_000);
        let policy = "breaker = { window = '2s', open = '500ms' }";
        let server = Server::start(&item_site(policy, ""), &[&[at(81)]], Bounds::default());
        let visits = Visits::default();
        load(&visits, "/item", 100, SECOND * 20).await;
        let visits = settle(&server, &visits, 2000).await;
        let before = due(&visits, 0..1990);
        assert!(before.iter().all(|visit| visit.status == 200));
        let dead = due(&visits, 2000..12_000);
        assert_eq!(dead.len(), 1000);
        assert!(
            dead.iter().all(|visit| matches!(visit.status, 502 | 503)),
            "{:?}",
            statuses(&dead)
        );
        assert!(longest(&dead) <= OWN, "{:?}", longest(&dead));
        // It is asked until the breaker opens, and a few times after that.
        let unasked = dead.iter().filter(|visit| visit.status == 503);
        assert!(unasked.clone().all(|visit| visit.retry_after));
        assert!(unasked.count() > 700, "{:?}", statuses(&dead));
        assert!(log.borrow().requests.len() <= 210);
        // A breaker that has just opened again stays so for as long as it is told.
        let back = due(&visits, 12_600..20_000);
        assert_eq!(statuses(&back), BTreeMap::from([(200, back.len())]));
        assert!(longest(&back) <= MS * 10 + OWN, "{:?}", longest(&back));
    });
}

#[test]
fn whatever_the_trouble_was_all_is_well_half_a_second_after_it() {
    use Trouble::{Broken, Dead, Frozen, Lost, SlowlyBroken};
    for trouble in [Dead, Frozen, Lost, Broken, SlowlyBroken] {
        for deadline in ["300ms", "2s", "5s"] {
            run(|| async move {
                start_troubled(at(81), trouble, 2000..10_200);
                let policy = format!("deadline = '{deadline}'\nbreaker = {{ window = '2s' }}");
                let server =
                    Server::start(&item_site(&policy, ""), &[&[at(81)]], Bounds::default());
                let visits = Visits::default();
                load(&visits, "/item", 50, SECOND * 12).await;
                let visits = settle(&server, &visits, 600).await;
                let back = due(&visits, 10_800..12_000);
                assert_eq!(statuses(&back), BTreeMap::from([(200, 60)]), "{trouble:?} {deadline}");
                assert!(longest(&back) <= MS * 10 + OWN, "{trouble:?}: {:?}", longest(&back));
                // Few wait for nothing to find that out.
                let open = due(&visits, 8000..10_000);
                let shed = count(&open, |visit| visit.status == 503);
                assert!(shed >= 84, "{trouble:?} {deadline}: {:?}", statuses(&open));
                assert_eq!(server.metrics.upstream_breaker_opens.get(), 1, "{trouble:?}");
            });
        }
    }
}

#[test]
fn one_dead_address_of_three_costs_no_visitor_a_page() {
    run(|| async {
        let logs: Vec<_> = (81..83)
            .map(|port| {
                upstream::start(at(port), |asked| vec![Step::Wait(MS * 50), answer(asked.token)])
            })
            .collect();
        let third = start_troubled(at(83), Trouble::Dead, 2000..6000);
        let upstreams: &[&[SocketAddr]] = &[&[at(81), at(82), at(83)]];
        let server = Server::start(&item_site("", ""), upstreams, Bounds::default());
        let visits = Visits::default();
        load(&visits, "/item", 200, SECOND * 10).await;
        let visits = settle(&server, &visits, 2000).await;
        assert_eq!(statuses(&visits), BTreeMap::from([(200, 2000)]));
        assert!(longest(&visits) <= MS * 50 + OWN, "{:?}", longest(&visits));
        // All of them had their part.
        for log in logs.iter().chain([&third]) {
            assert!(log.borrow().requests.len() > 100, "{}", log.borrow().requests.len());
        }
    });
}

#[test]
fn half_of_the_answers_broken_are_half_of_the_pages_and_no_others() {
    run(|| async {
        let broken = Rc::new(Cell::new(0_usize));
        let counted = Rc::clone(&broken);
        upstream::start(at(81), move |asked| {
            let number: usize = asked.token.parse().unwrap();
            let whole = response(200, &json(asked.token));
            let half = whole[..whole.len() / 2].to_vec();
            let answer = match number % 8 {
                1 => vec![Step::Send(response(500, &json(asked.token)))],
                3 => vec![Step::Send(response(200, "<html>"))],
                5 => vec![Step::Send(half), Step::Close],
                7 => vec![Step::Send(b"what?\r\n\r\n".to_vec())],
                _ => vec![Step::Send(whole)],
            };
            counted.set(counted.get() + number % 2);
            [vec![Step::Wait(MS * 10)], answer].concat()
        });
        let server = Server::start(&item_site("", ""), &[&[at(81)]], Bounds::default());
        let visits = Visits::default();
        load(&visits, "/item", 100, SECOND * 4).await;
        let visits = settle(&server, &visits, 400).await;
        for visit in &visits {
            let number: usize = visit.path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(visit.status, [200, 502][number % 2], "{visit:?}");
        }
        assert_eq!(broken.get(), 200);
        assert!(longest(&visits) <= MS * 10 + OWN, "{:?}", longest(&visits));
    });
}

/// A site of two pages, each with an upstream of its own.
const TWO_PAGES: Source = Source::Embedded {
    name: "two",
    files: &[
        (
            "site.toml",
            "[upstreams.a]\nurl = 'http://a.test'\n[upstreams.b]\nurl = 'http://b.test'\n\
             [[page]]\npath = '/a/{id}'\ntemplate = 'item.html'\n[page.fetch]\n\
             item = { from = 'a', path = '/item/{{ path.id }}' }\n\
             [[page]]\npath = '/b/{id}'\ntemplate = 'item.html'\n[page.fetch]\n\
             item = { from = 'b', path = '/item/{{ path.id }}' }\n",
        ),
        ("item.html", "token={{ item.token }};{{ item.filler }}"),
    ],
};

/// Times of the pages of B, sorted, beside an upstream A that does this.
fn beside(plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static) -> Vec<Duration> {
    run(|| async {
        upstream::start(at(81), plan);
        upstream::start(at(82), |asked| vec![Step::Wait(MS * 20), answer(asked.token)]);
        let server = Server::start(&TWO_PAGES, &[&[at(81)], &[at(82)]], Bounds::default());
        let visits = Visits::default();
        let other = Rc::clone(&visits);
        Sim::spawn(async move { load(&other, "/a", 300, SECOND * 3).await });
        load(&visits, "/b", 100, SECOND * 3).await;
        let visits = settle(&server, &visits, 1200).await;
        let pages: Vec<&Visit> = visits.iter().filter(|one| one.path.starts_with("/b/")).collect();
        assert!(pages.len() == 300 && pages.iter().all(|visit| visit.status == 200));
        let mut times: Vec<Duration> = pages.iter().map(|visit| visit.took).collect();
        times.sort();
        times
    })
}

#[test]
fn what_one_api_does_is_nothing_to_the_pages_of_another() {
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    let well = beside(|asked| vec![Step::Wait(MS * 20), answer(asked.token)]);
    let slow = beside(|asked| vec![Step::Wait(SECOND * 4), answer(asked.token)]);
    let hung = beside(|_| vec![Step::Hang]);
    let dead = beside(|_| vec![Step::Close]);
    for (name, times) in [("slow", slow), ("hung", hung), ("dead", dead)] {
        assert!(p99(&times) <= p99(&well) * 11 / 10, "{name}: {:?}", p99(&times));
        assert!(times[299] <= MS * 20 + OWN, "{name}: {:?}", times[299]);
    }
}
