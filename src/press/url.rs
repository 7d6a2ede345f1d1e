//! Templates of what is asked of an upstream: a path, a query, header fields. Data never adds a
//! segment, starts a query or ends a header, whatever it holds.

use super::builder::{Builder, Place};
use super::compiled::Press;
use super::escape::{is_dot_segment, plain_text, push_component, push_segments};
use super::piece::{
    Compiled, Piece, defined, fault, item_text, items, mark_rest, split, whole_text,
};
use crate::config::{At, Problem, header_value_trouble};
use crate::error::{PageError, PageErrorKind};
use crate::limits::FETCH_TARGET_BYTES_MAX;
use minijinja::Value;
use std::ops::Range;

/// The path of a fetch.
#[derive(Clone, Debug)]
pub struct PathTemplate {
    pieces: Vec<Piece>,
    text: String,
}

/// The query of a fetch.
#[derive(Clone, Debug, Default)]
pub struct QueryTemplate {
    pairs: Vec<(Vec<u8>, Vec<Piece>)>,
}

/// A header field of a fetch.
#[derive(Clone, Debug)]
pub struct FieldTemplate {
    name: String,
    pieces: Vec<Piece>,
}

impl PathTemplate {
    /// Compiles the template of a path. `rest` is the name of the page's `{rest*}` parameter.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(builder: &mut Builder, place: &Place<'_>, rest: Option<&str>) -> Compiled<Self> {
        let (mut pieces, facts) = split(builder, place)?;
        check_literals(place, &pieces)?;
        mark_rest(&mut pieces, &facts, rest);
        let pieces = pieces.into_iter().map(|(piece, _)| piece).collect();
        Ok((Self { pieces, text: place.text.to_owned() }, facts))
    }

    /// Appends the path.
    ///
    /// # Errors
    /// When an expression fails, or gives what cannot be in a path: nothing where a segment must
    /// be, or a `.` or `..` segment.
    pub fn write(&self, press: &Press, root: &Value, out: &mut Vec<u8>) -> Result<(), PageError> {
        let start = out.len();
        let mut slash_last = false;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text.as_bytes());
                    slash_last = text.ends_with('/');
                }
                Piece::Print(print) => {
                    let value = print.value(press, root)?;
                    let text = plain_text(&value).ok_or_else(|| print.no_text(press, &value))?;
                    if print.is_rest {
                        push_segments(&text, out);
                    } else {
                        push_component(&text, out);
                    }
                    slash_last = print.is_rest && text.ends_with('/') && text.len() > 1;
                }
            }
            bound_target(out.len() - start)?;
        }
        self.check_segments(out.get(start..).unwrap_or_default(), slash_last)
    }

    fn check_segments(&self, path: &[u8], slash_last: bool) -> Result<(), PageError> {
        let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            let what = if is_dot_segment(segment) {
                "a `.` or `..` segment"
            } else if segment.is_empty() && !(is_last && slash_last) {
                "an empty segment"
            } else {
                continue;
            };
            let message = format!("{what} where the path `{}` has a value", self.text);
            return Err(fault(&self.pieces, message));
        }
        Ok(())
    }
}

impl QueryTemplate {
    /// Compiles the templates of a query.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn compile(
        builder: &mut Builder,
        file: &crate::config::SourceFile,
        pairs: &[(At<String>, At<String>)],
    ) -> Compiled<Self> {
        let mut query = Self::default();
        let mut all_facts = Vec::new();
        let mut problems = Vec::new();
        for (name, value) in pairs {
            match split(builder, &Place::new(file, value)) {
                Ok((pieces, facts)) => {
                    let mut encoded = Vec::new();
                    push_component(&name.value, &mut encoded);
                    query
                        .pairs
                        .push((encoded, pieces.into_iter().map(|(piece, _)| piece).collect()));
                    all_facts.extend(facts);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() { Ok((query, all_facts)) } else { Err(problems) }
    }

    /// Appends the query with its `?`; nothing when no pair is left. A pair whose value is one
    /// expression is left out when that is none or undefined, and is there for each item of a list.
    ///
    /// # Errors
    /// When an expression fails, or gives what is no text.
    pub fn write(&self, press: &Press, root: &Value, out: &mut Vec<u8>) -> Result<(), PageError> {
        self.write_pairs(press, root, out, Some(b'?'), bound_target)
    }

    /// Appends the pairs, what they begin with before the first; no more bytes than `bound` lets.
    pub(super) fn write_pairs(
        &self,
        press: &Press,
        root: &Value,
        out: &mut Vec<u8>,
        begins: Option<u8>,
        bound: fn(usize) -> Result<(), PageError>,
    ) -> Result<(), PageError> {
        let start = out.len();
        for (name, pieces) in &self.pairs {
            let Some(value) = defined(pieces, press, root)? else { continue };
            for item in items(value) {
                let between = if out.len() == start { begins } else { Some(b'&') };
                out.extend(between);
                out.extend_from_slice(name);
                out.push(b'=');
                push_component(&item_text(&item, pieces, press)?, out);
                bound(out.len() - start)?;
            }
        }
        Ok(())
    }
}

impl FieldTemplate {
    /// Compiles the template of a header field whose name was found to be fine.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(builder: &mut Builder, name: &str, place: &Place<'_>) -> Compiled<Self> {
        let (pieces, facts) = split(builder, place)?;
        for (piece, range) in &pieces {
            if let Piece::Text(text) = piece
                && header_value_trouble(text.as_bytes())
            {
                let message = format!("the value of header `{name}` holds a control character");
                return Err(vec![place.problem(range.clone(), message)]);
            }
        }
        let pieces = pieces.into_iter().map(|(piece, _)| piece).collect();
        Ok((Self { name: name.to_owned(), pieces }, facts))
    }

    /// Appends the field with its CRLF; nothing in the cases in which a query leaves a pair out.
    ///
    /// # Errors
    /// When an expression fails, or gives what is no text or holds a control character.
    pub fn write(&self, press: &Press, root: &Value, out: &mut Vec<u8>) -> Result<(), PageError> {
        match whole_text(&self.pieces, press, root)? {
            Some(text) => self.push(&text, out),
            None => Ok(()),
        }
    }

    /// Appends the field with its CRLF for a visitor; nothing where its value is empty, none or
    /// undefined.
    ///
    /// # Errors
    /// Those of [`FieldTemplate::write`].
    pub fn say(&self, press: &Press, root: &Value, out: &mut Vec<u8>) -> Result<(), PageError> {
        match whole_text(&self.pieces, press, root)? {
            Some(text) if !text.trim().is_empty() => self.push(&text, out),
            _ => Ok(()),
        }
    }

    fn push(&self, value: &str, out: &mut Vec<u8>) -> Result<(), PageError> {
        if header_value_trouble(value.as_bytes()) {
            let message = format!("a control character in the value of header `{}`", self.name);
            return Err(fault(&self.pieces, message));
        }
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.trim().as_bytes());
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// The literal text of a path is sent as it is written, so it must be a path (RFC 3986 section
/// 3.3).
fn check_literals(place: &Place<'_>, pieces: &[(Piece, Range<usize>)]) -> Result<(), Vec<Problem>> {
    let wrong = |range: Range<usize>, message: String, hint: &str| {
        Err(vec![place.problem(range, message).hint(hint)])
    };
    if !place.text.starts_with('/') {
        let hint = "write it below the upstream's URL: \"/users\"";
        return wrong(0..place.text.len(), "a path must begin with `/`".to_owned(), hint);
    }
    for (piece, range) in pieces {
        let Piece::Text(literal) = piece else { continue };
        for (at, character) in literal.char_indices() {
            let span = range.start + at..range.start + at + character.len_utf8();
            let brace;
            let hint = match character {
                '?' => "use query = { name = \"value\" }",
                '#' => "a fragment is not sent to a server",
                '%' if !is_triplet(literal.get(at..)) => "write a percent sign as %25",
                _ if is_path_character(character) => continue,
                '{' => {
                    brace = brace_hint(literal.get(at + 1..).unwrap_or_default());
                    &brace
                }
                _ => "write it percent-encoded",
            };
            let message = format!("`{}` cannot be in a path", character.escape_default());
            return wrong(span, message, hint);
        }
    }
    // What is printed stands as one letter for this check: it is looked at when it is there.
    let shape: String = pieces
        .iter()
        .map(|(piece, _)| match piece {
            Piece::Text(literal) => literal.as_str(),
            Piece::Print(_) => "x",
        })
        .collect();
    let segments: Vec<&str> = shape.split('/').skip(1).collect();
    let empty = segments.iter().rev().skip(1).any(|segment| segment.is_empty());
    if empty || segments.iter().any(|segment| is_dot_segment(segment.as_bytes())) {
        let message = "a path may not have an empty, `.` or `..` segment".to_owned();
        return wrong(0..place.text.len(), message, "write the path it stands for");
    }
    Ok(())
}

/// What to write for a brace, which may begin a parameter as paths of pages have them: this comes
/// after it.
fn brace_hint(after: &str) -> String {
    let name = after.split_once('}').map_or("", |(name, _)| name.trim_end_matches('*'));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match !name.is_empty() && name.chars().all(is_name) {
        true => format!("for a parameter of the page's path write {{{{ path.{name} }}}}"),
        false => "write it percent-encoded".to_owned(),
    }
}

pub(super) fn is_path_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "/%-._~!$&'()*+,;=:@".contains(character)
}

pub(super) fn is_triplet(text: Option<&str>) -> bool {
    let digits = text.and_then(|text| text.as_bytes().get(1..3));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn bound_target(length: usize) -> Result<(), PageError> {
    bound_bytes(length, FETCH_TARGET_BYTES_MAX, "the target of a fetch")
}

pub(super) fn bound_bytes(length: usize, max: usize, what: &str) -> Result<(), PageError> {
    if length <= max {
        return Ok(());
    }
    Err(PageError::new(PageErrorKind::BadRequest, format!("{what} is over {max} bytes")))
}
