//! `[server.acme]`: which certificate to ask of which directory (RFC 8555), and where to keep it.

use super::reader::{At, Entry, Reader, has_key, is_empty_list};
use crate::limits::ACME_NAMES_MAX;
use std::env;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The URL of the directory.
    pub directory: String,
    /// The names of the certificate, in lower case; the first one names its file.
    pub names: Vec<String>,
    /// Where the directory may write to, as in `mailto:you@example.com`.
    pub contact: Option<String>,
    /// The folder of account and certificate.
    pub storage: PathBuf,
    /// A file with the certificates that the directory's own is checked against, in place of the
    /// system's.
    pub ca: Option<PathBuf>,
}

/// Where a certificate from a directory is: what serves TLS reads it there, and looks whether the
/// file has changed.
///
/// Key and chain are one file, so that nobody ever reads the key of one certificate with the chain
/// of another: it is replaced by a rename, whole. `certificate` and `key` are therefore the same
/// path. Until the first certificate is there, there is no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The chain, as PEM, the certificate itself first.
    pub certificate: PathBuf,
    /// Its key, as PEM (PKCS #8).
    pub key: PathBuf,
    /// The names it is for.
    pub names: Vec<String>,
}

impl Acme {
    /// Where the certificate is, or will be.
    pub fn issued(&self) -> Issued {
        let name = self.names.first().map_or("certificate", String::as_str);
        let path = self.storage.join(format!("{name}.pem"));
        Issued { certificate: path.clone(), key: path, names: self.names.clone() }
    }

    /// The same with paths that begin at the folder of the site file, as they are meant.
    pub fn beside(self, folder: &Path) -> Self {
        Self { storage: folder.join(self.storage), ca: self.ca.map(|ca| folder.join(ca)), ..self }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> Option<Acme> {
    let mut acme = Acme {
        directory: LETS_ENCRYPT.to_owned(),
        names: Vec::new(),
        contact: None,
        storage: default_storage(env::var_os("STATE_DIRECTORY")),
        ca: None,
    };
    let mut terms = (table.key_span.clone(), None);
    let problems_before = reader.problems.len();
    for entry in &reader.table(table) {
        match entry.key {
            "directory" => {
                if let Some(url) = read_directory(reader, entry) {
                    acme.directory = url;
                }
            }
            "names" => acme.names = read_names(reader, entry),
            "contact" => acme.contact = read_contact(reader, entry),
            "storage" => {
                if let Some(path) = read_path(reader, entry) {
                    acme.storage = path;
                }
            }
            "ca" => acme.ca = read_path(reader, entry),
            "terms_agreed" => terms = (entry.key_span.clone(), reader.flag(entry)),
            _ => reader.unknown_key(entry, KEYS, "in [server.acme]"),
        }
    }
    table.value.get_ref().as_table()?;
    if !has_key(table, "names") {
        let hint = "say what the certificate is for, as in names = [\"example.com\"]";
        reader.problem_hint(table.key_span.clone(), "`acme` needs `names`", hint);
    }
    if terms.1 == Some(false) || !has_key(table, "terms_agreed") {
        let message = "`acme` needs `terms_agreed = true`: an account is made for you, and a \
                       directory gives one only to who has agreed to its terms";
        let hint = "read the terms (its directory links them as `termsOfService`), then write \
                    terms_agreed = true";
        reader.problem_hint(terms.0, message, hint);
    }
    if cfg!(not(feature = "acme")) {
        let hint = "build it with `--features acme`, or leave the table out";
        let message = "this build of ringpress knows no ACME";
        reader.problem_hint(table.key_span.clone(), message, hint);
    }
    (reader.problems.len() == problems_before).then_some(acme)
}

fn read_directory(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<String> {
    let url = reader.string(entry)?;
    let rest = url.value.strip_prefix("https://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic());
    if host.is_empty() || host.contains('@') || !is_plain || rest.contains('#') {
        let message = format!("`{}` is not the URL of an ACME directory", url.value);
        let hint = "write it as in \"https://acme-v02.api.letsencrypt.org/directory\": ACME is \
                    spoken over HTTPS only (RFC 8555 section 6.1)";
        reader.problem_hint(url.span, message, hint);
        return None;
    }
    Some(url.value)
}

fn read_names(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<String> {
    if is_empty_list(entry) {
        let hint = "say what the certificate is for, as in names = [\"example.com\"]";
        reader.problem_hint(entry.value.span(), "`names` is empty", hint);
    }
    let written = reader.strings(entry);
    if written.len() > ACME_NAMES_MAX {
        let message = format!("a certificate has {ACME_NAMES_MAX} names at most");
        reader.problem(entry.value.span(), message);
    }
    let mut names: Vec<String> = Vec::new();
    for At { value, span } in written.into_iter().take(ACME_NAMES_MAX) {
        let name = value.to_ascii_lowercase();
        if let Some((message, hint)) = name_trouble(&name) {
            reader.problem_hint(span, format!("`{value}` {message}"), hint);
        } else if names.contains(&name) {
            reader.problem(span, format!("`{value}` is listed twice"));
        } else {
            names.push(name);
        }
    }
    names
}

/// What keeps a text from being a name that http-01 can prove, and what to do about it.
fn name_trouble(name: &str) -> Option<(&'static str, &'static str)> {
    if name.starts_with("*.") {
        let hint = "list the names themselves; a certificate for all of them is got through DNS, \
                    which ringpress does not write to";
        return Some(("cannot be proved over HTTP (RFC 8555 section 8.3)", hint));
    }
    if name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok() {
        return Some(("is an address, not a name", "write the name that leads to it"));
    }
    if !name.is_ascii() {
        return Some(("is not how DNS has it", "write its ASCII form, which begins with xn--"));
    }
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Some(("is not a host name", "write it as in \"www.example.com\""));
    }
    None
}

fn read_contact(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<String> {
    let contact = reader.string(entry)?;
    let address = contact.value.strip_prefix("mailto:").unwrap_or_default();
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let is_address = address
        .split_once('@')
        .is_some_and(|(who, host)| !who.is_empty() && !host.is_empty() && !host.contains('@'));
    if !is_plain || !is_address {
        reader.wrong_form(entry, "one address such as \"mailto:you@example.com\"");
        return None;
    }
    Some(contact.value)
}

fn read_path(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<PathBuf> {
    let path = reader.string(entry)?;
    if path.value.is_empty() || path.value.contains('\0') {
        reader.wrong_form(entry, "a path");
        return None;
    }
    Some(path.value.into())
}

/// Where a certificate is kept if nobody says where: in the first of the folders that systemd has
/// made for what a service keeps (`StateDirectory=`), else beside the site file.
fn default_storage(state: Option<OsString>) -> PathBuf {
    let first = state.as_ref().and_then(|state| env::split_paths(state).next());
    match first.filter(|folder| folder.is_absolute()) {
        Some(folder) => folder.join("acme"),
        None => STORAGE.into(),
    }
}

/// Out of the way of what looks for templates and of what serves files, as it holds keys.
const STORAGE: &str = ".acme";
/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const KEYS: &[&str] = &["directory", "names", "contact", "storage", "ca", "terms_agreed"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_systemd_a_certificate_is_kept_where_the_service_may_write() {
        let storage = |state: &str| default_storage(Some(state.into()));
        assert_eq!(storage("/var/lib/ringpress"), Path::new("/var/lib/ringpress/acme"));
        assert_eq!(storage("/var/lib/one:/var/lib/two"), Path::new("/var/lib/one/acme"));
        for nothing in [None, Some("".into()), Some("here".into())] {
            assert_eq!(default_storage(nothing), Path::new(".acme"));
        }
    }

    #[test]
    fn names_that_http_can_prove() {
        for fine in
            ["example.com", "www.example.com", "localhost", "xn--bcher-kva.example", "a-b.c"]
        {
            assert_eq!(name_trouble(fine), None, "{fine}");
        }
        let long = "a.".repeat(130);
        for wrong in [
            "",
            ".",
            "a..b",
            "example.com.",
            "-a.com",
            "a-.com",
            "a_b.com",
            "a b.com",
            "../x",
            "a/b",
            "*.example.com",
            "*",
            "192.0.2.1",
            "::1",
            "[::1]",
            "bücher.example",
            &long,
        ] {
            assert!(name_trouble(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_beside_the_site_file_unless_its_path_is_whole() {
        let acme = Acme {
            directory: LETS_ENCRYPT.into(),
            names: vec!["example.com".into(), "www.example.com".into()],
            contact: None,
            storage: "acme".into(),
            ca: Some("/etc/ca.pem".into()),
        };
        let acme = acme.beside(Path::new("/srv/site"));
        assert_eq!(acme.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
        let issued = acme.issued();
        assert_eq!(issued.certificate, Path::new("/srv/site/acme/example.com.pem"));
        assert_eq!(issued.certificate, issued.key);
        assert_eq!(issued.names, acme.names);
    }
}
