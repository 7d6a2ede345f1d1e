//! Where an upstream is: its addresses, looked up off the loop and read on it without a lock.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The addresses of one upstream, as the control thread last found them. Empty until its name was
/// found for the first time.
#[derive(Debug, Default)]
pub struct Addresses(ArcSwap<Vec<SocketAddr>>);

impl Addresses {
    /// Addresses that are known from the start.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(ArcSwap::from_pointee(addresses))
    }

    /// Replaces the addresses. An empty list is not taken: an address that once answered is a
    /// better guess than none, while the name server is away.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() && **self.0.load() != addresses {
            self.0.store(Arc::new(addresses));
        }
    }

    /// The `n`th address, counted around; none while the name has not been found.
    pub fn nth(&self, n: usize) -> Option<SocketAddr> {
        let addresses = self.0.load();
        let index = n.checked_rem(addresses.len())?;
        addresses.get(index).copied()
    }

    /// How many addresses there are.
    pub fn count(&self) -> usize {
        self.0.load().len()
    }
}

/// The addresses of all upstreams of a site, in its order; shared by all workers.
pub type Directory = Arc<[Addresses]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_around_and_outlive_a_failed_look_up() {
        let [a, b] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| SocketAddr::from((ip, 80)));
        let addresses = Addresses::default();
        assert_eq!(addresses.nth(0), None);
        addresses.set(vec![a, b]);
        assert_eq!(addresses.nth(0), Some(a));
        assert_eq!(addresses.nth(1), Some(b));
        assert_eq!(addresses.nth(2), Some(a));
        addresses.set(Vec::new());
        assert_eq!(addresses.count(), 2);
    }
}
