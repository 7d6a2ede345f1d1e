//! A downstream connection that begins with a TLS handshake.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::driver::Driver;
use crate::limits;
use crate::tls::{self, Session};

use super::conversation::converse;
use super::service::Service;
use super::{Held, Visit, Worker};

/// Agrees on TLS with a visitor, in bounded time and with so many at once, and serves the
/// connection from then on.
pub(super) async fn secure<D: Driver, S: Service>(
    worker: Rc<Worker<D, S>>,
    visit: Visit,
    config: Arc<ServerConfig>,
    (reader, writer): (D::Reader, D::Writer),
    peer: SocketAddr,
) {
    if worker.handshakes.get() >= limits::TLS_HANDSHAKES_MAX {
        return;
    }
    let secured = {
        let _handshake = Held::new(&worker.handshakes);
        let Ok(session) = Session::server(&config) else { return };
        let handshake = tls::handshake(session, reader, writer, worker.buffers.clone());
        let limited = worker.timers.timeout(limits::TLS_HANDSHAKE_TIMEOUT, handshake);
        Box::pin(limited).await
    };
    match secured {
        Ok(Ok(halves)) => converse(worker, visit, halves, peer).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with a visitor"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}
