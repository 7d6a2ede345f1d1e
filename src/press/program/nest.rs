//! What runs within itself: loops, those that call themselves, macros and bodies of call blocks.

use super::items::Items;
use super::op::{CallBlock, Expr, For, LoopId, Recurse, Slot};
use super::operand::Operand;
use super::run::{ARGUMENTS_USUAL, BYTES_A_FUEL, Flow, GaveUp, ITEM_FUEL, Ran, Run};
use super::sheet::Sheet;
use minijinja::Value;
use smallvec::SmallVec;

impl<'a> Run<'a, '_> {
    pub(super) fn each(&mut self, each: &'a For, out: &mut Sheet) -> Ran<Flow> {
        let list = self.expression(&each.list)?;
        let mut items = Items::of(list, each.asks.length && each.filter.is_none())?;
        if let Some((target, filter)) = &each.filter {
            let mut kept = Vec::new();
            while let Some(item) = items.next()? {
                self.set(target, item.clone())?;
                self.spend(ITEM_FUEL)?;
                if self.expression(filter)?.is_true() {
                    kept.push(item);
                }
            }
            items = Items::ready(kept);
        }
        let depth = each.outer.map_or(0, |outer| self.depth(outer) + 1);
        // minijinja takes a loop that is left in its first turn for one that had none.
        match self.turns(each, items, depth, out)? {
            0 => self.steps(&each.otherwise, out),
            _ => Ok(Flow::Next),
        }
    }

    /// Runs a loop's body for each item; gives how often it ran to its end.
    #[inline]
    fn turns(
        &mut self,
        each: &'a For,
        mut items: Items<'a>,
        depth: u32,
        out: &mut Sheet,
    ) -> Ran<u32> {
        if let Some(slot) = each.asks.changed {
            self.put(slot, Operand::Unset);
        }
        if each.asks.previous.is_some() || each.asks.next.is_some() {
            return self.turns_beside(each, items, depth, out);
        }
        let (mut index, length) = (0, items.length);
        while let Some(item) = items.next()? {
            let state = Operand::Loop { index, depth, length };
            if self.turn(each, item, state, out)? == Flow::Break {
                break;
            }
            index += 1;
        }
        Ok(index)
    }

    /// The same where the body asks for the items beside each.
    #[cold]
    #[inline(never)]
    fn turns_beside(
        &mut self,
        each: &'a For,
        mut items: Items<'a>,
        depth: u32,
        out: &mut Sheet,
    ) -> Ran<u32> {
        let (mut index, length) = (0, items.length);
        let (mut before, mut next) = (Operand::Undefined, items.next()?);
        while let Some(item) = next {
            let before = std::mem::replace(&mut before, item.clone());
            next = items.next()?;
            if let Some(slot) = each.asks.previous {
                self.put(slot, before);
            }
            if let Some(slot) = each.asks.next {
                self.put(slot, next.clone().unwrap_or(Operand::Undefined));
            }
            let state = Operand::Loop { index, depth, length };
            if self.turn(each, item, state, out)? == Flow::Break {
                break;
            }
            index += 1;
        }
        Ok(index)
    }

    #[inline(always)]
    fn turn(
        &mut self,
        each: &'a For,
        item: Operand<'a>,
        state: Operand<'a>,
        out: &mut Sheet,
    ) -> Ran<Flow> {
        self.clear(&each.clears);
        self.put(each.state, state);
        self.set(&each.target, item)?;
        self.spend(ITEM_FUEL)?;
        self.account(out)?;
        self.steps(&each.body, out)
    }

    /// A loop that calls itself.
    pub(super) fn recursive(&self, id: LoopId) -> Ran<&'a For> {
        self.program.loops.get(id as usize).ok_or(GaveUp("a loop that is not there"))
    }

    /// How many loops that call themselves are around a loop.
    fn depth(&self, state: Slot) -> u32 {
        match self.slot(state) {
            Operand::Loop { depth, .. } => *depth,
            _ => 0,
        }
    }

    /// What a loop prints of another list, in one of its turns; that goes on as it was.
    pub(super) fn recurse(&mut self, recurse: &'a Recurse, out: &mut Sheet) -> Ran<()> {
        let each = self.recursive(recurse.called)?;
        let list = self.expression(&recurse.list)?;
        let items = Items::of(list, each.asks.length)?;
        let room = self.enter(recurse.levels)?;
        let depth = self.depth(each.state) + 1;
        let mut kept: SmallVec<[Operand<'a>; KEPT_USUAL]> = SmallVec::new();
        for slot in each.slots.clone() {
            kept.push(self.slot(slot).clone());
            self.put(slot, Operand::Unset);
        }
        self.turns(each, items, depth, out)?;
        for (slot, value) in each.slots.clone().zip(kept) {
            self.put(slot, value);
        }
        self.room = room;
        Ok(())
    }

    /// Makes sure that it may go so many levels deeper; gives what room there was.
    fn enter(&mut self, levels: usize) -> Ran<usize> {
        let room = self.room;
        let Some(left) = room.checked_sub(levels + CALL_LEVELS) else {
            return Err(GaveUp("calls within each other too deep"));
        };
        self.room = left;
        Ok(room)
    }

    /// A macro's body, with a value for each parameter that is given.
    pub(super) fn call(
        &mut self,
        id: u32,
        args: &'a [Option<Expr>],
        block: Option<&'a CallBlock>,
        out: &mut Sheet,
    ) -> Ran<()> {
        let Some(called) = self.program.macros.get(id as usize) else {
            return Err(GaveUp("a macro that is not there"));
        };
        let room = self.enter(called.levels)?;
        let mut values: SmallVec<[Operand<'a>; ARGUMENTS_USUAL]> = SmallVec::new();
        for (arg, default) in args.iter().zip(&called.defaults) {
            let value = arg.as_ref().map(|arg| self.expression(arg)).transpose()?;
            values.push(value.unwrap_or(Operand::Undefined).or_else(default.as_ref()));
        }
        let outer = std::mem::replace(&mut self.base, self.slots.len());
        self.slots.resize(self.base + called.slots, Operand::Unset);
        for (slot, value) in values.into_iter().enumerate() {
            self.put(slot as Slot, value);
        }
        self.callers.push(block.map(|block| (block, outer)));
        self.whole(&called.steps, out)?;
        self.callers.pop();
        self.slots.truncate(self.base);
        self.base = outer;
        self.room = room;
        Ok(())
    }

    /// The body of the call block, with the variables of where it is written.
    pub(super) fn caller(&mut self, args: &'a [Expr], out: &mut Sheet) -> Ran<()> {
        let Some(Some((block, base))) = self.callers.last().copied() else {
            return Err(GaveUp("`caller` without a call block"));
        };
        if args.len() > block.params.len() {
            return Err(GaveUp("`caller` with more values than its call block takes"));
        }
        let room = self.enter(block.levels)?;
        let mut values: SmallVec<[Operand<'a>; ARGUMENTS_USUAL]> = SmallVec::new();
        for arg in args {
            values.push(self.expression(arg)?);
        }
        let inner = std::mem::replace(&mut self.base, base);
        let given = values.into_iter().chain(std::iter::repeat(Operand::Undefined));
        for (param, value) in block.params.iter().zip(given) {
            self.put(param.slot, value.or_else(param.default.as_ref()));
        }
        self.callers.push(None);
        self.whole(&block.body, out)?;
        self.callers.pop();
        self.base = inner;
        self.room = room;
        Ok(())
    }

    /// Whether the macro that runs has the body of a call block.
    pub(super) fn has_caller(&self) -> bool {
        matches!(self.callers.last(), Some(Some(_)))
    }

    /// Whether these are other values than in the turn before.
    pub(super) fn changed(&mut self, slot: Slot, args: &'a [Expr]) -> Ran<Operand<'a>> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = self.expression(arg)?;
            self.spend(value.text_bytes() as u64 / BYTES_A_FUEL)?;
            values.push(self.value(&value)?);
        }
        let values = Value::from(values);
        let is_changed = match self.slot(slot) {
            Operand::Value(before) => *before != values,
            _ => true,
        };
        self.put(slot, Operand::Value(values));
        Ok(Operand::Bool(is_changed))
    }
}

/// What a call itself takes of a stack, in levels.
const CALL_LEVELS: usize = 4;
/// Slots of a loop that are kept without memory of their own.
const KEPT_USUAL: usize = 6;
