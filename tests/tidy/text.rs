//! Rust as text: which of it is code, and where words stand in it.

/// Where `word` stands by itself.
pub(crate) fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_ident) && !after.is_some_and(is_ident)
    })
}

/// The identifier that the text begins with, or nothing.
pub(crate) fn ident(text: &str) -> &str {
    let end = text.find(|character| !is_ident(character)).unwrap_or(text.len());
    &text[..end]
}

/// Whether an identifier may hold it.
pub(crate) fn is_ident(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The line of a byte, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// The source with comments, strings and character literals blanked, line for line.
pub(crate) fn blank(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let Some(end) = end_of_text(&characters, at) else {
            code.push(characters[at]);
            at += 1;
            continue;
        };
        let end = end.min(characters.len());
        code.extend(characters[at..end].iter().map(|one| if *one == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `None` when none starts there.
fn end_of_text(characters: &[char], at: usize) -> Option<usize> {
    let rest = &characters[at..];
    match rest {
        ['/', '/', ..] => Some(at + rest.iter().position(|one| *one == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(at + comment_length(rest)),
        ['"', ..] => Some(at + quoted_length(rest, '"')),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Some(at + quoted_length(rest, '\'')),
        ['r', ..] => {
            let hashes = rest[1..].iter().take_while(|one| **one == '#').count();
            let before = characters[..at].iter().rev().find(|one| !matches!(one, 'b' | 'c'));
            if rest.get(1 + hashes) != Some(&'"') || before.is_some_and(|one| is_ident(*one)) {
                return None;
            }
            let close: Vec<char> = format!("\"{}", "#".repeat(hashes)).chars().collect();
            let body = &rest[hashes + 2..];
            let length = body.windows(close.len()).position(|window| window == close);
            Some(at + hashes + 2 + length.unwrap_or(body.len()) + close.len())
        }
        _ => None,
    }
}

/// A block comment, which may hold others.
fn comment_length(characters: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < characters.len() {
        let step = match characters[at..] {
            ['/', '*', ..] => (depth + 1, 2),
            ['*', '/', ..] => (depth.saturating_sub(1), 2),
            _ => (depth, 1),
        };
        depth = step.0;
        at += step.1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_length(characters: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < characters.len() && characters[at] != quote {
        at += if characters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

mod tests {
    use super::*;

    #[test]
    fn text_is_blanked_line_for_line() {
        let text =
            "a /* b /* c\n */ d */ e \"f \\\" g\" h 'i' 'j r\"k\" br##\"l\"# m\"## n // o\np";
        let code = blank(text);
        assert_eq!(code.chars().count(), text.chars().count());
        assert_eq!(code.split_whitespace().collect::<String>(), "aeh'jbnp");
    }
}
