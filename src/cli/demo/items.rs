//! Items and users as the public API has them.

use serde::Serialize;

use super::prose::{self, Rng, pick, topic};
use super::words;
use super::world::{FIRST_ID, Item, Kind};

/// An item as the public API has it: keys in the order of the alphabet, and none that is empty.
#[derive(Debug, Default, Serialize)]
pub(super) struct ItemJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dead: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) descendants: Option<u64>,
    pub(super) id: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kids: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) poll: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    pub(super) time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
}

impl ItemJson {
    /// Adds what a comment does not have.
    pub(super) fn story(&mut self, item: &Item, place: usize) {
        self.score = Some(item.score);
        self.parts = item.parts.iter().copied().map(id).collect();
        self.poll = item.parent.filter(|_| item.kind == Kind::Option).map(id);
        self.kind = match item.kind {
            Kind::Job => "job",
            Kind::Poll => "poll",
            Kind::Option => "pollopt",
            _ => "story",
        };
        if item.kind != Kind::Option {
            self.title = Some(title(item));
            self.url = url(item, place);
        }
        if !matches!(item.kind, Kind::Job | Kind::Option) {
            self.descendants = Some(item.descendants);
        }
    }
}

/// A user as the public API has it.
#[derive(Debug, Serialize)]
pub(super) struct UserJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
    pub(super) created: u64,
    pub(super) id: String,
    pub(super) karma: u64,
    pub(super) submitted: Vec<u64>,
}

/// The id of the item at that place.
pub(super) fn id(place: usize) -> u64 {
    FIRST_ID + place as u64
}

/// The name of the user of that number; each is somebody else's.
pub(super) fn user_name(number: u64) -> String {
    let heads = words::NAME_HEADS.len() as u64;
    let head = pick(words::NAME_HEADS, number);
    let tail = pick(words::NAME_TAILS, number.wrapping_mul(7) + number / heads);
    format!("{head}{tail}")
}

/// The title of a story.
pub(super) fn title(item: &Item) -> String {
    let topic = topic(item.topic);
    match item.kind {
        Kind::HostileAsk => words::HOSTILE_TITLE.to_owned(),
        Kind::Poll => words::POLL.0.to_owned(),
        Kind::Ask => pick(topic.asks, item.turn).to_owned(),
        Kind::Show => pick(topic.shows, item.turn).to_owned(),
        Kind::Job => {
            let company = pick(words::COMPANIES, item.turn);
            let role = pick(words::ROLES, item.turn / 2);
            let place = pick(words::PLACES, item.turn / 3);
            format!("{company} is hiring {role} ({place})")
        }
        _ => prose::title(topic, item.turn),
    }
}

/// Questions and polls have no address, and neither has every job.
pub(super) fn url(item: &Item, place: usize) -> Option<String> {
    let topic = topic(item.topic);
    let host = pick(topic.hosts, Rng::new(place as u64).draw());
    match item.kind {
        Kind::Story | Kind::Show => Some(format!("https://{host}/{}", slug(&title(item)))),
        Kind::Job if item.turn.is_multiple_of(2) => {
            let company = pick(words::COMPANIES, item.turn).replace(' ', "-").to_ascii_lowercase();
            Some(format!("https://jobs.{company}.example/"))
        }
        _ => None,
    }
}

fn slug(title: &str) -> String {
    let title = title.trim_start_matches("Show HN: ");
    let words: Vec<String> = title
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(6)
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("-")
}
