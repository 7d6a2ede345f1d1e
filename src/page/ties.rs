//! What ties the fetches of a page to its request, for whoever reads the logs of both sides.

#![expect(
    clippy::indexing_slicing,
    reason = "a table has a place for each octet, or for each hex digit"
)]

use crate::http::{self, Headers};
use crate::limits::TRACE_STATE_BYTES_MAX;
use crate::site;

use super::Request;

/// Header lines that go out with every fetch of one page.
#[derive(Default)]
pub(super) struct Ties {
    /// The id's line, then those of the trace.
    lines: Vec<u8>,
    id_end: usize,
}

impl Ties {
    /// The lines of a request, in `buffer`. `id` is the request's id as bytes.
    pub(super) fn new(
        request: &Request<'_>,
        id_field: Option<&str>,
        id: impl FnOnce(&mut Vec<u8>),
        buffer: Vec<u8>,
    ) -> Self {
        let mut lines = buffer;
        lines.clear();
        if let Some(field) = id_field {
            lines.extend_from_slice(field.as_bytes());
            lines.extend_from_slice(b": ");
            id(&mut lines);
            lines.extend_from_slice(b"\r\n");
        }
        let id_end = lines.len();
        if let Some(headers) = request.headers {
            push_trace(headers, request.bytes, &mut lines);
        }
        Self { lines, id_end }
    }

    /// Appends what goes with a fetch.
    pub(super) fn push(&self, which: site::Ties, headers: &mut Vec<u8>) {
        let (id, trace) = self.lines.split_at(self.id_end);
        if which.request_id {
            headers.extend_from_slice(id);
        }
        if which.trace {
            headers.extend_from_slice(trace);
        }
    }

    /// The buffer, to be used again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.lines
    }
}

/// The trace goes on as it came: nothing here records a span of its own that could be its parent
/// (W3C Trace Context section 3.3). What was meant for this connection alone does not go on.
fn push_trace(headers: &Headers, bytes: &[u8], lines: &mut Vec<u8>) {
    let Some(parent) = headers.get(bytes, PARENT) else { return };
    if !http::is_traceparent(parent) || is_hop_by_hop(headers, bytes, PARENT) {
        return;
    }
    // A value that came in a head holds nothing that could end its line.
    let _ = http::push_field(lines, "traceparent", parent);
    // Several fields are one list (section 3.3.1.1).
    let mut state: Vec<u8> = Vec::new();
    for (name, value) in headers.iter(bytes) {
        if name.eq_ignore_ascii_case(STATE) {
            let comma: &[u8] = if state.is_empty() { b"" } else { b"," };
            state.extend([comma, value].concat());
        }
    }
    let may_go_on = !state.is_empty() && state.len() <= TRACE_STATE_BYTES_MAX;
    if may_go_on && !is_hop_by_hop(headers, bytes, STATE) {
        let _ = http::push_field(lines, "tracestate", &state);
    }
}

const PARENT: &[u8] = b"traceparent";
const STATE: &[u8] = b"tracestate";

/// Whether a field is one of this connection alone (RFC 9110 section 7.6.1).
fn is_hop_by_hop(headers: &Headers, bytes: &[u8], name: &[u8]) -> bool {
    let fields = headers.iter(bytes).filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
    let mut options = fields.flat_map(|(_, value)| value.split(|&byte| byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
}

/// Appends an id of our own: what tells the server and the worker, and the request's number there.
pub(super) fn push_id(prefix: u32, number: u64, out: &mut Vec<u8>) {
    push_hex(u64::from(prefix), 8, out);
    out.push(b'-');
    push_hex(number, 1, out);
}

/// Appends a number in hex, with zeros in front where it has fewer digits than `width`.
fn push_hex(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 16];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if number == 0 && used >= width {
            break;
        }
        *digit = HEX[(number & 15) as usize];
        number >>= 4;
        used += 1;
    }
    out.extend_from_slice(digits.get(16 - used..).unwrap_or_default());
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_a_formatter_writes_them() {
        for (prefix, number) in [(0, 0), (1, 15), (u32::MAX, u64::MAX), (0xabc, 0x1000)] {
            let mut id = Vec::new();
            push_id(prefix, number, &mut id);
            assert_eq!(String::from_utf8(id).unwrap(), format!("{prefix:08x}-{number:x}"));
        }
    }
}
