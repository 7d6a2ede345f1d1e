//! What is to be served, as far as the machine has to do with it; and whether its ports may be had.

use std::net::SocketAddr;

use super::finding::{Finding, Level};
use super::machine::Machine;
use crate::config::Workers;
use crate::control;
use crate::driver::kind::Choice;
use crate::limits;
use crate::site::{Overrides, ServerPlan, Site};

const SUBJECT: &str = "serving";
/// CAP_NET_BIND_SERVICE.
const LOW_PORTS: u32 = 10;

/// What is wanted of the machine.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) workers: Workers,
    pub(super) driver: Choice,
    /// Addresses, those with TLS as well.
    pub(super) listen: Vec<SocketAddr>,
    /// Connections of visitors, a worker.
    pub(super) connections_max: usize,
    /// Connections to each upstream, all workers.
    pub(super) upstreams: Vec<usize>,
    /// Addresses whose health each worker asks for.
    pub(super) checked: usize,
    /// What caches may hold, bytes, a worker.
    pub(super) cache_bytes: u64,
    /// What waiting pages may hold, bytes, a worker.
    pub(super) waiting_bytes: u64,
}

impl Wish {
    /// The defaults, with one upstream.
    pub(super) fn usual(overrides: &Overrides) -> Self {
        let mut server = ServerPlan::default();
        if let Some(listen) = &overrides.listen {
            server.listen.clone_from(listen);
        }
        if let Some(workers) = &overrides.workers {
            server.workers = workers.clone();
        }
        Self::new(&server, vec![limits::UPSTREAM_CONNECTIONS_MAX], 0)
    }

    /// A site's.
    pub(super) fn of(site: &Site) -> Self {
        let upstreams = site.upstreams();
        let checked = upstreams.iter().filter(|upstream| upstream.health.is_some());
        let checked = checked.map(|upstream| match upstream.addresses.len() {
            0 => limits::ADDRESSES_MAX,
            known => known,
        });
        let most = upstreams.iter().map(|upstream| upstream.max_connections).collect();
        let mut wish = Self::new(site.server(), most, checked.sum());
        wish.listen.extend(site.secure().iter().flat_map(|secure| &secure.listen));
        wish
    }

    fn new(server: &ServerPlan, upstreams: Vec<usize>, checked: usize) -> Self {
        Self {
            workers: server.workers.clone(),
            driver: control::machine::choice(server.driver),
            listen: server.listen.clone(),
            connections_max: server.connections_max,
            upstreams,
            checked,
            cache_bytes: server.cache_max.saturating_add(server.memo_max),
            waiting_bytes: limits::WAITING_PAGE_BYTES.saturating_mul(server.in_flight_max as u64),
        }
    }

    /// How many workers there are where these CPUs may be used; one CPU if that is not known.
    pub(super) fn workers_on(&self, allowed: Option<&[usize]>) -> usize {
        match &self.workers {
            Workers::All => allowed.map_or(1, <[usize]>::len).max(1),
            Workers::Count(count) => *count,
            Workers::Cpus(cpus) => cpus.len(),
        }
    }

    /// The CPUs that they are pinned to.
    pub(super) fn cpus_on(&self, allowed: &[usize]) -> Vec<usize> {
        match &self.workers {
            Workers::All => allowed.to_vec(),
            Workers::Count(count) => allowed.iter().copied().take(*count).collect(),
            Workers::Cpus(cpus) => cpus.clone(),
        }
    }
}

pub(super) fn examine(machine: &Machine, wish: &Wish) -> Vec<Finding> {
    const NAME: &str = "net.ipv4.ip_unprivileged_port_start";
    // Before Linux 4.11 there is no such setting, and in a container it may be 0.
    let from: u16 = machine.setting(NAME).and_then(|text| text.parse().ok()).unwrap_or(1024);
    wish.listen.iter().map(|address| port(machine, *address, from)).collect()
}

fn port(machine: &Machine, address: SocketAddr, unprivileged_from: u16) -> Finding {
    let found = |level, value: &str| Finding::new(SUBJECT, level, address.to_string(), value);
    if address.port() == 0 || address.port() >= unprivileged_from {
        return found(Level::Ok, "a port for everybody");
    }
    match machine.is_capable(LOW_PORTS) {
        Some(true) => found(Level::Ok, "a low port, with CAP_NET_BIND_SERVICE"),
        Some(false) => found(Level::Bad, "a low port, without CAP_NET_BIND_SERVICE")
            .why(
                "the server will not be allowed to listen there; deploy/ringpress.service has \
                 AmbientCapabilities=, or",
            )
            .command("setcap cap_net_bind_service=+ep \"$(command -v ringpress)\""),
        None => Finding::unknown(SUBJECT, address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Tree, verdict};
    use super::*;

    #[test]
    fn low_ports_need_a_capability_or_a_setting() {
        let level = |files: &[(&str, &str)], address: &str| {
            let overrides =
                Overrides { listen: Some(vec![address.parse().unwrap()]), ..Overrides::default() };
            let findings = examine(&Tree::new(files).machine(), &Wish::usual(&overrides));
            verdict(&findings, address).0
        };
        let without = ("proc/self/status", "CapEff:\t0000000000000000\n");
        let with = ("proc/self/status", "CapEff:\t0000000000000400\n");
        let free = ("proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n");
        assert_eq!(level(&[without], "0.0.0.0:80"), Level::Bad);
        assert_eq!(level(&[with], "0.0.0.0:80"), Level::Ok);
        assert_eq!(level(&[without, free], "[::]:80"), Level::Ok);
        assert_eq!(level(&[without], "0.0.0.0:8080"), Level::Ok);
        assert_eq!(level(&[], "0.0.0.0:443"), Level::Note);
    }
}
