//! A floor that runs, and an API for it, both on real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How an API behaves; it can be changed while it runs.
#[derive(Debug, Default)]
pub struct Manners {
    /// Close each connection right after its answer, without having said so.
    pub closes: AtomicBool,
    /// Close each connection in place of an answer.
    pub fails: AtomicBool,
    /// How long an answer takes.
    pub delay_ms: AtomicUsize,
    /// Requests that were answered.
    pub answered: AtomicUsize,
    /// Connections that were made, and those of them that have been closed.
    pub connections: AtomicUsize,
    pub closed: AtomicUsize,
}

impl Manners {
    /// Connections that are open.
    pub fn open(&self) -> usize {
        let closed = self.closed.load(Ordering::Relaxed);
        self.connections.load(Ordering::Relaxed) - closed
    }
}

/// A thread that accepts, and one for each connection: slow, but simple enough to be right.
pub fn start_api() -> (SocketAddr, Arc<Manners>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let manners = Arc::new(Manners::default());
    let known = manners.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, manners) = (stream.unwrap(), known.clone());
            stream.set_nodelay(true).unwrap();
            manners.connections.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || {
                converse(stream, &manners);
                manners.closed.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    (address, manners)
}

/// Ends when the other side does, in any way.
fn converse(stream: TcpStream, manners: &Manners) {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    let body = "x".repeat(1470);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    while matches!(reader.read_line(&mut line), Ok(count) if count > 0) {
        if line != "\r\n" {
            line.clear();
            continue;
        }
        line.clear();
        let delay_ms = manners.delay_ms.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(delay_ms as u64));
        if manners.fails.load(Ordering::Relaxed) {
            return;
        }
        // In two parts, so that it does not always come as one.
        let (head, rest) = answer.split_at(700);
        if (&stream).write_all(head.as_bytes()).is_err() {
            return;
        }
        manners.answered.fetch_add(1, Ordering::Relaxed);
        if (&stream).write_all(rest.as_bytes()).is_err() || manners.closes.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// A floor; it ends when this is dropped.
#[derive(Debug)]
pub struct Floor {
    child: Child,
    pub address: SocketAddr,
}

impl Floor {
    pub fn start(api: SocketAddr) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_floor")), api)
    }

    pub fn with_page(api: SocketAddr, file: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floor"));
        command.args(["--page", file]);
        Self::run(command, api)
    }

    /// One that may have so few open files.
    pub fn with_open_files(api: SocketAddr, open_files_max: usize) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {open_files_max}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_floor")]);
        Self::run(command, api)
    }

    fn run(mut command: Command, api: SocketAddr) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--api", &api.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self { child, address }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// One page on a connection of its own.
    pub fn page(&self) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(REQUEST).unwrap();
        read_answer(&mut stream)
    }

    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Whether it still runs: it must never end by itself.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub const REQUEST: &[u8] = b"GET /users/42 HTTP/1.1\r\nHost: localhost\r\n\r\n";
pub const PAGE: &[u8] = include_bytes!("../../page.html");

/// Reads one answer to its last byte and not beyond.
pub fn read_answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer.clone()).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
    let start = answer.len();
    answer.resize(start + length.parse::<usize>().unwrap(), 0);
    stream.read_exact(&mut answer[start..]).unwrap();
    answer
}

/// Fails unless it is the page, whole and with the head that ringpress would write.
pub fn assert_page(answer: &[u8]) {
    assert!(answer.ends_with(PAGE), "{}", String::from_utf8_lossy(answer));
    let head = String::from_utf8_lossy(&answer[..answer.len() - PAGE.len()]);
    let lines: Vec<_> = head.lines().collect();
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    assert!(lines[1].starts_with("Date: ") && lines[1].ends_with(" GMT"), "{}", lines[1]);
    let length = format!("Content-Length: {}", PAGE.len());
    assert_eq!(lines[2..], ["Content-Type: text/html; charset=utf-8", length.as_str(), ""]);
}

/// Waits until it is so; fails if that takes too long.
pub fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not within five seconds: {what}");
}
