//! The loop over real sockets: what others share with it is tested for all drivers, in `tests/`.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Waker;
use std::thread;

use super::*;
use crate::driver::{is_cancellation, ways::let_others_go};
use crate::limits::RING_ENTRIES;

const MS: Duration = Duration::from_millis(1);
/// More than a ring has room for at once.
const MANY: usize = RING_ENTRIES as usize * 2;

/// A connection of the loop, and its other end.
fn connection() -> (RingReader, RingWriter, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let (reader, writer) = split(Rc::new(OwnedFd::from(near)));
    (reader, writer, far)
}

/// Some bytes of which no part is like another.
fn filler(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn what_nobody_reads_waits_in_the_kernel_and_none_of_it_is_lost() {
    let text = filler(3_000_000);
    let run = Ring::run(|| async {
        let (mut reader, _writer, mut far) = connection();
        let sent = text.clone();
        let sender = thread::spawn(move || far.write_all(&sent).unwrap());
        let mut read = Vec::new();
        while read.len() < text.len() {
            // As much as there is room for, more than a buffer has, or as much as is said.
            let (room, capacity) = [(0, 1000), (0, 100_000), (300, 0)][read.len() % 3];
            let one = reader.read(Vec::with_capacity(capacity), room).await;
            assert_eq!(one.result.unwrap(), one.buffer.len());
            assert!((1..=capacity.max(room)).contains(&one.buffer.len()));
            (reader, _) = (one.reader, read.extend(one.buffer));
            if read.len() < 20_000 {
                Ring::sleep(MS * 3).await;
            }
        }
        sender.join().unwrap();
        assert!(read == text);
        let end = reader.read(b"before".to_vec(), 10).await;
        assert_eq!((end.result.unwrap(), &end.buffer[..]), (0, &b"before"[..]));
        assert_eq!(end.reader.read(Vec::new(), 10).await.result.unwrap(), 0);
    });
    run.unwrap();
}

#[test]
fn a_reset_that_comes_with_bytes_is_told_of_after_them() {
    let run = Ring::run(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (reader, _writer) = Ring::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut first = Box::pin(reader.read(Vec::new(), 100));
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // The kernel has the read, and both come before the loop looks again.
        Ring::sleep(MS).await;
        far.write_all(b"bytes").unwrap();
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        let read = first.await;
        assert_eq!(read.buffer, b"bytes");
        let next = read.reader.read(Vec::new(), 100).await;
        assert_eq!(next.result.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
    run.unwrap();
}

#[test]
fn more_may_come_at_once_than_there_are_buffers_and_entries() {
    let run = Ring::run(|| async {
        let (done, mut fars) = (Rc::new(Cell::new(0)), Vec::new());
        for number in 0..MANY {
            let (reader, mut writer, far) = connection();
            let done = Rc::clone(&done);
            fars.push(far);
            Ring::spawn(async move {
                let read = reader.read(Vec::new(), 100).await;
                assert_eq!(read.result.unwrap(), 8);
                assert_eq!(read.buffer, number.to_le_bytes());
                let (written, buffer) = writer.write_all(read.buffer, 2).await;
                written.unwrap();
                assert_eq!(buffer.len(), 8);
                done.set(done.get() + 1);
            });
        }
        // All reads are with the kernel, or wait for room in the queue.
        Ring::sleep(MS).await;
        for (number, far) in fars.iter_mut().enumerate() {
            far.write_all(&number.to_le_bytes()).unwrap();
        }
        while done.get() < MANY {
            Ring::sleep(MS).await;
        }
        for (number, far) in fars.iter_mut().enumerate() {
            let mut back = [0; 6];
            far.read_exact(&mut back).unwrap();
            assert_eq!(back, number.to_le_bytes()[2..]);
        }
    });
    run.unwrap();
}

#[test]
fn a_read_that_is_given_up_ends_the_connection_and_hinders_nobody() {
    let run = Ring::run(|| async {
        let (reader, writer, mut far) = connection();
        let mut read = Box::pin(reader.read(Vec::new(), 100));
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Ring::sleep(MS).await;
        drop((read, writer));
        Ring::sleep(MS).await;
        // The kernel has let go of it.
        assert_eq!(far.read(&mut [0; 10]).unwrap(), 0);
        assert!(far.write_all(b"late").is_err());
        let (reader, _writer, mut far) = connection();
        far.write_all(b"in time").unwrap();
        assert_eq!(reader.read(Vec::new(), 100).await.buffer, b"in time");
    });
    run.unwrap();
}

#[test]
fn a_write_that_is_given_up_keeps_its_bytes_until_the_kernel_is_done() {
    let text = filler(8_000_000);
    let run = Ring::run(|| async {
        let (_reader, mut writer, mut far) = connection();
        {
            let mut write = pin!(writer.write_all(text.clone(), 0));
            assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let_others_go::<Ring>().await;
            Ring::sleep(MS).await;
        }
        // Whoever would have the memory next.
        let other = vec![b'!'; text.len()];
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            far.set_read_timeout(Some(MS * 100)).unwrap();
            while let Ok(1..) = (&mut far).take(100_000).read_to_end(&mut read) {}
            read
        });
        while !reader.is_finished() {
            Ring::sleep(MS).await;
        }
        let read = reader.join().unwrap();
        assert!(text.starts_with(&read) && !read.is_empty() && other.len() == text.len());
    });
    run.unwrap();
}

#[test]
fn a_loop_that_ends_lets_go_of_all_and_the_next_one_is_another() {
    let kept = RefCell::new(None);
    let far = RefCell::new(None);
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    let first = Ring::run(|| async {
        let listener = Ring::listen(port).unwrap();
        Ring::spawn(async move { drop(Ring::accept(&listener).await) });
        let (reader, writer, other) = connection();
        let mut read = Box::pin(reader.read(Vec::new(), 100));
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Ring::sleep(MS).await;
        *far.borrow_mut() = Some(other);
        *kept.borrow_mut() = Some((read, writer));
        7
    });
    assert_eq!(first.unwrap(), 7);
    // The port is free.
    drop(TcpListener::bind(address).unwrap());
    let (mut read, writer) = kept.take().unwrap();
    let second = Ring::run(|| async {
        // In the place that the other one had.
        let (reader, _writer, mut far) = connection();
        let mut next = Box::pin(reader.read(Vec::new(), 100));
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop((read, writer));
        far.write_all(b"for the second").unwrap();
        assert_eq!(next.await.buffer, b"for the second");
    });
    second.unwrap();
    assert_eq!(far.take().unwrap().read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn outside_of_a_loop_there_is_an_error_and_one_loop_is_enough() {
    let run = Ring::run(|| async {
        let second = Ring::run(|| async {});
        assert!(second.unwrap_err().to_string().contains("has a loop already"));
    });
    run.unwrap();
    let (reader, mut writer, _far) = connection();
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(read) = pin!(reader.read(Vec::new(), 1)).poll(&mut context) else { panic!() };
    assert_eq!(read.result.unwrap_err().kind(), io::ErrorKind::NotConnected);
    let write = pin!(writer.write_all(b"x".to_vec(), 0)).poll(&mut context);
    let Poll::Ready((written, _)) = write else { panic!() };
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::NotConnected);
}

#[test]
fn accepts_that_are_cancelled_end_and_the_socket_stays() {
    let run = Ring::run(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Rc::new(Ring::listen(listener).unwrap());
        let (accepting, ends) = (Rc::clone(&listener), Rc::new(Cell::new(0)));
        for _ in 0..3 {
            let (listener, ends) = (Rc::clone(&accepting), Rc::clone(&ends));
            Ring::spawn(async move {
                let error = Ring::accept(&listener).await.err().unwrap();
                assert!(is_cancellation(&error));
                ends.set(ends.get() + 1);
            });
        }
        Ring::sleep(MS).await;
        Ring::cancel_accepts(&listener);
        while ends.get() < 3 {
            Ring::sleep(MS).await;
        }
        let (reader, _writer) = Ring::connect(address).await.unwrap();
        let (_, mut writer, peer) = Ring::accept(&listener).await.unwrap();
        assert!(peer.ip().is_loopback());
        writer.write_all(b"hello".to_vec(), 1).await.0.unwrap();
        assert_eq!(reader.read(Vec::new(), 9).await.buffer, b"ello");
        Ring::shut(&listener);
        assert!(Ring::accept(&listener).await.is_err());
        assert!(Ring::connect(address).await.is_err());
    });
    run.unwrap();
}

#[test]
fn who_sleeps_is_woken_in_time_and_in_order_and_who_leaves_is_not() {
    let run = Ring::run(|| async {
        let woken = Rc::new(RefCell::new(Vec::new()));
        for time in [3, 1, 2] {
            let woken = Rc::clone(&woken);
            Ring::spawn(async move {
                Ring::sleep(MS * time).await;
                woken.borrow_mut().push(time);
            });
        }
        let begun = Instant::now();
        {
            let mut left = pin!(Ring::sleep(Duration::from_secs(3600)));
            assert!(left.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        Ring::sleep(MS * 20).await;
        assert!(begun.elapsed() >= MS * 20);
        assert_eq!(*woken.borrow(), [1, 2, 3]);
        assert!(sleeps::first().is_none());
        // As good as for ever.
        let mut long = pin!(Ring::sleep(Duration::MAX));
        assert!(long.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    run.unwrap();
}

/// The waker of a task, once it has run.
async fn waker_of(task: impl Future<Output = ()> + 'static) -> Waker {
    let waker = Rc::new(Cell::new(None));
    let found = Rc::clone(&waker);
    Ring::spawn(async move {
        poll_fn(|context| {
            found.set(Some(context.waker().clone()));
            Poll::Ready(())
        })
        .await;
        task.await;
    });
    let_others_go::<Ring>().await;
    waker.take().unwrap()
}

#[test]
fn a_waker_wakes_its_own_task_and_no_later_one() {
    let run = Ring::run(|| async {
        let mut stale = Vec::new();
        for _ in 0..3 {
            stale.push(waker_of(async {}).await);
        }
        let (polls, mut wakers) = (Rc::new(Cell::new(0)), Vec::new());
        // In all places that those before had.
        for _ in 0..8 {
            let counted = Rc::clone(&polls);
            let counting = poll_fn(move |_| {
                counted.set(counted.get() + 1);
                Poll::Pending
            });
            wakers.push(waker_of(counting).await);
        }
        let waker = wakers.swap_remove(0);
        assert!(!waker.will_wake(&stale[0]) && waker.will_wake(&waker.clone()));
        stale.into_iter().for_each(Waker::wake);
        let_others_go::<Ring>().await;
        assert_eq!(polls.get(), 8);
        waker.wake_by_ref();
        waker.wake();
        let_others_go::<Ring>().await;
        assert_eq!(polls.get(), 9);
    });
    run.unwrap();
}

#[test]
fn a_waker_on_another_thread_panics_there() {
    let run = Ring::run(|| async {
        let waker = waker_of(pending()).await;
        let woken = thread::spawn(move || waker.wake()).join();
        let message = woken.unwrap_err();
        assert!(message.downcast_ref::<String>().unwrap().contains("from_anywhere"));
    });
    run.unwrap();
}

#[test]
fn what_tasks_hold_is_dropped_at_the_end_also_after_a_panic() {
    struct SpawnsMore(Rc<()>, u32);

    impl Drop for SpawnsMore {
        fn drop(&mut self) {
            if self.1 > 0 {
                let more = Self(Rc::clone(&self.0), self.1 - 1);
                Ring::spawn(async move {
                    pending::<()>().await;
                    drop(more);
                });
            }
        }
    }

    for panics in [false, true] {
        let held = Rc::new(());
        let run = AssertUnwindSafe(|| {
            Ring::run(|| async {
                let more = SpawnsMore(Rc::clone(&held), 3);
                Ring::spawn(async move {
                    pending::<()>().await;
                    drop(more);
                });
                Ring::sleep(MS).await;
                assert!(!panics, "a panic that the test asked for");
            })
        });
        assert_eq!(catch_unwind(run).is_err(), panics);
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
