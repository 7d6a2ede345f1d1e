//! How often a page allocates on the steady path: connections are open, buffers are warm.
//!
//! In a process of its own, as everything that allocates in it is counted. The API and the visitor
//! here allocate nothing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test helper that fails is a test that fails; nothing here runs on a worker"
)]

#[expect(dead_code, reason = "the test of memory uses more of it")]
#[path = "common/heap.rs"]
mod heap;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use ringpress::driver::kind::Kind;
use ringpress::worker::Bounds;

#[test]
fn a_page_allocates_seldom() {
    let _profiler = heap::count();
    let kind = Kind::ALL.into_iter().find(|kind| kind.self_test().is_ok()).unwrap();
    // With an access log it is no more.
    for log in [None, Some(heap::log_to_nowhere())] {
        let bounds = Bounds::default();
        let server = heap::start_recording(kind, start_api(), bounds, None, log.as_ref());
        let mut visitor = TcpStream::connect(server.addresses()[0]).unwrap();
        let mut buffer = [0; 16 * 1024];
        ask(&mut visitor, &mut buffer, 200);
        let before = dhat::HeapStats::get().total_blocks;
        ask(&mut visitor, &mut buffer, PAGES);
        let blocks = dhat::HeapStats::get().total_blocks - before;
        let each = blocks as f64 / f64::from(PAGES);
        println!("{each} allocations a page on {kind}, recorded: {}", log.is_some());
        assert!(each <= ALLOCATIONS_MAX, "{each} allocations a page, over {ALLOCATIONS_MAX}");
    }
}

const PAGES: u32 = 500;
/// Allocations of a page with one fetch: five, and now and then a list that grows.
const ALLOCATIONS_MAX: f64 = 5.5;

/// Asks for the same page so many times.
fn ask(visitor: &mut TcpStream, buffer: &mut [u8], times: u32) {
    for _ in 0..times {
        visitor.write_all(b"GET /users/42 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut length = 0;
        while !buffer[..length].ends_with(b"</html>\n") && !buffer[..length].ends_with(b"</html>") {
            match visitor.read(&mut buffer[length..]).unwrap() {
                0 => panic!("{}", String::from_utf8_lossy(&buffer[..length])),
                read => length += read,
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 "));
    }
}

/// Answers every request on one connection with the same user.
fn start_api() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let response = heap::answer("plain");
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        while connection.read(&mut buffer).is_ok_and(|read| read > 0) {
            connection.write_all(&response).unwrap();
        }
    });
    address
}
