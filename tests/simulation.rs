//! The whole server on the simulated driver: a worker with the pages of a small site, upstreams
//! and visitors, in one world of virtual time and seeded faults.
//!
//! `RINGPRESS_SIM_SEED=n` runs one seed, the one that a failure printed; `RINGPRESS_SIM_SEEDS=n`
//! runs more of them, or fewer.

#[cfg(test)]
#[path = "simulation/addresses.rs"]
mod addresses;
#[cfg(test)]
#[path = "simulation/admission.rs"]
mod admission;
#[cfg(test)]
#[path = "simulation/budget.rs"]
mod budget;
#[cfg(test)]
#[path = "simulation/caching.rs"]
mod caching;
#[cfg(test)]
#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/certificates.rs"]
mod certificates;
#[cfg(test)]
#[path = "simulation/changes.rs"]
mod changes;
#[cfg(test)]
#[path = "simulation/client.rs"]
mod client;
#[cfg(test)]
#[path = "simulation/coalescing.rs"]
mod coalescing;
#[cfg(test)]
#[path = "simulation/downstream.rs"]
mod downstream;
#[cfg(test)]
#[path = "simulation/drain.rs"]
mod drain;
#[cfg(test)]
#[path = "simulation/exchanges.rs"]
mod exchanges;
#[cfg(test)]
#[path = "simulation/foresight.rs"]
mod foresight;
#[cfg(test)]
#[path = "simulation/hedges.rs"]
mod hedges;
#[cfg(test)]
#[path = "simulation/leaving.rs"]
mod leaving;
#[cfg(test)]
#[path = "simulation/moods.rs"]
mod moods;
#[cfg(test)]
#[path = "simulation/packing.rs"]
mod packing;
#[cfg(test)]
#[path = "simulation/patience.rs"]
mod patience;
#[cfg(test)]
#[path = "simulation/policy.rs"]
mod policy;
#[cfg(test)]
#[path = "simulation/pool.rs"]
mod pool;
#[cfg(test)]
#[path = "simulation/seeds.rs"]
mod seeds;
#[cfg(test)]
#[path = "simulation/server.rs"]
mod server;
#[cfg(test)]
#[path = "simulation/shares.rs"]
mod shares;
#[cfg(test)]
#[path = "simulation/stale.rs"]
mod stale;
#[cfg(test)]
#[path = "simulation/story.rs"]
mod story;
#[cfg(test)]
#[path = "simulation/tls.rs"]
mod tls;
#[cfg(test)]
#[path = "simulation/upstream.rs"]
mod upstream;
#[cfg(test)]
#[path = "simulation/visitors.rs"]
mod visitors;
