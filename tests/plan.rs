//! `ringpress plan` as people and programs use it.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::process::{Command, Output};

use serde_json::Value;

const LOAD: [&str; 10] =
    ["--rate", "200", "--upstream", "50ms", "--work", "3ms", "--workers", "4", "--cores", "2"];

/// Runs it with a load, and with options more or others: the last of each counts.
fn plan(options: &[&str]) -> Output {
    let load = LOAD.chunks(2).filter(|option| !options.contains(&option[0])).flatten();
    Command::new(env!("CARGO_BIN_EXE_ringpress"))
        .arg("plan")
        .args(load)
        .args(options)
        .output()
        .unwrap()
}

fn text(options: &[&str]) -> String {
    let output = plan(options);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
    }
    text
}

fn json(options: &[&str]) -> Value {
    let options: Vec<&str> = options.iter().copied().chain(["--json"]).collect();
    let output = plan(&options);
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_says(text: &str, part: &str) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(text).contains(part), "{part:?} in\n{text}");
}

#[test]
fn workers_that_are_too_few() {
    let text = text(&[]);
    assert!(include_str!("../README.md").contains(&text), "the README shows another:\n{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn workers_that_are_enough() {
    insta::assert_snapshot!(text(&["--workers", "20", "--worker-memory", "25MiB"]));
}

#[test]
fn every_answer_has_its_words() {
    assert_says(&text(&["--workers", "12"]), "12 keep up, but one visitor in 100 waits over ");
    assert_says(&text(&["--rate", "700"]), "are more than 2 cores can compute.");
    assert_says(&text(&["--rate", "660"]), "wait for 2 cores longer than 20 ms (p99), however");
    let slow = text(&["--rate", "10000", "--upstream", "20s", "--work", "10us"]);
    assert_says(&slow, "need more than 100000 blocking workers.");
    assert_says(&slow, "`in_flight_max` pages wait for the API; more get a 503");
    assert_says(&text(&["--rate", "20000"]), "ringpress needs 2 event loops");
    assert_says(&text(&["--rate", "1e7"]), "Not even 512 event loops of ringpress are enough.");
    assert_says(&text(&["--upstream", "1s", "--work", "30ms"]), "even if it answers at once");
    assert_says(&text(&["--rate", "5", "--upstream", "0s", "--cores", "1"]), "10 ms 2 120 MiB");
    assert_says(&text(&["--loop-work", "3ms"]), "CPU 30 %, at 3 ms a page ");
    for [rate, upstream, work] in [["1e7", "1h", "1h"], ["0.001", "0s", "0.001us"]] {
        text(&["--rate", rate, "--upstream", upstream, "--work", work, "--workers", "100000"]);
    }
}

#[test]
fn workers_and_cores_may_be_left_out() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringpress"))
        .args(["plan", "--rate", "20", "--upstream", "50ms", "--work", "2.4ms"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("collapse") && !text.contains("p99 with"), "{text}");
}

#[test]
fn json_has_units_in_its_names() {
    let few = json(&["--work", "2.4ms"]);
    assert_eq!(few["cores"], 2);
    assert_eq!(few["worker_bytes"], 60 << 20);
    assert_eq!(few["worker_bytes_assumed"], true);
    assert_eq!(few["here"]["load"]["work_ms"], 2.4);
    assert_eq!(few["here"]["workers_to_keep_up"], 11);
    assert_eq!(few["here"]["blocking"]["state"]["is"], "overloaded");
    assert_eq!(few["here"]["blocking"]["bottleneck"], "workers");
    assert_eq!(few["here"]["event_loop"]["state"]["is"], "stable");
    assert_eq!(few["here"]["loops_for_wait"], 1);
    assert_eq!(few["slower"].as_array().unwrap().len(), 4);
    assert_eq!(few["more"].as_array().unwrap().len(), 5);
    let enough = json(&["--workers", "20"]);
    let state = &enough["here"]["blocking"]["state"];
    assert!(state["response"]["p99_ms"].as_f64().unwrap() > 53.0, "{state}");
    assert!(state["wait"]["p99_ms"].as_f64().unwrap() < 20.0, "{state}");
    assert!(enough["upstream_max_ms"].as_f64().unwrap() > 90.0);
    assert_eq!(json(&["--rate", "700"])["here"]["workers_for_wait"], "more cores");
}

#[test]
fn bad_figures_are_named_with_what_is_accepted() {
    for (option, wrong, part) in [
        ("--rate", "0", "from 0.001 to 10000000"),
        ("--rate", "-5", "from 0.001 to 10000000"),
        ("--rate", "NaN", "from 0.001 to 10000000"),
        ("--rate", "1e300", "from 0.001 to 10000000"),
        ("--workers", "0", "from 1 to 100000"),
        ("--workers", "-1", "from 1 to 100000"),
        ("--workers", "100001", "from 1 to 100000"),
        ("--cores", "1.5", "from 1 to 512"),
        ("--upstream", "50", "as in 300us, 50ms"),
        ("--upstream", "2h", "an hour at most"),
        ("--work", "0ms", "over nothing"),
        ("--work", "-3ms", "as in 300us, 50ms"),
        ("--loop-work", "0us", "over nothing"),
        ("--wait", "soon", "as in 300us, 50ms"),
        ("--worker-memory", "60", "as in 512KiB or 60MiB"),
    ] {
        let output = plan(&[option, wrong]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{option} {wrong}: {stderr}");
        assert!(stderr.contains(option) && stderr.contains(wrong), "{stderr}");
        assert!(stderr.contains(part), "{option} {wrong}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
