//! Records of TLS, as a session writes them.

use rustls::Error;
use rustls::unbuffered::{EncodeError, EncryptError};

/// Why something was not written.
pub(super) enum Short {
    /// It takes so many bytes.
    Room(usize),
    /// It cannot be.
    Failed(Error),
}

impl From<EncodeError> for Short {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(short) => Self::Room(short.required_size),
            error => Self::Failed(Error::General(error.to_string())),
        }
    }
}

impl From<EncryptError> for Short {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(short) => Self::Room(short.required_size),
            EncryptError::EncryptExhausted => Self::Failed(Error::EncryptError),
        }
    }
}

/// Appends what `write` writes, which takes about `room` bytes, or says how many.
pub(super) fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Short>,
) -> Result<(), Error> {
    let start = out.len();
    for _ in 0..2 {
        out.resize(start + room, 0);
        match write(out.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(Short::Room(needed)) => room = needed,
            Err(Short::Failed(error)) => {
                out.truncate(start);
                return Err(error);
            }
        }
    }
    out.truncate(start);
    Err(Error::EncryptError)
}

/// Whether a record that we have written is an alert (RFC 8446 sections 5.1 and 5.2). An encrypted
/// one of TLS 1.3 does not say what it is, but no other is as short.
pub(super) fn is_alert(record: &[u8]) -> bool {
    match record {
        [ALERT, ..] => true,
        [APPLICATION_DATA, _, _, 0, length, ..] => *length <= ALERT_SEALED_BYTES,
        _ => false,
    }
}

const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
/// Two bytes, their type and what vouches for them: each handshake message has two bytes more.
const ALERT_SEALED_BYTES: u8 = 2 + 1 + 16;

/// What is in one record at most, bytes (RFC 8446 section 5.1).
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;
/// What a record of TLS 1.2 or 1.3 has beside it, bytes, with any cipher that is offered.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 64;
