//! The ready-made sites of `templates/`, in the program: the demo serves one, `new` writes them.

use crate::site::Source;

/// A ready-made site.
#[derive(Debug)]
pub(super) struct Template {
    /// Its name, and its folder's in `templates/`.
    pub(super) name: &'static str,
    /// Names and texts, as they stand there.
    pub(super) files: &'static [(&'static str, &'static str)],
}

impl Template {
    /// It as a site to serve.
    pub(super) fn source(&self) -> Source {
        Source::Embedded { name: self.name, files: self.files }
    }
}

/// A file of a ready-made site. A macro, as the name is needed when the program is built.
macro_rules! file {
    ($site:literal, $name:literal) => {
        ($name, include_str!(concat!("../../templates/", $site, "/", $name)))
    };
}

/// The smallest useful site.
pub(super) const HELLO: Template =
    Template { name: "hello", files: &[file!("hello", "site.toml"), file!("hello", "hello.html")] };

/// A reader of Hacker News.
pub(super) const NEWS: Template = Template {
    name: "news",
    files: &[
        file!("news", "site.toml"),
        file!("news", "assets/style.css"),
        file!("news", "base.html"),
        file!("news", "comment.html"),
        file!("news", "facts.html"),
        file!("news", "feed.atom"),
        file!("news", "item.html"),
        file!("news", "list.html"),
        file!("news", "parts.html"),
        file!("news", "robots.txt"),
        file!("news", "search.html"),
        file!("news", "user.html"),
        file!("news", "errors/404.html"),
        file!("news", "errors/default.html"),
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The files below a folder, by their paths from it.
    fn files_in(folder: &Path, prefix: &str, into: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => files_in(&entry.path(), &format!("{name}/"), into),
                false => assert!(into.insert(name)),
            }
        }
    }

    #[test]
    fn all_files_of_all_ready_made_sites_are_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut there = BTreeSet::new();
        files_in(&folder, "", &mut there);
        let mut here = BTreeSet::new();
        for template in [HELLO, NEWS] {
            for (name, _) in template.files {
                assert!(here.insert(format!("{}/{name}", template.name)), "{name} twice");
            }
        }
        assert_eq!(here, there, "list each file of templates/ in src/cli/templates.rs");
    }
}
