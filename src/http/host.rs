//! Whom a Host names.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a Host is an address or this machine's own name, which nobody's DNS can make lead
/// elsewhere, or here. A page of another site whose name was made to lead here (DNS rebinding) has
/// its own name there.
pub fn is_of_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.to_ascii_lowercase();
    // RFC 6761 section 6.3: browsers ask nobody for these.
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// Whether a Host is this machine's own loopback, where nobody listens on the way.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => is_of_this_machine(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_this_machine_and_names_of_others_are_not() {
        for own in [
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
            "localhost",
            "LocalHost:9180",
            "a.LOCALHOST:1",
        ] {
            assert!(is_of_this_machine(own), "{own}");
        }
        for (host, wanted) in [
            ("127.0.0.1:8080", true),
            ("127.1.2.3", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]", true),
            ("a.localhost:1", true),
            ("10.0.0.1:80", false),
            ("[2001:db8::1]", false),
            ("example.com", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(host), wanted, "{host}");
        }
        for other in [
            "",
            "example.com",
            "evil.example:9180",
            "localhost.example.com:8080",
            "evillocalhost",
            "1.2.3.4.nip.io",
            "127.0.0.1.evil.example",
            "[::1",
            ":1:",
        ] {
            assert!(!is_of_this_machine(other), "{other}");
        }
    }
}
