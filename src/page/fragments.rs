//! Pages within pages: what the templates of a page ask for by `fragment`, made on the same worker
//! without a request to ourselves.
//!
//! A page runs its template until it has all that it asks for. Fragments are made beside each
//! other; those that a template asks for in each run, beside the page's own fetches. They have what
//! is left of the page's time, and no more than their own deadline.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::{self, StreamExt};

use crate::driver::{Driver, stints};
use crate::error::{PageError, PageErrorKind};
use crate::http::{self, Method};
use crate::limits::{
    FRAGMENT_DEPTH_MAX, FRAGMENT_ROUNDS_MAX, FRAGMENTS_BYTES_MAX, FRAGMENTS_CONCURRENCY,
    FRAGMENTS_MAX, PAGE_RESERVE_MAX, PAGE_RESERVE_PARTS,
};
use crate::site::{Ask, Context, Fragments, Page, Value, keep_private};

use super::counts::Begun;
use super::execution::Execution;
use super::notes::Notes;
use super::{Answer, Pages, Request};

/// A page with all its fragments.
pub(super) struct Composed {
    fragments: Rc<Fragments>,
    /// What each target gave: of this the page is made too.
    pub(super) texts: Vec<(String, Value)>,
    /// The page, unless it is remembered.
    body: Option<Vec<u8>>,
    /// How long its template ran.
    pub(super) took: Duration,
    /// Whether anything in it comes from the visitor's session.
    is_private: bool,
    /// Whether anything in it may be its reader's alone.
    is_personal: bool,
}

/// A page that is being made, within those around it.
pub(super) struct Level<'a> {
    request: &'a Request<'a>,
    /// What all fragments of the outermost page share.
    shared: &'a Shared<'a>,
    /// Its path and query.
    target: String,
    outer: Option<&'a Level<'a>>,
    depth: usize,
}

/// What is counted and noted of all fragments of a visitor's page.
pub(super) struct Shared<'a> {
    notes: Option<&'a Notes>,
    start: Instant,
    /// The path that the visitor asked for, in one spelling.
    path: String,
    made: Cell<usize>,
    bytes: Cell<usize>,
    is_private: Cell<bool>,
    is_personal: Cell<bool>,
}

/// Why there is no text.
enum Trouble {
    /// The template that asks is wrong, or this would not end.
    Refused(String),
    /// The fragment is.
    Failed(PageError),
}

impl Composed {
    fn new(
        fragments: Rc<Fragments>,
        texts: Vec<(String, Value)>,
        body: Option<Vec<u8>>,
        took: Duration,
    ) -> Self {
        Self { fragments, texts, body, took, is_private: false, is_personal: false }
    }

    /// Has the answer say whom the fragments are for, and gives their texts.
    pub(super) fn hand_over(&mut self, answer: &mut Answer) -> Vec<(String, Value)> {
        answer.is_personal |= self.is_personal;
        if self.is_private && !answer.says_caching {
            keep_private(&mut answer.passed);
        }
        std::mem::take(&mut self.texts)
    }

    /// Appends the page.
    pub(super) fn write(
        &mut self,
        page: &Page,
        context: &Context,
        out: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        let Some(body) = self.body.take() else {
            // It was remembered a moment ago, and is not any more.
            return self.fragments.during(|| page.render(context, out));
        };
        out.extend_from_slice(&body);
        Ok(())
    }
}

impl<D: Driver> Pages<D> {
    /// Carries a visitor's page out, and makes its fragments.
    pub(super) fn compose<'a>(
        &'a self,
        request: &'a Request<'a>,
        execution: &'a Execution<'a, D>,
    ) -> LocalBoxFuture<'a, Result<Box<Composed>, PageError>> {
        Box::pin(async move {
            let path = http::path::normalize(request.path).unwrap_or(request.path.into());
            let shared = Shared {
                notes: execution.notes,
                start: execution.start,
                path: String::from_utf8_lossy(&path).into_owned(),
                made: Cell::new(0),
                bytes: Cell::new(0),
                is_private: Cell::new(false),
                is_personal: Cell::new(false),
            };
            let target = target_of(&shared.path, request.query);
            let level = Level { request, shared: &shared, target, outer: None, depth: 0 };
            let mut composed = self.compose_within(execution, &level).await?;
            composed.is_private = shared.is_private.get();
            composed.is_personal = shared.is_personal.get();
            Ok(composed)
        })
    }

    fn compose_within<'a>(
        &'a self,
        execution: &'a Execution<'a, D>,
        level: &'a Level<'a>,
    ) -> LocalBoxFuture<'a, Result<Box<Composed>, PageError>> {
        Box::pin(async move {
            let page = execution.page;
            let fragments = Fragments::new(page.content_type());
            let early = page.fragments().unwrap_or_default();
            early.iter().for_each(|ask| fragments.expect(ask));
            self.run_beside(execution, &fragments, level).await?;
            self.run_template(execution, fragments, level).await
        })
    }

    /// The page's own fetches, and beside them the fragments that are known already. What those
    /// come to matters only where the template asks for them.
    async fn run_beside(
        &self,
        execution: &Execution<'_, D>,
        fragments: &Fragments,
        level: &Level<'_>,
    ) -> Result<(), PageError> {
        let run = pin!(execution.run());
        let making = pin!(self.make_missing(fragments, execution.deadline, level, false));
        match select(run, making).await {
            Either::Left((outcome, making)) => {
                outcome?;
                making.await;
                Ok(())
            }
            Either::Right(((), run)) => run.await,
        }
    }

    /// Runs the template until it has all that it asks for.
    async fn run_template(
        &self,
        execution: &Execution<'_, D>,
        fragments: Rc<Fragments>,
        level: &Level<'_>,
    ) -> Result<Box<Composed>, PageError> {
        let (page, context) = (execution.page, execution.context);
        let mut took = Duration::ZERO;
        for _ in 0..FRAGMENT_ROUNDS_MAX {
            let texts = fragments.texts();
            let remembered = self
                .inputs(level.request, page, context, &texts)
                .is_some_and(|inputs| self.memo.get(&inputs).is_some());
            if remembered {
                return Ok(Box::new(Composed::new(fragments, texts, None, took)));
            }
            let mut body = Vec::new();
            let work = stints::begin::<D>().await;
            let start = D::now_exactly();
            let rendered = fragments.during(|| page.render(context, &mut body));
            took += D::now_exactly().saturating_duration_since(start);
            drop(work);
            if let Some(error) = fragments.take_failure() {
                return Err(error);
            }
            if fragments.missing().is_empty() {
                rendered?;
                return Ok(Box::new(Composed::new(fragments, texts, Some(body), took)));
            }
            self.make_missing(&fragments, execution.deadline, level, true).await;
        }
        let template = page.template();
        let message = format!(
            "template {template} asks for other fragments each time that it runs, \
             {FRAGMENT_ROUNDS_MAX} times"
        );
        Err(PageError::new(PageErrorKind::Internal, message))
    }

    /// Makes what is not there yet. Where all of it is needed, the first failure ends the others.
    async fn make_missing(
        &self,
        fragments: &Fragments,
        deadline: Instant,
        level: &Level<'_>,
        are_needed: bool,
    ) {
        let making = stream::iter(fragments.missing()).map(|(place, ask)| async move {
            let made = self.fragment(&ask, deadline, level).await;
            settle(fragments, place, &ask, made)
        });
        let mut making = pin!(making.buffer_unordered(FRAGMENTS_CONCURRENCY));
        while let Some(is_fine) = making.next().await {
            if are_needed && !is_fine {
                return;
            }
        }
    }

    /// The text of one fragment, and its media type.
    async fn fragment(
        &self,
        ask: &Ask,
        deadline: Instant,
        outer: &Level<'_>,
    ) -> Result<(String, &'static str), Trouble> {
        let (path, query) = ask.target.split_once('?').unwrap_or((&ask.target, ""));
        let Ok(normalized) = http::path::normalize(path.as_bytes()) else {
            let why = "what is special in it must be percent-encoded, as by `urlencode`";
            return Err(Trouble::Refused(format!("`{path}` is no path: {why}")));
        };
        let path = String::from_utf8_lossy(&normalized);
        let Some((_, page, params)) = self.site.route_numbered(&path) else {
            return Err(Trouble::Refused(format!("no page of this site has the path `{path}`")));
        };
        if !page.takes().methods.have(Method::Get) {
            return Err(Trouble::Refused(format!("the page of `{path}` cannot be got")));
        }
        let target = target_of(&path, query.as_bytes());
        let level = outer.enter(target)?;
        // What it sees of the request is the visitor's, but for its own parameters and query.
        let (method, query, body) = (Method::Get, query.as_bytes(), &[][..]);
        let request =
            Request { method, query, body, lacks_length: false, ..*outer.shared_request() };
        let failed = |error: PageError| {
            let message = format!("fragment `{}` failed", ask.target);
            Trouble::Failed(error.within(message))
        };
        let server = self.site.server();
        let inputs =
            request.inputs(page, &outer.shared.path, &params, server, || self.id(&request));
        let mut inputs = inputs.map_err(failed)?;
        if page.uses().session {
            inputs.session = self.session(&request);
            outer.shared.is_private.set(true);
        }
        if page.is_personal() {
            outer.shared.is_personal.set(true);
        }
        let context = page.context(inputs);
        let request = Request { path: path.as_bytes(), ..request };
        let level = Level { request: &request, ..level };
        let ties = self.ties(&request, page);
        let mut execution = Execution::new(self, page, &context, &ties, outer.shared.notes);
        execution.deadline = execution.deadline.min(end_of(ask, deadline, D::now()));
        execution.start = outer.shared.start;
        execution.part = self.part(page, outer.shared.notes);
        let composed = match page.fragments() {
            None => execution.run().await.map(|()| None),
            Some(_) => self.compose_within(&execution, &level).await.map(Some),
        };
        drop(execution);
        self.client.give_back([ties.into_buffer(), Vec::new()]);
        let _work = stints::begin::<D>().await;
        let body = composed.and_then(|composed| self.text_of(&request, page, &context, composed));
        let body = body.map_err(failed)?;
        let bytes = outer.shared.bytes.get() + body.len();
        outer.shared.bytes.set(bytes);
        if bytes > FRAGMENTS_BYTES_MAX {
            let why = format!("the fragments of a page are over {FRAGMENTS_BYTES_MAX} bytes");
            return Err(Trouble::Refused(why));
        }
        Ok((body, page.content_type()))
    }

    /// The text of a page that is part of another: remembered, or made and remembered.
    fn text_of(
        &self,
        request: &Request<'_>,
        page: &Page,
        context: &Context,
        mut composed: Option<Box<Composed>>,
    ) -> Result<String, PageError> {
        let texts = composed.as_mut().map(|composed| std::mem::take(&mut composed.texts));
        let texts = texts.unwrap_or_default();
        let inputs = self.inputs(request, page, context, &texts);
        if let Some(made) = inputs.as_ref().and_then(|inputs| self.memo.get(inputs)) {
            return Ok(String::from_utf8_lossy(&made.body).into_owned());
        }
        let (start, mut body) = (D::now_exactly(), Vec::new());
        let mut took = Duration::ZERO;
        match &mut composed {
            None => page.render(context, &mut body)?,
            Some(composed) => {
                took = composed.took;
                composed.write(page, context, &mut body)?;
            }
        }
        took += D::now_exactly().saturating_duration_since(start);
        if let Some(counts) = self.counts.of(Begun { at: start, page: page.place() }) {
            counts.render.record(took);
        }
        if let Some(inputs) = &inputs {
            self.memo.put(inputs, &body);
        }
        let lossy = |error: std::string::FromUtf8Error| {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        };
        Ok(String::from_utf8(body).unwrap_or_else(lossy))
    }

    /// Under which number the fetches of a fragment are noted.
    fn part(&self, page: &Page, notes: Option<&Notes>) -> Option<u16> {
        let names = self.noting.as_ref().and_then(|(_, names)| names.get(page.place()));
        Some(notes.zip(names).map_or(0, |(notes, names)| notes.part(names)))
    }
}

impl<'a> Level<'a> {
    fn shared_request(&self) -> &Request<'a> {
        self.request
    }

    /// A page within this one, unless there would be no end.
    fn enter<'b>(&'b self, target: String) -> Result<Level<'b>, Trouble> {
        let levels = std::iter::successors(Some(self), |level| level.outer);
        let mut chain: Vec<&str> = levels.map(|level| level.target.as_str()).collect();
        chain.reverse();
        let is_within_itself = chain.contains(&target.as_str());
        chain.push(&target);
        let told = || chain.join(" -> ");
        if is_within_itself {
            return Err(Trouble::Refused(format!("a fragment that needs itself: {}", told())));
        }
        if self.depth >= FRAGMENT_DEPTH_MAX {
            let told = told();
            let why = format!("fragments over {FRAGMENT_DEPTH_MAX} deep in each other: {told}");
            return Err(Trouble::Refused(why));
        }
        let made = self.shared.made.get() + 1;
        self.shared.made.set(made);
        if made > FRAGMENTS_MAX {
            let why = format!("a page and all in it can have {FRAGMENTS_MAX} fragments");
            return Err(Trouble::Refused(why));
        }
        let Level { request, shared, depth, .. } = *self;
        Ok(Level { request, shared, target, outer: Some(self), depth: depth + 1 })
    }
}

/// Puts down what came of a fragment; whether the page can go on.
fn settle(
    fragments: &Fragments,
    place: usize,
    ask: &Ask,
    made: Result<(String, &'static str), Trouble>,
) -> bool {
    match made {
        Ok((text, media_type)) => fragments.made(place, text, media_type),
        Err(Trouble::Refused(why)) => {
            fragments.refused(place, why);
            return false;
        }
        // A malformed address is the visitor's, whatever the page could do without.
        Err(Trouble::Failed(error))
            if ask.optional && error.kind() != PageErrorKind::BadRequest =>
        {
            let message = error.chain().join(": ");
            if error.kind() == PageErrorKind::Internal {
                tracing::warn!(message, "an optional fragment is broken");
            } else {
                tracing::debug!(message, "an optional fragment failed");
            }
            fragments.made(place, String::new(), "");
        }
        Err(Trouble::Failed(error)) => {
            fragments.failed(place, error);
            return false;
        }
    }
    true
}

/// Until when a fragment of a page with this deadline is waited for. What is optional leaves time
/// for the page to be made and sent without it.
fn end_of(ask: &Ask, deadline: Instant, now: Instant) -> Instant {
    if !ask.optional {
        return deadline;
    }
    let left = deadline.saturating_duration_since(now);
    now + left.saturating_sub((left / PAGE_RESERVE_PARTS).min(PAGE_RESERVE_MAX))
}

fn target_of(path: &str, query: &[u8]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    format!("{path}?{}", String::from_utf8_lossy(query))
}
