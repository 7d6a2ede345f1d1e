//! Where logs go, and when they are opened anew.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use super::command::{self, Running};
use super::upstream::Upstream;
use super::visitor::{PATIENCE, Visitor};
use super::{ANY, RINGPRESS, fetching_site, path, ringpress, site, wait_for};

#[test]
fn the_access_log_goes_where_it_is_told_and_on_usr1_to_a_new_file() {
    let upstream = Upstream::json(r#"{"name": "Ada"}"#);
    let site = fetching_site(&upstream);
    let logs = tempfile::tempdir().unwrap();
    let (log, old) = (logs.path().join("access.log"), logs.path().join("access.log.1"));
    let to = log.to_str().unwrap();
    let arguments = ["serve", path(&site), "--listen", ANY, "--access-log", to];
    let server = Running::start(RINGPRESS, &arguments, &[("RINGPRESS_ACCESS_LOG", "off")]);
    let mut visitor = Visitor::to(server.address());
    visitor.get("/users/1");
    fs::rename(&log, &old).unwrap();
    server.signal(Signal::USR1);
    wait_for(&server, "opened anew");
    visitor.get("/users/2");
    assert_eq!(server.terminate(PATIENCE), Some(0));
    let lines = |path| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!(lines(&old) + lines(&log), 2);
    assert!(fs::read_to_string(&log).unwrap().contains("\"target\":\"/users/2\""));
}

#[test]
fn usr1_is_no_end_where_there_is_no_access_log() {
    let site = site("", "front");
    let server = Running::start(RINGPRESS, &["serve", path(&site), "--listen", ANY], &[]);
    server.signal(Signal::USR1);
    for _ in 0..3 {
        assert_eq!(Visitor::to(server.address()).get("/").status, 200);
    }
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

#[test]
fn an_access_log_that_cannot_be_written_is_a_failure_that_says_what_to_do() {
    let site = site("server.access_log.path = 'logs/access.log'", "front");
    let place = site.path().join("logs");
    for verb in ["check", "serve"] {
        let ended = ringpress(&[verb, path(&site)]);
        assert_eq!(ended.code, Some(78));
        for part in ["site.toml:1", place.to_str().unwrap(), "--access-log"] {
            assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
        }
    }
    // Where nobody may write, which is seen when it is tried.
    let nowhere = "/proc/nothing.log";
    let ended = ringpress(&["serve", path(&site), "--listen", ANY, "--access-log", nowhere]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(nowhere), "{}", ended.stderr);
    assert!(ended.stderr.contains("--access-log"), "{}", ended.stderr);
    let elsewhere = ["serve", path(&site), "--listen", ANY, "--access-log", "off"];
    assert_eq!(Running::start(RINGPRESS, &elsewhere, &[]).terminate(PATIENCE), Some(0));
}

#[test]
fn log_lines_for_the_journal_say_how_grave_they_are() {
    let site = site("", "front");
    let arguments = ["serve", path(&site), "--listen", ANY, "--log-format", "journal"];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    wait_for(&server, "serving");
    let log = server.log();
    let is_told = |line: &str| matches!(line.as_bytes(), [b'<', b'3'..=b'7', b'>', ..]);
    assert!(log.lines().all(is_told) && log.contains("\n<6>serving workers="), "{log}");
    // A variable that was inherited says nothing of where standard error goes.
    let arguments = ["serve", path(&site), "--listen", ANY];
    let server = Running::start(RINGPRESS, &arguments, &[("JOURNAL_STREAM", "1:1")]);
    wait_for(&server, "serving");
    assert!(server.log().lines().all(|line| line.starts_with('{')), "{}", server.log());
}

#[test]
fn a_site_that_is_read_again_may_have_its_records_elsewhere_and_in_another_form() {
    let site = site("server.access_log.path = 'one.log'", "front");
    let server = Running::start(RINGPRESS, &["serve", path(&site), "--listen", ANY], &[]);
    let mut visitor = Visitor::to(server.address());
    visitor.get("/?first");
    let file = site.path().join("site.toml");
    let text = fs::read_to_string(&file).unwrap();
    let table = "server.access_log = { path = 'two.log', format = 'combined' }";
    fs::write(&file, text.replace("server.access_log.path = 'one.log'", table)).unwrap();
    server.signal(Signal::HUP);
    let two = site.path().join("two.log");
    let start = Instant::now();
    while !fs::read_to_string(&two).is_ok_and(|text| text.contains("GET /?after")) {
        visitor.get("/?after");
        assert!(start.elapsed() < PATIENCE, "{}", server.log());
    }
    assert_eq!(server.terminate(PATIENCE), Some(0));
    let one = fs::read_to_string(site.path().join("one.log")).unwrap();
    assert!(one.lines().next().unwrap().contains("\"target\":\"/?first\""), "{one}");
    let two = fs::read_to_string(two).unwrap();
    assert!(two.lines().all(|line| line.starts_with("127.0.0.1 - - [")), "{two}");
}

#[test]
fn a_filter_that_would_say_nothing_is_wrong_usage() {
    let site = site("", "front");
    for wrong in ["wran", "bogus=,,"] {
        let log = [("RINGPRESS_LOG", wrong)];
        let ended = command::run(RINGPRESS, &["serve", path(&site), "--listen", ANY], &log);
        assert_eq!(ended.code, Some(2), "{wrong}: {}", ended.stderr);
        for part in ["RINGPRESS_LOG", "warn", "debug"] {
            assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
        }
    }
    // What is empty says nothing.
    let arguments = ["serve", path(&site), "--listen", ANY];
    let server = Running::start(RINGPRESS, &arguments, &[("RINGPRESS_LOG", "")]);
    wait_for(&server, "serving");
}

#[test]
fn an_error_page_of_the_sites_own_that_fails_is_logged_with_its_place_a_few_times() {
    let site = site("", "front");
    fs::create_dir(site.path().join("errors")).unwrap();
    let page = "<h1>Gone</h1>\n{{ message.foo.bar }}";
    fs::write(site.path().join("errors/404.html"), page).unwrap();
    let server = Running::start(RINGPRESS, &["serve", path(&site), "--listen", ANY], &[]);
    let mut visitor = Visitor::to(server.address());
    for _ in 0..100 {
        let reply = visitor.get("/nowhere");
        reply.is_error(404);
        assert!(!reply.text().contains("Gone") && !reply.text().contains("errors/404.html"));
    }
    let told = "the site's own error page failed";
    wait_for(&server, "more of the site's own error pages failed");
    let log = server.log();
    let first = log.lines().find(|line| line.contains(told)).unwrap();
    for part in ["WARN", "errors/404.html:2", "message.foo", "/nowhere", "\"status\":404"] {
        assert!(first.contains(part), "{part} in {first}");
    }
    assert_eq!(server.terminate(PATIENCE), Some(0));
}
