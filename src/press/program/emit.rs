//! Printing values.

use super::op::Escape;
use super::operand::Operand;
use super::run::{FOREIGN_FUEL, GaveUp, Ran, Run};
use super::sheet::Sheet;
use crate::press::json::{Kind, Shown, View};
use minijinja::value::ValueKind;

impl<'a> Run<'a, '_> {
    pub(super) fn emit(&mut self, value: &Operand<'a>, escape: Escape, out: &mut Sheet) -> Ran<()> {
        if escape == Escape::Json {
            return self.emit_foreign(value, escape, out);
        }
        match value {
            Operand::Unset | Operand::Undefined => {
                return Err(GaveUp("what is not there is printed"));
            }
            Operand::Silent => {}
            Operand::None => out.push(b"None"),
            Operand::Bool(flag) => {
                out.push(if *flag { b"True" } else { b"False" });
            }
            Operand::Integer(number) => {
                out.push(itoa::Buffer::new().format(*number).as_bytes());
            }
            Operand::Text(text) => push_text(text, escape, out),
            Operand::View(view) => {
                if !push_scalar(*view, escape, out) {
                    return self.emit_foreign(value, escape, out);
                }
            }
            Operand::Value(string) if string.kind() == ValueKind::String => {
                let text = string.as_str().unwrap_or_default();
                if string.is_safe() {
                    out.push(text.as_bytes());
                } else {
                    push_text(text, escape, out);
                }
            }
            Operand::List(_) | Operand::Value(_) | Operand::Loop { .. } => {
                return self.emit_foreign(value, escape, out);
            }
        }
        Ok(())
    }

    /// Lists, objects, fractions, and all of a JSON page: as minijinja prints them.
    #[cold]
    fn emit_foreign(&mut self, value: &Operand<'a>, escape: Escape, out: &mut Sheet) -> Ran<()> {
        if let Operand::Unset | Operand::Undefined = value {
            return Err(GaveUp("what is not there is printed"));
        }
        let value = self.value(value)?;
        let text = self.host.format(value, escape);
        let text = text.map_err(|_| GaveUp("a value that cannot be printed"))?;
        self.spend(FOREIGN_FUEL + text.len() as u64)?;
        out.push(text.as_bytes());
        Ok(())
    }
}

/// Appends what JSON other than lists, objects and fractions prints; false for those.
#[inline(always)]
pub(super) fn push_scalar(view: View<'_>, escape: Escape, out: &mut Sheet) -> bool {
    let Some(shown) = view.shown() else { return false };
    let Shown { kind, text, start, len } = shown;
    match kind {
        Kind::String if escape == Escape::Html => out.push_html_part(text, start, len),
        // As it came: there is one way to write an integer.
        Kind::String | Kind::Integer => out.push_part(text, start, len),
        Kind::Null => out.push(b"None"),
        Kind::True => out.push(b"True"),
        Kind::False => out.push(b"False"),
        Kind::Float | Kind::Array | Kind::Object => return false,
    }
    true
}

fn push_text(text: &str, escape: Escape, out: &mut Sheet) {
    match escape {
        Escape::Html => out.push_html(text.as_bytes()),
        _ => out.push(text.as_bytes()),
    }
}
