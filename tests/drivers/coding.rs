//! Pages packed for those who ask for it: which coding, said how, and for whom not.

use std::io::Read;

use ringpress::driver::kind::Kind;

use super::stage::{Script, Stage};
use super::upstream::Upstream;
use super::visitor::{Reply, Visitor};

on_every_driver!(
    each_gets_the_coding_it_likes_best,
    some_pages_go_out_as_they_are,
    nothing_is_packed_where_that_is_off,
    head_says_what_get_says,
    each_coding_has_a_tag_of_its_own,
    a_kept_page_is_kept_packed,
    what_fields_forbid_is_not_done,
    whoever_is_known_and_comes_from_elsewhere_gets_no_lengths_to_guess_by,
    error_pages_too,
);

const PATIENT: &str = "{% for n in range(300) %}<li>{{ n }} of {{ path.id }}</li>\n{% endfor %}";

pub(crate) fn list(id: &str) -> String {
    (0..300).map(|n| format!("<li>{n} of {id}</li>\n")).collect()
}

/// A page of some kilobytes, and a short one.
pub(crate) fn pages(script: Script) -> Script {
    script.page("/list/{id}", "", PATIENT).page("/short/{id}", "", "<p>{{ path.id }}</p>")
}

fn start(kind: Kind, server: &'static str) -> Stage {
    pages(Script::on(kind).server(server)).start(Upstream::json("{}"))
}

/// A request with these field lines, each with its CRLF.
fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

fn ask(visitor: &mut Visitor, target: &str, fields: &str) -> Reply {
    visitor.ask(request("GET", target, fields))
}

/// The bytes that were packed, by decoders that are not ours.
pub(crate) fn unpacked(coding: Option<&str>, body: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        Some("zstd") => text = String::from_utf8(zstd::decode_all(body).unwrap()).unwrap(),
        Some("br") => drop(brotli::Decompressor::new(body, 4096).read_to_string(&mut text)),
        Some("gzip") => drop(flate2::read::GzDecoder::new(body).read_to_string(&mut text)),
        None => text = String::from_utf8(body.to_vec()).unwrap(),
        Some(other) => panic!("{other}"),
    }
    text
}

#[track_caller]
fn assert_is(reply: &Reply, coding: Option<&str>, text: &str) {
    assert_eq!(reply.status, 200, "{}", reply.head);
    assert_eq!(reply.field("Content-Encoding"), coding, "{}", reply.head);
    assert_eq!(reply.field("Vary"), Some("Accept-Encoding"), "{}", reply.head);
    assert_eq!(unpacked(coding, &reply.body), text);
    assert!(coding.is_none() || reply.body.len() < text.len() / 2, "{}", reply.body.len());
}

fn each_gets_the_coding_it_likes_best(kind: Kind) {
    let stage = start(kind, "");
    let mut visitor = stage.visitor();
    for (fields, coding) in [
        ("", None),
        ("Accept-Encoding: gzip, deflate, br, zstd\r\n", Some("zstd")),
        ("Accept-Encoding: gzip, deflate, br\r\n", Some("gzip")),
        ("accept-encoding: br\r\n", Some("br")),
        ("Accept-Encoding: gzip;q=0.5, br;q=0.8, zstd;q=0.1\r\n", Some("br")),
        ("Accept-Encoding: zstd;q=0\r\nAccept-Encoding: gzip\r\n", Some("gzip")),
        ("Accept-Encoding: identity, gzip;q=0.5\r\n", None),
        ("Accept-Encoding: gzip;q=0\r\n", None),
        ("Accept-Encoding: lzma\r\n", None),
        ("Accept-Encoding: \r\n", None),
    ] {
        let target = format!("/list/{}", fields.len());
        let reply = ask(&mut visitor, &target, fields);
        assert_is(&reply, coding, &list(&fields.len().to_string()));
    }
    stage.await_responses(10);
    let count = |pick: fn(&ringpress::metrics::WorkerMetrics) -> u64| stage.count(pick);
    assert_eq!(count(|m| m.packed_zstd.get()), 1);
    assert_eq!((count(|m| m.packed_gzip.get()), count(|m| m.packed_brotli.get())), (2, 2));
    assert!(count(|m| m.packed_gzip_before.get()) > 2 * count(|m| m.packed_gzip_after.get()));
    drop(visitor);
    stage.finish();
    // The order is the site's.
    let stage = start(kind, "compress = ['br', 'gzip']");
    let mut visitor = stage.visitor();
    let reply = ask(&mut visitor, "/list/1", "Accept-Encoding: gzip, zstd, br\r\n");
    assert_is(&reply, Some("br"), &list("1"));
    drop(visitor);
    stage.finish();
}

fn some_pages_go_out_as_they_are(kind: Kind) {
    let stage = pages(Script::on(kind))
        .page("/own/{id}", "compress = false", PATIENT)
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let reply = ask(&mut visitor, "/short/1", "Accept-Encoding: gzip\r\n");
    // Another page of this pattern may be longer.
    assert_is(&reply, None, "<p>1</p>");
    let reply = ask(&mut visitor, "/own/1", "Accept-Encoding: gzip\r\n");
    assert_eq!(reply.page(), list("1"));
    assert_eq!((reply.field("Content-Encoding"), reply.field("Vary")), (None, None));
    drop(visitor);
    stage.finish();
    // And one that is too long to be packed in one go.
    let stage = Script::on(kind)
        .page("/", "", "{% for n in range(2000) %}{{ 'long' * 150 }}{% endfor %}")
        .start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let reply = ask(&mut visitor, "/", "Accept-Encoding: zstd\r\n");
    assert_eq!((reply.body.len(), reply.field("Content-Encoding")), (1_200_000, None));
    drop(visitor);
    stage.finish();
}

fn nothing_is_packed_where_that_is_off(kind: Kind) {
    let stage = start(kind, "compress = false\nmemo_max = '1MiB'");
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        let reply = ask(&mut visitor, "/list/1", "Accept-Encoding: gzip, zstd\r\n");
        assert_eq!(reply.page(), list("1"));
        assert_eq!((reply.field("Content-Encoding"), reply.field("Vary")), (None, None));
    }
    drop(visitor);
    stage.finish();
}

fn head_says_what_get_says(kind: Kind) {
    let stage = start(kind, "memo_max = '1MiB'");
    let mut visitor = stage.visitor();
    for coding in ["zstd", "br", "gzip", "identity"] {
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let reply = ask(&mut visitor, "/list/1", &fields);
        visitor.send(request("HEAD", "/list/1", &fields));
        let head = visitor.reply_to_head();
        for name in ["Content-Length", "Content-Encoding", "Content-Type", "Vary", "ETag"] {
            assert_eq!(head.field(name), reply.field(name), "{coding}: {name}");
        }
        assert!(head.field("ETag").is_some());
    }
    drop(visitor);
    stage.finish();
}

fn each_coding_has_a_tag_of_its_own(kind: Kind) {
    let stage = start(kind, "memo_max = '1MiB'");
    let mut visitor = stage.visitor();
    let codings = [("", None), ("zstd", Some("zstd")), ("br", Some("br")), ("gzip", Some("gzip"))];
    let accept = |coding: &str| format!("Accept-Encoding: {coding}\r\n");
    let tags = codings.map(|(name, coding)| {
        let reply = ask(&mut visitor, "/list/1", &accept(name));
        assert_is(&reply, coding, &list("1"));
        reply.field("ETag").unwrap().to_owned()
    });
    for (at, tag) in tags.iter().enumerate() {
        assert!(!tags[..at].contains(tag), "{tags:?}");
    }
    for (at, (name, coding)) in codings.into_iter().enumerate() {
        for (other, tag) in tags.iter().enumerate() {
            // Whoever has the page as it is may go on with that, whatever else it takes.
            let has_it = other == at || other == 0;
            let fields = format!("{}If-None-Match: \"x\", W/{tag}\r\n", accept(name));
            let reply = ask(&mut visitor, "/list/1", &fields);
            if has_it {
                assert_eq!((reply.status, reply.field("ETag")), (304, Some(&**tag)));
                assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
                assert_eq!(reply.field("Content-Encoding"), None);
            } else {
                assert_is(&reply, coding, &list("1"));
                assert_eq!(reply.field("ETag"), Some(&*tags[at]));
            }
            let fields = format!("{}If-Match: {tag}\r\n", accept(name));
            let reply = ask(&mut visitor, "/list/1", &fields);
            assert_eq!(reply.status, if has_it { 200 } else { 412 }, "{name} with {tag}");
        }
    }
    drop(visitor);
    stage.finish();
}

fn a_kept_page_is_kept_packed(kind: Kind) {
    let stage = start(kind, "memo_max = '1MiB'");
    let mut visitor = stage.visitor();
    for coding in ["zstd", "gzip", "zstd", "br", "gzip", "br", "identity"] {
        let reply = ask(&mut visitor, "/list/1", &format!("Accept-Encoding: {coding}\r\n"));
        assert_is(&reply, Some(coding).filter(|coding| *coding != "identity"), &list("1"));
    }
    stage.await_responses(7);
    assert_eq!(stage.count(|m| m.pages_remembered.get()), 5);
    assert_eq!(stage.count(|m| m.packed_zstd.get()), 2);
    assert_eq!(stage.count(|m| m.packed_zstd_before.get()), 2 * list("1").len() as u64);
    drop(visitor);
    stage.finish();
}

fn what_fields_forbid_is_not_done(kind: Kind) {
    let upstream = Upstream::start(|call| {
        let field = match call.id() {
            "1" => "Cache-Control: max-age=60, no-transform",
            _ => "Cache-Control: max-age=60",
        };
        call.send(format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 1\r\n\r\n1"));
        super::upstream::Then::Keep
    });
    let stage = Script::on(kind)
        .page(
            "/list/{id}",
            "[page.fetch]\nn = { from = 'api', path = '/n/{{ path.id }}', \
             pass = ['Cache-Control'] }",
            PATIENT,
        )
        .start(upstream);
    let mut visitor = stage.visitor();
    for (id, coding) in [("1", None), ("2", Some("gzip"))] {
        let reply = ask(&mut visitor, &format!("/list/{id}"), "Accept-Encoding: gzip\r\n");
        assert_is(&reply, coding, &list(id));
        assert!(reply.field("Cache-Control").is_some());
    }
    drop(visitor);
    stage.finish();
}

fn whoever_is_known_and_comes_from_elsewhere_gets_no_lengths_to_guess_by(kind: Kind) {
    let personal =
        "{{ cookies.a | default('-') }} {% for n in range(300) %}<li>{{ n }}</li>{% endfor %}";
    let stage = pages(Script::on(kind)).page("/me", "", personal).start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for (target, cookie, site, is_packed) in [
        ("/me", "Cookie: a=1\r\n", "cross-site", false),
        ("/me", "Cookie: a=1\r\n", "same-site", false),
        ("/me", "Authorization: Basic x\r\n", "cross-site", false),
        ("/me", "Cookie: a=1\r\n", "same-origin", true),
        ("/me", "Cookie: a=1\r\n", "none", true),
        ("/me", "", "cross-site", true),
        // Which is the same for everybody.
        ("/list/1", "Cookie: a=1\r\n", "cross-site", true),
    ] {
        let fields = format!("Accept-Encoding: zstd\r\n{cookie}Sec-Fetch-Site: {site}\r\n");
        let reply = ask(&mut visitor, target, &fields);
        let coding = reply.field("Content-Encoding");
        assert_eq!((reply.status, coding.is_some()), (200, is_packed), "{target} {fields}");
    }
    drop(visitor);
    stage.finish();
}

fn error_pages_too(kind: Kind) {
    let template = "<h1>{{ status }}</h1>{% for n in range(300) %}<li>{{ n }}</li>{% endfor %}";
    let stage =
        pages(Script::on(kind)).file("errors/404.html", template).start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let reply = ask(&mut visitor, "/nowhere", "Accept-Encoding: gzip\r\n");
    assert_eq!((reply.status, reply.field("Content-Encoding")), (404, Some("gzip")));
    assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
    assert!(unpacked(Some("gzip"), &reply.body).starts_with("<h1>404</h1>"));
    drop(visitor);
    stage.finish();
}
