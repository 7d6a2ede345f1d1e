//! Who may ask the admin listener for what.
//!
//! A browser on this machine reaches loopback, and a page of anybody can make it ask: by a name of
//! theirs that leads to 127.0.0.1 (DNS rebinding), or by a form that posts here. Names that are not
//! this machine's own, and posts that another site's page has made, are refused therefore.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::exchange::{AdminRequest, AdminResponse};
use crate::http::{Method, host};
use crate::site::{AdminAddress, Token};

#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Token>,
    /// Whether it is asked by which name one has come.
    checks_host: bool,
}

impl Guard {
    pub(super) fn new(address: &AdminAddress, token: Option<&Token>) -> Self {
        // With a token a page of others learns nothing. No browser comes by a Unix socket.
        let checks_host = token.is_none() && matches!(address, AdminAddress::Tcp(_));
        Self { token: token.cloned(), checks_host }
    }

    /// Why a request is refused, if it is; `open` where no token is asked for.
    pub(super) fn refuse(&self, request: &AdminRequest<'_>, open: bool) -> Option<AdminResponse> {
        // Load balancers ask by any name, and learn no more than whether they may send visitors.
        if self.checks_host && !open && !is_known(request.host()) {
            let why = "ask by an IP address or as localhost: other names may be anybody's\n";
            return Some(AdminResponse::text(421, why));
        }
        let token = self.token.as_ref().filter(|_| !open);
        if let Some(token) = token
            && !request.field("Authorization").is_some_and(|field| knows(field, token))
        {
            let refusal = AdminResponse::text(401, "the token of [admin] is asked for\n");
            return Some(refusal.with("WWW-Authenticate", "Basic realm=\"ringpress\""));
        }
        // Also with a token: a browser that knows it sends it along with the posts of any page.
        if request.method() == Method::Post && !is_of_own_page(request) {
            return Some(AdminResponse::text(403, "a page of another site has asked for this\n"));
        }
        None
    }
}

/// Whether one may come by that name. There is none in requests of HTTP/1.0 alone, which no browser
/// sends.
fn is_known(name: &str) -> bool {
    name.is_empty() || host::is_of_this_machine(name)
}

/// Whether no page of another site has made a browser ask: browsers say whose page it was.
fn is_of_own_page(request: &AdminRequest<'_>) -> bool {
    if let Some(site) = request.field("Sec-Fetch-Site") {
        return matches!(site, "same-origin" | "none");
    }
    match request.field("Origin") {
        Some(origin) => {
            let own = origin.split_once("://").is_some_and(|(_, host)| host == request.host());
            own && !request.host().is_empty()
        }
        None => true,
    }
}

/// Whether an Authorization has the token: as a Bearer, or as the password of anybody.
fn knows(field: &str, token: &Token) -> bool {
    let Some((scheme, given)) = field.split_once(' ') else { return false };
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_same(given.as_bytes(), token);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let Ok(decoded) = STANDARD.decode(given) else { return false };
    let colon = decoded.iter().position(|&byte| byte == b':');
    let password = colon.and_then(|at| decoded.get(at + 1..)).unwrap_or_default();
    is_same(password, token)
}

/// Whether it is the token. Digests are compared, whole: how long that takes tells nothing of how
/// much of a guess was right.
fn is_same(given: &[u8], token: &Token) -> bool {
    let (given, wanted) = (Sha256::digest(given), Sha256::digest(token.reveal().as_bytes()));
    let differing = given.iter().zip(wanted.iter()).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_comes_as_a_bearer_or_as_a_password() {
        let token = Token::new("sixteen-letters!");
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert!(knows("Bearer sixteen-letters!", &token));
        assert!(knows("bearer  sixteen-letters!", &token));
        assert!(knows(&basic("admin:sixteen-letters!"), &token));
        assert!(knows(&basic(":sixteen-letters!"), &token));
        for wrong in ["", "Bearer", "Bearer ", "Bearer sixteen-letters", "sixteen-letters!"] {
            assert!(!knows(wrong, &token), "{wrong}");
        }
        assert!(!knows(&basic("sixteen-letters!"), &token));
        assert!(!knows(&basic("sixteen-letters!:"), &token));
        assert!(!knows("Basic ???", &token));
    }
}
