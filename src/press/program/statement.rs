//! Statements of the template language as steps.

use super::assigned::Body;
use super::compile::{Compiler, Covered};
use super::expression::is_looked_up;
use super::foreign::input;
use super::op::{Escape, Expr, If, Path, Print, Step, Target};
use super::scope::Bound;
use super::sheet::Sheet;
use crate::limits::PROGRAM_BODIES_MAX;
use minijinja::machinery::ast::{self, Stmt};
use minijinja::value::ValueKind;
use std::collections::BTreeMap;
use std::rc::Rc;

impl<'s> Compiler<'s, '_> {
    pub(super) fn body(&mut self, body: Body<'s>) -> Covered<Vec<Step>> {
        // Neither compiling nor running may be deeper than a stack, or than minijinja goes.
        if self.bodies == PROGRAM_BODIES_MAX {
            return Err(self.uncovered(format!("over {PROGRAM_BODIES_MAX} bodies in each other")));
        }
        self.bodies += 1;
        let mut steps = Vec::new();
        for statement in body {
            self.count()?;
            for step in self.nested(|compiler| compiler.statement(statement))? {
                push(&mut steps, step);
            }
        }
        self.bodies -= 1;
        Ok(steps)
    }

    fn statement(&mut self, statement: &'s Stmt<'s>) -> Covered<Vec<Step>> {
        Ok(match statement {
            Stmt::EmitRaw(raw) => vec![Step::Raw(raw.raw.as_bytes().into())],
            Stmt::EmitExpr(emit) => {
                self.at(emit.span());
                return self.emit(&emit.expr);
            }
            Stmt::IfCond(condition) => vec![self.condition(condition)?],
            Stmt::ForLoop(each) => {
                self.at(each.span());
                vec![self.each(each)?]
            }
            Stmt::Set(set) => {
                self.at(set.span());
                vec![self.set(&set.target, &set.expr)?]
            }
            Stmt::WithBlock(with) => {
                self.at(with.span());
                return self.with(with);
            }
            Stmt::SetBlock(set) => {
                self.at(set.span());
                return self.set_block(set);
            }
            Stmt::FilterBlock(block) => {
                self.at(block.span());
                return self.filter_block(block);
            }
            Stmt::AutoEscape(block) => {
                self.at(block.span());
                return self.auto_escape(block);
            }
            Stmt::Block(block) => {
                self.at(block.span());
                return self.block(block);
            }
            Stmt::Include(include) => {
                self.at(include.span());
                return self.included(include);
            }
            Stmt::Import(import) => {
                self.at(import.span());
                return self.import(import);
            }
            Stmt::FromImport(import) => {
                self.at(import.span());
                return self.macros_import(import);
            }
            Stmt::Macro(declared) => {
                self.at(declared.span());
                self.declare(declared)?;
                Vec::new()
            }
            // In an `else` of a loop, or in a `with`: minijinja goes to where nobody would.
            Stmt::Break(_) | Stmt::Continue(_) if self.loops == 0 => {
                return Err(self.uncovered("`break` or `continue` that is not the loop's own"));
            }
            Stmt::Break(_) => vec![Step::Break],
            Stmt::Continue(_) => vec![Step::Continue],
            Stmt::Extends(_) => return Err(self.uncovered("extends under a condition, or twice")),
            Stmt::CallBlock(block) => {
                self.at(block.span());
                vec![self.call_block(block)?]
            }
            Stmt::Do(_) => return Err(self.uncovered("a `do` statement")),
            Stmt::Template(_) => return Err(self.uncovered("a template in a template")),
        })
    }

    fn emit(&mut self, expression: &'s ast::Expr<'s>) -> Covered<Vec<Step>> {
        if let ast::Expr::Call(call) = expression
            && let ast::CallType::Function(name) = call.identify_call()
        {
            match name {
                "super" if call.args.is_empty() => return self.super_block(),
                "caller" => return Ok(vec![Step::Caller(self.caller(&call.args)?)]),
                "loop" => return Ok(vec![Step::Recurse(Box::new(self.recurse(&call.args)?))]),
                _ => {}
            }
        }
        let value = self.expression(expression)?;
        Ok(vec![match (constant_text(&value), self.escape) {
            (Some(text), Escape::None) => Step::Raw(text.as_bytes().into()),
            (Some(text), Escape::Html) => {
                let mut sheet = Sheet::default();
                sheet.push_html(text.as_bytes());
                Step::Raw(sheet.since(0).into())
            }
            _ => Step::Emit(value, self.escape),
        }])
    }

    fn condition(&mut self, condition: &'s ast::IfCond<'s>) -> Covered<Step> {
        self.at(condition.expr.span());
        let test = self.asked(&condition.expr)?;
        self.scope.enter();
        let yes = self.body(&condition.true_body)?.into();
        self.scope.leave();
        self.scope.enter();
        let no = self.body(&condition.false_body)?.into();
        self.scope.leave();
        Ok(Step::If(Box::new(If { test, yes, no })))
    }

    /// What is only asked whether it is true.
    fn asked(&mut self, expression: &'s ast::Expr<'s>) -> Covered<Expr> {
        match expression {
            ast::Expr::UnaryOp(not) if matches!(not.op, ast::UnaryOpKind::Not) => {
                Ok(Expr::Not(Box::new(self.nested(|compiler| compiler.asked(&not.expr))?)))
            }
            expression if self.asks_for_caller(expression) => Ok(Expr::HasCaller),
            expression => self.expression(expression),
        }
    }

    fn with(&mut self, with: &'s ast::WithBlock<'s>) -> Covered<Vec<Step>> {
        self.scope.push();
        let mut steps = Vec::new();
        for (target, value) in &with.assignments {
            steps.push(self.set(target, value)?);
        }
        steps.extend(self.closed(|compiler| compiler.body(&with.body))?);
        Ok(self.end_frame(steps))
    }

    fn set(&mut self, target: &'s ast::Expr<'s>, value: &'s ast::Expr<'s>) -> Covered<Step> {
        let value = self.expression(value)?;
        if let ast::Expr::GetAttr(attribute) = target {
            let namespace = self.expression(&attribute.expr)?;
            let text = format!("{{% set {}.{} = {} %}}", input(0), attribute.name, input(1));
            let foreign = self.foreign.add(text);
            return Ok(Step::SetAttribute(Box::new((namespace, value)), foreign));
        }
        Ok(Step::Set(self.target(target)?, value))
    }

    fn set_block(&mut self, set: &'s ast::SetBlock<'s>) -> Covered<Vec<Step>> {
        let slot = self.scope.unnamed();
        let body = self.kept(|compiler| compiler.body(&set.body))?;
        let value = match &set.filter {
            Some(filter) => self.piped(slot, filter)?,
            None => Expr::Local([slot].into(), None),
        };
        let target = self.target(&set.target)?;
        Ok(vec![Step::Capture(body.into(), slot, self.escape), Step::Set(target, value)])
    }

    fn auto_escape(&mut self, block: &'s ast::AutoEscape<'s>) -> Covered<Vec<Step>> {
        let escape = self.derived_escape(&block.enabled)?;
        let outer = std::mem::replace(&mut self.escape, escape);
        let steps = self.closed(|compiler| compiler.body(&block.body))?;
        self.escape = outer;
        Ok(steps)
    }

    fn filter_block(&mut self, block: &'s ast::FilterBlock<'s>) -> Covered<Vec<Step>> {
        let slot = self.scope.unnamed();
        let body = self.kept(|compiler| compiler.body(&block.body))?;
        let filtered = self.piped(slot, &block.filter)?;
        let capture = Step::Capture(body.into(), slot, self.escape);
        Ok(vec![capture, Step::Emit(filtered, self.escape)])
    }

    /// A filter that works on a captured text.
    fn piped(&mut self, slot: u32, filter: &'s ast::Expr<'s>) -> Covered<Expr> {
        let outer = self.piped.replace(slot);
        let filtered = self.expression(filter)?;
        self.piped = outer;
        Ok(filtered)
    }

    /// Variables that get a value from here on.
    pub(super) fn target(&mut self, target: &'s ast::Expr<'s>) -> Covered<Target> {
        self.count()?;
        let items = match target {
            ast::Expr::Var(variable) => {
                if is_looked_up(variable.id) {
                    return Err(
                        self.uncovered(format!("a variable with the name `{}`", variable.id))
                    );
                }
                if self.is_included {
                    self.included.insert(variable.id);
                }
                let slot = self.scope.assign(variable.id);
                return slot.map(Target::One).ok_or_else(|| {
                    self.uncovered(format!("`{}` is a macro and a variable", variable.id))
                });
            }
            ast::Expr::List(list) => &list.items,
            ast::Expr::Tuple(tuple) => &tuple.items,
            _ => return Err(self.uncovered("something that cannot be set")),
        };
        let items = items.iter().map(|item| self.target(item)).collect::<Covered<Vec<_>>>()?;
        Ok(Target::Each(items.into()))
    }

    fn derived_escape(&mut self, enabled: &'s ast::Expr<'s>) -> Covered<Escape> {
        let value = enabled.as_const();
        let text = value.as_ref().and_then(|value| value.as_str());
        let flag = value.as_ref().filter(|value| value.kind() == ValueKind::Bool);
        match (text, flag.map(minijinja::Value::is_true)) {
            (Some("html"), _) => Ok(Escape::Html),
            (Some("json"), _) => Ok(Escape::Json),
            (Some("none"), _) | (None, Some(false)) => Ok(Escape::None),
            (None, Some(true)) if self.initial == Escape::None => Ok(Escape::Html),
            (None, Some(true)) => Ok(self.initial),
            _ => Err(self.uncovered("escaping that is chosen when it runs")),
        }
    }

    fn included(&mut self, include: &'s ast::Include<'s>) -> Covered<Vec<Step>> {
        let dynamic = "includes a template whose name is made when it runs";
        let Some(choices) = include.name.as_const() else { return Err(self.uncovered(dynamic)) };
        let names = match choices.as_str() {
            Some(name) => vec![name.to_owned()],
            None => {
                let names = choices.try_iter().ok().filter(|_| choices.kind() == ValueKind::Seq);
                let names = names.map(|mut names| {
                    names.try_fold(Vec::new(), |mut all, name| {
                        all.push(name.as_str()?.to_owned());
                        Some(all)
                    })
                });
                names.flatten().ok_or_else(|| self.uncovered(dynamic))?
            }
        };
        match names.iter().find_map(|name| self.templates.get(name)) {
            Some((name, parsed)) => self.include(name, parsed),
            None if include.ignore_missing => Ok(Vec::new()),
            None => Err(self.uncovered("includes a template that is not there")),
        }
    }

    fn import(&mut self, import: &'s ast::Import<'s>) -> Covered<Vec<Step>> {
        let macros = self.imported(&import.expr)?;
        let ast::Expr::Var(name) = &import.name else {
            return Err(self.uncovered("an import without a name"));
        };
        self.bind(name.id, Bound::Module(Rc::new(macros)))?;
        Ok(Vec::new())
    }

    fn macros_import(&mut self, import: &'s ast::FromImport<'s>) -> Covered<Vec<Step>> {
        let macros = self.imported(&import.expr)?;
        for (name, alias) in &import.names {
            let (ast::Expr::Var(name), ast::Expr::Var(alias)) =
                (name, alias.as_ref().unwrap_or(name))
            else {
                return Err(self.uncovered("an import without a name"));
            };
            let Some(id) = macros.get(name.id) else {
                return Err(self.uncovered(format!("imports `{}`, which is no macro", name.id)));
            };
            self.bind(alias.id, Bound::Macro(*id))?;
        }
        Ok(Vec::new())
    }

    /// The macros of a template that has nothing else.
    fn imported(&mut self, name: &'s ast::Expr<'s>) -> Covered<BTreeMap<&'s str, usize>> {
        let name = name.as_const();
        let name = name.as_ref().and_then(|name| name.as_str());
        let Some((name, parsed)) = name.and_then(|name| self.templates.get(name)) else {
            return Err(self.uncovered("imports a template whose name is made when it runs"));
        };
        let escape = std::mem::replace(&mut self.escape, parsed.escape);
        let frame = self.within(name, |compiler| {
            compiler.scope.push();
            for statement in parsed.body() {
                compiler.count()?;
                match statement {
                    Stmt::EmitRaw(_) => {}
                    Stmt::Macro(_) => drop(compiler.statement(statement)?),
                    _ => return Err(compiler.uncovered("imports more than macros")),
                }
            }
            Ok(compiler.scope.pop())
        })?;
        self.escape = escape;
        Ok(frame.macros())
    }

    /// Binds a name to a macro or macros; it must not have been anything else.
    pub(super) fn bind(&mut self, name: &'s str, bound: Bound<'s>) -> Covered<()> {
        if self.scope.frames.iter().any(|frame| frame.find(name).is_some()) {
            return Err(self.uncovered(format!("`{name}` means two things")));
        }
        if self.scope.is_conditional() || self.scope.frames.len() > 2 {
            return Err(self.uncovered("macros that are not there from the beginning"));
        }
        self.scope.bind(name, bound);
        Ok(())
    }
}

/// Appends a step; texts that follow each other become one, and so do values of paths.
fn push(steps: &mut Vec<Step>, step: Step) {
    match step {
        Step::Raw(text) if text.len() == 0 => {}
        Step::Raw(text) => match steps.last_mut() {
            Some(Step::Raw(before)) => {
                *before = [before.bytes(), text.bytes()].concat().as_slice().into();
            }
            _ => steps.push(Step::Raw(text)),
        },
        Step::Emit(Expr::Path(value), escape) if escape != Escape::Json => {
            let text = match steps.pop_if(|step| matches!(step, Step::Raw(_))) {
                Some(Step::Raw(text)) => text,
                _ => [].as_slice().into(),
            };
            let Path { head, names, otherwise } = *value;
            let print = Print { text, names, escape, otherwise };
            match steps.last_mut() {
                Some(Step::Prints(same, before)) if *same == head => {
                    *before = std::mem::take(before).into_iter().chain([print]).collect();
                }
                _ => steps.push(Step::Prints(head, [print].into())),
            }
        }
        step => steps.push(step),
    }
}

/// What a constant prints, if that is plain.
fn constant_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Text(text) => Some(text.to_string()),
        Expr::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
