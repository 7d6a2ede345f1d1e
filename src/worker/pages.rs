//! The pages of a site as a service.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::driver::timers::Timers;
use crate::driver::{Driver, stints};
use crate::http::{self, FieldLines, Framing, Version};
use crate::metrics::WorkerMetrics;
use crate::page::{self, Answer, Challenges, Notes, Pages, Redirect};
use crate::site::{Priority, Report, Site};
use crate::upstream::{Client, Directory, Seat};

use super::access::{Access, Sink};
use super::service::{Request, Response, Service};
use super::thread::Recipe;

/// Makes the pages of a site, for each worker its own.
pub struct SiteRecipe {
    /// The site.
    pub site: Site,
    /// Of the same site, for each worker its own, where they were made before the worker asks.
    pub replicas: Replicas,
    /// Where its upstreams are.
    pub directory: Directory,
    /// Makes request ids unique from one start of the server to the next.
    pub id_seed: u32,
    /// How many workers share what upstreams allow the whole server.
    pub workers: usize,
    /// Challenges of an ACME directory to answer, where the site has one.
    pub challenges: Option<Arc<Challenges>>,
    /// How visitors who come without TLS are sent to where it is spoken, if they are.
    pub redirect: Option<Redirect>,
    /// Where access records go, if the site wants any.
    pub access: Option<Sink>,
}

impl Recipe for SiteRecipe {
    type Service<D: Driver> = Pages<D>;

    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        metrics: &Arc<WorkerMetrics>,
        number: usize,
    ) -> Result<Pages<D>, String> {
        let site = self.replica(number)?;
        let client = Client::new(
            site.upstreams(),
            Arc::clone(&self.directory),
            self.seat(number),
            timers.clone(),
            Arc::clone(metrics),
        );
        Ok(self.pages(site, client, number))
    }

    fn remake<D: Driver>(
        &self,
        old: &Pages<D>,
        _: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        number: usize,
    ) -> Result<Pages<D>, String> {
        let site = self.replica(number)?;
        let directory = Arc::clone(&self.directory);
        let client = old.client().go_on(site.upstreams(), directory, self.seat(number));
        Ok(self.pages(site, client, number).going_on(old))
    }

    fn access<D: Driver>(&self, metrics: &Arc<WorkerMetrics>, number: usize) -> Option<Access> {
        let plan = self.site.server().access_log.as_ref()?;
        let seed = (u64::from(self.id_seed) << 32) | number as u64;
        let metrics = Arc::clone(metrics);
        Some(Access::new(plan, self.access.as_ref()?, (number, seed), metrics, D::now()))
    }

    fn housekeep<D: Driver>(&self, service: &Pages<D>) {
        service.client().sweep();
        service.report_failures();
    }
}

impl SiteRecipe {
    /// The site for one worker. Each has its own: what is counted in a shared one, as the values in
    /// its templates are, would be a cache line that all cores fight over.
    fn replica(&self, number: usize) -> Result<Site, String> {
        let made = self.replicas.take(number);
        made.map_or_else(|| self.site.replica().map_err(|report| report.to_string()), Ok)
    }

    fn seat(&self, number: usize) -> Seat {
        Seat { number, of: self.workers, seed: self.id_seed.into() }
    }

    fn pages<D: Driver>(&self, site: Site, client: Client<D>, number: usize) -> Pages<D> {
        // A worker's ids differ from another's in the upper half, a start's in both.
        let spread = u32::try_from(number).unwrap_or(u32::MAX).wrapping_mul(0x9e37_79b1);
        let pages = Pages::new(site, client, self.id_seed ^ spread);
        let pages = pages.with_challenges(self.challenges.clone());
        pages.redirecting(self.redirect.clone())
    }
}

/// Sites that were compiled elsewhere than on the loops that will serve them, which would stand
/// still meanwhile. Each is taken once, when its worker begins with it.
#[derive(Debug, Default)]
pub struct Replicas(Mutex<Vec<Option<Site>>>);

impl Replicas {
    /// One for each worker.
    ///
    /// # Errors
    /// None that loading the site did not have.
    pub fn make(site: &Site, workers: usize) -> Result<Self, Report> {
        let sites = (0..workers).map(|_| site.replica().map(Some)).collect::<Result<_, _>>()?;
        Ok(Self(Mutex::new(sites)))
    }

    fn take(&self, number: usize) -> Option<Site> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number)?.take()
    }
}

impl<D: Driver> Service for Pages<D> {
    const WAKERS_STAY: bool = true;

    fn wants_body(&self, request: &Request<'_>) -> bool {
        Pages::wants_body(self, &as_page_sees(request))
    }

    fn body_bytes_max(&self, request: &Request<'_>, usual: u64) -> u64 {
        Pages::body_bytes_max(self, &as_page_sees(request), usual)
    }

    fn opens_file(&self, request: &Request<'_>) -> bool {
        Pages::opens_file(self, &as_page_sees(request))
    }

    // Not an `async fn`: that would hold the request twice while the page waits.
    fn respond(&self, request: Request<'_>, response: &mut Response) -> impl Future<Output = ()> {
        let request = as_page_sees(&request);
        // Before all else that can be done with a request, a redirect to HTTPS above all: there may
        // be no certificate yet to go there with, and a directory asks by plain HTTP, at port 80.
        let is_answered = self
            .challenges(&request)
            .is_some_and(|open| open.answer(request.path, response.body().buffer()));
        if is_answered {
            response.content_type = "application/octet-stream";
        }
        async move {
            if is_answered {
                return;
            }
            match self.redirect(&request) {
                Some(Ok(answer)) => return fill(response, answer),
                Some(Err((status, reason))) => {
                    return Service::refuse(self, status, reason, response);
                }
                None => {}
            }
            response.notes = self.notes();
            let gathered = self.gather(&request, response.notes.as_deref()).await;
            // Nothing is made for a connection that has as much to send as it may; nor does it keep
            // others from being made, so that it may have to wait again after its turn has come.
            let _work = loop {
                response.room().await;
                let work = stints::begin::<D>().await;
                if response.has_room() {
                    break work;
                }
            };
            let notes = response.notes.take();
            let answer = self.press(&request, gathered, response.body().buffer(), notes.as_deref());
            fill(response, answer);
            if let Some(notes) = notes.as_deref().filter(|_| self.site().server().development) {
                time_it(response, notes);
            }
            response.notes = notes;
        }
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        let answer = Pages::refuse(self, status, reason, response.body().buffer());
        fill(response, answer);
    }

    fn has_priorities(&self) -> bool {
        self.site().has_priorities()
    }

    fn priority(&self, request: &Request<'_>) -> Priority {
        let path = http::path::normalize(request.span(request.head.path)).ok();
        let page = path.as_deref().and_then(|path| self.site().route(str::from_utf8(path).ok()?));
        page.map_or_else(Priority::default, |(page, _)| page.priority())
    }

    fn client(&self, request: &Request<'_>) -> IpAddr {
        as_page_sees(request).client(self.site().server())
    }

    fn is_secure(&self, request: &Request<'_>) -> bool {
        as_page_sees(request).is_secure(self.site().server())
    }

    fn request_id(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        self.push_id(&as_page_sees(request), out);
    }

    fn page_fields(&self) -> FieldLines<'_> {
        FieldLines::known(self.site().page_fields())
    }

    fn secure_fields(&self) -> FieldLines<'_> {
        FieldLines::known(self.site().secure_fields())
    }
}

/// Tells the browser what took how long: where a site is developed, as it tells what is inside.
pub fn time_it(response: &mut Response, notes: &Notes) {
    let timing = notes.server_timing();
    if !timing.is_empty() {
        response.fields.push(("Server-Timing", timing));
    }
}

/// A request as pages take it.
pub fn as_page_sees<'a>(request: &Request<'a>) -> page::Request<'a> {
    let head = request.head;
    page::Request {
        method: head.method,
        target: head.target,
        path: request.span(head.path),
        query: head.query.map_or(&[], |query| request.span(query)),
        host: head.host.unwrap_or_default(),
        headers: Some(&head.headers),
        bytes: request.bytes,
        body: request.body,
        lacks_length: head.version == Version::Http10 && head.body == Framing::None,
        peer: request.peer,
        secure: request.secure,
        number: request.number,
    }
}

/// Fills in what a page came out as, but for its body.
pub fn fill(response: &mut Response, answer: Answer) {
    response.status = answer.status;
    (response.content_type, response.is_of_html) = (answer.content_type, answer.is_of_html);
    response.etag = answer.etag;
    (response.coding, response.varies) = (answer.coding, answer.varies);
    response.passed = answer.passed;
    response.file = answer.file;
    if let Some(methods) = answer.allow {
        response.fields.push(("Allow", methods.allow().into_bytes()));
    }
    if let Some(seconds) = answer.retry_after_s {
        response.fields.push(("Retry-After", seconds.to_string().into_bytes()));
    }
}
