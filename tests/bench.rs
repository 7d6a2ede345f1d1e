//! What the benchmark says: pages are compared for what matters, and what is published is what
//! its raw data says.

#![expect(dead_code, reason = "these modules are the matrix's; here is looked at some of them")]
#![expect(clippy::disallowed_methods, reason = "no worker runs in this program: it may sleep")]

#[path = "../bench/matrix/aims.rs"]
mod aims;
#[path = "../bench/matrix/contender.rs"]
mod contender;
#[path = "../bench/matrix/forecast.rs"]
mod forecast;
#[path = "../bench/matrix/machine.rs"]
mod machine;
#[path = "../bench/matrix/pages.rs"]
mod pages;
#[path = "../bench/matrix/record.rs"]
mod record;
#[path = "../bench/matrix/report.rs"]
mod report;
#[path = "../bench/matrix/scenario.rs"]
mod scenario;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pages::canonical;
use record::{Results, Spread};
use scenario::{Load, Profile};

#[test]
fn pages_may_differ_in_white_space_and_in_how_an_escape_is_spelt() {
    let ours = "<p class=\"a\">Tea &amp;  <b>&lt;cake&gt;</b> &quot;x&quot; a&#x2f;b\n</p>\n";
    let same = "<p class=\"a\">Tea &#38; <b>&#60;cake&#62;</b>\n&#34;x&#34; a/b</p>";
    assert_eq!(canonical(ours), canonical(same));
    for other in [
        "<p class=\"a\">Tea & <b>&lt;cake&gt;</b> &quot;x&quot; a/b</p>",
        "<p class=\"a\">Tea &amp; <b><cake></b> &quot;x&quot; a/b</p>",
        "<p class=\"a\">Tea &amp; <b>&lt;cake&gt;</b> \"x\" a/b</p>",
        "<p class=\"a\">Tea&amp; <b>&lt;cake&gt;</b> &quot;x&quot; a/b</p>",
        "<p>Tea &amp; <b>&lt;cake&gt;</b> &quot;x&quot; a/b</p>",
    ] {
        assert_ne!(canonical(ours), canonical(other), "{other}");
    }
}

#[test]
fn every_contender_says_how_it_is_installed_and_run() {
    let contenders = contender::others(root(), "release").unwrap();
    let names: BTreeSet<&str> = contenders.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), contenders.len(), "two contenders have one name");
    for name in ["floor", "flask-4", "aiohttp", "fastify", "go", "axum-askama", "nginx-lua"] {
        assert!(names.contains(name), "{name} is not there");
    }
    for one in &contenders {
        let said = [&one.install, &one.run, &one.version];
        assert!(said.iter().all(|command| !command.is_empty()), "{}", one.name);
        let ports = one.run.iter().chain(one.environment.values()).cloned().collect::<String>();
        assert!(ports.contains("{port}") && ports.contains("{api}"), "{}", one.name);
    }
}

#[test]
fn a_short_run_has_every_scenario_and_everyone() {
    let scenarios = Profile::Short.scenarios(None, None);
    let letters: String = scenarios.iter().map(|scenario| scenario.letter).collect();
    assert_eq!(letters, "ABCDEFGH");
    let everyone: Vec<_> =
        contender::ours(true).chain(contender::others(root(), "dev").unwrap()).collect();
    assert!(everyone.iter().all(|one| scenarios[0].points[0].has(one)));
    for point in scenarios.iter().flat_map(|scenario| &scenario.points) {
        assert!(everyone.iter().any(|one| point.has(one)), "nobody takes part in {}", point.name);
        match point.load {
            Load::Closed { connections } => assert!(connections <= 100),
            Load::Open { rate, hold } => assert!(rate <= 200.0 && hold <= 100),
        }
    }
}

#[test]
fn spreads_say_when_there_is_no_difference() {
    let spread = |values: &[f64]| Spread::of(values.iter().copied()).unwrap();
    assert_eq!(spread(&[3.0, 1.0, 2.0, 100.0]).median, 2.5);
    assert!(spread(&[0.9, 1.1, 1.2]).is_undecided());
    assert!(!spread(&[1.01, 1.3]).is_undecided());
    assert!(!spread(&[0.7, 0.99]).is_undecided());
    assert_eq!(Spread::of(std::iter::empty()), None);
}

#[test]
fn what_is_published_is_what_was_measured() {
    let folders = published();
    assert!(!folders.is_empty(), "no results are published");
    for folder in &folders {
        let results = Results::load(&folder.join("raw.json")).unwrap();
        assert!(!results.short, "{}: a short run is nothing to publish", folder.display());
        for (file, text) in
            [("README.md", report::text(&results)), ("summary.md", report::summary(&results))]
        {
            let path = folder.join(file);
            let there = fs::read_to_string(&path).unwrap();
            assert!(there == text, "{}: `-- --report` writes it anew", path.display());
        }
        for plot in ["cpu", "arrivals", "memory", "drivers"] {
            for kind in ["svg", "png"] {
                let path = folder.join(plot).with_extension(kind);
                assert!(path.exists(), "{}", path.display());
            }
        }
    }
    // The project's README shows the newest.
    let newest = folders.last().unwrap();
    let summary = fs::read_to_string(newest.join("summary.md")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(summary.trim_end()), "README.md has not the table of {newest:?}");
}

/// Folders of results, the oldest first.
fn published() -> Vec<PathBuf> {
    let folders = fs::read_dir(root().join("bench/results")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders.map(|folder| folder.path()).collect();
    folders.sort();
    folders
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
