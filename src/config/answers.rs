//! What a `[[page]]` answers beside its body, as written: `status`, `redirect`, `headers`,
//! `set_cookie`, `session`, `end_session`.

use super::cookies::{self, CookieTable};
use super::headers::is_own_response_field;
use super::reader::{At, Entry, Reader, has_key, integer};
use super::upstreams::header_name_trouble;
use toml::de::DeValue;

/// What a page answers beside its body.
#[derive(Clone, Debug, Default)]
pub struct AnswerTable {
    /// The template of its status.
    pub status: Option<At<String>>,
    /// Where it sends visitors, if it does.
    pub redirect: Option<RedirectTable>,
    /// Names and templates of its header fields.
    pub headers: Vec<(At<String>, At<String>)>,
    /// Cookies that it sets.
    pub cookies: Vec<CookieTable>,
    /// Names and templates of what it puts into the session.
    pub session: Vec<(At<String>, At<String>)>,
    /// An expression: whether the session ends.
    pub end_session: Option<At<String>>,
}

/// `redirect`.
#[derive(Clone, Debug)]
pub struct RedirectTable {
    /// The template of where to.
    pub to: At<String>,
    /// The status of the answer.
    pub status: u16,
    /// Origins beside this site that an expression may lead to.
    pub origins: Vec<At<String>>,
}

/// Reads a key of a page, if it is one of these; whether it is.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>, into: &mut AnswerTable) -> bool {
    match entry.key {
        "status" => into.status = reader.text(entry),
        "redirect" => into.redirect = read_redirect(reader, entry),
        "headers" => {
            refuse_false(reader, entry);
            let fields = reader.fields(entry);
            into.headers = fields.into_iter().filter(|(name, _)| is_fine(reader, name)).collect();
        }
        "set_cookie" => into.cookies = cookies::read(reader, entry),
        "session" => into.session = reader.texts(entry),
        "end_session" => into.end_session = reader.string(entry),
        _ => return false,
    }
    true
}

/// Complains of a field that is to be left out, as those of all HTML can be in `[server.headers]`:
/// here it would be sent with that for its text.
fn refuse_false(reader: &mut Reader<'_>, table: &Entry<'_>) {
    for entry in reader.table(table) {
        if entry.value.get_ref().as_bool() == Some(false) {
            let message = format!("header `{}` cannot be left out by a page", entry.key);
            let hint = "only [server.headers] takes `false`, for all HTML; for the text write \
                        \"false\"";
            reader.problem_hint(entry.value.span(), message, hint);
        }
    }
}

fn read_redirect(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<RedirectTable> {
    if !matches!(entry.value.get_ref(), DeValue::Table(_)) {
        let to = reader.string(entry)?;
        return Some(RedirectTable { to, status: SEE_OTHER, origins: Vec::new() });
    }
    let (mut to, mut status, mut origins) = (None, SEE_OTHER, Vec::new());
    for inner in &reader.table(entry) {
        match inner.key {
            "to" => to = reader.string(inner),
            "status" => match integer(inner.value.get_ref()).and_then(|n| u16::try_from(n).ok()) {
                Some(number) if STATUSES.contains(&number) => status = number,
                _ => reader.wrong_form(inner, "301, 302, 303, 307 or 308"),
            },
            "origins" => origins = reader.strings(inner),
            _ => reader.unknown_key(inner, REDIRECT_KEYS, "in `redirect`"),
        }
    }
    if !has_key(entry, "to") {
        let hint = "say where to, as in to = \"/items/{{ path.id }}\"";
        reader.problem_hint(entry.key_span.clone(), "`redirect` needs `to`", hint);
    }
    Some(RedirectTable { to: to?, status, origins })
}

/// Whether a page can say a field of this name; else it is a problem.
fn is_fine(reader: &mut Reader<'_>, name: &At<String>) -> bool {
    let text = &name.value;
    let (message, hint) = if let Some(trouble) = header_name_trouble(text) {
        trouble
    } else if let Some((_, key)) = ELSEWHERE.iter().find(|(n, _)| n.eq_ignore_ascii_case(text)) {
        (format!("header `{text}` is not written here"), format!("use {key}"))
    } else if is_own_response_field(text) && !text.eq_ignore_ascii_case("retry-after") {
        (format!("header `{text}` is ringpress's own to send"), "leave it out".to_owned())
    } else {
        return true;
    };
    reader.problem_hint(name.span.clone(), message, hint);
    false
}

/// Fields that have a key of their own.
const ELSEWHERE: &[(&str, &str)] = &[
    ("set-cookie", "set_cookie = { NAME = \"...\" }"),
    ("location", "redirect = \"...\""),
    ("strict-transport-security", "hsts of [server]"),
];
/// RFC 9110 section 15.4.4: whatever was asked, the answer is to be got from there by GET.
const SEE_OTHER: u16 = 303;
const STATUSES: &[u16] = &[301, 302, 303, 307, 308];
const REDIRECT_KEYS: &[&str] = &["to", "status", "origins"];
