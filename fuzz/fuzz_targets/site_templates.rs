//! A page and a part of it, whatever they are: the site is loaded, or refused with problems that
//! point into its files.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::site::{Site, Source};

fuzz_target!(|text: &str| {
    let (page, part) = text.split_once(BETWEEN).unwrap_or((text, ""));
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("site.toml", SITE), ("page.html", page), ("part.html", part)] {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    if let Err(report) = Site::load(&Source::Folder(folder.path().to_owned())) {
        let shown = report.to_string();
        let points = ["page.html:", "part.html:", "site.toml:"];
        assert!(points.iter().any(|file| shown.contains(file)), "{shown}");
    }
});

/// What is between the page and its part.
const BETWEEN: &str = "\n=== part.html\n";

const SITE: &str = r#"
[upstreams.api]
url = "http://127.0.0.1:1"

[[page]]
path = "/{a}"
template = "page.html"

[page.fetch]
b = { from = "api", path = "/{{ path.a }}" }
"#;
