//! TLS as a transform of bytes: [rustls] between a driver's stream and whoever reads and writes.
//!
//! A [`Session`] takes records and gives plain bytes, and the other way round; it does no IO. A
//! [`Reader`] and a [`Writer`] are the halves of a connection that may be secured by one, on any
//! driver. A plain connection pays for that with one comparison.
//!
//! Refused: early data (it can be replayed), renegotiation, and anything before TLS 1.2.
//!
//! [rustls]: https://docs.rs/rustls

pub mod client;
mod error;
pub mod files;
mod handshake;
mod names;
pub mod pem;
mod record;
pub mod server;
mod session;
mod stream;
mod validity;
mod verifier;

pub use client::{ClientIdentity, ClientTls, Trust};
pub use error::HandshakeError;
pub use handshake::{Handshake, handshake};
pub use server::{ServerTls, names_of};
pub use session::{Protocol, Session};
pub use stream::{Reader, Writer};
pub use validity::validity;
