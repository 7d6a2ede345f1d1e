//! Where in the site file those values of `[server]` stand that are looked at again when it is
//! known what else there is: on the machine, and on the command line.

use super::reader::Entry;
use super::server::listen_address;
use std::net::SocketAddr;
use std::ops::Range;

/// Places in the site file, each where there is such a value.
#[derive(Clone, Debug, Default)]
pub struct Spots {
    /// The path of the access log.
    pub access_log: Option<Range<usize>>,
    /// `storage` of `[server.acme]`.
    pub acme_storage: Option<Range<usize>>,
    /// `ca` of it.
    pub acme_ca: Option<Range<usize>>,
    listen: Vec<(SocketAddr, Range<usize>)>,
}

/// Where something stands makes it no other: two tables `[server]` that say the same are the same.
impl PartialEq for Spots {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spots {}

impl Spots {
    /// Takes from an entry of `[server]` what is of use.
    pub(super) fn note(&mut self, entry: &Entry<'_>) {
        let value = entry.value.get_ref();
        let of = |key: &str| value.get(key).map(|value| value.span());
        match entry.key {
            "access_log" => {
                self.access_log = of("path").or_else(|| Some(entry.value.span()));
            }
            "acme" => {
                self.acme_storage = of("storage").or_else(|| Some(entry.key_span.clone()));
                self.acme_ca = of("ca");
            }
            "listen" | "listen_tls" => {
                let one = std::slice::from_ref(entry.value);
                let items = value.as_array().map_or(one, |items| items.as_ref());
                let address = |text: &str| listen_address(text);
                self.listen.extend(items.iter().filter_map(|item| {
                    Some((item.get_ref().as_str().and_then(address)?, item.span()))
                }));
            }
            _ => {}
        }
    }

    /// Where an address stands that is listened on; the last of several.
    pub fn listen(&self, address: &SocketAddr) -> Option<Range<usize>> {
        let mut found = self.listen.iter().rev().filter(|(other, _)| other == address);
        found.next().map(|(_, span)| span.clone())
    }
}
