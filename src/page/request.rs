//! A request as pages see it, and what templates see of it.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::ForwardedFields;
use crate::error::{PageError, PageErrorKind};
use crate::http::forwarded::{self, Forwarded};
use crate::http::{self, EntityTag, Headers, Method, Span};
use crate::site::{Inputs, Page, ServerPlan};

/// A request, borrowed from the connection it came on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The target as received; a range of `bytes`.
    pub target: Span,
    /// Its path, still encoded; `*` for `OPTIONS *`.
    pub path: &'a [u8],
    /// Its query without the question mark, still encoded.
    pub query: &'a [u8],
    /// Host and port, as the visitor named them; a range of `bytes`.
    pub host: Span,
    /// The header fields; ranges of `bytes`.
    pub headers: Option<&'a Headers>,
    /// The head as received.
    pub bytes: &'a [u8],
    /// The body, where it was read.
    pub body: &'a [u8],
    /// Whether it cannot be told how long the body is, if there is one: in HTTP/1.0 a request
    /// without a Content-Length (RFC 1945 section 7.2.2).
    pub lacks_length: bool,
    /// The address the connection came from.
    pub peer: SocketAddr,
    /// Whether that connection has TLS.
    pub secure: bool,
    /// Which of the worker's requests it is.
    pub number: u64,
}

impl<'a> Request<'a> {
    /// The bytes of the target.
    pub fn target(&self) -> &'a [u8] {
        self.target.of(self.bytes)
    }

    /// The bytes of the host.
    pub fn host(&self) -> &'a [u8] {
        self.host.of(self.bytes)
    }

    /// What the templates of `page` may use of the request, and no more.
    pub(super) fn inputs(
        &self,
        page: &Page,
        path: &str,
        params: &[(&str, &str)],
        server: &ServerPlan,
        id: impl FnOnce() -> String,
    ) -> Result<Inputs, PageError> {
        let uses = page.uses();
        let mut inputs = Inputs { now: unix_seconds(), ..Inputs::default() };
        for (name, value) in params {
            let value = http::path::decode_segment(value.as_bytes()).map_err(|error| {
                let message = format!("the path parameter `{name}` is malformed");
                PageError::new(PageErrorKind::BadRequest, message).because(error)
            })?;
            inputs.params.push(name, &value);
        }
        if uses.query {
            let pairs = http::path::query_pairs(self.query);
            inputs.query = pairs.map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        }
        if uses.headers || uses.cookies {
            inputs.headers = self.fields(uses.headers);
        }
        if uses.request {
            self.method.as_str().clone_into(&mut inputs.method);
            inputs.path = text(
                &http::path::decode_segment(path.as_bytes())
                    .map_or_else(|_| path.as_bytes().into(), |path| path.as_bytes().to_vec()),
            );
            inputs.target = text(self.target());
            let forwarded = self.forwarded(server);
            inputs.host = text(forwarded.host.unwrap_or(self.host()));
            inputs.client = forwarded.client.to_string();
            let https = forwarded.https.unwrap_or(self.secure);
            inputs.scheme = if https { "https" } else { "http" };
            inputs.request_id = id();
        }
        Ok(inputs)
    }

    /// The visitor's address, as far as proxies that are trusted say.
    pub fn client(&self, server: &ServerPlan) -> IpAddr {
        self.forwarded(server).client
    }

    /// Whether the visitor has come by HTTPS, here or at a proxy that is trusted.
    pub fn is_secure(&self, server: &ServerPlan) -> bool {
        self.secure || self.forwarded(server).https == Some(true)
    }

    /// Who the visitor is, as far as proxies that are trusted say.
    pub(super) fn forwarded(&self, server: &ServerPlan) -> Forwarded<'_> {
        let peer = self.peer.ip().to_canonical();
        let nobody = Forwarded { client: peer, https: None, host: None };
        let Some(headers) = self.headers else { return nobody };
        let fields = match server.forwarded {
            ForwardedFields::XForwarded => forwarded::Fields::XForwarded,
            ForwardedFields::Forwarded => forwarded::Fields::Forwarded,
        };
        forwarded::resolve(peer, headers, self.bytes, fields, |ip| server.trusts(ip))
    }

    /// The id that a trusted proxy gave the request.
    pub(super) fn given_id(&self, server: &ServerPlan) -> Option<&str> {
        let field = server.request_id.as_deref()?;
        if !server.trusts(self.peer.ip().to_canonical()) {
            return None;
        }
        let id = self.headers?.get(self.bytes, field.as_bytes())?;
        std::str::from_utf8(id).ok().filter(|id| http::is_request_id(id.as_bytes()))
    }

    /// The values of all fields of this name.
    pub(super) fn values(&self, wanted: &'static [u8]) -> impl Iterator<Item = &[u8]> {
        let fields = self.headers.into_iter().flat_map(|headers| headers.iter(self.bytes));
        let fields = fields.filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        fields.map(|(_, value)| value)
    }

    /// Whether the visitor says to have the page with this tag already, or any page at all:
    /// `If-None-Match` (RFC 9110 section 13.1.2).
    pub(super) fn has(&self, etag: Option<EntityTag>) -> bool {
        if !self.method.is_safe() {
            return false;
        }
        let mut fields = self.headers.into_iter().flat_map(|headers| headers.iter(self.bytes));
        let is_named = |value: &[u8]| {
            value.trim_ascii() == b"*" || etag.is_some_and(|etag| etag.is_named_by(value))
        };
        fields.any(|(name, value)| name.eq_ignore_ascii_case(b"if-none-match") && is_named(value))
    }

    /// Whether the visitor wants the page only if it is another than the one with this tag:
    /// `If-Match` (RFC 9110 section 13.1.1).
    pub(super) fn wants_another(&self, etag: Option<EntityTag>) -> bool {
        if !self.method.is_safe() {
            return false;
        }
        let fields = self.headers.into_iter().flat_map(|headers| headers.iter(self.bytes));
        let mut values = fields
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"if-match"))
            .map(|(_, value)| value)
            .peekable();
        let is_met = |value: &[u8]| {
            value.trim_ascii() == b"*" || etag.is_some_and(|etag| etag.is_demanded_by(value))
        };
        values.peek().is_some() && !values.any(is_met)
    }

    /// The header fields, all or the cookies only, and these as one field: however they have come,
    /// they are one list (RFC 6265 section 5.4, RFC 9113 section 8.2.3).
    fn fields(&self, all: bool) -> Vec<(String, String)> {
        let fields = self.headers.into_iter().flat_map(|headers| headers.iter(self.bytes));
        let mut taken: Vec<(String, String)> = Vec::new();
        for (name, value) in fields {
            let is_cookie = name.eq_ignore_ascii_case(b"cookie");
            let known = taken.iter_mut().find(|(name, _)| is_cookie && name == "cookie");
            match known {
                Some((_, cookies)) => {
                    cookies.push_str("; ");
                    cookies.push_str(&text(value));
                }
                None if all || is_cookie => {
                    taken.push((text(name).to_ascii_lowercase(), text(value)));
                }
                None => {}
            }
        }
        taken
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
