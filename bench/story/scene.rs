//! The scenes of the story: who comes when, and what becomes of the API.

use std::time::Duration;

use crate::contender::{Contender, Group, PageKind};

/// One scene: parts that follow on each other while visitors keep coming.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What is looked at.
    pub(crate) path: &'static str,
    /// Visitors of another page, so many a second all the while.
    pub(crate) beside: Option<(&'static str, f64)>,
    pub(crate) parts: Vec<Part>,
    /// Whether only ringpress has the pages for it.
    pub(crate) ours_only: bool,
    /// Whether each visitor comes on a connection of their own.
    pub(crate) strangers: bool,
}

/// A part of a scene.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) rate: Rate,
    pub(crate) length: Duration,
    /// What happens when it begins.
    pub(crate) acts: Vec<Act>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// What all is compared with.
    Calm,
    Trouble,
    /// The trouble is over: how soon is all as before?
    After,
}

/// Visitors a second.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rate {
    Fixed(f64),
    /// So many times what the server can do at most, which is measured before.
    OfCapacity(f64),
}

/// The APIs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Api,
    Other,
    Third,
}

/// What may happen to one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Its answers take so many milliseconds from now on.
    Delay(Who, u64),
    /// A user has so many items from now on.
    Size(Who, u64),
    /// So many of a hundred answers are broken from now on.
    Broken(Who, u64),
    /// It is killed: connections break, and new ones are refused.
    Kill(Who),
    /// It starts again.
    Start(Who),
    /// It is stopped: connections are taken, and nothing is said on them.
    Freeze(Who),
    /// It goes on.
    Thaw(Who),
}

impl Scene {
    /// Of the page of users, with nothing beside it.
    fn of_users(name: &'static str, title: &'static str, parts: Vec<Part>) -> Self {
        let (path, beside, ours_only, strangers) = ("/users/", None, false, false);
        Self { name, title, path, beside, parts, ours_only, strangers }
    }

    pub(crate) fn has(&self, contender: &Contender) -> bool {
        contender.pages.contains(&PageKind::Users)
            && (!self.ours_only || contender.group == Group::Ringpress)
    }
}

/// All scenes, as published or for a moment.
pub(crate) fn all(short: bool) -> Vec<Scene> {
    let of = Lengths { short };
    let (api, third) = (Who::Api, Who::Third);
    let three = of.scene(
        "three",
        "one of an API's three addresses is dead",
        of.trouble("one dead", &[Act::Kill(third)]),
        &[Act::Start(third), Act::Delay(third, 50)],
    );
    vec![
        of.scene(
            "slow",
            "the API goes from 50 to 500 ms and back",
            of.trouble("500 ms", &[Act::Delay(api, 500)]),
            &[Act::Delay(api, 50)],
        ),
        of.crowd(
            "spike",
            "ten times as many visitors as can be served, for thirty seconds",
            1500,
            10.0,
        ),
        of.crowd("crowd", "three times as many, of pages that take a tenth of that", 100, 3.0),
        Scene {
            strangers: true,
            ..of.crowd("strangers", "twice as many, each on a connection of their own", 200, 2.0)
        },
        of.scene(
            "dead",
            "the API is killed, and started again after ten seconds",
            of.trouble("dead", &[Act::Kill(api)]),
            &[Act::Start(api), Act::Delay(api, 50)],
        ),
        of.scene(
            "frozen",
            "the API takes connections and says nothing for ten seconds",
            of.trouble("frozen", &[Act::Freeze(api)]),
            &[Act::Thaw(api)],
        ),
        of.scene(
            "broken",
            "half of the API's answers are broken",
            of.trouble("half broken", &[Act::Broken(api, 50)]),
            &[Act::Broken(api, 0)],
        ),
        Scene { path: "/three/", ours_only: true, ..three },
        apart(&of),
    ]
}

/// Pages of one API, beside another that is in trouble of every kind.
fn apart(of: &Lengths) -> Scene {
    let api = Who::Api;
    let title = "pages of B, while A is slow, frozen, dead";
    let first = of.trouble("A takes 1.5 s", &[Act::Delay(api, 1500)]);
    let mut scene = of.scene("apart", title, first, &[Act::Start(api), Act::Delay(api, 50)]);
    scene.parts.insert(2, of.trouble("A frozen", &[Act::Freeze(api)]));
    scene.parts.insert(3, of.trouble("A dead", &[Act::Kill(api)]));
    let beside = Some(("/users/", of.pick(1000.0, 30.0)));
    Scene { path: "/other/", beside, ours_only: true, ..scene }
}

/// How long parts are, and how many visitors come.
struct Lengths {
    short: bool,
}

impl Lengths {
    fn pick(&self, full: f64, brief: f64) -> f64 {
        if self.short { brief } else { full }
    }

    fn part(&self, name: &'static str, kind: Kind, acts: &[Act]) -> Part {
        // A tenth of what one core can do, and what an unoptimised build can do.
        let rate = Rate::Fixed(self.pick(2000.0, 60.0));
        let length = Duration::from_secs_f64(self.pick(10.0, 0.8));
        Part { name, kind, rate, length, acts: acts.to_vec() }
    }

    fn trouble(&self, name: &'static str, acts: &[Act]) -> Part {
        self.part(name, Kind::Trouble, acts)
    }

    /// More visitors than can be served, of pages with so many items. The more a page takes, the
    /// more times what can be served one core can send.
    fn crowd(&self, name: &'static str, title: &'static str, items: u64, times: f64) -> Scene {
        let part = |name, kind, times, secs, acts: &[Act]| Part {
            name,
            kind,
            rate: if self.short { Rate::Fixed(times * 20.0) } else { Rate::OfCapacity(times) },
            length: Duration::from_secs_f64(self.pick(secs, 0.8)),
            acts: acts.to_vec(),
        };
        let items = if self.short { 30 } else { items };
        let begin = [Act::Size(Who::Api, items), Act::Delay(Who::Api, 50)];
        let parts = vec![
            part("half of what it can", Kind::Calm, 0.5, 10.0, &begin),
            part("more than it can", Kind::Trouble, times, 30.0, &[]),
            part("half again", Kind::After, 0.5, 10.0, &[]),
        ];
        Scene::of_users(name, title, parts)
    }

    /// A scene with one trouble, and what ends it.
    fn scene(&self, name: &'static str, title: &'static str, trouble: Part, end: &[Act]) -> Scene {
        let begin = [Who::Api, Who::Other, Who::Third].map(|who| Act::Delay(who, 50));
        let (before, after) =
            (self.part("before", Kind::Calm, &begin), self.part("after", Kind::After, end));
        let parts = vec![before, trouble, after];
        Scene::of_users(name, title, parts)
    }
}
