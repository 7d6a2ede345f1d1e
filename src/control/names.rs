//! Where the addresses of a name come from: name servers, asked directly, as only their answers
//! say how long they hold; or the system's resolver, which knows more places and says no time.
//!
//! The system has the word on names of its hosts file, short ones, and all that name servers do
//! not answer. Each question has a socket of its own, with a port and a number by chance, so that
//! nobody can answer in a name server's place who does not see the question.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use crate::limits;

use super::dns::{self, Kind};

/// Where names are looked up.
#[derive(Clone, Debug)]
pub struct Names {
    /// Name servers, asked in this order.
    pub servers: Vec<SocketAddr>,
    /// How long each may take.
    pub timeout: Duration,
    /// The shortest time after which a name is looked up again, whatever its answer says.
    pub ttl_min: Duration,
    /// Names that the system's hosts file has, in lower case.
    pub hosts: BTreeSet<String>,
    /// Dots in a name without which it may be a part of one, which the system completes.
    pub dots_min: usize,
}

/// The addresses of a name, and when to look again.
pub(super) struct Found {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) again_in: Duration,
}

impl Names {
    /// As this system is configured, by `resolv.conf` and its hosts file.
    pub fn of_system() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Self::configured(&text("/etc/resolv.conf"), &text("/etc/hosts"))
    }

    fn configured(resolv_conf: &str, hosts: &str) -> Self {
        let (mut servers, mut dots_min) = (Vec::new(), 1);
        for line in resolv_conf.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let ip = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    servers.extend(ip.map(|ip| SocketAddr::from((ip, DNS_PORT))));
                }
                Some("options") => {
                    let dots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    dots_min = dots.unwrap_or(dots_min);
                }
                _ => {}
            }
        }
        servers.truncate(limits::DNS_SERVERS_MAX);
        let named = hosts
            .lines()
            .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace().skip(1));
        Self {
            servers,
            timeout: limits::DNS_TIMEOUT,
            ttl_min: limits::DNS_TTL_MIN,
            hosts: named.map(str::to_ascii_lowercase).collect(),
            dots_min,
        }
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// Those of the system's resolver, when nobody else knows the name.
    pub(super) fn look_up(&self, host: &str, port: u16) -> io::Result<Found> {
        let found = match self.is_the_systems(host) {
            true => None,
            false => self.servers.iter().find_map(|server| self.ask(*server, host, port)),
        };
        let mut found = match found {
            Some(found) => found,
            None => system(host, port)?,
        };
        // Sorted, so that the same answer in another order is no change.
        found.addresses.sort_unstable();
        found.addresses.dedup();
        keep_reachable(&mut found.addresses);
        found.addresses.truncate(limits::ADDRESSES_MAX);
        found.again_in = found.again_in.min(limits::DNS_TTL_MAX).max(self.ttl_min);
        Ok(found)
    }

    fn is_the_systems(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let dots = host.matches('.').count();
        host.parse::<IpAddr>().is_ok()
            || dots < self.dots_min.max(1)
            || self.hosts.contains(&host)
            || SYSTEM_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
    }

    /// What one name server says, if it knows an address.
    fn ask(&self, server: SocketAddr, host: &str, port: u16) -> Option<Found> {
        // One that does not answer to this is not asked for the other.
        let first = self.ask_for(server, host, Kind::A).ok()?;
        let second = self.ask_for(server, host, Kind::Aaaa).ok();
        let (mut addresses, mut ttl) = (Vec::new(), limits::DNS_TTL_MAX);
        for answer in std::iter::once(first).chain(second) {
            ttl = ttl.min(answer.ttl.unwrap_or(ttl));
            addresses.extend(answer.addresses.into_iter().map(|ip| SocketAddr::new(ip, port)));
        }
        (!addresses.is_empty()).then_some(Found { addresses, again_in: ttl })
    }

    fn ask_for(&self, server: SocketAddr, host: &str, kind: Kind) -> io::Result<dns::Answer> {
        let id = RandomState::new().hash_one(host) as u16;
        let question = dns::question(id, host, kind).ok_or(io::ErrorKind::InvalidInput)?;
        let any = match server {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0))?;
        // From then on the kernel passes only what comes from there.
        socket.connect(server)?;
        socket.send(&question)?;
        let deadline = Instant::now() + self.timeout;
        let mut buffer = [0; limits::DNS_ANSWER_BYTES_MAX];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
            let length = socket.recv(&mut buffer)?;
            let message = buffer.get(..length).unwrap_or_default();
            // What does not answer may be forged: the answer may still come.
            if let Some(answer) = dns::answer(message, id, host, kind) {
                return Ok(answer);
            }
            if dns::is_refusal(message, id) {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread is there to block on look-ups")]
fn system(host: &str, port: u16) -> io::Result<Found> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(Found { addresses, again_in: limits::DNS_REFRESH })
}

/// Leaves out addresses that there is no route to, as those of IPv6 on many machines, unless none
/// would be left.
fn keep_reachable(addresses: &mut Vec<SocketAddr>) {
    let has_route = |address: &SocketAddr| {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // Sends nothing: connecting a datagram socket only looks for a route.
        UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)).is_ok()
    };
    if addresses.iter().any(has_route) {
        addresses.retain(has_route);
    }
}

const DNS_PORT: u16 = 53;
/// Names that are not of the DNS, or not only (RFC 6761, RFC 6762).
const SYSTEM_SUFFIXES: &[&str] = &[".local", ".localhost"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_heeded() {
        let resolv_conf = "# by hand\nnameserver 192.0.2.53\nsearch x.test\n\
                           nameserver 2001:db8::1\n\
                           nameserver nonsense\noptions timeout:1 ndots:2\n";
        let hosts = "127.0.0.1 localhost\n10.0.0.7\tApi.internal.test api # here\n";
        let names = Names::configured(resolv_conf, hosts);
        assert_eq!(
            names.servers,
            ["192.0.2.53:53", "[2001:db8::1]:53"].map(|s| s.parse().unwrap())
        );
        for host in ["api", "api.internal.test", "API.Internal.Test", "a.b", "x.y.local", "1.2.3.4"]
        {
            assert!(names.is_the_systems(host), "{host}");
        }
        assert!(!names.is_the_systems("www.example.com"));
        assert!(!Names::configured("", "").is_the_systems("example.com"));
    }

    #[test]
    fn an_address_without_a_route_is_left_out_unless_it_is_all_there_is() {
        let here: SocketAddr = "127.0.0.1:80".parse().unwrap();
        // Reserved for ever: there is no route to it.
        let nowhere: SocketAddr = "[100::1]:80".parse().unwrap();
        let mut addresses = vec![nowhere];
        keep_reachable(&mut addresses);
        assert_eq!(addresses, [nowhere]);
        let mut addresses = vec![here];
        keep_reachable(&mut addresses);
        assert_eq!(addresses, [here]);
    }
}
