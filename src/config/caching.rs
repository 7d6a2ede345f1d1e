//! `cache`: whether and how the answers to a fetch are kept, as written.

use super::reader::{Entry, Reader};
use std::ops::Range;
use std::time::Duration;
use toml::de::DeValue;

/// `cache` of a fetch, or of a page for its fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTable {
    /// Where it is written.
    pub span: Range<usize>,
    /// Whether answers are kept at all.
    pub is_on: bool,
    /// How long an answer is fresh; what it says itself where there is none.
    pub ttl: Option<Duration>,
    /// How long after that it may be shown while it is asked for again.
    pub stale_while_revalidate: Option<Duration>,
    /// How long after that it may be shown when asking again fails.
    pub stale_if_error: Option<Duration>,
    /// Whether fetches that ask for the same at the same time share one call.
    pub coalesce: bool,
    /// Whether answers to requests with credentials, and those for one user alone, are kept too.
    pub credentials: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<CacheTable> {
    let mut cache = CacheTable {
        span: entry.key_span.clone(),
        is_on: true,
        ttl: None,
        stale_while_revalidate: None,
        stale_if_error: None,
        coalesce: true,
        credentials: false,
    };
    match entry.value.get_ref() {
        DeValue::Boolean(is_on) => cache.is_on = *is_on,
        DeValue::String(_) => cache.ttl = duration(reader, entry),
        DeValue::Table(_) => {
            for inner in &reader.table(entry) {
                match inner.key {
                    "ttl" => cache.ttl = duration(reader, inner),
                    "stale_while_revalidate" => {
                        cache.stale_while_revalidate = duration(reader, inner);
                    }
                    "stale_if_error" => cache.stale_if_error = duration(reader, inner),
                    "coalesce" => cache.coalesce = reader.flag(inner).unwrap_or(true),
                    "credentials" => cache.credentials = reader.flag(inner).unwrap_or_default(),
                    _ => reader.unknown_key(inner, KEYS, "in `cache`"),
                }
            }
        }
        _ => {
            let wanted = "true, a duration such as \"30s\", or a table such as { ttl = \"30s\" }";
            reader.wrong_form(entry, wanted);
            return None;
        }
    }
    Some(cache)
}

fn duration(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Duration> {
    let mut duration = Duration::ZERO;
    reader.duration(entry, &mut duration);
    Some(duration).filter(|duration| !duration.is_zero())
}

const KEYS: &[&str] =
    &["ttl", "stale_while_revalidate", "stale_if_error", "coalesce", "credentials"];
