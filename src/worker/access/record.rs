//! One access record, as JSON or as other servers write it: bytes into a buffer, without the
//! machinery that formats, and no longer than `ACCESS_RECORD_BYTES_MAX`.

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::http::Version;
use crate::limits::{
    ACCESS_FIELD_BYTES_MAX, ACCESS_NAME_BYTES_MAX, ACCESS_RECORD_BYTES_MAX, ACCESS_TARGET_BYTES_MAX,
};
use crate::page::{Noted, Notes};
use crate::site::{ALL_PPM, AccessFormat};
use crate::worker::service::Request;

use super::clock::Clock;
use super::escape::{push_combined, push_json};
use super::{Answered, Asked};

/// All that is known of a request that has ended.
pub(super) struct Record<'a> {
    pub(super) asked: Asked<'a>,
    pub(super) answered: &'a Answered<'a>,
    /// The visitor's address, as far as it is known.
    pub(super) client: IpAddr,
    /// The request's id; empty where it has none.
    pub(super) id: &'a [u8],
    /// When it ended, and how long that took.
    pub(super) at: Instant,
    pub(super) took: Duration,
    pub(super) worker: usize,
    /// Whether queries are told.
    pub(super) query: bool,
    /// Of how many of a million such requests there are records.
    pub(super) sample_ppm: u32,
}

impl Record<'_> {
    /// Appends the record as a line.
    pub(super) fn write(&self, format: AccessFormat, clock: &mut Clock, out: &mut Vec<u8>) {
        let start = out.len();
        match format {
            AccessFormat::Json => self.write_json(clock, out),
            AccessFormat::Combined | AccessFormat::Common => {
                self.write_common(format, clock, out);
            }
        }
        out.push(b'\n');
        debug_assert!(out.len() - start <= ACCESS_RECORD_BYTES_MAX);
    }

    fn write_json(&self, clock: &mut Clock, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        clock.push_iso(self.at, out);
        out.extend_from_slice(b"\",");
        if !self.id.is_empty() {
            push_text(out, "id", self.id, ACCESS_FIELD_BYTES_MAX);
        }
        out.extend_from_slice(b"\"client\":\"");
        push_address(out, self.client);
        out.extend_from_slice(b"\",");
        match self.asked {
            Asked::Request(request, _) => {
                push_text(out, "method", request.span(request.head.method_span), NAME);
                push_text(out, "target", self.target(request), ACCESS_TARGET_BYTES_MAX);
            }
            // What is no request has no parts.
            Asked::Line(line, ..) => push_text(out, "line", self.shown(line), TARGET),
        }
        if let Some(protocol) = self.asked.protocol() {
            push_text(out, "protocol", protocol, NAME);
        }
        out.extend_from_slice(b"\"tls\":");
        out.extend_from_slice(if self.asked.is_secure() { b"true" } else { b"false" });
        out.push(b',');
        if let Asked::Request(request, _) = self.asked {
            let host = request.head.host.map_or(&b""[..], |host| request.span(host));
            push_text(out, "host", host, FIELD);
        }
        push_number(out, "status", u64::from(self.status()));
        if !self.answered.taken && self.answered.status != 0 {
            push_number(out, "made", u64::from(self.answered.status));
        }
        push_number(out, "bytes", self.bytes());
        push_number(out, "us", u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX));
        if let Some(notes) = self.answered.notes {
            push_notes(out, notes);
        }
        if !self.answered.reason.is_empty() {
            push_text(out, "reason", self.answered.reason.as_bytes(), FIELD);
        }
        if let Some(referer) = self.field(b"referer") {
            push_text(out, "referer", self.shown(referer), FIELD);
        }
        if let Some(agent) = self.field(b"user-agent") {
            push_text(out, "user_agent", agent, FIELD);
        }
        if self.sample_ppm < ALL_PPM {
            out.extend_from_slice(b"\"sample\":0.");
            let mut digits = itoa::Buffer::new();
            // Seven digits, of which the first is another's.
            let digits = digits.format(self.sample_ppm + ALL_PPM).get(1..).unwrap_or_default();
            out.extend_from_slice(digits.as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(b"\"worker\":");
        push_integer(out, self.worker as u64);
        out.push(b'}');
    }

    fn write_common(&self, format: AccessFormat, clock: &mut Clock, out: &mut Vec<u8>) {
        push_address(out, self.client);
        out.extend_from_slice(b" - - [");
        clock.push_common(self.at, out);
        out.extend_from_slice(b"] \"");
        match self.asked {
            Asked::Request(request, _) => {
                push_combined(out, request.span(request.head.method_span), NAME);
                out.push(b' ');
                push_combined(out, self.target(request), TARGET);
                out.push(b' ');
                // nginx writes it with a minor version, and so it is expected.
                out.extend_from_slice(match self.asked.protocol() {
                    Some(HTTP2) | None => b"HTTP/2.0",
                    Some(protocol) => protocol,
                });
            }
            Asked::Line([], ..) => out.push(b'-'),
            Asked::Line(line, ..) => push_combined(out, self.shown(line), TARGET),
        }
        out.extend_from_slice(b"\" ");
        push_integer(out, u64::from(self.status()));
        out.push(b' ');
        push_integer(out, self.bytes());
        if format == AccessFormat::Common {
            return;
        }
        for name in [&b"referer"[..], b"user-agent"] {
            out.extend_from_slice(b" \"");
            match self.field(name).filter(|value| !value.is_empty()) {
                Some(value) if name == b"referer" => push_combined(out, self.shown(value), FIELD),
                Some(value) => push_combined(out, value, FIELD),
                None => out.push(b'-'),
            }
            out.push(b'"');
        }
    }

    /// Of who has not taken the answer it is told as nginx does.
    fn status(&self) -> u16 {
        if self.answered.taken { self.answered.status } else { CLOSED }
    }

    fn bytes(&self) -> u64 {
        if self.answered.taken { self.answered.bytes } else { 0 }
    }

    fn target<'r>(&self, request: &Request<'r>) -> &'r [u8] {
        self.shown(request.span(request.head.target))
    }

    /// A target, a referer or a line, without its query where queries are not told.
    fn shown<'r>(&self, text: &'r [u8]) -> &'r [u8] {
        match memchr::memchr(b'?', text).filter(|_| !self.query) {
            Some(query) => text.get(..query).unwrap_or_default(),
            None => text,
        }
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        let Asked::Request(request, _) = &self.asked else { return None };
        request.head.headers.get(request.bytes, name)
    }
}

impl Asked<'_> {
    fn protocol(&self) -> Option<&'static [u8]> {
        match self {
            Asked::Request(_, true) | Asked::Line(_, _, _, true) => Some(HTTP2),
            Asked::Request(request, false) => Some(match request.head.version {
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 => b"HTTP/1.1",
            }),
            Asked::Line(..) => None,
        }
    }

    fn is_secure(&self) -> bool {
        match self {
            Asked::Request(request, _) => request.secure,
            Asked::Line(_, _, secure, _) => *secure,
        }
    }
}

fn push_notes(out: &mut Vec<u8>, notes: &Notes) {
    let Some(names) = notes.names() else { return };
    push_text(out, "page", names.pattern.as_bytes(), FIELD);
    if let Some(us) = notes.render_us() {
        push_number(out, "render_us", u64::from(us));
    }
    out.extend_from_slice(b"\"fetches\":[");
    let mut before: &[u8] = b"{";
    let left_out = notes.fetches(|noted| {
        out.extend_from_slice(before);
        before = b",{";
        let part = (noted.part > 0).then(|| notes.names_of(noted.part)).flatten();
        if let Some(part) = &part {
            push_text(out, "fragment", part.pattern.as_bytes(), FIELD);
        }
        let names = part.as_ref().unwrap_or(&names);
        if let Some(node) = names.nodes.get(usize::from(noted.node)) {
            push_text(out, "name", node.name.as_bytes(), ACCESS_NAME_BYTES_MAX);
            push_text(out, "upstream", node.upstream.as_bytes(), ACCESS_NAME_BYTES_MAX);
        }
        push_fetch(out, noted);
    });
    out.extend_from_slice(b"],");
    if left_out > 0 {
        push_number(out, "more_fetches", u64::from(left_out));
    }
}

fn push_fetch(out: &mut Vec<u8>, noted: &Noted) {
    if let Some(item) = noted.item {
        push_number(out, "item", u64::from(item));
    }
    if let Some(status) = noted.status {
        push_number(out, "status", u64::from(status));
    }
    if !noted.how.is_empty() {
        push_text(out, "how", noted.how.as_bytes(), NAME);
    }
    if noted.failed {
        out.extend_from_slice(b"\"failed\":true,");
    }
    out.extend_from_slice(b"\"us\":");
    push_integer(out, u64::from(noted.us));
    out.push(b'}');
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_text(out: &mut Vec<u8>, name: &str, value: &[u8], room: usize) {
    push_name(out, name);
    out.push(b'"');
    push_json(out, value, room);
    out.extend_from_slice(b"\",");
}

fn push_number(out: &mut Vec<u8>, name: &str, value: u64) {
    push_name(out, name);
    push_integer(out, value);
    out.push(b',');
}

fn push_integer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut before: &[u8] = b"";
            for octet in address.octets() {
                out.extend_from_slice(before);
                push_integer(out, u64::from(octet));
                before = b".";
            }
        }
        // Which zeros are left out (RFC 5952) is for the standard library to know. Nothing fails.
        IpAddr::V6(address) => _ = write!(out, "{address}"),
    }
}

/// What nginx writes of a request whose visitor has left before the answer.
const CLOSED: u16 = 499;
const HTTP2: &[u8] = b"HTTP/2";
const NAME: usize = ACCESS_NAME_BYTES_MAX;
const FIELD: usize = ACCESS_FIELD_BYTES_MAX;
const TARGET: usize = ACCESS_TARGET_BYTES_MAX;
