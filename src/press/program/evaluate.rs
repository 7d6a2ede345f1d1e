//! The values of expressions.

use super::native;
use super::op::{Escape, Expr, ForeignId, Head, LoopField, NameId, Slot};
use super::operand::Operand;
use super::run::{
    ARGUMENTS_USUAL, BYTES_A_FUEL, FOREIGN_FUEL, Found, GaveUp, PATH_FUEL, Ran, Run, take_text,
};
use super::sheet::Sheet;
use crate::press::json::{Data, Kind, Name, View};
use minijinja::Value;
use minijinja::value::ValueKind;
use smallvec::SmallVec;

impl<'a> Run<'a, '_> {
    pub(super) fn expression(&mut self, expression: &'a Expr) -> Ran<Operand<'a>> {
        self.spend(EXPRESSION_FUEL)?;
        if let Some(view) = self.view(expression) {
            self.spend(PATH_FUEL)?;
            return Ok(Operand::View(view));
        }
        Ok(match expression {
            Expr::Path(path) => self.expression(&path.otherwise)?,
            Expr::Const(value) => Operand::Value(value.clone()),
            Expr::Text(text) => Operand::Text(text),
            Expr::Integer(number) => Operand::Integer(*number),
            Expr::Root(name) => self.name(*name)?,
            Expr::Local(slots, name) => self.local(slots, *name)?,
            Expr::Fixed(slot) => self.fixed(*slot).clone(),
            Expr::Attribute(of, name) => {
                let of = self.expression(of)?;
                if let Operand::View(view) = &of {
                    self.spend(view.part().len() as u64 / BYTES_A_FUEL)?;
                }
                attribute(of, name)?
            }
            Expr::Loop(slot, field) => self.loop_field(*slot, *field)?,
            Expr::Cycle(slot, values) => self.cycle(*slot, values)?,
            Expr::Changed(slot, values) => self.changed(*slot, values)?,
            Expr::HasCaller => Operand::Bool(self.has_caller()),
            Expr::Recurse(recurse, escape) => {
                self.printed(*escape, |run, text| run.recurse(recurse, text))?
            }
            Expr::Caller(args, escape) => {
                self.printed(*escape, |run, text| run.caller(args, text))?
            }
            Expr::Not(inner) => Operand::Bool(!self.expression(inner)?.is_true()),
            Expr::And(sides) => {
                let left = self.expression(&sides.0)?;
                if left.is_true() { self.expression(&sides.1)? } else { left }
            }
            Expr::Or(sides) => {
                let left = self.expression(&sides.0)?;
                if left.is_true() { left } else { self.expression(&sides.1)? }
            }
            Expr::Choose(choice) => {
                let (test, yes, no) = &**choice;
                match (self.expression(test)?.is_true(), no) {
                    (true, _) => self.expression(yes)?,
                    (false, Some(no)) => self.expression(no)?,
                    (false, None) => Operand::Silent,
                }
            }
            Expr::Op(op) => {
                let mut inputs: SmallVec<[Operand<'a>; ARGUMENTS_USUAL]> = SmallVec::new();
                for input in &op.inputs {
                    inputs.push(self.expression(input)?);
                }
                self.spend(native::bytes(op.kind, &inputs) / BYTES_A_FUEL)?;
                match native::apply(op.kind, &inputs)? {
                    Some(value) => value,
                    None => self.foreign(op.foreign, &inputs, op.escape)?,
                }
            }
            Expr::Call(id, args, escape) => {
                self.printed(*escape, |run, text| run.call(*id, args, None, text))?
            }
            Expr::Body(body, escape) => {
                self.printed(*escape, |run, text| run.steps(body, text).map(drop))?
            }
        })
    }

    /// The value of all that is printed on a sheet of its own.
    fn printed(
        &mut self,
        escape: Escape,
        print: impl FnOnce(&mut Self, &mut Sheet) -> Ran<()>,
    ) -> Ran<Operand<'a>> {
        let mut text = Sheet::default();
        print(self, &mut text)?;
        self.account(&text)?;
        self.spend(text.printed() as u64 / BYTES_A_FUEL)?;
        take_text(0, escape, &mut text)
    }

    fn local(&self, slots: &[Slot], name: Option<NameId>) -> Ran<Operand<'a>> {
        for slot in slots {
            match self.slot(*slot) {
                Operand::Unset => {}
                value => return Ok(value.clone()),
            }
        }
        name.map_or(Ok(Operand::Undefined), |name| self.name(name))
    }

    fn cycle(&mut self, slot: Slot, values: &'a [Expr]) -> Ran<Operand<'a>> {
        let Operand::Loop { index, .. } = *self.slot(slot) else {
            return Err(GaveUp("a loop that is not there"));
        };
        let mut chosen = Operand::Undefined;
        for (at, value) in values.iter().enumerate() {
            let value = self.expression(value)?;
            if at == index as usize % values.len() {
                chosen = value;
            }
        }
        Ok(chosen)
    }

    /// What a name and attributes lead to, if that is within the JSON of a fetch: the short way of
    /// most expressions.
    #[inline]
    pub(super) fn view(&self, expression: &'a Expr) -> Option<View<'a>> {
        match expression {
            Expr::Path(path) => self.head(path.head)?.follow(&path.names),
            Expr::Local(slots, _) => as_view(self.slot(*slots.first()?)),
            Expr::Fixed(slot) => as_view(self.fixed(*slot)),
            Expr::Root(name) => self.root_view(*name),
            _ => None,
        }
    }

    /// Where a path begins, if that is JSON.
    #[inline(always)]
    pub(super) fn head(&self, head: Head) -> Option<View<'a>> {
        match head {
            Head::Local(slot) => as_view(self.slot(slot)),
            Head::Fixed(slot) => as_view(self.fixed(slot)),
            Head::Root(name) => self.root_view(name),
        }
    }

    #[inline]
    fn root_view(&self, name: NameId) -> Option<View<'a>> {
        self.roots.get(name as usize).copied().flatten()
    }

    fn name(&self, name: NameId) -> Ran<Operand<'a>> {
        match self.host.name(name) {
            Found::Data(data) => Ok(Operand::of(data)),
            Found::Value(value) => sound(value),
            Found::Nothing => Ok(Operand::Undefined),
        }
    }

    fn loop_field(&self, slot: Slot, field: LoopField) -> Ran<Operand<'a>> {
        let Operand::Loop { index, depth, length } = *self.slot(slot) else {
            return Err(GaveUp("a loop that is not there"));
        };
        let index = index as usize;
        let known = |count: fn(usize, usize) -> usize| match length {
            Some(length) => number(count(length, index)),
            None => Operand::Undefined,
        };
        Ok(match field {
            LoopField::Index => number(index + 1),
            LoopField::Index0 => number(index),
            LoopField::RevIndex => known(|length, index| length.saturating_sub(index)),
            LoopField::RevIndex0 => {
                known(|length, index| length.saturating_sub(index).saturating_sub(1))
            }
            LoopField::First => Operand::Bool(index == 0),
            LoopField::Last => Operand::Bool(length.is_some_and(|length| index + 1 == length)),
            LoopField::Length => known(|length, _| length),
            LoopField::Depth => Operand::Integer(i64::from(depth) + 1),
            LoopField::Depth0 => Operand::Integer(i64::from(depth)),
        })
    }

    pub(super) fn foreign(
        &mut self,
        foreign: ForeignId,
        inputs: &[Operand<'a>],
        escape: Escape,
    ) -> Ran<Operand<'a>> {
        let mut values = Vec::with_capacity(inputs.len());
        for input in inputs {
            values.push(self.value(input)?);
        }
        let outcome = self.host.foreign(foreign, values, escape);
        let outcome = outcome.map_err(|_| GaveUp("an operation failed"))?;
        self.spend(outcome.fuel + FOREIGN_FUEL)?;
        sound(outcome.value)
    }

    /// A value for minijinja.
    pub(super) fn value(&mut self, operand: &Operand<'a>) -> Ran<Value> {
        match operand {
            Operand::Silent => Ok(self.host.silent()),
            Operand::Loop { .. } => Err(GaveUp("`loop` as a value")),
            Operand::View(view) if matches!(view.kind(), Kind::Array | Kind::Object) => {
                self.kept_value(view.identity(), view.part().len(), || view.value())
            }
            Operand::List(items) => {
                // No node of a text has this place, so no value of one is taken for it.
                let identity = (items.as_ptr().addr(), u32::MAX);
                let bytes = items.iter().map(Data::text_bytes).sum();
                self.kept_value(identity, bytes, || operand.value())
            }
            operand => Ok(operand.value()),
        }
    }

    fn kept_value(
        &mut self,
        identity: (usize, u32),
        bytes: usize,
        value: impl FnOnce() -> Value,
    ) -> Ran<Value> {
        if let Some((_, value)) = self.kept.iter().find(|(other, _)| *other == identity) {
            return Ok(value.clone());
        }
        self.spend(bytes as u64 / BYTES_A_FUEL)?;
        let value = value();
        if self.kept.len() == KEPT_MAX {
            self.kept.clear();
        }
        self.kept.push((identity, value.clone()));
        Ok(value)
    }
}

#[inline(always)]
fn as_view<'a>(value: &Operand<'a>) -> Option<View<'a>> {
    match value {
        Operand::View(view) => Some(*view),
        _ => None,
    }
}

/// A value, unless it stands for an error.
pub(super) fn sound<'a>(value: Value) -> Ran<Operand<'a>> {
    match value.kind() {
        ValueKind::Invalid => Err(GaveUp("a value that is an error")),
        _ => Ok(Operand::of_value(value)),
    }
}

fn attribute<'a>(of: Operand<'a>, name: &Name) -> Ran<Operand<'a>> {
    match of {
        Operand::View(view) => Ok(view.get_named(name).map_or(Operand::Undefined, Operand::View)),
        Operand::Value(value) => match value.get_attr(name.text()) {
            Ok(value) => sound(value),
            Err(_) => Err(GaveUp("an attribute of what is not there")),
        },
        Operand::Unset | Operand::Undefined | Operand::Silent => {
            Err(GaveUp("an attribute of what is not there"))
        }
        Operand::Loop { .. } => Err(GaveUp("`loop` as a value")),
        _ => Ok(Operand::Undefined),
    }
}

/// A count as a value.
pub(super) fn number<'a>(count: usize) -> Operand<'a> {
    i64::try_from(count).map_or(Operand::Undefined, Operand::Integer)
}

/// Lists and objects that are kept as values at once.
const KEPT_MAX: usize = 64;
const EXPRESSION_FUEL: u64 = 2;
