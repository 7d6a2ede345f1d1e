//! One connection to the admin listener: request after request, until an end.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::exchange::{AdminRequest, AdminResponse, Body};
use super::routes::Found;
use super::seats::Seat;
use super::socket::Stream;
use super::{Shared, Streaming};
use crate::http::{self, Connection, Framing, Head, Limits, RequestHead, request};
use crate::limits::{
    ADMIN_BODY_BYTES_MAX, ADMIN_IDLE_TIMEOUT, ADMIN_REQUEST_TIMEOUT, ADMIN_WRITE_TIMEOUT,
    LINGER_BYTES_MAX, LINGER_TIMEOUT,
};

/// Answers what comes, for as long as it does. Errors end it: there is nobody left to tell.
pub(super) fn hold(stream: Stream, seat: &Seat, shared: &Arc<Shared>) {
    let _ = stream.set_nodelay();
    // Who has just come has something to ask.
    let mut line = Line { stream, buffer: Vec::new(), patience: ADMIN_REQUEST_TIMEOUT };
    while !shared.stopped.load(Ordering::Relaxed) {
        match exchange(&mut line, seat, shared) {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// A connection, what has come of the next request, and how long that may take to begin.
struct Line {
    stream: Stream,
    buffer: Vec<u8>,
    patience: Duration,
}

/// Says that there are too many connections. No thread waits for whether that is read.
pub(super) fn turn_away(mut stream: Stream) {
    let _ = stream.set_timeouts(Duration::ZERO, Duration::ZERO);
    let answer = AdminResponse::text(503, "too many connections to the admin listener\n");
    let _ = write_whole(&mut stream, answer, Connection::Close, false);
}

/// One request and its answer; gives whether the connection goes on.
fn exchange(line: &mut Line, seat: &Seat, shared: &Arc<Shared>) -> io::Result<bool> {
    let head = read_head(line, seat)?;
    let Line { stream, buffer, patience } = line;
    *patience = ADMIN_IDLE_TIMEOUT;
    let head = match head {
        Ok(Some(head)) => head,
        Ok(None) => return Ok(false),
        Err(answer) => {
            let is_head = request::is_head(buffer);
            write_whole(stream, answer, Connection::Close, is_head)?;
            return linger(stream);
        }
    };
    let is_head = head.method == http::Method::Head;
    let body = match head.body {
        Framing::None => 0,
        Framing::Length(length) if length <= ADMIN_BODY_BYTES_MAX => length as usize,
        _ => {
            let answer = AdminResponse::text(413, "commands have no body\n");
            write_whole(stream, answer, Connection::Close, is_head)?;
            return linger(stream);
        }
    };
    // Of no use, but it must be gone before the next request, and what is cut off is not done.
    let end = head.length + body;
    let deadline = Instant::now() + ADMIN_REQUEST_TIMEOUT;
    while buffer.len() < end {
        read(stream, buffer, deadline)?;
    }
    // It may have made room for another at the moment when it had asked.
    if !seat.keep(false) {
        return Ok(false);
    }
    let answer = answer(&AdminRequest { bytes: buffer, head: &head }, shared);
    buffer.drain(..end);
    match answer.body {
        Body::Pieces(_) => {
            write_pieces(stream, answer, shared, is_head)?;
            Ok(false)
        }
        Body::Whole(_) => {
            let connection = Connection::toward(head.version, head.keep_alive);
            write_whole(stream, answer, connection, is_head)?;
            Ok(head.keep_alive)
        }
    }
}

fn answer(request: &AdminRequest<'_>, shared: &Shared) -> AdminResponse {
    let found = shared.routes.find(request);
    let open = matches!(found, Found::Route { open: true, .. });
    if let Some(refusal) = shared.guard.refuse(request, open) {
        return refusal;
    }
    match found {
        Found::Route { handler, .. } => handler(request),
        Found::Other { allow } => {
            AdminResponse::text(405, format!("only {allow} here\n")).with("Allow", allow)
        }
        Found::Nothing => AdminResponse::text(404, "nothing is here\n"),
    }
}

/// A head, or none at the end of the connection, or what to answer instead.
type Read1 = Result<Option<RequestHead>, AdminResponse>;

fn read_head(line: &mut Line, seat: &Seat) -> io::Result<Read1> {
    let Line { stream, buffer, patience } = line;
    if !seat.keep(true) {
        return Ok(Ok(None));
    }
    if buffer.is_empty() {
        stream.set_timeouts(*patience, ADMIN_WRITE_TIMEOUT)?;
        let mut first = [0; READ_BYTES];
        match stream.read(&mut first)? {
            0 => return Ok(Ok(None)),
            n => buffer.extend_from_slice(first.get(..n).unwrap_or_default()),
        }
    }
    let deadline = Instant::now() + ADMIN_REQUEST_TIMEOUT;
    let limits = Limits::default();
    loop {
        match request::parse(buffer, &limits) {
            Ok(Some(head)) => return Ok(Ok(Some(head))),
            Ok(None) => read(stream, buffer, deadline)?,
            Err(error) => {
                return Ok(Err(AdminResponse::text(error.status(), format!("{error}\n"))));
            }
        }
    }
}

/// More bytes, before the deadline; the end of the connection is an error here.
fn read(stream: &mut Stream, buffer: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_timeouts(left, ADMIN_WRITE_TIMEOUT)?;
    let mut more = [0; READ_BYTES];
    let n = stream.read(&mut more)?;
    buffer.extend_from_slice(more.get(..n).unwrap_or_default());
    if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Takes for a while what still comes, so that an answer can be read instead of a reset (RFC 9112
/// section 9.6).
fn linger(stream: &mut Stream) -> io::Result<bool> {
    stream.finish()?;
    let deadline = Instant::now() + LINGER_TIMEOUT;
    let mut thrown_away = Vec::new();
    while thrown_away.len() < LINGER_BYTES_MAX {
        read(stream, &mut thrown_away, deadline)?;
    }
    Ok(false)
}

/// Fields of all answers.
const FIELDS: &[(&str, &[u8])] = &[
    ("Cache-Control", b"no-store"),
    ("X-Content-Type-Options", b"nosniff"),
    ("X-Frame-Options", b"DENY"),
    ("Referrer-Policy", b"no-referrer"),
];

fn write_whole(
    stream: &mut Stream,
    answer: AdminResponse,
    connection: Connection,
    is_head: bool,
) -> io::Result<()> {
    let Body::Whole(mut body) = answer.body else { return Ok(()) };
    let own = answer.fields.iter().map(|(name, value)| (*name, value.as_bytes()));
    let fields: Vec<(&str, &[u8])> = FIELDS.iter().copied().chain(own).collect();
    let head = Head {
        status: answer.status,
        content_type: answer.content_type,
        body_length: body.len() as u64,
        date: &date_now(),
        connection,
        extra: &fields,
        lines: [&[]; 4],
    };
    let mut out = Vec::new();
    http::write_response_head(&mut out, &head);
    if !is_head {
        out.append(&mut body);
    }
    stream.write_all(&out)
}

/// An answer without a known end: it lasts until the connection is closed (RFC 9112 section 6.3).
fn write_pieces(
    stream: &mut Stream,
    answer: AdminResponse,
    shared: &Arc<Shared>,
    is_head: bool,
) -> io::Result<()> {
    let Body::Pieces(mut next) = answer.body else { return Ok(()) };
    let Some(_streaming) = Streaming::begin(shared) else {
        let answer = AdminResponse::text(503, "too many are looking already\n");
        return write_whole(stream, answer, Connection::Close, is_head);
    };
    let phrase = http::reason_phrase(answer.status);
    let mut out = format!("HTTP/1.1 {} {phrase}\r\n", answer.status).into_bytes();
    let own = answer.fields.iter().map(|(name, value)| (*name, value.as_bytes()));
    let mut fields: Vec<(&str, &[u8])> = FIELDS.iter().copied().chain(own).collect();
    let date = date_now();
    fields.push(("Date", &date));
    fields.push(("Content-Type", answer.content_type.as_bytes()));
    fields.push(("Connection", b"close"));
    for (name, value) in fields {
        // What may not be written is left out.
        let _ = http::push_field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    stream.set_timeouts(ADMIN_REQUEST_TIMEOUT, ADMIN_WRITE_TIMEOUT)?;
    stream.write_all(&out)?;
    while !is_head && !shared.stopped.load(Ordering::Relaxed) {
        let Some(piece) = next() else { break };
        stream.write_all(&piece)?;
    }
    Ok(())
}

fn date_now() -> [u8; 29] {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    http::format_date(since.as_secs())
}

const READ_BYTES: usize = 2048;
