//! A request to the admin listener and its answer, as whoever answers sees them.

use crate::http::{Method, RequestHead};

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub struct AdminRequest<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) head: &'a RequestHead,
}

impl<'a> AdminRequest<'a> {
    /// The method; HEAD is GET, as its answer differs only in what is left out of it.
    pub fn method(&self) -> Method {
        match self.head.method {
            Method::Head => Method::Get,
            method => method,
        }
    }

    /// The path, as it came.
    pub fn path(&self) -> &'a str {
        str::from_utf8(self.head.path.of(self.bytes)).unwrap_or_default()
    }

    /// The query, as it came and without its question mark; empty where there is none.
    pub fn query(&self) -> &'a str {
        let query = self.head.query.map(|query| query.of(self.bytes)).unwrap_or_default();
        str::from_utf8(query).unwrap_or_default()
    }

    /// A header field, if it is there and is text.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.head.headers.get(self.bytes, name.as_bytes())?).ok()
    }

    /// Host and port as the client knows them; empty where it does not say.
    pub fn host(&self) -> &'a str {
        let host = self.head.host.map(|host| host.of(self.bytes)).unwrap_or_default();
        str::from_utf8(host).unwrap_or_default()
    }
}

/// What is answered. It is never kept by anybody, and never shown inside of another page.
pub struct AdminResponse {
    /// The status.
    pub status: u16,
    /// The Content-Type.
    pub content_type: &'static str,
    /// Further fields.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// Piece by piece, as with Server-Sent Events: each call waits for the next piece and gives it,
    /// or ends the answer. The connection ends with it. A call should not take longer than some
    /// seconds: only between them is seen that the server ends.
    Pieces(Box<dyn FnMut() -> Option<Vec<u8>> + Send>),
}

impl AdminResponse {
    /// A few words.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::whole(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// A whole body of some type.
    pub fn whole(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, fields: Vec::new(), body: Body::Whole(body) }
    }

    /// A body that comes piece by piece, for as long as somebody takes it.
    pub fn pieces(
        content_type: &'static str,
        next: impl FnMut() -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let body = Body::Pieces(Box::new(next));
        Self { status: 200, content_type, fields: Vec::new(), body }
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}
