//! A worker's HTTP client: pools, exchanges, the one safe retry.
//!
//! Owns the connections toward upstreams and decides which may serve again. Refuses to guess: a
//! response it cannot frame is an error, and its connection is closed.

pub mod address;
pub mod client;
mod connection;
pub mod error;
mod pool;

pub use address::{Addresses, Directory};
pub use client::{Client, Request};
pub use connection::Response;
pub use error::{FetchError, Phase};
