//! Simulated upstreams: they say back what they were asked, or misbehave.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use ringpress::driver::buffers::Buffers;
use ringpress::driver::sim::{Listener, ReadHalf, Sim, WriteHalf};
use ringpress::driver::{Driver, Reader, Writer};
use ringpress::http::{Limits, request};
use ringpress::tls::{self, Session};
use rustls::ServerConfig;

/// What an upstream is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Which request of its connection it is, from 0 on.
    pub(crate) request: usize,
    /// The target's last segment, which is to be said back.
    pub(crate) token: &'a str,
    /// The head, as it came.
    pub(crate) head: &'a str,
}

impl Asked<'_> {
    /// The value of a field, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// What to do, step by step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Close, by dropping both halves.
    Close,
    /// Neither answer nor close before the server does.
    Hang,
}

/// What an upstream saw.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Connections accepted.
    pub(crate) connections: usize,
    /// Of each connection, by number: whether the server has closed it.
    pub(crate) closed: Vec<bool>,
    /// The connection and the token of each request, in order.
    pub(crate) requests: Vec<(usize, String)>,
    /// Exchanges going on at once, now and at most.
    pub(crate) busy: usize,
    pub(crate) busy_max: usize,
}

/// An address for an upstream.
pub(crate) const fn at(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Listens at `address` and does what `plan` says for each request.
pub(crate) fn start(
    address: SocketAddr,
    plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static,
) -> Rc<RefCell<Log>> {
    start_until(address, Duration::MAX, plan)
}

/// The same, but from that time of the run on nobody listens any more. Connections that are open
/// then go on as planned.
pub(crate) fn start_until(
    address: SocketAddr,
    until: Duration,
    plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static,
) -> Rc<RefCell<Log>> {
    listen(address, until, None, plan)
}

/// The same over TLS, where there is some.
pub(crate) fn start_secure(
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static,
) -> Rc<RefCell<Log>> {
    listen(address, Duration::MAX, tls, plan)
}

fn listen(
    address: SocketAddr,
    until: Duration,
    tls: Option<Arc<ServerConfig>>,
    plan: impl Fn(Asked<'_>) -> Vec<Step> + 'static,
) -> Rc<RefCell<Log>> {
    let listener = Sim::bind(address).unwrap();
    let (log, plan) = (Rc::<RefCell<Log>>::default(), Rc::new(plan));
    let shared = Rc::clone(&log);
    Sim::spawn(async move {
        while let Some(accepted) = accept_until(&listener, until).await {
            // The only errors there are pass: descriptors ran short.
            let Ok((reader, writer, _)) = accepted else {
                Sim::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let (log, plan) = (Rc::clone(&shared), Rc::clone(&plan));
            let number = log.borrow().connections;
            log.borrow_mut().connections += 1;
            log.borrow_mut().closed.push(false);
            let tls = tls.clone();
            Sim::spawn(async move {
                // How a connection ends is what the server is tested for.
                let _ = converse((reader, writer), tls, number, &log, &*plan).await;
                log.borrow_mut().closed[number] = true;
            });
        }
    });
    log
}

type Accepted = io::Result<(ReadHalf, WriteHalf, SocketAddr)>;

async fn accept_until(listener: &Listener, until: Duration) -> Option<Accepted> {
    if until == Duration::MAX {
        return Some(Sim::accept(listener).await);
    }
    let accept = pin!(Sim::accept(listener));
    let time = pin!(Sim::sleep(until.saturating_sub(Sim::elapsed())));
    match select(accept, time).await {
        Either::Left((accepted, _)) => Some(accepted),
        Either::Right(_) => None,
    }
}

async fn converse(
    (reader, writer): (ReadHalf, WriteHalf),
    tls: Option<Arc<ServerConfig>>,
    connection: usize,
    log: &RefCell<Log>,
    plan: &impl Fn(Asked<'_>) -> Vec<Step>,
) -> io::Result<()> {
    let Some(config) = tls else {
        let (reader, writer) = (tls::Reader::Plain(reader), tls::Writer::Plain(writer));
        return serve(reader, writer, connection, log, plan).await;
    };
    let session = Session::server(&config).unwrap();
    let handshake = tls::handshake(session, reader, writer, Buffers::default()).await;
    let (reader, writer) = handshake.map_err(io::Error::other)?;
    serve(reader, writer, connection, log, plan).await
}

async fn serve(
    mut reader: tls::Reader<ReadHalf>,
    mut writer: tls::Writer<WriteHalf>,
    connection: usize,
    log: &RefCell<Log>,
    plan: &impl Fn(Asked<'_>) -> Vec<Step>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    for request in 0.. {
        let head = loop {
            // The server sends no request that the server's own parser does not take.
            if let Some(head) = request::parse(&buffer, &Limits::default()).unwrap() {
                break head;
            }
            let read = reader.read(buffer, 4096).await;
            (reader, buffer) = (read.reader, read.buffer);
            if read.result? == 0 {
                return Ok(());
            }
        };
        let target = String::from_utf8(head.target.of(&buffer).to_vec()).unwrap();
        let text = String::from_utf8(buffer.drain(..head.length).collect()).unwrap();
        let token = target.rsplit('/').next().unwrap();
        log.borrow_mut().requests.push((connection, token.to_owned()));
        let steps = plan(Asked { request, token, head: &text });
        let _busy = Busy::new(log);
        for step in steps {
            match step {
                Step::Send(bytes) => writer.write_all(bytes, 0).await.0?,
                Step::Wait(time) => Sim::sleep(time).await,
                Step::Close => return writer.say_goodbye().await,
                Step::Hang => return hang(reader, buffer).await,
            }
        }
    }
    Ok(())
}

async fn hang(mut reader: tls::Reader<ReadHalf>, mut buffer: Vec<u8>) -> io::Result<()> {
    loop {
        let read = reader.read(buffer, 4096).await;
        (reader, buffer) = (read.reader, read.buffer);
        if read.result? == 0 {
            return Ok(());
        }
    }
}

/// An exchange in the count, until dropped.
struct Busy<'a>(&'a RefCell<Log>);

impl<'a> Busy<'a> {
    fn new(log: &'a RefCell<Log>) -> Self {
        let mut counts = log.borrow_mut();
        counts.busy += 1;
        counts.busy_max = counts.busy_max.max(counts.busy);
        Self(log)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().busy -= 1;
    }
}

/// The JSON for a token.
pub(crate) fn json(token: &str) -> String {
    json_filled(token, 0)
}

/// The same with that much filling.
pub(crate) fn json_filled(token: &str, filler: usize) -> String {
    format!(r#"{{"token":"{token}","parts":[1,2,3],"filler":"{}"}}"#, "x".repeat(filler))
}

/// A response that is framed by its length.
pub(crate) fn response(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// The step that answers well.
pub(crate) fn answer(token: &str) -> Step {
    Step::Send(response(200, &json(token)))
}

/// The answers of an upstream that does one thing for each request, in turn.
pub(crate) fn in_turn(script: Vec<Vec<Step>>) -> impl Fn(Asked<'_>) -> Vec<Step> + 'static {
    let script = RefCell::new(VecDeque::from(script));
    move |asked| script.borrow_mut().pop_front().unwrap_or_else(|| vec![answer(asked.token)])
}
