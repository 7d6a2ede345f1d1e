//! Exchanges over TLS with an upstream: what becomes of bytes, connections and sessions.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::kind::Kind;
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};

use super::certificates::Authority;
use super::stage::{Script, Stage, wait};
use super::upstream::{Call, Then, Upstream, json};

on_every_driver!(
    connections_are_kept,
    sessions_are_resumed,
    bodies_of_every_size_in_records_of_every_size,
    a_body_that_is_cut_is_no_body,
    a_whole_body_needs_no_goodbye,
    new_keys_come_between_and_within_answers,
    an_upstream_that_says_goodbye_is_not_asked_on_that_connection,
    we_say_goodbye,
    a_handshake_that_stalls,
    one_address_with_a_bad_certificate,
    many_visitors_at_once,
);

const ADA: &str = r#"{"name": "Ada"}"#;

fn on(kind: Kind, authority: &Authority, policy: &str) -> Script {
    // A machine that is busy with other things is not what is tried.
    let patience = if policy.contains("connect_timeout") { "" } else { "connect_timeout = '5s'" };
    Script::on(kind)
        .server("development = true")
        .policy(format!("{policy}\n{patience}\ntls.ca = 'ca.pem'"))
        .url("https://api.example")
        .file("ca.pem", &authority.pem)
        .user_page()
}

/// A server for a site whose API is this one, over TLS.
fn stage(
    kind: Kind,
    policy: &str,
    change: impl FnOnce(&mut ServerConfig),
    script: impl Fn(&mut Call<'_>) -> Then + Send + Sync + 'static,
) -> Stage {
    let authority = Authority::new("Our CA");
    let mut config = authority.issue(&["api.example"]).server();
    change(&mut config);
    on(kind, &authority, policy).start(Upstream::secure(Arc::new(config), script))
}

fn connections_are_kept(kind: Kind) {
    let stage = stage(kind, "", |_| {}, |call| call.json(ADA));
    let mut visitor = stage.visitor();
    for _ in 0..20 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    }
    assert_eq!(stage.upstream().connections(), 1);
    assert_eq!(stage.count(|m| m.upstream_tls_handshakes.get()), 1);
    assert_eq!(stage.count(|m| m.upstream_reused.get()), 19);
    drop(visitor);
    stage.finish();
}

fn sessions_are_resumed(kind: Kind) {
    for version in [&TLS12, &TLS13] {
        let authority = Authority::new("Our CA");
        let config = authority.issue(&["api.example"]).server_of(&[version], None);
        let upstream = Upstream::secure(Arc::new(config), |call| call.json(ADA));
        let stage = on(kind, &authority, "max_idle = 0").start(upstream);
        let mut visitor = stage.visitor();
        for _ in 0..5 {
            assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
        }
        assert_eq!(stage.count(|m| m.upstream_tls_handshakes.get()), 5, "{version:?}");
        assert_eq!(stage.count(|m| m.upstream_tls_resumed.get()), 4, "{version:?}");
        drop(visitor);
        stage.finish();
    }
}

fn bodies_of_every_size_in_records_of_every_size(kind: Kind) {
    for fragment in [None, Some(64), Some(1400), Some(5000)] {
        let stage = stage(
            kind,
            "max_body = '16MiB'",
            |config| config.max_fragment_size = fragment,
            |call| {
                let body = format!(r#"{{"name": "{}"}}"#, filler(call.id().parse().unwrap()));
                call.json(body)
            },
        );
        let mut visitor = stage.visitor();
        let most = if fragment == Some(64) { 100_000 } else { 5_000_000 };
        let mut sizes =
            vec![0, 1, 100, 4000, 9000, 16_200, 16_384, 16_385, 65_536, 100_000, 1_000_000];
        sizes.push(5_000_000);
        for size in sizes.into_iter().filter(|size| *size <= most) {
            let reply = visitor.get(&format!("/users/{size}"));
            assert!(reply.page() == format!("<p>{}</p>", filler(size)), "{size} in {fragment:?}");
        }
        assert_eq!(stage.upstream().connections(), 1, "{fragment:?}");
        drop(visitor);
        stage.finish();
    }
}

/// Text of which no part is like another.
fn filler(size: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 16) as u8 % 26);
    (0..size).map(letter).collect()
}

fn a_body_that_is_cut_is_no_body(kind: Kind) {
    let stage = stage(
        kind,
        "",
        |_| {},
        |call| {
            let framing = match call.id() {
                "1" => "Connection: close",
                "2" => "Content-Length: 1000",
                _ => "Transfer-Encoding: chunked",
            };
            let body = if call.id() == "3" { "e\r\n{\"name\":\"Ada\"}" } else { ADA };
            call.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"));
            Then::Cut
        },
    );
    for id in ["1", "2", "3"] {
        let reply = stage.get(&format!("/users/{id}"));
        assert_eq!(reply.status, 502, "{id}: {}", reply.text());
        assert!(reply.text().contains("close_notify"), "{id}: {}", reply.text());
    }
    stage.finish();
}

fn a_whole_body_needs_no_goodbye(kind: Kind) {
    let stage = stage(
        kind,
        "",
        |_| {},
        |call| {
            match call.id() {
                "1" => call.send(json(ADA)),
                "2" => call.send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 f\r\n{\"name\": \"Ada\"}\r\n0\r\n\r\n",
                ),
                // The end of this one is the end of the connection, in order.
                _ => {
                    call.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{ADA}"));
                    return Then::Close;
                }
            }
            Then::Cut
        },
    );
    let mut visitor = stage.visitor();
    for id in ["1", "2", "3"] {
        assert_eq!(visitor.get(&format!("/users/{id}")).page(), "<p>Ada</p>", "{id}");
    }
    drop(visitor);
    stage.finish();
}

fn new_keys_come_between_and_within_answers(kind: Kind) {
    let stage = stage(
        kind,
        "",
        |_| {},
        |call| {
            let answer = json(ADA);
            let (first, second) = answer.split_at(call.turn * 7 % answer.len());
            call.send(first);
            call.tls().refresh_traffic_keys().expect("new keys");
            call.send(second);
            // And once more, on a connection that is idle by then.
            std::thread::sleep(Duration::from_millis(10));
            call.tls().refresh_traffic_keys().expect("new keys");
            call.flush();
            Then::Keep
        },
    );
    let mut visitor = stage.visitor();
    for turn in 0..20 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>", "{turn}");
        // Long enough for the keys to have come, so that the connection is used all the same.
        std::thread::sleep(Duration::from_millis(30));
    }
    // Few: those whose new keys came just when they were looked at.
    assert!(stage.upstream().connections() <= 10, "{}", stage.upstream().connections());
    drop(visitor);
    stage.finish();
}

fn an_upstream_that_says_goodbye_is_not_asked_on_that_connection(kind: Kind) {
    let stage = stage(
        kind,
        "",
        |_| {},
        |call| {
            call.send(json(ADA));
            Then::Close
        },
    );
    let mut visitor = stage.visitor();
    for turn in 1..=5 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
        wait("the end", || stage.count(|m| m.upstream_connections.get()) == 0);
        assert_eq!(stage.upstream().connections(), turn);
    }
    drop(visitor);
    stage.finish();
}

fn we_say_goodbye(kind: Kind) {
    let answers = |call: &mut Call<'_>| match call.id() {
        "last" => {
            let length = ADA.len();
            call.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{ADA}"
            ));
            Then::Keep
        }
        _ => call.json(ADA),
    };
    // Not kept, idle for too long, and no longer wanted after a `close`.
    for (policy, target) in
        [("max_idle = 0", "/users/1"), ("idle_timeout = '50ms'", "/users/1"), ("", "/users/last")]
    {
        let stage = stage(kind, policy, |_| {}, answers);
        assert_eq!(stage.get(target).page(), "<p>Ada</p>");
        wait("a goodbye", || stage.upstream().goodbyes() == 1);
        wait("the end", || stage.count(|m| m.upstream_connections.get()) == 0);
        stage.finish();
    }
}

fn a_handshake_that_stalls(kind: Kind) {
    let authority = Authority::new("Our CA");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Takes all, and answers nothing.
            std::thread::spawn(move || while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
        }
    });
    let stage = on(kind, &authority, "connect_timeout = '100ms'").start_before(address);
    let reply = stage.get("/users/1");
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(reply.text().contains("no time left while agreeing on TLS"), "{}", reply.text());
    assert_eq!(stage.count(|m| m.upstream_tls_failures.get()), 1);
    stage.finish();
}

fn one_address_with_a_bad_certificate(kind: Kind) {
    let (ours, others) = (Authority::new("Our CA"), Authority::new("Another CA"));
    let upstream = |authority: &Authority| {
        let config = authority.issue(&["api.example"]).server();
        Upstream::secure(Arc::new(config), |call| call.json(ADA))
    };
    let (good, bad) = (upstream(&ours), upstream(&others));
    let policy = "max_idle = 0\neject = { failures = 2 }";
    let stage = on(kind, &ours, policy).start_at(&[bad.address(), good.address()]);
    let mut visitor = stage.visitor();
    for _ in 0..20 {
        assert_eq!(visitor.get("/users/1").page(), "<p>Ada</p>");
    }
    assert!(bad.calls().is_empty(), "nothing is told to whom we do not trust");
    assert_eq!(stage.count(|m| m.upstream_ejections.get()), 1);
    assert_eq!(stage.count(|m| m.upstream_tls_failures.get()), 2);
    drop(visitor);
    stage.finish();
}

fn many_visitors_at_once(kind: Kind) {
    let stage = stage(
        kind,
        "max_connections = 4",
        |_| {},
        |call| {
            let id = call.id().to_owned();
            call.json(format!(r#"{{"name": "{id}"}}"#))
        },
    );
    std::thread::scope(|scope| {
        for visitor in 0..8 {
            let stage = &stage;
            scope.spawn(move || {
                let mut connection = stage.visitor();
                for turn in 0..25 {
                    let id = visitor * 100 + turn;
                    let page = connection.get(&format!("/users/{id}"));
                    assert_eq!(page.page(), format!("<p>{id}</p>"));
                }
            });
        }
    });
    assert!(stage.upstream().connections() <= 8, "{}", stage.upstream().connections());
    stage.finish();
}
