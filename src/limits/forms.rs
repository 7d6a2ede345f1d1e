//! Bounds of what visitors send, and of what fetches send on.

use std::time::Duration;

/// Fields of a form, those with files among them; a page may say otherwise. Over it: 413.
pub const FORM_FIELDS_MAX: usize = 1000;
/// The most fields that a page may ask for.
pub const FORM_FIELDS_LIMIT: usize = 100_000;
/// The longest body that a page may ask for, bytes: it is held in memory, with what is made of it.
pub const FORM_BODY_BYTES_LIMIT: u64 = 256 * 1024 * 1024;
/// The body of a fetch, bytes. Over it the page fails.
pub const FETCH_BODY_BYTES_MAX: usize = 384 * 1024 * 1024;
/// Boundaries that are tried for a multipart body until one is in none of its parts.
pub const BOUNDARIES_TRIED_MAX: u64 = 8;
/// How long an upstream connection may have been idle for a request that may not be sent twice. One
/// that has been for longer may be closed by now, with nobody told: such a request gets a new one.
pub const UPSTREAM_IDLE_UNREPEATABLE: Duration = Duration::from_secs(1);
/// Origins in `trusted_origins`.
pub const TRUSTED_ORIGINS_MAX: usize = 256;
/// Statuses in the `accept` of a fetch.
pub const ACCEPTED_STATUSES_MAX: usize = 32;

// A file that a page takes can be sent on, with all that is around it.
const _: () = assert!(FORM_BODY_BYTES_LIMIT < FETCH_BODY_BYTES_MAX as u64);
