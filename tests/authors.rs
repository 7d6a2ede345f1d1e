//! What the command does for those who write sites: begin one, complete, explain itself.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and blocks no thread but its own"
)]

#[path = "common/command.rs"]
mod command;
#[path = "authors/dev.rs"]
mod dev;
#[path = "authors/record.rs"]
mod record;
#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/upstream.rs"]
mod upstream;
#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/visitor.rs"]
mod visitor;

use std::fs;
use std::path::Path;

use command::{Ended, Running};
use tempfile::TempDir;
use upstream::Upstream;

const RINGPRESS: &str = env!("CARGO_BIN_EXE_ringpress");
const ANY: &str = "127.0.0.1:0";

fn ringpress(arguments: &[&str]) -> Ended {
    command::run(RINGPRESS, arguments, &[])
}

/// A folder that `new` has made within one of its own.
fn made(from: &str) -> (TempDir, String) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/site").to_str().unwrap().to_owned();
    let ended = ringpress(&["new", &folder, "--from", from]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for word in [folder.as_str(), "site.toml", "ringpress dev"] {
        assert!(ended.stdout.contains(word), "{word} in {}", ended.stdout);
    }
    let ended = ringpress(&["check", &folder]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    let site = fs::read_to_string(format!("{folder}/site.toml")).unwrap();
    assert!(site.starts_with("#:schema ./.site.schema.json\n"), "{site}");
    let schema = fs::read_to_string(format!("{folder}/.site.schema.json")).unwrap();
    assert_eq!(schema, ringpress(&["schema"]).stdout);
    (parent, folder)
}

#[test]
fn new_begins_with_a_greeting() {
    let (_parent, folder) = made("hello");
    let api = Upstream::start(|call| {
        assert_eq!(call.target, "/greetings/Ann");
        call.json(r#"{"text": "Hello", "name": "Ann <3"}"#)
    });
    let upstream = format!("api=http://{}", api.address());
    let ended = ringpress(&["render", &folder, "/hello/Ann", "--upstream", &upstream]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("Hello") && ended.stdout.contains("Ann &lt;3"));
    // It is what is taken if nothing is said.
    let parent = tempfile::tempdir().unwrap();
    let other = parent.path().to_str().unwrap();
    assert_eq!(ringpress(&["new", other]).code, Some(0), "an empty folder will do");
    assert!(Path::new(other).join("hello.html").exists());
}

#[test]
fn new_begins_with_the_news_and_all_its_pages_are_right() {
    let (_parent, folder) = made("news");
    let arguments =
        ["demo", "--listen", ANY, "--admin", "off", "--api-delay", "1ms", "--workers", "1"];
    let demo = Running::start(RINGPRESS, &arguments, &[]);
    let api = demo.waits_for_line("Its API");
    let api = api.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let upstream = format!("hn={}", api.split("/topstories").next().unwrap());
    for (url, code, word) in [
        ("/", Some(0), "href=\"/item/"),
        ("/newest", Some(0), "href=\"/item/"),
        ("/jobs", Some(0), "href=\"/item/"),
        ("/item/1", Some(1), "Nothing here"),
        ("/nowhere", Some(1), "404"),
    ] {
        let ended = ringpress(&["render", &folder, url, "--upstream", &upstream]);
        assert_eq!(ended.code, code, "{url}: {}", ended.stderr);
        assert!(ended.stdout.contains(word), "{url}: {}", ended.stdout);
    }
}

#[test]
fn new_writes_over_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().to_str().unwrap();
    fs::write(parent.path().join("mine.txt"), "dear").unwrap();
    let ended = ringpress(&["new", folder]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("is not empty (mine.txt)"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing was written");
    let file = format!("{folder}/mine.txt");
    let ended = ringpress(&["new", &file]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot make"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "dear");
    let ended = ringpress(&["new", folder, "--from", "nothing"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("hello, news"), "{}", ended.stderr);
}

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = ringpress(&["--help"]).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let lines = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() > 8, "{help}");
    names
}

#[test]
fn shells_complete_all_commands_and_their_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = ringpress(&["completions", shell]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for command in commands() {
            assert!(ended.stdout.contains(&command), "{shell}: {command}");
        }
        for flag in ["listen-tls", "explain", "from", "api-delay"] {
            assert!(ended.stdout.contains(flag), "{shell}: {flag}");
        }
    }
    assert_eq!(ringpress(&["completions", "cmd.exe"]).code, Some(2));
}

#[test]
fn each_command_has_a_man_page_with_its_flags() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("man1");
    let ended = ringpress(&["man", "--to", folder.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let whole = read("ringpress.1");
    for command in commands() {
        let page = read(&format!("ringpress-{command}.1"));
        let command_in_roff = command.replace('-', "\\-");
        assert!(page.contains(&format!("ringpress\\-{command_in_roff}")), "{page}");
        assert!(whole.contains(&command_in_roff), "{command}");
        let help = ringpress(&[&command, "--help"]).stdout;
        for flag in help.split_whitespace().filter(|word| word.starts_with("--")) {
            let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(page.contains(&flag.replace('-', "\\-")), "{command} {flag}");
        }
        assert_eq!(ringpress(&["man", &command]).stdout, page);
    }
    assert_eq!(ringpress(&["man"]).stdout, whole);
    let ended = ringpress(&["man", "nothing"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no command `nothing`"), "{}", ended.stderr);
}
