//! What a certificate says that decides whether it is kept (RFC 5280 section 4.1): its names, and
//! from when until when it is valid. Bytes in, values out.
//!
//! It does not check signatures: that is up to whoever is shown the certificate.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use xxhash_rust::xxh3::xxh3_64;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, BERReaderSeq, Tag};

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

    fn of_der(der: &[u8]) -> Option<Self> {
        let read = yasna::parse_der(der, |reader| {
            reader.read_sequence(|parts| {
                let facts = parts.next().read_sequence(to_be_signed)?;
                // The signature, which is not ours to check, and its algorithm.
                parts.next().read_der()?;
                parts.next().read_der()?;
                Ok(facts)
            })
        });
        let (not_before, not_after, names) = read.ok()?;
        let digest = xxh3_64(der);
        Some(Self { names, not_before: at(not_before)?, not_after: at(not_after)?, digest })
    }
}

/// Unix seconds of both ends of its life, and its names.
type Facts = (i64, i64, BTreeSet<String>);

/// `TBSCertificate`.
fn to_be_signed(parts: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Facts> {
    parts
        .read_optional(|version| version.read_tagged(Tag::context(0), |number| number.read_u8()))?;
    // Serial number, algorithm and issuer.
    for _ in 0..3 {
        parts.next().read_der()?;
    }
    let (from, until) = parts.next().read_sequence(|validity| {
        let from = time(validity.next())?;
        Ok((from, time(validity.next())?))
    })?;
    // Subject and its key.
    for _ in 0..2 {
        parts.next().read_der()?;
    }
    // Ids of issuer and subject, which nobody writes any more.
    for id in [1, 2] {
        parts.read_optional(|reader| {
            reader.read_tagged_implicit(Tag::context(id), |bits| bits.read_bitvec_bytes())
        })?;
    }
    let mut names = BTreeSet::new();
    parts.read_optional(|extensions| {
        extensions.read_tagged(Tag::context(3), |list| {
            list.read_sequence_of(|one| one.read_sequence(|parts| extension(parts, &mut names)))
        })
    })?;
    Ok((from, until, names))
}

/// `Extension`: adds the names if it is the one that has them.
fn extension(parts: &mut BERReaderSeq<'_, '_>, into: &mut BTreeSet<String>) -> ASN1Result<()> {
    let id = parts.next().read_oid()?;
    parts.read_default(false, |flag| flag.read_bool())?;
    let value = parts.next().read_bytes()?;
    if id.components().as_slice() != SUBJECT_ALT_NAME {
        return Ok(());
    }
    yasna::parse_der(&value, |names| {
        names.read_sequence_of(|name| {
            if name.lookahead_tag()? != Tag::context(DNS_NAME) {
                return name.read_der().map(|_| ());
            }
            let text =
                name.read_tagged_implicit(Tag::context(DNS_NAME), |text| text.read_ia5_string())?;
            into.insert(text.to_ascii_lowercase());
            Ok(())
        })
    })
}

/// `Time`, in Unix seconds.
fn time(reader: BERReader<'_, '_>) -> ASN1Result<i64> {
    match reader.lookahead_tag()? {
        yasna::tags::TAG_UTCTIME => Ok(reader.read_utctime()?.datetime().unix_timestamp()),
        yasna::tags::TAG_GENERALIZEDTIME => {
            Ok(reader.read_generalized_time()?.datetime().unix_timestamp())
        }
        _ => Err(ASN1Error::new(ASN1ErrorKind::Invalid)),
    }
}

fn at(unix_seconds: i64) -> Option<SystemTime> {
    let since = Duration::from_secs(u64::try_from(unix_seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
const DNS_NAME: u64 = 2;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

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
            assert_eq!(Certificate::of_der(&der[..length]), None, "{length}");
        }
        for at in 0..der.len() {
            for flip in [1, 0x80, 0xff] {
                let mut wrong = der.to_vec();
                wrong[at] ^= flip;
                let _ = Certificate::of_der(&wrong);
            }
        }
    }
}
