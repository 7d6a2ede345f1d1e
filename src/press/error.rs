//! Errors of templates and expressions: minijinja's, told with the file, the line and an excerpt
//! as people need them, one level of the chain each.

use super::compiled::Origin;
use crate::error::{PageError, PageErrorKind};
use minijinja::ErrorKind;
use std::fmt;
use std::ops::Range;

/// One level of what went wrong in a template or an expression.
#[derive(Debug)]
pub struct PressError {
    message: String,
    /// The line with a mark under the cause, for people who read it as text.
    excerpt: String,
    spot: Option<Spot>,
    source: Option<Box<PressError>>,
}

/// Where in the files of a site something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The file, relative to the site's folder.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is written there: the line, or of the site file only the expression in it.
    pub text: String,
    /// The first character of `text` that is meant, from 1; 0 when that is not known.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
}

impl PressError {
    /// Tells an error of minijinja and its causes. `origin` is where the program came from when
    /// it is an expression, which minijinja knows no file of.
    pub(super) fn of(error: &minijinja::Error, origin: Option<&Origin>) -> Self {
        let mut message = error.kind().to_string();
        if let Some(detail) = error.detail() {
            message = format!("{message}: {detail}");
        }
        let place = match (origin, error.name(), error.line()) {
            (Some(origin), ..) => Some((origin.file.as_str(), origin.line)),
            (None, Some(name), Some(line)) => Some((name, line)),
            _ => None,
        };
        if let Some((file, line)) = place {
            message.push_str(&format!(" (in {file}:{line})"));
        }
        let text = error.template_source().zip(error.line());
        let mut spot = place.map(|(file, line)| Spot::new(file, line));
        let mut excerpt = String::new();
        if let (Some(spot), Some((source, line))) = (&mut spot, text) {
            spot.find(source, line, error.range());
            excerpt = spot.excerpt();
        }
        if let (ErrorKind::UndefinedError, Some(detail)) = (error.kind(), error.detail()) {
            message.push_str(&guard(detail, spot.as_ref()).unwrap_or_default());
        }
        let source = std::error::Error::source(error).map(|cause| {
            Box::new(match cause.downcast_ref::<minijinja::Error>() {
                Some(inner) => Self::of(inner, None),
                None => {
                    let (message, excerpt) = (cause.to_string(), String::new());
                    Self { message, excerpt, spot: None, source: None }
                }
            })
        });
        Self { message, excerpt, spot, source }
    }

    /// What went wrong, without an excerpt.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where, if that is known.
    pub fn spot(&self) -> Option<&Spot> {
        self.spot.as_ref()
    }

    /// This as the failure of a page.
    pub(super) fn fails(self, what: impl Into<String>) -> PageError {
        PageError::new(PageErrorKind::Internal, what).because(self)
    }
}

/// What to write where a value may be missing that must be there; nothing where a default is
/// already written, or it is not known what is missing.
fn guard(detail: &str, spot: Option<&Spot>) -> Option<String> {
    let name = detail.split('`').nth(1).filter(|name| !name.contains("default("))?;
    let marked = spot.map(|spot| {
        let marked = spot.text.chars().skip(spot.column.saturating_sub(1));
        marked.take(spot.width).collect::<String>()
    });
    // Of what is missing nothing can be looked up, whatever stands for that.
    let is_looked_into = marked.is_some_and(|marked| marked.starts_with(['.', '[']));
    Some(match is_looked_into {
        true => format!("; where it may be missing, ask first: {{% if {name} %}}"),
        false => format!("; where it may be missing, write {name} | default('')"),
    })
}

impl Spot {
    /// A line that nothing more is known of.
    pub fn new(file: impl Into<String>, line: usize) -> Self {
        Self { file: file.into(), line, text: String::new(), column: 0, width: 0 }
    }

    /// Finds line and column of `range` in what minijinja was given.
    fn find(&mut self, source: &str, line: usize, range: Option<Range<usize>>) {
        let Some(text) = source.lines().nth(line - 1) else { return };
        text.clone_into(&mut self.text);
        let Some(range) = range else { return };
        let Some(before) = source.get(..range.start) else { return };
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        if before.matches('\n').count() + 1 != line {
            return;
        }
        self.column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let marked = source.get(range).unwrap_or_default();
        self.width = marked.lines().next().unwrap_or_default().chars().count().max(1);
    }

    /// The line, and a mark under what is meant.
    fn excerpt(&self) -> String {
        if self.text.is_empty() {
            return String::new();
        }
        let number = self.line.to_string();
        let mut excerpt = format!("\n{number} | {}", self.text.replace('\t', " "));
        if self.column > 0 {
            let (gutter, before, marks) = (number.len(), self.column - 1, "^".repeat(self.width));
            excerpt.push_str(&format!("\n{:gutter$} | {:before$}{marks}", "", ""));
        }
        excerpt
    }
}

impl fmt::Display for PressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        f.write_str(&self.excerpt)
    }
}

impl std::error::Error for PressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::press::environment;
    use minijinja::context;

    fn told(template: &str) -> String {
        let environment = environment::new();
        let template = environment.template_from_named_str("a.html", template).unwrap();
        let error = template.render(context!(query => context!(), user => context!())).unwrap_err();
        PressError::of(&error, None).message().to_owned()
    }

    #[test]
    fn what_may_be_missing_is_told_with_what_to_write() {
        let printed = told("{{ query.q }}");
        assert!(
            printed.ends_with("; where it may be missing, write query.q | default('')"),
            "{printed}"
        );
        let filtered = told("<p>{{ query.q | upper }}");
        assert!(filtered.ends_with("write query.q | default('')"), "{filtered}");
        for into in ["{{ user.team.name }}", "{{ user.team['name'] }}", "{{ user.team[0] }}"] {
            let into = told(into);
            assert!(into.ends_with("missing, ask first: {% if user.team %}"), "{into}");
        }
        assert!(!told("{{ 1 / 0 }}").contains("missing"));
    }
}
