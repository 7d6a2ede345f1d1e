//! One request to one response: route, fetch, render.
//!
//! Owns the order of things within a page, and what its failures mean to the visitor. Refuses
//! half a page: what goes out is whole, or an error page.

mod answer;
mod body;
mod cache;
mod challenges;
mod counts;
mod execution;
mod failed;
mod failures;
mod fetch;
mod forms;
mod fragments;
mod memo;
mod notes;
mod packing;
mod redirect;
mod request;
mod said;
mod statics;
mod ties;
mod trace;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::driver::file_body::FileBody;
use crate::error::{PageError, PageErrorKind};
use crate::http::{self, Coding, EntityTag, Method, Methods};
use crate::site::{Context, Inputs, Node, Page, Site};
use crate::upstream::Client;

pub use challenges::Challenges;
pub use notes::{LentNotes, Names, Noted, Notes};
pub use redirect::Redirect;
pub use request::Request;
pub use trace::{Failure, Level, Step, Trace};

use cache::FetchCache;
use counts::{Begun, Counts};
use execution::Execution;
use failures::Failures;
use fragments::Composed;
use memo::Memo;
use notes::NotesKept;
use packing::{Kept, Packing};
use statics::{Served, Statics, Wanted};
use ties::Ties;

/// The pages of a site, served on one worker.
pub struct Pages<D: Driver> {
    site: Site,
    client: Client<D>,
    memo: Rc<Memo>,
    /// How pages are packed, if they are.
    packing: Option<Rc<Packing>>,
    /// Answers that are kept, if any fetch asks for it.
    cache: Option<Rc<FetchCache<D>>>,
    failures: RefCell<Failures>,
    /// What is counted of each page.
    counts: Counts,
    /// Where what is noted of pages comes from, and their names, if anybody wants to know.
    noting: Option<(NotesKept, Vec<Rc<Names>>)>,
    /// Static files, if the site has any.
    statics: Option<Statics>,
    /// Makes request ids unique beyond this worker.
    id_prefix: u32,
    /// Challenges of an ACME directory, if the site has one.
    challenges: Option<Arc<Challenges>>,
    /// Where visitors are sent to who come without TLS, if they are.
    redirect: Option<Redirect>,
}

/// What a page came out as; its body has been appended to the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status (RFC 9110 section 15).
    pub status: u16,
    /// The media type of the body; empty where there is none.
    pub content_type: &'static str,
    /// Whether it says of HTML that its reader has it (304): all HTML has fields that belong to it.
    pub is_of_html: bool,
    /// The methods to name: Allow (RFC 9110 section 10.2.1).
    pub allow: Option<Methods>,
    /// After how many seconds the visitor may come back: Retry-After (RFC 9110 section 10.2.3).
    pub retry_after_s: Option<u8>,
    /// What tells these bytes from any others of this page: ETag (RFC 9110 section 8.8.3).
    pub etag: Option<EntityTag>,
    /// How the body is packed.
    pub coding: Coding,
    /// Whether readers who take other codings may get other bytes: Vary (RFC 9110 section 12.5.5).
    pub varies: bool,
    /// Whether there may be something in it that is its reader's alone.
    pub is_personal: bool,
    /// Where it came from, if it is kept.
    kept: Option<Kept>,
    /// Field lines that the page's fetches hand to the visitor.
    pub passed: Vec<u8>,
    /// Whether the page itself has said who may keep it.
    says_caching: bool,
    /// Whether it is a file: its bytes are not to be changed, and its fields say what they are.
    pub is_file: bool,
    /// What is to be sent after the body, where a file is not in memory.
    pub file: Option<Box<FileBody>>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            content_type: "",
            is_of_html: false,
            allow: None,
            retry_after_s: None,
            etag: None,
            coding: Coding::Identity,
            varies: false,
            is_personal: false,
            kept: None,
            passed: Vec::new(),
            says_caching: false,
            is_file: false,
            file: None,
        }
    }
}

impl<D: Driver> Pages<D> {
    /// The pages of `site`, which fetch through `client`.
    pub fn new(site: Site, client: Client<D>, id_prefix: u32) -> Self {
        let memo = Rc::new(Memo::new(site.server().memo_max));
        let packing = Packing::new(&site.server().compress).map(Rc::new);
        let cache = keeps(&site).then(|| FetchCache::new(client.clone(), site.server().cache_max));
        let failures = RefCell::new(Failures::new(site.upstreams().len()));
        let counts = Counts::new(&site, client.metrics());
        let noting = (site.server().development || site.server().access_log.is_some()).then(|| {
            let names = site.pages().iter().map(|page| Names::of(page, site.upstreams()));
            (NotesKept::default(), names.collect())
        });
        let statics = (!site.statics().is_empty()).then(Statics::new::<D>);
        let (challenges, redirect) = (None, None);
        Self {
            site,
            client,
            memo,
            packing,
            cache,
            failures,
            counts,
            noting,
            statics,
            id_prefix,
            challenges,
            redirect,
        }
    }

    /// The same, and it goes on with what other pages of this worker have kept: made pages, and
    /// answers of upstreams.
    pub fn going_on(self, old: &Self) -> Self {
        let (is, was) = (self.site.server(), old.site.server());
        let memo = if is.memo_max == was.memo_max { &old.memo } else { &self.memo };
        let memo = Rc::clone(memo);
        let kept = old.cache.as_ref().filter(|_| is.cache_max == was.cache_max);
        let cache = match (&self.cache, kept) {
            (Some(_), Some(kept)) => Some(kept.go_on(self.client.clone())),
            (new, _) => new.clone(),
        };
        let statics = match (self.statics, &old.statics) {
            (Some(_), Some(old)) => Some(Statics::going_on(old)),
            (new, _) => new,
        };
        Self { memo, cache, statics, ..self }
    }

    /// The same, and it answers these challenges.
    pub fn with_challenges(self, challenges: Option<Arc<Challenges>>) -> Self {
        Self { challenges, ..self }
    }

    /// The challenges of an ACME directory, if this could be the question for one of them.
    pub fn challenges(&self, request: &Request<'_>) -> Option<&Challenges> {
        let challenges = self.challenges.as_deref()?;
        let is_read = matches!(request.method, Method::Get | Method::Head);
        (is_read && Challenges::is_path(request.path)).then_some(challenges)
    }

    /// The same, and it sends visitors who come without TLS to where it is spoken.
    pub fn redirecting(self, redirect: Option<Redirect>) -> Self {
        Self { redirect, ..self }
    }

    /// The site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The worker's HTTP client.
    pub fn client(&self) -> &Client<D> {
        &self.client
    }

    /// Room for what is to be noted of a page, where anybody wants to know.
    pub fn notes(&self) -> Option<LentNotes> {
        self.noting.as_ref().map(|(kept, _)| kept.take())
    }

    /// Answers a request: appends the body to `out` and says the rest. `notes` are taken of
    /// each step, if there are any.
    pub async fn answer(
        &self,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        notes: Option<&Notes>,
    ) -> Answer {
        let gathered = self.gather(request, notes).await;
        self.press(request, gathered, out, notes)
    }

    /// The first half of an answer: all that has to be waited for. It needs no room for the page.
    pub async fn gather(&self, request: &Request<'_>, notes: Option<&Notes>) -> Gathered<'_> {
        let (page, context, ties) = match self.begin(request, notes) {
            Ok(ready) => ready,
            Err(Gathered { outcome: Outcome::Static(wanted), begun }) => {
                let fetched = Box::pin(self.fetch_static(&wanted, request)).await;
                let served = fetched.map(|served| Outcome::Served(Box::new(served)));
                return Gathered { outcome: served.unwrap_or_else(Outcome::Failed), begun };
            }
            Err(answered) => return answered,
        };
        let execution = Execution::new(self, page, &context, &ties, notes);
        let outcome = match page.fragments() {
            None => execution.run().await.map(|()| None),
            Some(_) => self.compose(request, &execution).await.map(Some),
        };
        let begun = Begun { at: execution.start, page: page.place() };
        let passed = execution.into_passed();
        self.client.give_back([ties.into_buffer(), Vec::new()]);
        let outcome = match outcome {
            Ok(composed) => Outcome::Ready(page, context, passed, composed),
            Err(error) => Outcome::Failed(error),
        };
        Gathered { outcome, begun }
    }

    /// What a page starts with. Apart from what follows, so that a page that waits does not hold
    /// room for what its request was taken apart in.
    fn begin(
        &self,
        request: &Request<'_>,
        notes: Option<&Notes>,
    ) -> Result<(&Page, Context, Ties), Gathered<'_>> {
        let mut number = self.site.pages().len() + self.site.statics().len();
        let (page, inputs) = self.find(request, &mut number).map_err(|outcome| {
            let begun = Begun { at: D::now(), page: number };
            Gathered { outcome, begun }
        })?;
        if let (Some(notes), Some((_, names))) = (notes, &self.noting)
            && let Some(names) = names.get(page.place())
        {
            notes.begin(names);
        }
        Ok((page, page.context(inputs), self.ties(request, page)))
    }

    /// The second half: appends the body to `out` and says the rest.
    pub fn press(
        &self,
        request: &Request<'_>,
        gathered: Gathered<'_>,
        out: &mut Vec<u8>,
        notes: Option<&Notes>,
    ) -> Answer {
        let Gathered { outcome, begun } = gathered;
        let counts = self.counts.of(begun);
        let from = out.len();
        let mut answer = self.make(request, outcome, counts.map(|of| &of.render), out, notes);
        self.pack(request, &mut answer, out, from);
        if let Some(counts) = counts {
            counts.statuses.count(answer.status);
            counts.duration.record(D::now_exactly().saturating_duration_since(begun.at));
        }
        answer
    }

    /// The error page for what was not a request we speak.
    pub fn refuse(&self, status: u16, reason: &str, out: &mut Vec<u8>) -> Answer {
        self.error_page(status, reason, "", "", None, out)
    }

    /// The page that is asked for and what it may use of the request, or what to answer instead.
    /// Says in `number` which page it is, if it is one.
    fn find(
        &self,
        request: &Request<'_>,
        number: &mut usize,
    ) -> Result<(&Page, Inputs), Outcome<'_>> {
        if request.method == Method::Other {
            return Err(Outcome::Refused(501, "no such method"));
        }
        if request.method == Method::Options && request.path == b"*" {
            return Err(Outcome::Methods(self.methods()));
        }
        let normalized = http::path::normalize(request.path).map_err(bad_path)?;
        let path = std::str::from_utf8(&normalized).map_err(|error| {
            PageError::new(PageErrorKind::BadRequest, "the path is not UTF-8").because(error)
        })?;
        let Some((found, page, params)) = self.site.route_numbered(path) else {
            return Err(self.find_static(request.method, path, number));
        };
        if page.is_internal() {
            let error = PageError::new(PageErrorKind::NoSuchPage, "no page has this path");
            return Err(Outcome::Failed(error));
        };
        *number = found;
        let (server, methods) = (self.site.server(), page.takes().methods);
        match request.method {
            Method::Options => return Err(Outcome::Methods(methods)),
            method if !methods.have(method) => return Err(Outcome::NotAllowed(methods)),
            method if method.is_safe() => {}
            _ => {
                if let Some((status, reason)) = request.refusal(page, server) {
                    return Err(Outcome::Refused(status, reason));
                }
            }
        }
        let mut inputs = request.inputs(page, path, &params, server, || self.id(request))?;
        if !request.method.is_safe() {
            self.take_in(request, page, &mut inputs)?;
        }
        if page.uses().session {
            inputs.session = self.session(request);
        }
        Ok((page, inputs))
    }

    fn id(&self, request: &Request<'_>) -> String {
        let mut id = Vec::new();
        self.push_id(request, &mut id);
        String::from_utf8(id).unwrap_or_default()
    }

    /// Appends the id that a trusted proxy gave, or else one of our own.
    pub fn push_id(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        match request.given_id(self.site.server()) {
            Some(id) => out.extend_from_slice(id.as_bytes()),
            None => ties::push_id(self.id_prefix, request.number, out),
        }
    }

    /// What goes along with the fetches of a page.
    fn ties(&self, request: &Request<'_>, page: &Page) -> Ties {
        if page.nodes().is_empty() {
            return Ties::default();
        }
        let field = self.site.server().request_id.as_deref();
        Ties::new(request, field, |out| self.push_id(request, out), self.client.buffer())
    }
}

/// Whether any fetch of a site asks for its answers to be kept.
fn keeps(site: &Site) -> bool {
    let fetches = site.pages().iter().flat_map(Page::nodes).filter_map(Node::fetch);
    fetches.into_iter().any(|fetch| fetch.cache.is_some())
}

/// What a page needs, all there; or what to answer instead.
pub struct Gathered<'a> {
    outcome: Outcome<'a>,
    begun: Begun,
}

enum Outcome<'a> {
    /// A page, all it is made from, the field lines that go with it, and its fragments, if it has
    /// any.
    Ready(&'a Page, Context, Vec<u8>, Option<Box<Composed>>),
    /// The methods there are, no body.
    Methods(Methods),
    /// A method that the page does not have; those that it has.
    NotAllowed(Methods),
    /// Another status, and why.
    Refused(u16, &'static str),
    /// A failure.
    Failed(PageError),
    /// A static file, which is still to be looked for.
    Static(Box<Wanted>),
    /// And what has come of it.
    Served(Box<Served>),
}

impl From<PageError> for Outcome<'_> {
    fn from(error: PageError) -> Self {
        Outcome::Failed(error)
    }
}

impl Answer {
    /// That the reader has what this is.
    fn not_modified(self) -> Self {
        let is_of_html = self.content_type.starts_with("text/html");
        Self { status: 304, content_type: "", is_of_html, ..self }
    }

    fn methods(methods: Methods) -> Self {
        Self { status: 204, allow: Some(methods), ..Self::default() }
    }
}

const NOT_ALLOWED: &str = "This page cannot be asked for in this way.";

fn bad_path(error: http::path::InvalidPath) -> PageError {
    PageError::new(PageErrorKind::BadRequest, "the path is malformed").because(error)
}

fn since<D: Driver>(start: Instant) -> Duration {
    D::now().saturating_duration_since(start)
}
