//! What systemd is told of this process (sd_notify(3)). Where nobody listens, nothing is said.

use std::env;
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
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot tell systemd");
    }
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
