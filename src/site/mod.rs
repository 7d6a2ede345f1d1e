//! A site, compiled and immutable: its routes, what each page fetches in which order, and its
//! templates. Everything that can be wrong with it is found when it is loaded.

mod admin;
mod advice;
mod answers;
mod asks;
mod assets;
mod budget;
mod caching;
mod check;
mod compile;
mod cookies;
mod cycle;
mod error_page;
mod fragments;
mod given;
mod inherited;
mod page;
mod places;
mod plan;
mod policy;
mod route;
mod secrets;
mod secure;
mod security;
mod session;
mod source;
mod stand_in;
mod statics;

pub use crate::config::{ALL_PPM, AccessFormat, AccessLog, AccessTarget};
pub use crate::config::{DriverChoice, Priority, Problem, RateLimit, Report, Warning, Workers};
pub(crate) use crate::press::is_template;
pub use crate::press::{Ask, Context, FetchFailure, Fragments, Inputs, Uses, Value};
pub use admin::{AdminAddress, AdminPlan, Token};
pub use answers::{Asker, Said};
pub(crate) use answers::{forget_caching, keep_private};
pub use asks::{Asks, Takes};
pub use assets::{AssetHash, hash_of, hash_of_large, unhashed};
pub use budget::Budget;
pub use caching::Caching;
pub use error_page::ErrorFacts;
pub use page::{Each, Fetch, Node, NodeKind, Page, Ties};
pub use plan::{Overrides, ServerPlan, UpstreamPlan};
pub use secure::SecurePlan;
pub use session::{Opened as OpenedSession, SessionPlan, SessionValues};
pub use source::Source;
pub use stand_in::{Answers, Record, Recorder, StandIn, Tally};
pub use statics::{INDEX, Opened, Root, Static, name_of};

use crate::press::{Press, TemplateId};
use policy::Policy;
use route::{Params, Router};
use secure::Secured;
use security::Security;
use source::Files;
use std::path::Path;
use std::sync::Arc;

/// A site.
#[derive(Debug)]
pub struct Site {
    name: String,
    server: ServerPlan,
    upstreams: Vec<UpstreamPlan>,
    pages: Vec<Page>,
    statics: Vec<Static>,
    router: Router,
    press: Arc<Press>,
    /// The template for each status, and with `None` that for all others.
    error_templates: Vec<(Option<u16>, TemplateId)>,
    policy: Policy,
    secured: Secured,
    security: Arc<Security>,
    files: Arc<Files>,
    overrides: Overrides,
}

impl Site {
    /// Loads a site as it is written.
    ///
    /// # Errors
    /// All that is wrong with it, at once.
    pub fn load(source: &Source) -> Result<Self, Report> {
        Self::load_with(source, &Overrides::default())
    }

    /// Loads a site, with what the command line says in place of what the site file says.
    ///
    /// # Errors
    /// All that is wrong with it, at once.
    pub fn load_with(source: &Source, overrides: &Overrides) -> Result<Self, Report> {
        let files = Arc::new(source::read(source)?);
        let secured = Secured::look(&files, overrides);
        compile::compile(files, overrides.clone(), None, secured)
    }

    /// Where the admin pages of a site are, if anywhere. What else may be wrong with it is for the
    /// server to say: its secrets may be where others do not see them, as in its environment.
    ///
    /// # Errors
    /// What is wrong with that, or with a site file that cannot be read as far.
    pub fn admin_of(source: &Source, overrides: &Overrides) -> Result<Option<AdminPlan>, Report> {
        let files = source::read(source)?;
        let (written, mut problems) = crate::config::read(&files.site);
        let (mut wrong, site) = (Vec::new(), &files.site);
        let plan = AdminPlan::resolve(written.admin, overrides, site, files.folder(), &mut wrong);
        if wrong.is_empty() && (plan.is_some() || problems.is_empty()) {
            return Ok(plan);
        }
        problems.extend(wrong);
        Err(Report::new(&files.name, &site.name, problems))
    }

    /// The same site compiled once more, sharing nothing that is counted: a worker that has its
    /// own does not touch a cache line another one writes to, and resumes TLS sessions of its own.
    /// Files are not read again.
    ///
    /// # Errors
    /// None that loading did not have.
    pub fn replica(&self) -> Result<Self, Report> {
        let security = Some(Arc::clone(&self.security));
        let mut site = compile::compile(
            self.files.clone(),
            self.overrides.clone(),
            security,
            self.secured.clone(),
        )?;
        let most: Vec<usize> = self.upstreams.iter().map(|one| one.connections_most).collect();
        site.lower_max_connections(&most);
        Ok(site)
    }

    /// Has no more connections to the upstreams than these, in their order.
    pub fn lower_max_connections(&mut self, most: &[usize]) {
        for (upstream, most) in self.upstreams.iter_mut().zip(most) {
            upstream.connections_most = upstream.max_connections.min(*most);
        }
    }

    /// The site's folder, or the name it is embedded under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The site's folder, which paths in its site file begin at.
    pub fn folder(&self) -> &Path {
        self.files.folder()
    }

    /// Where and how to serve.
    pub fn server(&self) -> &ServerPlan {
        &self.server
    }

    /// How HTTPS is served, if it is.
    pub fn secure(&self) -> Option<&SecurePlan> {
        self.secured.plan.as_ref()
    }

    /// What there is to say about its certificates, a sentence or two each.
    pub fn secure_notes(&self) -> &[String] {
        &self.secured.notes
    }

    /// How sessions are sealed and opened, if the site has any.
    pub fn sessions(&self) -> Option<&SessionPlan> {
        self.secured.sessions.as_deref()
    }

    /// The field lines of whatever is sent over HTTPS.
    pub fn secure_fields(&self) -> &[u8] {
        &self.secured.lines
    }

    /// Where the admin pages are, if anywhere.
    pub fn admin(&self) -> Option<&AdminPlan> {
        self.secured.admin.as_ref()
    }

    /// The upstreams; fetches name them by their index.
    pub fn upstreams(&self) -> &[UpstreamPlan] {
        &self.upstreams
    }

    /// The pages.
    pub fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// Its static files.
    pub fn statics(&self) -> &[Static] {
        &self.statics
    }

    /// The static files that a normalized path is among, with their place: it is counted on from
    /// that of the last page; and the rest of the path, still encoded.
    pub fn static_at<'s, 'p>(&'s self, path: &'p str) -> Option<(usize, &'s Static, &'p str)> {
        let (number, _) = self.router.at(path)?;
        let found = self.statics.get(number.checked_sub(self.pages.len())?)?;
        Some((number, found, path.strip_prefix(found.prefix()).unwrap_or_default()))
    }

    /// Whether some pages go before others.
    pub fn has_priorities(&self) -> bool {
        self.pages.iter().any(|page| page.priority() != Priority::default())
    }

    /// The field lines of all HTML: what browsers may do with it.
    pub fn page_fields(&self) -> &[u8] {
        self.policy.lines()
    }

    /// Where the templates and the Content-Security-Policy do not get on, one sentence each.
    pub fn policy_notes(&self) -> &[String] {
        self.policy.notes()
    }

    /// Whose certificates upstreams must have, one sentence for each that is asked over HTTPS.
    pub fn security_notes(&self) -> &[String] {
        self.security.notes()
    }

    /// What is dangerous about the site as it is, one sentence each. To be told each time that it
    /// is checked or served.
    pub fn warnings(&self) -> &[String] {
        self.security.warnings()
    }

    /// The page of a path that is normalized (RFC 3986 section 6.2.2), with its parameters, each
    /// still encoded. Literal beats parameter; what has a `{rest*}` comes after all that has none.
    pub fn route<'s, 'p>(&'s self, path: &'p str) -> Option<(&'s Page, Params<'s, 'p>)> {
        self.route_numbered(path).map(|(_, page, params)| (page, params))
    }

    /// The same, with the page's place among [`Site::pages`].
    pub fn route_numbered<'s, 'p>(
        &'s self,
        path: &'p str,
    ) -> Option<(usize, &'s Page, Params<'s, 'p>)> {
        let (number, params) = self.router.at(path)?;
        Some((number, self.pages.get(number)?, params))
    }
}
