//! What the control thread tells a worker: written there, looked at here a few times a second. And
//! the worker's pulse, which goes the other way.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What a worker is told to do, and how it is seen to live.
#[derive(Debug, Default)]
pub struct Orders {
    level: AtomicU8,
    /// Whether its listening sockets are of use to others when it ends.
    spare: AtomicBool,
    rouses: AtomicU64,
    beats: AtomicU64,
    thread: AtomicU64,
}

/// How far a worker is told to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Serve.
    #[default]
    Serve,
    /// Others accept from its sockets now: no new connections, and those that are idle may send
    /// one more request.
    HandOver,
    /// No new connections, and what is in flight is finished.
    Drain,
    /// End at once.
    Stop,
}

impl Orders {
    /// For a worker whose sockets outlive it: they are somebody else's too.
    pub fn sparing(spare: bool) -> Self {
        Self { spare: AtomicBool::new(spare), ..Self::default() }
    }

    /// Stop accepting, as others accept from the same sockets now, and leave those as they are.
    /// Whoever keeps a connection has some time for one more request on it.
    pub fn hand_over(&self) {
        self.spare.store(true, Ordering::Relaxed);
        self.order(Order::HandOver);
    }

    /// Stop accepting, finish what is in flight, then end.
    pub fn drain(&self) {
        self.order(Order::Drain);
    }

    /// End at once.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// Look again who waits at the sockets: somebody else who accepted from them is gone, and may
    /// have been told of a visitor, in our place, whom it did not take.
    pub fn rouse(&self) {
        self.rouses.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the worker has looked at its orders: a number that stands is a worker that does.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// The kernel's number of the worker's thread; 0 until it runs.
    pub fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    fn order(&self, order: Order) {
        self.level.fetch_max(order as u8, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, thread: u64) {
        self.thread.store(thread, Ordering::Relaxed);
    }

    /// Looks, and is seen to.
    pub(super) fn look(&self) -> Order {
        self.beats.store(self.beats().wrapping_add(1), Ordering::Relaxed);
        match self.level.load(Ordering::Relaxed) {
            0 => Order::Serve,
            1 => Order::HandOver,
            2 => Order::Drain,
            _ => Order::Stop,
        }
    }

    pub(super) fn rouses(&self) -> u64 {
        self.rouses.load(Ordering::Relaxed)
    }

    pub(super) fn are_sparing(&self) -> bool {
        self.spare.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_only_get_stricter_and_a_look_is_a_beat() {
        let orders = Orders::default();
        assert_eq!(orders.look(), Order::Serve);
        orders.drain();
        orders.hand_over();
        assert_eq!(orders.look(), Order::Drain);
        assert!(orders.are_sparing());
        orders.stop();
        assert_eq!(orders.look(), Order::Stop);
        assert_eq!(orders.beats(), 3);
    }
}
