//! One page: its nodes in the order they are written, and what each makes of a context.

use super::answers::{AnswerPlan, Asker, Said};
use super::asks::{Asks, Takes};
use super::budget::Budget;
use super::caching::Caching;
use crate::config::Priority;
use crate::error::{PageError, PageErrorKind};
use crate::http::line_name;
use crate::press::{
    Ask, Binding, Context, Data, ExpressionId, FieldTemplate, Inputs, Names, PathTemplate, Press,
    QueryTemplate, TemplateId, Uncovered, Uses, Value, kind_name, replace_forbidden,
};
use minijinja::value::ValueKind;
use std::sync::Arc;
use std::time::Duration;

/// A page.
#[derive(Debug)]
pub struct Page {
    pub(super) place: usize,
    pub(super) pattern: String,
    pub(super) takes: Takes,
    pub(super) deadline: Duration,
    pub(super) priority: Priority,
    pub(super) nodes: Vec<Node>,
    /// What makes its body; nothing where all that it does is to send visitors elsewhere.
    pub(super) template: Option<TemplateId>,
    /// What it answers beside its body, where that is anything.
    pub(super) answers: Option<Box<AnswerPlan>>,
    pub(super) binding: Binding,
    /// What tells this page as it is now from any other, if the same inputs always make the same
    /// bytes.
    pub(super) version: Option<u64>,
    pub(super) content_type: &'static str,
    pub(super) packs: bool,
    pub(super) is_personal: bool,
    /// Whether it is for other pages only.
    pub(super) internal: bool,
    /// What it asks for in each of its runs, if it has fragments.
    pub(super) fragments: Option<Box<[Ask]>>,
    pub(super) uses: Uses,
    pub(super) names: Arc<Names>,
    pub(super) press: Arc<Press>,
}

/// A name of a page that is filled while it is made.
#[derive(Debug)]
pub struct Node {
    /// The name.
    pub name: String,
    /// The line of the site file that it is written in.
    pub line: usize,
    /// The nodes that must have a value before this one can begin, by their index.
    pub needs: Vec<usize>,
    /// Where its value comes from.
    pub kind: NodeKind,
}

impl Node {
    /// The fetch, if it is one.
    pub fn fetch(&self) -> Option<&Fetch> {
        match &self.kind {
            NodeKind::Fetch(fetch) => Some(fetch),
            NodeKind::Let(_) => None,
        }
    }
}

/// Where the value of a node comes from.
#[derive(Debug)]
pub enum NodeKind {
    /// An upstream.
    Fetch(Box<Fetch>),
    /// An expression over other nodes.
    Let(ExpressionId),
}

/// A fetch of a page.
#[derive(Debug)]
pub struct Fetch {
    /// The upstream's index in the site.
    pub upstream: usize,
    /// How it asks.
    pub asks: Asks,
    /// Whether the page can do without.
    pub optional: bool,
    /// What stands for it, or for an item of it, where it failed.
    pub fallback: Option<Arc<Data>>,
    /// How answers are kept, if they are.
    pub cache: Option<Caching>,
    /// What it leaves of the page's time, where it is optional.
    pub budget: Budget,
    /// One request for each item of a list, if it is so.
    pub each: Option<Each>,
    /// From its start to its last byte, for each item anew: its own, or the upstream's.
    pub deadline: Duration,
    /// Names of the fields of its response that the visitor gets too.
    pub pass: Vec<String>,
    /// What of the request goes along by itself.
    pub ties: Ties,
    pub(super) base_path: String,
    pub(super) path: PathTemplate,
    pub(super) query: QueryTemplate,
    /// Header lines that are always the same: those of the upstream, but for what `headers` says.
    pub(super) constant_headers: Vec<u8>,
    pub(super) headers: Vec<FieldTemplate>,
}

/// Which fields tie a fetch to the request it is made for. Where a fetch or its upstream names one
/// itself, that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ties {
    /// The request's id.
    pub request_id: bool,
    /// `traceparent` and `tracestate`.
    pub trace: bool,
}

impl Ties {
    pub(super) fn new<'a>(
        upstream: &[u8],
        own: impl Iterator<Item = &'a str> + Clone,
        request_id: Option<&str>,
    ) -> Self {
        let names = |field: &str| {
            let mut lines = upstream.split(|&byte| byte == b'\n');
            let in_line = |line: &[u8]| {
                let name = line_name(line);
                name.eq_ignore_ascii_case(field.as_bytes())
            };
            lines.any(in_line) || own.clone().any(|name| name.eq_ignore_ascii_case(field))
        };
        let trace = !names("traceparent") && !names("tracestate");
        Self { request_id: request_id.is_some_and(|field| !names(field)), trace }
    }
}

/// The list of a fetch with one request for each item.
#[derive(Debug)]
pub struct Each {
    /// Items at most.
    pub max_items: usize,
    /// Items fetched at once.
    pub concurrency: usize,
    pub(super) list: ExpressionId,
}

impl Page {
    /// Which of the site's pages it is, from 0 on.
    pub fn place(&self) -> usize {
        self.place
    }

    /// The pattern of its paths, as written: also its name in metrics.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// From a request's parsed head to the last fetch.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Who goes first when not all can.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Fetches and lets. They may run in any order that heeds [`Node::needs`].
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The media type of what it makes.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Whether it may be packed for readers who take that.
    pub fn packs(&self) -> bool {
        self.packs
    }

    /// Whether it may hold what is its reader's alone: it looks at more than its address.
    pub fn is_personal(&self) -> bool {
        self.is_personal
    }

    /// Whether it is a part of other pages only, and nobody's by itself.
    pub fn is_internal(&self) -> bool {
        self.internal
    }

    /// The fragments that it asks for whatever happens, if it may ask for any.
    pub fn fragments(&self) -> Option<&[Ask]> {
        self.fragments.as_deref()
    }

    /// What its templates look at in a request; the rest need not be in [`Inputs`].
    pub fn uses(&self) -> Uses {
        self.uses
    }

    /// Why minijinja makes this page itself, if it does: something in its template that programs
    /// do not cover. The page is the same, and takes longer.
    pub fn uncovered(&self) -> Option<&Uncovered> {
        self.press.uncovered(self.template?)
    }

    /// What tells this page of this site from any other, if it is a function of its address and
    /// of what its fetches get: then the same inputs make the same bytes.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// The name of its template; empty where it has none.
    pub fn template(&self) -> &str {
        self.template.map_or("", |template| self.press.name(template))
    }

    /// Whether it answers anything beside its body: see [`Page::say`].
    pub fn says(&self) -> bool {
        self.answers.is_some()
    }

    /// Its status, fields, cookies and redirect, once all of its context is there.
    ///
    /// # Errors
    /// When an expression fails, or gives what cannot be.
    pub fn say(&self, context: &Context, asker: Asker) -> Result<Said, PageError> {
        let Some(answers) = &self.answers else {
            return Ok(Said { status: 200, has_body: true, ..Said::default() });
        };
        answers.say(&self.press, context, asker)
    }

    /// A context for one request.
    pub fn context(&self, inputs: Inputs) -> Context {
        Context::new(self.names.clone(), self.uses, inputs)
    }

    /// The items of a fetch with `each`; none when the list is none, as that of an optional
    /// fetch that failed.
    ///
    /// # Errors
    /// When the expression fails, gives no list, or one that is too long.
    pub fn items(&self, node: &Node, context: &Context) -> Result<Vec<Value>, PageError> {
        let Some(each) = node.fetch().and_then(|fetch| fetch.each.as_ref()) else {
            return Err(internal(format!("`{}` has no `each`", node.name)));
        };
        let list = self.press.evaluate(each.list, &context.root())?;
        let text = self.press.text(each.list);
        let place = self.press.place(each.list);
        match list.kind() {
            ValueKind::None => return Ok(Vec::new()),
            ValueKind::Seq | ValueKind::Iterable => {}
            kind => {
                let found = kind_name(kind);
                let message = format!("each `{text}` must be a list, not {found} (in {place})");
                return Err(internal(message));
            }
        }
        let iter = list.try_iter().map_err(|error| internal(format!("`{text}`: {error}")))?;
        let items: Vec<Value> = iter.take(each.max_items + 1).collect();
        if items.len() > each.max_items {
            let max = each.max_items;
            let length = match list.len() {
                Some(length) => format!("{length} items"),
                None => format!("more than {max} items"),
            };
            let message = format!(
                "each `{text}` has {length}, over max_items = {max}: slice it, as in \
                 `({text})[:{max}]`, or raise max_items (in {place})"
            );
            return Err(internal(message));
        }
        Ok(items)
    }

    /// Appends the target of a fetch, base path and query included, and its header fields, each
    /// with its CRLF. `item` is the item of an `each` and its index. On an error nothing is
    /// appended.
    ///
    /// # Errors
    /// When a template fails or a value cannot be where it is printed.
    pub fn fetch_request(
        &self,
        node: &Node,
        context: &Context,
        item: Option<(&Value, usize)>,
        target: &mut Vec<u8>,
        headers: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        let NodeKind::Fetch(fetch) = &node.kind else {
            return Err(internal(format!("`{}` is not a fetch", node.name)));
        };
        let root = match item {
            Some((it, index)) => context.item_root(it, index),
            None => context.root(),
        };
        let (target_start, headers_start) = (target.len(), headers.len());
        let written = fetch.write(&self.press, &root, target, headers);
        written.map_err(|error| {
            target.truncate(target_start);
            headers.truncate(headers_start);
            let message = format!("fetch `{}` could not be asked for", node.name);
            error.within(message)
        })
    }

    /// The value of a let.
    ///
    /// # Errors
    /// When its expression fails.
    pub fn evaluate(&self, node: &Node, context: &Context) -> Result<Value, PageError> {
        match &node.kind {
            NodeKind::Let(expression) => self.press.evaluate_let(*expression, &context.root()),
            NodeKind::Fetch(_) => Err(internal(format!("`{}` is not a let", node.name))),
        }
    }

    /// Appends the page. On an error nothing is appended.
    ///
    /// # Errors
    /// When the template fails or makes too much.
    pub fn render(&self, context: &Context, out: &mut Vec<u8>) -> Result<(), PageError> {
        let Some(template) = self.template else {
            return Err(internal(format!("the page `{}` has no template", self.pattern)));
        };
        let start = out.len();
        self.press.page(template, &self.binding, context, out)?;
        if self.content_type.ends_with("xml") {
            replace_forbidden(out, start);
        }
        Ok(())
    }
}

impl Fetch {
    fn write(
        &self,
        press: &Press,
        root: &Value,
        target: &mut Vec<u8>,
        headers: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        target.extend_from_slice(self.base_path.as_bytes());
        self.path.write(press, root, target)?;
        self.query.write(press, root, target)?;
        let start = headers.len();
        headers.extend_from_slice(&self.constant_headers);
        for field in &self.headers {
            field.write(press, root, headers)?;
        }
        let length = headers.len() - start;
        if length > crate::limits::FETCH_HEADERS_BYTES_MAX {
            let max = crate::limits::FETCH_HEADERS_BYTES_MAX;
            let message = format!("its header fields are over {max} bytes");
            return Err(PageError::new(PageErrorKind::BadRequest, message));
        }
        Ok(())
    }
}

fn internal(message: String) -> PageError {
    PageError::new(PageErrorKind::Internal, message)
}

/// The header lines of an upstream that a fetch with fields of these names does not say otherwise,
/// and our name, since there are APIs that refuse a nameless client.
pub(super) fn constant_headers<'a>(
    upstream: &[u8],
    own: impl Iterator<Item = &'a str> + Clone,
) -> Vec<u8> {
    let is_own = |name: &[u8]| own.clone().any(|n| n.as_bytes().eq_ignore_ascii_case(name));
    let mut kept = Vec::new();
    let mut named = is_own(b"user-agent");
    for line in upstream.split_inclusive(|&byte| byte == b'\n') {
        let name = line_name(line);
        if !is_own(name) {
            kept.extend_from_slice(line);
            named |= name.eq_ignore_ascii_case(b"user-agent");
        }
    }
    if !named {
        kept.extend_from_slice(USER_AGENT.as_bytes());
    }
    kept
}

const USER_AGENT: &str = concat!("User-Agent: ringpress/", env!("CARGO_PKG_VERSION"), "\r\n");

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(upstream: &str, own: &[&str]) -> String {
        String::from_utf8(constant_headers(upstream.as_bytes(), own.iter().copied())).unwrap()
    }

    #[test]
    fn what_is_named_is_not_sent_twice() {
        let ties = |upstream: &str, own: &[&str], id| {
            let Ties { request_id, trace } =
                Ties::new(upstream.as_bytes(), own.iter().copied(), id);
            (request_id, trace)
        };
        assert_eq!(ties("", &[], Some("X-Request-Id")), (true, true));
        assert_eq!(ties("", &[], None), (false, true));
        assert_eq!(ties("A: b\r\nx-request-id: 1\r\n", &[], Some("X-Request-Id")), (false, true));
        assert_eq!(ties("", &["Traceparent"], Some("X-Request-Id")), (true, false));
    }

    #[test]
    fn a_fetch_goes_before_its_upstream_and_every_request_has_a_user_agent() {
        assert_eq!(lines("", &[]), USER_AGENT);
        assert_eq!(lines("", &["user-agent"]), "");
        let upstream = "Accept: a\r\nUser-Agent: me\r\n";
        assert_eq!(lines(upstream, &[]), upstream);
        assert_eq!(lines(upstream, &["accept"]), "User-Agent: me\r\n");
        assert_eq!(lines(upstream, &["User-agent"]), "Accept: a\r\n");
    }
}
