//! Templates of what is sent to an upstream: JSON, a form, a form with files. Data stays data: it
//! never ends a string of the JSON, adds a pair, or ends a part, whatever it holds.

use super::builder::{Builder, Place};
use super::compiled::Press;
use super::form::FormFile;
use super::piece::{Compiled, FORM_TOLD, Piece, defined, item_text, items, split};
use super::url::{QueryTemplate, bound_bytes};
use crate::config::{At, BodyKind, JsonTable, Problem, SourceFile};
use crate::error::{PageError, PageErrorKind};
use crate::limits::{BOUNDARIES_TRIED_MAX, FETCH_BODY_BYTES_MAX};
use memchr::memmem;
use minijinja::Value;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The body of a fetch.
#[derive(Clone, Debug)]
pub enum BodyTemplate {
    /// `application/json`
    Json(JsonTemplate),
    /// `application/x-www-form-urlencoded`
    Form(QueryTemplate),
    /// `multipart/form-data`: names, and what each part is.
    Multipart(Vec<(String, Vec<Piece>)>),
}

/// A value whose texts are templates.
#[derive(Clone, Debug)]
pub enum JsonTemplate {
    /// A text, or the value of an expression if it is nothing else.
    Text(Vec<Piece>),
    /// JSON that is always the same.
    Plain(String),
    /// A list.
    List(Vec<JsonTemplate>),
    /// Names, as JSON, and their values.
    Map(Vec<(String, JsonTemplate)>),
}

impl BodyTemplate {
    /// Compiles what a fetch sends.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(builder: &mut Builder, file: &SourceFile, body: &BodyKind) -> Compiled<Self> {
        let (mut facts, mut problems) = (Vec::new(), Vec::new());
        let mut text = |text: &At<String>| match split(builder, &Place::new(file, text)) {
            Ok((pieces, found)) => {
                facts.extend(found);
                pieces.into_iter().map(|(piece, _)| piece).collect()
            }
            Err(wrong) => {
                problems.extend(wrong);
                Vec::new()
            }
        };
        let compiled = match body {
            BodyKind::Json(table) => Self::Json(JsonTemplate::compile(table, &mut text)),
            BodyKind::Form(pairs) => {
                let (pairs, facts) = QueryTemplate::compile(builder, file, pairs)?;
                return Ok((Self::Form(pairs), facts));
            }
            BodyKind::Multipart(parts) => {
                let parts = parts.iter().map(|(name, value)| (name.value.clone(), text(value)));
                Self::Multipart(parts.collect())
            }
        };
        if problems.is_empty() { Ok((compiled, facts)) } else { Err::<_, Vec<Problem>>(problems) }
    }

    /// Whether its Content-Type is known only when it is written.
    pub fn names_its_own_type(&self) -> bool {
        matches!(self, Self::Multipart(_))
    }

    /// Appends the body, and gives its Content-Type.
    ///
    /// # Errors
    /// When an expression fails, gives what cannot be sent, or all is too long.
    pub fn write(
        &self,
        press: &Press,
        root: &Value,
        out: &mut Vec<u8>,
    ) -> Result<String, PageError> {
        match self {
            Self::Json(json) => {
                if !json.write(press, root, out)? {
                    out.extend_from_slice(b"null");
                }
                bound_body(out.len())?;
                Ok("application/json".to_owned())
            }
            Self::Form(pairs) => {
                pairs.write_pairs(press, root, out, None, bound_body)?;
                Ok("application/x-www-form-urlencoded".to_owned())
            }
            Self::Multipart(parts) => {
                let mut written = Vec::new();
                for (name, pieces) in parts {
                    push_parts(name, pieces, press, root, &mut written)?;
                }
                join(&written, out)
            }
        }
    }
}

impl JsonTemplate {
    fn compile(table: &JsonTable, text: &mut impl FnMut(&At<String>) -> Vec<Piece>) -> Self {
        match table {
            JsonTable::Text(template) => Self::Text(text(template)),
            JsonTable::Plain(json) => Self::Plain(json.clone()),
            JsonTable::List(items) => {
                Self::List(items.iter().map(|item| Self::compile(item, text)).collect())
            }
            JsonTable::Map(entries) => {
                let entries = entries.iter().map(|(name, value)| {
                    (serde_json::Value::from(name.as_str()).to_string(), Self::compile(value, text))
                });
                Self::Map(entries.collect())
            }
        }
    }

    /// Appends it; false, and nothing is appended, where it is one expression that is undefined, as
    /// a look-up of what the visitor did not send, or an `if` without an `else`.
    fn write(&self, press: &Press, root: &Value, out: &mut Vec<u8>) -> Result<bool, PageError> {
        match self {
            Self::Text(pieces) => return write_text(pieces, press, root, out),
            Self::Plain(json) => out.extend_from_slice(json.as_bytes()),
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    out.extend_from_slice(if index == 0 { b"" } else { b"," });
                    if !item.write(press, root, out)? {
                        out.extend_from_slice(b"null");
                    }
                }
                out.push(b']');
            }
            Self::Map(entries) => {
                out.push(b'{');
                let start = out.len();
                for (name, value) in entries {
                    let before = out.len();
                    out.extend_from_slice(if before == start { b"" } else { b"," });
                    out.extend_from_slice(name.as_bytes());
                    out.push(b':');
                    if !value.write(press, root, out)? {
                        out.truncate(before);
                    }
                }
                out.push(b'}');
            }
        }
        Ok(true)
    }
}

fn write_text(
    pieces: &[Piece],
    press: &Press,
    root: &Value,
    out: &mut Vec<u8>,
) -> Result<bool, PageError> {
    let Some(value) = defined(pieces, press, root)? else { return Ok(false) };
    serde_json::to_writer(&mut *out, &value).map_err(|error| {
        PageError::new(PageErrorKind::Internal, "a value that JSON cannot say").because(error)
    })?;
    bound_body(out.len())?;
    Ok(true)
}

fn bound_body(length: usize) -> Result<(), PageError> {
    let bounded = bound_bytes(length, FETCH_BODY_BYTES_MAX, "the body of a fetch");
    bounded.map_err(|error| error.telling(FORM_TOLD))
}

/// Adds the parts that a value is: none where nothing is there, one for each item of a list.
fn push_parts(
    name: &str,
    pieces: &[Piece],
    press: &Press,
    root: &Value,
    parts: &mut Vec<Vec<u8>>,
) -> Result<(), PageError> {
    let Some(value) = defined(pieces, press, root)? else { return Ok(()) };
    for item in items(value) {
        parts.push(match item.downcast_object_ref::<FormFile>() {
            Some(file) => file_part(name, file),
            None => text_part(name, &item_text(&item, pieces, press)?),
        });
    }
    Ok(())
}

fn text_part(name: &str, text: &str) -> Vec<u8> {
    let name = quoted(name);
    let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    [head.as_bytes(), text.as_bytes()].concat()
}

fn file_part(name: &str, file: &FormFile) -> Vec<u8> {
    let (name, filename) = (quoted(name), quoted(&file.filename));
    // It was read as a media type, and says what the visitor likes.
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    let content_type = match file.content_type.bytes().all(is_plain) {
        true => &file.content_type,
        false => "application/octet-stream",
    };
    let head = format!(
        "Content-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\n\
         Content-Type: {content_type}\r\n\r\n"
    );
    [head.as_bytes(), &file.bytes].concat()
}

/// A name as browsers write it there (HTML, multipart form data): nothing in it ends it.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A").replace('\0', "%00")
}

/// Appends the parts with a boundary that is in none of them (RFC 2046 section 5.1.1): whoever has
/// sent what is in one cannot have it end there.
fn join(parts: &[Vec<u8>], out: &mut Vec<u8>) -> Result<String, PageError> {
    let bytes: usize = parts.iter().map(|part| part.len() + 128).sum();
    bound_body(out.len() + bytes)?;
    let is_in_one = |boundary: &str| {
        let finder = memmem::Finder::new(boundary.as_bytes());
        parts.iter().any(|part| finder.find(part).is_some())
    };
    let mut boundaries = (0..BOUNDARIES_TRIED_MAX).map(|number| {
        let digest = parts.iter().fold(u128::from(number), |digest, part| {
            xxh3_128_with_seed(part, (digest ^ (digest >> 64)) as u64)
        });
        format!("ringpress-{digest:032x}")
    });
    let Some(boundary) = boundaries.find(|boundary| !is_in_one(boundary)) else {
        let message = "a part of a multipart body has every boundary that was tried";
        return Err(PageError::new(PageErrorKind::BadRequest, message).telling(FORM_TOLD));
    };
    out.reserve(bytes);
    for part in parts {
        for piece in [b"--", boundary.as_bytes(), b"\r\n", part, b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    for piece in [b"--", boundary.as_bytes(), b"--\r\n"] {
        out.extend_from_slice(piece);
    }
    Ok(format!("multipart/form-data; boundary={boundary}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_has_its_boundary_and_no_name_ends() {
        let evil = "\"\r\nEvil: 1\r\n\r\n";
        let part = text_part(evil, "x");
        let text = String::from_utf8(part).unwrap();
        assert_eq!(text.matches("\r\n").count(), 2, "{text}");
        let mut out = Vec::new();
        let first = join(&[text_part("a", "x")], &mut out).unwrap();
        let boundary = first.strip_prefix("multipart/form-data; boundary=").unwrap();
        // Even who knows the next boundary cannot use it: theirs is another then.
        let forged = text_part("a", &format!("x\r\n--{boundary}--\r\n"));
        let mut out = Vec::new();
        let second = join(&[forged], &mut out).unwrap();
        assert_ne!(first, second);
    }
}
