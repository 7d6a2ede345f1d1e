//! Whether a failure is worth another try, and after which pause.

use std::time::{Duration, SystemTime};

use crate::config::{Cause, Retry};

use super::connection::Response;
use super::error::{FetchError, Phase};
use super::random::Random;

/// Whether the policy tries this outcome again.
pub(super) fn wants(policy: &Retry, outcome: &Result<Response, FetchError>) -> bool {
    let cause = match outcome {
        Ok(response) => Cause::Status(response.head.status),
        Err(FetchError::Connect(_)) => Cause::Connect,
        Err(FetchError::Timeout(Phase::Connect | Phase::Handshake, _)) => Cause::Connect,
        // What is wrong with a certificate will be so in a moment.
        Err(FetchError::Tls(unsecured)) if unsecured.error.is_broken() => Cause::Connect,
        Err(FetchError::Broken(..) | FetchError::Closed(_)) => Cause::Reset,
        Err(FetchError::Timeout(Phase::Request | Phase::Head | Phase::Body, _)) => Cause::Timeout,
        Err(_) => return false,
    };
    policy.on.contains(&cause)
}

/// The pause before the retry after so many tries: any time up to a limit that doubles each time
/// (full jitter), so that those who failed together do not come back together.
pub(super) fn pause(policy: &Retry, tries: usize, random: &Random) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = policy.backoff.saturating_mul(2_u32.saturating_pow(doublings));
    random.up_to(longest.min(policy.backoff_max))
}

/// For how long a response asks to be left alone: a 503 or 429 by its Retry-After (RFC 9110 section
/// 10.2.3). A date counts from the Date of the same response, as clocks differ; from now where that
/// has none.
pub(super) fn asked_pause(response: &Response) -> Asked {
    if !matches!(response.head.status, 429 | 503) {
        return Asked::Nothing;
    }
    let field = |name: &[u8]| response.head.headers.get(&response.buffer, name);
    match field(b"retry-after") {
        None => Asked::Nothing,
        Some(value) => retry_after(value, field(b"date")).map_or(Asked::Unclear, Asked::Pause),
    }
}

/// What a response asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// No pause.
    Nothing,
    /// That much.
    Pause(Duration),
    /// Something that cannot be understood: it is better not to ask again.
    Unclear,
}

fn retry_after(value: &[u8], date: Option<&[u8]>) -> Option<Duration> {
    let text = |value| std::str::from_utf8(value).ok().map(str::trim);
    let value = text(value)?;
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let parse = |text| httpdate::parse_http_date(text).ok();
    let from = date.and_then(text).and_then(parse).unwrap_or_else(SystemTime::now);
    // A date that has passed asks for no pause at all.
    Some(parse(value)?.duration_since(from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::HandshakeError;
    use crate::upstream::Unsecured;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_grow_and_are_random() {
        let policy = Retry { backoff: MS * 100, backoff_max: MS * 250, ..Retry::default() };
        let random = Random::new(7);
        let longest = |tries| (0..1000).map(|_| pause(&policy, tries, &random)).max().unwrap();
        let shortest = |tries| (0..1000).map(|_| pause(&policy, tries, &random)).min().unwrap();
        assert!((MS * 95..=MS * 100).contains(&longest(1)));
        assert!((MS * 190..=MS * 200).contains(&longest(2)));
        assert!((MS * 240..=MS * 250).contains(&longest(3)));
        assert!(longest(1_000_000) <= MS * 250);
        assert!(shortest(3) < MS * 10);
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let date = Some(&b"Sun, 06 Nov 1994 08:49:37 GMT"[..]);
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(retry_after(b"0", None), seconds(0));
        assert_eq!(retry_after(b" 120 ", None), seconds(120));
        assert_eq!(retry_after(b"Sun, 06 Nov 1994 08:49:40 GMT", date), seconds(3));
        assert_eq!(retry_after(b"Sun, 06 Nov 1994 08:49:30 GMT", date), seconds(0));
        assert_eq!(retry_after(b"Sun, 06 Nov 1994 08:49:40 GMT", None), seconds(0));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
        let asked = retry_after(soon.as_bytes(), None).unwrap().as_secs();
        assert!((3000..=3600).contains(&asked), "{asked}");
        for wrong in ["", "-1", "1.5", "soon", "99999999999", "\u{fc}"] {
            assert_eq!(retry_after(wrong.as_bytes(), date), None, "{wrong}");
        }
    }

    #[test]
    fn only_what_is_named_is_tried_again() {
        let policy = Retry::default();
        let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(wants(&policy, &Err(FetchError::Connect(broken()))));
        assert!(wants(&policy, &Err(FetchError::Timeout(Phase::Connect, MS))));
        assert!(wants(&policy, &Err(FetchError::Broken(Phase::Body, broken()))));
        assert!(wants(&policy, &Err(FetchError::Timeout(Phase::Handshake, MS))));
        assert!(!wants(&policy, &Err(FetchError::Timeout(Phase::Head, MS))));
        let unsecured = |error| {
            let name = rustls::pki_types::ServerName::try_from("a.example").unwrap();
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], 443));
            Err(FetchError::Tls(Box::new(Unsecured { name, address, error })))
        };
        assert!(wants(&policy, &unsecured(HandshakeError::Closed)));
        assert!(wants(&policy, &unsecured(HandshakeError::Io(broken()))));
        assert!(!wants(&policy, &unsecured(HandshakeError::NotTls(Vec::new()))));
        let late = Retry { on: vec![Cause::Timeout], ..policy };
        assert!(wants(&late, &Err(FetchError::Timeout(Phase::Head, MS))));
        assert!(!wants(&late, &Err(FetchError::Busy)));
        assert!(!wants(&late, &Err(FetchError::Closed(Phase::Head))));
        assert!(!wants(&late, &Err(FetchError::Open(MS))));
    }
}
