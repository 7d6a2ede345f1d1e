//! From HTTP to HTTPS: where visitors are sent to who come without TLS.

use std::borrow::Cow;
use std::fmt;

use crate::driver::Driver;
use crate::http;
use crate::tls::ServerTls;

use super::{Answer, Pages, Request};

/// Sends visitors to the same page over HTTPS, if there is a certificate for the host that they
/// ask for: a Host is whatever a visitor writes, and nobody is sent to a site that is not ours.
#[derive(Clone)]
pub struct Redirect {
    /// Which has the certificates of the moment.
    pub tls: ServerTls,
    /// The port of HTTPS.
    pub port: u16,
}

impl fmt::Debug for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirect").field("port", &self.port).finish_non_exhaustive()
    }
}

impl<D: Driver> Pages<D> {
    /// The answer that sends this visitor there, or the status and the reason of a refusal; none
    /// for one who has come by HTTPS, here or at a proxy that is trusted.
    ///
    /// 308 and not 301: whatever is asked is asked again as it was, a POST as well (RFC 9110
    /// section 15.4.9).
    pub fn redirect(&self, request: &Request<'_>) -> Option<Result<Answer, (u16, &'static str)>> {
        let redirect = self.redirect.as_ref()?;
        // Where no certificate has come yet, there is nothing to be sent to.
        if redirect.tls.is_empty() {
            return None;
        }
        let forwarded = request.forwarded(self.site.server());
        if forwarded.https.unwrap_or(request.secure) || !request.path.starts_with(b"/") {
            return None;
        }
        let host = name(forwarded.host.unwrap_or(request.host()));
        Some(match host {
            Some(host) if redirect.tls.is_for(&host) => {
                let location = redirect.location(&host, request);
                let mut passed = Vec::new();
                match http::push_field(&mut passed, "Location", &location) {
                    Ok(()) => Ok(Answer { status: 308, passed, ..Answer::default() }),
                    Err(_) => Err((400, "This address cannot be read.")),
                }
            }
            Some(_) => Err((421, "There is no site of this name here.")),
            None => Err((400, "The request does not say which host it is for.")),
        })
    }
}

impl Redirect {
    fn location(&self, host: &str, request: &Request<'_>) -> Vec<u8> {
        let mut location = format!("https://{host}").into_bytes();
        if self.port != HTTPS_PORT {
            location.extend_from_slice(format!(":{}", self.port).as_bytes());
        }
        location.extend_from_slice(request.path);
        if !request.query.is_empty() {
            location.push(b'?');
            location.extend_from_slice(request.query);
        }
        location
    }
}

/// The name in a Host, in lower case and without its port and the dot at its end.
fn name(host: &[u8]) -> Option<Cow<'_, str>> {
    let host = std::str::from_utf8(host).ok()?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let name = if is_lower { name.into() } else { Cow::Owned(name.to_ascii_lowercase()) };
    (!name.is_empty()).then_some(name)
}

const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_a_host() {
        for (host, wanted) in [
            ("a.example", Some("a.example")),
            ("A.Example:8080", Some("a.example")),
            ("a.example.:80", Some("a.example")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
            (":80", None),
        ] {
            assert_eq!(name(host.as_bytes()).as_deref(), wanted, "{host}");
        }
    }
}
