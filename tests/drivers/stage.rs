//! A site in a folder, a server for it on one driver, and a scripted upstream behind it.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringpress::control::access_log::AccessLog;
use ringpress::control::certificates::Keeper;
use ringpress::control::server::{Plan, Secure, Server};
use ringpress::driver::kind::Kind;
use ringpress::metrics::WorkerMetrics;
use ringpress::page::{Challenges, Redirect};
use ringpress::site::{Site, Source};
use ringpress::tls::ServerTls;
use ringpress::upstream::Addresses;
use ringpress::worker::Bounds;
use ringpress::worker::pages::{Replicas, SiteRecipe};
use ringpress::worker::thread::Recipe;

use super::upstream::Upstream;
use super::visitor::{PATIENCE, Reply, Visitor};

/// Runs a scenario on a driver, or says by name that it cannot and why.
pub(crate) fn run(kind: Kind, scenario: fn(Kind)) {
    match kind.self_test() {
        Ok(()) => scenario(kind),
        // Not through `eprintln!`, which the test harness keeps to itself when a test passes.
        Err(error) => {
            writeln!(io::stderr(), "skipped: {kind}: {error}").expect("standard error");
        }
    }
}

/// A site as a scenario writes it.
pub(crate) struct Script {
    kind: Kind,
    workers: usize,
    bounds: Bounds,
    server: &'static str,
    policy: String,
    url: Option<&'static str>,
    files: Vec<(&'static str, String)>,
    pages: Vec<(&'static str, &'static str, &'static str)>,
    challenges: Option<Arc<Challenges>>,
    access_log: String,
}

impl Script {
    pub(crate) fn on(kind: Kind) -> Self {
        Self {
            kind,
            workers: 1,
            // A machine that is busy with other things is no load of the server's.
            bounds: Bounds { queue_target: None, ..Bounds::default() },
            server: "",
            policy: String::new(),
            url: None,
            files: Vec::new(),
            pages: Vec::new(),
            challenges: None,
            access_log: String::new(),
        }
    }

    /// How many workers serve.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Bounds other than the usual ones.
    pub(crate) fn bounds(mut self, set: impl FnOnce(&mut Bounds)) -> Self {
        set(&mut self.bounds);
        self
    }

    /// Lines of `[server]` that are about pages.
    pub(crate) fn server(mut self, lines: &'static str) -> Self {
        self.server = lines;
        self
    }

    /// Lines of `[server.access_log]`.
    pub(crate) fn access_log(mut self, lines: impl Into<String>) -> Self {
        self.access_log = lines.into();
        self
    }

    /// Lines of `[upstreams.api]`.
    pub(crate) fn policy(mut self, lines: impl Into<String>) -> Self {
        self.policy = lines.into();
        self
    }

    /// Another URL than that of the upstream's address, which is asked all the same.
    pub(crate) fn url(mut self, url: &'static str) -> Self {
        self.url = Some(url);
        self
    }

    /// One more file of the site.
    pub(crate) fn file(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    /// Challenges of an ACME directory to answer.
    pub(crate) fn challenges(mut self, challenges: &Arc<Challenges>) -> Self {
        self.challenges = Some(Arc::clone(challenges));
        self
    }

    /// A page: its path, the rest of its table, and its template.
    pub(crate) fn page(
        mut self,
        path: &'static str,
        rest: &'static str,
        template: &'static str,
    ) -> Self {
        self.pages.push((path, rest, template));
        self
    }

    /// The page of one user, whose fetch most scenarios are about.
    pub(crate) fn user_page(self) -> Self {
        self.page(
            "/users/{id}",
            "[page.fetch]\nuser = { from = 'api', path = '/users/{{ path.id }}' }",
            "<p>{{ user.name }}</p>",
        )
    }

    /// A page without a fetch.
    pub(crate) fn plain_page(self) -> Self {
        self.page("/plain", "", "<p>plain</p>")
    }

    /// Starts the server in front of an upstream.
    pub(crate) fn start(self, upstream: Upstream) -> Stage {
        let address = upstream.address();
        let mut stage = self.start_before(address);
        stage.upstream = Some(upstream);
        stage
    }

    /// Starts the server in front of an address where something may listen, or nothing yet.
    pub(crate) fn start_before(self, upstream: SocketAddr) -> Stage {
        self.start_at(&[upstream])
    }

    /// Loads the site, whose upstream is at this address.
    fn load(&self, upstream: SocketAddr) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, policy) = (self.server, &self.policy);
        let url = self.url.map_or_else(|| format!("http://{upstream}"), str::to_owned);
        let mut text = format!("[server]\n{server}\n[upstreams.api]\nurl = '{url}'\n{policy}\n");
        if !self.access_log.is_empty() {
            text += &format!("[server.access_log]\n{}\n", self.access_log);
        }
        for (name, text) in &self.files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
        for (number, (path, rest, template)) in self.pages.iter().enumerate() {
            let file = format!("page{number}.html");
            text += &format!("[[page]]\npath = '{path}'\ntemplate = '{file}'\n{rest}\n");
            fs::write(folder.path().join(file), template).expect("a template");
        }
        fs::write(folder.path().join("site.toml"), text).expect("a site file");
        let site = Site::load(&Source::Folder(folder.path().to_owned()));
        site.unwrap_or_else(|report| panic!("{report}"))
    }

    /// What workers make this site from, for a server that serves another one now.
    pub(crate) fn recipe(self, upstream: SocketAddr) -> SiteRecipe {
        SiteRecipe {
            site: self.load(upstream),
            replicas: Replicas::default(),
            directory: Arc::from([Addresses::new(vec![upstream])]),
            id_seed: 1,
            workers: self.workers,
            redirect: None,
            challenges: None,
            access: None,
        }
    }

    /// Starts the server in front of an upstream with several addresses.
    pub(crate) fn start_at(self, upstreams: &[SocketAddr]) -> Stage {
        let site = self.load(upstreams[0]);
        let directory = Arc::from([Addresses::new(upstreams.to_vec())]);
        let (workers, challenges) = (self.workers, self.challenges.clone());
        let keeper = site.secure().map(|secure| {
            Keeper::start(secure.files.clone(), secure.http2)
                .unwrap_or_else(|error| panic!("{error}"))
        });
        let port = site.secure().and_then(|secure| secure.redirect_port);
        let tls = keeper.as_ref().map(|(_, tls)| tls.clone());
        let redirect = tls.zip(port).map(|(tls, port)| Redirect { tls, port });
        let log = site.server().access_log.as_ref();
        let log = log.map(|plan| AccessLog::start(plan, site.folder(), workers).expect("a log"));
        let access = log.as_ref().map(AccessLog::sink);
        let recipe = SiteRecipe {
            site,
            replicas: Replicas::default(),
            directory,
            id_seed: 1,
            workers,
            redirect,
            challenges,
            access,
        };
        Stage { log, ..self.start_with(recipe, keeper) }
    }

    /// Starts a server for something else than a site.
    pub(crate) fn start_recipe(self, recipe: impl Recipe) -> Stage {
        self.start_with(recipe, None)
    }

    fn start_with(self, recipe: impl Recipe, keeper: Option<(Keeper, ServerTls)>) -> Stage {
        let (keeper, tls) = keeper.unzip();
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let plan = Plan {
            secure: tls.map(|tls| Secure { listen, tls }),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            cpus: vec![None; self.workers],
            driver: self.kind,
            bounds: self.bounds,
        };
        let server = Server::start(&plan, recipe).expect("a server");
        Stage { server, upstream: None, keeper, log: None }
    }
}

/// A server that runs, and what is behind it.
pub(crate) struct Stage {
    pub(crate) server: Server,
    upstream: Option<Upstream>,
    keeper: Option<Keeper>,
    /// Ends after the server, when this is dropped.
    pub(crate) log: Option<AccessLog>,
}

impl Stage {
    /// Where it speaks TLS.
    pub(crate) fn secure_address(&self) -> SocketAddr {
        self.server.secure_addresses()[0]
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// How often the certificates were looked at.
    pub(crate) fn looks(&self) -> u64 {
        self.keeper.as_ref().expect("certificates").looks()
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        self.upstream.as_ref().expect("an upstream")
    }

    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::to(self.address())
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Reply {
        self.visitor().get(target)
    }

    /// A counter, of all workers together.
    pub(crate) fn count(&self, counter: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.server.metrics().map(counter).sum()
    }

    /// Waits until so many pages are in flight.
    pub(crate) fn await_in_flight(&self, pages: u64) {
        wait("pages in flight", || self.count(|m| m.in_flight.get()) == pages);
    }

    /// Waits until so many responses are counted, which is after the visitor has them.
    pub(crate) fn await_responses(&self, responses: u64) {
        wait("responses to be counted", || self.count(|m| m.responses.get()) >= responses);
        assert_eq!(self.count(|m| m.responses.get()), responses);
    }

    /// Ends a scenario: once all visitors are gone nothing is left over, all that was begun was
    /// ended in one way and counted as that, and the server stops when it is told to.
    pub(crate) fn finish(mut self) {
        drop(self.keeper.take());
        wait("connections to end", || self.count(|m| m.connections.get()) == 0);
        self.assert_balance();
        self.server.stop();
        self.server.join().expect("an orderly end");
        drop(self.log);
    }

    pub(crate) fn assert_balance(&self) {
        assert_eq!(self.count(|m| m.in_flight.get()), 0, "pages in flight");
        assert_eq!(
            self.count(|m| m.requests.get()),
            self.count(|m| m.responses.get() + m.requests_aborted.get()),
            "requests: answered and aborted"
        );
        assert_eq!(
            self.count(|m| m.upstream_exchanges.get()),
            self.count(|m| {
                m.upstream_responses.get() + m.upstream_errors.get() + m.upstream_cancelled.get()
            }),
            "exchanges: whole, failed and cancelled"
        );
    }
}

/// Waits until something is so, but not for ever.
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
