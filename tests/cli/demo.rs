//! `ringpress demo`: a site to read, to search and to write in.

use std::time::{Duration, Instant};

use super::command::Running;
use super::visitor::{PATIENCE, Reply, Visitor};
use super::{ANY, RINGPRESS};

/// What follows each `before` in a page, up to a quote.
fn links<'p>(page: &'p str, before: &str) -> Vec<&'p str> {
    let rests = page.split(before).skip(1);
    rests.filter_map(|rest| rest.split(['"', '\'', '#', '>']).next()).collect()
}

#[test]
fn demo_is_a_site_to_read() {
    let arguments =
        ["demo", "--listen", ANY, "--admin", "off", "--api-delay", "1ms", "--workers", "1"];
    let server = Running::start(RINGPRESS, &arguments, &[]);
    let visitor = &mut Visitor::to(server.address());
    let front = read(visitor, "/");
    assert!(front.page().len() < 20_000, "{} bytes", front.body.len());
    let items = links(front.page(), "href=\"/item/");
    let users = links(front.page(), "href=\"/user/");
    assert!(items.len() >= 30 && users.len() >= 30, "{}", front.page());
    let mut replies = 0;
    for item in &items {
        let item = read(visitor, &format!("/item/{item}"));
        assert!(!item.page().to_ascii_lowercase().contains("<script"), "{}", item.text());
        replies += links(item.page(), "href=\"/user/").len();
    }
    assert!(replies > items.len(), "no comments on any story");
    for user in &users {
        let user = read(visitor, &format!("/user/{user}"));
        assert!(!user.page().to_ascii_lowercase().contains("<script"), "{}", user.text());
    }
    for list in ["/newest", "/ask", "/show", "/jobs", "/?page=2", "/?page=x", "/?page=999"] {
        assert!(read(visitor, list).page().contains("href=\"/item/"), "{list}");
    }
    // The API answers `null` for what is not there, and the page says so.
    let missing = read(visitor, "/item/1");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("Nothing here"), "{}", missing.text());
    assert_eq!(read(visitor, "/nowhere").status, 404);
    search_and_feed(visitor);
    new_comments(&server, items.first().unwrap(), visitor);
    comment_form(&server, items.first().unwrap(), visitor);
    assets(visitor);
    assert_eq!(server.terminate(PATIENCE), Some(0));
}

/// A page, asked for until the server has time for it: a debug build on a busy machine may be late,
/// and then says so.
fn read(visitor: &mut Visitor, target: &str) -> Reply {
    let start = Instant::now();
    loop {
        let reply = visitor.get(target);
        if reply.status != 503 || start.elapsed() > PATIENCE {
            return reply;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn search_and_feed(visitor: &mut Visitor) {
    let empty = read(visitor, "/search");
    assert!(empty.page().contains("<label for=\"q\">") && !empty.page().contains("<ol"));
    let found = read(visitor, "/search?q=server");
    let links = links(found.page(), "<h3><a href=\"").len();
    assert!(links > 5 && found.page().contains("value=\"server\""), "{}", found.page());
    assert!(found.page().to_ascii_lowercase().contains("<mark>server"), "{}", found.page());
    let second = read(visitor, "/search?q=the&page=2");
    assert!(second.page().contains("page 2 of ") && second.page().contains("q=the&amp;page=3"));
    let none = read(visitor, "/search?q=%3Cscript%3Ezz%22%26%3C%2Fscript%3E");
    assert!(none.page().contains("No stories for") && !none.page().contains("<script"));
    assert!(read(visitor, "/search?q=the&page=999").page().contains("none of them"));
    for odd in ["inf", "-inf", "nan", "1e38", "1e999", "-5", "x", ""] {
        let page = read(visitor, &format!("/search?q=the&page={odd}"));
        assert_eq!(page.status, 200, "{odd}: {}", page.text());
    }
    let hostile = read(visitor, "/search?q=strangest+markup");
    assert!(hostile.page().contains("&lt;script&gt;") && !hostile.page().contains("<script"));

    let feed = read(visitor, "/feed.atom");
    assert_eq!(feed.field("content-type"), Some("application/atom+xml"));
    assert!(feed.text().starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns="));
    let entries = feed.text().matches("<entry>").count();
    let ids = feed.text().matches("<id>http:&#x2f;&#x2f;test/item/4").count();
    let times = feed.text().matches("Z</updated>").count();
    assert_eq!((entries, ids, times), (30, 30, 31), "{}", feed.text());
}

/// The API takes comments, and the pages show them at once.
fn new_comments(server: &Running, item: &str, visitor: &mut Visitor) {
    let line = server.waits_for_line("Its API");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let mut api = Visitor::to(address.parse().unwrap());
    let mut post = |kind: &str, body: &str| {
        let length = body.len();
        api.ask(format!(
            "POST /v0/item/{item}/comments HTTP/1.1\r\nHost: api\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
    };
    let said = post("application/json", r#"{"author": "a_guest", "text": "Tea <b>first</b>"}"#);
    assert_eq!(said.status, 201, "{}", said.text());
    let page = read(visitor, &format!("/item/{item}"));
    assert!(page.page().contains("Tea &lt;b&gt;first&lt;/b&gt;"), "{}", page.page());
    assert!(read(visitor, "/user/a_guest").page().contains("Tea &lt;b&gt;"));
    let refused = post("application/x-www-form-urlencoded", "author=a_guest&text=+");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().starts_with(r#"{"errors":{"text":""#), "{}", refused.text());
    assert_eq!(post("text/plain", "hello").status, 400);
}

/// The form of a comment: as it is, found wanting, sent, and sent by another site.
fn comment_form(server: &Running, item: &str, visitor: &mut Visitor) {
    let path = format!("/item/{item}/comment");
    let form = read(visitor, &path);
    assert!(form.page().contains("<form class=\"write\" method=\"post\">"), "{}", form.page());
    assert!(read(visitor, &format!("/item/{item}")).page().contains(&format!("href=\"{path}\"")));
    let send = |fields: &str, body: &str| {
        let length = body.len();
        Visitor::to(server.address()).ask(format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
        ))
    };
    let own = "Origin: http://test\r\n";
    let wanting = send(own, "author=a+b&text=%3C%2Ftextarea%3E%3Cb%3Etyped");
    assert_eq!(wanting.status, 422, "{}", wanting.text());
    assert!(wanting.text().contains("value=\"a b\""), "{}", wanting.text());
    assert!(wanting.text().contains("&lt;b&gt;typed") && !wanting.text().contains("<b>typed"));
    assert!(wanting.text().contains("aria-invalid=\"true\"></p>"), "{}", wanting.text());
    assert!(
        wanting.text().contains("id=\"author-wrong\"") && !wanting.text().contains("text-wrong")
    );
    assert_eq!(send("Origin: http://evil.example\r\n", "author=ann&text=Tea").status, 403);
    let sent = send(own, "author=form_guest&text=Sent+by+the+form");
    assert_eq!(sent.status, 303, "{}", sent.text());
    let there = sent.field("location").unwrap();
    assert!(there.starts_with(&format!("/item/{item}#c")), "{there}");
    let page = read(visitor, &format!("/item/{item}"));
    assert!(page.page().contains("Sent by the form"), "{}", page.page());
    let anchor = there.split('#').nth(1).unwrap();
    assert!(page.page().contains(&format!("id=\"{anchor}\"")), "{}", page.page());
}

/// The stylesheet under its name, which is its content's, and robots.txt.
fn assets(visitor: &mut Visitor) {
    let front = read(visitor, "/");
    let style = links(front.page(), "rel=\"stylesheet\" href=\"")[0];
    let sheet = read(visitor, style);
    assert_eq!(
        (sheet.status, sheet.field("content-type").unwrap().split(';').next()),
        (200, Some("text/css"))
    );
    assert!(sheet.field("cache-control").unwrap().contains("immutable"));
    assert!(read(visitor, "/robots.txt").text().starts_with("User-agent: *"));
}
