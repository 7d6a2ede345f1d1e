//! Static files: what visitors get of them, and what they cannot get.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringpress::driver::kind::Kind;
use tempfile::TempDir;

use super::stage::{Script, Stage, wait};
use super::upstream::Upstream;
use super::visitor::{Reply, get};

on_every_driver!(
    a_file_and_what_is_said_of_it,
    conditions,
    ranges,
    a_large_file_in_pieces,
    a_file_that_becomes_shorter_ends_the_connection,
    packed_files,
    texts_are_packed_once,
    nothing_but_what_is_in_the_folder,
    folders,
    pages_and_files_share_their_paths,
    changes_are_noticed,
    assets_have_their_content_in_their_names,
    files_over_http2,
);

/// A folder that is served below `/files/`.
struct Files(TempDir);

impl Files {
    fn of(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn table(&self, rest: &str) -> String {
        let dir = self.path().display();
        format!("[[static]]\npath = '/files/{{file*}}'\ndir = '{dir}'\n{rest}")
    }

    fn serve(&self, kind: Kind) -> Stage {
        script(kind).policy(self.table("")).start(Upstream::json("{}"))
    }
}

fn script(kind: Kind) -> Script {
    let script = Script::on(kind).plain_page();
    #[cfg(feature = "http2")]
    let script = script.bounds(|bounds| bounds.http2_prior_knowledge = true);
    script
}

fn ask(stage: &Stage, target: &str, fields: &str) -> Reply {
    stage.visitor().ask(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
}

/// More than is kept in memory, and no piece of it like another.
fn large() -> Vec<u8> {
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    (0..700_001).map(|_| next()).collect()
}

fn a_file_and_what_is_said_of_it(kind: Kind) {
    let files = Files::of(&[("style.css", b"body {}"), ("empty.txt", b""), ("page.html", b"<p>")]);
    let stage = files.serve(kind);
    let mut visitor = stage.visitor();
    // Once from the disk, once from memory.
    for _ in 0..2 {
        let reply = visitor.get("/files/style.css");
        assert_eq!((reply.status, reply.text()), (200, "body {}"));
        assert_eq!(reply.field("Content-Type"), Some("text/css; charset=utf-8"));
        assert_eq!(reply.field("Cache-Control"), Some("no-cache"));
        assert_eq!(reply.field("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
        assert_eq!(reply.field("Vary"), None);
        assert!(reply.field("ETag").is_some() && reply.field("Last-Modified").is_some());
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    visitor.send("HEAD /files/style.css HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(visitor.reply_to_head().field("Content-Length"), Some("7"));
    assert_eq!(visitor.get("/files/empty.txt").text(), "");
    // HTML has what all HTML of the site has, and each field once.
    let html = visitor.get("/files/page.html");
    assert_eq!(html.page(), "<p>");
    assert!(html.field("Content-Security-Policy").is_some());
    assert_eq!(html.field("X-Content-Type-Options"), Some("nosniff"));
    let options = visitor.ask("OPTIONS /files/style.css HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!((options.status, options.field("Allow")), (204, Some("GET, HEAD, OPTIONS")));
    let post = visitor.ask("DELETE /files/style.css HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(post.field("Allow"), Some("GET, HEAD, OPTIONS"));
    post.is_error(405);
    visitor.get("/files/none.css").is_error(404);
    drop(visitor);
    stage.finish();
    let ruled = script(kind).policy(files.table("cache_control = 'public, max-age=60'\n"));
    let stage = ruled.start(Upstream::json("{}"));
    let reply = stage.get("/files/style.css");
    assert_eq!(reply.field("Cache-Control"), Some("public, max-age=60"));
    stage.finish();
}

fn conditions(kind: Kind) {
    let files = Files::of(&[("a.txt", b"0123456789"), ("large.bin", &large())]);
    let stage = files.serve(kind);
    for name in ["/files/a.txt", "/files/large.bin"] {
        let whole = stage.get(name);
        let field = |name: &str| whole.field(name).unwrap().to_owned();
        let (etag, modified) = (field("ETag"), field("Last-Modified"));
        let status = |fields: String| ask(&stage, name, &fields).status;
        assert_eq!(status(format!("If-None-Match: \"x\", {etag}\r\n")), 304);
        assert_eq!(status("If-None-Match: \"x\"\r\n".to_owned()), 200);
        assert_eq!(status(format!("If-Modified-Since: {modified}\r\n")), 304);
        assert_eq!(status(format!("If-Match: {etag}\r\n")), 200);
        ask(&stage, name, "If-Match: \"x\"\r\n").is_error(412);
        let old = "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        ask(&stage, name, old).is_error(412);
        let had = ask(&stage, name, &format!("If-None-Match: {etag}\r\n"));
        assert_eq!((had.field("ETag"), had.body.len()), (Some(etag.as_str()), 0));
        assert_eq!(had.field("Cache-Control"), Some("no-cache"));
        // A range of another file than the reader knows is all of this one.
        let other = "Range: bytes=1-2\r\nIf-Range: \"x\"\r\n";
        assert_eq!(ask(&stage, name, other).body, whole.body);
        let same = format!("Range: bytes=1-2\r\nIf-Range: {etag}\r\n");
        assert_eq!(ask(&stage, name, &same).body, &whole.body[1..3]);
    }
    stage.finish();
}

fn ranges(kind: Kind) {
    let large = large();
    let files = Files::of(&[("a.txt", b"0123456789"), ("large.bin", &large)]);
    let stage = files.serve(kind);
    for (name, content) in [("a.txt", &b"0123456789"[..]), ("large.bin", &large)] {
        let name = format!("/files/{name}");
        let length = content.len();
        for (range, from, to) in [
            ("0-0", 0, 1),
            ("2-4", 2, 5),
            ("7-", 7, length),
            ("-3", length - 3, length),
            ("5-999999999", 5, length),
        ] {
            let reply = ask(&stage, &name, &format!("Range: bytes={range}\r\n"));
            assert_eq!(reply.status, 206, "{range}");
            let said = format!("bytes {from}-{}/{length}", to - 1);
            assert_eq!(reply.field("Content-Range"), Some(said.as_str()));
            assert!(reply.body == content[from..to], "{range} of {name}");
        }
        let past = ask(&stage, &name, "Range: bytes=999999999-\r\n");
        assert_eq!(past.field("Content-Range"), Some(format!("bytes */{length}").as_str()));
        past.is_error(416);
        // Several ranges, other units and nonsense: all of it.
        for range in ["bytes=0-1,4-5", "lines=0-1", "bytes=4-2", "x"] {
            let reply = ask(&stage, &name, &format!("Range: {range}\r\n"));
            assert!(reply.status == 200 && reply.body == content, "{range} of {name}");
        }
    }
    stage.finish();
}

fn a_large_file_in_pieces(kind: Kind) {
    let content = large();
    let files = Files::of(&[("large.bin", &content)]);
    let stage = files.serve(kind);
    let mut visitor = stage.visitor();
    for _ in 0..3 {
        let reply = visitor.get("/files/large.bin");
        assert!(reply.status == 200 && reply.body == content);
        assert_eq!(reply.field("Content-Type"), Some("application/octet-stream"));
        visitor.send("HEAD /files/large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
        let length = content.len().to_string();
        assert_eq!(visitor.reply_to_head().field("Content-Length"), Some(length.as_str()));
        // The connection goes on.
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    drop(visitor);
    // Many at once, with one worker.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(stage.get("/files/large.bin").body == content));
        }
    });
    stage.finish();
}

fn a_file_that_becomes_shorter_ends_the_connection(kind: Kind) {
    let files = Files::of(&[]);
    let path = files.path().join("film.bin");
    let length = 64 * 1024 * 1024;
    // More than the sockets between us hold, and it takes no room on the disk.
    fs::File::create(&path).unwrap().set_len(length).unwrap();
    let stage = files.serve(kind);
    let mut visitor = stage.visitor();
    visitor.send(get("/files/film.bin"));
    assert_eq!(visitor.reply_to_head().field("Content-Length"), Some("67108864"));
    fs::File::options().write(true).open(&path).unwrap().set_len(1).unwrap();
    let mut received = 0;
    let ended = std::io::copy(&mut visitor.stream(), &mut Counter(&mut received));
    assert!(ended.is_ok() && received < length, "{ended:?} after {received} bytes");
    // Others are served on, this file as it is now.
    wait("the change to be noticed", || stage.get("/files/film.bin").body == [0]);
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    drop(stage);
}

struct Counter<'a>(&'a mut u64);

impl std::io::Write for Counter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        *self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn packed_files(kind: Kind) {
    let files = Files::of(&[
        ("a.css", b"plain"),
        ("a.css.br", b"in br"),
        ("a.css.gz", b"in gzip"),
        ("b.css", b"plain"),
    ]);
    let stage = files.serve(kind);
    let reply = |accepted: &str| ask(&stage, "/files/a.css", accepted);
    let mut tags = Vec::new();
    for (accepted, coding, body) in [
        ("", None, "plain"),
        ("Accept-Encoding: gzip, br, zstd\r\n", Some("br"), "in br"),
        ("Accept-Encoding: gzip\r\n", Some("gzip"), "in gzip"),
        ("Accept-Encoding: br;q=0, zstd\r\n", None, "plain"),
        ("Accept-Encoding: br;q=0.1\r\nAccept-Encoding: gzip\r\n", Some("gzip"), "in gzip"),
        ("Accept-Encoding: pigeon\r\n", None, "plain"),
    ] {
        let reply = reply(accepted);
        assert_eq!((reply.text(), reply.field("Content-Encoding")), (body, coding), "{accepted}");
        assert_eq!(reply.field("Vary"), Some("Accept-Encoding"));
        assert_eq!(reply.field("Content-Type"), Some("text/css; charset=utf-8"));
        tags.push(reply.field("ETag").unwrap().to_owned());
    }
    // Each of them has a tag of its own, and is had by that alone.
    assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    let had = format!("Accept-Encoding: br\r\nIf-None-Match: {}\r\n", tags[1]);
    assert_eq!(reply(&had).status, 304);
    let had = format!("Accept-Encoding: br\r\nIf-None-Match: {}\r\n", tags[0]);
    assert_eq!(reply(&had).text(), "in br");
    assert_eq!(stage.get("/files/b.css").field("Vary"), None);
    stage.finish();
}

fn texts_are_packed_once(kind: Kind) {
    let text = b"p { margin: 0 }\n".repeat(500);
    let files = Files::of(&[
        ("a.css", &text),
        ("b.css", &text),
        ("b.css.gz", b"in gzip"),
        ("c.png", &text),
        // It would become smaller, and not by a packet.
        ("d.css", &text[..900]),
    ]);
    let stage = files.serve(kind);
    let reply = |name: &str, coding: &str| {
        ask(&stage, &format!("/files/{name}"), &format!("Accept-Encoding: {coding}\r\n"))
    };
    let zstd = reply("a.css", "gzip, zstd");
    assert_eq!(zstd.field("Content-Encoding"), Some("zstd"));
    assert_eq!(zstd.field("Vary"), Some("Accept-Encoding"));
    assert_eq!(zstd::decode_all(zstd.body.as_slice()).unwrap(), text);
    let gzip = reply("a.css", "gzip");
    assert_eq!(gzip.field("Content-Encoding"), Some("gzip"));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(gzip.body.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, text);
    assert_ne!(gzip.field("ETag"), zstd.field("ETag"));
    let fields =
        format!("Accept-Encoding: zstd\r\nIf-None-Match: {}\r\n", zstd.field("ETag").unwrap());
    assert_eq!(ask(&stage, "/files/a.css", &fields).status, 304);
    // A part of it is one of the packed bytes.
    let part = ask(&stage, "/files/a.css", "Accept-Encoding: zstd\r\nRange: bytes=0-3\r\n");
    assert_eq!((part.status, part.body.as_slice()), (206, &zstd.body[..4]));
    // What its owner has packed is taken as it is, and the rest is made.
    assert_eq!(reply("b.css", "gzip").text(), "in gzip");
    assert_eq!(zstd::decode_all(reply("b.css", "zstd").body.as_slice()).unwrap(), text);
    for name in ["c.png", "d.css"] {
        assert_eq!(reply(name, "zstd").field("Content-Encoding"), None, "{name}");
    }
    fs::write(files.path().join("a.css"), text.repeat(2)).unwrap();
    wait("the file to change", || {
        zstd::decode_all(reply("a.css", "zstd").body.as_slice()).unwrap().len() == 2 * text.len()
    });
    stage.finish();
}

fn nothing_but_what_is_in_the_folder(kind: Kind) {
    let outside = Files::of(&[("secret.txt", b"secret")]);
    let files = Files::of(&[
        ("a.txt", b"a"),
        (".env", b"secret"),
        (".git/config", b"secret"),
        (".well-known/security.txt", b"known"),
        ("sub/.hidden", b"secret"),
    ]);
    symlink(outside.path().join("secret.txt"), files.path().join("out.txt")).unwrap();
    symlink(outside.path(), files.path().join("away")).unwrap();
    symlink("a.txt", files.path().join("in.txt")).unwrap();
    let stage = files.serve(kind);
    assert_eq!(stage.get("/files/a.txt").text(), "a");
    assert_eq!(stage.get("/files/in.txt").text(), "a");
    assert_eq!(stage.get("/files/.well-known/security.txt").text(), "known");
    let name = files.path().file_name().unwrap().to_str().unwrap();
    let around = format!("/files/sub/../../{name}/a.txt");
    for target in [
        "/files/../files/a.txt",
        "/files/%2e%2e/%2e%2e/etc/passwd",
        "/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/files/..%5c..%5cetc%5cpasswd",
        "/files//etc/passwd",
        "/files/%2fetc/passwd",
        "/files/a.txt%00.html",
        "/files/a.txt/",
        "/files/.env",
        "/files/%2eenv",
        "/files/.git/config",
        "/files/sub/.hidden",
        "/files/out.txt",
        "/files/away/secret.txt",
        "/files/sub",
        "/files/sub/",
        "/files/",
        "/files",
        &around,
    ] {
        let reply = stage.get(target);
        assert!(matches!(reply.status, 400 | 404), "{target}: {}", reply.status);
        assert!(!reply.text().contains("secret") || target.contains("secret"), "{target}");
    }
    stage.finish();
}

fn folders(kind: Kind) {
    let files = Files::of(&[("index.html", b"top"), ("docs/index.html", b"docs")]);
    let stage = files.serve(kind);
    assert_eq!(stage.get("/files/").page(), "top");
    assert_eq!(stage.get("/files/docs/").page(), "docs");
    let moved = stage.get("/files/docs?a=b");
    assert_eq!((moved.status, moved.field("Location")), (301, Some("/files/docs/?a=b")));
    stage.finish();
    // All of a site that no page has.
    let table = files.table("").replace("/files/", "/");
    let stage = script(kind).policy(table).start(Upstream::json("{}"));
    assert_eq!(stage.get("/").page(), "top");
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    assert_eq!(stage.get("/docs/").page(), "docs");
    stage.get("//docs").is_error(404);
    stage.finish();
}

fn pages_and_files_share_their_paths(kind: Kind) {
    let files = Files::of(&[("one.txt", b"one"), ("two.txt", b"two")]);
    let one = files.path().join("one.txt");
    let table = format!(
        "{}[[static]]\npath = '/robots.txt'\nfile = '{}'\n",
        files.table(""),
        one.display()
    );
    let script = script(kind).policy(table).page("/files/two.txt", "", "a page");
    let stage = script.start(Upstream::json("{}"));
    assert_eq!(stage.get("/files/one.txt").text(), "one");
    assert_eq!(stage.get("/files/two.txt").page(), "a page");
    assert_eq!(stage.get("/robots.txt").text(), "one");
    stage.finish();
}

fn changes_are_noticed(kind: Kind) {
    let files = Files::of(&[("a.txt", b"first")]);
    let stage = files.serve(kind);
    let before = stage.get("/files/a.txt");
    assert_eq!(before.text(), "first");
    fs::write(files.path().join("a.txt"), "other").unwrap();
    wait("the change to be noticed", || stage.get("/files/a.txt").text() == "other");
    let after = stage.get("/files/a.txt");
    assert_ne!(before.field("ETag"), after.field("ETag"));
    fs::remove_file(files.path().join("a.txt")).unwrap();
    wait("the end to be noticed", || stage.get("/files/a.txt").status == 404);
    stage.finish();
}

fn assets_have_their_content_in_their_names(kind: Kind) {
    let files = Files::of(&[("css/style.css", b"body {}"), ("a b.png", b"png")]);
    let page = "{{ asset('css/style.css') }} {{ asset(path.name) }}";
    let script = script(kind).policy(files.table("")).page("/of/{name}", "", page);
    let stage = script.start(Upstream::json("{}"));
    let made = stage.get("/of/a%20b.png");
    let paths: Vec<&str> = made.page().split(' ').collect();
    assert!(paths[0].starts_with("/files/css/style.") && paths[0].ends_with(".css"), "{paths:?}");
    assert!(paths[1].starts_with("/files/a%20b.") && paths[1].ends_with(".png"), "{paths:?}");
    for (path, content) in [(paths[0], "body {}"), (paths[1], "png")] {
        for _ in 0..2 {
            let reply = stage.get(path);
            assert_eq!((reply.status, reply.text()), (200, content));
            let kept = "public, max-age=31536000, immutable";
            assert_eq!(reply.field("Cache-Control"), Some(kept));
        }
    }
    // An old name still has the file as it is, but nobody is to keep it under that.
    let old = stage.get("/files/css/style.0123456789.css");
    assert_eq!((old.text(), old.field("Cache-Control")), ("body {}", Some("no-cache")));
    assert_eq!(stage.get("/files/css/style.css").field("Cache-Control"), Some("no-cache"));
    fs::write(files.path().join("css/style.css"), "other {}").unwrap();
    wait("the change to be noticed", || stage.get(paths[0]).text() == "other {}");
    assert_eq!(stage.get(paths[0]).field("Cache-Control"), Some("no-cache"));
    // A name that nobody knows beforehand is an error of the page.
    stage.get("/of/none.png").is_error(500);
    stage.finish();
}

#[cfg(not(feature = "http2"))]
fn files_over_http2(_: Kind) {}

#[cfg(feature = "http2")]
fn files_over_http2(kind: Kind) {
    use super::browser::{Browser, browse, of, page};
    let content = large();
    let files = Files::of(&[("large.bin", &content), ("a.css", b"plain"), ("a.css.gz", b"gzip")]);
    let path = files.path().join("film.bin");
    fs::File::create(&path).unwrap().set_len(64 * 1024 * 1024).unwrap();
    let stage = files.serve(kind);
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let whole = browser.get("/files/large.bin").await;
        assert!(whole.status == 200 && whole.body == content);
        let small = browser.get("/files/a.css").await;
        assert_eq!((small.text(), small.field("vary")), ("plain", Some("Accept-Encoding")));
        let head = page(browser.ask(of("HEAD", "/files/large.bin")).await).await.unwrap();
        assert_eq!(head.field("content-length"), Some("700001"));
        assert!(head.body.is_empty());
        // One that becomes shorter has its stream reset, and the others go on.
        let film = browser.ask(of("GET", "/files/film.bin")).await.await.unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(1).unwrap();
        let mut body = film.into_body();
        let ended = loop {
            match body.data().await {
                Some(Ok(bytes)) => body.flow_control().release_capacity(bytes.len()).unwrap(),
                ended => break ended,
            }
        };
        assert!(matches!(&ended, Some(Err(error)) if error.is_reset()), "{ended:?}");
        drop(body);
        assert!(browser.get("/files/large.bin").await.body == content);
        browser.close().await.expect("an orderly end");
    });
    drop(stage);
}
