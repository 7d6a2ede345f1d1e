//! One recorded answer as a file that people can read and edit: what was asked, and the answer to
//! it as HTTP/1.1 has it, with plain line ends and without what frames it.
//!
//! ```text
//! GET /v1/users/42
//! HTTP/1.1 200 OK
//! Content-Type: application/json
//!
//! {"name": "Ann"}
//! ```
//!
//! What it says comes from the file alone; its name is for people. No IO here.

use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

use crate::http::{self, Limits, response};
use crate::limits::authoring::{RECORD_FOLDERS_MAX, RECORD_NAME_CHARS_MAX};
use crate::site::Record;

/// What names of such files end with.
pub(super) const EXTENSION: &str = "http";

/// What is in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Path and query; of what is no GET the method and a space before them.
    pub(super) target: Vec<u8>,
    /// The response, as it would come from an upstream.
    pub(super) response: Vec<u8>,
}

/// The text of a record.
pub(super) fn write(record: &Record) -> Vec<u8> {
    let mut out = b"GET ".to_vec();
    out.extend_from_slice(&record.target);
    let (status, reason) = (record.status, http::reason_phrase(record.status));
    out.extend_from_slice(format!("\nHTTP/1.1 {status} {reason}\n").as_bytes());
    for (name, value) in record.fields.iter().filter(|(name, _)| is_kept(name)) {
        for piece in [name, &b": "[..], value, b"\n"] {
            out.extend_from_slice(piece);
        }
    }
    out.push(b'\n');
    out.extend_from_slice(&record.body);
    out
}

/// Reads such a text.
///
/// # Errors
/// The line, from 1, and what is wrong with it.
pub(super) fn read(text: &[u8]) -> Result<Answer, (usize, String)> {
    let mut rest = text;
    let mut line = || {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    };
    let is_target = |target: &&[u8]| target.first() == Some(&b'/') && !target.contains(&b' ');
    let asked = line().unwrap_or_default();
    let target = match asked.strip_prefix(b"GET ") {
        Some(target) => Some(target).filter(is_target),
        // Such are not recorded, but can be written.
        None => OTHERS.iter().find_map(|method| {
            asked.strip_prefix(method.as_bytes()).filter(is_target).and(Some(asked))
        }),
    };
    let target = target.ok_or((1, "write what was asked, as in `GET /users/42`".to_owned()))?;
    let status = line().and_then(status_of);
    let status = status.ok_or((2, "write the status, as in `HTTP/1.1 200 OK`".to_owned()))?;
    let mut head = format!("HTTP/1.1 {status} \r\n").into_bytes();
    for number in 3.. {
        let wrong = |what: &str| Err((number, what.to_owned()));
        match line() {
            None => return wrong("an empty line must be between the fields and the body"),
            Some(b"") => break,
            Some(field) => {
                let colon = field.iter().position(|&byte| byte == b':');
                let Some((name, value)) = colon.map(|colon| field.split_at(colon)) else {
                    return wrong("write a field, as in `Content-Type: application/json`");
                };
                if !is_kept(name) {
                    continue;
                }
                let value = value.get(1..).unwrap_or_default().trim_ascii();
                let name = String::from_utf8_lossy(name);
                if let Err(error) = http::push_field(&mut head, &name, value) {
                    return wrong(&format!("this cannot be a field: {error}"));
                }
            }
        }
    }
    let body = if matches!(status, 204 | 304) { &[][..] } else { rest };
    head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    match response::parse(&head, &Limits::response(), false) {
        Ok(Some(_)) => {}
        Ok(None) => return Err((2, "this is no whole answer".to_owned())),
        Err(error) => return Err((2, format!("this is no answer: {error}"))),
    }
    head.extend_from_slice(body);
    Ok(Answer { target: target.to_owned(), response: head })
}

/// Where to keep the answer of an upstream to a target: a path that leads nowhere else, whatever
/// they hold.
pub(super) fn name_of(upstream: &str, target: &[u8]) -> PathBuf {
    let target = String::from_utf8_lossy(target);
    let mut path = PathBuf::from(safe(upstream));
    let mut segments: Vec<&str> = target.strip_prefix('/').unwrap_or(&target).split('/').collect();
    let folders = segments.len().saturating_sub(1).min(RECORD_FOLDERS_MAX);
    let last = segments.split_off(folders).join("_");
    let mut is_plain = segments.iter().all(|segment| safe(segment) == **segment);
    path.extend(segments.into_iter().map(safe));
    let name = safe(&last);
    is_plain &= name == last && target.matches('/').count() == folders + 1;
    // Two targets may be alike once they are names, and one may be told from another by its query.
    path.push(match is_plain {
        true => format!("{name}.{EXTENSION}"),
        false => format!("{name}~{:08x}.{EXTENSION}", xxh3_64(target.as_bytes()) as u32),
    });
    path
}

/// A text as a name of a file or a folder: not hidden, not empty, not long.
fn safe(text: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = text.chars().take(RECORD_NAME_CHARS_MAX);
    let name: String = name.map(|c| if fine(c) { c } else { '_' }).collect();
    if name.is_empty() || name.starts_with('.') { format!("_{name}") } else { name }
}

/// Whether a field belongs into a file: not those of the connection, of the framing, and of the
/// hour.
fn is_kept(name: &[u8]) -> bool {
    !LEFT_OUT.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// What a file may begin with in place of GET.
const OTHERS: &[&str] = &["POST ", "PUT ", "PATCH ", "DELETE "];

const LEFT_OUT: &[&[u8]] = &[
    b"age",
    b"connection",
    b"content-length",
    b"date",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// The status of `HTTP/1.1 200 OK`, or of `200`.
fn status_of(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let status = line.strip_prefix("HTTP/1.1 ").unwrap_or(line).split(' ').next()?;
    status.parse().ok().filter(|status| (200..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        Record {
            upstream: "api".into(),
            target: b"/users/1?x=y".to_vec(),
            status: 200,
            fields: vec![
                field("Content-Type", "application/json"),
                field("Transfer-Encoding", "chunked"),
                field("date", "now"),
                field("X-Empty", ""),
            ],
            body: b"{\"a\":\n\r\n1}".to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = write(&record());
        let shown = String::from_utf8(text.clone()).unwrap();
        let wanted = "GET /users/1?x=y\nHTTP/1.1 200 OK\nContent-Type: application/json\n\
            X-Empty: \n\n{\"a\":\n\r\n1}";
        assert_eq!(shown, wanted);
        let answer = read(&text).unwrap();
        assert_eq!(answer.target, b"/users/1?x=y");
        let response = String::from_utf8(answer.response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200 \r\nContent-Type: application/json\r\n"));
        assert!(response.ends_with("Content-Length: 10\r\n\r\n{\"a\":\n\r\n1}"), "{response}");
    }

    #[test]
    fn what_people_write_is_read_and_mistakes_have_a_line() {
        let edited = read(b"GET /\r\n404\r\ncontent-length: 9\r\n\r\n{}").unwrap();
        assert_eq!(edited.response, b"HTTP/1.1 404 \r\nContent-Length: 2\r\n\r\n{}");
        let posted = read(b"POST /a\n201\n\n{}").unwrap();
        assert_eq!(posted.target, b"POST /a");
        for (text, line) in [
            ("", 1),
            ("HEAD /\n200\n\n", 1),
            ("POST x\n200\n\n", 1),
            ("GET x\n200\n\n", 1),
            ("GET /\n", 2),
            ("GET /\nHTTP/1.1 99\n\n", 2),
            ("GET /\n200\n{}\n\n", 3),
            ("GET /\n200\nA: b\nC d\n\n", 4),
            ("GET /\n200\nA b: c\n\n", 3),
            ("GET /\n200\nA: b\n", 4),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().0, line, "{text:?}");
        }
    }

    #[test]
    fn names_lead_nowhere_else_and_are_told_apart() {
        let name = |upstream: &str, target: &str| {
            name_of(upstream, target.as_bytes()).to_str().unwrap().to_owned()
        };
        assert_eq!(name("api", "/v1/users/42"), "api/v1/users/42.http");
        let mut names = std::collections::BTreeSet::new();
        let long = format!("/{}", "a/".repeat(100));
        let longer = format!("/{}", "x".repeat(5000));
        for target in [
            "/",
            "//",
            "/a",
            "/a/",
            "/a?b",
            "/a?c",
            "/a%2Fb",
            "/a/b",
            "/a_b",
            "/../../etc/passwd",
            "/./a",
            "/.git",
            "/~",
            "/é",
            &long,
            &longer,
            &format!("{longer}y"),
        ] {
            let path = name("..", target);
            assert!(path.starts_with("_../") && path.ends_with(".http"), "{path}");
            let inside = path.split('/').all(|part| !part.starts_with('.') && !part.is_empty());
            assert!(inside && path.len() < 2000, "{path}");
            assert!(names.insert(path), "{target}");
        }
    }
}
