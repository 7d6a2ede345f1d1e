//! A site file, whatever is written: read, or refused with problems that point into it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpress::config::{self, Report, SourceFile};

fuzz_target!(|text: &str| {
    let file = SourceFile::new("site.toml", text);
    let lines = text.split('\n').count();
    let (_, problems) = config::read(&file);
    for problem in &problems {
        assert!(problem.line <= lines, "{problem:?}");
        assert!(!problem.message.is_empty());
    }
    let any = !problems.is_empty();
    let shown = Report::new("fuzz", "site.toml", problems).to_string();
    assert!(!any || shown.contains("site.toml"), "{shown}");
});
