//! Where it listens, who may ask, and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ringpress::control::admin::{Admin as Listener, AdminResponse, Routes};
use ringpress::site::{AdminAddress, AdminPlan};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::client::{Admin, Answer, TOKEN};
use super::command::{self, Running};
use super::visitor::{PATIENCE, Visitor};

const RINGPRESS: &str = env!("CARGO_BIN_EXE_ringpress");

/// A site of one page, and whatever its site file begins with.
fn site(beginning: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let page = "[[page]]\npath = '/'\ntemplate = 'front.html'\n";
    fs::write(folder.path().join("site.toml"), format!("{beginning}\n{page}")).unwrap();
    fs::write(folder.path().join("front.html"), "<p>front</p>").unwrap();
    folder
}

fn serve(folder: &TempDir, more: &[&str]) -> Running {
    let site = folder.path().to_str().unwrap();
    let mut arguments = vec!["serve", site, "--listen", "127.0.0.1:0", "--workers", "1"];
    arguments.extend(more);
    Running::start(RINGPRESS, &arguments, &[])
}

#[test]
fn health_is_told_to_anybody_on_loopback() {
    let folder = site("[admin]\nlisten = '127.0.0.1:0'");
    let server = serve(&folder, &[]);
    let admin = Admin::of(&server);
    let alive = admin.ask("GET", "/healthz", &[]);
    assert_eq!((alive.status, alive.body.as_str()), (200, "alive\n"));
    for field in ["Cache-Control: no-store", "X-Frame-Options: DENY", "Content-Length: 6"] {
        assert!(alive.head.contains(field), "{field} in {}", alive.head);
    }
    assert_eq!(admin.ask("GET", "/readyz", &[]).status, 200);
    let head = admin.ask("HEAD", "/readyz", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let other = admin.ask("POST", "/readyz", &[]);
    assert_eq!(other.status, 405);
    assert!(other.head.contains("Allow: GET, HEAD"), "{}", other.head);
    assert_eq!(admin.ask("GET", "/nothing", &[]).status, 404);
    // What is served to visitors knows nothing of it.
    assert_eq!(Visitor::to(server.address()).get("/healthz").status, 404);
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

#[test]
fn one_connection_takes_request_after_request() {
    let folder = site("");
    let server = serve(&folder, &["--admin", "127.0.0.1:0"]);
    let mut line = Admin::of(&server).line();
    let once = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let body = "POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\na=b";
    let last = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    line.write_all(format!("{once}{body}{last}").as_bytes()).unwrap();
    let mut text = String::new();
    line.read_to_string(&mut text).unwrap();
    let statuses: Vec<_> = text.lines().filter(|line| line.starts_with("HTTP/1.1")).collect();
    let wanted = ["HTTP/1.1 200 OK", "HTTP/1.1 405 Method Not Allowed", "HTTP/1.1 200 OK"];
    assert_eq!(statuses, wanted);
}

#[test]
fn what_is_no_request_is_refused_and_ends_the_connection() {
    let folder = site("");
    let server = serve(&folder, &["--admin", "127.0.0.1:0"]);
    let admin = Admin::of(&server);
    let large = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    let chunked = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let no_host = "GET /healthz HTTP/1.1\r\n\r\n";
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    for (request, status) in [(large, 413), (chunked, 413), (no_host, 400), (&long, 414)] {
        let mut line = admin.line();
        line.write_all(request.as_bytes()).unwrap();
        assert_eq!(Answer::rest_of(&mut *line).status, status, "{request:.40}");
    }
}

#[test]
fn connections_are_bounded_and_the_listener_recovers() {
    let (asked, gate) = (Arc::<AtomicUsize>::default(), Arc::<(Mutex<bool>, Condvar)>::default());
    let (count, door) = (Arc::clone(&asked), Arc::clone(&gate));
    let routes = Routes::default().open("/slow", move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let (open, opened) = &*door;
        let open = open.lock().unwrap();
        drop(opened.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
        AdminResponse::text(200, "done\n")
    });
    let listen = AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let plan = AdminPlan { listen, token: None, socket_mode: 0o600 };
    let listener = Listener::start(&plan, routes, false).unwrap();
    let admin = Admin(listener.address().to_string());
    let slow = b"GET /slow HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n";
    let mut held: Vec<_> = (0..16).map(|_| admin.line()).collect();
    held.iter_mut().for_each(|line| line.write_all(slow).unwrap());
    let start = Instant::now();
    while asked.load(Ordering::Relaxed) < held.len() {
        assert!(start.elapsed() < PATIENCE, "{asked:?} have asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    // It closes without reading: nothing is sent, as that might cut the answer off.
    assert_eq!(Answer::rest_of(&mut *admin.line()).status, 503);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert!(held.iter_mut().all(|line| Answer::rest_of(&mut **line).status == 200));
    drop(held);
    let start = Instant::now();
    loop {
        let (mut line, mut text) = (admin.line(), String::new());
        let answered = line.write_all(slow).and_then(|()| line.read_to_string(&mut text));
        if answered.is_ok() && text.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn requests_that_are_not_whole_make_room_for_those_that_are() {
    let folder = site("");
    let server = serve(&folder, &["--admin", "127.0.0.1:0"]);
    let admin = Admin::of(&server);
    for half in
        ["GET /metrics HTTP/1.1\r\nX: ", "POST /reload HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
    {
        let mut held: Vec<_> = (0..16).map(|_| admin.line()).collect();
        for line in &mut held {
            // Each has its place once it was answered.
            line.write_all(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\n\r\n").unwrap();
            line.read_exact(&mut [0; 12]).unwrap();
            line.write_all(half.as_bytes()).unwrap();
        }
        for path in ["/healthz", "/readyz", "/metrics"].repeat(4) {
            assert_eq!(admin.ask("GET", path, &[]).status, 200, "{path}");
        }
    }
}

#[test]
fn connections_on_which_nothing_happens_make_room_for_others() {
    let folder = site("");
    let server = serve(&folder, &["--admin", "127.0.0.1:0"]);
    let admin = Admin::of(&server);
    let mut held: Vec<_> = (0..16).map(|_| admin.line()).collect();
    for _ in 0..3 {
        assert_eq!(admin.ask("GET", "/healthz", &[]).status, 200);
    }
    // The first of them has made room; it is no answer that ends it.
    assert_eq!(held[0].read(&mut [0]).unwrap(), 0);
    // And no more than one for each who asked, as some of these may not have left yet.
    let last = b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n";
    held[15].write_all(last).unwrap();
    assert_eq!(Answer::rest_of(&mut *held[15]).status, 200);
}

#[test]
fn who_connects_and_asks_for_nothing_does_not_stay_for_long() {
    let folder = site("");
    let server = serve(&folder, &["--admin", "127.0.0.1:0"]);
    let start = Instant::now();
    assert_eq!(Admin::of(&server).line().read(&mut [0]).unwrap(), 0);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn the_token_is_asked_for_but_not_for_health() {
    let folder = site("");
    let file = folder.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let file = file.to_str().unwrap();
    let server = serve(&folder, &["--admin", "0.0.0.0:0", "--admin-token-file", file]);
    let admin = Admin(Admin::of(&server).0.replace("0.0.0.0", "127.0.0.1"));
    assert_eq!(admin.ask("GET", "/readyz", &[]).status, 200);
    let refused = admin.ask("GET", "/nothing", &[]);
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("WWW-Authenticate: Basic"), "{}", refused.head);
    let wrong = admin.ask("GET", "/nothing", &[("Authorization", "Bearer fedcba9876543210")]);
    assert_eq!(wrong.status, 401);
    let bearer = format!("Bearer {TOKEN}");
    // admin:0123456789abcdef
    for known in [bearer.as_str(), "Basic YWRtaW46MDEyMzQ1Njc4OWFiY2RlZg=="] {
        let fields = [("Authorization", known), ("Host", "server.example.com")];
        assert_eq!(admin.ask("GET", "/nothing", &fields).status, 404, "{known}");
    }
}

#[test]
fn pages_of_others_cannot_make_a_browser_ask() {
    let folder = site("");
    let server = serve(&folder, &["--admin", "127.0.0.1:0"]);
    let admin = Admin::of(&server);
    // A name of theirs that leads here.
    assert_eq!(admin.ask("GET", "/nothing", &[("Host", "evil.example")]).status, 421);
    assert_eq!(admin.ask("GET", "/nothing", &[("Host", "localhost:9180")]).status, 404);
    // A form of theirs that posts here.
    let host = ("Host", "127.0.0.1:9180");
    for theirs in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
    ] {
        assert_eq!(admin.ask("POST", "/nothing", &[host, theirs]).status, 403, "{theirs:?}");
    }
    for ours in [
        ("Sec-Fetch-Site", "same-origin"),
        ("Origin", "http://127.0.0.1:9180"),
        ("User-Agent", "curl"),
    ] {
        assert_eq!(admin.ask("POST", "/nothing", &[host, ours]).status, 404, "{ours:?}");
    }
}

#[test]
fn a_unix_socket_is_its_owners_and_goes_with_the_server() {
    let folder = site("[admin]\nlisten = 'unix:admin.sock'\nsocket_mode = '0660'");
    let file = folder.path().join("admin.sock");
    // What a server that was killed has left.
    drop(UnixListener::bind(&file).unwrap());
    let server = serve(&folder, &[]);
    let admin = Admin::of(&server);
    assert_eq!(admin.0, format!("unix:{}", file.display()));
    assert_eq!(admin.ask("GET", "/healthz", &[("Host", "any.example")]).status, 200);
    assert_eq!(admin.ask("GET", "/nothing", &[("Host", "any.example")]).status, 404);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // A second server leaves it to the first, and says so.
    let site = folder.path().to_str().unwrap();
    let second = command::run(RINGPRESS, &["serve", site, "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("another process listens there"), "{}", second.stderr);
    assert_eq!(admin.ask("GET", "/healthz", &[]).status, 200);
    assert_eq!(server.terminate(PATIENCE), Some(0));
    assert!(!file.exists(), "it is left behind");
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let folder = site("[admin]\nlisten = 'unix:notes.txt'");
    let file = folder.path().join("notes.txt");
    fs::write(&file, "dear diary").unwrap();
    let site = folder.path().to_str().unwrap();
    let ended = command::run(RINGPRESS, &["serve", site, "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("notes.txt for [admin]"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "dear diary");
}

#[test]
fn flag_and_environment_go_before_the_file() {
    let folder = site("[admin]\nlisten = 'unix:admin.sock'");
    let server = serve(&folder, &["--admin", "off"]);
    assert!(!folder.path().join("admin.sock").exists());
    drop(server);
    let site = folder.path().to_str().unwrap();
    let arguments = ["serve", site, "--listen", "127.0.0.1:0", "--workers", "1"];
    let socket = format!("unix:{}", folder.path().join("a.sock").display());
    let server = Running::start(RINGPRESS, &arguments, &[("RINGPRESS_ADMIN", &socket)]);
    assert_eq!(Admin::of(&server).0, socket);
    let open = command::run(RINGPRESS, &["serve", site, "--admin", "0.0.0.0:0"], &[]);
    assert_eq!(open.code, Some(78));
    assert!(open.stderr.contains("there is no token"), "{}", open.stderr);
}

#[test]
fn the_site_is_read_again_on_command_and_what_stays_goes_on_counting() {
    let folder = site("[admin]\nlisten = '127.0.0.1:0'");
    let server = serve(&folder, &[]);
    let admin = Admin::of(&server);
    let mut visitor = Visitor::to(server.address());
    assert_eq!(visitor.get("/").page(), "<p>front</p>");
    let refused = admin.ask("POST", "/reload", &[("Sec-Fetch-Site", "cross-site")]);
    assert_eq!(refused.status, 403);
    fs::write(folder.path().join("front.html"), "<p>new</p>").unwrap();
    let reloaded = admin.ask("POST", "/reload", &[]);
    assert_eq!(reloaded.status, 200, "{}", reloaded.body);
    assert_eq!(visitor.get("/").page(), "<p>new</p>");
    fs::write(folder.path().join("front.html"), "<p>{{ oops</p>").unwrap();
    let refused = admin.ask("POST", "/reload", &[]);
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("front.html:1"), "{}", refused.body);
    assert_eq!(visitor.get("/").page(), "<p>new</p>");
    // Emptied by somebody who is about to write it anew.
    fs::write(folder.path().join("site.toml"), "").unwrap();
    let refused = admin.ask("POST", "/reload", &[]);
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("this site serves nothing"), "{}", refused.body);
    assert_eq!(visitor.get("/").page(), "<p>new</p>");
    let metrics = admin.ask("GET", "/metrics", &[]).body;
    for line in [
        "ringpress_page_responses_total{page=\"/\",code=\"2xx\"} 4",
        "ringpress_config_reloads_total{result=\"done\"} 1",
        "ringpress_config_reloads_total{result=\"failed\"} 2",
        "ringpress_config_last_reload_successful 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[test]
fn another_listener_takes_another_process_and_a_reload_says_so() {
    let folder = site("[admin]\nlisten = '127.0.0.1:0'");
    let server = serve(&folder, &[]);
    let admin = Admin::of(&server);
    let note = "[admin] is as it was";
    let reloaded = admin.ask("POST", "/reload", &[]);
    assert!(reloaded.status == 200 && !reloaded.body.contains(note), "{}", reloaded.body);
    let file = folder.path().join("site.toml");
    let text = fs::read_to_string(&file).unwrap().replace("'127.0.0.1:0'", "'unix:other.sock'");
    fs::write(file, text).unwrap();
    let reloaded = admin.ask("POST", "/reload", &[]);
    assert!(reloaded.status == 200 && reloaded.body.contains(note), "{}", reloaded.body);
    assert!(!folder.path().join("other.sock").exists());
    // The command asks where the site says by now, and says where the server may be instead.
    let site = folder.path().to_str().unwrap();
    let asked = command::run(RINGPRESS, &["reload", site], &[]);
    assert!(asked.code == Some(1) && asked.stderr.contains("--admin OLD"), "{}", asked.stderr);
    let asked = command::run(RINGPRESS, &["reload", site, "--admin", &admin.0], &[]);
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    drop(server);
}

#[test]
fn the_listener_goes_over_to_a_successor() {
    let folder = site("[admin]\nlisten = 'unix:admin.sock'");
    let mut server = serve(&folder, &[]);
    let admin = Admin::of(&server);
    let upgraded = admin.ask("POST", "/upgrade", &[]);
    assert_eq!(upgraded.status, 200, "{}", upgraded.body);
    let pid = upgraded.body.split(' ').nth(1).and_then(|pid| pid.parse().ok());
    let pid = Pid::from_raw(pid.expect("`process PID serves now`")).unwrap();
    assert_eq!(server.exit_code(PATIENCE), Some(0));
    let start = Instant::now();
    let file = folder.path().join("admin.sock");
    while UnixStream::connect(&file).is_err() {
        assert!(start.elapsed() < PATIENCE, "nobody listens");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(admin.ask("GET", "/readyz", &[]).status, 200);
    assert_eq!(Visitor::to(server.address()).get("/").page(), "<p>front</p>");
    kill_process(pid, Signal::TERM).unwrap();
    while file.exists() {
        assert!(start.elapsed() < PATIENCE, "the file stays");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_is_asked_to_read_its_site_with_a_token_from_a_file() {
    let text = "[admin]\nlisten = 'unix:admin.sock'\n[upstreams.api]\nurl = 'http://127.0.0.1:1'\n\
                headers = { X-Key = 'env:RINGPRESS_TEST_KEY' }\n";
    let folder = site(text);
    let file = folder.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let (file, folder) = (file.to_str().unwrap(), folder.path().to_str().unwrap());
    let arguments =
        ["serve", folder, "--listen", "127.0.0.1:0", "--admin-token-file", file, "--workers", "1"];
    let server = Running::start(RINGPRESS, &arguments, &[("RINGPRESS_TEST_KEY", "s3cret")]);
    let ask = |more: &[&str]| {
        let arguments = [&["reload", folder][..], more].concat();
        command::run(RINGPRESS, &arguments, &[])
    };
    let without = ask(&[]);
    assert_eq!(without.code, Some(1), "{}", without.stderr);
    assert!(without.stderr.contains("--token-file"), "{}", without.stderr);
    // The key is in the server's environment, and not in this one.
    let with = ask(&["--token-file", file]);
    assert_eq!(with.code, Some(0), "{}", with.stderr);
    let missing = ask(&["--token-file", "/no/such/file"]);
    assert_eq!(missing.code, Some(78), "{}", missing.stderr);
    assert!(missing.stderr.contains("/no/such/file"), "{}", missing.stderr);
    fs::write(format!("{folder}/site.toml"), format!("{text}[[page]]\npth = '/'\n")).unwrap();
    let refused = ask(&["--token-file", file]);
    assert_eq!(refused.code, Some(78), "{}", refused.stdout);
    assert!(refused.stderr.contains("did you mean `path`?"), "{}", refused.stderr);
    assert_eq!(server.terminate(PATIENCE), Some(0));
}
