//! How a fetch asks where that is more than a GET: `method`, `json`, `form`, `multipart`, `when`,
//! `accept`, as written.

use super::reader::{At, Entry, Reader, integer, is_empty_list};
use super::{fallback, forms};
use crate::limits;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;

/// How a fetch asks.
#[derive(Clone, Debug, Default)]
pub struct AsksTable {
    /// The name of its method, in capitals, if that is said.
    pub method: Option<At<&'static str>>,
    /// What it sends.
    pub body: Option<BodyTable>,
    /// An expression: where it is false nobody is asked.
    pub when: Option<At<String>>,
    /// Statuses besides 2xx whose JSON is the value too, and where that is said.
    pub accept: Option<At<Vec<u16>>>,
}

impl AsksTable {
    /// Whether answers may be kept for others: not where it changes something, and not what is
    /// of the moment.
    pub fn may_be_kept(&self) -> bool {
        self.method.as_ref().is_none_or(|method| method.value == "GET") && self.accept.is_none()
    }
}

/// What a fetch sends.
#[derive(Clone, Debug)]
pub struct BodyTable {
    /// Where it is written.
    pub span: Range<usize>,
    /// In which form, and what.
    pub kind: BodyKind,
}

/// A form in which something is sent, and the texts with expressions that are in it.
#[derive(Clone, Debug)]
pub enum BodyKind {
    /// `application/json`
    Json(JsonTable),
    /// `application/x-www-form-urlencoded`
    Form(Vec<(At<String>, At<String>)>),
    /// `multipart/form-data`
    Multipart(Vec<(At<String>, At<String>)>),
}

/// A value of TOML whose strings are texts with expressions.
#[derive(Clone, Debug)]
pub enum JsonTable {
    /// A string.
    Text(At<String>),
    /// What is neither that nor has any within, as JSON.
    Plain(String),
    /// A list.
    List(Vec<JsonTable>),
    /// A table, in the order it is written.
    Map(Vec<(String, JsonTable)>),
}

/// Reads an entry of a fetch, if it is one of these.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>, asks: &mut AsksTable) -> bool {
    let kind = match entry.key {
        "method" => {
            asks.method = read_method(reader, entry);
            return true;
        }
        "when" => {
            asks.when = reader.string(entry);
            return true;
        }
        "accept" => {
            asks.accept = read_accepted(reader, entry);
            return true;
        }
        "json" => read_json(reader, entry.value).map(BodyKind::Json),
        "form" => Some(BodyKind::Form(reader.texts(entry))),
        "multipart" => Some(BodyKind::Multipart(reader.texts(entry))),
        _ => return false,
    };
    if asks.body.is_some() {
        let hint = "a request has one body: `json`, `form` or `multipart`";
        reader.problem_hint(entry.key_span.clone(), "this fetch has a body already", hint);
    }
    asks.body = kind.map(|kind| BodyTable { span: entry.key_span.clone(), kind });
    true
}

/// Complains of what does not go together. `cache` is where a fetch itself asks to be kept.
pub(super) fn settle(reader: &mut Reader<'_>, asks: &AsksTable, cache: Option<Range<usize>>) {
    let is_get = asks.method.as_ref().is_none_or(|method| method.value == "GET");
    if let Some(body) = asks.body.as_ref().filter(|_| is_get) {
        let hint = "add method = \"POST\", or what the API wants";
        reader.problem_hint(body.span.clone(), "a GET has no body", hint);
    }
    let Some(cache) = cache else { return };
    if let Some(method) = asks.method.as_ref().filter(|_| !is_get) {
        let message = format!("`cache` on a fetch that is a {}", method.value);
        let hint = "it changes something, and so each page asks anew: leave `cache` out";
        reader.problem_hint(cache, message, hint);
    } else if asks.accept.is_some() {
        let hint = "what is accepted besides 2xx is of the moment: leave one of them out";
        reader.problem_hint(cache, "`cache` on a fetch with `accept`", hint);
    }
}

fn read_method(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<&'static str>> {
    let name = reader.string(entry)?;
    let known = forms::method(&name.value);
    if known.is_none() {
        let message = format!("`{}` is no method that a fetch can have", name.value);
        let hint = "there are GET, POST, PUT, PATCH and DELETE";
        reader.problem_hint(name.span.clone(), message, hint);
    }
    known.map(|value| At { value, span: name.span })
}

fn read_accepted(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<Vec<u16>>> {
    let one = std::slice::from_ref(entry.value);
    let items: Vec<_> = match entry.value.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => one.iter().collect(),
    };
    let status = |item: &&Spanned<DeValue<'_>>| {
        let status = integer(item.get_ref()).filter(|status| (300..600).contains(status))?;
        u16::try_from(status).ok()
    };
    let statuses: Option<Vec<u16>> = items.iter().map(status).collect();
    let fits = |statuses: &Vec<u16>| statuses.len() <= limits::ACCEPTED_STATUSES_MAX;
    match statuses.filter(|statuses| fits(statuses) && !is_empty_list(entry)) {
        Some(value) => Some(At { value, span: entry.key_span.clone() }),
        None => {
            reader.wrong_form(entry, "a list of statuses from 300 to 599, such as [409, 422]");
            None
        }
    }
}

/// How deep it can be the parser of TOML bounds.
fn read_json(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<JsonTable> {
    Some(match value.get_ref() {
        DeValue::String(text) => {
            JsonTable::Text(At { value: text.clone().into_owned(), span: value.span() })
        }
        DeValue::Array(items) => {
            let items = items.iter().map(|item| read_json(reader, item));
            JsonTable::List(items.collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let entries = reader.entries(table).into_iter();
            let entries =
                entries.map(|entry| Some((entry.key.to_owned(), read_json(reader, entry.value)?)));
            JsonTable::Map(entries.collect::<Option<_>>()?)
        }
        _ => {
            let mut plain = String::new();
            fallback::write(reader, value, &mut plain)?;
            JsonTable::Plain(plain)
        }
    })
}
