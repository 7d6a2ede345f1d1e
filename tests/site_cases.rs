//! Sites as people write them, each case a text with all its files: what is wrong with it, or
//! what its pages ask of upstreams and make of their answers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test helper that fails is a test that fails"
)]

#[expect(dead_code, reason = "the suite for the drivers uses more of it")]
#[path = "common/certificates.rs"]
mod certificates;
#[path = "site_cases/security.rs"]
mod security;

use proptest::prelude::*;
use ringpress::config::SourceFile;
use ringpress::press::{self, Data};
use ringpress::site::{
    Asker, Context, ErrorFacts, FetchFailure, Inputs, NodeKind, Overrides, Page, Site, Source,
    Value,
};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

#[test]
fn problems_of_sites() {
    insta::glob!("sites/problems/*.txt", |path| {
        let files = read_case(path);
        let shown = match load(&files) {
            Ok(_) => "no problems\n".to_owned(),
            Err(report) => report,
        };
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown) });
    });
}

#[test]
fn pages_of_sites() {
    insta::glob!("sites/pages/*.txt", |path| {
        let mut files = read_case(path);
        let at = files.iter().position(|file| file.name == "requests.json").unwrap();
        let requests = files.remove(at).text;
        let folder = folder_of(&files);
        let site = Site::load(&Source::Folder(folder.path().to_owned())).unwrap_or_else(|report| {
            panic!("{}: {report}", path.display());
        });
        let requests: Vec<serde_json::Value> = serde_json::from_str(&requests).unwrap();
        let mut shown = String::new();
        for request in &requests {
            serve(&site, request, &mut shown);
        }
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown) });
    });
}

#[test]
fn the_hello_site_is_fine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/hello");
    let site = Site::load(&Source::Folder(folder)).unwrap();
    let (page, params) = site.route("/hello/Ann").unwrap();
    assert_eq!(page.pattern(), "/hello/{name}");
    assert_eq!(params.as_slice(), [("name", "Ann")]);
    assert_eq!(site.upstreams()[0].authority, "127.0.0.1:9000");
}

#[test]
fn overrides_stand_above_the_file() {
    let source = Source::Embedded { name: "echo", files: ECHO };
    let overrides = Overrides {
        development: Some(true),
        listen: Some(vec!["127.0.0.1:1".parse().unwrap()]),
        upstreams: vec![("api".to_owned(), "http://127.0.0.1:4711/v2".to_owned())],
        ..Overrides::default()
    };
    let site = Site::load_with(&source, &overrides).unwrap();
    assert!(site.server().development);
    assert_eq!(site.server().listen[0].port(), 1);
    assert_eq!(site.upstreams()[0].port, 4711);
    assert_eq!(target(&site, "/s/x", &[("p", "x")]), Ok("/v2/items/x?q=x".to_owned()));
    let replica = site.replica().unwrap();
    assert_eq!(target(&replica, "/s/x", &[("p", "x")]), Ok("/v2/items/x?q=x".to_owned()));
    let unknown =
        Overrides { upstreams: vec![("apo".into(), "http://x".into())], ..Overrides::default() };
    assert!(Site::load_with(&source, &unknown).is_err());
}

#[test]
fn a_site_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Site>();
}

#[test]
fn an_error_page_never_fails() {
    let files = [
        ("site.toml", "[[page]]\npath = '/'\ntemplate = 'front.html'\n"),
        ("front.html", "front"),
        ("errors/404.html", "<p>no {{ path }} here, {{ reason }}</p>"),
        ("errors/410.html.j2", "<p>{{ path }} is gone</p>"),
        ("errors/default.html", "{{ status / 0 }}"),
    ];
    let folder = folder_of(&files.map(|(name, text)| SourceFile::new(name, text)));
    let site = Site::load(&Source::Folder(folder.path().to_owned())).unwrap();
    let page = |status, chain: Option<&[String]>| {
        let message = "A <message>";
        let facts = ErrorFacts {
            status,
            reason: "Reason",
            message,
            request_id: "r1",
            path: "/<b>",
            now: 0,
        };
        let mut out = b"head".to_vec();
        let own = site.error_page(&facts, chain, &mut out);
        assert_eq!(own.is_err(), status == 500);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(page(404, None), "head<p>no &#x2f;&lt;b&gt; here, Reason</p>");
    assert_eq!(page(410, None), "head<p>&#x2f;&lt;b&gt; is gone</p>");
    let built_in = page(500, None);
    assert!(built_in.starts_with("head<!doctype html>"), "{built_in}");
    assert!(built_in.contains("A &lt;message&gt;") && !built_in.contains("What happened"));
    let development = page(500, Some(&["fetch <x> failed".to_owned()]));
    assert!(development.contains("<pre>fetch &lt;x&gt; failed</pre>"), "{development}");
    assert!(development.contains("template errors&#x2f;default.html failed"), "{development}");
}

#[test]
fn a_page_without_end_is_stopped() {
    let loops =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}";
    let long = "{% for a in range(20) %}{{ 'x' * 1000000 }}{% endfor %}";
    for (text, wanted) in [(loops, "fuel"), (long, "bytes")] {
        let site = "[[page]]\npath = '/'\ntemplate = 'a.txt'\n";
        let files = [SourceFile::new("site.toml", site), SourceFile::new("a.txt", text)];
        let folder = folder_of(&files);
        let site = Site::load(&Source::Folder(folder.path().to_owned())).unwrap();
        let (page, _) = site.route("/").unwrap();
        let mut out = Vec::new();
        let error = page.render(&page.context(Inputs::default()), &mut out).unwrap_err();
        assert!(out.is_empty());
        assert!(error.chain().join(" ").contains(wanted), "{:?}", error.chain());
    }
}

#[test]
fn a_failing_page_leaves_nothing_behind() {
    let files = [
        ("site.toml", "[[page]]\npath = '/'\ntemplate = 'a.html'\n[page.let]\nx = '[1]'"),
        ("a.html", "begun\n{{ x.y.z }}"),
    ];
    let folder = folder_of(&files.map(|(name, text)| SourceFile::new(name, text)));
    let site = Site::load(&Source::Folder(folder.path().to_owned())).unwrap();
    let (page, _) = site.route("/").unwrap();
    let context = page.context(Inputs::default());
    context.set(0, page.evaluate(&page.nodes()[0], &context).unwrap());
    let mut out = b"head".to_vec();
    let error = page.render(&context, &mut out).unwrap_err();
    assert_eq!(out, b"head");
    assert_eq!(error.status(), 500);
    let chain = error.chain().join("\n");
    assert!(chain.contains("a.html:2") && chain.contains("2 | {{ x.y.z }}"), "{chain}");
}

proptest! {
    #[test]
    fn a_parameter_is_one_segment_and_one_query_value(value in ANY_TEXT) {
        let site = Site::load(&Source::Embedded { name: "echo", files: ECHO }).unwrap();
        match target(&site, "/s/x", &[("p", &value)]) {
            Ok(target) => {
                let (path, query) = target.split_once('?').unwrap();
                prop_assert_eq!(path.split('/').count(), 3, "{}", target);
                prop_assert!(path.starts_with("/items/"));
                prop_assert!(!query.contains(['?', '&', '#', '/', ' ']));
                prop_assert_eq!(query.matches('=').count(), 1);
                prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
                let segment = path.strip_prefix("/items/").unwrap();
                prop_assert_eq!(decode(segment), value.as_bytes());
                prop_assert_eq!(decode(query.strip_prefix("q=").unwrap()), value.as_bytes());
            }
            Err(status) => {
                prop_assert_eq!(status, 400);
                let dots = value.to_lowercase().replace("25", "").replace("%2e", ".");
                prop_assert!(matches!(dots.as_str(), "" | "." | ".."), "{:?}", value);
            }
        }
    }

    #[test]
    fn a_rest_keeps_its_segments_and_no_more(value in ANY_REST) {
        let site = Site::load(&Source::Embedded { name: "echo", files: ECHO }).unwrap();
        match target(&site, "/r/x", &[("rest", &value)]) {
            Ok(target) => {
                prop_assert!(!target.contains(['?', '#', ' ']));
                prop_assert_eq!(target.split('/').count(), value.split('/').count() + 2);
                prop_assert!(!target.contains("//"));
                prop_assert!(target.split('/').all(|segment| segment != "." && segment != ".."));
            }
            Err(status) => prop_assert_eq!(status, 400),
        }
    }

    #[test]
    fn a_header_cannot_be_ended(value in "(?s).{0,12}|[a\r\n\0:\t]{0,6}") {
        let site = Site::load(&Source::Embedded { name: "echo", files: ECHO }).unwrap();
        let (page, _) = site.route("/h").unwrap();
        let query = vec![("v".to_owned(), value.clone())];
        let context = page.context(Inputs { query, ..Inputs::default() });
        let (mut target, mut headers) = (Vec::new(), b"before".to_vec());
        let node = &page.nodes()[0];
        match page.fetch_request(node, &context, None, &mut target, &mut headers) {
            Ok(()) => {
                let own = format!("beforeUser-Agent: ringpress/{}\r\n", env!("CARGO_PKG_VERSION"));
                let own = headers.strip_prefix(own.as_bytes());
                let body = own.and_then(|field| field.strip_suffix(b"\r\n"));
                prop_assert!(body.is_some(), "{headers:?}");
                let body = body.unwrap_or_default();
                prop_assert!(!body.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
            Err(error) => {
                prop_assert_eq!(error.status(), 400);
                prop_assert_eq!(headers, b"before".to_vec());
                prop_assert!(value.chars().any(|c| c.is_ascii_control()));
            }
        }
    }

    #[test]
    fn a_redirect_leads_nowhere_else(value in ANY_ADDRESS, other in ANY_ADDRESS) {
        let site = &*SENT_SITE;
        for (path, origin) in
            [("/n/x", None), ("/r/x", None), ("/c/x", Some("https://a.example")), ("/j/x", None)]
        {
            let (page, _) = site.route(path).unwrap();
            let query = vec![("v".to_owned(), value.clone()), ("w".to_owned(), other.clone())];
            let params = [("rest".to_owned(), value.clone())].into_iter().collect();
            let context = page.context(Inputs { query, params, ..Inputs::default() });
            let asker = Asker { is_plain_loopback: false, now: 0 };
            let said = match page.say(&context, asker) {
                Ok(said) if said.status == 200 => continue,
                Ok(said) => String::from_utf8(said.lines).unwrap(),
                Err(error) => {
                    prop_assert_eq!(error.status(), 400, "{:?}", error.chain());
                    continue;
                }
            };
            prop_assert_eq!(said.matches('\n').count(), 1, "{}", said);
            let location = said.strip_prefix("Location: ").and_then(|l| l.strip_suffix("\r\n"));
            let location = location.unwrap();
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
            // What a browser makes of it, on a page of ours.
            let rest = match origin {
                Some(origin) => location.strip_prefix(origin).unwrap(),
                None => location,
            };
            prop_assert!(rest.starts_with('/'), "{}", location);
            prop_assert!(origin.is_some() || !rest.starts_with("//"), "{}", location);
        }
    }

    #[test]
    fn no_site_file_panics(text in "(\\[\\[page\\]\\]\n|path = '/\\PC{0,6}'\n|\\PC{0,20}\n){0,6}") {
        let files = [SourceFile::new("site.toml", text)];
        let _ = load(&files);
    }

    #[test]
    fn no_template_panics(text in ANY_TEMPLATE) {
        let site = "[[page]]\npath = '/'\ntemplate = 'a.html'\n";
        let _ = load(&[SourceFile::new("site.toml", site), SourceFile::new("a.html", text)]);
    }
}

/// Serves a request of a case without a network: `answers` of the case stand for upstreams.
fn serve(site: &Site, request: &serde_json::Value, shown: &mut String) {
    let path = request["path"].as_str().unwrap();
    writeln!(shown, "GET {path}").unwrap();
    let Some((page, params)) = site.route(path) else {
        writeln!(shown, "  no such page\n").unwrap();
        return;
    };
    let params = params
        .into_iter()
        .map(|(name, value)| (name.to_owned(), String::from_utf8(decode(value)).unwrap()));
    let inputs = Inputs {
        method: "GET".to_owned(),
        path: path.to_owned(),
        params: params.collect(),
        query: pairs(&request["query"]),
        headers: pairs(&request["headers"]),
        now: 1_700_000_000,
        ..Inputs::default()
    };
    writeln!(shown, "  {} with {:?}", page.pattern(), page.uses()).unwrap();
    let context = page.context(inputs);
    if let Err(error) = fill(site, page, &context, &request["answers"], shown) {
        writeln!(shown, "  {}: {}\n", error.status(), error.chain().join("\n  because ")).unwrap();
        return;
    }
    let mut out = Vec::new();
    match page.render(&context, &mut out) {
        Ok(()) => {
            let body = String::from_utf8(out).unwrap();
            writeln!(shown, "  200 {}\n{}\n", page.content_type(), body.trim_end()).unwrap();
        }
        Err(error) => {
            let chain = error.chain().join("\n  because ");
            writeln!(shown, "  {}: {chain}\n", error.status()).unwrap();
        }
    }
}

fn fill(
    site: &Site,
    page: &Page,
    context: &Context,
    answers: &serde_json::Value,
    shown: &mut String,
) -> Result<(), ringpress::error::PageError> {
    let mut done = vec![false; page.nodes().len()];
    while let Some(at) = (0..done.len())
        .find(|at| !done[*at] && page.nodes()[*at].needs.iter().all(|need| done[*need]))
    {
        done[at] = true;
        let node = &page.nodes()[at];
        let NodeKind::Fetch(fetch) = &node.kind else {
            context.set(at, page.evaluate(node, context)?);
            continue;
        };
        let upstream = &site.upstreams()[fetch.upstream].name;
        let mut ask = |item: Option<(&Value, usize)>| {
            let (mut target, mut headers) = (Vec::new(), Vec::new());
            page.fetch_request(node, context, item, &mut target, &mut headers)?;
            let target = String::from_utf8(target).unwrap();
            let headers = String::from_utf8(headers).unwrap();
            let headers = headers.replace(env!("CARGO_PKG_VERSION"), "VERSION");
            writeln!(shown, "  {} = {upstream} {target} {headers:?}", node.name).unwrap();
            Ok::<_, ringpress::error::PageError>(answers[&target].to_string())
        };
        if fetch.each.is_some() {
            let items = page.items(node, context)?;
            let values = items.iter().enumerate().map(|(index, item)| {
                Ok(press::parse(ask(Some((item, index)))?.as_bytes()).unwrap())
            });
            context.set(at, Data::List(values.collect::<Result<_, _>>()?));
            continue;
        }
        let answer = ask(None)?;
        if answer == "null" && fetch.optional {
            let failure = FetchFailure { status: Some(503), message: "busy".to_owned() };
            context.fail(at, failure, None);
        } else {
            context.set(at, press::parse(answer.as_bytes()).unwrap());
        }
    }
    assert!(done.iter().all(|done| *done));
    Ok(())
}

fn pairs(json: &serde_json::Value) -> Vec<(String, String)> {
    let map = json.as_object().into_iter().flatten();
    map.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// The target of the only fetch of a page; the status of the error where there is one.
fn target(site: &Site, path: &str, params: &[(&str, &str)]) -> Result<String, u16> {
    let (page, _) = site.route(path).unwrap();
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let context = page.context(Inputs { params: params.collect(), ..Inputs::default() });
    let (mut target, mut headers) = (Vec::new(), Vec::new());
    page.fetch_request(&page.nodes()[0], &context, None, &mut target, &mut headers)
        .map_err(|error| error.status())?;
    Ok(String::from_utf8(target).unwrap())
}

fn decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

fn load(files: &[SourceFile]) -> Result<Site, String> {
    let folder = folder_of(files);
    let path = folder.path().to_owned();
    let shown = path.display().to_string();
    Site::load(&Source::Folder(path)).map_err(|report| report.to_string().replace(&shown, "SITE"))
}

fn folder_of(files: &[SourceFile]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(&file.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &file.text).unwrap();
    }
    folder
}

/// Splits a case into its files, each after a line `=== NAME`.
fn read_case(path: &Path) -> Vec<SourceFile> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut files: Vec<SourceFile> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("=== ") {
            Some(name) => files.push(SourceFile::new(name.trim(), "")),
            None => files.last_mut().unwrap().text.push_str(line),
        }
    }
    files
}

const ANY_TEXT: &str = r"\PC*|[./%?#&=2eE\\]{0,12}|(?s).{0,8}";
const ANY_REST: &str = r"[a-c./%?#2eE ]{1,12}|(\PC{1,3}/){0,3}\PC{1,3}";
/// Code, a raw block that may not end, and markup.
const ANY_TEMPLATE: &str = concat!(
    r"(\{\{|\}\}|\{%|%\}|if |is |a|\.|\||'|\[|:|set |for |in |raw |import |\PC){0,16}",
    r"|\{% raw %\}(\{%|%\}|\{%\}|-| |endraw|\{\{|\PC){0,8}",
    r#"|(<(a href|img src|script src)="|">|<script>|</|style=|\{\{|asset\('|'\)|\}\}|\PC){0,12}"#
);

/// What could be read as a host, or end a field.
const ANY_ADDRESS: &str =
    r"[/\\:@.%a25fFcCe?# \r\n\t\x00]{0,10}|/{0,3}\PC{0,8}|https?:/{0,3}[a-z.@/]{0,9}";

static SENT_SITE: LazyLock<Site> =
    LazyLock::new(|| Site::load(&Source::Embedded { name: "sent", files: SENT }).unwrap());

const SENT: &[(&str, &str)] = &[(
    "site.toml",
    r#"
[[page]]
path = "/n/{rest*}"
redirect = "{{ query.v if query.v else '/' }}"
[[page]]
path = "/r/{rest*}"
redirect = "/{{ path.rest }}?x={{ query.v }}#{{ query.w }}"
[[page]]
path = "/c/{rest*}"
redirect = "https://a.example/{{ path.rest }}/{{ query.w }}"
[[page]]
path = "/j/{rest*}"
redirect = "{{ query.v }}{{ query.w }}/x"
"#,
)];

const ECHO: &[(&str, &str)] = &[
    (
        "site.toml",
        r#"
[upstreams.api]
url = "http://127.0.0.1:9000"
[[page]]
path = "/s/{p}"
template = "a.html"
fetch.a = { from = "api", path = "/items/{{ path.p }}", query = { q = "{{ path.p }}" } }
[[page]]
path = "/r/{rest*}"
template = "a.html"
fetch.a = { from = "api", path = "/files/{{ path.rest }}" }
[[page]]
path = "/h"
template = "a.html"
fetch.a = { from = "api", path = "/", headers = { x-value = "v {{ query.v }}" } }
"#,
    ),
    ("a.html", "{{ a }}"),
];
