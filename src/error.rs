//! What can go wrong with a request, on whose side, and what the visitor gets for it.
//!
//! Every failure of a page ends as one [`PageError`]; [`PageError::status`] is the only place
//! that turns errors into statuses. `Display` shows one level; only the edge (the log, a
//! development error page) walks the chain.

use std::fmt;
use std::time::Duration;

/// On whose side of the server a failure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The visitor's: a bad request.
    Downstream,
    /// An API's: refused, broken, late.
    Upstream,
    /// Ours, or the site's: a template that fails.
    Internal,
}

/// Why a page could not be made. Its kind decides the status; its text and its cause are for the
/// log and for the error page in development mode.
#[derive(Debug)]
pub struct PageError {
    kind: PageErrorKind,
    message: String,
    /// After which time it may be over, if that is known.
    wait: Duration,
    /// Whose it is, by its place in the site.
    upstream: Option<u16>,
    /// What the visitor is told, where that is more than its kind says.
    told: Option<&'static str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of [`PageError`], one for each row of "what a visitor gets".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageErrorKind {
    /// No page has this path: 404.
    NoSuchPage,
    /// The request asks for something no page may ask an upstream for, as a `..` segment: 400.
    BadRequest,
    /// A required fetch was answered with this status, 404 or 410, and so is the page.
    UpstreamGone(u16),
    /// A required fetch failed: refused, broken, another 4xx or 5xx, not JSON: 502.
    BadGateway,
    /// A deadline passed: 504.
    Timeout,
    /// Over a bound on what is in flight: 503.
    Overload,
    /// A template or an expression of the site failed, or a panic was caught: 500.
    Internal,
}

impl PageError {
    /// An error of `kind`; `message` is one level of the chain, without its cause.
    pub fn new(kind: PageErrorKind, message: impl Into<String>) -> Self {
        let (message, wait) = (message.into(), Duration::ZERO);
        Self { kind, message, wait, upstream: None, told: None, source: None }
    }

    /// The same error, of which the visitor is told this.
    #[must_use]
    pub fn telling(mut self, told: &'static str) -> Self {
        self.told = Some(told);
        self
    }

    /// The same error, which may be over after `wait`.
    #[must_use]
    pub fn over_after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The same error, of a fetch from this upstream.
    #[must_use]
    pub fn of(mut self, upstream: usize) -> Self {
        self.upstream = u16::try_from(upstream).ok();
        self
    }

    /// The same error, caused by `source`.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The same failure, told with one more level around it.
    #[must_use]
    pub fn within(self, message: impl Into<String>) -> Self {
        let Self { kind, wait, upstream, told, .. } = self;
        let (message, source) = (message.into(), Some(Box::new(self) as _));
        Self { kind, message, wait, upstream, told, source }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> PageErrorKind {
        self.kind
    }

    /// The status the visitor gets (RFC 9110 section 15).
    pub fn status(&self) -> u16 {
        match self.kind {
            PageErrorKind::NoSuchPage => 404,
            PageErrorKind::BadRequest => 400,
            PageErrorKind::UpstreamGone(status) => status,
            PageErrorKind::BadGateway => 502,
            PageErrorKind::Timeout => 504,
            PageErrorKind::Overload => 503,
            PageErrorKind::Internal => 500,
        }
    }

    /// What the visitor is told of it, who can do nothing about the inside.
    pub fn told(&self) -> &'static str {
        self.told.unwrap_or(match self.kind {
            PageErrorKind::NoSuchPage => "There is no page at this address.",
            PageErrorKind::BadRequest => "This address cannot be read.",
            PageErrorKind::UpstreamGone(_) => "What this page shows is not there (any more).",
            PageErrorKind::BadGateway => "A service behind this page does not answer as it should.",
            PageErrorKind::Timeout => "A service behind this page takes too long to answer.",
            PageErrorKind::Overload => "The server is busy. Please try again in a moment.",
            PageErrorKind::Internal => "Something in this page is broken.",
        })
    }

    /// After which time it may be over; zero where that is not known.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// The upstream of the fetch that failed, by its place in the site.
    pub fn upstream(&self) -> Option<usize> {
        self.upstream.map(usize::from)
    }

    /// On whose side the failure lies.
    pub fn side(&self) -> Side {
        match self.kind {
            PageErrorKind::NoSuchPage | PageErrorKind::BadRequest => Side::Downstream,
            PageErrorKind::UpstreamGone(_) | PageErrorKind::BadGateway | PageErrorKind::Timeout => {
                Side::Upstream
            }
            PageErrorKind::Overload | PageErrorKind::Internal => Side::Internal,
        }
    }

    /// This error and its causes, outermost first, one level each.
    pub fn chain(&self) -> Vec<String> {
        let mut levels = vec![self.to_string()];
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            levels.push(error.to_string());
            cause = error.source();
        }
        levels
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
