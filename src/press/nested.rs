//! Which statements of a template stand within which: whether something is done whatever happens,
//! and what is outside of all blocks.

use super::scan::{Kind, Token};
use std::collections::BTreeSet;
use std::ops::Range;

/// The statements that stand within no other, by the place of their first token: all that is done
/// whenever the template is.
pub(super) fn always(text: &str, tokens: &[Token]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    walk(text, tokens, |at, token, open| {
        if token.kind == Kind::BlockStart && open.is_empty() {
            found.insert(at);
        }
    });
    found
}

/// The calls of `super` that have no block to be about. A macro is none, whoever calls it.
pub(super) fn stray_supers(text: &str, tokens: &[Token]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    walk(text, tokens, |at, token, open| {
        let is_super = token.kind == Kind::Name && text.get(token.span.clone()) == Some("super");
        let next = tokens.get(at + 1);
        let is_call = next.is_some_and(|next| next.kind == Kind::Mark(b'('));
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let is_attribute = before.is_some_and(|before| before.kind == Kind::Mark(b'.'));
        if is_super && is_call && !is_attribute {
            let inner = open.iter().rfind(|word| matches!(**word, "block" | "macro" | "call"));
            if inner != Some(&"block") {
                found.push(token.span.clone());
            }
        }
    });
    found
}

/// A look-up of one name in another that is printed as it is, whatever happens: `{{ query.q }}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarePrint {
    /// The look-up, as it is written without spaces.
    pub path: String,
    /// Where it is.
    pub span: Range<usize>,
}

/// The prints of what these names have, by a dot, that stand in nothing but blocks.
pub(super) fn bare_prints(text: &str, tokens: &[Token], of: &[&str]) -> Vec<BarePrint> {
    let mut found = Vec::new();
    walk(text, tokens, |at, token, open| {
        let inner = tokens.get(at + 1..at + 4);
        let (Kind::PrintStart, Some([top, dot, name])) = (token.kind, inner) else { return };
        let is_sign = |token: &&Token| matches!(token.kind, Kind::Mark(b'-' | b'+'));
        let mut rest = tokens.iter().skip(at + 4).skip_while(is_sign);
        let kinds = (top.kind, dot.kind, name.kind, rest.next().map(|token| token.kind));
        let is_plain = (Kind::Name, Kind::Mark(b'.'), Kind::Name, Some(Kind::End)) == kinds;
        if !is_plain || open.iter().any(|word| *word != "block") {
            return;
        }
        let word = |token: &Token| text.get(token.span.clone()).unwrap_or_default();
        if of.contains(&word(top)) {
            let path = format!("{}.{}", word(top), word(name));
            found.push(BarePrint { path, span: top.span.start..name.span.end });
        }
    });
    found
}

/// Gives each token with the words of the statements that it stands within. The template is known
/// to compile, so that each of them ends.
fn walk<'t>(text: &'t str, tokens: &[Token], mut visit: impl FnMut(usize, &Token, &[&'t str])) {
    let mut open = Vec::new();
    let mut opens = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::BlockStart => {
                let word = tokens.get(at + 1).and_then(|word| text.get(word.span.clone()));
                let word = word.unwrap_or_default();
                if word.starts_with("end") {
                    open.pop();
                }
                let is_open = OPENING.contains(&word) || (word == "set" && is_capture(tokens, at));
                opens = is_open.then_some(word);
            }
            Kind::End => open.extend(opens.take()),
            _ => {}
        }
        visit(at, token, &open);
    }
}

/// Whether a `set` takes what stands between it and its end: before any filter it has no `=`.
fn is_capture(tokens: &[Token], at: usize) -> bool {
    let marks = tokens.iter().skip(at).map(|token| token.kind);
    let mut ends = marks.filter(|kind| matches!(kind, Kind::Mark(b'=' | b'|') | Kind::End));
    ends.next() != Some(Kind::Mark(b'='))
}

/// Statements that have an end.
const OPENING: &[&str] = &["if", "for", "block", "macro", "call", "filter", "with", "autoescape"];

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    #[test]
    fn statements_that_are_always_done() {
        let text = "{% set a = 1 %}{% set b %}{% include 'no' %}{% endset %}\
                    {% set c | default(a=1) %}{% include 'no' %}{% endset %}\
                    {% if a %}{% include 'no' %}{% else %}{% include 'no' %}{% endif %}\
                    {% raw %}{% if %}{% endraw %}{% block d %}{% include 'no' %}{% endblock d %}\
                    {% include 'yes' %}";
        let tokens = scan::template(text);
        let found = always(text, &tokens);
        let rest = |at: &usize| text.get(tokens[*at].span.start..).unwrap();
        let includes: Vec<_> = found.iter().map(rest).filter(|t| t.starts_with("{% inc")).collect();
        assert_eq!(includes, ["{% include 'yes' %}"]);
    }

    #[test]
    fn prints_that_are_bare() {
        let found = |text: &str| {
            let found = bare_prints(text, &scan::template(text), &["query"]);
            found.into_iter().map(|print| print.path).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            found("{{ query.a }}{%block b%}{{- query . b -}}{% endblock %}"),
            "query.a query.b"
        );
        let others = "{{ query.a|d }}{{ query.a or '' }}{{ query.a.b }}{{ query['a'] }}{{ form.a }}\
                      {{ query }}{% if a %}{{ query.a }}{% else %}{{ query.b }}{% endif %}\
                      {% for a in b %}{{ query.a }}{% endfor %}{% with a = 1 %}{{ query.a }}\
                      {% endwith %}{# {{ query.a }} #}{% raw %}{{ query.a }}{% endraw %}\
                      {% macro m() %}{{ query.a }}{% endmacro %}";
        assert_eq!(found(others), "");
    }

    #[test]
    fn supers_outside_of_blocks() {
        let count = |text: &str| stray_supers(text, &scan::template(text)).len();
        assert_eq!(count("{{ super() }}{% block a %}{{ super() }}{% endblock %}"), 1);
        assert_eq!(count("{% block a %}{% if b %}{{ super()|upper }}{% endif %}{% endblock %}"), 0);
        let text = "{% block a %}{% macro m() %}{{ super() }}{% endmacro %}{% endblock %}";
        assert_eq!(count(text), 1);
        assert_eq!(count("{{ a.super() }}{{ super }}{% raw %}{{ super() }}{% endraw %}"), 0);
    }
}
