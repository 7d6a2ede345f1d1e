//! `[[static]]`: files that are served as they are, as written.

use super::reader::{At, Entry, Reader};
use super::upstreams::header_value_trouble;
use crate::limits::STATICS_MAX;
use std::ops::Range;
use toml::de::DeValue;

/// `[[static]]`.
#[derive(Clone, Debug)]
pub struct StaticTable {
    /// Where the table is, for problems with what it lacks.
    pub span: Range<usize>,
    /// The pattern of its paths.
    pub path: Option<At<String>>,
    /// Its folder or its file, where it has one of them.
    pub source: Option<(StaticKind, At<String>)>,
    /// What Cache-Control says of its files.
    pub cache_control: Option<String>,
}

/// What a `[[static]]` serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaticKind {
    /// All files of a folder: `dir`.
    Folder,
    /// One: `file`.
    File,
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<StaticTable> {
    let DeValue::Array(items) = entry.value.get_ref() else {
        let hint = "write [[static]] with two brackets: a site may have several";
        reader.problem_hint(entry.key_span.clone(), "`static` must be a list of tables", hint);
        return Vec::new();
    };
    if items.len() > STATICS_MAX {
        let message = format!("there are more than {STATICS_MAX} tables [[static]]");
        let hint = "one with a folder serves all that is in it";
        reader.problem_hint(entry.key_span.clone(), message, hint);
        return Vec::new();
    }
    let mut tables = Vec::new();
    for item in items.iter() {
        let table = Entry { key: "static", key_span: item.span(), value: item };
        tables.push(read_table(reader, &table));
    }
    tables
}

fn read_table(reader: &mut Reader<'_>, table: &Entry<'_>) -> StaticTable {
    let span = table.key_span.clone();
    let mut read = StaticTable { span, path: None, source: None, cache_control: None };
    let (mut has_path, mut sources) = (false, 0);
    for entry in &reader.table(table) {
        match entry.key {
            "path" => {
                has_path = true;
                read.path = reader.string(entry);
            }
            "dir" | "file" => {
                sources += 1;
                let kind = if entry.key == "dir" { StaticKind::Folder } else { StaticKind::File };
                read.source = reader.string(entry).map(|place| (kind, place));
                if sources > 1 {
                    let hint = "a folder and a single file are two tables";
                    let message = "`dir` and `file` cannot be used together";
                    reader.problem_hint(entry.key_span.clone(), message, hint);
                }
            }
            "cache_control" => read.cache_control = cache_control(reader, entry),
            _ => reader.unknown_key(entry, KEYS, "in [[static]]"),
        }
    }
    if !has_path {
        let hint = "add path = \"/assets/{file*}\" for a folder, or path = \"/robots.txt\"";
        reader.problem_hint(read.span.clone(), "this [[static]] has no `path`", hint);
    }
    if sources == 0 {
        let hint = "add dir = \"assets\", a folder beside site.toml, or file = \"robots.txt\"";
        let message = "this [[static]] has neither `dir` nor `file`";
        reader.problem_hint(read.span.clone(), message, hint);
    }
    read
}

fn cache_control(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<String> {
    let text = reader.string(entry)?;
    if header_value_trouble(text.value.as_bytes()) {
        let message = "the value of `cache_control` holds a control character";
        reader.problem(text.span, message);
        return None;
    }
    Some(text.value.trim().to_owned()).filter(|value| !value.is_empty())
}

const KEYS: &[&str] = &["path", "dir", "file", "cache_control"];
