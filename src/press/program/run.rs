//! Programs, run.

use super::foreign::Outcome;
use super::native;
use super::op::{Escape, Expr, For, ForeignId, LoopField, NameId, Program, Slot, Step, Target};
use super::operand::Operand;
use super::write::push_html;
use crate::limits::{PAGE_BYTES_MAX, PROGRAM_CALLS_MAX, RENDER_FUEL};
use crate::press::json::{Children, Data, Kind, View};
use minijinja::Value;
use minijinja::value::{ValueIter, ValueKind};
use smallvec::SmallVec;

/// What a program needs of the page and of minijinja.
pub(in crate::press) trait Host<'a> {
    /// The value of a name of the program.
    fn name(&self, name: NameId) -> Found<'a>;

    /// Does an operation.
    fn foreign(
        &self,
        foreign: ForeignId,
        inputs: Vec<Value>,
        escape: Escape,
    ) -> Result<Outcome, minijinja::Error>;

    /// What is not there, and silent.
    fn silent(&self) -> Value;

    /// What minijinja prints of a value.
    fn format(&self, value: Value, escape: Escape) -> Result<String, minijinja::Error>;
}

/// What a name is.
pub(in crate::press) enum Found<'a> {
    Data(&'a Data),
    Value(Value),
    Nothing,
}

/// Why a program did not make the page: then minijinja does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::press) struct GaveUp(pub(in crate::press) &'static str);

/// Appends what a program makes. When it gives up, `out` has some of it.
///
/// # Errors
/// When something would fail, or is better left to minijinja.
pub(in crate::press) fn run<'a>(
    program: &'a Program,
    host: &dyn Host<'a>,
    out: &mut Vec<u8>,
) -> Result<(), GaveUp> {
    let end = out.len().saturating_add(PAGE_BYTES_MAX);
    let mut run = Run {
        program,
        host,
        slots: SmallVec::new(),
        base: 0,
        callers: Vec::new(),
        fuel: RENDER_FUEL,
        end,
        kept: Vec::new(),
    };
    run.slots.resize(program.slots, Operand::Unset);
    run.steps(&program.steps, out).map(drop)
}

pub(super) struct Run<'a, 'h> {
    program: &'a Program,
    host: &'h dyn Host<'a>,
    slots: SmallVec<[Operand<'a>; SLOTS_USUAL]>,
    /// Where the slots of the macro that runs begin.
    base: usize,
    /// For each macro that runs, the body of its call block and where its slots begin.
    callers: Vec<Option<(&'a [Step], usize)>>,
    fuel: u64,
    /// How long `out` may become.
    end: usize,
    /// Lists and objects that became values, so that each does only once.
    kept: Vec<((usize, u32), Value)>,
}

pub(super) type Ran<T> = Result<T, GaveUp>;

/// How a body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Run<'a, '_> {
    fn steps(&mut self, steps: &'a [Step], out: &mut Vec<u8>) -> Ran<Flow> {
        for step in steps {
            match step {
                Step::Raw(text) => {
                    self.room(out, text.len())?;
                    out.extend_from_slice(text.as_bytes());
                }
                Step::Emit(Expr::Call(id, args, _), _) => self.call(*id, args, None, out)?,
                Step::Emit(value, escape) => {
                    let before = out.len();
                    if let Some(view) = self.path(value)
                        && *escape != Escape::Json
                        && push_scalar(view, *escape, out)
                    {
                        let printed = (out.len() - before) as u64;
                        self.spend(printed / BYTES_A_FUEL + PATH_FUEL)?;
                        if out.len() > self.end {
                            return Err(GaveUp("the page is too long"));
                        }
                        continue;
                    }
                    let value = self.expression(value)?;
                    self.emit(&value, *escape, out)?;
                    self.spend((out.len() - before) as u64 / BYTES_A_FUEL)?;
                }
                Step::If(condition) => {
                    let test = self.expression(&condition.test)?.is_true();
                    let body = if test { &condition.yes } else { &condition.no };
                    match self.steps(body, out)? {
                        Flow::Next => {}
                        flow => return Ok(flow),
                    }
                }
                Step::For(each) => match self.each(each, out)? {
                    Flow::Next => {}
                    flow => return Ok(flow),
                },
                Step::Set(target, value) => {
                    let value = self.expression(value)?;
                    self.set(target, value)?;
                }
                Step::SetAttribute(parts, foreign) => {
                    let inputs = [self.expression(&parts.0)?, self.expression(&parts.1)?];
                    self.foreign(*foreign, &inputs, Escape::None)?;
                }
                Step::Clear(slots) => self.clear(slots),
                Step::Capture(body, slot, escape) => {
                    let (flow, captured) = self.captured(body, *escape, out)?;
                    self.put(*slot, captured);
                    if flow != Flow::Next {
                        return Err(GaveUp("a loop is left from within a captured text"));
                    }
                }
                Step::CallBlock(block) => {
                    self.call(block.called, &block.args, Some(&block.body), out)?;
                }
                Step::Caller => self.caller(out)?,
                Step::Discard(body) => {
                    let before = out.len();
                    let flow = self.steps(body, out)?;
                    out.truncate(before);
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                Step::Break => return Ok(Flow::Break),
                Step::Continue => return Ok(Flow::Continue),
            }
            self.spend(STEP_FUEL)?;
        }
        Ok(Flow::Next)
    }

    #[inline]
    fn spend(&mut self, fuel: u64) -> Ran<()> {
        self.fuel = self.fuel.checked_sub(fuel).ok_or(GaveUp("it takes too long"))?;
        Ok(())
    }

    /// Makes sure that so much more may be printed.
    #[inline]
    fn room(&mut self, out: &[u8], bytes: usize) -> Ran<()> {
        if out.len().saturating_add(bytes) > self.end {
            return Err(GaveUp("the page is too long"));
        }
        self.spend(bytes as u64 / BYTES_A_FUEL)
    }

    #[inline]
    fn put(&mut self, slot: Slot, value: Operand<'a>) {
        let place = self.slots.get_mut(self.base + slot as usize);
        debug_assert!(place.is_some(), "slot {slot} is not there");
        if let Some(place) = place {
            *place = value;
        }
    }

    #[inline]
    fn slot(&self, slot: Slot) -> &Operand<'a> {
        self.slots.get(self.base + slot as usize).unwrap_or(&Operand::Unset)
    }

    fn clear(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.put(*slot, Operand::Unset);
        }
    }

    /// Runs a body and takes what it prints.
    fn captured(
        &mut self,
        body: &'a [Step],
        escape: Escape,
        out: &mut Vec<u8>,
    ) -> Ran<(Flow, Operand<'a>)> {
        let before = out.len();
        let flow = self.steps(body, out)?;
        Ok((flow, take_text(before, escape, out)?))
    }

    fn set(&mut self, target: &'a Target, value: Operand<'a>) -> Ran<()> {
        let targets = match target {
            Target::One(slot) => {
                self.put(*slot, value);
                return Ok(());
            }
            Target::Each(targets) => targets,
        };
        match value {
            Operand::View(view) if view.kind() == Kind::Array => {
                if view.len() != targets.len() {
                    return Err(GaveUp("a list of another length"));
                }
                for (target, item) in targets.iter().zip(view.children()) {
                    self.set(target, Operand::View(item))?;
                }
            }
            Operand::Value(value) if value.as_object().is_some() => {
                let items: Vec<Value> = iterate(&value)?.take(targets.len() + 1).collect();
                if items.len() != targets.len() {
                    return Err(GaveUp("a list of another length"));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.set(target, sound(item)?)?;
                }
            }
            _ => return Err(GaveUp("something that cannot be unpacked")),
        }
        Ok(())
    }

    fn each(&mut self, each: &'a For, out: &mut Vec<u8>) -> Ran<Flow> {
        let list = self.expression(&each.list)?;
        let mut items = self.items(list, each.needs_length && each.filter.is_none())?;
        if let Some((target, filter)) = &each.filter {
            let mut kept = Vec::new();
            while let Some(item) = items.next()? {
                self.set(target, item.clone())?;
                self.spend(ITEM_FUEL)?;
                if self.expression(filter)?.is_true() {
                    kept.push(item);
                }
            }
            let length = Some(kept.len());
            items = Items { kind: ItemsKind::Kept(kept.into_iter()), length };
        }
        let mut index = 0;
        let length = items.length;
        while let Some(item) = items.next()? {
            self.clear(&each.clears);
            self.put(each.state, Operand::Loop { index, length });
            self.set(&each.target, item)?;
            self.spend(ITEM_FUEL)?;
            if self.steps(&each.body, out)? == Flow::Break {
                break;
            }
            index += 1;
        }
        // minijinja takes a loop that is left in its first turn for one that had none.
        if index == 0 { self.steps(&each.otherwise, out) } else { Ok(Flow::Next) }
    }

    fn items(&self, list: Operand<'a>, needs_length: bool) -> Ran<Items<'a>> {
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

    /// A macro's body, with a value for each parameter that is given.
    fn call(
        &mut self,
        id: u32,
        args: &'a [Option<Expr>],
        body: Option<&'a [Step]>,
        out: &mut Vec<u8>,
    ) -> Ran<()> {
        let Some(called) = self.program.macros.get(id as usize) else {
            return Err(GaveUp("a macro that is not there"));
        };
        if self.callers.len() == PROGRAM_CALLS_MAX {
            return Err(GaveUp("macros call each other too deep"));
        }
        let mut values: SmallVec<[Operand<'a>; ARGUMENTS_USUAL]> = SmallVec::new();
        for (arg, default) in args.iter().zip(&called.defaults) {
            let value = arg.as_ref().map(|arg| self.expression(arg)).transpose()?;
            let value = value.unwrap_or(Operand::Undefined);
            values.push(match (value, default) {
                (Operand::Undefined | Operand::Silent, Some(default)) => Operand::of_const(default),
                (value, _) => value,
            });
        }
        let outer = std::mem::replace(&mut self.base, self.slots.len());
        self.slots.resize(self.base + called.slots, Operand::Unset);
        for (slot, value) in values.into_iter().enumerate() {
            self.put(slot as Slot, value);
        }
        self.callers.push(body.map(|body| (body, outer)));
        self.whole(&called.steps, out)?;
        self.callers.pop();
        self.slots.truncate(self.base);
        self.base = outer;
        Ok(())
    }

    /// The body of the call block, with the variables of where it is written.
    fn caller(&mut self, out: &mut Vec<u8>) -> Ran<()> {
        let Some(Some((body, base))) = self.callers.last().copied() else {
            return Err(GaveUp("`caller` without a call block"));
        };
        if self.callers.len() == PROGRAM_CALLS_MAX {
            return Err(GaveUp("macros call each other too deep"));
        }
        let inner = std::mem::replace(&mut self.base, base);
        self.callers.push(None);
        self.whole(body, out)?;
        self.callers.pop();
        self.base = inner;
        Ok(())
    }

    /// A body that can leave no loop.
    fn whole(&mut self, body: &'a [Step], out: &mut Vec<u8>) -> Ran<()> {
        match self.steps(body, out)? {
            Flow::Next => Ok(()),
            _ => Err(GaveUp("a loop is left from within a macro")),
        }
    }

    pub(super) fn expression(&mut self, expression: &'a Expr) -> Ran<Operand<'a>> {
        self.spend(EXPRESSION_FUEL)?;
        if let Some(view) = self.path(expression) {
            self.spend(PATH_FUEL)?;
            return Ok(Operand::View(view));
        }
        Ok(match expression {
            Expr::Const(value) => Operand::Value(value.clone()),
            Expr::Text(text) => Operand::Text(text),
            Expr::Integer(number) => Operand::Integer(*number),
            Expr::Root(name) => self.name(*name)?,
            Expr::Local(slots, name) => {
                for slot in slots {
                    match self.slot(*slot) {
                        Operand::Unset => {}
                        value => return Ok(value.clone()),
                    }
                }
                match name {
                    Some(name) => self.name(*name)?,
                    None => Operand::Undefined,
                }
            }
            Expr::Attribute(of, name, _) => {
                let of = self.expression(of)?;
                attribute(of, name)?
            }
            Expr::Loop(slot, field) => self.loop_field(*slot, *field)?,
            Expr::Cycle(slot, values) => {
                let Operand::Loop { index, .. } = *self.slot(*slot) else {
                    return Err(GaveUp("a loop that is not there"));
                };
                let mut chosen = Operand::Undefined;
                for (at, value) in values.iter().enumerate() {
                    let value = self.expression(value)?;
                    if at == index % values.len() {
                        chosen = value;
                    }
                }
                chosen
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
                match native::apply(op.kind, &inputs)? {
                    Some(value) => value,
                    None => self.foreign(op.foreign, &inputs, op.escape)?,
                }
            }
            Expr::Call(id, args, escape) => {
                let mut text = Vec::new();
                self.call(*id, args, None, &mut text)?;
                take_text(0, *escape, &mut text)?
            }
            Expr::Body(body, escape) => {
                let mut text = Vec::new();
                self.captured(body, *escape, &mut text)?.1
            }
        })
    }

    /// What a name and attributes lead to, if that is within the JSON of a fetch: the short way of
    /// most expressions.
    #[inline]
    fn path(&self, expression: &'a Expr) -> Option<View<'a>> {
        match expression {
            Expr::Attribute(of, name, tag) => self.path(of)?.get_tagged(name, *tag),
            Expr::Local(slots, _) => match self.slot(*slots.first()?) {
                Operand::View(view) => Some(*view),
                _ => None,
            },
            Expr::Root(name) => match self.host.name(*name) {
                Found::Data(Data::Doc(doc)) => Some(doc.root()),
                _ => None,
            },
            _ => None,
        }
    }

    fn name(&self, name: NameId) -> Ran<Operand<'a>> {
        match self.host.name(name) {
            Found::Data(data) => Ok(Operand::of(data)),
            Found::Value(value) => sound(value),
            Found::Nothing => Ok(Operand::Undefined),
        }
    }

    fn loop_field(&self, slot: Slot, field: LoopField) -> Ran<Operand<'a>> {
        let Operand::Loop { index, length } = *self.slot(slot) else {
            return Err(GaveUp("a loop that is not there"));
        };
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
            LoopField::Depth => Operand::Integer(1),
            LoopField::Depth0 => Operand::Integer(0),
        })
    }

    fn foreign(
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
    fn value(&mut self, operand: &Operand<'a>) -> Ran<Value> {
        match operand {
            Operand::Silent => Ok(self.host.silent()),
            Operand::Loop { .. } => Err(GaveUp("`loop` as a value")),
            Operand::View(view) if matches!(view.kind(), Kind::Array | Kind::Object) => {
                self.kept_value(*view)
            }
            operand => Ok(operand.value()),
        }
    }

    fn kept_value(&mut self, view: View<'a>) -> Ran<Value> {
        let identity = view.identity();
        if let Some((_, value)) = self.kept.iter().find(|(other, _)| *other == identity) {
            return Ok(value.clone());
        }
        self.spend(view.text().len() as u64 / BYTES_A_FUEL)?;
        let value = view.value();
        if self.kept.len() == KEPT_MAX {
            self.kept.clear();
        }
        self.kept.push((identity, value.clone()));
        Ok(value)
    }

    fn emit(&mut self, value: &Operand<'a>, escape: Escape, out: &mut Vec<u8>) -> Ran<()> {
        if escape == Escape::Json {
            return self.emit_foreign(value, escape, out);
        }
        match value {
            Operand::Unset | Operand::Undefined => {
                return Err(GaveUp("what is not there is printed"));
            }
            Operand::Silent => {}
            Operand::None => out.extend_from_slice(b"None"),
            Operand::Bool(flag) => {
                out.extend_from_slice(if *flag { b"True" } else { b"False" });
            }
            Operand::Integer(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
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
                    out.extend_from_slice(text.as_bytes());
                } else {
                    push_text(text, escape, out);
                }
            }
            Operand::List(_) | Operand::Value(_) | Operand::Loop { .. } => {
                return self.emit_foreign(value, escape, out);
            }
        }
        self.room(out, 0)
    }

    /// Lists, objects, fractions, and all of a JSON page: as minijinja prints them.
    #[cold]
    fn emit_foreign(&mut self, value: &Operand<'a>, escape: Escape, out: &mut Vec<u8>) -> Ran<()> {
        if let Operand::Unset | Operand::Undefined = value {
            return Err(GaveUp("what is not there is printed"));
        }
        let value = self.value(value)?;
        let text = self.host.format(value, escape);
        let text = text.map_err(|_| GaveUp("a value that cannot be printed"))?;
        self.spend(FOREIGN_FUEL + text.len() as u64)?;
        self.room(out, text.len())?;
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends what JSON other than lists, objects and fractions prints; false for those.
#[inline]
fn push_scalar(view: View<'_>, escape: Escape, out: &mut Vec<u8>) -> bool {
    match view.kind() {
        Kind::String => push_text(view.text(), escape, out),
        // As it came: there is one way to write an integer.
        Kind::Integer => out.extend_from_slice(view.text().as_bytes()),
        Kind::Null => out.extend_from_slice(b"None"),
        Kind::True => out.extend_from_slice(b"True"),
        Kind::False => out.extend_from_slice(b"False"),
        Kind::Float | Kind::Array | Kind::Object => return false,
    }
    true
}

#[inline]
fn push_text(text: &str, escape: Escape, out: &mut Vec<u8>) {
    match escape {
        Escape::Html => push_html(text, out),
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// Takes the end of `out` away, as the value of what was captured.
fn take_text<'a>(from: usize, escape: Escape, out: &mut Vec<u8>) -> Ran<Operand<'a>> {
    let text = out.get(from..).map(std::str::from_utf8);
    let Some(Ok(text)) = text else { return Err(GaveUp("a text that is not UTF-8")) };
    let value = match escape {
        Escape::None => Value::from(text),
        _ => Value::from_safe_string(text.to_owned()),
    };
    out.truncate(from);
    Ok(Operand::Value(value))
}

/// A value, unless it stands for an error.
fn sound<'a>(value: Value) -> Ran<Operand<'a>> {
    match value.kind() {
        ValueKind::Invalid => Err(GaveUp("a value that is an error")),
        _ => Ok(Operand::of_value(value)),
    }
}

fn attribute<'a>(of: Operand<'a>, name: &str) -> Ran<Operand<'a>> {
    match of {
        Operand::View(view) => Ok(view.get(name).map_or(Operand::Undefined, Operand::View)),
        Operand::Value(value) => match value.get_attr(name) {
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

fn iterate(value: &Value) -> Ran<ValueIter> {
    value.try_iter().map_err(|_| GaveUp("a loop over what is no list"))
}

/// A count as a value.
pub(super) fn number<'a>(count: usize) -> Operand<'a> {
    i64::try_from(count).map_or(Operand::Undefined, Operand::Integer)
}

/// What a loop is over.
struct Items<'a> {
    kind: ItemsKind<'a>,
    /// How many there are, if the loop asks or it is known anyway.
    length: Option<usize>,
}

enum ItemsKind<'a> {
    Views(Children<'a>),
    List(std::slice::Iter<'a, Data>),
    Values(ValueIter),
    Kept(std::vec::IntoIter<Operand<'a>>),
}

impl<'a> Items<'a> {
    fn next(&mut self) -> Ran<Option<Operand<'a>>> {
        Ok(match &mut self.kind {
            ItemsKind::Views(items) => items.next().map(Operand::View),
            ItemsKind::List(items) => items.next().map(Operand::of),
            ItemsKind::Values(items) => items.next().map(sound).transpose()?,
            ItemsKind::Kept(items) => items.next(),
        })
    }
}

/// Slots that need no memory of their own.
const SLOTS_USUAL: usize = 12;
/// Inputs that need no memory of their own.
const ARGUMENTS_USUAL: usize = 4;
/// Lists and objects that are kept as values at once.
const KEPT_MAX: usize = 64;
// Never less than what minijinja takes: what is too much for it is too much here.
const STEP_FUEL: u64 = 4;
const EXPRESSION_FUEL: u64 = 2;
/// For the attributes of a path, of which there are hardly more.
const PATH_FUEL: u64 = 16;
const ITEM_FUEL: u64 = 8;
const FOREIGN_FUEL: u64 = 16;
/// Bytes that minijinja prints for one fuel.
const BYTES_A_FUEL: u64 = 64;
