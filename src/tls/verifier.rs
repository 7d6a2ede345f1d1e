//! Whether a server's certificate is taken. What rustls decides is decided; where it only says that
//! nobody trusted has issued a certificate, who has is added, so that it can be told.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::names::who;

/// rustls' verifier, with more words.
#[derive(Debug)]
pub(super) struct Verifier(Arc<WebPkiServerVerifier>);

/// A certificate that no authority has issued that is trusted, not even by way of others.
#[derive(Debug)]
pub(super) struct Untrusted {
    /// Who has issued it; none where it does not say.
    issuer: Option<String>,
    self_signed: bool,
    /// Certificates that came with it, on the way to an authority.
    intermediates: usize,
}

impl Verifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        verifier.map(Self).map_err(|error| error.to_string())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.0.verify_server_cert(certificate, intermediates, name, ocsp, now);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                let untrusted = Untrusted::of(certificate, intermediates.len());
                CertificateError::Other(OtherError(Arc::new(untrusted))).into()
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl Untrusted {
    fn of(certificate: &CertificateDer<'_>, intermediates: usize) -> Self {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok();
        let parsed = parsed.as_ref();
        Self {
            issuer: parsed.and_then(|parsed| who(parsed.issuer())),
            self_signed: parsed.is_some_and(|parsed| parsed.issuer() == parsed.subject()),
            intermediates,
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.self_signed {
            f.write_str("is signed by itself and by nobody whom we trust")?;
        } else {
            match &self.issuer {
                Some(issuer) => write!(f, "is issued by `{issuer}`, whom we do not trust")?,
                None => f.write_str("is issued by nobody whom we trust")?,
            }
            if self.intermediates == 0 {
                f.write_str(", and no certificate of an intermediate authority came with it")?;
            }
        }
        f.write_str(" (`ca` in `tls` names authorities of your own)")
    }
}

impl Error for Untrusted {}
