//! The bounds of what serves those who write a site, and nobody else.

use std::time::Duration;

/// How often `ringpress dev` looks whether a file of the site was saved. By their times, as a look
/// takes microseconds and works on any file system, also over a network or into a container.
pub const LOOK: Duration = Duration::from_millis(150);
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
/// Ports above the usual one that are tried where that is taken.
pub const PORTS_TRIED: u16 = 20;

const _: () = assert!(SETTLE.as_millis() < LOOK.as_millis());
const _: () = assert!(NEWS_LOOK.as_millis() < NEWS_WAIT.as_millis());
