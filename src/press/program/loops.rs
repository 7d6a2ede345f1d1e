//! Loops, and those that call themselves.

use super::assigned;
use super::compile::{Compiler, Covered};
use super::op::{Expr, For, LoopId, Recurse, Slot, Step};
use super::scope::Recursion;
use minijinja::machinery::ast;
use std::collections::BTreeSet;

impl<'s> Compiler<'s, '_> {
    pub(super) fn each(&mut self, each: &'s ast::ForLoop<'s>) -> Covered<Step> {
        if self.assigned.contains_key("loop") {
            return Err(self.uncovered("a variable with the name `loop`"));
        }
        let first = self.scope.next_slot();
        let in_head = std::mem::replace(&mut self.in_loop_head, true);
        let list = self.expression(&each.iter)?;
        let filter = match &each.filter_expr {
            None => None,
            Some(filter) => {
                self.scope.push();
                let target = self.target(&each.target)?;
                let filter = self.expression(filter)?;
                self.scope.pop();
                Some((target, filter))
            }
        };
        self.in_loop_head = in_head;
        let state = self.scope.unnamed();
        let outer = self.outer_recursion();
        let recursion = if each.recursive { Some(self.recursion(each)) } else { None };
        let called = recursion.as_ref().map(|recursion| recursion.called);
        let fixed = assigned::only_targets(each);
        let frame = self.scope.push();
        (frame.state, frame.recursion, frame.fixed) = (Some(state), recursion, fixed);
        let target = self.target(&each.target)?;
        self.loops += 1;
        let body = self.body(&each.body)?.into();
        self.loops -= 1;
        let frame = self.scope.pop();
        self.scope.enter();
        let otherwise = self.body(&each.else_body)?.into();
        self.scope.leave();
        let (asks, clears) = (frame.asks, frame.clears.into());
        let slots = first..self.scope.next_slot();
        let each = For { list, filter, target, state, outer, asks, slots, clears, body, otherwise };
        let Some(called) = called else { return Ok(Step::For(Box::new(each))) };
        if let Some(place) = self.recursive.get_mut(called as usize) {
            *place = Some(each);
        }
        Ok(Step::Recursive(called))
    }

    /// What is known of a loop that calls itself, before its body is looked at.
    fn recursion(&mut self, each: &'s ast::ForLoop<'s>) -> Recursion<'s> {
        let called = self.recursive.len() as LoopId;
        self.recursive.push(None);
        let sets = match assigned::within(each) {
            Some(sets) => sets.into_keys().collect(),
            None => self.assigned.keys().copied().collect::<BTreeSet<_>>(),
        };
        let (place, levels) = (self.surroundings(), self.levels);
        let has_else = !each.else_body.is_empty();
        Recursion { called, place, levels, sets, has_else }
    }

    /// What `loop` is in the loop around, if that calls itself.
    fn outer_recursion(&mut self) -> Option<Slot> {
        let from = self.call_frame.unwrap_or(0);
        let (slot, frame) = self.scope.current_loop(from)?;
        frame.recursion.as_ref().map(|_| slot)
    }

    /// A call of the loop that we are in.
    pub(super) fn recurse(&mut self, args: &'s [ast::CallArg<'s>]) -> Covered<Recurse> {
        let [ast::CallArg::Pos(list)] = args else {
            return Err(self.uncovered("a call of `loop` without a list, or with more than that"));
        };
        let list = self.expression(list)?;
        let (here, levels) = (self.surroundings(), self.levels);
        let from = self.loops_from();
        let frame = self.scope.current_loop(from).map(|(_, frame)| frame);
        let recursion = frame.and_then(|frame| frame.recursion.as_ref());
        match recursion.filter(|recursion| recursion.place == here) {
            Some(_) if self.in_loop_head => {
                Err(self.uncovered("a call of `loop` in the head of a loop"))
            }
            Some(recursion) => {
                let levels = levels.saturating_sub(recursion.levels);
                Ok(Recurse { called: recursion.called, list, levels })
            }
            None => Err(self.uncovered("a call of `loop` where that is no recursive loop's own")),
        }
    }

    /// The same where what is printed is kept: there minijinja leaves something behind of a loop
    /// with an `else`.
    pub(super) fn recurse_kept(&mut self, args: &'s [ast::CallArg<'s>]) -> Covered<Expr> {
        let recurse = self.recurse(args)?;
        let from = self.loops_from();
        let frame = self.scope.current_loop(from).map(|(_, frame)| frame);
        if frame.and_then(|frame| frame.recursion.as_ref()).is_some_and(|loops| loops.has_else) {
            return Err(self.uncovered("a call of a loop with an `else`, as a value"));
        }
        Ok(Expr::Recurse(Box::new(recurse), self.escape))
    }
}
