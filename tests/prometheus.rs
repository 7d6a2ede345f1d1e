//! A site over an API that none of us wrote: Prometheus, which scrapes itself on loopback.
//!
//! Without Prometheus on the machine the test says that it was skipped, and passes; with
//! `RINGPRESS_REQUIRE_PROMETHEUS=1` it fails instead, so that CI cannot lose it unnoticed.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail anywhere")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_site_shows_what_prometheus_says() {
    let Some(version) = prometheus_version() else {
        assert!(
            std::env::var_os("RINGPRESS_REQUIRE_PROMETHEUS").is_none_or(|value| value != "1"),
            "prometheus end-to-end: RINGPRESS_REQUIRE_PROMETHEUS=1, and it is not installed",
        );
        // Not through the captured streams of the test: a skipped test must be seen.
        writeln!(io::stderr(), "skipped: prometheus end-to-end: prometheus is not installed",)
            .unwrap();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path());
    let site = Ringpress::start(folder.path(), prometheus.address);
    let instance = prometheus.address;

    let up = format!(
        r#"<td>__name__=up instance={instance} job=prometheus</td><td class="number">1</td>"#
    );
    let target = format!(r#"<td>{instance}</td><td class="up">up</td>"#);
    let front = site.wait_for("/", |page| page.body.contains(&up) && page.body.contains(&target));
    assert!(front.head.starts_with("HTTP/1.1 200 "), "{}", front.head);
    let heading = format!(r#"<span id="version">{version}</span>"#);
    assert!(front.body.contains(&heading), "no {heading} in {}", front.body);

    // sum(up{job="prometheus"} + 1) % 7: all that must be escaped twice, in HTML and in a query.
    let asked = "/ask?q=sum(up%7Bjob=%22prometheus%22%7D+%2B+1)%20%25%207";
    let answer = site.get(asked);
    let row = r#"<td>none</td><td class="number">2</td>"#;
    assert!(answer.body.contains(row), "no {row} in {}", answer.body);
    let field = r#"value="sum(up{job=&quot;prometheus&quot;} + 1) % 7""#;
    assert!(answer.body.contains(field), "no {field} in {}", answer.body);

    let refused = site.get("/ask?q=up%7B");
    assert!(refused.head.starts_with("HTTP/1.1 200 "), "{}", refused.head);
    assert!(refused.body.contains(r#"<p role="alert">"#), "{}", refused.body);

    // Its connections are pooled now. They die with it, and the pages that need it say so.
    drop(prometheus);
    let gone = site.get("/");
    assert!(gone.head.starts_with("HTTP/1.1 502 "), "{}", gone.head);
    assert!(site.get("/ask").body.contains(r#"<p role="alert">"#));
}

/// The version of the Prometheus that is installed here, if any.
fn prometheus_version() -> Option<String> {
    let output = Command::new("prometheus").arg("--version").output().ok()?;
    // prometheus, version 2.42.0+ds (branch: ...; before 2.x on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("its version is text");
    let version = text.split_whitespace().nth(2).expect("`prometheus, version X`");
    Some(version.to_owned())
}

/// A Prometheus that scrapes itself every second, and ends with this value.
struct Prometheus {
    _process: Process,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path) -> Self {
        // It cannot say which port it was given, so the port is found before.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let configuration = format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs:\n- job_name: prometheus\n  \
             static_configs: [{{ targets: ['{address}'] }}]\n"
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, configuration).unwrap();
        let log = folder.join("prometheus.log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut process = Process(child);
        wait(|| {
            let end = process.0.try_wait().unwrap();
            assert_eq!(end, None, "prometheus ended:\n{}", read(&log));
            match get(address, "/-/ready") {
                Ok(page) if page.head.starts_with("HTTP/1.1 200 ") => Ok(()),
                _ => Err(read(&log)),
            }
        });
        Self { _process: process, address }
    }
}

/// The ringpress binary with the site of this test, on a free port.
struct Ringpress {
    _process: Process,
    address: SocketAddr,
}

impl Ringpress {
    fn start(folder: &Path, prometheus: SocketAddr) -> Self {
        let site = folder.join("site");
        fs::create_dir(&site).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sites-e2e/prometheus");
        for entry in fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            let text = text.replace("127.0.0.1:9090", &prometheus.to_string());
            fs::write(site.join(entry.file_name()), text).unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringpress"))
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--development"])
            .arg(site)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let process = Process(child);
        // The log goes the same way, so the pipe is read to its end.
        let (found, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on http://") {
                    let _ = found.send(address.parse().unwrap());
                }
            }
        });
        let address = address.recv_timeout(WAIT_MAX).expect("ringpress says where it listens");
        Self { _process: process, address }
    }

    fn get(&self, target: &str) -> Page {
        get(self.address, target).unwrap()
    }

    /// The page, as soon as it is as it should be.
    fn wait_for(&self, target: &str, good: impl Fn(&Page) -> bool) -> Page {
        let mut page = self.get(target);
        wait(|| {
            page = self.get(target);
            if good(&page) { Ok(()) } else { Err(format!("{}\n\n{}", page.head, page.body)) }
        });
        page
    }
}

/// A process that does not outlive this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A response, taken apart.
struct Page {
    head: String,
    body: String,
}

#[expect(clippy::disallowed_methods, reason = "a test's thread may block")]
fn get(address: SocketAddr, target: &str) -> io::Result<Page> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Page { head: head.to_owned(), body: body.to_owned() })
}

/// Looks again until it is so; when it never is, says what was there instead.
#[expect(clippy::disallowed_methods, reason = "a test's thread may block")]
fn wait(mut look: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(instead) = look() {
        assert!(start.elapsed() < WAIT_MAX, "waited {WAIT_MAX:?} in vain:\n{instead}");
        std::thread::sleep(PAUSE);
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// How long anything here may take before the test fails; a first scrape takes some seconds.
const WAIT_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
