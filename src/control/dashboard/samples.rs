//! A server that is made up, second by second, for tests and for looking at the page.

use crate::metrics::snapshot::{Page, Snapshot, Times, Upstream, Worker};

/// A server that does what it is told.
pub(super) struct Server {
    snapshot: Snapshot,
}

impl Server {
    /// One with so many workers, and nothing done.
    pub(super) fn new(workers: usize) -> Self {
        let worker = |number| Worker {
            number,
            cpu: Some(number),
            lag_us: 80,
            connections: 12,
            in_flight: 3,
            ..Worker::default()
        };
        let page = |pattern: &str, template: &str| Page {
            pattern: pattern.into(),
            template: template.into(),
            ..Page::default()
        };
        let upstream = |name: &str, authority: &str, breaker: &str| Upstream {
            name: name.into(),
            authority: authority.into(),
            breaker: breaker.into(),
            connections: 8,
            in_flight: 3,
            ..Upstream::default()
        };
        let snapshot = Snapshot {
            unix_ms: 1_795_844_307_000,
            uptime_ms: 93_784_000,
            version: "0.1.0".into(),
            site: "/srv/news".into(),
            driver: "monoio (io_uring)".into(),
            listening: vec!["http://0.0.0.0:8080".into(), "https://0.0.0.0:8443".into()],
            ready: true,
            workers: (0..workers).map(worker).collect(),
            pages: vec![
                page("/", "front.html"),
                page("/items/{id}", "item.html"),
                page("/search", "search.html"),
            ],
            upstreams: vec![
                upstream("api", "https://api.example.com:443", "closed"),
                upstream("ads", "http://10.0.0.7:9000", ""),
            ],
            ..Snapshot::default()
        };
        Self { snapshot }
    }

    /// Forgets what a worker has done.
    pub(super) fn restart(&mut self, worker: usize) {
        let worker = &mut self.snapshot.workers[worker];
        *worker = Worker { number: worker.number, cpu: worker.cpu, ..Worker::default() };
    }

    /// What it is like now, to be changed.
    pub(super) fn now(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }

    /// One second later, in which each worker has made so many pages, each in 40 ms or more.
    pub(super) fn after(&mut self, made: &[u64]) -> Snapshot {
        let now = &mut self.snapshot;
        now.unix_ms += 1000;
        now.uptime_ms += 1000;
        let all: u64 = made.iter().sum();
        for (worker, made) in now.workers.iter_mut().zip(made) {
            worker.requests += made;
            worker.responses += made;
            worker.statuses[2] += made;
            worker.cpu_us += made * 1000;
            let slow = made / 40;
            record(&mut worker.times, 40_000 + 20 * made, made - slow);
            record(&mut worker.times, 90_000 + 60 * made, slow);
        }
        let (search, item) = (all / 15, all / 3);
        let parts = [(all - search - item, 40_000), (item, 60_000), (search, 200_000)];
        for (page, (made, us)) in now.pages.iter_mut().zip(parts) {
            page.statuses[2] += made;
            record(&mut page.times, us, made);
            record(&mut page.render, us / 400, made);
        }
        if all > 0 {
            now.pages[2].statuses[5] += 1;
            let api = &mut now.upstreams[0];
            api.exchanges += 2 * all;
            api.statuses[2] += (2 * all).saturating_sub(3);
            api.statuses[5] += 1;
            api.errors += 2;
            api.timeouts += 1;
            api.connects += 3;
            api.reused += (2 * all).saturating_sub(3);
            record(&mut api.times, 35_000, 2 * all - all / 20);
            record(&mut api.times, 120_000, all / 20);
        }
        now.clone()
    }
}

fn record(times: &mut Times, us: u64, count: u64) {
    let power = us.max(8).ilog2() as usize;
    let bucket = (power - 2) * 8 + (us >> (power - 3)) as usize % 8;
    if times.buckets.len() <= bucket {
        times.buckets.resize(bucket + 1, 0);
    }
    times.buckets[bucket] += count;
    times.count += count;
    times.sum_us += us * count;
}
