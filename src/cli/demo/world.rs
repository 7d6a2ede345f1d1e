//! Who wrote what, when, and in answer to whom. Only this skeleton is kept; titles and texts are
//! made when they are asked for.

use super::prose::{Rng, topics};
use super::words;

/// Stories, questions, things shown and jobs.
const STORIES: u64 = 540;
/// Comments of one story, the most there are.
const COMMENTS_MAX: u64 = 90;
/// People.
pub const USERS: u64 = 240;
/// The id of the oldest item; ids grow with time and leave none out.
pub const FIRST_ID: u64 = 41_000_000;

/// Every item, oldest first: an item's id is its place here, from [`FIRST_ID`] on.
#[derive(Debug)]
pub struct World {
    /// The time at which the world is seen, in Unix seconds.
    pub now: u64,
    /// The items.
    pub items: Vec<Item>,
    /// What each user wrote, oldest first, as places in `items`.
    pub submitted: Vec<Vec<usize>>,
}

/// An item without its words.
#[derive(Debug, Clone)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Whether it can still be read.
    pub state: State,
    /// Its author's number.
    pub by: u64,
    /// When it was written, in Unix seconds.
    pub time: u64,
    /// What it answers, as a place in [`World::items`]; a poll's option has its poll here.
    pub parent: Option<usize>,
    /// What answers it, best first.
    pub kids: Vec<usize>,
    /// The options of a poll.
    pub parts: Vec<usize>,
    /// Its points; 0 for a comment.
    pub score: u64,
    /// The comments below it that can be read, at any depth; only stories count them.
    pub descendants: u64,
    /// The number of its topic.
    pub topic: u64,
    /// Its turn: among the titles of its topic, or among the comments of its story.
    pub turn: u64,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A story with an address.
    Story,
    /// A question.
    Ask,
    /// A thing that somebody made.
    Show,
    /// The question under which the hostile texts gather.
    HostileAsk,
    /// A job.
    Job,
    /// A poll.
    Poll,
    /// An option of a poll.
    Option,
    /// A comment.
    Comment,
    /// A comment that a page must not show as it is.
    HostileComment,
}

/// Whether an item can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can.
    Live,
    /// Its author took it back: it has no author and no text any more.
    Deleted,
    /// Others voted it away.
    Dead,
    /// There is an id, and nothing behind it.
    Missing,
}

impl World {
    /// The world as it is seen at `now`, in Unix seconds.
    pub fn new(now: u64) -> Self {
        let mut rng = Rng::new(0x0072_696e_6770_7265);
        let mut items = Vec::new();
        for number in 0..STORIES {
            let story = story(number, now, &mut rng);
            discuss(story, now, &mut items, &mut rng);
        }
        let mut items = in_order_of_time(items);
        connect(&mut items);
        let mut submitted = vec![Vec::new(); USERS as usize];
        for (place, item) in items.iter().enumerate() {
            let is_signed = matches!(item.state, State::Live | State::Dead);
            if is_signed && let Some(mine) = submitted.get_mut(item.by as usize) {
                mine.push(place);
            }
        }
        Self { now, items, submitted }
    }

    /// The places of the stories that `wanted` admits, those of the highest `rank` first.
    pub fn stories(
        &self,
        wanted: impl Fn(Kind) -> bool,
        rank: impl Fn(&Item) -> u64,
    ) -> Vec<usize> {
        let is_story = |kind| {
            !matches!(kind, Kind::Comment | Kind::HostileComment | Kind::Option) && wanted(kind)
        };
        let mut places: Vec<usize> = (0..self.items.len())
            .filter(|&place| self.items.get(place).is_some_and(|item| is_story(item.kind)))
            .collect();
        places.sort_by_key(|&place| {
            (std::cmp::Reverse(self.items.get(place).map_or(0, &rank)), place)
        });
        places
    }

    /// How far up a story belongs: its points weigh less as it ages.
    pub fn rank(&self, item: &Item) -> u64 {
        let age_minutes = self.now.saturating_sub(item.time) / 60;
        let points = if item.kind == Kind::Job { 12 } else { item.score };
        points.saturating_mul(1 << 40) / (age_minutes + 120).pow(2)
    }
}

/// The story of that number. Those with a title that was written by hand are liked better.
fn story(number: u64, now: u64, rng: &mut Rng) -> Item {
    let kind = match number {
        77 => Kind::HostileAsk,
        100 => Kind::Poll,
        _ if number % 15 == 3 => Kind::Ask,
        _ if number % 15 == 9 => Kind::Show,
        _ if number % 25 == 12 => Kind::Job,
        _ => Kind::Story,
    };
    let (topic, turn) = match kind {
        Kind::Ask | Kind::Show => (number / 15, number / 15 / topics()),
        Kind::Job => (number, number / 25),
        _ => (number, number / topics()),
    };
    let recency = rng.below(10_000);
    let age = match kind {
        Kind::HostileAsk => 3 * 3600 + 400,
        Kind::Poll => 4 * 3600,
        _ => 240 + recency * recency / 400,
    };
    let luck = rng.below(1000);
    let mut score = 1 + luck * luck * luck / if turn < 9 { 2_500_000 } else { 7_000_000 };
    if matches!(kind, Kind::HostileAsk | Kind::Poll) {
        score = 310;
    }
    if turn < 9 {
        score += rng.below(180);
    }
    score = 1 + score * age.min(4 * 3600) / (4 * 3600);
    if kind == Kind::Job {
        score = 1;
    }
    let by = rng.below(USERS);
    Item::new(kind, by, now.saturating_sub(age), topic, turn).with_score(score)
}

/// Adds a story and what people said about it.
fn discuss(story: Item, now: u64, items: &mut Vec<Item>, rng: &mut Rng) {
    let first = items.len();
    let (kind, author, begin, topic) = (story.kind, story.by, story.time, story.topic);
    let mut count = (story.score * (9 + rng.below(20)) / 100).min(COMMENTS_MAX);
    items.push(story);
    if kind == Kind::Job {
        return;
    }
    if kind == Kind::Poll {
        for turn in 0..words::POLL.1.len() as u64 {
            let mut option = Item::new(Kind::Option, author, begin, topic, turn);
            option.parent = Some(first);
            items.push(option.with_score(9 + rng.below(140)));
        }
    }
    let hostile = if kind == Kind::HostileAsk { words::HOSTILE.len() as u64 } else { 0 };
    count = count.max(hostile);
    let length = now.saturating_sub(begin).min(20 * 3600);
    let comments = items.len();
    for turn in 0..count {
        // Most is said early; later comments answer earlier ones.
        let into = turn * (turn + count) * length / (2 * count * count).max(1);
        let time = begin + into + rng.below(length / (2 * count).max(1) + 1);
        let mut comment = Item::new(Kind::Comment, rng.below(USERS), time.min(now), topic, turn);
        let earlier = (items.len() - comments) as u64;
        if turn < hostile {
            comment.kind = Kind::HostileComment;
            comment.parent = Some(first);
        } else if earlier == 0 || rng.chance(38) {
            comment.parent = Some(first);
        } else {
            comment.parent = Some(comments + rng.below(earlier) as usize);
            if rng.chance(12) {
                comment.by = author;
            }
        }
        items.push(comment);
    }
    for place in comments + 1..items.len() {
        keep_after_parent(items, place);
    }
}

/// Nobody answers what is not there yet.
fn keep_after_parent(items: &mut [Item], place: usize) {
    let parent = items.get(place).and_then(|item| item.parent);
    let since = parent.and_then(|parent| items.get(parent)).map_or(0, |parent| parent.time);
    if let Some(item) = items.get_mut(place) {
        item.time = item.time.max(since);
    }
}

/// Sorts by time and keeps every parent pointing at what it pointed at.
fn in_order_of_time(items: Vec<Item>) -> Vec<Item> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&old| items.get(old).map(|item| item.time));
    let mut moved = vec![0; items.len()];
    for (new, &old) in order.iter().enumerate() {
        if let Some(place) = moved.get_mut(old) {
            *place = new;
        }
    }
    let mut sorted: Vec<Item> = order.iter().filter_map(|&old| items.get(old).cloned()).collect();
    for item in &mut sorted {
        item.parent = item.parent.and_then(|old| moved.get(old).copied());
    }
    sorted
}

/// Fills in what follows from the parents: kids, parts, states and counts.
fn connect(items: &mut [Item]) {
    // The hostile samples go first, where they are seen; what is left is a matter of luck.
    let rank = |(place, item): (usize, &Item)| {
        (item.kind != Kind::HostileComment, Rng::new(place as u64).draw())
    };
    let ranks: Vec<(bool, u64)> = items.iter().enumerate().map(rank).collect();
    // From the newest to the oldest: whatever answers an item has been seen before it.
    for place in (0..items.len()).rev() {
        let mut rng = Rng::new(place as u64);
        let Some(item) = items.get_mut(place) else { continue };
        item.kids.sort_by_key(|&kid| ranks.get(kid));
        if item.kind == Kind::Comment {
            item.state = match rng.below(1000) {
                0..10 => State::Deleted,
                10..16 => State::Dead,
                16..24 if item.kids.is_empty() => State::Missing,
                _ => State::Live,
            };
        }
        let (kind, below) = (item.kind, item.descendants + u64::from(item.state == State::Live));
        let Some(parent) = item.parent.and_then(|parent| items.get_mut(parent)) else { continue };
        if kind == Kind::Option {
            parent.parts.insert(0, place);
        } else {
            parent.kids.push(place);
            parent.descendants += below;
        }
    }
}

impl Item {
    fn new(kind: Kind, by: u64, time: u64, topic: u64, turn: u64) -> Self {
        Self {
            kind,
            state: State::Live,
            by,
            time,
            parent: None,
            kids: Vec::new(),
            parts: Vec::new(),
            score: 0,
            descendants: 0,
            topic,
            turn,
        }
    }

    fn with_score(mut self, score: u64) -> Self {
        self.score = score;
        self
    }
}
