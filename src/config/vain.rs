//! What is written and can never happen, as tables that are fine by themselves do not go together.

use super::pages::{FetchTable, PageTable};
use super::reader::Reader;
use super::upstreams::Upstream;
use std::time::Duration;

/// Complains of a page's `cache` that is for none of its fetches.
pub(super) fn check_cache(reader: &mut Reader<'_>, page: &PageTable) {
    let Some(cache) = page.cache.as_ref().filter(|cache| cache.is_on) else { return };
    let says_no = |fetch: &FetchTable| fetch.cache.as_ref().is_some_and(|own| !own.is_on);
    if page.fetches.iter().any(|fetch| fetch.asks.may_be_kept() && !says_no(fetch)) {
        return;
    }
    let hint = match page.fetches.is_empty() {
        true => "it is for what fetches answer, and this page has none: leave it out",
        false => "only answers to a GET without `accept` can be: leave `cache` out",
    };
    let message = "`cache` on a page of which no fetch can be kept";
    reader.problem_hint(cache.span.clone(), message, hint);
}

/// Complains of what a page says to visitors who never see it: of a part of others its body counts.
pub(super) fn check_internal(reader: &mut Reader<'_>, page: &PageTable) {
    if !page.internal {
        return;
    }
    let table = &page.answers;
    let said = [
        ("status", table.status.as_ref().map(|at| &at.span)),
        ("redirect", table.redirect.as_ref().map(|redirect| &redirect.to.span)),
        ("headers", table.headers.first().map(|(name, _)| &name.span)),
        ("set_cookie", table.cookies.first().map(|cookie| &cookie.name.span)),
        ("session", table.session.first().map(|(name, _)| &name.span)),
        ("end_session", table.end_session.as_ref().map(|at| &at.span)),
    ];
    for (key, span) in said {
        let Some(span) = span.cloned() else { continue };
        let message = format!("`{key}` on a page that is internal does nothing");
        let hint = "it is only a part of other pages, of which its text alone counts: say it on \
                    these, or leave `internal` out";
        reader.problem_hint(span, message, hint);
    }
}

/// Complains of times of an upstream that all pages give up before.
pub(super) fn check_times(reader: &mut Reader<'_>, upstream: &Upstream, pages: &[PageTable]) {
    let waits = pages.iter().flat_map(|page| {
        let name = &upstream.name.value;
        let fetches = page.fetches.iter();
        let fetches =
            fetches.filter(move |fetch| fetch.from.as_ref().is_some_and(|at| at.value == *name));
        let own = |fetch: &FetchTable| fetch.deadline.as_ref().map(|at| at.value);
        fetches.map(move |fetch| page.deadline.min(own(fetch).unwrap_or(upstream.deadline)))
    });
    let Some(longest) = waits.max() else { return };
    let hedge = upstream.hedge.and_then(|hedge| hedge.after);
    let slow = upstream.breaker.and_then(|breaker| breaker.slow);
    for (what, time) in [("hedge.after", hedge), ("breaker.slow", slow)] {
        // What is beyond the upstream's own deadline has been complained of.
        let is_vain = |time: &Duration| *time > longest && *time <= upstream.deadline;
        let Some(time) = time.filter(is_vain) else { continue };
        let message = format!("`{what}` ({time:?}) is longer than any page waits for this");
        let hint = format!("none waits for more than {longest:?}: lower it, or raise `deadline`s");
        reader.problem_hint(upstream.name.span.clone(), message, hint);
    }
}
