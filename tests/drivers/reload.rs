//! Sites and certificates that change while they are served.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::kind::Kind;
use ringpress::metrics::WorkerMetrics;
use ringpress::upstream::Addresses;
use rustls::pki_types::CertificateDer;

use super::stage::{Script, Stage, wait};
use super::trust::{Trust, session, write};
use super::upstream::{Gate, Upstream};
use super::visitor::{Visitor, get};

on_every_driver!(
    new_certificates_without_a_connection_lost,
    half_a_change_changes_nothing,
    a_new_site_keeps_connections_and_kept_answers,
    another_policy_is_another_upstream,
    what_is_kept_of_an_upstream_that_is_gone_is_no_others,
    descriptors_for_more_or_fewer_connections_change_nothing_else,
    a_page_under_way_is_that_of_before,
    what_workers_count_who_are_about_to_go_is_not_lost,
    a_page_that_outlasts_the_drain_is_cut_off_and_counted,
);

const CACHED: &str =
    "cache = '1h'\n[page.fetch]\nuser = { from = 'api', path = '/users/{{ path.id }}' }";
const FETCHED: &str = "[page.fetch]\nuser = { from = 'api', path = '/users/{{ path.id }}' }";

/// A site with an edition of each page: one whose answers are kept, and one whose are not.
fn edition(kind: Kind, edition: &'static str) -> Script {
    let template = match edition {
        "old" => "old {{ user.name }}",
        _ => "new {{ user.name }}",
    };
    Script::on(kind).page("/kept/{id}", CACHED, template).page("/users/{id}", FETCHED, template)
}

fn a_new_site_keeps_connections_and_kept_answers(kind: Kind) {
    let mut stage = edition(kind, "old").start(Upstream::json(r#"{"name": "Ada"}"#));
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/kept/1").page(), "old Ada");
    assert_eq!(visitor.get("/users/2").page(), "old Ada");
    let recipe = edition(kind, "new").recipe(stage.upstream().address());
    stage.server.replace(recipe).expect("a new site");
    assert_eq!(visitor.get("/kept/1").page(), "new Ada");
    assert_eq!(visitor.get("/users/3").page(), "new Ada");
    assert_eq!(stage.upstream().calls(), ["/users/1", "/users/2", "/users/3"]);
    assert_eq!(stage.count(|metrics| metrics.upstream_connects.get()), 1);
    assert_eq!(stage.count(|metrics| metrics.cache_hits.get()), 1);
    drop(visitor);
    stage.finish();
}

fn another_policy_is_another_upstream(kind: Kind) {
    let mut stage = edition(kind, "old").start(Upstream::json(r#"{"name": "Ada"}"#));
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/kept/1").page(), "old Ada");
    let script = edition(kind, "new").policy("max_idle = 3");
    let recipe = script.recipe(stage.upstream().address());
    stage.server.replace(recipe).expect("a new site");
    // What was kept was asked for under other rules.
    assert_eq!(visitor.get("/kept/1").page(), "new Ada");
    assert_eq!(stage.upstream().calls(), ["/users/1", "/users/1"]);
    assert_eq!(stage.count(|metrics| metrics.upstream_connects.get()), 2);
    wait("the old connection to close", || {
        stage.count(|metrics| metrics.upstream_connections.get()) == 1
    });
    drop(visitor);
    stage.finish();
}

fn what_is_kept_of_an_upstream_that_is_gone_is_no_others(kind: Kind) {
    let mut stage = edition(kind, "old").start(Upstream::json(r#"{"name": "Ada"}"#));
    let (first, second) = (Upstream::json(r#"{"v": 1}"#), Upstream::json(r#"{"v": 2}"#));
    let api = stage.upstream().address();
    let mut visitor = stage.visitor();
    let with = |other: &Upstream| {
        let fetch = "cache = '1h'\n[page.fetch]\nx = { from = 'other', path = '/' }";
        let policy = format!("[upstreams.other]\nurl = 'http://{}'", other.address());
        let mut recipe =
            edition(kind, "old").policy(policy).page("/x", fetch, "{{ x.v }}").recipe(api);
        let addresses = [api, other.address()].map(|address| Addresses::new(vec![address]));
        recipe.directory = Arc::from(addresses);
        recipe
    };
    stage.server.replace(with(&first)).expect("a new site");
    assert_eq!(visitor.get("/x").page(), "1");
    stage.server.replace(edition(kind, "old").recipe(api)).expect("a new site");
    assert_eq!(visitor.get("/x").status, 404);
    stage.server.replace(with(&second)).expect("a new site");
    assert_eq!(visitor.get("/x").page(), "2");
    drop(visitor);
    stage.finish();
}

/// How many there are is divided among all upstreams, and so changes with each that comes or goes.
fn descriptors_for_more_or_fewer_connections_change_nothing_else(kind: Kind) {
    let mut stage = edition(kind, "old").start(Upstream::json(r#"{"name": "Ada"}"#));
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/kept/1").page(), "old Ada");
    for most in [1, 7] {
        let mut recipe = edition(kind, "old").recipe(stage.upstream().address());
        recipe.site.lower_max_connections(&[most]);
        stage.server.replace(recipe).expect("a new site");
        assert_eq!(visitor.get("/kept/1").page(), "old Ada");
        assert_eq!(visitor.get("/users/2").page(), "old Ada");
    }
    assert_eq!(stage.upstream().calls(), ["/users/1", "/users/2", "/users/2"]);
    assert_eq!(stage.count(|metrics| metrics.upstream_connects.get()), 1);
    drop(visitor);
    stage.finish();
}

fn a_page_under_way_is_that_of_before(kind: Kind) {
    let gate = Gate::default();
    let door = gate.clone();
    let upstream = Upstream::start(move |call| {
        door.pass();
        call.json(r#"{"name": "Ada"}"#)
    });
    let mut stage = edition(kind, "old").start(upstream);
    let mut waiting = stage.visitor();
    waiting.send(get("/users/1"));
    stage.await_in_flight(1);
    let recipe = edition(kind, "new").recipe(stage.upstream().address());
    stage.server.replace(recipe).expect("a new site");
    gate.open();
    assert_eq!(waiting.reply().page(), "old Ada");
    assert_eq!(waiting.get("/users/1").page(), "new Ada");
    drop(waiting);
    stage.finish();
}

/// Other workers take the places of these, more or fewer, while each has pages under way.
fn what_workers_count_who_are_about_to_go_is_not_lost(kind: Kind) {
    const VISITORS: u64 = 30;
    const ROUNDS: [usize; 4] = [1, 2, 1, 2];
    let gates: Vec<Gate> = ROUNDS.iter().map(|_| Gate::default()).collect();
    let doors = gates.clone();
    let upstream = Upstream::start(move |call| {
        let round: usize = call.target.trim_start_matches("/users/").parse().expect("a round");
        doors[round].pass();
        call.json(r#"{"name": "Ada"}"#)
    });
    let mut stage = edition(kind, "old").workers(2).start(upstream);
    let (mut before, mut parted, mut workers) = (0, 0, 2);
    for (round, then) in ROUNDS.into_iter().enumerate() {
        let mut waiting: Vec<_> = (0..VISITORS).map(|_| stage.visitor()).collect();
        waiting.iter_mut().for_each(|one| one.send(get(&format!("/users/{round}"))));
        stage.await_in_flight(VISITORS);
        wait("all to have asked", || {
            stage.upstream().calls().len() as u64 == VISITORS * (round as u64 + 1)
        });
        let mut plan = stage.server.plan().clone();
        plan.cpus = vec![None; then];
        let recipe = edition(kind, "new").recipe(stage.upstream().address());
        stage.server.renew(plan, recipe).expect("other workers");
        stage.server.look_after();
        assert_eq!(stage.count(|m| m.in_flight.get()), VISITORS);
        assert_eq!(stage.count(|m| m.connections.get()), VISITORS);
        assert_eq!(stage.count(|m| m.upstream_connections.get()), VISITORS);
        gates[round].open();
        for one in &mut waiting {
            assert_eq!(one.reply().page(), format!("{} Ada", edition_of(round)));
        }
        drop(waiting);
        let gone = parted + workers as u64;
        wait("the old ones to end", || {
            parted += stage.server.look_after().parted;
            let responses = stage.count(|m| m.responses.get());
            assert!(responses >= before, "{responses} after {before}");
            before = responses;
            parted == gone
        });
        workers = then;
        assert_eq!(before, VISITORS * (round as u64 + 1));
        let page = |m: &WorkerMetrics| m.pages.named("/users/{id}", 9).duration.read().count;
        assert_eq!(stage.count(page), before);
    }
    stage.finish();
}

/// Of the workers that a round finds.
fn edition_of(round: usize) -> &'static str {
    if round == 0 { "old" } else { "new" }
}

fn a_page_that_outlasts_the_drain_is_cut_off_and_counted(kind: Kind) {
    let gate = Gate::default();
    let door = gate.clone();
    let upstream = Upstream::start(move |call| {
        door.pass();
        call.json(r#"{"name": "Ada"}"#)
    });
    let script = edition(kind, "old");
    let mut stage =
        script.bounds(|bounds| bounds.drain_timeout = Duration::from_millis(300)).start(upstream);
    let mut waiting = stage.visitor();
    waiting.send(get("/users/1"));
    stage.await_in_flight(1);
    let recipe = edition(kind, "new").recipe(stage.upstream().address());
    stage.server.renew(stage.server.plan().clone(), recipe).expect("other workers");
    wait("the old one to end", || stage.server.look_after().parted == 1);
    assert!(waiting.ends_rightly());
    gate.open();
    assert_eq!(stage.count(|m| m.requests_aborted.get()), 1);
    stage.finish();
}

fn start(kind: Kind, trust: &Trust) -> Stage {
    let script = Script::on(kind).server(trust.server("", &["first"])).plain_page();
    script.start(Upstream::json("{}"))
}

/// A new visitor who has been served, and the certificate it was shown.
fn visit(stage: &Stage, trust: &Trust) -> (Visitor, CertificateDer<'static>) {
    let session = session(&trust.client(), "localhost");
    let mut visitor = Visitor::to(stage.secure_address()).speaking(session);
    assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    let shown = visitor.session().peer_certificates().expect("certificates")[0].clone();
    (visitor, shown.into_owned())
}

fn new_certificates_without_a_connection_lost(kind: Kind) {
    let mut trust = Trust::of(&["localhost"]);
    let stage = start(kind, &trust);
    let (mut old, before) = visit(&stage, &trust);
    let renewed = trust.certify("first", &["localhost"]);
    assert_ne!(renewed, before);
    wait("the new certificate", || visit(&stage, &trust).1 == renewed);
    assert_eq!(old.get("/plain").page(), "<p>plain</p>");
    drop(old);
    stage.finish();
}

fn half_a_change_changes_nothing(kind: Kind) {
    let mut trust = Trust::of(&["localhost"]);
    let stage = start(kind, &trust);
    let (_, before) = visit(&stage, &trust);
    let (certificate, key) = (trust.path("first.pem"), trust.path("first.key"));
    let old_key = fs::read_to_string(&key).expect("a key");
    let renewed = trust.certify("first", &["localhost"]);
    let new_key = fs::read_to_string(&key).expect("a key");
    // It may have seen the whole: then it is with the key that it must not lose.
    write(&key, &old_key);
    let whole = fs::read_to_string(&certificate).expect("a certificate");
    for torn in ["", "-----BEGIN CERTIFICATE-----\nAAAA", &whole[..whole.len() / 2]] {
        write(&certificate, torn);
        let looks = stage.looks();
        wait("the files to be looked at", || stage.looks() > looks + 1);
        let (_, shown) = visit(&stage, &trust);
        assert!(shown == before || shown == renewed, "neither the old nor the new one");
    }
    trust.lose("first.pem");
    let (_, shown) = visit(&stage, &trust);
    assert!(shown == before || shown == renewed);
    write(&certificate, &whole);
    write(&key, &new_key);
    wait("the new certificate", || visit(&stage, &trust).1 == renewed);
    stage.finish();
}
