//! Header fields toward visitors: `[server.headers]`, `request_id`, and `pass` of a fetch.

use super::reader::{At, Entry, Reader};
use super::upstreams::{header_name_trouble, header_value_trouble};
use toml::de::DeValue;

/// A field of all HTML that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageField {
    /// Its name.
    pub name: String,
    /// Its value; none when the field is not to be sent, though it usually is.
    pub value: Option<String>,
}

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Vec<PageField> {
    let mut fields: Vec<PageField> = Vec::new();
    for entry in reader.table(table) {
        let name = At { value: entry.key.to_owned(), span: entry.key_span.clone() };
        if !is_fine(reader, &name) {
            continue;
        }
        if fields.iter().any(|field| field.name.eq_ignore_ascii_case(entry.key)) {
            reader.problem(entry.key_span.clone(), format!("`{}` is there twice", entry.key));
            continue;
        }
        let value = match entry.value.get_ref() {
            DeValue::Boolean(false) => None,
            DeValue::String(text) if header_value_trouble(text.as_bytes()) => {
                let message = format!("the value of `{}` holds a control character", entry.key);
                reader.problem(entry.value.span(), message);
                continue;
            }
            DeValue::String(text) if text.contains("{{") || text.contains("{%") => {
                let message =
                    format!("`{}` has an expression, which nothing is made of", entry.key);
                let hint = "what [server.headers] says goes out as it is written: say it in \
                            `headers` of the pages that are to have it";
                reader.problem_hint(entry.value.span(), message, hint);
                continue;
            }
            DeValue::String(text) => Some(text.trim().to_owned()),
            _ => {
                reader.wrong_form(&entry, "a string, or false for a field that is not sent");
                continue;
            }
        };
        fields.push(PageField { name: name.value, value });
    }
    fields
}

pub(super) fn read_request_id(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    into: &mut Option<String>,
) {
    match entry.value.get_ref() {
        DeValue::Boolean(false) => *into = None,
        DeValue::String(_) => {
            if let Some(name) = reader.string(entry)
                && is_fine(reader, &name)
            {
                *into = Some(name.value);
            }
        }
        _ => reader.wrong_form(entry, "the name of a header such as \"X-Request-Id\", or false"),
    }
}

pub(super) fn read_passed(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<At<String>> {
    let mut passed: Vec<At<String>> = Vec::new();
    for name in reader.strings(entry) {
        let text = &name.value;
        let is_there = passed.iter().any(|other| other.value.eq_ignore_ascii_case(text));
        let (message, hint) = if text.contains('*') {
            let message = format!("`{text}` is no name of a header");
            (message, "`pass` takes names alone: list those that visitors are to get")
        } else if is_there {
            (format!("`{text}` is there twice"), "leave one of them out")
        } else if text.eq_ignore_ascii_case(HSTS) {
            (format!("header `{text}` is not for an upstream to say"), "use hsts of [server]")
        } else {
            if is_fine(reader, &name) {
                passed.push(name);
            }
            continue;
        };
        reader.problem_hint(name.span, message, hint);
    }
    passed
}

/// Whether a response can have a field of this name that is not ours; else it is a problem.
fn is_fine(reader: &mut Reader<'_>, name: &At<String>) -> bool {
    if let Some((message, hint)) = header_name_trouble(&name.value) {
        reader.problem_hint(name.span.clone(), message, hint);
        return false;
    }
    if is_own_response_field(&name.value) {
        let message = format!("header `{}` is ringpress's own to send", name.value);
        reader.problem_hint(name.span.clone(), message, "leave it out");
        return false;
    }
    true
}

/// Whether a field of responses is made from the page itself.
pub fn is_own_response_field(name: &str) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// It holds for all of the site, whatever a page fetches.
const HSTS: &str = "strict-transport-security";
const OWN: &[&str] = &[
    "accept-ranges",
    "age",
    "allow",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "retry-after",
];
