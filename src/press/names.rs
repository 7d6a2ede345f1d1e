//! Which names a text uses, gives and expects, with their places.

use super::assets::{self, Assets};
use super::environment::{FILTERS, TESTS};
use super::scan::{Kind, Token};
use super::{filters, nested};
use crate::config::suggestion;
use minijinja::Environment;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

/// A name that a text takes from its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name, with the attributes that directly follow it: `user.team.id`.
    pub path: String,
    /// Where it is used first.
    pub span: Range<usize>,
    /// Whether the text asks somewhere whether it is there: `is defined`, `default(...)`.
    pub guarded: bool,
}

/// Another template that a template needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its file name.
    pub name: String,
    /// Where it is named.
    pub span: Range<usize>,
    /// Whether it may be missing.
    pub optional: bool,
    /// Whether the template needs it whatever happens.
    pub always: bool,
}

/// A name that a template takes from another one by `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The file name of the other.
    pub template: String,
    /// The name.
    pub name: String,
    /// Where it is named.
    pub span: Range<usize>,
}

impl Use {
    /// The name itself.
    pub fn top(&self) -> &str {
        self.path.split('.').next().unwrap_or_default()
    }

    /// The first attribute, if there is one.
    pub fn second(&self) -> Option<&str> {
        self.path.split('.').nth(1)
    }
}

/// The names that an expression looks up, one in the other, if it does nothing else: as
/// `headers.accept` or `(headers["accept"])`.
pub(super) fn lookup(text: &str, tokens: &[Token]) -> Option<Box<[Box<str>]>> {
    let mut tokens = tokens;
    while let [first, inner @ .., last] = tokens
        && (first.kind, last.kind) == (Kind::Mark(b'('), Kind::Mark(b')'))
    {
        tokens = inner;
    }
    let mut names = vec![name_at(0, text, tokens)?];
    let mut at = 1;
    while at < tokens.len() {
        if is_mark(tokens, at, b'.') {
            names.push(name_at(at + 1, text, tokens)?);
            at += 2;
        } else {
            names.push(subscript(at, text, tokens)?);
            at += 3;
        }
    }
    Some(names.into_iter().map(Into::into).collect())
}

/// The text that is looked up by the brackets that open at a token, if it is always the same.
fn subscript<'t>(at: usize, text: &'t str, tokens: &[Token]) -> Option<&'t str> {
    if !is_mark(tokens, at, b'[') || !is_mark(tokens, at + 2, b']') {
        return None;
    }
    let token = tokens.get(at + 1).filter(|token| token.kind == Kind::Text)?;
    let quoted = text.get(token.span.clone())?;
    let name = quoted.get(1..quoted.len().checked_sub(1)?)?;
    // One with an escape in it means something else than it says.
    (!name.contains('\\')).then_some(name)
}

/// Finds the places of what minijinja found undeclared.
pub(super) fn uses(undeclared: HashSet<String>, text: &str, tokens: &[Token]) -> Vec<Use> {
    let mut uses: Vec<_> = undeclared
        .into_iter()
        .map(|path| {
            let all = occurrences(&path, text, tokens);
            // Who asks whether `user` is there may then take `user.name`.
            let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
            let guarded = ends.filter_map(|end| path.get(..end)).any(|part| {
                let found = occurrences(part, text, tokens);
                found.iter().any(|(_, after)| is_guarded(*after, text, tokens))
            });
            let span = all.first().map(|(span, _)| span.clone());
            let top = || {
                let top = path.split('.').next().unwrap_or_default();
                occurrences(top, text, tokens).first().map(|(span, _)| span.clone())
            };
            let span = span.or_else(top).unwrap_or(0..0);
            Use { path, span, guarded }
        })
        .collect();
    let subscripts = subscripts(&uses, text, tokens);
    uses.extend(subscripts);
    uses.sort_by(|a, b| (a.span.start, &a.path).cmp(&(b.span.start, &b.path)));
    uses
}

/// What is looked up in these names by constant subscripts, which minijinja does not tell.
fn subscripts(uses: &[Use], text: &str, tokens: &[Token]) -> Vec<Use> {
    let mut found: Vec<Use> = Vec::new();
    let is_bare = |name: &&Use| name.top() == name.path;
    for name in uses.iter().filter(is_bare) {
        for (span, after) in occurrences(&name.path, text, tokens) {
            let Some(second) = subscript(after, text, tokens) else { continue };
            if second.contains('.') {
                continue;
            }
            let path = format!("{}.{second}", name.path);
            let guarded = name.guarded || is_guarded(after + 3, text, tokens);
            if let Some(other) = found.iter_mut().find(|other| other.path == path) {
                other.guarded |= guarded;
                continue;
            }
            let end = tokens.get(after + 2).map_or(span.end, |token| token.span.end);
            found.push(Use { path, span: span.start..end, guarded });
        }
    }
    found
}

/// The spans of a dotted path, each with the index of the token after it. Those that are names
/// of arguments (`f(name=...)`) do not count.
fn occurrences(path: &str, text: &str, tokens: &[Token]) -> Vec<(Range<usize>, usize)> {
    let parts: Vec<&str> = path.split('.').collect();
    let mut found = Vec::new();
    for (at, first) in tokens.iter().enumerate() {
        if at > 0 && tokens.get(at - 1).is_some_and(|token| token.kind == Kind::Mark(b'.')) {
            continue;
        }
        let mut next = at;
        let matches = parts.iter().enumerate().all(|(index, part)| {
            if index > 0 {
                if !is_mark(tokens, next, b'.') {
                    return false;
                }
                next += 1;
            }
            next += 1;
            name_at(next - 1, text, tokens) == Some(part)
        });
        let is_argument = is_mark(tokens, next, b'=') && !is_mark(tokens, next + 1, b'=');
        if matches && !is_argument {
            let end = tokens.get(next - 1).map_or(0, |token| token.span.end);
            found.push((first.span.start..end, next));
        }
    }
    found
}

fn is_guarded(after: usize, text: &str, tokens: &[Token]) -> bool {
    if is_mark(tokens, after, b'|') {
        return matches!(name_at(after + 1, text, tokens), Some("default" | "d"));
    }
    if name_at(after, text, tokens) != Some("is") {
        return false;
    }
    let test = after + 1 + usize::from(name_at(after + 1, text, tokens) == Some("not"));
    matches!(name_at(test, text, tokens), Some("defined" | "undefined"))
}

/// Names that a template gives itself: by set, for, with, macro, import. Templates it includes
/// or extends see them too, and minijinja's analysis looks at one template at a time.
pub(super) fn assigned(text: &str, tokens: &[Token]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (start, first) in tokens.iter().enumerate() {
        if first.kind != Kind::BlockStart {
            continue;
        }
        let mut at = start + 2;
        let keyword = name_at(start + 1, text, tokens).unwrap_or_default();
        let mut takes = matches!(keyword, "set" | "for" | "with" | "macro" | "call");
        while let Some(token) = tokens.get(at) {
            let name = name_at(at, text, tokens);
            match (keyword, name) {
                _ if token.kind == Kind::End => break,
                ("for", Some("in")) | ("import", Some("as")) | ("from", Some("import")) => {
                    takes = keyword != "for";
                }
                (_, Some(name)) if takes => {
                    names.insert(name.to_owned());
                }
                ("set", None) if token.kind == Kind::Mark(b'=') => takes = false,
                _ => {}
            }
            at += 1;
        }
    }
    names
}

/// The static files that are named in a text and that there are none of, each with what is wrong.
pub(super) fn missing_assets(
    assets: &Assets,
    text: &str,
    tokens: &[Token],
) -> Vec<(Range<usize>, (String, String))> {
    let mut missing = Vec::new();
    for (_, after) in occurrences(assets::FUNCTION, text, tokens) {
        let Some(token) = tokens.get(after + 1) else { continue };
        let is_call = is_mark(tokens, after, b'(') && is_mark(tokens, after + 2, b')');
        let quoted = text.get(token.span.clone()).filter(|_| is_call && token.kind == Kind::Text);
        let name = quoted.and_then(|quoted| quoted.get(1..quoted.len().checked_sub(1)?));
        // One with an escape in it is found when it runs.
        let Some(name) = name.filter(|name| !name.contains('\\')) else { continue };
        if assets.path(name).is_none() {
            missing.push((token.span.clone(), assets.trouble(name)));
        }
    }
    missing
}

/// The templates a template names, and whether it also takes some whose name is not fixed.
pub(super) fn references(text: &str, tokens: &[Token]) -> (Vec<Reference>, bool) {
    let mut references = Vec::new();
    let mut dynamic = false;
    let always = nested::always(text, tokens);
    for (start, first) in tokens.iter().enumerate() {
        let keyword = name_at(start + 1, text, tokens).unwrap_or_default();
        let is_block = first.kind == Kind::BlockStart;
        if !is_block || !matches!(keyword, "include" | "extends" | "import" | "from") {
            continue;
        }
        let body = tokens.get(start + 2..).unwrap_or_default();
        let body = body.split(|token| token.kind == Kind::End).next().unwrap_or_default();
        let is_after = |token: &Token| {
            matches!(text.get(token.span.clone()), Some("import" | "as" | "ignore" | "with"))
        };
        let named = body.split(is_after).next().unwrap_or_default();
        let ignores = body.iter().any(|token| text.get(token.span.clone()) == Some("ignore"));
        let texts: Vec<_> = named.iter().filter(|token| token.kind == Kind::Text).collect();
        let only_texts = named.iter().all(|token| {
            matches!(token.kind, Kind::Text | Kind::Mark(b'[' | b']' | b',' | b'(' | b')' | b'-'))
        });
        if !only_texts || texts.is_empty() {
            dynamic = true;
        }
        for token in &texts {
            let quoted = text.get(token.span.clone()).unwrap_or_default();
            let name = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            references.push(Reference {
                name: name.to_owned(),
                span: token.span.clone(),
                optional: ignores || !only_texts || texts.len() > 1,
                always: only_texts && texts.len() == 1 && always.contains(&start),
            });
        }
    }
    (references, dynamic)
}

/// The names that a template takes from others by `from`.
pub(super) fn imports(text: &str, tokens: &[Token]) -> Vec<Import> {
    let mut imports = Vec::new();
    for start in 0..tokens.len() {
        let is_block = tokens.get(start).is_some_and(|token| token.kind == Kind::BlockStart);
        let quoted = tokens.get(start + 2).filter(|token| token.kind == Kind::Text);
        let words = [start + 1, start + 3].map(|at| name_at(at, text, tokens));
        let (true, Some(quoted), [Some("from"), Some("import")]) = (is_block, quoted, words) else {
            continue;
        };
        let quoted = text.get(quoted.span.clone()).unwrap_or_default();
        let template = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        let mut at = start + 4;
        while let Some(name) = name_at(at, text, tokens) {
            let span = tokens.get(at).map_or(0..0, |token| token.span.clone());
            imports.push(Import { template: template.to_owned(), name: name.to_owned(), span });
            at += if name_at(at + 1, text, tokens) == Some("as") { 3 } else { 1 };
            if !is_mark(tokens, at, b',') {
                break;
            }
            at += 1;
        }
    }
    imports
}

/// A filter or a test that does not exist: its place, what is wrong, and a suggestion.
pub(super) fn unknown_filters(
    environment: &Environment<'_>,
    text: &str,
    tokens: &[Token],
) -> Vec<(Range<usize>, String, Option<String>)> {
    let mut unknown = Vec::new();
    for (at, token) in tokens.iter().enumerate().skip(1) {
        let Some(name) = name_at(at, text, tokens) else { continue };
        let before = name_at(at - 1, text, tokens);
        let in_block = at > 1 && tokens.get(at - 2).is_some_and(|t| t.kind == Kind::BlockStart);
        let is_filter = is_mark(tokens, at - 1, b'|') || (before == Some("filter") && in_block);
        let is_operator = |at: usize| {
            name_at(at, text, tokens) == Some("is") && at > 0 && !is_mark(tokens, at - 1, b'.')
        };
        let is_test = name != "not"
            && (is_operator(at - 1) || (before == Some("not") && at > 1 && is_operator(at - 2)));
        let span = token.span.clone();
        if is_filter && !filters::exists(environment, name) {
            let hint = suggestion(name, FILTERS.iter().copied());
            unknown.push((span, format!("unknown filter `{name}`"), hint));
        } else if is_test && !filters::test_exists(environment, name) {
            let hint = suggestion(name, TESTS.iter().copied());
            unknown.push((span, format!("unknown test `{name}`"), hint));
        }
    }
    unknown
}

fn is_mark(tokens: &[Token], at: usize, mark: u8) -> bool {
    tokens.get(at).is_some_and(|token| token.kind == Kind::Mark(mark))
}

fn name_at<'t>(at: usize, text: &'t str, tokens: &[Token]) -> Option<&'t str> {
    let token = tokens.get(at).filter(|token| token.kind == Kind::Name)?;
    text.get(token.span.clone())
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    #[test]
    fn names_a_template_gives() {
        let text = "{% set a = b %}{% for c, d in e %}{% endfor %}{% import 'x' as f %}\
                    {% from 'y' import g as h %}{% macro m(i) %}{% endmacro %}\
                    {% set j %}x{% endset %}";
        let names = assigned(text, &scan::template(text));
        for name in ["a", "c", "d", "f", "g", "h", "m", "i", "j"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.contains("b") && !names.contains("e"));
    }

    #[test]
    fn look_ups_are_told_by_dots_and_by_constant_subscripts() {
        let found = |text: &str| lookup(text, &scan::expression(text)).map(|names| names.join("/"));
        let paths = [
            ("query", "query"),
            ("query.a", "query/a"),
            ("query['a-b']", "query/a-b"),
            ("((form[\"a\"].b))", "form/a/b"),
        ];
        for (text, names) in paths {
            assert_eq!(found(text).as_deref(), Some(names), "{text}");
        }
        let others =
            ["", "'a'", "a + b", "a.b()", "a[b]", "a[0]", "a['\\n']", "a|b", "(a)(b)", "a['"];
        for text in others {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn references_of_all_forms() {
        let text = "{% extends 'a' %}{% include ['b', \"c\"] ignore missing %}\
                    {% import 'd' as e %}{% from 'f' import g %}";
        let (found, dynamic) = references(text, &scan::template(text));
        let names: Vec<_> = found.iter().map(|reference| reference.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d", "f"]);
        assert!(!dynamic && found[1].optional && !found[0].optional);
        let text = "{% include kind ~ '.html' %}";
        assert!(references(text, &scan::template(text)).1);
    }

    #[test]
    fn a_guard_is_seen_on_the_same_path_only() {
        let text = "{{ a.b | default(1) }}{{ c }}{% if c.d is not defined %}{{ c.d.e }}{% endif %}";
        let names = ["a.b", "c", "c.d", "c.d.e"].map(str::to_owned).into_iter().collect();
        let guarded: Vec<_> = uses(names, text, &scan::template(text))
            .into_iter()
            .map(|found| (found.path, found.guarded))
            .collect();
        let wanted = [("a.b", true), ("c", false), ("c.d", true), ("c.d.e", true)];
        assert_eq!(guarded, wanted.map(|(path, guarded)| (path.to_owned(), guarded)));
    }

    #[test]
    fn unknown_filters_and_tests_are_found() {
        let text = "{{ a | uper }}{{ b is not deifned }}{{ c | upper is string }}{{ d.is.x }}";
        let environment = super::super::environment::new();
        let found = unknown_filters(&environment, text, &scan::template(text));
        let messages: Vec<_> = found.iter().map(|(_, message, _)| message.as_str()).collect();
        assert_eq!(messages, ["unknown filter `uper`", "unknown test `deifned`"]);
    }
}
