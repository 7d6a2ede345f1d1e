//! The time, read once for all that a task does before it waits again.
//!
//! A page asks for the time about fifteen times, mostly to know until when it may wait for what it
//! has just begun, and each time costs as much as looking up a field of its JSON. What a task does
//! at a stretch takes microseconds; so it is told the time of its first question. A render that
//! takes long is measured by the exact clock.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

thread_local! {
    static TIME: Cell<Time> = const { Cell::new(Time::Outside) };
}

#[derive(Clone, Copy)]
enum Time {
    /// No task runs.
    Outside,
    /// One does, and has not asked.
    Unasked,
    /// It has.
    Read(Instant),
}

/// The time at which the task that runs first asked for it; outside of one, the time.
#[inline]
pub(super) fn now() -> Instant {
    match TIME.get() {
        Time::Read(now) => now,
        Time::Outside => Instant::now(),
        Time::Unasked => {
            let now = Instant::now();
            TIME.set(Time::Read(now));
            now
        }
    }
}

/// The CPU time that this thread has used.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

/// A stretch of a task's work, until dropped.
pub(super) struct Stretch(Time);

impl Stretch {
    #[inline]
    pub(super) fn begin() -> Self {
        Self(TIME.replace(Time::Unasked))
    }
}

impl Drop for Stretch {
    #[inline]
    fn drop(&mut self) {
        TIME.set(self.0);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "no worker runs in these tests")]
mod tests {
    use std::thread;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(3);

    #[test]
    fn a_stretch_of_work_has_one_time_and_the_next_has_another() {
        let before = now();
        let stretch = || {
            let _stretch = Stretch::begin();
            thread::sleep(PAUSE);
            let first = now();
            thread::sleep(PAUSE);
            assert_eq!(now(), first);
            first
        };
        let (first, between, second) = (stretch(), now(), stretch());
        assert!(before < first && first < between && between < second && second < now());
    }

    #[test]
    fn cpu_time_is_what_was_used_and_no_pause() {
        let (start, used) = (Instant::now(), cpu_time());
        while cpu_time() - used < PAUSE {
            std::hint::spin_loop();
        }
        assert!(start.elapsed() >= PAUSE);
        let used = cpu_time();
        thread::sleep(PAUSE * 10);
        assert!(cpu_time() - used < PAUSE * 10);
    }
}
