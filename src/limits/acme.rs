//! Bounds of getting certificates from an ACME directory.

use std::time::Duration;

/// Names of one certificate from an ACME directory: as many as Let's Encrypt takes. So many
/// challenges are answered at once, too.
pub const ACME_NAMES_MAX: usize = 100;
/// The token of a challenge and the answer to it, bytes each. Over it: no certificate.
pub const ACME_CHALLENGE_BYTES_MAX: usize = 512;
/// An answer of an ACME directory, bytes; chains are a few KiB. Over it: no certificate.
pub const ACME_ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// A file of an account, or of a certificate and its key, bytes. Over it: an error.
pub const ACME_FILE_BYTES_MAX: u64 = 512 * 1024;
/// How long a connection to an ACME directory may take.
pub const ACME_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one request to it may take.
pub const ACME_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an order may take, from the first challenge to the certificate.
pub const ACME_ORDER_TIMEOUT: Duration = Duration::from_secs(300);
/// How often it is asked how an order is getting on: after this time first, then after twice as
/// long each time.
pub const ACME_POLL_MIN: Duration = Duration::from_millis(250);
/// And never after more than this, unless the directory asks for it.
pub const ACME_POLL_MAX: Duration = Duration::from_secs(10);
/// How often the certificate that is there is looked at: clocks are set, and files go away.
pub const ACME_LOOK: Duration = Duration::from_secs(60);
/// How often a server looks whether another one with the same folder is asked for something.
pub const ACME_SHARE_LOOK: Duration = Duration::from_millis(500);
/// How long those others have before the directory is told to ask: several looks.
pub const ACME_SHARE_WAIT: Duration = Duration::from_secs(2);
/// A certificate is renewed when one in so many parts of its life is left.
pub const ACME_RENEW_PARTS: u32 = 3;
/// What is left then, in so many parts: up to one of them goes by before it is renewed, so that
/// those who got theirs together do not come together again.
pub const ACME_JITTER_PARTS: u32 = 10;
/// How long after a failure a certificate is asked for again; twice as long after each.
pub const ACME_RETRY_MIN: Duration = Duration::from_secs(120);
/// And at most so long after.
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest that a directory may ask us to wait (Retry-After); limits of a week are usual.
pub const ACME_RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const _: () = assert!(ACME_CONNECT_TIMEOUT.as_millis() <= ACME_REQUEST_TIMEOUT.as_millis());
const _: () = assert!(ACME_REQUEST_TIMEOUT.as_millis() < ACME_ORDER_TIMEOUT.as_millis());
const _: () = assert!(ACME_POLL_MIN.as_millis() <= ACME_POLL_MAX.as_millis());
const _: () = assert!(ACME_ANSWER_BYTES_MAX < ACME_FILE_BYTES_MAX);
const _: () = assert!(2 * ACME_SHARE_LOOK.as_millis() <= ACME_SHARE_WAIT.as_millis());
const _: () = assert!(ACME_RETRY_MIN.as_millis() <= ACME_RETRY_MAX.as_millis());
const _: () = assert!(ACME_RENEW_PARTS > 1 && ACME_JITTER_PARTS > 1);
