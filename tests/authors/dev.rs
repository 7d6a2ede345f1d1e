//! `ringpress dev`: what is saved is served, what is wrong is shown, and all of it only there.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::command::Running;
use super::upstream::Upstream;
use super::visitor::{PATIENCE, Reply, Visitor};
use super::{ANY, RINGPRESS, ringpress};

/// A site in a folder, served in development.
struct Desk {
    folder: TempDir,
    server: Running,
    _api: Upstream,
}

impl Desk {
    fn new() -> Self {
        Self::with("<body><p>{{ user.name }}</p></body>")
    }

    fn with(template: &str) -> Self {
        let api = Upstream::start(|call| match call.id() {
            "1" => call.json(r#"{"name": "Ada"}"#),
            _ => call.status(500),
        });
        let folder = tempfile::tempdir().unwrap();
        let site = format!(
            "[server]\nlisten = '192.0.2.1:1'\n[upstreams.api]\nurl = 'http://{}'\n\n[[page]]\n\
             path = '/users/{{id}}'\ntemplate = 'user.html'\n[page.fetch]\n\
             user = {{ from = 'api', path = '/users/{{{{ path.id }}}}' }}\n",
            api.address()
        );
        fs::write(folder.path().join("site.toml"), site).unwrap();
        fs::write(folder.path().join("user.html"), template).unwrap();
        let path = folder.path().to_str().unwrap();
        let server = Running::start(RINGPRESS, &["dev", path, "--listen", ANY], &[]);
        Self { folder, server, _api: api }
    }

    fn get(&self, target: &str) -> Reply {
        get(&self.server, target)
    }

    fn save(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// What is new since `seen`: waits until there is something.
    fn news(&self, seen: &str) -> Value {
        let reply = self.get(&format!("/.ringpress/dev?seen={seen}"));
        assert_eq!(reply.status, 200, "{}", reply.head);
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        serde_json::from_slice(&reply.body).unwrap()
    }
}

/// Asks as a browser on this machine does.
fn get(server: &Running, target: &str) -> Reply {
    let address = server.address();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    Visitor::to(address).ask(request)
}

/// What follows a text in a page.
fn after<'p>(page: &'p Reply, text: &str) -> &'p str {
    let page = page.text();
    page.split_once(text).unwrap_or_else(|| panic!("no {text} in {page}")).1
}

/// The number of the site that a page is of.
fn seen(page: &Reply) -> String {
    after(page, "<script data-seen=\"").split('"').next().unwrap().to_owned()
}

/// The script in a page.
fn script(page: &Reply) -> &str {
    after(page, "<script data-seen=").split_once('>').unwrap().1.split_once("</script>").unwrap().0
}

/// What a page tells of its failure.
fn told(page: &Reply) -> Value {
    let told = after(page, "id=\"ringpress-told\">");
    serde_json::from_str(told.split_once("</script>").unwrap().0).unwrap()
}

/// The line that a problem is about, and what of it is meant.
fn meant(problem: &Value) -> (String, String) {
    let number = |key: &str| usize::try_from(problem[key].as_u64().unwrap()).unwrap();
    let lines = problem["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line[0] == problem["line"]).unwrap()[1].as_str().unwrap();
    let meant = line.chars().skip(number("column").saturating_sub(1)).take(number("width"));
    (line.to_owned(), meant.collect())
}

#[test]
fn what_is_saved_is_served_and_browsers_are_told() {
    let desk = Desk::new();
    let page = desk.get("/users/1");
    assert!(page.text().starts_with("<body><p>Ada</p><script data-seen="), "{}", page.text());
    assert!(page.text().ends_with("</script>\n</body>"), "{}", page.text());
    assert_eq!(page.field("cache-control"), Some("no-store"));
    // A browser that has another state is told at once, and may ask with nonsense.
    for other in ["", "1", "x%00<>"] {
        assert_eq!(desk.news(other)["number"], seen(&page).as_str());
    }
    desk.save("user.html", "<p>Dear {{ user.name }}");
    let news = desk.news(&seen(&page));
    assert_eq!(news["told"], Value::Null);
    let next = desk.get("/users/1");
    assert!(next.text().starts_with("<p>Dear Ada<script"), "{}", next.text());
    assert_eq!(news["number"], seen(&next).as_str());
    // The site file, too; and what is no HTML is left as it is.
    let more = "\n[[page]]\npath = '/raw'\ntemplate = 'raw.txt'\n";
    desk.save("raw.txt", "raw");
    desk.save("site.toml", &(desk.read("site.toml") + more));
    desk.server.waits_for_line("loaded again");
    let mut number = seen(&next);
    while desk.get("/raw").status == 404 {
        number = desk.news(&number)["number"].as_str().unwrap().to_owned();
    }
    assert_eq!(desk.get("/raw").text(), "raw");
    assert_eq!(desk.server.terminate(PATIENCE), Some(0));
}

#[test]
fn a_site_that_does_not_load_is_shown_and_the_one_before_served() {
    let desk = Desk::new();
    let page = desk.get("/users/1");
    desk.save("user.html", "<p>\n{{ user.name }}\n{{ usr.name | </p>\n");
    let news = desk.news(&seen(&page));
    let told = &news["told"];
    assert_eq!(told["title"], "The site does not load: 1 problem");
    let problem = &told["problems"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&"user.html".into(), &3.into()));
    assert_eq!(meant(problem).0, "{{ usr.name | </p>");
    // What was fine is served, and knows that it is not the newest.
    let old = desk.get("/users/1");
    assert!(old.text().starts_with("<body><p>Ada</p>"), "{}", old.text());
    assert_eq!(seen(&old), seen(&page));
    assert!(desk.server.log().contains("user.html:3"), "{}", desk.server.log());
    let number = news["number"].as_str().unwrap();
    desk.save("user.html", "<p>\n{{ usr.name }}");
    let news = desk.news(number);
    let problem = &news["told"]["problems"][0];
    assert_eq!(meant(problem).1, "usr.name");
    assert_eq!(problem["hint"], "did you mean `user`?");
    desk.save("user.html", "<p>fine");
    assert_eq!(desk.news(news["number"].as_str().unwrap())["told"], Value::Null);
    assert!(desk.get("/users/1").text().starts_with("<p>fine<script"));
}

#[test]
fn pages_that_fail_say_where() {
    let desk = Desk::with("<p>\n{{ user.friends.first }}</p>");
    let page = desk.get("/users/1");
    assert_eq!(page.status, 500);
    let template = told(&page);
    assert_eq!(template["title"], "500 Internal Server Error");
    let problem = &template["problems"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&"user.html".into(), &2.into()));
    assert_eq!(meant(problem).1, ".friends.first");
    assert_eq!(template["fetches"][0]["name"], "user");
    assert_eq!(template["fetches"][0]["status"], 200);
    // A fetch is where the site file says it.
    let page = desk.get("/users/2");
    assert_eq!(page.status, 502);
    let failed = told(&page);
    let problem = &failed["problems"][0];
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("GET /users/2") && message.contains("answered 500"), "{message}");
    assert_eq!((&problem["file"], &problem["line"]), (&"site.toml".into(), &10.into()));
    assert!(meant(problem).0.starts_with("user = { from"), "{problem}");
    assert_eq!(failed["fetches"][0]["is_failure"], true);
    // So is an expression.
    let site = desk.read("site.toml") + "[page.let]\nworst = 'user.name.x.y'\n";
    desk.save("site.toml", &site);
    desk.news(&seen(&page));
    let page = desk.get("/users/1");
    let problem = &told(&page)["problems"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&"site.toml".into(), &12.into()));
    assert_eq!(meant(problem).0, "worst = 'user.name.x.y'");
    assert!(meant(problem).1.starts_with(".x"), "{problem}");
    // Where there is no page, those that there are.
    let nowhere = told(&desk.get("/nowhere"));
    assert_eq!(nowhere["pages"], serde_json::json!(["/users/{id}"]));
    assert_eq!(nowhere["folded"], true);
}

#[test]
fn the_policy_of_pages_allows_the_script_by_its_hash_and_no_other() {
    let desk = Desk::new();
    let page = desk.get("/users/1");
    let policy = page.field("content-security-policy").unwrap();
    let hash = STANDARD.encode(Sha256::digest(script(&page)));
    assert!(policy.contains(&format!("script-src 'self' 'sha256-{hash}';")), "{policy}");
    assert!(!policy.contains("'unsafe-"), "{policy}");
    assert_eq!(page.head.to_ascii_lowercase().matches("content-security-policy").count(), 1);
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
}

#[test]
fn nobody_else_is_told_anything() {
    let desk = Desk::new();
    // A name of somebody's that was made to lead here.
    let ask = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n");
        Visitor::to(desk.server.address()).ask(request)
    };
    assert_eq!(ask("/.ringpress/dev?seen=1").status, 421);
    assert!(!ask("/users/1").text().contains("<script"));
    assert!(!ask("/users/2").text().contains("ringpress-told"));
    // And of a server that is not for development there is nothing.
    let folder = desk.folder.path().to_str().unwrap();
    for flags in [&[][..], &["--development"]] {
        let arguments = ["serve", folder, "--listen", ANY, "--workers", "1"];
        let server = Running::start(RINGPRESS, &[&arguments, flags].concat(), &[]);
        let mut visitor = Visitor::to(server.address());
        assert_eq!(visitor.get("/.ringpress/dev?seen=1").status, 404);
        assert_eq!(visitor.get("/users/1").text(), "<body><p>Ada</p></body>");
    }
}

#[test]
fn a_site_may_be_broken_at_the_start_and_a_port_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let server = Running::start(RINGPRESS, &["dev", path, "--listen", ANY], &[]);
    let get = |target: &str| get(&server, target);
    let page = get("/anything");
    assert_eq!(page.status, 500);
    assert!(page.text().contains("site.toml"), "{}", page.text());
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains(&STANDARD.encode(Sha256::digest(script(&page)))), "{policy}");
    // Others learn no more than that.
    let stranger = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned();
    let theirs = Visitor::to(server.address()).ask(stranger);
    assert_eq!(theirs.status, 500);
    assert!(!theirs.text().contains("site.toml"), "{}", theirs.text());
    assert!(!theirs.text().contains("<script"), "{}", theirs.text());
    let news = get(&format!("/.ringpress/dev?seen={}", seen(&page)));
    let news: Value = serde_json::from_slice(&news.body).unwrap();
    assert_eq!(news["told"]["title"], "The site does not load: 1 problem");
    fs::write(folder.path().join("front.html"), "<p>front").unwrap();
    fs::write(folder.path().join("site.toml"), "[[page]]\npath = '/'\ntemplate = 'front.html'\n")
        .unwrap();
    let mut number = news["number"].as_str().unwrap().to_owned();
    while get("/").status != 200 {
        let reply = get(&format!("/.ringpress/dev?seen={number}"));
        let news: Value = serde_json::from_slice(&reply.body).unwrap();
        news["number"].as_str().unwrap().clone_into(&mut number);
    }
    assert!(get("/").text().starts_with("<p>front"));
    drop(server);

    // Without a port of its own it takes the next one that is free.
    let taken = TcpListener::bind("127.0.0.1:8080");
    let server = Running::start(RINGPRESS, &["dev", path], &[]);
    assert_ne!(server.address().port(), 8080);
    assert!(server.address().ip().is_loopback());
    drop(taken);
    let wrong = ringpress(&["dev", path, "--listen", "everywhere"]);
    assert_eq!(wrong.code, Some(2));
    assert!(Path::new(path).exists());
}

#[test]
fn a_folder_that_is_not_there_is_no_site_to_write() {
    let ended = ringpress(&["dev", "/no/such/folder", "--listen", ANY]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot open the folder /no/such/folder"), "{}", ended.stderr);
}

#[test]
fn it_says_where_to_begin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("page.html"), "page").unwrap();
    let page = |path: &str, more: &str| {
        format!("[[page]]\npath = '{path}'\ntemplate = 'page.html'\n{more}\n")
    };
    let pages = [page("/u/{id}", ""), page("/part", "internal = true"), page("/list", "")].concat();
    let fronts = [(pages.clone(), "/list and"), (pages + &page("/", ""), "/ and")];
    for (pages, begins) in fronts {
        fs::write(folder.path().join("site.toml"), pages).unwrap();
        let server = Running::start(RINGPRESS, &["dev", path, "--listen", ANY], &[]);
        let line = server.waits_for_line("Open http://");
        assert!(line.contains(&format!("{}{begins}", server.address())), "{line}");
    }
}
