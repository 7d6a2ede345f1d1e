//! What is told of a panic: where it was, on which thread, and how it came to that.

use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::limits::PANICS_LOGGED_PER_MINUTE;

/// Has panics logged, with a backtrace, from now on. A page that panics does so for each visitor:
/// of many in a minute the first ones are logged.
pub fn log_panics() {
    let logged = Mutex::new(Logged { since: Instant::now(), count: 0 });
    panic::set_hook(Box::new(move |info| {
        // Held by another thread only while that counts.
        let Ok(mut logged) = logged.lock() else { return };
        if logged.may_log(Instant::now()) {
            drop(logged);
            log(info);
        }
    }));
}

fn log(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::force_capture().to_string();
    tracing::error!(
        thread = thread.name().unwrap_or("?"),
        message = message.unwrap_or("?"),
        place,
        backtrace,
        "a panic: a defect of ringpress or of what is built on it"
    );
}

/// Panics of the last minute.
struct Logged {
    since: Instant,
    count: u32,
}

impl Logged {
    fn may_log(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= MINUTE {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count <= PANICS_LOGGED_PER_MINUTE
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_the_first_ones_are_logged() {
        let now = Instant::now();
        let mut logged = Logged { since: now, count: 0 };
        let count = (0..1000).filter(|_| logged.may_log(now)).count();
        assert_eq!(count, PANICS_LOGGED_PER_MINUTE as usize);
        assert!(logged.may_log(now + MINUTE));
    }
}
