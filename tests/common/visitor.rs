//! A visitor: a blocking HTTP/1.1 client that takes nothing on trust. What a server sends must be
//! framed exactly, and every wait has an end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustls::ClientConnection;

/// How long anything may take before a test is called hung. No assertion on time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to a server.
pub(crate) struct Visitor {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    received: Vec<u8>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Visitor {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::try_to(address).expect("connect")
    }

    pub(crate) fn try_to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, tls: None, received: Vec::new() })
    }

    /// The same over TLS, as that session has it. The handshake is done when the first byte is
    /// sent or read.
    pub(crate) fn speaking(mut self, session: ClientConnection) -> Self {
        self.tls = Some(Box::new(session));
        self
    }

    /// The session of one who speaks TLS.
    pub(crate) fn session(&self) -> &ClientConnection {
        self.tls.as_ref().expect("a TLS session")
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("send");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.tls {
            None => self.stream.write_all(bytes.as_ref()),
            Some(session) => {
                let mut stream = rustls::Stream::new(&mut **session, &mut self.stream);
                stream.write_all(bytes.as_ref()).and_then(|()| stream.flush())
            }
        }
    }

    /// Whether the server ends the connection, with not a byte more, and says so: on one with TLS
    /// an end that nobody has announced is an error.
    pub(crate) fn ends_rightly(&mut self) -> bool {
        self.received.is_empty() && matches!(self.read(&mut [0; 64]), Ok(0))
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.stream.read(bytes),
            Some(session) => rustls::Stream::new(&mut **session, &mut self.stream).read(bytes),
        }
    }

    /// A GET on a connection that stays, and its answer.
    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.send(get(target));
        self.reply()
    }

    /// The same, where the server may have hung up.
    pub(crate) fn try_get(&mut self, target: &str) -> io::Result<Reply> {
        self.try_send(get(target))?;
        self.try_reply(false)
    }

    /// Any request with a body in its answer, and that answer.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request);
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply(false).expect("a whole response")
    }

    /// The answer to a HEAD: it has no body, whatever its Content-Length is.
    pub(crate) fn reply_to_head(&mut self) -> Reply {
        self.try_reply(true).expect("a whole response")
    }

    pub(crate) fn try_reply(&mut self, head_only: bool) -> io::Result<Reply> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).expect("an ASCII head");
        let mut reply = Reply { status: status_of(&head), head, body: Vec::new() };
        let bodiless = matches!(reply.status, 100..=199 | 204 | 304);
        assert_eq!(reply.field("Transfer-Encoding"), None, "{reply:?}");
        assert_eq!(reply.field("Content-Length").is_none(), bodiless, "{reply:?}");
        let length = reply.field("Content-Length").map_or(0, |n| n.parse().expect("a length"));
        while !head_only && self.received.len() < length {
            self.more()?;
        }
        if !head_only {
            reply.body = self.received.drain(..length).collect();
        }
        Ok(reply)
    }

    /// Whether the server has ended the connection, with not a byte more.
    pub(crate) fn at_end(&mut self) -> bool {
        match self.more() {
            Ok(()) => false,
            Err(error) => {
                assert!(!is_timeout(&error), "the server keeps the connection open");
                self.received.is_empty()
            }
        }
    }

    /// Ends the stream toward the server; what it sends can still be read.
    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        match self.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.received.extend_from_slice(&bytes[..n]);
                Ok(())
            }
        }
    }
}

impl Reply {
    /// The value of a field that must not come twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.trim());
        assert!(values.next().is_none(), "{name} twice: {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a page in UTF-8")
    }

    /// The body of a page that was to be made.
    pub(crate) fn page(&self) -> &str {
        assert_eq!(self.status, 200, "{}{}", self.head, self.text());
        assert_eq!(self.field("Content-Type"), Some("text/html; charset=utf-8"));
        self.text()
    }

    /// A whole error page with this status.
    pub(crate) fn is_error(&self, status: u16) {
        assert_eq!(self.status, status, "{}{}", self.head, self.text());
        assert!(self.text().contains(&status.to_string()), "{}", self.text());
        assert!(self.text().trim_end().ends_with("</html>"), "{}", self.text());
    }
}

/// A GET with nothing but a Host.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

fn status_of(head: &str) -> u16 {
    let (version, rest) = head.split_once(' ').expect("a status line");
    assert_eq!(version, "HTTP/1.1", "{head}");
    let (status, _) = rest.split_at(3);
    assert!(rest[3..].starts_with(' '), "{head}");
    status.parse().expect("a status")
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
