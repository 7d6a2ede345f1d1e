//! ringpress serves sites of pages over an API: a request comes in, the page's fetches go out to
//! an HTTP API, and their JSON becomes HTML through a template. One pinned event loop per CPU
//! core does all of it for the connections that core accepted.
//!
//! The map of the house, from low to high; imports only go down (`tests/tidy.rs` checks it):
//!
//! | layer | module | is |
//! |---|---|---|
//! | 0 | [`limits`], [`error`] | every bound with its unit; what can go wrong, and on whose side |
//! | 1 | [`http`] | HTTP/1.1, bytes in, values out: no IO, no clock |
//! | 1 | [`config`] | `site.toml` as written |
//! | 1 | [`driver`] | how a worker talks to the kernel: io_uring, epoll, simulated |
//! | 1 | [`metrics`] | counters that one thread writes and any may read |
//! | 1 | [`capacity`] | how many workers a load needs: a model, all figures |
//! | 2 | [`coding`] | packs bytes: zstd, Brotli, gzip |
//! | 2 | [`tls`] | TLS between a driver's stream and whoever reads and writes |
//! | 2 | [`press`] | from upstream bytes to HTML: JSON, templates, escaping |
//! | 2 | [`site`] | a site, compiled and immutable |
//! | 3 | [`upstream`] | a worker's HTTP client: addresses, pools, exchanges, policies |
//! | 4 | [`page`] | one request to one response: route, fetches, render |
//! | 5 | [`worker`] | a pinned thread and all it owns |
//! | 6 | [`control`], [`cli`] | the thread for what is slow or rare; the commands |
//!
//! # Pages in code
//!
//! A site's pages are files. Pages may be code as well: a [`Recipe`](worker::thread::Recipe) makes
//! a [`Service`](worker::Service) for each worker, which answers its requests. Drivers, bounds,
//! HTTP/2 and admission are the same for that as for a site.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use ringpress::control::server::{Plan, Server};
//! use ringpress::driver::Driver;
//! use ringpress::driver::kind::Choice;
//! use ringpress::driver::timers::Timers;
//! use ringpress::http::{FieldLines, Method};
//! use ringpress::metrics::WorkerMetrics;
//! use ringpress::site::{Site, Source};
//! use ringpress::upstream::{self, Addresses, Client, Directory, Seat};
//! use ringpress::worker::thread::Recipe;
//! use ringpress::worker::{Bounds, Request, Response, Service};
//!
//! /// What makes the pages of each worker. All of them share it.
//! struct ShopRecipe {
//!     site: Site,
//!     directory: Directory,
//! }
//!
//! /// The pages of one worker. They stay on its thread: there is no need for locks.
//! struct Shop<D: Driver> {
//!     api: Client<D>,
//!     timers: Timers<D>,
//! }
//!
//! impl Recipe for ShopRecipe {
//!     type Service<D: Driver> = Shop<D>;
//!
//!     fn make<D: Driver>(
//!         &self,
//!         timers: &Timers<D>,
//!         metrics: &Arc<WorkerMetrics>,
//!         number: usize,
//!     ) -> Result<Shop<D>, String> {
//!         let seat = Seat { number, of: 1, seed: 1 };
//!         let (directory, metrics) = (Arc::clone(&self.directory), Arc::clone(metrics));
//!         let timers = timers.clone();
//!         let api = Client::new(self.site.upstreams(), directory, seat, timers.clone(), metrics);
//!         Ok(Shop { api, timers })
//!     }
//!
//!     fn housekeep<D: Driver>(&self, shop: &Shop<D>) {
//!         shop.api.sweep();
//!     }
//! }
//!
//! impl<D: Driver> Service for Shop<D> {
//!     fn wants_body(&self, _: &Request<'_>) -> bool {
//!         false
//!     }
//!
//!     async fn respond(&self, request: Request<'_>, response: &mut Response) {
//!         match request.span(request.head.path) {
//!             b"/" => {
//!                 // A page has no deadline but the one it sets.
//!                 let front = self.front(response);
//!                 let made = self.timers.timeout(Duration::from_secs(5), front).await;
//!                 if !matches!(made, Ok(Some(()))) {
//!                     response.reset();
//!                     self.refuse(502, "The shop is closed for a moment.", response);
//!                 }
//!             }
//!             b"/home" => {
//!                 response.status = 308;
//!                 response.fields.push(("Location", b"/".to_vec()));
//!             }
//!             b"/state.json" => {
//!                 response.content_type = "application/json";
//!                 response.body().set(r#"{"open": true}"#);
//!             }
//!             _ => self.refuse(404, "There is no such page.", response),
//!         }
//!     }
//!
//!     fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
//!         response.status = status;
//!         response.content_type = "text/plain; charset=utf-8";
//!         response.body().set(reason);
//!     }
//! }
//!
//! impl<D: Driver> Shop<D> {
//!     async fn front(&self, response: &mut Response) -> Option<()> {
//!         let request = upstream::Request {
//!             upstream: 0,
//!             method: Method::Get,
//!             target: b"/teas/42",
//!             headers: FieldLines::new(b"Accept: application/json\r\n").ok()?,
//!             body: None,
//!             deadline: D::now() + Duration::from_secs(2),
//!         };
//!         let answer = self.api.fetch(request).await.ok()?;
//!         let tea: serde_json::Value = serde_json::from_slice(answer.body()).ok()?;
//!         let name = minijinja::HtmlEscape(tea.get("name")?.as_str()?);
//!         response.content_type = "text/html; charset=utf-8";
//!         response.body().set(format!("<!doctype html>\n<title>Tea</title>\n<h1>{name}</h1>\n"));
//!         self.api.recycle(answer);
//!         Some(())
//!     }
//! }
//!
//! # use std::io::{Read, Write};
//! # use std::net::{TcpListener, TcpStream};
//! # fn get(address: std::net::SocketAddr, target: &str) -> std::io::Result<String> {
//! #     let (mut stream, mut answer) = (TcpStream::connect(address)?, String::new());
//! #     write!(stream, "GET {target} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")?;
//! #     stream.read_to_string(&mut answer).map(|_| answer)
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let api = TcpListener::bind("127.0.0.1:0")?;
//! # let api_address = api.local_addr()?;
//! # std::thread::spawn(move || -> std::io::Result<()> {
//! #     let (mut stream, _) = api.accept()?;
//! #     let _ = stream.read(&mut [0; 1000])?;
//! #     let json = r#"{"name": "Earl Grey & <friends>"}"#;
//! #     write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}", json.len())
//! # });
//! // Upstreams and their policies are told as in any `site.toml`. That needs a page, too, which
//! // is one of the site, and not asked for here.
//! const SITE: &str = r#"
//!     [upstreams.api]
//!     url = "http://127.0.0.1:9000"
//!     max_connections = 100
//!     [[page]]
//!     path = "/"
//!     template = "front.html"
//! "#;
//! let files = &[("site.toml", SITE), ("front.html", "")];
//! let site = Site::load(&Source::Embedded { name: "shop", files })?;
//! // Addresses that are known; whoever looks a name up sets them later.
//! let directory: Directory = Arc::from([Addresses::new(vec![api_address])]);
//! let (driver, _) = Choice::Auto.resolve()?;
//! let listen = vec!["127.0.0.1:0".parse()?];
//! let bounds = Bounds::default();
//! let plan = Plan { listen, secure: None, cpus: vec![None], driver, bounds };
//! let server = Server::start(&plan, ShopRecipe { site, directory })?;
//! let address = server.addresses()[0];
//!
//! let front = get(address, "/")?;
//! assert!(front.ends_with("<h1>Earl Grey &amp; &lt;friends&gt;</h1>\n"), "{front}");
//! assert!(get(address, "/home")?.starts_with("HTTP/1.1 308 "));
//! assert!(get(address, "/state.json")?.ends_with(r#"{"open": true}"#));
//!
//! // A program of its own lives on instead, until a signal: see `control::life::live_simply`.
//! server.stop();
//! server.join()?;
//! # Ok(())
//! # }
//! ```

// An index or a slice that is out of bounds panics; where one can't be, the file says why. What
// comes from outside is asked for with `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

#[forbid(unsafe_code)]
pub mod capacity;
#[forbid(unsafe_code)]
pub mod cli;
#[forbid(unsafe_code)]
pub mod coding;
#[forbid(unsafe_code)]
pub mod config;
#[forbid(unsafe_code)]
pub mod control;
pub mod driver;
#[forbid(unsafe_code)]
pub mod error;
#[forbid(unsafe_code)]
pub mod http;
#[forbid(unsafe_code)]
pub mod limits;
#[forbid(unsafe_code)]
pub mod metrics;
#[forbid(unsafe_code)]
pub mod page;
#[forbid(unsafe_code)]
pub mod press;
#[forbid(unsafe_code)]
pub mod site;
#[forbid(unsafe_code)]
pub mod tls;
#[forbid(unsafe_code)]
pub mod upstream;
#[forbid(unsafe_code)]
pub mod worker;
