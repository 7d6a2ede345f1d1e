//! What the story's bench says: what its figures mean, and that what is published is what its raw
//! data says.

#![expect(dead_code, reason = "these modules are the bench's; here is looked at some of them")]

#[path = "../bench/matrix/contender.rs"]
mod contender;
#[path = "../bench/story/figures.rs"]
mod figures;
#[path = "../bench/matrix/machine.rs"]
mod machine;
#[path = "../bench/story/record.rs"]
mod record;
#[path = "../bench/story/report.rs"]
mod report;
#[path = "../bench/story/scene.rs"]
mod scene;

use std::fs;
use std::path::Path;
use std::time::Duration;

use record::{Course, Load, PartRun, Quantiles, Results, Run, Slice};
use scene::{Kind, Rate};

#[test]
fn the_short_story_has_every_scene_and_takes_seconds() {
    let (full, short) = (scene::all(false), scene::all(true));
    let names = |scenes: &[scene::Scene]| scenes.iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!(names(&full), names(&short));
    for scene in &short {
        let length: Duration = scene.parts.iter().map(|part| part.length).sum();
        assert!(length <= Duration::from_secs(6), "{}", scene.name);
        let few = |rate| matches!(rate, Rate::Fixed(rate) if rate <= 200.0);
        assert!(scene.parts.iter().all(|part| few(part.rate)), "{}", scene.name);
    }
    for scene in &full {
        let kinds: Vec<Kind> = scene.parts.iter().map(|part| part.kind).collect();
        assert_eq!(kinds.first(), Some(&Kind::Calm), "{}", scene.name);
        assert_eq!(kinds.last(), Some(&Kind::After), "{}", scene.name);
        assert!(kinds.contains(&Kind::Trouble), "{}", scene.name);
    }
}

#[test]
fn recovered_is_half_a_second_that_is_as_before() {
    // Calm for a second, trouble for a second, and then so many tenths of one with failures.
    for (bad, recovery) in [(0, Some(0.0)), (4, Some(0.4)), (12, Some(1.2)), (28, None)] {
        let run = run((0..50).map(|tenth| match tenth {
            0..10 => slice(tenth, 100, 50.0),
            10..20 => slice(tenth, 0, 0.0),
            _ if tenth < 20 + bad => slice(tenth, 60, 50.0),
            _ => slice(tenth, 100, 90.0),
        }));
        let found = run.recovery_s().map(|secs| (secs * 10.0).round() / 10.0);
        assert_eq!(found, recovery, "{bad}");
    }
}

#[test]
fn a_page_that_comes_but_late_is_no_recovery() {
    let run = run((0..50).map(|tenth| slice(tenth, 100, if tenth < 25 { 50.0 } else { 101.0 })));
    assert_eq!(run.recovery_s(), Some(0.0));
    let run =
        self::run((0..50).map(|tenth| slice(tenth, 100, if tenth < 20 { 50.0 } else { 101.0 })));
    assert_eq!(run.recovery_s(), None);
}

#[test]
fn what_is_published_is_what_was_measured() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = fs::read_dir(root.join("bench/story/results")).into_iter().flatten().flatten();
    for folder in folders.map(|folder| folder.path()) {
        let results = Results::load(&folder).unwrap();
        assert!(!results.short, "{}: a short run is nothing to publish", folder.display());
        let there = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(there == report::text(&results), "{}: `-- --report`", folder.display());
        assert!(folder.join("story.svg").exists() && folder.join("story.png").exists());
    }
}

#[test]
fn a_scene_is_played_again_into_results_of_its_commit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/story/results/2026-11-25");
    let there = || Results::load(&folder).unwrap();
    let (machine, count) = (there().machine, there().runs.len());
    let mut results = Results::new(machine.clone(), false);
    results.take_over(there()).unwrap();
    let again = |title: &str, scene: &str| Run {
        title: title.to_owned(),
        scene: scene.to_owned(),
        ..run(std::iter::empty())
    };
    results.put(again("again", "dead"));
    assert_eq!(results.runs.len(), count);
    assert!(results.runs.iter().any(|one| one.title == "again" && one.contender == "monoio"));
    results.put(again("new", "flood"));
    assert_eq!(results.runs.len(), count + 1);
    let mut others = Results::new(machine::Machine { commit: "another".into(), ..machine }, false);
    assert!(others.take_over(there()).is_err());
}

#[test]
fn a_missed_aim_says_where_the_load_itself_was_late() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/story/results/2026-11-25");
    let machine = Results::load(&folder).unwrap().machine;
    let aims = |recovers: bool, late_ms: f64| {
        let mut run = run((0..50).map(|tenth| match tenth {
            10..50 if !recovers => slice(tenth, 0, 0.0),
            _ => slice(tenth, 100, 50.0),
        }));
        run.load.lag_ms = Some(Quantiles { p50: 0.1, p99: late_ms, max: late_ms });
        let mut results = Results::new(machine.clone(), false);
        results.put(run);
        report::text(&results)
    };
    assert!(aims(false, 30.0).contains("| **no**; the load itself was late by 30 ms |"));
    assert!(aims(false, 5.0).contains("| **no** |"));
    assert!(aims(true, 30.0).contains("| 0.00 | yes |"));
}

/// A second of calm, one of trouble, three after it.
fn run(slices: impl Iterator<Item = Slice>) -> Run {
    let kinds = [Kind::Calm, Kind::Trouble, Kind::After];
    let parts = (0_u8..).zip(kinds).map(|(second, kind)| PartRun {
        name: format!("{kind:?}"),
        kind,
        begun_s: f64::from(second),
    });
    let steps = (0..3).map(|step| slice(step * 10, 100, 50.0)).collect();
    let course = Course { steps, slices: slices.collect() };
    let (arrived, failures) = (0, Default::default());
    let course = Some(course);
    Run {
        scene: "dead".to_owned(),
        title: String::new(),
        contender: "monoio".to_owned(),
        label: String::new(),
        capacity: None,
        capacity_after: None,
        parts: parts.collect(),
        load: Load { arrived, pages: 0, shed: 0, failures, lag_ms: None, course },
        beside: None,
        memory: Vec::new(),
        crashed: None,
    }
}

/// A tenth of a second in which a hundred come.
fn slice(tenth: u32, pages: u64, p99: f64) -> Slice {
    let at = |tenth: u32| f64::from(tenth) / 10.0;
    Slice {
        from_s: at(tenth),
        until_s: at(tenth + 1),
        arrived: 100,
        pages,
        shed: 0,
        failed: 100 - pages,
        came: pages,
        in_flight: 0,
        page_ms: (pages > 0).then_some(Quantiles { p50: p99, p99, max: p99 }),
        shed_ms: None,
    }
}
