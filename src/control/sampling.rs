//! Where a thread is that stands still: looked at from outside, while it computes.
//!
//! A profiler does it: for a moment the kernel interrupts whichever thread computes, some times in
//! a hundredth of a second of CPU time, and notes how that came to where it is. Only a thread that
//! has stood still for seconds is worth that. One that waits in the kernel uses no CPU time and is
//! not seen; what it waits for is what the kernel says of it.

use std::fmt::Write;
use std::os::unix::thread::RawPthread;
use std::path::PathBuf;
use std::thread;

use pprof::{Frames, ProfilerGuardBuilder, Symbol};

use crate::limits::{STALL_FRAMES_MAX, STALL_SAMPLES_HZ, STALL_SAMPLES_TIME};

/// Looks where a worker's thread is, and logs it. That takes a while, so it is done beside the
/// control thread; of several at the same time one is told.
pub(super) fn tell(thread: RawPthread, worker: usize) {
    let looks = thread::Builder::new().name("ringpress-looks".to_owned());
    let looking = looks.spawn(move || match most_seen(thread) {
        Ok(Some(backtrace)) => {
            tracing::error!(worker, backtrace, "where the worker that stands still computes");
        }
        Ok(None) => {
            let why = "it uses no CPU time: it waits in the kernel";
            tracing::error!(worker, why, "no backtrace of the worker that stands still");
        }
        Err(why) => {
            tracing::error!(worker, why, "no backtrace of the worker that stands still");
        }
    });
    if let Err(error) = looking {
        let why = error.to_string();
        tracing::error!(worker, why, "no backtrace of the worker that stands still");
    }
}

/// How a thread came to where it was most of the times that it was looked at; nothing when it was
/// never seen to compute.
fn most_seen(thread: RawPthread) -> Result<Option<String>, String> {
    let profiler = ProfilerGuardBuilder::default()
        .frequency(STALL_SAMPLES_HZ)
        // Interrupted there, a thread may hold a lock that looking at it needs.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()
        .map_err(|error| error.to_string())?;
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, which nobody waits for")]
    thread::sleep(STALL_SAMPLES_TIME);
    let seen = profiler.report().build().map_err(|error| error.to_string())?;
    drop(profiler);
    let own = seen.data.iter().filter(|(frames, _)| frames.thread_id == thread);
    let all: isize = own.clone().map(|(_, count)| count).sum();
    let most = own.max_by_key(|(_, count)| **count);
    Ok(most.map(|(frames, count)| {
        let mut text = format!("in {count} of {all} looks\n");
        write(frames, &mut text);
        text
    }))
}

/// A line for each function, the innermost first.
fn write(frames: &Frames, text: &mut String) {
    let symbols = frames.frames.iter().flatten();
    for (number, symbol) in symbols.take(STALL_FRAMES_MAX).enumerate() {
        let _ = writeln!(text, "{number:4}: {}{}", symbol.name(), place(symbol));
    }
}

fn place(symbol: &Symbol) -> String {
    let Some((file, line)) = symbol.filename.as_deref().zip(symbol.lineno) else {
        return String::new();
    };
    // From its crate on: where that lies on the machine that built it, nobody needs.
    let parts: Vec<_> = file.iter().collect();
    let src = parts.iter().rposition(|part| *part == "src").unwrap_or(0).saturating_sub(1);
    let file = parts.iter().skip(src).collect::<PathBuf>();
    format!(" at {}:{line}", file.display())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Only one profiler can run in a process at a time, so one test has all of it.
    #[test]
    fn a_thread_that_computes_is_found_where_it_does_and_one_that_waits_is_not() {
        static IS_OVER: AtomicBool = AtomicBool::new(false);
        #[inline(never)]
        fn counts_for_ever() -> u64 {
            let mut count = 0_u64;
            while !IS_OVER.load(Ordering::Relaxed) {
                count = black_box(count.wrapping_add(1));
            }
            count
        }
        let busy = thread::spawn(counts_for_ever);
        let quiet = thread::spawn(thread::park);
        let mut found = None;
        // On a machine that is busy with something else a thread may not compute for a while.
        for _ in 0..100 {
            found = most_seen(busy.as_pthread_t()).unwrap();
            if found.is_some() {
                break;
            }
        }
        assert_eq!(most_seen(quiet.as_pthread_t()), Ok(None));
        IS_OVER.store(true, Ordering::Relaxed);
        quiet.thread().unpark();
        busy.join().unwrap();
        quiet.join().unwrap();
        let text = found.expect("a thread that computes all the time");
        assert!(text.contains("counts_for_ever"), "{text}");
        assert!(text.contains("sampling.rs:"), "{text}");
        assert!(!text.contains(" at /"), "{text}");
    }
}
