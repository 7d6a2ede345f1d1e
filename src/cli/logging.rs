//! Logs: JSON lines on standard error, pretty ones on a terminal.
//!
//! Workers hand their records to a bounded queue and never wait for the writer; what does not
//! fit is dropped.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::limits;

/// Starts logging. Records are written until the guard is dropped.
pub(super) fn start() -> WorkerGuard {
    start_at("info")
}

/// The same for a command that speaks to somebody who sits before it: what is usual is not logged.
pub(super) fn start_warnings() -> WorkerGuard {
    start_at("warn")
}

/// The same for a command whose result is its output: only what is wrong is logged.
pub(super) fn start_quiet() -> WorkerGuard {
    start_at("error")
}

fn start_at(level: &str) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(limits::LOG_QUEUE_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(io::stderr());
    let filter = EnvFilter::try_from_env("RINGPRESS_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // An error means that logging is on already, as in a test that starts two commands.
    let _ = if terminal {
        subscriber.with_target(false).with_ansi(true).try_init()
    } else {
        subscriber.json().flatten_event(true).with_current_span(false).try_init()
    };
    guard
}
