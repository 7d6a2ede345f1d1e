//! A running server: its sockets, its workers, what they go over to, and their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::driver::kind::Kind;
use crate::limits::RELOAD_TIMEOUT;
use crate::metrics::WorkerMetrics;
use crate::tls::ServerTls;
use crate::worker::thread::{Recipe, Started};
use crate::worker::{Bounds, Orders};

use super::crew::{Crew, Fleet};
use super::past::Past;
use super::roster::{Post, Roster};
use super::sockets::{Inherited, Share, Sockets, Speech};
pub use super::starting::StartError;
use super::starting::{await_all, end_all, how_it_ended, pause};
use super::watch::Watch;

/// What to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where and how TLS is spoken, if it is.
    pub secure: Option<Secure>,
    /// One worker each, pinned to this CPU or roaming.
    pub cpus: Vec<Option<usize>>,
    /// The driver.
    pub driver: Kind,
    /// The bounds of each worker.
    pub bounds: Bounds,
}

/// Where and how a server speaks TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Secure {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Certificates and the rest.
    pub tls: ServerTls,
}

/// A server that runs.
pub struct Server {
    plan: Plan,
    sockets: Sockets,
    /// Whether its sockets are somebody else's too, who keeps them when it ends.
    spare: bool,
    fleet: Box<dyn Fleet>,
    workers: Vec<Handle>,
    /// Workers whose place another has taken, until they have ended.
    parting: Vec<Handle>,
    /// What those have counted who have ended.
    past: Past,
    /// For how many looks more the workers are roused, as one of them is gone.
    rouses: u32,
    /// Whether it was told to end.
    is_ending: AtomicBool,
}

/// A worker, as the control side has it.
pub(super) struct Handle {
    pub(super) number: usize,
    pub(super) thread: Option<JoinHandle<io::Result<()>>>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) orders: Arc<Orders>,
    pub(super) watch: Watch,
}

/// What befell workers since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incidents {
    /// Workers that were started again.
    pub restarted: u64,
    /// Workers that stood still, and whose place another has taken.
    pub stalled: u64,
    /// Workers that have ended after another has taken their place.
    pub parted: u64,
}

impl Plan {
    fn wanted(&self) -> Vec<(Speech, SocketAddr)> {
        let plain = self.listen.iter().map(|address| (Speech::Plain, *address));
        let secure = self.secure.iter().flat_map(|secure| &secure.listen);
        plain.chain(secure.map(|address| (Speech::Secure, *address))).collect()
    }
}

impl Server {
    /// Starts a server: binds all sockets first, then starts the workers, and returns when each
    /// of them is serving.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start<R: Recipe>(plan: &Plan, recipe: R) -> Result<Self, StartError> {
        Self::start_on(plan, recipe, &mut Vec::new(), false)
    }

    /// The same with sockets that are open already: those that are of use are taken out. With
    /// `spare` they are left listening at the end, for whoever else has them.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start_on<R: Recipe>(
        plan: &Plan,
        recipe: R,
        inherited: &mut Vec<Inherited>,
        spare: bool,
    ) -> Result<Self, StartError> {
        let sockets = Sockets::open(&plan.wanted(), plan.cpus.len(), inherited)?;
        let fleet = Box::new(Crew::new(recipe, plan.cpus.len()));
        let (workers, parting) = (Vec::new(), Vec::new());
        let (plan, is_ending) = (plan.clone(), AtomicBool::new(false));
        let (past, rouses) = (Past::default(), 0);
        let mut server =
            Self { plan, sockets, spare, fleet, workers, parting, past, rouses, is_ending };
        server.workers = server.crew(&server.plan, &server.sockets, &*server.fleet)?;
        Ok(server)
    }

    /// A worker for each CPU of a plan, all of them serving.
    fn crew(
        &self,
        plan: &Plan,
        sockets: &Sockets,
        fleet: &dyn Fleet,
    ) -> Result<Vec<Handle>, StartError> {
        let (ready, started) = mpsc::channel();
        let mut workers: Vec<Handle> = Vec::new();
        if plan.cpus.is_empty() {
            return Err(StartError::Nobody);
        }
        for number in 0..plan.cpus.len() {
            let share = sockets.share(number, plan.cpus.len());
            let launched =
                share.and_then(|share| self.launch(plan, fleet, number, share, ready.clone()));
            match launched {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    end_all(&mut workers);
                    return Err(StartError::Worker(number, error));
                }
            }
        }
        drop(ready);
        await_all(workers, &started)
    }

    fn launch(
        &self,
        plan: &Plan,
        fleet: &dyn Fleet,
        number: usize,
        share: Share,
        ready: Sender<Started>,
    ) -> io::Result<Handle> {
        let metrics = Arc::<WorkerMetrics>::default();
        let orders = Arc::new(Orders::sparing(self.spare));
        let given = (Arc::clone(&metrics), Arc::clone(&orders));
        let thread = Some(fleet.launch(plan, number, share, given, ready)?);
        Ok(Handle { number, thread, metrics, orders, watch: Watch::new(Instant::now()) })
    }

    /// What it was started with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether its sockets are somebody else's too, who keeps them when it ends.
    pub fn is_spare(&self) -> bool {
        self.spare
    }

    /// Its listening sockets.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Where it listens, ports filled in.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.addresses(Speech::Plain).collect()
    }

    /// Where it listens with TLS, ports filled in.
    pub fn secure_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.addresses(Speech::Secure).collect()
    }

    /// The counters of each worker, and then of those whose place another has taken.
    pub fn metrics(&self) -> impl Iterator<Item = &WorkerMetrics> {
        let sets = self.all().map(|worker| &worker.metrics).chain(self.past.places());
        sets.map(|metrics| &**metrics)
    }

    /// Has the workers serve something else, of the same kind as before, and returns when they do.
    /// No connection is closed; requests under way are answered by what was there when they came.
    ///
    /// # Errors
    /// [`StartError`], when a worker cannot make it: it goes on as it was.
    pub fn replace<R: Recipe>(&mut self, recipe: R) -> Result<(), StartError> {
        let crew = self.fleet.as_any_mut().downcast_mut::<Crew<R>>().ok_or(StartError::Kind)?;
        let posts = crew.post(recipe);
        let end = Instant::now() + RELOAD_TIMEOUT;
        for (number, post) in posts.into_iter().enumerate() {
            let is_gone = || {
                let thread = self.workers.get(number).and_then(|worker| worker.thread.as_ref());
                thread.is_none_or(JoinHandle::is_finished)
            };
            // One that has failed finds it when it is started again.
            while crew.outcome(number, post).is_none() && !is_gone() && Instant::now() < end {
                pause();
            }
            let failed = |kind: io::ErrorKind, why: &str| {
                Err(StartError::Worker(number, io::Error::new(kind, why)))
            };
            match crew.outcome(number, post) {
                Some(true) => {}
                Some(false) => {
                    crew.take_back();
                    return failed(io::ErrorKind::Other, "it cannot make the pages");
                }
                None if is_gone() => {}
                None => return failed(io::ErrorKind::TimedOut, "it did not go over in time"),
            }
        }
        Ok(())
    }

    /// Has other workers take the place of these, by another plan, and returns when they serve.
    /// The old ones finish what they have, for up to their `drain_timeout`.
    ///
    /// # Errors
    /// [`StartError`]; all is as it was then.
    pub fn renew<R: Recipe>(&mut self, plan: Plan, recipe: R) -> Result<(), StartError> {
        let workers = plan.cpus.len();
        let (sockets, unwanted) = self.sockets.changed(&plan.wanted(), workers)?;
        let fleet: Box<dyn Fleet> = Box::new(Crew::new(recipe, workers));
        let new = self.crew(&plan, &sockets, &*fleet)?;
        let old = std::mem::replace(&mut self.workers, new);
        old.iter().for_each(|worker| worker.orders.hand_over());
        unwanted.end();
        self.parting.extend(old);
        (self.plan, self.sockets, self.fleet) = (plan, sockets, fleet);
        Ok(())
    }

    /// Looks after the workers: starts one that has ended again, after a pause, and another in
    /// place of one that stands still. To be called each
    /// [`CONTROL_LOOK`](crate::limits::CONTROL_LOOK).
    pub fn look_after(&mut self) -> Incidents {
        let mut incidents = Incidents::default();
        let now = self.workers.first().map(|worker| &*worker.metrics);
        self.parting.retain_mut(|worker| {
            if let Some(thread) = worker.thread.take_if(|thread| thread.is_finished()) {
                // What went wrong with it has been told.
                let _ = thread.join();
                self.rouses = ROUSES;
            }
            if worker.thread.is_none() {
                self.past.take_over(worker.number, &worker.metrics, now);
                incidents.parted += 1;
            }
            worker.thread.is_some()
        });
        if self.is_ending.load(Ordering::Relaxed) {
            return incidents;
        }
        if self.rouses > 0 || !self.parting.is_empty() {
            self.rouses = self.rouses.saturating_sub(1);
            self.rouse();
        }
        for number in 0..self.workers.len() {
            let Some(worker) = self.workers.get_mut(number) else { continue };
            let is_lost = worker.is_lost(number);
            let is_stalled = !is_lost && worker.stalls(number);
            incidents.stalled += u64::from(is_stalled);
            if worker.watch.is_due(Instant::now()) {
                incidents.restarted += u64::from(self.restart(number));
            }
        }
        incidents
    }

    fn restart(&mut self, number: usize) -> bool {
        let (ready, _) = mpsc::channel();
        let share = self.sockets.share(number, self.workers.len());
        let launched =
            share.and_then(|share| self.launch(&self.plan, &*self.fleet, number, share, ready));
        let Some(worker) = self.workers.get_mut(number) else { return false };
        match launched {
            Ok(mut new) => {
                new.watch = worker.watch.after_restart(Instant::now());
                let old = std::mem::replace(worker, new);
                old.orders.hand_over();
                old.orders.stop();
                self.parting.push(old);
                self.rouses = ROUSES;
                tracing::info!(worker = number, "the worker is started again");
                true
            }
            Err(error) => {
                tracing::error!(worker = number, %error, "the worker cannot be started again");
                worker.watch.failed(Instant::now());
                false
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Handle> {
        self.workers.iter().chain(&self.parting)
    }

    /// Another process that accepted from the same sockets is gone.
    pub fn is_left_alone(&mut self) {
        self.rouses = ROUSES;
    }

    /// Has all workers look again who waits at their sockets. The kernel tells one of those who
    /// accept of each visitor, and that one may be about to go.
    fn rouse(&self) {
        self.workers.iter().for_each(|worker| worker.orders.rouse());
    }

    /// Says who works: at the start, and again whenever that has changed.
    pub fn report_to(&self, roster: &Roster) {
        let last = self.all().map(|worker| worker.number + 1).max().unwrap_or(0);
        let places = last.max(self.past.places().len());
        roster.report((0..places).map(|number| self.post(number)).collect());
        roster.listen(self.plan.driver.name(), &self.addresses(), &self.secure_addresses());
    }

    fn post(&self, number: usize) -> Post {
        let cpu = self.plan.cpus.get(number).copied().flatten();
        let works = number < self.workers.len();
        let here = self.all().filter(|worker| worker.number == number);
        let sets = here.map(|worker| &worker.metrics).chain(self.past.places().get(number));
        Post { number, cpu, works, sets: sets.map(Arc::clone).collect() }
    }

    /// Tells all workers to stop accepting and to finish what is in flight.
    pub fn drain(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.all().for_each(|worker| worker.orders.drain());
    }

    /// Tells all workers that others accept from the same sockets: they stop, and have some
    /// patience with those who keep a connection.
    pub fn hand_over(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.all().for_each(|worker| worker.orders.hand_over());
    }

    /// Tells all workers to end at once.
    pub fn stop(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.all().for_each(|worker| worker.orders.stop());
    }

    /// Whether all workers have ended.
    pub fn is_finished(&self) -> bool {
        self.all().filter_map(|worker| worker.thread.as_ref()).all(JoinHandle::is_finished)
    }

    /// Waits for all workers to end.
    ///
    /// # Errors
    /// The first worker that ended otherwise than it was told to.
    pub fn join(mut self) -> Result<(), StartError> {
        let mut outcome = Ok(());
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let Some(thread) = worker.thread.take() else { continue };
            if let Err(error) = how_it_ended(thread)
                && outcome.is_ok()
            {
                outcome = Err(StartError::Worker(number, error));
            }
        }
        for thread in self.parting.iter_mut().filter_map(|worker| worker.thread.take()) {
            // What went wrong with it has been told.
            let _ = thread.join();
        }
        outcome
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How often workers are roused after one is gone: what is left of its ring goes a moment later.
const ROUSES: u32 = 10;
