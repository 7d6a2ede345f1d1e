//! The threads: one a worker, each on its CPU, each with a loop of its own.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use crate::driver::Driver;
use crate::driver::kind::{Kind, Visit};
use crate::driver::timers::Timers;
use crate::limits;
use crate::metrics::WorkerMetrics;
use crate::tls::ServerTls;

use super::access::Access;
use super::mailbox::Mailbox;
use super::{Bounds, Orders, Service, Worker};

/// Makes the service of one worker, on its own thread. Shared by all workers, and so itself
/// immutable.
pub trait Recipe: Send + Sync + 'static {
    /// What the worker serves.
    type Service<D: Driver>: Service;

    /// Makes that of worker `number`. Called inside the worker's loop.
    ///
    /// # Errors
    /// In words, when it cannot be made; the server then does not start.
    fn make<D: Driver>(
        &self,
        timers: &Timers<D>,
        metrics: &Arc<WorkerMetrics>,
        number: usize,
    ) -> Result<Self::Service<D>, String>;

    /// Makes what takes the place of `old`, and may go on with what that has. Called inside the
    /// worker's loop, which waits for it.
    ///
    /// # Errors
    /// In words, when it cannot be made; the worker then goes on as it was.
    fn remake<D: Driver>(
        &self,
        old: &Self::Service<D>,
        timers: &Timers<D>,
        metrics: &Arc<WorkerMetrics>,
        number: usize,
    ) -> Result<Self::Service<D>, String> {
        let _ = old;
        self.make(timers, metrics, number)
    }

    /// Where worker `number` records its requests, if it does.
    fn access<D: Driver>(&self, metrics: &Arc<WorkerMetrics>, number: usize) -> Option<Access> {
        let _ = (metrics, number);
        None
    }

    /// What is to be done a few times a second.
    fn housekeep<D: Driver>(&self, service: &Self::Service<D>) {
        let _ = service;
    }
}

/// What a worker is started with.
pub struct Start<R: Recipe> {
    /// Which worker it is, from 0 on.
    pub number: usize,
    /// The CPU it is pinned to, if any.
    pub cpu: Option<usize>,
    /// Its own listening sockets.
    pub listeners: Vec<TcpListener>,
    /// Those on which TLS is spoken.
    pub secure_listeners: Vec<TcpListener>,
    /// How it is spoken there; without it they are closed.
    pub tls: Option<ServerTls>,
    /// Its bounds toward visitors.
    pub bounds: Bounds,
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
    /// What it is told to do.
    pub orders: Arc<Orders>,
    /// What makes its service.
    pub recipe: Arc<R>,
    /// Where it finds what makes the next one.
    pub mailbox: Arc<Mailbox<R>>,
    /// Where it says that it serves.
    pub ready: Ready,
}

/// What became of the start of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Which worker.
    pub number: usize,
    /// Whether it serves; if not its thread is about to end, with the reason.
    pub serves: bool,
}

/// Where a worker says that it serves. Dropped before, that says that it does not.
#[derive(Debug)]
pub struct Ready {
    number: usize,
    tell: Option<Sender<Started>>,
}

impl Ready {
    /// For worker `number`.
    pub fn new(number: usize, tell: Sender<Started>) -> Self {
        Self { number, tell: Some(tell) }
    }

    fn say(&mut self, serves: bool) {
        if let Some(tell) = self.tell.take() {
            // An error means that nobody waits for it.
            let _ = tell.send(Started { number: self.number, serves });
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.say(false);
    }
}

/// Starts a worker's thread. It ends when the worker was ordered to, with how it went.
///
/// # Errors
/// When the thread cannot be made. What goes wrong on it is its result: no ring, say.
pub fn start<R: Recipe>(kind: Kind, start: Start<R>) -> io::Result<JoinHandle<io::Result<()>>> {
    std::thread::Builder::new()
        .name(format!("worker-{}", start.number))
        .stack_size(limits::WORKER_STACK_BYTES)
        .spawn(move || kind.visit(start).map_err(io::Error::other)?)
}

impl<R: Recipe> Visit for Start<R> {
    type Output = io::Result<()>;

    fn visit<D: Driver>(self) -> io::Result<()> {
        if let Some(cpu) = self.cpu
            && !pin(cpu)
        {
            // A worker that roams still serves; it only serves a little slower.
            tracing::warn!(worker = self.number, cpu, "cannot pin the worker to its CPU");
        }
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.orders.begin(u64::try_from(thread).unwrap_or(0));
        D::run(move || self.run::<D>())?
    }
}

impl<R: Recipe> Start<R> {
    async fn run<D: Driver>(mut self) -> io::Result<()> {
        let mut listeners = Vec::new();
        for listener in self.listeners {
            listeners.push((D::listen(listener)?, None));
        }
        if let Some(tls) = self.tls.as_ref().map(ServerTls::for_worker) {
            for listener in self.secure_listeners {
                listeners.push((D::listen(listener)?, Some(Arc::clone(&tls))));
            }
        }
        let timers = Timers::<D>::start();
        let service = self.recipe.make(&timers, &self.metrics, self.number);
        let service = service.map_err(io::Error::other)?;
        let (metrics, number) = (Arc::clone(&self.metrics), self.number);
        let access = self.recipe.access::<D>(&self.metrics, self.number);
        let worker = Worker::new(service, self.bounds, self.metrics, timers.clone());
        worker.record_in(access);
        self.ready.say(true);
        let (recipe, mailbox) = (RefCell::new(self.recipe), self.mailbox);
        let housekeep = || {
            if let Some((new, post)) = mailbox.take() {
                let remake = || {
                    let service = new.remake(&*worker.service(), &timers, &metrics, number)?;
                    Ok((service, new.access::<D>(&metrics, number)))
                };
                let made = caught(remake, &metrics);
                mailbox.answer(post, made.is_ok());
                match made {
                    Ok((service, access)) => {
                        worker.replace(service);
                        worker.hand_over_records();
                        worker.record_in(access);
                        recipe.replace(new);
                    }
                    Err(error) => tracing::error!(number, error, "the new site cannot be served"),
                }
            }
            recipe.borrow().housekeep(&*worker.service());
        };
        worker.serve(listeners, &self.orders, housekeep).await;
        // Connections that are left may keep the worker; what they did so far is to be told.
        worker.hand_over_records();
        Ok(())
    }
}

/// Has this thread run on one CPU only; whether that can be.
fn pin(cpu: usize) -> bool {
    // What sets it panics on a number that the kernel's set has no place for.
    cpu < limits::CPU_NUMBERS_MAX
        && core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}

/// What is made; an error where that panics, as what was there before can go on.
fn caught<T>(
    make: impl FnOnce() -> Result<T, String>,
    metrics: &WorkerMetrics,
) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| {
        metrics.panics.add(1);
        Err("making it has panicked".to_owned())
    })
}
