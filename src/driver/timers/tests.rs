//! The timers on the simulated driver, where a tick late is exactly a tick late; and on the others,
//! what they do when the loop was away.

use std::cell::Cell;
use std::future::{pending, ready};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::driver::Reader as _;
use crate::driver::sim::{Faults, Sim};
use crate::limits::TIMER_SLOTS;

/// A tick, and some polls of other tasks, each of which takes virtual time.
const LATE_MAX: Duration = TIMER_TICK.saturating_add(Duration::from_millis(1));

fn simulate<F: Future>(seed: u64, main: impl FnOnce(Timers<Sim>) -> F) -> F::Output {
    Sim::run_seeded(seed, Faults::none(), || main(Timers::start())).unwrap()
}

fn random_ms(bound_ms: u64) -> Duration {
    // Off the ticks as well.
    Duration::from_micros(Sim::random_below(bound_ms * 1000))
}

fn assert_on_time(start: Instant, limit: Duration) {
    let took = Sim::now() - start;
    assert!(took >= limit, "{limit:?} took {took:?}: early");
    assert!(took <= limit + LATE_MAX, "{limit:?} took {took:?}: late");
}

#[test]
fn timers_are_never_early_and_at_most_a_tick_late() {
    let turn_ms = TIMER_TICK.as_millis() as u64 * TIMER_SLOTS as u64;
    for seed in 0..16 {
        simulate(seed, |timers| async move {
            let done = Rc::<Cell<u32>>::default();
            for _ in 0..50 {
                let (timers, done) = (timers.clone(), Rc::clone(&done));
                Sim::spawn(async move {
                    let mut timer = timers.timer();
                    for _ in 0..20 {
                        let (limit, start) = (random_ms(turn_ms * 3), Sim::now());
                        let work = random_ms(turn_ms * 3);
                        let result = timer.timeout(limit, Sim::sleep(work)).await;
                        if result.is_err() {
                            assert_on_time(start, limit);
                        } else {
                            assert!(work <= limit + LATE_MAX, "{work:?} in {limit:?}");
                        }
                    }
                    done.set(done.get() + 1);
                });
            }
            timers.sleep(Duration::from_secs(3600)).await;
            assert_eq!(done.get(), 50, "seed {seed}: a timer did not wake its task");
        });
    }
}

#[test]
fn an_earlier_timer_cuts_the_sleep_short() {
    simulate(1, |timers| async move {
        let long = timers.timer();
        long.set(Sim::now() + Duration::from_secs(60));
        Sim::sleep(Duration::from_secs(1)).await;
        let (start, time) = (Sim::now(), Duration::from_millis(30));
        timers.sleep(time).await;
        assert_on_time(start, time);
    });
}

#[test]
fn a_deadline_moves_while_its_task_waits() {
    simulate(1, |timers| async move {
        let start = Sim::now();
        let timer = Rc::new(timers.timer());
        timer.set(start + Duration::from_secs(60));
        let moved = Rc::clone(&timer);
        Sim::spawn(async move {
            Sim::sleep(Duration::from_secs(1)).await;
            moved.set(start + Duration::from_secs(90));
            Sim::sleep(Duration::from_secs(1)).await;
            moved.set(start + Duration::from_secs(5));
        });
        timer.expired().await;
        assert_on_time(start, Duration::from_secs(5));
    });
}

#[test]
fn work_that_is_done_in_time_wins() {
    simulate(1, |timers| async move {
        let mut timer = timers.timer();
        let past = Sim::now();
        Sim::sleep(Duration::from_secs(1)).await;
        assert_eq!(timer.until(past, ready(1)).await, Ok(1), "done and late at once is done");
        assert_eq!(timer.until(past, pending::<()>()).await, Err(Elapsed));
        assert_eq!(timers.timeout(Duration::ZERO, pending::<()>()).await, Err(Elapsed));
        let start = Sim::now();
        assert_eq!(timers.timeout(Duration::MAX, timers.sleep(LATE_MAX)).await, Ok(()));
        assert_on_time(start, LATE_MAX);
    });
}

#[test]
fn a_timer_is_clear_after_its_wait_was_dropped() {
    simulate(1, |timers| async move {
        let mut timer = timers.timer();
        drop(timer.timeout(Duration::from_secs(1), pending::<()>()));
        let expired = timers.timeout(Duration::from_secs(3600), timer.expired()).await;
        assert_eq!(expired, Err(Elapsed), "it was still armed");
    });
}

#[test]
fn an_idle_worker_makes_no_wake_ups() {
    simulate(1, |timers| async move {
        let mut timer = timers.timer();
        for _ in 0..1000 {
            let work = timer.timeout(Duration::from_secs(5), Sim::sleep(random_ms(50))).await;
            assert_eq!(work, Ok(()));
        }
        let idle = (0..100).map(|seconds| {
            let timer = timers.timer();
            timer.set(Sim::now() + Duration::from_secs(7200 + seconds));
            timer
        });
        let idle: Vec<_> = idle.collect();
        let polls = Sim::counts().steps;
        Sim::sleep(Duration::from_secs(7000)).await;
        let polls = Sim::counts().steps - polls;
        // One for this task; of the wheel one for the arming, one for what was cleared, and one
        // for each of the longest sleeps.
        assert!(polls <= 5, "{polls} polls, with {} timers far away", idle.len());
        drop(idle);
        let polls = Sim::counts().steps;
        Sim::sleep(Duration::from_secs(100_000)).await;
        assert!(Sim::counts().steps - polls <= 3, "and none armed");
    });
}

/// What had come when the loop was away is no timeout, however much it is; what had not is one.
#[expect(clippy::disallowed_methods, reason = "the loop is to be away")]
fn hears_before_it_tells<D: Driver>() {
    let run = D::run(|| async {
        let timers = Timers::<D>::start();
        let heard = Rc::<Cell<(u32, u32)>>::default();
        let mut fars = Vec::new();
        for _ in 0..MANY {
            let (far, near) = UnixStream::pair().unwrap();
            let near = std::net::TcpStream::from(OwnedFd::from(near));
            let (reader, writer) = D::adopt(near).unwrap();
            let (timers, heard) = (timers.clone(), Rc::clone(&heard));
            D::spawn(async move {
                let read = timers.timeout(LOOP_AWAY * 20, reader.read(Vec::new(), 8)).await;
                let (in_time, late) = heard.get();
                heard.set(if read.is_ok() { (in_time + 1, late) } else { (in_time, late + 1) });
                drop(writer);
            });
            fars.push(far);
        }
        // The reads are with the kernel.
        D::sleep(TIMER_TICK * 2).await;
        fars.iter_mut().skip(1).for_each(|far| far.write_all(b"!").unwrap());
        std::thread::sleep(LOOP_AWAY * 24);
        while heard.get().0 + heard.get().1 < MANY {
            D::sleep(TIMER_TICK).await;
        }
        assert_eq!(heard.get(), (MANY - 1, 1));
    });
    run.unwrap();
}

const MANY: u32 = 200;

#[cfg(feature = "monoio")]
#[test]
fn monoio_hears_before_it_tells() {
    hears_before_it_tells::<crate::driver::monoio::MonoioUring>();
}

#[cfg(feature = "ring")]
#[test]
fn ring_hears_before_it_tells() {
    hears_before_it_tells::<crate::driver::ring::Ring>();
}

#[cfg(feature = "epoll")]
#[test]
fn epoll_hears_before_it_tells() {
    hears_before_it_tells::<crate::driver::epoll::Epoll>();
}

#[cfg(feature = "tokio-uring")]
#[test]
fn tokio_uring_hears_before_it_tells() {
    hears_before_it_tells::<crate::driver::tokio_uring::TokioUring>();
}
