//! What a syntax tree holds at any depth: names that get a value, and blocks.

use minijinja::machinery::ast::{self, Expr, Stmt};
use std::collections::BTreeMap;

/// A template's body as a block has it.
pub(super) type Body<'s> = &'s [Stmt<'s>];

/// Names, and in how many places they get a value.
pub(in crate::press) type Assigned<'s> = BTreeMap<&'s str, usize>;

/// Adds the names that are set, looped over, imported or macros.
pub(super) fn names<'s>(body: Body<'s>, into: &mut Assigned<'s>) {
    each(body, &mut |statement| match statement {
        Stmt::Set(set) => target(&set.target, into),
        Stmt::SetBlock(set) => target(&set.target, into),
        Stmt::ForLoop(each) => target(&each.target, into),
        Stmt::WithBlock(with) => with.assignments.iter().for_each(|(to, _)| target(to, into)),
        Stmt::Import(import) => target(&import.name, into),
        Stmt::FromImport(import) => {
            for (name, alias) in &import.names {
                target(alias.as_ref().unwrap_or(name), into);
            }
        }
        Stmt::Macro(declared) => {
            *into.entry(declared.name).or_default() += 1;
        }
        _ => {}
    });
}

/// The blocks, in the order in which minijinja comes by them.
pub(super) fn blocks<'s>(body: Body<'s>) -> Vec<&'s ast::Block<'s>> {
    let mut found = Vec::new();
    each(body, &mut |statement| {
        if let Stmt::Block(block) = statement {
            found.push(&**block);
        }
    });
    found
}

fn target<'s>(expression: &Expr<'s>, into: &mut Assigned<'s>) {
    match expression {
        Expr::Var(variable) => {
            *into.entry(variable.id).or_default() += 1;
        }
        Expr::List(list) => list.items.iter().for_each(|item| target(item, into)),
        Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| target(item, into)),
        _ => {}
    }
}

/// Calls `visit` with each statement, and with all that are within it.
fn each<'s>(body: Body<'s>, visit: &mut impl FnMut(&'s Stmt<'s>)) {
    for statement in body {
        visit(statement);
        match statement {
            Stmt::Template(inner) => each(&inner.children, visit),
            Stmt::ForLoop(inner) => {
                each(&inner.body, visit);
                each(&inner.else_body, visit);
            }
            Stmt::IfCond(inner) => {
                each(&inner.true_body, visit);
                each(&inner.false_body, visit);
            }
            Stmt::WithBlock(inner) => each(&inner.body, visit),
            Stmt::SetBlock(inner) => each(&inner.body, visit),
            Stmt::AutoEscape(inner) => each(&inner.body, visit),
            Stmt::FilterBlock(inner) => each(&inner.body, visit),
            Stmt::Block(inner) => each(&inner.body, visit),
            Stmt::Macro(inner) => each(&inner.body, visit),
            Stmt::CallBlock(inner) => each(&inner.macro_decl.body, visit),
            _ => {}
        }
    }
}
