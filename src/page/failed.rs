//! Pages that could not be made: what visitors get instead, and what is told of it.

use std::time::Duration;

use crate::driver::Driver;
use crate::error::{PageError, Side};
use crate::http;
use crate::limits::{RETRY_AFTER_S_MAX, RETRY_AFTER_S_MIN};
use crate::site::{ErrorFacts, Page};

use super::notes::Notes;
use super::request::{self, Request};
use super::{Answer, Pages};

impl<D: Driver> Pages<D> {
    /// Logs a failure, and makes its error page.
    pub(super) fn fail(
        &self,
        request: &Request<'_>,
        error: &PageError,
        out: &mut Vec<u8>,
        notes: Option<&Notes>,
    ) -> Answer {
        let status = error.status();
        let told = error.told();
        if let Some(notes) = notes {
            notes.failed(error, told);
        }
        let id = self.id(request);
        let path = String::from_utf8_lossy(request.path);
        let chain = error.chain();
        if error.side() != Side::Downstream
            && self.failures.borrow_mut().note(error.upstream(), error.kind(), D::now())
        {
            tracing::warn!(request = id, status, %path, cause = chain.join(": "), "page failed");
        }
        let shown = self.site.server().development.then_some(chain.as_slice());
        let answer = self.error_page(status, told, &path, &id, shown, out);
        let retry_after_s = (status == 503).then(|| retry_after_s(error.wait()));
        Answer { retry_after_s, ..answer }
    }

    pub(super) fn note_slow_render(&self, page: &Page, took: Duration) {
        self.client.metrics().renders_slow.add(1);
        if self.failures.borrow_mut().note_slow_render(D::now()) {
            let (template, page, ms) = (page.template(), page.pattern(), took.as_millis());
            tracing::warn!(template, page, ms, "a slow render: nothing else ran meanwhile");
        }
    }

    /// Logs that the site's own error page failed: the visitor gets the built-in one, and would
    /// not know.
    fn note_error_page(&self, facts: &ErrorFacts<'_>, error: &PageError) {
        if self.failures.borrow_mut().note_error_page(D::now()) {
            let (request, status, path) = (facts.request_id, facts.status, facts.path);
            let cause = error.chain().join(": ");
            tracing::warn!(request, status, path, cause, "the site's own error page failed");
        }
    }

    /// Logs how many pages have failed, or were slow to render, that were not logged each. To be
    /// called a few times a second.
    pub fn report_failures(&self) {
        if let Some(renders) = self.failures.borrow_mut().slow_renders_left_out(D::now()) {
            tracing::warn!(renders, "more slow renders");
        }
        if let Some(pages) = self.failures.borrow_mut().error_pages_left_out(D::now()) {
            tracing::warn!(pages, "more of the site's own error pages failed");
        }
        for left_out in self.failures.borrow_mut().left_out(D::now()) {
            let plan = left_out.upstream.and_then(|place| self.site.upstreams().get(place));
            let upstream = plan.map(|plan| plan.name.as_str());
            let (status, pages) = (left_out.status, left_out.pages);
            tracing::warn!(upstream, status, pages, "more pages failed in the same way");
        }
    }

    pub(super) fn error_page(
        &self,
        status: u16,
        message: &str,
        path: &str,
        request_id: &str,
        chain: Option<&[String]>,
        out: &mut Vec<u8>,
    ) -> Answer {
        let reason = http::reason_phrase(status);
        let now = request::unix_seconds();
        let facts = ErrorFacts { status, reason, message, request_id, path, now };
        if let Err(error) = self.site.error_page(&facts, chain, out) {
            self.note_error_page(&facts, &error);
        }
        let (content_type, varies) = ("text/html; charset=utf-8", self.packing.is_some());
        Answer { status, content_type, varies, ..Answer::default() }
    }
}

fn retry_after_s(wait: Duration) -> u8 {
    let seconds = u8::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u8::MAX);
    seconds.clamp(RETRY_AFTER_S_MIN, RETRY_AFTER_S_MAX)
}
