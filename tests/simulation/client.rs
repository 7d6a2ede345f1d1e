//! A visitor's end of a connection: sends bytes, reads answers, and holds each to its framing.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use ringpress::driver::sim::{ReadHalf, Sim, WriteHalf};
use ringpress::driver::{Driver, Read, Reader, Writer};
use ringpress::http::{BodyReader, Limits, response};

/// A connection to the server.
pub(crate) struct Client {
    /// Gone when a read was given up, or had failed.
    reader: Option<ReadHalf>,
    writer: WriteHalf,
    buffer: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) keep_alive: bool,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// After how many seconds to come back, if it says so.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        let mut lines = self.head.split("\r\n").filter_map(|line| line.split_once(':'));
        let field = lines.find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
        Some(field.1.trim().parse().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let (reader, writer) = Sim::connect(address).await?;
        Ok(Self { reader: Some(reader), writer, buffer: Vec::new() })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.writer.write_all(bytes.as_ref().to_vec(), 0).await.0
    }

    /// Says that nothing more will come.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.writer.shutdown()
    }

    /// The next answer; none where the server closed instead of beginning one.
    ///
    /// What is no answer as HTTP has them is a failure of the test, not an error.
    pub(crate) async fn answer(&mut self, to_head: bool) -> io::Result<Option<Answer>> {
        let head = loop {
            let parsed = response::parse(&self.buffer, &Limits::response(), to_head);
            match parsed.unwrap_or_else(|error| panic!("{error}: {:?}", self.received())) {
                Some(head) if head.interim => drop(self.buffer.drain(..head.length)),
                Some(head) => break head,
                None if self.more().await? == 0 => match self.buffer.is_empty() {
                    true => return Ok(None),
                    false => return Err(ErrorKind::UnexpectedEof.into()),
                },
                None => {}
            }
        };
        let mut body = BodyReader::new(head.framing, Limits::response().body_bytes_max);
        let mut end = head.length;
        loop {
            let progress = body.advance(&mut self.buffer, end).unwrap();
            end = progress.end;
            if progress.done {
                break;
            }
            if self.more().await? == 0 {
                return body.finish_at_eof().map(|()| None).map_err(io::Error::other);
            }
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer {
            status: head.status,
            keep_alive: head.keep_alive,
            head: text(&self.buffer[..head.length]),
            body: text(&self.buffer[head.length..end]),
        };
        self.buffer.drain(..end);
        Ok(Some(answer))
    }

    /// Sends a request of these bytes and reads its answer.
    pub(crate) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).await.unwrap();
        self.answer(false).await.unwrap().expect("an answer")
    }

    /// Waits for the server's end, and asserts that it comes without another byte.
    pub(crate) async fn ends(&mut self) -> io::Result<()> {
        self.more().await?;
        assert!(self.buffer.is_empty(), "{:?}", self.received());
        Ok(())
    }

    /// Reads on until so many bytes of an answer are there.
    pub(crate) async fn until(&mut self, count: usize) -> io::Result<()> {
        while self.buffer.len() < count {
            if self.more().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    async fn more(&mut self) -> io::Result<usize> {
        let reader = self.reader.take().ok_or(ErrorKind::NotConnected)?;
        let buffer = std::mem::take(&mut self.buffer);
        let Read { reader, buffer, result } = reader.read(buffer, 2048).await;
        (self.reader, self.buffer) = (Some(reader), buffer);
        result
    }
}

/// A request for `path`, as browsers write it.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n")
}

/// A request for `path` on a connection of its own, and how long the answer took.
pub(crate) async fn visit(address: SocketAddr, path: &str) -> (Answer, Duration) {
    let start = Sim::elapsed();
    let answer = Client::connect(address).await.unwrap().ask(get(path)).await;
    (answer, Sim::elapsed() - start)
}
