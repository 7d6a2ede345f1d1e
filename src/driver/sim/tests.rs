//! What a server's tests rely on when they rely on the simulation.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::driver::timers::Timers;
use crate::driver::{Read, Reader, Writer, is_resource_shortage};

static_assertions::assert_not_impl_any!(ReadHalf: Send);
static_assertions::assert_not_impl_any!(WriteHalf: Send);
static_assertions::assert_not_impl_any!(Timers<Sim>: Send);

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn without_faults<F: Future>(main: impl FnOnce() -> F) -> F::Output {
    Sim::run_seeded(1, Faults::none(), main).unwrap()
}

/// A connection to itself: the end that connected, then the one that accepted.
async fn pair() -> ((ReadHalf, WriteHalf), (ReadHalf, WriteHalf)) {
    let listener = Sim::bind(at(0)).unwrap();
    let ours = Sim::connect(listener.address()).await.unwrap();
    let (reader, writer, _) = Sim::accept(&listener).await.unwrap();
    (ours, (reader, writer))
}

async fn read_some(reader: ReadHalf) -> (ReadHalf, io::Result<Vec<u8>>) {
    let Read { reader, buffer, result } = reader.read(Vec::new(), 4096).await;
    (reader, result.map(|_| buffer))
}

async fn read_to_end(mut reader: ReadHalf) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    loop {
        let read = reader.read(buffer, 100).await;
        (reader, buffer) = (read.reader, read.buffer);
        if read.result? == 0 {
            return Ok(buffer);
        }
    }
}

async fn send(writer: &mut WriteHalf, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes.to_vec(), 0).await.0
}

/// Answers with what it gets, until the end.
async fn echo(mut reader: ReadHalf, mut writer: WriteHalf) -> io::Result<()> {
    loop {
        let read = reader.read(Vec::new(), 100).await;
        reader = read.reader;
        if read.result? == 0 {
            return writer.shutdown();
        }
        writer.write_all(read.buffer, 0).await.0?;
    }
}

async fn serve_echo(listener: Listener, shortages: Rc<Cell<u32>>) {
    loop {
        match Sim::accept(&listener).await {
            Ok((reader, writer, _)) => Sim::spawn(async move {
                // What goes wrong is the client's to see.
                echo(reader, writer).await.unwrap_or_default();
            }),
            Err(error) => {
                assert!(is_resource_shortage(&error), "{error}");
                shortages.set(shortages.get() + 1);
            }
        }
    }
}

/// Sends messages of random length and compares what comes back.
async fn ping(address: SocketAddr) -> io::Result<()> {
    let (mut reader, mut writer) = Sim::connect(address).await?;
    for round in 0..5_u8 {
        let sent = vec![round; 1 + Sim::random_below(3000) as usize];
        // Bytes before `from` are not sent.
        let (result, message) = writer.write_all([b"no".as_slice(), &sent].concat(), 2).await;
        assert_eq!(message.len(), sent.len() + 2);
        result?;
        let mut echoed = Vec::new();
        while echoed.len() < sent.len() {
            let read = reader.read(echoed, 64).await;
            (reader, echoed) = (read.reader, read.buffer);
            if read.result? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        assert_eq!(echoed, sent);
    }
    writer.shutdown()?;
    assert_eq!(read_to_end(reader).await?, b"");
    Ok(())
}

/// Three clients of an echo server at once: what each of them got, and how many accepts failed.
async fn ping_thrice() -> (Vec<io::Result<()>>, u32) {
    let timers = Timers::<Sim>::start();
    let listener = Sim::bind(at(80)).unwrap();
    let shortages = Rc::<Cell<u32>>::default();
    Sim::spawn(serve_echo(listener, Rc::clone(&shortages)));
    let results = Rc::<RefCell<Vec<_>>>::default();
    for _ in 0..3 {
        let (timers, results) = (timers.clone(), Rc::clone(&results));
        Sim::spawn(async move {
            let limit = Duration::from_secs(20);
            let result = timers.timeout(limit, ping(at(80))).await;
            results.borrow_mut().push(result.unwrap_or(Err(ErrorKind::TimedOut.into())));
        });
    }
    while results.borrow().len() < 3 {
        timers.sleep(Duration::from_millis(50)).await;
    }
    (results.take(), shortages.get())
}

#[test]
fn splits_and_delays_lose_nothing() {
    for seed in 0..64 {
        let (results, shortages) = Sim::run_seeded(seed, Faults::rough(), ping_thrice).unwrap();
        assert!(results.iter().all(Result::is_ok), "seed {seed}: {results:?}");
        assert_eq!(shortages, 0);
        let counts = Sim::counts();
        assert_eq!((counts.connections, counts.connections_open), (3, 0), "seed {seed}");
    }
}

#[test]
fn hostile_seeds_fail_in_every_way_and_never_hang() {
    let (mut fine, mut shortages_seen) = (0, 0);
    let mut failures = Vec::new();
    for seed in 0..64 {
        let (results, shortages) = Sim::run_seeded(seed, Faults::hostile(), ping_thrice).unwrap();
        shortages_seen += shortages;
        for result in results {
            match result {
                Ok(()) => fine += 1,
                Err(error) => failures.push(error.kind()),
            }
        }
    }
    assert!(fine > 0 && shortages_seen > 0);
    for kind in [ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused, ErrorKind::TimedOut] {
        assert!(failures.contains(&kind), "{kind}: not among {failures:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let trace = |seed, faults| {
        let results = Sim::run_seeded(seed, faults, ping_thrice).unwrap().0;
        let kinds: Vec<_> =
            results.iter().map(|one| one.as_ref().err().map(io::Error::kind)).collect();
        (Sim::trace_hash(), Sim::counts(), Sim::elapsed(), kinds)
    };
    for seed in 0..16 {
        assert_eq!(trace(seed, Faults::hostile()), trace(seed, Faults::hostile()));
        assert_ne!(trace(seed, Faults::rough()).0, trace(seed + 1, Faults::rough()).0);
    }
}

#[test]
fn an_end_is_read_after_the_bytes_and_the_other_direction_goes_on() {
    without_faults(|| async {
        let ((reader, mut writer), (peer_reader, mut peer_writer)) = pair().await;
        send(&mut writer, b"question").await.unwrap();
        writer.shutdown().unwrap();
        assert_eq!(send(&mut writer, b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(read_to_end(peer_reader).await.unwrap(), b"question");
        send(&mut peer_writer, b"answer").await.unwrap();
        drop(peer_writer);
        assert_eq!(read_to_end(reader).await.unwrap(), b"answer");
    });
}

#[test]
fn closing_with_bytes_unread_resets_the_peer() {
    without_faults(|| async {
        let ((reader, mut writer), (peer_reader, mut peer_writer)) = pair().await;
        send(&mut writer, b"request and more").await.unwrap();
        send(&mut peer_writer, b"an answer that is lost").await.unwrap();
        drop(peer_reader);
        drop(peer_writer);
        let (_reader, result) = read_some(reader).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(Sim::counts().resets, 1);
    });
}

#[test]
fn delays_reorder_nothing_and_a_reset_never_looks_like_an_end() {
    let faults = Faults { latency_max: Duration::from_millis(5), ..Faults::none() };
    for seed in 0..32 {
        let main = || async {
            let ((reader, mut writer), (peer_reader, mut peer_writer)) = pair().await;
            for byte in 0..20 {
                send(&mut writer, &[byte]).await.unwrap();
            }
            writer.shutdown().unwrap();
            assert_eq!(read_to_end(peer_reader).await.unwrap(), (0..20).collect::<Vec<u8>>());
            send(&mut peer_writer, b"answer").await.unwrap();
            assert_eq!(read_some(reader).await.1.unwrap(), b"answer");

            let ((mut reader, mut writer), peer) = pair().await;
            send(&mut writer, b"never read").await.unwrap();
            Sim::sleep(Duration::from_secs(1)).await;
            drop(peer);
            loop {
                let (next, result) = read_some(reader).await;
                match result {
                    Ok(bytes) => assert_ne!(bytes, b"", "an end, though bytes were not read"),
                    Err(error) => return error.kind(),
                }
                reader = next;
            }
        };
        let kind = Sim::run_seeded(seed, faults.clone(), main).unwrap();
        assert_eq!(kind, ErrorKind::ConnectionReset, "seed {seed}");
    }
}

#[test]
fn writing_to_a_closed_peer_goes_well_once() {
    without_faults(|| async {
        let ((reader, mut writer), peer) = pair().await;
        drop(peer);
        let (reader, end) = read_some(reader).await;
        assert_eq!(end.unwrap(), b"");
        send(&mut writer, b"into the void").await.unwrap();
        let again = send(&mut writer, b"again").await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::ConnectionReset);
        let (_reader, result) = read_some(reader).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn bytes_on_their_way_to_a_closed_end_reset_the_sender_later() {
    let faults = Faults { latency_max: Duration::from_millis(5), ..Faults::none() };
    for seed in 0..16 {
        let main = || async {
            let ((reader, mut writer), peer) = pair().await;
            send(&mut writer, b"on its way").await.unwrap();
            drop(peer);
            Sim::sleep(Duration::from_secs(1)).await;
            read_some(reader).await.1.unwrap_err().kind()
        };
        let kind = Sim::run_seeded(seed, faults.clone(), main).unwrap();
        assert_eq!(kind, ErrorKind::ConnectionReset, "seed {seed}");
    }
}

#[test]
fn a_pending_read_that_is_dropped_takes_its_half_along() {
    without_faults(|| async {
        let timers = Timers::<Sim>::start();
        let ((reader, writer), (peer_reader, _peer_writer)) = pair().await;
        let read = timers.timeout(Duration::from_secs(1), reader.read(Vec::new(), 10)).await;
        assert!(read.is_err(), "nothing was sent");
        drop(writer);
        assert_eq!(read_to_end(peer_reader).await.unwrap(), b"");
        assert_eq!(Sim::counts().connections_open, 1);
    });
}

#[test]
fn a_reset_fault_is_seen_by_both_ends() {
    let faults = Faults { reset: 1.0, ..Faults::rough() };
    for seed in 0..16 {
        let ends = Sim::run_seeded(seed, faults.clone(), || async {
            let ((reader, _writer), (peer_reader, _peer_writer)) = pair().await;
            let (_reader, ours) = read_some(reader).await;
            let (_peer_reader, theirs) = read_some(peer_reader).await;
            [ours, theirs].map(|result| result.unwrap_err().kind())
        });
        assert_eq!(ends.unwrap(), [ErrorKind::ConnectionReset; 2], "seed {seed}");
    }
}

#[test]
fn a_full_pipe_holds_the_writer_back() {
    let faults = Faults { pipe_bytes: 1000, ..Faults::none() };
    Sim::run_seeded(1, faults, || async {
        let ((_reader, mut writer), (peer_reader, _peer_writer)) = pair().await;
        let done = Rc::<Cell<bool>>::default();
        let written = Rc::clone(&done);
        Sim::spawn(async move {
            send(&mut writer, &[7; 2500]).await.unwrap();
            written.set(true);
            pending::<()>().await;
        });
        let mut rest = peer_reader;
        for expected in [(1000, false), (1000, false), (500, true)] {
            Sim::sleep(Duration::from_secs(1)).await;
            let finished = done.get();
            let (reader, bytes) = read_some(rest).await;
            assert_eq!((bytes.unwrap().len(), finished), expected);
            rest = reader;
        }
        assert_eq!(Sim::counts().bytes, 2500);
    })
    .unwrap();
}

#[test]
fn a_read_reserves_room_only_when_there_is_none() {
    without_faults(|| async {
        let ((_reader, mut writer), (peer_reader, _peer_writer)) = pair().await;
        send(&mut writer, b"0123456789").await.unwrap();
        let Read { reader, buffer, .. } = peer_reader.read(Vec::new(), 4).await;
        assert_eq!(buffer, b"0123");
        let mut spare = Vec::with_capacity(3);
        spare.push(b'>');
        let Read { reader, buffer, .. } = reader.read(spare, 100).await;
        assert_eq!(buffer, b">45");
        let Read { buffer, .. } = reader.read(Vec::new(), 0).await;
        assert_eq!(buffer.first(), Some(&b'6'), "a read of nothing would look like the end");
    });
}

#[test]
fn connecting_to_nobody_is_refused() {
    without_faults(|| async {
        let refused = Sim::connect(at(80)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let listener = Sim::bind((Ipv4Addr::UNSPECIFIED, 80).into()).unwrap();
        let taken = Sim::bind(listener.address()).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let (reader, _writer) = Sim::connect(at(80)).await.unwrap();
        drop(listener);
        assert_eq!(read_to_end(reader).await.unwrap(), b"", "nobody will accept it any more");
        let refused = Sim::connect(at(80)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn sleepers_wake_in_order_and_on_time() {
    without_faults(|| async {
        let woken = Rc::<RefCell<Vec<u64>>>::default();
        let start = Sim::now();
        for minutes in [50, 3, 20, 1, 40] {
            let woken = Rc::clone(&woken);
            Sim::spawn(async move {
                Sim::sleep(Duration::from_secs(minutes * 60)).await;
                assert_eq!((Sim::now() - start).as_secs(), minutes * 60);
                woken.borrow_mut().push(minutes);
            });
        }
        Sim::sleep(Duration::from_secs(3600)).await;
        assert_eq!(*woken.borrow(), [1, 3, 20, 40, 50]);
    });
}

#[test]
fn the_order_of_ready_tasks_depends_on_the_seed() {
    let order = |seed| {
        Sim::run_seeded(seed, Faults::none(), || async {
            let order = Rc::<RefCell<Vec<u32>>>::default();
            for task in 0..5 {
                let order = Rc::clone(&order);
                Sim::spawn(async move { order.borrow_mut().push(task) });
            }
            Sim::sleep(Duration::from_secs(1)).await;
            order.take()
        })
        .unwrap()
    };
    let first = order(0);
    assert!((1..10).any(|seed| order(seed) != first), "always {first:?}");
}

#[test]
fn a_run_without_a_future_ends_and_says_why() {
    let stuck = Sim::run_seeded(7, Faults::none(), || async {
        Sim::spawn(pending());
        Sim::sleep(Duration::from_secs(5)).await;
        pending::<()>().await;
    });
    let Err(SimFailure::Deadlock { seed: 7, virtual_time, tasks: 1 }) = stuck else {
        panic!("{stuck:?}");
    };
    assert_eq!(virtual_time.as_secs(), 5);

    let faults = Faults { steps_max: 100, ..Faults::none() };
    let endless = Sim::run_seeded(7, faults, || async {
        loop {
            Sim::sleep(Duration::from_secs(1)).await;
        }
    });
    let Err(SimFailure::Steps { seed: 7, steps: 101, .. }) = endless else {
        panic!("{endless:?}");
    };
    let nested =
        without_faults(|| async { Sim::run(|| async {}).map_err(|error| error.to_string()) });
    assert_eq!(nested, Err(SimFailure::Nested.to_string()));
}

#[test]
fn a_panic_of_a_task_reaches_the_caller_and_ends_the_run() {
    struct SpawnsWhenDropped;
    impl Drop for SpawnsWhenDropped {
        fn drop(&mut self) {
            Sim::spawn(async {});
        }
    }
    let result = std::panic::catch_unwind(|| {
        Sim::run_seeded(3, Faults::none(), || async {
            let guard = SpawnsWhenDropped;
            Sim::spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            Sim::spawn(async { panic!("of a task") });
            pending::<()>().await;
        })
    });
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"of a task"));
    without_faults(|| async { Sim::sleep(Duration::from_secs(1)).await });
}

#[test]
fn what_outlives_the_run_does_nothing() {
    let (ours, listener) = without_faults(|| async {
        let listener = Sim::bind(at(80)).unwrap();
        (Sim::connect(at(80)).await.unwrap(), listener)
    });
    drop(ours);
    drop(listener);
    assert_eq!(Sim::counts().connections, 1, "the report is that of the run");
}
