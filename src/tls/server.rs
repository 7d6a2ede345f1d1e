//! TLS toward visitors: certificates, chosen by the name that a visitor asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};

use super::client::Identity;

/// TLS with visitors, as all workers of a server speak it. A clone is the same.
#[derive(Clone)]
pub struct ServerTls {
    shelf: Arc<Shelf>,
    config: ServerConfig,
}

impl PartialEq for ServerTls {
    /// Whether it is the same, with the same certificates at any time.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shelf, &other.shelf)
    }
}

/// A certificate with its key, and the names it is for.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

/// Certificates to choose from.
#[derive(Debug, Default)]
pub struct Certificates {
    /// For who asks for no name, or for one that none is for.
    first: Option<Arc<CertifiedKey>>,
    /// By name, in lower case; one for all names of a domain begins with `*.`.
    by_name: BTreeMap<String, Arc<CertifiedKey>>,
}

impl ServerTls {
    /// TLS with these certificates; over it HTTP/1.1, and HTTP/2 if `http2`. Sessions are resumed
    /// by tickets whose keys all clones of this have, and which change every few hours.
    ///
    /// # Errors
    /// In words, when there is no randomness to make keys of.
    pub fn new(certificates: Certificates, http2: bool) -> Result<Self, String> {
        let words = |error: Error| error.to_string();
        let shelf = Arc::new(Shelf(ArcSwap::from_pointee(certificates)));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(words)?
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(&shelf) as Arc<dyn ResolvesServerCert>);
        let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(words)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // One is enough: a visitor opens few connections at once.
        config.send_tls13_tickets = 1;
        Ok(Self { shelf, config })
    }

    /// What one worker uses: its own, so that workers count references each by themselves.
    pub fn for_worker(&self) -> Arc<ServerConfig> {
        Arc::new(self.config.clone())
    }

    /// Whether there is a certificate for this name, in lower case.
    pub fn is_for(&self, name: &str) -> bool {
        self.shelf.0.load().named(name).is_some()
    }

    /// Whether there is no certificate, as before the first one has come.
    pub fn is_empty(&self) -> bool {
        self.shelf.0.load().first.is_none()
    }

    /// Has all handshakes from now on use these certificates. Connections that are open stay.
    pub fn replace(&self, certificates: Certificates) {
        self.shelf.0.store(Arc::new(certificates));
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("certificates", &self.shelf).finish_non_exhaustive()
    }
}

impl Certificate {
    /// A certificate for these names, or for those in it where there are none here.
    ///
    /// # Errors
    /// In words: what is no certificate, a key that is not its own, or no name at all.
    pub fn new((chain, key): Identity, names: Vec<String>) -> Result<Self, String> {
        let names = match (names.is_empty(), chain.first()) {
            (true, Some(certificate)) => names_of(certificate)?,
            _ => names,
        };
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
            error => error.to_string(),
        })?;
        let names = names.into_iter().map(|name| name.to_lowercase()).collect();
        Ok(Self { key: Arc::new(key), names })
    }

    /// The names it is for.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The names in a certificate (subjectAltName, RFC 5280 section 4.2.1.6).
///
/// # Errors
/// In words, when it is no certificate.
pub fn names_of(
    certificate: &rustls::pki_types::CertificateDer<'_>,
) -> Result<Vec<String>, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    Ok(parsed.valid_dns_names().map(str::to_owned).collect())
}

impl FromIterator<Certificate> for Certificates {
    /// The first one is for whoever asks for no name that is known; of two for one name, the
    /// first is taken.
    fn from_iter<I: IntoIterator<Item = Certificate>>(certificates: I) -> Self {
        let mut all = Self::default();
        for Certificate { key, names } in certificates {
            all.first.get_or_insert_with(|| Arc::clone(&key));
            for name in names {
                all.by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
        }
        all
    }
}

impl Certificates {
    /// The certificate for a name in lower case, or for none.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        name.and_then(|name| self.named(name)).or(self.first.as_ref()).cloned()
    }

    /// The one that is for this very name, or for all of its domain.
    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.by_name.get(name).or_else(|| {
            let (_, domain) = name.split_once('.')?;
            self.by_name.get(&format!("*.{domain}"))
        })
    }
}

/// Where the certificates of the moment are.
#[derive(Debug)]
struct Shelf(ArcSwap<Certificates>);

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls gives the name in lower case.
        self.0.load().find(hello.server_name())
    }
}
