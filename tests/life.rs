//! A server that is read again and upgraded while visitors come and stay: nobody may notice.
//!
//! The processes are those of the command, as an operator has them; a successor is one that we did
//! not start, so that its number is read from the log.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests may panic and block"
)]

#[path = "common/command.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod command;
#[path = "common/visitor.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod visitor;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringpress::driver::kind::Kind;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};

use command::Running;
use visitor::{PATIENCE, Visitor};

const RINGPRESS: &str = env!("CARGO_BIN_EXE_ringpress");
const RELOADS: usize = 100;
const UPGRADES: usize = 20;
const PAGE: &str = "[[page]]\npath = '/'\ntemplate = 'page.html'\n";
/// A user who is not root.
const NOBODY: u32 = 65534;
/// One for each worker.
const LISTENERS: usize = 2;

/// A site whose page says which edition it is, and the server of it.
struct House {
    folder: tempfile::TempDir,
    /// The first process; its log is that of all its successors.
    first: Running,
    /// The process that serves.
    serves: Pid,
    upgrades: usize,
    edition: usize,
}

impl House {
    fn open(driver: &str) -> Self {
        let folder = site("listen = ['127.0.0.1:0']\nworkers = 2");
        let path = folder.path().to_str().expect("a path");
        let first = Running::start(RINGPRESS, &["serve", path, "--driver", driver], &[]);
        Self::of(folder, first)
    }

    fn of(folder: tempfile::TempDir, first: Running) -> Self {
        let serves = Pid::from_child(&first.child);
        Self { folder, first, serves, upgrades: 0, edition: 0 }
    }

    fn address(&self) -> SocketAddr {
        self.first.address()
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {}", self.first.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.serves, signal).expect("a signal");
    }

    fn reload(&mut self) {
        self.edition += 1;
        write(self.folder.path(), self.edition);
        self.signal(Signal::HUP);
        let wanted = format!("edition {}", self.edition);
        self.wait("the new edition", || Visitor::to(self.address()).get("/").page() == wanted);
    }

    /// The process numbers that stand in the log behind these words.
    fn pids(&self, message: &str) -> Vec<Pid> {
        let log = self.first.log();
        let lines = log.lines().filter(|line| line.contains(message));
        let pid = |line: &str| {
            let digits = line.split("\"pid\":").nth(1)?;
            let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
            Pid::from_raw(digits.parse().ok()?)
        };
        lines.filter_map(pid).collect()
    }

    fn upgrade(&mut self) {
        self.signal(Signal::USR2);
        self.upgrades += 1;
        let number = self.upgrades;
        self.wait("the successor", || self.pids("the successor serves").len() == number);
        self.serves = self.pids("the successor serves")[number - 1];
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Each that was ever started, as a test may have failed at any time.
        for pid in self.pids("the successor is started") {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether a process is over; whoever has to may not have looked at how it ended.
fn has_ended(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    status.map_or(true, |status| status.contains("State:\tZ"))
}

/// A site of one page.
fn site(server: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("[server]\n{server}\n{PAGE}");
    fs::write(folder.path().join("site.toml"), text).expect("a site file");
    write(folder.path(), 0);
    folder
}

/// The sockets of a process, whichever numbers they have there.
fn sockets(of: Pid) -> BTreeSet<String> {
    let folder = format!("/proc/{}/fd", of.as_raw_nonzero());
    let all = fs::read_dir(folder).expect("its descriptors").filter_map(Result::ok);
    let names = all.filter_map(|entry| fs::read_link(entry.path()).ok());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("socket:")).collect()
}

fn write(folder: &Path, edition: usize) {
    // In one step: a server that reads half a file would be right to say so.
    let (new, page) = (folder.join(".new"), folder.join("page.html"));
    fs::write(&new, format!("edition {edition}")).expect("a template");
    fs::rename(new, page).expect("a template");
}

/// Visitors who count what they get until they are told to end.
#[derive(Default)]
struct Crowd {
    over: AtomicBool,
    pages: AtomicU64,
    failed: AtomicU64,
}

impl Crowd {
    /// Who asks again and again on one connection, and opens another when told to.
    fn stay(&self, address: SocketAddr, pause: Duration) {
        let mut visitor = Visitor::to(address);
        while !self.over.load(Ordering::Relaxed) {
            let Ok(reply) = visitor.try_get("/") else {
                self.failed.fetch_add(1, Ordering::Relaxed);
                visitor = Visitor::to(address);
                continue;
            };
            self.count(reply.status);
            if reply.field("Connection") == Some("close") {
                visitor = Visitor::to(address);
            }
            thread::sleep(pause);
        }
    }

    /// Who opens a connection for each page.
    fn come_and_go(&self, address: SocketAddr) {
        while !self.over.load(Ordering::Relaxed) {
            match Visitor::try_to(address).and_then(|mut visitor| visitor.try_get("/")) {
                Ok(reply) => self.count(reply.status),
                Err(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn count(&self, status: u16) {
        let counter = if status == 200 { &self.pages } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets visitors come and stay while something is done; how many pages they got.
fn under_load(address: SocketAddr, work: impl FnOnce()) -> u64 {
    let crowd = Crowd::default();
    thread::scope(|scope| {
        for pause_ms in [0, 1, 5, 300] {
            let crowd = &crowd;
            scope.spawn(move || crowd.stay(address, Duration::from_millis(pause_ms)));
        }
        for _ in 0..3 {
            scope.spawn(|| crowd.come_and_go(address));
        }
        // However the work ends, the visitors must go.
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        crowd.over.store(true, Ordering::Relaxed);
        end.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let (pages, failed) = (crowd.pages.into_inner(), crowd.failed.into_inner());
    assert_eq!(failed, 0, "requests failed, of {pages}");
    pages
}

#[test]
fn a_hundred_reloads_and_twenty_upgrades_and_nobody_is_turned_away() {
    let mut house = House::open("auto");
    let address = house.address();
    let pages = under_load(address, || {
        for _ in 0..UPGRADES {
            for _ in 0..RELOADS / UPGRADES {
                house.reload();
            }
            house.upgrade();
        }
    });
    assert!(pages > 1000, "{pages} pages");
    // All before the last have ended by themselves, or are about to.
    let started = house.pids("the successor is started");
    assert_eq!(started.len(), UPGRADES);
    assert_eq!(house.first.exit_code(PATIENCE), Some(0));
    for old in &started[..UPGRADES - 1] {
        house.wait("an old process to end", || has_ended(*old));
    }
    assert_eq!(Visitor::to(address).get("/").page(), format!("edition {RELOADS}"));
    house.signal(Signal::TERM);
    house.wait("the last one to end", || has_ended(house.serves));
}

#[test]
fn upgrades_lose_nobody_on_epoll_either() {
    let mut house = House::open("epoll");
    let address = house.address();
    under_load(address, || (0..3).for_each(|_| house.upgrade()));
    house.signal(Signal::TERM);
}

#[test]
fn a_successor_has_no_visitor_of_the_old_process_and_they_see_its_end() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.self_test().is_ok()) {
        let mut house = House::open(kind.name());
        let address = house.address();
        let mut visitors: Vec<_> = (0..50).map(|_| Visitor::to(address)).collect();
        // Who is about to ask is waited for, whatever else is left.
        visitors.iter_mut().for_each(|visitor| {
            visitor.get("/");
            visitor.send("GET / HTTP/1.1\r\n");
        });
        let old = sockets(house.serves);
        // While others come and go: one may be accepted at any moment.
        under_load(address, || house.upgrade());
        let new = sockets(house.serves);
        let common = old.intersection(&new).count();
        assert_eq!(common, LISTENERS, "{kind}: of {} and {}", old.len(), new.len());
        house.first.signal(Signal::KILL);
        let _ = house.first.exit_code(PATIENCE);
        for visitor in &mut visitors {
            let mut stream = visitor.stream();
            match stream.read(&mut [0; 64]) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("{kind}: {other:?} after the old process was killed"),
            }
        }
        house.signal(Signal::TERM);
    }
}

#[test]
fn a_server_that_is_killed_in_mid_upgrade_leaves_one_that_serves() {
    for turn in 0..5_u64 {
        let mut house = House::open("auto");
        let address = house.address();
        house.signal(Signal::USR2);
        house.wait("the successor", || house.pids("the successor is started").len() == 1);
        // At one moment of its start or another.
        thread::sleep(Duration::from_millis(turn * 20));
        house.first.signal(Signal::KILL);
        let _ = house.first.exit_code(PATIENCE);
        house.serves = house.pids("the successor is started")[0];
        house.wait("the successor to serve", || {
            Visitor::try_to(address).and_then(|mut one| one.try_get("/")).is_ok()
        });
        assert_eq!(Visitor::to(address).get("/").page(), "edition 0");
    }
}

#[test]
fn a_site_that_does_not_check_changes_nothing_and_neither_does_a_binary_that_does_not_start() {
    let mut house = House::open("auto");
    let address = house.address();
    under_load(address, || {
        let site = house.folder.path().join("site.toml");
        let right = fs::read_to_string(&site).expect("a site file");
        fs::write(&site, "[server]\nlisten = 7\n").expect("a site file");
        house.signal(Signal::HUP);
        house.wait("the report", || house.first.log().contains("the site stays as it was"));
        // The successor reads the same file.
        house.signal(Signal::USR2);
        house.wait("the refusal", || house.first.log().contains("no upgrade: it ended with 78"));
        fs::write(&site, right).expect("a site file");
        house.reload();
    });
    assert!(house.first.log().contains("site.toml:2"), "{}", house.first.log());
}

#[test]
fn what_concerns_the_server_takes_other_workers_and_loses_nobody() {
    let mut house = House::open("auto");
    let address = house.address();
    let site = house.folder.path().join("site.toml");
    let text = fs::read_to_string(&site).expect("a site file");
    let pages = under_load(address, || {
        for workers in [1, 3, 2] {
            let text = text.replace("workers = 2", &format!("workers = {workers}"));
            fs::write(&site, text).expect("a site file");
            house.reload();
        }
    });
    assert!(pages > 10);
    house.signal(Signal::TERM);
    assert_eq!(house.first.exit_code(PATIENCE), Some(0));
}

/// As systemd does it: the socket is root's, and the server is not root.
#[test]
fn more_workers_than_sockets_of_systemd_share_them() {
    if !rustix::process::getuid().is_root() {
        let _ = writeln!(io::stderr(), "skipped: sockets of another user: not root");
        return;
    }
    for driver in ["auto", "epoll"] {
        share_sockets_of_root(driver);
    }
}

fn share_sockets_of_root(driver: &str) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("an option");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("an address");
    socket.listen(128).expect("a listener");
    let address = socket.local_addr().expect("an address").as_socket().expect("an address");
    let folder = site(&format!("listen = ['{address}']\nworkers = 3"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = folder.path().to_str().expect("a path");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let arguments = ["-c", script, "sh", RINGPRESS, "serve", path, "--driver", driver];
    let mut command = command::command("sh", &arguments, &[]);
    let server = Running::spawn(command.stdin(OwnedFd::from(socket)).uid(NOBODY).gid(NOBODY));
    let mut house = House::of(folder, server);
    assert!(house.first.log().contains("several workers accept from one socket"));
    assert_eq!(house.address(), address);
    let text = format!("[server]\nlisten = ['{address}']\nworkers = 5\n{PAGE}");
    fs::write(house.folder.path().join("site.toml"), text).expect("a site file");
    under_load(address, || {
        house.reload();
        house.upgrade();
    });
    house.signal(Signal::TERM);
    house.wait("the last one to end", || has_ended(house.serves));
}

#[test]
fn the_first_process_of_a_container_has_no_successor() {
    let folder = site("listen = ['127.0.0.1:0']\nworkers = 1");
    let path = folder.path().to_str().expect("a path");
    let admin = format!("unix:{path}/admin.sock");
    let alone = ["--pid", "--fork", "--kill-child"];
    if command::run("unshare", &[alone.as_slice(), &["true"]].concat(), &[]).code != Some(0) {
        let _ = writeln!(io::stderr(), "skipped: process 1: no namespace of processes to be had");
        return;
    }
    let serve = [RINGPRESS, "serve", path, "--driver", "epoll", "--admin", &admin];
    let server = Running::start("unshare", &[alone.as_slice(), &serve].concat(), &[]);
    let asked = command::run(RINGPRESS, &["upgrade", "--admin", &admin], &[]);
    assert_eq!(asked.code, Some(1));
    assert!(asked.stderr.contains("start another container"), "{}", asked.stderr);
    assert!(!server.log().contains("the successor is started"), "{}", server.log());
    assert_eq!(Visitor::to(server.address()).get("/").page(), "edition 0");
}

#[test]
fn an_upgrade_follows_the_link_that_the_server_was_started_by() {
    let releases = tempfile::tempdir().expect("a folder");
    let place = |name: &str| releases.path().join(name);
    for release in ["1", "2"] {
        fs::create_dir(place(release)).expect("a folder");
        let binary = place(release).join("ringpress");
        fs::hard_link(RINGPRESS, &binary)
            .or_else(|_| fs::copy(RINGPRESS, &binary).map(drop))
            .expect("a binary");
    }
    symlink("1", place("current")).expect("a link");
    let folder = site("listen = ['127.0.0.1:0']\nworkers = 1");
    let started = place("current/ringpress");
    let arguments = ["serve", folder.path().to_str().expect("a path")];
    let first = Running::start(started.to_str().expect("a path"), &arguments, &[]);
    let mut house = House::of(folder, first);
    let release = |house: &House| {
        let exe = format!("/proc/{}/exe", house.serves.as_raw_nonzero());
        let exe = fs::read_link(exe).expect("a binary");
        exe.parent().and_then(Path::file_name).map(|name| name.to_owned()).expect("a folder")
    };
    assert_eq!(release(&house), "1");
    symlink("2", place("new")).expect("a link");
    fs::rename(place("new"), place("current")).expect("a link");
    house.upgrade();
    assert_eq!(release(&house), "2");
}

#[test]
fn requests_that_the_drain_cuts_are_told_of() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("an address");
    let folder = site("listen = ['127.0.0.1:0']\nworkers = 1\ndrain_timeout = '100ms'");
    let path = folder.path().join("site.toml");
    let address = silent.local_addr().expect("an address");
    let text = fs::read_to_string(&path).expect("a site file");
    let more = format!(
        "[upstreams.api]\nurl = 'http://{address}'\n[[page]]\npath = '/slow'\n\
         template = 'page.html'\n[page.fetch]\nthing = {{ from = 'api', path = '/' }}\n"
    );
    fs::write(&path, text + &more).expect("a site file");
    let path = folder.path().to_str().expect("a path");
    let mut server = Running::start(RINGPRESS, &["serve", path], &[]);
    let mut visitor = TcpStream::connect(server.address()).expect("a connection");
    visitor.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
    // The page waits for it by now.
    let _api = silent.accept().expect("a fetch");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(PATIENCE), Some(0));
    let log = server.log();
    assert!(log.contains("drain_timeout) is over: requests were cut"), "{log}");
    assert!(log.contains("\"requests\":1"), "{log}");
}

#[test]
fn a_signal_while_the_site_is_read_does_not_end_the_server() {
    let folder = site("listen = ['127.0.0.1:0']\nworkers = 1");
    let token = folder.path().join("token");
    // Who reads it waits until somebody writes.
    mknodat(CWD, &token, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let path = folder.path().to_str().expect("a path");
    let arguments = ["serve", path, "--admin", "127.0.0.1:0", "--admin-token-file"];
    let arguments = [arguments.as_slice(), &[token.to_str().expect("a path")]].concat();
    let mut command = command::command(RINGPRESS, &arguments, &[]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a process");
    let start = Instant::now();
    let mut writes = loop {
        // None reads it yet: it is no error that lasts.
        match open(&token, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(pipe) => break fs::File::from(pipe),
            Err(error) => assert!(start.elapsed() < PATIENCE, "nobody reads it: {error}"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    let pid = Pid::from_child(&child);
    let signal = |signal| kill_process(pid, signal).expect("a signal");
    [Signal::HUP, Signal::USR1].into_iter().for_each(signal);
    writes.write_all(b"0123456789abcdef0123456789abcdef").expect("a token");
    drop(writes);
    fs::remove_file(&token).expect("a pipe");
    fs::write(&token, "0123456789abcdef0123456789abcdef").expect("a token");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
    let serves = lines.any(|line| line.is_ok_and(|line| line.starts_with("listening on")));
    signal(Signal::TERM);
    let status = child.wait().expect("an end");
    assert!(serves && status.success(), "{status}");
}
