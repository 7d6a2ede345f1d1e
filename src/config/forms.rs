//! `method`, `form` and `csrf` of a page, and `trusted_origins`: what a page takes, as written.

use super::origin::Origin;
use super::reader::{At, Entry, Reader};
use crate::limits;
use std::ops::Range;

/// What a page takes.
#[derive(Clone, Debug)]
pub struct TakesTable {
    /// The names of its methods, in capitals; without HEAD and OPTIONS, which go without saying.
    pub methods: Vec<&'static str>,
    /// The body of a request, bytes; the server's bound where there is none.
    pub body_bytes_max: Option<u64>,
    /// Fields of a form.
    pub fields_max: usize,
    /// Whether requests that change something must come from the site itself.
    pub is_guarded: bool,
    /// Where something is said that needs a method that changes something.
    needs_unsafe: Vec<(Range<usize>, &'static str)>,
}

impl Default for TakesTable {
    fn default() -> Self {
        Self {
            methods: vec!["GET"],
            body_bytes_max: None,
            fields_max: limits::FORM_FIELDS_MAX,
            is_guarded: true,
            needs_unsafe: Vec::new(),
        }
    }
}

/// Reads an entry of `[[page]]`, if it is one of these.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>, takes: &mut TakesTable) -> bool {
    match entry.key {
        "method" => read_methods(reader, entry, takes),
        "form" => {
            takes.needs_unsafe.push((entry.key_span.clone(), "form"));
            for inner in &reader.table(entry) {
                match inner.key {
                    "max_body" => {
                        let mut size = 0;
                        reader.size(inner, limits::FORM_BODY_BYTES_LIMIT, &mut size);
                        takes.body_bytes_max = Some(size).filter(|size| *size > 0);
                    }
                    "max_fields" => {
                        reader.count(inner, 1, limits::FORM_FIELDS_LIMIT, &mut takes.fields_max);
                    }
                    _ => reader.unknown_key(inner, FORM_KEYS, "in `form`"),
                }
            }
        }
        "csrf" => {
            takes.needs_unsafe.push((entry.key_span.clone(), "csrf"));
            takes.is_guarded = reader.flag(entry).unwrap_or(true);
        }
        _ => return false,
    }
    true
}

/// Complains of what is said of forms where none can come.
pub(super) fn settle(reader: &mut Reader<'_>, takes: &TakesTable) {
    if takes.methods.iter().any(|name| *name != "GET") {
        return;
    }
    for (span, key) in &takes.needs_unsafe {
        let message = format!("`{key}` needs a method that takes a form");
        let hint = "add method = [\"GET\", \"POST\"] to the page";
        reader.problem_hint(span.clone(), message, hint);
    }
}

fn read_methods(reader: &mut Reader<'_>, entry: &Entry<'_>, takes: &mut TakesTable) {
    let mut methods = Vec::new();
    for name in reader.strings(entry) {
        match method(&name.value) {
            Some(known) if methods.contains(&known) => {
                reader.problem(name.span, format!("`{known}` is listed twice"));
            }
            Some(known) => methods.push(known),
            None => reader.problem_hint(
                name.span,
                format!("`{}` is no method that a page can have", name.value),
                "there are GET, POST, PUT, PATCH and DELETE; HEAD comes with GET",
            ),
        }
    }
    if super::reader::is_empty_list(entry) {
        let hint = "leave it out for GET alone";
        reader.problem_hint(entry.value.span(), "`method` is empty", hint);
    }
    takes.methods = methods;
}

/// A method that a page or a fetch can have.
pub(super) fn method(name: &str) -> Option<&'static str> {
    METHODS.iter().copied().find(|known| *known == name)
}

/// `trusted_origins`: other sites whose forms are taken. They are kept as browsers write them.
pub(super) fn read_origins(reader: &mut Reader<'_>, entry: &Entry<'_>, into: &mut Vec<String>) {
    let mut origins = Vec::new();
    for text in reader.strings(entry) {
        match origin(&text) {
            Some(origin) => origins.push(origin),
            None => reader.problem_hint(
                text.span.clone(),
                format!("`{}` is not an origin", text.value),
                "write scheme and host as browsers do, as in \"https://pay.example.com\"",
            ),
        }
    }
    if origins.len() > limits::TRUSTED_ORIGINS_MAX {
        let most = limits::TRUSTED_ORIGINS_MAX;
        reader.problem(entry.value.span(), format!("`trusted_origins` has more than {most}"));
    }
    *into = origins;
}

/// An origin, in lower case and without the port that goes without saying (RFC 6454 section 6.2).
fn origin(text: &At<String>) -> Option<String> {
    let parsed = Origin::parse(&text.value).ok().filter(|origin| origin.base_path.is_empty())?;
    let (scheme, rest) = text.value.split_once("://")?;
    let is_bare = !rest.contains(['/', '?', '#', '@']);
    is_bare.then(|| format!("{scheme}://{}", parsed.authority).to_ascii_lowercase())
}

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
const FORM_KEYS: &[&str] = &["max_body", "max_fields"];
