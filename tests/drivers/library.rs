//! Pages in code: whatever a service of somebody's own answers, what goes out is one answer, and
//! what fails in it is one request's.

use std::cell::Cell;
use std::future::{pending, ready};
use std::sync::Arc;

use ringpress::driver::Driver;
use ringpress::driver::kind::Kind;
use ringpress::driver::timers::Timers;
use ringpress::metrics::WorkerMetrics;
use ringpress::worker::thread::Recipe;
use ringpress::worker::{Request, Response, Service};

use super::stage::{Script, Stage, wait};
use super::visitor::get;

on_every_driver!(
    a_body_where_there_must_be_none_is_not_sent,
    a_status_that_is_none_is_a_500,
    lines_that_are_none_are_a_500,
    fields_that_are_not_a_pages_are_left_out,
    a_panic_before_the_future_is_one_requests_own,
    a_panic_about_a_body_is_one_requests_own,
    a_panic_in_the_end_of_a_page_is_one_requests_own,
    a_panic_elsewhere_is_one_requests_own,
    a_refusal_that_fails_is_still_an_answer,
);

struct OddRecipe;

/// A service that answers as no service should.
#[derive(Default)]
struct Odd {
    /// Whether it fails to refuse, too, the next time.
    is_at_a_loss: Cell<bool>,
}

impl Recipe for OddRecipe {
    type Service<D: Driver> = Odd;

    fn make<D: Driver>(
        &self,
        _: &Timers<D>,
        _: &Arc<WorkerMetrics>,
        _: usize,
    ) -> Result<Odd, String> {
        Ok(Odd::default())
    }
}

/// What panics when it ends.
struct Brittle;

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a panic that the test asked for");
    }
}

impl Service for Odd {
    fn wants_body(&self, request: &Request<'_>) -> bool {
        assert_ne!(request.span(request.head.path), b"/wants", "a panic that the test asked for");
        true
    }

    fn body_bytes_max(&self, request: &Request<'_>, usual: u64) -> u64 {
        assert_ne!(request.span(request.head.path), b"/most", "a panic that the test asked for");
        usual
    }

    fn opens_file(&self, request: &Request<'_>) -> bool {
        assert_ne!(request.span(request.head.path), b"/opens", "a panic that the test asked for");
        false
    }

    fn is_secure(&self, request: &Request<'_>) -> bool {
        assert_ne!(request.span(request.head.path), b"/secure", "a panic that the test asked for");
        false
    }

    fn respond(&self, request: Request<'_>, response: &mut Response) -> impl Future<Output = ()> {
        let path = request.span(request.head.path);
        assert_ne!(path, b"/at-once", "a panic that the test asked for");
        response.content_type = "text/plain";
        response.body().extend_from_slice(b"GET /smuggled HTTP/1.1\r\n\r\n");
        match path.split_at(1).1 {
            b"cut" => response.lines = b"X-A: b".to_vec(),
            b"split" => response.lines = b"X-A: b\r\n\r\nHTTP/1.1 200 OK\r\n".to_vec(),
            b"nameless" => response.lines = b"X-A: b\r\n: c\r\n".to_vec(),
            b"bare" => response.lines = b"X-A: b\nX-B: c\r\n".to_vec(),
            b"framing" => response.lines = b"X-A: b\r\ncontent-Length: 3\r\n".to_vec(),
            b"coded" => response.lines = b"Transfer-Encoding: chunked\r\n".to_vec(),
            b"type" => response.content_type = "text/plain\r\nX-A: b",
            b"fields" => {
                for (name, value) in FIELDS {
                    response.fields.push((name, value.as_bytes().to_vec()));
                }
            }
            b"loss" => {
                self.is_at_a_loss.set(true);
                panic!("a panic that the test asked for");
            }
            status => {
                let status = str::from_utf8(status).ok().and_then(|status| status.parse().ok());
                response.status = status.unwrap_or(200);
            }
        }
        let ends = path != b"/brittle";
        let brittle = (!ends).then(|| Brittle);
        async move {
            let _brittle = brittle;
            if ends { ready(()).await } else { pending().await }
        }
    }

    fn refuse(&self, status: u16, reason: &str, response: &mut Response) {
        assert!(!self.is_at_a_loss.take(), "a panic that the test asked for");
        response.status = status;
        response.body().extend_from_slice(reason.as_bytes());
    }
}

/// All but the first and the last are the server's to send.
const FIELDS: [(&str, &str); 14] = [
    ("X-First", "1"),
    ("Content-Length", "3"),
    ("content-length", "3"),
    ("Transfer-Encoding", "chunked"),
    ("Connection", "close"),
    ("Keep-Alive", "timeout=1"),
    ("Proxy-Connection", "close"),
    ("Upgrade", "h2c"),
    ("TE", "trailers"),
    ("Trailer", "X-Last"),
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Content-Type", "text/html"),
    ("X-Broken", "1\r\nX-Split: 2"),
    ("X-Last", "2"),
];

fn odd(kind: Kind) -> Stage {
    Script::on(kind)
        .bounds(|bounds| {
            #[cfg(feature = "http2")]
            {
                bounds.http2_prior_knowledge = true;
            }
            let _ = bounds;
        })
        .start_recipe(OddRecipe)
}

/// An answer, whichever protocol carried it: its status, its fields and its body.
type Answer = (u16, Vec<(String, String)>, String);

/// Asks in HTTP/1.1, on a connection that must be of use after it, and in HTTP/2.
fn ask(stage: &Stage, method: &str, target: &str) -> Vec<Answer> {
    let mut visitor = stage.visitor();
    visitor.send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    let reply = visitor.try_reply(method == "HEAD").expect("an answer");
    let next = visitor.get("/fine");
    assert_eq!((next.status, next.body.is_empty()), (200, false), "{target}");
    let fields = reply.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let body = reply.text().to_owned();
    #[cfg(not(feature = "http2"))]
    return vec![(reply.status, fields, body)];
    #[cfg(feature = "http2")]
    vec![(reply.status, fields, body), over_http2::ask(stage, method, target)]
}

#[cfg(feature = "http2")]
mod over_http2 {
    use super::{Answer, Stage};
    use crate::browser::{Browser, browse, of, page};

    pub(super) fn ask(stage: &Stage, method: &str, target: &str) -> Answer {
        browse(async {
            let mut browser = Browser::to(stage.address()).await;
            let page = page(browser.ask(of(method, target)).await).await.expect("an answer");
            assert_eq!(browser.get("/fine").await.status, 200);
            browser.close().await.expect("an orderly end");
            let fields = page.fields.iter();
            let fields = fields.map(|(name, value)| {
                (name.as_str().to_owned(), value.to_str().expect("ASCII").to_owned())
            });
            (page.status, fields.collect(), page.text().to_owned())
        })
    }
}

fn a_body_where_there_must_be_none_is_not_sent(kind: Kind) {
    let stage = odd(kind);
    for status in [204, 205, 304] {
        for method in ["GET", "HEAD"] {
            for (is, fields, body) in ask(&stage, method, &format!("/{status}")) {
                assert_eq!((is, body.as_str()), (status, ""));
                let length = fields.iter().find(|(name, _)| name == "content-length");
                // RFC 9110 sections 8.6 and 15.3.6.
                let length = length.map(|(_, value)| value.as_str());
                assert_eq!(length, (status == 205).then_some("0"));
            }
        }
    }
    // The same where another request has come already.
    let mut visitor = stage.visitor();
    visitor.send(get("/304") + &get("/204") + &get("/fine"));
    assert_eq!((visitor.reply().status, visitor.reply().status), (304, 204));
    assert_eq!(visitor.reply().status, 200);
    drop(visitor);
    stage.finish();
}

fn assert_fails(stage: &Stage, target: &str) {
    for (status, fields, body) in ask(stage, "GET", target) {
        assert_eq!((status, body.as_str()), (500, "the answer cannot be sent"), "{target}");
        assert!(!fields.iter().any(|(name, _)| name.starts_with("x-")), "{target}: {fields:?}");
    }
}

fn a_status_that_is_none_is_a_500(kind: Kind) {
    let stage = odd(kind);
    for status in [0, 100, 101, 103, 199, 600, 999, 1000, 65_535] {
        assert_fails(&stage, &format!("/{status}"));
    }
    for (status, _, body) in ask(&stage, "GET", "/599") {
        assert_eq!((status, body.is_empty()), (599, false));
    }
    stage.finish();
}

fn lines_that_are_none_are_a_500(kind: Kind) {
    let stage = odd(kind);
    for target in ["/cut", "/split", "/nameless", "/bare", "/framing", "/coded", "/type"] {
        assert_fails(&stage, target);
    }
    stage.finish();
}

fn fields_that_are_not_a_pages_are_left_out(kind: Kind) {
    let stage = odd(kind);
    for (status, mut fields, body) in ask(&stage, "GET", "/fields") {
        assert_eq!((status, body.as_str()), (200, "GET /smuggled HTTP/1.1\r\n\r\n"));
        fields.retain(|(name, _)| name != "date");
        fields.sort();
        let expected = [("content-length", "26"), ("content-type", "text/plain")];
        let expected = expected.into_iter().chain([("x-first", "1"), ("x-last", "2")]);
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(fields.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
    stage.finish();
}

fn panics(stage: &Stage) -> u64 {
    stage.count(|m| m.panics.get())
}

fn a_panic_before_the_future_is_one_requests_own(kind: Kind) {
    let stage = odd(kind);
    let answers = ask(&stage, "GET", "/at-once");
    for (status, _, body) in &answers {
        assert_eq!((*status, body.as_str()), (500, "the page failed"));
    }
    assert_eq!(panics(&stage), answers.len() as u64);
    stage.finish();
}

fn a_panic_about_a_body_is_one_requests_own(kind: Kind) {
    let stage = odd(kind);
    for target in ["/wants", "/most"] {
        let mut visitor = stage.visitor();
        visitor
            .send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody"));
        let reply = visitor.reply();
        assert_eq!((reply.status, reply.text()), (500, "the page failed"));
        assert_eq!(reply.field("Connection"), Some("close"));
    }
    assert_eq!(panics(&stage), 2);
    #[cfg(feature = "http2")]
    {
        use super::browser::{Browser, browse, of};
        browse(async {
            let mut browser = Browser::to(stage.address()).await;
            for target in ["/wants", "/most"] {
                let page = super::http2::post(&mut browser, of("POST", target), b"body").await;
                assert_eq!((page.status, page.text()), (500, "the page failed"));
                assert_eq!(browser.get("/fine").await.status, 200);
            }
            browser.close().await.expect("an orderly end");
        });
        assert_eq!(panics(&stage), 4);
    }
    assert_eq!(stage.count(|m| m.requests_malformed.get()), 0);
    stage.finish();
}

fn a_panic_in_the_end_of_a_page_is_one_requests_own(kind: Kind) {
    let stage = odd(kind);
    let mut visitor = stage.visitor();
    visitor.send(get("/brittle"));
    stage.await_in_flight(1);
    drop(visitor);
    stage.await_in_flight(0);
    assert_eq!(panics(&stage), 1);
    #[cfg(feature = "http2")]
    {
        use super::browser::{Browser, browse, get};
        browse(async {
            let mut browser = Browser::to(stage.address()).await;
            let given_up = browser.ask(get("/brittle")).await;
            assert_eq!(browser.get("/fine").await.status, 200);
            drop(given_up);
            // The connection goes on, and takes those it has left with it when it ends.
            assert_eq!(browser.get("/fine").await.status, 200);
            wait("the panic to be counted", || panics(&stage) == 2);
            let left = [browser.ask(get("/brittle")).await, browser.ask(get("/brittle")).await];
            assert_eq!(browser.get("/fine").await.status, 200);
            drop((browser, left));
        });
        wait("the panics to be counted", || panics(&stage) == 4);
    }
    wait("the pages to end", || stage.count(|m| m.in_flight.get()) == 0);
    stage.finish();
}

fn a_panic_elsewhere_is_one_requests_own(kind: Kind) {
    let stage = odd(kind);
    let mut visitor = stage.visitor();
    visitor.send("GET https://test/secure HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(visitor.at_end());
    assert_eq!(panics(&stage), 1);
    #[cfg(feature = "http2")]
    {
        use super::browser::{Browser, browse, get, page};
        browse(async {
            let mut browser = Browser::to(stage.address()).await;
            let beside = browser.ask(get("/fine")).await;
            let failed = page(browser.ask(get("/opens")).await).await;
            assert!(failed.is_err_and(|error| error.is_reset()), "no reset of the stream");
            assert_eq!(page(beside).await.expect("an answer").status, 200);
            assert_eq!(browser.get("/fine").await.status, 200);
            browser.close().await.expect("an orderly end");
        });
        assert_eq!(panics(&stage), 2);
    }
    stage.finish();
}

fn a_refusal_that_fails_is_still_an_answer(kind: Kind) {
    let stage = odd(kind);
    let answers = ask(&stage, "GET", "/loss");
    for (status, _, body) in &answers {
        assert_eq!((*status, body.as_str()), (500, "the page failed"));
    }
    assert_eq!(panics(&stage), 2 * answers.len() as u64);
    stage.finish();
}
