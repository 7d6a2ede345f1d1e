//! Expressions of the template language.

use super::compile::{Compiler, Covered, Place};
use super::foreign::input;
use super::op::{Escape, Expr, Head, LoopField, Op, OpKind, Path};
use super::scope::Bound;
use crate::press::assets;
use crate::press::json::Name;
use minijinja::Value;
use minijinja::machinery::ast::{self, BinOpKind, CallArg, CallType, CompareOpKind};
use minijinja::value::ValueKind;

impl<'s> Compiler<'s, '_> {
    pub(super) fn expression(&mut self, expression: &'s ast::Expr<'s>) -> Covered<Expr> {
        self.count()?;
        if let Some(value) = expression.as_const() {
            return Ok(constant(value));
        }
        self.at(expression.span());
        self.nested(|compiler| compiler.part(expression))
    }

    /// What is no constant.
    fn part(&mut self, expression: &'s ast::Expr<'s>) -> Covered<Expr> {
        match expression {
            ast::Expr::Var(variable) => self.variable(variable.id),
            ast::Expr::Const(constant) => Ok(self::constant(constant.value.clone())),
            ast::Expr::GetAttr(attribute) => self.attribute(attribute),
            ast::Expr::GetItem(item) => {
                let inputs =
                    vec![self.expression(&item.expr)?, self.expression(&item.subscript_expr)?];
                Ok(self.op(OpKind::Item, inputs, format!("{}[{}]", input(0), input(1))))
            }
            ast::Expr::Slice(slice) => self.slice(slice),
            ast::Expr::UnaryOp(operation) => {
                let inner = self.expression(&operation.expr)?;
                Ok(match operation.op {
                    ast::UnaryOpKind::Not => Expr::Not(Box::new(inner)),
                    ast::UnaryOpKind::Neg => {
                        self.op(OpKind::Foreign, vec![inner], format!("-{}", input(0)))
                    }
                })
            }
            ast::Expr::BinOp(operation) => self.binary(operation),
            ast::Expr::Compare(compare) => self.compare(compare),
            ast::Expr::IfExpr(choice) => {
                let test = self.expression(&choice.test_expr)?;
                let yes = self.expression(&choice.true_expr)?;
                let no = choice.false_expr.as_ref().map(|no| self.expression(no)).transpose()?;
                Ok(Expr::Choose(Box::new((test, yes, no))))
            }
            ast::Expr::Filter(filter) => self.filter(filter),
            ast::Expr::Test(test) => self.test(test),
            ast::Expr::Call(call) => self.called(call),
            ast::Expr::List(list) => self.gathered(&list.items, "[", "]"),
            ast::Expr::Tuple(tuple) => {
                let end = if tuple.items.len() == 1 { ",)" } else { ")" };
                self.gathered(&tuple.items, "(", end)
            }
            ast::Expr::Map(map) => {
                let mut inputs = Vec::new();
                let mut pairs = Vec::new();
                for (key, value) in map.keys.iter().zip(&map.values) {
                    inputs.push(self.expression(key)?);
                    inputs.push(self.expression(value)?);
                    pairs.push(format!("{}: {}", input(inputs.len() - 2), input(inputs.len() - 1)));
                }
                Ok(self.op(OpKind::Foreign, inputs, format!("{{{}}}", pairs.join(", "))))
            }
        }
    }

    fn op(&mut self, kind: OpKind, inputs: Vec<Expr>, text: String) -> Expr {
        let foreign = self.foreign.add(text);
        let escape = self.escape;
        Expr::Op(Box::new(Op { kind, inputs: inputs.into(), foreign, escape }))
    }

    fn variable(&mut self, name: &'s str) -> Covered<Expr> {
        let mut slots = Vec::new();
        let mut isolated = false;
        // The frame of a call block's body is the innermost one that is its own; what is further
        // out minijinja has enclosed, as it was when that began.
        let own = self.call_frame.unwrap_or(0);
        for (depth, frame) in self.scope.frames.iter().enumerate().rev() {
            if let Some(recursion) = &frame.recursion
                && recursion.sets.contains(name)
                && !frame.is_sure(name, &self.scope)
            {
                let what =
                    format!("a recursive loop that uses `{name}`, which it may not have set");
                return Err(self.uncovered(what));
            }
            match frame.find(name) {
                Some(_) if depth < own && self.fence.is_some() => break,
                Some(Bound::Fixed(slot)) => match self.sees_fixed() {
                    true => return Ok(Expr::Fixed(*slot)),
                    false => break,
                },
                Some(Bound::Slot { .. })
                    if depth < own && self.is_set_often(name) && !frame.fixed.contains(&name) =>
                {
                    let what =
                        format!("a call block that uses `{name}`, which is set in several places");
                    return Err(self.uncovered(what));
                }
                Some(Bound::Slot { slot, branches }) if !isolated => {
                    slots.push(*slot);
                    if self.scope.is_sure(branches) {
                        return Ok(Expr::Local(slots.into(), None));
                    }
                }
                Some(_) => return Err(self.uncovered(format!("the macro `{name}` as a value"))),
                None => {}
            }
            if frame.state.is_some() && name == "loop" && !isolated {
                return Err(self.uncovered("`loop` as a value"));
            }
            isolated |= frame.isolated;
        }
        if self.fence.is_some() {
            let what = format!("an include in a macro or call block that uses `{name}` of outside");
            return Err(self.uncovered(what));
        }
        if (isolated || self.place == Place::CallBlock) && self.assigned.contains_key(name) {
            let what = format!("a macro or call block that uses `{name}`, which templates set");
            return Err(self.uncovered(what));
        }
        if name == "caller" {
            return Err(self.uncovered("`caller` as a value"));
        }
        if self.templates.is_function(name) {
            return Err(self.uncovered(format!("the function `{name}` as a value")));
        }
        let root = self.name(name);
        Ok(match slots.is_empty() {
            true => Expr::Root(root),
            false => Expr::Local(slots.into(), Some(root)),
        })
    }

    fn attribute(&mut self, attribute: &'s ast::GetAttr<'s>) -> Covered<Expr> {
        if let ast::Expr::Var(variable) = &attribute.expr
            && variable.id == "loop"
            && let Some((slot, frame)) = self.scope.current_loop(self.loops_from())
        {
            if let Some(field) = LoopField::named(attribute.name) {
                frame.asks.length |= field.asks_length();
                return Ok(Expr::Loop(slot, field));
            }
            let from = self.loops_from();
            let neighbour = match attribute.name {
                "previtem" => self.scope.asked(from, |asks| &mut asks.previous),
                "nextitem" => self.scope.asked(from, |asks| &mut asks.next),
                _ => None,
            };
            return match neighbour {
                Some(slot) => Ok(Expr::Local([slot].into(), None)),
                None => Err(self.uncovered(format!("`loop.{}`", attribute.name))),
            };
        }
        let of = self.expression(&attribute.expr)?;
        Ok(attribute_of(of, attribute.name))
    }

    /// Whether a macro can see variables of the template here: minijinja encloses what it finds
    /// named in the macro, and does not look everywhere.
    fn sees_fixed(&self) -> bool {
        self.place == Place::Macro && self.fence.is_none() && self.piped.is_none()
    }

    fn is_set_often(&self, name: &str) -> bool {
        self.assigned.get(name).is_some_and(|times| *times > 1)
    }

    fn slice(&mut self, slice: &'s ast::Slice<'s>) -> Covered<Expr> {
        // What is only sliced minijinja does not enclose.
        if self.place != Place::Template {
            return Err(self.uncovered("a slice in a macro or a call block"));
        }
        let mut inputs = vec![self.expression(&slice.expr)?];
        let mut text = format!("{}[", input(0));
        for (at, part) in [&slice.start, &slice.stop, &slice.step].into_iter().enumerate() {
            if at > 0 && (at == 1 || part.is_some()) {
                text.push(':');
            }
            if let Some(part) = part {
                text.push_str(&input(inputs.len()));
                inputs.push(self.expression(part)?);
            }
        }
        text.push(']');
        Ok(self.op(OpKind::Foreign, inputs, text))
    }

    fn binary(&mut self, operation: &'s ast::BinOp<'s>) -> Covered<Expr> {
        let left = self.expression(&operation.left)?;
        let right = self.expression(&operation.right)?;
        let (kind, sign) = match operation.op {
            BinOpKind::ScAnd => return Ok(Expr::And(Box::new((left, right)))),
            BinOpKind::ScOr => return Ok(Expr::Or(Box::new((left, right)))),
            BinOpKind::Add => (OpKind::Add, "+"),
            BinOpKind::Sub => (OpKind::Sub, "-"),
            BinOpKind::Mul => (OpKind::Mul, "*"),
            BinOpKind::Div => (OpKind::Foreign, "/"),
            BinOpKind::FloorDiv => (OpKind::Foreign, "//"),
            BinOpKind::Rem => (OpKind::Rem, "%"),
            BinOpKind::Pow => (OpKind::Foreign, "**"),
            BinOpKind::Concat => (OpKind::Concat, "~"),
            BinOpKind::Eq => (OpKind::Eq, "=="),
            BinOpKind::Ne => (OpKind::Ne, "!="),
            BinOpKind::Lt => (OpKind::Lt, "<"),
            BinOpKind::Lte => (OpKind::Le, "<="),
            BinOpKind::Gt => (OpKind::Gt, ">"),
            BinOpKind::Gte => (OpKind::Ge, ">="),
            BinOpKind::In => (OpKind::In, "in"),
        };
        Ok(self.op(kind, vec![left, right], format!("{} {sign} {}", input(0), input(1))))
    }

    fn compare(&mut self, compare: &'s ast::Compare<'s>) -> Covered<Expr> {
        let is_plain = |value: &ast::Expr<'_>| {
            matches!(value, ast::Expr::Var(_) | ast::Expr::Const(_) | ast::Expr::GetAttr(_))
        };
        // It stops at the first that does not hold.
        if compare.ops.len() > 1 && !compare.ops.iter().all(|op| is_plain(&op.expr)) {
            return Err(self.uncovered("a chain of comparisons of what is computed"));
        }
        let mut inputs = vec![self.expression(&compare.expr)?];
        let mut text = input(0);
        let mut only = OpKind::Foreign;
        for op in &compare.ops {
            let (kind, sign) = match op.op {
                CompareOpKind::Eq => (OpKind::Eq, "=="),
                CompareOpKind::Ne => (OpKind::Ne, "!="),
                CompareOpKind::Lt => (OpKind::Lt, "<"),
                CompareOpKind::Lte => (OpKind::Le, "<="),
                CompareOpKind::Gt => (OpKind::Gt, ">"),
                CompareOpKind::Gte => (OpKind::Ge, ">="),
                CompareOpKind::In => (OpKind::In, "in"),
                CompareOpKind::NotIn => (OpKind::NotIn, "not in"),
            };
            only = if compare.ops.len() == 1 { kind } else { OpKind::Foreign };
            text.push_str(&format!(" {sign} {}", input(inputs.len())));
            inputs.push(self.expression(&op.expr)?);
        }
        Ok(self.op(only, inputs, text))
    }

    fn gathered(&mut self, items: &'s [ast::Expr<'s>], begin: &str, end: &str) -> Covered<Expr> {
        let inputs = items.iter().map(|item| self.expression(item)).collect::<Covered<Vec<_>>>()?;
        let names: Vec<String> = (0..inputs.len()).map(input).collect();
        Ok(self.op(OpKind::Foreign, inputs, format!("{begin}{}{end}", names.join(", "))))
    }

    fn filter(&mut self, filter: &'s ast::Filter<'s>) -> Covered<Expr> {
        let inner = match (&filter.expr, self.piped) {
            (Some(inner), _) => self.expression(inner)?,
            (None, Some(slot)) => Expr::Local([slot].into(), None),
            (None, None) => return Err(self.uncovered("a filter of nothing")),
        };
        self.at(filter.expr.as_ref().map_or_else(Default::default, |inner| inner.span()));
        self.pure &= !is_impure(filter.name);
        let applied = applied(filter);
        // A filter whose name is made when it runs may be any.
        self.pure &= applied.as_deref().is_some_and(|name| !is_impure(name));
        let escapes = applied.is_none_or(|name| matches!(&*name, "e" | "escape"));
        // How it escapes is then a matter of the template's name.
        if self.escape == Escape::None && escapes && self.has_json() {
            return Err(
                self.uncovered("escapes where nothing is escaped, beside templates of JSON")
            );
        }
        let mut inputs = vec![inner];
        let args = self.arguments(&filter.args, &mut inputs)?;
        let are_plain = filter.args.iter().all(|arg| matches!(arg, CallArg::Pos(_)));
        let kind = match (filter.name, filter.args.len()) {
            ("length" | "count", 0) => OpKind::Length,
            ("default" | "d", 0 | 1) if are_plain => OpKind::Default,
            ("escape" | "e", 0) if self.escape == Escape::Html => OpKind::Escape,
            ("safe", 0) => OpKind::Safe,
            _ => OpKind::Foreign,
        };
        Ok(self.op(kind, inputs, format!("{}|{}({args})", input(0), filter.name)))
    }

    fn test(&mut self, test: &'s ast::Test<'s>) -> Covered<Expr> {
        let mut inputs = vec![self.expression(&test.expr)?];
        let args = self.arguments(&test.args, &mut inputs)?;
        let kind = match (test.name, test.args.len()) {
            ("defined", 0) => OpKind::IsDefined,
            ("undefined", 0) => OpKind::IsUndefined,
            ("none", 0) => OpKind::IsNone,
            ("even", 0) => OpKind::IsEven,
            ("odd", 0) => OpKind::IsOdd,
            ("string", 0) => OpKind::IsString,
            ("number", 0) => OpKind::IsNumber,
            ("mapping", 0) => OpKind::IsMapping,
            ("sequence", 0) => OpKind::IsSequence,
            _ => OpKind::Foreign,
        };
        // Some tests are signs, which cannot be called.
        let text = match (test.name.bytes().all(|byte| !byte.is_ascii_punctuation()), &*args) {
            (_, "") => format!("{} is {}", input(0), test.name),
            (true, args) => format!("{} is {}({args})", input(0), test.name),
            (false, args) if test.name.contains('_') => {
                format!("{} is {}({args})", input(0), test.name)
            }
            (false, args) => format!("{} is {} {args}", input(0), test.name),
        };
        Ok(self.op(kind, inputs, text))
    }

    /// Adds arguments to the inputs, and gives their text.
    fn arguments(&mut self, args: &'s [CallArg<'s>], inputs: &mut Vec<Expr>) -> Covered<String> {
        let mut texts = Vec::new();
        for arg in args {
            let name = input(inputs.len());
            let (text, value) = match arg {
                CallArg::Pos(value) => (name, value),
                CallArg::Kwarg(key, value) => (format!("{key}={name}"), value),
                CallArg::PosSplat(value) => (format!("*{name}"), value),
                CallArg::KwargSplat(value) => (format!("**{name}"), value),
            };
            inputs.push(self.expression(value)?);
            texts.push(text);
        }
        Ok(texts.join(", "))
    }

    fn called(&mut self, call: &'s ast::Spanned<ast::Call<'s>>) -> Covered<Expr> {
        match call.identify_call() {
            CallType::Function("super") if call.args.is_empty() => {
                let steps = self.kept(Self::super_block)?;
                Ok(Expr::Body(steps.into(), self.escape))
            }
            CallType::Function("loop") => self.recurse_kept(&call.args),
            CallType::Function("caller") => Ok(Expr::Caller(self.caller(&call.args)?, self.escape)),
            CallType::Function(name @ ("super" | "debug")) => {
                Err(self.uncovered(format!("a call of `{name}`")))
            }
            CallType::Function(name) => self.function(name, &call.args),
            CallType::Method(ast::Expr::Var(variable), "cycle") if variable.id == "loop" => {
                self.cycle(&call.args)
            }
            CallType::Method(ast::Expr::Var(variable), "changed") if variable.id == "loop" => {
                let values = self.plain_arguments("`loop.changed` of named values", &call.args)?;
                match self.scope.asked(self.loops_from(), |asks| &mut asks.changed) {
                    Some(slot) => Ok(Expr::Changed(slot, values)),
                    None => Err(self.uncovered("`loop` outside of a loop")),
                }
            }
            CallType::Method(ast::Expr::Var(variable), name) => {
                if let Some(Bound::Module(macros)) = self.find(variable.id) {
                    let exported = macros.get(name).filter(|_| !name.starts_with('_'));
                    let Some(id) = exported.copied() else {
                        return Err(self.uncovered(format!("`{name}` is no macro")));
                    };
                    return self.call(id, &call.args);
                }
                let of = self.variable(variable.id)?;
                self.method(of, name, &call.args)
            }
            CallType::Method(of, name) => {
                let of = self.expression(of)?;
                self.method(of, name, &call.args)
            }
            CallType::Block(_) => Err(self.uncovered("a block called by `self`")),
            CallType::Object(_) => Err(self.uncovered("a call of a value")),
        }
    }

    fn method(&mut self, of: Expr, name: &str, args: &'s [CallArg<'s>]) -> Covered<Expr> {
        let mut inputs = vec![of];
        let args = self.arguments(args, &mut inputs)?;
        Ok(self.op(OpKind::Foreign, inputs, format!("{}.{name}({args})", input(0))))
    }

    fn function(&mut self, name: &'s str, args: &'s [CallArg<'s>]) -> Covered<Expr> {
        match self.find(name) {
            Some(Bound::Macro(id)) => return self.call(id, args),
            Some(_) => return Err(self.uncovered(format!("a call of the variable `{name}`"))),
            None => {}
        }
        if self.assigned.contains_key(name) || !self.templates.is_function(name) {
            return Err(self.uncovered(format!("a call of `{name}`")));
        }
        if let Some(value) = self.asset(name, args) {
            return Ok(constant(value));
        }
        self.pure &= !is_impure(name);
        let mut inputs = Vec::new();
        let args = self.arguments(args, &mut inputs)?;
        Ok(self.op(OpKind::Foreign, inputs, format!("{name}({args})")))
    }

    /// What `asset()` of a constant comes to, which never changes.
    fn asset(&self, name: &str, args: &'s [CallArg<'s>]) -> Option<Value> {
        let [CallArg::Pos(argument)] = args else { return None };
        let file = argument.as_const().filter(|_| name == assets::FUNCTION)?;
        self.templates.assets.value(file.as_str()?, &self.escape.auto_escape())
    }

    /// Arguments without names.
    pub(super) fn plain_arguments(
        &mut self,
        otherwise: &str,
        args: &'s [CallArg<'s>],
    ) -> Covered<Box<[Expr]>> {
        if !args.iter().all(|arg| matches!(arg, CallArg::Pos(_))) {
            return Err(self.uncovered(otherwise));
        }
        let mut values = Vec::new();
        self.arguments(args, &mut values)?;
        Ok(values.into())
    }

    fn cycle(&mut self, args: &'s [CallArg<'s>]) -> Covered<Expr> {
        let what = "`loop.cycle` of no values, or of named ones";
        let values = self.plain_arguments(what, args)?;
        if values.is_empty() {
            return Err(self.uncovered(what));
        }
        match self.scope.current_loop(self.loops_from()) {
            Some((slot, _)) => Ok(Expr::Cycle(slot, values)),
            None => Err(self.uncovered("`loop` outside of a loop")),
        }
    }

    /// The first of the frames whose loop `loop` can be.
    pub(super) fn loops_from(&self) -> usize {
        let enclosed = if self.in_loop_head { self.call_frame } else { None };
        self.fence.max(enclosed).unwrap_or(0)
    }

    /// What a name is bound to, if it is.
    pub(super) fn find(&self, name: &str) -> Option<Bound<'s>> {
        self.scope.frames.iter().rev().find_map(|frame| frame.find(name)).cloned()
    }
}

/// Whether filters look at the variable of this name, wherever they are used.
pub(super) fn is_looked_up(name: &str) -> bool {
    LOOKED_UP.contains(&name)
}

const LOOKED_UP: &[&str] =
    &["now", "TIMEZONE", "DATETIME_FORMAT", "DATE_FORMAT", "TIME_FORMAT", "TRUNCATE_LEEWAY"];

/// The filter that a filter comes to: of `map` that which is named, if it is known.
fn applied(filter: &ast::Filter<'_>) -> Option<String> {
    match (filter.name, filter.args.first()) {
        ("map", Some(CallArg::Pos(name))) => Some(name.as_const()?.as_str()?.to_owned()),
        ("map", Some(CallArg::PosSplat(_) | CallArg::KwargSplat(_))) => None,
        (name, _) => Some(name.to_owned()),
    }
}

/// Whether a filter or function gives another value at another time.
pub(in crate::press) fn is_impure(name: &str) -> bool {
    IMPURE.contains(&name)
}

/// Filters and functions of the time and of chance.
pub(in crate::press) const IMPURE: &[&str] = &["timeago", "now", "random", "randrange", "lipsum"];

/// An attribute of something: of what a path leads to, one further on that path.
fn attribute_of(of: Expr, name: &str) -> Expr {
    let end = Name::new(name);
    let (head, names, of) = match of {
        Expr::Path(path) => {
            let Path { head, names, otherwise } = *path;
            (head, names.into_vec(), otherwise)
        }
        Expr::Root(root) => (Head::Root(root), Vec::new(), Expr::Root(root)),
        Expr::Fixed(slot) => (Head::Fixed(slot), Vec::new(), Expr::Fixed(slot)),
        Expr::Local(slots, root) => match slots.first() {
            Some(slot) => (Head::Local(*slot), Vec::new(), Expr::Local(slots, root)),
            None => return Expr::Attribute(Box::new(Expr::Local(slots, root)), end),
        },
        other => return Expr::Attribute(Box::new(other), end),
    };
    let names = names.into_iter().chain([Name::new(name)]).collect();
    let otherwise = Expr::Attribute(Box::new(of), end);
    Expr::Path(Box::new(Path { head, names, otherwise }))
}

fn constant(value: Value) -> Expr {
    match value.kind() {
        ValueKind::String if !value.is_safe() => {
            Expr::Text(value.as_str().unwrap_or_default().into())
        }
        ValueKind::Number if value.is_integer() => match i64::try_from(value.clone()) {
            Ok(number) => Expr::Integer(number),
            Err(_) => Expr::Const(value),
        },
        _ => Expr::Const(value),
    }
}
