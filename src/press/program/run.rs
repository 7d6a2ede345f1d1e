//! Programs, run.

use super::emit::push_scalar;
use super::evaluate::sound;
use super::foreign::Outcome;
use super::items::iterate;
use super::op::{
    CallBlock, Escape, Expr, ForeignId, Head, NameId, Print, Program, Slot, Step, Target,
};
use super::operand::Operand;
use super::sheet::Sheet;
use crate::limits::{PROGRAM_CALLED_LEVELS_MAX, RENDER_FUEL};
use crate::press::json::{Data, Kind, Shown, View};
use minijinja::Value;
use smallvec::SmallVec;

/// What a program needs of the page and of minijinja.
pub(in crate::press) trait Host<'a> {
    /// The value of a name of the program.
    fn name(&self, name: NameId) -> Found<'a>;

    /// The same where that is JSON as it came.
    fn view(&self, name: NameId) -> Option<View<'a>>;

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
    let mut run = Run {
        program,
        host,
        roots: (0..).zip(&program.names).map(|(name, _)| host.view(name)).collect(),
        slots: SmallVec::new(),
        base: 0,
        callers: Vec::new(),
        room: PROGRAM_CALLED_LEVELS_MAX,
        fuel: RENDER_FUEL,
        kept: Vec::new(),
    };
    run.slots.resize(program.slots, Operand::Unset);
    let mut sheet = Sheet::on(std::mem::take(out));
    let ran = run.steps(&program.steps, &mut sheet).and_then(|_| run.account(&sheet));
    *out = sheet.into_bytes();
    ran
}

pub(super) struct Run<'a, 'h> {
    pub(super) program: &'a Program,
    pub(super) host: &'h dyn Host<'a>,
    /// Those names of the page that are JSON.
    pub(super) roots: SmallVec<[Option<View<'a>>; NAMES_USUAL]>,
    pub(super) slots: SmallVec<[Operand<'a>; SLOTS_USUAL]>,
    /// Where the slots of the macro that runs begin.
    pub(super) base: usize,
    /// For each macro that runs, its call block and where the slots of that begin.
    pub(super) callers: Vec<Option<(&'a CallBlock, usize)>>,
    /// How many levels deeper calls may go.
    pub(super) room: usize,
    /// What is left, but for what is printed: that is looked at now and then.
    fuel: u64,
    /// Lists and objects that became values, so that each does only once.
    pub(super) kept: Vec<((usize, u32), Value)>,
}

pub(super) type Ran<T> = Result<T, GaveUp>;

/// How a body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Run<'a, '_> {
    pub(super) fn steps(&mut self, steps: &'a [Step], out: &mut Sheet) -> Ran<Flow> {
        for step in steps {
            self.spend(STEP_FUEL)?;
            let flow = match step {
                Step::Prints(head, prints) => {
                    self.prints(*head, prints, out)?;
                    continue;
                }
                Step::Raw(text) => {
                    out.push_text(text);
                    continue;
                }
                Step::If(condition) => {
                    let test = match self.view(&condition.test) {
                        Some(view) => {
                            self.spend(PATH_FUEL)?;
                            view.is_true()
                        }
                        None => self.expression(&condition.test)?.is_true(),
                    };
                    let body = if test { &condition.yes } else { &condition.no };
                    // Most have one text, or nothing.
                    match &**body {
                        [] => continue,
                        [Step::Raw(text)] => {
                            out.push_text(text);
                            continue;
                        }
                        body => self.steps(body, out)?,
                    }
                }
                step => self.step(step, out)?,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// Texts and values, in turns: what templates mostly are.
    #[inline(never)]
    fn prints(&mut self, head: Head, prints: &'a [Print], out: &mut Sheet) -> Ran<()> {
        self.spend((STEP_FUEL + PATH_FUEL) * prints.len() as u64)?;
        let view = self.head(head);
        for print in prints {
            out.push_text(&print.text);
            let shown = view.and_then(|view| view.follow(&print.names)).and_then(View::shown);
            match shown {
                Some(Shown { kind: Kind::String, text, start, len })
                    if print.escape == Escape::Html =>
                {
                    out.push_html_part(text, start, len);
                }
                Some(Shown { kind: Kind::String | Kind::Integer, text, start, len }) => {
                    out.push_part(text, start, len);
                }
                _ => self.print(&print.otherwise, print.escape, out)?,
            }
        }
        Ok(())
    }

    /// Steps of which there are few.
    #[inline(never)]
    fn step(&mut self, step: &'a Step, out: &mut Sheet) -> Ran<Flow> {
        match step {
            Step::Raw(_) | Step::Prints(..) | Step::If(_) => {
                return self.steps(std::slice::from_ref(step), out);
            }
            Step::For(each) => return self.each(each, out),
            Step::Recursive(id) => {
                let each = self.recursive(*id)?;
                return self.each(each, out);
            }
            Step::Recurse(recurse) => self.recurse(recurse, out)?,
            Step::Emit(Expr::Call(id, args, _), _) => self.call(*id, args, None, out)?,
            Step::Emit(value, escape) => self.print(value, *escape, out)?,
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
                self.call(block.called, &block.args, Some(block), out)?;
            }
            Step::Caller(args) => self.caller(args, out)?,
            Step::Discard(body) => {
                let before = out.len();
                let flow = self.steps(body, out)?;
                self.account(out)?;
                out.truncate(before);
                return Ok(flow);
            }
            Step::Break => return Ok(Flow::Break),
            Step::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    #[inline]
    fn print(&mut self, value: &'a Expr, escape: Escape, out: &mut Sheet) -> Ran<()> {
        if let Some(view) = self.view(value)
            && escape != Escape::Json
            && push_scalar(view, escape, out)
        {
            return self.spend(PATH_FUEL);
        }
        let value = self.expression(value)?;
        self.emit(&value, escape, out)
    }

    #[inline(always)]
    pub(super) fn spend(&mut self, fuel: u64) -> Ran<()> {
        self.fuel = self.fuel.checked_sub(fuel).ok_or(GaveUp("it takes too long"))?;
        Ok(())
    }

    /// Makes sure that there is not too much on a sheet, and that there is fuel for that.
    #[inline]
    pub(super) fn account(&self, out: &Sheet) -> Ran<()> {
        if out.is_full() {
            return Err(GaveUp("the page is too long"));
        }
        if out.printed() as u64 / BYTES_A_FUEL > self.fuel {
            return Err(GaveUp("it takes too long"));
        }
        Ok(())
    }

    #[inline]
    pub(super) fn put(&mut self, slot: Slot, value: Operand<'a>) {
        let place = self.slots.get_mut(self.base + slot as usize);
        debug_assert!(place.is_some(), "slot {slot} is not there");
        if let Some(place) = place {
            *place = value;
        }
    }

    #[inline]
    pub(super) fn slot(&self, slot: Slot) -> &Operand<'a> {
        self.slots.get(self.base + slot as usize).unwrap_or(&Operand::Unset)
    }

    /// A variable of the template, wherever we are.
    #[inline]
    pub(super) fn fixed(&self, slot: Slot) -> &Operand<'a> {
        self.slots.get(slot as usize).unwrap_or(&Operand::Unset)
    }

    pub(super) fn clear(&mut self, slots: &[Slot]) {
        for slot in slots {
            self.put(*slot, Operand::Unset);
        }
    }

    /// Runs a body and takes what it prints.
    pub(super) fn captured(
        &mut self,
        body: &'a [Step],
        escape: Escape,
        out: &mut Sheet,
    ) -> Ran<(Flow, Operand<'a>)> {
        let before = out.len();
        let flow = self.steps(body, out)?;
        self.account(out)?;
        Ok((flow, take_text(before, escape, out)?))
    }

    pub(super) fn set(&mut self, target: &'a Target, value: Operand<'a>) -> Ran<()> {
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

    /// A body that can leave no loop.
    pub(super) fn whole(&mut self, body: &'a [Step], out: &mut Sheet) -> Ran<()> {
        self.account(out)?;
        let before = out.printed();
        let flow = self.steps(body, out)?;
        // To minijinja it is a value, which is printed once more.
        self.spend(out.printed().saturating_sub(before) as u64 / BYTES_A_FUEL)?;
        match flow {
            Flow::Next => Ok(()),
            _ => Err(GaveUp("a loop is left from within a macro")),
        }
    }
}

/// Takes the end of `out` away, as the value of what was captured.
pub(super) fn take_text<'a>(from: usize, escape: Escape, out: &mut Sheet) -> Ran<Operand<'a>> {
    let Ok(text) = std::str::from_utf8(out.since(from)) else {
        return Err(GaveUp("a text that is not UTF-8"));
    };
    let value = match escape {
        Escape::None => Value::from(text),
        _ => Value::from_safe_string(text.to_owned()),
    };
    out.truncate(from);
    Ok(Operand::Value(value))
}

/// Names that need no memory of their own.
const NAMES_USUAL: usize = 4;
/// Slots that need no memory of their own.
const SLOTS_USUAL: usize = 12;
/// Inputs that need no memory of their own.
pub(super) const ARGUMENTS_USUAL: usize = 4;
// Never less than what minijinja takes: what is too much for it is too much here.
const STEP_FUEL: u64 = 4;
pub(super) const ITEM_FUEL: u64 = 8;
/// For the attributes of a path, of which there are hardly more.
pub(super) const PATH_FUEL: u64 = 16;
pub(super) const FOREIGN_FUEL: u64 = 16;
/// Bytes that are printed for one fuel.
pub(super) const BYTES_A_FUEL: u64 = 64;
