//! Pages whose upstream is asked over TLS are those that it would have without, however the bytes
//! are cut on the way.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::{Faults, Sim};
use ringpress::site::Source;
use ringpress::worker::Bounds;
use rustls::ServerConfig;

use super::certificates::Authority;
use super::client::{Client, get};
use super::server::{SERVER, Server};
use super::upstream::{self, Asked, Step, at};

#[test]
fn pages_over_tls_are_those_without() {
    let (source, config, _folder) = site();
    let mut resumed = 0;
    for seed in 0..SEEDS {
        let (plain, _) = pages(seed, &Source::Embedded { name: "plain", files: PLAIN }, None);
        let (secured, sessions) = pages(seed, &source, Some(Arc::clone(&config)));
        assert!(plain == secured, "seed {seed}");
        assert_eq!(plain.len(), VISITORS * SIZES.len());
        resumed += sessions;
    }
    assert!(resumed > 0);
}

/// A site like the plain one whose upstream is asked over TLS, and that upstream's side of it.
fn site() -> (Source, Arc<ServerConfig>, tempfile::TempDir) {
    let authority = Authority::new("Our CA");
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in PLAIN {
        let text = text.replace("http://api.test\"", "https://api.test\"\ntls.ca = \"ca.pem\"");
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let config = Arc::new(authority.issue(&["api.test"]).server());
    (Source::Folder(folder.path().to_owned()), config, folder)
}

/// What all visitors got in a run, and how many sessions were resumed in it.
fn pages(seed: u64, source: &Source, tls: Option<Arc<ServerConfig>>) -> (Vec<String>, u64) {
    let outcome = Sim::run_seeded(seed, Faults::rough(), || async {
        upstream::start_secure(at(81), tls, plan);
        let server = Server::start(source, &[&[at(81)]], Bounds::default());
        let visits = (0..VISITORS).map(|visitor| async move {
            let mut client = Client::connect(SERVER).await.unwrap();
            let mut pages = Vec::new();
            for size in SIZES {
                let answer = client.ask(get(&format!("/item/{visitor}.{size}"))).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
                pages.push(answer.body);
                // Now and then for long enough for connections to grow too old.
                Sim::sleep(Duration::from_millis(if size == 100 { 900 } else { 10 })).await;
            }
            pages
        });
        let pages = futures_util::future::join_all(visits).await.concat();
        Sim::sleep(Duration::from_secs(3)).await;
        server.assert_exchanges(pages.len() as u64);
        assert_eq!(server.metrics.upstream_errors.get(), 0);
        assert_eq!(server.metrics.upstream_connections.get(), 0);
        (pages, server.metrics.upstream_tls_resumed.get())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Says back the token, with as much filling as it asks for, framed in one of all ways.
fn plan(asked: Asked<'_>) -> Vec<Step> {
    let size: usize = asked.token.rsplit('.').next().unwrap().parse().unwrap();
    let body = upstream::json_filled(asked.token, size);
    match size % 3 {
        0 => vec![Step::Send(upstream::response(200, &body))],
        1 => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            vec![Step::Send(chunk.into_bytes())]
        }
        _ => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            vec![Step::Send(format!("{head}{body}").into_bytes()), Step::Close]
        }
    }
}

const SEEDS: u64 = 24;
const VISITORS: usize = 3;
const SIZES: [usize; 6] = [0, 1, 2, 100, 20_001, 70_000];

const PLAIN: &[(&str, &str)] = &[
    (
        "site.toml",
        r#"
[upstreams.api]
url = "http://api.test"
idle_timeout = "700ms"
connect_timeout = "4s"
deadline = "8s"

[[page]]
path = "/item/{id}"
template = "item.html"
[page.fetch]
item = { from = "api", path = "/item/{{ path.id }}" }
"#,
    ),
    ("item.html", "token={{ item.token }};{{ item.filler }}"),
];
