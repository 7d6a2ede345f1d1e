//! The control thread: all that is slow or rare. Signals, names, the life of the workers,
//! and what they have to share.

pub mod access_log;
#[cfg(feature = "acme")]
pub mod acme;
pub mod admin;
pub mod certificates;
pub mod crash;
mod crew;
pub mod dashboard;
pub mod descriptors;
mod dns;
pub mod inheritance;
pub mod life;
pub mod machine;
pub mod names;
pub mod notify;
pub mod observer;
pub mod overview;
mod past;
pub mod recordings;
pub mod resolver;
pub mod roster;
mod sampling;
pub mod server;
pub mod serving;
pub mod sockets;
mod starting;
mod strays;
pub mod upgrade;
mod watch;
