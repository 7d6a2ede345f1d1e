//! The pieces of a template of the site file: literal text and `{{ expressions }}`, nothing else,
//! so that it is known before anything runs what is written by the site and what is data; what
//! they give, and whose doing it is where that cannot be used.

use super::builder::{Builder, ExpressionFacts, Place};
use super::compiled::{ExpressionId, Press};
use super::escape::plain_text;
use super::scan;
use crate::config::Problem;
use crate::error::{PageError, PageErrorKind};
use minijinja::Value;
use minijinja::value::ValueKind;
use std::borrow::Cow;
use std::ops::Range;

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
    /// It takes something of a form.
    is_of_form: bool,
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
    fn new(facts: &ExpressionFacts) -> Self {
        let mut tops = facts.uses.iter().map(|found| found.top());
        let is_of_form = tops.any(|top| matches!(top, "form" | "form_list"));
        Self { id: facts.id, is_rest: false, theirs: Theirs::of(facts), is_of_form }
    }

    /// Its value; undefined where it is made of nothing but what the visitor did not send, as
    /// `query.page|trim`.
    pub(super) fn value(&self, press: &Press, root: &Value) -> Result<Value, PageError> {
        match self.theirs {
            Theirs::All | Theirs::Lookup => {
                let value = press.evaluate_theirs(self.id, root);
                value.map_err(|error| match error.kind() {
                    PageErrorKind::BadRequest if self.is_of_form => error.telling(FORM_TOLD),
                    _ => error,
                })
            }
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
            return self.fault(true, message);
        }
        let found = match value.kind() {
            ValueKind::Undefined => "undefined".to_owned(),
            ValueKind::Number => "not a finite number".to_owned(),
            kind => format!("{}, not a text or a number", kind_name(kind)),
        };
        // A list or a file where a text was asked for is the visitor's, if it is theirs at all.
        let is_lookup = self.theirs == Theirs::Lookup;
        self.fault(is_lookup, format!("`{text}` is {found} (in {place})"))
    }

    fn fault(&self, is_theirs: bool, message: String) -> PageError {
        match is_theirs {
            true if self.is_of_form => {
                PageError::new(PageErrorKind::BadRequest, message).telling(FORM_TOLD)
            }
            true => PageError::new(PageErrorKind::BadRequest, message),
            false => PageError::new(PageErrorKind::Internal, message),
        }
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
pub(super) fn whole_text(
    pieces: &[Piece],
    press: &Press,
    root: &Value,
) -> Result<Option<String>, PageError> {
    let value = defined(pieces, press, root)?.filter(|value| !value.is_none());
    let Some(value) = value else { return Ok(None) };
    item_text(&value, pieces, press).map(|text| Some(text.into_owned()))
}

/// The text of a value that pieces have given.
pub(super) fn item_text<'v>(
    value: &'v Value,
    pieces: &[Piece],
    press: &Press,
) -> Result<Cow<'v, str>, PageError> {
    match (plain_text(value), pieces) {
        (None, [Piece::Print(print)]) => Err(print.no_text(press, value)),
        (text, _) => Ok(text.unwrap_or_default()),
    }
}

/// What is sent for a value: nothing for none, each item of a list, and else the value.
pub(super) fn items(value: Value) -> Vec<Value> {
    let is_list = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    match value.try_iter() {
        _ if value.is_none() => Vec::new(),
        Ok(items) if is_list => items.collect(),
        _ => vec![value],
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
                pieces.push((Piece::Print(Print::new(&facts)), open..close + 2));
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

/// The failure of what these give together: the visitor's, where one takes something of their
/// request.
pub(super) fn fault(pieces: &[Piece], message: String) -> PageError {
    let prints = pieces.iter().filter_map(|piece| match piece {
        Piece::Text(_) => None,
        Piece::Print(print) => Some(print),
    });
    let mut theirs = prints.filter(|print| print.theirs >= Theirs::Some);
    match theirs.clone().find(|print| print.is_of_form).or_else(|| theirs.next()) {
        Some(print) => print.fault(true, message),
        None => PageError::new(PageErrorKind::Internal, message),
    }
}

/// What visitors are told of what they have sent in a form.
pub(super) const FORM_TOLD: &str =
    "Something is missing in the form, or it is something that cannot be used.";

/// The names by which a visitor's request is seen.
pub(crate) const REQUEST_NAMES: &[&str] =
    &["path", "query", "form", "form_list", "headers", "cookies", "request", "session"];
