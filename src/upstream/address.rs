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

    /// The addresses now; empty while the name has not been found. The same list until they
    /// change.
    pub fn now(&self) -> Arc<Vec<SocketAddr>> {
        self.0.load_full()
    }
}

/// The addresses of all upstreams of a site, in its order; shared by all workers.
pub type Directory = Arc<[Addresses]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outlive_a_failed_look_up_and_are_replaced_only_by_others() {
        let [a, b] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| SocketAddr::from((ip, 80)));
        let addresses = Addresses::default();
        assert!(addresses.now().is_empty());
        addresses.set(vec![a, b]);
        let before = addresses.now();
        assert_eq!(*before, [a, b]);
        addresses.set(vec![a, b]);
        addresses.set(Vec::new());
        assert!(Arc::ptr_eq(&before, &addresses.now()));
        addresses.set(vec![b]);
        assert_eq!(*addresses.now(), [b]);
    }
}
