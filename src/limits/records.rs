//! Bounds of what is recorded of requests.

use std::time::Duration;

/// One access record, bytes, whatever was asked for: each part of it is cut where it is too long.
pub const ACCESS_RECORD_BYTES_MAX: usize = 16 * 1024;
/// A target in an access record, bytes as they are written.
pub const ACCESS_TARGET_BYTES_MAX: usize = 4 * 1024;
/// The host, the referer, the user agent or the page in an access record, bytes as written.
pub const ACCESS_FIELD_BYTES_MAX: usize = 1024;
/// The name of a fetch or of an upstream in an access record, bytes as written.
pub const ACCESS_NAME_BYTES_MAX: usize = 64;
/// Fetches that are noted of one page, for its access record; of the others only the number is.
pub const ACCESS_FETCHES_MAX: usize = 16;
/// Access records that a worker hands over at once, bytes; fewer when it looks after things.
pub const ACCESS_BUFFER_BYTES: usize = 16 * 1024;
/// Such buffers that a worker has, waiting to be written most of them. Over it records are dropped
/// and counted.
pub const ACCESS_LOG_QUEUE: usize = 64;
/// Buffers that are written at once, of all workers.
pub const ACCESS_LOG_BATCH: usize = 64;
/// How long after a failure the access log is tried again.
pub const ACCESS_LOG_RETRY: Duration = Duration::from_secs(1);
/// How long after a reader had no room for more it is looked whether there is some.
pub const ACCESS_LOG_PAUSE: Duration = Duration::from_millis(10);
/// How often it is said that access records were dropped, or cannot be written.
pub const ACCESS_LOG_REPORT: Duration = Duration::from_secs(10);
/// How long the end of a server waits for the last access records to be written.
pub const ACCESS_LOG_GOODBYE: Duration = Duration::from_secs(2);
/// Notes of pages that a worker keeps to use them again.
pub const NOTES_KEPT_MAX: usize = 256;
/// The value of a Server-Timing field, bytes: what does not fit is left out.
pub const SERVER_TIMING_BYTES_MAX: usize = 2 * 1024;

const _: () = assert!(
    ACCESS_TARGET_BYTES_MAX
        + 4 * ACCESS_FIELD_BYTES_MAX
        + ACCESS_FETCHES_MAX * (2 * ACCESS_NAME_BYTES_MAX + 128)
        + 1024
        <= ACCESS_RECORD_BYTES_MAX
);
