//! Bounds of what a page says beside its body.

use std::time::Duration;

/// A value of Location, bytes. Over it: 500.
pub const LOCATION_BYTES_MAX: usize = 8 * 1024;
/// All fields that a page says itself, bytes, cookies included. Over it: 500.
pub const ANSWER_FIELDS_BYTES_MAX: usize = 16 * 1024;
/// A cookie that is set, bytes, with its attributes: browsers take no more. Over it: an error.
pub const COOKIE_BYTES_MAX: usize = 4096;
/// Cookies of a request that are looked at; browsers keep fewer for a site.
pub const COOKIES_READ_MAX: usize = 256;
/// How long a session lasts after a page has last put something into it, unless the site says so.
pub const SESSION_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);
/// Keys of sessions: one that seals, and those of before.
pub const SESSION_KEYS_MAX: usize = 8;
/// Such a key, random bytes; none of fewer is hard to guess.
pub const SESSION_KEY_BYTES_MIN: usize = 32;
/// A file with a secret, as such a key or the value of an upstream's header, bytes. Over it: an
/// error.
pub const SECRET_FILE_BYTES_MAX: u64 = 4096;
/// Cookies of a session's name that are tried; there are several where others set some, too.
pub const SESSION_COOKIES_TRIED_MAX: usize = 4;

const _: () = assert!(LOCATION_BYTES_MAX + COOKIE_BYTES_MAX <= ANSWER_FIELDS_BYTES_MAX);
