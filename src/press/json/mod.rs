//! Upstream JSON (RFC 8259). Of a name that is there twice the last value counts. Numbers beyond
//! 64 bits become floating point.
//!
//! A text is read into a [`Doc`]: nodes over its bytes, of which only what a template looks at
//! becomes a value. Where that cannot be had, serde_json reads it into a value, and tells what is
//! wrong with what is not JSON.

mod doc;
mod name;
mod reader;
mod tape;

pub use doc::Doc;
pub(crate) use doc::{Children, Shown, View};
pub(crate) use name::Name;
pub(crate) use tape::Kind;

use crate::limits::JSON_DEPTH_MAX;
use minijinja::Value;
use std::fmt;
use std::sync::Arc;

/// What upstreams said, of one fetch.
#[derive(Debug)]
pub enum Data {
    /// JSON, as it came.
    Doc(Doc),
    /// A value.
    Value(Value),
    /// What each item of an `each` got.
    List(Vec<Data>),
    /// What others have too, as the pages that a kept answer is for.
    Shared(Arc<Data>),
}

/// Why bytes are not JSON, or not JSON that is read, and where.
#[derive(Debug)]
pub struct JsonError {
    line: usize,
    column: usize,
    message: String,
    is_too_deep: bool,
}

/// Reads one JSON text that is all of `bytes`.
///
/// # Errors
/// When it is not JSON, not UTF-8, nested deeper than
/// [`JSON_DEPTH_MAX`](crate::limits::JSON_DEPTH_MAX), or followed by something else.
pub fn parse(bytes: &[u8]) -> Result<Data, JsonError> {
    if let Some(doc) = std::str::from_utf8(bytes).ok().and_then(Doc::read) {
        return Ok(Data::Doc(doc));
    }
    serde_json::from_slice(bytes).map(Data::Value).map_err(|error| {
        let mut message = error.to_string();
        // The position is told once, by us, also where serde_json has none.
        if let Some(at) = message.rfind(" at line ") {
            message.truncate(at);
        }
        let is_too_deep = message == SERDE_TOO_DEEP;
        if is_too_deep {
            message = format!("nested deeper than {JSON_DEPTH_MAX}");
        }
        JsonError { line: error.line(), column: error.column(), message, is_too_deep }
    })
}

impl JsonError {
    /// Whether it may well be JSON, and is nested deeper than what is read.
    pub fn is_too_deep(&self) -> bool {
        self.is_too_deep
    }
}

impl Data {
    /// Calls `visit` with all texts that this came from, so that no other data has the same ones;
    /// false when it does not come from texts alone.
    pub(crate) fn visit_texts<'a>(&'a self, visit: &mut impl FnMut(&'a [u8])) -> bool {
        match self {
            Data::Doc(doc) => visit(doc.root().part()),
            // No JSON text is empty, and none is a bracket by itself.
            Data::Value(value) if value.is_none() => visit(b""),
            Data::Value(_) => return false,
            Data::List(items) => {
                visit(b"[");
                return items.iter().all(|item| item.visit_texts(visit));
            }
            Data::Shared(data) => return data.visit_texts(visit),
        }
        true
    }

    /// This as a value like any other. Costs what it is long, but for a value.
    pub fn value(&self) -> Value {
        match self {
            Data::Doc(doc) => doc.root().value(),
            Data::Value(value) => value.clone(),
            Data::List(items) => items.iter().map(Data::value).collect(),
            Data::Shared(data) => data.value(),
        }
    }

    /// How long the texts are that [`Data::value`] reads, bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Data::Doc(doc) => doc.root().part().len(),
            Data::Value(_) => 0,
            Data::List(items) => items.iter().map(Data::text_bytes).sum(),
            Data::Shared(data) => data.text_bytes(),
        }
    }

    /// This, or what is shared.
    #[inline]
    pub(crate) fn plain(&self) -> &Data {
        let mut data = self;
        while let Data::Shared(shared) = data {
            data = shared;
        }
        data
    }

    /// This, to be kept for a while: it takes no more room than it needs.
    #[must_use]
    pub(crate) fn kept(mut self) -> Self {
        if let Data::Doc(doc) = &mut self {
            doc.shrink();
        }
        self
    }

    /// What it takes of memory, bytes, if it came from a text of so many. Of a value that is not
    /// known, and taken for the most that a text can become.
    pub(crate) fn memory(&self, text_bytes: usize) -> usize {
        match self {
            Data::Doc(doc) => doc.memory(),
            Data::Value(_) => text_bytes.saturating_mul(VALUE_BYTES_A_TEXT_BYTE),
            Data::List(items) => items.iter().map(|item| item.memory(text_bytes)).sum(),
            Data::Shared(data) => data.memory(text_bytes),
        }
    }
}

impl From<Value> for Data {
    fn from(value: Value) -> Self {
        Data::Value(value)
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {}, column {}", self.message, self.line, self.column)
    }
}

impl std::error::Error for JsonError {}

/// What serde_json says of a text that is nested deeper than it reads.
const SERDE_TOO_DEEP: &str = "recursion limit exceeded";

/// `[{},{}]`: three bytes of text, and a map each.
const VALUE_BYTES_A_TEXT_BYTE: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_value() {
        let value =
            parse(b"[18446744073709551615, -9223372036854775808, 1.5, 1e3]").unwrap().value();
        let shown = "[18446744073709551615, -9223372036854775808, 1.5, 1000.0]";
        assert_eq!(value.to_string(), shown);
        assert!(parse(b"123456789012345678901234567890").unwrap().value().is_number());
    }

    #[test]
    fn the_last_of_a_doubled_name_counts_and_order_is_kept() {
        let value = parse(br#"{"z":1,"a":2,"z":3}"#).unwrap().value();
        assert_eq!(value.to_string(), r#"{"z": 3, "a": 2}"#.replace('"', "'"));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let wrong: &[&[u8]] =
            &[b"", b"{} x", b"[1,]", b"\"\xff\"", b"nul", b"\"\\ud800\"", b"{1:2}", b"1e999"];
        for bytes in wrong {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        let error = parse(b"{\n \"a\": x}").unwrap_err().to_string();
        assert_eq!(error, "expected value at line 2, column 7");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        let error = parse(nested(JSON_DEPTH_MAX + 1).as_bytes()).unwrap_err();
        assert!(error.is_too_deep());
        assert_eq!(error.to_string(), "nested deeper than 127 at line 1, column 128");
        // An escape, of which the short way makes nothing, changes none of it.
        let with_text = |depth: usize| nested(depth).replace("[]", r#"["\u00e9"]"#);
        assert!(parse(with_text(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert!(parse(with_text(JSON_DEPTH_MAX + 1).as_bytes()).unwrap_err().is_too_deep());
        assert!(!parse(b"[").unwrap_err().is_too_deep());
    }
}
