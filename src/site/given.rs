//! Secrets that a site file names and does not hold, as it is shown and shared: they are in the
//! environment, or in a file.

use super::admin::Token;
use crate::config::{At, SecretField, SourceFile, Upstream, header_value_trouble};
use crate::config::{Problem, SECRET_HINT};
use crate::limits::SECRET_FILE_BYTES_MAX;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The field lines of an upstream whose values the site file only names, each with its CRLF.
pub(super) fn lines(
    upstream: &Upstream,
    file: &SourceFile,
    folder: &Path,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> Token {
    let mut lines = String::new();
    for SecretField { name, place } in &upstream.secret_headers {
        match value(name, place, folder, notes) {
            Ok(value) => lines.push_str(&format!("{name}: {value}\r\n")),
            Err((message, hint)) => {
                problems.push(file.problem(place.span.clone(), message).hint(hint));
            }
        }
    }
    Token::new(&lines)
}

/// The value of a header, or what is wrong with it, and the remedy. Nothing of it is told.
fn value(
    name: &str,
    place: &At<String>,
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<String, (String, String)> {
    let shown = &place.value;
    let hint = || SECRET_HINT.to_owned();
    let text = match (shown.strip_prefix("env:"), shown.strip_prefix("file:")) {
        (Some(variable), _) => from_environment(variable).ok_or_else(|| {
            let message = format!("the environment has no `{variable}` with header `{name}`");
            (message, hint())
        })?,
        (None, path) => {
            let path = path.unwrap_or(shown);
            let (text, is_open) = read_file(&folder.join(path)).map_err(|why| {
                (format!("`{path}` with header `{name}` cannot be read: {why}"), hint())
            })?;
            if is_open {
                notes.push(readable(&format!("`{path}` with header `{name}`"), path));
            }
            text
        }
    };
    let text = text.trim();
    if text.is_empty() {
        return Err((format!("`{shown}` is empty, and no value of header `{name}`"), hint()));
    }
    if header_value_trouble(text.as_bytes()) {
        let message =
            format!("what `{shown}` holds for header `{name}` has a line break or another control");
        return Err((format!("{message} character in it"), hint()));
    }
    Ok(text.to_owned())
}

/// A variable of the environment, if it is there.
pub(super) fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What is in a file that must not be long, and whether everybody may read it.
///
/// # Errors
/// Why it cannot be read, in words.
pub(super) fn read_file(path: &Path) -> Result<(String, bool), String> {
    let words = |error: std::io::Error| error.to_string();
    // Looked at before it is opened: a pipe would keep us waiting.
    let metadata = path.metadata().map_err(words)?;
    if !metadata.is_file() {
        return Err("this is not a file".to_owned());
    }
    if metadata.len() > SECRET_FILE_BYTES_MAX {
        return Err(format!("it is over {SECRET_FILE_BYTES_MAX} bytes"));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(words)?;
    file.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text).map_err(words)?;
    Ok((text, metadata.mode() & READ_BY_OTHERS != 0))
}

/// What to say of a file that everybody may read.
pub(super) fn readable(what: &str, path: &str) -> String {
    format!("{what} can be read by everybody on this machine: chmod o-r {path}")
}

/// The bit of a file's mode that lets everybody read it.
const READ_BY_OTHERS: u32 = 0o004;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(place: &str, folder: &Path) -> (Result<String, String>, Vec<String>) {
        let place = At { value: place.to_owned(), span: 0..1 };
        let mut notes = Vec::new();
        let value = value("authorization", &place, folder, &mut notes);
        (value.map_err(|(message, _)| message), notes)
    }

    #[test]
    fn values_are_from_files_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            of(&format!("file:{name}"), folder.path())
        };
        let (value, notes) = write("token", "  Bearer s3cret\n");
        assert_eq!(value.unwrap(), "Bearer s3cret");
        assert!(notes.iter().all(|note| note.contains("chmod o-r token")), "{notes:?}");
        for (name, text, told) in [
            ("empty", " \n", "is empty"),
            ("lines", "s3cret\nX-Other: s3cret", "line break"),
            ("long", &"s3cret".repeat(1000), "over 4096 bytes"),
        ] {
            let message = write(name, text).0.unwrap_err();
            assert!(message.contains(told) && !message.contains("s3cret"), "{message}");
        }
        assert!(of("file:none", folder.path()).0.unwrap_err().contains("`none` with header"));
        assert!(of("file:.", folder.path()).0.unwrap_err().contains("not a file"));
        let message = of("env:RINGPRESS_NOT_SET", folder.path()).0.unwrap_err();
        assert!(message.contains("no `RINGPRESS_NOT_SET`"), "{message}");
    }
}
