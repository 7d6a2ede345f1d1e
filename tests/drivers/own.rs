//! Services of one's own, as users of the library write them: what they get wrong, and what they
//! may rely on.

use std::future::{pending, poll_fn};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringpress::control::server::{Plan, Server, StartError};
use ringpress::driver::kind::Kind;
use ringpress::driver::timers::Timers;
use ringpress::driver::{Driver, give_way};
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Bounds, Request, Response, Service};
use socket2::SockRef;

use super::stage::{Script, wait};
use super::visitor::{Visitor, get};

on_every_driver!(
    a_panic_in_the_end_of_a_task_ends_no_worker,
    a_panic_in_the_end_of_a_page_is_late,
    where_a_worker_does_not_start_none_is_left,
    what_cannot_take_over_leaves_what_is_there,
    a_cpu_that_there_is_not_and_none_at_all,
    a_page_is_woken_by_another_thread,
    who_yields_keeps_nobody_waiting,
);

/// Pages that do what their path says.
struct Own<D: Driver> {
    timers: Timers<D>,
    name: &'static str,
    elsewhere: Arc<Elsewhere>,
    _lives: Arc<()>,
}

/// What a page waits for, and how.
#[derive(Default)]
struct Elsewhere {
    is_done: AtomicBool,
    polls: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Elsewhere {
    /// Whether that is done. It is not looked at again before the waker is woken.
    fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        *self.waker.lock().expect("a waker") = Some(context.waker().clone());
        if self.is_done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_again_and_again(&self, context: &Context<'_>) -> Poll<()> {
        context.waker().wake_by_ref();
        if self.is_done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }
}

/// Makes them.
#[derive(Default)]
struct OwnRecipe {
    name: &'static str,
    /// What goes wrong, and from which worker on.
    trouble: Option<(Trouble, usize)>,
    elsewhere: Arc<Elsewhere>,
    /// Each service that lives has one.
    lives: Arc<()>,
}

#[derive(Clone, Copy)]
enum Trouble {
    Refuses,
    Panics,
}

impl Recipe for OwnRecipe {
    type Service<D: Driver> = Own<D>;

    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        number: usize,
    ) -> Result<Own<D>, String> {
        match self.trouble {
            Some((Trouble::Refuses, from)) if number >= from => return Err("no such thing".into()),
            Some((Trouble::Panics, from)) if number >= from => {
                panic!("a panic that the test asked for");
            }
            _ => {}
        }
        let (elsewhere, _lives) = (Arc::clone(&self.elsewhere), Arc::clone(&self.lives));
        Ok(Own { timers: timers.clone(), name: self.name, elsewhere, _lives })
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a panic that the test asked for");
    }
}

async fn wait_and_panic() {
    let _held = PanicsWhenDropped;
    pending::<()>().await;
}

impl<D: Driver> Service for Own<D> {
    fn wants_body(&self, _: &Request<'_>) -> bool {
        false
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        response.content_type = "text/plain";
        match request.span(request.head.path) {
            b"/panics-in-task" => D::spawn(wait_and_panic()),
            b"/panics-when-dropped" => wait_and_panic().await,
            b"/elsewhere" => poll_fn(|context| self.elsewhere.poll_done(context)).await,
            b"/yields" => poll_fn(|context| self.elsewhere.poll_again_and_again(context)).await,
            b"/gives-way" => {
                while !self.elsewhere.is_done.load(Ordering::Acquire) {
                    give_way::<D>().await;
                }
            }
            b"/enough" => self.elsewhere.is_done.store(true, Ordering::Release),
            b"/later" => self.timers.sleep(Duration::from_millis(5)).await,
            b"/name" => return response.body().extend_from_slice(self.name.as_bytes()),
            _ => {}
        }
        response.body().extend_from_slice(b"done");
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.status = status;
        response.body().extend_from_slice(reason.as_bytes());
    }
}

fn a_panic_in_the_end_of_a_task_ends_no_worker(kind: Kind) {
    let mut stage = Script::on(kind).start_recipe(OwnRecipe::default());
    let address = stage.address();
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        assert_eq!(visitor.get("/panics-in-task").text(), "done");
    }
    assert_eq!(visitor.get("/later").text(), "done");
    assert_eq!(stage.get("/").text(), "done");
    assert_eq!(stage.server.look_after().restarted, 0);
    assert!(!stage.server.is_finished());
    // These drop a task that nobody can wake any more at their end only.
    if !matches!(kind, Kind::TokioUring | Kind::Ring) {
        wait("panics to be counted", || stage.count(|m| m.panics.get()) == 3);
    }
    drop(visitor);
    stage.finish();
    wait("the port to close", || TcpStream::connect(address).is_err());
}

fn a_panic_in_the_end_of_a_page_is_late(kind: Kind) {
    let script = Script::on(kind).bounds(|bounds| bounds.drain_timeout = Duration::from_millis(1));
    let stage = script.start_recipe(OwnRecipe::default());
    let address = stage.address();
    let mut visitor = stage.visitor();
    visitor.send(get("/panics-when-dropped"));
    stage.await_in_flight(1);
    stage.server.drain();
    stage.server.join().expect("an orderly end");
    wait("the port to close", || TcpStream::connect(address).is_err());
    assert!(visitor.at_end());
}

/// A server of so many workers, at an address of this driver's own.
fn plan(kind: Kind, cpus: Vec<Option<usize>>) -> Plan {
    let place = Kind::ALL.iter().position(|one| *one == kind).expect("a driver");
    let host = Ipv4Addr::new(127, 0, 77, u8::try_from(place).expect("few drivers"));
    let free = TcpListener::bind((host, 0)).and_then(|socket| socket.local_addr());
    let (listen, bounds) = (vec![free.expect("a free port")], Bounds::default());
    Plan { listen, secure: None, cpus, driver: kind, bounds }
}

fn where_a_worker_does_not_start_none_is_left(kind: Kind) {
    for (trouble, why) in [(Trouble::Refuses, "no such thing"), (Trouble::Panics, "it panicked")] {
        for from in [1, 0] {
            let plan = plan(kind, vec![None; 2]);
            let lives = Arc::new(());
            let (trouble, name) = (Some((trouble, from)), "");
            let lives_too = Arc::clone(&lives);
            let recipe = OwnRecipe { name, trouble, lives: lives_too, ..OwnRecipe::default() };
            let Err(error) = Server::start(&plan, recipe) else { panic!("it starts") };
            let text = error.to_string();
            let worker = if from == 1 { "worker 1" } else { "worker " };
            assert!(text.starts_with(worker) && text.ends_with(why), "{text}");
            assert_eq!(Arc::strong_count(&lives), 1, "a worker serves");
            wait("the port to close", || TcpStream::connect(plan.listen[0]).is_err());
        }
    }
}

fn what_cannot_take_over_leaves_what_is_there(kind: Kind) {
    let first = OwnRecipe { name: "first", ..OwnRecipe::default() };
    let mut stage = Script::on(kind).workers(2).start_recipe(first);
    let mut known = stage.visitor();
    for (number, trouble) in [Trouble::Panics, Trouble::Refuses].into_iter().enumerate() {
        let next = OwnRecipe { trouble: Some((trouble, 0)), ..OwnRecipe::default() };
        let error = stage.server.replace(next).expect_err("it takes over");
        assert!(error.to_string().contains("cannot make the pages"), "{error}");
        assert_eq!(known.get("/name").text(), "first");
        assert_eq!(stage.get("/name").text(), "first");
        wait("both workers to have refused", || stage.count(|m| m.panics.get()) == 2 || number > 0);
    }
    assert_eq!(stage.server.look_after().restarted, 0);
    let next = OwnRecipe { name: "next", ..OwnRecipe::default() };
    stage.server.replace(next).expect("it takes over");
    assert_eq!(known.get("/name").text(), "next");
    drop(known);
    stage.finish();
}

fn a_cpu_that_there_is_not_and_none_at_all(kind: Kind) {
    let odd = plan(kind, vec![Some(9_999), Some(usize::MAX)]);
    let server = Server::start(&odd, OwnRecipe::default()).expect("workers that roam");
    assert_eq!(Visitor::to(odd.listen[0]).get("/").text(), "done");
    server.stop();
    server.join().expect("an orderly end");
    let empty = Server::start(&plan(kind, Vec::new()), OwnRecipe::default());
    assert!(matches!(empty, Err(StartError::Nobody)));
}

fn a_page_is_woken_by_another_thread(kind: Kind) {
    let elsewhere = Arc::<Elsewhere>::default();
    let recipe = OwnRecipe { elsewhere: Arc::clone(&elsewhere), ..OwnRecipe::default() };
    let stage = Script::on(kind).start_recipe(recipe);
    let mut visitor = stage.visitor();
    let mut wakers = Vec::new();
    for round in 0..3 {
        elsewhere.is_done.store(false, Ordering::Release);
        let before = elsewhere.polls();
        visitor.send(get("/elsewhere"));
        // Twice more by itself, when the server begins to look for who leaves. Then no more.
        wait("the page to wait", || elsewhere.polls() == before + 3);
        let waker = elsewhere.waker.lock().expect("a waker").clone().expect("a waker");
        if round > 0 {
            waker.wake_by_ref();
            wait("the page to be woken", || elsewhere.polls() == before + 4);
        }
        elsewhere.is_done.store(true, Ordering::Release);
        waker.wake_by_ref();
        assert_eq!(visitor.reply().text(), "done");
        wakers.push(waker);
    }
    drop(visitor);
    wakers.iter().for_each(Waker::wake_by_ref);
    assert_eq!(stage.get("/").text(), "done");
    stage.finish();
    wakers.into_iter().for_each(Waker::wake);
}

fn who_yields_keeps_nobody_waiting(kind: Kind) {
    for yields in ["/yields", "/gives-way"] {
        let stage = Script::on(kind).start_recipe(OwnRecipe::default());
        let mut yielding: Vec<Visitor> = (0..3).map(|_| stage.visitor()).collect();
        yielding.iter_mut().for_each(|visitor| visitor.send(get(yields)));
        stage.await_in_flight(3);
        assert_eq!(stage.get("/later").text(), "done");
        // One who leaves is missed.
        let left = yielding.pop().expect("a visitor");
        SockRef::from(left.stream()).set_linger(Some(Duration::ZERO)).expect("linger");
        drop(left);
        stage.await_in_flight(2);
        assert_eq!(stage.get("/enough").text(), "done");
        yielding.iter_mut().for_each(|visitor| assert_eq!(visitor.reply().text(), "done"));
        drop(yielding);
        stage.finish();
    }
}
