//! ringpress serves sites of pages over an API: a request comes in, the page's fetches go out to
//! an HTTP API, and their JSON becomes HTML through a template. One pinned event loop per CPU
//! core does all of it for the connections that core accepted.
//!
//! The map of the house, from low to high; imports only go down (`tests/tidy.rs` checks it):
//!
//! | layer | module | is |
//! |---|---|---|
//! | 0 | [`limits`], [`error`] | every bound with its unit; what can go wrong, and on whose side |
//! | 1 | [`http`] | HTTP/1.1, bytes in, values out: no IO, no clock |
//! | 1 | [`config`] | `site.toml` as written |
//! | 1 | [`driver`] | how a worker talks to the kernel: io_uring, epoll, simulated |
//! | 1 | [`metrics`] | counters that one thread writes and any may read |
//! | 1 | [`capacity`] | how many workers a load needs: a model, all figures |
//! | 2 | [`coding`] | packs bytes: zstd, Brotli, gzip |
//! | 2 | [`tls`] | TLS between a driver's stream and whoever reads and writes |
//! | 2 | [`press`] | from upstream bytes to HTML: JSON, templates, escaping |
//! | 2 | [`site`] | a site, compiled and immutable |
//! | 3 | [`upstream`] | a worker's HTTP client: addresses, pools, exchanges, policies |
//! | 4 | [`page`] | one request to one response: route, fetches, render |
//! | 5 | [`worker`] | a pinned thread and all it owns |
//! | 6 | [`control`], [`cli`] | the thread for what is slow or rare; the commands |

// An index or a slice that is out of bounds panics; where one can't be, the file says why. What
// comes from outside is asked for with `get`.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

pub mod capacity;
pub mod cli;
pub mod coding;
pub mod config;
pub mod control;
pub mod driver;
pub mod error;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod page;
pub mod press;
pub mod site;
pub mod tls;
pub mod upstream;
pub mod worker;
