//! The floor over real sockets: what its visitors get, and what is left of it afterwards.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test panics when it fails"
)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use common::{Floor, PAGE, REQUEST, assert_page, read_answer, soon, start_api};

#[test]
fn pages_are_whole_under_200_connections() {
    let (api, manners) = start_api();
    let mut floor = Floor::start(api);
    let before = floor.open_files();
    for delay_ms in [0, 20] {
        manners.delay_ms.store(delay_ms, Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    let mut stream = floor.connect();
                    for _ in 0..10 {
                        stream.write_all(REQUEST).unwrap();
                        assert_page(&read_answer(&mut stream));
                    }
                });
            }
        });
    }
    // The answer at start is one more.
    assert_eq!(manners.answered.load(Ordering::Relaxed), 4001);
    // What is left are connections to the API, which are kept.
    assert!(manners.open() <= 200, "{} connections for 200 visitors", manners.open());
    soon("visitors' sockets are closed", || floor.open_files() == before + manners.open());
    assert!(floor.runs());
}

#[test]
fn visitors_who_leave_take_nothing_along() {
    let (api, manners) = start_api();
    let mut floor = Floor::start(api);
    let before = floor.open_files();
    assert_page(&floor.page());
    manners.delay_ms.store(30, Ordering::Relaxed);
    let mut stayed = floor.connect();
    for _ in 0..50 {
        // In the middle of a request; of the wait; and of an answer that is not read.
        for part in [&REQUEST[..20], REQUEST, &REQUEST.repeat(3)] {
            let mut stream = floor.connect();
            stream.write_all(part).unwrap();
            drop(stream);
        }
    }
    stayed.write_all(REQUEST).unwrap();
    assert_page(&read_answer(&mut stayed));
    // What is left are the one who stayed, and connections to the API.
    soon("their sockets are closed", || floor.open_files() == before + 1 + manners.open());
    // They go on for others.
    let connections = manners.connections.load(Ordering::Relaxed);
    assert_page(&floor.page());
    assert_eq!(manners.connections.load(Ordering::Relaxed), connections);
    assert!(floor.runs());
}

#[test]
fn an_upstream_that_closes_between_requests_is_replaced() {
    let (api, manners) = start_api();
    manners.closes.store(true, Ordering::Relaxed);
    let mut floor = Floor::start(api);
    let before = floor.open_files();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut stream = floor.connect();
                for _ in 0..50 {
                    stream.write_all(REQUEST).unwrap();
                    assert_page(&read_answer(&mut stream));
                }
            });
        }
    });
    // What is left are connections that were not used, as another was ready before.
    soon("sockets are closed", || floor.open_files() == before + manners.open());
    assert!(manners.open() <= 20, "{} connections for 20 visitors", manners.open());
    assert!(floor.runs());
}

#[test]
fn a_request_may_come_in_pieces() {
    let (api, manners) = start_api();
    let floor = Floor::start(api);
    let mut stream = floor.connect();
    stream.set_nodelay(true).unwrap();
    for split in 1..REQUEST.len() {
        stream.write_all(&REQUEST[..split]).unwrap();
        thread::sleep(Duration::from_millis(2));
        assert_eq!(manners.answered.load(Ordering::Relaxed), split);
        stream.write_all(&REQUEST[split..]).unwrap();
        assert_page(&read_answer(&mut stream));
    }
}

#[test]
fn pipelined_requests_are_answered_one_after_the_other() {
    let (api, manners) = start_api();
    let floor = Floor::start(api);
    let mut stream = floor.connect();
    stream.write_all(&REQUEST.repeat(2)).unwrap();
    assert_page(&read_answer(&mut stream));
    assert_page(&read_answer(&mut stream));
    // The end of the second comes later.
    let two = REQUEST.repeat(2);
    stream.write_all(&two[..two.len() - 3]).unwrap();
    assert_page(&read_answer(&mut stream));
    stream.write_all(&two[two.len() - 3..]).unwrap();
    assert_page(&read_answer(&mut stream));
    assert_eq!(manners.answered.load(Ordering::Relaxed), 5);
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    const PAGES: usize = 500;
    let (api, _) = start_api();
    let floor = Floor::start(api);
    let mut slow = floor.connect();
    socket2::SockRef::from(&slow).set_recv_buffer_size(32 * 1024).unwrap();
    slow.write_all(&REQUEST.repeat(PAGES)).unwrap();
    // The sockets hold less than all of it. Others do not wait.
    thread::sleep(Duration::from_millis(300));
    assert_page(&floor.page());
    for _ in 0..PAGES {
        assert_page(&read_answer(&mut slow));
    }
}

#[test]
fn a_page_that_is_taken_in_parts_is_whole() {
    // More than a socket holds, and different at each place.
    let page: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let file = std::env::temp_dir().join(format!("floor-test-{}.html", std::process::id()));
    std::fs::write(&file, &page).unwrap();
    let (api, _) = start_api();
    let floor = Floor::with_page(api, file.to_str().unwrap());
    std::fs::remove_file(&file).unwrap();
    let mut stream = floor.connect();
    for _ in 0..3 {
        stream.write_all(REQUEST).unwrap();
        thread::sleep(Duration::from_millis(50));
        let answer = read_answer(&mut stream);
        assert!(answer.ends_with(&page), "{} bytes", answer.len());
    }
}

#[test]
fn a_visitor_who_has_said_all_still_gets_the_page() {
    let (api, manners) = start_api();
    let floor = Floor::start(api);
    manners.delay_ms.store(50, Ordering::Relaxed);
    let mut stream = floor.connect();
    stream.write_all(&REQUEST.repeat(2)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let (first, second) = answers.split_at(answers.len() / 2);
    assert_page(first);
    assert_page(second);
}

#[test]
fn too_many_requests_without_reading_close_the_connection() {
    let (api, manners) = start_api();
    let mut floor = Floor::start(api);
    manners.delay_ms.store(200, Ordering::Relaxed);
    let mut stream = floor.connect();
    stream.write_all(&REQUEST.repeat(1100)).unwrap();
    let started = Instant::now();
    // Closed or reset, as the kernel sees it; but not answered.
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    assert!(answers.len() < 2 * PAGE.len());
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_page(&floor.page());
    assert!(floor.runs());
}

#[test]
fn an_api_that_fails_is_a_bad_gateway() {
    let (api, manners) = start_api();
    let mut floor = Floor::start(api);
    assert_page(&floor.page());
    manners.fails.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(floor.page().starts_with(b"HTTP/1.1 502 "));
    }
    manners.fails.store(false, Ordering::Relaxed);
    assert_page(&floor.page());
    assert!(floor.runs());
}

#[test]
fn an_api_that_is_silent_is_a_bad_gateway_after_ten_seconds() {
    let (api, manners) = start_api();
    let floor = Floor::start(api);
    manners.delay_ms.store(60_000, Ordering::Relaxed);
    let started = Instant::now();
    assert!(floor.page().starts_with(b"HTTP/1.1 502 "));
    let took = started.elapsed();
    assert!((10..15).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn visitors_do_not_take_the_last_open_files() {
    let (api, _) = start_api();
    let mut floor = Floor::with_open_files(api, 64);
    let mut streams: Vec<_> = (0..200).map(|_| floor.connect()).collect();
    let mut pages = 0;
    for stream in &mut streams {
        // Those for whom there is no room find their connection closed.
        let mut first = [0];
        let asked = stream.write_all(REQUEST);
        if asked.is_ok() && matches!(stream.peek(&mut first), Ok(1)) {
            assert_page(&read_answer(stream));
            pages += 1;
        }
    }
    assert!((30..64).contains(&pages), "{pages} pages");
    drop(streams);
    soon("there is room again", || floor.open_files() < 40);
    assert_page(&floor.page());
    assert!(floor.runs());
}

#[test]
fn what_cannot_start_says_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_floor")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["--listen", "127.0.0.1:0", "--api", &nobody]);
    assert_eq!(code, Some(1));
    assert!(said.contains(&nobody) && said.contains("start it first"), "{said}");
    let (code, said) = run(&["--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--listen and --api are needed"), "{said}");
}
