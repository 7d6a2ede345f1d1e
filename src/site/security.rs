//! How TLS is spoken with upstreams: what the files hold that `[upstreams.NAME.tls]` names, read
//! once and looked through, so that all that is wrong with them is told with the rest.

use super::plan::UpstreamPlan;
use super::source::Files;
use super::stand_in::StandIn;
use crate::config::{At, Origin, Problem, Upstream};
use crate::limits::TLS_FILE_BYTES_MAX;
use crate::tls::client::{check_authority, system_authorities};
use crate::tls::{ClientIdentity, ClientTls, Trust, pem};
use rustls::pki_types::ServerName;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the upstreams of a site need for TLS, in their order; those without it need nothing.
#[derive(Debug, Default)]
pub(super) struct Security {
    keys: Vec<Option<Keys>>,
    notes: Vec<String>,
    warnings: Vec<String>,
}

/// What one upstream needs.
#[derive(Debug)]
struct Keys {
    name: ServerName<'static>,
    trust: Trust,
    identity: Option<ClientIdentity>,
}

impl Security {
    /// Reads what is named beside the files of a site.
    pub(super) fn read(files: &Files, upstreams: &[Upstream], problems: &mut Vec<Problem>) -> Self {
        let mut security = Self::default();
        for upstream in upstreams {
            let mut desk = Desk { files, upstream, problems, security: &mut security };
            let keys = desk.keys();
            security.keys.push(keys);
        }
        security
    }

    /// The plans of these upstreams, each with TLS anew: with sessions of its own to resume; and
    /// with what stands before all of them, if anything does.
    ///
    /// # Errors
    /// None that reading did not have.
    pub(super) fn plans(
        &self,
        upstreams: Vec<Upstream>,
        stand_in: Option<&StandIn>,
    ) -> Result<Vec<UpstreamPlan>, String> {
        let both = upstreams.into_iter().zip(&self.keys);
        both.map(|(upstream, keys)| {
            let tls = keys
                .as_ref()
                .map(|keys| ClientTls::new(keys.name.clone(), &keys.trust, keys.identity.as_ref()));
            let plan = UpstreamPlan::new(upstream, tls.transpose()?)?;
            Ok(UpstreamPlan { stand_in: stand_in.cloned(), ..plan })
        })
        .collect()
    }

    /// Who is trusted, one sentence an upstream.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is dangerous, one sentence each.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// One upstream being looked at.
struct Desk<'a> {
    files: &'a Files,
    upstream: &'a Upstream,
    problems: &'a mut Vec<Problem>,
    security: &'a mut Security,
}

impl Desk<'_> {
    fn keys(&mut self) -> Option<Keys> {
        let origin = self.upstream.origin.as_ref().filter(|origin| origin.is_secure)?;
        let upstream = self.upstream;
        let ours = upstream.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        // Each of them, before any that is missing ends this: all that is wrong is told at once.
        let name = self.name(origin);
        let trust = self.trust();
        let identity = ours.map(|(certificate, key)| self.identity(certificate, key));
        let (name, (trust, trusted)) = (name?, trust?);
        let identity = match identity {
            Some(identity) => Some(identity?),
            None => None,
        };
        let mut note = format!(
            "upstream `{}` must have a certificate for {} {trusted}",
            self.upstream.name.value,
            name.to_str()
        );
        if let Trust::Anybody = trust {
            note = format!("upstream `{}` may have any certificate", self.upstream.name.value);
        }
        if let Some((certificate, _)) = ours {
            note += &format!("; ours is {}", certificate.value);
        }
        self.security.notes.push(note);
        Some(Keys { name, trust, identity })
    }

    /// The name that its certificate must be for.
    fn name(&mut self, origin: &Origin) -> Option<ServerName<'static>> {
        let written = self.upstream.tls.as_ref().and_then(|tls| tls.name.as_ref());
        let text = written.map_or(&origin.host, |name| &name.value);
        if let Ok(name) = ServerName::try_from(text.clone()) {
            return Some(name);
        }
        let message = format!("`{text}` is no name that a certificate can be for");
        let (place, hint) = match written {
            Some(name) => (name, "write a host name, as in \"api.example.com\", or an IP address"),
            None => (&self.upstream.name, "add `name` to `tls`: the name in its certificate"),
        };
        self.problem(place, message, hint);
        None
    }

    /// Whose certificates are taken, and in words who that is.
    fn trust(&mut self) -> Option<(Trust, String)> {
        let upstream = self.upstream;
        let tls = upstream.tls.as_ref();
        if tls.is_some_and(|tls| tls.accepts_any.is_some()) {
            let name = &upstream.name.value;
            self.security.warnings.push(format!(
                "upstream `{name}` may be anybody: `dangerous_accept_any_certificate` is on, so \
                 whoever is on the way to it can read and change everything"
            ));
            return Some((Trust::Anybody, String::new()));
        }
        let Some(files) = tls.and_then(|tls| tls.ca.as_ref()) else {
            return self.system();
        };
        let mut authorities = Vec::new();
        for file in files {
            let found = self.read(file, "ca", |bytes| {
                let found = pem::certificates(bytes)?;
                found.iter().try_for_each(check_authority)?;
                Ok(found)
            });
            authorities.extend(found.unwrap_or_default().0);
        }
        if authorities.is_empty() {
            return None;
        }
        let names: Vec<&str> = files.iter().map(|file| file.value.as_str()).collect();
        let words = format!("from an authority in {} ({})", names.join(", "), authorities.len());
        Some((Trust::Authorities(authorities), words))
    }

    /// Those whom the system trusts.
    fn system(&mut self) -> Option<(Trust, String)> {
        let name = &self.upstream.name;
        match system_authorities() {
            Ok(count) => {
                let words = format!("from an authority that this system trusts ({count})");
                Some((Trust::System, words))
            }
            Err(error) => {
                let message = format!("upstream `{}` is asked over HTTPS, and {error}", name.value);
                let hint = "install ca-certificates, or let SSL_CERT_FILE name a file of them, or \
                            name your own with `ca` in `tls`";
                self.problem(name, message, hint);
                None
            }
        }
    }

    /// Our own certificate.
    fn identity(&mut self, certificate: &At<String>, key: &At<String>) -> Option<ClientIdentity> {
        let chain = self.read(certificate, "certificate", pem::certificates);
        let (private, is_open) = self.read(key, "key", pem::private_key)?;
        if is_open {
            let (name, file) = (&self.upstream.name.value, &key.value);
            self.security.warnings.push(format!(
                "the key `{file}` of upstream `{name}` can be read by everybody on this machine: \
                 chmod o-r {file}"
            ));
        }
        match ClientIdentity::new((chain?.0, private)) {
            Ok(identity) => Some(identity),
            Err(error) => {
                let (key_file, file) = (&key.value, &certificate.value);
                let message = format!("`{key_file}` and `{file}` do not go together: {error}");
                let hint = "the certificate of this key comes first in its file, those of \
                            authorities after it";
                self.problem(key, message, hint);
                None
            }
        }
    }

    /// What is in a file, and whether everybody may read it.
    fn read<T>(
        &mut self,
        named: &At<String>,
        field: &str,
        take: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<(T, bool)> {
        let name = &named.value;
        let Some(folder) = &self.files.folder else {
            let message =
                format!("`{field}` names the file `{name}`, and a built-in site has none");
            self.problem(named, message, "put the site into a folder");
            return None;
        };
        let path = folder.join(name);
        let (message, hint) = match read_bytes(&path) {
            Ok((bytes, is_open)) => match take(&bytes) {
                Ok(taken) => return Some((taken, is_open)),
                Err(error) => (
                    format!("`{name}` of `{field}` {error}"),
                    format!("{field} wants a PEM file: {}", wanted(field)),
                ),
            },
            Err(error) => (
                format!("cannot read `{name}` of `{field}`: {error}"),
                format!("it is looked for at {}", path.display()),
            ),
        };
        self.problem(named, message, &hint);
        None
    }

    fn problem(&mut self, place: &At<String>, message: String, hint: &str) {
        let problem = self.files.site.problem(place.span.clone(), message);
        self.problems.push(problem.hint(hint));
    }
}

/// What a file must have in it.
fn wanted(field: &str) -> &'static str {
    match field {
        "ca" => "the certificates of the authorities that are trusted",
        "certificate" => "our certificate, then those of intermediate authorities",
        _ => "the key of our certificate, not encrypted",
    }
}

/// Reads a file that must not be too long. Whether everybody may read it, too.
pub(super) fn read_bytes(path: &Path) -> Result<(Vec<u8>, bool), String> {
    let words = |error: std::io::Error| error.to_string();
    // Looked at before it is opened: a pipe would keep us waiting.
    let metadata = path.metadata().map_err(words)?;
    if !metadata.is_file() {
        return Err("this is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(words)?;
    file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(words)?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        return Err(format!("it is over {TLS_FILE_BYTES_MAX} bytes"));
    }
    Ok((bytes, metadata.mode() & READ_BY_OTHERS != 0))
}

/// The bit of a file's mode that lets everybody read it.
const READ_BY_OTHERS: u32 = 0o004;
