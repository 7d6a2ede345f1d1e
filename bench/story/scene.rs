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
    pub(crate) fn has(&self, contender: &Contender) -> bool {
        contender.pages.contains(&PageKind::Users)
            && (!self.ours_only || contender.group == Group::Ringpress)
    }
}

/// All scenes, as published or for a moment.
pub(crate) fn all(short: bool) -> Vec<Scene> {
    let pick = |full: f64, brief: f64| if short { brief } else { full };
    // A tenth of what one core can do, and what an unoptimised build can do.
    let rate = Rate::Fixed(pick(2000.0, 60.0));
    let secs = |full: f64, brief: f64| Duration::from_secs_f64(pick(full, brief));
    let part =
        |name, kind, length, acts: &[Act]| Part { name, kind, rate, length, acts: acts.to_vec() };
    let (calm, trouble) = (secs(10.0, 0.8), secs(10.0, 0.8));
    let (api, other) = (Who::Api, Who::Other);
    let begin = [Act::Size(api, 10), Act::Delay(api, 50), Act::Delay(other, 50)];
    let scene = |name, title, during: Part, end: &[Act]| Scene {
        name,
        title,
        path: "/users/",
        beside: None,
        parts: vec![
            part("before", Kind::Calm, calm, &begin),
            during,
            part("after", Kind::After, calm, end),
        ],
        ours_only: false,
    };
    vec![
        scene(
            "slow",
            "the API goes from 50 to 500 ms and back",
            part("500 ms", Kind::Trouble, trouble, &[Act::Delay(api, 500)]),
            &[Act::Delay(api, 50)],
        ),
        spike(short),
        scene(
            "dead",
            "the API is killed, and started again after ten seconds",
            part("dead", Kind::Trouble, trouble, &[Act::Kill(api)]),
            &[Act::Start(api), Act::Delay(api, 50)],
        ),
        scene(
            "frozen",
            "the API takes connections and says nothing for ten seconds",
            part("frozen", Kind::Trouble, trouble, &[Act::Freeze(api)]),
            &[Act::Thaw(api)],
        ),
        scene(
            "broken",
            "half of the API's answers are broken",
            part("half broken", Kind::Trouble, trouble, &[Act::Broken(api, 50)]),
            &[Act::Broken(api, 0)],
        ),
        Scene {
            path: "/other/",
            beside: Some(("/users/", pick(1000.0, 30.0))),
            parts: vec![
                part("both well", Kind::Calm, calm, &begin),
                part("A takes 1.5 s", Kind::Trouble, trouble, &[Act::Delay(api, 1500)]),
                part("A frozen", Kind::Trouble, trouble, &[Act::Freeze(api)]),
                part("A dead", Kind::Trouble, trouble, &[Act::Kill(api)]),
                part("A back", Kind::After, calm, &[Act::Start(api), Act::Delay(api, 50)]),
            ],
            ours_only: true,
            ..scene(
                "apart",
                "pages of B, while A is slow, frozen, dead",
                part("", Kind::Calm, calm, &[]),
                &[],
            )
        },
    ]
}

/// Pages that cost a server a millisecond or so, so that ten times what it can do can be sent from
/// one core.
fn spike(short: bool) -> Scene {
    let items = if short { 30 } else { 300 };
    let part = |name, kind, times, secs, acts: &[Act]| Part {
        name,
        kind,
        rate: if short { Rate::Fixed(times * 20.0) } else { Rate::OfCapacity(times) },
        length: Duration::from_secs_f64(secs),
        acts: acts.to_vec(),
    };
    let begin = [Act::Size(Who::Api, items), Act::Delay(Who::Api, 50)];
    let (calm, crowd) = if short { (0.8, 0.8) } else { (10.0, 30.0) };
    Scene {
        name: "spike",
        title: "ten times as many visitors as can be served, for thirty seconds",
        path: "/users/",
        beside: None,
        parts: vec![
            part("half of what it can", Kind::Calm, 0.5, calm, &begin),
            part("ten times that it can", Kind::Trouble, 10.0, crowd, &[]),
            part("half again", Kind::After, 0.5, calm, &[]),
        ],
        ours_only: false,
    }
}
