//! `fallback`: any value of TOML, as the JSON that an upstream might have said.

use super::reader::{At, Entry, Reader};
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::DeValue;

pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<At<String>> {
    let mut value = String::new();
    write(reader, entry.value, &mut value)?;
    Some(At { value, span: entry.key_span.clone() })
}

/// Appends a value as JSON, names in the order they are written. The parser of TOML bounds how
/// deep it can be.
pub(super) fn write(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    out: &mut String,
) -> Option<()> {
    let plain = match value.get_ref() {
        DeValue::String(text) => Some(Json::from(text.as_ref())),
        DeValue::Boolean(flag) => Some(Json::Bool(*flag)),
        DeValue::Datetime(time) => Some(Json::String(time.to_string())),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(Json::from)
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Json::Number)
        }
        DeValue::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write(reader, item, out)?;
            }
            out.push(']');
            return Some(());
        }
        DeValue::Table(table) => {
            out.push('{');
            for (index, entry) in reader.entries(table).into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&Json::from(entry.key).to_string());
                out.push(':');
                write(reader, entry.value, out)?;
            }
            out.push('}');
            return Some(());
        }
    };
    match plain {
        Some(plain) => out.push_str(&plain.to_string()),
        None => {
            let hint = "infinity, nan and integers beyond 64 bits are none";
            reader.problem_hint(value.span(), "this is no number that JSON has", hint);
            return None;
        }
    }
    Some(())
}
