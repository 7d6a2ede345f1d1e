//! One call of an upstream for the cache: asked with what is kept in mind, and kept if it may be.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::error::{PageError, PageErrorKind};
use crate::http::caching::{Declared, Keeping};
use crate::http::{FieldLines, Method, line_name};
use crate::upstream::{self, Response};

use super::store::{Kept, What};
use super::validator::{self, conditions};
use super::{Ask, FetchCache, Key};
use crate::page::{answer, request};

/// A call, with all it needs when the page it was begun for is gone.
pub(super) struct Call {
    upstream: usize,
    target: Vec<u8>,
    lines: Vec<u8>,
    /// Where the ties begin in the lines.
    ties: usize,
    key: Vec<u8>,
    pass: Vec<String>,
    declared: Declared,
    deadline: Instant,
}

/// What came of a call, for all who wait for it.
#[derive(Clone)]
pub(super) struct Outcome {
    pub(super) result: Result<Rc<Kept>, Rc<Failed>>,
    /// Whether what was kept is still right.
    is_revalidated: bool,
    /// Whether the connection had served before.
    pub(super) reused: bool,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Failed {
    kind: PageErrorKind,
    /// Outermost first.
    chain: Vec<String>,
    /// After which time it may be over.
    wait: Duration,
    pub(super) status: Option<u16>,
    /// Whether it says nothing about what is kept: that may stand for it.
    passes: bool,
    /// Whether the call had all the time it was given: with more it might have done better.
    pub(super) ran_out: bool,
}

impl Call {
    pub(super) fn of(ask: &Ask<'_>, deadline: Instant) -> Self {
        let declared = ask.fetch.cache.map(|caching| caching.declared).unwrap_or_default();
        Self {
            upstream: ask.fetch.upstream,
            target: ask.target.to_vec(),
            lines: ask.lines.to_vec(),
            ties: ask.ties,
            key: ask.key.bytes.to_vec(),
            pass: ask.fetch.pass.clone(),
            declared,
            deadline,
        }
    }
}

impl<D: Driver> FetchCache<D> {
    /// Asks, and keeps the answer if it may.
    pub(super) async fn exchange(&self, call: &Call, kept: Option<Rc<Kept>>) -> Outcome {
        let is_own = |kept: &Rc<Kept>| {
            matches!(kept.what, What::Data(_)) && kept.keeping.may_keep(&call.declared)
        };
        let mut known = kept.as_ref().filter(|kept| is_own(kept) && !kept.conditions.is_empty());
        let conditions = known.map_or(&[][..], |known| &known.conditions);
        let mut asked = self.ask_upstream(call, conditions).await;
        if let (Some(of), Ok((_, answer))) = (known, &asked)
            && answer.head.status == 304
            && !validator::selects(answer, &of.conditions)
        {
            // What it says is of something else than what is kept: that tells nothing of this.
            known = None;
            if let Ok((_, answer)) = asked {
                self.client.recycle(answer);
            }
            asked = self.ask_upstream(call, &[]).await;
        }
        let (came, response) = match asked {
            Ok(answered) => answered,
            Err(failed) => return self.end(call, kept.as_deref(), Err(failed), false),
        };
        let known = known.filter(|_| response.head.status == 304);
        let result = match known {
            Some(known) => came.renewed(known, call, &response),
            None => came.read(call, &response),
        };
        let reused = response.reused;
        let is_revalidated = known.is_some();
        self.client.recycle(response);
        if is_revalidated && result.is_ok() {
            self.client.metrics().cache_revalidated.add(1);
        }
        let outcome = self.end(call, kept.as_deref(), result, reused);
        Outcome { is_revalidated, ..outcome }
    }

    /// Asks once, under conditions or none.
    async fn ask_upstream(
        &self,
        call: &Call,
        conditions: &[u8],
    ) -> Result<(Came, Response), Failed> {
        let asked = D::now();
        let lines = [call.lines.as_slice(), conditions].concat();
        let request = upstream::Request {
            upstream: upstream::place(call.upstream),
            method: Method::Get,
            target: &call.target,
            headers: FieldLines::known(&lines),
            body: None,
            deadline: call.deadline,
        };
        match self.client.fetch(request).await {
            Ok(response) => Ok((Came::now::<D>(asked, &response), response)),
            Err(error) => {
                let ran_out = D::now() >= call.deadline;
                Err(Failed { ran_out, ..Failed::new(&answer::failed(error), None, true) })
            }
        }
    }

    /// Keeps what came, or what is known of it.
    fn end(
        &self,
        call: &Call,
        before: Option<&Kept>,
        result: Result<Kept, Failed>,
        reused: bool,
    ) -> Outcome {
        let (metrics, key) = (self.client.metrics(), Key::new(&call.key));
        let result = match result {
            Ok(kept) => {
                let kept = Rc::new(kept);
                let mut store = self.store.borrow_mut();
                if !kept.may_be_kept {
                    store.put(Rc::new(kept.only_that_it_came()), metrics);
                } else if kept.is_worth_it(&call.declared) {
                    store.put(Rc::clone(&kept), metrics);
                } else {
                    store.remove(&key, metrics);
                }
                Ok(kept)
            }
            Err(failed) => {
                if !failed.passes {
                    // It is another thing now, and what is kept no longer right.
                    self.store.borrow_mut().remove(&key, metrics);
                } else if let Some(before) = before {
                    before.failed.set(Some(D::now()));
                }
                Err(Rc::new(failed))
            }
        };
        Outcome { result, is_revalidated: false, reused }
    }
}

/// When an answer came, and what it says about being kept.
struct Came {
    keeping: Keeping,
    asked: Instant,
    received: Instant,
    unix_received: u64,
    delay: Duration,
}

impl Came {
    fn now<D: Driver>(asked: Instant, response: &Response) -> Self {
        let received = D::now();
        Self {
            keeping: Keeping::of(&response.head.headers, &response.buffer),
            asked,
            received,
            unix_received: u64::try_from(request::unix_seconds()).unwrap_or(0),
            delay: received.saturating_duration_since(asked),
        }
    }

    /// An answer of its own.
    fn read(self, call: &Call, response: &Response) -> Result<Kept, Failed> {
        let status = response.head.status;
        let what = match answer::understand(response) {
            Ok(data) => What::Data(Arc::new(data.kept())),
            Err(error) if matches!(error.kind(), PageErrorKind::UpstreamGone(_)) => What::Gone,
            Err(error) => {
                let passes = matches!(status, 200..=299 | 429 | 500..);
                return Err(Failed::new(&error, Some(status), passes));
            }
        };
        let mut passed = Vec::new();
        if matches!(what, What::Data(_)) {
            answer::pass(&call.pass, response, &mut passed)
                .map_err(|error| Failed::new(&error, Some(status), true))?;
        }
        Ok(self.kept(call, what, status, response.body.len(), passed, conditions(response)))
    }

    /// What is kept, as it still is (RFC 9111 section 4.3.4).
    fn renewed(mut self, known: &Kept, call: &Call, response: &Response) -> Result<Kept, Failed> {
        self.keeping = known.keeping.updated_by(self.keeping);
        let mut passed = Vec::new();
        answer::pass(&call.pass, response, &mut passed)
            .map_err(|error| Failed::new(&error, Some(304), true))?;
        add_others(&known.passed, &mut passed);
        let mut conditions = conditions(response);
        add_others(&known.conditions, &mut conditions);
        let (what, status) = (known.what.clone(), known.status);
        Ok(self.kept(call, what, status, known.body_bytes, passed, conditions))
    }

    fn kept(
        self,
        call: &Call,
        what: What,
        status: u16,
        body_bytes: usize,
        passed: Vec<u8>,
        conditions: Vec<u8>,
    ) -> Kept {
        let ties = call.lines.get(call.ties..).unwrap_or_default();
        // A cookie that is passed on is for the one who asked, whatever a site declares.
        let passes_cookie = passed.split(|&byte| byte == b'\n').map(line_name).any(is_set_cookie);
        let may_be_kept = self.keeping.may_keep(&call.declared)
            && !self.keeping.varies_by_one_of(ties)
            && !self.keeping.varies_by_trace(call.lines.get(..call.ties).unwrap_or_default())
            && !passes_cookie;
        let initial_age = self.keeping.initial_age(self.unix_received, self.delay);
        Kept {
            key: call.key.as_slice().into(),
            what,
            status,
            body_bytes,
            passed,
            conditions,
            keeping: self.keeping,
            asked: self.asked,
            received: self.received,
            unix_received: self.unix_received,
            initial_age,
            may_be_kept,
            failed: Cell::new(None),
        }
    }
}

/// Appends those field lines that are of none of the names that are there already.
fn add_others(lines: &[u8], into: &mut Vec<u8>) {
    let said = into.clone();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let mut names = said.split(|&byte| byte == b'\n').map(line_name);
        if !names.any(|name| name.eq_ignore_ascii_case(line_name(line))) {
            into.extend_from_slice(line);
        }
    }
}

fn is_set_cookie(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"set-cookie")
}

impl Outcome {
    pub(super) fn failed(failed: Failed) -> Self {
        Self { result: Err(Rc::new(failed)), is_revalidated: false, reused: false }
    }

    /// How the one who asked got it.
    pub(super) fn how(&self) -> &'static str {
        if self.is_revalidated { "revalidated" } else { "" }
    }
}

impl Failed {
    fn new(error: &PageError, status: Option<u16>, passes: bool) -> Self {
        Self {
            kind: error.kind(),
            chain: error.chain(),
            wait: error.wait(),
            status,
            passes,
            ran_out: false,
        }
    }

    /// Too many wait already.
    pub(super) fn busy() -> Self {
        let message = "too many pages wait for the same call";
        Self::new(&PageError::new(PageErrorKind::Overload, message), None, true)
    }

    /// The time of the one who waits is over.
    pub(super) fn late() -> Self {
        let message = "no time left while waiting for a call that pages share";
        Self::new(&PageError::new(PageErrorKind::Timeout, message), None, true)
    }

    /// The call panicked.
    pub(super) fn internal() -> Self {
        Self::new(&PageError::new(PageErrorKind::Internal, "the call failed"), None, true)
    }

    /// Whether what is kept may be shown in its place.
    pub(super) fn stands_for_error(&self, kept: &Kept, declared: &Declared, now: Instant) -> bool {
        self.passes && kept.stands_for_error(declared, now)
    }

    /// The same failure, for one page.
    pub(super) fn error(&self) -> PageError {
        let mut levels = self.chain.iter().rev();
        let cause = levels.next().map_or("", String::as_str);
        let first = PageError::new(self.kind, cause).over_after(self.wait);
        levels.fold(first, |error, level| error.within(level))
    }
}
