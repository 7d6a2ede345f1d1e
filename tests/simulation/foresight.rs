//! What a worker does in the first moments of too much: before its clock has ticked once, and while
//! what it has taken on still waits for its API.

use std::time::Duration;

use ringpress::driver::sim::Sim;
use ringpress::driver::{Driver, stints};
use ringpress::worker::Bounds;

use super::admission::{Visits, in_order, start_with, visitors};
use super::client::{Client, get};
use super::server::{SERVER, Server, item_site, run_with, site_of};
use super::upstream::{self, Step, answer, at};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Long work of so many milliseconds, in a line of that many, on a loop that is crowded.
fn long_work(pieces: u32) {
    stints::set_crowded(true);
    for _ in 0..pieces {
        Sim::spawn(async {
            let _work = stints::begin::<Sim>().await;
            Sim::burn(MS);
        });
    }
}

#[test]
fn a_page_is_made_when_it_is_its_turn() {
    run_with(in_order(), || async {
        let site = site_of("[[page]]\npath = '/'\ntemplate = 'page.html'\n", "page");
        let _server = Server::start(&site, &[&[at(81)]], Bounds::default());
        let mut client = Client::connect(SERVER).await.unwrap();
        assert_eq!(client.ask(get("/")).await.body, "page");
        let asked = Sim::elapsed();
        long_work(20);
        assert_eq!(client.ask(get("/")).await.body, "page");
        let took = Sim::elapsed() - asked;
        assert!(took >= 20 * MS, "{took:?}: before those who were there first");
    });
}

#[test]
fn and_so_is_what_an_api_has_answered_read() {
    run_with(in_order(), || async {
        upstream::start(at(81), |asked| vec![Step::Wait(MS), answer(asked.token)]);
        let _server = Server::start(&item_site("", ""), &[&[at(81)]], Bounds::default());
        let mut client = Client::connect(SERVER).await.unwrap();
        assert_eq!(client.ask(get("/item/a")).await.body, "token=a;");
        let asked = Sim::elapsed();
        long_work(20);
        Sim::spawn(async {
            // The answer is in the line by then, and the page will be behind these.
            Sim::sleep(10 * MS).await;
            long_work(20);
        });
        assert_eq!(client.ask(get("/item/b")).await.body, "token=b;");
        let took = Sim::elapsed() - asked;
        assert!(took >= 40 * MS, "{took:?}: before those who were there first");
    });
}

#[test]
fn a_crowd_is_a_crowd_at_once() {
    run_with(in_order(), || async {
        let _metrics = start_with(MS / 50, 5 * MS, Bounds::default());
        let visits = Visits::default();
        visitors("/", 1, 500, SECOND * 2, &visits).await;
        for round in 0..8 {
            // Idle, so that it is a while before its clock ticks.
            Sim::sleep(SECOND * 2 + 13 * MS * round).await;
            visits.borrow_mut().clear();
            let crowd = Visits::default();
            let into = crowd.clone();
            Sim::spawn(async move { visitors("/", 300, 1000, MS, &into).await });
            // By then the pages of those who were let in could all be made, one after the other.
            Sim::sleep(7 * MS).await;
            visitors("/", 1, 1000, 20 * MS, &visits).await;
            Sim::sleep(SECOND).await;
            let visits = visits.borrow();
            let told = visits.iter().filter(|visit| visit.status == 503);
            let longest = told.map(|visit| visit.took).max();
            assert!(longest.is_some_and(|took| took <= 20 * MS), "round {round}: {longest:?}");
            let pages = crowd.borrow().iter().filter(|visit| visit.status == 200).count();
            assert!((100..=200).contains(&pages), "{pages}");
        }
    });
}

#[test]
fn what_waits_for_its_api_is_yet_to_be_made() {
    run_with(in_order(), || async {
        let _metrics = start_with(MS / 50, SECOND, Bounds::default());
        let visits = Visits::default();
        // Five hundred are in flight, and each will take a millisecond.
        visitors("/", 1, 500, SECOND * 4, &visits).await;
        visits.borrow_mut().clear();
        visitors("/", 1, 10_000, SECOND / 2, &visits).await;
        Sim::sleep(SECOND * 3).await;
        let visits = visits.borrow();
        let told = visits.iter().filter(|visit| visit.status == 503);
        let first = told.map(|visit| visit.due).min().unwrap();
        let after = first + 5 * MS..first + 170 * MS;
        let taken = visits.iter().filter(|one| one.status == 200 && after.contains(&one.due));
        assert_eq!(taken.count(), 0, "since {first:?}");
    });
}
