//! HTTPS: the same pages as without it.

#[cfg(feature = "http2")]
use std::io::{Read, Write};
use std::net::Shutdown;
#[cfg(feature = "http2")]
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::kind::Kind;
use ringpress::site::RateLimit;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};

use super::stage::{Script, Stage, wait};
use super::trust::{Trust, session};
use super::upstream::{Gate, Upstream};
#[cfg(feature = "http2")]
use super::visitor::PATIENCE;
use super::visitor::{Visitor, get};

on_every_driver!(
    pages_are_those_without_tls,
    a_connection_is_used_again,
    an_https_url_may_be_asked_for,
    http_2_for_who_asks_for_it,
    both_versions_of_tls,
    sessions_are_resumed_by_any_worker,
    certificates_by_name,
    one_who_leaves_without_a_word,
    ends_are_announced,
    drain_finishes_what_is_in_flight,
    redirects_lead_to_our_names_only,
    browsers_are_told_to_come_back_by_https,
);

/// The protocol that was agreed on, and a page that was asked for in HTTP/2.
#[cfg(feature = "http2")]
fn page_in_http_2(stage: &Stage, client: &Arc<ClientConfig>) -> (Option<Vec<u8>>, Vec<u8>) {
    use super::frames::{SETTINGS, frame, request};
    let mut client = ClientConfig::clone(client);
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let session = session(&Arc::new(client), "localhost");
    let socket = TcpStream::connect(stage.secure_address()).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut stream = rustls::StreamOwned::new(session, socket);
    let settings = frame(SETTINGS, 0, 0, &[]);
    let asked = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &request(1, "/who", &[])];
    stream.write_all(&asked.concat()).expect("send");
    let (mut received, mut buffer) = (Vec::new(), [0; 1024]);
    let is_there = |received: &[u8]| received.windows(4).any(|four| four == b"test");
    while !is_there(&received) {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    (stream.conn.alpn_protocol().map(<[u8]>::to_vec), received)
}

#[cfg(feature = "http2")]
fn http_2_for_who_asks_for_it(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    let (protocol, received) = page_in_http_2(&stage, &trust.client());
    assert_eq!(protocol.as_deref(), Some(&b"h2"[..]));
    assert!(received.windows(10).any(|ten| ten == b"https test"), "{received:?}");
    drop(stage);
    let (stage, trust) = self::stage(kind, "http2 = false");
    let (protocol, _) = page_in_http_2(&stage, &trust.client());
    assert_eq!(protocol.as_deref(), Some(&b"http/1.1"[..]));
}

/// There is none in this build: nobody is offered it.
#[cfg(not(feature = "http2"))]
fn http_2_for_who_asks_for_it(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    let mut client = ClientConfig::clone(&trust.client());
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    assert_eq!(visitor(&stage, &Arc::new(client)).get("/plain").status, 200);
}

/// A stage with a certificate for `localhost`.
fn stage(kind: Kind, lines: &str) -> (Stage, Trust) {
    let trust = Trust::of(&["localhost"]);
    let script = Script::on(kind).server(trust.server(lines, &["first"]));
    let script = script.user_page().plain_page().page("/who", "", WHO).page("/large", "", LARGE);
    (script.start(Upstream::json(r#"{"name": "Ann"}"#)), trust)
}

fn visitor(stage: &Stage, client: &Arc<ClientConfig>) -> Visitor {
    Visitor::to(stage.secure_address()).speaking(session(client, "localhost"))
}

const WHO: &str = "{{ request.scheme }} {{ request.host }}";
const LARGE: &str = "{% for n in range(20000) %}{{ n }} {% endfor %}";

fn pages_are_those_without_tls(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    let (mut plain, mut secure) = (stage.visitor(), visitor(&stage, &trust.client()));
    for target in ["/users/1", "/plain", "/large", "/nowhere", "/plain?a=b"] {
        let (wanted, found) = (plain.get(target), secure.get(target));
        assert_eq!(found.status, wanted.status, "{target}");
        // An error page shows the id of its request.
        assert!(found.body == wanted.body || wanted.status != 200, "{target}");
        assert_eq!(found.field("Content-Type"), wanted.field("Content-Type"));
    }
    assert_eq!(plain.get("/who").page(), "http test");
    assert_eq!(secure.get("/who").page(), "https test");
    secure.send("HEAD /users/1 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(secure.reply_to_head().status, 200);
    secure.send("NONSENSE\r\n\r\n");
    secure.reply().is_error(400);
    assert!(secure.ends_rightly());
    drop((plain, secure));
    assert_eq!(stage.count(|m| m.tls_handshakes.get()), 1);
    stage.finish();
}

fn a_connection_is_used_again(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    let mut visitor = visitor(&stage, &trust.client());
    for _ in 0..20 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ann</p>");
    }
    // In one piece, and byte by byte: each its own record.
    visitor.send(get("/plain").repeat(10));
    for _ in 0..10 {
        assert_eq!(visitor.reply().page(), "<p>plain</p>");
    }
    for byte in get("/plain").bytes() {
        visitor.send([byte]);
    }
    assert_eq!(visitor.reply().page(), "<p>plain</p>");
    // A body of many records, which no page takes: it is told so, and the connection ends.
    let body = vec![b'x'; 200_000];
    let head = format!("POST /plain HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", body.len());
    visitor.send([head.as_bytes(), &body].concat());
    visitor.reply().is_error(405);
    assert!(visitor.ends_rightly());
    drop(visitor);
    stage.finish();
}

/// As RFC 9112 section 3.2.2 has it, which a server must accept.
fn an_https_url_may_be_asked_for(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    let mut secure = visitor(&stage, &trust.client());
    assert_eq!(secure.get("https://other/who").page(), "https other");
    assert_eq!(secure.get("HTTPS://other:8443/who?a=b").page(), "https other:8443");
    secure.get("https://other").is_error(404);
    assert_eq!(secure.get("http://other/who").page(), "https other");
    drop(secure);
    let reply = stage.get("https://other/who");
    reply.is_error(421);
    assert_eq!(reply.field("Connection"), Some("close"));
    stage.finish();
}

fn both_versions_of_tls(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    for version in [&TLS12, &TLS13] {
        let mut visitor = visitor(&stage, &trust.client_of(&[version]));
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
        assert_eq!(visitor.session().protocol_version(), Some(version.version));
        assert_eq!(visitor.get("/large").status, 200);
    }
    stage.finish();
}

fn sessions_are_resumed_by_any_worker(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let script = Script::on(kind).workers(2).server(trust.server("", &["first"])).plain_page();
    let stage = script.start(Upstream::json("{}"));
    for version in [&TLS12, &TLS13] {
        let client = trust.client_of(&[version]);
        // The kernel deals connections out: until both workers have had some.
        let before: Vec<u64> = counts(&stage);
        let mut resumed = 0;
        for turn in 0..1000 {
            let mut visitor = visitor(&stage, &client);
            assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
            let is_resumed = visitor.session().handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(is_resumed, turn > 0, "{turn}");
            resumed += u64::from(is_resumed);
            if turn > 4 && counts(&stage).iter().zip(&before).all(|(now, before)| now > before) {
                break;
            }
        }
        assert!(counts(&stage).iter().zip(&before).all(|(now, before)| now > before));
        wait("resumed sessions to be counted", || {
            stage.count(|m| m.tls_handshakes_resumed.get()) >= resumed
        });
    }
    stage.finish();
}

/// Handshakes of each worker.
fn counts(stage: &Stage) -> Vec<u64> {
    stage.server.metrics().map(|metrics| metrics.tls_handshakes.get()).collect()
}

fn certificates_by_name(kind: Kind) {
    let mut trust = Trust::of(&["first.example"]);
    let first = trust.path("first.pem");
    let exact = trust.certify("exact", &["a.site.example", "b.site.example"]);
    let wild = trust.certify("wild", &["*.site.example"]);
    let script = Script::on(kind).server(trust.server("", &["first", "wild", "exact"]));
    let stage = script.plain_page().start(Upstream::json("{}"));
    let client = trust.client();
    let shown = |name: &str| {
        let mut visitor = Visitor::to(stage.secure_address()).speaking(session(&client, name));
        let outcome = visitor.try_send(get("/plain")).and_then(|()| visitor.try_reply(false));
        let shown = visitor.session().peer_certificates().map(|chain| chain[0].clone());
        (outcome.is_ok(), shown)
    };
    assert_eq!(shown("a.site.example"), (true, Some(exact.clone())));
    assert_eq!(shown("b.site.example"), (true, Some(exact)));
    assert_eq!(shown("c.site.example"), (true, Some(wild)));
    assert!(shown("first.example").0 && first.exists());
    // Nobody else's name: it gets the first, which is not for it, and the client goes.
    assert!(!shown("d.c.site.example").0);
    assert!(!shown("site.example").0);
    // Who knows the first is served whatever host it then asks for.
    let mut visitor =
        Visitor::to(stage.secure_address()).speaking(session(&client, "first.example"));
    let request = "GET /plain HTTP/1.1\r\nHost: other.example\r\n\r\n";
    assert_eq!(visitor.ask(request).page(), "<p>plain</p>");
    drop(visitor);
    stage.finish();
}

fn one_who_leaves_without_a_word(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    let mut visitor = visitor(&stage, &trust.client());
    assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    // The end of the stream, and no close_notify before it.
    visitor.stream().shutdown(Shutdown::Write).expect("shutdown");
    assert!(visitor.at_end());
    drop(visitor);
    stage.finish();
}

fn ends_are_announced(kind: Kind) {
    let (stage, trust) = stage(kind, "");
    for version in [&TLS12, &TLS13] {
        let mut visitor = visitor(&stage, &trust.client_of(&[version]));
        let request = "GET /plain HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        assert_eq!(visitor.ask(request).page(), "<p>plain</p>");
        assert!(visitor.ends_rightly(), "the end was not announced");
    }
    stage.finish();
}

fn drain_finishes_what_is_in_flight(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let gate = Gate::default();
    let waits = gate.clone();
    let upstream = Upstream::start(move |call| {
        waits.pass();
        call.json(r#"{"name": "Ann"}"#)
    });
    let script = Script::on(kind).server(trust.server("", &["first"])).user_page().plain_page();
    let stage = script.start(upstream);
    let client = trust.client();
    let (mut idle, mut busy) = (visitor(&stage, &client), visitor(&stage, &client));
    assert_eq!(idle.get("/plain").page(), "<p>plain</p>");
    busy.send(get("/users/1"));
    stage.await_in_flight(1);
    stage.server.drain();
    wait("draining to begin", || Visitor::try_to(stage.secure_address()).is_err());
    gate.open();
    let reply = busy.reply();
    assert_eq!(reply.page(), "<p>Ann</p>");
    assert!(busy.ends_rightly(), "the end was not announced");
    assert!(idle.at_end());
    drop((idle, busy));
    wait("the server to end", || stage.server.is_finished());
}

fn redirects_lead_to_our_names_only(kind: Kind) {
    let mut trust = Trust::of(&["shop.example"]);
    trust.certify("wild", &["*.site.example"]);
    let lines = "listen = ['127.0.0.1:0']\nredirect_to_https = 8443\nhsts = '365d'\n\
                 trusted_proxies = '127.0.0.0/8'";
    let script = Script::on(kind).server(trust.server(lines, &["first", "wild"]));
    let stage = script.page("/who", "", WHO).start(Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let mut ask = |method: &str, target: &str, host: &str| {
        visitor.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let reply = if method == "HEAD" { visitor.reply_to_head() } else { visitor.reply() };
        let location = reply.field("Location").map(str::to_owned);
        assert_eq!(reply.field("Strict-Transport-Security"), None, "sent without TLS");
        (reply.status, location)
    };
    let to = |location: &str| (308, Some(location.to_owned()));
    assert_eq!(ask("GET", "/a?b=c%20d", "shop.example"), to("https://shop.example:8443/a?b=c%20d"));
    assert_eq!(ask("HEAD", "/", "SHOP.example:80"), to("https://shop.example:8443/"));
    assert_eq!(ask("POST", "/", "x.site.example"), to("https://x.site.example:8443/"));
    assert_eq!(
        ask("GET", "//evil.example/", "shop.example"),
        to("https://shop.example:8443//evil.example/")
    );
    assert_eq!(ask("GET", "http://shop.example/who", "x"), to("https://shop.example:8443/who"));
    for host in ["evil.example", "shop.example.evil.example", "site.example", "127.0.0.1"] {
        assert_eq!(ask("GET", "/", host), (421, None), "{host}");
    }
    // One who came to a proxy by HTTPS has done enough.
    let fields = "Host: shop.example\r\nX-Forwarded-Proto: https\r\n\r\n";
    let reply = visitor.ask(format!("GET /who HTTP/1.1\r\n{fields}"));
    assert_eq!(reply.page(), "https shop.example");
    let mut secure =
        Visitor::to(stage.secure_address()).speaking(session(&trust.client(), "shop.example"));
    let reply = secure.ask("GET /who HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(reply.page(), "https shop.example");
    drop((visitor, secure));
    stage.finish();
}

fn browsers_are_told_to_come_back_by_https(kind: Kind) {
    let lines = "hsts = { max_age = '365d', include_subdomains = true, preload = true }";
    let (stage, trust) = stage(kind, lines);
    let wanted = Some("max-age=31536000; includeSubDomains; preload");
    let mut visitor = visitor(&stage, &trust.client());
    for target in ["/plain", "/nowhere", "/users/1"] {
        assert_eq!(visitor.get(target).field("Strict-Transport-Security"), wanted, "{target}");
    }
    visitor.send("NONSENSE\r\n\r\n");
    assert_eq!(visitor.reply().field("Strict-Transport-Security"), wanted);
    assert_eq!(stage.get("/plain").field("Strict-Transport-Security"), None);
    drop(visitor);
    stage.finish();
    // Those who are turned away are told too.
    let trust = Trust::of(&["localhost"]);
    let script = Script::on(kind).server(trust.server(lines, &["first"])).plain_page();
    let script = script.bounds(|bounds| {
        let interval = Duration::from_secs(3600);
        let (prefix_v4, prefix_v6) = (32, 64);
        let limit = RateLimit { interval, burst: 1, prefix_v4, prefix_v6, clients_max: 10 };
        bounds.rate_limit = Some(limit);
    });
    let stage = script.start(Upstream::json("{}"));
    let mut visitor = self::visitor(&stage, &trust.client());
    assert_eq!(visitor.get("/plain").status, 200);
    let reply = visitor.get("/plain");
    assert_eq!((reply.status, reply.field("Strict-Transport-Security")), (429, wanted));
    assert_eq!(stage.get("/plain").field("Strict-Transport-Security"), None);
    drop(visitor);
    stage.finish();
}
