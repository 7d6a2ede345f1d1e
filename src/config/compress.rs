//! `compress`: which pages are packed, and in which codings, as written.

use super::reader::{Entry, Reader, is_empty_list};
use crate::limits::{COMPRESS_BYTES_MAX, COMPRESS_BYTES_MIN};
use toml::de::DeValue;

/// `compress` of `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// The codings there are, the one that we like best first; none where nothing is packed.
    pub codings: Vec<PackedCoding>,
    /// Smaller bodies go out as they are, bytes.
    pub min_size: u64,
}

/// A content coding, by its name in HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedCoding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Default for Compress {
    /// The codings in the order of what they cost for what they save (bench/README.md). Whoever
    /// takes Brotli takes gzip, too, which is as small in less time.
    fn default() -> Self {
        let codings = vec![PackedCoding::Zstd, PackedCoding::Gzip, PackedCoding::Brotli];
        Self { codings, min_size: COMPRESS_BYTES_MIN as u64 }
    }
}

impl Compress {
    /// Nothing is packed.
    pub fn off() -> Self {
        Self { codings: Vec::new(), ..Self::default() }
    }
}

impl PackedCoding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "zstd" => Some(Self::Zstd),
            "br" => Some(Self::Brotli),
            "gzip" => Some(Self::Gzip),
            _ => None,
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Compress {
    let mut compress = Compress::default();
    match entry.value.get_ref() {
        DeValue::Boolean(true) => {}
        DeValue::Boolean(false) => return Compress::off(),
        DeValue::Array(_) => read_codings(reader, entry, &mut compress.codings),
        DeValue::Table(_) => {
            for inner in &reader.table(entry) {
                match inner.key {
                    "codings" => read_codings(reader, inner, &mut compress.codings),
                    "min_size" => {
                        reader.size(inner, COMPRESS_BYTES_MAX as u64, &mut compress.min_size);
                    }
                    _ => reader.unknown_key(inner, KEYS, "in `compress`"),
                }
            }
        }
        _ => reader.wrong_form(entry, "true, false, or a list such as [\"zstd\", \"gzip\"]"),
    }
    compress
}

fn read_codings(reader: &mut Reader<'_>, entry: &Entry<'_>, into: &mut Vec<PackedCoding>) {
    if is_empty_list(entry) || !matches!(entry.value.get_ref(), DeValue::Array(_)) {
        return reader.wrong_form(entry, "a list such as [\"zstd\", \"gzip\"]");
    }
    let mut codings = Vec::new();
    for name in reader.strings(entry) {
        match PackedCoding::named(&name.value) {
            Some(coding) if codings.contains(&coding) => {
                reader.problem(name.span, format!("`{}` is listed twice", name.value));
            }
            Some(coding) => codings.push(coding),
            None => {
                let message = format!("`{}` is not a coding that pages are packed in", name.value);
                reader.problem_hint(name.span, message, "there are \"zstd\", \"br\" and \"gzip\"");
            }
        }
    }
    *into = codings;
}

const KEYS: &[&str] = &["codings", "min_size"];
