//! HTTPS in `[server]`: the certificates, and what visitors are told to prefer it.

use super::reader::{At, Entry, Reader, has_key, integer, is_empty_list};
use super::server::read_listen;
use super::units;
use crate::limits;
use std::net::SocketAddr;
use std::time::Duration;
use toml::de::DeValue;

/// How HTTPS is served, if it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// Addresses; each worker has one socket for each.
    pub listen: Vec<SocketAddr>,
    /// `[[server.tls]]`, in the order written.
    pub certificates: Vec<CertificateTable>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Where plain HTTP is sent to, if it is.
    pub redirect: Option<At<Redirect>>,
    /// The value of Strict-Transport-Security, if it is sent.
    pub hsts: Option<At<String>>,
}

/// A certificate as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateTable {
    /// The file with the certificate.
    pub certificate: At<String>,
    /// The one with its key, if that is another.
    pub key: Option<At<String>>,
    /// The names to use it for; those in it where there are none.
    pub names: Vec<At<String>>,
}

/// Where visitors are sent to who come without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The port of the first address in `listen_tls`.
    First,
    /// This port.
    Port(u16),
}

impl Default for Secure {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            certificates: Vec::new(),
            http2: true,
            handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            redirect: None,
            hsts: None,
        }
    }
}

impl Secure {
    /// The port that visitors are sent to who come without TLS, if they are.
    pub fn redirect_port(&self) -> Option<u16> {
        match self.redirect.as_ref()?.value {
            Redirect::First => self.listen.first().map(SocketAddr::port),
            Redirect::Port(port) => Some(port),
        }
    }
}

/// Reads a key of `[server]` if it is about HTTPS; else it is not.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>, secure: &mut Secure) -> bool {
    match entry.key {
        "listen_tls" => read_listen(reader, entry, &mut secure.listen),
        "tls" => secure.certificates = read_certificates(reader, entry),
        "http2" => secure.http2 = reader.flag(entry).unwrap_or(true),
        "tls_handshake_timeout" => reader.duration(entry, &mut secure.handshake_timeout),
        "redirect_to_https" => secure.redirect = read_redirect(reader, entry),
        "hsts" => secure.hsts = read_hsts(reader, entry),
        _ => return false,
    }
    true
}

fn read_certificates(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<CertificateTable> {
    let tables = match entry.value.get_ref() {
        DeValue::Array(items) if items.iter().all(|item| item.get_ref().is_table()) => items,
        _ => {
            let message = "`tls` is a list of tables: write each as [[server.tls]]";
            reader.problem(entry.key_span.clone(), message);
            return Vec::new();
        }
    };
    if tables.len() > limits::TLS_IDENTITIES_MAX {
        let message = format!("there are more than {} certificates", limits::TLS_IDENTITIES_MAX);
        reader.problem(entry.key_span.clone(), message);
        return Vec::new();
    }
    let mut certificates = Vec::new();
    for table in tables {
        let span = table.span();
        let table = Entry { key: entry.key, key_span: span, value: table };
        certificates.extend(read_certificate(reader, &table));
    }
    certificates
}

fn read_certificate(reader: &mut Reader<'_>, table: &Entry<'_>) -> Option<CertificateTable> {
    let (mut certificate, mut key, mut names) = (None, None, Vec::new());
    for entry in &reader.table(table) {
        match entry.key {
            "certificate" => certificate = read_path(reader, entry),
            "key" => key = read_path(reader, entry),
            "names" if is_empty_list(entry) => {
                let message = "`names` is empty: leave it out for the names in the certificate";
                reader.problem(entry.value.span(), message);
            }
            "names" => names = read_names(reader, entry),
            _ => reader.unknown_key(entry, CERTIFICATE_KEYS, "in [[server.tls]]"),
        }
    }
    if !has_key(table, "certificate") {
        let hint = "write the path of a file, as in certificate = \"example.pem\"";
        reader.problem_hint(table.key_span.clone(), "`[[server.tls]]` needs `certificate`", hint);
    }
    Some(CertificateTable { certificate: certificate?, key, names })
}

fn read_path(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<String>> {
    let path = reader.string(entry)?;
    if path.value.trim().is_empty() || path.value.contains('\0') {
        reader.wrong_form(entry, "the path of a file");
        return None;
    }
    Some(path)
}

/// Names as certificates have them: of a host, or of all hosts of a domain.
fn read_names(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<At<String>> {
    let mut names = reader.strings(entry);
    names.retain(|name| {
        let host = name.value.strip_prefix("*.").unwrap_or(&name.value);
        let is_name = rustls::pki_types::ServerName::try_from(host).is_ok();
        if !is_name {
            let message = format!("`{}` is not a name of a host", name.value);
            let hint = "write it as in \"example.com\", or \"*.example.com\" for all of a domain";
            reader.problem_hint(name.span.clone(), message, hint);
        }
        is_name
    });
    for name in &mut names {
        name.value.make_ascii_lowercase();
    }
    names
}

fn read_redirect(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<Redirect>> {
    let value = match entry.value.get_ref() {
        DeValue::Boolean(false) => return None,
        DeValue::Boolean(true) => Redirect::First,
        value => match integer(value).and_then(|port| u16::try_from(port).ok()) {
            Some(port @ 1..) => Redirect::Port(port),
            _ => {
                reader.wrong_form(entry, "true, false or the port of HTTPS such as 443");
                return None;
            }
        },
    };
    Some(At { value, span: entry.key_span.clone() })
}

/// `"365d"`, or a table with more.
fn read_hsts(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<String>> {
    let (mut age, mut subdomains, mut preload) = (None, false, false);
    match entry.value.get_ref() {
        DeValue::Boolean(false) => return None,
        DeValue::Table(_) => {
            for inner in &reader.table(entry) {
                match inner.key {
                    "max_age" => age = read_age(reader, inner),
                    "include_subdomains" => subdomains = reader.flag(inner).unwrap_or_default(),
                    "preload" => preload = reader.flag(inner).unwrap_or_default(),
                    _ => reader.unknown_key(inner, HSTS_KEYS, "in `hsts`"),
                }
            }
            if !has_key(entry, "max_age") {
                let hint = "say for how long, as in max_age = \"365d\"";
                reader.problem_hint(entry.key_span.clone(), "`hsts` needs `max_age`", hint);
            }
        }
        _ => age = read_age(reader, entry),
    }
    let age = age?;
    if preload && (!subdomains || age < YEAR) {
        let message = "`preload` needs `include_subdomains = true` and a `max_age` of a year";
        let hint = "browsers' lists take no others: see https://hstspreload.org";
        reader.problem_hint(entry.key_span.clone(), message, hint);
    }
    let mut value = format!("max-age={}", age.as_secs());
    value += if subdomains { "; includeSubDomains" } else { "" };
    value += if preload { "; preload" } else { "" };
    Some(At { value, span: entry.key_span.clone() })
}

fn read_age(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Duration> {
    let age = entry.value.get_ref().as_str().and_then(units::parse_age);
    if age.is_none() {
        reader.wrong_form(entry, "a time such as \"365d\" or \"1h\"");
    }
    age
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const CERTIFICATE_KEYS: &[&str] = &["certificate", "key", "names"];
const HSTS_KEYS: &[&str] = &["max_age", "include_subdomains", "preload"];
