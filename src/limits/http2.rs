//! Bounds of HTTP/2 connections.

use std::time::Duration;

use super::{DOWNSTREAM_READ_BYTES, STATIC_PIECE_BYTES, WRITE_PIECE_BYTES};

/// Requests that one HTTP/2 connection may have open at once (RFC 9113 section 5.1.2). Over it:
/// REFUSED_STREAM.
pub const HTTP2_STREAMS_MAX: u32 = 100;
/// What each field of a header list counts beside its name and value, bytes (RFC 9113 section
/// 6.5.2).
pub const HTTP2_FIELD_BYTES: usize = 32;
/// Bytes of one request body that may come before we have read any of them.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same of all request bodies of one connection.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// The payload of a frame that comes in, bytes: as little as may be said (RFC 9113 section 6.5.2).
pub const HTTP2_FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Requests that a client may give up before we have looked at them, at once. Over it: GOAWAY.
pub const HTTP2_RESETS_UNSEEN_MAX: usize = 20;
/// Requests that a client may give up, beyond those that it lets us answer: each answer gives one
/// back, up to so many. Over it: GOAWAY. Leaving a page gives up all that is open.
pub const HTTP2_RESETS_MAX: u32 = 2 * HTTP2_STREAMS_MAX;
/// Streams that we may have to reset because they break the protocol, in the life of a connection.
/// Over it: GOAWAY.
pub const HTTP2_ERRORS_MAX: usize = 128;
/// Streams that we have reset and of which frames may still be on their way, at once.
pub const HTTP2_RESETS_KEPT_MAX: usize = 50;
/// How long that is so.
pub const HTTP2_RESET_KEPT_TIME: Duration = Duration::from_secs(1);
/// Room of a read on an HTTP/2 connection that sends a lot, bytes; others have
/// `DOWNSTREAM_READ_BYTES`.
pub const HTTP2_READ_BYTES_MAX: usize = 16 * 1024;
/// Reads on an HTTP/2 connection before others have their turn.
pub const HTTP2_READS_A_TURN: usize = 16;
/// Frames that wait to go out in one write, bytes. Beyond it bodies wait where they were made.
pub const HTTP2_WRITE_BYTES_MAX: usize = WRITE_PIECE_BYTES;
/// Bodies of one connection that are made and not sent yet, bytes. Over it no more is made for it
/// until some of that has been sent, or its time is over; but beside one there may be another.
pub const HTTP2_UNSENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Files that one connection may have open at once. Over it requests for files wait.
pub const HTTP2_FILES_MAX: usize = 8;
/// How long an HTTP/2 connection without requests may take to agree that it ends (GOAWAY and PING,
/// RFC 9113 section 6.8). Over it: closed.
pub const HTTP2_PARTING_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(DOWNSTREAM_READ_BYTES <= HTTP2_READ_BYTES_MAX);
const _: () = assert!(HTTP2_STREAM_WINDOW_BYTES <= HTTP2_CONNECTION_WINDOW_BYTES);
const _: () = assert!(HTTP2_STREAMS_MAX <= HTTP2_RESETS_MAX);
const _: () = assert!(HTTP2_FILES_MAX * STATIC_PIECE_BYTES < HTTP2_UNSENT_BYTES_MAX);
