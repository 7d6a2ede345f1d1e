//! The loop of a run: polls one ready task at a time, chosen by the seed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::world::World;
use super::{Faults, SimFailure};

/// See [`Sim::run_seeded`](super::Sim::run_seeded).
pub(super) fn run<F: Future>(
    seed: u64,
    faults: Faults,
    main: impl FnOnce() -> F,
) -> Result<F::Output, SimFailure> {
    let world = Rc::new(World::new(seed, faults));
    let Some(_inside) = World::enter(&world) else { return Err(SimFailure::Nested) };
    let output = catch_unwind(AssertUnwindSafe(|| drive(&world, pin!(main()))));
    world.keep_report();
    // Tasks see their world while they are dropped, as they would on a real loop.
    while let Some(task) = world.tasks.pop() {
        drop(task);
    }
    world.close();
    output.unwrap_or_else(|panic| {
        eprintln!("the simulation with seed {seed} panicked at {:?}", world.elapsed());
        resume_unwind(panic)
    })
}

/// Adds a task, ready to run.
pub(super) fn spawn(world: &World, task: impl Future<Output = ()> + 'static) {
    world.tasks.add(Box::pin(task));
}

fn drive<F: Future>(world: &World, mut main: Pin<&mut F>) -> Result<F::Output, SimFailure> {
    let waker = world.tasks.waker(MAIN);
    waker.wake_by_ref();
    let mut ready = VecDeque::new();
    loop {
        world.ring();
        ready.extend(world.tasks.woken());
        if ready.is_empty() {
            if world.jump() {
                continue;
            }
            let (virtual_time, tasks) = (world.elapsed(), world.tasks.count());
            return Err(SimFailure::Deadlock { seed: world.seed, virtual_time, tasks });
        }
        let task = match world.faults.in_order {
            true => ready.pop_front(),
            false => ready.swap_remove_back(world.random_below(ready.len() as u64) as usize),
        };
        let Some(task) = task else { continue };
        let steps = world.step(task.id);
        if steps > world.faults.steps_max {
            let virtual_time = world.elapsed();
            return Err(SimFailure::Steps { seed: world.seed, virtual_time, steps });
        }
        task.queued.store(false, Ordering::Relaxed);
        if task.id != MAIN {
            world.tasks.poll(&task);
        } else if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
    }
}

/// The tasks of a run, and which of them were woken.
#[derive(Default)]
pub(super) struct Tasks {
    /// By their number, which is never given twice: a late wake finds nothing.
    all: RefCell<BTreeMap<u64, Task>>,
    spawned: Cell<u64>,
    woken: Arc<Mutex<Vec<Arc<TaskWaker>>>>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

impl Tasks {
    pub(super) fn count(&self) -> u64 {
        self.all.borrow().len() as u64
    }

    fn add(&self, task: Task) {
        let id = self.spawned.get() + 1;
        self.spawned.set(id);
        self.all.borrow_mut().insert(id, task);
        self.waker(id).wake();
    }

    fn pop(&self) -> Option<Task> {
        self.all.borrow_mut().pop_first().map(|(_, task)| task)
    }

    fn waker(&self, id: u64) -> Waker {
        let queued = AtomicBool::new(false);
        Waker::from(Arc::new(TaskWaker { id, queued, woken: Arc::clone(&self.woken) }))
    }

    /// The tasks that were woken since the last call.
    pub(super) fn woken(&self) -> Vec<Arc<TaskWaker>> {
        std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn poll(&self, waker: &Arc<TaskWaker>) {
        // It is taken out, so that it may spawn others while it is polled.
        let Some(mut task) = self.all.borrow_mut().remove(&waker.id) else { return };
        let handle = Waker::from(Arc::clone(waker));
        if task.as_mut().poll(&mut Context::from_waker(&handle)).is_pending() {
            self.all.borrow_mut().insert(waker.id, task);
        }
    }
}

/// Queues its task. `Arc` and a mutex because that is what a safe [`Waker`] asks for.
pub(super) struct TaskWaker {
    id: u64,
    /// Whether it is among the woken ones, so that it is there once.
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<Arc<TaskWaker>>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
            woken.push(Arc::clone(&self));
        }
    }
}

/// The number of the future that the run is for.
const MAIN: u64 = 0;
