//! The page as a whole: what the press makes of servers that are made up.

use super::samples::Server;
use super::*;
use crate::metrics::snapshot::Snapshot;

/// A site as the dashboard has it.
fn site() -> Site {
    Site::load(&SITE).unwrap()
}

fn made(site: &Site, path: &str, history: &History) -> String {
    let body = make(site, path, history).unwrap().body;
    let text = String::from_utf8(body).unwrap();
    // To look at it: RINGPRESS_DASHBOARD=/tmp cargo test --lib dashboard
    if let (Some(folder), "/") = (std::env::var_os("RINGPRESS_DASHBOARD"), path) {
        let name = thread::current().name().unwrap_or("page").replace("::", "-");
        let file = |end| std::path::Path::new(&folder).join(name.clone() + end);
        std::fs::write(file(".html"), &text).unwrap();
        std::fs::write(file(".json"), make(site, VIEW, history).unwrap().body).unwrap();
    }
    text
}

/// Two minutes of a server whose load goes up and down, a little otherwise on each core.
fn busy(cores: usize, seconds: usize, mut also: impl FnMut(usize, &mut Snapshot)) -> History {
    let (mut server, mut history) = (Server::new(cores), History::default());
    let mut dice = 12345_u32;
    let mut roll = move || {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(dice >> 8) / f64::from(1 << 24)
    };
    for second in 0..=seconds {
        let tide = 1.0 + 0.35 * (second as f64 / 17.0).sin();
        let each = |core| {
            let own = 420.0 + 130.0 * ((core as f64) * 1.7).sin();
            (own * tide * (0.9 + 0.2 * roll())) as u64
        };
        let each: Vec<u64> = (0..cores).map(each).collect();
        also(second, server.now());
        history.push(server.after(&each));
    }
    history
}

#[test]
fn programs_make_the_page_and_not_minijinja() {
    for page in site().pages() {
        assert!(page.uncovered().is_none(), "{:?}", page.uncovered());
    }
}

#[test]
fn the_page_shows_each_core_and_each_upstream() {
    let (site, history) = (site(), busy(4, 130, |_, _| {}));
    let page = made(&site, "/", &history);
    for core in 0..4 {
        assert!(page.contains(&format!("<h3>Core {core}</h3>")));
    }
    for word in [">api<", ">ads<", "items&#x2f;{id}", "Ready", "monoio (io_uring)", "CPU 0–3"] {
        assert!(page.contains(word), "{word}");
    }
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\""));
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

#[test]
fn what_changes_is_the_same_alone_as_in_the_page() {
    let (site, history) = (site(), busy(2, 5, |_, _| {}));
    let (page, live) = (made(&site, "/", &history), made(&site, "/live", &history));
    assert!(live.starts_with("<div id=\"live\"") && page.contains(live.trim_end()));
}

#[test]
fn many_cores_fit() {
    let (site, history) = (site(), busy(64, 130, |_, _| {}));
    let page = made(&site, "/", &history);
    assert!(page.contains("class=\"cores dense\"") && page.contains("<h3>Core 63</h3>"));
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[test]
fn a_server_in_trouble_says_so() {
    let history = busy(4, 130, |second, now| {
        if second > 90 {
            for worker in &mut now.workers[..2] {
                worker.overloaded = true;
                worker.statuses[5] += 260;
                worker.shed += 250;
                worker.lag_us = 34_000;
            }
            now.workers[3].statuses[4] += 40;
            now.upstreams[1].breaker = "open".into();
            now.upstreams[1].exchanges += 7;
            now.upstreams[1].errors += 7;
            now.life.workers_restarted = 1;
            now.life.reloads = 3;
            now.life.reloads_failed = 1;
            now.life.reload_problem =
                "site.toml:14: unknown key `templates`\n  did you mean `template`?".into();
        }
    });
    let page = made(&site(), "/", &history);
    for word in ["Overloaded", "2 cores are overloaded", "breaker of ads", "templates", "refused"] {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn before_the_first_second_there_is_a_page() {
    let page = made(&site(), "/", &History::default());
    assert!(page.contains("Starting") && page.contains("no upstreams"));
    let mut history = History::default();
    history.push(Server::new(2).after(&[]));
    assert!(made(&site(), "/", &history).contains("<h3>Core 1</h3>"));
}

#[test]
fn names_are_text_and_never_markup() {
    let evil = "\"><script>alert(1)</script>";
    let mut history = busy(1, 3, |_, now| {
        now.pages[0].pattern = format!("/{evil}");
        now.pages[0].template = evil.into();
        now.upstreams[0].name = evil.into();
        now.upstreams[0].authority = evil.into();
        now.upstreams[0].breaker = evil.into();
        now.site = evil.into();
        now.version = evil.into();
        now.life.reload_problem = evil.into();
    });
    let site = site();
    let page = made(&site, "/", &history);
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(page.matches("&lt;script&gt;alert").count() >= 6);
    history.push(Snapshot { site: evil.into(), driver: evil.into(), ..Snapshot::default() });
    assert!(!made(&site, "/live", &history).contains("<script>alert"));
}

#[test]
fn the_policy_knows_script_and_styles_by_their_hash() {
    let page = make(&site(), "/", &History::default()).unwrap();
    let fields = page.policy.unwrap();
    assert!(fields.contains("script-src 'self' 'sha256-"), "{fields}");
    assert!(fields.contains("style-src 'self' 'sha256-"), "{fields}");
    assert!(!fields.contains("unsafe-inline"), "{fields}");
    assert!(fields.contains("; img-src 'self' data:; "), "{fields}");
    assert!(!fields.contains('*'), "{fields}");
    assert_eq!(page.content_type, "text/html; charset=utf-8");
}

#[test]
fn a_second_is_made_once_for_all_who_ask() {
    let mut server = Server::new(1);
    let dashboard = Dashboard::start(move || server.after(&[7])).unwrap();
    for path in PATHS {
        assert!(!dashboard.answer(path).unwrap().body.is_empty(), "{path}");
    }
    let mut known = lock(&dashboard.known);
    let kept = known.made.len();
    assert!(kept <= PATHS.len());
    known.push(Snapshot::default());
    assert!(known.made.is_empty());
}

#[test]
fn the_snapshot_is_json() {
    let history = busy(1, 2, |_, _| {});
    let answer = make(&site(), "/snapshot.json", &history).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["workers"][0]["number"], 0);
    assert_eq!(answer.content_type, "application/json");
}
