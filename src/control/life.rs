//! The life of a server that was started from a command line: until a signal, or until it fails.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use signal_hook::consts::signal::{SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::access_log::{AccessLog, Reopener};
use super::server::{Server, StartError};

/// The signals that a server takes, caught from now on.
pub struct EndSignals(Receiver<i32>);

impl EndSignals {
    /// Catches TERM, QUIT, INT and USR1 from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn catch() -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGQUIT, SIGINT, SIGUSR1])?;
        let (tell, told) = mpsc::channel();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if tell.send(signal).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self(told))
    }
}

/// Lets a server run until it is told to end. The first signal drains it, a second one ends it at
/// once. USR1 has the access log opened anew, as logrotate wants it.
///
/// # Errors
/// When a worker ended by itself.
pub fn live(
    server: Server,
    signals: &EndSignals,
    access: Option<&AccessLog>,
) -> Result<(), StartError> {
    let reopener = access.map(AccessLog::reopener);
    let mut told = 0;
    while !server.is_finished() {
        match signals.0.recv_timeout(LOOK) {
            Ok(SIGUSR1) => reopener.iter().for_each(Reopener::reopen),
            Ok(signal) => {
                told += 1;
                tracing::info!(
                    signal = name(signal),
                    "{}",
                    if told == 1 { "drain" } else { "stop" }
                );
                if told == 1 { server.drain() } else { server.stop() }
            }
            Err(RecvTimeoutError::Timeout) => {
                if told == 0 && server.has_lost_a_worker() {
                    tracing::error!("a worker has ended by itself: draining the others");
                    told = 1;
                    server.drain();
                }
            }
            Err(RecvTimeoutError::Disconnected) => server.drain(),
        }
    }
    server.join()
}

/// How often the workers are looked after.
const LOOK: Duration = Duration::from_millis(100);

fn name(signal: i32) -> &'static str {
    signal_hook::low_level::signal_name(signal).unwrap_or("?")
}
