//! All numbers as Prometheus reads them (text format 0.0.4).
//!
//! Numbers of a worker have its number as label; those of pages and upstreams, of which there may
//! be many, are told for all workers together, by the page's path in the site file or the
//! upstream's name: what visitors ask for never becomes a label. Histograms have a bound for each
//! doubling, a part of what is counted.

use std::fmt::Write;
use std::sync::Arc;

use super::family::{Family, Field, Kind};
use super::snapshot::{Life, Times};
use super::{Breaker, PageMetrics, Sets, Statuses, UpstreamMetrics, WorkerMetrics};
use super::{page, upstream, worker};

/// The Content-Type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What there is to tell beside the workers' numbers.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Of ringpress.
    pub version: String,
    /// How the workers talk to the kernel.
    pub driver: String,
    /// When it started, seconds since 1970.
    pub started_unix_s: f64,
    /// Whether new visitors are wanted.
    pub ready: bool,
    /// What became of its life so far.
    pub life: Life,
    /// CPU time of all its threads, seconds, if that is known.
    pub cpu_s: Option<f64>,
    /// Memory that it has, bytes, if that is known.
    pub resident_bytes: Option<u64>,
    /// Descriptors that are open, if that is known.
    pub open_fds: Option<u64>,
    /// Descriptors that may be, if that is known.
    pub max_fds: Option<u64>,
}

/// The place of a worker, to tell of.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which one, from 0 on.
    pub number: usize,
    /// The CPU that who works there is pinned to.
    pub cpu: Option<usize>,
    /// Whether somebody works there now.
    pub works: bool,
    /// What is counted there: by who works there now, if anybody does, then by who did before.
    pub sets: &'a [Arc<WorkerMetrics>],
}

/// What several count under one name.
#[derive(Debug)]
pub struct Counted<T> {
    /// The name.
    pub name: String,
    /// What each counts, those who work first.
    pub sets: Vec<Arc<T>>,
    /// How many of them work now; the others are about to end, or have.
    pub work: usize,
}

impl Seen<'_> {
    /// The numbers of who works there now.
    pub fn now(&self) -> Option<&WorkerMetrics> {
        self.sets.first().filter(|_| self.works).map(|set| &**set)
    }

    /// All that was counted there.
    pub fn sum(&self, of: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.sets.iter().map(|set| of(set)).sum()
    }

    fn counted(&self) -> Counted<WorkerMetrics> {
        let (name, sets) = (self.number.to_string(), self.sets.to_vec());
        Counted { name, sets, work: usize::from(self.works) }
    }
}

/// Tells all.
pub fn write(process: &Process, workers: &[Seen<'_>]) -> String {
    let mut text = Text::default();
    text.process(process);
    text.workers(workers);
    text.pages(&gather(workers, |metrics| &metrics.pages));
    text.upstreams(&gather(workers, |metrics| &metrics.upstreams));
    text.0
}

/// The sets of all workers by name, in the order in which names come first. Names that nobody has
/// who works now are told no longer.
pub fn gather<T: Default>(
    workers: &[Seen<'_>],
    of: impl Fn(&WorkerMetrics) -> &Sets<T>,
) -> Vec<Counted<T>> {
    let mut gathered: Vec<Counted<T>> = Vec::new();
    for (name, set) in workers.iter().filter_map(Seen::now).flat_map(|metrics| of(metrics).all()) {
        match gathered.iter_mut().find(|counted| counted.name == name) {
            Some(counted) => {
                counted.sets.push(set);
                counted.work += 1;
            }
            None => gathered.push(Counted { name, sets: vec![set], work: 1 }),
        }
    }
    let before = workers.iter().flat_map(|seen| seen.sets.iter().skip(usize::from(seen.works)));
    for (name, set) in before.flat_map(|metrics| of(metrics).all()) {
        if let Some(counted) = gathered.iter_mut().find(|counted| counted.name == name) {
            counted.sets.push(set);
        }
    }
    gathered
}

/// Adds up what several have counted by class.
pub fn total<'a>(all: impl Iterator<Item = &'a Statuses>) -> [u64; 6] {
    all.fold([0; 6], |mut sum, statuses| {
        sum.iter_mut().zip(statuses.get()).for_each(|(sum, count)| *sum += count);
        sum
    })
}

/// Adds up times.
pub fn together(all: impl Iterator<Item = Times>) -> Times {
    all.fold(Times::default(), |mut sum, times| {
        sum.add(&times);
        sum
    })
}

const BUILD: Family = gauge("ringpress_build_info", "The version that runs, and its driver: 1.");
const READY: Family = gauge("ringpress_ready", "Whether new visitors are wanted: 1, or 0.");
const RELOADS: Family = counter(
    "ringpress_config_reloads_total",
    "Reloads of the site, by whether they took (done) or were refused (failed).",
);
const RELOADED: Family = gauge(
    "ringpress_config_last_reload_successful",
    "Whether the last reload took: 1, or 0. 1 where there was none.",
);
const LOADED: Family =
    gauge("ringpress_config_loaded_time_seconds", "When the site was last loaded, since 1970.");
const UPGRADES: Family = counter(
    "ringpress_upgrades_failed_total",
    "Upgrades after which the new process did not serve.",
);
const CERTIFICATE: Family = gauge(
    "ringpress_certificate_expiry_timestamp_seconds",
    "When the first of the certificates in use expires, since 1970.",
);
const RESTARTS: Family =
    counter("ringpress_worker_restarts_total", "Workers that were started again after a panic.");
const STALLS: Family =
    counter("ringpress_worker_stalls_total", "Times that a worker stood still for too long.");
const STARTED: Family =
    gauge("process_start_time_seconds", "When the process started, since 1970.");
const CPU: Family = counter("process_cpu_seconds_total", "CPU time of all threads.");
const RESIDENT: Family =
    gauge("process_resident_memory_bytes", "Memory that the process has, without what is swapped.");
const OPEN_FDS: Family = gauge("process_open_fds", "Descriptors that are open.");
const MAX_FDS: Family = gauge("process_max_fds", "Descriptors that may be open.");
const WORKER: Family =
    gauge("ringpress_worker_info", "The CPU that a worker is pinned to, if any: 1.");
const BREAKER: Family = gauge(
    "ringpress_upstream_breaker",
    "How many workers' breakers of an upstream are closed, probing or open.",
);

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Gauge }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Counter }
}

/// Labels and their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

#[derive(Default)]
struct Text(String);

impl Text {
    fn process(&mut self, process: &Process) {
        let Process { version, driver, life, .. } = process;
        self.one(BUILD, &[("version", version), ("driver", driver)], 1.0);
        self.one(STARTED, &[], process.started_unix_s);
        let known = [
            (CPU, process.cpu_s),
            (RESIDENT, process.resident_bytes.map(|bytes| bytes as f64)),
            (OPEN_FDS, process.open_fds.map(|count| count as f64)),
            (MAX_FDS, process.max_fds.map(|count| count as f64)),
        ];
        for (family, value) in known {
            if let Some(value) = value {
                self.one(family, &[], value);
            }
        }
        self.one(READY, &[], f64::from(u8::from(process.ready)));
        self.family(RELOADS);
        self.sample(RELOADS.name, &[("result", "done")], life.reloads as f64);
        self.sample(RELOADS.name, &[("result", "failed")], life.reloads_failed as f64);
        self.one(RELOADED, &[], f64::from(u8::from(life.reload_problem.is_empty())));
        self.one(LOADED, &[], life.loaded_unix_ms as f64 / 1000.0);
        self.one(UPGRADES, &[], life.upgrades_failed as f64);
        self.one(RESTARTS, &[], life.workers_restarted as f64);
        self.one(STALLS, &[], life.workers_stalled as f64);
        self.family(CERTIFICATE);
        if let Some(expiry) = life.certificate_expiry_unix_s {
            self.sample(CERTIFICATE.name, &[], expiry as f64);
        }
    }

    fn workers(&mut self, workers: &[Seen<'_>]) {
        self.family(WORKER);
        for worker in workers.iter().filter(|worker| worker.works) {
            let cpu = worker.cpu.map(|cpu| cpu.to_string()).unwrap_or_default();
            let labels = [("worker", &*worker.number.to_string()), ("cpu", &cpu)];
            self.sample(WORKER.name, &labels, 1.0);
        }
        let workers: Vec<_> = workers.iter().map(Seen::counted).collect();
        self.fields("worker", WorkerMetrics::FIELDS, &workers);
        self.family(worker::RESPONSES);
        for Counted { name, sets, .. } in &workers {
            let statuses = total(sets.iter().map(|set| &set.statuses));
            self.statuses(worker::RESPONSES, ("worker", name), statuses);
        }
        self.family(worker::LAG);
        for Counted { name, sets, .. } in &workers {
            let times = together(sets.iter().map(|set| set.lag.read()));
            self.times(worker::LAG, ("worker", name), &times);
        }
    }

    fn pages(&mut self, pages: &[Counted<PageMetrics>]) {
        self.family(page::RESPONSES);
        for Counted { name, sets, .. } in pages {
            let statuses = total(sets.iter().map(|set| &set.statuses));
            self.statuses(page::RESPONSES, ("page", name), statuses);
        }
        self.family(page::DURATION);
        for Counted { name, sets, .. } in pages {
            let times = together(sets.iter().map(|set| set.duration.read()));
            self.times(page::DURATION, ("page", name), &times);
        }
        self.family(page::RENDER);
        for Counted { name, sets, .. } in pages {
            let times = together(sets.iter().map(|set| set.render.read()));
            self.times(page::RENDER, ("page", name), &times);
        }
    }

    fn upstreams(&mut self, upstreams: &[Counted<UpstreamMetrics>]) {
        self.fields("upstream", UpstreamMetrics::FIELDS, upstreams);
        self.family(upstream::RESPONSES);
        for Counted { name, sets, .. } in upstreams {
            let statuses = total(sets.iter().map(|set| &set.statuses));
            self.statuses(upstream::RESPONSES, ("upstream", name), statuses);
        }
        self.family(upstream::DURATION);
        for Counted { name, sets, .. } in upstreams {
            let times = together(sets.iter().map(|set| set.duration.read()));
            self.times(upstream::DURATION, ("upstream", name), &times);
        }
        self.family(BREAKER);
        for Counted { name, sets, work } in upstreams {
            for state in [Breaker::Closed, Breaker::Probing, Breaker::Open] {
                let now = sets.iter().take(*work);
                let count = now.filter(|set| set.breaker() == state).count();
                let labels = [("upstream", name.as_str()), ("state", state.word())];
                self.sample(BREAKER.name, &labels, count as f64);
            }
        }
    }

    /// All fields of a table, each added up over those sets that have the same label.
    fn fields<T>(&mut self, label: &str, fields: &[Field<T>], all: &[Counted<T>]) {
        let mut last = "";
        for field in fields {
            let family = field.family;
            if family.name != last {
                self.family(family);
                last = family.name;
            }
            for Counted { name, sets, work } in all {
                let count = if family.kind.adds_up() { sets.len() } else { *work };
                let sum: u64 = sets.iter().take(count).map(|set| (field.get)(set).get()).sum();
                let labels = [Some((label, name.as_str())), field.label];
                let labels: Vec<_> = labels.into_iter().flatten().collect();
                self.sample(family.name, &labels, in_unit(family.kind, sum));
            }
        }
    }

    fn statuses(&mut self, family: Family, label: (&str, &str), statuses: [u64; 6]) {
        for (class, count) in (1..=5).zip(statuses.into_iter().skip(1)) {
            let code = format!("{class}xx");
            self.sample(family.name, &[label, ("code", &code)], count as f64);
        }
    }

    fn times(&mut self, family: Family, label: (&str, &str), times: &Times) {
        let bucket = format!("{}_bucket", family.name);
        for doublings in FIRST_BOUND..=LAST_BOUND {
            let bound = ((1_u64 << doublings) as f64 / 1e6).to_string();
            self.sample(&bucket, &[label, ("le", &bound)], times.below(doublings) as f64);
        }
        self.sample(&bucket, &[label, ("le", "+Inf")], times.count as f64);
        self.sample(&format!("{}_sum", family.name), &[label], times.sum_us as f64 / 1e6);
        self.sample(&format!("{}_count", family.name), &[label], times.count as f64);
    }

    fn one(&mut self, family: Family, labels: Labels<'_>, value: f64) {
        self.family(family);
        self.sample(family.name, labels, value);
    }

    fn family(&mut self, family: Family) {
        let kind = match family.kind {
            Kind::Counter | Kind::CounterMicros => "counter",
            Kind::Gauge | Kind::State | Kind::StateMicros => "gauge",
            Kind::Histogram => "histogram",
        };
        let Family { name, help, .. } = family;
        // Nothing that is written to a String fails.
        let _ = write!(self.0, "# HELP {name} ");
        escape(&mut self.0, help.trim(), false);
        let _ = write!(self.0, "\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            escape(&mut self.0, value, true);
            self.0.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}

fn in_unit(kind: Kind, count: u64) -> f64 {
    match kind {
        Kind::CounterMicros | Kind::StateMicros => count as f64 / 1e6,
        _ => count as f64,
    }
}

/// A backslash and a line end are written as such; in a label, a quote too.
fn escape(out: &mut String, text: &str, is_label: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if is_label => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// The first bound of a histogram, 16 µs, and the last, 67 s, as powers of two of microseconds.
const FIRST_BOUND: u32 = 4;
const LAST_BOUND: u32 = 26;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn two_workers() -> [WorkerMetrics; 2] {
        let workers = [WorkerMetrics::default(), WorkerMetrics::default()];
        for (number, metrics) in workers.iter().enumerate() {
            metrics.accepted.add(10 + number as u64);
            metrics.requests_shed_rate.add(1);
            metrics.cpu_us.set(1_500_000);
            metrics.count_status(404);
            metrics.lag.record(Duration::from_micros(20));
            let page = &metrics.pages.of(&["/a\"b\\c\nd"], 9)[0];
            page.statuses.count(200);
            page.duration.record(Duration::from_millis(3));
            let upstream = &metrics.upstreams.of(&["api"], 9)[0];
            upstream.in_flight.add(2);
            upstream.set_breaker(if number == 0 { Breaker::Closed } else { Breaker::Open });
        }
        workers
    }

    fn text() -> String {
        let workers = two_workers().map(Arc::new);
        let seen = |(number, set)| {
            let sets = std::slice::from_ref(set);
            Seen { number, cpu: Some(number * 2), works: true, sets }
        };
        let seen: Vec<_> = workers.iter().enumerate().map(seen).collect();
        write(&Process { version: "1.2.3".into(), ..Process::default() }, &seen)
    }

    #[test]
    fn workers_are_told_apart_and_pages_and_upstreams_are_added_up() {
        let text = text();
        for line in [
            "ringpress_build_info{version=\"1.2.3\",driver=\"\"} 1",
            "ringpress_connections_accepted_total{worker=\"0\"} 10",
            "ringpress_connections_accepted_total{worker=\"1\"} 11",
            "ringpress_worker_info{worker=\"1\",cpu=\"2\"} 1",
            "ringpress_requests_shed_total{worker=\"0\",reason=\"rate\"} 1",
            "ringpress_worker_cpu_seconds_total{worker=\"0\"} 1.5",
            "ringpress_responses_total{worker=\"1\",code=\"4xx\"} 1",
            "ringpress_loop_lag_seconds_bucket{worker=\"0\",le=\"0.000016\"} 0",
            "ringpress_loop_lag_seconds_bucket{worker=\"0\",le=\"0.000032\"} 1",
            "ringpress_loop_lag_seconds_sum{worker=\"0\"} 0.00002",
            "ringpress_page_responses_total{page=\"/a\\\"b\\\\c\\nd\",code=\"2xx\"} 2",
            "ringpress_page_duration_seconds_bucket{page=\"/a\\\"b\\\\c\\nd\",le=\"+Inf\"} 2",
            "ringpress_page_duration_seconds_count{page=\"/a\\\"b\\\\c\\nd\"} 2",
            "ringpress_upstream_in_flight{upstream=\"api\"} 4",
            "ringpress_upstream_breaker{upstream=\"api\",state=\"open\"} 1",
            "ringpress_config_last_reload_successful 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn who_is_about_to_go_is_counted_with_who_has_come_and_its_loop_is_its_own() {
        let [now, parting] = two_workers().map(Arc::new);
        now.in_flight.add(1);
        parting.in_flight.add(4);
        parting.overloaded.set(1);
        parting.queue_delay_us.set(7);
        drop(parting.pages.named("/gone", 9));
        let (now, gone) = ([now, Arc::clone(&parting)], [parting]);
        let here = Seen { number: 0, cpu: Some(3), works: true, sets: &now };
        let left = Seen { number: 1, cpu: None, works: false, sets: &gone };
        let text = write(&Process::default(), &[here, left]);
        for line in [
            "ringpress_connections_accepted_total{worker=\"0\"} 21",
            "ringpress_connections_accepted_total{worker=\"1\"} 11",
            "ringpress_requests_in_flight{worker=\"0\"} 5",
            "ringpress_requests_in_flight{worker=\"1\"} 4",
            "ringpress_overloaded{worker=\"0\"} 0",
            "ringpress_overloaded{worker=\"1\"} 0",
            "ringpress_loop_delay_seconds{worker=\"0\"} 0",
            "ringpress_loop_lag_seconds_count{worker=\"0\"} 2",
            "ringpress_responses_total{worker=\"0\",code=\"4xx\"} 2",
            "ringpress_page_duration_seconds_count{page=\"/a\\\"b\\\\c\\nd\"} 3",
            "ringpress_upstream_in_flight{upstream=\"api\"} 6",
            "ringpress_upstream_breaker{upstream=\"api\",state=\"closed\"} 1",
            "ringpress_upstream_breaker{upstream=\"api\",state=\"open\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        for none in ["ringpress_worker_info{worker=\"1\"", "/gone"] {
            assert!(!text.contains(none), "{none} in {text}");
        }
    }

    #[test]
    fn each_metric_is_introduced_once_and_each_field_is_told() {
        let text = text();
        let mut introduced = BTreeMap::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(introduced.insert(name, kind), None, "{name} twice");
            }
        }
        let names = WorkerMetrics::FIELDS.iter().map(|field| field.family.name);
        for name in names.chain(UpstreamMetrics::FIELDS.iter().map(|field| field.family.name)) {
            assert!(introduced.contains_key(name), "{name}");
        }
    }
}
