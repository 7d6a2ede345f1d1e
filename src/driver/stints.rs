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
use std::future::poll_fn;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::looks::Looks;
use super::turns::Turns;
use super::ways::let_others_go;
use super::{Driver, tally};
use crate::limits::{LOOKS_MAX, LOOKS_PER_STINT, LOOKS_TIME_MAX, STINT};

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

/// Begins one stint after the other, for as long as the loop runs.
async fn keep<D: Driver>(_stints: Stints) {
    let mut looks = Looks::<D>::new();
    loop {
        poll_fn(|context| TURNS.with(|turns| turns.used_up(context))).await;
        let begun = D::now_exactly();
        let looked_for = look_around(&mut looks, begun).await;
        TURNS.with(|turns| turns.begin(STINT.max(looked_for / LOOKS_PER_STINT)));
    }
}

/// Looks until nothing comes any more, so that whoever is only to be refused has that before the
/// next page is made; and for how long.
async fn look_around<D: Driver>(looks: &mut Looks<D>, begun: Instant) -> Duration {
    let (mut taken, mut looked_for) = (tally::done().completed, Duration::ZERO);
    for _ in 0..LOOKS_MAX {
        looks.look().await;
        // Those who have got something beside this task note that now.
        let_others_go::<D>().await;
        looked_for = D::now_exactly().saturating_duration_since(begun);
        let before = std::mem::replace(&mut taken, tally::done().completed);
        if taken == before || looked_for >= LOOKS_TIME_MAX {
            break;
        }
    }
    looked_for
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
    use crate::driver::{Reader, Writer};
    use std::cell::RefCell;
    use std::future::Future;
    use std::rc::Rc;
    use std::task::Waker;

    const MS: Duration = Duration::from_millis(1);
    const PIECE: Duration = Duration::from_micros(10);

    /// So many pieces of long work, of a millisecond each, all ready at once, and when each was
    /// done; and how often somebody else, who asks for a moment each time, had one meanwhile.
    fn work(pieces: usize, crowded: bool) -> (Vec<(usize, Duration)>, usize) {
        in_order(|| async move {
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
        })
    }

    fn in_order<F: Future>(test: impl FnOnce() -> F) -> F::Output {
        let faults = Faults { in_order: true, ..Faults::none() };
        Sim::run_seeded(1, faults, test).unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[test]
    fn others_have_their_moment_between_two_stints_and_the_cpu_is_never_idle() {
        let (done, moments) = work(60, true);
        assert!(done.iter().map(|(piece, _)| *piece).eq(0..60), "first come, first served");
        // A piece takes longer than a stint: each is one.
        assert!(moments >= 60, "{moments} moments in 60 stints");
        let (_, end) = done[59];
        assert!(end <= 61 * MS, "{end:?} for 60 ms of work");
    }

    #[test]
    fn on_a_loop_with_room_all_is_done_at_once() {
        let (done, moments) = work(60, false);
        assert_eq!((done.len(), moments), (60, 1));
    }

    #[test]
    fn small_pieces_are_done_many_at_a_time() {
        in_order(|| async {
            set_crowded(true);
            let looks = Rc::new(Cell::new(0));
            let pieces = 10 * STINT.as_micros() / PIECE.as_micros();
            let tasks: Vec<_> = (0..pieces).map(|_| Box::pin(begin::<Sim>())).collect();
            for task in tasks {
                let looks = Rc::clone(&looks);
                Sim::spawn(async move {
                    let work = task.await;
                    Sim::burn(PIECE);
                    drop(work);
                    looks.set(looks.get() + usize::from(TURNS.with(Turns::is_used_up)));
                });
            }
            Sim::sleep(MS * 100).await;
            assert!((9..=10).contains(&looks.get()), "{} stints", looks.get());
            set_crowded(false);
        });
    }

    /// What comes while a piece is done goes before the next, however many steps it takes.
    #[test]
    fn what_is_short_goes_before_the_next_piece() {
        in_order(|| async {
            set_crowded(true);
            let address = std::net::SocketAddr::from(([10, 0, 0, 1], 80));
            let listener = Sim::bind(address).unwrap();
            let (_, mut writer) = Sim::connect(address).await.unwrap();
            let (reader, _answers, _) = Sim::accept(&listener).await.unwrap();
            let answered = Rc::new(Cell::new(None));
            let first = begin::<Sim>().await;
            Sim::burn(MS);
            drop(first);
            let second = Rc::new(Cell::new(None));
            let (begins, answers) = (Rc::clone(&second), Rc::clone(&answered));
            Sim::spawn(async move {
                let _work = begin::<Sim>().await;
                begins.set(Some(Sim::elapsed()));
                Sim::burn(MS);
            });
            Sim::spawn(async move {
                let read = reader.read(Vec::new(), 8).await;
                read.result.unwrap();
                // A few steps, each at the end of the line.
                for _ in 0..4 {
                    let_others_go::<Sim>().await;
                }
                answers.set(Some(Sim::elapsed()));
            });
            writer.write_all(b"asks".to_vec(), 0).await.0.unwrap();
            Sim::sleep(MS * 10).await;
            let (answered, second) = (answered.get().unwrap(), second.get().unwrap());
            assert!(answered < second, "{answered:?}, and the page {second:?}");
            set_crowded(false);
        });
    }

    #[test]
    fn one_who_leaves_the_line_is_not_waited_for() {
        in_order(|| async {
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
            assert!(Sim::elapsed() - asked < MS / 10, "who has left had the turn");
            set_crowded(false);
        });
        assert!(TURNS.with(|turns| !turns.are_kept() && turns.waiting() == 0));
    }
}
