//! The admin listener: where a server tells how it is, and takes commands. It runs on threads of
//! its own, which block, so that it answers whatever becomes of the event loops that it watches.
//!
//! It refuses more than a few connections at once that are being answered, requests that are slow
//! or large, who does not know the token where there is one, and what web pages of others could
//! make a browser ask.
//!
//! | file | is |
//! |---|---|
//! | `commands` | what can be asked of the server |
//! | `routes` | which path is answered by what |
//! | `exchange` | requests and answers, as whoever answers sees them |
//! | `seats` | who has a connection, and who makes room for others |
//! | `conversation` | one connection, from its first request to its end |
//! | `guard` | who may ask for what |
//! | `socket` | the listening socket, and the file of a Unix socket |

mod commands;
mod conversation;
mod exchange;
mod guard;
mod routes;
mod seats;
mod socket;

pub use commands::commands;
pub use exchange::{AdminRequest, AdminResponse, Body};
pub use routes::Routes;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::overview::Overview;
use crate::limits::ADMIN_STREAMS_MAX;
use crate::site::{AdminAddress, AdminPlan};
use guard::Guard;
use seats::Seats;
use socket::{Listening, Stream};

/// An admin listener that runs; it ends with this value.
#[derive(Debug)]
pub struct Admin {
    address: AdminAddress,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What all its connections share.
#[derive(Debug)]
struct Shared {
    routes: Routes,
    guard: Guard,
    /// None while another process listens there.
    listening: Mutex<Option<Arc<Listening>>>,
    stopped: AtomicBool,
    seats: Arc<Seats>,
    /// Answers that go on.
    streams: AtomicUsize,
}

impl Shared {
    /// Gives what was there before.
    fn set_listening(&self, listening: Option<Arc<Listening>>) -> Option<Arc<Listening>> {
        let mut place = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut place, listening)
    }
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
    /// Starts to listen where a site wants it. `succeeds` a process that still listens there and
    /// will not for long: then it is listened as soon as that has ended.
    ///
    /// # Errors
    /// In words, with the remedy: when the address cannot be listened on.
    pub fn start(plan: &AdminPlan, routes: Routes, succeeds: bool) -> Result<Self, String> {
        let fail = |error: io::Error| {
            let remedy = socket::remedy(&error);
            format!("cannot listen on {} for [admin]: {error}; {remedy}", plan.listen)
        };
        let shared = Arc::new(Shared {
            routes,
            guard: Guard::new(&plan.listen, plan.token.as_ref()),
            listening: Mutex::default(),
            stopped: AtomicBool::new(false),
            seats: Arc::default(),
            streams: AtomicUsize::new(0),
        });
        let mut address = plan.listen.clone();
        let bound = match Listening::bind(&plan.listen, plan.socket_mode) {
            Ok((listening, found)) => {
                address = found;
                Some(Arc::new(listening))
            }
            Err(error) if succeeds && error.kind() == io::ErrorKind::AddrInUse => None,
            Err(error) => return Err(fail(error)),
        };
        shared.set_listening(bound.clone());
        let (theirs, plan_too) = (Arc::clone(&shared), plan.clone());
        let accepting = std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                if let Some(listening) = bound.or_else(|| await_end(&plan_too, &theirs)) {
                    accept_all(&listening, &theirs);
                }
            })
            .map_err(fail)?;
        tracing::info!(address = %address, token = plan.token.is_some(), "admin");
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// Where it listens, the port filled in.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }
}

/// Listens as soon as nobody else does, unless this one has ended before.
fn await_end(plan: &AdminPlan, shared: &Shared) -> Option<Arc<Listening>> {
    let mut told = false;
    while !shared.stopped.load(Ordering::Relaxed) {
        match Listening::bind(&plan.listen, plan.socket_mode) {
            Ok((listening, _)) => {
                let listening = Arc::new(listening);
                shared.set_listening(Some(Arc::clone(&listening)));
                if shared.stopped.load(Ordering::Relaxed) {
                    listening.stop();
                }
                return Some(listening);
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::AddrInUse && !std::mem::replace(&mut told, true) {
                    tracing::warn!(address = %plan.listen, %error, "no admin listener yet");
                }
                pause();
            }
        }
    }
    None
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(listening) = self.shared.set_listening(None) {
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
    let Some(seat) = shared.seats.take(&stream) else {
        return conversation::turn_away(stream);
    };
    let theirs = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("admin-visitor".into());
    let spawned = thread.spawn(move || conversation::hold(stream, &seat, &theirs));
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread for a connection to the admin listener");
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread serves no visitors")]
fn pause() {
    std::thread::sleep(ACCEPT_PAUSE);
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One of the answers that go on for as long as somebody looks, until dropped.
#[derive(Debug)]
struct Streaming(Arc<Shared>);

impl Streaming {
    fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let streaming = Self(Arc::clone(shared));
        // Counted before it is compared: dropped again where it is one too many.
        let before = shared.streams.fetch_add(1, Ordering::Relaxed);
        (before < ADMIN_STREAMS_MAX).then_some(streaming)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
