//! The pages of the site as it is now, and for each browser that shows one, what is new.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::driver::timers::Timers;
use crate::driver::{Driver, stints};
use crate::http::push_field;
use crate::limits::RESPONSE_HEAD_ROOM;
use crate::limits::authoring::{NEWS_LOOK, NEWS_WAIT, NEWS_WAITERS_MAX};
use crate::metrics::WorkerMetrics;
use crate::page::{Notes, Pages};
use crate::upstream::{Client, Seat};
use crate::worker::pages::{as_page_sees, fill, time_it};
use crate::worker::thread::Recipe;
use crate::worker::{Request, Response, Service};

use super::inject::{self, NEWS, inject};
use super::stage::{Stage, State, Trouble};
use super::told::Told;
use super::{is_own_host, policy};

/// Makes the service of a worker.
pub(super) struct DevRecipe {
    stage: Arc<Stage>,
    hash: String,
}

/// What a worker serves.
pub(super) struct DevService<D: Driver> {
    stage: Arc<Stage>,
    hash: String,
    timers: Timers<D>,
    metrics: Arc<WorkerMetrics>,
    /// The pages of the site that it served last.
    cast: RefCell<Option<Rc<Cast<D>>>>,
    /// Browsers that wait for what is new.
    waiting: Cell<usize>,
}

/// The pages of one state of the site. Requests that began with them end with them.
struct Cast<D: Driver> {
    number: u64,
    pages: Pages<D>,
    /// The fields of all their HTML.
    fields: Vec<u8>,
}

impl DevRecipe {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        Self { stage, hash: inject::hash() }
    }
}

impl Recipe for DevRecipe {
    type Service<D: Driver> = DevService<D>;

    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        metrics: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<DevService<D>, String> {
        Ok(DevService {
            stage: Arc::clone(&self.stage),
            hash: self.hash.clone(),
            timers: timers.clone(),
            metrics: Arc::clone(metrics),
            cast: RefCell::new(None),
            waiting: Cell::new(0),
        })
    }

    fn housekeep<D: Driver>(&self, service: &DevService<D>) {
        if let Some(cast) = service.cast() {
            cast.pages.client().sweep();
            cast.pages.report_failures();
        }
    }
}

impl<D: Driver> DevService<D> {
    /// The pages of the last site that was fine, if there was one.
    fn cast(&self) -> Option<Rc<Cast<D>>> {
        let good = self.stage.now().good.clone()?;
        let mut cast = self.cast.borrow_mut();
        if cast.as_ref().is_none_or(|cast| cast.number != good.number) {
            match good.site.replica() {
                Ok(site) => {
                    let fields = policy::allow(site.page_fields(), &self.hash);
                    let client = Client::new(
                        site.upstreams(),
                        Arc::clone(&good.directory),
                        Seat::ALONE,
                        self.timers.clone(),
                        Arc::clone(&self.metrics),
                    );
                    let pages = Pages::new(site, client, std::process::id());
                    *cast = Some(Rc::new(Cast { number: good.number, pages, fields }));
                }
                Err(report) => tracing::error!("{report}"),
            }
        }
        cast.clone()
    }

    /// Answers with a page of the site.
    async fn page(&self, cast: &Cast<D>, request: &Request<'_>, response: &mut Response) {
        let page_request = as_page_sees(request);
        let notes = Notes::in_full();
        let gathered = cast.pages.gather(&page_request, Some(&notes)).await;
        let _work = stints::begin::<D>().await;
        let answer =
            cast.pages.press(&page_request, gathered, response.body().buffer(), Some(&notes));
        let is_file = answer.is_file;
        fill(response, answer);
        time_it(response, &notes);
        if !response.content_type.starts_with("text/html") {
            return;
        }
        response.lines.extend_from_slice(&cast.fields);
        if is_file {
            // It may be packed, or a part; it goes out as it is.
            return;
        }
        let _ = push_field(&mut response.lines, "Cache-Control", b"no-store");
        if is_own_host(page_request.host()) {
            let target = String::from_utf8_lossy(page_request.target());
            let asked = format!("{} {target}", page_request.method.as_str());
            let (site, files) = (cast.pages.site(), self.stage.files());
            let trace = notes.into_trace().unwrap_or_default();
            let told = Told::of_page(&asked, &trace, site, files);
            let told = told.map(|told| told.json());
            inject(response.body().buffer(), RESPONSE_HEAD_ROOM, cast.number, told.as_deref());
        }
    }

    /// Answers where no site has been fine yet. Why is told on this machine alone: the lines of
    /// files that are shown may hold what is nobody else's business.
    fn no_site(&self, state: &State, host: &[u8], response: &mut Response) {
        response.status = 500;
        response.content_type = "text/html; charset=utf-8";
        let policy = format!("default-src 'none'; script-src {}; connect-src 'self'", self.hash);
        let _ = push_field(&mut response.lines, "Content-Security-Policy", policy.as_bytes());
        let _ = push_field(&mut response.lines, "Cache-Control", b"no-store");
        let is_own = is_own_host(host);
        let trouble = state.trouble.as_ref().map(|trouble| trouble.text.as_str());
        let text = match is_own {
            true => trouble.unwrap_or_default(),
            false => "The site does not load. Why is told to browsers on this machine.",
        };
        let text = minijinja::HtmlEscape(text);
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>The site does not load</title>\n<body>\n<pre>{text}</pre>\n</body>\n</html>\n"
        );
        response.body().extend_from_slice(page.as_bytes());
        if is_own {
            // The number before, so that the browser is told at once.
            inject(response.body().buffer(), RESPONSE_HEAD_ROOM, state.number - 1, None);
        }
    }

    /// Tells a browser what is new since it has seen a state, as soon as there is something.
    async fn tell(&self, seen: &[u8], response: &mut Response) {
        let until = self.timers.now() + NEWS_WAIT;
        loop {
            let state = self.stage.now();
            let number = state.number.to_string();
            if number.as_bytes() != seen {
                let told = state.trouble.as_deref().map(|Trouble { told, .. }| told.json());
                let told = told.as_deref().unwrap_or("null");
                let news = format!("{{\"number\":\"{number}\",\"told\":{told}}}");
                response.content_type = "application/json";
                response.body().extend_from_slice(news.as_bytes());
                return;
            }
            drop(state);
            if self.timers.now() >= until {
                response.status = 204;
                return;
            }
            self.timers.sleep(NEWS_LOOK).await;
        }
    }

    async fn news(&self, request: &Request<'_>, response: &mut Response) {
        let _ = push_field(&mut response.lines, "Cache-Control", b"no-store");
        let _ = push_field(&mut response.lines, "X-Content-Type-Options", b"nosniff");
        if !is_own_host(host_of(request)) {
            return self.refuse(421, "this is for browsers on this machine", response);
        }
        let Some(_waiter) = Waiter::new(&self.waiting) else {
            return self.refuse(503, "too many browsers wait already", response);
        };
        let query = request.head.query.map_or(&[][..], |query| request.span(query));
        self.tell(query.strip_prefix(b"seen=").unwrap_or_default(), response).await;
    }
}

/// The name that a request has come by.
fn host_of<'r>(request: &'r Request<'_>) -> &'r [u8] {
    request.head.host.map_or(&[], |host| request.span(host))
}

/// One that waits; counted until it is dropped.
struct Waiter<'a>(&'a Cell<usize>);

impl<'a> Waiter<'a> {
    fn new(count: &'a Cell<usize>) -> Option<Self> {
        (count.get() < NEWS_WAITERS_MAX).then(|| count.set(count.get() + 1))?;
        Some(Self(count))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<D: Driver> Service for DevService<D> {
    const WAKERS_STAY: bool = true;

    fn wants_body(&self, request: &Request<'_>) -> bool {
        self.cast().is_some_and(|cast| cast.pages.wants_body(&as_page_sees(request)))
    }

    fn body_bytes_max(&self, request: &Request<'_>, usual: u64) -> u64 {
        let of = |cast: Rc<Cast<D>>| cast.pages.body_bytes_max(&as_page_sees(request), usual);
        self.cast().map_or(usual, of)
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        if request.span(request.head.path) == NEWS {
            return self.news(&request, response).await;
        }
        match self.cast() {
            Some(cast) => self.page(&cast, &request, response).await,
            None => self.no_site(&self.stage.now(), host_of(&request), response),
        }
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        match self.cast() {
            Some(cast) => {
                let answer = cast.pages.refuse(status, reason, response.body().buffer());
                fill(response, answer);
                response.lines.extend_from_slice(&cast.fields);
            }
            None => {
                response.status = status;
                response.content_type = "text/plain; charset=utf-8";
                response.body().extend_from_slice(reason.as_bytes());
            }
        }
    }

    fn client(&self, request: &Request<'_>) -> IpAddr {
        let client = |cast: Rc<Cast<D>>| as_page_sees(request).client(cast.pages.site().server());
        self.cast().map_or_else(|| request.peer.ip().to_canonical(), client)
    }
}
