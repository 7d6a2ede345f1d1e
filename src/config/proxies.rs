//! `trusted_proxies`: the networks whose word about visitors is taken.

use super::reader::{Entry, Reader};
use crate::limits::TRUSTED_PROXIES_MAX;
use ipnet::IpNet;
use std::net::IpAddr;

/// `forwarded`: which fields proxies write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFields {
    /// X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host.
    XForwarded,
    /// Forwarded (RFC 7239).
    Forwarded,
}

impl ForwardedFields {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "x-forwarded" => Some(Self::XForwarded),
            "forwarded" => Some(Self::Forwarded),
            _ => None,
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>, into: &mut Vec<IpNet>) {
    let mut networks = Vec::new();
    for text in reader.strings(entry) {
        match text.value.as_str() {
            "private" => networks.extend(PRIVATE.iter().filter_map(|text| network(text))),
            other => match network(other) {
                Some(network) => networks.push(network),
                None => reader.problem_hint(
                    text.span.clone(),
                    format!("`{other}` is not a network"),
                    "write an address or a network, as in \"192.0.2.7\" or \"10.0.0.0/8\", or \
                     \"private\" for all networks that are not of the internet",
                ),
            },
        }
    }
    if networks.len() > TRUSTED_PROXIES_MAX {
        let message = format!("`trusted_proxies` has more than {TRUSTED_PROXIES_MAX} networks");
        reader.problem(entry.value.span(), message);
    }
    *into = networks;
}

/// A network, or an address as the network of itself.
fn network(text: &str) -> Option<IpNet> {
    let address = text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
    address.or_else(|| text.parse().ok()).map(|network| network.trunc())
}

/// Loopback, link-local and what RFC 1918 and RFC 4193 set aside.
const PRIVATE: &[&str] = &[
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks() {
        let shown = |text| network(text).map(|network| network.to_string());
        assert_eq!(shown("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(shown("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(shown("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(shown("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        for wrong in ["", "10.0.0.0/33", "example.com", "10.0.0", "10.0.0.0/"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
        assert!(PRIVATE.iter().all(|text| network(text).is_some()));
    }
}
