//! Answers to the http-01 challenges of an ACME directory (RFC 8555 section 8.3): filled by the
//! control thread while an order is under way, read by all workers without a lock.
//!
//! No page of the site: who asks is the directory, which wants to see that we answer for a name.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;

use crate::limits::{ACME_CHALLENGE_BYTES_MAX, ACME_NAMES_MAX};

/// The challenges that are open now; mostly none.
#[derive(Debug, Default)]
pub struct Challenges(ArcSwap<BTreeMap<String, String>>);

impl Challenges {
    /// Replaces what is answered: tokens, each with its answer. False, and nothing is, if there
    /// are too many, or one is not what a token or an answer may be.
    pub fn set(&self, answers: Vec<(String, String)>) -> bool {
        let is_fine = answers.len() <= ACME_NAMES_MAX
            && answers.iter().all(|(token, answer)| {
                is_text(token, |byte| byte == b'-' || byte == b'_')
                    && is_text(answer, |byte| matches!(byte, b'-' | b'_' | b'.'))
            });
        self.0.store(std::sync::Arc::new(match is_fine {
            true => answers.into_iter().collect(),
            false => BTreeMap::new(),
        }));
        is_fine
    }

    /// Appends the answer to what was asked for at this path, if it is an open challenge.
    pub fn answer(&self, path: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(token) = path.strip_prefix(PREFIX) else { return false };
        let open = self.0.load();
        match str::from_utf8(token).ok().and_then(|token| open.get(token)) {
            Some(answer) => out.extend_from_slice(answer.as_bytes()),
            None => return false,
        }
        true
    }

    /// Whether a path could be one.
    pub fn is_path(path: &[u8]) -> bool {
        path.starts_with(PREFIX)
    }
}

/// The alphabet of base64url (RFC 4648 section 5), and what else is in such a text.
fn is_text(text: &str, also: impl Fn(u8) -> bool) -> bool {
    (1..=ACME_CHALLENGE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also(byte))
}

const PREFIX: &[u8] = b"/.well-known/acme-challenge/";

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(challenges: &Challenges, path: &str) -> Option<String> {
        let mut out = b"head ".to_vec();
        let answered = challenges.answer(path.as_bytes(), &mut out);
        let out = String::from_utf8(out).unwrap();
        let out = out.strip_prefix("head ").unwrap().to_owned();
        assert_eq!(answered, !out.is_empty());
        answered.then_some(out)
    }

    #[test]
    fn open_challenges_are_answered_and_nothing_else() {
        let challenges = Challenges::default();
        let path = "/.well-known/acme-challenge/a-T_9";
        assert_eq!(answer(&challenges, path), None);
        assert!(challenges.set(vec![("a-T_9".into(), "a-T_9.thumb".into())]));
        assert_eq!(answer(&challenges, path).as_deref(), Some("a-T_9.thumb"));
        for other in ["/", "/a-T_9", "/.well-known/acme-challenge/", "/.well-known/acme-challenge"]
        {
            assert_eq!(answer(&challenges, other), None, "{other}");
        }
        assert_eq!(answer(&challenges, &format!("{path}/")), None);
        assert_eq!(answer(&challenges, &path.to_lowercase()), None);
        assert!(challenges.set(Vec::new()));
        assert_eq!(answer(&challenges, path), None);
    }

    #[test]
    fn what_a_directory_may_not_say_is_not_repeated() {
        let challenges = Challenges::default();
        let long = "a".repeat(ACME_CHALLENGE_BYTES_MAX + 1);
        for token in ["", "a/b", "a b", "a\r\nb", "<p>", long.as_str()] {
            assert!(!challenges.set(vec![(token.into(), "x.y".into())]), "{token}");
            assert!(!challenges.set(vec![("x".into(), format!("{token}<"))]), "{token}");
        }
        let many = (0..=ACME_NAMES_MAX).map(|n| (n.to_string(), "x".to_owned())).collect();
        assert!(!challenges.set(many));
        assert_eq!(answer(&challenges, "/.well-known/acme-challenge/1"), None);
    }
}
