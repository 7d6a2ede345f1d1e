//! A downstream connection that begins with a TLS handshake.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::driver::{Driver, Read, Reader};
use crate::limits;
use crate::tls::{self, Handshake, HandshakeError, Protocol, Session};

use super::conversation::{Halves, converse, refuse_plain};
#[cfg(feature = "http2")]
use super::http2;
use super::proxied;
use super::service::Service;
use super::{Visit, Worker};

/// Agrees on TLS with a visitor, in bounded time and in turns with the others, and serves the
/// connection from then on.
pub(super) async fn secure<D: Driver, S: Service>(
    worker: Rc<Worker<D, S>>,
    visit: Visit,
    config: Arc<ServerConfig>,
    halves: (D::Reader, D::Writer),
    peer: SocketAddr,
) {
    let agreed = Box::pin(agree(&worker, config, halves, peer));
    let agreed = worker.timers.timeout(worker.bounds.tls_handshake_timeout, agreed).await;
    match agreed {
        Ok(Agreed::Secured(halves, peer, protocol)) => match protocol {
            Protocol::Http11 => converse(worker, visit, halves, peer).await,
            // A task of its own: this one has no room for so much.
            #[cfg(feature = "http2")]
            Protocol::Http2 => {
                let (reader, writer) = halves;
                let received = Vec::new();
                D::spawn(http2::serve(worker, visit, reader, writer, peer, received));
            }
            // It is offered by nobody who does not speak it.
            #[cfg(not(feature = "http2"))]
            Protocol::Http2 => {}
        },
        Ok(Agreed::Plain(halves, peer)) => Box::pin(refuse_plain(&worker, halves, peer)).await,
        Ok(Agreed::Nothing) => {}
        Err(_) => {
            worker.metrics.tls_handshakes_failed.add(1);
            tracing::debug!(%peer, "a TLS handshake took too long");
        }
    }
}

/// What came of a handshake.
enum Agreed<D: Driver> {
    /// A connection to serve, with the visitor's address.
    Secured(Halves<D>, SocketAddr, Protocol),
    /// A visitor who speaks HTTP without TLS.
    Plain(Halves<D>, SocketAddr),
    /// Nothing: there is nobody to answer to, or nothing that can be said.
    Nothing,
}

async fn agree<D: Driver, S: Service>(
    worker: &Rc<Worker<D, S>>,
    config: Arc<ServerConfig>,
    (reader, writer): (D::Reader, D::Writer),
    peer: SocketAddr,
) -> Agreed<D> {
    let metrics = &worker.metrics;
    let (mut reader, mut peer, mut received) = (reader, peer, Vec::new());
    if worker.bounds.expects_proxy_header(peer.ip()) {
        let header = Box::pin(proxied::header(reader, peer, metrics)).await;
        let Some(introduced) = header else { return Agreed::Nothing };
        (reader, peer, received) = introduced;
    }
    // Who says nothing has no session yet, and takes no place from those who do.
    if received.is_empty() {
        let read = reader.read(worker.buffers.take(), limits::TLS_READ_BYTES).await;
        let Read { reader: next, buffer, result: Ok(1..) } = read else {
            metrics.tls_handshakes_failed.add(1);
            return Agreed::Nothing;
        };
        (reader, received) = (next, buffer);
    }
    let Some(_place) = worker.begin_handshake() else {
        metrics.tls_handshakes_shed.add(1);
        return Agreed::Nothing;
    };
    let Ok(session) = Session::server(&config) else { return Agreed::Nothing };
    let buffers = worker.buffers.clone();
    let handshake = Handshake::new(session, (reader, writer), received, buffers);
    match proceed(worker, handshake).await {
        Ok(handshake) => {
            metrics.tls_handshakes.add(1);
            metrics.tls_handshakes_resumed.add(u64::from(handshake.is_resumed()));
            let protocol = handshake.protocol();
            Agreed::Secured(handshake.finish(), peer, protocol)
        }
        Err((error, handshake)) => {
            metrics.tls_handshakes_failed.add(1);
            tracing::debug!(%peer, %error, "no TLS with a visitor");
            match handshake {
                Some(handshake) if error.is_plain_http() => {
                    let (reader, writer) = handshake.give_up();
                    Agreed::Plain((tls::Reader::Plain(reader), tls::Writer::Plain(writer)), peer)
                }
                _ => Agreed::Nothing,
            }
        }
    }
}

/// A handshake with its halves, as the worker's driver has them.
type Opening<D> = Handshake<<D as Driver>::Reader, <D as Driver>::Writer>;

/// Takes a handshake to its end. One that fails while the connection is whole is given back.
async fn proceed<D: Driver, S: Service>(
    worker: &Rc<Worker<D, S>>,
    mut handshake: Opening<D>,
) -> Result<Opening<D>, (HandshakeError, Option<Opening<D>>)> {
    loop {
        let stepped = {
            let _turn = worker.turn().await;
            handshake.step()
        };
        match stepped {
            Ok(()) => handshake.send().await.map_err(|error| (error, None))?,
            Err(error) => {
                // Who does not speak TLS would not understand an alert either.
                if !error.is_plain_http() {
                    let _ = handshake.send().await;
                }
                return Err((error, Some(handshake)));
            }
        }
        if handshake.is_done() {
            return Ok(handshake);
        }
        handshake = handshake.receive().await.map_err(|error| (error, None))?;
    }
}
