//! The dashboard in a real browser: headless Chromium loads the page of a server with load, runs
//! its script under its policy, and finds numbers of each core that have come since.
//!
//! Without Chromium on the machine those tests say that they were skipped, and pass; with
//! `RINGPRESS_REQUIRE_CHROMIUM=1` they fail instead, so that CI cannot lose them unnoticed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and blocks no thread but its own"
)]

#[expect(dead_code, reason = "other suites use more of it")]
#[path = "common/command.rs"]
mod command;
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "common/visitor.rs"]
mod visitor;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use command::Running;
use visitor::{PATIENCE, Reply, Visitor};

const RINGPRESS: &str = env!("CARGO_BIN_EXE_ringpress");
const CORES: usize = 2;

#[test]
fn a_browser_shows_each_core_as_it_is_now() {
    if !has_chromium("dashboard in a browser") {
        return;
    }
    let demo = Demo::start();
    let _load = Load::start(demo.server.address());
    demo.wait_for_cores(|core| core["responses"] != 0);
    let page = browse(demo.admin);
    let cores: Vec<&str> = page.split("<li class=\"card core ").skip(1).collect();
    assert_eq!(cores.len(), CORES, "{page}");
    for (number, core) in cores.into_iter().enumerate() {
        assert!(core.contains(&format!("<h3>Core {number}</h3>")), "{core}");
        assert!(rate(core) > 0, "{core}");
        for name in ["p50", "p99"] {
            let value = between(core, &format!("<dt>{name}</dt><dd>"), "<");
            assert!(value.starts_with(|first: char| first.is_ascii_digit()), "{name}: {core}");
        }
        for name in ["Loop lag", "In flight", "Connections", "Shed", "CPU"] {
            assert!(core.contains(&format!("<dt>{name}</dt>")), "{name}: {core}");
        }
    }
    assert!(page.contains(">hn<span>") && page.contains("<th role=\"rowheader\""), "{page}");
    // The script ran, which the policy lets no other do, and has put newer numbers into place.
    let answers: u32 = between(&page, "data-answers=\"", "\"").parse().unwrap();
    assert!(answers > 0);
    let title = between(&page, "<title>", "</title>");
    // A mark before it says that it sheds, which it may on a machine that is busy otherwise.
    let rate = title.trim_start_matches("⚠ ").trim_end_matches("/s · news");
    assert!(rate != "0" && rate.starts_with(|first: char| first.is_ascii_digit()), "{title}");
    assert!(page.contains("<p id=\"link\" hidden=\"\""), "{page}");
}

#[test]
fn a_browser_says_so_when_the_server_does_not_answer_any_more() {
    if !has_chromium("dashboard without its server") {
        return;
    }
    let demo = Demo::start();
    let page = ask(&mut Visitor::to(demo.admin), "/");
    drop(demo);
    // Gives the page as it was, and hangs up on whoever asks for anything else.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap_or(0);
            if request[..length].starts_with(b"GET / ") {
                let _ = stream.write_all(page.head.as_bytes());
                let _ = stream.write_all(&page.body);
            }
        }
    });
    let page = browse(address);
    assert!(
        page.contains("<strong role=\"status\">The server does not answer.</strong>"),
        "{page}"
    );
    assert!(page.contains("<body class=\"lost\">"), "{page}");
}

#[test]
fn the_page_is_a_page_without_a_script_too() {
    let demo = Demo::start();
    demo.wait_for_cores(|_| true);
    let mut visitor = Visitor::to(demo.admin);
    let page = ask(&mut visitor, "/");
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains(
            "\r\nContent-Security-Policy: default-src 'self'; script-src 'self' 'sha256-"
        )
    );
    assert!(page.head.contains("\r\nCache-Control: no-store\r\n"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("<noscript><meta http-equiv=\"refresh\""));
    // What the script asks for comes over the same connection.
    let live = ask(&mut visitor, "/live");
    assert!(live.head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"), "{}", live.head);
    assert!(live.body.starts_with(b"<div id=\"live\""));
    let snapshot = ask(&mut visitor, "/snapshot.json");
    let snapshot: serde_json::Value = serde_json::from_slice(&snapshot.body).unwrap();
    assert_eq!(snapshot["workers"].as_array().unwrap().len(), CORES);
    assert_eq!(ask(&mut visitor, "/elsewhere").status, 404);
}

/// The demo, and where its admin pages are.
struct Demo {
    server: Running,
    admin: SocketAddr,
}

impl Demo {
    fn start() -> Self {
        let any = "127.0.0.1:0";
        let arguments = ["demo", "--listen", any, "--admin", any, "--workers", "2"];
        let server =
            Running::start(RINGPRESS, &[&arguments[..], &["--api-delay", "2ms"]].concat(), &[]);
        let admin = server.waits_for_line("admin at ").replace("admin at ", "");
        let admin = admin.parse().unwrap();
        Self { server, admin }
    }

    /// Waits until each core is there and as it is wanted.
    fn wait_for_cores(&self, wanted: impl Fn(&serde_json::Value) -> bool) {
        let start = Instant::now();
        let mut visitor = Visitor::to(self.admin);
        loop {
            let snapshot = ask(&mut visitor, "/snapshot.json").body;
            let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
            let workers = snapshot["workers"].as_array().unwrap();
            if workers.len() == CORES && workers.iter().all(&wanted) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "not as it is wanted: {snapshot}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Visitors who come until this is dropped. They are so many that each core gets some.
struct Load {
    over: Arc<AtomicBool>,
    visitors: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let visit = |_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut visitor = Visitor::to(address);
                while !over.load(Ordering::Relaxed) {
                    // On a machine that is busy otherwise some are turned away.
                    assert!([200, 503].contains(&visitor.get("/").status));
                    thread::sleep(Duration::from_millis(200));
                }
            })
        };
        let visitors = (0..16).map(visit).collect();
        Self { over, visitors }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for visitor in self.visitors.drain(..) {
            let _ = visitor.join();
        }
    }
}

/// A GET as browsers on the same machine send it.
fn ask(visitor: &mut Visitor, target: &str) -> Reply {
    visitor.ask(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
}

fn has_chromium(what: &str) -> bool {
    if Command::new("chromium").arg("--version").output().is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("RINGPRESS_REQUIRE_CHROMIUM").is_none_or(|value| value != "1"),
        "{what}: RINGPRESS_REQUIRE_CHROMIUM=1, and it is not installed",
    );
    // Not through the captured streams of the test: a skipped test must be seen.
    let mut shown = io::stderr();
    writeln!(shown, "skipped: {what}: chromium is not installed").unwrap();
    false
}

/// What a browser has made of the page some seconds later.
fn browse(address: SocketAddr) -> String {
    let profile = tempfile::tempdir().unwrap();
    let child = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // Seconds pass at once while nothing is on its way.
        .args(["--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut browser = Browser(child);
    let mut out = browser.0.stdout.take().unwrap();
    let reading = thread::spawn(move || {
        let mut page = String::new();
        out.read_to_string(&mut page).map(|_| page)
    });
    let start = Instant::now();
    while browser.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "the browser does not come to an end");
        thread::sleep(Duration::from_millis(20));
    }
    reading.join().unwrap().unwrap()
}

/// A browser that does not outlive its test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The pages a second of one core's card.
fn rate(core: &str) -> u64 {
    let rate = between(core, "<p class=\"rate\">", "<").replace([',', '<'], "");
    rate.parse::<f64>().unwrap_or(0.0).ceil() as u64
}

#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {rest}")).0
}
