//! What a site file names and nobody is to read, beside what it serves as it is: a secret in a
//! static folder is a problem, as whoever guesses its name has it.

use super::plan::Overrides;
use super::source::Files;
use super::statics::{is_served, tidy};
use crate::config::{AccessTarget, Problem, SiteFile, StaticKind};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// What a `[[static]]` serves.
struct Served<'a> {
    kind: StaticKind,
    /// As it is written.
    shown: &'a str,
    line: usize,
    place: PathBuf,
    real: PathBuf,
}

/// A file or folder that nobody is to read.
struct Secret {
    what: String,
    /// Whether it is of no use once somebody has read it.
    is_key: bool,
    /// As it is written.
    shown: String,
    place: PathBuf,
    /// Where, if that is in the site file.
    span: Option<Range<usize>>,
}

/// Looks for secrets among what is served.
pub(super) fn look(
    files: &Files,
    written: &SiteFile,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) {
    let Some(folder) = &files.folder else { return };
    let sources = written.statics.iter().filter_map(|table| table.source.as_ref());
    let served: Vec<Served<'_>> = sources
        .filter_map(|(kind, at)| {
            let place = folder.join(tidy(&at.value));
            let (line, _) = files.site.place(at.span.start);
            // What is not there is told elsewhere.
            let real = place.canonicalize().ok()?;
            Some(Served { kind: *kind, shown: &at.value, line, place, real })
        })
        .collect();
    if served.is_empty() {
        return;
    }
    for secret in secrets(folder, written, overrides) {
        let Some(by) = served.iter().find(|served| served.has(&secret.place)) else { continue };
        let Secret { what, is_key, shown, span, .. } = secret;
        let (name, line) = (&files.site.name, by.line);
        let message = format!(
            "{what} `{shown}` would be served to everybody: it is among `{}` of [[static]] \
             ({name}:{line})",
            by.shown
        );
        let problem = match span {
            Some(span) => files.site.problem(span, message),
            None => Problem::of_file("", message),
        };
        let mut hint = "move it to where nothing is served from".to_owned();
        hint +=
            if is_key { "; one that was served is no secret any more: make another" } else { "" };
        problems.push(problem.hint(hint));
    }
}

impl Served<'_> {
    /// Whether a file, or anything in a folder, is served.
    fn has(&self, place: &Path) -> bool {
        let real = real(place);
        if self.real.starts_with(&real) {
            return true;
        }
        // By its own name, or by that of a link to it which is in the same folder.
        let is_named = |place: &Path, folder: &Path| {
            place.strip_prefix(folder).is_ok_and(|rest| {
                rest.components().enumerate().all(|(at, part)| match part {
                    Component::Normal(name) => {
                        name.to_str().is_some_and(|name| is_served(name, at == 0))
                    }
                    _ => false,
                })
            })
        };
        self.kind == StaticKind::Folder
            && real.starts_with(&self.real)
            && (is_named(&real, &self.real) || is_named(place, &self.place))
    }
}

/// Where something is for real, or will be: what is not there yet is where its folder is.
fn real(place: &Path) -> PathBuf {
    for folder in place.ancestors() {
        if let Ok(real) = folder.canonicalize() {
            return match place.strip_prefix(folder) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    place.to_owned()
}

/// All that a site names and nobody is to read.
fn secrets(folder: &Path, written: &SiteFile, overrides: &Overrides) -> Vec<Secret> {
    let mut secrets = Vec::new();
    let mut add = |what: &str, shown: &str, span: Option<Range<usize>>| {
        let (is_key, place) = (what != ACCESS_LOG, folder.join(tidy(shown)));
        let (what, shown) = (what.to_owned(), shown.to_owned());
        secrets.push(Secret { what, is_key, shown, place, span });
    };
    let server = &written.server;
    for key in server.session.iter().flat_map(|session| &session.keys) {
        if !key.value.starts_with("env:") {
            add("the key of sessions", &key.value, Some(key.span.clone()));
        }
    }
    for table in &server.secure.certificates {
        let key = table.key.as_ref().unwrap_or(&table.certificate);
        add("the key of a certificate", &key.value, Some(key.span.clone()));
    }
    for upstream in &written.upstreams {
        for field in &upstream.secret_headers {
            if let Some(path) = field.place.value.strip_prefix("file:") {
                add("the value of a header", path, Some(field.place.span.clone()));
            }
        }
        if let Some((_, key)) = upstream.tls.as_ref().and_then(|tls| tls.identity.as_ref()) {
            let what = format!("the key for upstream `{}`", upstream.name.value);
            add(&what, &key.value, Some(key.span.clone()));
        }
    }
    let token = "the token of [admin]";
    match (&overrides.admin_token_file, &written.admin.token_file) {
        (Some(path), _) => {
            // A path on the command line begins where the command was given.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            add(token, &path.to_string_lossy(), None);
        }
        (None, Some(at)) => add(token, &at.value.to_string_lossy(), Some(at.span.clone())),
        (None, None) => {}
    }
    if let Some(AccessTarget::File(path)) = server.access_log.as_ref().map(|log| &log.to) {
        let span = server.spots.access_log.clone().filter(|_| overrides.access_log.is_none());
        add(ACCESS_LOG, &path.to_string_lossy(), span);
    }
    if let Some(acme) = &server.acme {
        let span = server.spots.acme_storage.clone();
        add("the folder with keys of [server.acme]", &acme.storage.to_string_lossy(), span);
    }
    secrets
}

const ACCESS_LOG: &str = "the access log";
