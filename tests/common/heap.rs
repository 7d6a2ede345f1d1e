//! A server of the benchmark's page in a process whose heap is counted.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ringpress::control::server::{Plan, Secure, Server};
use ringpress::driver::kind::Kind;
use ringpress::site::{Site, Source};
use ringpress::tls::ServerTls;
use ringpress::upstream::Addresses;
use ringpress::worker::Bounds;
use ringpress::worker::pages::{Replicas, SiteRecipe};

/// Counts, while there is a profiler.
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Counts from now on, until it is dropped.
pub(crate) fn count() -> dhat::Profiler {
    dhat::Profiler::builder().testing().build()
}

/// A server with one worker, in front of an API; beside plain HTTP it may speak TLS.
pub(crate) fn start(kind: Kind, api: SocketAddr, bounds: Bounds, tls: Option<ServerTls>) -> Server {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/site");
    let site = Site::load(&Source::Folder(folder)).unwrap_or_else(|report| panic!("{report}"));
    let directory = Arc::from([Addresses::new(vec![api])]);
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let secure = tls.map(|tls| Secure { listen: listen.clone(), tls });
    let plan = Plan { listen, secure, cpus: vec![None], driver: kind, bounds };
    let recipe = SiteRecipe {
        site,
        replicas: Replicas::default(),
        directory,
        id_seed: 1,
        workers: 1,
        redirect: None,
        challenges: None,
    };
    Server::start(&plan, recipe).unwrap()
}

/// An answer of the API: a user with ten items that have this note.
pub(crate) fn answer(note: &str) -> Vec<u8> {
    let item = format!(r#"{{"id":1,"title":"Tea & <i>cake</i>","note":"{note}","score":3}}"#);
    let user = r#"{"id":42,"name":"Ann","city":"Rome","bio":"\"x\""}"#;
    let items = vec![item; 10].join(",");
    let body = format!(r#"{{"title":"Letters","user":{user},"items":[{items}]}}"#);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
    format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
}
