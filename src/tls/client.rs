//! TLS toward upstreams: whom we trust, and who we are.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, crypto::aws_lc_rs,
};

use crate::limits;

use super::verifier::Verifier;

/// How TLS is spoken with an upstream. A clone is the same, with the same sessions to resume.
#[derive(Clone)]
pub struct ClientTls {
    /// Ciphers, roots, sessions.
    pub config: Arc<ClientConfig>,
    /// The name that its certificate must be for, and that it is told (SNI).
    pub name: ServerName<'static>,
    /// Tells what it was made of from anything else.
    digest: u128,
}

/// Whose certificates are taken.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that the system trusts.
    System,
    /// Those of these authorities, and no others.
    Authorities(Vec<CertificateDer<'static>>),
    /// Anybody's. Whoever is on the way can read and change everything.
    Anybody,
}

/// A certificate with its chain, and the key of it.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Who we are to a server that asks.
#[derive(Clone, Debug)]
pub struct ClientIdentity(Arc<CertifiedKey>);

impl ClientIdentity {
    /// A certificate with its key.
    ///
    /// # Errors
    /// In words: a key of a kind that is not known, or of another certificate.
    pub fn new((chain, key): Identity) -> Result<Self, String> {
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
            error => error.to_string(),
        })?;
        Ok(Self(Arc::new(key)))
    }
}

/// Checks that a certificate can be that of an authority: that it is one at all.
///
/// # Errors
/// In words.
pub fn check_authority(certificate: &CertificateDer<'_>) -> Result<(), String> {
    let anchor = webpki::anchor_from_trusted_cert(certificate);
    anchor.map(|_| ()).map_err(|error| format!("has a certificate that cannot be read: {error}"))
}

impl ClientTls {
    /// TLS with the server of this name.
    ///
    /// # Errors
    /// In words: no root that is of use, or a key that does not fit.
    pub fn new(
        name: ServerName<'static>,
        trust: &Trust,
        identity: Option<&ClientIdentity>,
    ) -> Result<Self, String> {
        let words = |error: Error| error.to_string();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(words)?
            .dangerous();
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::System => Arc::new(Verifier::new(system_roots()?, provider)?),
            Trust::Authorities(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority.clone()).map_err(words)?;
                }
                Arc::new(Verifier::new(Arc::new(roots), provider)?)
            }
            Trust::Anybody => Arc::new(Credulous(provider)),
        };
        let builder = builder.with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(ClientIdentity(key)) => {
                let ours = SingleCertAndKey::from(CertifiedKey::clone(key));
                builder.with_client_cert_resolver(Arc::new(ours))
            }
            None => builder.with_no_client_auth(),
        };
        let digest = digest(&name, trust, identity);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let sessions = ClientSessionMemoryCache::new(limits::TLS_CLIENT_SESSIONS_MAX);
        config.resumption = Resumption::store(Arc::new(sessions));
        Ok(Self { config: Arc::new(config), name, digest })
    }

    /// Whether it is spoken in the same way: with the same name, and the same certificates on both
    /// sides.
    pub fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

fn digest(name: &ServerName<'_>, trust: &Trust, identity: Option<&ClientIdentity>) -> u128 {
    let mut parts: Vec<u8> = Vec::new();
    let mut push = |part: &[u8]| {
        parts.extend_from_slice(&(part.len() as u64).to_le_bytes());
        parts.extend_from_slice(part);
    };
    push(name.to_str().as_bytes());
    match trust {
        Trust::System => push(b"system"),
        Trust::Authorities(authorities) => authorities.iter().for_each(|one| push(one)),
        Trust::Anybody => push(b"anybody"),
    }
    // A certificate is of one key.
    for certificate in identity.into_iter().flat_map(|ClientIdentity(key)| &key.cert) {
        push(certificate);
    }
    xxhash_rust::xxh3::xxh3_128(&parts)
}

impl PartialEq for ClientTls {
    /// Whether it is the same, with the same sessions.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }
}

impl Eq for ClientTls {}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How many authorities the system trusts.
///
/// # Errors
/// In words, when there are none.
pub fn system_authorities() -> Result<usize, String> {
    system_roots().map(|roots| roots.len())
}

/// The roots that the system trusts, read when they are first needed and only then.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    ROOTS.get_or_init(read_system_roots).clone()
}

fn read_system_roots() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(Arc::new(roots));
    }
    let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    Err(format!("this system has no certificates of authorities{why}"))
}

/// Takes any certificate. Signatures are looked at, for what that is worth.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
