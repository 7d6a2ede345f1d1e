//! What an answer says about being kept (RFC 9111, RFC 5861): may it be, for how long is it fresh,
//! and how long may it be shown after that.
//!
//! Arithmetic only: ages and times come in as numbers. There is no heuristic freshness: an answer
//! that does not say how long it is fresh is not. What cannot be read counts as stale, and of two
//! answers to one question the stricter one counts (section 4.2.1).

use std::time::Duration;

use super::{Headers, line_name};

/// What an answer says about being kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    control: Option<CacheControl>,
    /// The time in Expires, seconds since 1970; 0 for one that cannot be read (section 5.3).
    expires: Option<u64>,
    date: Option<u64>,
    age: Option<u64>,
    /// Whether Vary has `*`: no request is like the one this answers (section 4.1).
    varies_by_all: bool,
    /// Names in Vary, in lower case, with commas between them.
    vary: Vec<u8>,
    set_cookie: bool,
}

/// Cache-Control in an answer (section 5.2.2); times in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CacheControl {
    no_store: bool,
    no_cache: bool,
    private: bool,
    must_revalidate: bool,
    max_age: Option<u64>,
    s_maxage: Option<u64>,
    stale_while_revalidate: Option<u64>,
    stale_if_error: Option<u64>,
}

/// What a site says, which goes before some of what answers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// How long an answer is fresh, whatever it says itself.
    pub ttl: Option<Duration>,
    /// How long after that it may be shown while it is asked for again.
    pub stale_while_revalidate: Option<Duration>,
    /// How long it may be shown when asking again fails.
    pub stale_if_error: Option<Duration>,
    /// Whether what is for one user alone may be kept, for requests with the same credentials.
    pub credentials: bool,
}

/// What may be done with a kept answer: spans of time, each from when the answer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// It may be shown as it is.
    pub fresh: Duration,
    /// It may be shown while it is asked for again.
    pub while_revalidate: Duration,
    /// It may be shown when asking again fails.
    pub if_error: Duration,
}

/// How old an answer is that comes out of another cache, if it says so and is (section 5.1).
pub fn age(headers: &Headers, buffer: &[u8]) -> Option<Duration> {
    let first = headers.get(buffer, b"age")?.split(|&byte| byte == b',').next()?;
    delta_seconds(first.trim_ascii()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// The fields of a trace (W3C Trace Context section 3).
const TRACE: [&[u8]; 2] = [b"traceparent", b"tracestate"];

impl Keeping {
    /// What these fields say; ranges of `buffer`.
    pub fn of(headers: &Headers, buffer: &[u8]) -> Self {
        let mut keeping = Self::default();
        for (name, value) in headers.iter(buffer) {
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("cache-control") {
                keeping.control.get_or_insert_default().read(value);
            } else if is("expires") {
                // A second one that says otherwise: stale.
                let time = http_date(value).unwrap_or(0);
                keeping.expires = Some(keeping.expires.map_or(time, |first| first.min(time)));
            } else if is("date") {
                keeping.date = keeping.date.or_else(|| http_date(value));
            } else if is("age") {
                // The first of a list counts, and what is no number is passed over (section 5.1).
                let first = value.split(|&byte| byte == b',').next().unwrap_or_default();
                keeping.age = keeping.age.or_else(|| delta_seconds(first.trim_ascii()));
            } else if is("vary") {
                keeping.read_vary(value);
            } else if is("set-cookie") {
                keeping.set_cookie = true;
            }
        }
        keeping
    }

    /// What a kept answer says once a 304 has come for it: what the 304 says, and for the rest what
    /// was said before (section 3.2).
    #[must_use]
    pub fn updated_by(&self, newer: Self) -> Self {
        let has_vary = newer.varies_by_all || !newer.vary.is_empty();
        Self {
            control: newer.control.or(self.control),
            expires: newer.expires.or(self.expires),
            // These are of the message, not of what is kept.
            date: newer.date,
            age: newer.age,
            varies_by_all: if has_vary { newer.varies_by_all } else { self.varies_by_all },
            vary: if has_vary { newer.vary } else { self.vary.clone() },
            set_cookie: newer.set_cookie,
        }
    }

    /// Whether others may have it than the one who asked, and may have it later.
    pub fn may_keep(&self, declared: &Declared) -> bool {
        let control = self.control.unwrap_or_default();
        let is_personal = control.private || self.set_cookie;
        !control.no_store && !self.varies_by_all && (declared.credentials || !is_personal)
    }

    /// Whether those may have it who asked the same while it was on its way.
    pub fn may_share(&self, declared: &Declared) -> bool {
        let no_cache = self.control.unwrap_or_default().no_cache && declared.ttl.is_none();
        self.may_keep(declared) && !no_cache
    }

    /// Whether the answer hangs on one of these fields of a request, of which `lines` are written.
    pub fn varies_by_one_of(&self, lines: &[u8]) -> bool {
        let names = || self.vary.split(|&byte| byte == b',').filter(|name| !name.is_empty());
        lines.split(|&byte| byte == b'\n').any(|line| {
            let name = line_name(line);
            names().any(|other| other.eq_ignore_ascii_case(name))
        })
    }

    /// Whether the answer hangs on the trace of a request, and `lines`, which tell it from others,
    /// do not say which that is. Who asks without one is another than who asks with one.
    pub fn varies_by_trace(&self, lines: &[u8]) -> bool {
        let is_said = |name: &[u8]| {
            let mut names = lines.split(|&byte| byte == b'\n').map(line_name);
            names.any(|other| other.eq_ignore_ascii_case(name))
        };
        let mut names = TRACE.iter().filter(|name| !is_said(name));
        names.any(|name| self.varies_by_one_of(name))
    }

    /// Whether it came out of another cache, where it may have been for a while.
    pub fn was_kept_before(&self) -> bool {
        self.age.is_some_and(|age| age > 0)
    }

    /// How old the answer was when it had come, `delay` after it was asked for (section 4.2.3).
    /// `unix_now` is when it came, in seconds since 1970.
    pub fn initial_age(&self, unix_now: u64, delay: Duration) -> Duration {
        let apparent = self.date.map_or(0, |date| unix_now.saturating_sub(date));
        let corrected = Duration::from_secs(self.age.unwrap_or(0)).saturating_add(delay);
        corrected.max(Duration::from_secs(apparent.min(SECONDS_MAX)))
    }

    /// What may be done with the answer, and until what age of it. `is_whole` is false for one
    /// that says that there is nothing: what a site declares is not for those.
    ///
    /// A `ttl` stands in place of all that the answer says about freshness. Without one, what a
    /// site declares about stale answers stands in place of what the answer says of the same, but
    /// never against a directive that forbids it (RFC 9111 section 4.2.4).
    pub fn windows(&self, declared: &Declared, unix_received: u64, is_whole: bool) -> Windows {
        let control = self.control.unwrap_or_default();
        let declared_stale = |of: Option<Duration>| of.filter(|_| is_whole);
        let declared_swr = declared_stale(declared.stale_while_revalidate);
        let declared_error = declared_stale(declared.stale_if_error);
        if let Some(ttl) = declared.ttl.filter(|_| is_whole) {
            return Windows {
                fresh: ttl,
                while_revalidate: ttl.saturating_add(declared_swr.unwrap_or_default()),
                if_error: ttl.saturating_add(declared_error.unwrap_or_default()),
            };
        }
        let fresh = if control.no_cache { 0 } else { self.lifetime(unix_received) };
        let fresh = Duration::from_secs(fresh);
        let until = |declared: Option<Duration>, said: Option<u64>| {
            let said = said.map(Duration::from_secs);
            let stale = if control.no_cache || control.must_revalidate {
                None
            } else if control.s_maxage.is_some() {
                // It has the meaning of proxy-revalidate (section 5.2.2.10), but for an answer
                // that says otherwise itself.
                said
            } else {
                declared.or(said)
            };
            fresh.saturating_add(stale.unwrap_or_default())
        };
        Windows {
            fresh,
            while_revalidate: until(declared_swr, control.stale_while_revalidate),
            if_error: until(declared_error, control.stale_if_error),
        }
    }

    /// For how long it is fresh, in seconds (section 4.2.1).
    fn lifetime(&self, unix_received: u64) -> u64 {
        let control = self.control.unwrap_or_default();
        let by_expires = || {
            let expires = self.expires?;
            Some(expires.saturating_sub(self.date.unwrap_or(unix_received)).min(SECONDS_MAX))
        };
        control.s_maxage.or(control.max_age).or_else(by_expires).unwrap_or(0)
    }

    fn read_vary(&mut self, value: &[u8]) {
        for name in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.varies_by_all |= name == b"*";
            self.vary.extend(name.iter().map(u8::to_ascii_lowercase));
            self.vary.push(b',');
        }
    }
}

impl CacheControl {
    /// Adds what one field says. Several fields are one list (RFC 9110 section 5.3).
    fn read(&mut self, value: &[u8]) {
        for directive in Directives(value) {
            let (name, argument) = directive;
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("no-store") {
                self.no_store = true;
            } else if is("no-cache") {
                // Also where it names fields: all of it is then taken to be meant.
                self.no_cache = true;
            } else if is("private") {
                self.private = true;
            } else if is("must-revalidate") || is("proxy-revalidate") {
                self.must_revalidate = true;
            } else if is("max-age") {
                note(&mut self.max_age, argument);
            } else if is("s-maxage") {
                note(&mut self.s_maxage, argument);
            } else if is("stale-while-revalidate") {
                note(&mut self.stale_while_revalidate, argument);
            } else if is("stale-if-error") {
                note(&mut self.stale_if_error, argument);
            }
        }
    }
}

/// Notes a number of seconds; one that cannot be read is 0, and of several the least counts.
fn note(into: &mut Option<u64>, argument: Option<&[u8]>) {
    let seconds = argument.and_then(delta_seconds).unwrap_or(0);
    *into = Some(into.map_or(seconds, |first| first.min(seconds)));
}

/// A number of seconds (section 1.2.2). What is more than 2^31 is that.
fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX);
    Some(text.iter().fold(0, add))
}

/// A date, in seconds since 1970; all three forms (RFC 9110 section 5.6.7).
fn http_date(value: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()?;
    Some(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

/// The directives of one Cache-Control field: a name, and what it is given, quoted or not.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.trim_ascii_start();
            if rest.is_empty() {
                return None;
            }
            // A comma within quotes ends nothing.
            let (mut quoted, mut escaped) = (false, false);
            let ends = |&byte: &u8| {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b',' if !quoted => return true,
                    _ => {}
                }
                false
            };
            let end = rest.iter().position(ends).unwrap_or(rest.len());
            let (directive, after) = rest.split_at(end);
            self.0 = after.get(1..).unwrap_or_default();
            let directive = directive.trim_ascii();
            if directive.is_empty() {
                continue;
            }
            let Some(at) = memchr::memchr(b'=', directive) else { return Some((directive, None)) };
            let (name, argument) = directive.split_at(at);
            let argument = argument.get(1..).unwrap_or_default();
            let inner = argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
            return Some((name, Some(inner.unwrap_or(argument))));
        }
    }
}

/// What a larger number of seconds is taken for (section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;
