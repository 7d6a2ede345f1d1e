//! Why a fetch failed, in the upstream's terms. What the visitor gets for it is decided in
//! [`page`](crate::page).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::http::{InvalidHead, ParseError};
use crate::tls::HandshakeError;

/// Why an upstream gave no whole response.
#[derive(Debug)]
pub enum FetchError {
    /// Its name has not been found (yet).
    NoAddress {
        /// The host as written in `site.toml`.
        host: String,
    },
    /// There is no upstream at that place in the list.
    NoUpstream(usize),
    /// It could not be connected to.
    Connect(io::Error),
    /// There is no TLS with it.
    Tls(Box<Unsecured>),
    /// A deadline passed; the phase says which.
    Timeout(Phase, Duration),
    /// The connection broke.
    Broken(Phase, io::Error),
    /// It closed the connection in the middle of an exchange.
    Closed(Phase),
    /// The request may not be written as it is.
    Request(InvalidHead),
    /// It did not speak HTTP/1.1 as we do, or sent more than we take.
    Protocol(ParseError),
    /// It sent more interim (1xx) responses than we wait through.
    TooManyInterim,
    /// All connections that `max_connections` allows were in use until it was too late for an
    /// answer, or too many fetches waited for one already.
    Busy,
    /// As many fetches as `max_in_flight` allows were in flight for all of `queue_timeout`, or
    /// until its deadline, or too many waited already.
    Full,
    /// No descriptor was to be had for a connection to it for as long as a connect may take.
    Shortage(io::Error),
    /// Its breaker is open: it has failed too often of late, and is left alone for so long.
    Open(Duration),
    /// Recorded answers stand in its place, and none of them is to this.
    NotRecorded(Box<NotRecorded>),
}

/// What no answer was recorded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRecorded {
    /// The upstream's name.
    pub upstream: String,
    /// Path and query.
    pub target: String,
    /// Where the answers are.
    pub from: String,
}

/// Why there is no TLS with one address of an upstream.
#[derive(Debug)]
pub struct Unsecured {
    /// The name that its certificate must be for.
    pub name: ServerName<'static>,
    /// Where it was asked.
    pub address: SocketAddr,
    /// Why.
    pub error: HandshakeError,
}

/// How far an exchange was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connecting.
    Connect,
    /// Agreeing on TLS.
    Handshake,
    /// Sending the request.
    Request,
    /// Waiting for the response head.
    Head,
    /// Reading the response body.
    Body,
}

impl FetchError {
    /// Whether time ran out, rather than something breaking.
    pub fn is_timeout(&self) -> bool {
        matches!(self, FetchError::Timeout(..))
    }

    /// Whether it was a bound of ours, and the upstream was not even asked: coming back in a
    /// moment may help.
    pub fn is_shed(&self) -> bool {
        use FetchError::{Busy, Full, Open, Shortage};
        matches!(self, Busy | Full | Shortage(_) | Open(_))
    }

    /// Whether it says nothing about how the upstream is.
    pub(super) fn is_ours(&self) -> bool {
        use FetchError::{NoAddress, NoUpstream, Request};
        self.is_shed() || matches!(self, NoAddress { .. } | NoUpstream(_) | Request(_))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "connecting",
            Phase::Handshake => "agreeing on TLS",
            Phase::Request => "sending the request",
            Phase::Head => "waiting for the response head",
            Phase::Body => "reading the response body",
        })
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::NotRecorded(missing) => {
                let NotRecorded { upstream, target, from } = &**missing;
                write!(
                    f,
                    "{from} has no answer of `{upstream}` to GET {target}: run `ringpress record \
                     SITE --to {from}` and open this page there"
                )
            }
            FetchError::NoAddress { host } => write!(f, "the name {host} has not been found"),
            FetchError::NoUpstream(place) => write!(f, "there is no upstream number {place}"),
            FetchError::Connect(_) => f.write_str("cannot connect"),
            FetchError::Tls(unsecured) => {
                let Unsecured { name, address, .. } = &**unsecured;
                write!(f, "no secure connection with {} at {address}", name.to_str())
            }
            FetchError::Timeout(phase, limit) => {
                write!(f, "no time left while {phase} (limit {limit:?})")
            }
            FetchError::Broken(phase, _) => write!(f, "the connection broke while {phase}"),
            FetchError::Closed(phase) => {
                write!(f, "the upstream closed the connection while we were {phase}")
            }
            FetchError::Request(error) => write!(f, "the request cannot be sent: {error}"),
            FetchError::Protocol(error) => write!(f, "bad response: {error}"),
            FetchError::TooManyInterim => f.write_str("bad response: too many 1xx responses"),
            FetchError::Busy => f.write_str("all connections are in use (max_connections)"),
            FetchError::Full => f.write_str("too many fetches are in flight (max_in_flight)"),
            FetchError::Shortage(_) => {
                f.write_str("no descriptor left to connect with (LimitNOFILE, ulimit -n)")
            }
            FetchError::Open(wait) => {
                // To the second: nobody waits for parts of one.
                let wait = wait.as_millis().div_ceil(1000);
                write!(f, "it has failed too often: not asked for another {wait} s (breaker)")
            }
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FetchError::Connect(error)
            | FetchError::Shortage(error)
            | FetchError::Broken(_, error) => Some(error),
            FetchError::Tls(unsecured) => Some(&unsecured.error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_tells_of_whole_seconds() {
        let told = |wait: Duration| FetchError::Open(wait).to_string();
        assert!(told(Duration::from_nanos(58_974_292_809)).contains("another 59 s (breaker)"));
        assert!(told(Duration::from_millis(400)).contains("another 1 s (breaker)"));
    }
}
