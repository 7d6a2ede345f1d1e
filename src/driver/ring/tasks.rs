//! The tasks of a loop, and which of them are ready.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use super::wakers;
use crate::driver::work::Work;

type AnyWork = Work<dyn Future<Output = ()>>;

thread_local! {
    static TASKS: Tasks = Tasks::new();
}

struct Tasks {
    /// Which thread this is: a number that few others have.
    thread: u64,
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<u32>>,
    ready: RefCell<VecDeque<u32>>,
    is_main_ready: Cell<bool>,
}

/// Room for one task after the other.
struct Place {
    /// Which of the tasks that were here is.
    generation: u32,
    state: State,
}

enum State {
    Free,
    Waiting(AnyWork),
    /// It is in the queue.
    Ready(AnyWork),
    Running {
        is_woken: bool,
    },
}

/// Which task is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The one that the loop is run for.
    Main,
    /// One that was spawned.
    Task(u32),
}

const MAIN: u32 = u32::MAX;
/// A waker is the index of a task, the lower bits of its generation, and of its thread.
const GENERATION_BITS: u32 = 20;
const THREAD_BITS: u32 = 12;
static THREADS: AtomicU32 = AtomicU32::new(0);

fn bits(number: u64, count: u32) -> u64 {
    number & ((1 << count) - 1)
}

impl Tasks {
    fn new() -> Self {
        Self {
            thread: bits(THREADS.fetch_add(1, Ordering::Relaxed).into(), THREAD_BITS),
            places: RefCell::default(),
            free: RefCell::default(),
            ready: RefCell::default(),
            is_main_ready: Cell::new(false),
        }
    }

    fn waker(&self, index: u32, generation: u32) -> Waker {
        let generation = bits(generation.into(), GENERATION_BITS);
        let high = self.thread << GENERATION_BITS | generation;
        wakers::waker(high << u32::BITS | u64::from(index))
    }

    fn wake(&self, number: u64) {
        let (index, high) = (number as u32, number >> u32::BITS);
        assert!(high >> GENERATION_BITS == self.thread, "{FOREIGN}");
        if index == MAIN {
            if !self.is_main_ready.replace(true) {
                self.ready.borrow_mut().push_back(MAIN);
            }
            return;
        }
        let mut places = self.places.borrow_mut();
        let Some(place) = places.get_mut(index as usize) else { return };
        if bits(place.generation.into(), GENERATION_BITS) != bits(high, GENERATION_BITS) {
            return;
        }
        place.state = match mem::replace(&mut place.state, State::Free) {
            State::Waiting(work) => {
                self.ready.borrow_mut().push_back(index);
                State::Ready(work)
            }
            State::Running { .. } => State::Running { is_woken: true },
            other => other,
        };
    }

    /// Takes a task that is ready out of its place.
    fn take(&self, index: u32) -> Option<(AnyWork, u32)> {
        let mut places = self.places.borrow_mut();
        let place = places.get_mut(index as usize)?;
        let running = State::Running { is_woken: false };
        match mem::replace(&mut place.state, running) {
            State::Ready(work) => Some((work, place.generation)),
            other => {
                place.state = other;
                None
            }
        }
    }

    /// Puts a task back, which may have been woken meanwhile; or frees its place.
    fn put(&self, index: u32, work: Option<AnyWork>) -> Option<AnyWork> {
        let mut places = self.places.borrow_mut();
        let Some(place) = places.get_mut(index as usize) else { return work };
        let Some(work) = work else {
            place.state = State::Free;
            place.generation = place.generation.wrapping_add(1);
            self.free.borrow_mut().push(index);
            return None;
        };
        place.state = match place.state {
            State::Running { is_woken: true } => {
                self.ready.borrow_mut().push_back(index);
                State::Ready(work)
            }
            _ => State::Waiting(work),
        };
        None
    }
}

/// Adds a task, which is ready.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    let work: AnyWork = Work::boxed(Box::pin(task));
    let left = TASKS.with(|tasks| {
        let mut places = tasks.places.borrow_mut();
        let index = tasks.free.borrow_mut().pop().or_else(|| {
            let index = u32::try_from(places.len()).ok().filter(|index| *index != MAIN)?;
            places.push(Place { generation: 0, state: State::Free });
            Some(index)
        });
        let Some((index, place)) =
            index.and_then(|index| Some((index, places.get_mut(index as usize)?)))
        else {
            return Some(work);
        };
        place.state = State::Ready(work);
        tasks.ready.borrow_mut().push_back(index);
        None
    });
    drop(left);
}

/// The waker of the main task, which is ready.
pub(super) fn begin() -> Waker {
    let waker = TASKS.with(|tasks| tasks.waker(MAIN, 0));
    waker.wake_by_ref();
    waker
}

/// Wakes a task. It may have ended, or its loop.
pub(super) fn wake(number: u64) {
    // An error is a thread at its end.
    let _ = TASKS.try_with(|tasks| tasks.wake(number));
}

/// Whether any task is ready.
pub(super) fn is_any_ready() -> bool {
    TASKS.with(|tasks| !tasks.ready.borrow().is_empty())
}

/// The task that is ready first, which is not any more.
pub(super) fn next() -> Option<Next> {
    TASKS.with(|tasks| match tasks.ready.borrow_mut().pop_front()? {
        MAIN => {
            tasks.is_main_ready.set(false);
            Some(Next::Main)
        }
        index => Some(Next::Task(index)),
    })
}

/// Goes on with a task.
pub(super) fn run(index: u32) {
    TASKS.with(|tasks| {
        let Some((mut work, generation)) = tasks.take(index) else { return };
        let waker = tasks.waker(index, generation);
        let polled = work.poll(&mut Context::from_waker(&waker));
        let (kept, done) = match polled {
            Poll::Pending => (Some(work), None),
            Poll::Ready(()) => (None, Some(work)),
        };
        let left = tasks.put(index, kept);
        drop((left, done));
    });
}

/// Drops all tasks. What they hold may wake or spawn others.
pub(super) fn drop_all() {
    TASKS.with(|tasks| {
        let next = |index: &mut usize| {
            let mut places = tasks.places.borrow_mut();
            while let Some(place) = places.get_mut(*index) {
                *index += 1;
                if let State::Waiting(work) | State::Ready(work) =
                    mem::replace(&mut place.state, State::Free)
                {
                    place.generation = place.generation.wrapping_add(1);
                    let index = u32::try_from(*index - 1).unwrap_or(MAIN);
                    tasks.free.borrow_mut().push(index);
                    return Some(work);
                }
            }
            None
        };
        // Those that are spawned meanwhile may have a place that was looked at already.
        loop {
            let mut index = 0;
            let Some(work) = next(&mut index) else { break };
            drop(work);
            while let Some(work) = next(&mut index) {
                drop(work);
            }
        }
        tasks.ready.borrow_mut().clear();
        tasks.is_main_ready.set(false);
    });
}

const FOREIGN: &str = "a waker of another thread: see driver::wakes::from_anywhere";
