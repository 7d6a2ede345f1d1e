//! `ringpress serve`: a site, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::control::certificates::Keeper;
use crate::control::life::{self, EndSignals};
use crate::control::resolver::Resolver;
use crate::control::server::{Plan, Secure, Server};
use crate::driver::kind::Choice;
use crate::http::Limits;
use crate::limits;
use crate::page::Redirect;
use crate::site::{Overrides, SecurePlan, ServerPlan, Site, Source};
use crate::worker::Bounds;
use crate::worker::pages::SiteRecipe;

use super::options::{self, ServerOptions};
use super::{Exit, fail, logging, say};

/// `ringpress serve`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The site: a folder with a site.toml, or the path of one
    #[arg(default_value = ".", env = "RINGPRESS_SITE")]
    site: PathBuf,
    /// Another URL for an upstream than the site has, several times for several
    #[arg(long = "upstream", value_name = "NAME=URL", env = "RINGPRESS_UPSTREAM",
          value_delimiter = ',', value_parser = options::upstream)]
    upstreams: Vec<(String, String)>,
    #[command(flatten)]
    server: ServerOptions,
    /// Address to listen on with TLS, several times for several; certificates are in the site file
    #[arg(long, value_name = "HOST:PORT", env = "RINGPRESS_LISTEN_TLS", value_delimiter = ',',
          value_parser = options::listen)]
    listen_tls: Vec<SocketAddr>,
    /// Show what happened inside on error pages
    #[arg(long, env = "RINGPRESS_DEVELOPMENT")]
    development: bool,
    /// Finished pages that a worker keeps for the next visitor, as in 64MiB, or `off`
    #[arg(long, value_name = "SIZE|off", env = "RINGPRESS_MEMO_MAX", value_parser = options::memo)]
    memo_max: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let _logs = logging::start();
    let overrides = Overrides {
        listen: (!arguments.server.listen.is_empty()).then(|| arguments.server.listen.clone()),
        listen_tls: (!arguments.listen_tls.is_empty()).then(|| arguments.listen_tls.clone()),
        workers: arguments.server.workers.clone(),
        development: arguments.development.then_some(true),
        memo_max: arguments.memo_max,
        upstreams: arguments.upstreams.clone(),
        ..Overrides::default()
    };
    let site = match Site::load_with(&Source::Folder(arguments.site.clone()), &overrides) {
        Ok(site) => site,
        Err(report) => {
            eprintln!("{report}");
            return Exit::Configuration;
        }
    };
    let choice = arguments.server.driver.unwrap_or_else(|| options::choice(site.server().driver));
    match serve(site, choice, |_| {}) {
        Ok(()) => Exit::Fine,
        Err(error) => fail(error),
    }
}

/// Serves a site until a signal. Says where it listens on standard output, one line an address,
/// and then calls `started`.
pub(super) fn serve(
    site: Site,
    choice: Choice,
    started: impl FnOnce(&Server),
) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    options::raise_open_files_limit();
    let signals = EndSignals::catch().map_err(|error| words(&error))?;
    let (_keeper, secure) = match site.secure() {
        Some(secure) => {
            let (keeper, tls) = Keeper::start(secure.files.clone(), speaks_http2(secure))?;
            (Some(keeper), Some(Secure { listen: secure.listen.clone(), tls }))
        }
        None => (None, None),
    };
    let port = site.secure().and_then(|secure| secure.redirect_port);
    let tls = secure.as_ref().map(|secure| secure.tls.clone());
    let redirect = tls.zip(port).map(|(tls, port)| Redirect { tls, port });
    let plan = Plan {
        listen: site.server().listen.clone(),
        secure,
        cpus: options::cpus(&site.server().workers)?,
        driver: options::driver(choice)?,
        bounds: bounds(site.server()),
    };
    let (_resolver, directory) =
        Resolver::start(options::names(&site)).map_err(|error| words(&error))?;
    let (id_seed, workers) = (std::process::id(), plan.cpus.len());
    let recipe = SiteRecipe { site, directory, id_seed, workers, redirect };
    let server = Server::start(&plan, recipe).map_err(|error| words(&error))?;
    for address in server.addresses() {
        say(format_args!("listening on http://{address}"));
    }
    for address in server.secure_addresses() {
        say(format_args!("listening on https://{address}"));
    }
    tracing::info!(workers = plan.cpus.len(), driver = %plan.driver, "serving");
    started(&server);
    life::live(server, &signals).map_err(|error| words(&error))
}

/// Whether HTTP/2 is offered, where a site wants it.
fn speaks_http2(secure: &SecurePlan) -> bool {
    // This build speaks no HTTP/2, and nobody is offered what is not spoken. Where there is a
    // feature for it, this is `cfg!(feature = "http2")`.
    let is_built = false;
    secure.http2 && is_built
}

/// What the site file bounds, as the workers keep it.
fn bounds(server: &ServerPlan) -> Bounds {
    Bounds {
        limits: Limits {
            head_bytes_max: server.request_head_max,
            body_bytes_max: server.request_body_max,
            ..Limits::default()
        },
        connections_max: server.connections_max,
        in_flight_max: server.in_flight_max,
        queue_target: server.queue_target,
        rate_limit: server.rate_limit,
        head_timeout: server.head_timeout,
        body_timeout: server.body_timeout,
        idle_timeout: server.idle_timeout,
        half_close_timeout: server.half_close_timeout,
        write_timeout: server.write_timeout,
        rate_min: server.rate_min,
        drain_timeout: server.drain_timeout,
        tls_handshake_timeout: server.secure.handshake_timeout,
        tls_handshakes_max: limits::TLS_HANDSHAKES_MAX,
        proxy_protocol: match server.proxy_protocol {
            true => server.trusted_proxies.clone(),
            false => Vec::new(),
        },
    }
}
