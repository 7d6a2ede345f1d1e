//! Sentences into titles and texts. Which words are used follows from the seed alone, and
//! neighbours differ: sentences are drawn in a turn through their list, not by chance.

#![expect(clippy::indexing_slicing, reason = "a list of topics that is written out has a first")]

use super::pursuits::PURSUITS;
use super::topics::{TOPICS, Topic};
use super::words;

/// A small generator of our own (splitmix64), so that the data never changes with a crate.
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How many topics there are.
pub fn topics() -> u64 {
    (TOPICS.len() + PURSUITS.len()) as u64
}

/// The topic of that number; numbers wrap around.
pub fn topic(number: u64) -> &'static Topic {
    let index = (number % topics()) as usize;
    TOPICS.iter().chain(PURSUITS).nth(index).unwrap_or(&TOPICS[0])
}

/// The entry of that number of a list that is not empty; numbers wrap around.
pub fn pick(list: &'static [&'static str], number: u64) -> &'static str {
    list.get((number % list.len().max(1) as u64) as usize).copied().unwrap_or("")
}

/// The title of the `turn`-th article on a topic: those written by hand come first.
pub fn title(topic: &Topic, turn: u64) -> String {
    let by_hand = topic.titles.len() as u64;
    if turn < by_hand {
        return pick(topic.titles, turn).to_owned();
    }
    // 25 patterns, 5 to 7 things: both turn at their own pace, so pairs repeat late.
    let made = turn - by_hand;
    let shift = topic.titles.first().map_or(0, |title| title.len() as u64);
    let pattern = pick(words::TITLES, made.wrapping_mul(4).wrapping_add(shift));
    fill(pattern, topic, made.wrapping_mul(3).wrapping_add(shift))
}

/// A comment, as HTML in the way of the public API. `turn` counts the comments of a story.
pub fn comment(topic: &Topic, turn: u64, is_reply: bool, rng: &mut Rng) -> String {
    let openings = if is_reply { words::REPLIES } else { words::OPENINGS };
    let mut text = Text { topic, turn, html: String::new() };
    if is_reply && rng.chance(18) {
        text.quote(text.middle(turn.wrapping_mul(3).wrapping_add(7)));
    }
    text.sentence(&fill(pick(openings, turn.wrapping_mul(7)), topic, turn));
    if is_reply && rng.chance(25) {
        return text.html;
    }
    let paragraphs = if is_reply { 1 + rng.below(2) } else { 1 + rng.below(3) };
    let mut said = 0;
    for paragraph in 0..paragraphs {
        if paragraph > 0 {
            text.html.push_str("<p>");
        }
        for _ in 0..1 + rng.below(3) {
            if said == 1 && turn.is_multiple_of(3) {
                text.sentence(pick(topic.remarks, turn / 3));
            } else {
                text.sentence(&text.middle(turn.wrapping_mul(5).wrapping_add(said * 7)));
            }
            said += 1;
        }
    }
    text.finish(rng);
    text.html
}

/// What is under a question, or under a thing that somebody shows.
pub fn body(topic: &Topic, turn: u64, is_question: bool, rng: &mut Rng) -> String {
    let mut text = Text { topic, turn, html: String::new() };
    let opening = if is_question { words::QUESTIONS } else { words::MAKERS };
    text.sentence(&fill(pick(opening, turn), topic, turn));
    text.html.push_str("<p>");
    text.sentence(pick(topic.remarks, turn));
    text.sentence(&text.middle(turn.wrapping_mul(3)));
    text.html.push_str("<p>");
    if is_question {
        text.sentence(pick(words::INVITATIONS, turn));
    } else {
        text.sentence(&text.middle(turn.wrapping_mul(3).wrapping_add(5)));
        text.link(rng);
    }
    text.html
}

/// What the user of that number says of themselves; some say nothing.
pub fn about(number: u64) -> Option<String> {
    match number % 20 {
        0 => Some(pick(words::HOSTILE, number / 20).to_owned()),
        1..8 => None,
        rest => {
            let mut html = String::new();
            escape(pick(words::ABOUTS, number), &mut html);
            if rest < 12 {
                html.push_str("<p>");
                html.push_str(&anchor(&format!("https://people.example.org/{number}")));
            }
            Some(html)
        }
    }
}

/// The HTML of a text in the making.
struct Text<'a> {
    topic: &'a Topic,
    turn: u64,
    html: String,
}

impl Text<'_> {
    fn middle(&self, at: u64) -> String {
        fill(pick(words::MIDDLES, at), self.topic, at.wrapping_add(self.turn))
    }

    fn sentence(&mut self, plain: &str) {
        if !self.html.is_empty() && !self.html.ends_with("<p>") {
            self.html.push(' ');
        }
        escape(plain, &mut self.html);
    }

    fn quote(&mut self, plain: String) {
        self.html.push_str("<i>&gt; ");
        escape(&plain, &mut self.html);
        self.html.push_str("</i><p>");
    }

    fn link(&mut self, rng: &mut Rng) {
        let host = pick(self.topic.hosts, rng.draw());
        let page = pick(self.topic.things, rng.draw()).replace(' ', "-");
        self.html.push(' ');
        self.html.push_str(&anchor(&format!("https://{host}/notes/{page}")));
    }

    fn finish(&mut self, rng: &mut Rng) {
        match self.topic.code {
            Some(code) if rng.chance(6) => {
                self.html.push_str("<p>Roughly this:<p><pre><code>  ");
                escape(&code.replace('\n', "\n  "), &mut self.html);
                self.html.push_str("\n</code></pre>");
            }
            _ if rng.chance(8) => {
                self.html.push_str("<p>More here:");
                self.link(rng);
            }
            _ if rng.chance(5) => {
                self.html.push_str("<p><i>");
                escape(pick(words::ENDINGS, self.turn), &mut self.html);
                self.html.push_str("</i>");
            }
            _ if rng.chance(35) => self.sentence(pick(words::ENDINGS, self.turn)),
            _ => {}
        }
    }
}

/// Puts a topic's words into a sentence.
fn fill(pattern: &str, topic: &Topic, turn: u64) -> String {
    let thing = pick(topic.things, turn);
    let doing = pick(topic.doings, turn.wrapping_add(turn / 9));
    let mut filled = String::with_capacity(pattern.len() + 24);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (slot, after) = after.split_once('}').unwrap_or((after, ""));
        match slot {
            "t" => filled.push_str(thing),
            "T" => push_capital(thing, &mut filled),
            "d" => filled.push_str(doing),
            "D" => push_capital(doing, &mut filled),
            "n" => filled.push_str(pick(words::NUMBERS, turn / 2)),
            _ => filled.push_str(pick(words::SPANS, turn / 3)),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn push_capital(words: &str, filled: &mut String) {
    let mut letters = words.chars();
    filled.extend(letters.next().map(|first| first.to_ascii_uppercase()));
    filled.push_str(letters.as_str());
}

/// Escapes the way the public API does, the slash of an address included.
pub(super) fn escape(plain: &str, html: &mut String) {
    for letter in plain.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#x27;"),
            '/' => html.push_str("&#x2F;"),
            _ => html.push(letter),
        }
    }
}

fn anchor(address: &str) -> String {
    let mut html = String::from("<a href=\"");
    escape(address, &mut html);
    html.push_str("\" rel=\"nofollow\">");
    escape(address.trim_start_matches("https://"), &mut html);
    html.push_str("</a>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_filled_and_every_sentence_starts_with_a_capital() {
        for number in 0..topics() {
            let topic = topic(number);
            for turn in 0..200 {
                let mut rng = Rng::new(turn);
                let texts = [
                    title(topic, turn),
                    comment(topic, turn, false, &mut rng),
                    comment(topic, turn, true, &mut rng),
                    body(topic, turn, true, &mut rng),
                    body(topic, turn, false, &mut rng),
                ];
                for text in texts {
                    for slot in ["{t}", "{T}", "{d}", "{D}", "{n}", "{span}"] {
                        assert!(!text.contains(slot), "{slot} was left in {text:?}");
                    }
                    let words = text.trim_start_matches("<i>&gt; ");
                    assert!(words.starts_with(|first: char| first.is_uppercase()), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn titles_of_a_topic_do_not_repeat() {
        for number in 0..topics() {
            let titles: Vec<String> = (0..45).map(|turn| title(topic(number), turn)).collect();
            for (at, title) in titles.iter().enumerate() {
                assert!(!titles[..at].contains(title), "{title:?} appears twice");
            }
        }
    }

    #[test]
    fn texts_are_escaped_as_the_public_api_does() {
        let mut html = String::new();
        escape("it's \"a > b\" & <c>/", &mut html);
        assert_eq!(html, "it&#x27;s &quot;a &gt; b&quot; &amp; &lt;c&gt;&#x2F;");
    }
}
