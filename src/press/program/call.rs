//! Macros: declared where they are written, compiled where they are called.

use super::compile::{Compiler, Covered, Declared, Place};
use super::expression::is_looked_up;
use super::op::{CallBlock, Expr, Macro, Param, Slot, Step};
use super::scope::Bound;
use crate::limits::{PROGRAM_BODIES_MAX, PROGRAM_MACRO_BODIES_MAX};
use minijinja::Value;
use minijinja::machinery::ast;
use std::collections::BTreeMap;

impl<'s> Compiler<'s, '_> {
    pub(super) fn declare(&mut self, tree: &'s ast::Macro<'s>) -> Covered<()> {
        let id = self.declared.len();
        if self.place != Place::Template || self.scope.is_in_loop() {
            return Err(self.uncovered("a macro within a loop or a macro"));
        }
        self.bind(tree.name, Bound::Macro(id))?;
        let macros = self.scope.frames.iter().flat_map(|frame| frame.macros()).collect();
        let fixed = self.fixed();
        let file = self.file();
        self.declared.push(Declared { tree, file, macros, fixed });
        Ok(())
    }

    /// The variables that have a value here, and never another.
    fn fixed(&self) -> BTreeMap<&'s str, Slot> {
        let sure = self.scope.frames.iter().flat_map(|frame| frame.sure());
        let once = |name: &&str| self.assigned.get(*name) == Some(&1);
        sure.filter(|(name, _)| once(name) && !self.included.contains(name)).collect()
    }

    /// A call of a macro.
    pub(super) fn call(&mut self, id: usize, args: &'s [ast::CallArg<'s>]) -> Covered<Expr> {
        let (instance, given) = self.call_parts(id, args)?;
        Ok(Expr::Call(instance, given, self.escape))
    }

    /// A call of a macro that prints a body.
    pub(super) fn call_block(&mut self, block: &'s ast::CallBlock<'s>) -> Covered<Step> {
        let id = match block.call.identify_call() {
            ast::CallType::Function(name) => match self.find(name) {
                Some(Bound::Macro(id)) => Some(id),
                _ => None,
            },
            ast::CallType::Method(ast::Expr::Var(variable), name) => match self.find(variable.id) {
                Some(Bound::Module(macros)) if !name.starts_with('_') => macros.get(name).copied(),
                _ => None,
            },
            _ => None,
        };
        let Some(id) = id else { return Err(self.uncovered("a call block of no macro")) };
        let (called, args) = self.call_parts(id, &block.call.args)?;
        if !self.macros.get(called as usize).is_some_and(|called| called.has_caller) {
            return Err(self.uncovered("a call block of a macro without `caller()`"));
        }
        let place = std::mem::replace(&mut self.place, Place::CallBlock);
        let outer = self.call_frame.replace(self.scope.frames.len());
        self.scope.push();
        let params = self.block_params(&block.macro_decl)?;
        let kept = |compiler: &mut Self| compiler.body(&block.macro_decl.body);
        let (body, levels) = self.measured(|compiler| compiler.kept(kept))?;
        let body = self.end_frame(body).into();
        (self.place, self.call_frame) = (place, outer);
        Ok(Step::CallBlock(Box::new(CallBlock { called, args, params, body, levels })))
    }

    /// The parameters of the body of a call block, as variables.
    fn block_params(&mut self, tree: &'s ast::Macro<'s>) -> Covered<Box<[Param]>> {
        let mut slots = Vec::new();
        for param in self.params(tree)? {
            let slot = self.scope.assign(param).filter(|slot| !slots.contains(slot));
            let Some(slot) = slot else {
                return Err(self.uncovered("a call block with a parameter twice"));
            };
            slots.push(slot);
        }
        let defaults = self.defaults(tree)?;
        let params = slots.into_iter().zip(defaults);
        Ok(params.map(|(slot, default)| Param { slot, default }).collect())
    }

    /// Whether an expression asks if there is such a body.
    pub(super) fn asks_for_caller(&mut self, expression: &ast::Expr<'_>) -> bool {
        let asked = match expression {
            ast::Expr::Test(test) if test.name == "defined" && test.args.is_empty() => &test.expr,
            expression => expression,
        };
        let asks = matches!(asked, ast::Expr::Var(variable) if variable.id == "caller")
            && self.is_caller_plain();
        self.has_caller |= asks;
        asks
    }

    /// Whether `caller` is what it always is in a macro.
    fn is_caller_plain(&self) -> bool {
        let is_macro = self.place == Place::Macro && !self.is_included;
        is_macro && !self.assigned.contains_key("caller")
    }

    /// The body of the call block that calls this macro: values for its parameters.
    pub(super) fn caller(&mut self, args: &'s [ast::CallArg<'s>]) -> Covered<Box<[Expr]>> {
        let args = self.plain_arguments("`caller` with named values", args)?;
        if !self.is_caller_plain() {
            return Err(self.uncovered("`caller` that may be something else"));
        }
        // It is escaped as where it is called.
        if self.escape != self.initial {
            return Err(self.uncovered("`caller` where escaping is another than the macro's"));
        }
        self.has_caller = true;
        Ok(args)
    }

    fn call_parts(
        &mut self,
        id: usize,
        args: &'s [ast::CallArg<'s>],
    ) -> Covered<(u32, Box<[Option<Expr>]>)> {
        if self.fence.is_some() {
            return Err(self.uncovered("an include in a macro or call block that calls a macro"));
        }
        let Some(tree) = self.declared.get(id).map(|declared| declared.tree) else {
            return Err(self.uncovered("a macro that is not there"));
        };
        let params = self.params(tree)?;
        let mut given: Vec<Option<Expr>> = params.iter().map(|_| None).collect();
        let mut next = 0;
        for arg in args {
            let (index, value) = match arg {
                ast::CallArg::Pos(value) => {
                    next += 1;
                    (Some(next - 1), value)
                }
                ast::CallArg::Kwarg(name, value) => {
                    (params.iter().position(|param| param == name), value)
                }
                _ => return Err(self.uncovered("a call with arguments from a list or map")),
            };
            let value = self.expression(value)?;
            match index.and_then(|index| given.get_mut(index)) {
                Some(free @ None) => *free = Some(value),
                _ => return Err(self.uncovered("a call whose arguments do not fit")),
            }
        }
        let instance = self.instance(id, &params)?;
        Ok((instance, given.into()))
    }

    /// The names of a macro's parameters.
    fn params(&self, tree: &'s ast::Macro<'s>) -> Covered<Vec<&'s str>> {
        let params = tree.args.iter().map(|param| match param {
            ast::Expr::Var(variable) => Some(variable.id),
            _ => None,
        });
        let Some(params) = params.collect::<Option<Vec<&str>>>() else {
            return Err(self.uncovered("a macro with parameters that are no names"));
        };
        if let Some(name) = params.iter().find(|name| **name == "caller" || is_looked_up(name)) {
            return Err(self.uncovered(format!("a macro with the parameter `{name}`")));
        }
        Ok(params)
    }

    /// The compiled macro for the way of escaping here.
    fn instance(&mut self, id: usize, params: &[&'s str]) -> Covered<u32> {
        if let Some(instance) = self.instances.get(&(id, self.escape)) {
            return Ok(*instance);
        }
        let Some(declared) = self.declared.get(id) else {
            return Err(self.uncovered("a macro that is not there"));
        };
        let (tree, file) = (declared.tree, declared.file);
        let (macros, fixed) = (declared.macros.clone(), declared.fixed.clone());
        let instance = self.macros.len() as u32;
        self.macros.push(Macro::default());
        self.instances.insert((id, self.escape), instance);
        let compiled = self.isolated(|compiler| {
            compiler.within(file, |compiler| {
                compiler.scope.push();
                for (name, id) in macros {
                    compiler.scope.bind(name, Bound::Macro(id));
                }
                for (name, slot) in fixed {
                    compiler.scope.bind(name, Bound::Fixed(slot));
                }
                compiler.scope.push().isolated = true;
                for param in params {
                    if compiler.scope.assign(param).is_none() {
                        return Err(compiler.uncovered("a macro with a parameter twice"));
                    }
                }
                let defaults = compiler.defaults(tree)?;
                let (steps, levels) = compiler.measured(|compiler| compiler.body(&tree.body))?;
                let steps = compiler.end_frame(steps).into();
                compiler.scope.pop();
                let (slots, has_caller) = (compiler.scope.slots(), compiler.has_caller);
                Ok(Macro { defaults, slots, steps, has_caller, levels })
            })
        })?;
        if let Some(place) = self.macros.get_mut(instance as usize) {
            *place = compiled;
        }
        Ok(instance)
    }

    /// Compiles something with slots of its own that is printed wherever it is called.
    fn isolated<T>(&mut self, compile: impl FnOnce(&mut Self) -> Covered<T>) -> Covered<T> {
        let slots = self.scope.start_slots();
        let frames = std::mem::take(&mut self.scope.frames);
        let open = self.scope.isolate();
        let unit = std::mem::take(&mut self.unit);
        let piped = self.piped.take();
        let place = std::mem::replace(&mut self.place, Place::Macro);
        let call_frame = self.call_frame.take();
        let bodies = PROGRAM_BODIES_MAX.saturating_sub(PROGRAM_MACRO_BODIES_MAX);
        let bodies = std::mem::replace(&mut self.bodies, bodies);
        let deepest = self.deepest;
        let has_caller = std::mem::take(&mut self.has_caller);
        let compiled = compile(self)?;
        self.has_caller = has_caller;
        (self.bodies, self.deepest) = (bodies, deepest);
        (self.place, self.call_frame) = (place, call_frame);
        self.piped = piped;
        self.unit = unit;
        self.scope.rejoin(open);
        self.scope.frames = frames;
        self.scope.resume_slots(slots);
        Ok(compiled)
    }

    /// What parameters are when they are not given; the last ones have something.
    fn defaults(&self, tree: &'s ast::Macro<'s>) -> Covered<Box<[Option<Value>]>> {
        let without = tree.args.len().saturating_sub(tree.defaults.len());
        let mut defaults: Vec<Option<Value>> = (0..without).map(|_| None).collect();
        for default in &tree.defaults {
            let Some(value) = default.as_const() else {
                return Err(self.uncovered("a parameter whose default is no constant"));
            };
            defaults.push(Some(value));
        }
        Ok(defaults.into())
    }
}
