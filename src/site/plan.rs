//! What the server and its upstream clients need to know of a site, resolved.

use super::page::constant_headers;
use super::{AdminAddress, DriverChoice, StandIn, Workers};
use crate::config::{
    self, AccessLog, AccessTarget, Breaker, Eject, Health, Hedge, Origin, Problem, Retry, Upstream,
};
use crate::tls::ClientTls;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where and how to serve.
pub type ServerPlan = config::Server;

/// An upstream and its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPlan {
    /// Its name in the site file.
    pub name: String,
    /// A host name or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How TLS is spoken with it; none for plain HTTP.
    pub tls: Option<ClientTls>,
    /// The value of the Host header.
    pub authority: String,
    /// What all targets begin with: empty, or begins with a slash and does not end with one.
    pub base_path: String,
    /// Its addresses, where they are not to be looked up.
    pub addresses: Vec<SocketAddr>,
    /// A fetch, from its start to its last byte.
    pub deadline: Duration,
    /// A TCP connect, and the TLS handshake after it.
    pub connect_timeout: Duration,
    /// From the request's last byte to the end of the response head.
    pub header_timeout: Duration,
    /// From there to the end of the body.
    pub body_timeout: Duration,
    /// How long a pooled connection may be idle.
    pub idle_timeout: Duration,
    /// Connections that all workers together may have to it, as configured.
    pub max_connections: usize,
    /// Those that they have, as there are descriptors for; no more than configured.
    pub connections_most: usize,
    /// Fetches that a worker has in flight to it.
    pub max_in_flight: usize,
    /// How long a fetch waits to be one of these.
    pub queue_timeout: Duration,
    /// Idle connections a worker keeps to it.
    pub max_idle: usize,
    /// A response body, bytes.
    pub max_body: u64,
    /// Which failures are tried again, if any.
    pub retry: Option<Retry>,
    /// Whether a fetch that takes long is sent a second time.
    pub hedge: Option<Hedge>,
    /// When to stop asking it for a while.
    pub breaker: Option<Breaker>,
    /// When to leave out one of its addresses.
    pub eject: Option<Eject>,
    /// Field lines of every request, our name among them, each with its CRLF.
    pub headers: Vec<u8>,
    /// How its addresses are asked whether they are well.
    pub health: Option<Health>,
    /// What stands between it and us, if anything does.
    pub stand_in: Option<StandIn>,
}

/// What stands above the site file: flags and the environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Addresses to listen on.
    pub listen: Option<Vec<SocketAddr>>,
    /// Addresses to listen on with TLS.
    pub listen_tls: Option<Vec<SocketAddr>>,
    /// Where the admin listener is; `Some(None)` for nowhere.
    pub admin: Option<Option<AdminAddress>>,
    /// The file with the token that it asks for.
    pub admin_token_file: Option<PathBuf>,
    /// Which CPUs serve.
    pub workers: Option<Workers>,
    /// Which way to the kernel.
    pub driver: Option<DriverChoice>,
    /// Whether error pages show what happened inside.
    pub development: Option<bool>,
    /// Finished pages a worker keeps, bytes; 0 for none.
    pub memo_max: Option<u64>,
    /// Answers of upstreams a worker keeps for fetches that ask for it, bytes.
    pub cache_max: Option<u64>,
    /// How pages are packed.
    pub compress: Option<config::Compress>,
    /// Where access records go, or nowhere.
    pub access_log: Option<Option<AccessTarget>>,
    /// Names of upstreams, and the URLs they have instead of those in the file.
    pub upstreams: Vec<(String, String)>,
    /// What stands between the site and all of them, if anything does.
    pub stand_in: Option<StandIn>,
}

impl Overrides {
    /// Puts what is given in place of what the file says.
    pub(super) fn apply(
        &self,
        server: &mut ServerPlan,
        upstreams: &mut [Upstream],
        problems: &mut Vec<Problem>,
    ) {
        if let Some(listen) = &self.listen_tls {
            server.listen_tls(listen.clone());
            if server.secure.certificates.is_empty() {
                let problem = Problem::of_file("", "listening with TLS needs a certificate");
                problems.push(problem.hint(config::ADD_CERTIFICATE));
            }
        }
        if let Some(listen) = &self.listen {
            server.listen.clone_from(listen);
        }
        if let Some(workers) = &self.workers {
            server.workers = workers.clone();
        }
        if let Some(driver) = self.driver {
            server.driver = driver;
        }
        if let Some(development) = self.development {
            server.development = development;
        }
        if let Some(memo_max) = self.memo_max {
            server.memo_max = memo_max;
        }
        if let Some(compress) = &self.compress {
            server.compress.clone_from(compress);
        }
        if let Some(cache_max) = self.cache_max {
            server.cache_max = cache_max;
        }
        if self.stand_in.as_ref().is_some_and(StandIn::is_offline) {
            for upstream in upstreams.iter_mut() {
                // Nobody is looked up, and nobody asked.
                upstream.addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
                upstream.health = None;
            }
        }
        match &self.access_log {
            Some(Some(to)) => match &mut server.access_log {
                Some(log) => log.to = to.clone(),
                none => *none = Some(AccessLog::to(to.clone())),
            },
            Some(None) => server.access_log = None,
            None => {}
        }
        for (name, url) in &self.upstreams {
            let upstream = upstreams.iter_mut().find(|upstream| upstream.name.value == *name);
            match (upstream, Origin::parse(url)) {
                (Some(upstream), Ok(origin)) => {
                    // The addresses in the file are those of the URL in the file. What it says
                    // about TLS stays; for http:// it is of no use, and does no harm.
                    upstream.addresses.clear();
                    upstream.origin = Some(origin);
                }
                (None, _) => {
                    let message = format!("there is no upstream `{name}` to give another URL");
                    problems.push(Problem::of_file("", message));
                }
                (_, Err((message, hint))) => {
                    let message = format!("the URL `{url}` for upstream `{name}`: {message}");
                    problems.push(Problem::of_file("", message).hint_if(hint));
                }
            }
        }
    }
}

impl UpstreamPlan {
    /// Whether another plan is of the same upstream with the same policy, so that what is known of
    /// it, and the connections to it, stay of use. How many there are descriptors for is another
    /// matter: that changes with each upstream that comes or goes.
    pub fn is_like(&self, other: &Self) -> bool {
        let tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_like(other),
            _ => false,
        };
        let bare = |plan: &Self| Self { tls: None, connections_most: 0, ..plan.clone() };
        tls && bare(self) == bare(other)
    }

    /// The plan of an upstream whose URL could be read.
    ///
    /// # Errors
    /// In words, when it could not.
    pub(super) fn new(upstream: Upstream, tls: Option<ClientTls>) -> Result<Self, String> {
        let origin = upstream.origin.ok_or("an upstream has no URL")?;
        Ok(Self {
            name: upstream.name.value,
            host: origin.host,
            port: origin.port,
            tls,
            authority: origin.authority,
            base_path: origin.base_path,
            addresses: upstream.addresses,
            deadline: upstream.deadline,
            connect_timeout: upstream.connect_timeout,
            header_timeout: upstream.header_timeout,
            body_timeout: upstream.body_timeout,
            idle_timeout: upstream.idle_timeout,
            max_connections: upstream.max_connections,
            connections_most: upstream.max_connections,
            max_in_flight: upstream.max_in_flight,
            queue_timeout: upstream.queue_timeout,
            max_idle: upstream.max_idle,
            max_body: upstream.max_body,
            retry: upstream.retry,
            hedge: upstream.hedge,
            breaker: upstream.breaker,
            eject: upstream.eject,
            headers: constant_headers(&upstream.headers, std::iter::empty()),
            health: upstream.health,
            stand_in: None,
        })
    }
}
