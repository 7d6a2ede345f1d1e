//! Many at once, and one too many: nobody gets another's page, and over a bound a visitor is told
//! so at once.

use std::io::Write;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use ringpress::driver::Driver;
use ringpress::driver::kind::Kind;
use ringpress::driver::timers::Timers;
use ringpress::metrics::WorkerMetrics;
use ringpress::site::RateLimit;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Bounds, Request, Response, Service};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::command::Running;
use super::stage::{Script, Stage, wait};
use super::upstream::{Gate, Upstream, some_delay};
use super::visitor::{PATIENCE, Visitor, get, is_timeout};

on_every_driver!(
    everybody_gets_their_own_page,
    in_flight_max,
    connections_max,
    nobody_is_cut_off_who_can_be_told,
    the_last_connections_are_not_kept,
    a_crowd_keeps_its_connections,
    few_descriptors,
    no_descriptor_left,
    too_much_to_do,
    rate_limit,
    a_visitor_who_leaves,
    a_crowd_at_once,
);

fn everybody_gets_their_own_page(kind: Kind) {
    const CONNECTIONS: usize = 50;
    const REQUESTS: usize = 10;
    let upstream = Upstream::start(|call| {
        let id = call.id().to_owned();
        some_delay(id.bytes().map(usize::from).sum::<usize>() + call.target.len());
        call.json(format!(r#"{{"token": "token-{id}-of{}"}}"#, &call.target[..2]))
    });
    let stage = Script::on(kind)
        .workers(2)
        .page(
            "/t/{id}",
            "[page.fetch]\na = { from = 'api', path = '/a/{{ path.id }}' }\n\
             b = { from = 'api', path = '/b/{{ path.id }}' }",
            "{{ a.token }} {{ b.token }} {{ path.id }}",
        )
        .start(upstream);
    let address = stage.address();
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            scope.spawn(move || {
                let ids = (0..REQUESTS).map(|n| format!("{connection}x{n}"));
                let mut visitor = Visitor::to(address);
                visitor.send(ids.clone().map(|id| get(&format!("/t/{id}"))).collect::<String>());
                for id in ids {
                    let reply = visitor.reply();
                    let page = reply.page().replace("&#x2f;", "/");
                    assert_eq!(page, format!("token-{id}-of/a token-{id}-of/b {id}"));
                }
            });
        }
    });
    let total = (CONNECTIONS * REQUESTS) as u64;
    stage.await_responses(total);
    assert_eq!(stage.count(|m| m.upstream_responses.get()), 2 * total);
    stage.finish();
}

/// So many more than can be told at once that there is no place: they are told one after the other,
/// unless the machine stands still for longer than they wait.
fn nobody_is_cut_off_who_can_be_told(kind: Kind) {
    const VISITORS: usize = 60;
    let bounds = |bounds: &mut Bounds| (bounds.connections_max, bounds.turned_away_max) = (1, 2);
    let stage = Script::on(kind).bounds(bounds).plain_page().start(Upstream::json("{}"));
    let mut inside = stage.visitor();
    assert_eq!(inside.get("/plain").page(), "<p>plain</p>");
    let (address, start) = (stage.address(), Barrier::new(VISITORS));
    let told = thread::scope(|scope| {
        let visit = || {
            start.wait();
            let reply = Visitor::to(address).try_get("/plain");
            reply.is_ok_and(|reply| reply.status == 503)
        };
        let visits: Vec<_> = (0..VISITORS).map(|_| scope.spawn(visit)).collect();
        visits.into_iter().filter_map(|visit| visit.join().ok()).filter(|told| *told).count()
    });
    assert!(told * 4 > VISITORS * 3, "{told} of {VISITORS} were told that there is no place");
    assert_eq!(stage.count(|m| m.connections_shed.get()), VISITORS as u64);
    // Those who do not go when they are told keep nobody waiting for long: who comes then is cut
    // off.
    let staying: Vec<Visitor> = (0..2).map(|_| stage.visitor()).collect();
    wait("two to be told", || stage.count(|m| m.connections_shed.get()) == VISITORS as u64 + 2);
    let mut late = stage.visitor();
    assert!(late.at_end());
    drop((staying, inside));
    stage.finish();
}

/// A server whose pages of users wait at a gate.
fn gated(script: Script) -> (Gate, Stage) {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        at.pass();
        call.json(r#"{"name": "Ada"}"#)
    });
    (gate, script.user_page().plain_page().start(upstream))
}

fn in_flight_max(kind: Kind) {
    let (gate, stage) = gated(Script::on(kind).bounds(|bounds| bounds.in_flight_max = 2));
    let mut first: Vec<Visitor> = (0..2).map(|_| stage.visitor()).collect();
    for visitor in &mut first {
        visitor.send(get("/users/1"));
    }
    stage.await_in_flight(2);
    for _ in 0..3 {
        // A connection whose request was turned away stays, and may ask again.
        let mut third = stage.visitor();
        third.send(get("/plain") + &get("/plain"));
        for _ in 0..2 {
            let reply = third.reply();
            assert_eq!(reply.status, 503);
            let wait: Option<u32> = reply.field("Retry-After").and_then(|time| time.parse().ok());
            assert!(wait.is_some_and(|wait| (1..=30).contains(&wait)), "{}", reply.head);
            assert_eq!(reply.field("Connection"), None);
        }
        // Where there may be a body on the way, it does not.
        third.send("GET /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        let reply = third.reply();
        assert_eq!((reply.status, reply.field("Connection")), (503, Some("close")));
        assert!(third.at_end());
    }
    assert_eq!(stage.count(|m| m.requests_shed_in_flight.get()), 9);
    gate.open();
    for visitor in &mut first {
        assert_eq!(visitor.reply().page(), "<p>Ada</p>");
    }
    stage.await_in_flight(0);
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    drop(first);
    stage.finish();
}

fn connections_max(kind: Kind) {
    let script = Script::on(kind).bounds(|bounds| bounds.connections_max = 2).plain_page();
    let stage = script.start(Upstream::json("{}"));
    let mut first: Vec<Visitor> = (0..2).map(|_| stage.visitor()).collect();
    for visitor in &mut first {
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    for _ in 0..3 {
        let mut third = stage.visitor();
        let reply = third.reply();
        assert_eq!(reply.status, 503);
        assert!(reply.field("Retry-After").is_some());
        assert!(third.at_end());
    }
    assert_eq!(stage.count(|m| m.connections_shed.get()), 3);
    for visitor in &mut first {
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    first.pop();
    wait("a place to be free", || stage.count(|m| m.connections.get()) < 2);
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    drop(first);
    stage.finish();
}

fn the_last_connections_are_not_kept(kind: Kind) {
    let script = Script::on(kind).bounds(|bounds| bounds.connections_max = 20).plain_page();
    let stage = script.start(Upstream::json("{}"));
    let mut crowd: Vec<Visitor> = (0..20).map(|_| stage.visitor()).collect();
    wait("everybody to be in", || stage.count(|m| m.connections.get()) == 20);
    // When so many have been answered, there is room for others, although nobody has gone.
    for (number, visitor) in crowd.iter_mut().enumerate() {
        visitor.send(get("/plain"));
        let reply = visitor.reply();
        assert_eq!(reply.page(), "<p>plain</p>");
        assert_eq!(reply.field("Connection"), (number < 2).then_some("close"), "{number}");
        let left = 20 - (number as u64 + 1).min(2);
        wait("the connection to be closed", || stage.count(|m| m.connections.get()) == left);
    }
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    assert_eq!(stage.count(|m| m.connections_shed.get()), 0);
    // Those who were kept are.
    for visitor in &mut crowd[2..] {
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    drop(crowd);
    stage.finish();
}

/// Where all places are taken by those who wait for a page, nobody idle keeps others out.
fn a_crowd_keeps_its_connections(kind: Kind) {
    let (gate, stage) = gated(Script::on(kind).bounds(|bounds| bounds.connections_max = 20));
    let mut crowd: Vec<Visitor> = (0..19).map(|_| stage.visitor()).collect();
    crowd.iter_mut().for_each(|visitor| visitor.send(get("/users/1")));
    stage.await_in_flight(19);
    let mut last = stage.visitor();
    for _ in 0..3 {
        last.send(get("/plain"));
        let reply = last.reply();
        assert_eq!((reply.page(), reply.field("Connection")), ("<p>plain</p>", None));
    }
    gate.open();
    crowd.iter_mut().for_each(|visitor| assert_eq!(visitor.reply().page(), "<p>Ada</p>"));
    drop((crowd, last));
    stage.finish();
}

/// A server as a process of its own, in front of an upstream whose users wait at a gate.
fn process(kind: Kind, before: &str, gate: &Gate) -> (Upstream, tempfile::TempDir, Running) {
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        at.pass();
        call.json(r#"{"name": "Ada"}"#)
    });
    let folder = tempfile::tempdir().unwrap();
    let site = format!(
        "[upstreams.api]\nurl = 'http://{}'\nconnect_timeout = '200ms'\n\
         [[page]]\npath = '/plain'\ntemplate = 'plain.html'\n\
         [[page]]\npath = '/users/{{id}}'\ntemplate = 'user.html'\n\
         [page.fetch]\nuser = {{ from = 'api', path = '/users/{{{{ path.id }}}}' }}\n",
        upstream.address()
    );
    for (file, text) in [
        ("site.toml", site.as_str()),
        ("plain.html", "<p>plain</p>"),
        ("user.html", "<p>{{ user.name }}</p>"),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let serve = "exec \"$0\" serve \"$1\" --workers 1 --listen 127.0.0.1:0 --driver \"$2\"";
    let arguments = [
        "-c",
        &format!("{before}{serve}"),
        env!("CARGO_BIN_EXE_ringpress"),
        folder.path().to_str().unwrap(),
        kind.name(),
    ];
    let server = Running::start("sh", &arguments, &[]);
    (upstream, folder, server)
}

fn few_descriptors(kind: Kind) {
    let gate = Gate::default();
    let (upstream, _folder, server) = process(kind, "ulimit -n 256; ", &gate);
    wait("it to be foreseen", || server.log().contains("LimitNOFILE"));
    // More than the server can have open, each of whom wants another connection from it.
    let mut crowd: Vec<Visitor> = (0..200).map(|_| Visitor::to(server.address())).collect();
    for (number, visitor) in crowd.iter_mut().enumerate() {
        // One that was hung up on may not take it.
        let _ = visitor.stream().write_all(get(&format!("/users/{number}")).as_bytes());
    }
    wait("pages in flight", || upstream.calls().len() >= 40);
    gate.open();
    let mut pages = 0;
    for visitor in &mut crowd {
        match visitor.try_reply(false) {
            Ok(reply) if reply.status == 503 => assert!(reply.field("Retry-After").is_some()),
            Ok(reply) => {
                assert_eq!(reply.page(), "<p>Ada</p>");
                pages += 1;
            }
            // There are too many to tell all of them.
            Err(error) => assert!(!is_timeout(&error), "{error}"),
        }
    }
    assert!((40..=128).contains(&pages), "{pages} pages");
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
    drop(crowd);
    for _ in 0..100 {
        let plain = || Visitor::try_to(server.address()).ok()?.try_get("/plain").ok();
        wait("a place to be free", || plain().is_some_and(|reply| reply.status == 200));
    }
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

fn no_descriptor_left(kind: Kind) {
    let gate = Gate::default();
    gate.open();
    let (_upstream, _folder, server) = process(kind, "", &gate);
    let address = server.address();
    let mut first = Visitor::to(address);
    assert_eq!(first.get("/plain").page(), "<p>plain</p>");
    // Something else has taken all that there were, and none is left to ask the API with.
    let usual = spare_open_files(&server, 0);
    let reply = first.get("/users/1");
    assert_eq!((reply.status, reply.field("Retry-After")), (503, Some("1")), "{}", reply.text());
    wait("it to be reported", || server.log().contains("no descriptor left"));
    // A few more can come in. The kernel accepts for the server, so all of them connect.
    spare_open_files(&server, 4);
    let mut crowd: Vec<Visitor> = (0..20).map(|_| Visitor::to(address)).collect();
    for visitor in &mut crowd {
        visitor.send(get("/plain"));
    }
    assert_eq!(crowd[0].reply().page(), "<p>plain</p>");
    wait("the shortage to be reported", || server.log().contains("cannot accept"));
    let mut late = Visitor::to(address);
    late.send(get("/plain"));
    drop(crowd);
    assert_eq!(late.reply().page(), "<p>plain</p>");
    // And it has not held that against the API.
    limit_open_files(&server, usual);
    for _ in 0..30 {
        assert_eq!(first.get("/users/1").page(), "<p>Ada</p>");
    }
    drop((first, late));
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

/// Pages that keep the whole loop waiting.
struct Slow;

impl Service for Slow {
    fn wants_body(&self, _: &Request<'_>) -> bool {
        false
    }

    async fn respond(&self, _: Request<'_>, response: &mut Response) {
        thread::sleep(Duration::from_millis(5));
        response.content_type = "text/plain";
        response.body().extend_from_slice(b"slow");
    }

    fn refuse(&self, status: u16, _: &str, response: &mut Response) {
        response.status = status;
    }
}

impl Recipe for Slow {
    type Service<D: Driver> = Slow;

    fn make<D: Driver>(
        &self,
        _: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<Slow, String> {
        Ok(Slow)
    }
}

fn too_much_to_do(kind: Kind) {
    let target = Some(Duration::from_millis(20));
    let script = Script::on(kind).bounds(|bounds| bounds.queue_target = target);
    let stage = script.start_recipe(Slow);
    let shed = || stage.count(|m| m.requests_shed_delay.get());
    let end = Instant::now() + PATIENCE;
    thread::scope(|scope| {
        for number in 0..48 {
            let (stage, shed) = (&stage, &shed);
            scope.spawn(move || {
                let mut visitor = stage.visitor();
                // Until many were turned away. Who of them gets pages is chance.
                while shed() < 100 {
                    assert!(Instant::now() < end, "{} were turned away", shed());
                    let reply = visitor.get("/");
                    assert!([200, 503].contains(&reply.status), "{}", reply.status);
                    let wait = reply.field("Retry-After").map(|time| time.parse::<u32>());
                    assert_eq!(reply.status == 503, wait.is_some(), "{}", reply.head);
                    assert!(wait.is_none_or(|wait| wait.is_ok_and(|s| (1..=30).contains(&s))));
                    assert_eq!(reply.field("Connection"), None);
                    // Out of step: of two groups that take turns, a small one would have every
                    // other look at the clock be in time, and that is no queue that stands.
                    thread::sleep(Duration::from_millis(number % 8 * 5));
                }
            });
        }
    });
    assert!(stage.count(|m| m.statuses[2].get()) > 0);
    // When nobody asks any more there is nothing to wait for.
    wait("the load to be over", || stage.count(|m| m.overloaded.get()) == 0);
    assert_eq!(stage.get("/").status, 200);
    stage.finish();
}

fn rate_limit(kind: Kind) {
    let limit = RateLimit {
        interval: Duration::from_secs(3600),
        burst: 3,
        prefix_v4: 32,
        prefix_v6: 64,
        clients_max: 10,
    };
    let script = Script::on(kind).bounds(|bounds| bounds.rate_limit = Some(limit));
    let stage = script.plain_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    for _ in 0..2 {
        let reply = visitor.get("/plain");
        assert_eq!((reply.status, reply.field("Retry-After")), (429, Some("30")));
        assert_eq!(reply.field("Connection"), None);
        assert!(reply.field("Date").is_some_and(|date| date.ends_with(" GMT")), "{}", reply.head);
    }
    // Another connection is the same client.
    assert_eq!(stage.get("/plain").status, 429);
    assert_eq!(stage.count(|m| m.requests_shed_rate.get()), 3);
    drop(visitor);
    stage.finish();
}

fn a_visitor_who_leaves(kind: Kind) {
    let grace = Duration::from_millis(50);
    let (gate, stage) = gated(Script::on(kind).bounds(|bounds| bounds.half_close_timeout = grace));
    let cancelled = || stage.count(|m| m.upstream_cancelled.get());
    for (leaving, reset) in [(1, false), (2, true)] {
        let mut visitor = stage.visitor();
        visitor.send(get("/users/1"));
        stage.await_in_flight(1);
        if reset {
            let socket = socket2::SockRef::from(visitor.stream());
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(visitor);
        wait("the fetch to be cancelled", || cancelled() == leaving);
        stage.await_in_flight(0);
    }
    assert_eq!(stage.count(|m| m.requests_abandoned.get()), 2);
    // One who stays, and sends more meanwhile, has all of it.
    let mut visitor = stage.visitor();
    visitor.send(get("/users/1"));
    stage.await_in_flight(1);
    thread::sleep(Duration::from_millis(150));
    visitor.send(get("/plain"));
    gate.open();
    assert_eq!(visitor.reply().page(), "<p>Ada</p>");
    assert_eq!(visitor.reply().page(), "<p>plain</p>");
    drop(visitor);
    stage.finish();
}

fn a_crowd_at_once(kind: Kind) {
    let stage = Script::on(kind).plain_page().start(Upstream::json("{}"));
    let mut crowd: Vec<Visitor> = (0..300).map(|_| stage.visitor()).collect();
    for visitor in &mut crowd {
        visitor.send(get("/plain"));
    }
    for visitor in &mut crowd {
        assert_eq!(visitor.reply().page(), "<p>plain</p>");
    }
    assert_eq!(stage.count(|m| m.accepted.get()), 300);
    drop(crowd);
    stage.finish();
}

/// Lets a process open so many more files, and gives how many it might have had in all.
fn spare_open_files(server: &Running, more: usize) -> u64 {
    let files = std::fs::read_dir(format!("/proc/{}/fd", server.child.id()));
    let number =
        |file: std::io::Result<std::fs::DirEntry>| file.ok()?.file_name().into_string().ok();
    let open: Vec<String> = files.expect("its files").filter_map(number).collect();
    // The limit is one of their numbers, and each takes the lowest that is free.
    let mut free = (0..).filter(|number: &u64| !open.contains(&number.to_string()));
    limit_open_files(server, free.nth(more).expect("a number"))
}

/// Sets how many it may have, and gives how many that were.
fn limit_open_files(server: &Running, most: u64) -> u64 {
    let pid = Some(Pid::from_child(&server.child));
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(most), maximum });
    before.expect("a limit").current.unwrap_or(u64::MAX)
}
