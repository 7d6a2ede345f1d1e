//! `ringpress serve`: a site, until a signal.

use std::any::Any;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::control::admin::{self, Admin};
use crate::control::crash;
use crate::control::dashboard::Dashboard;
use crate::control::inheritance::Inheritance;
use crate::control::life::{self, Belongings, Heeded};
use crate::control::observer::Observer;
use crate::control::overview::Overview;
use crate::control::server::Server;
use crate::control::serving::{Serving, Terms};
use crate::control::upgrade::Binary;
use crate::site::{AdminAddress, Overrides, Site, Source, StandIn};

use super::options::{self, AccessLogOption, OfflineOption, ServerOptions};
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
    /// File with the token that it asks for; needed where other machines can come
    #[arg(long, value_name = "FILE", env = "RINGPRESS_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// Show what happened inside on error pages
    #[arg(long, env = "RINGPRESS_DEVELOPMENT")]
    development: bool,
    /// Finished pages that a worker keeps for the next visitor, as in 64MiB, or `off`
    #[arg(long, value_name = "SIZE|off", env = "RINGPRESS_MEMO_MAX", value_parser = options::memo)]
    memo_max: Option<u64>,
    /// Answers of APIs that a worker keeps for fetches that ask for it, as in 64MiB
    #[arg(long, value_name = "SIZE", env = "RINGPRESS_CACHE_MAX", value_parser = options::size)]
    cache_max: Option<u64>,
    /// Where a record of each request goes: a file, `stdout`, `stderr`, or `off`
    #[arg(long, value_name = "PATH|stdout|stderr|off", env = "RINGPRESS_ACCESS_LOG",
          value_parser = options::access_log)]
    access_log: Option<AccessLogOption>,
    #[command(flatten)]
    offline: OfflineOption,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match arguments.offline.read() {
        Ok(stand_in) => run_with(arguments, stand_in),
        Err(error) => fail(error),
    }
}

/// The same, with something between the site and its upstreams.
pub(super) fn run_with(arguments: &Arguments, stand_in: Option<StandIn>) -> Exit {
    let _logs = logging::start();
    // Before the site is read, which takes its time: a signal would end the process until then.
    let signals = match Heeded::catch() {
        Ok(signals) => signals,
        Err(error) => return fail(error),
    };
    let overrides = Overrides {
        listen: (!arguments.server.listen.is_empty()).then(|| arguments.server.listen.clone()),
        listen_tls: (!arguments.listen_tls.is_empty()).then(|| arguments.listen_tls.clone()),
        admin: arguments.admin.clone().map(|choice| choice.0),
        admin_token_file: arguments.admin_token_file.clone(),
        workers: arguments.server.workers.clone(),
        development: arguments.development.then_some(true),
        memo_max: arguments.memo_max,
        cache_max: arguments.cache_max,
        access_log: arguments.access_log.clone().map(|AccessLogOption(to)| to),
        upstreams: arguments.upstreams.clone(),
        stand_in,
        ..Overrides::default()
    };
    let source = Source::Folder(arguments.site.clone());
    let load = move || Site::load_with(&source, &overrides);
    let site = match load() {
        Ok(site) => site,
        Err(report) => {
            eprintln!("{report}");
            return Exit::Configuration;
        }
    };
    let driver = arguments.server.driver;
    let terms = Terms { load: Box::new(load), driver, ends_here: 0 };
    match serve(signals, terms, site, |_, _| {}) {
        Ok(()) => Exit::Fine,
        Err(error) => fail(error),
    }
}

/// Serves a site until a signal. Says where it listens on standard output, one line an address,
/// and then calls `started`.
pub(super) fn serve(
    signals: Heeded,
    terms: Terms,
    site: Site,
    started: impl FnOnce(&Server, Option<&AdminAddress>),
) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let binary = Binary::of_this_process().map_err(|error| words(&error))?;
    crash::log_panics();
    let mut inheritance = Inheritance::take()?;
    let (overview, orders) = Overview::new();
    let overview = Arc::new(overview);
    let plan = site.admin().cloned();
    let mut serving = Serving::start(terms, site, &mut inheritance)?;
    let admin = plan.map(|plan| {
        let observer = Observer::new(Arc::clone(&overview), serving.roster());
        let routes = admin::health(&overview).and(admin::commands(&overview));
        let routes = routes.and(observer.routes());
        let dashboard =
            Dashboard::start(move || observer.snapshot()).map_err(|error| words(&error))?;
        Admin::start(&plan, routes.and(dashboard.routes()), inheritance.is_succession())
    });
    let admin = admin.transpose()?;
    if let Some(admin) = &admin {
        say(format_args!("admin at {}", admin.address()));
    }
    let server = serving.server();
    for address in server.addresses() {
        say(format_args!("listening on http://{address}"));
    }
    for address in server.secure_addresses() {
        say(format_args!("listening on https://{address}"));
    }
    let plan = server.plan();
    tracing::info!(workers = plan.cpus.len(), driver = %plan.driver, "serving");
    started(server, admin.as_ref().map(Admin::address));
    let predecessor = inheritance.tell_served();
    serving.keep_certificates();
    let belongings = Belongings {
        signals,
        orders,
        overview,
        binary,
        predecessor,
        until_succeeded: admin.map(|admin| Box::new(admin) as Box<dyn Any>),
    };
    life::live(serving, belongings).map_err(|error| words(&error))
}
