//! Where an upstream is: the URL of `[upstreams.NAME]`, taken apart.

/// An upstream's address and the path all its targets begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A host name or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port; where the URL has none, 80, or 443 for HTTPS.
    pub port: u16,
    /// Whether it is HTTPS.
    pub is_secure: bool,
    /// The value of the Host header (RFC 9110 section 7.2): without the port where that is the
    /// scheme's own.
    pub authority: String,
    /// The path of the URL, without a slash at its end: empty, or begins with a slash.
    pub base_path: String,
}

/// What is wrong with a URL, and a remedy where there is one.
type Trouble = (String, Option<String>);

impl Origin {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it, and a remedy.
    pub fn parse(url: &str) -> Result<Self, Trouble> {
        let wrong = |message: &str, hint: &str| Err((message.to_owned(), Some(hint.to_owned())));
        if url.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return wrong(
                "an upstream URL may hold only visible ASCII characters",
                "write other characters percent-encoded, a host name in its xn-- form",
            );
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return wrong(
                "an upstream URL must begin with its scheme",
                &format!("write `https://{0}` or `http://{0}`", url.trim_start_matches('/')),
            );
        };
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            let message = format!("an upstream URL must be http:// or https://, not {scheme}://");
            return Err((message, None));
        }
        let default_port = if is_secure { HTTPS_PORT } else { HTTP_PORT };
        if rest.contains('?') {
            return wrong(
                "an upstream URL may not have a query",
                "use `query` of the fetch for what every request needs",
            );
        }
        if rest.contains('#') {
            return wrong("an upstream URL may not have a fragment", "leave out `#` and the rest");
        }
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        if authority.contains('@') {
            return wrong(
                "an upstream URL may not hold a user or a password",
                "use an `authorization` header in `headers` of the upstream",
            );
        }
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(default_port);
        let base_path = check_path(path)?;
        let shown = if host.contains(':') { format!("[{host}]") } else { host.to_lowercase() };
        let authority = if port == default_port { shown } else { format!("{shown}:{port}") };
        Ok(Self { host: host.to_lowercase(), port, is_secure, authority, base_path })
    }
}

/// The host, and the port if there is one.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Trouble> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let Some((host, after)) = bracketed.split_once(']') else {
            return Err(("the IPv6 address has no closing `]`".to_owned(), None));
        };
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err((format!("`{host}` is not an IPv6 address"), None));
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err((format!("`{after}` after the address is not a port"), None)),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err(("an upstream URL must name a host".to_owned(), None));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.contains(':') && !host.bytes().all(is_name) {
        return Err((format!("`{host}` is not a host name"), None));
    }
    let Some(port) = port else { return Ok((host, None)) };
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((host, Some(number)))
        }
        _ => Err((
            format!("`{port}` is not a port"),
            Some("a port is a number from 1 to 65535".to_owned()),
        )),
    }
}

fn check_path(path: &str) -> Result<String, Trouble> {
    let path = path.trim_end_matches('/');
    if let Some(bad) = path.bytes().find(|byte| b"{}|\\^`\"<>".contains(byte)) {
        let hint = "what differs from fetch to fetch belongs into `path` of the fetch";
        let message = format!("`{}` cannot be in the path of an upstream URL", char::from(bad));
        return Err((message, Some(hint.to_owned())));
    }
    // RFC 3986 section 2.1.
    let is_encoded = |rest: &str| {
        rest.as_bytes().first_chunk::<2>().is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    if !path.split('%').skip(1).all(is_encoded) {
        let message = "a `%` in the path of an upstream URL begins no percent-encoded byte";
        let hint = "write two hexadecimal digits after it, or %25 for the sign itself";
        return Err((message.to_owned(), Some(hint.to_owned())));
    }
    if path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        let message = "the path of an upstream URL has an empty, `.` or `..` segment";
        return Err((message.to_owned(), None));
    }
    Ok(path.to_owned())
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let origin = Origin::parse("http://API.example.com:8080/v1/").unwrap();
        assert_eq!(origin.host, "api.example.com");
        assert_eq!(origin.port, 8080);
        assert_eq!(origin.authority, "api.example.com:8080");
        assert_eq!(origin.base_path, "/v1");
        assert_eq!(Origin::parse("http://a/b%20c%2F").unwrap().base_path, "/b%20c%2F");
        let origin = Origin::parse("http://127.0.0.1").unwrap();
        assert_eq!((origin.port, origin.authority.as_str()), (80, "127.0.0.1"));
        assert_eq!(origin.base_path, "");
        let origin = Origin::parse("http://[::1]:9000").unwrap();
        assert_eq!((origin.host.as_str(), origin.authority.as_str()), ("::1", "[::1]:9000"));
    }

    #[test]
    fn https_has_a_port_of_its_own() {
        for (url, port, authority) in [
            ("https://API.example.com/v1", 443, "api.example.com"),
            ("HTTPS://api.example.com:443", 443, "api.example.com"),
            ("https://api.example.com:80", 80, "api.example.com:80"),
            ("http://api.example.com:443", 443, "api.example.com:443"),
            ("https://[::1]", 443, "[::1]"),
        ] {
            let origin = Origin::parse(url).unwrap();
            assert_eq!((origin.port, origin.authority.as_str()), (port, authority), "{url}");
            assert_eq!(origin.is_secure, !url.starts_with("http:"), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_an_upstream_is_refused() {
        for wrong in [
            "",
            "api.example.com",
            "https://",
            "https://a:0",
            "https//a",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a:b",
            "http://user:pw@a",
            "http://a/?x=1",
            "http://a/#x",
            "http://a b",
            "http://[::1",
            "http://[::1]x",
            "http://[zz]",
            "http://a/../b",
            "http://a//b",
            "http://a/{{x}}",
            "http://a/%zz",
            "http://a/b%2",
            "http://a/%/c",
            "http://é",
        ] {
            assert!(Origin::parse(wrong).is_err(), "{wrong}");
        }
    }
}
