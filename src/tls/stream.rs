//! The halves of a connection, plain or secured.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::driver::buffers::Buffers;
use crate::driver::{self, Read};
use crate::limits;

use super::error::{Cut, SessionError};
use super::session::Session;

/// The read half of a connection.
pub enum Reader<R> {
    /// Bytes as they come.
    Plain(R),
    /// Bytes out of records.
    Secure(SecureReader<R>),
}

/// The write half of a connection.
pub enum Writer<W> {
    /// Bytes as they are.
    Plain(W),
    /// Bytes in records.
    Secure(SecureWriter<W>),
}

/// The read half of a secured connection.
pub struct SecureReader<R> {
    reader: R,
    shared: Rc<Shared>,
}

/// The write half of a secured connection.
pub struct SecureWriter<W> {
    writer: W,
    shared: Rc<Shared>,
}

/// What both halves work on.
struct Shared {
    inner: RefCell<Inner>,
    buffers: Buffers,
}

struct Inner {
    session: Session,
    /// Plain bytes that came with the end of the handshake.
    early: Vec<u8>,
    /// What must be sent before anything else: an answer to new keys, an alert.
    out: Vec<u8>,
    /// Whether the last read filled all the room it had: then more records may be waiting.
    full: bool,
}

/// The halves of a connection whose handshake is done. `early` is what has come with its end.
pub(super) fn secured<R, W>(
    session: Session,
    early: Vec<u8>,
    (reader, writer): (R, W),
    buffers: Buffers,
) -> (Reader<R>, Writer<W>) {
    let inner = RefCell::new(Inner { session, early, out: Vec::new(), full: false });
    let shared = Rc::new(Shared { inner, buffers });
    let reader = Reader::Secure(SecureReader { reader, shared: Rc::clone(&shared) });
    (reader, Writer::Secure(SecureWriter { writer, shared }))
}

impl<R: driver::Reader> driver::Reader for Reader<R> {
    fn read(self, buffer: Vec<u8>, room: usize) -> impl Future<Output = Read<Self>> + 'static {
        match self {
            Self::Plain(reader) => Work::Plain { future: reader.read(buffer, room), wrap },
            Self::Secure(reader) => Work::Secure { future: Box::pin(reader.read(buffer, room)) },
        }
    }
}

fn wrap<R>(Read { reader, buffer, result }: Read<R>) -> Read<Reader<R>> {
    Read { reader: Reader::Plain(reader), buffer, result }
}

pin_project! {
    // A read or a write. A type of its own rather than an async block, which would hold what it
    // was given twice; boxed for secured connections, so that plain ones hold no room for that.
    #[project = WorkProjected]
    enum Work<'a, F, W, T> {
        Plain { #[pin] future: F, wrap: W },
        Secure { future: Pin<Box<dyn Future<Output = T> + 'a>> },
    }
}

impl<F: Future, W: Fn(F::Output) -> T, T> Future for Work<'_, F, W, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.project() {
            WorkProjected::Plain { future, wrap } => future.poll(context).map(wrap),
            WorkProjected::Secure { future } => future.as_mut().poll(context),
        }
    }
}

impl<R: driver::Reader> SecureReader<R> {
    /// Waits for plain bytes and appends them to `buffer`. `Ok(0)` is an end that the peer has
    /// announced; one that it has not is an error, as anybody could have cut the connection.
    async fn read(mut self, mut buffer: Vec<u8>, room: usize) -> Read<Reader<R>> {
        let before = buffer.len();
        let early = std::mem::take(&mut self.shared.inner.borrow_mut().early);
        if !early.is_empty() {
            buffer.extend_from_slice(&early);
            return self.end(buffer, Ok(early.len()));
        }
        // What the caller lends becomes the memory of the records, so that a connection that
        // waits holds it once; plain bytes then go to another.
        let mut records = match buffer.is_empty() {
            true => std::mem::take(&mut buffer),
            false => Vec::new(),
        };
        loop {
            if self.shared.inner.borrow().session.is_closed() {
                return self.end(buffer, Ok(0));
            }
            let room = room.saturating_add(limits::TLS_RECORD_ROOM_BYTES);
            let read = self.reader.read(records, room).await;
            (self.reader, records) = (read.reader, read.buffer);
            match read.result {
                Ok(0) => return self.end(buffer, Err(Cut.into())),
                Ok(_) => {}
                Err(error) => return self.end(buffer, Err(error)),
            }
            let full = records.len() == records.capacity();
            self.shared.inner.borrow_mut().full = full;
            if buffer.capacity() == 0 {
                buffer = self.shared.buffers.take();
            }
            let received = self.shared.receive(&mut records, &mut buffer);
            let count = buffer.len() - before;
            if count > 0 || received.is_err() {
                if full && records.capacity() < limits::BUFFER_KEPT_BYTES_MAX {
                    // Whoever has it next, for as many bytes, will know that these were all.
                    records.reserve(records.capacity() + 1);
                }
                self.shared.buffers.put(records);
                // What is wrong comes after what was right before it.
                let result = if count > 0 { Ok(count) } else { received.map(|()| 0) };
                return self.end(buffer, result);
            }
        }
    }

    fn end(self, buffer: Vec<u8>, result: io::Result<usize>) -> Read<Reader<R>> {
        Read { reader: Reader::Secure(self), buffer, result }
    }
}

impl Shared {
    fn receive(&self, records: &mut Vec<u8>, plain: &mut Vec<u8>) -> io::Result<()> {
        let Inner { session, out, .. } = &mut *self.inner.borrow_mut();
        session.receive(records, plain, out).map_err(broken)
    }

    /// Bytes as they are to be sent, behind what must go before them.
    fn encrypt(&self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let Inner { session, out, .. } = &mut *self.inner.borrow_mut();
        let mut records = match out.is_empty() {
            true => self.buffers.take(),
            false => std::mem::take(out),
        };
        session.encrypt(plain, &mut records).map_err(broken)?;
        Ok(records)
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::other(SessionError(error))
}

impl<W: driver::Writer> driver::Writer for Writer<W> {
    fn write_range(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)> {
        match self {
            Self::Plain(writer) => {
                Work::Plain { future: writer.write_range(buffer, range), wrap: |written| written }
            }
            Self::Secure(writer) => {
                Work::Secure { future: Box::pin(writer.write_range(buffer, range)) }
            }
        }
    }

    fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.shutdown(),
            Self::Secure(writer) => writer.writer.shutdown(),
        }
    }

    fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(writer) => writer.is_quiet(),
            Self::Secure(writer) => writer.writer.is_quiet(),
        }
    }
}

impl<W: driver::Writer> SecureWriter<W> {
    async fn write_range(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> (io::Result<()>, Vec<u8>) {
        match self.shared.encrypt(buffer.get(range).unwrap_or_default()) {
            Ok(records) => (self.send(records).await, buffer),
            Err(error) => (Err(error), buffer),
        }
    }

    async fn send(&mut self, records: Vec<u8>) -> io::Result<()> {
        let (sent, records) = self.writer.write_all(records, 0).await;
        self.shared.buffers.put(records);
        sent
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        let records = {
            let Inner { session, out, .. } = &mut *self.shared.inner.borrow_mut();
            let mut records = std::mem::take(out);
            session.close(&mut records);
            records
        };
        self.send(records).await
    }
}

impl<W: driver::Writer> Writer<W> {
    /// Whether there is something to say before the connection is closed.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Secure(_))
    }

    /// Whether the last read of a secured connection filled all the room it had, so that more may
    /// be waiting: how full the buffer of plain bytes is says nothing about that. None for a plain
    /// connection.
    pub fn was_full(&self) -> Option<bool> {
        match self {
            Self::Plain(_) => None,
            Self::Secure(writer) => Some(writer.shared.inner.borrow().full),
        }
    }

    /// Whether it goes on with the keys of an earlier connection.
    pub fn is_resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(writer) => writer.shared.inner.borrow().session.is_resumed(),
        }
    }

    /// Tells a peer of a secured connection that nothing more will come (close_notify); on a
    /// plain one the end says so by itself. To be bounded in time by the caller.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn say_goodbye(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(writer) => Box::pin(writer.say_goodbye()).await,
        }
    }
}
