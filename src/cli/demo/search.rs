//! Finds the demo's stories by words of their titles, authors, hosts and texts. A query in, places
//! and scores out; every story is looked at, as there are few.

use std::cmp::Reverse;

use serde::Serialize;

/// Characters of a query that are looked at.
const QUERY_CHARS_MAX: usize = 200;
/// Words of a query that are looked for.
const TERMS_MAX: usize = 8;
/// Runs of an excerpt, each a word or what is between two: before what was found, and in all.
const EXCERPT_RUNS_BEFORE: usize = 16;
const EXCERPT_RUNS_MAX: usize = 60;
/// How much a word found counts, by where it is: twice as much if it is the whole word.
const WEIGHTS: [u64; 4] = [8, 6, 4, 1];

/// What can be found.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

/// A story with its words.
#[derive(Debug)]
struct Entry {
    place: usize,
    rank: u64,
    title: String,
    text: String,
    /// Words in small letters: of the title, the author, the host and the text, as `WEIGHTS`.
    words: [Vec<String>; 4],
}

/// What is known of a story.
#[derive(Debug)]
pub(super) struct Story<'a> {
    /// Its place in the world.
    pub(super) place: usize,
    /// Of two that fit as well, the higher one goes first.
    pub(super) rank: u64,
    pub(super) title: &'a str,
    pub(super) author: &'a str,
    pub(super) host: &'a str,
    /// Its text, as HTML of the API.
    pub(super) html: &'a str,
}

/// A story that fits.
#[derive(Debug)]
pub(super) struct Found {
    /// Its place in the world.
    pub(super) place: usize,
    /// Its title.
    pub(super) title: Vec<Piece>,
    /// What is around the first word found in its text, if one is.
    pub(super) excerpt: Vec<Piece>,
}

/// A piece of plain text, and whether it was looked for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Piece {
    pub(super) mark: bool,
    pub(super) text: String,
}

impl Index {
    pub(super) fn add(&mut self, story: &Story<'_>) {
        let text = plain(story.html);
        let words = [story.title, story.author, story.host, &text].map(words_of);
        let (place, rank, title) = (story.place, story.rank, story.title.to_owned());
        self.entries.push(Entry { place, rank, title, text, words });
    }

    /// How many stories have all words of `query`, and those from `first` on, `max` of them at
    /// most: best first.
    pub(super) fn find(&self, query: &str, first: usize, max: usize) -> (usize, Vec<Found>) {
        let terms = terms(query);
        let mut fits: Vec<(u64, &Entry)> = Vec::new();
        for entry in &self.entries {
            if let Some(score) = entry.score(&terms) {
                fits.push((score, entry));
            }
        }
        fits.sort_by_key(|(score, entry)| (Reverse((*score, entry.rank)), entry.place));
        let found = fits.iter().skip(first).take(max).map(|(_, entry)| entry.found(&terms));
        (fits.len(), found.collect())
    }
}

impl Entry {
    /// How well it fits; not at all where a term is nowhere, or there is none.
    fn score(&self, terms: &[String]) -> Option<u64> {
        let mut score = 0;
        for term in terms {
            let found = self.words.iter().zip(WEIGHTS).map(|(words, weight)| {
                let of_word = |word: &String| match is_found(word, term) {
                    true => weight + if word == term { weight } else { 0 },
                    false => 0,
                };
                words.iter().map(of_word).max().unwrap_or(0)
            });
            match found.sum::<u64>() {
                0 => return None,
                sum => score += sum,
            }
        }
        (score > 0).then_some(score)
    }

    fn found(&self, terms: &[String]) -> Found {
        let runs: Vec<&str> = runs(&self.text).collect();
        let at = runs.iter().position(|run| is_marked(run, terms));
        let excerpt = at.map_or(Vec::new(), |at| {
            let from = at.saturating_sub(EXCERPT_RUNS_BEFORE);
            let before = (from > 0).then_some("… ");
            let after = (runs.len() > from + EXCERPT_RUNS_MAX).then_some(" …");
            let shown = runs.iter().copied().skip(from).take(EXCERPT_RUNS_MAX);
            pieces(before.into_iter().chain(shown).chain(after), terms)
        });
        let title = pieces(self::runs(&self.title), terms);
        Found { place: self.place, title, excerpt }
    }
}

/// The words of a query, each once.
fn terms(query: &str) -> Vec<String> {
    let query: String = query.chars().take(QUERY_CHARS_MAX).collect();
    let mut terms = Vec::new();
    for word in words_of(&query) {
        if terms.len() < TERMS_MAX && !terms.contains(&word) {
            terms.push(word);
        }
    }
    terms
}

/// A word is found by how it begins, too; by one letter only if that is all of it.
fn is_found(word: &str, term: &str) -> bool {
    word == term || (term.len() > 1 && word.starts_with(term))
}

fn is_marked(run: &str, terms: &[String]) -> bool {
    let word = run.to_lowercase();
    terms.iter().any(|term| is_found(&word, term))
}

/// Joins runs to pieces that are looked for, and pieces that are not.
fn pieces<'a>(runs: impl Iterator<Item = &'a str>, terms: &[String]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for run in runs {
        let mark = is_marked(run, terms);
        match pieces.last_mut() {
            Some(last) if last.mark == mark => last.text.push_str(run),
            _ => pieces.push(Piece { mark, text: run.to_owned() }),
        }
    }
    pieces
}

fn words_of(text: &str) -> Vec<String> {
    let is_word = |run: &&str| run.starts_with(char::is_alphanumeric);
    runs(text).filter(is_word).map(str::to_lowercase).collect()
}

/// Words, and what is between them, in turn.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_word = rest.chars().next()?.is_alphanumeric();
        let end = rest.find(|letter: char| letter.is_alphanumeric() != is_word);
        let (run, tail) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = tail;
        Some(run)
    })
}

/// HTML of the API without tags and escapes.
fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        rest = after.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    for (escaped, letter) in ESCAPES {
        text = text.replace(escaped, letter);
    }
    text
}

/// As the API escapes; the ampersand last, so that nothing is decoded twice.
const ESCAPES: [(&str, &str); 6] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#x27;", "'"),
    ("&#x2F;", "/"),
    ("&amp;", "&"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        let stories = [
            (
                "One small server",
                "ann",
                "ops.example",
                "It is a <b>teapot</b> &amp; it&#x27;s hot.",
            ),
            ("Serving tea", "bob", "tea.example", "Nothing about servers."),
            ("Ask HN: <script> in titles?", "server", "", ""),
        ];
        for (place, (title, author, host, html)) in stories.into_iter().enumerate() {
            index.add(&Story { place, rank: place as u64, title, author, host, html });
        }
        index
    }

    fn places(query: &str) -> Vec<usize> {
        index().find(query, 0, 9).1.iter().map(|found| found.place).collect()
    }

    fn shown(pieces: &[Piece]) -> String {
        let shown = |piece: &Piece| match piece.mark {
            true => format!("[{}]", piece.text),
            false => piece.text.clone(),
        };
        pieces.iter().map(shown).collect()
    }

    #[test]
    fn titles_go_before_authors_and_both_before_texts() {
        assert_eq!(places("server"), [0, 2, 1]);
        assert_eq!(places("SERV"), [1, 0, 2]);
        assert_eq!(places("tea"), [1, 0]);
    }

    #[test]
    fn all_words_must_be_there() {
        assert_eq!(places("small teapot"), [0]);
        assert_eq!(places("small bob"), [0; 0]);
        for nothing in ["", "  ", "?!", "b", "zebra"] {
            assert_eq!(places(nothing), [0; 0], "{nothing:?}");
        }
    }

    #[test]
    fn what_was_found_is_marked_and_nothing_is_markup() {
        let (total, found) = index().find("script hn", 0, 9);
        assert_eq!((total, shown(&found[0].title)), (1, "Ask [HN]: <[script]> in titles?".into()));
        let (_, found) = index().find("tea", 0, 9);
        assert_eq!(shown(&found[0].title), "Serving [tea]");
        assert_eq!(shown(&found[1].excerpt), "It is a  [teapot]  & it's hot.");
        assert_eq!(found[0].excerpt, []);
    }

    #[test]
    fn pages_of_what_was_found_follow_each_other() {
        let (total, found) = index().find("server", 1, 1);
        assert_eq!((total, found.len(), found[0].place), (3, 1, 2));
        assert!(index().find("server", usize::MAX, 1).1.is_empty());
        let long = "server ".repeat(100_000);
        assert_eq!(index().find(&long, 0, 9).0, 3);
    }
}
