//! Certificates from an ACME directory that none of us wrote: Pebble, Let's Encrypt's own test
//! server, on loopback, with a name server that leads all names back to us.
//!
//! Without Pebble on the machine its tests say that they were skipped, and pass; with
//! `RINGPRESS_REQUIRE_PEBBLE=1` they fail instead, so that CI cannot lose them unnoticed.

#![cfg(feature = "acme")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and blocks no thread but its own"
)]

#[expect(dead_code, reason = "the tests for authors use more of it")]
#[path = "common/command.rs"]
mod command;
#[path = "acme/directory.rs"]
mod directory;
#[path = "acme/pebble.rs"]
mod pebble;
#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/visitor.rs"]
mod visitor;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use command::Running;
use pebble::Pebble;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use visitor::{PATIENCE, Visitor};

const RINGPRESS: &str = env!("CARGO_BIN_EXE_ringpress");
/// A user who is not root.
const NOBODY: u32 = 65534;
const YEAR_S: u32 = 365 * 24 * 3600;

/// A site of one page, for whose names a certificate is to be got.
struct Site {
    folder: TempDir,
}

impl Site {
    /// `directory` and `ca` are Pebble's.
    fn new(directory: &str, ca: &Path) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(site.path("front.html"), "<p>front</p>").unwrap();
        site.name(&["site.example", "www.site.example"], directory, ca);
        site
    }

    fn name(&self, names: &[&str], directory: &str, ca: &Path) {
        let text = format!(
            "[server.acme]\nnames = {names:?}\ndirectory = '{directory}'\nca = '{}'\n\
             contact = 'mailto:you@site.example'\nterms_agreed = true\n\
             [[page]]\npath = '/'\ntemplate = 'front.html'\n",
            ca.display()
        );
        fs::write(self.path("site.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certificate(&self) -> PathBuf {
        self.path(".acme/site.example.pem")
    }

    /// Serves at an address. A page is there at once, whether there is a certificate or not.
    fn serve(&self, listen: &str) -> Running {
        let folder = self.folder.path().to_str().unwrap();
        let arguments = ["serve", folder, "--listen", listen, "--workers", "2"];
        let server = Running::start(RINGPRESS, &arguments, &pebble::NO_PROXY);
        let reply = Visitor::to(server.address()).get("/");
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"<p>front</p>".as_slice()));
        server
    }
}

/// Waits until something is there, and gives it; or tells what the server has said instead.
#[track_caller]
fn wait<T>(server: &Running, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "no {what}: {}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn end(server: Running) -> String {
    let log = server.log();
    assert_eq!(server.terminate(PATIENCE), Some(0), "{log}");
    log
}

#[test]
fn a_certificate_is_got_and_kept_and_replaced_when_the_names_change() {
    let Some(pebble) = Pebble::start(Ipv4Addr::new(127, 0, 71, 1), YEAR_S) else { return };
    let site = Site::new(&pebble.directory(), pebble.ca());
    let server = site.serve(&pebble.validates());
    let first = wait(&server, "certificate", || read(&site.certificate()));
    pebble.check(&first, &["site.example", "www.site.example"], &["other.example"]);
    // Nobody else can read the keys, nor look into the folder.
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&site.path(".acme")), 0o700);
    let mut files: Vec<_> =
        fs::read_dir(site.path(".acme")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in &files {
        assert_eq!(mode(file), 0o600, "{file:?}");
    }
    let account =
        files.iter().find(|file| file.extension().is_some_and(|end| end == "json")).unwrap();
    let account = (account, read(account).unwrap());
    // What was answered to the directory is not answered any more, but is a path like others.
    let reply = Visitor::to(server.address()).get("/.well-known/acme-challenge/x");
    assert_eq!(reply.status, 404);
    let told = |server: &Running| server.log().contains("a certificate is there").then_some(());
    wait(&server, "word of the certificate", || told(&server));
    end(server);

    let server = site.serve(&pebble.validates());
    wait(&server, "word of the certificate", || told(&server));
    let log = end(server);
    assert!(!log.contains("asking for a certificate"), "{log}");
    assert_eq!(read(&site.certificate()).unwrap(), first);

    site.name(&["site.example", "new.site.example"], &pebble.directory(), pebble.ca());
    let server = site.serve(&pebble.validates());
    let is_other = |text: &String| *text != first;
    let second = wait(&server, "other one", || read(&site.certificate()).filter(is_other));
    pebble.check(&second, &["site.example", "new.site.example"], &["www.site.example"]);
    let log = end(server);
    assert!(log.contains("for other names"), "{log}");
    // With the account that was there.
    assert_eq!(read(account.0).unwrap(), account.1);
}

#[test]
fn a_certificate_is_renewed_in_time_and_nobody_sees_half_of_it() {
    // Valid for half a minute: to be renewed after twenty seconds.
    let Some(pebble) = Pebble::start(Ipv4Addr::new(127, 0, 71, 2), 30) else { return };
    let site = Site::new(&pebble.directory(), pebble.ca());
    let server = site.serve(&pebble.validates());
    let first = wait(&server, "certificate", || read(&site.certificate()));
    let second = wait(&server, "renewal", || {
        let text = read(&site.certificate()).expect("there is always one");
        // The chain is for the key, at whatever moment one looks.
        pebble::belong_together(&text);
        (text != first).then_some(text)
    });
    pebble.check(&second, &["site.example", "www.site.example"], &["other.example"]);
    assert_ne!(pebble::key(&first), pebble::key(&second));
    let log = end(server);
    assert!(log.contains("near the end of its life"), "{log}");
}

#[test]
fn names_that_do_not_lead_here_are_told_with_what_to_do_and_pages_are_served() {
    let Some(pebble) = Pebble::start(Ipv4Addr::new(127, 0, 71, 3), YEAR_S) else { return };
    let site = Site::new(&pebble.directory(), pebble.ca());
    // Not where the directory asks, and nobody is there.
    let server = site.serve("127.0.0.1:0");
    let failed = "cannot prove that the names are ours";
    wait(&server, "failure", || server.log().contains(failed).then_some(()));
    let log = server.log();
    for part in ["site.example", "connection", "http://NAME/ at port 80", "again_in_s"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert_eq!(Visitor::to(server.address()).get("/").status, 200);
    end(server);
    assert_eq!(read(&site.certificate()), None);
}

#[test]
fn a_directory_that_is_not_there_is_no_reason_not_to_serve() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, pebble::authority().pem()).unwrap();
    // A port where nobody listens, as it is bound and not listened on.
    let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    taken.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = taken.local_addr().unwrap().as_socket().unwrap().port();
    let site = Site::new(&format!("https://127.0.0.1:{port}/dir"), &ca);
    let server = site.serve("127.0.0.1:0");
    let failed = "cannot have an account with the directory";
    wait(&server, "failure", || server.log().contains(failed).then_some(()));
    assert!(server.log().contains("refused"), "{}", server.log());
    assert_eq!(Visitor::to(server.address()).get("/").status, 200);
    end(server);
}

#[test]
fn a_directory_that_asks_to_wait_is_not_asked_before() {
    let (directory, authority) = directory::start("7200", None);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority).unwrap();
    let site = Site::new(&directory, &ca);
    let server = site.serve("127.0.0.1:0");
    wait(&server, "failure", || server.log().contains("rateLimited").then_some(()));
    let log = server.log();
    for part in ["too many accounts", r#""again_in_s":7200"#, "staging directory"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    end(server);
}

#[test]
fn a_directory_that_is_down_is_told_by_its_status_and_its_words() {
    for (body, cause) in [
        (r#"{"type": "about:blank", "detail": "back at noon"}"#, "status 503: back at noon"),
        ("<html>", "the directory answers with status 503"),
    ] {
        let (directory, authority) = directory::start("7200", Some(body));
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, authority).unwrap();
        let server = Site::new(&directory, &ca).serve("127.0.0.1:0");
        wait(&server, "failure", || server.log().contains("cannot have").then_some(()));
        let log = end(server);
        assert!(log.contains(cause) && log.contains(r#""again_in_s":7200"#), "{log}");
    }
}

#[test]
fn a_key_that_others_can_read_and_a_ca_that_is_none_keep_it_from_starting() {
    let ca = Path::new("ca.pem");
    let site = Site::new("https://127.0.0.1:9/dir", ca);
    let folder = site.folder.path().to_str().unwrap();
    let run = || command::run(RINGPRESS, &["serve", folder, "--listen", "127.0.0.1:0"], &[]);
    let ended = run();
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    for part in ["`ca` of [server.acme] cannot be used: No such file", "site.toml:", "/ca.pem"] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    // Beside the site file, as a relative path means.
    fs::write(site.path("ca.pem"), pebble::authority().pem()).unwrap();
    fs::create_dir_all(site.certificate().parent().unwrap()).unwrap();
    fs::write(site.certificate(), "a key").unwrap();
    fs::set_permissions(site.certificate(), fs::Permissions::from_mode(0o640)).unwrap();
    let ended = run();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    for part in ["site.example.pem", "0640", "chmod go-rwx"] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    let checked = command::run(RINGPRESS, &["check", folder], &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    for part in ["warning: ", "site.example.pem", "0640", "chmod go-rwx"] {
        assert!(checked.stdout.contains(part), "{part} in {}", checked.stdout);
    }
}

#[test]
fn what_the_server_could_not_write_is_warned_of() {
    let site = Site::new("https://127.0.0.1:9/dir", Path::new("ca.pem"));
    fs::write(site.path("ca.pem"), pebble::authority().pem()).unwrap();
    let folder = site.folder.path().to_str().unwrap();
    let check = |log: &str| {
        let text = fs::read_to_string(site.path("site.toml")).unwrap();
        let text = text.replace("[server.acme]", &format!("[server]\n{log}\n[server.acme]"));
        fs::write(site.path("other.toml"), text).unwrap();
        let mut command = command::command(RINGPRESS, &["check", "other.toml"], &[]);
        // Root may write anywhere.
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.current_dir(folder).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let set = |mode| fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    set(0o755);
    let log = "access_log = 'access.log'";
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(folder, Some(NOBODY), None).unwrap();
    }
    assert!(!check(log).contains("warning"), "{}", check(log));
    assert!(!site.path(".acme").exists() && !site.path("access.log").exists());
    fs::write(site.path("access.log"), "").unwrap();
    fs::write(site.path("other.toml"), "").unwrap();
    fs::set_permissions(site.path("access.log"), fs::Permissions::from_mode(0o444)).unwrap();
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(folder, Some(0), None).unwrap();
    }
    set(0o555);
    let said = check(log);
    for part in ["Permission denied", "`storage` in [server.acme]", "the access log cannot be"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    set(0o755);
}

/// The directory asks the server that its names lead to, which need not be the one that orders.
#[test]
fn of_servers_with_one_folder_each_answers_what_another_one_is_asked() {
    let Some(pebble) = Pebble::start(Ipv4Addr::new(127, 0, 71, 4), YEAR_S) else { return };
    let site = Site::new(&pebble.directory(), pebble.ca());
    let storage = site.path(".acme");
    fs::create_dir(&storage).unwrap();
    fs::set_permissions(&storage, fs::Permissions::from_mode(0o700)).unwrap();
    // It finds that another one orders, and does not look again before a minute is over.
    let lock = fs::File::create(storage.join(".lock")).unwrap();
    lock.lock().unwrap();
    let asked = site.serve(&pebble.validates());
    // Written down before, and answered from when the folder was looked at first.
    let challenge = r#"[["before","before.x"]]"#;
    fs::write(storage.join("new"), challenge).unwrap();
    fs::set_permissions(storage.join("new"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(storage.join("new"), storage.join("challenges.json")).unwrap();
    let answer = || {
        let path = "/.well-known/acme-challenge/before";
        let reply = Visitor::to(asked.address()).get(path);
        (reply.status == 200).then_some(reply.body)
    };
    assert_eq!(wait(&asked, "answer", answer), b"before.x");
    drop(lock);
    let orders = site.serve("127.0.0.1:0");
    let certificate = wait(&orders, "certificate", || read(&site.certificate()));
    pebble.check(&certificate, &["site.example", "www.site.example"], &["other.example"]);
    let (asked, orders) = (end(asked), end(orders));
    assert!(!asked.contains("asking for a certificate"), "{asked}");
    assert!(!orders.contains("cannot prove"), "{orders}");
    assert!(!storage.join("challenges.json").exists());
}

/// A process that another one has started, and that ends with the test.
struct Killed(Pid);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn an_upgrade_that_brings_a_name_gets_its_certificate_at_once() {
    let Some(pebble) = Pebble::start(Ipv4Addr::new(127, 0, 71, 5), YEAR_S) else { return };
    let site = Site::new(&pebble.directory(), pebble.ca());
    let named = fs::read_to_string(site.path("site.toml")).unwrap();
    let page = named.find("[[page]]").unwrap();
    fs::write(site.path("site.toml"), &named[page..]).unwrap();
    let mut server = site.serve(&pebble.validates());
    fs::write(site.path("site.toml"), &named).unwrap();
    server.signal(Signal::USR2);
    let successor = |log: &str| {
        let (_, pid) = log.split_once("\"pid\":")?;
        let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
        Pid::from_raw(pid.parse().ok()?)
    };
    let _successor = Killed(wait(&server, "successor", || successor(&server.log())));
    let certificate = wait(&server, "certificate", || read(&site.certificate()));
    pebble.check(&certificate, &["site.example", "www.site.example"], &["other.example"]);
    assert_eq!(server.exit_code(PATIENCE), Some(0));
    let log = server.log();
    assert!(!log.contains("cannot prove"), "{log}");
}
