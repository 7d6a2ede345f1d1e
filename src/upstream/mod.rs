//! A worker's HTTP client: addresses, pools, exchanges, and the policy of each upstream.
//!
//! Owns the connections toward upstreams and decides which may serve again, what is tried again
//! and who is left alone. Refuses to guess: a response it cannot frame is an error, and its
//! connection is closed. Refuses to make things worse: retries and hedges have a budget.

pub mod address;
mod breaker;
mod budget;
mod choice;
pub mod client;
mod connection;
mod ejection;
mod endpoint;
pub mod error;
mod exchange;
mod health;
mod latency;
mod origin;
mod persist;
mod pool;
mod queue;
mod random;
mod retry;
mod stand_in;
mod tally;
mod upload;
mod window;

pub use address::{Addresses, Directory};
pub use client::{Client, Request, Seat, place};
pub use connection::Response;
pub use error::{FetchError, NotRecorded, Phase, Unsecured};
