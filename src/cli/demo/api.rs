//! Answers the paths of the public Hacker News API, with the same JSON. A path in, a status and
//! bytes out: no IO, no clock.

use serde::Serialize;

use super::items::{ItemJson, UserJson, id, title, url, user_name};

use super::prose::{self, Rng, pick, topic};
use super::search::{Index, Story};
use super::talk::Talk;
use super::words;
use super::world::{FIRST_ID, Item, Kind, State, USERS, World};

/// Ids in a list of all stories, the most there are.
const LIST_MAX: usize = 500;
/// Ids in a list of stories of one kind, the most there are.
const SHORT_LIST_MAX: usize = 200;
/// Ids in `submitted`, the most there are.
const SUBMITTED_MAX: usize = 300;

/// The stand-in for the public Hacker News API.
#[derive(Debug)]
pub struct Api {
    pub(super) world: World,
    lists: [(&'static str, Vec<u64>); 6],
    pub(super) index: Index,
}

impl Api {
    /// The API as it answers at `now`, in Unix seconds: the same bytes for the same `now`.
    pub fn new(now: u64) -> Self {
        let world = World::new(now);
        let list = |places: Vec<usize>, max: usize| -> Vec<u64> {
            places.into_iter().take(max).map(id).collect()
        };
        let rank = |item: &Item| world.rank(item);
        let of = |kinds: &'static [Kind]| world.stories(|kind| kinds.contains(&kind), rank);
        let lists = [
            ("topstories", list(world.stories(|_| true, rank), LIST_MAX)),
            (
                "newstories",
                list(world.stories(|kind| kind != Kind::Job, |item| item.time), LIST_MAX),
            ),
            ("beststories", list(world.stories(|_| true, |item| item.score), SHORT_LIST_MAX)),
            ("askstories", list(of(&[Kind::Ask, Kind::HostileAsk, Kind::Poll]), SHORT_LIST_MAX)),
            ("showstories", list(of(&[Kind::Show]), SHORT_LIST_MAX)),
            ("jobstories", list(of(&[Kind::Job]), SHORT_LIST_MAX)),
        ];
        let mut api = Self { world, lists, index: Index::default() };
        api.index = api.index();
        api
    }

    /// Appends the JSON for `path` and `query`, with what was said since, and gives its status. An
    /// item or a user that does not exist is `null`, and a 200; so it is at the public API.
    pub fn answer(&self, path: &str, query: &[u8], talk: &Talk, out: &mut Vec<u8>) -> u16 {
        if path == "/v0/search" {
            return write(&self.search(query), out);
        }
        let name = path.strip_prefix("/v0/").and_then(|rest| rest.strip_suffix(".json"));
        let Some(name) = name else { return not_found(out) };
        match name.split_once('/') {
            Some(("item", number)) => write(&self.item(number, talk), out),
            Some(("user", name)) => write(&self.user(name, talk), out),
            Some(_) => not_found(out),
            None if name == "maxitem" => write(&(self.first_new() + talk.next() - 1), out),
            None => match self.lists.iter().find(|(list, _)| *list == name) {
                Some((_, ids)) => write(ids, out),
                None => not_found(out),
            },
        }
    }

    /// The id of the first comment that is new.
    pub(super) fn first_new(&self) -> u64 {
        id(self.world.items.len())
    }

    /// All stories, to be searched.
    fn index(&self) -> Index {
        let mut index = Index::default();
        for place in self.world.stories(|_| true, |item| item.time) {
            let Some(item) = self.world.items.get(place) else { continue };
            let address = url(item, place).unwrap_or_default();
            index.add(&Story {
                place,
                rank: item.score,
                title: &title(item),
                author: &user_name(item.by),
                host: address.split('/').nth(2).unwrap_or_default(),
                html: &self.text(item, place).unwrap_or_default(),
            });
        }
        index
    }

    pub(super) fn item(&self, number: &str, talk: &Talk) -> Option<ItemJson> {
        let number: u64 = number.parse().ok()?;
        let new_kids = talk.numbers(|said| said.parent == number).into_iter();
        let mut kids: Vec<u64> = new_kids.map(|new| self.first_new() + new).collect();
        if let Some(new) = number.checked_sub(self.first_new()) {
            let said = talk.get(new)?;
            return Some(ItemJson {
                by: Some(said.by.clone()),
                id: number,
                kids,
                kind: "comment",
                parent: Some(said.parent),
                text: Some(said.html.clone()),
                time: said.time,
                ..ItemJson::default()
            });
        }
        let place = usize::try_from(number.checked_sub(FIRST_ID)?).ok()?;
        let item = self.world.items.get(place)?;
        let is_comment = matches!(item.kind, Kind::Comment | Kind::HostileComment);
        kids.extend(item.kids.iter().copied().map(id));
        let mut json = ItemJson {
            id: number,
            kids,
            time: item.time,
            parent: item.parent.filter(|_| is_comment).map(id),
            kind: "comment",
            ..ItemJson::default()
        };
        match item.state {
            State::Missing => return None,
            State::Deleted => {
                json.deleted = Some(true);
                return Some(json);
            }
            State::Dead => {
                json.dead = Some(true);
                json.text = Some("[flagged]".to_owned());
            }
            State::Live => json.text = self.text(item, place),
        }
        json.by = Some(user_name(item.by));
        if !is_comment {
            json.story(item, place);
        }
        if let Some(descendants) = &mut json.descendants {
            *descendants += talk.below(number);
        }
        Some(json)
    }

    /// The HTML under a story, or of a comment.
    fn text(&self, item: &Item, place: usize) -> Option<String> {
        let topic = topic(item.topic);
        let mut rng = Rng::new(place as u64);
        match item.kind {
            Kind::Story | Kind::Poll => None,
            Kind::HostileComment => Some(pick(words::HOSTILE, item.turn).to_owned()),
            Kind::Option => Some(pick(words::POLL.1, item.turn).to_owned()),
            Kind::Comment => {
                let parent = item.parent.and_then(|parent| self.world.items.get(parent));
                let is_reply = parent.is_some_and(|parent| {
                    matches!(parent.kind, Kind::Comment | Kind::HostileComment)
                });
                Some(prose::comment(topic, item.turn, is_reply, &mut rng))
            }
            Kind::Ask => Some(prose::body(topic, item.turn, true, &mut rng)),
            Kind::HostileAsk => Some(words::HOSTILE_BODY.to_owned()),
            Kind::Show => Some(prose::body(topic, item.turn, false, &mut rng)),
            Kind::Job if item.turn.is_multiple_of(2) => None,
            Kind::Job => Some(pick(words::JOBS, item.turn).to_owned()),
        }
    }

    fn user(&self, name: &str, talk: &Talk) -> Option<UserJson> {
        let Some(number) = (0..USERS).find(|&number| user_name(number) == name) else {
            return self.guest(name, talk);
        };
        let submitted = self.world.submitted.get(usize::try_from(number).ok()?)?;
        let mut rng = Rng::new(number);
        let points = |&place: &usize| self.world.items.get(place).map_or(0, |item| item.score);
        Some(UserJson {
            about: prose::about(number),
            created: self
                .world
                .now
                .saturating_sub((1 + rng.below(5000)) * 86_400 + rng.below(86_400)),
            id: user_name(number),
            karma: 1 + rng.below(900) + submitted.iter().map(points).sum::<u64>(),
            submitted: submitted.iter().rev().take(SUBMITTED_MAX).copied().map(id).collect(),
        })
    }
}

pub(super) fn write(value: &impl Serialize, out: &mut Vec<u8>) -> u16 {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_ok() {
        return 200;
    }
    out.truncate(before);
    500
}

pub(super) fn not_found(out: &mut Vec<u8>) -> u16 {
    out.extend_from_slice(b"{\"error\":\"Not found\"}");
    404
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    const NOW: u64 = 1_760_000_000;
    const LISTS: [&str; 6] =
        ["topstories", "newstories", "beststories", "askstories", "showstories", "jobstories"];

    pub(in crate::cli::demo) fn get(api: &Api, path: &str) -> Value {
        let mut out = Vec::new();
        assert_eq!(api.answer(path, b"", &Talk::default(), &mut out), 200, "{path}");
        serde_json::from_slice(&out).unwrap()
    }

    pub(in crate::cli::demo) fn item(api: &Api, id: u64) -> Value {
        get(api, &format!("/v0/item/{id}.json"))
    }

    fn all_items(api: &Api) -> Vec<Value> {
        let last = get(api, "/v0/maxitem.json").as_u64().unwrap();
        (FIRST_ID..=last).map(|id| item(api, id)).collect()
    }

    fn ids(value: &Value) -> Vec<u64> {
        value
            .as_array()
            .map_or(Vec::new(), |ids| ids.iter().map(|id| id.as_u64().unwrap()).collect())
    }

    #[test]
    fn the_same_time_gives_the_same_bytes_and_another_time_the_same_words() {
        let (first, again, later) = (Api::new(NOW), Api::new(NOW), Api::new(NOW + 86_400));
        for path in ["/v0/topstories.json", "/v0/item/41000100.json", "/v0/user/quietlathe.json"] {
            let (mut one, mut two) = (Vec::new(), Vec::new());
            first.answer(path, b"", &Talk::default(), &mut one);
            again.answer(path, b"", &Talk::default(), &mut two);
            assert_eq!(one, two, "{path}");
        }
        assert_eq!(all_items(&first), all_items(&again));
        let (before, after) = (item(&first, FIRST_ID + 100), item(&later, FIRST_ID + 100));
        assert_eq!(before["text"], after["text"]);
        assert_eq!(before["time"].as_u64().unwrap() + 86_400, after["time"].as_u64().unwrap());
    }

    #[test]
    fn lists_hold_stories_that_exist_each_once() {
        let api = Api::new(NOW);
        for list in LISTS {
            let ids = ids(&get(&api, &format!("/v0/{list}.json")));
            assert!(ids.len() >= 20, "{list} has {}", ids.len());
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{list}");
            for id in ids {
                let story = item(&api, id);
                assert_eq!(story["id"], id);
                assert!(["story", "job", "poll"].contains(&story["type"].as_str().unwrap()));
                let prefix = match list {
                    "showstories" => "Show HN: ",
                    _ => "",
                };
                assert!(story["title"].as_str().unwrap().starts_with(prefix), "{list}");
            }
        }
        assert_eq!(ids(&get(&api, "/v0/topstories.json")).len(), 500);
        assert_eq!(ids(&get(&api, "/v0/newstories.json")).len(), 500);
    }

    #[test]
    fn fields_are_those_of_the_public_api() {
        let mut kinds = HashSet::new();
        for item in all_items(&Api::new(NOW)).iter().filter(|item| !item.is_null()) {
            let kind = item["type"].as_str().unwrap();
            kinds.insert(kind.to_owned());
            assert!(item["id"].is_u64() && item["time"].as_u64().unwrap() <= NOW);
            if item["deleted"] == true {
                assert!(item.get("by").is_none() && item.get("text").is_none());
                continue;
            }
            assert!(item["by"].is_string());
            match kind {
                "comment" => {
                    assert!(item["parent"].is_u64() && item["text"].is_string());
                    assert!(item.get("title").is_none() && item.get("score").is_none());
                }
                "pollopt" => assert!(item["poll"].is_u64() && item["score"].is_u64()),
                "job" => assert!(item["title"].is_string() && item.get("descendants").is_none()),
                _ => {
                    assert!(item["title"].is_string() && item["score"].as_u64().unwrap() > 0);
                    assert!(item["descendants"].is_u64());
                    assert!(item["url"].is_string() || item["text"].is_string() || kind == "poll");
                }
            }
        }
        assert_eq!(kinds, ["story", "comment", "job", "poll", "pollopt"].map(String::from).into());
    }

    #[test]
    fn kids_know_their_parent_and_are_younger() {
        let api = Api::new(NOW);
        let items = all_items(&api);
        let (mut kids_seen, mut deepest) = (0, 0);
        let mut depths = vec![0; items.len()];
        for parent in items.iter().filter(|item| !item.is_null()) {
            let place = |id: u64| usize::try_from(id - FIRST_ID).unwrap();
            let id = parent["id"].as_u64().unwrap();
            for kid_id in ids(&parent["kids"]) {
                kids_seen += 1;
                depths[place(kid_id)] = depths[place(id)] + 1;
                deepest = deepest.max(depths[place(kid_id)]);
                let kid = &items[place(kid_id)];
                if !kid.is_null() {
                    assert_eq!(kid["parent"], id);
                    assert!(kid["time"].as_u64() >= parent["time"].as_u64() && kid_id > id);
                }
            }
        }
        let comments = items.iter().filter(|item| item["type"] == "comment").count();
        let missing = items.iter().filter(|item| item.is_null()).count();
        assert_eq!(kids_seen, comments + missing);
        assert!(comments > 4000 && items.len() < 20_000, "{comments} of {}", items.len());
        assert!(deepest >= 3, "{deepest}");
        for state in ["deleted", "dead"] {
            assert!(items.iter().any(|item| item[state] == true), "none is {state}");
        }
        assert!(missing > 0);
    }

    #[test]
    fn descendants_are_the_comments_below_that_can_be_read() {
        let api = Api::new(NOW);
        fn below(api: &Api, parent: &Value) -> u64 {
            ids(&parent["kids"])
                .into_iter()
                .map(|id| {
                    let kid = item(api, id);
                    let is_live = !kid.is_null() && kid["deleted"] != true && kid["dead"] != true;
                    u64::from(is_live) + below(api, &kid)
                })
                .sum()
        }
        for id in ids(&get(&api, "/v0/topstories.json")).into_iter().take(40) {
            let story = item(&api, id);
            if story["type"] != "job" {
                assert_eq!(story["descendants"], below(&api, &story), "{id}");
            }
        }
    }

    #[test]
    fn what_does_not_exist_is_null() {
        let api = Api::new(NOW);
        for path in [
            "/v0/item/1.json",
            "/v0/item/99999999999.json",
            "/v0/item/99999999999999999999999999.json",
            "/v0/item/-1.json",
            "/v0/item/.json",
            "/v0/item/41000000%2F.json",
            "/v0/user/nobody-of-that-name.json",
            "/v0/user/.json",
        ] {
            assert_eq!(get(&api, path), Value::Null, "{path}");
        }
        for path in ["", "/", "/v0/", "/v0/topstories", "/v1/topstories.json", "/v0/a/b.json"] {
            let mut out = b"kept".to_vec();
            assert_eq!(api.answer(path, b"", &Talk::default(), &mut out), 404, "{path}");
            assert!(out.starts_with(b"kept{"));
        }
    }

    #[test]
    fn every_author_is_a_user_who_submitted_the_item() {
        let api = Api::new(NOW);
        let mut names = HashSet::new();
        for story in ids(&get(&api, "/v0/newstories.json")).into_iter().take(120) {
            let story = item(&api, story);
            let name = story["by"].as_str().unwrap().to_owned();
            let user = get(&api, &format!("/v0/user/{name}.json"));
            assert_eq!(user["id"], name.as_str());
            assert!(user["karma"].is_u64() && user["created"].as_u64().unwrap() < NOW);
            assert!(user["submitted"].as_array().unwrap().contains(&story["id"]), "{name}");
            names.insert(name);
        }
        assert!(names.len() > 50);
        let all: HashSet<String> = (0..USERS).map(user_name).collect();
        assert_eq!(all.len() as u64, USERS, "two users share a name");
    }

    #[test]
    fn hostile_texts_are_among_the_comments_of_a_top_story() {
        let api = Api::new(NOW);
        let top = ids(&get(&api, "/v0/topstories.json"));
        let story = top
            .iter()
            .take(30)
            .map(|&id| item(&api, id))
            .find(|story| story["title"] == words::HOSTILE_TITLE)
            .unwrap();
        let texts: Vec<String> = ids(&story["kids"])
            .into_iter()
            .filter_map(|id| item(&api, id)["text"].as_str().map(str::to_owned))
            .collect();
        for sample in ["<script>", "onclick=", "javascript:", "onerror=", "<style>", "<iframe"] {
            assert!(texts.iter().any(|text| text.contains(sample)), "{sample}");
        }
    }
}
