//! The blocks of a template: which it has, which template it extends, and what it takes where some
//! of them are never made, as templates that extend it have others in their place.

use super::names::{self, Use};
use super::scan::{self, Kind, Token};
use super::{environment, nested};
use crate::config::SourceFile;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// The blocks of a template.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    /// Each of them, as they end.
    pub all: Vec<Block>,
    /// The template that this one extends whatever happens, if it names it.
    pub parent: Option<String>,
    /// Whether it says `self`, and so may make any block at any place.
    pub names_self: bool,
    /// What the template takes without some of them, by their places in `all`.
    taken: RefCell<BTreeMap<BTreeSet<usize>, Arc<[Use]>>>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// Whether it may take the one of its name in the template that this one extends.
    pub calls_super: bool,
    /// What is in it, blocks within it too.
    pub body: Range<usize>,
}

impl Blocks {
    /// Those of a template that is known to compile.
    pub(super) fn of(text: &str, tokens: &[Token]) -> Self {
        let name_at = |at: usize| {
            let token = tokens.get(at).filter(|token| token.kind == Kind::Name)?;
            text.get(token.span.clone())
        };
        let says = |at: usize, word: &str| {
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            let is_attribute = before.is_some_and(|before| before.kind == Kind::Mark(b'.'));
            name_at(at) == Some(word) && !is_attribute
        };
        let mut all = Vec::new();
        let mut open = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match name_at(at + 1) {
                _ if token.kind != Kind::BlockStart => {}
                Some("block") => open.push((name_at(at + 2).unwrap_or_default(), at)),
                Some("endblock") => {
                    let Some((name, from)) = open.pop() else { continue };
                    let start = tokens.iter().skip(from).find(|token| token.kind == Kind::End);
                    let start = start.map_or(token.span.start, |end| end.span.end);
                    let calls_super = (from..at).any(|at| says(at, "super"));
                    let body = start..token.span.start;
                    all.push(Block { name: name.to_owned(), calls_super, body });
                }
                _ => {}
            }
        }
        let names_self = (0..tokens.len()).any(|at| says(at, "self"));
        Self { all, parent: parent(text, tokens), names_self, taken: RefCell::default() }
    }

    /// The block that another stands in, by their places in `all`.
    pub fn around(&self, at: usize) -> Option<usize> {
        let inner = &self.all.get(at)?.body;
        // Those around it have ended after it, the nearest first.
        let mut later = self.all.iter().enumerate().skip(at + 1);
        later.find(|(_, outer)| outer.body.start < inner.start).map(|(at, _)| at)
    }

    /// The names that the template takes where these of its blocks, by their places, are never
    /// made; what stands in them in a block that is, counts. `None` when that cannot be told.
    pub fn uses_without(&self, dead: &BTreeSet<usize>, file: &SourceFile) -> Option<Arc<[Use]>> {
        if let Some(uses) = self.taken.borrow().get(dead) {
            return Some(Arc::clone(uses));
        }
        let mut text = file.text.clone().into_bytes();
        // Those within others have ended before them: what they blank out or put back is last.
        for (at, block) in self.all.iter().enumerate().rev() {
            let part = text.get_mut(block.body.clone())?;
            match dead.contains(&at) {
                true => part.fill(b' '),
                false => part.copy_from_slice(file.text.as_bytes().get(block.body.clone())?),
            }
        }
        let text = String::from_utf8(text).ok()?;
        let tokens = scan::template(&text);
        let unsliced = scan::without_slices(&text, &tokens);
        let environment = environment::new();
        let template = environment.template_from_named_str(&file.name, &unsliced).ok()?;
        let uses = names::uses(template.undeclared_variables(true), &text, &tokens);
        let uses: Arc<[Use]> = uses.into();
        self.taken.borrow_mut().insert(dead.clone(), Arc::clone(&uses));
        Some(uses)
    }
}

/// The template that a template extends, where it does so whatever happens, once, and by a name
/// that is written out.
fn parent(text: &str, tokens: &[Token]) -> Option<String> {
    let word = |at: usize| tokens.get(at).and_then(|token| text.get(token.span.clone()));
    let is_extends = |at: &usize| {
        let is_block = tokens.get(*at).is_some_and(|token| token.kind == Kind::BlockStart);
        is_block && word(at + 1) == Some("extends")
    };
    let mut found = (0..tokens.len()).filter(is_extends);
    let (Some(at), None) = (found.next(), found.next()) else { return None };
    let kinds = |at: usize| tokens.get(at).map(|token| token.kind);
    let is_end = match kinds(at + 3) {
        Some(Kind::Mark(b'-' | b'+')) => kinds(at + 4) == Some(Kind::End),
        kind => kind == Some(Kind::End),
    };
    if kinds(at + 2) != Some(Kind::Text) || !is_end || !nested::always(text, tokens).contains(&at) {
        return None;
    }
    let quoted = word(at + 2)?;
    let name = quoted.get(1..quoted.len().checked_sub(1)?)?;
    (!name.contains('\\')).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Blocks {
        Blocks::of(text, &scan::template(text))
    }

    fn without(text: &str, dead: &[&str]) -> Vec<String> {
        let found = blocks(text);
        let places = found.all.iter().enumerate();
        let dead = places.filter(|(_, block)| dead.contains(&block.name.as_str()));
        let dead = dead.map(|(at, _)| at).collect();
        let uses = found.uses_without(&dead, &SourceFile::new("a.html", text)).unwrap();
        uses.iter().map(|found| found.path.clone()).collect()
    }

    #[test]
    fn blocks_and_what_they_call() {
        let text = "{% block a %}{% block b -%}{{ super() }}{%- endblock b %}{% endblock %}\
                    {% block c %}{{ x.super }}{% endblock %}{# {% block d %} #}";
        let found = blocks(text);
        let all: Vec<_> = found.all.iter().map(|block| (&*block.name, block.calls_super)).collect();
        // A call in a block within counts for the one around it, too: it may be either's.
        assert_eq!(all, [("b", true), ("a", true), ("c", false)]);
        assert_eq!([0, 1, 2].map(|at| found.around(at)), [Some(1), None, None]);
        assert!(!found.names_self);
        assert!(blocks("{{ self.a() }}").names_self && !blocks("{{ a.self }}").names_self);
    }

    #[test]
    fn a_parent_is_one_that_is_named_and_extended_whatever_happens() {
        let parent = |text: &str| blocks(text).parent;
        assert_eq!(parent("{% extends 'a.html' %}").as_deref(), Some("a.html"));
        assert_eq!(parent("{%- extends \"a.html\" -%}x").as_deref(), Some("a.html"));
        let others = [
            "",
            "{% extends a %}",
            "{% extends 'a' ~ b %}",
            "{% extends 'a' if b else 'c' %}",
            "{% if b %}{% extends 'a' %}{% endif %}",
            "{% extends 'a' %}{% extends 'b' %}",
            "{# {% extends 'a' %} #}",
        ];
        for text in others {
            assert_eq!(parent(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_left_out_takes_nothing() {
        let text = "é {{ a }}{% block b %}{{ c[:d] }}{% block e %}{{ f }}{% endblock %}{{ g }}\
                    {% endblock %}{% block h %}{{ a.i }}{% endblock %}";
        assert_eq!(without(text, &[]), ["a", "c", "d", "f", "g", "a.i"]);
        assert_eq!(without(text, &["b"]), ["a", "f", "a.i"]);
        assert_eq!(without(text, &["b", "e"]), ["a", "a.i"]);
        assert_eq!(without(text, &["e", "h"]), ["a", "c", "d", "g"]);
    }

    #[test]
    fn places_are_those_in_the_file() {
        let text = "{% block b %}{{ a }}{% endblock %}é{{ a.c }}";
        let found = blocks(text);
        let file = SourceFile::new("a.html", text);
        let uses = found.uses_without(&BTreeSet::from([0]), &file).unwrap();
        let shown: Vec<_> = uses.iter().map(|found| &text[found.span.clone()]).collect();
        assert_eq!(shown, ["a.c"]);
        assert_eq!(uses[0].span.start, text.rfind("a.c").unwrap());
    }
}
