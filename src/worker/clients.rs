//! How much each client may ask for: a token bucket for each address, or network of addresses.
//! No clock, no IO.
//!
//! A bucket is one number: when it will be full again (GCRA, as in ATM's conformance). A client
//! whose bucket is full is one that nothing is known of, and is the first to be forgotten. The
//! table never grows over its bound: when it is full of clients who ask a lot, those it does not
//! know are let in uncounted, as turning everybody away because of some is what they may want.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::limits::RATE_CLIENTS_LOOKED_AT;
use crate::site::RateLimit;

/// The clients of one worker.
#[derive(Debug)]
pub(super) struct Clients {
    limit: RateLimit,
    start: Instant,
    /// When each bucket is full again, from `start` on, nanoseconds.
    full_ns: HashMap<Ipv6Addr, u64>,
    /// All of them, in the order in which they are looked at.
    order: VecDeque<Ipv6Addr>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// The client has not had its share yet.
    Left,
    /// There is no room to count it.
    Uncounted,
    /// It has; there will be more in so long.
    Used(Duration),
}

impl Clients {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, start: now, full_ns: HashMap::new(), order: VecDeque::new() }
    }

    /// A client asks for something.
    pub(super) fn ask(&mut self, client: IpAddr, now: Instant) -> Share {
        let now_ns = nanoseconds(now.saturating_duration_since(self.start));
        let network = self.network(client);
        let full_ns = match self.full_ns.get(&network).copied() {
            Some(full_ns) => full_ns,
            None if self.is_room(now_ns) => {
                self.order.push_back(network);
                0
            }
            None => return Share::Uncounted,
        };
        let cost_ns = nanoseconds(self.limit.interval);
        let room_ns = cost_ns.saturating_mul(u64::from(self.limit.burst));
        let then_ns = full_ns.max(now_ns).saturating_add(cost_ns);
        let over_ns = then_ns.saturating_sub(now_ns.saturating_add(room_ns));
        if over_ns > 0 {
            return Share::Used(Duration::from_nanos(over_ns));
        }
        self.full_ns.insert(network, then_ns);
        Share::Left
    }

    /// Whether one more can be counted, after the first few whose buckets are full are forgotten.
    fn is_room(&mut self, now_ns: u64) -> bool {
        for _ in 0..RATE_CLIENTS_LOOKED_AT {
            if self.order.len() < self.limit.clients_max {
                return true;
            }
            let Some(oldest) = self.order.pop_front() else { return false };
            if self.full_ns.get(&oldest).is_some_and(|full_ns| *full_ns > now_ns) {
                self.order.push_back(oldest);
            } else {
                self.full_ns.remove(&oldest);
            }
        }
        self.order.len() < self.limit.clients_max
    }

    /// The network of a client that is counted as one. One of IPv4 is told from those of IPv6 by
    /// where it is mapped to, which no client is (RFC 4291 section 2.5.5.2).
    fn network(&self, client: IpAddr) -> Ipv6Addr {
        let (bits, prefix) = match client.to_canonical() {
            IpAddr::V4(address) => {
                (address.to_ipv6_mapped().to_bits(), 96 + u32::from(self.limit.prefix_v4))
            }
            IpAddr::V6(address) => (address.to_bits(), u32::from(self.limit.prefix_v6)),
        };
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
        Ipv6Addr::from_bits(bits & mask)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ten a second, and five at once.
    fn limit() -> RateLimit {
        RateLimit {
            interval: SECOND / 10,
            burst: 5,
            prefix_v4: 32,
            prefix_v6: 64,
            clients_max: 100,
        }
    }

    fn allowed(clients: &mut Clients, client: &str, now: Instant) -> usize {
        let client: IpAddr = client.parse().unwrap();
        (0..50).filter(|_| clients.ask(client, now) == Share::Left).count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let now = Instant::now();
        let mut clients = Clients::new(limit(), now);
        assert_eq!(allowed(&mut clients, "192.0.2.1", now), 5);
        assert_eq!(clients.ask([192, 0, 2, 1].into(), now + SECOND / 20), Share::Used(SECOND / 20));
        assert_eq!(allowed(&mut clients, "192.0.2.1", now + SECOND / 5), 2);
        assert_eq!(allowed(&mut clients, "192.0.2.1", now + SECOND * 60), 5);
        assert_eq!(allowed(&mut clients, "192.0.2.2", now), 5);
    }

    #[test]
    fn a_network_is_one_client() {
        let now = Instant::now();
        let mut clients = Clients::new(RateLimit { prefix_v4: 24, ..limit() }, now);
        assert_eq!(allowed(&mut clients, "192.0.2.1", now), 5);
        assert_eq!(allowed(&mut clients, "::ffff:192.0.2.200", now), 0);
        assert_eq!(allowed(&mut clients, "192.0.3.1", now), 5);
        assert_eq!(allowed(&mut clients, "2001:db8:1:1::1", now), 5);
        assert_eq!(allowed(&mut clients, "2001:db8:1:1:ffff::2", now), 0);
        assert_eq!(allowed(&mut clients, "2001:db8:1:2::1", now), 5);
        let all = RateLimit { prefix_v4: 0, prefix_v6: 0, ..limit() };
        let mut clients = Clients::new(all, now);
        assert_eq!(allowed(&mut clients, "2001:db8::1", now), 5);
        assert_eq!(allowed(&mut clients, "fe80::1", now), 0);
        assert_eq!(allowed(&mut clients, "192.0.2.1", now), 5);
    }

    #[test]
    fn a_full_table_forgets_those_who_ask_little_and_never_grows() {
        let now = Instant::now();
        let mut clients = Clients::new(limit(), now);
        let client = |n: u32| IpAddr::from((n + 0x0a00_0000).to_be_bytes());
        for n in 0..100 {
            assert_eq!(clients.ask(client(n), now), Share::Left);
        }
        // All of them have asked a moment ago: a new one is let in, and is not counted.
        for _ in 0..20 {
            assert_eq!(clients.ask(client(1000), now), Share::Uncounted);
        }
        // One goes on asking; the others' buckets are full again.
        let later = now + SECOND / 5;
        assert_eq!(allowed(&mut clients, "10.0.0.7", later), 5);
        for n in 2000..2200 {
            clients.ask(client(n), later);
        }
        assert_eq!((clients.full_ns.len(), clients.order.len()), (100, 100));
        assert_eq!(allowed(&mut clients, "10.0.0.7", later), 0);
        assert_eq!(clients.ask(client(2000), later), Share::Left);
    }
}
