//! `[upstreams.NAME.tls]`: whose certificates are taken, and which one is ours, as written.

use super::reader::{At, Entry, Reader, is_empty_list};
use crate::limits;
use std::ops::Range;

/// `[upstreams.NAME.tls]`. What its files hold is the site's to look at.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// Files of the authorities that are trusted in place of the system's, if any are named.
    pub ca: Option<Vec<At<String>>>,
    /// The files of our own certificate and of its key.
    pub identity: Option<(At<String>, At<String>)>,
    /// The name that its certificate must be for, where that is not the host of `url`.
    pub name: Option<At<String>>,
    /// Where it is said that any certificate is taken, if it is.
    pub accepts_any: Option<Range<usize>>,
}

pub(super) fn read(reader: &mut Reader<'_>, table: &Entry<'_>) -> UpstreamTls {
    let mut tls = UpstreamTls::default();
    let (mut certificate, mut key) = (None, None);
    for entry in &reader.table(table) {
        match entry.key {
            "ca" => tls.ca = Some(read_authorities(reader, entry)),
            "certificate" => certificate = read_path(reader, entry),
            "key" => key = read_path(reader, entry),
            "name" => tls.name = reader.string(entry),
            "dangerous_accept_any_certificate" if reader.flag(entry) == Some(true) => {
                tls.accepts_any = Some(entry.key_span.clone());
            }
            "dangerous_accept_any_certificate" => {}
            _ => reader.unknown_key(entry, KEYS, "in `tls` of an upstream"),
        }
    }
    tls.identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(lonely), None) => {
            let hint = "add key = \"FILE\"; it may be the same file, where that holds both";
            reader.problem_hint(lonely.span, "`certificate` has no `key`", hint);
            None
        }
        (None, Some(lonely)) => {
            let hint = "add certificate = \"FILE\"; it may be the same file, where that holds both";
            reader.problem_hint(lonely.span, "`key` has no `certificate`", hint);
            None
        }
    };
    if let (Some(span), Some(_)) = (&tls.accepts_any, &tls.ca) {
        let message = "`dangerous_accept_any_certificate` makes `ca` of no use";
        let hint = "leave it out: with `ca` alone, certificates of those authorities are taken";
        reader.problem_hint(span.clone(), message, hint);
    }
    tls
}

fn read_authorities(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<At<String>> {
    if is_empty_list(entry) {
        let hint = "leave it out, and the system's authorities are trusted";
        reader.problem_hint(entry.value.span(), "`ca` is empty", hint);
    }
    let files = reader.strings(entry);
    if files.len() > limits::TLS_CA_FILES_MAX {
        let message = format!("`ca` has {} files; the most are", files.len());
        let hint = "one file may hold many certificates";
        let message = format!("{message} {}", limits::TLS_CA_FILES_MAX);
        reader.problem_hint(entry.value.span(), message, hint);
    }
    files.into_iter().filter(|file| is_path(reader, entry.key, file)).collect()
}

fn read_path(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<String>> {
    reader.string(entry).filter(|file| is_path(reader, entry.key, file))
}

/// Whether something may be the name of a file; says so where not.
fn is_path(reader: &mut Reader<'_>, key: &str, file: &At<String>) -> bool {
    let is_path = !file.value.is_empty() && !file.value.contains('\0');
    if file.value.starts_with("-----BEGIN") {
        let hint = "put it into a file, and write the file's name";
        let message = format!("`{key}` is the name of a file, not what is in it");
        reader.problem_hint(file.span.clone(), message, hint);
        return false;
    }
    if !is_path {
        reader.problem(file.span.clone(), format!("`{key}` must be the name of a file"));
    }
    is_path
}

const KEYS: &[&str] = &["ca", "certificate", "key", "name", "dangerous_accept_any_certificate"];
