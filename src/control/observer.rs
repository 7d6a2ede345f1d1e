//! Looks at a running server, for those who show it: all workers at one moment, and the process.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::admin::{AdminResponse, Routes};
use super::overview::Overview;
use super::roster::{Facts, Post, Roster};
use crate::metrics::exposition::{self, Counted, Process, Seen, gather, together, total};
use crate::metrics::snapshot::{Page, Snapshot, Upstream, Worker};
use crate::metrics::{Breaker, PageMetrics, UpstreamMetrics, WorkerMetrics};

/// Looks at a running server. A clone looks at the same.
#[derive(Clone, Debug)]
pub struct Observer {
    overview: Arc<Overview>,
    roster: Arc<Roster>,
}

impl Observer {
    /// One that looks at these.
    pub fn new(overview: Arc<Overview>, roster: Arc<Roster>) -> Self {
        Self { overview, roster }
    }

    /// `/metrics`, for Prometheus.
    pub fn routes(&self) -> Routes {
        let observer = self.clone();
        Routes::default().get("/metrics", move |_| {
            let text = observer.exposition().into_bytes();
            AdminResponse::whole(200, exposition::CONTENT_TYPE, text)
        })
    }

    /// All numbers, as Prometheus reads them.
    pub fn exposition(&self) -> String {
        let posts = self.roster.workers();
        exposition::write(&self.process(), &seen(&posts))
    }

    /// The server as it is now. Counters count from the start of their worker.
    pub fn snapshot(&self) -> Snapshot {
        let (posts, served) = (self.roster.workers(), self.roster.served());
        let seen = seen(&posts);
        let uptime = self.overview.started.elapsed().unwrap_or_default();
        Snapshot {
            unix_ms: unix_ms(SystemTime::now()),
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: self.overview.is_ready(),
            life: self.overview.life().clone(),
            workers: seen.iter().filter_map(worker).collect(),
            pages: pages(&served.site, &gather(&seen, |metrics| &metrics.pages)),
            upstreams: upstreams(&served.site, &gather(&seen, |metrics| &metrics.upstreams)),
            site: served.site.name,
            driver: served.driver,
            listening: served.listening,
        }
    }

    fn process(&self) -> Process {
        use rustix::process::{Resource, getrlimit};
        use rustix::time::{ClockId, clock_gettime};
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Process {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            driver: self.roster.served().driver,
            started_unix_s: unix_ms(self.overview.started) as f64 / 1000.0,
            ready: self.overview.is_ready(),
            life: self.overview.life().clone(),
            cpu_s: Some(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9),
            resident_bytes: resident_bytes(),
            open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

fn seen(posts: &[Post]) -> Vec<Seen<'_>> {
    let seen = posts.iter().map(|Post { number, cpu, works, sets }| Seen {
        number: *number,
        cpu: *cpu,
        works: *works,
        sets,
    });
    seen.collect()
}

/// A worker, together with those whose place it has taken.
fn worker(seen: &Seen<'_>) -> Option<Worker> {
    let now = seen.now()?;
    let pages = seen.sets.iter().flat_map(|set| set.pages.all());
    Some(Worker {
        number: seen.number,
        cpu: seen.cpu,
        requests: seen.sum(|set| set.requests.get()),
        responses: seen.sum(|set| set.responses.get()),
        statuses: total(seen.sets.iter().map(|set| &set.statuses)),
        shed: seen.sum(WorkerMetrics::requests_shed),
        connections: seen.sum(|set| set.connections.get()),
        in_flight: seen.sum(|set| set.in_flight.get()),
        upstream_connections: seen.sum(|set| set.upstream_connections.get()),
        lag_us: now.queue_delay_us.get(),
        overloaded: now.overloaded.get() != 0,
        cpu_us: seen.sum(|set| set.cpu_us.get()),
        turns: seen.sum(|set| set.turns.get()),
        operations: seen.sum(|set| set.operations.get()),
        times: together(pages.map(|(_, page)| page.duration.read())),
    })
}

/// The pages of the site, and what else was counted.
fn pages(site: &Facts, counted: &[Counted<PageMetrics>]) -> Vec<Page> {
    let page = |Counted { name: pattern, sets, .. }: &Counted<PageMetrics>| {
        let known = site.pages.iter().find(|(known, _)| known == pattern);
        Page {
            pattern: pattern.clone(),
            template: known.map(|(_, template)| template.clone()).unwrap_or_default(),
            statuses: total(sets.iter().map(|set| &set.statuses)),
            times: together(sets.iter().map(|set| set.duration.read())),
            render: together(sets.iter().map(|set| set.render.read())),
        }
    };
    counted.iter().map(page).collect()
}

fn upstreams(site: &Facts, counted: &[Counted<UpstreamMetrics>]) -> Vec<Upstream> {
    let upstream = |Counted { name, sets, work }: &Counted<UpstreamMetrics>| {
        let sum = |of: fn(&UpstreamMetrics) -> u64| sets.iter().map(|set| of(set)).sum::<u64>();
        let known = site.upstreams.iter().find(|(known, _)| known == name);
        let worst =
            sets.iter().take(*work).map(|set| set.breaker()).max().unwrap_or(Breaker::Missing);
        Upstream {
            name: name.clone(),
            authority: known.map(|(_, authority)| authority.clone()).unwrap_or_default(),
            breaker: worst.word().to_owned(),
            exchanges: sum(|set| set.exchanges.get()),
            statuses: total(sets.iter().map(|set| &set.statuses)),
            errors: sum(UpstreamMetrics::failed),
            timeouts: sum(|set| set.failed_timeout.get()),
            rejected: sum(|set| set.rejected_breaker.get() + set.rejected_full.get()),
            retries: sum(|set| set.retries_stale.get() + set.retries.get() + set.hedges.get()),
            in_flight: sum(|set| set.in_flight.get()),
            connections: sum(|set| set.connections.get()),
            connects: sum(|set| set.connects.get()),
            reused: sum(|set| set.reused.get()),
            times: together(sets.iter().map(|set| set.duration.read())),
        }
    };
    counted.iter().map(upstream).collect()
}

/// The second number of `statm`, in pages.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
