//! The short ways of operations, for the inputs that have one.

use super::evaluate::number;
use super::op::OpKind;
use super::operand::Operand;
use super::run::{GaveUp, Ran};
use crate::press::json::Kind;
use std::cmp::Ordering;

/// What an operation gives, or `None` when minijinja has to do it.
pub(super) fn apply<'a>(kind: OpKind, inputs: &[Operand<'a>]) -> Ran<Option<Operand<'a>>> {
    let (Some(first), second) = (inputs.first(), inputs.get(1)) else { return Ok(None) };
    Ok(match (kind, second) {
        (OpKind::Item, Some(key)) => return item(first, key),
        (OpKind::Add, Some(second)) => integers(first, second, i64::checked_add),
        (OpKind::Sub, Some(second)) => integers(first, second, i64::checked_sub),
        (OpKind::Mul, Some(second)) => integers(first, second, i64::checked_mul),
        (OpKind::Rem, Some(second)) => integers(first, second, remainder),
        (OpKind::Eq, Some(second)) => equal(first, second).map(Operand::Bool),
        (OpKind::Ne, Some(second)) => equal(first, second).map(|same| Operand::Bool(!same)),
        (OpKind::Lt, Some(second)) => ordered(first, second, Ordering::is_lt),
        (OpKind::Le, Some(second)) => ordered(first, second, Ordering::is_le),
        (OpKind::Gt, Some(second)) => ordered(first, second, Ordering::is_gt),
        (OpKind::Ge, Some(second)) => ordered(first, second, Ordering::is_ge),
        (OpKind::In, Some(list)) => contains(list, first).map(Operand::Bool),
        (OpKind::NotIn, Some(list)) => contains(list, first).map(|is| Operand::Bool(!is)),
        (OpKind::Length, None) => length(first),
        (OpKind::Default, other) => match first {
            Operand::Undefined | Operand::Silent => {
                Some(other.cloned().unwrap_or(Operand::Text("")))
            }
            Operand::Unset | Operand::Loop { .. } => None,
            value => Some(value.clone()),
        },
        (OpKind::Safe, None) => safe(first),
        (OpKind::Escape, None) if first.is_safe() => Some(first.clone()),
        (OpKind::IsDefined, None) => is_there(first).map(Operand::Bool),
        (OpKind::IsUndefined, None) => is_there(first).map(|is| Operand::Bool(!is)),
        (OpKind::IsNone, None) => match first.clone().plain() {
            Operand::Undefined | Operand::Silent | Operand::Unset => None,
            value => Some(Operand::Bool(matches!(value, Operand::None))),
        },
        (OpKind::IsEven, None) => parity(first, 0),
        (OpKind::IsOdd, None) => parity(first, 1),
        (OpKind::IsString, None) => match first {
            Operand::Undefined | Operand::Silent | Operand::Unset => None,
            value => Some(Operand::Bool(value.string().is_some())),
        },
        (OpKind::IsMapping, None) => of_kind(first, &[Kind::Object]),
        (OpKind::IsSequence, None) => of_kind(first, &[Kind::Array]),
        (OpKind::IsNumber, None) => {
            of_kind(first, &[Kind::Integer, Kind::Float, Kind::True, Kind::False])
        }
        _ => None,
    })
}

/// What an operation costs beside itself, in bytes of text that it may look at.
pub(super) fn bytes(kind: OpKind, inputs: &[Operand<'_>]) -> u64 {
    let of = |operand: &Operand<'_>| match operand {
        Operand::View(view) => view.part().len(),
        operand => operand.string().map_or(0, str::len),
    };
    let all = || inputs.iter().map(of).sum::<usize>() as u64;
    match kind {
        OpKind::In | OpKind::NotIn => all().saturating_mul(4),
        OpKind::IsDefined
        | OpKind::IsUndefined
        | OpKind::IsNone
        | OpKind::IsString
        | OpKind::IsMapping
        | OpKind::IsSequence
        | OpKind::IsNumber => 0,
        _ => all(),
    }
}

fn integers<'a>(
    left: &Operand<'a>,
    right: &Operand<'a>,
    operation: fn(i64, i64) -> Option<i64>,
) -> Option<Operand<'a>> {
    match (left.clone().plain(), right.clone().plain()) {
        (Operand::Integer(left), Operand::Integer(right)) => {
            operation(left, right).map(Operand::Integer)
        }
        _ => None,
    }
}

/// The remainder where languages agree on it.
fn remainder(left: i64, right: i64) -> Option<i64> {
    if left >= 0 && right > 0 { Some(left % right) } else { None }
}

fn equal(left: &Operand<'_>, right: &Operand<'_>) -> Option<bool> {
    if let (Some(left), Some(right)) = (left.string(), right.string()) {
        return Some(left == right);
    }
    match (left.clone().plain(), right.clone().plain()) {
        (Operand::Integer(left), Operand::Integer(right)) => Some(left == right),
        (Operand::Bool(left), Operand::Bool(right)) => Some(left == right),
        (Operand::None, Operand::None) => Some(true),
        (Operand::None, other) | (other, Operand::None) if is_scalar(&other) => Some(false),
        _ => None,
    }
}

fn is_scalar(operand: &Operand<'_>) -> bool {
    matches!(operand, Operand::Integer(_) | Operand::Bool(_)) || operand.string().is_some()
}

fn ordered<'a>(
    left: &Operand<'a>,
    right: &Operand<'a>,
    holds: fn(Ordering) -> bool,
) -> Option<Operand<'a>> {
    if let (Some(left), Some(right)) = (left.string(), right.string()) {
        return Some(Operand::Bool(holds(left.cmp(right))));
    }
    match (left.clone().plain(), right.clone().plain()) {
        (Operand::Integer(left), Operand::Integer(right)) => {
            Some(Operand::Bool(holds(left.cmp(&right))))
        }
        _ => None,
    }
}

/// Whether a list has a string or an integer, a string a string, an object a name.
fn contains(list: &Operand<'_>, wanted: &Operand<'_>) -> Option<bool> {
    let wanted = wanted.clone().plain();
    let view = match list {
        Operand::View(view) => view,
        _ => return Some(list.string()?.contains(wanted.string()?)),
    };
    match view.kind() {
        Kind::String => Some(view.text().contains(wanted.string()?)),
        Kind::Object => Some(view.get(wanted.string()?).is_some()),
        Kind::Array => {
            for item in view.children() {
                if equal(&Operand::View(item), &wanted)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        _ => None,
    }
}

fn item<'a>(of: &Operand<'a>, key: &Operand<'a>) -> Ran<Option<Operand<'a>>> {
    let key = key.clone().plain();
    if let (Operand::List(items), Operand::Integer(index)) = (of, &key) {
        let from_the_end = || items.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?);
        let index = usize::try_from(*index).ok().or_else(from_the_end);
        let item = index.and_then(|index| items.get(index));
        return Ok(Some(item.map_or(Operand::Undefined, Operand::of)));
    }
    let found = match (of, &key) {
        (Operand::Unset | Operand::Undefined | Operand::Silent, _) => {
            return Err(GaveUp("an item of what is not there"));
        }
        (Operand::View(view), Operand::Integer(index)) if view.kind() == Kind::Array => {
            let index = match usize::try_from(*index) {
                Ok(index) => Some(index),
                Err(_) => usize::try_from(index.unsigned_abs())
                    .ok()
                    .and_then(|back| view.len().checked_sub(back)),
            };
            index.and_then(|index| view.item(index))
        }
        (Operand::View(view), key) if view.kind() == Kind::Object => {
            let Some(name) = key.string() else { return Ok(None) };
            view.get(name)
        }
        _ => return Ok(None),
    };
    Ok(Some(found.map_or(Operand::Undefined, Operand::View)))
}

fn length<'a>(of: &Operand<'a>) -> Option<Operand<'a>> {
    match of {
        Operand::View(view) => match view.kind() {
            Kind::Array | Kind::Object => Some(number(view.len())),
            Kind::String => Some(number(view.text().chars().count())),
            _ => None,
        },
        Operand::List(items) => Some(number(items.len())),
        Operand::Text(text) => Some(number(text.chars().count())),
        _ => None,
    }
}

fn safe<'a>(of: &Operand<'a>) -> Option<Operand<'a>> {
    if of.is_safe() {
        return Some(of.clone());
    }
    let text = of.string()?;
    Some(Operand::Value(minijinja::Value::from_safe_string(text.to_owned())))
}

fn is_there(operand: &Operand<'_>) -> Option<bool> {
    match operand {
        Operand::Unset | Operand::Loop { .. } => None,
        Operand::Undefined | Operand::Silent => Some(false),
        _ => Some(true),
    }
}

fn parity<'a>(operand: &Operand<'a>, rest: i64) -> Option<Operand<'a>> {
    match operand.clone().plain() {
        Operand::Integer(number) => Some(Operand::Bool(number.rem_euclid(2) == rest)),
        _ => None,
    }
}

fn of_kind<'a>(operand: &Operand<'a>, kinds: &[Kind]) -> Option<Operand<'a>> {
    match operand {
        Operand::View(view) => Some(Operand::Bool(kinds.contains(&view.kind()))),
        _ => None,
    }
}
