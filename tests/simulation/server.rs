//! The server under test: a worker with the pages of a site, as `ringpress serve` makes it.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::driver::timers::Timers;
use ringpress::http::{FieldLines, Method};
use ringpress::metrics::WorkerMetrics;
use ringpress::site::{Site, Source};
use ringpress::upstream::{Addresses, Client, Directory, FetchError, Request, Response};
use ringpress::worker::pages::{Replicas, SiteRecipe};
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Bounds, Orders, Worker};

/// Where the server listens.
pub(crate) const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// A server in the world of this run.
pub(crate) struct Server {
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) orders: Rc<Orders>,
    /// When it ended, in the run's time.
    pub(crate) ended: Rc<Cell<Option<Duration>>>,
    /// Where its upstreams are, which a test may change.
    pub(crate) directory: Directory,
    client: Client<Sim>,
}

impl Server {
    /// Starts serving a site whose upstreams, in its order, are at these addresses.
    pub(crate) fn start(source: &Source, upstreams: &[&[SocketAddr]], bounds: Bounds) -> Self {
        let site = Site::load(source).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(site.upstreams().len(), upstreams.len());
        let directory = upstreams.iter().map(|addresses| Addresses::new(addresses.to_vec()));
        let directory: Directory = directory.collect();
        let recipe = SiteRecipe {
            site,
            replicas: Replicas::default(),
            directory: Arc::clone(&directory),
            id_seed: 1,
            workers: 1,
            challenges: None,
            redirect: None,
            access: None,
        };
        let timers = Timers::<Sim>::start();
        let metrics = Arc::<WorkerMetrics>::default();
        let pages = recipe.make::<Sim>(&timers, &metrics, 0).unwrap();
        let client = pages.client().clone();
        let worker = Worker::new(pages, bounds, Arc::clone(&metrics), timers);
        let listener = Sim::bind(SERVER).unwrap();
        let (orders, ended) = (Rc::default(), Rc::default());
        let server = Self { metrics, orders, ended, directory, client };
        let (orders, ended) = (Rc::clone(&server.orders), Rc::clone(&server.ended));
        Sim::spawn(async move {
            let housekeep = || recipe.housekeep(&*worker.service());
            worker.serve(vec![(listener, None)], &orders, housekeep).await;
            ended.set(Some(Sim::elapsed()));
        });
        server
    }

    /// Has the worker's client fetch from the first upstream.
    pub(crate) async fn fetch(&self, target: &str) -> Result<Response, FetchError> {
        let deadline = Sim::now() + Duration::from_secs(5);
        let (target, headers) = (target.as_bytes(), FieldLines::NONE);
        let (method, body) = (Method::Get, None);
        let request = Request { upstream: 0, method, target, headers, body, deadline };
        self.client.fetch(request).await
    }

    /// Asserts that so many exchanges were begun and have ended, each counted once.
    #[track_caller]
    pub(crate) fn assert_exchanges(&self, expected: u64) {
        let of = &self.metrics;
        assert_eq!(of.upstream_exchanges.get(), expected);
        let ended = of.upstream_responses.get() + of.upstream_errors.get();
        assert_eq!(ended + of.upstream_cancelled.get(), expected);
    }

    /// Asserts that what was begun has ended, and was counted once. Of connections to upstreams
    /// only those are left that wait to be reused.
    #[track_caller]
    pub(crate) fn assert_balanced(&self) {
        let of = &self.metrics;
        assert_eq!(of.panics.get(), 0);
        assert_eq!(of.connections.get(), 0);
        assert_eq!(of.in_flight.get(), 0);
        assert_eq!(of.requests.get(), of.responses.get() + of.requests_aborted.get());
        self.assert_exchanges(of.upstream_exchanges.get());
    }
}

/// A site of one page, `/item/{id}`, with one upstream; `policy` and `page` are further lines of
/// their tables.
pub(crate) fn item_site(policy: &str, page: &str) -> Source {
    let text = format!(
        "[upstreams.api]\nurl = 'http://api.test'\n{policy}\n\
         [[page]]\npath = '/item/{{id}}'\ntemplate = 'item.html'\n{page}\n\
         [page.fetch]\nitem = {{ from = 'api', path = '/item/{{{{ path.id }}}}' }}\n"
    );
    // A site is read for as long as the program runs, and these are small.
    let text: &'static str = Box::leak(text.into_boxed_str());
    let files = [("site.toml", text), ("item.html", "token={{ item.token }};{{ item.filler }}")];
    Source::Embedded { name: "item", files: Box::leak(Box::new(files)) }
}

/// A site of pages as they are written, with one upstream and the template `page.html`.
pub(crate) fn site_of(pages: &str, template: &'static str) -> Source {
    let text = format!("{pages}\n[upstreams.api]\nurl = 'http://api.test'\n");
    let text: &'static str = Box::leak(text.into_boxed_str());
    let files = [("site.toml", text), ("page.html", template)];
    Source::Embedded { name: "site", files: Box::leak(Box::new(files)) }
}

/// A run on a perfect network, which ends well.
pub(crate) fn run<F: Future>(main: impl FnOnce() -> F) -> F::Output {
    run_with(Faults::none(), main)
}

/// A run on a network of this kind.
pub(crate) fn run_with<F: Future>(faults: Faults, main: impl FnOnce() -> F) -> F::Output {
    Sim::run_seeded(1, faults, main).unwrap()
}

/// Asserts that a time was waited for: not less, and not much more.
#[track_caller]
pub(crate) fn assert_took(took: Duration, expected: Duration) {
    assert!(took >= expected && took <= expected + SLACK, "{took:?} instead of {expected:?}");
}

/// What timers and the worker's housekeeping may be late by, together.
pub(crate) const SLACK: Duration = Duration::from_millis(150);
