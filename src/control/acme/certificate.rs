//! What a certificate says that decides whether it is kept (RFC 5280 section 4.1): its names, and
//! from when until when it is valid. Bytes in, values out.
//!
//! It does not check signatures: that is up to whoever is shown the certificate.

use std::collections::BTreeSet;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use xxhash_rust::xxh3::xxh3_64;

use crate::tls;

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Its DNS names, in lower case.
    pub(super) names: BTreeSet<String>,
    /// When its life begins.
    pub(super) not_before: SystemTime,
    /// When it ends.
    pub(super) not_after: SystemTime,
    /// Tells it from any other.
    pub(super) digest: u64,
}

impl Certificate {
    /// Of the first certificate of a chain, which is the server's own; none if there is none that
    /// could be read.
    pub(super) fn of_chain(pem: &str) -> Option<Self> {
        let der = CertificateDer::pem_slice_iter(pem.as_bytes()).next()?.ok()?;
        Self::of_der(&der)
    }

    fn of_der(der: &CertificateDer<'_>) -> Option<Self> {
        let (not_before, not_after) = tls::validity(der)?;
        let names = tls::names_of(der).ok()?;
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Some(Self { names, not_before, not_after, digest: xxh3_64(der) })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::time::Duration;

    /// A chain of one certificate for these names, from 2026-01-01 to 2026-04-01.
    pub(in super::super) fn chain(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 4, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    /// The beginning of 2026, and so many days later.
    pub(in super::super) fn day(number: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + number * 24 * 3600)
    }

    #[test]
    fn names_and_times_of_the_first_certificate() {
        let own = chain(&["Example.com", "www.example.com", "192.0.2.1"]);
        let text = format!("Any text.\n{own}{}", chain(&["other.example"]));
        let certificate = Certificate::of_chain(&text).unwrap();
        let names = certificate.names.iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(names, ["example.com", "www.example.com"]);
        assert_eq!((certificate.not_before, certificate.not_after), (day(0), day(90)));
        assert_ne!(certificate.digest, Certificate::of_chain(&chain(&["a.b"])).unwrap().digest);
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for text in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Certificate::of_chain(text), None, "{text}");
        }
        let der = CertificateDer::from_pem_slice(chain(&["a.example"]).as_bytes()).unwrap();
        for length in 0..der.len() {
            assert_eq!(Certificate::of_der(&der[..length].into()), None, "{length}");
        }
        for at in 0..der.len() {
            for flip in [1, 0x80, 0xff] {
                let mut wrong = der.to_vec();
                wrong[at] ^= flip;
                let _ = Certificate::of_der(&wrong.into());
            }
        }
    }
}
