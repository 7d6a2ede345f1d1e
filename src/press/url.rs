//! Templates of what is asked of an upstream: a path, a query, header fields. They are literal
//! text and `{{ expressions }}`, nothing else, so that it is known before anything runs what is
//! written by the site and what is data. Data never adds a segment, starts a query or ends a
//! header, whatever it holds.

use super::builder::{Builder, ExpressionFacts, Place};
use super::compiled::{ExpressionId, Press};
use super::escape::{is_dot_segment, plain_text, push_component, push_segments};
use super::scan;
use crate::config::{At, Problem, header_value_trouble};
use crate::error::{PageError, PageErrorKind};
use crate::limits::FETCH_TARGET_BYTES_MAX;
use minijinja::Value;
use minijinja::value::ValueKind;
use std::borrow::Cow;
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

/// A piece of a template.
#[derive(Clone, Debug)]
pub enum Piece {
    /// It is sent as it is written.
    Text(String),
    /// The value of an expression.
    Print(Print),
}

/// An expression whose value is printed.
#[derive(Clone, Debug)]
pub struct Print {
    pub(super) id: ExpressionId,
    /// It is the rest of the path the page was asked for: its slashes are slashes.
    pub(super) is_rest: bool,
    theirs: Theirs,
}

/// What of a visitor's request an expression takes: whose doing it is when its value is missing or
/// cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Theirs {
    Nothing,
    /// Something, beside other things.
    Some,
    /// All that it takes is of the request: where nothing is there, they have not sent it.
    All,
    /// It is a plain look-up: what is there is what they have sent.
    Lookup,
}

pub(super) type Compiled<T> = Result<(T, Vec<ExpressionFacts>), Vec<Problem>>;

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
            bound_bytes(out.len() - start, FETCH_TARGET_BYTES_MAX, "the target of a fetch")?;
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
            return Err(PageError::new(blame(of_request(&self.pieces)), message));
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
    /// expression is left out when that is none or undefined.
    ///
    /// # Errors
    /// When an expression fails, or gives what is no text.
    pub fn write(&self, press: &Press, root: &Value, out: &mut Vec<u8>) -> Result<(), PageError> {
        let most = (FETCH_TARGET_BYTES_MAX, "the target of a fetch");
        self.write_pairs(press, root, out, Some(b'?'), most)
    }

    /// Appends the pairs, what they begin with before the first. No more bytes than `most`, and
    /// what they are.
    pub(super) fn write_pairs(
        &self,
        press: &Press,
        root: &Value,
        out: &mut Vec<u8>,
        begins: Option<u8>,
        most: (usize, &str),
    ) -> Result<(), PageError> {
        let start = out.len();
        for (name, pieces) in &self.pairs {
            let Some(text) = whole_text(pieces, press, root)? else { continue };
            let between = if out.len() == start { begins } else { Some(b'&') };
            out.extend(between);
            out.extend_from_slice(name);
            out.push(b'=');
            push_component(&text, out);
            bound_bytes(out.len() - start, most.0, most.1)?;
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
            return Err(PageError::new(blame(of_request(&self.pieces)), message));
        }
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.trim().as_bytes());
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

impl Theirs {
    fn of(facts: &ExpressionFacts) -> Self {
        let mut tops = facts.uses.iter().map(|found| found.top());
        let is_theirs = |top: &str| REQUEST_NAMES.contains(&top);
        match tops.clone().all(is_theirs) {
            _ if !tops.any(is_theirs) => Self::Nothing,
            true if facts.lookup.is_some() => Self::Lookup,
            true => Self::All,
            false => Self::Some,
        }
    }
}

impl Print {
    /// Its value; undefined where it is made of nothing but what the visitor did not send, as
    /// `query.page|trim`.
    pub(super) fn value(&self, press: &Press, root: &Value) -> Result<Value, PageError> {
        match self.theirs {
            Theirs::All | Theirs::Lookup => press.evaluate_theirs(self.id, root),
            Theirs::Nothing | Theirs::Some => press.evaluate(self.id, root),
        }
    }

    pub(super) fn text(&self, press: &Press, root: &Value) -> Result<String, PageError> {
        let value = self.value(press, root)?;
        let text = plain_text(&value).ok_or_else(|| self.no_text(press, &value))?;
        Ok(text.into_owned())
    }

    pub(super) fn no_text(&self, press: &Press, value: &Value) -> PageError {
        let text = press.text(self.id);
        let place = press.place(self.id);
        if self.theirs >= Theirs::All && value.is_undefined() {
            let message = format!("the request has no `{text}`, which {place} needs");
            return PageError::new(PageErrorKind::BadRequest, message);
        }
        let found = match value.kind() {
            ValueKind::Undefined => "undefined".to_owned(),
            ValueKind::Number => "not a finite number".to_owned(),
            kind => format!("{}, not a text or a number", kind_name(kind)),
        };
        // A list or a file where a text was asked for is the visitor's, if it is theirs at all.
        let is_lookup = self.theirs == Theirs::Lookup;
        PageError::new(blame(is_lookup), format!("`{text}` is {found} (in {place})"))
    }
}

/// What pieces give as a whole: a value of any kind where they are one expression, else a text.
/// Nothing where that expression is undefined, as an `if` without an `else`.
pub(super) fn defined(
    pieces: &[Piece],
    press: &Press,
    root: &Value,
) -> Result<Option<Value>, PageError> {
    if let [Piece::Print(print)] = pieces {
        let value = print.value(press, root)?;
        return Ok(Some(value).filter(|value| !value.is_undefined()));
    }
    let mut whole = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => whole.push_str(text),
            Piece::Print(print) => whole.push_str(&print.text(press, root)?),
        }
    }
    Ok(Some(Value::from(whole)))
}

/// The text that pieces give as a whole; nothing where they are one expression, and that is none
/// or undefined.
fn whole_text(pieces: &[Piece], press: &Press, root: &Value) -> Result<Option<String>, PageError> {
    let value = defined(pieces, press, root)?.filter(|value| !value.is_none());
    let Some(value) = value else { return Ok(None) };
    match (plain_text(&value), pieces) {
        (None, [Piece::Print(print)]) => Err(print.no_text(press, &value)),
        (text, _) => Ok(text.map(Cow::into_owned)),
    }
}

/// Splits a template into text and compiled expressions, each with its place in the string.
pub(super) fn split(
    builder: &mut Builder,
    place: &Place<'_>,
) -> Compiled<Vec<(Piece, Range<usize>)>> {
    let mut pieces = Vec::new();
    let mut all_facts = Vec::new();
    let mut problems = Vec::new();
    let text = place.text;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("{{")) {
        let open = at + found;
        push_text(text, at..open, &mut pieces);
        let Some(close) = scan::print_end(text, open + 2) else {
            problems.push(place.problem(open..open + 2, "this `{{` has no `}}`"));
            return Err(problems);
        };
        match builder.expression(place, open + 2..close) {
            Ok(facts) => {
                let print = Print { id: facts.id, is_rest: false, theirs: Theirs::of(&facts) };
                pieces.push((Piece::Print(print), open..close + 2));
                all_facts.push(facts);
            }
            Err(wrong) => problems.extend(wrong),
        }
        at = close + 2;
    }
    push_text(text, at..text.len(), &mut pieces);
    for (piece, range) in &pieces {
        let Piece::Text(literal) = piece else { continue };
        if let Some(block) = literal.find("{%").or_else(|| literal.find("{#")) {
            let start = range.start + block;
            let message = "only `{{ expressions }}` can be here, no blocks and no comments";
            let hint = "compute the value under [page.let] and print it here";
            problems.push(place.problem(start..start + 2, message).hint(hint));
        }
    }
    if problems.is_empty() { Ok((pieces, all_facts)) } else { Err(problems) }
}

/// Marks those that are the page's `{rest*}` parameter of this name, and nothing else.
pub(super) fn mark_rest(
    pieces: &mut [(Piece, Range<usize>)],
    facts: &[ExpressionFacts],
    rest: Option<&str>,
) {
    for (piece, _) in pieces {
        if let Piece::Print(print) = piece {
            let lookup = facts.iter().find(|facts| facts.id == print.id);
            let lookup = lookup.and_then(|facts| facts.lookup.as_deref());
            print.is_rest = matches!((lookup, rest),
                (Some([path, name]), Some(rest)) if &**path == "path" && &**name == rest);
        }
    }
}

fn push_text(text: &str, range: Range<usize>, pieces: &mut Vec<(Piece, Range<usize>)>) {
    match text.get(range.clone()) {
        Some(literal) if !literal.is_empty() => {
            pieces.push((Piece::Text(literal.to_owned()), range));
        }
        _ => {}
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
            let hint = match character {
                '?' => "use query = { name = \"value\" }",
                '#' => "a fragment is not sent to a server",
                '%' if !is_triplet(literal.get(at..)) => "write a percent sign as %25",
                _ if is_path_character(character) => continue,
                _ => "write it percent-encoded",
            };
            return wrong(
                span,
                format!("`{}` cannot be in a path", character.escape_default()),
                hint,
            );
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

pub(super) fn is_path_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "/%-._~!$&'()*+,;=:@".contains(character)
}

pub(super) fn is_triplet(text: Option<&str>) -> bool {
    let digits = text.and_then(|text| text.as_bytes().get(1..3));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// What a kind of value is called in messages.
pub(crate) fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "none",
        ValueKind::Bool => "true or false",
        ValueKind::Number => "a number",
        ValueKind::String => "a text",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "a map",
        _ => "something else",
    }
}

pub(super) fn bound_bytes(length: usize, max: usize, what: &str) -> Result<(), PageError> {
    if length <= max {
        return Ok(());
    }
    Err(PageError::new(PageErrorKind::BadRequest, format!("{what} is over {max} bytes")))
}

/// Whether any of these takes something of the visitor's request.
pub(super) fn of_request(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Text(_) => false,
        Piece::Print(print) => print.theirs >= Theirs::Some,
    })
}

pub(super) fn blame(from_request: bool) -> PageErrorKind {
    if from_request { PageErrorKind::BadRequest } else { PageErrorKind::Internal }
}

/// The names by which a visitor's request is seen.
pub(crate) const REQUEST_NAMES: &[&str] =
    &["path", "query", "form", "form_list", "headers", "cookies", "request", "session"];
