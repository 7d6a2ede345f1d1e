//! The command as people and service managers use it: what it prints where, and how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and blocks no thread but its own"
)]

#[path = "cli/advice.rs"]
mod advice;
#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/command.rs"]
mod command;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "common/trust.rs"]
mod trust;
#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/upstream.rs"]
mod upstream;
#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/visitor.rs"]
mod visitor;

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certificates::Authority;
use command::{Ended, Running};
use rustix::process::Signal;
use tempfile::TempDir;
use trust::{Trust, session};
use upstream::{Gate, Upstream};
use visitor::{PATIENCE, Visitor, get};

const RINGPRESS: &str = env!("CARGO_BIN_EXE_ringpress");
const ANY: &str = "127.0.0.1:0";

fn ringpress(arguments: &[&str]) -> Ended {
    command::run(RINGPRESS, arguments, &[])
}

/// A folder with a site of one page, and whatever else its site file begins with.
fn site(beginning: &str, template: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let page = "[[page]]\npath = '/'\ntemplate = 'front.html'\n";
    fs::write(folder.path().join("site.toml"), format!("{beginning}\n{page}")).unwrap();
    fs::write(folder.path().join("front.html"), template).unwrap();
    folder
}

/// The same with a page that fetches from `upstream`.
fn fetching_site(upstream: &Upstream) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[upstreams.api]\nurl = 'http://{}'\n[[page]]\npath = '/users/{{id}}'\n\
         template = 'user.html'\n[page.fetch]\n\
         user = {{ from = 'api', path = '/users/{{{{ path.id }}}}' }}\n",
        upstream.address()
    );
    fs::write(folder.path().join("site.toml"), text).unwrap();
    fs::write(folder.path().join("user.html"), "<p>{{ user.name }}</p>").unwrap();
    folder
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

#[test]
fn check_says_that_a_site_is_fine() {
    let folder = site("", "<p>front</p>");
    let file = folder.path().join("site.toml");
    for named in [path(&folder), file.to_str().unwrap()] {
        let ended = ringpress(&["check", named]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.contains("fine (pages: 1, "), "{}", ended.stdout);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn check_says_which_page_minijinja_runs_itself() {
    let folder = site("", "one\n{% block b %}b{% endblock %}{{ self.b() }}");
    let ended = ringpress(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = "page `/` is slower than it could be: front.html:2: a block called by `self`";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
}

#[test]
fn check_names_each_problem_with_its_file_and_line() {
    let folder = site("[server]\nlisten = ['127.0.0.1:0']\nworkrs = 1\n", "fine\n{{ user.name");
    let ended = ringpress(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(78));
    assert_eq!(ended.stdout, "");
    for part in ["site.toml:3", "workrs", "workers", "front.html:2"] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    let serve = ringpress(&["serve", path(&folder)]);
    assert_eq!((serve.code, serve.stderr), (Some(78), ended.stderr));
}

#[test]
fn a_missing_folder_is_bad_configuration() {
    for verb in ["check", "serve"] {
        let ended = ringpress(&[verb, "/no/such/folder"]);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains("/no/such/folder"), "{}", ended.stderr);
    }
}

#[test]
fn a_site_file_that_was_emptied_is_no_site() {
    let folder = site("", "<p>front</p>");
    fs::write(folder.path().join("site.toml"), "").unwrap();
    for verb in ["check", "serve"] {
        let ended = ringpress(&[verb, path(&folder)]);
        assert_eq!(ended.code, Some(78), "{}", ended.stdout);
        assert!(ended.stderr.contains("this site serves nothing"), "{}", ended.stderr);
    }
}

#[test]
fn an_https_upstream_needs_somebody_to_trust() {
    let folder = site("[upstreams.api]\nurl = 'https://api.example.com'\n", "front");
    let nobody = [("SSL_CERT_FILE", "/no/such/file"), ("SSL_CERT_DIR", "/no/such/folder")];
    for verb in ["check", "serve"] {
        let ended = command::run(RINGPRESS, &[verb, path(&folder)], &nobody);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        let words = ["site.toml:1", "no certificates of authorities", "ca-certificates", "`ca`"];
        for part in words {
            assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
        }
    }
    let authority = folder.path().join("authority.pem");
    fs::write(&authority, Authority::new("Our CA").pem).unwrap();
    let somebody = [("SSL_CERT_FILE", authority.to_str().unwrap()), ("SSL_CERT_DIR", "")];
    let ended = command::run(RINGPRESS, &["check", path(&folder)], &somebody);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let note = "upstream `api` must have a certificate for api.example.com from an authority that \
                this system trusts (1)";
    assert!(ended.stdout.contains(note), "{}", ended.stdout);
    // A site that asks nobody over HTTPS needs nobody to trust.
    let plain = site("[upstreams.api]\nurl = 'http://api.example.com'\n", "front");
    assert_eq!(command::run(RINGPRESS, &["check", path(&plain)], &nobody).code, Some(0));
}

#[test]
fn pages_come_from_an_api_over_https() {
    let authority = Authority::new("Our CA");
    let config = Arc::new(authority.issue(&["127.0.0.1"]).server());
    let upstream = Upstream::secure(config, |call| call.json(r#"{"name": "Ada"}"#));
    let folder = fetching_site(&upstream);
    let file = folder.path().join("authority.pem");
    fs::write(&file, authority.pem).unwrap();
    let trust = [("SSL_CERT_FILE", file.to_str().unwrap()), ("SSL_CERT_DIR", "")];
    let url = format!("api=https://{}", upstream.address());
    let arguments = ["serve", path(&folder), "--listen", ANY, "--workers", "2", "--upstream", &url];
    let server = Running::start(RINGPRESS, &arguments, &trust);
    let mut visitor = Visitor::to(server.address());
    assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    drop(visitor);
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

/// Waits until a log, which a thread of its own writes, has these words.
fn wait_for(server: &Running, words: &str) {
    let start = Instant::now();
    while !server.log().contains(words) {
        assert!(start.elapsed() < PATIENCE, "no {words} in {}", server.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whoever_takes_any_certificate_is_warned_each_time() {
    let warning = "upstream `api` may be anybody: `dangerous_accept_any_certificate` is on";
    let beginning = "[upstreams.api]\nurl = 'https://api.example.com'\n\
                     tls.dangerous_accept_any_certificate = true\n";
    let folder = site(beginning, "front");
    let ended = ringpress(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains(&format!("warning: {warning}")), "{}", ended.stdout);
    let ended = ringpress(&["render", path(&folder), "/"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "front"));
    assert!(ended.stderr.contains(&format!("warning: {warning}")), "{}", ended.stderr);
    let server = Running::start(RINGPRESS, &["serve", path(&folder), "--listen", ANY], &[]);
    assert_eq!(Visitor::to(server.address()).get("/").page(), "front");
    wait_for(&server, warning);
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

#[test]
fn fewer_connections_than_workers_are_warned_of() {
    let few = "[upstreams.few]\nurl = 'http://127.0.0.1:9'\nmax_connections = 1\n";
    let enough = "[upstreams.enough]\nurl = 'http://127.0.0.1:9'\nmax_connections = 2\n";
    let folder = site(&format!("{few}{enough}"), "front");
    let arguments = ["serve", path(&folder), "--listen", ANY, "--workers", "2"];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    wait_for(&server, "each worker has at least one connection");
    assert!(server.log().contains("few") && !server.log().contains("enough"), "{}", server.log());
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = site("", "front");
    for (wrong, part) in [
        (["--driver", "uring"], "tokio-uring"),
        (["--workers", "0"], "no worker would serve"),
        (["--workers", "-1"], "workers"),
        (["--workers", "many"], "`all`"),
        (["--listen", "8080"], "127.0.0.1:8080"),
        (["--upstream", "api"], "NAME=URL"),
        (["--no-such", "x"], "--no-such"),
    ] {
        let ended = ringpress(&["serve", path(&folder), &wrong.join("=")]);
        assert_eq!(ended.code, Some(2), "{wrong:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{wrong:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(ringpress(&["srve"]).code, Some(2));
    assert_eq!(ringpress(&[]).code, Some(2));
}

#[test]
fn help_and_version_are_no_failure() {
    let version = ringpress(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")));
    for verb in ["serve", "check", "render", "demo"] {
        let help = ringpress(&[verb, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(help.stdout.contains("Usage"), "{}", help.stdout);
        assert!(ringpress(&["--help"]).stdout.contains(verb));
    }
}

#[test]
fn serve_says_where_it_listens_and_drains_on_a_signal() {
    let folder = site("", "<p>front</p>");
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut server = Running::start(RINGPRESS, &["serve", path(&folder), "--listen", ANY], &[]);
        assert_ne!(server.address().port(), 0);
        let mut visitor = Visitor::to(server.address());
        assert_eq!(visitor.get("/").page(), "<p>front</p>");
        server.signal(signal);
        assert_eq!(server.exit_code(PATIENCE), Some(0), "{}", server.log());
        assert!(visitor.at_end());
        assert!(Visitor::try_to(server.address()).is_err());
    }
}

#[test]
fn an_upstream_can_have_another_url_than_in_the_file() {
    let (written, given) = (Upstream::json(r#"{"name": "A"}"#), Upstream::json(r#"{"name": "B"}"#));
    let folder = fetching_site(&written);
    let serve = |url: &str| {
        let other = format!("--upstream=api={url}");
        Running::start(RINGPRESS, &["serve", path(&folder), "--listen", ANY, &other], &[])
    };
    let server = serve(&format!("http://{}", given.address()));
    assert_eq!(Visitor::to(server.address()).get("/users/1").page(), "<p>B</p>");
    assert!(written.calls().is_empty());
    for (wrong, part) in [
        ("apo=http://127.0.0.1:9", "there is no upstream `apo`"),
        ("api=ftp://127.0.0.1:9", "the URL `ftp://127.0.0.1:9` for upstream `api`"),
    ] {
        let ended = ringpress(&["serve", path(&folder), "--upstream", wrong]);
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let gate = Gate::default();
    let at = gate.clone();
    let upstream = Upstream::start(move |call| {
        at.pass();
        call.json(r#"{"name": "Ada"}"#)
    });
    let folder = fetching_site(&upstream);
    let arguments = ["serve", path(&folder), "--listen", ANY, "--workers", "1"];
    let wait_for_call = |calls: usize| {
        while upstream.calls().len() < calls {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut server = Running::start(RINGPRESS, &arguments, &[]);
    let mut visitor = Visitor::to(server.address());
    visitor.send(get("/users/1"));
    wait_for_call(1);
    server.signal(Signal::TERM);
    while !server.log().contains("drain") {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(PATIENCE), Some(0), "{}", server.log());
    assert!(visitor.try_reply(false).is_err());
    // One signal only: the page in flight is finished first.
    let mut server = Running::start(RINGPRESS, &arguments, &[]);
    let mut visitor = Visitor::to(server.address());
    visitor.send(get("/users/1"));
    wait_for_call(2);
    server.signal(Signal::TERM);
    while !server.log().contains("drain") {
        std::thread::sleep(Duration::from_millis(5));
    }
    gate.open();
    assert_eq!(visitor.reply().page(), "<p>Ada</p>");
    assert_eq!(server.exit_code(PATIENCE), Some(0), "{}", server.log());
}

#[test]
fn a_port_in_use_is_a_failure_that_says_what_to_do() {
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = site("", "front");
    let ended = ringpress(&["serve", path(&folder), "--listen", &address]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains(&format!("cannot listen on {address}")), "{}", ended.stderr);
    assert!(ended.stderr.contains("somebody listens there"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--listen"), "{}", ended.stderr);
    // Another server of ours is no exception, though its sockets would share the port.
    let server = Running::start(RINGPRESS, &["serve", path(&folder), "--listen", ANY], &[]);
    let address = server.address().to_string();
    let ended = ringpress(&["serve", path(&folder), "--listen", &address]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let blocker = TcpListener::bind(ANY).unwrap();
    let taken = blocker.local_addr().unwrap().to_string();
    let folder = site(&format!("[server]\nlisten = ['{taken}']\n"), "<p>front</p>");
    // The file alone leads to a port in use.
    assert_eq!(ringpress(&["serve", path(&folder)]).code, Some(1));
    let environment = [("RINGPRESS_LISTEN", ANY)];
    let server = Running::start(RINGPRESS, &["serve", path(&folder)], &environment);
    assert_eq!(Visitor::to(server.address()).get("/").page(), "<p>front</p>");
    let environment = [("RINGPRESS_LISTEN", taken.as_str()), ("RINGPRESS_DRIVER", "no-such")];
    let arguments = ["serve", path(&folder), "--listen", ANY, "--driver", "epoll"];
    let server = Running::start(RINGPRESS, &arguments, &environment);
    assert_eq!(Visitor::to(server.address()).get("/").page(), "<p>front</p>");
    let environment = [("RINGPRESS_SITE", path(&folder))];
    assert_eq!(command::run(RINGPRESS, &["check"], &environment).code, Some(0));
    drop(blocker);
}

#[test]
fn how_much_is_kept_of_an_api_is_said_by_flag_environment_or_file() {
    let kept = |file: &str, environment: &[(&str, &str)], flags: &[&str]| {
        let upstream = Upstream::json(r#"{"name": "Ada"}"#);
        let text = format!(
            "[server]\n{file}\n[upstreams.api]\nurl = 'http://{}'\n[[page]]\npath = '/'\n\
             template = 'page.html'\ncache = '1h'\n[page.fetch]\n\
             user = {{ from = 'api', path = '/users/7' }}\n",
            upstream.address()
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("site.toml"), text).unwrap();
        fs::write(folder.path().join("page.html"), "{{ user.name }}").unwrap();
        let arguments = ["serve", path(&folder), "--listen", ANY, "--workers", "1"];
        let server = Running::start(RINGPRESS, &[&arguments, flags].concat(), environment);
        for _ in 0..2 {
            assert_eq!(Visitor::to(server.address()).get("/").page(), "Ada");
        }
        upstream.calls().len() == 1
    };
    assert!(kept("", &[], &[]));
    assert!(!kept("cache_max = '1B'", &[], &[]), "no room for it");
    assert!(kept("cache_max = '1B'", &[("RINGPRESS_CACHE_MAX", "1MiB")], &[]));
    assert!(!kept("", &[("RINGPRESS_CACHE_MAX", "1MiB")], &["--cache-max", "1B"]));
    let wrong = ringpress(&["serve", "--cache-max", "much"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("write a size with its unit"), "{}", wrong.stderr);
}

#[test]
fn render_prints_a_page_and_explains_it_beside() {
    let upstream = Upstream::json(r#"{"name": "Ada"}"#);
    let folder = fetching_site(&upstream);
    let plain = ringpress(&["render", path(&folder), "/users/7"]);
    assert_eq!(plain.code, Some(0), "{}", plain.stderr);
    assert_eq!(plain.stdout, "<p>Ada</p>");
    assert_eq!(plain.stderr, "");
    let url = "http://example.org/users/7?x=y";
    let explained = ringpress(&["render", "--explain", path(&folder), url]);
    assert_eq!(explained.code, Some(0));
    assert_eq!(explained.stdout, "<p>Ada</p>");
    let fetch = explained.stderr.lines().find(|line| line.starts_with("user ")).unwrap();
    assert!(fetch.contains(" 200 "), "{fetch}");
    assert!(fetch.ends_with(&format!("http://{}/users/7", upstream.address())), "{fetch}");
    assert_eq!(upstream.calls(), ["/users/7", "/users/7"]);
}

#[test]
fn render_of_a_page_that_fails_fails() {
    let upstream = Upstream::start(|call| call.status(500));
    let folder = fetching_site(&upstream);
    let ended = ringpress(&["render", "--explain", path(&folder), "/users/7"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("502"), "{}", ended.stdout);
    for part in ["the upstream answered 500", "status 502", "the page is a 502"] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    let ended = ringpress(&["render", path(&folder), "/nowhere"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("404"), "{}", ended.stderr);
    assert_eq!(ringpress(&["render", path(&folder), "users/7"]).code, Some(1));
    assert_eq!(ringpress(&["render", "/no/such/folder", "/"]).code, Some(78));
    assert_eq!(ringpress(&["render", path(&folder)]).code, Some(2));
}

#[test]
fn https_alone_and_what_check_says_of_it() {
    let trust = Trust::of(&["localhost"]);
    let folder = site(&format!("[server]\n{}", trust.server("", &["first"])), "<p>front</p>");
    let running = Running::start(RINGPRESS, &["serve", path(&folder), "--workers", "1"], &[]);
    let session = session(&trust.client(), "localhost");
    // The first that it says: there is no plain port that nobody asked for.
    let mut visitor = Visitor::to(running.address()).speaking(session);
    assert_eq!(visitor.get("/").page(), "<p>front</p>");
    drop(visitor);
    assert_eq!(running.terminate(PATIENCE), Some(0));
    let key = trust.path("first.key");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let ended = ringpress(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("chmod o-rwx"), "{}", ended.stdout);
    trust.lose("first.key");
    let ended = ringpress(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(78), "{}", ended.stdout);
    assert!(ended.stderr.contains("the key cannot be read"), "{}", ended.stderr);
    let plain = site("", "<p>front</p>");
    let ended = ringpress(&["serve", path(&plain), "--listen-tls", ANY]);
    assert_eq!(ended.code, Some(78), "{}", ended.stdout);
    assert!(ended.stderr.contains("needs a certificate"), "{}", ended.stderr);
}
