//! More than a worker can do: what it does then, for whom, and how soon it is itself again.
//!
//! Pages here cost CPU time, which in simulation is virtual like all else, and tasks run in the
//! order in which they are woken, as on the real loops.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::sim::{Faults, Sim};
use ringpress::driver::timers::Timers;
use ringpress::driver::{Driver, stints};
use ringpress::metrics::WorkerMetrics;
use ringpress::site::Priority;
use ringpress::worker::{Bounds, Orders, Request, Response, Service, Worker};

use super::client::{Client, get};
use super::server::{SERVER, run_with};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// What it takes to look at a request for `/again`, and turn it away.
const LOOK: Duration = Duration::from_micros(15);

/// A page that costs a millisecond of CPU time, some of it before and the rest after a wait, so
/// that a worker makes just under a thousand of them a second.
struct Costly {
    before: Duration,
    wait: Duration,
    numbers: RefCell<BTreeSet<u64>>,
}

impl Service for Costly {
    fn wants_body(&self, _: &Request<'_>) -> bool {
        false
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        assert!(self.numbers.borrow_mut().insert(request.number), "a number given twice");
        Sim::burn(self.before);
        Sim::sleep(self.wait).await;
        let _work = stints::begin::<Sim>().await;
        Sim::burn(MS - self.before);
        response.content_type = "text/plain";
        response.body().extend_from_slice(b"page");
    }

    fn refuse(&self, status: u16, _: &str, response: &mut Response) {
        response.status = status;
    }

    fn has_priorities(&self) -> bool {
        true
    }

    fn priority(&self, request: &Request<'_>) -> Priority {
        match request.span(request.head.path) {
            b"/again" => {
                Sim::burn(LOOK);
                Priority::Normal
            }
            b"/high" => Priority::High,
            b"/low" => Priority::Low,
            _ => Priority::Normal,
        }
    }
}

fn start(wait: Duration, bounds: Bounds) -> Arc<WorkerMetrics> {
    start_with(MS / 2, wait, bounds)
}

pub(crate) fn start_with(before: Duration, wait: Duration, bounds: Bounds) -> Arc<WorkerMetrics> {
    let timers = Timers::<Sim>::start();
    let metrics = Arc::<WorkerMetrics>::default();
    let worker = Worker::new(
        Costly { before, wait, numbers: RefCell::default() },
        bounds,
        Arc::clone(&metrics),
        timers,
    );
    let listener = Sim::bind(SERVER).unwrap();
    Sim::spawn(
        async move { worker.serve(vec![(listener, None)], &Orders::default(), || {}).await },
    );
    metrics
}

pub(crate) fn in_order() -> Faults {
    Faults { in_order: true, ..Faults::none() }
}

/// What became of a visit.
pub(crate) struct Visit {
    /// Since the start of the load.
    pub(crate) due: Duration,
    pub(crate) took: Duration,
    pub(crate) status: u16,
    /// Its place among those that were due at the same time.
    place: usize,
}

pub(crate) type Visits = Rc<RefCell<Vec<Visit>>>;

/// Visitors who come for so long, each on a connection of their own: so many at a time, at so many
/// times a second.
pub(crate) async fn visitors(
    path: &'static str,
    each: usize,
    per_s: u32,
    time: Duration,
    into: &Visits,
) {
    let start = Sim::elapsed();
    let interval = SECOND / per_s;
    let mut due = Duration::ZERO;
    while due < time {
        Sim::sleep((start + due).saturating_sub(Sim::elapsed())).await;
        for place in 0..each {
            let into = Rc::clone(into);
            Sim::spawn(async move {
                let answer = Client::connect(SERVER).await.unwrap().ask(get(path)).await;
                assert_eq!(answer.retry_after_s().is_some(), answer.status == 503);
                assert!(answer.keep_alive, "{answer:?}");
                assert!(answer.retry_after_s().is_none_or(|s| (1..=30).contains(&s)));
                let took = Sim::elapsed() - start - due;
                into.borrow_mut().push(Visit { due, took, status: answer.status, place });
            });
        }
        due += interval;
    }
}

/// Of those who came in this time: the time that the given part of them, those with a page or
/// those without, waited at most; and how many they are.
fn part(
    visits: &Visits,
    from: Duration,
    to: Duration,
    status: u16,
    percent: usize,
) -> (Duration, usize) {
    let visits = visits.borrow();
    let those = visits.iter().filter(|visit| visit.status == status);
    let those = those.filter(|visit| visit.due >= from && visit.due < to);
    let mut took: Vec<Duration> = those.map(|visit| visit.took).collect();
    took.sort();
    let at = (took.len() * percent / 100).min(took.len().saturating_sub(1));
    (took.get(at).copied().unwrap_or_default(), took.len())
}

/// Load of three times what a worker can do, after and before what it can do easily.
fn overload(wait: Duration) {
    run_with(in_order(), || async move {
        let metrics = start(wait, Bounds::default());
        let visits = Visits::default();
        visitors("/", 1, 500, SECOND, &visits).await;
        Sim::sleep(SECOND).await;
        let (usual, count) = part(&visits, Duration::ZERO, SECOND, 200, 99);
        assert_eq!(count, 500, "all of an easy load are served");
        visits.borrow_mut().clear();
        visitors("/", 1, 3000, SECOND * 5, &visits).await;
        let after = Visits::default();
        visitors("/", 1, 500, SECOND * 2, &after).await;
        Sim::sleep(SECOND).await;
        // It takes a moment to tell a queue that stands from a burst.
        let (from, to) = (SECOND, SECOND * 5);
        let (page_took, pages) = part(&visits, from, to, 200, 99);
        let (shed_took, shed) = part(&visits, from, to, 503, 50);
        assert_eq!(pages + shed, 12_000, "everybody is answered");
        // Between two pages it looks, which takes time here as well.
        assert!(pages >= 4 * 940, "{pages} pages in four seconds");
        // Visitors go through the same queue, five times a visit; a page in it is a millisecond.
        assert!(page_took <= usual * 2 + 20 * MS, "{page_took:?}, usually {usual:?}");
        assert!(shed_took <= 20 * MS, "{shed_took:?} for half of those turned away");
        let (recovered, count) = part(&after, SECOND, SECOND * 2, 200, 99);
        assert_eq!(count, 500, "all are served again after a second");
        assert!(recovered <= usual + 20 * MS, "{recovered:?}");
        assert_eq!((metrics.overloaded.get(), metrics.panics.get()), (0, 0));
        assert_eq!(metrics.requests.get(), metrics.responses.get());
        let turned_away = visits
            .borrow()
            .iter()
            .chain(after.borrow().iter())
            .filter(|visit| visit.status == 503)
            .count();
        assert_eq!(metrics.requests_shed_delay.get(), turned_away as u64);
        assert_eq!(metrics.requests_shed(), turned_away as u64);
    });
}

#[test]
fn past_its_capacity_a_worker_makes_what_it_can_and_tells_the_others_at_once() {
    overload(Duration::ZERO);
}

#[test]
fn and_so_it_does_when_pages_wait_for_an_api() {
    overload(50 * MS);
}

/// However many pages wait to be made: each is a stint of its own, and between two of them all who
/// came meanwhile are accepted, read and answered.
#[test]
fn who_is_refused_waits_for_one_page_at_most() {
    run_with(in_order(), || async {
        let metrics = start_with(Duration::ZERO, 50 * MS, Bounds::default());
        let visits = Visits::default();
        visitors("/", 1, 500, SECOND, &visits).await;
        Sim::sleep(SECOND).await;
        visits.borrow_mut().clear();
        visitors("/", 1, 10_000, SECOND * 3, &visits).await;
        Sim::sleep(SECOND).await;
        assert_eq!(visits.borrow().len(), 30_000);
        let (from, to) = (SECOND, SECOND * 3);
        let (longest, refused) = part(&visits, from, to, 503, 100);
        assert!(refused > 17_000, "{refused} of 20000");
        // A page is a millisecond; turning visitors away takes some time, too.
        assert!(longest <= MS * 3 / 2, "{longest:?} for a 503");
        let (usual, _) = part(&visits, from, to, 503, 50);
        assert!(usual <= MS * 3 / 4, "{usual:?} for half of them");
        let (_, pages) = part(&visits, from, to, 200, 99);
        assert!(pages >= 2 * 900, "{pages} pages in two seconds");
        assert_eq!(metrics.in_flight.get(), 0);
    });
}

#[test]
fn a_spike_is_foreseen_before_the_first_of_its_pages_is_made() {
    run_with(in_order(), || async {
        let metrics = start_with(MS / 50, 50 * MS, Bounds::default());
        let visits = Visits::default();
        visitors("/", 1, 500, SECOND * 2, &visits).await;
        Sim::sleep(SECOND).await;
        assert_eq!(part(&visits, Duration::ZERO, SECOND * 2, 200, 99).1, 1000);
        visits.borrow_mut().clear();
        visitors("/", 1, 10_000, SECOND / 2, &visits).await;
        Sim::sleep(SECOND).await;
        let (longest, _) = part(&visits, Duration::ZERO, SECOND / 2, 200, 100);
        let (_, taken) = part(&visits, Duration::ZERO, SECOND / 10, 200, 99);
        assert!((100..=250).contains(&taken), "{taken} of a thousand in a tenth of a second");
        assert!(longest <= 300 * MS, "{longest:?} for a page");
        // And everybody of a crowd is answered, though nobody comes behind it.
        visits.borrow_mut().clear();
        visitors("/", 1000, 1000, MS, &visits).await;
        Sim::sleep(SECOND * 2).await;
        assert_eq!(visits.borrow().len(), 1000);
        assert_eq!(metrics.in_flight.get(), 0);
    });
}

#[test]
fn of_those_who_come_together_the_last_are_served() {
    run_with(in_order(), || async {
        let _metrics = start(Duration::ZERO, Bounds::default());
        let visits = Visits::default();
        visitors("/", 100, 20, SECOND * 3, &visits).await;
        Sim::sleep(SECOND).await;
        let mean = |status| {
            let visits = visits.borrow();
            let those = visits.iter().filter(|visit| visit.due > SECOND && visit.status == status);
            let (count, sum) = those.fold((0, 0), |(n, sum), visit| (n + 1, sum + visit.place));
            assert!(count > 100, "{count} got {status}");
            sum / count
        };
        let (served, refused) = (mean(200), mean(503));
        assert!(served > refused + 20, "of a hundred {served} and {refused}, in the mean");
    });
}

#[test]
fn the_pages_of_high_priority_are_the_last_to_be_refused() {
    run_with(in_order(), || async {
        let _metrics = start(Duration::ZERO, Bounds::default());
        let classes = [("/high", 600), ("/", 600), ("/low", 600)];
        let visits: Vec<Visits> = classes.iter().map(|_| Visits::default()).collect();
        for ((path, per_s), visits) in classes.into_iter().zip(&visits) {
            let visits = Rc::clone(visits);
            Sim::spawn(async move { visitors(path, 1, per_s, SECOND * 4, &visits).await });
        }
        Sim::sleep(SECOND * 6).await;
        let [high, normal, low] = [0, 1, 2].map(|class| {
            let (_, pages) = part(&visits[class], SECOND, SECOND * 4, 200, 50);
            let (_, refused) = part(&visits[class], SECOND, SECOND * 4, 503, 50);
            assert_eq!(pages + refused, 1800);
            pages * 100 / 1800
        });
        // There is room for a bit more than half of them.
        assert!(high >= 98 && low <= 10, "{high} % of high, {normal} %, {low} % of low");
        assert!((40..=75).contains(&normal), "{high} % of high, {normal} %, {low} % of low");
    });
}

#[test]
fn those_who_ask_again_at_once_do_not_keep_the_worker_from_its_pages() {
    run_with(in_order(), || async {
        let metrics = start(Duration::ZERO, Bounds::default());
        let answered = Rc::new(RefCell::new(vec![0; 300]));
        for visitor in 0..300 {
            let answered = Rc::clone(&answered);
            Sim::spawn(async move {
                let mut client = Client::connect(SERVER).await.unwrap();
                loop {
                    assert!(client.ask(get("/again")).await.keep_alive);
                    answered.borrow_mut()[visitor] += 1;
                }
            });
        }
        Sim::sleep(SECOND * 2).await;
        let before = (metrics.statuses[2].get(), metrics.requests_shed());
        answered.borrow_mut().fill(0);
        Sim::sleep(SECOND * 4).await;
        let least = answered.borrow().iter().copied().min().unwrap();
        assert!(least >= 40, "somebody was answered {least} times in four seconds");
        let pages = metrics.statuses[2].get() - before.0;
        let shed = metrics.requests_shed() - before.1;
        // Without a bound they would have nearly all of it.
        let to_look = LOOK * shed as u32;
        assert!(to_look <= SECOND * 4 / 2, "{shed} were turned away, which took {to_look:?}");
        assert!(pages >= 4 * 500, "{pages} pages in four seconds");
    });
}

#[test]
fn a_site_that_would_rather_queue_may() {
    run_with(in_order(), || async {
        let bounds = Bounds { queue_target: None, ..Bounds::default() };
        let metrics = start(Duration::ZERO, bounds);
        let visits = Visits::default();
        visitors("/", 1, 2000, SECOND, &visits).await;
        Sim::sleep(SECOND * 3).await;
        assert_eq!(part(&visits, Duration::ZERO, SECOND, 200, 99).1, 2000);
        assert_eq!(metrics.requests_shed(), 0);
    });
}

#[test]
fn a_crowd_that_comes_in_does_not_hold_up_who_is_in() {
    run_with(in_order(), || async {
        let metrics = start(Duration::ZERO, Bounds::default());
        let mut client = Client::connect(SERVER).await.unwrap();
        assert_eq!(client.ask(get("/")).await.status, 200);
        let crowd: Rc<RefCell<Vec<Client>>> = Rc::default();
        for _ in 0..1000 {
            let crowd = Rc::clone(&crowd);
            Sim::spawn(async move {
                let one = Client::connect(SERVER).await.unwrap();
                crowd.borrow_mut().push(one);
            });
        }
        let accepted = Rc::<RefCell<u64>>::default();
        let then = (Rc::clone(&accepted), Arc::clone(&metrics));
        Sim::spawn(async move {
            // By now all of them are in the backlog.
            assert_eq!(client.ask(get("/")).await.status, 200);
            *then.0.borrow_mut() = then.1.accepted.get();
        });
        Sim::sleep(SECOND).await;
        let accepted = *accepted.borrow();
        assert!((1..900).contains(&accepted), "{accepted} were let in before it was answered");
        assert_eq!(metrics.accepted.get(), 1001);
    });
}

#[test]
fn a_worker_whose_cpu_is_taken_by_others_makes_what_is_left_to_it() {
    run_with(in_order(), || async {
        let metrics = start(Duration::ZERO, Bounds::default());
        // They leave it a quarter, and make it late whatever it does.
        Sim::spawn(async {
            loop {
                Sim::burn_elsewhere(30 * MS);
                Sim::sleep(10 * MS).await;
            }
        });
        let visits = Visits::default();
        visitors("/", 1, 1000, SECOND * 5, &visits).await;
        Sim::sleep(SECOND * 2).await;
        let (_, pages) = part(&visits, SECOND, SECOND * 5, 200, 99);
        assert!(pages >= 4 * 180, "{pages} pages in four seconds");
        assert_eq!(visits.borrow().len(), 5000);
        assert_eq!(metrics.requests.get(), metrics.responses.get());
    });
}

#[test]
fn after_a_moment_without_cpu_time_it_is_soon_itself_again() {
    run_with(in_order(), || async {
        let metrics = start(50 * MS, Bounds::default());
        Sim::spawn(async {
            Sim::sleep(SECOND).await;
            while Sim::elapsed() < SECOND * 2 {
                Sim::burn_elsewhere(90 * MS);
                Sim::sleep(10 * MS).await;
            }
        });
        // Visitors come thirty at a time, by way of a proxy that uses connections again.
        let idle = Rc::<RefCell<VecDeque<Client>>>::default();
        let mut refused = Vec::new();
        for n in 0..20 * 6 {
            Sim::sleep((SECOND * n / 20).saturating_sub(Sim::elapsed())).await;
            for _ in 0..30 {
                let idle = Rc::clone(&idle);
                Sim::spawn(async move {
                    let client = idle.borrow_mut().pop_front();
                    let mut client = match client {
                        Some(client) => client,
                        None => Client::connect(SERVER).await.unwrap(),
                    };
                    client.ask(get("/")).await;
                    idle.borrow_mut().push_back(client);
                });
            }
            if n % 20 == 0 {
                refused.push(metrics.requests_shed());
            }
        }
        assert!(refused[2] > 0, "{refused:?}");
        assert_eq!(refused[5], metrics.requests_shed(), "{refused:?}: those of the last second");
        assert_eq!(metrics.overloaded.get(), 0);
    });
}
