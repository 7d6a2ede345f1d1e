//! The admin listener: where a server tells how it is, and takes commands. It runs on threads of
//! its own, which block, so that it answers whatever becomes of the event loops that it watches.
//!
//! It refuses more than a few connections at once, requests that are slow or large, who does not
//! know the token where there is one, and what web pages of others could make a browser ask.
//!
//! | file | is |
//! |---|---|
//! | `routes` | which path is answered by what |
//! | `exchange` | requests and answers, as whoever answers sees them |
//! | `conversation` | one connection, from its first request to its end |
//! | `guard` | who may ask for what |
//! | `socket` | the listening socket, and the file of a Unix socket |

mod conversation;
mod exchange;
mod guard;
mod routes;
mod socket;

pub use exchange::{AdminRequest, AdminResponse, Body};
pub use routes::Routes;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::overview::Overview;
use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::site::{AdminAddress, AdminPlan};
use guard::Guard;
use socket::{Listening, Stream};

/// An admin listener that runs; it ends with this value.
#[derive(Debug)]
pub struct Admin {
    address: AdminAddress,
    listening: Option<Arc<Listening>>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What all its connections share.
#[derive(Debug)]
struct Shared {
    routes: Routes,
    guard: Guard,
    stopped: AtomicBool,
    connections: AtomicUsize,
    streams: AtomicUsize,
}

/// Whether the server lives, and whether it wants visitors: what each listener tells.
pub fn health(overview: &Arc<Overview>) -> Routes {
    let overview = Arc::clone(overview);
    Routes::default().open("/healthz", |_| AdminResponse::text(200, "alive\n")).open(
        "/readyz",
        move |_| match overview.is_ready() {
            true => AdminResponse::text(200, "ready\n"),
            false => AdminResponse::text(503, "not ready: it starts, or drains\n"),
        },
    )
}

impl Admin {
    /// Starts to listen where a site wants it.
    ///
    /// # Errors
    /// In words, with the remedy: when the address cannot be listened on.
    pub fn start(plan: &AdminPlan, routes: Routes) -> Result<Self, String> {
        let fail = |error: io::Error| {
            let remedy = socket::remedy(&error);
            format!("cannot listen on {} for [admin]: {error}; {remedy}", plan.listen)
        };
        let (listening, address) = Listening::bind(&plan.listen, plan.socket_mode).map_err(fail)?;
        let listening = Arc::new(listening);
        let shared = Arc::new(Shared {
            routes,
            guard: Guard::new(&address, plan.token.as_ref()),
            stopped: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        });
        let (theirs, ours) = (Arc::clone(&shared), Arc::clone(&listening));
        let accepting = std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || accept_all(&ours, &theirs))
            .map_err(fail)?;
        tracing::info!(address = %address, token = plan.token.is_some(), "admin");
        Ok(Self { address, listening: Some(listening), shared, accepting: Some(accepting) })
    }

    /// Where it listens, the port filled in.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(listening) = self.listening.take() {
            listening.stop();
        }
        // It ends at once: nobody comes any more. Connections end by themselves.
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept_all(listening: &Listening, shared: &Arc<Shared>) {
    while !shared.stopped.load(Ordering::Relaxed) {
        match listening.accept() {
            Ok(stream) => enter(stream, shared),
            Err(_) if shared.stopped.load(Ordering::Relaxed) => return,
            // For want of descriptors, say: that passes.
            Err(_) => pause(),
        }
    }
}

/// Gives a connection a thread, if there is a place for it.
fn enter(stream: Stream, shared: &Arc<Shared>) {
    let Some(place) = Place::take(shared, Places::Connections) else {
        return conversation::turn_away(stream);
    };
    let theirs = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("admin-visitor".into());
    let spawned = thread.spawn(move || {
        conversation::hold(stream, &theirs);
        drop(place);
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread for a connection to the admin listener");
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread serves no visitors")]
fn pause() {
    std::thread::sleep(ACCEPT_PAUSE);
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What there are only so many places of.
#[derive(Clone, Copy, Debug)]
enum Places {
    Connections,
    Streams,
}

/// One place, until dropped.
#[derive(Debug)]
struct Place(Arc<Shared>, Places);

impl Place {
    fn take(shared: &Arc<Shared>, kind: Places) -> Option<Self> {
        let place = Self(Arc::clone(shared), kind);
        let (count, max) = place.counter();
        // Counted before it is compared: dropped again where it is one too many.
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }

    fn counter(&self) -> (&AtomicUsize, usize) {
        match self.1 {
            Places::Connections => (&self.0.connections, ADMIN_CONNECTIONS_MAX),
            Places::Streams => (&self.0.streams, crate::limits::ADMIN_STREAMS_MAX),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counter().0.fetch_sub(1, Ordering::Relaxed);
    }
}
