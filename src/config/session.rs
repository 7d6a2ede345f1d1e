//! `[server.session]`: where the keys of sessions are, and the cookie that a session is, as
//! written. Never a key itself: site files are shown and shared.

use super::cookies::{self, CookieAttributes};
use super::reader::{At, Entry, Reader, has_key};
use crate::limits::{SESSION_AGE_MAX, SESSION_KEYS_MAX};

/// `[server.session]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Where its keys are, files or `env:NAME`. The first seals, all of them open.
    pub keys: Vec<At<String>>,
    /// The name of its cookie.
    pub name: String,
    /// Where that goes, and how long a session lasts.
    pub attributes: CookieAttributes,
}

/// How a key of sessions is made.
pub const SESSION_KEY_HINT: &str = "make one with `head -c 64 /dev/urandom | base64 > session.key`";

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Option<Session> {
    let attributes =
        CookieAttributes { max_age: Some(SESSION_AGE_MAX), ..CookieAttributes::default() };
    let name = "session".to_owned();
    let mut session = Session { keys: Vec::new(), name, attributes };
    let mut name = At { value: session.name.clone(), span: table.key_span.clone() };
    for entry in &reader.table(table) {
        match entry.key {
            "keys" => {
                session.keys = reader.strings(entry);
                let count = session.keys.len();
                if count > SESSION_KEYS_MAX {
                    let message = format!("`keys` has {count} of them, over {SESSION_KEYS_MAX}");
                    let hint = "leave out those whose sessions have ended";
                    reader.problem_hint(entry.value.span(), message, hint);
                }
            }
            "name" => name = reader.string(entry).unwrap_or(name),
            _ if cookies::read_attribute(reader, entry, &mut session.attributes) => {}
            _ => reader.unknown_key(entry, KEYS, "in [server.session]"),
        }
    }
    let is_table = table.value.get_ref().as_table().is_some();
    if is_table && session.keys.is_empty() {
        let message = match has_key(table, "keys") {
            true => "`keys` names no key of sessions",
            false => "[server.session] needs `keys`",
        };
        let hint = format!("write keys = [\"session.key\"], and {SESSION_KEY_HINT}");
        reader.problem_hint(table.key_span.clone(), message, hint);
    }
    cookies::check(reader, &name, &session.attributes);
    session.name = name.value;
    is_table.then_some(session)
}

const KEYS: &[&str] = &["keys", "name", "max_age", "path", "domain", "same_site", "secure"];
