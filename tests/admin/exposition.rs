//! What `/metrics` tells of a server that serves, fails and sheds; as Prometheus' own tools judge
//! it, and by what has happened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{Admin, TOKEN};
use super::command::Running;
use super::upstream::Upstream;
use super::visitor::{PATIENCE, Visitor};

const RINGPRESS: &str = env!("CARGO_BIN_EXE_ringpress");

/// A server with a page that is fine, one whose upstream is not there, and little patience for
/// clients who ask often; and its API.
struct Busy {
    server: Running,
    admin: Admin,
    _folder: TempDir,
    _api: Upstream,
}

impl Busy {
    fn start(driver: &str) -> Self {
        let api = Upstream::json("{\"name\": \"Ann\"}");
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[server]\nrate_limit = {{ rate = '1/m', burst = 40 }}\n\
             [admin]\nlisten = '127.0.0.1:0'\ntoken = '{TOKEN}'\n\
             [upstreams.api]\nurl = 'http://{}'\n\
             [upstreams.gone]\nurl = 'http://127.0.0.1:1'\n\
             [[page]]\npath = '/users/{{id}}'\ntemplate = 'user.html'\n[page.fetch]\n\
             user = {{ from = 'api', path = '/users/{{{{ path.id }}}}' }}\n\
             [[page]]\npath = '/gone'\ntemplate = 'front.html'\n[page.fetch]\n\
             thing = {{ from = 'gone', path = '/' }}\n\
             [[page]]\npath = '/quote\"d'\ntemplate = 'front.html'\n",
            api.address()
        );
        fs::write(folder.path().join("site.toml"), text).unwrap();
        fs::write(folder.path().join("user.html"), "<p>{{ user.name }}</p>").unwrap();
        fs::write(folder.path().join("front.html"), "<p>front</p>").unwrap();
        let site = folder.path().to_str().unwrap();
        let listen = ["--listen", "127.0.0.1:0", "--workers", "1", "--driver", driver];
        let arguments: Vec<&str> = ["serve", site].into_iter().chain(listen).collect();
        let server = Running::start(RINGPRESS, &arguments, &[]);
        let admin = Admin::of(&server);
        Self { server, admin, _folder: folder, _api: api }
    }

    fn visit(&self) {
        let mut visitor = Visitor::to(self.server.address());
        for _ in 0..10 {
            assert_eq!(visitor.get("/users/7").status, 200);
        }
        assert_eq!(visitor.get("/gone").status, 502);
        assert_eq!(visitor.get("/nothing/here").status, 404);
        assert_eq!(visitor.get("/quote%22d").status, 200);
        while visitor.get("/users/7").status != 429 {}
    }

    /// The metrics, as soon as they are so: what the loop counts is written down now and then.
    fn metrics_when(&self, good: impl Fn(&Metrics) -> bool) -> Metrics {
        metrics_when(&self.admin, good)
    }
}

fn metrics_when(admin: &Admin, good: impl Fn(&Metrics) -> bool) -> Metrics {
    let start = Instant::now();
    loop {
        let metrics = Metrics::of(&admin.get("/metrics"));
        if good(&metrics) {
            return metrics;
        }
        assert!(start.elapsed() < PATIENCE, "never so: {:?}", metrics.0);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Samples by their name and labels.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Self(samples.collect())
    }

    /// That of all labels.
    fn sum(&self, name: &str) -> f64 {
        let is_it = |sample: &str| sample.split('{').next() == Some(name);
        self.0.iter().filter(|(sample, _)| is_it(sample)).map(|(_, value)| value).sum()
    }

    #[track_caller]
    fn get(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("no {sample} in {:#?}", self.0.keys()))
    }
}

#[test]
fn what_has_happened_is_told() {
    for driver in ["auto", "epoll"] {
        let busy = Busy::start(driver);
        busy.visit();
        // A read and a write for each request, written down by now.
        let metrics = busy.metrics_when(|metrics| {
            let done = "ringpress_loop_operations_total{worker=\"0\",state=\"completed\"}";
            let requests = metrics.get("ringpress_requests_total{worker=\"0\"}");
            metrics.get(done) >= 2.0 * requests
        });
        let user = |code: &str| {
            let labels = format!("{{page=\"/users/{{id}}\",code=\"{code}\"}}");
            metrics.get(&format!("ringpress_page_responses_total{labels}"))
        };
        let pages = user("2xx");
        assert!(pages >= 10.0 && user("5xx") == 0.0, "{pages}");
        let count = metrics.get("ringpress_page_duration_seconds_count{page=\"/users/{id}\"}");
        assert_eq!(count, pages);
        assert!(metrics.get("ringpress_page_duration_seconds_sum{page=\"/users/{id}\"}") > 0.0);
        let renders = metrics.get("ringpress_page_render_seconds_count{page=\"/users/{id}\"}");
        assert_eq!(renders, pages);
        assert_eq!(metrics.get("ringpress_page_responses_total{page=\"/gone\",code=\"5xx\"}"), 1.0);
        assert_eq!(metrics.get("ringpress_page_responses_total{page=\"\",code=\"4xx\"}"), 1.0);
        let quoted = "ringpress_page_responses_total{page=\"/quote\\\"d\",code=\"2xx\"}";
        assert_eq!(metrics.get(quoted), 1.0);
        let shed = metrics.get("ringpress_requests_shed_total{worker=\"0\",reason=\"rate\"}");
        assert_eq!(shed, 1.0);
        let all = metrics.get("ringpress_requests_total{worker=\"0\"}");
        assert_eq!(all, pages + 4.0);

        assert_eq!(metrics.get("ringpress_upstream_exchanges_total{upstream=\"api\"}"), pages);
        assert_eq!(metrics.get("ringpress_upstream_reused_total{upstream=\"api\"}"), pages - 1.0);
        assert_eq!(metrics.get("ringpress_upstream_connects_total{upstream=\"api\"}"), 1.0);
        assert_eq!(metrics.get("ringpress_upstream_connections{upstream=\"api\"}"), 1.0);
        assert_eq!(metrics.get("ringpress_upstream_in_flight{upstream=\"api\"}"), 0.0);
        let two_hundreds = "ringpress_upstream_responses_total{upstream=\"api\",code=\"2xx\"}";
        assert_eq!(metrics.get(two_hundreds), pages);
        let refused = "ringpress_upstream_failures_total{upstream=\"gone\",reason=\"connect\"}";
        assert_eq!(metrics.get(refused), 1.0);
        let closed = "ringpress_upstream_breaker{upstream=\"gone\",state=\"closed\"}";
        assert_eq!(metrics.get(closed), 1.0);

        let operations = |state: &str| {
            let labels = format!("{{worker=\"0\",state=\"{state}\"}}");
            metrics.get(&format!("ringpress_loop_operations_total{labels}"))
        };
        assert!(operations("submitted") >= operations("completed"));
        assert!(metrics.get("ringpress_loop_turns_total{worker=\"0\"}") > 0.0);
        assert!(metrics.get("ringpress_worker_cpu_seconds_total{worker=\"0\"}") > 0.0);
        assert!(metrics.get("ringpress_visitor_bytes_total{worker=\"0\",direction=\"in\"}") > 0.0);
        assert!(metrics.get("ringpress_visitor_bytes_total{worker=\"0\",direction=\"out\"}") > 0.0);
        assert!(metrics.get("ringpress_loop_lag_seconds_count{worker=\"0\"}") > 0.0);
        assert!(metrics.get("process_resident_memory_bytes") > 1e6);
        assert_eq!(metrics.get("ringpress_ready"), 1.0);
        assert_eq!(metrics.get("ringpress_config_last_reload_successful"), 1.0);
    }
}

/// Sums of counters of pages, upstreams and workers.
const COUNTERS: &[&str] = &[
    "ringpress_requests_total",
    "ringpress_responses_total",
    "ringpress_page_responses_total",
    "ringpress_page_duration_seconds_count",
    "ringpress_upstream_responses_total",
    "ringpress_worker_fetches_total",
];

#[test]
fn no_counter_goes_back_when_workers_come_and_go() {
    let api = Upstream::json("{\"name\": \"Ann\"}");
    let folder = tempfile::tempdir().unwrap();
    let reload_with = |workers: usize| {
        let text = format!(
            "[server]\nlisten = ['127.0.0.1:0']\nworkers = {workers}\n\
             [admin]\nlisten = '127.0.0.1:0'\ntoken = '{TOKEN}'\n\
             [upstreams.api]\nurl = 'http://{}'\n\
             [[page]]\npath = '/'\ntemplate = 'page.html'\n[page.fetch]\n\
             user = {{ from = 'api', path = '/' }}\n",
            api.address()
        );
        fs::write(folder.path().join("site.toml"), text).unwrap();
    };
    reload_with(2);
    fs::write(folder.path().join("page.html"), "<p>{{ user.name }}</p>").unwrap();
    let server = Running::start(RINGPRESS, &["serve", folder.path().to_str().unwrap()], &[]);
    let admin = Admin::of(&server);
    let sums = || {
        let metrics = Metrics::of(&admin.get("/metrics"));
        COUNTERS.iter().map(|name| metrics.sum(name)).collect::<Vec<_>>()
    };
    let mut asked = 0.0;
    let mut visit = || {
        for _ in 0..50 {
            assert_eq!(Visitor::to(server.address()).get("/").status, 200);
            asked += 1.0;
        }
        // What is counted last may be so after the visitor has it.
        let start = Instant::now();
        while sums() != vec![asked; COUNTERS.len()] {
            assert!(start.elapsed() < PATIENCE, "{:?} of {asked}", sums());
        }
    };
    visit();
    for workers in [1, 2, 1] {
        let before = sums();
        reload_with(workers);
        admin.ask("POST", "/reload", &[("Authorization", &format!("Bearer {TOKEN}"))]);
        assert_eq!(sums(), before, "{workers} workers");
        visit();
    }
}

#[test]
fn prometheus_takes_what_is_told() {
    if !has_promtool("the metrics") {
        return;
    }
    let busy = Busy::start("auto");
    busy.visit();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = busy.admin.get("/metrics");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn rules_and_dashboard_name_what_is_told() {
    let busy = Busy::start("auto");
    busy.visit();
    let text = busy.admin.get("/metrics");
    let told = |name: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let families = [Some(name), base];
        families.into_iter().flatten().any(|name| text.contains(&format!("# TYPE {name} ")))
    };
    let mut names = 0;
    for file in ["deploy/grafana-dashboard.json", "deploy/alerts.yml"] {
        let content = fs::read_to_string(root().join(file)).unwrap();
        for name in metric_names(&content) {
            assert!(told(&name), "{file} names {name}, which is not told");
            names += 1;
        }
    }
    assert!(names > 20, "{names} names");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for name in metric_names(&readme) {
        assert!(told(&name), "README.md names {name}, which is not told");
    }
    let dashboard = fs::read_to_string(root().join("deploy/grafana-dashboard.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
}

#[test]
fn prometheus_takes_the_rules() {
    if !has_promtool("the rules") {
        return;
    }
    let rules = root().join("deploy/alerts.yml");
    let output = Command::new("promtool").args(["check", "rules"]).arg(rules).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn when_the_first_certificate_expires_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut tables = String::new();
    let last = |year| rcgen::date_time_ymd(year, 1, 15);
    for (name, year) in [("late", 2050), ("soon", 2040)] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut own = rcgen::CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        own.not_after = last(year);
        let own = own.self_signed(&key).unwrap().pem();
        let path = folder.path().join(format!("{name}.pem"));
        fs::write(&path, own + &key.serialize_pem()).unwrap();
        tables += &format!("[[server.tls]]\ncertificate = '{name}.pem'\nkey = '{name}.pem'\n");
    }
    let text = format!(
        "[server]\nlisten = ['127.0.0.1:0']\nlisten_tls = ['127.0.0.1:0']\nworkers = 1\n{tables}\
         [admin]\nlisten = '127.0.0.1:0'\n[[page]]\npath = '/'\ntemplate = 'page.html'\n"
    );
    fs::write(folder.path().join("site.toml"), text).unwrap();
    fs::write(folder.path().join("page.html"), "page").unwrap();
    let server = Running::start(RINGPRESS, &["serve", folder.path().to_str().unwrap()], &[]);
    let name = "ringpress_certificate_expiry_timestamp_seconds";
    let metrics = metrics_when(&Admin::of(&server), |metrics| metrics.0.contains_key(name));
    assert_eq!(metrics.get(name), last(2040).unix_timestamp() as f64);
}

/// Words that begin as our metrics do and are of more than one part.
fn metric_names(text: &str) -> Vec<String> {
    let is_part =
        |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/' || c == '-' || c == '.';
    let words = text.split(|c| !is_part(c));
    let ours = |word: &&str| {
        let is_name =
            word.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
        is_name && (word.starts_with("ringpress_") || word.starts_with("process_"))
    };
    words.filter(ours).map(str::to_owned).collect()
}

/// Whether promtool is here. Where it must be, it is an error that it is not.
fn has_promtool(what: &str) -> bool {
    if Command::new("promtool").arg("--version").output().is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("RINGPRESS_REQUIRE_PROMETHEUS").is_none_or(|value| value != "1"),
        "RINGPRESS_REQUIRE_PROMETHEUS=1, and promtool is not installed",
    );
    // Not through the captured streams of the test: a skipped test must be seen.
    let mut stderr = io::stderr();
    writeln!(stderr, "skipped: {what}: promtool is not installed").unwrap();
    false
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
