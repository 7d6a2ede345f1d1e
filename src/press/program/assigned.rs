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

/// The names of a loop's items, without those that its body gives a value too, or may.
pub(super) fn only_targets<'s>(each: &'s ast::ForLoop<'s>) -> Vec<&'s str> {
    let mut targets = Assigned::new();
    target(&each.target, &mut targets);
    let mut set = Assigned::new();
    names(&each.body, &mut set);
    match taken_in(&each.body) {
        Some(others) if others.is_empty() => {
            targets.into_keys().filter(|name| !set.contains_key(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// The names that a loop gives a value, the items' and those of its body; none where that takes in
/// templates or has blocks, which may be others'.
pub(super) fn within<'s>(each: &'s ast::ForLoop<'s>) -> Option<Assigned<'s>> {
    let mut set = Assigned::new();
    target(&each.target, &mut set);
    names(&each.body, &mut set);
    let is_whole = taken_in(&each.body).is_some_and(|others| others.is_empty());
    (is_whole && blocks(&each.body).is_empty()).then_some(set)
}

/// The templates that a body takes in; none if one of them has a name that is made when it runs.
pub(super) fn taken_in(body: Body<'_>) -> Option<Vec<String>> {
    let mut names = Some(Vec::new());
    each(body, &mut |statement| {
        let name = match statement {
            Stmt::Include(include) => &include.name,
            Stmt::Extends(extends) => &extends.name,
            Stmt::Import(import) => &import.expr,
            Stmt::FromImport(import) => &import.expr,
            _ => return,
        };
        let found = name.as_const().and_then(|name| match name.as_str() {
            Some(name) => Some(vec![name.to_owned()]),
            None => name.try_iter().ok()?.map(|name| Some(name.as_str()?.to_owned())).collect(),
        });
        names = names.take().zip(found).map(|(names, found)| [names, found].concat());
    });
    names
}

/// Whether a body only prints, by conditions and loops: it sets no names for what is after it, and
/// has nothing that is a template's.
pub(super) fn is_plain(body: Body<'_>) -> bool {
    let mut is_plain = true;
    each(body, &mut |statement| {
        is_plain &= matches!(
            statement,
            Stmt::EmitExpr(_)
                | Stmt::EmitRaw(_)
                | Stmt::ForLoop(_)
                | Stmt::IfCond(_)
                | Stmt::WithBlock(_)
                | Stmt::AutoEscape(_)
                | Stmt::FilterBlock(_)
                | Stmt::Include(_)
                | Stmt::Continue(_)
                | Stmt::Break(_)
        );
    });
    is_plain
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
