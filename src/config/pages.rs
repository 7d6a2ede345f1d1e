//! `[[page]]`: a route, its fetches and lets, its template, as written.

use super::answers::{self, AnswerTable};
use super::asks::{self, AsksTable};
use super::caching::{self, CacheTable};
use super::forms::{self, TakesTable};
use super::reader::{At, Entry, Reader, has_key};
use super::{fallback, headers};
use crate::limits;
use std::ops::Range;
use std::time::Duration;
use toml::de::DeValue;

/// `[[page]]`.
#[derive(Clone, Debug)]
pub struct PageTable {
    /// Where the table is, for problems with what it lacks.
    pub span: Range<usize>,
    /// The pattern of its paths.
    pub path: Option<At<String>>,
    /// What requests it takes.
    pub takes: TakesTable,
    /// The file of its template.
    pub template: Option<At<String>>,
    /// From the parsed head to the last fetch.
    pub deadline: Duration,
    /// Who goes first when not all can.
    pub priority: Priority,
    /// Whether it may be packed.
    pub compress: bool,
    /// Whether it is a part of other pages only.
    pub internal: bool,
    /// How answers to its fetches are kept, where those do not say.
    pub cache: Option<CacheTable>,
    /// What it answers beside its body.
    pub answers: AnswerTable,
    /// `[page.fetch]`, in the order written.
    pub fetches: Vec<FetchTable>,
    /// `[page.let]`, in the order written.
    pub lets: Vec<LetTable>,
}

impl PageTable {
    /// One that says nothing yet.
    fn at(span: Range<usize>) -> Self {
        Self {
            span,
            path: None,
            takes: TakesTable::default(),
            template: None,
            deadline: limits::PAGE_DEADLINE,
            priority: Priority::Normal,
            compress: true,
            internal: false,
            cache: None,
            answers: AnswerTable::default(),
            fetches: Vec::new(),
            lets: Vec::new(),
        }
    }
}

/// `priority`: which pages are made when not all can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Those that are turned away first.
    Low,
    /// All that says nothing else.
    #[default]
    Normal,
    /// Those that are turned away last.
    High,
}

impl Priority {
    fn named(name: &str) -> Option<Self> {
        match name {
            "low" => Some(Self::Low),
            "normal" => Some(Self::Normal),
            "high" => Some(Self::High),
            _ => None,
        }
    }
}

/// One fetch of `[page.fetch]`.
#[derive(Clone, Debug)]
pub struct FetchTable {
    /// The name its JSON gets.
    pub name: At<String>,
    /// The upstream.
    pub from: Option<At<String>>,
    /// The template of its path.
    pub path: Option<At<String>>,
    /// How it asks, where that is more than a GET.
    pub asks: AsksTable,
    /// Names and templates of its query.
    pub query: Vec<(At<String>, At<String>)>,
    /// Names and templates of its header fields.
    pub headers: Vec<(At<String>, At<String>)>,
    /// An expression for a list: one request for each item.
    pub each: Option<At<String>>,
    /// Whether the page can do without.
    pub optional: bool,
    /// What stands for it where it failed, as JSON.
    pub fallback: Option<At<String>>,
    /// How answers are kept, if it says so.
    pub cache: Option<CacheTable>,
    /// Names of the fields of the response that the visitor gets too.
    pub pass: Vec<At<String>>,
    /// From its start to its last byte; the upstream's when there is none.
    pub deadline: Option<At<Duration>>,
    /// Items of `each`.
    pub max_items: usize,
    /// Items of `each` fetched at once.
    pub concurrency: usize,
}

/// One name of `[page.let]`.
#[derive(Clone, Debug)]
pub struct LetTable {
    /// The name.
    pub name: At<String>,
    /// The expression.
    pub expression: At<String>,
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<PageTable> {
    let DeValue::Array(items) = entry.value.get_ref() else {
        let hint = "write [[page]] with two brackets: a site has many";
        reader.problem_hint(entry.key_span.clone(), "`page` must be a list of tables", hint);
        return Vec::new();
    };
    let mut pages = Vec::new();
    for item in items.iter() {
        let table = Entry { key: "page", key_span: item.span(), value: item };
        pages.push(read_page(reader, &table));
    }
    pages
}

fn read_page(reader: &mut Reader<'_>, table: &Entry<'_>) -> PageTable {
    let mut page = PageTable::at(table.key_span.clone());
    let (mut has_path, mut has_template) = (false, false);
    for entry in &reader.table(table) {
        match entry.key {
            "path" => {
                has_path = true;
                page.path = reader.string(entry);
            }
            "template" => {
                has_template = true;
                page.template = reader.string(entry);
            }
            "deadline" => reader.duration(entry, &mut page.deadline),
            "priority" => match entry.value.get_ref().as_str().and_then(Priority::named) {
                Some(priority) => page.priority = priority,
                None => reader.wrong_form(entry, "\"high\", \"normal\" or \"low\""),
            },
            "compress" => page.compress = reader.flag(entry).unwrap_or(true),
            "internal" => page.internal = reader.flag(entry).unwrap_or_default(),
            "cache" => page.cache = caching::read(reader, entry),
            "fetch" => {
                for fetch in reader.table(entry) {
                    match fetch.value.get_ref() {
                        DeValue::Table(_) => page.fetches.push(read_fetch(reader, &fetch)),
                        _ => no_fetch(reader, &fetch),
                    }
                }
            }
            "let" => {
                for binding in reader.table(entry) {
                    let name = At { value: binding.key.to_owned(), span: binding.key_span.clone() };
                    if let Some(expression) = reader.string(&binding) {
                        page.lets.push(LetTable { name, expression });
                    }
                }
            }
            _ if answers::read(reader, entry, &mut page.answers) => {}
            _ if forms::read(reader, entry, &mut page.takes) => {}
            _ => reader.unknown_key(entry, PAGE_KEYS, "in [[page]]"),
        }
    }
    forms::settle(reader, &page.takes);
    for fetch in &page.fetches {
        if let Some(deadline) = &fetch.deadline
            && deadline.value > page.deadline
        {
            let name = &fetch.name.value;
            let message = format!("the deadline of fetch `{name}` is longer than its page's");
            let page_has = page.deadline;
            let hint = format!("the page has {page_has:?} for all: set `deadline` in [[page]]");
            reader.problem_hint(deadline.span.clone(), message, hint);
        }
    }
    if !has_path {
        let hint = "add path = \"/\", or wherever the page is";
        reader.problem_hint(page.span.clone(), "this page has no `path`", hint);
    }
    if !has_template && page.answers.redirect.is_none() {
        let hint = "add template = \"NAME.html\", a file beside site.toml";
        reader.problem_hint(page.span.clone(), "this page has no `template`", hint);
    }
    page
}

/// What stands in `[page.fetch]` and is no table: most likely a key of the page, below a line that
/// begins another table.
fn no_fetch(reader: &mut Reader<'_>, entry: &Entry<'_>) {
    let key = entry.key;
    let message = format!("`{key}` in [page.fetch] is no fetch");
    let hint = match PAGE_KEYS.contains(&key) {
        true => format!("where `{key}` is meant for the page, write it above [page.fetch]"),
        false => format!("a fetch is a table: {key} = {{ from = \"UPSTREAM\", path = \"/PATH\" }}"),
    };
    reader.problem_hint(entry.key_span.clone(), message, hint);
}

fn read_fetch(reader: &mut Reader<'_>, table: &Entry<'_>) -> FetchTable {
    let mut fetch = FetchTable {
        name: At { value: table.key.to_owned(), span: table.key_span.clone() },
        from: None,
        path: None,
        asks: AsksTable::default(),
        query: Vec::new(),
        headers: Vec::new(),
        each: None,
        optional: false,
        fallback: None,
        cache: None,
        pass: Vec::new(),
        deadline: None,
        max_items: limits::EACH_ITEMS_MAX,
        concurrency: limits::EACH_CONCURRENCY,
    };
    let mut seen = Vec::new();
    for entry in &reader.table(table) {
        seen.push(entry.key);
        match entry.key {
            "from" => fetch.from = reader.string(entry),
            "path" => fetch.path = reader.string(entry),
            "query" => fetch.query = reader.texts(entry),
            "headers" => fetch.headers = reader.fields(entry),
            "each" => fetch.each = reader.string(entry),
            "optional" => fetch.optional = reader.flag(entry).unwrap_or_default(),
            "fallback" => fetch.fallback = fallback::read(reader, entry),
            "cache" => fetch.cache = caching::read(reader, entry),
            "pass" => fetch.pass = headers::read_passed(reader, entry),
            "deadline" => {
                let mut deadline = limits::FETCH_DEADLINE;
                reader.duration(entry, &mut deadline);
                fetch.deadline = Some(At { value: deadline, span: entry.value.span() });
            }
            "max_items" => reader.count(entry, 1, ITEMS_MAX, &mut fetch.max_items),
            "concurrency" => reader.count(entry, 1, ITEMS_MAX, &mut fetch.concurrency),
            _ if asks::read(reader, entry, &mut fetch.asks) => {}
            _ => reader.unknown_key(entry, FETCH_KEYS, &format!("in fetch `{}`", table.key)),
        }
        if matches!(entry.key, "max_items" | "concurrency") && !has_key(table, "each") {
            let message = format!("`{}` needs `each`", entry.key);
            let hint = "it bounds a fetch that asks once for each item of a list";
            reader.problem_hint(entry.key_span.clone(), message, hint);
        }
    }
    settle_optional(reader, table, &mut fetch);
    let cache = fetch.cache.as_ref().filter(|cache| cache.is_on);
    asks::settle(reader, &fetch.asks, cache.map(|cache| cache.span.clone()));
    if fetch.each.is_some()
        && let Some(first) = fetch.pass.first()
    {
        let hint = "of many responses none is the one to take a field from";
        reader.problem_hint(first.span.clone(), "`pass` cannot be used with `each`", hint);
    }
    if matches!(table.value.get_ref(), DeValue::Table(_)) {
        for (key, hint) in [
            ("from", "add from = \"NAME\" of an upstream"),
            ("path", "add path = \"/...\", below the upstream's URL"),
        ] {
            if !seen.contains(&key) {
                let message = format!("fetch `{}` has no `{key}`", table.key);
                reader.problem_hint(table.key_span.clone(), message, hint);
            }
        }
    }
    fetch
}

/// What has something that stands for it is optional: to say otherwise is a mistake.
fn settle_optional(reader: &mut Reader<'_>, table: &Entry<'_>, fetch: &mut FetchTable) {
    let Some(fallback) = &fetch.fallback else { return };
    if has_key(table, "optional") && !fetch.optional {
        let message = "`fallback` stands for a fetch that the page can do without";
        let hint = "leave `optional = false` out, or the fallback";
        reader.problem_hint(fallback.span.clone(), message, hint);
    }
    fetch.optional = true;
}

/// More than any page should ask for; what bounds it in practice is the page's deadline.
const ITEMS_MAX: usize = 100_000;

const PAGE_KEYS: &[&str] = &[
    "path",
    "method",
    "form",
    "csrf",
    "template",
    "deadline",
    "priority",
    "compress",
    "internal",
    "cache",
    "status",
    "redirect",
    "headers",
    "set_cookie",
    "session",
    "end_session",
    "fetch",
    "let",
];
const FETCH_KEYS: &[&str] = &[
    "from",
    "path",
    "method",
    "query",
    "headers",
    "json",
    "form",
    "multipart",
    "when",
    "accept",
    "each",
    "optional",
    "fallback",
    "cache",
    "pass",
    "deadline",
    "max_items",
    "concurrency",
];
