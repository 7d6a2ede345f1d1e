//! The bounds of what serves those who write a site, and nobody else.

use std::time::Duration;

/// How often `ringpress dev` looks whether a file of the site was saved. By their times, as a look
/// takes microseconds and works on any file system, also over a network or into a container.
pub const LOOK: Duration = Duration::from_millis(150);
/// It looks less often where a look takes long, in a large folder: this many times as long pass
/// before the next.
pub const LOOK_PAUSE: u32 = 20;
/// For how long nothing must have changed before it loads the site: editors write in steps.
pub const SETTLE: Duration = Duration::from_millis(50);
/// Looks while it settles. Over it the site is loaded as it is.
pub const SETTLE_LOOKS_MAX: u32 = 20;
/// How long a browser's question for what is new is kept waiting.
pub const NEWS_WAIT: Duration = Duration::from_secs(25);
/// How often it is looked for an answer meanwhile.
pub const NEWS_LOOK: Duration = Duration::from_millis(50);
/// Browsers that wait so at once. Over it: 503, and they ask again.
pub const NEWS_WAITERS_MAX: usize = 256;
/// How long what is in flight may take when `ringpress dev` is told to stop; some browser always
/// waits.
pub const DRAIN: Duration = Duration::from_millis(200);
/// Problems of a site that an overlay shows.
pub const PROBLEMS_SHOWN_MAX: usize = 20;
/// Lines before and after the one that is meant.
pub const LINES_AROUND: usize = 3;
/// Characters of such a line.
pub const LINE_CHARS_MAX: usize = 400;
/// Fetches that an overlay lists.
pub const FETCHES_SHOWN_MAX: usize = 50;
/// Patterns of pages that it lists.
pub const PAGES_SHOWN_MAX: usize = 50;
/// Answers of upstreams that `ringpress record` writes, and `--offline` reads.
pub const RECORDS_MAX: usize = 10_000;
/// All of them, bytes.
pub const RECORDS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Answers that wait to be written. Over it: lost, and counted.
pub const RECORDS_WAITING_MAX: usize = 1024;
/// The same, bytes.
pub const RECORDS_WAITING_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long writing them may go on after the server has ended.
pub const RECORDS_END: Duration = Duration::from_secs(10);
/// Folders in folders for the segments of a target; the rest of it is the name of its file.
pub const RECORD_FOLDERS_MAX: usize = 8;
/// Characters of a target, or of a segment, that such a name has.
pub const RECORD_NAME_CHARS_MAX: usize = 80;
/// Ports above the usual one that are tried where that is taken.
pub const PORTS_TRIED: u16 = 20;

const _: () = assert!(SETTLE.as_millis() < LOOK.as_millis());
const _: () = assert!(NEWS_LOOK.as_millis() < NEWS_WAIT.as_millis());
