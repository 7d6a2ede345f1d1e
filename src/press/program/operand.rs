//! The values of a program: borrowed from where they are as long as possible.

use crate::press::json::{Data, Kind, View};
use minijinja::Value;
use minijinja::value::ValueKind;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Operand<'a> {
    /// A variable without a value.
    Unset,
    /// What is not there.
    Undefined,
    /// What is not there, and may be printed: of an `if` without an `else`.
    Silent,
    None,
    Bool(bool),
    Integer(i64),
    /// A string that is to be escaped.
    Text(&'a str),
    View(View<'a>),
    List(&'a [Data]),
    Value(Value),
    /// What `loop` is: turns so far, loops that call themselves around this one, and how many turns
    /// there will be.
    Loop {
        index: u32,
        depth: u32,
        length: Option<usize>,
    },
}

impl<'a> Operand<'a> {
    #[inline]
    pub(super) fn of(data: &'a Data) -> Self {
        match data {
            Data::Doc(doc) => Operand::View(doc.root()),
            Data::Value(value) => Operand::of_value(value.clone()),
            Data::List(items) => Operand::List(items),
            Data::Shared(data) => Operand::of(data),
        }
    }

    /// A value of minijinja's. That of what is not there is not told from a silent one, and
    /// taken for the one that fails when it is printed: then minijinja says which it was.
    pub(super) fn of_value(value: Value) -> Self {
        match value.kind() {
            ValueKind::Undefined => Operand::Undefined,
            _ => Operand::Value(value),
        }
    }

    /// A constant.
    pub(super) fn of_const(value: &'a Value) -> Self {
        match value.as_str() {
            Some(text) if !value.is_safe() && value.kind() == ValueKind::String => {
                Operand::Text(text)
            }
            _ => Operand::Value(value.clone()),
        }
    }

    /// This, or where it is nothing a constant, if there is one.
    pub(super) fn or_else(self, default: Option<&'a Value>) -> Self {
        match (self, default) {
            (Operand::Undefined | Operand::Silent, Some(default)) => Operand::of_const(default),
            (value, _) => value,
        }
    }

    /// How much text may have to be looked at to compare it, in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Operand::Text(text) => text.len(),
            Operand::View(view) => view.part().len(),
            Operand::List(items) => items.iter().map(Data::text_bytes).sum(),
            _ => 0,
        }
    }

    /// The same, with what is no list and no object told by itself.
    #[inline]
    pub(super) fn plain(self) -> Self {
        match &self {
            Operand::View(view) => match view.kind() {
                Kind::Null => Operand::None,
                Kind::True => Operand::Bool(true),
                Kind::False => Operand::Bool(false),
                Kind::String => Operand::Text(view.text()),
                Kind::Integer => view.integer().map_or(self, Operand::Integer),
                Kind::Float | Kind::Array | Kind::Object => self,
            },
            Operand::Value(value) => match value.kind() {
                ValueKind::None => Operand::None,
                ValueKind::Bool => Operand::Bool(value.is_true()),
                ValueKind::Number if value.is_integer() => {
                    i64::try_from(value.clone()).map_or(self, Operand::Integer)
                }
                _ => self,
            },
            _ => self,
        }
    }

    /// The text of a string, safe or not.
    pub(super) fn string(&self) -> Option<&str> {
        match self {
            Operand::Text(text) => Some(text),
            Operand::View(view) if view.kind() == Kind::String => Some(view.text()),
            Operand::Value(value) if value.kind() == ValueKind::String => value.as_str(),
            _ => None,
        }
    }

    /// Whether it is a string that needs no escaping.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self, Operand::Value(value) if value.is_safe())
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Operand::Unset | Operand::Undefined | Operand::Silent | Operand::None => false,
            Operand::Bool(flag) => *flag,
            Operand::Integer(number) => *number != 0,
            Operand::Text(text) => !text.is_empty(),
            Operand::List(items) => !items.is_empty(),
            Operand::Value(value) => value.is_true(),
            Operand::Loop { .. } => true,
            Operand::View(view) => view.is_true(),
        }
    }

    /// This as a value of minijinja's, but for what is not there and silent.
    pub(super) fn value(&self) -> Value {
        match self {
            Operand::Unset | Operand::Undefined | Operand::Silent | Operand::Loop { .. } => {
                Value::UNDEFINED
            }
            Operand::None => Value::from(()),
            Operand::Bool(flag) => Value::from(*flag),
            Operand::Integer(number) => Value::from(*number),
            Operand::Text(text) => Value::from(*text),
            Operand::View(view) => view.value(),
            Operand::List(items) => items.iter().map(Data::value).collect(),
            Operand::Value(value) => value.clone(),
        }
    }
}
