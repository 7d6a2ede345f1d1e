//! Templates of what a page answers beside its body: a text or a value, and where a redirect leads.
//!
//! A redirect leads to a path of this site, or to an origin that the site file names in plain text:
//! whatever its expressions give, what comes out is looked at as a whole, and nothing else goes.

#![expect(
    clippy::indexing_slicing,
    reason = "a table has a place for each octet, or for each hex digit"
)]

use super::builder::{Builder, Place};
use super::compiled::Press;
use super::escape::{HEX, is_dot_segment, plain_text, push_component, push_segments};
use super::piece::{Compiled, Piece, defined, fault, mark_rest, split};
use super::url::{is_path_character, is_triplet};
use crate::config::Problem;
use crate::error::PageError;
use crate::http;
use crate::limits::LOCATION_BYTES_MAX;
use minijinja::Value;
use std::ops::Range;

/// A text, or the value of one expression.
#[derive(Clone, Debug)]
pub struct TextTemplate {
    pieces: Vec<Piece>,
    text: String,
    at: String,
}

/// Where a redirect leads.
#[derive(Clone, Debug)]
pub struct LocationTemplate {
    template: TextTemplate,
    /// Beside this site: that of its literal text, and those that are named with it.
    origins: Vec<String>,
}

impl TextTemplate {
    /// Compiles it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(builder: &mut Builder, place: &Place<'_>) -> Compiled<Self> {
        let (pieces, facts) = split(builder, place)?;
        let pieces = pieces.into_iter().map(|(piece, _)| piece).collect();
        Ok((Self { pieces, text: place.text.to_owned(), at: place.line() }, facts))
    }

    /// What it gives: a value of any kind where it is one expression, else a text. Nothing where
    /// that expression is undefined, as an `if` without an `else`.
    ///
    /// # Errors
    /// When an expression fails, or gives no text within one.
    pub fn defined(&self, press: &Press, root: &Value) -> Result<Option<Value>, PageError> {
        defined(&self.pieces, press, root)
    }

    /// The text that it gives; nothing where it is empty, none or undefined.
    ///
    /// # Errors
    /// Those of [`TextTemplate::defined`], and when what it gives is no text.
    pub fn text(&self, press: &Press, root: &Value) -> Result<Option<String>, PageError> {
        if let [Piece::Text(text)] = self.pieces.as_slice() {
            return Ok(Some(text.clone()).filter(|text| !text.is_empty()));
        }
        let value = self.defined(press, root)?.filter(|value| !value.is_none());
        let Some(value) = value else { return Ok(None) };
        let text = plain_text(&value).ok_or_else(|| self.wrong("neither a text nor a number"))?;
        Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
    }

    /// The failure that what it gave is this, which cannot be: the visitor's, where it takes
    /// something of their request.
    pub fn wrong(&self, found: &str) -> PageError {
        let Self { text, at, .. } = self;
        let message = format!("`{text}` gives {found} (in {at})");
        fault(&self.pieces, message)
    }
}

impl LocationTemplate {
    /// Compiles it. `rest` is the name of the page's `{rest*}` parameter, `origins` those that it
    /// may lead to whatever its expressions give.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(
        builder: &mut Builder,
        place: &Place<'_>,
        rest: Option<&str>,
        mut origins: Vec<String>,
    ) -> Compiled<Self> {
        let (mut pieces, facts) = split(builder, place)?;
        origins.extend(check_literals(place, &pieces)?);
        mark_rest(&mut pieces, &facts, rest);
        let pieces = pieces.into_iter().map(|(piece, _)| piece).collect();
        let template = TextTemplate { pieces, text: place.text.to_owned(), at: place.line() };
        let location = Self { template, origins };
        if let [Piece::Text(text)] = location.template.pieces.as_slice()
            && let Err(found) = location.judge(text)
        {
            return Err(vec![place.problem(0..text.len(), format!("this is {found}"))]);
        }
        Ok((location, facts))
    }

    /// Where it leads: the value of a Location (RFC 9110 section 10.2.2). Nowhere when its only
    /// expression gives nothing, or an empty text.
    ///
    /// # Errors
    /// When an expression fails, or it would lead elsewhere than it may.
    pub fn write(&self, press: &Press, root: &Value) -> Result<Option<String>, PageError> {
        let pieces = self.template.pieces.as_slice();
        let mut out = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                // What it begins with may be a path by itself, and more: `/items?page=2`.
                Piece::Print(_) if number == 0 && pieces.len() == 1 => {
                    let Some(text) = self.template.text(press, root)? else { return Ok(None) };
                    push_reference(&text, &mut out);
                }
                Piece::Print(print) => {
                    let text = print.text(press, root)?;
                    match number {
                        0 => push_reference(&text, &mut out),
                        _ if print.is_rest => push_segments(&text, &mut out),
                        _ => push_component(&text, &mut out),
                    }
                }
            }
            if out.len() > LOCATION_BYTES_MAX {
                let found = format!("more than {LOCATION_BYTES_MAX} bytes");
                return Err(self.template.wrong(&found));
            }
        }
        let location = String::from_utf8(out).map_err(|_| self.template.wrong("no text"))?;
        self.judge(&location).map_err(|found| self.template.wrong(found))?;
        Ok(Some(location))
    }

    /// The failure that what it gave is this.
    pub fn wrong(&self, found: &str) -> PageError {
        self.template.wrong(found)
    }

    /// Whether visitors may be sent there; else what it is.
    fn judge(&self, location: &str) -> Result<(), &'static str> {
        if !location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err("no address");
        }
        let path = match self.origins.iter().find_map(|origin| after(location, origin)) {
            Some(path) => path,
            // Two slashes begin a host (RFC 3986 section 4.2).
            None if location.starts_with('/') && !location.starts_with("//") => location,
            None if location.starts_with("//") => return Err("another host"),
            None => return Err("neither a path of this site nor below an origin that it names"),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        if path.split('/').any(|segment| is_dot_segment(segment.as_bytes())) {
            return Err("a path with a `.` or `..` segment");
        }
        Ok(())
    }
}

/// What comes after an origin in a URL; none for one of another origin.
fn after<'a>(url: &'a str, origin: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(origin)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

/// The origin that a URL begins with, if it begins with one, and what follows it.
pub(crate) fn split_origin(url: &str) -> Option<(&str, &str)> {
    let start = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme))?.len();
    let length = url.get(start..)?.find(['/', '?', '#']);
    let (origin, rest) = url.split_at(length.map_or(url.len(), |length| start + length));
    let authority = origin.get(start..)?;
    http::is_authority(authority.as_bytes()).then_some((origin, rest))
}

/// The literal text decides where a redirect may lead. The origin in it, if there is one.
fn check_literals(
    place: &Place<'_>,
    pieces: &[(Piece, Range<usize>)],
) -> Result<Option<String>, Vec<Problem>> {
    let wrong = |range: Range<usize>, message: String, hint: &str| {
        Err(vec![place.problem(range, message).hint(hint)])
    };
    if pieces.is_empty() {
        return wrong(0..0, "this redirect leads nowhere".to_owned(), "leave it out");
    }
    for (piece, range) in pieces {
        let Piece::Text(literal) = piece else { continue };
        for (at, character) in literal.char_indices() {
            let hint = match character {
                '%' if !is_triplet(literal.get(at..)) => "write a percent sign as %25",
                '?' | '#' | '[' | ']' => continue,
                _ if is_path_character(character) => continue,
                _ => "write it percent-encoded",
            };
            let span = range.start + at..range.start + at + character.len_utf8();
            let message = format!("`{}` cannot be in a URL", character.escape_default());
            return wrong(span, message, hint);
        }
    }
    let Some((Piece::Text(first), range)) = pieces.first() else { return Ok(None) };
    if first.starts_with("//") {
        let hint = "for another host, write the scheme too: `https://`";
        return wrong(range.clone(), "two slashes begin a host, not a path".to_owned(), hint);
    }
    if first.starts_with('/') {
        return Ok(None);
    }
    match split_origin(first) {
        Some((origin, rest)) if !rest.is_empty() || pieces.len() == 1 => {
            Ok(Some(origin.to_owned()))
        }
        Some(_) => {
            let message = "an expression may not say which host a redirect leads to";
            let hint = "end the host with a slash before it, or name whole origins in \
                        redirect = { to = \"{{ ... }}\", origins = [\"https://example.com\"] }";
            wrong(range.clone(), message.to_owned(), hint)
        }
        None => {
            let message = "a redirect leads to a path of this site, or to a URL".to_owned();
            wrong(range.clone(), message, "begin with `/`, `https://` or `http://`")
        }
    }
}

/// Appends a reference (RFC 3986 section 4.1) that somebody has put together: what means something
/// in one stays, and what cannot stand in one is percent-encoded.
fn push_reference(text: &str, out: &mut Vec<u8>) {
    for (at, character) in text.char_indices() {
        let is_fine = match character {
            '%' => is_triplet(text.get(at..)),
            '?' | '#' | '[' | ']' => true,
            _ => is_path_character(character),
        };
        let mut bytes = [0; 4];
        let bytes = character.encode_utf8(&mut bytes).as_bytes();
        if is_fine {
            out.extend_from_slice(bytes);
            continue;
        }
        // A browser may read it as a slash, and so do we.
        if character == '\\' {
            out.push(b'/');
            continue;
        }
        for byte in bytes {
            let digit = |half: u8| HEX[usize::from(half & 15)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(*byte)]);
        }
    }
}
