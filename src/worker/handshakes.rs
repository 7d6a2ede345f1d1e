//! TLS handshakes in turns, as one takes more CPU time than many a page.
//!
//! When a hundred visitors knock at once, that is a tenth of a second of signatures, and whoever
//! waits for a page meanwhile would wait for all of them. So handshakes are computed in stints, of
//! so much time each, first come first served, and between two of them the loop looks at its
//! sockets. A loop that has nothing else to do computes on and on.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::driver::turns::Turns;
use crate::limits::{
    TLS_HANDSHAKES_OVERLOADED_MAX, TLS_STINT, TLS_STINT_OVERLOADED, TLS_STINT_PAUSE,
};

use super::service::Service;
use super::{Counter, Held, Worker};

/// The handshakes of a worker.
#[derive(Default)]
pub(super) struct Handshakes {
    under_way: Counter,
    turns: Turns,
    /// CPU time that was computed for, ever.
    used: Cell<Duration>,
}

/// A handshake that is being computed. The next is called when this is dropped.
pub(super) struct Turn<'a, D: Driver, S: Service> {
    worker: &'a Worker<D, S>,
    begun: Instant,
    cpu_before: Duration,
}

impl<D: Driver, S: Service> Worker<D, S> {
    /// A place for one more handshake, unless there are as many as there may be, or an overloaded
    /// worker has enough of them to do.
    pub(super) fn begin_handshake(&self) -> Option<Held<'_>> {
        let Handshakes { under_way, turns, .. } = &self.handshakes;
        let is_full = under_way.get() >= self.bounds.tls_handshakes_max as u64;
        let is_enough = || turns.waiting() >= TLS_HANDSHAKES_OVERLOADED_MAX;
        if is_full || (self.admission.is_overloaded() && is_enough()) {
            return None;
        }
        Some(Held::new(under_way))
    }

    /// Waits until it is the caller's turn to compute.
    pub(super) async fn turn(self: &Rc<Self>) -> Turn<'_, D, S> {
        let turns = &self.handshakes.turns;
        if !turns.are_kept() {
            turns.begin(self.stint());
            D::spawn(Rc::clone(self).keep_stints());
        }
        turns.enter(D::now()).called().await;
        Turn { worker: self, begun: D::now_exactly(), cpu_before: D::cpu_time() }
    }

    /// CPU time that the worker has used, ever, but for handshakes: what pages take of it is learnt
    /// from that, and a flood of handshakes does not make them dearer.
    pub(super) fn cpu_time_of_pages(&self) -> Duration {
        D::cpu_time().saturating_sub(self.handshakes.used.get())
    }

    fn stint(&self) -> Duration {
        if self.admission.is_overloaded() { TLS_STINT_OVERLOADED } else { TLS_STINT }
    }

    /// Begins one stint after the other, for as long as somebody waits.
    async fn keep_stints(self: Rc<Self>) {
        let turns = &self.handshakes.turns;
        let mut is_empty = false;
        while !is_empty {
            // It is over before a full stint is: then the loop looks, and does not wait.
            D::sleep(TLS_STINT_PAUSE).await;
            is_empty = turns.waiting() == 0;
            turns.begin(self.stint());
        }
        turns.end();
    }
}

impl<D: Driver, S: Service> Drop for Turn<'_, D, S> {
    fn drop(&mut self) {
        let Handshakes { turns, used, .. } = &self.worker.handshakes;
        used.set(used.get() + D::cpu_time().saturating_sub(self.cpu_before));
        turns.took(D::now_exactly().saturating_duration_since(self.begun));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, Request, Response};
    use super::*;
    use crate::driver::sim::{Faults, Sim};
    use crate::driver::timers::Timers;
    use crate::limits::TLS_HANDSHAKES_MAX;
    use std::sync::Arc;

    /// Whoever handshakes here asks for no page.
    struct Silent;

    impl Service for Silent {
        fn wants_body(&self, _: &Request<'_>) -> bool {
            false
        }

        async fn respond(&self, _: Request<'_>, _: &mut Response) {}

        fn refuse(&self, _: u16, _: &str, _: &mut Response) {}
    }

    fn with_worker<F: Future<Output = ()>>(test: impl FnOnce(Rc<Worker<Sim, Silent>>) -> F) {
        let faults = Faults { in_order: true, ..Faults::none() };
        let run = Sim::run_seeded(1, faults, || async move {
            let timers = Timers::<Sim>::start();
            test(Worker::new(Silent, Bounds::default(), Arc::default(), timers)).await;
        });
        run.unwrap_or_else(|failure| panic!("{failure}"));
    }

    #[test]
    fn others_have_their_moment_and_pages_do_not_pay_for_it() {
        const HANDSHAKES: u32 = 40;
        with_worker(|worker| async move {
            let done = Rc::<Cell<u32>>::default();
            let before = worker.cpu_time_of_pages();
            for _ in 0..HANDSHAKES {
                let (worker, done) = (Rc::clone(&worker), Rc::clone(&done));
                Sim::spawn(async move {
                    let _turn = worker.turn().await;
                    Sim::burn(TLS_STINT / 2);
                    done.set(done.get() + 1);
                });
            }
            let mut moments = 0;
            while done.get() < HANDSHAKES {
                Sim::sleep(TLS_STINT / 10).await;
                moments += 1;
            }
            // A stint ends with the handshake that is being computed: three of them at most.
            assert!(moments >= HANDSHAKES / 3, "{moments} moments");
            let paid = worker.cpu_time_of_pages() - before;
            assert!(paid < TLS_STINT * 2, "{paid:?} for no page");
        });
    }

    #[test]
    fn there_is_a_place_for_so_many() {
        with_worker(|worker| async move {
            let places: Vec<_> =
                (0..TLS_HANDSHAKES_MAX).map(|_| worker.begin_handshake()).collect();
            assert!(places.iter().all(Option::is_some) && worker.begin_handshake().is_none());
            drop(places);
            assert!(worker.begin_handshake().is_some());
        });
    }
}
