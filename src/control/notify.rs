//! What systemd is told of this process (sd_notify(3)). Where nobody listens, nothing is said.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Says that visitors are served.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// Says that the site is being read again. To be followed by [`ready`].
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // Services of `Type=notify-reload` have to say when.
    states.extend(NotifyState::monotonic_usec_now());
    say(&states);
}

/// Says that the server drains.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// Says which process is the server now.
pub fn main_process(pid: u32) {
    say(&[NotifyState::MainPid(pid)]);
}

fn say(states: &[NotifyState<'_>]) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let told = tell(&socket, &text);
    let has_failed = HAS_FAILED.swap(told.is_err(), Ordering::Relaxed);
    match told {
        Ok(()) => {}
        Err(error) if has_failed => tracing::debug!(%error, "cannot tell systemd"),
        Err(error) => tracing::warn!(%error, ?socket, "cannot tell systemd (NOTIFY_SOCKET)"),
    }
}

/// Whether the last word did not arrive: the first that does not is warned of.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// Sends a text to a socket: a path, or an abstract name behind `@` (unix(7)).
fn tell(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let ours = UnixDatagram::unbound()?;
    ours.send_to_addr(text.as_bytes(), &address).map(drop)
}

/// Tells systemd at intervals that the server lives, where it wants to know (`WatchdogSec=`).
#[derive(Debug)]
pub struct Watchdog {
    interval: Option<Duration>,
    told: Instant,
}

impl Watchdog {
    /// As this process was started. `is_successor` says that another process was meant at first:
    /// then its number in the environment is not ours.
    pub fn of_system(is_successor: bool) -> Self {
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID")
            .is_none_or(|pid| is_successor || pid == u64::from(std::process::id()));
        let interval = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0);
        // Half the time that it may take, as sd_watchdog_enabled(3) says.
        let interval = interval.map(|usec| Duration::from_micros(usec / 2));
        Self { interval, told: Instant::now() }
    }

    /// To be called often, from where it means that the server lives.
    pub fn beat(&mut self, now: Instant) {
        let Some(interval) = self.interval else { return };
        if now.saturating_duration_since(self.told) >= interval {
            self.told = now;
            say(&[NotifyState::Watchdog]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@ringpress-notify-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let there = UnixDatagram::bind(&path).unwrap();
        let hidden = UnixDatagram::bind_addr(&abstract_name).unwrap();
        for (socket, listener) in [(path.as_os_str(), there), (OsStr::new(&name), hidden)] {
            tell(socket, "READY=1\n").unwrap();
            let mut told = [0; 32];
            let bytes = listener.recv(&mut told).unwrap();
            assert_eq!(&told[..bytes], b"READY=1\n");
        }
        assert!(tell(OsStr::new("/nowhere/at/all"), "READY=1\n").is_err());
    }
}
