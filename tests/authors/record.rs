//! `ringpress record` and `--offline`: the same pages, with the API and without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::command::Running;
use super::upstream::{Then, Upstream};
use super::visitor::{PATIENCE, Reply, Visitor};
use super::{ANY, RINGPRESS, ringpress};

/// A site over an API that wants a secret to be told anything.
fn site(api: &Upstream, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let site = format!(
        "[upstreams.api]\nurl = 'http://{}/v1'\nheaders = {{ authorization = 'Bearer s3cret' }}\n\
         {more}\n[[page]]\npath = '/users/{{id}}'\ntemplate = 'user.html'\n[page.fetch]\n\
         user = {{ from = 'api', path = '/users/{{{{ path.id }}}}', pass = ['X-Seen'] }}\n\
         posts = {{ from = 'api', path = '/posts', query = {{ of = '{{{{ user.id }}}}' }}, \
         cache = {{ ttl = '1h', credentials = true }}, optional = true }}\n",
        api.address()
    );
    fs::write(folder.path().join("site.toml"), site).unwrap();
    let template = "<p>{{ user.name }}</p>{{ posts or 'none' }}{{ 'away' if errors.posts }}";
    fs::write(folder.path().join("user.html"), template).unwrap();
    folder
}

fn api() -> Upstream {
    Upstream::start(|call| {
        assert!(call.head.contains("Bearer s3cret"), "{}", call.head);
        match call.target {
            "/v1/users/1" => call.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Seen: yes\r\n\r\n\
                 19\r\n{\"id\": 1, \"name\": \"Ada <3\r\n3\r\n\"}\n\r\n0\r\n\r\n",
            ),
            "/v1/users/..%2Fx" => return call.json("{\"id\": 2, \"name\": \"Eve\"}"),
            "/v1/users/404" => return call.status(404),
            "/v1/posts?of=1" => return call.json("[\"one\", \"two\"]"),
            _ => return call.status(500),
        }
        Then::Keep
    })
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

/// All files below a folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_in(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// What a visitor gets, without what differs from one request to the next.
fn essence(reply: &Reply) -> (u16, Option<String>, String) {
    (reply.status, reply.field("x-seen").map(str::to_owned), reply.text().to_owned())
}

const TARGETS: [&str; 3] = ["/users/1", "/users/..%2fx", "/users/1"];

#[test]
fn what_was_recorded_is_served_without_the_api() {
    let api = api();
    let folder = site(&api, "health = { path = '/health' }");
    let parent = tempfile::tempdir().unwrap();
    let answers = parent.path().join("answers");
    let to = answers.to_str().unwrap();
    let arguments = ["record", path(&folder), "--to", to, "--listen", ANY, "--workers", "1"];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    let mut visitor = Visitor::to(server.address());
    let recorded: Vec<_> = TARGETS.map(|target| essence(&visitor.get(target))).into();
    assert_eq!(visitor.get("/users/404").status, 404);
    assert_eq!(recorded[0].1.as_deref(), Some("yes"), "{recorded:?} {}", server.log());
    assert!(recorded[0].2.contains("<p>Ada &lt;3</p>") && recorded[0].2.contains("two"));
    drop(visitor);
    assert_eq!(server.terminate(PATIENCE), Some(0));

    // Files for people: one an answer, whatever was asked, and no secret in any.
    let files = files_in(&answers);
    assert!(files.contains(&answers.join("api/v1/users/1.http")), "{files:?}");
    assert_eq!(files.len(), 5, "{files:?}");
    let text = fs::read_to_string(answers.join("api/v1/users/1.http")).unwrap();
    let wanted =
        "GET /v1/users/1\nHTTP/1.1 200 OK\nX-Seen: yes\n\n{\"id\": 1, \"name\": \"Ada <3\"}\n";
    assert_eq!(text, wanted);
    for file in &files {
        assert!(!fs::read_to_string(file).unwrap().contains("s3cret"), "{}", file.display());
    }

    // The API is gone, and nobody misses it.
    drop(api);
    let arguments = ["serve", path(&folder), "--offline", to, "--listen", ANY, "--workers", "1"];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    let mut visitor = Visitor::to(server.address());
    let offline: Vec<_> = TARGETS.map(|target| essence(&visitor.get(target))).into();
    assert_eq!(offline, recorded);
    assert_eq!(visitor.get("/users/404").status, 404);
    // What is not there says so, and how to get it.
    assert_eq!(visitor.get("/users/7").status, 502);
    // The log comes after the page.
    let start = Instant::now();
    while !server.log().contains("GET /v1/users/7: run `ringpress record SITE --to") {
        assert!(start.elapsed() < PATIENCE, "{}", server.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(visitor);
    assert_eq!(server.terminate(PATIENCE), Some(0));

    // What people write in them counts.
    let file = answers.join("api/v1/users/1.http");
    fs::write(&file, text.replace("Ada <3", "Grace, with a longer name")).unwrap();
    let ended = ringpress(&["render", path(&folder), "/users/1", "--offline", to]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("<p>Grace, with a longer name</p>"), "{}", ended.stdout);
    let arguments = ["dev", path(&folder), "--offline", to, "--listen", ANY];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    let page = Visitor::to(server.address()).get("/users/1");
    assert!(page.text().contains("<p>Grace, with a longer name</p>"), "{}", page.text());
    drop(server);
    fs::write(&file, "GET /v1/users/1\nHTTP/1.1 200 OK\nno field\n\n{}").unwrap();
    let ended = ringpress(&["serve", path(&folder), "--offline", to]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("users/1.http:3: write a field"), "{}", ended.stderr);
}

#[test]
fn a_folder_without_answers_and_one_that_cannot_be_are_errors() {
    let api = api();
    let folder = site(&api, "");
    let empty = tempfile::tempdir().unwrap();
    let ended = ringpress(&["serve", path(&folder), "--offline", path(&empty)]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("has no answers: `ringpress record"), "{}", ended.stderr);
    let ended = ringpress(&["serve", path(&folder), "--offline", "/no/such/folder"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot read /no/such/folder"), "{}", ended.stderr);
    let file = folder.path().join("site.toml");
    let to = file.to_str().unwrap();
    let ended = ringpress(&["record", path(&folder), "--to", to]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot make"), "{}", ended.stderr);
    assert_eq!(ringpress(&["record", path(&folder)]).code, Some(2));
    let both = ["record", path(&folder), "--to", "x", "--offline", "y"];
    assert_eq!(ringpress(&both).code, Some(2));
}

#[test]
fn the_smallest_site_is_the_same_offline() {
    let parent = tempfile::tempdir().unwrap();
    let (site, to) = (parent.path().join("hello"), parent.path().join("answers"));
    let (site, to) = (site.to_str().unwrap(), to.to_str().unwrap());
    assert_eq!(ringpress(&["new", site]).code, Some(0));
    let api = Upstream::json(r#"{"text": "Hello", "name": "Ann"}"#);
    let url = format!("api=http://{}", api.address());
    let arguments = ["record", site, "--to", to, "--listen", ANY, "--upstream", &url];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    let page = Visitor::to(server.address()).get("/hello/Ann");
    assert_eq!(server.terminate(PATIENCE), Some(0));
    drop(api);
    let arguments = ["serve", site, "--offline", to, "--listen", ANY];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    assert_eq!(Visitor::to(server.address()).get("/hello/Ann").body, page.body);
    assert_eq!(page.status, 200);
}
