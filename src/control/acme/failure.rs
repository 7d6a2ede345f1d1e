//! Why there is no certificate this time: what was tried, what the directory said to it, and what
//! to do about it.

use std::fmt;
use std::time::Duration;

use instant_acme::{Error, Problem};

use super::storage::StorageError;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What was tried.
    pub(super) tried: &'static str,
    /// What came of it.
    pub(super) cause: String,
    /// What to do about it; empty if there is nothing to say.
    pub(super) remedy: &'static str,
    /// How long the directory wants us to wait.
    pub(super) retry_after: Option<Duration>,
    /// The problem's type, if the directory has named one (RFC 8555 section 6.7).
    kind: String,
}

impl Failure {
    /// One without more to it.
    pub(super) fn new(tried: &'static str, cause: impl Into<String>) -> Self {
        let (cause, kind) = (cause.into(), String::new());
        Self { tried, cause, remedy: "", retry_after: None, kind }
    }

    /// One with something to do about it.
    pub(super) fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }

    /// What the directory, or the way to it, has made of a request.
    pub(super) fn of(tried: &'static str, error: &Error, said: Said) -> Self {
        let status = said.status;
        let failure = match (error, &said.problem) {
            (Error::Api(problem), _) => Self::told(tried, problem),
            // Some answers are read without a look at their status.
            (Error::Json(_), Some(problem)) => {
                let told = Self::told(tried, problem);
                let remedy = if told.remedy.is_empty() { by_status(status) } else { told.remedy };
                Self { cause: format!("status {status}: {}", told.cause), remedy, ..told }
            }
            (Error::Json(_), None) if status >= 400 => {
                let cause = format!("the directory answers with status {status}");
                Self::new(tried, cause).with_remedy(by_status(status))
            }
            (Error::Json(error), None) => {
                let cause =
                    format!("the answer, of status {status}, is not what ACME has: {error}");
                Self::new(tried, cause).with_remedy(NO_DIRECTORY)
            }
            (error, _) => Self::new(tried, chain(error)).with_remedy(NO_WAY),
        };
        Self { retry_after: said.retry_after, ..failure }
    }

    /// What the directory says that is wrong.
    pub(super) fn told(tried: &'static str, problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.strip_prefix(TYPES).unwrap_or(kind).to_owned();
        let remedy = remedy(&kind);
        let mut text = problem.detail.clone().unwrap_or_default();
        for part in &problem.subproblems {
            text += &format!("; {part}");
        }
        let text = match (text.is_empty(), kind.is_empty()) {
            (true, _) => format!("the directory says `{kind}`"),
            (false, true) => text,
            (false, false) => format!("{text} ({kind})"),
        };
        Self { remedy, kind, ..Self::new(tried, printable(&text)) }
    }

    /// The same, with the name that it is about.
    pub(super) fn about(self, name: &str) -> Self {
        Self { cause: format!("{name}: {}", self.cause), ..self }
    }

    /// Whether the directory does not know our account (any more).
    pub(super) fn is_unknown_account(&self) -> bool {
        self.kind == "accountDoesNotExist"
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::new("use the folder of the certificate", error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.tried, self.cause)
    }
}

/// What the last answer said beside what it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Its status; 0 if there was no answer.
    pub(super) status: u16,
    /// How long to wait: Retry-After (RFC 9110 section 10.2.3).
    pub(super) retry_after: Option<Duration>,
    /// What is wrong, where it is an error that says so (RFC 9457).
    pub(super) problem: Option<Problem>,
}

impl Said {
    /// The same, with what the body of an error says.
    pub(super) fn with_body(self, body: &[u8]) -> Self {
        let problem = if self.status >= 400 { serde_json::from_slice(body).ok() } else { None };
        let says = |one: &Problem| one.detail.is_some() || one.r#type.is_some();
        Self { problem: problem.filter(says), ..self }
    }
}

/// What to do about an answer of which no more is known.
fn by_status(status: u16) -> &'static str {
    match status {
        429 | 500.. => "nothing: it is the directory's own trouble, and it is asked again",
        _ => NO_DIRECTORY,
    }
}

/// What to do about a problem of this type (RFC 8555 section 6.7).
fn remedy(kind: &str) -> &'static str {
    match kind {
        "rateLimited" => {
            "wait: ringpress asks again when the directory allows it; while you are trying things \
             out, use a staging directory"
        }
        "connection" | "unauthorized" | "dns" | "tls" | "incorrectResponse" => {
            "each of the names must lead to this server: http://NAME/ at port 80 is what the \
             directory asks (a proxy, a firewall or an old DNS entry may be in between)"
        }
        "caa" => "a CAA record in DNS forbids this directory: allow it there, or take another",
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            "this directory has no certificates for that name: see `names`"
        }
        "externalAccountRequired" => {
            "this directory wants an account that is made elsewhere first, which ringpress does \
             not know how to use: take another"
        }
        "userActionRequired" => "the terms have changed: agree to them where the message says",
        "invalidContact" | "unsupportedContact" => "see `contact`",
        "accountDoesNotExist" => "another account is made when it is tried again",
        "serverInternal" => "nothing: it is the directory's own trouble",
        _ => "",
    }
}

const TYPES: &str = "urn:ietf:params:acme:error:";
const NO_DIRECTORY: &str = "see whether `directory` is the URL of an ACME directory";
const NO_WAY: &str = "see whether this machine gets to `directory`: its name, the way there, and \
                      the certificates it is checked against (`ca`)";

/// An error and what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let inner = error.to_string();
        // Some say what is behind them as well.
        if !text.contains(&inner) {
            text += ": ";
            text += &inner;
        }
        next = error.source();
    }
    printable(&text)
}

/// What another one wrote, fit for a line of a log.
fn printable(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(TEXT_CHARS_MAX).collect()
}

/// Of what a directory says, so much is shown, characters.
const TEXT_CHARS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Error {
        let json = serde_json::json!({ "type": kind, "detail": detail });
        Error::Api(serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_failure_has_what_the_directory_says_and_what_to_do() {
        let hour = Some(Duration::from_secs(3600));
        let error = problem("urn:ietf:params:acme:error:rateLimited", "too many\ncertificates");
        let said = Said { status: 429, retry_after: hour, problem: None };
        let failure = Failure::of("order", &error, said);
        assert!(failure.to_string().starts_with("cannot order: "), "{failure}");
        assert!(failure.cause.contains("too many certificates"), "{failure}");
        assert!(failure.remedy.contains("staging"), "{failure:?}");
        assert_eq!(failure.retry_after, hour);
        assert!(!failure.is_unknown_account());
        let error = problem("urn:ietf:params:acme:error:accountDoesNotExist", "who?");
        assert!(Failure::of("order", &error, Said::default()).is_unknown_account());
    }

    #[test]
    fn an_answer_that_is_not_acme_is_told_with_its_status() {
        let error = serde_json::from_str::<Problem>("<html>").unwrap_err().into();
        let said = |status| Said { status, ..Said::default() };
        let failure = Failure::of("order", &error, said(200));
        assert!(failure.cause.contains("status 200, is not what ACME has"), "{failure}");
        assert_eq!(failure.remedy, NO_DIRECTORY);
        let failure = Failure::of("order", &error, said(404).with_body(b"<html>"));
        assert_eq!(failure.cause, "the directory answers with status 404");
        assert_eq!(failure.remedy, NO_DIRECTORY);
        for body in ["", "<html>", "{}", r#"{"detail": null}"#] {
            let failure = Failure::of("order", &error, said(503).with_body(body.as_bytes()));
            assert_eq!(failure.cause, "the directory answers with status 503");
            assert!(failure.remedy.contains("own trouble"), "{failure:?}");
        }
        let body = br#"{"detail": "too many requests", "type": "urn:x"}"#;
        let failure = Failure::of("order", &error, said(429).with_body(body));
        assert_eq!(failure.cause, "status 429: too many requests (urn:x)");
        assert!(failure.remedy.contains("own trouble"), "{failure:?}");
        assert!(said(200).with_body(body).problem.is_none());
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let error = problem("x", &"a".repeat(100_000));
        assert!(Failure::of("order", &error, Said::default()).cause.len() <= TEXT_CHARS_MAX);
    }
}
