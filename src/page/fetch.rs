//! One fetch of a page: one upstream call, or one for each item of a list.

use std::rc::Rc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};

use crate::driver::{Driver, stints};
use crate::error::{PageError, PageErrorKind};
use crate::http::Method;
use crate::http::caching::Declared;
use crate::press::{Data, Value};
use crate::site::{Fetch, Node};
use crate::upstream;

use super::cache::{self, Ask, FetchCache, Got, Key, NotGot};
use super::execution::Execution;
use super::notes::{Noted, micros};
use super::trace::Step;
use super::{answer, since};

impl<D: Driver> Execution<'_, D> {
    /// The value of a fetch: what its JSON says, or the list of what each item's says.
    pub(super) async fn fetch(&self, number: usize) -> Result<Data, PageError> {
        let node = self.page.nodes().get(number);
        let Some((node, fetch)) = node.and_then(|node| Some((node, node.fetch()?))) else {
            return Err(PageError::new(PageErrorKind::Internal, "no such fetch"));
        };
        if !self.page.wants(fetch, self.context)? {
            return Ok(Value::from(()).into());
        }
        let begun = D::now();
        // Time is taken from the whole once, not from each item again.
        let end = match fetch.optional {
            true => fetch.budget.end(begun, self.deadline),
            false => self.deadline,
        };
        let Some(each) = &fetch.each else {
            return self.call(node, fetch, None, end).await;
        };
        let items = self.page.items(node, self.context)?;
        let calls = stream::iter(items.iter().enumerate())
            .map(|(index, item)| self.call(node, fetch, Some((item, index)), end));
        let mut values = Vec::with_capacity(items.len());
        let mut calls = calls.buffered(each.concurrency);
        while let Some(outcome) = calls.next().await {
            match outcome {
                Ok(value) => values.push(value),
                Err(error) if fetch.optional && error.kind() != PageErrorKind::BadRequest => {
                    let fallback = fetch.fallback.clone().map(Data::Shared);
                    values.push(fallback.unwrap_or_else(|| Value::from(()).into()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Data::List(values))
    }

    /// One call, which the page waits for until `end` at most.
    async fn call(
        &self,
        node: &Node,
        fetch: &Fetch,
        item: Option<(&Value, usize)>,
        end: Instant,
    ) -> Result<Data, PageError> {
        let (mut target, mut lines) = (self.client.buffer(), self.client.buffer());
        self.page.fetch_request(node, self.context, item, &mut target, &mut lines)?;
        let ties = lines.len();
        self.ties.push(fetch.ties, &mut lines);
        let start = D::now();
        let deadline = end.min(start + fetch.deadline);
        let told = if deadline <= start {
            // What nobody would wait for is not asked for.
            Told::failed(PageError::new(PageErrorKind::Timeout, "no time left to begin"), None)
        } else if let (Some(cache), Some(caching)) = (self.cache, &fetch.cache) {
            self.ask_cache(cache, fetch, &caching.declared, (&target, &lines, ties), deadline).await
        } else if fetch.asks.is_plain() {
            self.ask(fetch, &target, &lines, deadline).await
        } else {
            // In a box, as pages that wait for a GET are to stay small.
            Box::pin(self.ask_in_full((node, fetch), item, (&target, &mut lines), deadline)).await
        };
        let plan = self.site.upstreams().get(fetch.upstream);
        let value = told.value.map_err(|error| {
            let name = name(node, item);
            let upstream = plan.map_or("?", |plan| plan.name.as_str());
            error.of(fetch.upstream).within(format!(
                "fetch `{name}` from `{upstream}` failed ({} {})",
                fetch.asks.method.as_str(),
                String::from_utf8_lossy(&target)
            ))
        });
        if let (true, Some(status)) = (self.page.uses().statuses, told.heard.status)
            && let Some(number) = self.number(node)
        {
            self.context.answered(number, status);
        }
        self.tell((node, item), &target, start, (&told.heard, &value));
        self.client.give_back([target, lines]);
        value
    }

    fn number(&self, node: &Node) -> Option<usize> {
        self.page.nodes().iter().position(|one| std::ptr::eq(one, node))
    }

    /// Takes notes of a call that has ended, if anybody wants to know.
    fn tell(
        &self,
        (node, item): (&Node, Option<(&Value, usize)>),
        target: &[u8],
        start: Instant,
        (heard, value): (&Heard, &Result<Data, PageError>),
    ) {
        let Some(notes) = self.notes else { return };
        let Heard { status, bytes, reused, how } = *heard;
        let took = since::<D>(start);
        // Looked for here, so that no page that waits has to hold it.
        let place = self.number(node);
        notes.fetched(Noted {
            part: self.part.unwrap_or_default(),
            node: place.and_then(|place| u16::try_from(place).ok()).unwrap_or(u16::MAX),
            item: item.map(|(_, index)| u32::try_from(index).unwrap_or(u32::MAX)),
            status,
            failed: value.is_err(),
            how: match (how, status, reused) {
                ("", None, _) => "",
                ("", _, true) => "reused",
                ("", _, false) => "new",
                _ => how,
            },
            us: micros(took),
        });
        notes.trace(|| {
            let plan = node.fetch().and_then(|fetch| self.site.upstreams().get(fetch.upstream));
            let url = plan.map_or_else(String::new, |plan| {
                let scheme = if plan.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{}{}", plan.authority, String::from_utf8_lossy(target))
            });
            let begun = start.saturating_duration_since(self.start);
            let failure = value.as_ref().err().map(PageError::chain).unwrap_or_default();
            let mut name = name(node, item);
            if self.part.is_some() {
                name = format!("{name} of {}", self.page.pattern());
            }
            let line = node.line;
            Step { name, line, url, status, bytes, begun, took, reused, how, failure }
        });
    }

    /// Asks the upstream.
    async fn ask(&self, fetch: &Fetch, target: &[u8], lines: &[u8], deadline: Instant) -> Told {
        let request = upstream::Request {
            upstream: upstream::place(fetch.upstream),
            method: Method::Get,
            target,
            headers: lines,
            body: None,
            deadline,
        };
        let response = match self.client.fetch(request).await {
            Ok(response) => response,
            Err(error) => return Told::failed(answer::failed(error), None),
        };
        let _work = stints::begin::<D>().await;
        self.hear(fetch, response)
    }

    /// Asks with a method other than GET, with a body, or for more than a success. It ends as
    /// [`Self::ask`] does, and shares no future with it: one within another would hold the request
    /// twice, 80 bytes more for each page that waits.
    async fn ask_in_full(
        &self,
        (node, fetch): (&Node, &Fetch),
        item: Option<(&Value, usize)>,
        (target, lines): (&[u8], &mut Vec<u8>),
        deadline: Instant,
    ) -> Told {
        let body = match self.page.fetch_body(node, self.context, item, lines) {
            Ok(body) => body,
            Err(error) => return Told::failed(error, None),
        };
        let request = upstream::Request {
            upstream: upstream::place(fetch.upstream),
            method: fetch.asks.method,
            target,
            headers: lines,
            body: body.as_ref(),
            deadline,
        };
        let response = match self.client.fetch(request).await {
            Ok(response) => response,
            Err(error) => return Told::failed(answer::failed(error), None),
        };
        let _work = stints::begin::<D>().await;
        self.hear(fetch, response)
    }

    /// What a response says.
    fn hear(&self, fetch: &Fetch, response: upstream::Response) -> Told {
        let value = match fetch.asks.is_plain() {
            true => answer::understand(&response),
            false => answer::understand_asked(&response, &fetch.asks),
        };
        let value = value.and_then(|value| {
            answer::pass(&fetch.pass, &response, &mut self.passed.borrow_mut())?;
            Ok(value)
        });
        let (status, bytes, reused) =
            (Some(response.head.status), response.body.len(), response.reused);
        self.client.recycle(response);
        Told { value, heard: Heard { status, bytes, reused, how: "" } }
    }

    /// Takes what is kept, or asks the upstream for this page and others. `request` is the target,
    /// the field lines, and where in those the ties begin.
    async fn ask_cache(
        &self,
        cache: &Rc<FetchCache<D>>,
        fetch: &Fetch,
        declared: &Declared,
        request: (&[u8], &[u8], usize),
        deadline: Instant,
    ) -> Told {
        let (target, lines, ties) = request;
        let mut key = self.client.buffer();
        let identity = self.client.identity(fetch.upstream);
        cache::write_key(identity, fetch, target, lines.get(..ties).unwrap_or_default(), &mut key);
        let ask = Ask { fetch, key: Key::new(&key), target, lines, ties, deadline };
        let got = match cache.look(&ask, declared) {
            Some(got) => Ok(got),
            // In a box, as pages that wait for fetches of the other kind are to stay small.
            None => Box::pin(cache.get(&ask)).await,
        };
        self.client.give_back([key, Vec::new()]);
        let got = match got {
            Ok(got) => got,
            Err(NotGot { error, status }) => return Told::failed(error, status),
        };
        let value = got.value().and_then(|value| {
            self.pass_kept(&got)?;
            Ok(value)
        });
        let (status, bytes) = (Some(got.status()), got.body_bytes());
        Told { value, heard: Heard { status, bytes, reused: got.reused, how: got.how } }
    }

    /// Keeps the field lines of a kept answer for the visitor.
    fn pass_kept(&self, got: &Got) -> Result<(), PageError> {
        if got.passed().is_empty() {
            return Ok(());
        }
        let mut passed = self.passed.borrow_mut();
        passed.extend_from_slice(got.passed());
        if let Some(age) = got.age(D::now()) {
            self.age.set(self.age.get().max(Some(age)));
        }
        answer::bound_passed(&passed)
    }
}

/// What came of one call.
struct Told {
    value: Result<Data, PageError>,
    heard: Heard,
}

/// What is told of it.
struct Heard {
    status: Option<u16>,
    bytes: usize,
    reused: bool,
    how: &'static str,
}

impl Told {
    fn failed(error: PageError, status: Option<u16>) -> Self {
        Self { value: Err(error), heard: Heard { status, bytes: 0, reused: false, how: "" } }
    }
}

fn name(node: &Node, item: Option<(&Value, usize)>) -> String {
    match item {
        None => node.name.clone(),
        Some((_, index)) => format!("{}[{index}]", node.name),
    }
}
