//! Why there is no TLS with a peer.

use std::fmt;
use std::io;

use rustls::{AlertDescription, InvalidMessage};

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
                write!(f, "the peer's certificate is not accepted: {error}")
            }
            Self::Refused(rustls::Error::AlertReceived(alert)) => {
                write!(f, "the peer refused the TLS handshake: {}", Alert(*alert))
            }
            Self::Refused(error) => write!(f, "the TLS handshake failed: {error}"),
        }
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Refused(error) => Some(error),
            _ => None,
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
}
