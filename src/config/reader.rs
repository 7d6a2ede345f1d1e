//! Reads values out of parsed TOML. Every reader method returns what it could read, and writes
//! down what it could not, with the place: reading goes on, so that one run shows all problems.

use super::report::{Problem, SourceFile, suggestion};
use super::units;
use crate::limits::EXCERPT_CHARS_MAX;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its place in the site file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file: for a string, quotes included.
    pub span: Range<usize>,
}

/// A key of a table and its value.
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) key_span: Range<usize>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

/// Collects problems while tables are read.
pub(super) struct Reader<'a> {
    file: &'a SourceFile,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a SourceFile) -> Self {
        Self { file, problems: Vec::new() }
    }

    pub(super) fn syntax_errors(&mut self, errors: &[toml::de::Error]) {
        // One mistake, such as a missing quote, often breaks many lines: the first tells.
        if let Some(error) = errors.first() {
            let span = error.span().unwrap_or(0..0);
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            self.problem(span, format!("this is not TOML: {message}"));
        }
    }

    pub(super) fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.file.problem(span, message));
    }

    pub(super) fn problem_hint(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems.push(self.file.problem(span, message).hint(hint));
    }

    /// The entries of a table, in the order they are written.
    pub(super) fn entries<'t>(&self, table: &'t DeTable<'t>) -> Vec<Entry<'t>> {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| Entry { key: key.get_ref(), key_span: key.span(), value })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }

    pub(super) fn unknown_key(&mut self, entry: &Entry<'_>, known: &[&str], place: &str) {
        let hint = suggestion(entry.key, known.iter().copied())
            .unwrap_or_else(|| format!("the keys here are {}", known.join(", ")));
        let message = format!("unknown key `{}` {place}", entry.key);
        self.problem_hint(entry.key_span.clone(), message, hint);
    }

    /// The value of an entry is not of the form it should be.
    pub(super) fn wrong_form(&mut self, entry: &Entry<'_>, wanted: &str) {
        let found = match entry.value.get_ref() {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
            // A list is what is wanted: it is what is in it that is wrong.
            DeValue::Array(_) if wanted.contains("list") => self.text_of(entry.value.span()),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        let message = format!("`{}` must be {wanted}, not {found}", entry.key);
        self.problem(entry.value.span(), message);
    }

    /// What is written there, where that is short.
    pub(super) fn text_of(&self, span: Range<usize>) -> String {
        let text = self.file.text.get(span).unwrap_or_default();
        let is_short = text.chars().count() <= EXCERPT_CHARS_MAX && !text.contains('\n');
        if is_short { text.to_owned() } else { "this one".to_owned() }
    }

    pub(super) fn table<'t>(&mut self, entry: &Entry<'t>) -> Vec<Entry<'t>> {
        match entry.value.get_ref() {
            DeValue::Table(table) => self.entries(table),
            _ => {
                self.wrong_form(entry, "a table");
                Vec::new()
            }
        }
    }

    pub(super) fn string(&mut self, entry: &Entry<'_>) -> Option<At<String>> {
        match entry.value.get_ref() {
            DeValue::String(text) => {
                Some(At { value: text.clone().into_owned(), span: entry.value.span() })
            }
            _ => {
                self.wrong_form(entry, "a string");
                None
            }
        }
    }

    /// A string, or a number or flag that is taken for its text.
    pub(super) fn text(&mut self, entry: &Entry<'_>) -> Option<At<String>> {
        let value = match entry.value.get_ref() {
            DeValue::String(text) => text.clone().into_owned(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            _ => {
                self.wrong_form(entry, "a string");
                return None;
            }
        };
        Some(At { value, span: entry.value.span() })
    }

    pub(super) fn texts(&mut self, entry: &Entry<'_>) -> Vec<(At<String>, At<String>)> {
        let mut texts = Vec::new();
        for inner in self.table(entry) {
            let key = At { value: inner.key.to_owned(), span: inner.key_span.clone() };
            if let Some(text) = self.text(&inner) {
                texts.push((key, text));
            }
        }
        texts
    }

    /// The same for header fields: of names that differ in case only one could be sent.
    pub(super) fn fields(&mut self, entry: &Entry<'_>) -> Vec<(At<String>, At<String>)> {
        let mut fields: Vec<(At<String>, At<String>)> = Vec::new();
        for (name, value) in self.texts(entry) {
            if fields.iter().any(|(other, _)| other.value.eq_ignore_ascii_case(&name.value)) {
                self.problem(name.span, format!("`{}` is there twice", name.value));
            } else {
                fields.push((name, value));
            }
        }
        fields
    }

    /// A list of strings, or one string.
    pub(super) fn strings(&mut self, entry: &Entry<'_>) -> Vec<At<String>> {
        let one = std::slice::from_ref(entry.value);
        let items = match entry.value.get_ref() {
            DeValue::Array(items) => items.iter().collect::<Vec<_>>(),
            _ => one.iter().collect(),
        };
        let mut strings = Vec::new();
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => strings.push(At { value: text.to_owned(), span: item.span() }),
                None if matches!(entry.value.get_ref(), DeValue::Array(_)) => {
                    let message = format!("each item of `{}` must be a string", entry.key);
                    self.problem(item.span(), message);
                }
                None => self.wrong_form(entry, "a list of strings"),
            }
        }
        strings
    }

    pub(super) fn flag(&mut self, entry: &Entry<'_>) -> Option<bool> {
        let flag = entry.value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_form(entry, "true or false");
        }
        flag
    }

    pub(super) fn duration(&mut self, entry: &Entry<'_>, into: &mut Duration) {
        let text = entry.value.get_ref().as_str();
        match text.and_then(units::parse_duration) {
            Some(duration) if duration.is_zero() => {
                let message = format!("`{}` must be longer than nothing", entry.key);
                self.problem(entry.value.span(), message);
            }
            Some(duration) => *into = duration,
            None if text.is_some_and(units::is_too_long) => {
                let message = format!("`{}` is longer than a day", entry.key);
                let hint = "a day is the most that a server here waits for anything, or keeps it";
                self.problem_hint(entry.value.span(), message, hint);
            }
            None => self.wrong_form(entry, "a duration such as \"300ms\", \"2s\" or \"1m\""),
        }
    }

    pub(super) fn size(&mut self, entry: &Entry<'_>, max: u64, into: &mut u64) {
        let parsed = entry.value.get_ref().as_str().and_then(units::parse_size);
        match parsed {
            Some(size) if (1..=max).contains(&size) => *into = size,
            Some(_) => {
                let message = format!("`{}` must be from 1B to {max}B", entry.key);
                self.problem(entry.value.span(), message);
            }
            None => self.wrong_form(entry, "a size such as \"64KiB\" or \"8MiB\""),
        }
    }

    /// A part of all, from above 0 to 1, in thousandths.
    pub(super) fn per_mille(&mut self, entry: &Entry<'_>, into: &mut u32) {
        let number = match entry.value.get_ref() {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => None,
        };
        match number.filter(|number| (0.001..=1.0).contains(number)) {
            Some(number) => *into = (number * 1000.0).round() as u32,
            None => self.wrong_form(entry, "a ratio from 0.001 to 1"),
        }
    }

    pub(super) fn count(&mut self, entry: &Entry<'_>, min: usize, max: usize, into: &mut usize) {
        match integer(entry.value.get_ref()).filter(|count| (min..=max).contains(count)) {
            Some(count) => *into = count,
            None => self.wrong_form(entry, &format!("a number from {min} to {max}")),
        }
    }
}

/// Whether a table has a key.
pub(super) fn has_key(table: &Entry<'_>, key: &str) -> bool {
    table.value.get_ref().as_table().is_some_and(|table| table.contains_key(key))
}

/// Whether a value is a list of nothing.
pub(super) fn is_empty_list(entry: &Entry<'_>) -> bool {
    entry.value.get_ref().as_array().is_some_and(|items| items.is_empty())
}

/// A TOML integer that is not negative and fits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<usize> {
    let number = value.as_integer()?;
    usize::from_str_radix(number.as_str(), number.radix()).ok()
}
