//! The tokens of template code, as far as a check of names needs them: where code begins and
//! ends, names, texts and marks. minijinja decides what a template means; this only finds places
//! in it, and what minijinja's own analysis does not tell.

use std::ops::Range;

/// A token of template code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Name,
    /// A quoted text, quotes included.
    Text,
    /// A number.
    Number,
    /// Any other character.
    Mark(u8),
    /// `{%`
    BlockStart,
    /// `{{`
    PrintStart,
    /// `%}` or `}}`
    End,
}

/// The tokens of all code of a template; comments and raw blocks have none.
pub(super) fn template(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'{', rest)) {
        let open = at + found;
        match bytes.get(open + 1) {
            Some(b'#') => at = find(bytes, b"#}", open + 2).map_or(bytes.len(), |end| end + 2),
            Some(b'{') => at = code(bytes, open, Kind::PrintStart, b"}}", &mut tokens),
            Some(b'%') => {
                let first = tokens.len();
                at = code(bytes, open, Kind::BlockStart, b"%}", &mut tokens);
                let name = tokens.get(first + 1).and_then(|token| text.get(token.span.clone()));
                if name == Some("raw") {
                    at = raw_end(bytes, at);
                }
            }
            _ => at = open + 1,
        }
    }
    tokens
}

/// The markup of a template: its text, with a private character for each piece of code; but a path
/// of this site where that is all that is printed.
pub(crate) fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let tokens = template(text);
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::BlockStart | Kind::PrintStart => {
                out.push_str(text.get(copied..token.span.start).unwrap_or_default());
                out.push(match token.kind {
                    Kind::PrintStart if is_asset(text, tokens.get(at + 1..)) => '/',
                    Kind::PrintStart => PRINTED,
                    _ => BLOCK,
                });
            }
            Kind::End => copied = token.span.end,
            _ => {}
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// Whether this is `asset('NAME')` and nothing else.
fn is_asset(text: &str, tokens: Option<&[Token]>) -> bool {
    let Some([name, open, _, close, rest @ ..]) = tokens else { return false };
    // White space after it may be wanted or not.
    let mut rest = rest.iter().skip_while(|token| matches!(token.kind, Kind::Mark(b'-' | b'+')));
    text.get(name.span.clone()) == Some("asset")
        && open.kind == Kind::Mark(b'(')
        && close.kind == Kind::Mark(b')')
        && rest.next().is_some_and(|token| token.kind == Kind::End)
}

/// What [`markup`] has for a value that is printed.
pub(crate) const PRINTED: char = '\u{e000}';
/// What it has for a statement.
pub(crate) const BLOCK: char = '\u{e001}';

/// The tokens of an expression that is by itself.
pub(super) fn expression(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    scan_code(text.as_bytes(), 0, None, &mut tokens);
    tokens
}

/// Where the code that begins at `from` ends: the place of its `}}`.
pub(super) fn print_end(text: &str, from: usize) -> Option<usize> {
    let end = scan_code(text.as_bytes(), from, Some(b"}}"), &mut Vec::new());
    (end < text.len()).then_some(end)
}

/// The same text with each slice `a[b:c]` written as `a[b~c]`, which names the same names.
/// minijinja's own analysis overlooks `a` in the former (3.1.0).
pub(super) fn without_slices(text: &str, tokens: &[Token]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut open = Vec::new();
    let mut before = None;
    for (at, token) in tokens.iter().enumerate() {
        let is_slice = token.kind == Kind::Mark(b':') && open.last() == Some(&b'[');
        match token.kind {
            Kind::Mark(mark @ (b'(' | b'[' | b'{')) => open.push(mark),
            Kind::Mark(b')' | b']' | b'}') => drop(open.pop()),
            Kind::BlockStart | Kind::PrintStart => open.clear(),
            _ if is_slice => {
                let after = tokens.get(at + 1).map(|token| token.kind);
                out.push_str(text.get(copied..token.span.start).unwrap_or_default());
                // A bound that is left out becomes a number, which names nothing.
                out.push_str(if before == Some(Kind::Mark(b'[')) { "0~" } else { "~" });
                let is_last = matches!(after, Some(Kind::Mark(b']' | b':')));
                out.push_str(if is_last { "0" } else { "" });
                copied = token.span.end;
            }
            _ => {}
        }
        before = Some(token.kind);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// Scans code with its delimiters; returns where it ended.
fn code(bytes: &[u8], open: usize, start: Kind, close: &[u8; 2], out: &mut Vec<Token>) -> usize {
    out.push(Token { kind: start, span: open..open + 2 });
    let mut from = open + 2;
    if matches!(bytes.get(from), Some(b'-' | b'+')) {
        from += 1;
    }
    let end = scan_code(bytes, from, Some(close), out);
    let after = bytes.len().min(end + 2);
    out.push(Token { kind: Kind::End, span: end..after });
    after
}

/// Scans code up to `close` outside of texts and brackets, or to the end.
fn scan_code(bytes: &[u8], from: usize, close: Option<&[u8; 2]>, out: &mut Vec<Token>) -> usize {
    let mut at = from;
    let mut depth = 0_usize;
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        if depth == 0 && close.is_some_and(|close| rest.starts_with(close)) {
            return at;
        }
        let start = at;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        let kind = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'"' | b'\'' => {
                at = text_end(bytes, at, byte);
                Kind::Text
            }
            _ if is_name(&byte) => {
                at += rest.iter().take_while(|byte| is_name(byte)).count();
                if byte.is_ascii_digit() { Kind::Number } else { Kind::Name }
            }
            _ => {
                at += 1;
                match byte {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                Kind::Mark(byte)
            }
        };
        out.push(Token { kind, span: start..at });
    }
    bytes.len()
}

fn text_end(bytes: &[u8], open: usize, quote: u8) -> usize {
    let mut at = open + 1;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            _ if byte == quote => return at,
            _ => {}
        }
    }
    bytes.len()
}

/// Where the block that ends a raw block ends.
fn raw_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(open) = find(bytes, b"{%", at) {
        at = open + 2;
        if let Some(end) = bytes.get(at..).and_then(after_endraw) {
            return bytes.len() - end.len();
        }
    }
    bytes.len()
}

/// What follows ` endraw %}`, which may have a sign at both ends.
fn after_endraw(inner: &[u8]) -> Option<&[u8]> {
    let inner = without_sign(inner).trim_ascii_start().strip_prefix(b"endraw")?;
    without_sign(inner.trim_ascii_start()).strip_prefix(b"%}")
}

fn without_sign(inner: &[u8]) -> &[u8] {
    inner.strip_prefix(b"-").or_else(|| inner.strip_prefix(b"+")).unwrap_or(inner)
}

fn find(bytes: &[u8], what: &[u8; 2], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memmem::find(rest, what).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let tokens = template(text);
        let texts: Vec<_> = tokens.iter().map(|token| &text[token.span.clone()]).collect();
        texts.join(" ")
    }

    #[test]
    fn only_code_has_tokens() {
        assert_eq!(shown("a {{ b.c|d('}}') }} e"), "{{ b . c | d ( '}}' ) }}");
        assert_eq!(shown("{# {{ x }} #}{%- if y -%}z"), "{% if y - %}");
        assert_eq!(shown("{% raw %}{{ x }}{% x %}{%- endraw %}{{ y }}"), "{% raw %} {{ y }}");
        assert_eq!(shown("{{ {'a': {}} }}"), "{{ { 'a' : { } } }}");
    }

    #[test]
    fn a_raw_block_ends_where_minijinja_ends_it() {
        let environment = minijinja::Environment::new();
        let inside =
            ["{%}", "{%", "%}", "{%%}", "{% end raw %}", "{%-- endraw %}", "{% endraw x %}"];
        for inner in inside {
            for end in ["{% endraw %}", "{%-endraw-%}", "{%+ endraw\n+%}", "{%endraw%}"] {
                let text = format!("{{% raw %}}{inner}{end}{{{{ y }}}}");
                let made = environment.render_str(&text, minijinja::context! { y => "Y" });
                assert_eq!(made.unwrap(), format!("{inner}Y"), "{text}");
                assert_eq!(shown(&text), "{% raw %} {{ y }}", "{text}");
            }
        }
    }

    #[test]
    fn broken_code_does_not_panic() {
        let in_raw = ["{% raw %}{{", "{% raw %}{%}"];
        let bare = ["{{", "{%", "{#", "{{ 'a", "{{ \"a\\", "{{ (((", "{", "{{ é"];
        for text in bare.into_iter().chain(in_raw) {
            template(text);
            expression(text);
            print_end(text, 0);
        }
    }

    #[test]
    fn slices_are_written_as_something_else_and_nothing_else_is() {
        let rewrite = |text: &str| without_slices(text, &expression(text));
        assert_eq!(rewrite("a[:30]"), "a[0~30]");
        assert_eq!(rewrite("a[b:] + c[::d]"), "a[b~0] + c[0~0~d]");
        assert_eq!(rewrite("a[b:c:d][:]"), "a[b~c~d][0~0]");
        assert_eq!(rewrite("{'a': [1, {'b': c[1:2]}]}"), "{'a': [1, {'b': c[1~2]}]}");
        assert_eq!(rewrite("a['x:y'] if b else {c: d}"), "a['x:y'] if b else {c: d}");
        let text = "x[1:2] {{ y[:z] }}";
        assert_eq!(without_slices(text, &template(text)), "x[1:2] {{ y[0~z] }}");
    }

    #[test]
    fn a_print_ends_outside_of_texts_and_brackets() {
        assert_eq!(print_end("{{ {'}}': {}} }}x", 2), Some(14));
        assert_eq!(print_end("{{ a", 2), None);
    }
}
