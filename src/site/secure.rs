//! HTTPS of a site: its certificates as they are when it is loaded, and what does not fit. And the
//! other secrets that are read then, and never again: the token of the admin listener, the keys of
//! sessions, and values of upstreams' headers.

use super::admin::{AdminPlan, Token};
use super::plan::Overrides;
use super::session::SessionPlan;
use super::source::Files;
use super::{StandIn, given, places, secrets};
use crate::config::{self, At, CertificateTable, Issued, Problem, Server, SourceFile, Upstream};
use crate::http;
use crate::tls::files::{self, Part, Trouble};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How HTTPS is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurePlan {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Where the certificates are. The first is for whoever asks for no name that is known.
    pub files: Vec<files::Files>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// The port that visitors are sent to who come without TLS, if they are.
    pub redirect_port: Option<u16>,
}

/// What is found out about HTTPS, and about the admin listener, when a site is loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct Secured {
    pub(super) plan: Option<SecurePlan>,
    pub(super) admin: Option<AdminPlan>,
    pub(super) sessions: Option<Arc<SessionPlan>>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
    pub(super) lines: Vec<u8>,
    /// Field lines for each upstream, whose values were elsewhere.
    pub(super) secret_lines: Vec<Token>,
}

impl Secured {
    /// Puts secrets among the field lines of the upstreams that they are for.
    pub(super) fn tell(&self, upstreams: &mut [Upstream]) {
        for (upstream, lines) in upstreams.iter_mut().zip(&self.secret_lines) {
            upstream.headers.extend_from_slice(lines.reveal().as_bytes());
        }
    }

    /// Looks at what is written, and at the files.
    pub(super) fn look(source: &Files, overrides: &Overrides) -> Self {
        // What is wrong otherwise is told by whoever compiles the site.
        let (mut written, mut told) = config::read(&source.site);
        overrides.apply(&mut written.server, &mut written.upstreams, &mut told);
        let is_bare = written.pages.is_empty() && written.statics.is_empty() && told.is_empty();
        let mut found = Self::default();
        places::look(source, &written, overrides, &mut found.problems);
        secrets::look(source, &written, overrides, &mut found.problems);
        let (server, file) = (written.server, &source.site);
        let secure = &server.secure;
        found.problems.extend(is_bare.then(|| nothing_to_serve(file)));
        let (admin, folder) = (written.admin, source.folder());
        found.admin = AdminPlan::resolve(admin, overrides, file, folder, &mut found.problems);
        if let Some(session) = &server.session {
            let (problems, notes) = (&mut found.problems, &mut found.notes);
            let plan = SessionPlan::read(session, file, folder, problems, notes);
            found.sessions = plan.map(Arc::new);
        }
        // Where nobody is asked, nobody is told a secret.
        if !overrides.stand_in.as_ref().is_some_and(StandIn::is_offline) {
            let (problems, notes) = (&mut found.problems, &mut found.notes);
            let upstreams = written.upstreams.iter();
            let lines = upstreams.map(|one| given::lines(one, file, folder, problems, notes));
            found.secret_lines = lines.collect();
        }
        found.look_at_keys(&server, file);
        if secure.listen.is_empty() {
            return found;
        }
        let mut files: Vec<files::Files> =
            secure.certificates.iter().map(|table| place(table, folder)).collect();
        for (table, files) in secure.certificates.iter().zip(&files) {
            match files.load() {
                Ok(loaded) => {
                    let warnings = loaded.into_iter().flat_map(|it| it.warnings(SystemTime::now()));
                    let notes = warnings.map(|Trouble { message, remedy, .. }| {
                        let name = files.certificate.display();
                        format!("certificate {name}: {message}; {remedy}")
                    });
                    found.notes.extend(notes);
                }
                Err(Trouble { part, message, remedy }) => {
                    let problem = file.problem(span(table, part), message);
                    found.problems.push(problem.hint(remedy));
                }
            }
        }
        if let Some(acme) = server.acme.clone() {
            // It comes when it comes; until then there is none, or those of before.
            let Issued { certificate, key, names } = acme.beside(folder).issued();
            files.push(files::Files { certificate, key, names, may_be_missing: true });
        }
        if let Some(hsts) = &secure.hsts
            && http::push_field(&mut found.lines, HSTS, hsts.value.as_bytes()).is_err()
        {
            found.lines.clear();
        }
        found.plan = Some(SecurePlan {
            listen: secure.listen.clone(),
            files,
            http2: secure.http2,
            handshake_timeout: secure.handshake_timeout,
            redirect_port: secure.redirect_port(),
        });
        found
    }

    /// Keys that mean nothing without each other, or too much with each other.
    fn look_at_keys(&mut self, server: &Server, file: &SourceFile) {
        let secure = &server.secure;
        let mut problem = |span: &Range<usize>, message: &str, hint: &str| {
            self.problems.push(file.problem(span.clone(), message).hint(hint));
        };
        if secure.listen.is_empty() {
            let hint = "write listen_tls = [\"0.0.0.0:443\"], or serve with --listen-tls";
            if let Some(table) = secure.certificates.first() {
                let span = &table.certificate.span;
                problem(span, "this certificate is for nothing: `listen_tls` is not set", hint);
            }
            if let Some(At { span, .. }) = &secure.redirect {
                problem(span, "`redirect_to_https` needs `listen_tls`", hint);
            }
            if let Some(At { span, .. }) = &secure.hsts {
                problem(span, "`hsts` needs `listen_tls`", hint);
            }
        }
        if let Some(At { span, .. }) = &secure.redirect
            && !secure.listen.is_empty()
            && server.listen.is_empty()
        {
            let hint = "say where plain HTTP comes in, as in listen = [\"0.0.0.0:80\"]";
            problem(span, "`redirect_to_https` needs `listen`", hint);
        }
        if let Some(address) = server.listen.iter().find(|a| secure.listen.contains(a))
            && address.port() != 0
        {
            let message = format!("{address} is listened on both with TLS and without");
            let hint = "give `listen` another port, such as 80 beside 443";
            self.problems.push(Problem::of_file(&file.name, message).hint(hint));
        }
        let is_field = |field: &config::PageField| field.name.eq_ignore_ascii_case(HSTS);
        if let Some(At { span, .. }) = &secure.hsts
            && server.headers.iter().any(is_field)
        {
            let message = "`hsts` and [server.headers] both say Strict-Transport-Security";
            let problem = file.problem(span.clone(), message);
            self.problems.push(problem.hint("leave it out of [server.headers]"));
        }
    }
}

/// Of a site that serves nothing at all. Nobody wants one, but an editor or a copy that empties the
/// file before it writes it makes one, and so does a full disk: then what was served before is what
/// to go on with.
fn nothing_to_serve(file: &SourceFile) -> Problem {
    let message = "this site serves nothing: it has neither a [[page]] nor a [[static]]";
    let hint = "add a [[page]] with a `path` and a `template`; a file that was cut short while it \
                was written is better written beside it, and renamed";
    Problem::of_file(&file.name, message).hint(hint)
}

fn place(table: &CertificateTable, root: &Path) -> files::Files {
    let certificate = root.join(&table.certificate.value);
    let key = table.key.as_ref().map_or_else(|| certificate.clone(), |key| root.join(&key.value));
    let names = table.names.iter().map(|name| name.value.clone()).collect();
    files::Files { certificate, key, names, may_be_missing: false }
}

/// Where in the site file trouble comes from.
fn span(table: &CertificateTable, part: Part) -> Range<usize> {
    let certificate = &table.certificate.span;
    let part = match part {
        Part::Certificate => None,
        Part::Key => table.key.as_ref().map(|key| &key.span),
        Part::Name(place) => table.names.get(place).map(|name| &name.span),
    };
    part.unwrap_or(certificate).clone()
}

const HSTS: &str = "Strict-Transport-Security";
