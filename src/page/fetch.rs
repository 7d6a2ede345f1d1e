//! One fetch of a page: one upstream call, or one for each item of a list.

use std::rc::Rc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};

use crate::driver::{Driver, stints};
use crate::error::{PageError, PageErrorKind};
use crate::http::{FieldLines, Method, caching};
use crate::press::{Data, Value};
use crate::site::{Caching, Fetch, Node};
use crate::upstream;

use super::cache::{self, Ask, FetchCache, Got, Key, NotGot};
use super::execution::Execution;
use super::notes::{Noted, micros};
use super::trace::Step;
use super::{answer, since};

impl<'a, D: Driver> Execution<'a, D> {
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
    #[expect(clippy::manual_async_fn, reason = "an async fn holds its arguments twice")]
    fn call<'s>(
        &'s self,
        node: &'s Node,
        fetch: &'s Fetch,
        item: Option<(&'s Value, usize)>,
        end: Instant,
    ) -> impl Future<Output = Result<Data, PageError>> + use<'s, 'a, D> {
        async move {
            let (mut target, mut lines) = (self.client.buffer(), self.client.buffer());
            self.page.fetch_request(node, self.context, item, &mut target, &mut lines)?;
            let ties = lines.len();
            self.ties.push(fetch.ties, &mut lines);
            let start = D::now();
            let deadline = end.min(start + fetch.deadline);
            // In boxes, but for the usual one, as pages that wait for a GET are to stay small.
            let told = if deadline <= start {
                // What nobody would wait for is not asked for.
                Told::failed(PageError::new(PageErrorKind::Timeout, "no time left to begin"), None)
            } else if let (Some(cache), Some(caching)) = (self.cache, &fetch.cache) {
                let request = (&target[..], &lines[..], ties);
                match self.look((cache, caching), fetch, request, deadline) {
                    Ok(told) => told,
                    Err(key) => {
                        Box::pin(self.ask_for_all(cache, fetch, key, request, deadline)).await
                    }
                }
            } else if fetch.asks.is_plain() {
                match self.client.fetch(plain(fetch, &target, &lines, deadline)).await {
                    Ok(response) => {
                        let _work = stints::begin::<D>().await;
                        self.hear(fetch, response)
                    }
                    Err(error) => Told::failed(answer::failed(error), None),
                }
            } else {
                let request = (&target[..], &mut lines);
                Box::pin(self.ask_in_full((node, fetch), item, request, deadline)).await
            };
            self.hand_over((node, fetch), item, start, [target, lines], told)
        }
    }

    /// What came of a call, as the page has it.
    fn hand_over(
        &self,
        (node, fetch): (&Node, &Fetch),
        item: Option<(&Value, usize)>,
        start: Instant,
        [target, lines]: [Vec<u8>; 2],
        told: Told,
    ) -> Result<Data, PageError> {
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

    /// Asks with a method other than GET, with a body, or for more than a success.
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
            headers: FieldLines::known(lines),
            body: body.as_ref(),
            deadline,
        };
        let response = match self.client.fetch(request).await {
            Ok(response) => response,
            Err(error) => return Told::failed(answer::failed(error), None),
        };
        // What was changed is another thing now (RFC 9111 section 4.4).
        if fetch.asks.method != Method::Get
            && matches!(response.head.status, 200..=399)
            && let Some(cache) = self.cache
        {
            cache.forget(fetch, target);
        }
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
            if !fetch.pass.is_empty() {
                let age = caching::age(&response.head.headers, &response.buffer);
                self.age.set(self.age.get().max(age));
            }
            Ok(value)
        });
        let (status, bytes, reused) =
            (Some(response.head.status), response.body.len(), response.reused);
        self.client.recycle(response);
        Told { value, heard: Heard { status, bytes, reused, how: "" } }
    }

    /// Takes what is kept, if that will do; else the request by which it is kept. `request` is the
    /// target, the field lines, and where in those the ties begin.
    fn look(
        &self,
        (cache, caching): (&Rc<FetchCache<D>>, &Caching),
        fetch: &Fetch,
        (target, lines, ties): (&[u8], &[u8], usize),
        deadline: Instant,
    ) -> Result<Told, Vec<u8>> {
        let mut key = self.client.buffer();
        let identity = self.client.identity(fetch.upstream);
        cache::write_key(identity, fetch, target, lines.get(..ties).unwrap_or_default(), &mut key);
        let ask = Ask { fetch, key: Key::new(&key), target, lines, ties, deadline };
        let Some(got) = cache.look(&ask, &caching.declared) else { return Err(key) };
        let told = self.take(Ok(got));
        self.client.give_back([key, Vec::new()]);
        Ok(told)
    }

    /// Asks the upstream, for this page and others.
    async fn ask_for_all(
        &self,
        cache: &Rc<FetchCache<D>>,
        fetch: &Fetch,
        key: Vec<u8>,
        (target, lines, ties): (&[u8], &[u8], usize),
        deadline: Instant,
    ) -> Told {
        let ask = Ask { fetch, key: Key::new(&key), target, lines, ties, deadline };
        let got = cache.get(&ask).await;
        self.client.give_back([key, Vec::new()]);
        self.take(got)
    }

    fn take(&self, got: Result<Got, NotGot>) -> Told {
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

/// A GET.
fn plain<'a>(
    fetch: &Fetch,
    target: &'a [u8],
    lines: &'a [u8],
    deadline: Instant,
) -> upstream::Request<'a> {
    let headers = FieldLines::known(lines);
    let (upstream, method) = (upstream::place(fetch.upstream), Method::Get);
    upstream::Request { upstream, method, target, headers, body: None, deadline }
}

fn name(node: &Node, item: Option<(&Value, usize)>) -> String {
    match item {
        None => node.name.clone(),
        Some((_, index)) => format!("{}[{index}]", node.name),
    }
}
