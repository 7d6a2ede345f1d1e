//! What the demo's API has beyond the public one: a search, new comments, and who wrote them.

use serde::Serialize;

use crate::http;

use super::api::{Api, not_found, write};
use super::items::{ItemJson, UserJson, id, user_name};
use super::search::Piece;
use super::talk::{Complaints, Said, Talk, Words};
use super::world::{FIRST_ID, USERS};

/// Stories on a page of a search.
const HITS_MAX: usize = 20;
/// Comments in a guest's `submitted`, the most there are.
const SUBMITTED_MAX: usize = 300;

impl Api {
    /// Takes a comment to the item of `path`, said at `now` in Unix seconds. Appends the comment,
    /// or what is wrong with it, and gives the status.
    pub fn comment(
        &self,
        path: &str,
        words: &Words,
        now: u64,
        talk: &mut Talk,
        out: &mut Vec<u8>,
    ) -> u16 {
        let parent = path.strip_prefix("/v0/item/").and_then(|rest| rest.strip_suffix("/comments"));
        let Some(parent) = parent.and_then(|number| self.item(number, talk)) else {
            return not_found(out);
        };
        let is_gone = parent.deleted.is_some() || parent.dead.is_some();
        if is_gone || matches!(parent.kind, "job" | "pollopt") {
            out.extend_from_slice(b"{\"error\":\"Nobody can comment on this\"}");
            return 403;
        }
        let is_taken = |name: &str| (0..USERS).any(|number| user_name(number) == name);
        if let Some(errors) = words.complaints(is_taken) {
            write(&ErrorsJson { errors }, out);
            return 422;
        }
        let number = self.first_new()
            + talk.push(Said {
                by: words.author.trim().to_owned(),
                html: words.html(),
                time: now,
                parent: parent.id,
                story: self.story_of(parent.id, talk),
            });
        match write(&self.item(&number.to_string(), talk), out) {
            200 => 201,
            status => status,
        }
    }

    /// Stories with all words of `q`, a page of them.
    pub(super) fn search(&self, query: &[u8]) -> impl Serialize + use<> {
        let (mut words, mut page) = (String::new(), 1);
        for (name, value) in http::path::query_pairs(query) {
            match &*name {
                "q" => words = value.into_owned(),
                "page" => page = value.parse().unwrap_or(1).max(1),
                _ => {}
            }
        }
        let first = (page - 1_usize).saturating_mul(HITS_MAX);
        let (total, found) = self.index.find(&words, first, HITS_MAX);
        let pages = total.div_ceil(HITS_MAX).max(1);
        let mut hits = Vec::with_capacity(found.len());
        for found in found {
            let Some(mut item) = self.item(&id(found.place).to_string(), &Talk::default()) else {
                continue;
            };
            (item.text, item.kids) = (None, Vec::new());
            hits.push(HitJson { item, pieces: found.title, excerpt: found.excerpt });
        }
        FoundJson { hits, page, pages, total }
    }

    /// Somebody who is nobody but has said something.
    pub(super) fn guest(&self, name: &str, talk: &Talk) -> Option<UserJson> {
        let numbers = talk.numbers(|said| said.by == name);
        let first = talk.get(*numbers.last()?)?;
        Some(UserJson {
            about: None,
            created: first.time,
            id: first.by.clone(),
            karma: 1,
            submitted: numbers.iter().take(SUBMITTED_MAX).map(|n| self.first_new() + n).collect(),
        })
    }

    /// The id of the story that an item is below, or its own.
    fn story_of(&self, number: u64, talk: &Talk) -> u64 {
        let said = number.checked_sub(self.first_new()).and_then(|new| talk.get(new));
        if let Some(said) = said {
            return said.story;
        }
        let mut place = number.saturating_sub(FIRST_ID) as usize;
        // A parent is always older, so this has an end.
        while let Some(parent) = self.world.items.get(place).and_then(|item| item.parent) {
            place = parent;
        }
        id(place)
    }
}

/// What a search found.
#[derive(Debug, Serialize)]
struct FoundJson {
    hits: Vec<HitJson>,
    page: usize,
    pages: usize,
    total: usize,
}

/// A story that was found: without its text, and with its words in pieces.
#[derive(Debug, Serialize)]
struct HitJson {
    #[serde(flatten)]
    item: ItemJson,
    pieces: Vec<Piece>,
    excerpt: Vec<Piece>,
}

/// Why a comment was not taken.
#[derive(Debug, Serialize)]
struct ErrorsJson {
    errors: Complaints,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::api::tests::{get, item};
    use super::*;

    const NOW: u64 = 1_760_000_000;

    fn ids(value: &Value) -> Vec<u64> {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
    }

    fn search(api: &Api, query: &str) -> Value {
        let mut out = Vec::new();
        assert_eq!(api.answer("/v0/search", query.as_bytes(), &Talk::default(), &mut out), 200);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_story_is_found_by_its_title_and_hits_say_what_lists_show() {
        let api = Api::new(NOW);
        for id in ids(&get(&api, "/v0/topstories.json")).into_iter().take(40) {
            let story = item(&api, id);
            let title = story["title"].as_str().unwrap();
            let query = title.replace(|letter: char| !letter.is_ascii_alphanumeric(), "+");
            let found = search(&api, &format!("q={query}"));
            let hit = found["hits"].as_array().unwrap().iter().find(|hit| hit["id"] == id);
            let hit = hit.unwrap_or_else(|| panic!("{title}: {found}"));
            assert!(hit.get("text").is_none() && hit["descendants"] == story["descendants"]);
            let pieces = hit["pieces"].as_array().unwrap().iter();
            let text: String = pieces.map(|piece| piece["text"].as_str().unwrap()).collect();
            assert_eq!(text, title);
        }
    }

    #[test]
    fn a_search_has_pages() {
        let api = Api::new(NOW);
        let (first, second) = (search(&api, "q=the"), search(&api, "page=2&q=the"));
        assert!(first["total"].as_u64().unwrap() > 40 && first["pages"].as_u64().unwrap() > 2);
        assert_eq!((first["page"].as_u64(), second["page"].as_u64()), (Some(1), Some(2)));
        assert_eq!(first["hits"].as_array().unwrap().len(), HITS_MAX);
        assert!(first["hits"][0]["id"] != second["hits"][0]["id"]);
        for nothing in ["", "q=", "q=%00", "q=zzzzzz", "page=x", "q=the&page=99999999999999"] {
            assert_eq!(search(&api, nothing)["hits"], Value::Array(Vec::new()), "{nothing}");
        }
    }

    #[test]
    fn what_is_said_is_there_at_once() {
        let (api, mut talk) = (Api::new(NOW), Talk::default());
        let say = |talk: &mut Talk, path: &str, author: &str, text: &str| {
            let words = Words { author: author.to_owned(), text: text.to_owned() };
            let mut out = Vec::new();
            let status = api.comment(path, &words, NOW + 9, talk, &mut out);
            (status, serde_json::from_slice::<Value>(&out).unwrap())
        };
        let see = |talk: &Talk, path: &str| -> Value {
            let mut out = Vec::new();
            api.answer(path, b"", talk, &mut out);
            serde_json::from_slice(&out).unwrap()
        };
        let top = ids(&get(&api, "/v0/topstories.json"));
        let story = top.iter().map(|&id| item(&api, id)).find(|story| story["type"] == "story");
        let story = story.unwrap();
        let (id, before) = (story["id"].as_u64().unwrap(), story["descendants"].as_u64().unwrap());
        let path = format!("/v0/item/{id}/comments");
        let (status, first) = say(&mut talk, &path, "guest", "Tea & <b>");
        assert_eq!(
            (status, &first["text"], &first["time"]),
            (201, &"Tea &amp; &lt;b&gt;".into(), &(NOW + 9).into())
        );
        let reply = format!("/v0/item/{}/comments", first["id"]);
        let (status, second) = say(&mut talk, &reply, "other", "Cake");
        assert_eq!((status, &second["parent"]), (201, &first["id"]));
        let now = see(&talk, &format!("/v0/item/{id}.json"));
        assert_eq!(
            (&now["kids"][0], now["descendants"].as_u64()),
            (&first["id"], Some(before + 2))
        );
        assert_eq!(see(&talk, &format!("/v0/item/{}.json", first["id"]))["kids"][0], second["id"]);
        assert_eq!(see(&talk, "/v0/maxitem.json"), second["id"]);
        assert_eq!(see(&talk, "/v0/user/guest.json")["submitted"][0], first["id"]);

        let (status, complaint) = say(&mut talk, &path, "guest", " ");
        assert_eq!((status, complaint["errors"]["text"].is_string()), (422, true));
        let owner = story["by"].as_str().unwrap();
        assert_eq!(say(&mut talk, &path, owner, "Me").0, 422, "no name is taken twice");
        assert_eq!(say(&mut talk, "/v0/item/1/comments", "guest", "Tea").0, 404);
        assert_eq!(say(&mut talk, "/v0/topstories.json", "guest", "Tea").0, 404);
        let jobs = ids(&get(&api, "/v0/jobstories.json"));
        assert_eq!(say(&mut talk, &format!("/v0/item/{}/comments", jobs[0]), "guest", "Me").0, 403);
        assert_eq!(talk.next(), 2, "nothing else was kept");
    }
}
