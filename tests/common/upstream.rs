//! An upstream whose every byte the test decides: a thread for each connection, which reads a
//! request and then does what the script says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::visitor::PATIENCE;

/// A scripted API on a port of its own.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    calls: Mutex<Vec<String>>,
    connections: AtomicUsize,
    goodbyes: AtomicUsize,
    ended: AtomicBool,
}

/// One request, and the connection to answer it on.
pub(crate) struct Call<'a> {
    /// The request head as it came.
    pub(crate) head: &'a str,
    /// What came after it, as its Content-Length says.
    pub(crate) body: &'a [u8],
    /// The target of the request line.
    pub(crate) target: &'a str,
    /// Which connection it came on, from 1 on.
    pub(crate) connection: usize,
    /// Which request on that connection it is, from 1 on.
    pub(crate) turn: usize,
    stream: &'a mut dyn Wire,
}

/// What the upstream does after an answer.
pub(crate) enum Then {
    Keep,
    Close,
    /// With a RST in place of a FIN.
    Reset,
    /// Without a word before, where the connection is secured (close_notify).
    Cut,
}

/// A connection, plain or secured.
pub(crate) trait Wire: Read + Write {
    /// Says that nothing more will come, where that is more than to close.
    fn say_goodbye(&mut self);
    fn socket(&self) -> &TcpStream;
    /// The secured connection itself.
    fn tls(&mut self) -> Option<&mut ServerConnection>;
}

impl Upstream {
    pub(crate) fn start(script: impl Fn(&mut Call<'_>) -> Then + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).expect("bind"), script)
    }

    /// Every request is answered with this JSON.
    pub(crate) fn json(body: &'static str) -> Self {
        Self::start(move |call| call.json(body))
    }

    /// The same, when the gate is open.
    pub(crate) fn json_behind(gate: &Gate, body: &'static str) -> Self {
        let gate = gate.clone();
        Self::start(move |call| {
            gate.pass();
            call.json(body)
        })
    }

    /// Every request is answered with these bytes, and then comes `then`.
    pub(crate) fn bytes(bytes: impl Into<Vec<u8>>, then: fn() -> Then) -> Self {
        let bytes = bytes.into();
        Self::start(move |call| {
            call.send(&bytes);
            then()
        })
    }

    /// An API over TLS. Connections whose handshake fails come to nothing.
    pub(crate) fn secure(
        config: Arc<ServerConfig>,
        script: impl Fn(&mut Call<'_>) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        Self::with(listener, Some(config), script)
    }

    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(&mut Call<'_>) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::with(listener, None, script)
    }

    fn with(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Call<'_>) -> Then + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("address");
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            connections: AtomicUsize::new(0),
            goodbyes: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let upstream = Self { address, shared: Arc::clone(&shared) };
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = shared.connections.fetch_add(1, Ordering::AcqRel) + 1;
                let (shared, script) = (Arc::clone(&shared), Arc::clone(&script));
                let tls = tls.clone();
                thread::spawn(move || {
                    set(&stream);
                    match tls {
                        None => serve(stream, number, &shared, &*script),
                        Some(config) => {
                            let session = ServerConnection::new(config).expect("a session");
                            let stream = StreamOwned::new(session, stream);
                            serve(stream, number, &shared, &*script);
                        }
                    }
                });
            }
        });
        upstream
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The targets asked for so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.shared.calls.lock().expect("calls").clone()
    }

    /// How many connections the server has ended in order: of secured ones, those on which it said
    /// goodbye.
    pub(crate) fn goodbyes(&self) -> usize {
        self.shared.goodbyes.load(Ordering::Acquire)
    }

    /// How many connections it has had.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts, so that it sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

impl Call<'_> {
    /// Sends bytes. That the server hangs up meanwhile is its right.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// The TLS session, where there is one.
    pub(crate) fn tls(&mut self) -> &mut ServerConnection {
        self.stream.tls().expect("a secured connection")
    }

    /// Sends what is ready to be sent.
    pub(crate) fn flush(&mut self) {
        let _ = self.stream.flush();
    }

    /// Answers with JSON, framed by its length.
    pub(crate) fn json(&mut self, body: impl AsRef<str>) -> Then {
        self.send(json(body.as_ref()));
        Then::Keep
    }

    /// Answers with a status and no more than that.
    pub(crate) fn status(&mut self, status: u16) -> Then {
        self.send(format!("HTTP/1.1 {status} Because\r\nContent-Length: 2\r\n\r\n{{}}"));
        Then::Keep
    }

    /// The last segment of the path.
    pub(crate) fn id(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// A response of JSON, framed by its length.
pub(crate) fn json(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
        + body
}

/// A door that calls wait at until the test opens it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn pass(&self) {
        let (open, opened) = &*self.0;
        let open = open.lock().expect("gate");
        drop(opened.wait_timeout_while(open, PATIENCE, |open| !*open).expect("gate"));
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().expect("gate") = true;
        self.0.1.notify_all();
    }
}

/// A delay that differs from call to call and is the same in every run.
pub(crate) fn some_delay(seed: usize) {
    thread::sleep(Duration::from_millis((seed.wrapping_mul(7919) >> 3) as u64 % 13));
}

fn serve(
    mut stream: impl Wire,
    connection: usize,
    shared: &Shared,
    script: &dyn Fn(&mut Call<'_>) -> Then,
) {
    let mut turn = 0;
    let mut received = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let end = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut bytes) {
                Ok(n @ 1..) => received.extend_from_slice(&bytes[..n]),
                Ok(_) => {
                    shared.goodbyes.fetch_add(1, Ordering::AcqRel);
                    return;
                }
                Err(_) => return linger(stream.socket()),
            }
        };
        let head = String::from_utf8(received.drain(..end).collect()).expect("an ASCII head");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        while received.len() < length.unwrap_or(0) {
            match stream.read(&mut bytes) {
                Ok(n @ 1..) => received.extend_from_slice(&bytes[..n]),
                _ => return,
            }
        }
        let body: Vec<u8> = received.drain(..length.unwrap_or(0)).collect();
        let target = head.split(' ').nth(1).expect("a target");
        shared.calls.lock().expect("calls").push(target.to_owned());
        turn += 1;
        let mut call =
            Call { head: &head, body: &body, target, connection, turn, stream: &mut stream };
        match script(&mut call) {
            Then::Keep => {}
            Then::Close => return stream.say_goodbye(),
            Then::Cut => return,
            Then::Reset => {
                let _ = socket2::SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO));
                return;
            }
        }
    }
}

/// Ends a connection so that what was sent on it, an alert say, is not lost with it.
pub(crate) fn linger(mut stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn set(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
}

impl Wire for TcpStream {
    fn say_goodbye(&mut self) {}

    fn socket(&self) -> &TcpStream {
        self
    }

    fn tls(&mut self) -> Option<&mut ServerConnection> {
        None
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn say_goodbye(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }

    fn socket(&self) -> &TcpStream {
        &self.sock
    }

    fn tls(&mut self) -> Option<&mut ServerConnection> {
        Some(&mut self.conn)
    }
}
