//! The URL of a fetch, whatever the template and the values: refused, or a target that means what
//! it says, in which no value is more than one segment or one value of the query.

#![no_main]

use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use ringpress::http::{Limits, path, request};
use ringpress::site::{Inputs, Site, Source};

fuzz_target!(|input: (&str, &str, &str)| {
    let (template, segment, value) = input;
    thread_local! {
        static USUAL: Vec<(&'static str, Site)> = USUAL_TEMPLATES
            .iter()
            .map(|template| (*template, load(template).expect("a site")))
            .collect();
        static RUNS: Cell<u32> = const { Cell::new(0) };
    }
    USUAL.with(|usual| {
        for (template, site) in usual {
            check(template, site, segment, value);
        }
    });
    // As written by whoever makes the site. That takes a hundred times as long, and is not for an
    // input to choose, or most would: an input by itself has it.
    let runs = RUNS.replace(RUNS.get().wrapping_add(1));
    if runs.is_multiple_of(NEW_TEMPLATE_IN)
        && template.len() <= TEMPLATE_BYTES_MAX
        && !template.contains(['\'', '\n', '\r'])
        && let Some(site) = load(template)
    {
        check(template, &site, segment, value);
    }
});

fn load(template: &str) -> Option<Site> {
    let text = format!(
        "[upstreams.api]\nurl = 'http://api.test/base'\n[[page]]\npath = '/{{id}}'\n\
         template = 'p.html'\n[page.fetch]\n\
         f = {{ from = 'api', path = '''{template}''', query = {{ q = '{{{{ query.v }}}}' }} }}\n"
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("site.toml"), text).expect("a file");
    std::fs::write(folder.path().join("p.html"), "").expect("a file");
    Site::load(&Source::Folder(folder.path().to_owned())).ok()
}

fn check(template: &str, site: &Site, segment: &str, value: &str) {
    let page = site.pages().first().expect("a page");
    let mut inputs = Inputs { query: vec![("v".to_owned(), value.to_owned())], ..Inputs::default() };
    inputs.params.push("id", segment);
    let context = page.context(inputs);
    let node = page.nodes().first().expect("a fetch");
    let (mut target, mut headers) = (Vec::new(), Vec::new());
    if page.fetch_request(node, &context, None, &mut target, &mut headers).is_err() {
        assert!(target.is_empty() && headers.is_empty());
        return;
    }
    let head = [b"GET ", target.as_slice(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let parsed = request::parse(&head, &Limits::default());
    let parsed = parsed.expect("a request head").expect("a whole one");
    let raw = parsed.path.of(&head);
    assert!(raw.starts_with(b"/base/"), "{}", String::from_utf8_lossy(raw));
    let normal = match path::normalize(raw) {
        // It stays encoded on its way to an API; of visitors we take none.
        Err(path::InvalidPath::Nul) => return,
        normal => normal.expect("a path"),
    };
    let slashes = |path: &[u8]| path.iter().filter(|&&byte| byte == b'/').count();
    assert_eq!(slashes(raw), slashes(&normal), "{}", String::from_utf8_lossy(raw));
    if template == "/a/{{ path.id }}/b" {
        assert_eq!(slashes(raw), 4, "{}", String::from_utf8_lossy(raw));
        let middle = raw.split(|&byte| byte == b'/').nth(3).expect("a segment");
        let decoded = path::decode_segment(middle).expect("UTF-8");
        assert_eq!(decoded, segment);
    }
}

const TEMPLATE_BYTES_MAX: usize = 256;

/// Of them, the first has the segment by itself.
const USUAL_TEMPLATES: [&str; 5] = [
    "/a/{{ path.id }}/b",
    "/{{ path.id }}",
    "/u-{{ path.id }}.json",
    "/{{ query.v }}/{{ path.id }}",
    "/a/{{ path.id ~ query.v }}",
];
/// In so many runs there is one with a template of its own.
const NEW_TEMPLATE_IN: u32 = 64;
