//! The halves of a connection, plain or secured.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use crate::driver::buffers::Buffers;
use crate::driver::{self, Read};
use crate::limits;

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
}

/// The halves of a connection whose handshake is done. `early` is what has come with its end.
pub(super) fn secured<R, W>(
    session: Session,
    early: Vec<u8>,
    (reader, writer): (R, W),
    buffers: Buffers,
) -> (Reader<R>, Writer<W>) {
    let inner = RefCell::new(Inner { session, early, out: Vec::new() });
    let shared = Rc::new(Shared { inner, buffers });
    let reader = Reader::Secure(SecureReader { reader, shared: Rc::clone(&shared) });
    (reader, Writer::Secure(SecureWriter { writer, shared }))
}

impl<R: driver::Reader> driver::Reader for Reader<R> {
    async fn read(self, buffer: Vec<u8>, room: usize) -> Read<Self> {
        match self {
            Self::Plain(reader) => {
                let Read { reader, buffer, result } = reader.read(buffer, room).await;
                Read { reader: Self::Plain(reader), buffer, result }
            }
            // Boxed, so that a plain connection holds no room for it.
            Self::Secure(reader) => Box::pin(reader.read(buffer, room)).await,
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
                Ok(0) => return self.end(buffer, Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return self.end(buffer, Err(error)),
            }
            if buffer.capacity() == 0 {
                buffer = self.shared.buffers.take();
            }
            let received = self.shared.receive(&mut records, &mut buffer);
            let count = buffer.len() - before;
            if count > 0 || received.is_err() {
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
        session.receive(records, plain, out).map_err(io::Error::other)
    }

    /// Bytes as they are to be sent, behind what must go before them.
    fn encrypt(&self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let Inner { session, out, .. } = &mut *self.inner.borrow_mut();
        let mut records = match out.is_empty() {
            true => self.buffers.take(),
            false => std::mem::take(out),
        };
        session.encrypt(plain, &mut records).map_err(io::Error::other)?;
        Ok(records)
    }
}

impl<W: driver::Writer> driver::Writer for Writer<W> {
    async fn write_range(
        &mut self,
        buffer: Vec<u8>,
        range: Range<usize>,
    ) -> (io::Result<()>, Vec<u8>) {
        match self {
            Self::Plain(writer) => writer.write_range(buffer, range).await,
            Self::Secure(writer) => {
                let records = writer.shared.encrypt(buffer.get(range).unwrap_or_default());
                match records {
                    Ok(records) => (Box::pin(writer.send(records)).await, buffer),
                    Err(error) => (Err(error), buffer),
                }
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
