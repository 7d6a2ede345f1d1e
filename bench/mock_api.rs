//! The API that is measured against: one thread, tens of thousands in flight, bodies that differ by
//! id, an answer after a delay that can be changed while it runs.
//!
//! - `GET /users/{id}`: a user with ten items, about 1.5 KB.
//! - `GET /lists/{id}`: a list with the numbers of thirty items.
//! - `GET /items/{id}`: one item, about 0.2 KB.
//! - `GET /delay/{ms}`: from now on answers take so long (this one does not).
//! - `GET /size/{items}`: from now on a user has so many items.
//! - `GET /broken/{percent}`: from now on that share of the answers is broken, by chance: a status
//!   500, text that is no JSON, JSON that ends in the middle.
//! - `GET /count/0`: how many answers of the first three kinds there have been, as a number.
//!
//! `cargo run --release --example mock-api -- [--listen 127.0.0.1:9100] [--delay-ms 50] [--cpu 1]`

use std::cell::Cell;
use std::io::Write as _;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use ringpress::control::life::{self, Heeded};
use ringpress::control::server::{Plan, Server};
use ringpress::driver::Driver;
use ringpress::driver::kind::Choice;
use ringpress::driver::timers::Timers;
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Body, Bounds, Request, Response, Service};

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
    let signals = Heeded::catch()?;
    let (driver, _) = Choice::Auto.resolve()?;
    let bounds = Bounds { in_flight_max: 65_536, queue_target: None, ..Bounds::default() };
    let plan = Plan {
        listen: vec![arguments.listen],
        secure: None,
        cpus: vec![arguments.cpu],
        driver,
        bounds,
    };
    let recipe = MockRecipe { delay: Duration::from_millis(arguments.delay_ms) };
    let server = Server::start(&plan, recipe)?;
    println!("listening on http://{}", arguments.listen);
    Ok(life::live_simply(server, &signals)?)
}

struct MockRecipe {
    delay: Duration,
}

struct Mock<D: Driver> {
    delay: Cell<Duration>,
    /// Items of a user.
    items: Cell<u64>,
    /// Of a hundred answers.
    broken: Cell<u64>,
    chance: Cell<u64>,
    answers: Cell<u64>,
    driver: PhantomData<D>,
}

impl Recipe for MockRecipe {
    type Service<D: Driver> = Mock<D>;

    fn make<D: Driver>(
        &self,
        _: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<Mock<D>, String> {
        Ok(Mock {
            delay: Cell::new(self.delay),
            items: Cell::new(ITEMS),
            broken: Cell::new(0),
            chance: Cell::new(1),
            answers: Cell::new(0),
            driver: PhantomData,
        })
    }
}

impl<D: Driver> Service for Mock<D> {
    const WAKERS_STAY: bool = true;

    fn wants_body(&self, _: &Request<'_>) -> bool {
        false
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        let path = request.span(request.head.path);
        let mut parts = path.splitn(3, |byte| *byte == b'/').skip(1);
        let kind = parts.next().unwrap_or_default();
        let id = parts.next().and_then(|id| std::str::from_utf8(id).ok()?.parse::<u64>().ok());
        let Some(id) = id else { return self.refuse(404, "no such thing", response) };
        match kind {
            b"users" | b"lists" | b"items" => {}
            b"delay" => return tell(&self.delay, Duration::from_millis(id), response),
            b"size" => return tell(&self.items, id.min(ITEMS_MAX), response),
            b"broken" => return tell(&self.broken, id, response),
            b"count" => {
                response.content_type = "text/plain";
                // Writing into a body does not fail.
                let _ = write!(response.body(), "{}", self.answers.get());
                return;
            }
            _ => return self.refuse(404, "no such thing", response),
        }
        if !self.delay.get().is_zero() {
            // The driver's own timers, to a millisecond. Ours may be late by more (`TIMER_TICK`),
            // and let go all at once what came within a tick.
            D::sleep(self.delay.get()).await;
        }
        self.answers.set(self.answers.get() + 1);
        response.content_type = "application/json";
        match kind {
            b"users" => user(id, self.items.get(), response.body()),
            b"lists" => list(id, response.body()),
            _ => item(id, response.body()),
        }
        if self.broken.get() > 0 && self.random_below(100) < self.broken.get() {
            self.spoil(response);
        }
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.status = status;
        response.content_type = "text/plain";
        response.body().extend_from_slice(reason.as_bytes());
    }
}

impl<D: Driver> Mock<D> {
    /// Makes an answer one of those that nobody can use.
    fn spoil(&self, response: &mut Response) {
        match self.random_below(3) {
            0 => response.status = 500,
            1 => {
                response.reset();
                response.content_type = "text/html";
                response.body().extend_from_slice(b"<h1>It works!</h1>");
            }
            _ => {
                let body = response.body();
                body.truncate(body.len() - body.len() / 4);
            }
        }
    }

    /// The same numbers in every run (xorshift64*).
    fn random_below(&self, bound: u64) -> u64 {
        let mut state = self.chance.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.chance.set(state);
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

/// Does what a control request says.
fn tell<T>(what: &Cell<T>, value: T, response: &mut Response) {
    what.set(value);
    response.status = 204;
}

/// Items of a user, unless told otherwise.
const ITEMS: u64 = 10;
const ITEMS_MAX: u64 = 10_000;

/// A user and items, with characters that need escaping in JSON and in HTML.
fn user(id: u64, items: u64, out: &mut Body) {
    // Writing into a body does not fail.
    let _ = write!(
        out,
        concat!(
            r#"{{"title":"Letters & numbers of user {id}","user":{{"id":{id},"#,
            r#""name":"Ann <{id}> O\"Neil","city":"Malm\u00f6","#,
            r#""bio":"Collects \"ampersands\" & other marks; writes <b>too</b> much."}},"items":["#
        ),
        id = id
    );
    for n in 0..items {
        if n > 0 {
            out.push(b',');
        }
        item(id.wrapping_mul(10).wrapping_add(n), out);
    }
    out.extend_from_slice(b"]}");
}

/// The numbers of thirty items: what a front page begins with.
fn list(id: u64, out: &mut Body) {
    let _ = write!(out, r#"{{"id":{id},"title":"List {id} & its <things>","items":["#);
    for n in 0..30 {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}", id.wrapping_mul(100).wrapping_add(n));
    }
    out.extend_from_slice(b"]}");
}

fn item(id: u64, out: &mut Body) {
    let (score, starred) = (id % 997, id.is_multiple_of(3));
    let _ = write!(
        out,
        concat!(
            r#"{{"id":{id},"title":"Item {id}: tea & <i>cake</i>","#,
            r#""note":"A \"note\" that says 1 < 2 & 3 > 2, twice.","#,
            r#""score":{score},"starred":{starred}}}"#
        ),
        id = id,
        score = score,
        starred = starred
    );
}
