//! Listening sockets, and the loop that accepts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};

use crate::driver::{Driver, give_way, is_cancellation, is_resource_shortage};
use crate::limits;
use crate::tls;

use super::conversation::{converse, turn_away};
use super::proxied::introduce;
use super::secure::secure;
use super::service::Service;
use super::{Held, Visit, Worker};

/// A listening socket of one worker: SO_REUSEPORT, so that each worker has its own and the kernel
/// deals the connections out; TCP_NODELAY, which accepted connections inherit.
///
/// # Errors
/// The kernel's: in use, not permitted, not our address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // So that `[::]` and `0.0.0.0` can be listened to side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Fails if anybody listens there already. Sockets with SO_REUSEPORT would not notice: a second
/// server of the same user would silently take half of the first one's visitors.
///
/// # Errors
/// The kernel's: in use, not permitted, not our address.
pub fn is_free(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

/// Accepts until the worker drains: whoever connects after that is for another worker, or for the
/// next server, not for one that is about to end. Connections are taken in bursts: one each turn of
/// the loop would make the backlog a queue that nobody sees once turns get long. Errors are
/// counted, and followed by a pause: those that wait in the backlog are still there after it.
pub(super) async fn accept_all<D: Driver, S: Service>(
    worker: Rc<Worker<D, S>>,
    listener: Rc<D::Listener>,
    tls: Option<Arc<ServerConfig>>,
) {
    let _accepting = Held::new(&worker.acceptors);
    let mut burst = 0;
    while !worker.is_draining() {
        if burst >= limits::ACCEPT_BURST_MAX {
            // Where accepting never has to wait, those who were let in would.
            give_way::<D>().await;
            burst = 0;
        }
        burst += 1;
        let Some(accepted) = worker.unless_draining(D::accept(&*listener)).await else { return };
        match accepted {
            Ok((reader, writer, peer)) => {
                worker.metrics.accepted.add(1);
                let halves = (reader, writer);
                match place(&worker, tls.is_some()).await {
                    Place::Inside(visit) => {
                        begin(Rc::clone(&worker), visit, tls.clone(), halves, peer);
                    }
                    Place::AtTheDoor => {
                        worker.metrics.connections_shed.add(1);
                        let (reader, writer) = halves;
                        let halves = (tls::Reader::Plain(reader), tls::Writer::Plain(writer));
                        D::spawn(turn_away(Rc::clone(&worker), halves, peer));
                    }
                    Place::None => worker.metrics.connections_shed.add(1),
                }
            }
            // The socket has ended, or this accept was cancelled.
            Err(_) if worker.is_draining() => return,
            // To look again who waits.
            Err(error) if is_cancellation(&error) => {}
            Err(error) => {
                worker.metrics.accept_errors.add(1);
                if is_resource_shortage(&error) {
                    worker.report_shortage(&error);
                }
                // Even an error that concerns one connection only (ECONNABORTED) is given a
                // pause: an error that stays must not become a busy loop.
                worker.timers.sleep(limits::ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// What there is for a connection.
enum Place {
    Inside(Visit),
    /// To be told that there is none.
    AtTheDoor,
    None,
}

/// Where all places are taken, and so many are being told so that nobody else can be, one waits a
/// moment for the first of them to have gone, and those behind it in the backlog, rather than have
/// their connections reset. There are no words for it before a TLS handshake, which would cost more
/// than a page.
async fn place<D: Driver, S: Service>(worker: &Rc<Worker<D, S>>, secure: bool) -> Place {
    let mut until = None;
    loop {
        if let Some(visit) = worker.enter() {
            return Place::Inside(visit);
        }
        if secure {
            return Place::None;
        }
        if worker.turned_away.get() < worker.bounds.turned_away_max as u64 {
            return Place::AtTheDoor;
        }
        let now = D::now();
        let until = *until.get_or_insert(now + limits::TURNING_AWAY_WAIT);
        if now >= until || worker.is_draining() {
            return Place::None;
        }
        worker.timers.sleep(limits::QUEUE_TICK).await;
    }
}

/// Starts to serve a connection.
fn begin<D: Driver, S: Service>(
    worker: Rc<Worker<D, S>>,
    visit: Visit,
    tls: Option<Arc<ServerConfig>>,
    (reader, writer): (D::Reader, D::Writer),
    peer: SocketAddr,
) {
    if let Some(config) = tls {
        D::spawn(secure(worker, visit, config, (reader, writer), peer));
    } else if worker.bounds.expects_proxy_header(peer.ip()) {
        D::spawn(introduce(worker, visit, (reader, writer), peer));
    } else {
        let halves = (tls::Reader::Plain(reader), tls::Writer::Plain(writer));
        D::spawn(converse(worker, visit, halves, peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_and_connections_inherit_nodelay() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = first.local_addr().unwrap();
        let second = bind(address).unwrap();
        drop(second);
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.connect(&address.into()).unwrap();
        let (accepted, _) = first.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
