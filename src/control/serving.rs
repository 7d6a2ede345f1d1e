//! A site that is served, and goes over to what it has become while it is: from the site file to
//! workers, and again.

use std::fmt;
use std::sync::Arc;

use crate::driver::kind::{Choice, Kind};
use crate::http::Limits;
use crate::limits::{ADDRESSES_MAX, TLS_HANDSHAKES_MAX, TURNED_AWAY_MAX};
use crate::page::{Challenges, Redirect};
use crate::site::{Report, SecurePlan, ServerPlan, Site};
use crate::tls::ServerTls;
use crate::upstream::Directory;
use crate::worker::Bounds;
use crate::worker::access::Sink;
use crate::worker::pages::{Replicas, SiteRecipe};

use super::access_log::AccessLog;
#[cfg(feature = "acme")]
use super::acme;
use super::certificates;
use super::descriptors::Wanted;
use super::inheritance::Inheritance;
use super::machine;
use super::overview::Reply;
use super::resolver::{Name, Resolver};
use super::roster::{Facts, Roster};
use super::server::{Incidents, Plan, Secure, Server, StartError};

/// How a site is come by, and what of its serving does not come from it.
pub struct Terms {
    /// Reads the site, as it is now.
    pub load: Box<dyn Fn() -> Result<Site, Report> + Send>,
    /// The driver, where the site is not asked.
    pub driver: Option<Choice>,
    /// The other ends of connections to upstreams take so many of this process's descriptors each.
    pub ends_here: usize,
}

/// A site that is served.
pub struct Serving {
    terms: Terms,
    server: Server,
    roster: Arc<Roster>,
    names: Names,
    certificates: Option<Certificates>,
    acme: AcmeState,
    /// The admin listener that this process was started with.
    admin: Option<crate::site::AdminPlan>,
    /// Access logs; the first is in use, and the others are those of requests that came before.
    logs: Vec<Log>,
    choice: Choice,
    /// Descriptors that were open before the workers started.
    open: Option<(usize, usize)>,
}

/// The names of upstreams, and the thread that looks them up.
struct Names {
    names: Vec<Name>,
    directory: Directory,
    _resolver: Resolver,
}

/// Certificates, and the thread that looks after them.
struct Certificates {
    files: Vec<crate::tls::files::Files>,
    http2: bool,
    tls: ServerTls,
    keeper: certificates::Keeper,
}

/// An access log, and what it was started with.
struct Log {
    plan: crate::site::AccessLog,
    folder: std::path::PathBuf,
    workers: usize,
    log: AccessLog,
}

/// What is got from a directory of certificates, and how.
#[derive(Default)]
struct AcmeState {
    config: Option<crate::config::Acme>,
    challenges: Option<Arc<Challenges>>,
    /// Until it is started.
    #[cfg(feature = "acme")]
    keeper: Option<acme::Keeper>,
    #[cfg(feature = "acme")]
    keeping: Option<acme::Keeping>,
}

/// What is about to be served.
struct Prepared {
    plan: Plan,
    recipe: SiteRecipe,
    /// Where they are others than before.
    names: Option<Names>,
    certificates: Option<Certificates>,
    log: Option<Log>,
    choice: Choice,
}

impl Serving {
    /// Starts to serve a site, on sockets that were inherited where they are of use.
    ///
    /// # Errors
    /// In words.
    pub fn start(terms: Terms, site: Site, inheritance: &mut Inheritance) -> Result<Self, String> {
        machine::raise_open_files_limit();
        let open = machine::open_files();
        #[cfg(feature = "acme")]
        let keeper = site.server().acme.as_ref().map(acme::Keeper::new).transpose()?;
        #[cfg(feature = "acme")]
        let challenges = keeper.as_ref().map(acme::Keeper::challenges);
        #[cfg(not(feature = "acme"))]
        let challenges = None;
        let config = site.server().acme.clone();
        let admin = site.admin().cloned();
        let (roster, facts) = (Arc::<Roster>::default(), Facts::of(&site));
        let is_steered = site.server().incoming_cpu;
        let nothing = Before { terms: &terms, open, challenges: challenges.as_ref(), known: None };
        let prepared = nothing.prepare(site)?;
        let Prepared { plan, recipe, names, certificates, log, choice } = prepared;
        let names = names.ok_or("no names were looked up")?;
        let (sockets, spare) = (&mut inheritance.sockets, inheritance.spare);
        let server = Server::start_on(&plan, recipe, sockets, spare).map_err(in_words)?;
        for unused in sockets.drain(..) {
            let address = unused.socket.local_addr().map_err(words)?;
            tracing::warn!(%address, "a socket that was handed to us is at no address of the site");
        }
        let acme = AcmeState {
            config,
            challenges,
            #[cfg(feature = "acme")]
            keeper,
            #[cfg(feature = "acme")]
            keeping: None,
        };
        steer(&server, is_steered);
        roster.serve(facts);
        server.report_to(&roster);
        let logs = Vec::from_iter(log);
        Ok(Self { terms, server, roster, names, certificates, acme, admin, logs, choice, open })
    }

    /// Begins to look after certificates from a directory, where the site has them. To be called
    /// when no predecessor accepts from the same sockets, or it was told to stop: the directory
    /// asks back, and it may not know what to answer.
    pub fn keep_certificates(&mut self) {
        #[cfg(feature = "acme")]
        if let Some(keeper) = self.acme.keeper.take() {
            match keeper.start(&self.server.addresses()) {
                Ok(keeping) => self.acme.keeping = Some(keeping),
                Err(error) => tracing::error!(%error, "no certificate is got or renewed"),
            }
        }
    }

    /// Reads the site again, and serves it as it is now. Where it is none any more, or cannot be
    /// served, the old one stays.
    pub fn reload(&mut self) -> Reply {
        match (self.terms.load)() {
            Ok(site) => self.go_over(site).map_or_else(Reply::Failed, Reply::Done),
            Err(report) => Reply::Configuration(report.to_string()),
        }
    }

    /// Serves another site, or the same one as it is now; in a few words, how that was done.
    ///
    /// # Errors
    /// In words; the old one is served then.
    pub fn go_over(&mut self, site: Site) -> Result<String, String> {
        if site.server().acme != self.acme.config {
            return Err("[server.acme] has changed, which takes a new process: `ringpress \
                        upgrade`, or a restart"
                .into());
        }
        let pages = match site.pages().len() {
            1 => "1 page".to_owned(),
            pages => format!("{pages} pages"),
        };
        let before = Before {
            terms: &self.terms,
            open: self.open,
            challenges: self.acme.challenges.as_ref(),
            known: Some(self),
        };
        let (facts, is_steered) = (Facts::of(&site), site.server().incoming_cpu);
        let has_other_admin = site.admin() != self.admin.as_ref();
        let prepared = before.prepare(site)?;
        let Prepared { plan, recipe, names, certificates, log, choice } = prepared;
        let mut how = if plan == *self.server.plan() {
            self.server.replace(recipe).map_err(in_words)?;
            format!("{pages}; connections and caches stay")
        } else {
            let workers = plan.cpus.len();
            self.server.renew(plan, recipe).map_err(in_words)?;
            format!("{pages} on {workers} new workers; the old ones finish what they have")
        };
        if let Some(names) = names {
            self.names = names;
        }
        if let Some(certificates) = certificates {
            self.certificates = Some(certificates);
        }
        if let Some(log) = log {
            // What is the oldest's was written long ago.
            self.logs.truncate(LOGS_MAX - 1);
            self.logs.insert(0, log);
        }
        self.choice = choice;
        steer(&self.server, is_steered);
        self.roster.serve(facts);
        self.server.report_to(&self.roster);
        if has_other_admin {
            how += "; [admin] is as it was, as another takes `ringpress upgrade`";
        }
        Ok(how)
    }

    /// Who works, and for which site: kept as it is.
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    /// Looks after the workers, as [`Server::look_after`].
    pub fn look_after(&mut self) -> Incidents {
        let incidents = self.server.look_after();
        if incidents != Incidents::default() {
            self.server.report_to(&self.roster);
        }
        incidents
    }

    /// When the first of the certificates in use expires, seconds since 1970; none without any.
    pub fn certificate_expiry_unix_s(&self) -> Option<u64> {
        self.server.plan().secure.as_ref()?;
        self.certificates.as_ref()?.keeper.expiry_unix_s()
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Opens the access log anew, as its file was moved away.
    pub fn reopen_logs(&self) {
        self.logs.iter().for_each(|log| log.log.reopener().reopen());
    }

    /// Lets go of all but the server.
    pub fn into_server(self) -> Server {
        #[cfg(feature = "acme")]
        drop(self.acme.keeping);
        self.server
    }
}

/// What there is when a site is prepared.
struct Before<'a> {
    terms: &'a Terms,
    open: Option<(usize, usize)>,
    challenges: Option<&'a Arc<Challenges>>,
    /// The site that is served now.
    known: Option<&'a Serving>,
}

impl Before<'_> {
    fn prepare(&self, mut site: Site) -> Result<Prepared, String> {
        for warning in site.warnings() {
            tracing::warn!("{warning}");
        }
        let wanted = machine::choice(site.server().driver);
        let choice = self.terms.driver.unwrap_or(wanted);
        let (certificates, secure) = self.secure(&site)?;
        let port = site.secure().and_then(|secure| secure.redirect_port);
        let tls = secure.as_ref().map(|secure| secure.tls.clone());
        let redirect = tls.zip(port).map(|(tls, port)| Redirect { tls, port });
        let mut plan = Plan {
            listen: site.server().listen.clone(),
            secure,
            cpus: machine::cpus(&site.server().workers)?,
            driver: self.driver(choice)?,
            bounds: bounds(site.server()),
        };
        let (names, directory) = self.names(&site)?;
        self.share_descriptors(&mut site, &mut plan);
        warn_of_few_connections(&site, plan.cpus.len());
        let (log, access) = self.access_log(&site, plan.cpus.len())?;
        let replicas = match self.known {
            // Compiled here, as the loops of workers that serve would stand still for it.
            Some(_) => Replicas::make(&site, plan.cpus.len()).map_err(words)?,
            None => Replicas::default(),
        };
        let recipe = SiteRecipe {
            site,
            replicas,
            directory,
            id_seed: std::process::id(),
            workers: plan.cpus.len(),
            redirect,
            challenges: self.challenges.cloned(),
            access,
        };
        Ok(Prepared { plan, recipe, names, certificates, log, choice })
    }

    fn driver(&self, choice: Choice) -> Result<Kind, String> {
        match self.known {
            Some(known) if known.choice == choice => Ok(known.server.plan().driver),
            _ => machine::driver(choice),
        }
    }

    /// Where TLS is spoken, with the certificates that are in use where they are the same.
    fn secure(&self, site: &Site) -> Result<(Option<Certificates>, Option<Secure>), String> {
        let Some(secure) = site.secure() else { return Ok((None, None)) };
        let (listen, http2) = (secure.listen.clone(), speaks_http2(secure));
        let known = self.known.and_then(|known| known.certificates.as_ref());
        if let Some(known) = known.filter(|one| one.files == secure.files && one.http2 == http2) {
            return Ok((None, Some(Secure { listen, tls: known.tls.clone() })));
        }
        let files = secure.files.clone();
        let (keeper, tls) = certificates::Keeper::start(files.clone(), http2)?;
        let certificates = Certificates { files, http2, tls: tls.clone(), keeper };
        Ok((Some(certificates), Some(Secure { listen, tls })))
    }

    /// Where requests are recorded: in the log that is open already, where that is the same.
    fn access_log(
        &self,
        site: &Site,
        workers: usize,
    ) -> Result<(Option<Log>, Option<Sink>), String> {
        let Some(plan) = site.server().access_log.as_ref() else { return Ok((None, None)) };
        let folder = site.folder();
        let is_same =
            |one: &&Log| one.plan.to == plan.to && one.folder == folder && one.workers >= workers;
        if let Some(known) = self.known.and_then(|known| known.logs.first()).filter(is_same) {
            return Ok((None, Some(known.log.sink())));
        }
        let log = AccessLog::start(plan, folder, workers)?;
        let sink = log.sink();
        let (plan, folder) = (plan.clone(), folder.to_owned());
        Ok((Some(Log { plan, folder, workers, log }), Some(sink)))
    }

    /// Where the upstreams are; looked up anew only where others are asked for.
    fn names(&self, site: &Site) -> Result<(Option<Names>, Directory), String> {
        let names = machine::names(site);
        if let Some(known) = self.known.map(|known| &known.names).filter(|one| one.names == names) {
            return Ok((None, Arc::clone(&known.directory)));
        }
        let (resolver, directory) = Resolver::start(names.clone()).map_err(words)?;
        let found = Names { names, directory: Arc::clone(&directory), _resolver: resolver };
        Ok((Some(found), directory))
    }

    /// Lowers what is configured to what there are descriptors for, and says so.
    fn share_descriptors(&self, site: &mut Site, plan: &mut Plan) {
        let Some((open_max, open)) = self.open else { return };
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
            each: plan.driver.descriptors_a_connect() + self.terms.ends_here,
        };
        let shares = wanted.shares();
        let known = self.known.map(|known| known.server.plan().bounds.connections_max);
        let is_news = known != Some(shares.connections_max);
        let is_less = shares.connections_max < wanted.connections_max || shares.upstreams != most;
        if is_less && is_news {
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
}

/// Says where there will be more connections than is configured: each worker has its own.
fn warn_of_few_connections(site: &Site, workers: usize) {
    for upstream in site.upstreams().iter().filter(|one| one.max_connections < workers) {
        tracing::warn!(
            upstream = upstream.name,
            max_connections = upstream.max_connections,
            workers,
            "each worker has at least one connection to an upstream: to keep `max_connections`, \
             run as many workers or fewer (--workers), or raise it"
        );
    }
}

/// Access logs that are kept at once, when one takes the place of another.
const LOGS_MAX: usize = 3;

/// Has visitors go to the worker on whose CPU their packets come in, where a site wants it.
fn steer(server: &Server, is_on: bool) {
    if !server.sockets().steer(&server.plan().cpus, is_on) && is_on {
        tracing::warn!(
            "incoming_cpu is of no use here: each worker needs a CPU, and a listening socket of \
             its own"
        );
    }
}

/// Why it does not start, with the options of the command line that name an address.
fn in_words(error: StartError) -> String {
    match error {
        StartError::Listen(..) => format!("{error} (`--listen`, `--listen-tls`)"),
        other => words(other),
    }
}

fn words(error: impl fmt::Display) -> String {
    error.to_string()
}

/// Whether HTTP/2 is offered: where a site wants it, by a build that has it.
fn speaks_http2(secure: &SecurePlan) -> bool {
    secure.http2 && cfg!(feature = "http2")
}

/// What the site file bounds, as the workers keep it.
pub fn bounds(server: &ServerPlan) -> Bounds {
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
