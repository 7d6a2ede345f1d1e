//! Errors of templates and expressions: minijinja's, told with the file, the line and an excerpt
//! as people need them, one level of the chain each.

use super::compiled::Origin;
use crate::error::{PageError, PageErrorKind};
use std::fmt;
use std::ops::Range;

/// One level of what went wrong in a template or an expression.
#[derive(Debug)]
pub struct PressError {
    message: String,
    source: Option<Box<PressError>>,
}

impl PressError {
    /// Tells an error of minijinja and its causes. `origin` is where the program came from when
    /// it is an expression, which minijinja knows no file of.
    pub(super) fn of(error: &minijinja::Error, origin: Option<&Origin>) -> Self {
        let mut message = error.kind().to_string();
        if let Some(detail) = error.detail() {
            message = format!("{message}: {detail}");
        }
        match (origin, error.name(), error.line()) {
            (Some(origin), ..) => {
                message.push_str(&format!(" (in {}:{})", origin.file, origin.line));
            }
            (None, Some(name), Some(line)) => message.push_str(&format!(" (in {name}:{line})")),
            _ => {}
        }
        if let (Some(source), Some(line)) = (error.template_source(), error.line()) {
            let first = origin.map_or(line, |origin| origin.line);
            message.push_str(&excerpt(source, line, first, error.range()));
        }
        let source = std::error::Error::source(error).map(|cause| {
            Box::new(match cause.downcast_ref::<minijinja::Error>() {
                Some(inner) => Self::of(inner, None),
                None => Self { message: cause.to_string(), source: None },
            })
        });
        Self { message, source }
    }

    /// This as the failure of a page.
    pub(super) fn fails(self, what: impl Into<String>) -> PageError {
        PageError::new(PageErrorKind::Internal, what).because(self)
    }
}

/// The line with a mark under `range`, and the number `shown` as its line number.
fn excerpt(source: &str, line: usize, shown: usize, range: Option<Range<usize>>) -> String {
    let Some(text) = source.lines().nth(line - 1) else { return String::new() };
    let number = shown.to_string();
    let mut excerpt = format!("\n{number} | {}", text.replace('\t', " "));
    let Some(range) = range else { return excerpt };
    let Some(before) = source.get(..range.start) else { return excerpt };
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    if before.matches('\n').count() + 1 != line {
        return excerpt;
    }
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    let marked = source.get(range).unwrap_or_default();
    let width = marked.lines().next().unwrap_or_default().chars().count().max(1);
    let gutter = number.len();
    excerpt.push_str(&format!("\n{:gutter$} | {:column$}{}", "", "", "^".repeat(width)));
    excerpt
}

impl fmt::Display for PressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
