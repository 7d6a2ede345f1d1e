//! Who a visitor is behind proxies, and what ties its request to those it leads to.

use ringpress::driver::kind::Kind;

use super::stage::{Script, Stage};
use super::upstream::{Call, Then, Upstream};
use super::visitor::Visitor;

on_every_driver!(
    forwarded_by_a_trusted_proxy,
    forwarded_by_anybody,
    proxy_header_in_front,
    proxy_header_that_is_none,
    ids_and_traces,
    nothing_of_a_request_goes_on_unasked,
);

const WHO: &str = "{{ request.client }} {{ request.scheme }} {{ request.host }}";

fn who(kind: Kind, server: &'static str) -> Script {
    Script::on(kind).server(server).page("/who", "", WHO)
}

fn ask(fields: &str) -> String {
    format!("GET /who HTTP/1.1\r\nHost: own.example\r\n{fields}\r\n")
}

fn forwarded_by_a_trusted_proxy(kind: Kind) {
    let stage = who(kind, "trusted_proxies = ['127.0.0.0/8', '10.0.0.0/8']");
    let stage = stage.start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for (fields, wanted) in [
        ("", "127.0.0.1 http own.example"),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.7\r\n", "192.0.2.1 http own.example"),
        (
            "X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: shop.example\r\n",
            "2001:db8::1 https shop.example",
        ),
        ("X-Forwarded-Host: a b\r\n", "127.0.0.1 http own.example"),
        ("X-Forwarded-For: 192.0.2.1,,\r\n", "192.0.2.1 http own.example"),
        ("Forwarded: for=6.6.6.6\r\n", "127.0.0.1 http own.example"),
    ] {
        assert_eq!(visitor.ask(ask(fields)).page(), wanted, "{fields}");
    }
    // A proxy that was asked by HTTPS may hand the URL on.
    let url = "GET https://own.example/who HTTP/1.1\r\nHost: own.example\r\n";
    let reply = visitor.ask(format!("{url}X-Forwarded-Proto: https\r\n\r\n"));
    assert_eq!(reply.page(), "127.0.0.1 https own.example");
    visitor.ask(format!("{url}X-Forwarded-Proto: http\r\n\r\n")).is_error(421);
    drop(visitor);
    stage.finish();
    let stage = who(kind, "trusted_proxies = '127.0.0.1'\nforwarded = 'forwarded'");
    let stage = stage.start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let fields = "Forwarded: for=\"[2001:db8::1]\";proto=https;host=shop.example\r\n\
                  X-Forwarded-For: 6.6.6.6\r\n";
    assert_eq!(visitor.ask(ask(fields)).page(), "2001:db8::1 https shop.example");
    // Nothing that a visitor has sent along counts for anything, or against it.
    for visitors in ["x, ", "for=6.6.6.6;a=\"\\\"\", ", "\"\r\nForwarded: "] {
        let fields =
            format!("Forwarded: {visitors}for=192.0.2.1;proto=https;host=shop.example\r\n");
        assert_eq!(visitor.ask(ask(&fields)).page(), "192.0.2.1 https shop.example", "{fields}");
    }
    drop(visitor);
    stage.finish();
}

fn forwarded_by_anybody(kind: Kind) {
    let stage = who(kind, "trusted_proxies = ['10.0.0.0/8']").start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let fields = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(visitor.ask(ask(fields)).page(), "127.0.0.1 http own.example");
    drop(visitor);
    stage.finish();
}

fn behind_a_balancer(kind: Kind) -> Stage {
    let networks = vec!["127.0.0.0/8".parse().expect("a network")];
    who(kind, "").bounds(|bounds| bounds.proxy_protocol = networks).start(Upstream::json("{}"))
}

fn proxy_header_in_front(kind: Kind) {
    let stage = behind_a_balancer(kind);
    let v2 = |command: u8, family: u8, addresses: &[u8]| {
        let length = u16::try_from(addresses.len()).expect("short").to_be_bytes();
        let fixed = [0x20 | command, family, length[0], length[1]];
        [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &fixed, addresses].concat()
    };
    let v4 = [192, 0, 2, 9, 127, 0, 0, 1, 0x12, 0x34, 0, 80];
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.9 127.0.0.1 4660 80\r\n".to_vec(), "192.0.2.9"),
        (b"PROXY TCP6 2001:db8::9 ::1 4660 80\r\n".to_vec(), "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(1, 0x11, &v4), "192.0.2.9"),
        (v2(0, 0, b""), "127.0.0.1"),
    ] {
        let wanted = format!("{client} http own.example");
        let mut visitor = stage.visitor();
        visitor.send([header.as_slice(), ask("").as_bytes()].concat());
        assert_eq!(visitor.reply().page(), wanted);
        // It stands before the connection, not before each request.
        assert_eq!(visitor.ask(ask("")).page(), wanted);
        // Byte by byte it is the same.
        let mut visitor = stage.visitor();
        for byte in &header {
            visitor.send([*byte]);
        }
        assert_eq!(visitor.ask(ask("")).page(), wanted);
    }
    stage.finish();
}

fn proxy_header_that_is_none(kind: Kind) {
    let stage = behind_a_balancer(kind);
    for bytes in [ask("").as_str(), "PROXY TCP4 nonsense\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"] {
        let mut visitor = stage.visitor();
        visitor.send(bytes);
        assert!(visitor.at_end(), "{bytes:?} was answered");
    }
    assert_eq!(stage.count(|m| m.requests.get()), 0);
    assert_eq!(stage.count(|m| m.requests_malformed.get()), 3);
    stage.finish();
    // Where nobody asked for it, it is no request.
    let stage = who(kind, "").start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    visitor.send(format!("PROXY TCP4 192.0.2.9 127.0.0.1 4660 80\r\n{}", ask("")));
    visitor.reply().is_error(400);
    assert!(visitor.at_end());
    drop(visitor);
    stage.finish();
}

/// The API says which fields it was asked with.
fn mirror(call: &mut Call<'_>) -> Then {
    let names = ["x-request-id", "traceparent", "tracestate"];
    let lines = call.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    let shown: Vec<String> = lines
        .filter(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(_, value)| value.to_owned())
        .collect();
    call.json(format!("{{\"name\": \"{}\"}}", shown.join("|")))
}

fn mirrored(visitor: &mut Visitor, fields: &str) -> String {
    let request = format!("GET /users/1 HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
    visitor.ask(request).page().trim_start_matches("<p>").trim_end_matches("</p>").to_owned()
}

fn ids_and_traces(kind: Kind) {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let stage = Script::on(kind).user_page().start(Upstream::start(mirror));
    let mut visitor = stage.visitor();
    let own = mirrored(&mut visitor, "X-Request-Id: of-anybody\r\n");
    let is_own = |id: &str| {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        id.split_once('-').is_some_and(|(seed, number)| hex(seed) && hex(number))
    };
    assert!(is_own(&own), "{own}");
    assert_ne!(mirrored(&mut visitor, ""), own);
    let fields = format!("traceparent: {PARENT}\r\ntracestate: a=b\r\n");
    let all = mirrored(&mut visitor, &fields);
    assert!(all.ends_with(&format!("|{PARENT}|a=b")), "{all}");
    // Several fields are one list.
    let all = mirrored(&mut visitor, &format!("{fields}tracestate: c=d, e=f\r\n"));
    assert!(all.ends_with(&format!("|{PARENT}|a=b,c=d, e=f")), "{all}");
    // What is for this connection alone is not handed on.
    let all = mirrored(&mut visitor, &format!("{fields}Connection: tracestate\r\n"));
    assert!(all.ends_with(&format!("|{PARENT}")), "{all}");
    assert!(is_own(&mirrored(&mut visitor, &format!("{fields}Connection: x, Traceparent\r\n"))));
    // What is no trace is not handed on.
    assert!(is_own(&mirrored(&mut visitor, "traceparent: 00-0-0-0\r\ntracestate: a=b\r\n")));
    drop(visitor);
    stage.finish();
    let stage = Script::on(kind).server("trusted_proxies = '127.0.0.1'").user_page();
    let stage = stage.start(Upstream::start(mirror));
    let mut visitor = stage.visitor();
    assert_eq!(mirrored(&mut visitor, "X-Request-Id: of-the-proxy\r\n"), "of-the-proxy");
    assert!(is_own(&mirrored(&mut visitor, "X-Request-Id: with \"marks\"\r\n")));
    drop(visitor);
    stage.finish();
    let stage = Script::on(kind).server("request_id = false").user_page();
    let stage = stage.start(Upstream::start(mirror));
    assert_eq!(stage.get("/users/1").page(), "<p></p>");
    stage.finish();
}

/// Neither what is meant for this connection alone (RFC 9110 section 7.6.1), nor trailers, nor what
/// no fetch names.
fn nothing_of_a_request_goes_on_unasked(kind: Kind) {
    let upstream = Upstream::start(|call| {
        let fields = call.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let names: Vec<String> = fields.map(|(name, _)| name.to_ascii_lowercase()).collect();
        call.json(format!("{{\"name\": \"{}\"}}", names.join(" ")))
    });
    let stage = Script::on(kind).user_page().start(upstream);
    let mut visitor = stage.visitor();
    let names = "host user-agent x-request-id";
    assert_eq!(mirrored(&mut visitor, ""), names);
    let fields = "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
                  Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
                  TE: trailers\r\nUpgrade: h2c\r\nTrailer: traceparent\r\nCookie: a=1\r\n\
                  Authorization: Basic eA==\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\
                  traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    assert_eq!(mirrored(&mut visitor, fields), names);
    assert_eq!(mirrored(&mut visitor, ""), names);
    drop(visitor);
    stage.finish();
}
