//! What a server lives through: panics, rude visitors, and its own end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::kind::Kind;
use ringpress::driver::timers::Timers;
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Request, Response, Service};
use socket2::SockRef;

use super::stage::{Script, Stage, wait};
use super::upstream::{Gate, Upstream};
use super::visitor::{Visitor, get, is_timeout};

on_every_driver!(
    a_panic_is_one_requests_own,
    rude_visitors,
    a_reader_that_never_reads,
    drain_finishes_what_is_in_flight,
    drain_ends_idle_connections,
    drain_has_an_end,
    stop_waits_for_nobody,
    stop_frees_the_port,
    a_worker_that_panics_is_started_again,
    a_worker_that_stands_still_is_stood_in_for,
);

/// A service that panics or stands still when it is told to.
struct Jumpy<D: Driver>(Timers<D>, Arc<Trouble>);

/// What it is told.
#[derive(Default)]
struct Trouble {
    panic: AtomicBool,
    stands: AtomicBool,
}

#[derive(Default)]
struct JumpyRecipe(Arc<Trouble>);

impl Recipe for JumpyRecipe {
    type Service<D: Driver> = Jumpy<D>;

    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<Jumpy<D>, String> {
        Ok(Jumpy(timers.clone(), Arc::clone(&self.0)))
    }

    fn housekeep<D: Driver>(&self, _: &Jumpy<D>) {
        let panics = self.0.panic.swap(false, Ordering::Relaxed);
        assert!(!panics, "a panic of the loop that the test asked for");
    }
}

impl<D: Driver> Service for Jumpy<D> {
    fn wants_body(&self, _: &Request<'_>) -> bool {
        true
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        response.content_type = "text/html; charset=utf-8";
        response.fields.push(("X-Half", b"done".to_vec()));
        response.body().extend_from_slice(b"half of it, ");
        match request.span(request.head.path) {
            b"/at-once" => panic!("a panic that the test asked for"),
            b"/later" => {
                self.0.sleep(Duration::from_millis(5)).await;
                panic!("a panic that the test asked for");
            }
            b"/still" => {
                self.1.stands.store(true, Ordering::Relaxed);
                while self.1.stands.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            _ => response.body().extend_from_slice(b"and the rest"),
        }
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.status = status;
        response.body().extend_from_slice(reason.as_bytes());
    }
}

fn a_panic_is_one_requests_own(kind: Kind) {
    let stage = Script::on(kind).start_recipe(JumpyRecipe::default());
    let mut visitor = stage.visitor();
    let mut other = stage.visitor();
    for target in ["/at-once", "/later", "/at-once"] {
        other.send(get("/fine"));
        let reply = visitor.get(target);
        assert_eq!(reply.status, 500);
        assert_eq!(reply.text(), "the page failed");
        assert_eq!(reply.field("X-Half"), None);
        assert_eq!(visitor.get("/fine").page(), "half of it, and the rest");
        assert_eq!(other.reply().page(), "half of it, and the rest");
    }
    assert_eq!(stage.count(|m| m.panics.get()), 3);
    drop((visitor, other));
    stage.finish();
}

/// Whether many new visitors get a page, while the server is looked after. One may have been taken
/// by the worker that is gone, on a ring: it comes again.
fn assert_serves(stage: &mut Stage) {
    for _ in 0..20 {
        wait("a page", || {
            stage.server.look_after();
            let mut visitor = stage.visitor();
            visitor.stream().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let reply = visitor.try_get("/fine");
            reply.is_ok_and(|reply| reply.page() == "half of it, and the rest")
        });
    }
}

fn a_worker_that_panics_is_started_again(kind: Kind) {
    let trouble = Arc::<Trouble>::default();
    let script = Script::on(kind).workers(2);
    let mut stage = script.start_recipe(JumpyRecipe(Arc::clone(&trouble)));
    let mut known: Vec<Visitor> = (0..40).map(|_| stage.visitor()).collect();
    known.iter_mut().for_each(|visitor| drop(visitor.get("/fine")));
    trouble.panic.store(true, Ordering::Relaxed);
    wait("the worker to be started again", || stage.server.look_after().restarted == 1);
    assert_serves(&mut stage);
    // Those of the other worker noticed nothing, and those of this one were not left waiting.
    let known = known.into_iter();
    let served = known.filter_map(|mut one| one.try_get("/fine").ok()).count();
    assert!(served > 0, "one worker took the other down");
    assert!(!stage.server.is_finished());
    stage.finish();
}

fn a_worker_that_stands_still_is_stood_in_for(kind: Kind) {
    let trouble = Arc::<Trouble>::default();
    let mut stage = Script::on(kind).start_recipe(JumpyRecipe(Arc::clone(&trouble)));
    let mut still = stage.visitor();
    still.send(get("/still"));
    wait("the worker to stand still", || trouble.stands.load(Ordering::Relaxed));
    let mut stalled = 0;
    wait("another to take its place", || {
        let incidents = stage.server.look_after();
        stalled += incidents.stalled;
        incidents.restarted == 1
    });
    assert_eq!(stalled, 1);
    assert_serves(&mut stage);
    trouble.stands.store(false, Ordering::Relaxed);
    drop(still);
    // Not balanced: a request that was begun is one of the worker that is gone.
    stage.server.stop();
    stage.server.join().expect("an orderly end");
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

/// Closes with a reset instead of an orderly end.
fn reset(visitor: Visitor) {
    SockRef::from(visitor.stream()).set_linger(Some(Duration::ZERO)).unwrap();
}

fn rude_visitors(kind: Kind) {
    let (gate, stage) = gated(Script::on(kind));
    let body = "GET /plain HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\nabc";
    let gone_or_reset: [fn(Visitor); 2] = [drop, reset];
    for leave in gone_or_reset {
        leave(stage.visitor());
        for begun in ["G", "GET /plain HTTP/1.1\r\nHo", body, "\r\n"] {
            let mut visitor = stage.visitor();
            visitor.send(begun);
            leave(visitor);
        }
        let mut answered = stage.visitor();
        answered.get("/plain");
        leave(answered);
        let mut unread = stage.visitor();
        unread.send(get("/plain").repeat(20));
        leave(unread);
    }
    let mut waiting: Vec<Visitor> = (0..6).map(|_| stage.visitor()).collect();
    for visitor in &mut waiting {
        visitor.send(get("/users/1"));
    }
    stage.await_in_flight(6);
    for (number, visitor) in waiting.into_iter().enumerate() {
        gone_or_reset[number % 2](visitor);
    }
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    gate.open();
    assert_eq!(stage.get("/users/1").page(), "<p>Ada</p>");
    stage.finish();
}

fn a_reader_that_never_reads(kind: Kind) {
    let upstream =
        Upstream::start(|call| call.json(format!(r#"{{"name": "{}"}}"#, "x".repeat(7_000_000))));
    let stage = Script::on(kind)
        .bounds(|bounds| {
            bounds.write_timeout = Duration::from_millis(100);
            bounds.rate_min = 1_000_000_000;
        })
        .user_page()
        .start(upstream);
    let mut visitor = stage.visitor();
    visitor.send(get("/users/1") + &get("/users/2"));
    wait("the request to be given up", || stage.count(|m| m.requests_aborted.get()) == 1);
    wait("the connection to end", || stage.count(|m| m.connections.get()) == 0);
    assert!(visitor.try_reply(false).is_err(), "a page that was cut off passes for whole");
    drop(visitor);
    stage.finish();
}

/// Waits until the server takes no new visitors.
fn await_refusal(stage: &Stage) {
    wait("new visitors to be turned away", || {
        let Ok(mut visitor) = Visitor::try_to(stage.address()) else { return true };
        let sent = std::io::Write::write_all(&mut visitor.stream(), get("/plain").as_bytes());
        if sent.is_ok()
            && let Err(error) = visitor.try_reply(false)
        {
            assert!(!is_timeout(&error), "a visitor was left waiting");
        }
        false
    });
}

fn drain_finishes_what_is_in_flight(kind: Kind) {
    let (gate, stage) = gated(Script::on(kind));
    let mut slow = stage.visitor();
    slow.send(get("/users/1") + &get("/users/2"));
    let mut idle = stage.visitor();
    idle.get("/plain");
    stage.await_in_flight(1);
    stage.server.drain();
    await_refusal(&stage);
    assert!(!stage.server.is_finished());
    gate.open();
    let reply = slow.reply();
    assert_eq!(reply.page(), "<p>Ada</p>");
    assert_eq!(reply.field("Connection"), Some("close"));
    assert!(slow.at_end());
    assert!(idle.at_end());
    wait("the workers to end", || stage.server.is_finished());
    stage.assert_balance();
    assert_eq!(stage.count(|m| m.connections.get()), 0);
    stage.server.join().unwrap();
}

fn drain_ends_idle_connections(kind: Kind) {
    let stage = Script::on(kind).plain_page().start(Upstream::json("{}"));
    let mut idle: Vec<Visitor> = (0..3).map(|_| stage.visitor()).collect();
    for visitor in &mut idle {
        visitor.get("/plain");
    }
    stage.server.drain();
    wait("the workers to end", || stage.server.is_finished());
    assert!(idle.iter_mut().all(Visitor::at_end));
    stage.assert_balance();
    stage.server.join().unwrap();
}

fn drain_has_an_end(kind: Kind) {
    let script = Script::on(kind).bounds(|bounds| bounds.drain_timeout = Duration::from_millis(50));
    let (gate, stage) = gated(script);
    let mut slow = stage.visitor();
    slow.send(get("/users/1"));
    stage.await_in_flight(1);
    stage.server.drain();
    wait("the workers to end", || stage.server.is_finished());
    assert!(slow.try_reply(false).is_err());
    stage.assert_balance();
    gate.open();
    stage.server.join().unwrap();
}

fn stop_waits_for_nobody(kind: Kind) {
    let (gate, stage) = gated(Script::on(kind));
    let mut slow = stage.visitor();
    slow.send(get("/users/1"));
    stage.await_in_flight(1);
    stage.server.stop();
    wait("the workers to end", || stage.server.is_finished());
    assert!(slow.try_reply(false).is_err());
    stage.assert_balance();
    gate.open();
    stage.server.join().unwrap();
}

fn stop_frees_the_port(kind: Kind) {
    let stage = Script::on(kind).plain_page().start(Upstream::json("{}"));
    let address = stage.address();
    let mut idle = stage.visitor();
    idle.get("/plain");
    stage.server.stop();
    stage.server.join().unwrap();
    assert!(idle.at_end());
    // A ring that was closed lets go of its last sockets a moment later.
    wait("the port to be free", || std::net::TcpListener::bind(address).is_ok());
}
