//! The bodies that forms come in: with files, cut off, too long, of another type, in chunks, held
//! back, over HTTP/2.

use ringpress::driver::kind::Kind;

use super::forms::post;
use super::stage::{Script, Stage};
use super::upstream::Upstream;

on_every_driver!(
    a_file_is_sent_on,
    what_is_cut_off_is_nothing,
    bodies_have_bounds,
    bodies_of_other_types,
    a_body_that_is_held_back_and_one_in_chunks,
);
/// The same over HTTP/2.
#[cfg(feature = "http2")]
mod http2 {
    use super::over_http2;

    on_every_driver!(over_http2);
}

/// A POST of a body with the boundary `edge`.
fn multipart(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const BODY: &[u8] =
    b"--edge\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nTea & <cake>\r\n\
    --edge\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\\\"b.png\"\r\n\
    Content-Type: image/png\r\n\r\n\x89PNG\r\n\x00--edg\r\n--edge\r\n\
    Content-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\
    Content-Type: application/octet-stream\r\n\r\n\r\n--edge--\r\n";

const UPLOAD: &str = "method = 'POST'\nform = { max_body = '2MiB', max_fields = 3 }\n\
    [page.fetch.sent]\nfrom = 'api'\nmethod = 'PUT'\npath = '/photos'\n\
    multipart = { title = '{{ form.title }}', photo = '{{ form.photo }}', \
    none = '{{ form.none }}', by = 'me' }";

const UPLOAD_TEMPLATE: &str = "{{ form.title }} {{ form.photo.content_type }} \
    {{ form.photo.size }} {{ 'some' if form.none else 'none' }} {{ sent.n }}";

fn upload(kind: Kind, upstream: Upstream) -> Stage {
    Script::on(kind)
        .page("/upload", UPLOAD, UPLOAD_TEMPLATE)
        .page("/plain", "method = ['GET', 'POST']", "<p>plain</p>")
        .page("/form", "method = ['GET', 'POST']", "{{ form.a | default('-') }}")
        .start(upstream)
}

fn a_file_is_sent_on(kind: Kind) {
    let stage = upload(
        kind,
        Upstream::start(|call| {
            assert!(call.head.starts_with("PUT /photos "), "{}", call.head);
            let boundary = call.head.split("boundary=").nth(1).unwrap();
            let boundary = boundary.split("\r\n").next().unwrap();
            let part = |head: &str, content: &[u8]| {
                let head =
                    format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
                [head.as_bytes(), content, b"\r\n"].concat()
            };
            let expected = [
                part("name=\"title\"", b"Tea & <cake>"),
                part(
                    "name=\"photo\"; filename=\"a%22b.png\"\r\nContent-Type: image/png",
                    b"\x89PNG\r\n\x00--edg",
                ),
                part("name=\"by\"", b"me"),
                format!("--{boundary}--\r\n").into_bytes(),
            ];
            let sent = String::from_utf8_lossy(call.body);
            assert!(call.body == expected.concat(), "{sent}");
            call.json(r#"{"n": 1}"#)
        }),
    );
    let reply = stage.visitor().ask(multipart("/upload", BODY));
    assert_eq!(reply.page(), "Tea &amp; &lt;cake&gt; image&#x2f;png 12 none 1");
    stage.finish();
}

fn what_is_cut_off_is_nothing(kind: Kind) {
    let stage = upload(kind, Upstream::json("{}"));
    let mut visitor = stage.visitor();
    for end in [0, 3, 40, 60, 75, 130, BODY.len() - 6] {
        visitor.ask(multipart("/upload", &BODY[..end])).is_error(400);
    }
    let nameless = b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--\r\n";
    visitor.ask(multipart("/upload", nameless)).is_error(400);
    let not_text =
        b"--edge\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--edge--\r\n";
    visitor.ask(multipart("/upload", not_text)).is_error(400);
    let json = "POST /form HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n";
    for wrong in ["{\"a\":", "[1]", "1"] {
        let request = format!("{json}Content-Length: {}\r\n\r\n{wrong}", wrong.len());
        visitor.ask(request).is_error(400);
    }
    assert!(stage.upstream().calls().is_empty());
    // It is the body that is bad, not the connection.
    assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    drop(visitor);
    stage.finish();
}

fn bodies_have_bounds(kind: Kind) {
    let stage = upload(kind, Upstream::json(r#"{"n": 1}"#));
    let mut part = b"--edge\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n".to_vec();
    part.resize(part.len() + (3 << 19), b'x');
    let one = [&part, &b"\r\n"[..]].concat();
    let photo: &[u8] = b"--edge\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"f\"\
        \r\n\r\n\r\n--edge--\r\n";
    // Longer than what other pages take, and not than this one.
    let reply = stage.visitor().ask(multipart("/upload", &[&one, photo].concat()));
    assert!(reply.page().starts_with("xxx"));
    let mut visitor = stage.visitor();
    visitor.send(&multipart("/upload", &[&one[..], &one, photo].concat())[..200]);
    visitor.reply().is_error(413);
    assert!(visitor.at_end());
    // Others take what the server does.
    let mut visitor = stage.visitor();
    visitor.send(&multipart("/form", &one)[..200]);
    visitor.reply().is_error(413);
    assert!(visitor.at_end());
    // So many fields and no more.
    let field = b"--edge\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
    let many = [&field.repeat(4)[..], b"--edge--\r\n"].concat();
    stage.visitor().ask(multipart("/upload", &many)).is_error(413);
    stage.visitor().ask(post("/upload", "", "a=1&b=2&c=3&d=4")).is_error(413);
    let json = r#"{"a": 1, "b": 2, "c": 3, "d": 4}"#;
    let head = "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{json}", json.len());
    stage.visitor().ask(request).is_error(413);
    assert_eq!(stage.upstream().calls().len(), 1);
    stage.finish();
}

fn bodies_of_other_types(kind: Kind) {
    let stage = upload(kind, Upstream::json("{}"));
    for content_type in ["Content-Type: text/plain\r\n", "Content-Type: \r\n", ""] {
        let request = |target: &str| {
            format!(
                "POST {target} HTTP/1.1\r\nHost: test\r\n{content_type}Content-Length: 3\r\n\r\na=1"
            )
        };
        stage.visitor().ask(request("/form")).is_error(415);
        // Nor is what is packed, whatever its type.
        let packed =
            |coding: &str| post("/form", &format!("Content-Encoding: {coding}\r\n"), "a=1");
        stage.visitor().ask(packed("gzip")).is_error(415);
        stage.visitor().ask(packed("identity, br")).is_error(415);
        assert_eq!(stage.visitor().ask(packed("Identity")).status, 200);
        // A page that does not look at a form takes what comes.
        assert_eq!(stage.visitor().ask(request("/plain")).page(), "<p>plain</p>");
    }
    let typed =
        post("/form", "", "a=1").replace("urlencoded\r\n", "URLencoded ; charset=utf-8\r\n");
    assert_eq!(stage.visitor().ask(typed).page(), "1");
    assert_eq!(stage.visitor().ask(post("/form", "", "")).page(), "-");
    stage.finish();
}

fn a_body_that_is_held_back_and_one_in_chunks(kind: Kind) {
    let stage = upload(kind, Upstream::json("{}"));
    let mut visitor = stage.visitor();
    let held = post("/form", "Expect: 100-continue\r\n", "a=later");
    let (head, body) = held.split_at(held.len() - 7);
    assert_eq!(visitor.ask(head).status, 100);
    assert_eq!(visitor.ask(body).page(), "later");
    // Who would not be heard out is not told to go on.
    let mut other = stage.visitor();
    let long = head.replace("Content-Length: 7", "Content-Length: 7000000");
    other.ask(long).is_error(413);
    assert!(other.at_end());
    let chunked = head
        .replace("Content-Length: 7", "Transfer-Encoding: chunked")
        .replace("Expect: 100-continue\r\n", "");
    assert_eq!(visitor.ask(format!("{chunked}3\r\na=1\r\n2\r\n23\r\n0\r\n\r\n")).page(), "123");
    drop((visitor, other));
    stage.finish();
}

#[cfg(feature = "http2")]
fn over_http2(kind: Kind) {
    use crate::browser::{Browser, browse, of};
    use crate::http2::{post as send, script};
    let stage = script(kind)
        .page(
            "/form",
            "method = ['GET', 'POST']\nform = { max_body = '2MiB' }",
            "{{ form.a | default('-') | length }}",
        )
        .start(Upstream::json("{}"));
    let form = |fields: &[(&'static str, &'static str)]| {
        let mut request = of("POST", "/form");
        let content_type = "application/x-www-form-urlencoded".parse().unwrap();
        request.headers_mut().insert("content-type", content_type);
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    };
    browse(async {
        let mut browser = Browser::to(stage.address()).await;
        let long = format!("a={}", "x".repeat(3 << 19));
        for (body, expected) in [("a=12", "2"), ("", "1"), (&*long, "1572864")] {
            let page = send(&mut browser, form(&[]), body.as_bytes()).await;
            assert_eq!((page.status, page.text()), (200, expected));
        }
        let cross = form(&[("sec-fetch-site", "cross-site")]);
        assert_eq!(send(&mut browser, cross, b"a=1").await.status, 403);
        let typed = form(&[("content-type", "text/plain")]);
        assert_eq!(send(&mut browser, typed, b"a=1").await.status, 415);
        let wrong = send(&mut browser, of("PUT", "/form"), b"").await;
        assert_eq!(wrong.field("allow"), Some("GET, HEAD, POST, OPTIONS"));
        let longer = form(&[("content-length", "3000000")]);
        assert_eq!(send(&mut browser, longer, &vec![b'a'; 3_000_000]).await.status, 413);
        let _ = browser.close().await;
    });
    stage.finish();
}
