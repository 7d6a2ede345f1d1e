//! Long work in turns, while there is too much of it.
//!
//! A loop does all that is ready before it looks at its sockets again. When the answers for a
//! hundred pages have come, that is a hundred renders, and who comes meanwhile waits for all of
//! them, even if only to be told to come back. So on a crowded loop long work is done in stints, of
//! so much time each, first come first served, and between two of them the loop looks.
//!
//! What is here is the thread's, as its loop is. On a loop that is not crowded it costs a look at a
//! flag.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::Driver;
use super::turns::Turns;
use crate::limits::{STINT, STINT_PAUSE};

thread_local! {
    static CROWDED: Cell<bool> = const { Cell::new(false) };
    static TURNS: Turns = Turns::default();
}

/// Says whether this thread's loop is crowded.
pub fn set_crowded(crowded: bool) {
    CROWDED.set(crowded);
}

/// Whether it is.
pub fn is_crowded() -> bool {
    CROWDED.get()
}

/// How long the first in line has waited.
pub fn delay(now: Instant) -> Duration {
    let since = TURNS.with(Turns::first_since);
    since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
}

/// Waits until it is the caller's turn to do long work: no time, when the loop is not crowded. The
/// next is called when this is dropped.
pub async fn begin<D: Driver>() -> Work<D> {
    if !CROWDED.get() {
        return Work { begun: None, driver: PhantomData };
    }
    let place = TURNS.with(|turns| {
        if !turns.are_kept() {
            turns.begin(STINT);
            D::spawn(keep::<D>(Stints));
        }
        turns.enter(D::now())
    });
    place.called().await;
    Work { begun: Some(D::now_exactly()), driver: PhantomData }
}

/// Long work that is being done.
pub struct Work<D: Driver> {
    /// None when it was not waited for.
    begun: Option<Instant>,
    driver: PhantomData<fn() -> D>,
}

impl<D: Driver> Drop for Work<D> {
    fn drop(&mut self) {
        let Some(begun) = self.begun else { return };
        let used = D::now_exactly().saturating_duration_since(begun);
        // An error is a thread at its end, where nobody waits.
        let _ = TURNS.try_with(|turns| turns.took(used));
    }
}

/// Begins one stint after the other, for as long as somebody waits.
async fn keep<D: Driver>(_stints: Stints) {
    let mut is_empty = false;
    while !is_empty {
        // It is over before a full stint is: then the loop looks, and does not wait.
        D::sleep(STINT_PAUSE).await;
        TURNS.with(|turns| {
            is_empty = turns.waiting() == 0;
            turns.begin(STINT);
        });
    }
}

/// That there are stints. Those who wait are forgotten with it: their loop is at its end.
struct Stints;

impl Drop for Stints {
    fn drop(&mut self) {
        let _ = TURNS.try_with(Turns::end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sim::{Faults, Sim};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::task::Waker;

    const MS: Duration = Duration::from_millis(1);

    /// So many pieces of long work, of a millisecond each, all ready at once, and when each was
    /// done; and how often somebody else, who asks for a moment each time, had one meanwhile.
    fn work(pieces: usize, crowded: bool) -> (Vec<(usize, Duration)>, usize) {
        let faults = Faults { in_order: true, ..Faults::none() };
        let run = Sim::run_seeded(1, faults, || async move {
            set_crowded(crowded);
            let done = Rc::<RefCell<Vec<(usize, Duration)>>>::default();
            for piece in 0..pieces {
                let done = Rc::clone(&done);
                Sim::spawn(async move {
                    let _work = begin::<Sim>().await;
                    Sim::burn(MS);
                    done.borrow_mut().push((piece, Sim::elapsed()));
                });
            }
            let mut moments = 0;
            while done.borrow().len() < pieces {
                Sim::sleep(MS / 10).await;
                moments += 1;
            }
            set_crowded(false);
            (done.take(), moments)
        });
        run.unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[test]
    fn others_have_their_moment_between_two_stints_and_the_cpu_is_never_idle() {
        let (done, moments) = work(60, true);
        assert!(done.iter().map(|(piece, _)| *piece).eq(0..60), "first come, first served");
        // A stint ends with the piece that is being done: two of them.
        let stints = 60 / 2;
        assert!(moments >= stints, "{moments} moments in {stints} stints");
        let (_, end) = done[59];
        assert!(end <= 66 * MS, "{end:?} for 60 ms of work");
    }

    #[test]
    fn on_a_loop_with_room_all_is_done_at_once() {
        let (done, moments) = work(60, false);
        assert_eq!((done.len(), moments), (60, 1));
    }

    #[test]
    fn one_who_leaves_the_line_is_not_waited_for() {
        let faults = Faults { in_order: true, ..Faults::none() };
        let run = Sim::run_seeded(1, faults, || async {
            set_crowded(true);
            let first = begin::<Sim>().await;
            Sim::burn(STINT);
            drop(first);
            assert_eq!(delay(Sim::now()), Duration::ZERO);
            let mut left = Box::pin(begin::<Sim>());
            let mut context = std::task::Context::from_waker(Waker::noop());
            assert!(left.as_mut().poll(&mut context).is_pending());
            Sim::burn(MS);
            assert_eq!(delay(Sim::now()), MS);
            drop(left);
            let asked = Sim::elapsed();
            drop(begin::<Sim>().await);
            assert!(Sim::elapsed() - asked < STINT_PAUSE * 2, "who has left had the turn");
            set_crowded(false);
        });
        run.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(TURNS.with(|turns| !turns.are_kept() && turns.waiting() == 0));
    }
}
