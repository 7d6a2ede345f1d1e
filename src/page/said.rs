//! What a page answers beside its body, and the session that a request comes with.

use crate::driver::Driver;
use crate::error::PageError;
use crate::http::{cookie, host};
use crate::press::Value;
use crate::site::{Asker, Context, Page, forget_caching};

use super::request::{self, Request};
use super::{Answer, Pages};

impl<D: Driver> Pages<D> {
    /// Adds what a page says of itself to an answer; whether a body belongs to it.
    pub(super) fn say(
        &self,
        request: &Request<'_>,
        page: &Page,
        context: &Context,
        answer: &mut Answer,
    ) -> Result<bool, PageError> {
        let forwarded = request.forwarded(self.site.server());
        let host_is_ours = || {
            let name = std::str::from_utf8(forwarded.host.unwrap_or(request.host()));
            name.is_ok_and(host::is_loopback)
        };
        let is_secure = forwarded.https.unwrap_or(request.secure);
        let is_plain_loopback = !is_secure && host_is_ours();
        let said = page.say(context, Asker { is_plain_loopback, now: request::unix_seconds() });
        let said = said.map_err(|error| {
            error.within(format!("page `{}` could not say its answer", page.pattern()))
        })?;
        answer.status = said.status;
        // What the page says goes before what its fetches have been told.
        if said.says_caching {
            forget_caching(&mut answer.passed);
        }
        answer.says_caching = said.says_caching;
        answer.passed.extend_from_slice(&said.lines);
        if said.status == 304 {
            *answer = std::mem::take(answer).not_modified();
        }
        if !said.has_body {
            (answer.content_type, answer.varies) = ("", false);
        }
        Ok(said.has_body)
    }

    /// The values of the session that a request comes with, for a page that uses it. One that
    /// cannot be opened is as none: who made it up is not told how far it came.
    pub(super) fn session(&self, request: &Request<'_>) -> Option<Box<Value>> {
        let sessions = self.site.sessions()?;
        let headers = request.headers.into_iter().flat_map(|headers| headers.iter(request.bytes));
        let fields = headers.filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
        let fields = fields.filter_map(|(_, value)| std::str::from_utf8(value).ok());
        let opened = sessions.open(fields.flat_map(cookie::pairs), request::unix_seconds());
        if opened.refused {
            self.client.metrics().sessions_refused.add(1);
        }
        let values = serde_json::Value::Object(opened.values);
        serde_json::from_value(values).ok().map(Box::new)
    }
}
