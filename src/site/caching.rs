//! How the answers to a fetch are kept: what its table and its page's say, put together.

use crate::config::CacheTable;
use crate::http::caching::Declared;
use crate::http::line_name;
use std::ops::Range;

/// How answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// What goes before some of what answers say.
    pub declared: Declared,
    /// Whether fetches that ask for the same at the same time share one call.
    pub coalesce: bool,
}

/// Where something is wrong, what, and the remedy.
type Trouble = (Range<usize>, String, String);

impl Caching {
    /// What a fetch's table says, or else its page's. Requests with credentials are kept only if
    /// that is said: where a fetch that sends them asks to be kept it is a mistake not to, and what
    /// a page says is not for it.
    pub(super) fn new<'a>(
        own: Option<&CacheTable>,
        of_page: Option<&CacheTable>,
        upstream_headers: &[u8],
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Option<Self>, Trouble> {
        let Some(table) = own.or(of_page).filter(|table| table.is_on) else { return Ok(None) };
        let lines = || {
            upstream_headers
                .split(|&byte| byte == b'\n')
                .filter_map(|line| std::str::from_utf8(line_name(line)).ok())
        };
        let in_upstream = lines().find(|name| is_credential(name));
        let own_names: Vec<&str> = names.collect();
        let all_names = own_names.iter().copied().chain(lines());
        if let Some(name) = all_names.into_iter().find(|name| is_condition(name)) {
            return match own {
                None => Ok(None),
                Some(_) => {
                    let message = format!("`cache` on a fetch that sends `{name}`");
                    let hint = "leave the field out: kept answers are asked for with their own";
                    Err((table.span.clone(), message, hint.to_owned()))
                }
            };
        }
        let credential = own_names.into_iter().find(|name| is_credential(name)).or(in_upstream);
        match credential {
            Some(name) if !table.credentials && own.is_some() => {
                let message = format!("`cache` on a fetch that sends `{name}`");
                let hint = "its answers may be for one user alone: write cache = { credentials = \
                            true, ... } to keep them, for each value of it apart";
                Err((table.span.clone(), message, hint.to_owned()))
            }
            Some(_) if !table.credentials => Ok(None),
            _ => Ok(Some(Self {
                declared: Declared {
                    ttl: table.ttl,
                    stale_while_revalidate: table.stale_while_revalidate,
                    stale_if_error: table.stale_if_error,
                    credentials: table.credentials,
                },
                coalesce: table.coalesce,
            })),
        }
    }
}

/// Whether a field of a request says who asks.
fn is_credential(name: &str) -> bool {
    is_one_of(name, &["authorization", "cookie", "proxy-authorization"])
}

/// Whether a field of a request asks for something else than an answer as it is: what comes then
/// may not be one to keep.
fn is_condition(name: &str) -> bool {
    const CONDITIONS: &[&str] = &[
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
    ];
    is_one_of(name, CONDITIONS)
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}
