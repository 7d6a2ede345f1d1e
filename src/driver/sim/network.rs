//! Listeners, and how connects find them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::connection::{Connection, ReadHalf, WriteHalf};
use super::world::{Event, World};
use crate::limits::LISTEN_BACKLOG;

/// What listens, by its address.
#[derive(Default)]
pub(super) struct Network {
    listeners: BTreeMap<SocketAddr, Rc<RefCell<Backlog>>>,
    ports_given: u16,
}

/// Connections that wait to be accepted, and who waits for them.
#[derive(Default)]
struct Backlog {
    waiting: VecDeque<(ReadHalf, WriteHalf, SocketAddr)>,
    acceptors: Vec<Waker>,
}

impl Network {
    /// A listener on the address itself, or on all addresses of its family.
    fn find(&self, address: SocketAddr) -> Option<&Rc<RefCell<Backlog>>> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let any = SocketAddr::new(any, address.port());
        self.listeners.get(&address).or_else(|| self.listeners.get(&any))
    }

    /// A port from the range that IANA leaves for such use (RFC 6335 section 6).
    fn next_port(&mut self) -> u16 {
        let port = 49_152 + self.ports_given % 16_384;
        self.ports_given = self.ports_given.wrapping_add(1);
        port
    }
}

/// See [`Sim::bind`](super::Sim::bind).
pub(super) fn bind(world: &Rc<World>, mut address: SocketAddr) -> io::Result<Listener> {
    let mut network = world.network.borrow_mut();
    if address.port() == 0 {
        address.set_port(network.next_port());
    }
    if network.listeners.contains_key(&address) {
        return Err(io::Error::from_raw_os_error(EADDRINUSE));
    }
    let backlog = Rc::<RefCell<Backlog>>::default();
    network.listeners.insert(address, Rc::clone(&backlog));
    Ok(Listener { world: Rc::clone(world), address, backlog })
}

/// See [`Driver::connect`](crate::driver::Driver::connect).
pub(super) async fn connect(address: SocketAddr) -> io::Result<(ReadHalf, WriteHalf)> {
    let world = World::current();
    let way = Duration::from_nanos(world.arrival_ns() - world.now_ns());
    Rc::clone(&world).sleep(way).await;
    if world.chance(world.faults.connect_hung) {
        pending::<()>().await;
    }
    if world.chance(world.faults.connect_refused) {
        return Err(io::Error::from_raw_os_error(ECONNREFUSED));
    }
    let backlog = world.network.borrow().find(address).map(Rc::clone);
    let Some(backlog) = backlog else {
        return Err(io::Error::from_raw_os_error(ECONNREFUSED));
    };
    if backlog.borrow().waiting.len() >= BACKLOG_MAX {
        // Linux lets a connect that finds the backlog full go unanswered.
        pending::<()>().await;
    }
    let port = world.network.borrow_mut().next_port();
    let from = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let [ours, theirs] = Connection::open(&world);
    let mut backlog = backlog.borrow_mut();
    backlog.waiting.push_back((theirs.0, theirs.1, from));
    let acceptors = std::mem::take(&mut backlog.acceptors);
    drop(backlog);
    acceptors.into_iter().for_each(Waker::wake);
    Ok(ours)
}

/// A listener on a virtual address, which is free again when this is dropped. Connections that
/// wait then are reset or closed, as any is that is dropped.
pub struct Listener {
    world: Rc<World>,
    address: SocketAddr,
    backlog: Rc<RefCell<Backlog>>,
}

impl Listener {
    /// The address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nobody finds it any more. Connections that wait are reset or closed.
    pub(super) fn shut(&self) {
        let mut network = self.world.network.borrow_mut();
        let ours = network.listeners.get(&self.address);
        if ours.is_some_and(|backlog| Rc::ptr_eq(backlog, &self.backlog)) {
            network.listeners.remove(&self.address);
        }
        drop(network);
        let waiting = std::mem::take(&mut self.backlog.borrow_mut().waiting);
        drop(waiting);
    }

    pub(super) async fn accept(&self) -> io::Result<(ReadHalf, WriteHalf, SocketAddr)> {
        poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(
        &self,
        context: &Context<'_>,
    ) -> Poll<io::Result<(ReadHalf, WriteHalf, SocketAddr)>> {
        let mut backlog = self.backlog.borrow_mut();
        if backlog.waiting.is_empty() {
            if !backlog.acceptors.iter().any(|waker| waker.will_wake(context.waker())) {
                backlog.acceptors.push(context.waker().clone());
            }
            return Poll::Pending;
        }
        let port = u64::from(self.address.port());
        if self.world.chance(self.world.faults.accept_failed) {
            self.world.note(Event::AcceptFailed, port, 0);
            return Poll::Ready(Err(io::Error::from_raw_os_error(EMFILE)));
        }
        self.world.note(Event::Accept, port, backlog.waiting.len() as u64);
        backlog.waiting.pop_front().map_or(Poll::Pending, |accepted| Poll::Ready(Ok(accepted)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shut();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Connections that wait to be accepted.
const BACKLOG_MAX: usize = LISTEN_BACKLOG as usize;
const EMFILE: i32 = 24;
const EADDRINUSE: i32 = 98;
const ECONNREFUSED: i32 = 111;
