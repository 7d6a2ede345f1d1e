//! Bounds of answers that are kept.

use std::time::Duration;

/// Places in which a worker notes when a resource was changed, whose kept answers are then of no
/// use; 128 KiB once there was one. Resources that share a place are asked for once more.
pub const CACHE_CHANGES_MAX: usize = 8192;
/// Answers of upstreams that a worker keeps, bytes. Over it the least useful ones go.
pub const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Calls that a worker makes for several pages at once. Over it each page asks for itself.
pub const CACHE_FLIGHTS_MAX: usize = 1024;
/// Of these, calls that nobody waits for, which renew answers. Over it they are not made.
pub const CACHE_REFRESHES_MAX: usize = 64;
/// Fetches that wait for one such call. Over it they fail at once: 503.
pub const CACHE_WAITERS_MAX: usize = 16_384;
/// Such calls that one fetch waits for, one after the other, while its own deadline has not passed.
pub const CACHE_FLIGHTS_TRIED_MAX: usize = 4;
/// How long a kept answer is not asked for again after that failed.
pub const CACHE_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Fields that ask whether a kept answer is still right, bytes. Over it that is not asked.
pub const CACHE_CONDITIONS_BYTES_MAX: usize = 1024;
/// How long it is remembered that an answer may not be kept: until then each page asks for itself,
/// without waiting for another.
pub const CACHE_UNSHARED_TIME: Duration = Duration::from_secs(10);

const _: () = assert!(CACHE_REFRESHES_MAX <= CACHE_FLIGHTS_MAX);
