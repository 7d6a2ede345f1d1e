//! HTTP/2: the same pages, many at once, each stream for itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::Builder;
use ringpress::driver::Driver;
use ringpress::driver::kind::Kind;
use ringpress::driver::timers::Timers;
use ringpress::limits::HTTP2_STREAMS_MAX;
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Request, Response, Service};

use super::browser::{Browser, Page, browse, get, of, page};
use super::coding;
use super::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, block, frame};
use super::stage::{Script, wait};
use super::upstream::{Gate, Upstream, some_delay};
use super::visitor::{Reply, get as line};

on_every_driver!(
    the_same_pages,
    the_same_answers_beside_pages,
    many_at_once_over_one_connection,
    one_after_the_other,
    head_has_no_body,
    packed_pages,
    cookies_come_in_crumbs,
    bodies_are_read_where_they_are_wanted,
    a_body_that_is_too_large,
    a_body_nobody_wants,
    expect_continue,
    a_large_page_through_small_windows,
    a_reset_cancels_the_fetches,
    a_panic_is_one_streams_own,
    a_visitor_who_leaves_takes_all_pages_along,
    drain_finishes_what_is_open,
    drain_ends_idle_connections,
    http_1_1_on_the_same_port,
    only_where_it_is_welcome,
);

pub(crate) fn script(kind: Kind) -> Script {
    Script::on(kind).bounds(|bounds| bounds.http2_prior_knowledge = true)
}

fn echo() -> Upstream {
    Upstream::start(|call| {
        some_delay(call.id().bytes().map(usize::from).sum());
        call.json(format!(r#"{{"name": "user {}"}}"#, call.id()))
    })
}

/// Status, fields and body are those of HTTP/1.1, but for what is about the connection.
fn assert_same(page: &Page, reply: &Reply) {
    let fields = |all: Vec<(String, String)>| {
        let mut all: Vec<_> =
            all.into_iter().filter(|(name, _)| name != "date" && name != "connection").collect();
        all.sort();
        all
    };
    let theirs = reply.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let theirs = theirs.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let ours = page.fields.iter();
    let ours = ours.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    assert_eq!(fields(ours.collect()), fields(theirs.collect()));
    // An error page says which request it was.
    let of_any = |text: &str| match text.split_once("Request <code>") {
        Some((before, _)) => before.to_owned(),
        None => text.to_owned(),
    };
    assert_eq!((page.status, of_any(page.text())), (reply.status, of_any(reply.text())));
    assert!(page.field("date").is_some());
}

fn the_same_pages(kind: Kind) {
    let stage =
        script(kind).user_page().plain_page().start(Upstream::start(|call| match call.id() {
            "gone" => call.status(404),
            "broken" => call.status(500),
            _ => call.json(r#"{"name": "Ada & <b>"}"#),
        }));
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        for target in [
            "/users/1",
            "/plain",
            "/users/gone",
            "/users/broken",
            "/nowhere",
            "/a/%2e%2e/b",
            "/%zz",
        ] {
            let page = browser.get(target).await;
            assert_same(&page, &stage.get(target));
        }
        let long = format!("/{}", "x".repeat(9000));
        assert_same(&browser.get(&long).await, &stage.get(&long));
        // Not modified, when the page is known.
        let etag = browser.get("/plain").await.field("etag").map(str::to_owned);
        if let Some(etag) = etag {
            let mut again = get("/plain");
            again.headers_mut().insert("if-none-match", etag.parse().unwrap());
            let page = page(browser.ask(again).await).await.unwrap();
            assert_eq!((page.status, page.body.len()), (304, 0));
            assert_eq!(page.field("content-length"), None);
        }
        let wrong = page(browser.ask(of("DELETE", "/plain")).await).await.unwrap();
        assert_eq!((wrong.status, wrong.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
        browser.close().await.expect("an orderly end");
    });
    stage.finish();
}

fn the_same_answers_beside_pages(kind: Kind) {
    let said = "status = 422\nheaders = { X-A = 'b' }\nset_cookie = { a = '1', b = '2' }";
    let sent = "redirect = '{{ query.on ~ \"/x\" }}'\nset_cookie = { a = '1' }";
    let stage = script(kind).page("/said", said, "<p>said</p>").page("/sent", sent, "never");
    let stage = stage.start(echo());
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        for (target, status) in [("/said", 422), ("/sent?on=/1", 303), ("/sent?on=//1", 400)] {
            let page = browser.get(target).await;
            assert_eq!(page.status, status);
            assert_same(&page, &stage.get(target));
        }
        browser.close().await.expect("an orderly end");
    });
    stage.finish();
}

fn many_at_once_over_one_connection(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |call| {
            gate.pass();
            call.json(format!(r#"{{"name": "user {}"}}"#, call.id()))
        }
    });
    let stage = script(kind).user_page().start(upstream);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        // A first answer, so that the server's settings are here.
        assert_eq!(browser.get("/nowhere").await.status, 404);
        let mut responses = Vec::new();
        for id in 0..HTTP2_STREAMS_MAX {
            responses.push(browser.ask(get(&format!("/users/{id}"))).await);
        }
        while stage.count(|m| m.in_flight.get()) < u64::from(HTTP2_STREAMS_MAX) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        gate.open();
        for (id, response) in responses.into_iter().enumerate() {
            assert_eq!(page(response).await.unwrap().text(), format!("<p>user {id}</p>"));
        }
        browser.close().await.expect("an orderly end");
    });
    assert_eq!(stage.count(|m| m.accepted.get()), 1);
    stage.finish();
}

fn one_after_the_other(kind: Kind) {
    let stage = script(kind).user_page().start(echo());
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        for id in 0..200 {
            let page = browser.get(&format!("/users/{id}")).await;
            assert_eq!((page.status, page.text()), (200, &*format!("<p>user {id}</p>")));
        }
        browser.close().await.expect("an orderly end");
    });
    stage.await_responses(200);
    assert_eq!(stage.count(|m| m.statuses[2].get()), 200);
    stage.finish();
}

fn head_has_no_body(kind: Kind) {
    let stage = script(kind).plain_page().start(Upstream::json("{}"));
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        for (target, status, length) in [("/plain", 200, Some("12")), ("/nowhere", 404, None)] {
            let page = page(browser.ask(of("HEAD", target)).await).await.unwrap();
            assert_eq!((page.status, page.body.len()), (status, 0));
            assert!(length.is_none() || page.field("content-length") == length, "{page:?}");
        }
        browser.close().await.expect("an orderly end");
    });
    stage.finish();
}

fn packed_pages(kind: Kind) {
    let stage = coding::pages(script(kind).server("memo_max = '1MiB'"));
    let stage = stage.start(Upstream::json("{}"));
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let accept = |method, fields: [(&'static str, &str); 2]| {
            let mut request = of(method, "/list/1");
            for (name, value) in fields {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            request
        };
        for wanted in ["zstd", "br", "gzip", "identity"] {
            let get = accept("GET", [("accept-encoding", wanted), ("x", "y")]);
            let reply = page(browser.ask(get).await).await.unwrap();
            let coding = Some(wanted).filter(|wanted| *wanted != "identity");
            assert_eq!((reply.status, reply.field("content-encoding")), (200, coding));
            assert_eq!(reply.field("vary"), Some("Accept-Encoding"));
            assert_eq!(coding::unpacked(coding, &reply.body), coding::list("1"));
            let length = reply.body.len().to_string();
            let head = accept("HEAD", [("accept-encoding", wanted), ("x", "y")]);
            let head = page(browser.ask(head).await).await.unwrap();
            assert_eq!(head.field("content-length"), Some(&*length));
            let tag = reply.field("etag").unwrap();
            let again = accept("GET", [("accept-encoding", wanted), ("if-none-match", tag)]);
            let again = page(browser.ask(again).await).await.unwrap();
            assert_eq!((again.status, again.field("etag")), (304, Some(tag)));
            assert_eq!(
                (again.field("vary"), again.field("content-encoding")),
                (reply.field("vary"), None)
            );
        }
        browser.close().await.expect("an orderly end");
    });
    stage.finish();
}

fn cookies_come_in_crumbs(kind: Kind) {
    let stage = script(kind)
        .page("/cookies", "", "{{ cookies.a }} {{ cookies.b }} {{ headers.cookie }}")
        .start(Upstream::json("{}"));
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let mut request = get("/cookies");
        for crumb in ["a=1", "b=2", "c=3"] {
            request.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        let page = page(browser.ask(request).await).await.unwrap();
        assert_eq!(page.text(), "1 2 a=1; b=2; c=3");
        browser.close().await.expect("an orderly end");
    });
    // Several lines of HTTP/1.1 are no other list.
    let lines = "Cookie: a=1\r\nCookie: b=2; c=3\r\n";
    let reply = stage.visitor().ask(format!("GET /cookies HTTP/1.1\r\nHost: t\r\n{lines}\r\n"));
    assert_eq!(reply.page(), "1 2 a=1; b=2; c=3");
    stage.finish();
}

/// A service that gives back what it gets, and does worse when it is told to.
struct Mirror;

impl Service for Mirror {
    fn wants_body(&self, request: &Request<'_>) -> bool {
        request.span(request.head.path) != b"/unwanted"
    }

    async fn respond(&self, request: Request<'_>, response: &mut Response) {
        assert_ne!(request.span(request.head.path), b"/panic", "a panic that the test asked for");
        response.content_type = "text/plain";
        response.fields.push(("Connection", b"close".to_vec()));
        response.fields.push(("X-Length", request.body.len().to_string().into_bytes()));
        response.body().extend_from_slice(request.body);
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        response.status = status;
        response.body().extend_from_slice(reason.as_bytes());
    }
}

impl Recipe for Mirror {
    type Service<D: Driver> = Mirror;

    fn make<D: Driver>(
        &self,
        _: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<Mirror, String> {
        Ok(Mirror)
    }
}

/// Sends a body as windows allow, and reads the answer.
pub(crate) async fn post(browser: &mut Browser, request: http::Request<()>, body: &[u8]) -> Page {
    let (response, mut stream) = browser.begin(request, false).await;
    let mut rest = Bytes::copy_from_slice(body);
    tokio::spawn(async move {
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let granted = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
            let Some(Ok(granted)) = granted else { return };
            let piece = rest.split_to(granted.min(rest.len()));
            if stream.send_data(piece, false).is_err() {
                return;
            }
        }
        let _ = stream.send_data(Bytes::new(), true);
    });
    page(response).await.expect("an answer")
}

fn bodies_are_read_where_they_are_wanted(kind: Kind) {
    let stage = script(kind).start_recipe(Mirror);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        // Larger than all windows are at first: they are opened again as we read.
        let body: Vec<u8> = (0..700_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
        for length in [0, 1, 65_536, 700_000] {
            let page = post(&mut browser, of("POST", "/"), &body[..length]).await;
            assert_eq!(page.field("x-length"), Some(&*length.to_string()));
            assert_eq!(page.field("connection"), None);
            assert!(page.body == body[..length], "{length} bytes, and others came back");
            let mut told = of("POST", "/");
            told.headers_mut().insert("content-length", length.into());
            assert!(post(&mut browser, told, &body[..length]).await.body == body[..length]);
        }
        browser.close().await.expect("an orderly end");
    });
    stage.finish();
}

fn a_body_that_is_too_large(kind: Kind) {
    let stage =
        script(kind).bounds(|bounds| bounds.limits.body_bytes_max = 1000).start_recipe(Mirror);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let mut told = of("POST", "/");
        told.headers_mut().insert("content-length", 1001.into());
        assert_eq!(post(&mut browser, told, &[b'x'; 1001]).await.status, 413);
        assert_eq!(post(&mut browser, of("POST", "/"), &[b'x'; 5000]).await.status, 413);
        assert_eq!(post(&mut browser, of("POST", "/"), &[b'x'; 1000]).await.status, 200);
        browser.close().await.expect("an orderly end");
    });
    stage.finish();
}

fn a_body_nobody_wants(kind: Kind) {
    let stage = script(kind).start_recipe(Mirror);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        // More than a window: what was not read is given back to the connection.
        for _ in 0..20 {
            let page = post(&mut browser, of("POST", "/unwanted"), &[b'x'; 200_000]).await;
            assert_eq!((page.status, page.field("x-length")), (200, Some("0")));
        }
        assert_eq!(post(&mut browser, of("POST", "/"), b"wanted").await.text(), "wanted");
        browser.close().await.expect("an orderly end");
    });
    assert_eq!(stage.count(|m| m.accepted.get()), 1);
    stage.finish();
}

fn expect_continue(kind: Kind) {
    let stage = script(kind).start_recipe(Mirror);
    let mut frames = Frames::to(stage.address());
    let head =
        |expected| frame(HEADERS, END_HEADERS, 1, &block("POST", "/", &[("expect", expected)]));
    frames.send(&head("100-continue"));
    // `:status: 100`, and the end is not here yet.
    let interim = frames.find(HEADERS, 1);
    assert!(interim.payload.ends_with(b"100") || interim.payload.len() < 6, "{interim:?}");
    frames.send(&frame(DATA, END_STREAM, 1, b"body"));
    frames.find(HEADERS, 1);
    assert_eq!(frames.find(DATA, 1).payload, b"body");
    drop(frames);
    let mut frames = Frames::to(stage.address());
    frames.send(&head("more"));
    assert_eq!(
        frames.find(DATA, 1).payload,
        b"The only expectation that can be met is 100-continue."
    );
    drop(frames);
    stage.finish();
}

fn a_large_page_through_small_windows(kind: Kind) {
    let stage = script(kind)
        .page("/large", "", "{% for n in range(60000) %}{{ n }} {% endfor %}")
        .start(Upstream::json("{}"));
    let whole = stage.get("/large").body;
    assert!(whole.len() > 300_000);
    browse(async {
        for window in [100, 16_000, 1_000_000] {
            let mut builder = Builder::new();
            builder.initial_window_size(window).initial_connection_window_size(window.max(65_535));
            let mut browser = Browser::set_up(stage.address(), &builder).await;
            let mut responses = Vec::new();
            for _ in 0..3 {
                responses.push(tokio::spawn(page(browser.ask(get("/large")).await)));
            }
            for response in responses {
                assert!(response.await.unwrap().unwrap().body == whole, "window of {window}");
            }
            browser.close().await.expect("an orderly end");
        }
    });
    stage.finish();
}

fn a_reset_cancels_the_fetches(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::start({
        let gate = gate.clone();
        move |call| {
            if call.id() == "slow" {
                gate.pass();
            }
            call.json(r#"{"name": "Ada"}"#)
        }
    });
    let stage = script(kind).user_page().start(upstream);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let slow = browser.ask(get("/users/slow")).await;
        while stage.count(|m| m.upstream_exchanges.get()) < 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // One that waits keeps nobody waiting.
        assert_eq!(browser.get("/users/quick").await.text(), "<p>Ada</p>");
        drop(slow);
        while stage.count(|m| m.in_flight.get()) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(stage.count(|m| m.requests_abandoned.get()), 1);
        assert_eq!(stage.count(|m| m.upstream_cancelled.get()), 1);
        assert_eq!(browser.get("/users/quick").await.text(), "<p>Ada</p>");
        browser.close().await.expect("an orderly end");
    });
    gate.open();
    stage.finish();
}

fn a_panic_is_one_streams_own(kind: Kind) {
    let stage = script(kind).start_recipe(Mirror);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let panics = browser.ask(get("/panic")).await;
        assert_eq!(browser.get("/").await.status, 200);
        let page = page(panics).await.unwrap();
        assert_eq!((page.status, page.text()), (500, "the page failed"));
        browser.close().await.expect("an orderly end");
    });
    assert_eq!(stage.count(|m| m.panics.get()), 1);
    stage.finish();
}

fn a_visitor_who_leaves_takes_all_pages_along(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::json_behind(&gate, "{}");
    let stage = script(kind).user_page().start(upstream);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let mut waiting = Vec::new();
        for id in 0..20 {
            waiting.push(browser.ask(get(&format!("/users/{id}"))).await);
        }
        while stage.count(|m| m.in_flight.get()) < 20 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    wait("the pages to be given up", || stage.count(|m| m.in_flight.get()) == 0);
    assert_eq!(stage.count(|m| m.requests_abandoned.get()), 20);
    gate.open();
    stage.finish();
}

fn drain_finishes_what_is_open(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::json_behind(&gate, r#"{"name": "Ada"}"#);
    let stage = script(kind).user_page().start(upstream);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let response = browser.ask(get("/users/1")).await;
        while stage.count(|m| m.in_flight.get()) < 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stage.server.drain();
        // Until we are told that there will be no more requests.
        while browser.is_welcome().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        gate.open();
        assert_eq!(page(response).await.unwrap().text(), "<p>Ada</p>");
        browser.ended().await.expect("an orderly end");
    });
    wait("the page to be counted", || stage.count(|m| m.in_flight.get()) == 0);
    stage.assert_balance();
    stage.server.join().expect("an orderly end");
}

fn drain_ends_idle_connections(kind: Kind) {
    let stage = script(kind).plain_page().start(Upstream::json("{}"));
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        assert_eq!(browser.get("/plain").await.status, 200);
        stage.server.drain();
        browser.ended().await.expect("an orderly end");
    });
    stage.server.join().expect("an orderly end");
}

fn http_1_1_on_the_same_port(kind: Kind) {
    let stage = script(kind).plain_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    // HTTP/2 begins a connection, or is none.
    visitor.send("PRI * HTTP/2.1\r\n\r\n");
    visitor.reply().is_error(505);
    drop(visitor);
    stage.finish();
}

fn only_where_it_is_welcome(kind: Kind) {
    let stage = Script::on(kind).plain_page().start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    visitor.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    visitor.reply().is_error(505);
    drop(visitor);
    visitor = stage.visitor();
    visitor.send(line("/plain"));
    assert_eq!(visitor.reply().page(), "<p>plain</p>");
    drop(visitor);
    stage.finish();
}
