//! `ringpress dev`: a site while it is being written. It is served in development mode on the
//! loopback, loaded again when a file of it is saved, and browsers that show it go along.
//!
//! What it adds to pages (a script, and what that asks for) is in this folder alone: `serve` has
//! nothing of it.

mod inject;
mod look;
mod policy;
mod service;
mod stage;
mod told;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::config::Compress;
use crate::control::life::{self, Heeded};
use crate::control::server::{Plan, Server};
use crate::control::{machine, serving};
use crate::driver::kind::Choice;
use crate::http::host;
use crate::limits::authoring::DRAIN;
use crate::site::{Overrides, Page, ServerPlan, Site, Source};
use crate::worker::Bounds;

use super::options::OfflineOption;
use super::{Exit, fail, logging, options, say};

use look::Lookout;
use service::DevRecipe;
use stage::Stage;

/// `ringpress dev`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The site: a folder with a site.toml, or the path of one
    #[arg(default_value = ".", env = "RINGPRESS_SITE")]
    site: PathBuf,
    /// Another URL for an upstream than the site has, several times for several
    #[arg(long = "upstream", value_name = "NAME=URL", env = "RINGPRESS_UPSTREAM",
          value_delimiter = ',', value_parser = options::upstream)]
    upstreams: Vec<(String, String)>,
    /// Address to listen on, whatever the site says; the first free port from 8080 on unless set
    #[arg(long, value_name = "HOST:PORT", value_parser = options::listen)]
    listen: Option<SocketAddr>,
    /// auto, monoio, ring, tokio-uring or epoll
    #[arg(long, value_name = "DRIVER", env = "RINGPRESS_DRIVER")]
    driver: Option<Choice>,
    #[command(flatten)]
    offline: OfflineOption,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let _logs = logging::start_warnings();
    // What is wrong in a folder can be put right while it is served; another folder it stays.
    if !arguments.site.exists()
        && let Err(report) = Site::load(&Source::Folder(arguments.site.clone()))
    {
        eprintln!("{report}");
        return Exit::Configuration;
    }
    match develop(arguments) {
        Ok(()) => Exit::Fine,
        Err(error) => fail(error),
    }
}

fn develop(arguments: &Arguments) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    machine::raise_open_files_limit();
    let listen = arguments.listen.unwrap_or_else(|| options::free_address(options::PORT));
    let overrides = Overrides {
        listen: Some(vec![listen]),
        development: Some(true),
        // A page that is kept is one that was made by a template of before.
        memo_max: Some(0),
        // Something is put into pages after they are made, and the way is short.
        compress: Some(Compress::off()),
        // There is no such listener, and nothing is recorded.
        admin: Some(None),
        access_log: Some(None),
        upstreams: arguments.upstreams.clone(),
        stand_in: arguments.offline.read()?,
        ..Overrides::default()
    };
    let signals = Heeded::catch().map_err(|error| words(&error))?;
    let (stage, lookout) = Stage::open(arguments.site.clone(), overrides);
    let driver = machine::driver(arguments.driver.unwrap_or_default())?;
    let plan = Plan {
        listen: vec![listen],
        secure: None,
        cpus: vec![None],
        driver,
        bounds: Bounds { queue_target: None, drain_timeout: DRAIN, ..bounds(&stage) },
    };
    let recipe = DevRecipe::new(Arc::clone(&stage));
    let first = stage.now().good.as_ref().map_or("/".to_owned(), |good| first_page(&good.site));
    let server = Server::start(&plan, recipe).map_err(|error| words(&error))?;
    let _lookout = Lookout::start(lookout, stage).map_err(|error| words(&error))?;
    for address in server.addresses() {
        say(format_args!("listening on http://{address}"));
        say(format_args!(
            "
  Open http://{address}{first} and write: what you save is served at once, and
  the browser goes along. End with Ctrl-C.
"
        ));
    }
    life::live_simply(server, &signals).map_err(|error| words(&error))
}

/// The path to begin with: `/`, or that of the first page that has no parameters, if `/` is none.
fn first_page(site: &Site) -> String {
    let front = "/";
    let is_front = site.route(front).is_some_and(|(page, _)| !page.is_internal())
        || site.static_at(front).is_some();
    let is_literal = |page: &&Page| !page.is_internal() && !page.pattern().contains('{');
    let first = site.pages().iter().filter(|_| !is_front).find(is_literal);
    first.map_or(front, Page::pattern).to_owned()
}

/// Those of the site as it is at the start; what it says of them later counts from the next start.
fn bounds(stage: &Stage) -> Bounds {
    match &stage.now().good {
        Some(good) => serving::bounds(good.site.server()),
        None => serving::bounds(&ServerPlan::default()),
    }
}

/// Whether a `Host` is this machine's own: nobody else is told what is inside.
fn is_own_host(host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(host::is_of_this_machine)
}
