//! `site.toml` as written: text in, typed tables out, with the place of everything a later check
//! may complain about. All that is wrong is collected into one [`Report`]; nothing is guessed.
//!
//! This layer knows the keys and the forms of their values. Whether names fit together (a fetch
//! from an upstream that is not there, a template that is missing) is the site's to check.

mod access_log;
mod acme;
mod admin;
mod answers;
mod asks;
mod caching;
mod compress;
mod cookies;
mod fallback;
mod forms;
mod headers;
mod origin;
mod pages;
mod policies;
mod proxies;
mod rate_limit;
mod reader;
mod report;
mod secure;
mod server;
mod session;
mod spots;
mod statics;
mod units;
mod upstream_tls;
mod upstreams;
mod vain;

pub use access_log::{ALL_PPM, AccessFormat, AccessLog, AccessTarget};
pub use acme::{Acme, Issued};
pub use admin::{Admin, AdminAddress, TOKEN_HINT, token_trouble};
pub use answers::{AnswerTable, RedirectTable};
pub use asks::{AsksTable, BodyKind, BodyTable, JsonTable};
pub use caching::CacheTable;
pub use compress::{Compress, PackedCoding};
pub use cookies::{CookieAttributes, CookieTable, SameSite};
pub use forms::TakesTable;
pub use headers::{PageField, is_own_response_field};
pub use origin::Origin;
pub use pages::{FetchTable, LetTable, PageTable, Priority};
pub use policies::{Breaker, Cause, Eject, Health, Hedge, Retry};
pub use proxies::ForwardedFields;
pub use rate_limit::RateLimit;
pub use reader::At;
pub use report::{Problem, Report, SourceFile, Warning, suggestion};
pub use secure::{CertificateTable, Redirect, Secure};
pub use server::{DriverChoice, Server, TLS as ADD_CERTIFICATE, Workers, listen_address};
pub use session::{SESSION_KEY_HINT, Session};
pub use spots::Spots;
pub use statics::{StaticKind, StaticTable};
pub use units::{parse_duration, parse_size};
pub use upstream_tls::UpstreamTls;
pub use upstreams::{
    SECRET_HINT, SecretField, Upstream, header_name_trouble, header_value_trouble,
};

use reader::Reader;

/// What `site.toml` says, each table read as far as it could be.
#[derive(Debug, Default)]
pub struct SiteFile {
    /// `[server]`, defaults filled in.
    pub server: Server,
    /// `[admin]`.
    pub admin: Admin,
    /// `[upstreams.NAME]`, in the order written.
    pub upstreams: Vec<Upstream>,
    /// `[[page]]`, in the order written.
    pub pages: Vec<PageTable>,
    /// `[[static]]`, in the order written.
    pub statics: Vec<StaticTable>,
}

/// Reads a site file. What could be read is returned along with all that is wrong with it; the
/// tables may be used only to find more that is wrong unless there are no problems.
pub fn read(file: &SourceFile) -> (SiteFile, Vec<Problem>) {
    let mut reader = Reader::new(file);
    let mut site = SiteFile::default();
    let (document, errors) = toml::de::DeTable::parse_recoverable(&file.text);
    if !errors.is_empty() {
        // After a syntax error the rest may be misread: complaining about it would mislead.
        reader.syntax_errors(&errors);
        return (site, reader.problems);
    }
    for entry in reader.entries(document.get_ref()) {
        match entry.key {
            "server" => site.server = server::read(&mut reader, &entry),
            "admin" => site.admin = admin::read(&mut reader, &entry),
            "upstreams" => site.upstreams = upstreams::read(&mut reader, &entry),
            "page" => site.pages = pages::read(&mut reader, &entry),
            "static" => site.statics = statics::read(&mut reader, &entry),
            _ => reader.unknown_key(&entry, TOP_KEYS, "at the top of the file"),
        }
    }
    for page in &site.pages {
        vain::check_cache(&mut reader, page);
        vain::check_internal(&mut reader, page);
    }
    for upstream in &site.upstreams {
        vain::check_times(&mut reader, upstream, &site.pages);
    }
    (site, reader.problems)
}

/// The JSON Schema (draft 7) of a site file, for editors. `tests/schema.rs` keeps it and the
/// readers of this module together.
pub const SCHEMA: &str = include_str!("site.schema.json");

const TOP_KEYS: &[&str] = &["server", "admin", "upstreams", "page", "static"];

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let file = SourceFile::new("site.toml", text);
        read(&file).1.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn an_empty_file_has_the_defaults() {
        let file = SourceFile::new("site.toml", "");
        let (site, problems) = read(&file);
        assert!(problems.is_empty());
        assert_eq!(site.server.idle_timeout, crate::limits::IDLE_TIMEOUT);
        assert_eq!(site.server.workers, Workers::All);
        assert!(site.pages.is_empty());
    }

    #[test]
    fn problems_of_all_tables_come_at_once() {
        let text =
            "[server]\nworkers = -1\nlisten = 'x'\n[upstreams.a]\nurl = 3\n[[page]]\npth = '/'";
        assert_eq!(problems(text).len(), 6, "{:?}", problems(text));
    }

    #[test]
    fn a_syntax_error_hides_what_follows_from_it() {
        assert_eq!(problems("[server\nworkers = 1").len(), 1);
    }
}
