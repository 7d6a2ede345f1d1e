//! How deep template code nests.
//!
//! minijinja parses, compiles and drops an expression as deep as it is, on this thread's stack. It
//! bounds brackets and blocks in each other, but not chains: in `a|b|c` each filter is around the
//! one before, and each `elif` is inside of the branch before. An overflow would end the process,
//! the running server on a reload too.

use super::scan::{Kind, Token};
use crate::limits::{EXPRESSION_DEPTH_MAX, TEMPLATE_BRANCHES_MAX};
use std::ops::Range;

/// What is too deep, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooDeep {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// The first place of template code that is too deep. More is counted than nests, never less.
pub(super) fn too_deep(text: &str, tokens: &[Token]) -> Option<TooDeep> {
    let mut chain = Chain::default();
    let mut branches = Branches::default();
    for (at, token) in tokens.iter().enumerate() {
        chain.pass(token, text);
        if token.kind == Kind::BlockStart {
            let mut rest = tokens.iter().skip(at + 1);
            let name = rest.find(|token| !matches!(token.kind, Kind::Mark(b'-' | b'+')));
            branches.statement(name.and_then(|name| text.get(name.span.clone())));
        }
        if chain.depth > EXPRESSION_DEPTH_MAX {
            return Some(TooDeep {
                span: token.span.clone(),
                message: format!("over {EXPRESSION_DEPTH_MAX} operations in one expression"),
                hint: "divide it: `{% set NAME = ... %}` keeps what part of it is",
            });
        }
        if branches.depth > TEMPLATE_BRANCHES_MAX {
            return Some(TooDeep {
                span: token.span.clone(),
                message: format!("over {TEMPLATE_BRANCHES_MAX} `elif`s in one `if`"),
                hint: "look it up instead: `{{ {'a': 1, 'b': 2}[NAME] }}`",
            });
        }
    }
    None
}

/// Words that are operators.
const OPERATORS: &[&str] = &["and", "else", "if", "in", "is", "not", "or"];

/// Operators of two marks.
const PAIRS: &[&str] = &["//", "**", "==", "!=", "<=", ">="];

/// How deep an expression is up to here.
#[derive(Default)]
struct Chain {
    /// Of each open bracket, from the outermost: what its current part has, and its deepest.
    levels: Vec<(usize, usize)>,
    /// Outside of brackets.
    here: (usize, usize),
    /// All that is around this place.
    depth: usize,
    /// Where the mark before is, which may be the first half of an operator.
    half: Option<usize>,
}

impl Chain {
    fn pass(&mut self, token: &Token, text: &str) {
        let half = self.half.take();
        let word = |start: usize| text.get(start..token.span.end).unwrap_or_default();
        match token.kind {
            Kind::BlockStart | Kind::PrintStart | Kind::End => *self = Self::default(),
            Kind::Mark(b'(' | b'[' | b'{') => self.open(),
            Kind::Mark(b')' | b']' | b'}') => self.close(),
            Kind::Mark(b',' | b':') => self.next(),
            // `a//b` is one operator, and what follows is none's second half.
            Kind::Mark(_) if half.is_some_and(|half| PAIRS.contains(&word(half))) => {}
            Kind::Mark(_) => {
                self.half = Some(token.span.start);
                self.deeper();
            }
            Kind::Name if OPERATORS.contains(&word(token.span.start)) => self.deeper(),
            _ => {}
        }
    }

    fn deeper(&mut self) {
        self.here.0 += 1;
        self.depth += 1;
    }

    fn open(&mut self) {
        self.deeper();
        self.levels.push(std::mem::take(&mut self.here));
    }

    fn close(&mut self) {
        let Some(around) = self.levels.pop() else { return };
        let (current, deepest) = std::mem::replace(&mut self.here, around);
        // What follows is around all that was in the brackets.
        let inside = current.max(deepest);
        self.here.0 += inside;
        self.depth += inside - current;
    }

    /// The next of several parts, none of which is in another.
    fn next(&mut self) {
        self.depth -= self.here.0;
        self.here = (0, self.here.0.max(self.here.1));
    }
}

/// How many branches are in each other up to here.
#[derive(Default)]
struct Branches {
    /// The `elif`s of each `if` that is open.
    open: Vec<usize>,
    depth: usize,
}

impl Branches {
    fn statement(&mut self, name: Option<&str>) {
        match name {
            Some("if") => self.open.push(0),
            Some("elif") => {
                if let Some(last) = self.open.last_mut() {
                    *last += 1;
                    self.depth += 1;
                }
            }
            Some("endif") => self.depth -= self.open.pop().unwrap_or(0),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    fn depth(text: &str) -> usize {
        let mut chain = Chain::default();
        let depths = scan::expression(text).into_iter().map(|token| {
            chain.pass(&token, text);
            chain.depth
        });
        depths.max().unwrap_or(0)
    }

    #[test]
    fn parts_of_a_list_are_not_in_each_other_but_what_follows_is_around_them() {
        assert_eq!(depth("a|b|c"), 2);
        assert_eq!(depth("[a|b|c, d|e, f]"), 3);
        assert_eq!(depth("[a|b|c, d|e, f]|g"), 4);
        assert_eq!(depth("f(a.b, c)(d.e.f)"), 5);
        assert_eq!(depth("{'a': b.c, 'd': [e.f.g]}.h"), 5);
        assert_eq!(depth(")]a.b"), 1);
        assert_eq!(depth("a // b == c if not d"), 4);
        assert_eq!(depth("a - -b"), 2);
    }
}
