//! Whether a worker lives: that its thread runs, and that its loop turns. And when one that has
//! failed is started again.

use std::fs;
use std::os::unix::thread::JoinHandleExt;
use std::time::{Duration, Instant};

use crate::limits::{
    CONTROL_LOOK, WORKER_RESTART_PAUSE, WORKER_RESTART_PAUSE_MAX, WORKER_STALL_MAX,
    WORKER_WELL_AFTER,
};

use super::sampling;
use super::server::Handle;
use super::starting::how_it_ended;

/// What is remembered of a worker between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    started: Instant,
    /// How often it had looked at its orders.
    beats: u64,
    /// For how many looks of ours that has not changed. Not a time: while all of the process is
    /// stopped, nobody stands still.
    still: u32,
    /// How long it is left alone when it fails next.
    pause: Duration,
    /// When it is to be started again, once it has failed.
    due: Option<Instant>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, beats: 0, still: 0, pause: WORKER_RESTART_PAUSE, due: None }
    }

    /// The same worker, started again.
    pub(super) fn after_restart(&self, now: Instant) -> Self {
        Self { pause: self.pause, ..Self::new(now) }
    }

    /// It has failed, or could not be started.
    pub(super) fn failed(&mut self, now: Instant) {
        if now.saturating_duration_since(self.started) >= WORKER_WELL_AFTER {
            self.pause = WORKER_RESTART_PAUSE;
        }
        self.due = Some(now + self.pause);
        self.pause = (self.pause * 2).min(WORKER_RESTART_PAUSE_MAX);
    }

    /// Whether it has failed and may be started again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// Notes its beats; whether it stands still for too long, by this look.
    fn stands(&mut self, beats: u64) -> bool {
        if beats != self.beats {
            (self.beats, self.still) = (beats, 0);
            return false;
        }
        self.still = self.still.saturating_add(1);
        self.still > STILL_MAX
    }
}

impl Handle {
    /// Whether its thread has ended, which it was not told to; what is known of that is logged.
    pub(super) fn is_lost(&mut self, number: usize) -> bool {
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            let ended = how_it_ended(thread);
            let why = ended.map_or_else(|error| error.to_string(), |()| "for no reason".to_owned());
            tracing::error!(worker = number, why, "a worker has ended by itself");
            self.watch.failed(Instant::now());
        }
        self.thread.is_none()
    }

    /// Whether it has just been found standing still; what is known of that is logged.
    pub(super) fn stalls(&mut self, number: usize) -> bool {
        if self.watch.due.is_some() || !self.watch.stands(self.orders.beats()) {
            return false;
        }
        let seconds = WORKER_STALL_MAX.as_secs();
        let doing = doing(self.orders.thread());
        tracing::error!(
            worker = number,
            seconds,
            doing,
            "a worker stands still: another takes its place"
        );
        if let Some(thread) = &self.thread {
            sampling::tell(thread.as_pthread_t(), number);
        }
        self.watch.failed(Instant::now());
        true
    }
}

/// What the kernel says of a thread of this process: whether it runs or waits, and for what.
fn doing(thread: u64) -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{name}"));
    let status = read("status").unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("?");
    let waits = read("wchan").unwrap_or_default();
    let call = read("syscall").unwrap_or_default();
    let number = call.split_whitespace().next().unwrap_or("?");
    let waits = if waits.is_empty() || waits == "0" { "nothing" } else { waits.as_str() };
    format!("state {}, waits in the kernel for {waits}, system call {number}", state.trim())
}

/// As many looks make up the time that a worker may stand still.
const STILL_MAX: u32 = (WORKER_STALL_MAX.as_millis() / CONTROL_LOOK.as_millis()) as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_stands_still_when_its_beats_do_for_long_enough() {
        let mut watch = Watch::new(Instant::now());
        for beats in 1..1000 {
            assert!(!watch.stands(beats));
        }
        let found = (0..10_000).find(|_| watch.stands(999)).unwrap();
        assert_eq!(found, STILL_MAX);
        assert!(!watch.stands(1000));
    }

    #[test]
    fn one_that_fails_again_and_again_is_left_alone_for_longer_until_it_was_well() {
        let mut now = Instant::now();
        let mut watch = Watch::new(now);
        assert!(!watch.is_due(now));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            watch.failed(now);
            let pause = watch.due.unwrap() - now;
            pauses.push(pause);
            now += pause;
            assert!(watch.is_due(now));
            watch = watch.after_restart(now);
        }
        assert_eq!(pauses[0], WORKER_RESTART_PAUSE);
        assert_eq!(pauses[1], WORKER_RESTART_PAUSE * 2);
        assert_eq!(pauses[11], WORKER_RESTART_PAUSE_MAX);
        now += WORKER_WELL_AFTER;
        watch.failed(now);
        assert_eq!(watch.due.unwrap() - now, WORKER_RESTART_PAUSE);
    }

    #[test]
    fn what_a_thread_does_is_told() {
        let text = doing(u64::from(std::process::id()));
        assert!(text.contains("state S") || text.contains("state R"), "{text}");
    }
}
