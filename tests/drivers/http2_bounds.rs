//! HTTP/2, and those who do not play fair: each meets a bound, and the server serves others.

use std::io::Read;
use std::thread;
use std::time::Duration;

use ringpress::driver::kind::Kind;
use ringpress::limits::{HTTP2_RESETS_MAX, HTTP2_STREAMS_MAX};

use super::browser::{Browser, browse, get, page};
use super::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY,
    HEADERS, NO_ERROR, PING, PROTOCOL_ERROR, RST_STREAM, SETTINGS, block, frame, request, reset,
};
use super::http2::script;
use super::stage::{Stage, wait};
use super::upstream::{Gate, Upstream};
use super::visitor::is_timeout;

on_every_driver!(
    in_flight_max,
    a_window_that_is_never_opened,
    a_reader_that_never_reads,
    resets_before_anybody_looked,
    resets_of_pages_that_are_being_made,
    a_flood_of_continuations,
    a_head_that_does_not_end,
    a_header_list_that_is_too_large,
    more_streams_than_allowed,
    what_is_malformed,
    frames_in_pieces,
    a_preface_that_does_not_come,
    an_idle_connection_is_told,
    a_flood_of_pings_that_nobody_reads,
);

const INITIAL_WINDOW_SIZE: u16 = 4;

fn assert_serves(stage: &Stage) {
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        assert_eq!(browser.get("/plain").await.text(), "<p>plain</p>");
        browser.close().await.expect("an orderly end");
    });
}

fn plain(kind: Kind) -> Stage {
    script(kind).plain_page().start(Upstream::json("{}"))
}

fn in_flight_max(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::json_behind(&gate, r#"{"name": "Ada"}"#);
    let stage = script(kind).bounds(|bounds| bounds.in_flight_max = 3).user_page().start(upstream);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let mut served = Vec::new();
        for id in 0..3 {
            served.push(browser.ask(get(&format!("/users/{id}"))).await);
        }
        while stage.count(|m| m.in_flight.get()) < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let shed = browser.get("/users/4").await;
        assert_eq!((shed.status, shed.text().contains("busy")), (503, true));
        assert!(shed.field("date").is_some());
        let seconds: u8 = shed.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds));
        gate.open();
        for response in served {
            assert_eq!(page(response).await.unwrap().text(), "<p>Ada</p>");
        }
        assert_eq!(browser.get("/users/5").await.text(), "<p>Ada</p>");
        browser.close().await.expect("an orderly end");
    });
    assert_eq!(stage.count(|m| m.requests_shed_in_flight.get()), 1);
    stage.finish();
}

fn a_window_that_is_never_opened(kind: Kind) {
    let stage = script(kind)
        .bounds(|bounds| bounds.write_timeout = Duration::from_millis(100))
        .plain_page()
        .start(Upstream::json("{}"));
    let mut frames = Frames::with_settings(stage.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    for id in [1, 3, 5] {
        frames.send(&request(id, "/plain", &[]));
    }
    // They are late in any order.
    let mut reset: Vec<u32> = Vec::new();
    while reset.len() < 3 {
        let frame = frames.next().expect("more frames");
        if frame.kind == RST_STREAM {
            assert_eq!(frame.payload, CANCEL.to_be_bytes());
            reset.push(frame.id);
        }
    }
    reset.sort_unstable();
    assert_eq!(reset, [1, 3, 5]);
    wait("the pages to be let go of", || stage.count(|m| m.in_flight.get()) == 0);
    assert_eq!(stage.count(|m| m.requests_aborted.get()), 3);
    // The connection is as good as before.
    frames.send(&request(7, "/plain", &[]));
    frames.send(&frame(8, 0, 7, &1000_u32.to_be_bytes()));
    assert_eq!(frames.find(DATA, 7).payload, b"<p>plain</p>");
    drop(frames);
    stage.finish();
}

fn a_reader_that_never_reads(kind: Kind) {
    let stage = script(kind)
        .bounds(|bounds| {
            bounds.write_timeout = Duration::from_millis(200);
            bounds.rate_min = 0;
        })
        .plain_page()
        .page("/large", "", "{% for n in range(20000) %}{{ n }} {% endfor %}")
        .start(Upstream::json("{}"));
    let windows = [(INITIAL_WINDOW_SIZE, 0x7fff_ffff)];
    let mut frames = Frames::with_settings(stage.address(), &windows);
    frames.hold_little();
    frames.send(&frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    for id in 0..100 {
        frames.send(&request(2 * id + 1, "/large", &[]));
    }
    wait("requests", || stage.count(|m| m.requests.get()) > 0);
    wait("the connection to be given up", || stage.count(|m| m.connections.get()) == 0);
    assert!(stage.count(|m| m.requests_aborted.get()) > 0);
    assert_serves(&stage);
    drop(frames);
    stage.finish();
}

fn resets_before_anybody_looked(kind: Kind) {
    let stage = plain(kind);
    let mut frames = Frames::to(stage.address());
    let flood: Vec<u8> = (0..2000)
        .flat_map(|n| [request(2 * n + 1, "/plain", &[]), reset(2 * n + 1)].concat())
        .collect();
    frames.send(&flood);
    assert_eq!(frames.farewell(), ENHANCE_YOUR_CALM);
    drop(frames);
    assert_serves(&stage);
    stage.finish();
}

fn resets_of_pages_that_are_being_made(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::json_behind(&gate, "{}");
    let stage = script(kind).user_page().plain_page().start(upstream);
    let mut frames = Frames::to(stage.address());
    // Each is looked at before it is given up: that the next frame is answered shows it.
    for n in 0..HTTP2_RESETS_MAX {
        let id = 2 * n + 1;
        frames.send(&request(id, "/users/1", &[]));
        frames.send(&frame(PING, 0, 0, &[0; 8]));
        if n + 1 < HTTP2_RESETS_MAX {
            frames.find(PING, 0);
        }
        frames.send(&reset(id));
    }
    assert_eq!(frames.farewell(), ENHANCE_YOUR_CALM);
    wait("the pages to be given up", || stage.count(|m| m.in_flight.get()) == 0);
    drop(frames);
    assert_serves(&stage);
    gate.open();
    stage.finish();
}

fn a_flood_of_continuations(kind: Kind) {
    let stage = plain(kind);
    let mut frames = Frames::to(stage.address());
    frames.send(&frame(HEADERS, END_STREAM, 1, &block("GET", "/plain", &[])));
    // One field in each, and no end.
    let more = [&[0, 1, b'x', 1][..], b"y"].concat();
    for _ in 0..5000 {
        frames.send(&frame(CONTINUATION, 0, 1, &more));
    }
    assert_eq!(frames.farewell(), ENHANCE_YOUR_CALM);
    drop(frames);
    // And without a byte in it.
    let mut frames = Frames::to(stage.address());
    frames.send(&frame(HEADERS, END_STREAM, 1, &block("GET", "/plain", &[])));
    for _ in 0..5000 {
        frames.send(&frame(CONTINUATION, 0, 1, &[]));
    }
    assert_eq!(frames.farewell(), ENHANCE_YOUR_CALM);
    drop(frames);
    assert_serves(&stage);
    stage.finish();
}

fn a_head_that_does_not_end(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::json_behind(&gate, "{}");
    let script = script(kind).bounds(|bounds| bounds.head_timeout = Duration::from_millis(300));
    let stage = script.user_page().plain_page().start(upstream);
    let fields = block("GET", "/plain", &[]);
    let (first, rest) = fields.split_at(5);
    let begun = frame(HEADERS, END_STREAM, 3, first);
    for part in [&begun[..], &begun[..begun.len() - 1], &begun[..1]] {
        let mut frames = Frames::to(stage.address());
        // One that is under way is no excuse.
        frames.send(&request(1, "/users/1", &[]));
        frames.send(part);
        assert_eq!(frames.farewell(), ENHANCE_YOUR_CALM);
    }
    // One head after the other, each in time; and no head at all.
    let mut frames = Frames::to(stage.address());
    for id in [1, 3, 5, 7] {
        thread::sleep(Duration::from_millis(100));
        frames.send(&frame(HEADERS, END_STREAM, id, first));
        thread::sleep(Duration::from_millis(50));
        frames.send(&frame(CONTINUATION, END_HEADERS, id, rest));
        assert_eq!(frames.find(DATA, id).payload, b"<p>plain</p>");
    }
    thread::sleep(Duration::from_millis(500));
    frames.send(&request(9, "/plain", &[]));
    assert_eq!(frames.find(DATA, 9).payload, b"<p>plain</p>");
    drop(frames);
    gate.open();
    stage.finish();
}

fn a_header_list_that_is_too_large(kind: Kind) {
    let stage = plain(kind);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        // A little too large, much too large, and too many.
        for (fields, bytes) in [(1, 17_000), (30, 600), (101, 1)] {
            let mut request = get("/plain");
            for n in 0..fields {
                let name: http::HeaderName = format!("x-{n}").parse().unwrap();
                request.headers_mut().insert(name, "y".repeat(bytes).parse().unwrap());
            }
            let page = page(browser.ask(request).await).await.unwrap();
            assert_eq!(page.status, 431, "{fields} fields of {bytes} bytes");
            assert!(page.text().contains("431"));
        }
        assert_eq!(browser.get("/plain").await.status, 200);
        browser.close().await.expect("an orderly end");
    });
    // So large that it is no mistake: many bytes of few, as they are all the same.
    let mut frames = Frames::to(stage.address());
    let long = "y".repeat(4000);
    let mut fields = block("GET", "/plain", &[]);
    fields.extend_from_slice(&[0x40, 1, b'x', 127, 0xa1, 0x1e]);
    fields.extend_from_slice(long.as_bytes());
    fields.extend_from_slice(&[0x80 | 62; 8000]);
    frames.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields));
    let frame = loop {
        let frame = frames.next().expect("an answer or the end");
        if [HEADERS, RST_STREAM, GOAWAY].contains(&frame.kind) {
            break frame;
        }
    };
    assert_eq!(frame.kind, GOAWAY, "{frame:?}");
    drop(frames);
    assert_serves(&stage);
    stage.finish();
}

fn more_streams_than_allowed(kind: Kind) {
    let gate = Gate::default();
    let upstream = Upstream::json_behind(&gate, "{}");
    let stage = script(kind).user_page().start(upstream);
    let mut frames = Frames::to(stage.address());
    for n in 0..=HTTP2_STREAMS_MAX {
        frames.send(&request(2 * n + 1, "/users/1", &[]));
    }
    const REFUSED_STREAM: u32 = 7;
    assert_eq!(frames.reset_of(2 * HTTP2_STREAMS_MAX + 1), REFUSED_STREAM);
    assert_eq!(stage.count(|m| m.requests.get()), u64::from(HTTP2_STREAMS_MAX));
    drop(frames);
    gate.open();
    stage.finish();
}

fn what_is_malformed(kind: Kind) {
    let stage = plain(kind);
    let mut frames = Frames::to(stage.address());
    // What is no request in HTTP/2 is reset; what is none in HTTP/1.1 either is answered 400.
    for (id, more) in (1..).step_by(2).zip([
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("host", "other"),
        ("x-blank", " before"),
        ("x-blank", "behind\t"),
        ("content-length", "5"),
        (":path", "/again"),
        (":status", "200"),
        (":unknown", "x"),
    ]) {
        frames.send(&request(id, "/plain", &[more]));
        if more.0 == ":unknown" {
            break;
        }
        assert_eq!(frames.reset_of(id), PROTOCOL_ERROR, "{more:?}");
    }
    drop(frames);
    let mut frames = Frames::to(stage.address());
    frames.send(&request(1, "/plain", &[("te", "trailers"), ("host", "TEST")]));
    assert_eq!(frames.find(DATA, 1).payload, b"<p>plain</p>");
    frames.send(&frame(SETTINGS, 0, 0, &[1, 2, 3]));
    frames.farewell();
    drop(frames);
    assert_serves(&stage);
    stage.finish();
}

fn frames_in_pieces(kind: Kind) {
    let stage = plain(kind);
    let mut frames = Frames::to(stage.address());
    for byte in request(1, "/plain", &[]) {
        frames.send(&[byte]);
        thread::yield_now();
    }
    assert_eq!(frames.find(DATA, 1).payload, b"<p>plain</p>");
    drop(frames);
    stage.finish();
}

fn a_preface_that_does_not_come(kind: Kind) {
    let stage = script(kind)
        .bounds(|bounds| bounds.head_timeout = Duration::from_millis(100))
        .plain_page()
        .start(Upstream::json("{}"));
    for part in ["PRI * HTTP/2.0\r\n\r\nSM", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut visitor = stage.visitor();
        visitor.send(part);
        // Our settings, or an error of HTTP/1.1, and then the end.
        let ended = visitor.stream().read_to_end(&mut Vec::new());
        assert!(!ended.is_err_and(|error| is_timeout(&error)), "nobody ended it");
    }
    assert_serves(&stage);
    stage.finish();
}

fn an_idle_connection_is_told(kind: Kind) {
    let stage = script(kind)
        .bounds(|bounds| bounds.idle_timeout = Duration::from_millis(100))
        .plain_page()
        .start(Upstream::json("{}"));
    let mut frames = Frames::to(stage.address());
    frames.send(&request(1, "/plain", &[]));
    assert_eq!(frames.find(DATA, 1).payload, b"<p>plain</p>");
    assert_eq!(frames.farewell(), NO_ERROR);
    drop(frames);
    stage.finish();
}

fn a_flood_of_pings_that_nobody_reads(kind: Kind) {
    let stage = script(kind)
        .bounds(|bounds| {
            bounds.write_timeout = Duration::from_millis(200);
            bounds.rate_min = 0;
        })
        .plain_page()
        .start(Upstream::json("{}"));
    let mut frames = Frames::to(stage.address());
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(4000);
    while stage.count(|m| m.connections.get()) > 0 || stage.count(|m| m.accepted.get()) == 0 {
        frames.send(&pings);
    }
    assert_serves(&stage);
    drop(frames);
    stage.finish();
}
