//! The bounds of the admin listener, and of what it tells.

use std::time::Duration;

/// Connections to the admin listener at once. Over it the one is closed that has been idle longest,
/// without a whole request; where all are being answered: 503 and close.
pub const ADMIN_CONNECTIONS_MAX: usize = 16;
/// Of these, answers that go on for as long as somebody looks. Over it: 503.
pub const ADMIN_STREAMS_MAX: usize = 8;
/// How long a request to the admin listener may take, from its first byte to its last; and how long
/// the first one of a connection may take to begin.
pub const ADMIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection to it may be idle between requests: longer than the usual time from one
/// scrape to the next.
pub const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(70);
/// The path of its Unix socket, bytes: `sun_path` of unix(7) with the end of it.
pub const ADMIN_SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long a piece of its answer may take to be written.
pub const ADMIN_WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request body to it, bytes; nothing is done with one. Over it: 413.
pub const ADMIN_BODY_BYTES_MAX: u64 = 4 * 1024;
/// Pages, and upstreams, that are counted each by itself. Those beyond are counted together, so
/// that what is told of them has an end.
pub const COUNTED_PAGES_MAX: usize = 512;
/// See `COUNTED_PAGES_MAX`.
pub const COUNTED_UPSTREAMS_MAX: usize = 128;
/// The answer to a command, bytes that are read of it.
pub const ADMIN_ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// How long whoever asks it for something waits: longer than a reload or an upgrade may take.
pub const ADMIN_ANSWER_TIMEOUT: Duration = Duration::from_secs(70);
/// The token that it asks for: at least so many bytes, as none of fewer is hard to guess.
pub const ADMIN_TOKEN_BYTES_MIN: usize = 16;
/// And at most so many.
pub const ADMIN_TOKEN_BYTES_MAX: usize = 256;

const _: () = assert!(ADMIN_STREAMS_MAX < ADMIN_CONNECTIONS_MAX);
const _: () = assert!(ADMIN_TOKEN_BYTES_MIN <= ADMIN_TOKEN_BYTES_MAX);
