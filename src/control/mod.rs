//! The control thread: all that is slow or rare. Signals, names, the life of the workers,
//! and what they have to share.

#[cfg(feature = "acme")]
pub mod acme;
pub mod admin;
pub mod certificates;
pub mod descriptors;
mod dns;
pub mod life;
pub mod names;
pub mod observer;
pub mod overview;
pub mod resolver;
pub mod roster;
pub mod server;
