//! Servers of every kind of TLS, good and bad, and what a visitor and a developer get for each: a
//! table.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use ringpress::driver::kind::Kind;
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};

use super::certificates::{Authority, Issued};
use super::stage::Script;
use super::upstream::{Upstream, linger};

on_every_driver!(every_kind_of_server);

/// What the upstream is.
enum Server {
    Tls(Arc<ServerConfig>),
    /// Whatever this does with a connection.
    Raw(fn(TcpStream)),
}

struct Case {
    name: &'static str,
    server: Server,
    /// Lines of `[upstreams.api.tls]`; `ca` is one of them where there is nothing else.
    tls: &'static str,
    url: &'static str,
    status: u16,
    /// What a developer is told.
    words: &'static [&'static str],
}

/// Who issues what in all cases.
struct World {
    ours: Authority,
    intermediate: Authority,
    others: Authority,
    client: Issued,
}

fn every_kind_of_server(kind: Kind) {
    let ours = Authority::new("Our CA");
    let world = World {
        intermediate: ours.intermediate("Our Intermediate CA"),
        others: Authority::new("Another CA"),
        client: ours.issue(&["a client"]),
        ours,
    };
    let cases = good(&world).into_iter().chain(bad(&world)).chain(clients(&world)).chain(raw());
    for case in cases {
        run(kind, &world, case);
    }
}

fn run(kind: Kind, world: &World, case: Case) {
    let tls = if case.tls.is_empty() { "ca = 'ca.pem'" } else { case.tls };
    let script = Script::on(kind)
        .server("development = true")
        .policy(format!("deadline = '20s'\nconnect_timeout = '10s'\n[upstreams.api.tls]\n{tls}"))
        .url(case.url)
        .file("ca.pem", &world.ours.pem)
        .file("others.pem", &world.others.pem)
        .file("client.pem", &world.client.chain)
        .file("client.key", &world.client.key)
        .user_page();
    let stage = match case.server {
        Server::Tls(config) => {
            let page = |call: &mut super::upstream::Call<'_>| call.json(r#"{"name": "Ada"}"#);
            script.start(Upstream::secure(config, page))
        }
        Server::Raw(serve) => script.start_before(raw_server(serve)),
    };
    let reply = stage.get("/users/1");
    let text = reply.text().replace("&#x27;", "'").replace("&#x2f;", "/");
    assert_eq!(reply.status, case.status, "{}: {text}", case.name);
    for words in case.words {
        assert!(text.contains(words), "{}: {words:?} in {text}", case.name);
    }
    let failures = u64::from(case.status != 200);
    if case.words.first().is_some_and(|words| words.starts_with("no secure connection")) {
        assert_eq!(stage.count(|m| m.upstream_tls_failures.get()), failures, "{}", case.name);
        assert_eq!(stage.count(|m| m.upstream_tls_handshakes.get()), 1 - failures, "{}", case.name);
    }
    assert_eq!(stage.count(|m| m.upstream_errors.get()), failures, "{}", case.name);
    stage.finish();
}

const HOST: &str = "https://api.example";
const UNSECURED: &str = "no secure connection with api.example at 127.0.0.1:";

fn fine(name: &'static str, server: ServerConfig, tls: &'static str) -> Case {
    let words = &["<p>Ada</p>"];
    Case { name, server: Server::Tls(server.into()), tls, url: HOST, status: 200, words }
}

fn good(world: &World) -> Vec<Case> {
    let ours = world.ours.issue(&["api.example"]);
    let by_address = world.ours.issue(&["127.0.0.1"]);
    let chained = world.intermediate.issue(&["api.example"]).with(&world.intermediate);
    let other = world.ours.issue(&["other.example"]);
    vec![
        fine("a certificate of our authority", ours.server(), ""),
        fine("TLS 1.2 and nothing else", ours.server_of(&[&TLS12], None), ""),
        fine("TLS 1.3 and nothing else", ours.server_of(&[&TLS13], None), ""),
        fine("one of two authorities", ours.server(), "ca = ['others.pem', 'ca.pem']"),
        fine("an intermediate authority", chained.server(), ""),
        Case {
            url: "https://a.my.example",
            ..fine("all names of a domain", world.ours.issue(&["*.my.example"]).server(), "")
        },
        fine("another name", other.server(), "ca = 'ca.pem'\nname = 'other.example'"),
        Case { url: "https://127.0.0.1", ..fine("an IP address", by_address.server(), "") },
        fine(
            "anybody, where that is said",
            Issued::by_itself(&["nobody.example"]).server(),
            "dangerous_accept_any_certificate = true",
        ),
    ]
}

fn refused(name: &'static str, server: ServerConfig, words: &'static [&'static str]) -> Case {
    Case { name, server: Server::Tls(server.into()), tls: "", url: HOST, status: 502, words }
}

fn bad(world: &World) -> Vec<Case> {
    let names = &["api.example"];
    let issue =
        |change: fn(&mut rcgen::CertificateParams)| world.ours.issue_as(names, change).server();
    let wrong = world.ours.issue(&["other.example", "*.more.example", "10.0.0.1"]).server();
    vec![
        refused(
            "a wrong name",
            wrong,
            &[UNSECURED, "is not for api.example but for other.example, *.more.example, 10.0.0.1"],
        ),
        refused("no name", world.ours.issue(&[]).server(), &[UNSECURED, "for no name at all"]),
        refused(
            "expired",
            issue(|params| params.not_after = date_time_ymd(2020, 2, 3)),
            &[UNSECURED, "certificate expired on Mon, 03 Feb 2020 00:00:00 GMT (it is "],
        ),
        refused(
            "not yet valid",
            issue(|params| params.not_before = date_time_ymd(2999, 1, 2)),
            &[UNSECURED, "is not valid before Wed, 02 Jan 2999 00:00:00 GMT (it is "],
        ),
        refused(
            "an authority that nobody knows",
            world.others.issue(names).server(),
            &[UNSECURED, "is issued by `Another CA`, whom we do not trust", "`ca` in `tls`"],
        ),
        refused(
            "a certificate that is missing in the chain",
            world.intermediate.issue(names).server(),
            &[UNSECURED, "issued by `Our Intermediate CA`", "no certificate of an intermediate"],
        ),
        refused(
            "signed by itself",
            Issued::by_itself(names).server(),
            &[UNSECURED, "is signed by itself and by nobody whom we trust"],
        ),
        refused(
            "that of an authority",
            issue(|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            &[UNSECURED, "is that of an authority, not of a server"],
        ),
        refused(
            "one for clients",
            issue(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            &[UNSECURED, "is not one for servers"],
        ),
    ]
}

fn clients(world: &World) -> Vec<Case> {
    let ours = world.ours.issue(&["api.example"]);
    let shown = "ca = 'ca.pem'\ncertificate = 'client.pem'\nkey = 'client.key'";
    let wants = |version, who| ours.server_of(&[version], Some(who));
    let others = |version| {
        let words = &["it does not know who issued our certificate"];
        Case {
            tls: shown,
            ..refused("a client it does not know", wants(version, &world.others), words)
        }
    };
    let missing = &["it wants a client certificate"];
    vec![
        fine("a client with its certificate, 1.2", wants(&TLS12, &world.ours), shown),
        fine("a client with its certificate, 1.3", wants(&TLS13, &world.ours), shown),
        fine("a certificate that nobody asks for", ours.server(), shown),
        refused("no certificate of ours, 1.3", wants(&TLS13, &world.ours), missing),
        // TLS 1.2 has no alert that says so.
        refused("no certificate of ours, 1.2", wants(&TLS12, &world.ours), &[UNSECURED]),
        others(&TLS12),
        others(&TLS13),
    ]
}

fn raw() -> Vec<Case> {
    let case = |name, serve, words| Case {
        name,
        server: Server::Raw(serve),
        tls: "",
        url: HOST,
        status: 502,
        words,
    };
    vec![
        case(
            "plain HTTP",
            |stream| answer(stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            &[UNSECURED, "the peer speaks plain HTTP where TLS is expected"],
        ),
        case(
            "something else",
            |stream| answer(stream, b"SSH-2.0-OpenSSH_9.9\r\n"),
            &[UNSECURED, "what the peer speaks is not TLS"],
        ),
        case(
            "an old version of TLS",
            |stream| answer(stream, &[21, 3, 1, 0, 2, 2, 70]),
            &[UNSECURED, "there is no TLS version that both sides know"],
        ),
        case(
            "a name it has no site for",
            |stream| answer(stream, &[21, 3, 3, 0, 2, 2, 112]),
            &[UNSECURED, "it has no site of this name"],
        ),
        case(
            "a close instead of an answer",
            |stream| answer(stream, b""),
            &[UNSECURED, "the peer closed the connection in the TLS handshake"],
        ),
        case(
            "a close in the middle of an answer",
            |stream| answer(stream, &[22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]),
            &[UNSECURED, "the peer closed the connection in the TLS handshake"],
        ),
        case(
            "a reset",
            |mut stream| {
                let _ = stream.read(&mut [0; 4096]);
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            },
            &[UNSECURED, "the connection broke in the TLS handshake"],
        ),
        case("more than any handshake takes", flood, &[UNSECURED, "the TLS handshake"]),
    ]
}

/// Reads what comes first, answers with these bytes, and closes.
fn answer(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(bytes);
    linger(&stream);
}

/// Begins a certificate that never ends.
fn flood(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
    let mut record = vec![22, 3, 3, 0x40, 0, 11, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 0);
    while stream.write_all(&record).is_ok() {
        record[5..9].fill(0);
    }
}

fn raw_server(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    address
}
