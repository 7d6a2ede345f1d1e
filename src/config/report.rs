//! What is wrong with a site, all of it at once, in the form compilers use: the file, the line,
//! an excerpt with a mark under the cause, and where there is one, a remedy.

use crate::limits::{EXCERPT_CHARS_MAX, REPORT_PROBLEMS_MAX};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Everything that is wrong with a site.
#[derive(Debug)]
pub struct Report {
    /// The site: its folder, or the name it is embedded under.
    pub site: String,
    /// What is wrong, by file and line.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the site's folder; empty when no file is to blame.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The source line, without its end.
    pub excerpt: String,
    /// How many characters of it are meant.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A text file of a site, with its name as problems show it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Relative to the site's folder.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Report {
    /// A report of these problems, put in the order of their files and lines. `site.toml`, or
    /// whatever the site file is called, comes first: it is `first`.
    pub fn new(site: impl Into<String>, first: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| {
            let key = |problem: &Problem| {
                (problem.file != first, problem.file.clone(), problem.line, problem.column)
            };
            key(a).cmp(&key(b))
        });
        problems.dedup();
        Self { site: site.into(), problems }
    }
}

impl Problem {
    /// A problem that no line of a file is to blame for.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            excerpt: String::new(),
            width: 0,
            message: message.into(),
            hint: None,
        }
    }

    /// The same problem with a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem; with a remedy if there is one.
    #[must_use]
    pub fn hint_if(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

impl SourceFile {
    /// A file of this name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Line and column, both from 1, of a byte offset. The column counts characters.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// A problem with the bytes of `span`.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        let (line, column) = self.place(span.start);
        let excerpt = self.text.lines().nth(line - 1).unwrap_or_default().to_owned();
        let marked = self.text.get(span).unwrap_or_default();
        let rest = excerpt.chars().count().saturating_sub(column - 1);
        let width = marked.lines().next().unwrap_or_default().chars().count().min(rest).max(1);
        let message = message.into();
        Problem { file: self.name.clone(), line, column, excerpt, width, message, hint: None }
    }
}

/// The name of `names` that `wrong` was probably meant to be, as a hint.
pub fn suggestion<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = wrong.to_lowercase();
    // A third of the letters may differ: `tem` for `team`, but not `a` for `b`.
    let distance_max = (wrong.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| {
            *distance <= distance_max && *distance < name.chars().count().min(lower.chars().count())
        })
        .min()
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

impl Problem {
    /// What is shown of the line, how many characters are before the mark, and how long that is:
    /// of a line that is very long, the part around it.
    fn part_shown(&self) -> (String, usize, usize) {
        let before = self.column.saturating_sub(1);
        let length = self.excerpt.chars().count();
        if length <= EXCERPT_CHARS_MAX {
            return (self.excerpt.clone(), before, self.width);
        }
        let first = before.saturating_sub(EXCERPT_CHARS_MAX / 2);
        let rest = self.excerpt.chars().skip(first);
        let mut shown: String = rest.take(EXCERPT_CHARS_MAX).collect();
        let width = self.width.min((first + EXCERPT_CHARS_MAX).saturating_sub(before)).max(1);
        if first + EXCERPT_CHARS_MAX < length {
            shown.push('…');
        }
        match first {
            0 => (shown, before, width),
            _ => (format!("…{shown}"), before - first + 1, width),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "error")
    }
}

/// A problem that the site can live with, shown so.
#[derive(Debug)]
pub struct Warning<'a>(pub &'a Problem);

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, "warning")
    }
}

impl Problem {
    fn write(&self, f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
        writeln!(f, "{what}: {}", harmless(&self.message))?;
        let file = harmless(&self.file);
        let gutter = self.line.to_string().len();
        if self.line > 0 {
            writeln!(f, "{:gutter$}--> {}:{}:{}", "", file, self.line, self.column)?;
            writeln!(f, "{:gutter$} |", "")?;
            let (shown, indent, width) = self.part_shown();
            // A tab would move the mark under it away from what it marks.
            writeln!(f, "{} | {}", self.line, harmless(&shown.replace('\t', " ")))?;
            writeln!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(width))?;
        } else if !self.file.is_empty() {
            writeln!(f, "{:gutter$}--> {file}", "")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "{:gutter$} = help: {}", "", harmless(hint))?;
        }
        Ok(())
    }
}

/// The same text without what a terminal would obey, wherever it has come from: for a control
/// character there is one that is its picture, as wide as the mark under it takes it to be.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let picture = |c: char| match u32::from(c) {
        _ if !is_obeyed(c) => c,
        code @ ..0x20 => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        0x7f => '\u{2421}',
        _ => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(picture).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(REPORT_PROBLEMS_MAX) {
            writeln!(f, "{problem}")?;
        }
        match self.problems.len() {
            1 => write!(f, "{}: 1 problem", self.site),
            count if count <= REPORT_PROBLEMS_MAX => write!(f, "{}: {count} problems", self.site),
            count => {
                write!(f, "{}: {count} problems, first {REPORT_PROBLEMS_MAX} shown", self.site)
            }
        }
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_with_a_mark_under_the_cause() {
        let file = SourceFile::new("site.toml", "[server]\nlistne = 'x'\n");
        let problem = file.problem(9..15, "unknown key").hint("did you mean `listen`?");
        let shown = "error: unknown key\n --> site.toml:2:1\n  |\n2 | listne = 'x'\n  | ^^^^^^\n\
            \x20 = help: did you mean `listen`?\n";
        assert_eq!(problem.to_string(), shown);
    }

    #[test]
    fn of_a_long_line_the_part_around_the_mark_is_shown() {
        let text = format!("{}<wrong>{}", "a".repeat(300), "b".repeat(300));
        let shown = SourceFile::new("page.html", text).problem(300..307, "no").to_string();
        let line = format!("1 | …{}<wrong>{}…", "a".repeat(60), "b".repeat(53));
        let mark = format!("  | {}^^^^^^^", " ".repeat(61));
        assert_eq!(shown.lines().skip(3).collect::<Vec<_>>(), [&*line, &*mark]);
        let all = SourceFile::new("page.html", "é".repeat(300)).problem(0..600, "no").to_string();
        let line = format!("1 | {}…", "é".repeat(120));
        let mark = format!("  | {}", "^".repeat(120));
        assert_eq!(all.lines().skip(3).collect::<Vec<_>>(), [&*line, &*mark]);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_and_not_sent() {
        let file = SourceFile::new("site\u{7}.toml", "a\u{1b}[31mb\t\u{9b}0m\r\u{7f} = 1");
        let problem = file.problem(0..1, "no `\u{1b}[2J`").hint("\u{1b}]0;x\u{7}\nmore");
        let shown = "error: no `\u{241b}[2J`\n --> site\u{2407}.toml:1:1\n  |\n\
            1 | a\u{241b}[31mb \u{fffd}0m\u{240d}\u{2421} = 1\n  | ^\n\
            \x20 = help: \u{241b}]0;x\u{2407}\nmore\n";
        assert_eq!(problem.to_string(), shown);
    }

    #[test]
    fn a_place_inside_a_character_or_past_the_end_does_not_panic() {
        let file = SourceFile::new("a", "ä\nb");
        assert_eq!(file.place(1), (1, 1));
        assert_eq!(file.place(99), (2, 2));
        assert_eq!(file.problem(1..99, "x").line, 1);
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(
            suggestion("fetchs", ["path", "fetch"]).as_deref(),
            Some("did you mean `fetch`?")
        );
        assert_eq!(suggestion("zzz", ["path", "fetch"]), None);
        assert_eq!(suggestion("a", ["b"]), None);
    }
}
