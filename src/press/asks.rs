//! What a template asks for by `fragment`, as far as its text tells: literal paths, which are
//! checked when the site is, and those among them that it asks for whatever happens, which are
//! made while the page's own fetches are still on their way.

use super::fragments::Ask;
use super::scan::{Kind, Token};
use std::ops::Range;

/// What a template asks for.
#[derive(Clone, Debug, Default)]
pub struct Asks {
    /// Whether it may ask at all.
    pub any: bool,
    /// The targets that are written out, with their places.
    pub literals: Vec<(String, Range<usize>)>,
    /// What happens in each of its runs.
    pub always: Vec<Always>,
}

/// Something that happens in each run of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Always {
    /// What.
    pub what: What,
    /// Whether it is in a block, which a template that extends this one may replace.
    pub in_block: bool,
}

/// See [`Always`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A fragment is asked for.
    Fragment(Ask),
    /// A template is included.
    Include(String),
    /// A template is extended.
    Extends(String),
}

/// What a template asks for.
pub(super) fn asks(text: &str, tokens: &[Token]) -> Asks {
    let mut asks = Asks::default();
    let mut open = Vec::new();
    for at in 0..tokens.len() {
        let words = Words { text, tokens, at };
        if words.is_fragment() {
            asks.any = true;
            if let (Some(target), Some(token)) = (words.literal(2), tokens.get(at + 2))
                && words.mark(1, b'(')
                && (words.mark(3, b',') || words.mark(3, b')'))
            {
                asks.literals.push((target, token.span.clone()));
            }
        }
        let what = match tokens.get(at).map(|token| token.kind) {
            Some(Kind::BlockStart) => words.statement(&mut open),
            Some(Kind::PrintStart) => words.printed().map(What::Fragment),
            _ => None,
        };
        if let Some(what) = what
            && !open.iter().any(|keyword| MAYBE.contains(keyword))
        {
            asks.always.push(Always { what, in_block: open.contains(&"block") });
        }
    }
    asks
}

/// Statements whose bodies may not run, or not for what they print.
const MAYBE: &[&str] = &["if", "for", "macro", "call", "set"];
/// Other statements with a body.
const BODIES: &[&str] = &["block", "with", "filter", "autoescape"];

/// The tokens from one on.
struct Words<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
}

impl<'t> Words<'t> {
    fn get(&self, after: usize) -> Option<(Kind, &'t str)> {
        let token = self.tokens.get(self.at + after)?;
        Some((token.kind, self.text.get(token.span.clone())?))
    }

    fn mark(&self, after: usize, mark: u8) -> bool {
        self.get(after).is_some_and(|(kind, _)| kind == Kind::Mark(mark))
    }

    fn name(&self, after: usize, name: &str) -> bool {
        self.get(after) == Some((Kind::Name, name))
    }

    fn is_end(&self, after: usize) -> bool {
        // What trims the white space behind it comes first.
        let trims = self.mark(after, b'-') || self.mark(after, b'+');
        let end = self.get(after + usize::from(trims));
        end.is_some_and(|(kind, _)| kind == Kind::End)
    }

    /// A quoted text that says what it is without escapes.
    fn literal(&self, after: usize) -> Option<String> {
        let (kind, quoted) = self.get(after)?;
        let text = quoted.get(1..quoted.len().checked_sub(1)?)?;
        (kind == Kind::Text && !text.contains('\\')).then(|| text.to_owned())
    }

    /// Whether here is the function, and not a field or filter of its name.
    fn is_fragment(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|before| self.tokens.get(before));
        let is_field = before.is_some_and(|token| token.kind == Kind::Mark(b'.'));
        self.name(0, "fragment") && !is_field
    }

    /// Keeps account of open statements; an include or extends is told.
    fn statement(&self, open: &mut Vec<&'t str>) -> Option<What> {
        let (_, keyword) = self.get(1)?;
        if keyword.starts_with("end") {
            open.pop();
        } else if keyword == "set" {
            let rest = self.tokens.get(self.at..).unwrap_or_default();
            let mut rest = rest.iter().take_while(|token| token.kind != Kind::End);
            if !rest.any(|token| token.kind == Kind::Mark(b'=')) {
                open.push(keyword);
            }
        } else if MAYBE.contains(&keyword) || BODIES.contains(&keyword) {
            open.push(keyword);
        }
        let template = self.literal(2).filter(|_| self.is_end(3))?;
        match keyword {
            "include" => Some(What::Include(template)),
            "extends" => Some(What::Extends(template)),
            _ => None,
        }
    }

    /// A print of a fragment and nothing else.
    fn printed(&self) -> Option<Ask> {
        let target = self.literal(3).filter(|_| self.name(1, "fragment") && self.mark(2, b'('))?;
        if self.mark(4, b')') && self.is_end(5) {
            return Some(Ask { target, optional: false });
        }
        let is_optional = self.mark(4, b',')
            && self.name(5, "optional")
            && self.mark(6, b'=')
            && (self.name(7, "true") || self.name(7, "True"))
            && self.mark(8, b')')
            && self.is_end(9);
        is_optional.then_some(Ask { target, optional: true })
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    fn found(text: &str) -> Asks {
        asks(text, &scan::template(text))
    }

    #[test]
    fn literals_and_whether_there_is_any() {
        let text = "{{ fragment('/a') }}{{ fragment(\"/b?c=d\", optional=true)|trim }}\
                    {{ fragment('/c/' ~ x) }}{{ x.fragment('/d') }}{# {{ fragment('/e') }} #}";
        let asks = found(text);
        let literals: Vec<_> = asks.literals.iter().map(|(target, _)| target.as_str()).collect();
        assert_eq!(literals, ["/a", "/b?c=d"]);
        assert!(found("{{ fragment(x) }}").any && !found("{{ x.fragment }}fragment('/')").any);
    }

    #[test]
    fn what_happens_in_each_run() {
        let text = "{% extends 'base.html' %}{% include 'x.html' %}{% include y %}\
            {% block a %}{{ fragment('/a') }}{% if b %}{{ fragment('/b') }}{% endif %}\
            {%- with c = 1 -%}{{- fragment('/c', optional=true) -}}{% endwith %}{% endblock %}\
            {% for d in e %}{% include 'z.html' %}{{ fragment('/d') }}{% endfor %}\
            {% set f = 1 %}{{ fragment('/f') }}{% set g %}{{ fragment('/g') }}{% endset %}\
            {{ fragment('/h') if h }}{{ fragment('/i')|trim }}";
        let shown = found(text).always.into_iter().map(|one| {
            let what = match one.what {
                What::Fragment(Ask { target, optional }) => format!("{target} {optional}"),
                What::Include(name) | What::Extends(name) => name,
            };
            (what, one.in_block)
        });
        let wanted = [
            ("base.html", false),
            ("x.html", false),
            ("/a false", true),
            ("/c true", true),
            ("/f false", false),
        ];
        let wanted = wanted.map(|(what, in_block)| (what.to_owned(), in_block));
        assert_eq!(shown.collect::<Vec<_>>(), wanted);
    }
}
