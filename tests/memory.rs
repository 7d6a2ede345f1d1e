//! What a page holds while it waits for its API: bytes of heap, on every driver there is.
//!
//! In a process of its own, as everything that allocates in it is counted. The API and the visitors
//! here allocate nothing while it is counted. What the kernel keeps of a connection is not in it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test helper that fails is a test that fails; nothing here runs on a worker"
)]

#[path = "common/heap.rs"]
mod heap;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringpress::control::access_log::AccessLog;
use ringpress::driver::kind::Kind;
use ringpress::limits::WATCH_AFTER;
use ringpress::tls::ServerTls;
use ringpress::tls::server::{Certificate, Certificates};
use ringpress::worker::Bounds;
use rustls::pki_types::{PrivateKeyDer, ServerName};

#[test]
fn a_page_that_waits_for_its_api_is_small() {
    let mut measured = 0;
    for kind in Kind::ALL.into_iter().filter(|kind| kind.self_test().is_ok()) {
        let profiler = heap::count();
        let (waiting, idle) = measure(kind, None);
        let log = heap::log_to_nowhere();
        let (recorded, _) = measure(kind, Some(&log));
        let secure = measure_secure(kind);
        let connecting = measure_connecting(kind);
        drop(profiler);
        println!("{kind}: {secure} bytes an idle connection with TLS");
        assert!(secure <= SECURE_BYTES_MAX, "{kind}: {secure} bytes an idle connection with TLS");
        println!("{kind}: {waiting} bytes a page in flight, {idle} a connection after it");
        println!("{kind}: {recorded} bytes a page in flight that is recorded");
        println!("{kind}: {connecting} bytes a page that waits for a connection to its API");
        assert!(waiting <= WAITING_BYTES_MAX, "{kind}: {waiting} bytes a page in flight");
        assert!(
            recorded <= WAITING_BYTES_MAX + NOTES_BYTES_MAX,
            "{kind}: {recorded} bytes, where it is recorded"
        );
        assert!(
            connecting <= WAITING_BYTES_MAX,
            "{kind}: {connecting} bytes a page that waits for a connection"
        );
        assert!(idle <= IDLE_BYTES_MAX, "{kind}: {idle} bytes a connection that is idle again");
        measured += 1;
    }
    assert!(measured > 0, "no driver works here");
}

/// Pages in flight at once: enough for what grows in steps to have a size of its own, and four
/// descriptors for each within what a process may have by default.
const PAGES: usize = 200;
const PAGES_BEFORE: usize = 50;
/// Heap of a page in flight: both connections, the request, and all that makes the page.
const WAITING_BYTES_MAX: usize = 7 * 1024;
/// What is noted of it, where there is an access log.
const NOTES_BYTES_MAX: usize = 256;
/// Heap of a connection between two requests, and of one to the API that waits to be used again.
const IDLE_BYTES_MAX: usize = 5 * 1024;

/// Heap of a connection with TLS between two requests.
const SECURE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of heap for each connection with TLS that has had its page.
fn measure_secure(kind: Kind) -> usize {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let identity = (vec![made.cert.der().clone()], key);
    let certificate = Certificate::new(identity, Vec::new()).unwrap();
    let tls = ServerTls::new(Certificates::from_iter([certificate]), false).unwrap();
    let bounds = Bounds { queue_target: None, ..Bounds::default() };
    let server = heap::start(kind, api.local_addr().unwrap(), bounds, Some(tls));
    let address = server.secure_addresses()[0];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    let client = Arc::new(client);
    // What the client side holds is gone before it is counted: only its socket stays.
    let visit = || {
        let name = ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut stream = rustls::StreamOwned::new(session, TcpStream::connect(address).unwrap());
        stream.write_all(b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        receive_page(&mut stream);
        stream.sock
    };
    let mut streams = Vec::with_capacity(PAGES);
    let warm: Vec<TcpStream> = (0..PAGES_BEFORE).map(|_| visit()).collect();
    drop(warm);
    std::thread::sleep(Duration::from_millis(200));
    let before = dhat::HeapStats::get().curr_bytes;
    streams.extend((0..PAGES).map(|_| visit()));
    std::thread::sleep(Duration::from_millis(100));
    let each = dhat::HeapStats::get().curr_bytes.saturating_sub(before) / PAGES;
    drop(streams);
    server.stop();
    server.join().unwrap();
    each
}

/// Bytes of heap for each page that waits, and for each connection whose page has come.
fn measure(kind: Kind, log: Option<&AccessLog>) -> (usize, usize) {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    // Two hundred pages at once are more than an unoptimised build makes in time. Here it is asked
    // what they hold, not whether they are let in.
    let bounds = Bounds { queue_target: None, ..Bounds::default() };
    let server = heap::start_recording(kind, api.local_addr().unwrap(), bounds, None, log);
    let address = server.addresses()[0];
    // About 1.5 KB.
    let note = "A note that says 1 < 2, and says it again, and then once more.";
    let answer = heap::answer(note);
    let mut pairs: Vec<(TcpStream, TcpStream)> = Vec::with_capacity(PAGES);
    // Some pages before it is counted: what the first of all makes is not made again, and the
    // server learns how large answers are.
    let (mut visitor, mut call) = ask(address, &api);
    finish(&mut visitor, &mut call, &answer);
    for _ in 0..PAGES_BEFORE {
        visitor.write_all(REQUEST).unwrap();
        receive(&mut call);
        finish(&mut visitor, &mut call, &answer);
    }
    let before = dhat::HeapStats::get().curr_bytes;
    // The connection to the API that is pooled now serves the first of them.
    visitor.write_all(REQUEST).unwrap();
    receive(&mut call);
    pairs.push((visitor, call));
    while pairs.len() < PAGES {
        pairs.push(ask(address, &api));
    }
    // By then it is looked whether the visitors are still there, which takes room too.
    std::thread::sleep(WATCH_AFTER * 2);
    let each = |bytes: usize| bytes.saturating_sub(before) / PAGES;
    let waiting = each(dhat::HeapStats::get().curr_bytes);
    pairs.iter_mut().for_each(|(visitor, call)| finish(visitor, call, &answer));
    // The last page was read before the worker put away what it was made with.
    std::thread::sleep(Duration::from_millis(100));
    let idle = each(dhat::HeapStats::get().curr_bytes);
    server.stop();
    server.join().unwrap();
    (waiting, idle)
}

/// Bytes of heap for each page whose connection to the API is not there yet: the API's backlog is
/// full, so that the kernel tries again and again.
fn measure_connecting(kind: Kind) -> usize {
    let api = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    api.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    api.listen(1).unwrap();
    let api = TcpListener::from(api);
    let bounds = Bounds { queue_target: None, ..Bounds::default() };
    let server = heap::start(kind, api.local_addr().unwrap(), bounds, None);
    let address = server.addresses()[0];
    let (mut visitor, mut call) = ask(address, &api);
    finish(&mut visitor, &mut call, &heap::answer("A note."));
    let mut visitors = Vec::with_capacity(PAGES);
    let before = dhat::HeapStats::get().curr_bytes;
    while visitors.len() < PAGES {
        let mut visitor = TcpStream::connect(address).unwrap();
        visitor.write_all(REQUEST).unwrap();
        visitors.push(visitor);
    }
    std::thread::sleep(WATCH_AFTER * 2);
    let each = dhat::HeapStats::get().curr_bytes.saturating_sub(before) / PAGES;
    drop(visitors);
    server.stop();
    server.join().unwrap();
    each
}

/// A visitor whose request has come to the API.
fn ask(server: SocketAddr, api: &TcpListener) -> (TcpStream, TcpStream) {
    let mut visitor = TcpStream::connect(server).unwrap();
    visitor.write_all(REQUEST).unwrap();
    let (mut call, _) = api.accept().unwrap();
    receive(&mut call);
    (visitor, call)
}

/// Reads a request.
fn receive(call: &mut TcpStream) {
    let mut buffer = [0; 1024];
    let mut length = 0;
    while !buffer[..length].ends_with(b"\r\n\r\n") {
        match call.read(&mut buffer[length..]).unwrap() {
            0 => panic!("the server closed a connection"),
            read => length += read,
        }
    }
}

/// Has the API answer, and the visitor read the page.
fn finish(visitor: &mut TcpStream, call: &mut TcpStream, answer: &[u8]) {
    call.write_all(answer).unwrap();
    let buffer = receive_page(visitor);
    assert!(buffer.starts_with(b"HTTP/1.1 200 "));
}

/// As a browser writes it.
const REQUEST: &[u8] = b"GET /users/42 HTTP/1.1\r\nHost: site.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\n\r\n";

/// Reads a page to its end.
fn receive_page(visitor: &mut impl Read) -> [u8; 8 * 1024] {
    let mut buffer = [0; 8 * 1024];
    let mut length = 0;
    while end_of(&buffer[..length]).is_none_or(|end| length < end) {
        match visitor.read(&mut buffer[length..]).unwrap() {
            0 => panic!("{}", String::from_utf8_lossy(&buffer[..length])),
            read => length += read,
        }
    }
    buffer
}

/// Where an answer ends, as its head says, once that is there.
fn end_of(received: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(received);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.split("\r\nContent-Length: ").nth(1)?.split("\r\n").next()?;
    Some(head.len() + 4 + length.parse::<usize>().unwrap())
}
