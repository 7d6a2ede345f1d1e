//! Why there is no TLS with a peer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::limits;

use super::names::tell;
use super::verifier::Untrusted;

/// Why a handshake failed.
#[derive(Debug)]
pub enum HandshakeError {
    /// The peer closed the connection in the middle of it.
    Closed,
    /// The connection broke.
    Io(io::Error),
    /// What the peer sent first is no TLS at all.
    NotTls(Vec<u8>),
    /// The peer sent more than a handshake may take, bytes.
    TooLong(usize),
    /// The two sides do not agree, or one does not trust the other.
    Refused(rustls::Error),
}

impl HandshakeError {
    /// An error of rustls, for a peer that has sent these bytes so far, from the first on.
    pub(super) fn of(error: rustls::Error, first: &[u8]) -> Self {
        match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                Self::NotTls(first.to_vec())
            }
            error => Self::Refused(error),
        }
    }

    /// Whether the connection ended or broke, rather than the two sides not agreeing: another one
    /// may do better.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Closed | Self::Io(_))
    }

    /// Whether the peer began with words of HTTP/1.1.
    pub fn is_plain_http(&self) -> bool {
        let Self::NotTls(first) = self else { return false };
        let methods: [&[u8]; 9] = [
            b"HTTP/",
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"PUT ",
            b"DELETE ",
            b"OPTIONS ",
            b"PATCH ",
            b"CONNECT ",
        ];
        methods.iter().any(|method| first.starts_with(method))
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the connection in the TLS handshake"),
            Self::Io(error) => write!(f, "the connection broke in the TLS handshake: {error}"),
            Self::NotTls(_) if self.is_plain_http() => {
                f.write_str("the peer speaks plain HTTP where TLS is expected")
            }
            Self::NotTls(_) => f.write_str("what the peer speaks is not TLS"),
            Self::TooLong(bytes) => write!(f, "the TLS handshake takes more than {bytes} bytes"),
            Self::Refused(rustls::Error::InvalidCertificate(error)) => {
                write!(f, "the peer's certificate {}", Fault(error))
            }
            Self::Refused(rustls::Error::AlertReceived(alert)) => {
                write!(f, "the peer refused the TLS handshake: {}", Alert(*alert))
            }
            Self::Refused(rustls::Error::PeerIncompatible(why)) => {
                write!(f, "the peer's TLS and ours do not go together: {why:?}")
            }
            Self::Refused(error) => write!(f, "the TLS handshake failed: {error}"),
        }
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // What rustls says is told already, in our words or its own.
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// What has ended a session after its handshake, in words.
#[derive(Debug)]
pub(super) struct SessionError(pub(super) rustls::Error);

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // With TLS 1.3 a server looks at a client's certificate after the handshake is over.
            rustls::Error::AlertReceived(alert) => {
                write!(f, "the peer ended the TLS session: {}", Alert(*alert))
            }
            error => write!(f, "the TLS session is broken: {error}"),
        }
    }
}

impl std::error::Error for SessionError {}

/// The end of a connection that nobody has announced.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it ended without a word (close_notify): somebody may have cut it")
    }
}

impl std::error::Error for Cut {}

impl From<Cut> for io::Error {
    fn from(cut: Cut) -> Self {
        Self::new(io::ErrorKind::UnexpectedEof, cut)
    }
}

/// What is wrong with a certificate, in words that go behind it.
struct Fault<'a>(&'a CertificateError);

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CertificateError::ExpiredContext { time, not_after } => {
                write!(f, "expired on {} (it is {} here)", Date(*not_after), Date(*time))
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let (begin, now) = (Date(*not_before), Date(*time));
                write!(f, "is not valid before {begin} (it is {now} here)")
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                write!(f, "is not for {} but for {}", expected.to_str(), Names(presented))
            }
            CertificateError::UnknownIssuer => f.write_str("is issued by nobody whom we trust"),
            CertificateError::BadSignature => {
                f.write_str("is not signed by who is said to have issued it")
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                f.write_str("is not one for servers")
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<Untrusted>() {
                Some(untrusted) => untrusted.fmt(f),
                None if is_authority(&other.0) => {
                    f.write_str("is that of an authority, not of a server")
                }
                None => write!(f, "is not accepted: {}", other.0),
            },
            error => write!(f, "is not accepted: {error}"),
        }
    }
}

fn is_authority(error: &Arc<dyn std::error::Error + Send + Sync>) -> bool {
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// A time that a certificate has.
struct Date(UnixTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Certificates have no later year than 9999 (RFC 5280 section 4.1.2.5.2), nor has httpdate.
        let time = Duration::from_secs(self.0.as_secs().min(YEAR_10000_S - 1));
        match SystemTime::UNIX_EPOCH.checked_add(time) {
            Some(time) => f.write_str(&httpdate::fmt_http_date(time)),
            None => f.write_str("some day"),
        }
    }
}

const YEAR_10000_S: u64 = 253_402_300_800;

/// The names in a certificate, as rustls has them: `DnsName("a.example")`.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no name at all (subjectAltName)");
        }
        for (number, name) in self.0.iter().take(limits::TLS_NAMES_TOLD_MAX).enumerate() {
            let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
            let name = inner.unwrap_or(name).trim_matches('"');
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{}", tell(name))?;
        }
        match self.0.len().saturating_sub(limits::TLS_NAMES_TOLD_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// What a peer said when it gave up (RFC 8446 section 6.2), in words.
struct Alert(AlertDescription);

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            AlertDescription::UnrecognisedName => "it has no site of this name",
            AlertDescription::HandshakeFailure => "there is no cipher suite that both sides know",
            AlertDescription::ProtocolVersion => "there is no TLS version that both sides know",
            AlertDescription::CertificateRequired => "it wants a client certificate",
            AlertDescription::CertificateUnknown => "it does not like our certificate",
            AlertDescription::CertificateRevoked => "our certificate has been revoked",
            AlertDescription::InternalError => "something is wrong with itself",
            AlertDescription::UnknownCA => "it does not know who issued our certificate",
            AlertDescription::CertificateExpired => "our certificate has expired",
            AlertDescription::BadCertificate => "it does not accept our certificate",
            AlertDescription::AccessDenied => "it denies access",
            AlertDescription::NoApplicationProtocol => "there is no protocol that both sides know",
            other => return write!(f, "{other:?}"),
        };
        f.write_str(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_http_is_told_apart_from_who_speaks_nonsense() {
        let of = |first: &[u8]| {
            HandshakeError::of(InvalidMessage::InvalidContentType.into(), first).to_string()
        };
        assert!(of(b"GET / HTTP/1.1\r\n").contains("plain HTTP"));
        assert!(of(b"HTTP/1.1 400 Bad Request\r\n").contains("plain HTTP"));
        assert!(of(b"SSH-2.0-").contains("not TLS"));
    }

    fn refused(error: CertificateError) -> String {
        HandshakeError::Refused(error.into()).to_string()
    }

    #[test]
    fn names_of_others_are_told_up_to_some() {
        let presented = |count: usize| (0..count).map(|n| format!("DnsName(\"{n}.example\")"));
        let told = |count| {
            let expected = rustls::pki_types::ServerName::try_from("api.example").unwrap();
            let presented = presented(count).collect();
            refused(CertificateError::NotValidForNameContext { expected, presented })
        };
        let start = "the peer's certificate is not for api.example but for";
        assert_eq!(told(0), format!("{start} no name at all (subjectAltName)"));
        assert_eq!(told(2), format!("{start} 0.example, 1.example"));
        assert!(told(1000).ends_with("7.example and 992 more"), "{}", told(1000));
    }

    #[test]
    fn any_date_can_be_told() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        for (seconds, words) in [(0, "1970 00:00:00"), (u64::MAX, "31 Dec 9999 23:59:59")] {
            let not_after = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let told = refused(CertificateError::ExpiredContext { time, not_after });
            assert!(told.contains(words) && told.contains("14 Nov 2023"), "{told}");
        }
    }
}
