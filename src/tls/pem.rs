//! Certificates and keys as they are in files (PEM, RFC 7468).

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits;

/// The certificates in a file, in its order.
///
/// # Errors
/// In words: no PEM, none in it, or too many.
pub fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        found.push(certificate.map_err(|error| words(&error))?);
        if found.len() > limits::TLS_CERTIFICATES_MAX {
            return Err(format!("has more than {} certificates", limits::TLS_CERTIFICATES_MAX));
        }
    }
    if found.is_empty() {
        return Err("has no certificate (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(found)
}

/// The first private key in a file: PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
/// In words: no PEM, or no key that is not encrypted in it.
pub fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let is_encrypted = bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        _ if is_encrypted => "has an encrypted key: decrypt it, as with `openssl pkey`".to_owned(),
        pem::Error::NoItemsFound => "has no private key (-----BEGIN PRIVATE KEY-----)".to_owned(),
        error => words(&error),
    })
}

fn words(error: &pem::Error) -> String {
    match error {
        // It would be shown as the numbers of its bytes.
        pem::Error::MissingSectionEnd { .. } => "is cut: the end of a section is missing".into(),
        error => format!("is not PEM: {error}"),
    }
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";
