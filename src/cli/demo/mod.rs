//! `ringpress demo`: a reader of Hacker News, and the API behind it.
//!
//! The data is a stand-in for the public Hacker News API, so that the demo runs without a
//! network. Everything in it is made up, the same on every run, and made here from word lists;
//! nothing is read or fetched. It can be searched and takes comments, which the public one does
//! not, and forgets those when it ends.

mod additions;
pub mod api;
mod items;
pub mod prose;
pub mod pursuits;
mod search;
mod service;
pub mod talk;
pub mod topics;
pub mod words;
pub mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::control::life::Heeded;
use crate::control::server::{Plan, Server};
use crate::control::serving::Terms;
use crate::driver::kind::Choice;
use crate::site::{AdminAddress, Overrides, Site, Workers};
use crate::worker::Bounds;

use super::options::{self, AdminChoice, ServerOptions};
use super::{Exit, fail, logging, say, serve, templates};

use api::Api;
use service::ApiRecipe;

/// `ringpress demo`
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerOptions,
    /// Address for the dashboard, as in 127.0.0.1:9180, or `off`; a free one near that unless given
    #[arg(long, value_name = "HOST:PORT|unix:PATH|off", value_parser = options::admin)]
    admin: Option<AdminChoice>,
    /// How long the API takes for each answer, as in 50ms or 1s
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = options::duration)]
    api_delay: Duration,
}

/// From where on a free port is looked for, for the dashboard.
const ADMIN_PORT: u16 = 9180;

pub(super) fn run(arguments: &Arguments) -> Exit {
    let _logs = logging::start();
    match demo(arguments) {
        Ok(()) => Exit::Fine,
        Err(error) => fail(error),
    }
}

fn demo(arguments: &Arguments) -> Result<(), String> {
    let signals = Heeded::catch().map_err(|error| error.to_string())?;
    let choice = arguments.server.driver.unwrap_or_default();
    let api = start_api(choice, arguments.api_delay)?;
    let api_address = *api.addresses().first().ok_or("the demo's API has no address")?;
    let listen = match arguments.server.listen.as_slice() {
        [] => vec![options::free_address(options::PORT)],
        given => given.to_vec(),
    };
    let admin = match &arguments.admin {
        Some(AdminChoice(given)) => given.clone(),
        None => Some(AdminAddress::Tcp(options::free_address(ADMIN_PORT))),
    };
    let overrides = Overrides {
        listen: Some(listen),
        admin: Some(admin),
        workers: Some(arguments.server.workers.clone().unwrap_or(Workers::All)),
        upstreams: vec![("hn".into(), format!("http://{api_address}/v0"))],
        ..Overrides::default()
    };
    let load = move || Site::load_with(&templates::NEWS.source(), &overrides);
    let site = load().map_err(|report| report.to_string())?;
    let delay = arguments.api_delay;
    // The API has the other end of each connection.
    let terms = Terms { load: Box::new(load), driver: Some(choice), ends_here: 1 };
    serve::serve(signals, terms, site, move |server, admin| {
        let addresses = server.addresses();
        let Some(address) = addresses.first() else { return };
        let cores = match admin {
            Some(AdminAddress::Tcp(admin)) => format!("\n  Its cores  http://{admin}/"),
            _ => String::new(),
        };
        say(format_args!(
            "
  A reader of Hacker News, made page by page from an API.
  Open       http://{address}/{cores}
  Its API    http://{api_address}/v0/topstories.json ({delay:?} an answer)

  Try        wrk -t1 -c64 -d5 http://{address}/
             ringpress demo --api-delay 500ms    (an API having a bad day)
             curl http://{address}/item/1        (a story that is not there)

  The site is templates/news: site.toml and a handful of templates.
  End with Ctrl-C.
"
        ));
    })
}

/// Starts the API on a thread of its own, on a free port of the loopback.
fn start_api(choice: Choice, delay: Duration) -> Result<Server, String> {
    let (driver, _) = choice.resolve().map_err(|error| error.to_string())?;
    let plan = Plan {
        secure: None,
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        cpus: vec![None],
        driver,
        // It is what the demo's server waits for, not what is tried.
        bounds: Bounds { queue_target: None, ..Bounds::default() },
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let recipe = ApiRecipe::new(Api::new(now.as_secs()), delay);
    Server::start(&plan, recipe).map_err(|error| error.to_string())
}
