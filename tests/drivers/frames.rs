//! Frames of HTTP/2, written one by one, as no client library would (RFC 9113 section 4).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::visitor::{PATIENCE, is_timeout};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection to a server, after the preface.
pub(crate) struct Frames {
    stream: TcpStream,
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frames {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::with_settings(address, &[])
    }

    /// A connection on which nothing has been said.
    pub(crate) fn without_preface(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream }
    }

    /// A connection that begins with these settings.
    pub(crate) fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self::without_preface(address);
        frames.stream.write_all(PREFACE).expect("send");
        let payload = settings.iter().flat_map(|(name, value)| {
            name.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect::<Vec<u8>>()
        });
        frames.send(&frame(SETTINGS, 0, 0, &payload.collect::<Vec<u8>>()));
        frames
    }

    /// Has the kernel keep little of what is not read.
    pub(crate) fn hold_little(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_recv_buffer_size(4096).expect("a smaller buffer");
    }

    /// Sends bytes. That the server hangs up meanwhile is its right.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame; none at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.read(&mut payload)?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], id, payload })
    }

    fn read(&mut self, into: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(into) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => {
                let what = if is_timeout(&error) { "nothing more comes" } else { "broken" };
                panic!("{what}: {error}")
            }
        }
    }

    /// Reads until a frame of this kind comes on this stream.
    pub(crate) fn find(&mut self, kind: u8, id: u32) -> Frame {
        loop {
            let frame = self.next().expect("more frames");
            assert!(frame.kind != GOAWAY || kind == GOAWAY, "the server has gone: {frame:?}");
            if (frame.kind, frame.id) == (kind, id) {
                return frame;
            }
        }
    }

    /// The code of the reset of a stream.
    pub(crate) fn reset_of(&mut self, id: u32) -> u32 {
        code(&self.find(RST_STREAM, id).payload)
    }

    /// Reads until the server says that it ends the connection, and has; why it does.
    pub(crate) fn farewell(&mut self) -> u32 {
        let goaway = self.find(GOAWAY, 0);
        let reason = code(&goaway.payload[4..]);
        while let Some(frame) = self.next() {
            assert_ne!(frame.kind, HEADERS, "an answer after the end");
        }
        reason
    }
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]])
}

pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

/// A GET, whole.
pub(crate) fn request(id: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, id, &block("GET", path, more))
}

pub(crate) fn reset(id: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes())
}

/// The fields of a request, without compression (RFC 7541 section 6.2.2).
pub(crate) fn block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)];
    let mut block = Vec::new();
    for (name, value) in own.iter().chain(more) {
        block.push(0);
        push_string(&mut block, name);
        push_string(&mut block, value);
    }
    block
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    match text.len().checked_sub(127) {
        None => out.push(text.len() as u8),
        Some(mut rest) => {
            out.push(127);
            while rest >= 128 {
                out.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            out.push(rest as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
}
