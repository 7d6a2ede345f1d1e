//! What readers of the demo have said: new comments, the last of them, in memory. Checks what may
//! be said, and makes HTML of it as the public API would.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::http;

use super::prose::escape;

/// Comments that are kept. When one more comes, the oldest is forgotten.
const SAID_MAX: usize = 1000;
/// Characters of a comment.
const TEXT_CHARS_MAX: usize = 2000;
/// Characters of a name: as few, and as many.
const NAME_CHARS_MIN: usize = 2;
const NAME_CHARS_MAX: usize = 15;

/// New comments, oldest first, by numbers that are never given twice.
#[derive(Debug, Default)]
pub struct Talk {
    said: VecDeque<Said>,
    /// The number of the oldest that is kept.
    first: u64,
}

/// A new comment.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) by: String,
    /// Its text as HTML.
    pub(super) html: String,
    /// When it was said, in Unix seconds.
    pub(super) time: u64,
    /// The id of what it answers.
    pub(super) parent: u64,
    /// The id of the story that it is below, however deep.
    pub(super) story: u64,
}

impl Talk {
    /// Keeps a comment and gives its number.
    pub(super) fn push(&mut self, said: Said) -> u64 {
        if self.said.len() == SAID_MAX {
            self.said.pop_front();
            self.first += 1;
        }
        self.said.push_back(said);
        self.next() - 1
    }

    /// The number of the next comment.
    pub(super) fn next(&self) -> u64 {
        self.first + self.said.len() as u64
    }

    pub(super) fn get(&self, number: u64) -> Option<&Said> {
        self.said.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Numbers of the comments that `wanted` admits, newest first.
    pub(super) fn numbers(&self, wanted: impl Fn(&Said) -> bool) -> Vec<u64> {
        let numbered = (self.first..).zip(&self.said);
        let mut numbers: Vec<u64> =
            numbered.filter(|(_, said)| wanted(said)).map(|(number, _)| number).collect();
        numbers.reverse();
        numbers
    }

    /// How many comments are below a story, by its id.
    pub(super) fn below(&self, story: u64) -> u64 {
        self.said.iter().filter(|said| said.story == story).count() as u64
    }
}

/// What somebody wants to say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Words {
    /// Under which name.
    pub author: String,
    /// As plain text; an empty line begins a paragraph.
    pub text: String,
}

/// What is wrong with it, by field.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Complaints {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
}

impl Words {
    /// Reads a body: JSON, or as forms send it. None where it is neither.
    pub fn read(content_type: &[u8], body: &[u8]) -> Option<Self> {
        let media_type = content_type.split(|&byte| byte == b';').next()?.trim_ascii();
        if media_type.eq_ignore_ascii_case(b"application/json") {
            return serde_json::from_slice(body).ok();
        }
        if !media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return None;
        }
        let mut words = Self::default();
        for (name, value) in http::path::query_pairs(body) {
            match &*name {
                "author" => words.author = value.into_owned(),
                "text" => words.text = value.into_owned(),
                _ => {}
            }
        }
        Some(words)
    }

    /// What is wrong with them, if anything is. `is_taken` says whose names are somebody else's.
    pub(super) fn complaints(&self, is_taken: impl Fn(&str) -> bool) -> Option<Complaints> {
        let (name, text) = (self.author.trim(), self.text.trim());
        let mut complaints = Complaints::default();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        let length = name.chars().count();
        if name.is_empty() {
            complaints.author = Some("Choose a name to sign with.".to_owned());
        } else if !(NAME_CHARS_MIN..=NAME_CHARS_MAX).contains(&length)
            || !name.chars().all(is_plain)
        {
            complaints.author = Some(format!(
                "A name has {NAME_CHARS_MIN} to {NAME_CHARS_MAX} letters from a to z, digits, \
                 hyphens and underscores."
            ));
        } else if is_taken(name) {
            complaints.author = Some("This name is taken. Choose another one.".to_owned());
        }
        let length = text.chars().filter(|&letter| letter != '\r').count();
        if text.is_empty() {
            complaints.text = Some("Write something first.".to_owned());
        } else if length > TEXT_CHARS_MAX {
            complaints.text = Some(format!(
                "A comment has {TEXT_CHARS_MAX} characters at most; this one has {length}."
            ));
        }
        (complaints != Complaints::default()).then_some(complaints)
    }

    /// The text as HTML: paragraphs, and no markup of the writer's.
    pub(super) fn html(&self) -> String {
        let mut html = String::new();
        for line in self.text.trim().lines().map(str::trim) {
            match line.is_empty() {
                true if html.ends_with("<p>") => {}
                true => html.push_str("<p>"),
                false => {
                    if !html.is_empty() && !html.ends_with("<p>") {
                        html.push('\n');
                    }
                    let letters: String = line.chars().filter(|one| !one.is_control()).collect();
                    escape(&letters, &mut html);
                }
            }
        }
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(author: &str, text: &str) -> Words {
        Words { author: author.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn bodies_are_json_or_forms() {
        let json = br#"{"author": "ann", "text": "Tea & cake", "more": 1}"#;
        let read = Words::read(b"Application/JSON; charset=utf-8", json).unwrap();
        assert_eq!((read.author.as_str(), read.text.as_str()), ("ann", "Tea & cake"));
        let form = b"text=Tea+%26+cake&x&author=ann";
        let read = Words::read(b"application/x-www-form-urlencoded", form).unwrap();
        assert_eq!((read.author.as_str(), read.text.as_str()), ("ann", "Tea & cake"));
        for bad in [&b"{"[..], b"[1]", br#"{"text": 1}"#, b"\xff", b""] {
            assert!(Words::read(b"application/json", bad).is_none(), "{bad:?}");
        }
        assert!(Words::read(b"text/plain", b"text=a").is_none());
        assert!(Words::read(b"", b"").is_none());
    }

    #[test]
    fn each_field_has_its_complaint() {
        let complain = |author, text: &str| words(author, text).complaints(|name| name == "taken");
        assert_eq!(complain("ann", "Tea"), None);
        assert_eq!(complain(" ann_1-b ", &"é".repeat(TEXT_CHARS_MAX)), None);
        for author in ["", " ", "a", "a b", "<b>", "sixteen_letters_", "änn", "taken"] {
            let complaints = complain(author, "Tea").unwrap();
            assert!(complaints.author.is_some() && complaints.text.is_none(), "{author:?}");
        }
        for text in ["", " \r\n ", &"a".repeat(TEXT_CHARS_MAX + 1)] {
            let complaints = complain("ann", text).unwrap();
            assert!(complaints.author.is_none() && complaints.text.is_some());
        }
    }

    #[test]
    fn texts_become_paragraphs_without_markup() {
        let html = words("ann", " a\r\nb <i>\r\n\r\n \r\n&c\u{7}\n").html();
        assert_eq!(html, "a\nb &lt;i&gt;<p>&amp;c");
    }

    #[test]
    fn the_oldest_is_forgotten_and_no_number_comes_twice() {
        let mut talk = Talk::default();
        let said =
            |parent| Said { by: "ann".to_owned(), html: "a".to_owned(), time: 1, parent, story: 7 };
        for number in 0..SAID_MAX as u64 + 2 {
            assert_eq!(talk.push(said(number)), number);
        }
        assert!(talk.get(1).is_none() && talk.get(2).is_some_and(|said| said.parent == 2));
        assert_eq!(talk.below(7), SAID_MAX as u64);
        assert_eq!(talk.numbers(|said| said.parent < 4), [3, 2]);
        assert!(talk.get(talk.next()).is_none());
    }
}
