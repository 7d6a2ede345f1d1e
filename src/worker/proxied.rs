//! What a load balancer writes in front of a connection: who the visitor is.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::driver::{Driver, Read, Reader};
use crate::http::proxy;
use crate::limits;
use crate::metrics::WorkerMetrics;
use crate::tls;

use super::conversation::go_on;
use super::service::Service;
use super::{Visit, Worker};

/// A connection after its header: the read half, who the visitor is, and what came behind it.
pub(super) type Introduced<R> = (R, SocketAddr, Vec<u8>);

/// Reads the header that a proxy writes in front of a connection, and takes the visitor's address
/// from it. None when there is none: what it is then, nobody knows, so that nobody is answered. To
/// be bounded in time by the caller.
pub(super) async fn header<R: Reader>(
    mut reader: R,
    peer: SocketAddr,
    metrics: &WorkerMetrics,
) -> Option<Introduced<R>> {
    let mut buffer = Vec::new();
    loop {
        match proxy::parse(&buffer) {
            Ok(Some(header)) => {
                buffer.drain(..header.length);
                return Some((reader, header.source.unwrap_or(peer), buffer));
            }
            Ok(None) => {}
            Err(proxy::InvalidProxyHeader) => {
                metrics.requests_malformed.add(1);
                return None;
            }
        }
        let read = reader.read(buffer, limits::DOWNSTREAM_READ_BYTES).await;
        let Read { reader: next, buffer: filled, result: Ok(1..) } = read else { return None };
        (reader, buffer) = (next, filled);
    }
}

/// Serves a connection without TLS that begins with such a header.
pub(super) async fn introduce<D: Driver, S: Service>(
    worker: Rc<Worker<D, S>>,
    _visit: Visit,
    (reader, writer): (D::Reader, D::Writer),
    peer: SocketAddr,
) {
    let header = Box::pin(header(reader, peer, &worker.metrics));
    let header = worker.timers.timeout(worker.bounds.head_timeout, header).await;
    if let Ok(Some((reader, peer, received))) = header {
        let halves = (tls::Reader::Plain(reader), tls::Writer::Plain(writer));
        go_on(&worker, halves, peer, received).await;
    }
}
