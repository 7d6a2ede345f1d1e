//! The API that is measured against: one thread, tens of thousands in flight, a body that differs
//! by id, an answer after a delay. `GET /users/{id}`; everything else is 404.
//!
//! `cargo run --release --example mock-api -- [--listen 127.0.0.1:9100] [--delay 50ms] [--cpu 1]`

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use ringpress::control::life::{self, EndSignals};
use ringpress::control::server::{Plan, Server};
use ringpress::driver::Driver;
use ringpress::driver::kind::Choice;
use ringpress::driver::timers::Timers;
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Bounds, Request, Response, Service};

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// How long an answer takes, milliseconds
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    #[arg(long)]
    cpu: Option<usize>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let signals = EndSignals::catch()?;
    let (driver, _) = Choice::Auto.resolve()?;
    let bounds = Bounds { in_flight_max: 65_536, ..Bounds::default() };
    let plan = Plan { listen: vec![arguments.listen], cpus: vec![arguments.cpu], driver, bounds };
    let recipe = MockRecipe { delay: Duration::from_millis(arguments.delay_ms) };
    let server = Server::start(&plan, recipe)?;
    println!("listening on http://{}", arguments.listen);
    Ok(life::live(server, &signals)?)
}

struct MockRecipe {
    delay: Duration,
}

struct Mock<D: Driver> {
    delay: Duration,
    timers: Timers<D>,
}

impl Recipe for MockRecipe {
    type Service<D: Driver> = Mock<D>;

    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<Mock<D>, String> {
        Ok(Mock { delay: self.delay, timers: timers.clone() })
    }
}

impl<D: Driver> Service for Mock<D> {
    fn wants_body(&self, _: &Request<'_>) -> bool {
        false
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        if !self.delay.is_zero() {
            self.timers.sleep(self.delay).await;
        }
        let path = request.span(request.head.path);
        let id = path.strip_prefix(b"/users/").and_then(|id| std::str::from_utf8(id).ok());
        let Some(id) = id.and_then(|id| id.parse::<u64>().ok()) else {
            return self.refuse(404, "no such user", response);
        };
        response.content_type = "application/json".into();
        user(id, response.body());
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.status = status;
        response.content_type = "text/plain".into();
        response.body().extend_from_slice(reason.as_bytes());
    }
}

/// A user and ten items, about 1.5 KB, with characters that need escaping in JSON and in HTML.
fn user(id: u64, out: &mut Vec<u8>) {
    // Writing into a Vec does not fail.
    let _ = write!(
        out,
        r#"{{"title":"Letters & numbers of user {id}","user":{{"id":{id},"name":"Ann <{id}> O\"Neil","city":"Malm\u00f6","bio":"Collects \"ampersands\" & other marks; writes <b>too</b> much."}},"items":["#
    );
    for n in 0..10_u64 {
        let item = id.wrapping_mul(10) + n;
        let comma = if n == 0 { "" } else { "," };
        let (score, starred) = (item % 997, item.is_multiple_of(3));
        let _ = write!(
            out,
            r#"{comma}{{"id":{item},"title":"Item {item}: tea & <i>cake</i>","note":"A \"note\" that says 1 < 2 & 3 > 2, twice.","score":{score},"starred":{starred}}}"#
        );
    }
    out.extend_from_slice(b"]}");
}
