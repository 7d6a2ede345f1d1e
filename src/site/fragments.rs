//! Pages within pages, as far as a site's files tell: which a page will ask for whatever happens,
//! and which it asks for in vain.

use super::check::{Templates, closure};
use super::cycle::find_cycle;
use super::route::Router;
use crate::config::{Problem, SourceFile, suggestion};
use crate::http::path::normalize;
use crate::press::{Ask, What, fragment_trouble};
use std::collections::BTreeSet;
use std::ops::Range;

/// What a page asks for in each of its runs, by its template and those that takes in; none when it
/// never asks for anything.
pub(super) fn asked<'a>(root: &'a str, templates: &'a Templates<'a>) -> Option<Box<[Ask]>> {
    let (closure, dynamic) = closure(root, templates);
    let asks = |name: &str| templates.get(name).is_some_and(|(_, facts)| facts.asks.any);
    let may_ask = closure.iter().any(|name| asks(name))
        || (dynamic && templates.keys().any(|name| asks(name)));
    if !may_ask {
        return None;
    }
    let mut early: Vec<Ask> = Vec::new();
    let mut seen = BTreeSet::new();
    // Blocks of a template that is extended may be others' by then.
    let mut open = vec![(root, true)];
    while let Some((name, with_blocks)) = open.pop() {
        let Some((_, facts)) = templates.get(name) else { continue };
        if !seen.insert(name) {
            continue;
        }
        let always = &facts.asks.always;
        // Of a template that extends another only the blocks are printed.
        let extends = always.iter().any(|one| matches!(one.what, What::Extends(_)));
        for one in always.iter() {
            let is_printed = if one.in_block { with_blocks } else { !extends };
            match &one.what {
                What::Extends(other) => open.push((other, false)),
                What::Include(other) if is_printed => open.push((other, true)),
                What::Fragment(ask) if is_printed && !early.contains(ask) => {
                    early.push(ask.clone());
                }
                _ => {}
            }
        }
    }
    Some(early.into())
}

/// A page, as part of others.
pub(super) struct Part<'a> {
    /// Its template, where there is one that shows it to those who only look.
    pub(super) template: Option<&'a str>,
}

/// What is wrong with the targets that are written out in templates. `parts` are the pages, by
/// their place.
pub(super) fn check(
    templates: &Templates<'_>,
    router: &Router,
    parts: &[Part<'_>],
    patterns: &[&str],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut literals: Vec<Literal<'_>> = Vec::new();
    for (file, facts) in templates.values() {
        for (target, span) in &facts.asks.literals {
            match page_of(target, router, parts) {
                Ok(page) => literals.push(Literal { target, file, span, page }),
                Err(message) => {
                    let path = target.split('?').next().unwrap_or_default();
                    let plain = patterns.iter().copied();
                    let plain = plain.filter(|one| !one.contains('{') && *one != path);
                    let hint = suggestion(path, plain);
                    problems.push(file.problem(span.clone(), message).hint_if(hint));
                }
            }
        }
    }
    problems.extend(cycle(templates, parts, &literals));
    problems
}

/// A target that is written out in a template, and the page it is of.
struct Literal<'a> {
    target: &'a str,
    file: &'a SourceFile,
    span: &'a Range<usize>,
    page: usize,
}

/// A fragment that needs itself. The same target always asks for the same, so it never ends.
fn cycle(
    templates: &Templates<'_>,
    parts: &[Part<'_>],
    literals: &[Literal<'_>],
) -> Option<Problem> {
    let needs: Vec<Vec<usize>> = literals
        .iter()
        .map(|literal| {
            let template = parts.get(literal.page).and_then(|part| part.template);
            let Some(template) = template else { return Vec::new() };
            let (closure, _) = closure(template, templates);
            let within = |other: &Literal<'_>| closure.contains(other.file.name.as_str());
            (0..literals.len()).filter(|at| literals.get(*at).is_some_and(within)).collect()
        })
        .collect();
    let needs: Vec<&[usize]> = needs.iter().map(Vec::as_slice).collect();
    let cycle = find_cycle(&needs)?;
    let cycle: Vec<&Literal<'_>> = cycle.iter().filter_map(|at| literals.get(*at)).collect();
    let first = cycle.first()?;
    let targets: Vec<&str> = cycle.iter().map(|literal| literal.target).collect();
    let message = format!("a fragment that needs itself: {}", targets.join(" -> "));
    let hint = "one of them must do without the other";
    Some(first.file.problem(first.span.clone(), message).hint(hint))
}

/// The page of a target, by its place.
fn page_of(target: &str, router: &Router, parts: &[Part<'_>]) -> Result<usize, String> {
    if let Some(why) = fragment_trouble(target) {
        return Err(why);
    }
    let path = target.split('?').next().unwrap_or_default();
    let unread = |_| format!("`{path}` is no path: what is special in it must be percent-encoded");
    let normalized = normalize(path.as_bytes()).map_err(unread)?;
    let found = std::str::from_utf8(&normalized).ok().and_then(|path| router.at(path));
    let Some((page, _)) = found else { return Err(format!("no page has the path `{path}`")) };
    if parts.get(page).is_none_or(|part| part.template.is_none()) {
        return Err(format!("the page of `{path}` has nothing to show: no GET, or no template"));
    }
    Ok(page)
}
