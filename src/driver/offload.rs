//! Work that blocks, as opening a file does: done by a few threads beside a worker's loop, which is
//! told of what is done by a byte on a socket, as of all else.
//!
//! Nothing begins before it is needed: a worker that never offloads has no thread and no socket.
//! Between the two sides are locks that are held for a push or a take. No request comes near them
//! but those that wait for a file that is not in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::limits::{OFFLOAD_QUEUE_MAX, OFFLOAD_THREADS_MAX};

use super::{Driver, Reader};

/// The threads beside one worker. A clone is the same ones; they end with the last.
#[derive(Clone, Debug)]
pub struct Offload(Rc<Local>);

/// Whether work may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It is, where too much waits already.
    New,
    /// It goes on with something that was let in before, and is one for each of those.
    GoingOn,
}

/// The worker's side.
#[derive(Debug)]
struct Local {
    start: fn(&Rc<Waiting>) -> io::Result<Arc<Shared>>,
    shared: RefCell<Option<Arc<Shared>>>,
    waiting: Rc<Waiting>,
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Waiting(RefCell<(u64, BTreeMap<u64, Waiter>)>);

#[derive(Debug, Default)]
struct Waiter {
    is_done: bool,
    waker: Option<Waker>,
}

/// What both sides have.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    /// The numbers of what is done and was not told yet.
    done: Mutex<Vec<u64>>,
    bell: UnixStream,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

type Job = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}

impl Offload {
    /// Threads for a worker on this driver.
    pub fn new<D: Driver>() -> Self {
        let (shared, waiting) = (RefCell::default(), Rc::default());
        Self(Rc::new(Local { start: start::<D>, shared, waiting }))
    }

    /// Has work done, and waits for what comes out. A driver that has no sockets of the machine, as
    /// that of simulations, does it here and now.
    ///
    /// # Errors
    /// When too much waits already, when no thread can be made, and when the work has panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        entry: Entry,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let shared = match self.shared() {
            Ok(shared) => shared,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(work()),
            Err(error) => return Err(error),
        };
        let result = Arc::new(Mutex::new(None));
        let place = Place::new(&self.0.waiting);
        let (number, told, slot) = (place.number, Arc::clone(&shared), Arc::clone(&result));
        shared.push(
            entry,
            Box::new(move || {
                let made = catch_unwind(AssertUnwindSafe(work));
                *locked(&slot) = made.ok();
                told.finish(number);
            }),
        )?;
        drop(shared);
        place.done().await;
        let made = locked(&result).take();
        made.ok_or_else(|| io::Error::other("what was to be done has panicked"))
    }

    fn shared(&self) -> io::Result<Arc<Shared>> {
        let mut shared = self.0.shared.borrow_mut();
        match &*shared {
            Some(shared) => Ok(Arc::clone(shared)),
            None => {
                let started = (self.0.start)(&self.0.waiting)?;
                Ok(Arc::clone(shared.insert(started)))
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.get_mut() {
            locked(&shared.queue).is_over = true;
            shared.work.notify_all();
        }
    }
}

/// Makes the socket, and the task that listens to it. That ends when nobody is left to ring.
fn start<D: Driver>(waiting: &Rc<Waiting>) -> io::Result<Arc<Shared>> {
    let (bell, ear) = UnixStream::pair()?;
    // A bell that has been rung so often already need not be rung again.
    bell.set_nonblocking(true)?;
    let (reader, writer) = D::adopt(std::net::TcpStream::from(OwnedFd::from(ear)))?;
    let (queue, work, done) = (Mutex::default(), Condvar::new(), Mutex::default());
    let shared = Arc::new(Shared { queue, work, done, bell });
    let (waiting, told) = (Rc::downgrade(waiting), Arc::downgrade(&shared));
    D::spawn(async move {
        let _writer = writer;
        let (mut reader, mut buffer) = (reader, Vec::new());
        loop {
            let read = reader.read(buffer, BELL_BYTES).await;
            let (Ok(1..), Some(waiting), Some(told)) =
                (read.result, waiting.upgrade(), told.upgrade())
            else {
                return;
            };
            (reader, buffer) = (read.reader, read.buffer);
            buffer.clear();
            let done = std::mem::take(&mut *locked(&told.done));
            drop(told);
            waiting.tell(&done);
        }
    });
    Ok(shared)
}

impl Shared {
    fn push(self: &Arc<Self>, entry: Entry, job: Job) -> io::Result<()> {
        let mut queue = locked(&self.queue);
        if entry == Entry::New && queue.jobs.len() >= OFFLOAD_QUEUE_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        if queue.idle <= queue.jobs.len() && queue.threads < OFFLOAD_THREADS_MAX {
            let shared = Arc::clone(self);
            let made = std::thread::Builder::new().name("files".into());
            match made.spawn(move || shared.work()) {
                Ok(_) => queue.threads += 1,
                // Those that there are will come to it.
                Err(_) if queue.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// What a thread does until nobody offloads any more.
    fn work(&self) {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = locked(&self.queue);
            } else if queue.is_over {
                return;
            } else {
                queue.idle += 1;
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }

    fn finish(&self, number: u64) {
        let mut done = locked(&self.done);
        done.push(number);
        let is_first = done.len() == 1;
        drop(done);
        if is_first {
            // It fails when the worker is gone, or has not yet heard it ring.
            let _ = (&self.bell).write(&[1]);
        }
    }
}

impl Waiting {
    fn tell(&self, done: &[u64]) {
        for number in done {
            let waker = self.0.borrow_mut().1.get_mut(number).and_then(|waiter| {
                waiter.is_done = true;
                waiter.waker.take()
            });
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The place of one who waits, until dropped.
struct Place<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl<'a> Place<'a> {
    fn new(waiting: &'a Waiting) -> Self {
        let (last, waiters) = &mut *waiting.0.borrow_mut();
        *last += 1;
        waiters.insert(*last, Waiter::default());
        Self { waiting, number: *last }
    }

    async fn done(&self) {
        poll_fn(|context| {
            let (_, waiters) = &mut *self.waiting.0.borrow_mut();
            match waiters.get_mut(&self.number) {
                Some(waiter) if !waiter.is_done => {
                    waiter.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waiter = self.waiting.0.borrow_mut().1.remove(&self.number);
        drop(waiter);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room for what is read of the bell at once.
const BELL_BYTES: usize = 64;
