//! What loops are over.

use super::evaluate::sound;
use super::operand::Operand;
use super::run::{GaveUp, Ran};
use crate::press::json::{Children, Data, Kind};
use minijinja::Value;
use minijinja::value::ValueIter;

/// What a loop is over.
pub(super) struct Items<'a> {
    kind: ItemsKind<'a>,
    /// How many there are, if the loop asks or it is known anyway.
    pub(super) length: Option<usize>,
}

enum ItemsKind<'a> {
    Views(Children<'a>),
    List(std::slice::Iter<'a, Data>),
    Values(ValueIter),
    Kept(std::vec::IntoIter<Operand<'a>>),
}

impl<'a> Items<'a> {
    /// The items of a list, an object's names and so on.
    pub(super) fn of(list: Operand<'a>, needs_length: bool) -> Ran<Self> {
        let (kind, length) = match list {
            Operand::View(view) if matches!(view.kind(), Kind::Array | Kind::Object) => {
                let length = if needs_length { Some(view.len()) } else { None };
                (ItemsKind::Views(view.children()), length)
            }
            Operand::List(items) => (ItemsKind::List(items.iter()), Some(items.len())),
            Operand::Silent => (ItemsKind::Kept(Vec::new().into_iter()), Some(0)),
            Operand::Unset | Operand::Undefined | Operand::Loop { .. } => {
                return Err(GaveUp("a loop over what is not there"));
            }
            list => {
                let items = iterate(&list.value())?;
                let length = match items.size_hint() {
                    (lower, Some(upper)) if lower == upper => Some(lower),
                    _ => None,
                };
                (ItemsKind::Values(items), length)
            }
        };
        Ok(Items { kind, length })
    }

    /// Items that are there already.
    pub(super) fn ready(items: Vec<Operand<'a>>) -> Self {
        let length = Some(items.len());
        Self { kind: ItemsKind::Kept(items.into_iter()), length }
    }

    pub(super) fn next(&mut self) -> Ran<Option<Operand<'a>>> {
        Ok(match &mut self.kind {
            ItemsKind::Views(items) => items.next().map(Operand::View),
            ItemsKind::List(items) => items.next().map(Operand::of),
            ItemsKind::Values(items) => items.next().map(sound).transpose()?,
            ItemsKind::Kept(items) => items.next(),
        })
    }
}

pub(super) fn iterate(value: &Value) -> Ran<ValueIter> {
    value.try_iter().map_err(|_| GaveUp("a loop over what is no list"))
}
