//! Sessions: what a page puts into one comes back, and nothing that others have made up.

use std::fs;

use ringpress::driver::kind::Kind;
use ringpress::limits::COOKIE_BYTES_MAX;
use ringpress::site::{SessionValues, Site, Source};

use super::stage::{Script, Stage};
use super::upstream::{Then, Upstream};
use super::visitor::{Reply, Visitor};

on_every_driver!(
    what_is_put_in_comes_back,
    values_change_and_a_session_ends,
    made_up_sessions_are_none,
    what_is_no_number_is_the_visitors,
    keys_are_rotated,
    an_old_session_is_none,
    a_session_that_is_too_large,
    pages_with_sessions_are_not_shared,
    a_page_around_one_with_a_session_is_not_shared_either,
    what_an_api_says_of_sharing_does_not_go_before_what_the_page_is,
);

const OLD: &str = "b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCBv";
const NEW: &str =
    "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyBu\nZXcgbmV3IG5ldyBuZXcgbmV3IG5ldw==\n";
const IN: &str = "[page.session]\n\
    user = '{{ query.user }}'\n\
    n = '{{ (session.n or 0) + 1 }}'\n\
    list = '{{ [1, 2.5, true, {\"a\": none}] }}'\n\
    text = 'a {{ query.user }} ü'\n";
const ME: &str = "{{ session.user | default('nobody') }} {{ session.n | default('-') }} \
    {{ session.list | default('-') }} {{ session.text | default('-') }}";

fn start(kind: Kind, server: &'static str) -> Stage {
    let change = "session = { user = '{{ none if query.leave }}', more = '{{ query.more }}' }\n\
                  end_session = 'query.end'";
    Script::on(kind)
        .server(server)
        .file("old.key", OLD)
        .file("new.key", NEW)
        .page("/in", IN, "in")
        .page("/me", "", ME)
        .page("/change", change, "{{ session | tojson }}")
        .page("/number", "session = { n = '{{ query.n|int }}' }", "number")
        .page("/plain", "", "plain {{ cookies.x | default('') }}")
        .page("/around", "", "around {{ fragment('/me') }}")
        .page("/around/plain", "", "around {{ fragment('/plain') }}")
        .start(Upstream::json("{}"))
}

const USUAL: &str =
    "development = true\nmemo_max = '1MiB'\nsession = { keys = ['new.key', 'old.key'] }";

/// The value of the session's cookie that a reply sets, and the rest of the line.
fn cookie(reply: &Reply) -> (&str, &str) {
    assert!(reply.status < 400, "{}", reply.text());
    let mut lines = reply.head.lines().filter_map(|line| line.strip_prefix("Set-Cookie: "));
    let line = lines.next().expect("a cookie").strip_prefix("session=").expect("the session");
    assert!(lines.next().is_none(), "{}", reply.head);
    line.split_once(';').expect("attributes")
}

fn with(visitor: &mut Visitor, target: &str, cookies: &str) -> Reply {
    visitor.ask(format!("GET {target} HTTP/1.1\r\nHost: test\r\nCookie: {cookies}\r\n\r\n"))
}

fn sets_none(reply: &Reply) -> bool {
    reply.field("Set-Cookie").is_none()
}

fn what_is_put_in_comes_back(kind: Kind) {
    let stage = start(kind, USUAL);
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get("/me").page(), "nobody - - -");
    let reply = visitor.get("/in?user=ann");
    assert_eq!(reply.page(), "in");
    let (value, attributes) = cookie(&reply);
    assert_eq!(attributes, " Path=/; SameSite=Lax; HttpOnly; Max-Age=1209600; Secure");
    let held = format!("a=b; session={value}; c=d");
    let shown = "ann 1 [1, 2.5, True, {&#x27;a&#x27;: None}] a ann ü";
    let reply = with(&mut visitor, "/me", &held);
    assert_eq!(reply.page(), shown);
    assert!(sets_none(&reply));
    // What it holds was known before: numbers are numbers.
    let reply = with(&mut visitor, "/in?user=bob", &held);
    let next = format!("session={}", cookie(&reply).0);
    assert!(with(&mut visitor, "/me", &next).page().starts_with("bob 2 [1,"));
    assert_eq!(stage.count(|metrics| metrics.sessions_refused.get()), 0);
    drop(visitor);
    stage.finish();
}

fn values_change_and_a_session_ends(kind: Kind) {
    let stage = start(kind, USUAL);
    let mut visitor = stage.visitor();
    let first = format!("session={}", cookie(&visitor.get("/in?user=ann")).0);
    // An `if` without an else changes nothing, and so does what the visitor did not send.
    assert!(sets_none(&with(&mut visitor, "/change", &first)));
    let reply = with(&mut visitor, "/change?more=x", &first);
    let more = format!("session={}", cookie(&reply).0);
    assert!(with(&mut visitor, "/me", &more).page().starts_with("ann 1"));
    assert!(with(&mut visitor, "/change", &more).page().contains("\"more\":"));
    // None takes a value out.
    let reply = with(&mut visitor, "/change?leave=1", &more);
    let left = format!("session={}", cookie(&reply).0);
    assert!(with(&mut visitor, "/me", &left).page().starts_with("nobody 1"));
    let reply = with(&mut visitor, "/change?end=1", &more);
    let (value, attributes) = cookie(&reply);
    assert_eq!(value, "");
    assert!(attributes.contains("; Max-Age=0; Expires=Thu, 01 Jan 1970"), "{attributes}");
    // One that ends and gets something begins anew.
    let reply = with(&mut visitor, "/change?end=1&more=y", &more);
    let anew = format!("session={}", cookie(&reply).0);
    assert!(with(&mut visitor, "/me", &anew).page().starts_with("nobody -"));
    assert!(with(&mut visitor, "/change", &anew).page().contains("\"more\":"));
    drop(visitor);
    stage.finish();
}

fn what_is_no_number_is_the_visitors(kind: Kind) {
    let stage = start(kind, USUAL);
    let mut visitor = stage.visitor();
    visitor.get("/number?n=abc").is_error(400);
    let reply = visitor.get("/number");
    assert_eq!(reply.page(), "number");
    assert!(sets_none(&reply));
    let session = format!("session={}", cookie(&visitor.get("/number?n=7")).0);
    assert_eq!(with(&mut visitor, "/me", &session).page(), "nobody 7 - -");
    drop(visitor);
    stage.finish();
}

fn made_up_sessions_are_none(kind: Kind) {
    let stage = start(kind, USUAL);
    let mut visitor = stage.visitor();
    let nobody = visitor.get("/me");
    let reply = visitor.get("/in?user=ann");
    let (value, _) = cookie(&reply);
    let mut made_up: Vec<String> = (0..value.len())
        .step_by(7)
        .map(|at| {
            let other = if value.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &value[..at], &value[at + 1..])
        })
        .collect();
    made_up.extend(["x", "====", "eyJ1c2VyIjoiYW5uIn0=", "%41", "\u{fc}"].map(str::to_owned));
    made_up.push(value[..value.len() / 2].to_owned());
    made_up.push("A".repeat(4000));
    let count = made_up.len() as u64;
    for made_up in made_up {
        let reply = with(&mut visitor, "/me", &format!("session={made_up}"));
        // Nothing tells how far it came: the answer is that to one without.
        assert_eq!(reply.body, nobody.body, "{made_up}");
        let fields = |reply: &Reply| {
            let lines = reply
                .head
                .lines()
                .filter(|line| !line.starts_with("Date:") && !line.starts_with("Server-Timing:"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(fields(&reply), fields(&nobody));
    }
    // Sent under another name it is not the session either; and beside one made up, it still is.
    assert_eq!(with(&mut visitor, "/me", &format!("other={value}")).body, nobody.body);
    let both = format!("session=made-up; session={value}");
    assert!(with(&mut visitor, "/me", &both).page().starts_with("ann 1"));
    // A field that is no UTF-8 has no session in it, as the one with the umlaut's bytes cut.
    let refused = stage.count(|metrics| metrics.sessions_refused.get());
    assert_eq!(refused, count + 1);
    drop(visitor);
    stage.finish();
    // Of another cookie of the same keys: its name is sealed with it.
    let stage = start(kind, "session = { keys = ['new.key'], name = 'other' }");
    let mut visitor = stage.visitor();
    let value = cookie_of("session", "new.key", 0);
    let reply = with(&mut visitor, "/me", &format!("other={value}"));
    assert!(reply.page().starts_with("nobody"), "{}", reply.text());
    drop(visitor);
    stage.finish();
}

/// A session sealed elsewhere, so many seconds ago, under a key of these.
fn cookie_of(name: &str, key: &str, age_s: i64) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let page = "[[page]]\npath = '/'\ntemplate = 'a.html'";
    let text = format!("[server.session]\nkeys = ['{key}']\nname = '{name}'\n{page}");
    let files = [("site.toml", text.as_str()), ("a.html", ""), ("old.key", OLD), ("new.key", NEW)];
    for (file, text) in files {
        fs::write(folder.path().join(file), text).expect("a file");
    }
    let site = Site::load(&Source::Folder(folder.path().to_owned())).expect("a site");
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let at = i64::try_from(now).expect("a time") - age_s;
    let values = SessionValues::from_iter([("user".to_owned(), "old".into())]);
    site.sessions().and_then(|plan| plan.seal(&values, at)).expect("a session")
}

fn keys_are_rotated(kind: Kind) {
    let both = start(kind, USUAL);
    let old_only = start(kind, "session = { keys = 'old.key' }");
    let (mut ours, mut theirs) = (both.visitor(), old_only.visitor());
    let old = format!("session={}", cookie(&theirs.get("/in?user=ann")).0);
    assert!(with(&mut ours, "/me", &old).page().starts_with("ann 1"));
    // What is sealed anew is sealed with the first.
    let new = format!("session={}", cookie(&with(&mut ours, "/in?user=ann", &old)).0);
    assert!(with(&mut ours, "/me", &new).page().starts_with("ann 2"));
    assert!(with(&mut theirs, "/me", &new).page().starts_with("nobody"));
    assert_eq!(old_only.count(|metrics| metrics.sessions_refused.get()), 1);
    drop((ours, theirs));
    both.finish();
    old_only.finish();
}

fn an_old_session_is_none(kind: Kind) {
    let stage = start(kind, "session = { keys = 'new.key', max_age = '1h' }");
    let mut visitor = stage.visitor();
    // From another machine whose clock is ahead, too.
    for (age_s, wanted) in [(0, "old"), (3500, "old"), (-60, "old"), (3601, "nobody")] {
        let value = cookie_of("session", "new.key", age_s);
        let reply = with(&mut visitor, "/me", &format!("session={value}"));
        assert!(reply.page().starts_with(wanted), "{age_s}: {}", reply.text());
    }
    drop(visitor);
    stage.finish();
}

fn a_session_that_is_too_large(kind: Kind) {
    let stage = start(kind, USUAL);
    let mut visitor = stage.visitor();
    // What may be there with it, and a byte of base64 more.
    let reply = visitor.get(&format!("/in?user={}", "x".repeat(1300)));
    assert!(cookie(&reply).0.len() < COOKIE_BYTES_MAX);
    let reply = visitor.get(&format!("/in?user={}", "x".repeat(1500)));
    reply.is_error(500);
    assert!(reply.text().contains("the session is too large"), "{}", reply.text());
    assert!(sets_none(&reply));
    drop(visitor);
    stage.finish();
}

fn pages_with_sessions_are_not_shared(kind: Kind) {
    let stage = start(kind, USUAL);
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        for user in ["ann", "bob"] {
            let reply = visitor.get(&format!("/in?user={user}"));
            assert_eq!(reply.field("Cache-Control"), Some("private, no-cache"));
            let held = format!("session={}", cookie(&reply).0);
            let reply = with(&mut visitor, "/me", &held);
            assert!(reply.page().starts_with(user), "{}", reply.text());
            assert_eq!(reply.field("ETag"), None);
            assert_eq!(reply.field("Cache-Control"), Some("private, no-cache"));
        }
    }
    assert_eq!(visitor.get("/plain").field("Cache-Control"), None);
    drop(visitor);
    stage.finish();
}

fn a_page_around_one_with_a_session_is_not_shared_either(kind: Kind) {
    let stage = start(kind, USUAL);
    let mut visitor = stage.visitor();
    let reply = visitor.get("/in?user=ann");
    let held = format!("session={}", cookie(&reply).0);
    for (cookies, shown) in [(held.as_str(), "around ann 1"), ("a=b", "around nobody")] {
        let reply = with(&mut visitor, "/around", cookies);
        assert!(reply.page().starts_with(shown), "{}", reply.page());
        assert_eq!(reply.field("Cache-Control"), Some("private, no-cache"));
    }
    assert_eq!(visitor.get("/around/plain").field("Cache-Control"), None);
    drop(visitor);
    stage.finish();
}

/// A shared cache that believes the first line it finds would hand one's page to all.
fn what_an_api_says_of_sharing_does_not_go_before_what_the_page_is(kind: Kind) {
    const FETCH: &str = "[page.fetch]\nr = { from = 'api', path = '/', \
        pass = ['Cache-Control', 'Expires', 'X-More'] }\n";
    let with = |rest: &str| -> &'static str { format!("{rest}{FETCH}").leak() };
    let answer = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nContent-Length: 2\r\n\
        Expires: Thu, 01 Jan 2099 00:00:00 GMT\r\nX-More: 1\r\n\r\n{}";
    let stage = Script::on(kind)
        .server(USUAL)
        .file("old.key", OLD)
        .file("new.key", NEW)
        .page("/plain", with(""), "plain")
        .page("/me", with(""), ME)
        .page("/cookie", with("set_cookie = { a = '1' }\n"), "cookie")
        .page("/around", with(""), "{{ fragment('/mine') }}")
        .page("/mine", "", ME)
        .page("/own", with("headers = { Cache-Control = 'no-store' }\n"), ME)
        .start(Upstream::bytes(answer, || Then::Keep));
    let mut visitor = stage.visitor();
    for (path, said) in [
        ("/plain", "public, max-age=600"),
        ("/me", "private, no-cache"),
        ("/cookie", "private, no-cache"),
        ("/around", "private, no-cache"),
        ("/own", "no-store"),
    ] {
        let reply = visitor.get(path);
        reply.page();
        let lines = reply.head.lines().filter_map(|line| line.strip_prefix("Cache-Control: "));
        assert_eq!(lines.collect::<Vec<_>>(), [said], "{path}: {}", reply.head);
        assert_eq!(reply.field("Expires").is_some(), path == "/plain", "{path}: {}", reply.head);
        assert_eq!(reply.field("X-More"), Some("1"), "{path}");
    }
    drop(visitor);
    stage.finish();
}
