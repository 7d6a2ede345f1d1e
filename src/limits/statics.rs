//! Bounds of static files.

use std::time::Duration;

/// Tables `[[static]]` of one site.
pub const STATICS_MAX: usize = 256;
/// Static files that a worker keeps in memory, bytes.
pub const STATIC_CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A static file that is kept in memory, bytes; a larger one is read piece by piece, each time.
/// With a head in front it still fits into a buffer that is used again.
pub const STATIC_KEPT_BYTES_MAX: u64 = 192 * 1024;
/// A piece of a larger one, bytes: all of it that is in memory at once, for each who reads it.
pub const STATIC_PIECE_BYTES: usize = super::WRITE_PIECE_BYTES;
/// How long what is kept of a file is taken for what it is, before it is looked at again.
pub const STATIC_LOOK: Duration = Duration::from_secs(1);
/// How long a file may take to be opened, or a piece of it to be read. Over it: 503, or the end of
/// the connection.
pub const STATIC_READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Threads that open and read files for one worker; each begins when it is needed.
pub const OFFLOAD_THREADS_MAX: usize = 4;
/// Files that wait to be opened, a worker. Over it: 503.
pub const OFFLOAD_QUEUE_MAX: usize = 1024;
/// How often a file is opened anew because folders were moved around meanwhile.
pub const STATIC_OPEN_TRIES_MAX: usize = 4;
/// Files that `asset()` can name: more are an error of the site.
pub const ASSETS_MAX: usize = super::SITE_ENTRIES_MAX;
/// A file whose content is in the name that `asset()` gives it, bytes. That of a larger one has its
/// time and length instead, so that no site waits for its films to be read when it is loaded.
pub const ASSET_HASHED_BYTES_MAX: u64 = 8 * 1024 * 1024;

const _: () = assert!(
    STATIC_KEPT_BYTES_MAX as usize + super::RESPONSE_HEAD_ROOM <= super::BUFFER_KEPT_BYTES_MAX
);
const _: () = assert!(STATIC_KEPT_BYTES_MAX <= ASSET_HASHED_BYTES_MAX);
