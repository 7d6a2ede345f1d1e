//! `set_cookie` of a page, and the attributes that it shares with the cookie of a session, as
//! written (RFC 6265, and what browsers have agreed on since).

use super::reader::{At, Entry, Reader, has_key};
use super::units;
use std::time::Duration;
use toml::de::DeValue;

/// One cookie of `set_cookie`.
#[derive(Clone, Debug)]
pub struct CookieTable {
    /// Its name.
    pub name: At<String>,
    /// The template of its value.
    pub value: Option<At<String>>,
    /// An expression: whether the browser is told to forget it.
    pub delete: Option<At<String>>,
    /// Where it goes, and who may see it.
    pub attributes: CookieAttributes,
}

/// Where a cookie goes, how long it stays, and who may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttributes {
    /// How long it stays; until the browser ends where there is none.
    pub max_age: Option<Duration>,
    /// Below which path it is sent.
    pub path: String,
    /// To which domain, and those below it; to this host alone where there is none.
    pub domain: Option<String>,
    /// Whether it goes along with requests that other sites have caused.
    pub same_site: SameSite,
    /// Whether scripts cannot see it.
    pub http_only: bool,
    /// Whether it is sent over HTTPS alone.
    pub secure: bool,
    /// Whether it is another one below each site that this one is embedded in.
    pub partitioned: bool,
}

/// `same_site`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never with a request from elsewhere.
    Strict,
    /// With a link that somebody follows.
    Lax,
    /// With all requests.
    None,
}

impl SameSite {
    /// As it stands in the cookie.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl Default for CookieAttributes {
    fn default() -> Self {
        Self {
            max_age: None,
            path: "/".to_owned(),
            domain: None,
            same_site: SameSite::Lax,
            http_only: true,
            secure: true,
            partitioned: false,
        }
    }
}

/// All cookies of `set_cookie`, each a text, or a table with more.
pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Vec<CookieTable> {
    reader.table(table).iter().filter_map(|entry| read_cookie(reader, entry)).collect()
}

fn read_cookie(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<CookieTable> {
    let name = At { value: entry.key.to_owned(), span: entry.key_span.clone() };
    let attributes = CookieAttributes::default();
    let mut cookie = CookieTable { name, value: None, delete: None, attributes };
    match entry.value.get_ref() {
        DeValue::Table(_) => {
            for inner in &reader.table(entry) {
                let attributes = &mut cookie.attributes;
                match inner.key {
                    "value" => cookie.value = reader.text(inner),
                    "delete" => cookie.delete = reader.string(inner),
                    "http_only" => attributes.http_only = reader.flag(inner).unwrap_or(true),
                    "partitioned" => {
                        attributes.partitioned = reader.flag(inner).unwrap_or_default();
                    }
                    _ if read_attribute(reader, inner, attributes) => {}
                    _ => reader.unknown_key(inner, KEYS, &format!("in cookie `{}`", entry.key)),
                }
            }
            if !has_key(entry, "value") && !has_key(entry, "delete") {
                let message = format!("cookie `{}` has neither `value` nor `delete`", entry.key);
                let hint = "add value = \"{{ ... }}\", or delete = \"true\" for one to forget";
                reader.problem_hint(entry.key_span.clone(), message, hint);
            }
        }
        _ => cookie.value = Some(reader.text(entry)?),
    }
    check(reader, &cookie.name, &cookie.attributes).then_some(cookie)
}

/// Reads an attribute that all cookies can have; whether it is one.
pub(super) fn read_attribute(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    attributes: &mut CookieAttributes,
) -> bool {
    match entry.key {
        "max_age" => match entry.value.get_ref().as_str().and_then(units::parse_age) {
            Some(age) if !age.is_zero() => attributes.max_age = Some(age),
            _ => reader.wrong_form(entry, "a time such as \"365d\" or \"1h\""),
        },
        "path" => {
            let path = reader.string(entry).filter(|path| {
                let is_fine = path.value.starts_with('/') && is_plain(&path.value);
                if !is_fine {
                    reader.wrong_form(entry, "a path such as \"/\" or \"/shop\"");
                }
                is_fine
            });
            attributes.path = path.map_or_else(|| "/".to_owned(), |path| path.value);
        }
        "domain" => {
            let domain = reader.string(entry).filter(|domain| {
                let is_fine = is_domain(&domain.value);
                if !is_fine {
                    reader.wrong_form(entry, "a domain such as \"example.com\"");
                }
                is_fine
            });
            attributes.domain = domain.map(|domain| domain.value.to_ascii_lowercase());
        }
        "same_site" => {
            let text = entry.value.get_ref().as_str().unwrap_or_default();
            match text.to_ascii_lowercase().as_str() {
                "strict" => attributes.same_site = SameSite::Strict,
                "lax" => attributes.same_site = SameSite::Lax,
                "none" => attributes.same_site = SameSite::None,
                _ => reader.wrong_form(entry, "\"Lax\", \"Strict\" or \"None\""),
            }
        }
        "secure" => attributes.secure = reader.flag(entry).unwrap_or(true),
        _ => return false,
    }
    true
}

/// Complains of a cookie that browsers would not take, each about its name; whether it is fine.
pub(super) fn check(
    reader: &mut Reader<'_>,
    name: &At<String>,
    attributes: &CookieAttributes,
) -> bool {
    let text = &name.value;
    let CookieAttributes { secure, path, domain, same_site, partitioned, .. } = attributes;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let begins = |with: &str| text.get(..with.len()).is_some_and(|s| s.eq_ignore_ascii_case(with));
    let (message, hint) = if text.is_empty() || !text.bytes().all(is_token) {
        let hint = "a name is letters, digits and any of !#$%&'*+-.^_`|~";
        (format!("`{text}` cannot be the name of a cookie"), hint)
    } else if begins("__Host-") && (!secure || path != "/" || domain.is_some()) {
        let hint = "leave `secure`, `path` and `domain` out, or give it another name";
        (format!("browsers take `{text}` only for HTTPS, the path / and no domain"), hint)
    } else if begins("__Secure-") && !secure {
        let hint = "leave `secure` out, or give it another name";
        (format!("browsers take `{text}` only for HTTPS"), hint)
    } else if *same_site == SameSite::None && !secure {
        let message = format!("browsers take `{text}` with SameSite=None only for HTTPS");
        (message, "leave `secure` out, or `same_site`")
    } else if *partitioned && !secure {
        let message = format!("browsers take `{text}` with Partitioned only for HTTPS");
        (message, "leave `secure` out, or `partitioned`")
    } else {
        return true;
    };
    reader.problem_hint(name.span.clone(), message, hint);
    false
}

/// Whether a text can be an attribute's value.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.split('.').all(is_label)
}

const KEYS: &[&str] = &[
    "value",
    "delete",
    "max_age",
    "path",
    "domain",
    "same_site",
    "http_only",
    "secure",
    "partitioned",
];
