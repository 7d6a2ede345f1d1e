//! Sessions: a few values that a visitor's browser keeps for the site, in a cookie that nobody else
//! can read or change. The `cookie` crate seals it (AES-256-GCM under a key that HKDF derives from
//! the site's; the cookie's name is authenticated with it); when it was sealed is inside, so that a
//! copy lasts no longer than the browser's own.
//!
//! Nonces are random: after some 2^32 cookies a key should be followed by another, and long before
//! that by good habit.

use super::cookies::{CookieShape, TooLong};
use super::given::{from_environment, read_file, readable};
use crate::config::{At, Problem, SESSION_KEY_HINT, Session, SourceFile};
use crate::limits::{SESSION_AGE_MAX, SESSION_COOKIES_TRIED_MAX, SESSION_KEY_BYTES_MIN};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cookie::{Cookie, CookieJar, Key};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The values of a session, by their names.
pub type SessionValues = serde_json::Map<String, serde_json::Value>;

/// How sessions are sealed and opened.
#[derive(Debug)]
pub struct SessionPlan {
    /// The first seals; those of before still open.
    keys: Vec<Key>,
    pub(super) shape: CookieShape,
}

/// What is in a cookie.
#[derive(Serialize, Deserialize)]
struct Sealed<V> {
    /// When it was sealed, in seconds since 1970.
    at: i64,
    values: V,
}

/// What came of the cookies of a request.
#[derive(Debug, Default)]
pub struct Opened {
    /// The values; none where no cookie could be opened.
    pub values: SessionValues,
    /// Whether there was one that is none: changed, too old, or sealed by others.
    pub refused: bool,
}

impl SessionPlan {
    /// The plan that a site file and its keys make.
    pub(super) fn read(
        written: &Session,
        file: &SourceFile,
        folder: &Path,
        problems: &mut Vec<Problem>,
        notes: &mut Vec<String>,
    ) -> Option<Self> {
        let mut keys = Vec::new();
        for named in &written.keys {
            match read_key(named, folder, notes) {
                Ok(key) if keys.contains(&key) => {
                    let problem = file.problem(named.span.clone(), "this key is there twice");
                    problems.push(problem.hint("leave one of them out"));
                }
                Ok(key) => keys.push(key),
                Err((message, hint)) => {
                    problems.push(file.problem(named.span.clone(), message).hint(hint));
                }
            }
        }
        if let ([first, others @ ..], true) =
            (written.keys.as_slice(), keys.len() == written.keys.len())
        {
            let older = match others.len() {
                0 => String::new(),
                count => format!("; {count} more open those of before"),
            };
            notes.push(format!("sessions are sealed with `{}`{older}", first.value));
        }
        (!keys.is_empty()).then(|| Self::new(written, keys))
    }

    fn new(written: &Session, keys: Vec<Key>) -> Self {
        Self { keys, shape: CookieShape::new(&written.name, &written.attributes) }
    }

    /// What is in these cookies of a request, names and values: in the first that can be opened.
    pub fn open<'a>(&self, pairs: impl Iterator<Item = (&'a str, &'a str)>, now: i64) -> Opened {
        let named = pairs.filter(|(name, value)| *name == self.shape.name && !value.is_empty());
        let mut refused = false;
        for (_, value) in named.take(SESSION_COOKIES_TRIED_MAX) {
            match self.open_one(value, now) {
                Some(values) => return Opened { values, refused },
                None => refused = true,
            }
        }
        Opened { refused, ..Opened::default() }
    }

    fn open_one(&self, value: &str, now: i64) -> Option<SessionValues> {
        let jar = CookieJar::new();
        let sealed = Cookie::new(self.shape.name.clone(), value.to_owned());
        let mut opened =
            self.keys.iter().filter_map(|key| jar.private(key).decrypt(sealed.clone()));
        let opened = opened.next()?;
        let sealed: Sealed<SessionValues> = serde_json::from_str(opened.value()).ok()?;
        let max_age = self.shape.max_age().unwrap_or(SESSION_AGE_MAX).as_secs();
        let is_fresh = u64::try_from(now.saturating_sub(sealed.at)).unwrap_or(0) < max_age;
        is_fresh.then_some(sealed.values)
    }

    /// The value of a cookie with these values in it.
    pub fn seal(&self, values: &SessionValues, now: i64) -> Option<String> {
        let text = serde_json::to_string(&Sealed { at: now, values }).ok()?;
        let mut jar = CookieJar::new();
        jar.private_mut(self.keys.first()?).add(Cookie::new(self.shape.name.clone(), text));
        Some(jar.get(&self.shape.name)?.value().to_owned())
    }

    /// Appends the line that has the browser keep these values; the one that ends its session where
    /// there are none.
    ///
    /// # Errors
    /// How long the cookie would be, in words.
    pub(super) fn write(
        &self,
        values: &SessionValues,
        now: i64,
        is_plain_loopback: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if values.is_empty() {
            self.shape.delete(is_plain_loopback, out);
            return Ok(());
        }
        let value = self.seal(values, now).ok_or("the session cannot be sealed")?;
        self.shape.set(&value, is_plain_loopback, out).map_err(|TooLong(length)| {
            let max = crate::limits::COOKIE_BYTES_MAX;
            format!("the session is too large: a cookie of {length} bytes, over {max}")
        })
    }
}

/// A key, or what is wrong with it, and the remedy. Nothing of what it holds is told.
fn read_key(
    named: &At<String>,
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<Key, (String, String)> {
    let hint = || SESSION_KEY_HINT.to_owned();
    let place = &named.value;
    let text = match place.strip_prefix("env:") {
        Some(name) => from_environment(name).ok_or_else(|| {
            let message = format!("the environment has no `{name}` with a key of sessions");
            (message, "set it to what `head -c 64 /dev/urandom | base64 -w0` gives".to_owned())
        })?,
        None => {
            let path = folder.join(place);
            let (text, is_open) = read_file(&path)
                .map_err(|why| (format!("the key `{place}` cannot be read: {why}"), hint()))?;
            if is_open {
                notes.push(readable(&format!("the key `{place}` of sessions"), place));
            }
            text
        }
    };
    let text: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(text).map_err(|_| (format!("`{place}` is not base64"), hint()))?;
    if bytes.len() < SESSION_KEY_BYTES_MIN {
        let (length, min) = (bytes.len(), SESSION_KEY_BYTES_MIN);
        let message = format!("the key `{place}` has {length} bytes, and takes {min} at least");
        return Err((message, hint()));
    }
    Ok(Key::derive_from(&bytes))
}
