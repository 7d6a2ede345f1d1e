//! Wakers that may go anywhere, for what is not ours: pages that others write.
//!
//! The wakers of monoio's loops are their thread's own, and panic on another. What monoio has for
//! that (`sync`) takes a lock in each turn of the loop. So what may be woken from elsewhere is
//! given a waker of ours. On its own thread that wakes the task; on another it is put down on a
//! list, and the loop is told of it by a byte on a socket, as of all else. A worker whose pages are
//! all its own has neither, and the wakers are used again.
//!
//! And who wakes itself again and again, to let others go first, does not on some loops: it goes on
//! at once. After so many times in a row it waits until the loop has looked.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

use crate::limits::SELF_WAKES_MAX;

use super::{Driver, Reader, tally, ways};

thread_local! {
    static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
}

/// The loop's side.
struct Home {
    door: Arc<Door>,
    places: Vec<Rc<Place>>,
    /// Of places that nobody has.
    spare: Vec<Arc<Signal>>,
}

/// What other threads have of a loop.
struct Door {
    called: Mutex<Called>,
    bell: UnixStream,
}

/// Who is to be woken.
#[derive(Default)]
struct Called {
    signals: Vec<Arc<Signal>>,
    is_over: bool,
}

/// Where the waker of a task is, the loop's own.
#[derive(Default)]
struct Place {
    /// Which of those who had it has it now.
    turn: Cell<u64>,
    waker: RefCell<Option<Waker>>,
    is_polled: Cell<bool>,
    /// Whether it was woken while it was polled.
    is_woken: Cell<bool>,
}

/// A waker of ours.
struct Signal {
    door: Arc<Door>,
    place: usize,
    turn: u64,
    /// Whether it is on the list.
    is_called: AtomicBool,
}

impl Place {
    fn wake(&self) {
        if self.is_polled.get() {
            self.is_woken.set(true);
        } else if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Signal {
    fn new(door: &Arc<Door>, place: usize, turn: u64) -> Arc<Self> {
        Arc::new(Self { door: Arc::clone(door), place, turn, is_called: AtomicBool::new(false) })
    }

    /// Whether this is its thread. Then it has woken its task, if that is still there.
    fn wakes_here(&self) -> bool {
        let is_here = HOME.try_with(|home| {
            let home = home.borrow();
            let home = home.as_ref().filter(|home| Arc::ptr_eq(&home.door, &self.door))?;
            let place = home.places.get(self.place)?;
            if place.turn.get() == self.turn {
                place.wake();
            }
            Some(())
        });
        // An error is a thread at its end.
        is_here.is_ok_and(|here| here.is_some())
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.wakes_here() {
            self.door.call(self);
        }
    }
}

impl Door {
    /// Has the loop wake that. What happened before this has happened for whoever is woken.
    fn call(&self, signal: &Arc<Signal>) {
        if signal.is_called.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if called.is_over {
            return;
        }
        called.signals.push(Arc::clone(signal));
        let is_first = called.signals.len() == 1;
        drop(called);
        if is_first {
            // It fails when the loop is gone, or has not yet heard it ring.
            let _ = (&self.bell).write(&[1]);
        }
    }

    fn take_called(&self) -> Vec<Arc<Signal>> {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut called.signals)
    }
}

impl Home {
    /// Opens one for this thread's loop.
    fn open<D: Driver>() -> io::Result<Self> {
        let (bell, ear) = UnixStream::pair()?;
        // A bell that has been rung so often already need not be rung again.
        bell.set_nonblocking(true)?;
        let halves = D::adopt(std::net::TcpStream::from(OwnedFd::from(ear)))?;
        let door = Arc::new(Door { called: Mutex::default(), bell });
        D::spawn(hear::<D>(halves, Opened(Arc::clone(&door))));
        Ok(Self { door, places: Vec::new(), spare: Vec::new() })
    }

    fn seat(&mut self) -> Option<Seat> {
        let signal = self.spare.pop().unwrap_or_else(|| {
            self.places.push(Rc::default());
            Signal::new(&self.door, self.places.len() - 1, 0)
        });
        let place = Rc::clone(self.places.get(signal.place)?);
        Some(Seat { waker: Some(Waker::from(Arc::clone(&signal))), signal, place })
    }
}

/// Wakes those who are called, for as long as the loop runs.
async fn hear<D: Driver>((mut reader, _writer): (D::Reader, D::Writer), opened: Opened) {
    let mut buffer = Vec::new();
    loop {
        let mut read = pin!(reader.read(buffer, BELL_BYTES));
        // What the loop does for itself is not counted.
        let read = poll_fn(|context| tally::aside(|| read.as_mut().poll(context))).await;
        let Ok(1..) = read.result else { return };
        (reader, buffer) = (read.reader, read.buffer);
        buffer.clear();
        for signal in opened.0.take_called() {
            signal.is_called.swap(false, Ordering::AcqRel);
            signal.wakes_here();
        }
    }
}

/// That there is one who hears. With it nobody is woken any more: the loop is at its end.
struct Opened(Arc<Door>);

impl Drop for Opened {
    fn drop(&mut self) {
        let mut called = self.0.called.lock().unwrap_or_else(PoisonError::into_inner);
        called.is_over = true;
        let signals = std::mem::take(&mut called.signals);
        drop(called);
        drop(signals);
        // An error is a thread at its end.
        let _ = HOME.try_with(|home| drop(home.take()));
    }
}

/// A place that is somebody's, and their waker.
struct Seat {
    signal: Arc<Signal>,
    waker: Option<Waker>,
    place: Rc<Place>,
}

impl Seat {
    /// A place at this thread's loop; none where there are no descriptors for what that takes.
    fn take<D: Driver>() -> Option<Self> {
        HOME.with(|home| {
            if home.borrow().is_none() {
                let opened = Home::open::<D>().ok()?;
                home.replace(Some(opened));
            }
            home.borrow_mut().as_mut()?.seat()
        })
    }

    /// Polls that with our waker; and whether it has woken itself meanwhile.
    fn poll<F: Future>(
        &self,
        future: Pin<&mut F>,
        context: &Context<'_>,
    ) -> (Poll<F::Output>, bool) {
        let mut waker = self.place.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            let stale = waker.replace(context.waker().clone());
            drop(waker);
            // It may be the last to hold a task.
            drop(stale);
        } else {
            drop(waker);
        }
        let ours = self.waker.as_ref().unwrap_or(context.waker());
        self.place.is_polled.set(true);
        let polled = future.poll(&mut Context::from_waker(ours));
        self.place.is_polled.set(false);
        (polled, self.place.is_woken.take())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.place.waker.take());
        self.place.is_polled.set(false);
        self.place.is_woken.set(false);
        drop(self.waker.take());
        let signal = &mut self.signal;
        if Arc::strong_count(signal) > 1 {
            // Somebody still has a waker, and is not to wake whoever comes next.
            self.place.turn.set(signal.turn + 1);
            *signal = Signal::new(&signal.door, signal.place, signal.turn + 1);
        }
        // An error is a thread at its end.
        let _ = HOME.try_with(|home| {
            let mut home = home.borrow_mut();
            if let Some(home) = home.as_mut().filter(|one| Arc::ptr_eq(&one.door, &signal.door)) {
                home.spare.push(Arc::clone(signal));
            }
        });
    }
}

pin_project! {
    // A future that may be woken from anywhere. A struct rather than an async block, which would
    // hold the inner future twice.
    pub(crate) struct Wakes<D, F> {
        is_wanted: bool,
        seat: Option<Seat>,
        // Polls in which it has woken itself, in a row.
        in_a_row: u32,
        driver: PhantomData<fn() -> D>,
        #[pin]
        future: F,
    }
}

impl<D: Driver, F: Future> Wakes<D, F> {
    /// That, or where it is not wanted the future as it is.
    pub(crate) fn wanted(is_wanted: bool, future: F) -> Self {
        let is_wanted = is_wanted && !D::IS_SIMULATED;
        Self { is_wanted, seat: None, in_a_row: 0, driver: PhantomData, future }
    }
}

impl<D: Driver, F: Future> Future for Wakes<D, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if *this.is_wanted && this.seat.is_none() {
            *this.seat = Seat::take::<D>();
            *this.is_wanted = this.seat.is_some();
        }
        let Some(seat) = this.seat else { return this.future.poll(context) };
        let (polled, is_woken) = seat.poll(this.future, context);
        if polled.is_ready() || !is_woken {
            *this.in_a_row = 0;
        } else if *this.in_a_row < SELF_WAKES_MAX && !ways::is_look_awaited() {
            *this.in_a_row += 1;
            context.waker().wake_by_ref();
        } else {
            *this.in_a_row = 0;
            ways::wake_after_look::<D>(context.waker());
        }
        polled
    }
}

/// A future whose wakers may go to other threads, and be woken there. What is given to
/// [`Driver::spawn`] as it is has wakers of its own thread only, on some drivers.
///
/// Where there are no descriptors left for a socket that tells the loop, it is as it was.
pub fn from_anywhere<D: Driver, F: Future>(
    future: F,
) -> impl Future<Output = F::Output> + use<D, F> {
    Wakes::<D, F>::wanted(true, future)
}

/// Room for what is read of the bell at once.
const BELL_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::driver::timers::Timers;

    const ROUNDS: u32 = 200;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Another thread, which wakes all that it is sent.
    fn elsewhere() -> (mpsc::Sender<(Waker, Arc<AtomicBool>)>, thread::JoinHandle<u32>) {
        let (send, sent) = mpsc::channel::<(Waker, Arc<AtomicBool>)>();
        let thread = thread::spawn(move || {
            let mut count = 0;
            while let Ok((waker, is_done)) = sent.recv() {
                is_done.store(true, Ordering::Release);
                // Twice, as nobody counts.
                waker.wake_by_ref();
                waker.wake();
                count += 1;
            }
            count
        });
        (send, thread)
    }

    /// Waits for the other thread, so many times.
    async fn wait_for(send: mpsc::Sender<(Waker, Arc<AtomicBool>)>) {
        for _ in 0..ROUNDS {
            let is_done = Arc::<AtomicBool>::default();
            let mut is_sent = false;
            poll_fn(|context| {
                if !std::mem::replace(&mut is_sent, true) {
                    send.send((context.waker().clone(), Arc::clone(&is_done))).unwrap();
                }
                if is_done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    fn wakes_from_elsewhere<D: Driver>() {
        let (send, thread) = elsewhere();
        let run = D::run(|| async move {
            let timers = Timers::<D>::start();
            let (tell, told) = mpsc::channel();
            for _ in 0..4 {
                let (send, tell) = (send.clone(), tell.clone());
                D::spawn(from_anywhere::<D, _>(async move {
                    wait_for(send).await;
                    tell.send(()).unwrap();
                }));
            }
            drop((send, tell));
            let end = D::now_exactly() + PATIENCE;
            let mut ended = 0;
            while ended < 4 && D::now_exactly() < end {
                timers.sleep(Duration::from_millis(1)).await;
                ended += told.try_iter().count();
            }
            ended
        });
        assert_eq!(run.unwrap(), 4);
        assert_eq!(thread.join().unwrap(), 4 * ROUNDS);
    }

    /// A waker that outlives its future wakes nobody else, and one that outlives the loop nobody.
    fn outlives<D: Driver>() {
        let run = D::run(|| async {
            let keep = || from_anywhere::<D, _>(poll_fn(|at| Poll::Ready(at.waker().clone())));
            let (first, second) = (keep().await, keep().await);
            assert!(!first.will_wake(&second));
            drop(second);
            let mut polls = 0;
            let third = from_anywhere::<D, _>(poll_fn(|at| {
                polls += 1;
                first.wake_by_ref();
                if polls == 1 {
                    at.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(at.waker().clone())
            }));
            let third = third.await;
            HOME.with_borrow(|home| {
                let home = home.as_ref().unwrap();
                assert_eq!((home.places.len(), home.spare.len()), (1, 1));
            });
            [first, third]
        });
        assert!(HOME.with_borrow(Option::is_none));
        run.unwrap().into_iter().for_each(Waker::wake);
    }

    /// One that wakes itself for ever keeps nobody from having what has come.
    fn lets_others_have_theirs<D: Driver>() {
        let run = D::run(|| async {
            let timers = Timers::<D>::start();
            D::spawn(from_anywhere::<D, _>(poll_fn(|context| {
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            })));
            D::spawn(async {
                loop {
                    ways::give_way::<D>().await;
                }
            });
            timers.sleep(Duration::from_millis(1)).await;
        });
        run.unwrap();
    }

    macro_rules! on_each {
        ($($name:ident, $feature:literal, $driver:ty;)+) => {
            $(
                #[cfg(feature = $feature)]
                #[test]
                fn $name() {
                    wakes_from_elsewhere::<$driver>();
                    outlives::<$driver>();
                    lets_others_have_theirs::<$driver>();
                }
            )+
        };
    }

    on_each! {
        on_monoio, "monoio", crate::driver::monoio::MonoioUring;
        on_ring, "ring", crate::driver::ring::Ring;
        on_epoll, "epoll", crate::driver::epoll::Epoll;
        on_tokio_uring, "tokio-uring", crate::driver::tokio_uring::TokioUring;
    }
}
