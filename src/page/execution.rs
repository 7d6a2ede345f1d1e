//! The plan of a page, carried out: each fetch and each let starts as soon as what it needs is
//! there, fetches beside each other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::driver::Driver;
use crate::error::{PageError, PageErrorKind};
use crate::http;
use crate::press::Data;
use crate::site::{Context, FetchFailure, Node, NodeKind, Page, Site};
use crate::upstream::Client;

use super::Pages;
use super::cache::FetchCache;
use super::notes::Notes;
use super::ties::Ties;

/// One page being made.
pub(super) struct Execution<'a, D: Driver> {
    pub(super) site: &'a Site,
    pub(super) client: &'a Client<D>,
    pub(super) cache: Option<&'a Rc<FetchCache<D>>>,
    pub(super) page: &'a Page,
    pub(super) context: &'a Context,
    pub(super) ties: &'a Ties,
    pub(super) notes: Option<&'a Notes>,
    /// Which fragment of the page that is noted it is, if it is one.
    pub(super) part: Option<u16>,
    /// Field lines that fetches hand to the visitor.
    pub(super) passed: RefCell<Vec<u8>>,
    /// The age of the oldest answer that such lines are of, if it was kept.
    pub(super) age: Cell<Option<Duration>>,
    pub(super) start: Instant,
    pub(super) deadline: Instant,
}

impl<'a, D: Driver> Execution<'a, D> {
    pub(super) fn new(
        pages: &'a Pages<D>,
        page: &'a Page,
        context: &'a Context,
        ties: &'a Ties,
        notes: Option<&'a Notes>,
    ) -> Self {
        let Pages { site, client, cache, .. } = pages;
        let start = D::now();
        let deadline = start + page.deadline();
        let (passed, age, cache) = (RefCell::default(), Cell::default(), cache.as_ref());
        let part = None;
        Self { site, client, cache, page, context, ties, notes, part, passed, age, start, deadline }
    }

    /// Fills the context, or says why the page cannot be made: the first failure of something
    /// that is not optional ends what is still on its way.
    pub(super) async fn run(&self) -> Result<(), PageError> {
        if let ([_], Some(fetch)) = (self.page.nodes(), self.only_fetch()) {
            let outcome = self.fetch(fetch).await;
            return self.settle(fetch, outcome);
        }
        // Boxed: a page that waits for one fetch does not hold room for what others need.
        Box::pin(self.run_all()).await
    }

    async fn run_all(&self) -> Result<(), PageError> {
        let mut progress = Progress::new(self.page);
        if let Some(fetch) = self.only_fetch() {
            self.settle_lets(&mut progress)?;
            let outcome = self.fetch(fetch).await;
            self.settle(fetch, outcome)?;
            progress.done(fetch, self.page);
            return self.settle_lets(&mut progress).map(drop);
        }
        let mut under_way = FuturesUnordered::new();
        loop {
            for fetch in self.settle_lets(&mut progress)? {
                under_way.push(async move { (fetch, self.fetch(fetch).await) });
            }
            let Some((fetch, outcome)) = under_way.next().await else { return Ok(()) };
            self.settle(fetch, outcome)?;
            progress.done(fetch, self.page);
        }
    }

    /// The field lines for the visitor.
    pub(super) fn into_passed(self) -> Vec<u8> {
        let mut passed = self.passed.into_inner();
        if let Some(age) = self.age.get() {
            // What they say about being kept counts from then (RFC 9111 section 5.1).
            let seconds = itoa::Buffer::new().format(age.as_secs()).to_owned();
            let _ = http::push_field(&mut passed, "Age", seconds.as_bytes());
        }
        passed
    }

    /// The fetch of a page that has just one: it needs no machinery to wait for several.
    fn only_fetch(&self) -> Option<usize> {
        let mut fetches = self.page.nodes().iter().enumerate();
        let mut fetches = fetches.by_ref().filter(|(_, node)| node.fetch().is_some());
        let (only, _) = fetches.next()?;
        fetches.next().is_none().then_some(only)
    }

    /// Evaluates all lets that can be, and gives the fetches that can start.
    fn settle_lets(&self, progress: &mut Progress) -> Result<Vec<usize>, PageError> {
        let mut fetches = Vec::new();
        while let Some(number) = progress.ready.pop() {
            let Some(node) = self.page.nodes().get(number) else { continue };
            match &node.kind {
                NodeKind::Let(_) => {
                    self.context.set(number, self.page.evaluate(node, self.context)?);
                    progress.done(number, self.page);
                }
                NodeKind::Fetch(_) => fetches.push(number),
            }
        }
        Ok(fetches)
    }

    /// Puts the outcome of a fetch into the context.
    fn settle(&self, number: usize, outcome: Result<Data, PageError>) -> Result<(), PageError> {
        let fetch = self.page.nodes().get(number).and_then(Node::fetch);
        match outcome {
            Ok(value) => self.context.set(number, value),
            // A malformed address is the visitor's, whatever the page could do without.
            Err(error) if error.kind() == PageErrorKind::BadRequest => return Err(error),
            Err(error) => {
                let Some(fetch) = fetch.filter(|fetch| fetch.optional) else { return Err(error) };
                let message = error.chain().join(": ");
                tracing::debug!(message, "an optional fetch failed");
                let status = Some(error.status());
                // In an `each` it stands for an item, not for the list.
                let fallback = fetch.fallback.clone().filter(|_| fetch.each.is_none());
                let failure = FetchFailure { status, message };
                self.context.fail(number, failure, fallback.map(Data::Shared));
            }
        }
        Ok(())
    }
}

/// Which nodes can start, and how many others each of the rest still waits for.
struct Progress {
    ready: Vec<usize>,
    waits_for: Vec<usize>,
}

impl Progress {
    fn new(page: &Page) -> Self {
        let waits_for: Vec<usize> = page.nodes().iter().map(|node| node.needs.len()).collect();
        let ready = (0..waits_for.len()).rev().filter(|node| waits_for.get(*node) == Some(&0));
        Self { ready: ready.collect(), waits_for }
    }

    fn done(&mut self, done: usize, page: &Page) {
        for (number, node) in page.nodes().iter().enumerate() {
            if node.needs.contains(&done)
                && let Some(waits_for) = self.waits_for.get_mut(number)
            {
                *waits_for -= 1;
                if *waits_for == 0 {
                    self.ready.push(number);
                }
            }
        }
    }
}
