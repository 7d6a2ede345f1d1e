//! What the parts of a page cost by themselves, without a network: heads and chunks, JSON into
//! values, values into HTML. The data are those of the mock API and of `bench/site`.
//!
//! `cargo bench --bench micro`, or `-- --test` to run each once. What a part returns is dropped
//! within its time, as a server has to do that as well. Each is checked once before it is measured.

#![expect(clippy::expect_used, clippy::panic, reason = "a bench that fails must not be measured")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use ringpress::http::{
    self, ChunkedDecoder, Connection, FieldLines, Framing, Head, Limits, Method, RequestLine,
    request, response,
};
use ringpress::press::{self, Data, Value};
use ringpress::site::{Inputs, Page, Site, Source};

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    heads_in(&mut criterion.benchmark_group("head/parse"));
    heads_out(&mut criterion.benchmark_group("head/write"));
    bodies(&mut criterion.benchmark_group("body"));
    json(&mut criterion.benchmark_group("json"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/site");
    let site = match Site::load(&Source::Folder(folder)) {
        Ok(site) => site,
        Err(report) => panic!("{report}"),
    };
    user_page(&mut criterion.benchmark_group("users"), &site);
    list_page(&mut criterion.benchmark_group("lists"), &site);
    criterion.final_summary();
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn heads_in(group: &mut Group<'_>) {
    let limits = Limits::default();
    let head = request::parse(BROWSER, &limits).expect("a head").expect("a whole head");
    assert_eq!(head.path.of(BROWSER), b"/users/42");
    assert_eq!(head.length, BROWSER.len());
    group.throughput(bytes(BROWSER.len()));
    group.bench_function("request-of-browser", |bencher| {
        bencher.iter(|| request::parse(black_box(BROWSER), &limits));
    });
    let limits = Limits::response();
    let head = response::parse(API, &limits, false).expect("a head").expect("a whole head");
    assert_eq!(head.framing, Framing::Length(USER.len() as u64));
    assert_eq!(head.length, API.len());
    group.throughput(bytes(API.len()));
    group.bench_function("response-of-api", |bencher| {
        bencher.iter(|| response::parse(black_box(API), &limits, false));
    });
}

fn heads_out(group: &mut Group<'_>) {
    let date = http::format_date(1_700_000_000);
    let head = Head {
        status: 200,
        content_type: "text/html; charset=utf-8",
        body_length: 3753,
        date: &date,
        connection: Connection::Persist,
        extra: &[],
        lines: [b""; 4],
    };
    let mut out = Vec::with_capacity(1024);
    http::write_response_head(&mut out, &head);
    let written = response::parse(&out, &Limits::response(), false);
    assert_eq!(written.expect("a head").expect("a whole head").length, out.len());
    group.throughput(bytes(out.len()));
    group.bench_function("response-to-visitor", |bencher| {
        bencher.iter(|| {
            out.clear();
            http::write_response_head(&mut out, black_box(&head));
            black_box(out.len())
        });
    });
    let line = RequestLine { method: Method::Get, target: b"/users/42", host: b"127.0.0.1:9100" };
    let fields = FieldLines::new(b"User-Agent: ringpress/0.1.0\r\n").expect("a field line");
    out.clear();
    http::write_request_head(&mut out, line, fields, None).expect("a head that may be written");
    let written = request::parse(&out, &Limits::default());
    assert_eq!(written.expect("a head").expect("a whole head").length, out.len());
    group.throughput(bytes(out.len()));
    group.bench_function("request-to-api", |bencher| {
        bencher.iter(|| {
            out.clear();
            http::write_request_head(&mut out, black_box(line), black_box(fields), None)
        });
    });
}

fn bodies(group: &mut Group<'_>) {
    let max = Limits::response().body_bytes_max;
    for (name, chunk_bytes) in [("chunked-whole", USER.len()), ("chunked-by-256", 256)] {
        let coded = chunked(USER, chunk_bytes);
        let mut decoded = coded.clone();
        let progress = ChunkedDecoder::new(max).decode(&mut decoded, 0).expect("chunks");
        assert!(progress.done && decoded.get(..progress.end) == Some(USER));
        group.throughput(bytes(USER.len()));
        group.bench_function(name, |bencher| {
            // It decodes in place, so that each run needs a body of its own.
            bencher.iter_batched_ref(
                || coded.clone(),
                |buffer| ChunkedDecoder::new(max).decode(buffer, 0),
                BatchSize::SmallInput,
            );
        });
    }
}

fn json(group: &mut Group<'_>) {
    let user = parsed(USER);
    assert_eq!(user.value().get_attr("items").expect("items").len(), Some(10));
    group.throughput(bytes(USER.len()));
    group.bench_function("user", |bencher| {
        bencher.iter(|| press::parse(black_box(USER)));
    });
    let item = item(420);
    assert_eq!(parsed(&item).value().get_attr("score").expect("a score"), Value::from(420));
    group.throughput(bytes(item.len()));
    group.bench_function("item", |bencher| bencher.iter(|| press::parse(black_box(&item))));
}

/// `/users/42`: one fetch.
fn user_page(group: &mut Group<'_>, site: &Site) {
    let mut out = Vec::with_capacity(16 * 1024);
    render(site, "/users/42", [parsed(USER)], &mut out);
    check_page(&out, 10, "Letters &amp; numbers of user 42 by Ann &lt;42&gt;");
    group.throughput(bytes(out.len()));
    group.bench_function("render", |bencher| {
        let render = |user| render(site, black_box("/users/42"), [user], &mut out);
        bencher.iter_batched(|| parsed(USER), render, BatchSize::SmallInput);
    });
    group.bench_function("page", |bencher| {
        bencher.iter(|| render(site, black_box("/users/42"), [parsed(USER)], &mut out));
    });
}

/// `/lists/7`: a list, then its thirty items.
fn list_page(group: &mut Group<'_>, site: &Site) {
    let numbers: Vec<u64> = (700..730).collect();
    let list = format!(r#"{{"id":7,"title":"List 7 & its <things>","items":{numbers:?}}}"#);
    let items: Vec<Vec<u8>> = numbers.iter().map(|number| item(*number)).collect();
    let parse = || {
        let items = items.iter().map(|item| parsed(item));
        [parsed(list.as_bytes()), Data::List(items.collect())]
    };
    let mut out = Vec::with_capacity(16 * 1024);
    render(site, "/lists/7", parse(), &mut out);
    check_page(&out, 30, "List 7 &amp; its &lt;things&gt;");
    group.throughput(bytes(out.len()));
    group.bench_function("render", |bencher| {
        let render = |values| render(site, black_box("/lists/7"), values, &mut out);
        bencher.iter_batched(parse, render, BatchSize::SmallInput);
    });
    group.bench_function("page", |bencher| {
        bencher.iter(|| render(site, black_box("/lists/7"), parse(), &mut out));
    });
}

/// What a server does when the last fetch is there, and to know which page it is: the route, a
/// context with what the page's fetches got, in their order, and the template.
fn render<const FETCHES: usize>(
    site: &Site,
    path: &str,
    values: [Data; FETCHES],
    out: &mut Vec<u8>,
) {
    out.clear();
    let (page, params): (&Page, _) = site.route(path).expect("a page");
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let context = page.context(Inputs { params: params.collect(), ..Inputs::default() });
    for (node, value) in values.into_iter().enumerate() {
        context.set(node, value);
    }
    page.render(&context, out).expect("a page that can be rendered");
}

/// Fails unless this is a whole page, with so many items and with what is dangerous escaped.
fn check_page(page: &[u8], items: usize, title: &str) {
    let page = std::str::from_utf8(page).expect("UTF-8");
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{page}");
    assert_eq!(page.matches("<li ").count(), items, "{page}");
    assert_eq!(page.matches("tea &amp; &lt;i&gt;cake").count(), items, "{page}");
    assert!(page.contains(title) && !page.contains("<i>"), "{page}");
}

fn parsed(json: &[u8]) -> Data {
    press::parse(json).expect("JSON")
}

fn bytes(count: usize) -> Throughput {
    Throughput::Bytes(count as u64)
}

/// A body in chunks (RFC 9112 section 7.1).
fn chunked(body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut coded = Vec::new();
    for chunk in body.chunks(chunk_bytes) {
        coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

/// An item as the mock API gives it.
fn item(id: u64) -> Vec<u8> {
    let (score, starred) = (id % 997, id.is_multiple_of(3));
    let note = r#"A \"note\" that says 1 < 2 & 3 > 2, twice."#;
    let title = format!("Item {id}: tea & <i>cake</i>");
    format!(
        r#"{{"id":{id},"title":"{title}","note":"{note}","score":{score},"starred":{starred}}}"#
    )
    .into_bytes()
}

/// `/users/42` of the mock API.
const USER: &[u8] = include_bytes!("micro/user.json");

/// The head of the response that this is the body of.
const API: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 1470\r\n\r\n";

/// What a browser sends.
const BROWSER: &[u8] = b"GET /users/42 HTTP/1.1\r\n\
    Host: gazette.example\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://gazette.example/users\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,sv;q=0.8\r\n\
    Cookie: session=2f1c7a9be04d4c53; theme=dark\r\n\r\n";
