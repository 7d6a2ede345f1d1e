//! Access records: what is written of each request, in whichever way it ends.

use std::fs;
use std::path::PathBuf;

use ringpress::driver::kind::Kind;
use ringpress::limits::ACCESS_FETCHES_MAX;
use serde_json::Value;
use tempfile::TempDir;

#[cfg(feature = "http2")]
use super::browser::{Browser, browse, get as request};
use super::stage::{Script, Stage, wait};
use super::upstream::{Gate, Upstream};
use super::visitor::get;

on_every_driver!(
    a_record_of_each_request,
    who_leaves_and_who_is_turned_away,
    the_visitor_behind_a_proxy,
    nothing_that_is_sent_breaks_a_line,
    as_other_servers_write_it,
    a_sample_keeps_what_went_wrong,
    queries_can_be_left_out,
    fetches_are_told_of_up_to_a_bound,
    a_browser_is_told_of_times_in_development_alone,
);
#[cfg(feature = "http2")]
mod by_http2 {
    on_every_driver!(streams);
    use super::streams;
}

/// A log in a folder of its own.
pub(super) struct Log {
    pub(super) folder: TempDir,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    /// The table of a site file, and more lines in it.
    fn table(&self, lines: &str) -> String {
        format!("path = '{}'\n{lines}", self.path().display())
    }

    /// All records, once the server has ended.
    pub(super) fn end(&self, stage: Stage) -> Vec<Value> {
        stage.finish();
        self.records()
    }

    pub(super) fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// An API that knows one user.
pub(super) fn api() -> Upstream {
    Upstream::start(|call| match call.id() {
        "1" => call.json(r#"{"name": "Ada"}"#),
        "broken" => call.status(500),
        _ => call.status(404),
    })
}

pub(super) fn script(kind: Kind, log: &Log, lines: &str) -> Script {
    Script::on(kind).user_page().plain_page().access_log(log.table(lines))
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("no {name} in {of}"))
}

/// Empty where there is none.
fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or_default()
}

fn a_record_of_each_request(kind: Kind) {
    let log = Log::new();
    let stage = script(kind, &log, "").start(api());
    let mut visitor = stage.visitor();
    let page = visitor.get("/users/1?x=1");
    visitor.send(
        "GET /users/1 HTTP/1.0\r\nHost: b.example\r\nConnection: keep-alive\r\n\
         Referer: http://a.example/\r\nUser-Agent: a browser\r\n\r\n",
    );
    visitor.reply();
    visitor.send("HEAD /plain HTTP/1.1\r\nHost: test\r\n\r\n");
    visitor.reply_to_head();
    let missing = visitor.get("/nowhere");
    let broken = visitor.get("/users/broken");
    visitor.send("POST /plain HTTP/1.1\r\nHost: test\r\n\r\n");
    visitor.reply();
    visitor.send("GET /a b HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(visitor.reply().status, 400);
    drop(visitor);
    // Before the server ends: what there is does not wait for more.
    wait("records", || log.path().exists() && log.records().len() == 7);
    assert_eq!(stage.count(|m| m.access_records.get()), 7);
    let records = log.end(stage);
    let first = &records[0];
    for (name, value) in [
        ("method", "GET"),
        ("target", "/users/1?x=1"),
        ("protocol", "HTTP/1.1"),
        ("host", "test"),
        ("client", "127.0.0.1"),
        ("page", "/users/{id}"),
    ] {
        assert_eq!(first[name], value, "{first}");
    }
    assert_eq!((first["tls"].as_bool(), number(first, "worker")), (Some(false), 0));
    assert_eq!((number(first, "status"), number(first, "bytes")), (200, page.body.len() as u64));
    let [fetch] = first["fetches"].as_array().unwrap().as_slice() else { panic!("{first}") };
    assert_eq!(
        (text(fetch, "name"), text(fetch, "upstream"), text(fetch, "how")),
        ("user", "api", "new")
    );
    assert!(number(fetch, "us") <= number(first, "us"), "{first}");
    assert!(number(first, "render_us") <= number(first, "us"), "{first}");
    assert!(first["referer"].is_null() && first["user_agent"].is_null(), "{first}");
    // The others, each in its way.
    assert_eq!(
        (text(&records[1], "protocol"), text(&records[1], "host")),
        ("HTTP/1.0", "b.example")
    );
    assert_eq!(records[1]["fetches"][0]["how"], "reused");
    assert_eq!(records[1]["referer"], "http://a.example/");
    assert_eq!(records[1]["user_agent"], "a browser");
    assert_eq!((text(&records[2], "method"), number(&records[2], "bytes")), ("HEAD", 0));
    assert_eq!(records[2]["fetches"], Value::Array(Vec::new()));
    let status = |at: usize| number(&records[at], "status");
    assert_eq!((status(3), status(4), status(5)), (404, 502, 405));
    assert_eq!(number(&records[3], "bytes"), missing.body.len() as u64);
    assert!(records[3]["page"].is_null());
    // A log line, an error page and a record are found by one id.
    for (record, reply) in [(&records[3], &missing), (&records[4], &broken)] {
        assert!(reply.text().contains(record["id"].as_str().unwrap()), "{record}");
    }
    let fetch = &records[4]["fetches"][0];
    assert_eq!((number(fetch, "status"), fetch["failed"].as_bool()), (500, Some(true)));
    assert_eq!((status(6), &records[6]["line"]), (400, &"GET /a b HTTP/1.1".into()));
    assert!(records[6]["reason"].is_string() && records[6]["target"].is_null());
}

fn who_leaves_and_who_is_turned_away(kind: Kind) {
    let log = Log::new();
    let gate = Gate::default();
    let script = script(kind, &log, "").bounds(|bounds| {
        bounds.in_flight_max = 1;
        bounds.connections_max = 2;
        bounds.half_close_timeout = std::time::Duration::from_millis(1);
    });
    let stage = script.start(Upstream::json_behind(&gate, r#"{"name": "Ada"}"#));
    let mut leaver = stage.visitor();
    leaver.send(get("/users/1"));
    stage.await_in_flight(1);
    let mut shed = stage.visitor();
    assert_eq!(shed.get("/plain").status, 503);
    let mut third = stage.visitor();
    assert_eq!(third.reply().status, 503);
    drop(leaver);
    wait("the page to be given up", || stage.count(|m| m.requests_abandoned.get()) == 1);
    gate.open();
    drop((shed, third));
    let mut records = log.end(stage);
    records.sort_by_key(|record| (number(record, "status"), record["target"].is_null()));
    let statuses: Vec<u64> = records.iter().map(|record| number(record, "status")).collect();
    assert_eq!(statuses, [499, 503, 503]);
    assert_eq!((text(&records[0], "target"), number(&records[0], "bytes")), ("/users/1", 0));
    assert_eq!((text(&records[1], "target"), number(&records[1], "bytes")), ("/plain", 52));
    assert_eq!(records[2]["reason"], "too many connections");
}

fn the_visitor_behind_a_proxy(kind: Kind) {
    let log = Log::new();
    let script = script(kind, &log, "").server("trusted_proxies = ['127.0.0.0/8']");
    let stage = script.start(api());
    let fields = "X-Forwarded-For: 6.6.6.6, 2001:db8::7\r\nX-Request-Id: from-the-proxy\r\n";
    let ask = format!("GET /plain HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
    stage.visitor().ask(ask);
    let records = log.end(stage);
    assert_eq!(
        (text(&records[0], "client"), text(&records[0], "id")),
        ("2001:db8::7", "from-the-proxy")
    );
}

fn nothing_that_is_sent_breaks_a_line(kind: Kind) {
    let nasty: [&[u8]; 6] = [
        b"\"}\\",
        b"\x80\xff\xfe",
        b"\xc2\x9b31m\xe2\x80\xa8",
        b"\t\t",
        b"a\" 200 1 \"-\" \"-",
        "é𝄞".as_bytes(),
    ];
    for (format, what) in [("json", "json"), ("combined", "lines")] {
        let log = Log::new();
        let stage = script(kind, &log, &format!("format = '{format}'")).start(api());
        let mut visitor = stage.visitor();
        for bytes in nasty {
            let name = [b"User-Agent: a", bytes, b"b\r\nReferer: c", bytes, b"d\r\n"].concat();
            let head: &[u8] = b"GET /plain HTTP/1.1\r\nHost: t\r\n";
            assert_eq!(visitor.ask([head, &name, b"\r\n"].concat()).status, 200);
        }
        // What is no request comes as it is, up to its end.
        let line = b"GET /\x1b[31m\"\0\x7f \xff HTTP/1.1\r\n\r\n";
        assert_eq!(visitor.ask(line).status, 400);
        drop(visitor);
        let mut long = stage.visitor();
        let agent = "\u{80}\"".repeat(2000);
        long.ask(format!("GET /plain HTTP/1.1\r\nHost: t\r\nUser-Agent: {agent}\r\n\r\n"));
        drop(long);
        stage.finish();
        let text = fs::read(log.path()).unwrap();
        let text = String::from_utf8(text).expect("UTF-8");
        assert_eq!(text.lines().count(), nasty.len() + 2, "{text}");
        assert!(!text.chars().any(|one| one.is_control() && one != '\n'), "{text}");
        if what == "json" {
            let records = log.records();
            assert_eq!(records[0]["user_agent"], "a\"}\\b");
            assert_eq!(records[1]["referer"], "c\u{fffd}\u{fffd}\u{fffd}d");
            assert_eq!(records[5]["user_agent"], "aé𝄞b");
            assert!(records[7]["user_agent"].as_str().unwrap().len() < 1024);
        } else {
            for line in text.lines() {
                // Quotes are those of the form, and no others.
                assert_eq!(line.matches('"').count(), 6, "{line}");
            }
        }
    }
}

fn as_other_servers_write_it(kind: Kind) {
    let log = Log::new();
    let stage = script(kind, &log, "format = 'combined'").start(api());
    let mut visitor = stage.visitor();
    let page = visitor.ask(
        "GET /plain?a=b HTTP/1.1\r\nHost: t\r\nReferer: http://a/\r\nUser-Agent: b \"c\"\r\n\r\n",
    );
    let missing = visitor.get("/nowhere");
    drop(visitor);
    stage.finish();
    let text = fs::read_to_string(log.path()).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let (before, rest) = first.split_once(" [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(before, "127.0.0.1 - -");
    let shape: String =
        time.chars().map(|one| if one.is_ascii_digit() { '9' } else { one }).collect();
    assert_eq!(shape.get(..3), Some("99/"), "{time}");
    assert_eq!(shape.get(6..), Some("/9999:99:99:99 +9999"), "{time}");
    let bytes = page.body.len();
    let expected =
        format!("\"GET /plain?a=b HTTP/1.1\" 200 {bytes} \"http://a/\" \"b \\x22c\\x22\"");
    assert_eq!(rest, expected);
    let bytes = missing.body.len();
    let expected = format!("] \"GET /nowhere HTTP/1.1\" 404 {bytes} \"-\" \"-\"\n");
    assert!(second.ends_with(&expected), "{second}");
}

fn a_sample_keeps_what_went_wrong(kind: Kind) {
    let log = Log::new();
    let stage = script(kind, &log, "sample = 0.25\nslow = '1m'").start(api());
    let mut visitor = stage.visitor();
    for _ in 0..400 {
        visitor.get("/plain");
    }
    for _ in 0..5 {
        assert_eq!(visitor.get("/users/broken").status, 502);
    }
    drop(visitor);
    let records = log.end(stage);
    let (wrong, usual): (Vec<&Value>, Vec<&Value>) =
        records.iter().partition(|record| number(record, "status") >= 500);
    assert_eq!(wrong.len(), 5);
    assert!(wrong.iter().all(|record| record["sample"].is_null()));
    assert!((50..160).contains(&usual.len()), "{} of 400", usual.len());
    assert!(usual.iter().all(|record| record["sample"].as_f64() == Some(0.25)));
}

fn queries_can_be_left_out(kind: Kind) {
    let log = Log::new();
    let stage = script(kind, &log, "query = false").start(api());
    let ask = "GET /plain?secret=1 HTTP/1.1\r\nHost: t\r\nReferer: http://a/b?secret=2\r\n\r\n";
    stage.visitor().ask(ask);
    stage.visitor().ask("GET /plain?secret=3 x HTTP/1.1\r\n\r\n");
    let records = log.end(stage);
    assert_eq!(
        (text(&records[0], "target"), text(&records[0], "referer")),
        ("/plain", "http://a/b")
    );
    assert!(!fs::read_to_string(log.path()).unwrap().contains("secret"));
}

/// A page with more calls than are told of.
fn fan_out(script: Script) -> Stage {
    let script = script.page(
        "/all",
        "[page.fetch]\nids = { from = 'api', path = '/ids' }\n\
         item = { from = 'api', each = 'ids', path = '/item/{{ it }}', optional = true }",
        "{{ item | length }}",
    );
    script.start(Upstream::start(|call| match call.target {
        "/ids" => call.json(format!("{:?}", (1..=40).collect::<Vec<_>>())),
        "/item/1" => call.status(404),
        _ => call.json("{}"),
    }))
}

fn fetches_are_told_of_up_to_a_bound(kind: Kind) {
    let log = Log::new();
    let stage = fan_out(Script::on(kind).access_log(log.table("")));
    let mut visitor = stage.visitor();
    visitor.get("/all");
    // What was noted of one page is not told of the next.
    visitor.get("/nowhere");
    drop(visitor);
    let records = log.end(stage);
    let fetches = records[0]["fetches"].as_array().unwrap();
    assert_eq!(fetches.len(), ACCESS_FETCHES_MAX);
    assert_eq!(number(&records[0], "more_fetches"), 41 - ACCESS_FETCHES_MAX as u64);
    assert_eq!((text(&fetches[0], "name"), number(&fetches[0], "status")), ("ids", 200));
    assert!(fetches[1..].iter().all(|fetch| fetch["name"] == "item" && fetch["item"].is_u64()));
    assert!(records[1]["fetches"].is_null(), "{}", records[1]);
}

fn a_browser_is_told_of_times_in_development_alone(kind: Kind) {
    let stage = fan_out(Script::on(kind).server("development = true").user_page());
    let page = stage.get("/all");
    let timing = page.field("Server-Timing").expect("times");
    let entries: Vec<&str> = timing.split(", ").collect();
    assert!(entries[0].starts_with("api-ids;dur="), "{timing}");
    assert!(entries[0].ends_with(";desc=\"200 new\""), "{timing}");
    assert!(entries[1].starts_with("api-item-"), "{timing}");
    assert!(entries.last().unwrap().starts_with("render;dur="), "{timing}");
    // A page that fails tells what of.
    let failed = stage.get("/users/1");
    assert!(failed.field("Server-Timing").is_some_and(|timing| timing.starts_with("api-user;")));
    stage.finish();
    let log = Log::new();
    let stage = fan_out(Script::on(kind).access_log(log.table("")));
    assert_eq!(stage.get("/all").field("Server-Timing"), None);
    stage.finish();
}

#[cfg(feature = "http2")]
fn streams(kind: Kind) {
    let log = Log::new();
    let gate = Gate::default();
    let script = script(kind, &log, "").bounds(|bounds| bounds.http2_prior_knowledge = true);
    let stage = script.start(Upstream::json_behind(&gate, r#"{"name": "Ada"}"#));
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        assert_eq!(browser.get("/plain").await.status, 200);
        assert_eq!(browser.get(&format!("/{}", "x".repeat(9000))).await.status, 414);
        // One that the browser gives up with its connection.
        let _pending = browser.ask(request("/users/1")).await;
        while stage.count(|m| m.in_flight.get()) < 1 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    wait("the page to be given up", || stage.count(|m| m.requests_abandoned.get()) == 1);
    gate.open();
    let records = log.end(stage);
    let statuses: Vec<u64> = records.iter().map(|record| number(record, "status")).collect();
    assert_eq!(statuses, [200, 414, 499]);
    assert!(records.iter().all(|record| record["protocol"] == "HTTP/2"));
    assert!(records[1]["line"].as_str().unwrap().starts_with("GET /xxx"));
    assert_eq!((text(&records[2], "target"), text(&records[2], "page")), ("/users/1", ""));
}
