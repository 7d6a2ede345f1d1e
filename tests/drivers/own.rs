//! Services of one's own, as users of the library write them: what they get wrong, and what they
//! may rely on.

use std::future::pending;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::kind::Kind;
use ringpress::driver::timers::Timers;
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Request, Response, Service};

use super::stage::{Script, wait};
use super::visitor::get;

on_every_driver!(a_panic_in_the_end_of_a_task_ends_no_worker, a_panic_in_the_end_of_a_page_is_late);

/// Pages that do what their path says.
struct Own<D: Driver>(Timers<D>);

struct OwnRecipe;

impl Recipe for OwnRecipe {
    type Service<D: Driver> = Own<D>;

    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<Own<D>, String> {
        Ok(Own(timers.clone()))
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
            b"/later" => self.0.sleep(Duration::from_millis(5)).await,
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
    let mut stage = Script::on(kind).start_recipe(OwnRecipe);
    let address = stage.address();
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        assert_eq!(visitor.get("/panics-in-task").text(), "done");
    }
    assert_eq!(visitor.get("/later").text(), "done");
    assert_eq!(stage.get("/").text(), "done");
    assert_eq!(stage.server.look_after().restarted, 0);
    assert!(!stage.server.is_finished());
    // tokio drops a task that nobody can wake any more at its end only.
    if kind != Kind::TokioUring {
        wait("panics to be counted", || stage.count(|m| m.panics.get()) == 3);
    }
    drop(visitor);
    stage.finish();
    wait("the port to close", || TcpStream::connect(address).is_err());
}

fn a_panic_in_the_end_of_a_page_is_late(kind: Kind) {
    let script = Script::on(kind).bounds(|bounds| bounds.drain_timeout = Duration::from_millis(1));
    let stage = script.start_recipe(OwnRecipe);
    let address = stage.address();
    let mut visitor = stage.visitor();
    visitor.send(get("/panics-when-dropped"));
    stage.await_in_flight(1);
    stage.server.drain();
    stage.server.join().expect("an orderly end");
    wait("the port to close", || TcpStream::connect(address).is_err());
    assert!(visitor.at_end());
}
