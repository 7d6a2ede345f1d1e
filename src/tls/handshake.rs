//! A handshake in steps: what costs CPU time apart from what waits.

use crate::driver::buffers::Buffers;
use crate::driver::{self, Read};
use crate::limits;

use super::error::HandshakeError;
use super::session::{Protocol, Session};
use super::stream::{Reader, Writer, secured};

/// A connection whose sides do not agree yet. Until they do nothing of what the peer sends is taken
/// for more than a handshake. A step is taken, what came of it is sent, and if that was not the
/// last, more is received.
pub struct Handshake<R, W> {
    /// Boxed, as a handshake is handed about, and a session is some kilobytes.
    session: Box<Session>,
    reader: R,
    writer: W,
    buffers: Buffers,
    /// What has come and was not looked at yet.
    records: Vec<u8>,
    /// Plain bytes that came with the end of the handshake.
    early: Vec<u8>,
    out: Vec<u8>,
    /// The peer's first bytes, to tell what it speaks.
    first: Vec<u8>,
    taken: usize,
}

/// Has both sides of a connection agree, and gives its halves, secured. To be bounded in time by
/// the caller.
///
/// # Errors
/// [`HandshakeError`]; the peer has been told why, if there was a way to.
pub async fn handshake<R: driver::Reader, W: driver::Writer>(
    session: Session,
    reader: R,
    writer: W,
    buffers: Buffers,
) -> Result<(Reader<R>, Writer<W>), HandshakeError> {
    let mut handshake = Handshake::new(session, (reader, writer), Vec::new(), buffers);
    loop {
        let stepped = handshake.step();
        let sent = handshake.send().await;
        stepped?;
        sent?;
        if handshake.is_done() {
            return Ok(handshake.finish());
        }
        handshake = handshake.receive().await?;
    }
}

impl<R: driver::Reader, W: driver::Writer> Handshake<R, W> {
    /// The beginning of one, of which the peer has sent `received` already.
    pub fn new(
        session: Session,
        (reader, writer): (R, W),
        received: Vec<u8>,
        buffers: Buffers,
    ) -> Self {
        let taken = received.len();
        let first = received.get(..taken.min(FIRST_BYTES)).unwrap_or_default().to_vec();
        let (session, early, out) = (Box::new(session), Vec::new(), Vec::new());
        Self { session, reader, writer, buffers, records: received, early, out, first, taken }
    }

    /// Works on what has come. This takes CPU time: a server's first one up to a millisecond.
    ///
    /// # Errors
    /// Why it is over. There may still be something to send, which tells the peer.
    pub fn step(&mut self) -> Result<(), HandshakeError> {
        let received = self.session.receive(&mut self.records, &mut self.early, &mut self.out);
        if received.is_err() && is_of_the_past(&self.first) {
            self.out = OUR_VERSIONS.to_vec();
        }
        received.map_err(|error| HandshakeError::of(error, &self.first))?;
        match self.session.is_handshaking() {
            true if self.session.is_closed() => Err(HandshakeError::Closed),
            true if self.taken > limits::TLS_HANDSHAKE_BYTES_MAX => {
                Err(HandshakeError::TooLong(limits::TLS_HANDSHAKE_BYTES_MAX))
            }
            _ => Ok(()),
        }
    }

    /// Sends what came of a step, if anything did.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send(&mut self) -> Result<(), HandshakeError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let (written, sent) = self.writer.write_all(std::mem::take(&mut self.out), 0).await;
        self.buffers.put(sent);
        written.map_err(HandshakeError::Io)
    }

    /// Waits for more of what the peer sends.
    ///
    /// # Errors
    /// When the connection ended or broke.
    pub async fn receive(self) -> Result<Self, HandshakeError> {
        let Self { reader, mut records, mut first, mut taken, .. } = self;
        if records.capacity() == 0 {
            records = self.buffers.take();
        }
        let Read { reader, buffer, result } = reader.read(records, limits::TLS_READ_BYTES).await;
        match result {
            Ok(0) => return Err(HandshakeError::Closed),
            Ok(count) => taken += count,
            Err(error) => return Err(HandshakeError::Io(error)),
        }
        let wanted = FIRST_BYTES.saturating_sub(first.len()).min(buffer.len());
        first.extend_from_slice(buffer.get(..wanted).unwrap_or_default());
        Ok(Self { reader, records: buffer, first, taken, ..self })
    }

    /// Whether both sides agree, and nothing has to be received any more.
    pub fn is_done(&self) -> bool {
        !self.session.is_handshaking()
    }

    /// What is spoken from then on.
    pub fn protocol(&self) -> Protocol {
        self.session.protocol()
    }

    /// Whether an earlier session was resumed.
    pub fn is_resumed(&self) -> bool {
        self.session.is_resumed()
    }

    /// The halves of the connection once it is done.
    pub fn finish(self) -> (Reader<R>, Writer<W>) {
        self.buffers.put(self.records);
        secured(*self.session, self.early, (self.reader, self.writer), self.buffers)
    }

    /// The halves as they were, after a step that failed.
    pub fn give_up(self) -> (R, W) {
        self.buffers.put(self.records);
        (self.reader, self.writer)
    }
}

/// Whether a peer began with the hello of a client that knows nothing newer than TLS 1.1.
fn is_of_the_past(first: &[u8]) -> bool {
    const RECORD: u8 = 22;
    const HELLO: u8 = 1;
    matches!(*first, [RECORD, 3, _, _, _, HELLO, _, _, _, 3, 0..=2, ..])
}

/// The alert for such a client: protocol_version (RFC 8446 section 6.2). It lacks much else of what
/// is needed today, and would be told of that first.
const OUR_VERSIONS: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
/// As many of a peer's first bytes are remembered.
const FIRST_BYTES: usize = 16;
