//! What the templates of a page take, those that it extends and includes too; without blocks that
//! it never makes, as a template that extends theirs has others in their place.

use super::check::{Templates, closure};
use crate::config::SourceFile;
use crate::press::{TemplateFacts, Use};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A template that a page is made of.
pub(super) struct Member<'a> {
    pub(super) file: &'a SourceFile,
    pub(super) facts: &'a TemplateFacts,
    /// The names that it takes.
    pub(super) uses: Arc<[Use]>,
    /// Whether it is the page's own, or one that this extends: it is made whatever happens.
    pub(super) is_in_line: bool,
    /// Its blocks that are never made, by their places.
    dead: BTreeSet<usize>,
}

impl Member<'_> {
    /// Whether what stands at this place of its file may be made.
    pub(super) fn is_made(&self, at: usize) -> bool {
        let mut blocks = self.dead.iter().filter_map(|block| self.facts.blocks.all.get(*block));
        !blocks.any(|block| block.body.contains(&at))
    }
}

/// All templates that one takes in, itself included; and whether it may take any other.
pub(super) fn members<'a>(root: &'a str, templates: &'a Templates<'a>) -> (Vec<Member<'a>>, bool) {
    let (closure, dynamic) = closure(root, templates);
    let known: Vec<_> = closure.iter().filter_map(|name| templates.get(name)).collect();
    // What is not known, or makes blocks by their names, may make any of them.
    let is_open = dynamic
        || known.len() < closure.len()
        || known.iter().any(|(_, facts)| facts.blocks.names_self);
    let line = line(root, templates);
    let times = |name: &str| {
        let references = known.iter().flat_map(|(_, facts)| &facts.references);
        references.filter(|reference| reference.name == name).count()
    };
    let members = known.iter().map(|(file, facts)| {
        let place = line.iter().position(|(name, _)| *name == file.name);
        let dead = match place {
            // One that is taken in by another way, too, is made for itself there.
            Some(place) if !is_open && place > 0 && times(&file.name) == 1 => dead(&line, place),
            _ => BTreeSet::new(),
        };
        let uses = if dead.is_empty() { None } else { facts.blocks.uses_without(&dead, file) };
        let uses = uses.unwrap_or_else(|| facts.uses.as_slice().into());
        Member { file, facts, uses, is_in_line: place.is_some(), dead }
    });
    (members.collect(), dynamic)
}

/// The template and those it extends, from the most derived on.
fn line<'a>(root: &'a str, templates: &'a Templates<'a>) -> Vec<(&'a str, &'a TemplateFacts)> {
    let mut line: Vec<(&str, &TemplateFacts)> = Vec::new();
    let mut next = Some(root);
    while let Some(name) = next.filter(|name| line.iter().all(|(other, _)| other != name)) {
        let Some((_, facts)) = templates.get(name) else { break };
        line.push((name, facts));
        next = facts.blocks.parent.as_deref();
    }
    line
}

/// The blocks of a template of the line, by their places, that are never made: one that extends it
/// has a block of the name, and no `super()` leads from there to this; or they are only in such.
fn dead(line: &[(&str, &TemplateFacts)], place: usize) -> BTreeSet<usize> {
    let (derived, rest) = line.split_at(place);
    let mut dead = BTreeSet::new();
    let Some((_, facts)) = rest.first() else { return dead };
    let same = |facts: &TemplateFacts, name: &str| {
        let same = facts.blocks.all.iter().filter(|block| block.name == name);
        (same.clone().count(), same.filter(|block| block.calls_super).count())
    };
    // Those around others come after them.
    for (at, block) in facts.blocks.all.iter().enumerate().rev() {
        let is_cut = |facts: &TemplateFacts| matches!(same(facts, &block.name), (1.., 0));
        let is_only =
            || line.iter().map(|(_, facts)| same(facts, &block.name).0).sum::<usize>() == 1;
        let is_in_dead = || facts.blocks.around(at).is_some_and(|around| dead.contains(&around));
        if derived.iter().any(|(_, facts)| is_cut(facts)) || is_in_dead() && is_only() {
            dead.insert(at);
        }
    }
    dead
}
