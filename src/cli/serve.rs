//! `ringpress serve`: a site, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

#[cfg(feature = "acme")]
use crate::control::acme;
use crate::control::admin::{self, Admin};
use crate::control::certificates;
use crate::control::descriptors::Wanted;
use crate::control::life::{self, EndSignals};
use crate::control::observer::Observer;
use crate::control::overview::Overview;
use crate::control::resolver::Resolver;
use crate::control::roster::Roster;
use crate::control::server::{Plan, Secure, Server};
use crate::driver::kind::Choice;
use crate::http::Limits;
use crate::limits::{ADDRESSES_MAX, TLS_HANDSHAKES_MAX, TURNED_AWAY_MAX};
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
    /// Address for health, metrics and commands, as in 127.0.0.1:9180 or unix:admin.sock, or `off`
    #[arg(long, value_name = "HOST:PORT|unix:PATH|off", env = "RINGPRESS_ADMIN",
          value_parser = options::admin)]
    admin: Option<options::AdminChoice>,
    /// Show what happened inside on error pages
    #[arg(long, env = "RINGPRESS_DEVELOPMENT")]
    development: bool,
    /// Finished pages that a worker keeps for the next visitor, as in 64MiB, or `off`
    #[arg(long, value_name = "SIZE|off", env = "RINGPRESS_MEMO_MAX", value_parser = options::memo)]
    memo_max: Option<u64>,
    /// Answers of APIs that a worker keeps for fetches that ask for it, as in 64MiB
    #[arg(long, value_name = "SIZE", env = "RINGPRESS_CACHE_MAX", value_parser = options::size)]
    cache_max: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let _logs = logging::start();
    let overrides = Overrides {
        listen: (!arguments.server.listen.is_empty()).then(|| arguments.server.listen.clone()),
        listen_tls: (!arguments.listen_tls.is_empty()).then(|| arguments.listen_tls.clone()),
        admin: arguments.admin.clone().map(|choice| choice.0),
        workers: arguments.server.workers.clone(),
        development: arguments.development.then_some(true),
        memo_max: arguments.memo_max,
        cache_max: arguments.cache_max,
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
    match serve(site, choice, 0, |_| {}) {
        Ok(()) => Exit::Fine,
        Err(error) => fail(error),
    }
}

/// Serves a site until a signal. Says where it listens on standard output, one line an address,
/// and then calls `started`. The other ends of connections to upstreams take `ends_here` of this
/// process's descriptors each.
pub(super) fn serve(
    mut site: Site,
    choice: Choice,
    ends_here: usize,
    started: impl FnOnce(&Server),
) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    options::raise_open_files_limit();
    for warning in site.warnings() {
        tracing::warn!("{warning}");
    }
    let signals = EndSignals::catch().map_err(|error| words(&error))?;
    let (_keeper, secure) = match site.secure() {
        Some(secure) => {
            let (keeper, tls) =
                certificates::Keeper::start(secure.files.clone(), speaks_http2(secure))?;
            (Some(keeper), Some(Secure { listen: secure.listen.clone(), tls }))
        }
        None => (None, None),
    };
    let port = site.secure().and_then(|secure| secure.redirect_port);
    let tls = secure.as_ref().map(|secure| secure.tls.clone());
    let redirect = tls.zip(port).map(|(tls, port)| Redirect { tls, port });
    let mut plan = Plan {
        listen: site.server().listen.clone(),
        secure,
        cpus: options::cpus(&site.server().workers)?,
        driver: options::driver(choice)?,
        bounds: bounds(site.server()),
    };
    let (_resolver, directory) =
        Resolver::start(options::names(&site)).map_err(|error| words(&error))?;
    share_descriptors(&mut site, &mut plan, ends_here);
    #[cfg(feature = "acme")]
    let keeper = site.server().acme.as_ref().map(acme::Keeper::new).transpose()?;
    #[cfg(feature = "acme")]
    let challenges = keeper.as_ref().map(acme::Keeper::challenges);
    #[cfg(not(feature = "acme"))]
    let challenges = None;
    // Before the workers: who cannot be watched does not serve.
    let (overview, roster, _admin) = watched(&site)?;
    let recipe = SiteRecipe {
        site,
        directory,
        id_seed: std::process::id(),
        workers: plan.cpus.len(),
        redirect,
        challenges,
    };
    let server = Server::start(&plan, recipe).map_err(|error| words(&error))?;
    server.report_to(&roster);
    roster.listen(plan.driver.name(), server.addresses(), server.secure_addresses());
    overview.set_ready(true);
    // Only now, as the directory asks us back.
    #[cfg(feature = "acme")]
    let _keeping = keeper
        .map(|keeper| keeper.start(server.addresses()))
        .transpose()
        .map_err(|error| words(&error))?;
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

/// What is known of the server from here on, who works, and the admin listener that tells it, if
/// there is one.
fn watched(site: &Site) -> Result<Watched, String> {
    let (overview, _orders) = Overview::new();
    let (overview, roster) = (Arc::new(overview), Arc::<Roster>::default());
    roster.serve(site);
    let observer = Observer::new(Arc::clone(&overview), Arc::clone(&roster));
    let routes = admin::health(&overview).and(observer.routes());
    let admin = site.admin().map(|plan| Admin::start(plan, routes)).transpose()?;
    if let Some(admin) = &admin {
        say(format_args!("admin at {}", admin.address()));
    }
    Ok((overview, roster, admin))
}

/// What is known, who works, and where that is told.
type Watched = (Arc<Overview>, Arc<Roster>, Option<Admin>);

/// Lowers what is configured to what there are descriptors for, and says so.
fn share_descriptors(site: &mut Site, plan: &mut Plan, ends_here: usize) {
    let Some((open_max, open)) = options::open_files() else { return };
    let upstreams = site.upstreams();
    let most: Vec<usize> = upstreams.iter().map(|upstream| upstream.max_connections).collect();
    let checked = upstreams.iter().filter(|upstream| upstream.health.is_some());
    let checked = checked.map(|upstream| match upstream.addresses.len() {
        0 => ADDRESSES_MAX,
        known => known,
    });
    let wanted = Wanted {
        open_max,
        open,
        workers: plan.cpus.len(),
        listeners: plan.listen.len(),
        connections_max: plan.bounds.connections_max,
        upstreams: &most,
        checked: checked.sum(),
        each: plan.driver.descriptors_a_connect() + ends_here,
    };
    let shares = wanted.shares();
    if shares.connections_max < wanted.connections_max || shares.upstreams != most {
        tracing::warn!(
            open_files_max = open_max,
            workers = wanted.workers,
            connections_max = shares.connections_max,
            configured = wanted.connections_max,
            max_connections = ?shares.upstreams,
            "the open-files limit is too low for what is configured: a worker takes this many \
             connections, and upstreams get no more than these; raise it to {} (LimitNOFILE, \
             ulimit -n), or lower connections_max and max_connections",
            shares.open_needed
        );
    }
    plan.bounds.connections_max = shares.connections_max;
    plan.bounds.turned_away_max = shares.turned_away_max;
    site.lower_max_connections(&shares.upstreams);
}

/// Whether HTTP/2 is offered: where a site wants it, by a build that has it.
fn speaks_http2(secure: &SecurePlan) -> bool {
    secure.http2 && cfg!(feature = "http2")
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
        turned_away_max: TURNED_AWAY_MAX,
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
        tls_handshakes_max: TLS_HANDSHAKES_MAX,
        proxy_protocol: match server.proxy_protocol {
            true => server.trusted_proxies.clone(),
            false => Vec::new(),
        },
        #[cfg(feature = "http2")]
        http2_prior_knowledge: false,
    }
}
