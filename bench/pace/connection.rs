//! One connection to the server, and the exchange on it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;
use ringpress::http::response;
use ringpress::http::{BodyReader, Limits, ResponseHead};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tally::Outcome;

/// A connection that does not block.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Whether the kernel has said that it is open.
    connected: bool,
    /// Whether an exchange was completed on it: if it then breaks before an answer begins, the
    /// server may have closed it for being idle, and another connection is tried.
    pub(crate) used: bool,
    exchange: Option<Exchange>,
    buffer: Vec<u8>,
}

/// A request and what has come of its response.
#[derive(Clone)]
pub(crate) struct Exchange {
    /// The number in the path, which the page must show.
    pub(crate) expected: u64,
    pub(crate) request: Vec<u8>,
    /// When it was due, from the start of the program.
    pub(crate) due: Duration,
    /// Whether a second connection was needed.
    pub(crate) retried: bool,
    sent: usize,
    head: Option<(ResponseHead, BodyReader)>,
    body_end: usize,
}

impl Exchange {
    pub(crate) fn new(request: Vec<u8>, expected: u64, due: Duration) -> Self {
        Self { expected, request, due, retried: false, sent: 0, head: None, body_end: 0 }
    }

    /// The same from the start, for another connection.
    pub(crate) fn again(&self) -> Self {
        let new = Self::new(self.request.clone(), self.expected, self.due);
        Self { retried: true, ..new }
    }
}

/// What an event has led to.
pub(crate) enum Step {
    /// More is to come.
    Waiting,
    /// The exchange ended so; the connection may be used again, or not.
    Ended(Exchange, Outcome, Reuse),
    /// The connection broke.
    Broken(Option<Exchange>, Outcome),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    Yes,
    No,
}

impl Connection {
    /// Begins to connect.
    pub(crate) fn open(target: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(target),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        let stream = TcpStream::from(socket);
        Ok(Self { stream, connected: false, used: false, exchange: None, buffer: Vec::new() })
    }

    /// Sends a request, now or as soon as the connection is open.
    pub(crate) fn begin(&mut self, exchange: Exchange) -> Step {
        self.exchange = Some(exchange);
        self.advance(&mut [])
    }

    /// Gives up on the exchange; the connection is of no use any more.
    pub(crate) fn abandon(&mut self) -> Option<Exchange> {
        self.exchange.take()
    }

    /// Goes on after the kernel said that something has changed.
    pub(crate) fn advance(&mut self, scratch: &mut [u8]) -> Step {
        if !self.connected {
            match self.stream.take_error() {
                Ok(None) if self.stream.peer_addr().is_ok() => self.connected = true,
                Ok(None) => return Step::Waiting,
                _ => return Step::Broken(self.exchange.take(), Outcome::NotConnected),
            }
        }
        if self.send().is_err() {
            return Step::Broken(self.exchange.take(), Outcome::Broken);
        }
        while !scratch.is_empty() {
            match self.stream.read(scratch) {
                Ok(0) => return self.closed(),
                Ok(count) => self.buffer.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Step::Broken(self.exchange.take(), Outcome::Broken),
            }
            match self.parse() {
                Ok(None) => {}
                Ok(Some(reuse)) => return self.end(reuse),
                Err(()) => return Step::Broken(self.exchange.take(), Outcome::Broken),
            }
        }
        Step::Waiting
    }

    fn send(&mut self) -> io::Result<()> {
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        while exchange.sent < exchange.request.len() {
            match self.stream.write(&exchange.request[exchange.sent..]) {
                Ok(count) => exchange.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the response is complete, and whether the connection can be used after it.
    fn parse(&mut self) -> Result<Option<Reuse>, ()> {
        // What comes without a request is no answer to anything.
        let Some(exchange) = &mut self.exchange else { return Err(()) };
        if exchange.head.is_none() {
            let head = response::parse(&self.buffer, &Limits::response(), false).map_err(|_| ())?;
            let Some(head) = head else { return Ok(None) };
            let body = BodyReader::new(head.framing, PAGE_BYTES_MAX);
            exchange.body_end = head.length;
            exchange.head = Some((head, body));
        }
        let Some((head, body)) = &mut exchange.head else { return Ok(None) };
        let progress = body.advance(&mut self.buffer, exchange.body_end).map_err(|_| ())?;
        exchange.body_end = progress.end;
        let reuse = if head.keep_alive { Reuse::Yes } else { Reuse::No };
        Ok(progress.done.then_some(reuse))
    }

    /// The server closed: that may be how the body ends.
    fn closed(&mut self) -> Step {
        let complete = match self.exchange.as_ref().and_then(|exchange| exchange.head.as_ref()) {
            Some((_, body)) => body.finish_at_eof().is_ok(),
            None => false,
        };
        if complete {
            self.end(Reuse::No)
        } else {
            Step::Broken(self.exchange.take(), Outcome::Broken)
        }
    }

    fn end(&mut self, reuse: Reuse) -> Step {
        let Some(exchange) = self.exchange.take() else { return Step::Waiting };
        let Some((head, _)) = &exchange.head else { return Step::Waiting };
        let body = self.buffer.get(head.length..exchange.body_end).unwrap_or_default();
        let outcome = match head.status {
            200 if is_page(body, exchange.expected) => Outcome::Page,
            200 => Outcome::Wrong,
            503 => Outcome::Shed,
            status => Outcome::Status(status),
        };
        self.buffer.clear();
        self.used = true;
        Step::Ended(exchange, outcome, reuse)
    }
}

/// Whether a body is the whole page of the number asked for. How the rest of it is escaped is not
/// looked at here: templates spell that differently.
fn is_page(body: &[u8], expected: u64) -> bool {
    let mut number = itoa::Buffer::new();
    let number = number.format(expected).as_bytes();
    let end = body.trim_ascii_end();
    let Some(at) = memmem::find(body, TITLE) else { return false };
    let title = &body[at + TITLE.len()..];
    end.ends_with(b"</html>")
        && title.starts_with(number)
        && !title.get(number.len()).is_some_and(u8::is_ascii_digit)
}

/// Stands before the number in the page of bench/site.
const TITLE: &[u8] = b" numbers of user ";
/// EINPROGRESS of Linux.
const IN_PROGRESS: i32 = 115;
const PAGE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_page_of_the_number_counts() {
        let page = b"<title>Letters &amp; numbers of user 42 by Ann</title></html>\n";
        assert!(is_page(page, 42));
        assert!(!is_page(page, 4));
        assert!(!is_page(page, 421));
        assert!(!is_page(&page[..page.len() - 4], 42));
        assert!(is_page(b"<title>Letters &#38; numbers of user 42</title></html>", 42));
    }
}
