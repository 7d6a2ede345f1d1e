//! Static files, compiled: where they are on the site, and where they come from.

use super::assets;
use super::route::{Pattern, Router};
use super::source::Files;
use crate::config::{At, PageTable, Problem, SourceFile, StaticKind, StaticTable, suggestion};
use crate::driver::beneath::{self, Stamp};
use crate::press::Assets;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One `[[static]]`.
#[derive(Debug)]
pub struct Static {
    pattern: String,
    prefix: String,
    root: Root,
    /// The one file it serves; empty where it is a folder.
    file: String,
    cache_control: Option<String>,
}

/// Where files come from. A clone is the same place.
#[derive(Clone, Debug)]
pub enum Root {
    /// A folder.
    Disk(Arc<Path>),
    /// The program, in this folder of an embedded site; with no name for all of it.
    Embedded(&'static [(&'static str, &'static str)], Arc<str>),
}

/// What a name leads to.
#[derive(Debug)]
pub enum Opened {
    /// A file.
    File(File, Stamp),
    /// A file in the program.
    Text(&'static str),
    /// A folder.
    Folder,
}

impl Static {
    /// The pattern of its paths, as written: also its name in metrics.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What all its paths begin with, normalized; all of the path where it is one file.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where its files come from.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The name of its file there, if it is only one.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether it serves a folder.
    pub fn is_folder(&self) -> bool {
        self.file.is_empty()
    }

    /// What Cache-Control says of its files, if the site says so.
    pub fn cache_control(&self) -> Option<&str> {
        self.cache_control.as_deref()
    }

    /// The folder or file on disk, if it is there.
    pub fn place(&self) -> Option<PathBuf> {
        match &self.root {
            Root::Disk(folder) => Some(folder.join(&self.file)),
            Root::Embedded(..) => None,
        }
    }
}

impl Root {
    /// Opens a file, or says that it is a folder; none where nothing is to be had. Blocks.
    ///
    /// # Errors
    /// When the machine fails.
    pub fn open(&self, name: &str) -> io::Result<Option<Opened>> {
        match self {
            Self::Disk(folder) => Ok(beneath::open(folder, name)?.map(|opened| match opened {
                beneath::Opened::File(file, stamp) => Opened::File(file, stamp),
                beneath::Opened::Folder => Opened::Folder,
            })),
            Self::Embedded(files, folder) => {
                let path =
                    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                let inside = |other: &str| {
                    other.strip_prefix(&*path).is_some_and(|rest| rest.starts_with('/'))
                };
                let text = files.iter().find(|(other, _)| *other == path);
                Ok(match text {
                    Some((_, text)) => Some(Opened::Text(text)),
                    None if files.iter().any(|(other, _)| inside(other)) => Some(Opened::Folder),
                    None => None,
                })
            }
        }
    }
}

/// The name of a file for the rest of a path, which is normalized; none for what no file is served
/// as, a name with a dot before it for one. The name of an index where it is a folder's.
pub fn name_of(rest: &str) -> Option<String> {
    let mut name = String::with_capacity(rest.len() + INDEX.len());
    let mut segments = rest.split('/').enumerate().peekable();
    while let Some((at, segment)) = segments.next() {
        if at > 0 {
            name.push('/');
        }
        if segment.is_empty() && segments.peek().is_none() {
            name.push_str(INDEX);
            break;
        }
        let text = crate::http::path::decode_segment(segment.as_bytes()).ok()?;
        if !is_served(&text, at == 0) {
            return None;
        }
        name.push_str(&text);
    }
    Some(name)
}

/// Whether a file or folder of this name is served.
pub(super) fn is_served(name: &str, is_first: bool) -> bool {
    let is_well_known = is_first && name == ".well-known";
    let is_plain = |c: char| !c.is_control() && c != '/' && c != '\\';
    !name.is_empty() && (!name.starts_with('.') || is_well_known) && name.chars().all(is_plain)
}

/// The folders and files that a site file serves as they are, by their names from its folder.
pub(super) fn places(site: &SourceFile) -> Vec<String> {
    // Most sites have none, and need not be read twice.
    if !site.text.contains("static") {
        return Vec::new();
    }
    let tables = crate::config::read(site).0.statics;
    let places = tables.into_iter().filter_map(|table| table.source);
    places.map(|(_, place)| tidy(&place.value)).filter(|place| !place.is_empty()).collect()
}

/// Whether a file is one of those.
pub(super) fn is_among(places: &[String], name: &str) -> bool {
    places.iter().any(|place| {
        name.strip_prefix(place.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A relative path without what means nothing in it.
pub(super) fn tidy(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !matches!(*segment, "" | "."));
    let tidied = segments.collect::<Vec<_>>().join("/");
    if path.starts_with('/') { format!("/{tidied}") } else { tidied }
}

/// All tables of a site.
pub(super) struct Statics<'a> {
    compiled: Vec<(&'a At<String>, Pattern, Static)>,
    /// Whether those are all that are meant.
    is_whole: bool,
}

impl<'a> Statics<'a> {
    /// Compiles the tables of a site.
    pub(super) fn compile(
        files: &Files,
        tables: &'a [StaticTable],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut compiled = Vec::new();
        // Of a file that could not be read, or in which a table has another name, there is none.
        let may_be_more = tables.is_empty() && !problems.is_empty();
        for table in tables {
            let (Some(path), Some((kind, place))) = (&table.path, &table.source) else { continue };
            let source = source(files, *kind, place);
            let pattern = pattern(&files.site, *kind, path);
            let (root, file, pattern) = match (source, pattern) {
                (Ok((root, file)), Ok(pattern)) => (root, file, pattern),
                (source, pattern) => {
                    problems.extend(source.err());
                    problems.extend(pattern.err());
                    continue;
                }
            };
            let (prefix, cache_control) =
                (pattern.prefix().to_owned(), table.cache_control.clone());
            let pattern_text = path.value.clone();
            let one = Static { pattern: pattern_text, prefix, root, file, cache_control };
            compiled.push((path, pattern, one));
        }
        let is_whole = compiled.len() == tables.len() && !may_be_more;
        Self { compiled, is_whole }
    }

    /// Whether each table that is written could be read, and its files be found.
    pub(super) fn are_whole(&self) -> bool {
        self.is_whole
    }

    /// What `asset()` can name, where any text of the site asks it: nothing otherwise, as files
    /// have to be read for it.
    pub(super) fn assets(&self, files: &Files, problems: &mut Vec<Problem>) -> Arc<Assets> {
        let is_asked = |file: &SourceFile| file.text.contains("asset");
        if !std::iter::once(&files.site).chain(&files.templates).any(is_asked) {
            return Arc::default();
        }
        let made = files.assets.get_or_init(|| {
            let gathered = assets::gather(self.compiled.iter().map(|(_, _, one)| one));
            gathered.map_or_else(
                |message| {
                    problems.push(Problem::of_file(&files.site.name, message));
                    Arc::default()
                },
                Arc::new,
            )
        });
        Arc::clone(made)
    }

    /// Has their paths lead to them. Their numbers begin after those of the pages.
    pub(super) fn route(
        &self,
        file: &SourceFile,
        pages: &[PageTable],
        router: &mut Router,
        problems: &mut Vec<Problem>,
    ) {
        for (number, (path, pattern, _)) in self.numbered(pages) {
            let Err(other) = router.insert(pattern, number) else { continue };
            let page = |other: usize| pages.get(other).map(|page| ("page", page.path.as_ref()));
            let one = |other: usize| {
                let (path, ..) = self.compiled.get(other.checked_sub(pages.len())?)?;
                Some(("[[static]]", Some(*path)))
            };
            let message = match other.and_then(|other| page(other).or_else(|| one(other))) {
                Some((what, Some(other))) => {
                    let (line, _) = file.place(other.span.start);
                    let (name, other) = (&file.name, &other.value);
                    format!("the {what} `{other}` ({name}:{line}) has these paths already")
                }
                _ => "others have some of these paths already".to_owned(),
            };
            problems.push(file.problem(path.span.clone(), message));
        }
        // A folder's own path, which a `{rest*}` does not have: it is a page's, if one has it.
        for (number, (_, pattern, _)) in self.numbered(pages) {
            router.insert_if_free(pattern.prefix(), number);
        }
    }

    fn numbered(
        &self,
        pages: &[PageTable],
    ) -> impl Iterator<Item = (usize, &(&'a At<String>, Pattern, Static))> {
        (pages.len()..).zip(&self.compiled)
    }

    pub(super) fn into_statics(self) -> Vec<Static> {
        self.compiled.into_iter().map(|(_, _, one)| one).collect()
    }
}

fn pattern(file: &SourceFile, kind: StaticKind, path: &At<String>) -> Result<Pattern, Problem> {
    let pattern = Pattern::parse(&path.value)
        .map_err(|(message, hint)| file.problem(path.span.clone(), message).hint(hint))?;
    let (is_fine, message, hint) = match kind {
        StaticKind::Folder => (
            pattern.rest.is_some() && pattern.params.len() == 1,
            "the path of a folder must end with a parameter for the rest, and have no other",
            "write it as in \"/assets/{file*}\"",
        ),
        StaticKind::File => (
            pattern.params.is_empty(),
            "the path of one file can have no parameter",
            "write it as in \"/robots.txt\", or `dir` for a folder",
        ),
    };
    if is_fine { Ok(pattern) } else { Err(file.problem(path.span.clone(), message).hint(hint)) }
}

/// Where the files come from, and which one it is if it is only one.
fn source(files: &Files, kind: StaticKind, place: &At<String>) -> Result<(Root, String), Problem> {
    let wrong = |message: String, hint: Option<String>| {
        Err(files.site.problem(place.span.clone(), message).hint_if(hint))
    };
    let beside = || Some("it is a path from the folder of the site file".to_owned());
    let what = if kind == StaticKind::Folder { "folder" } else { "file" };
    let shown = &place.value;
    let name = tidy(shown);
    let all_of_it = "the site file itself would be served".to_owned();
    let of_its_own = Some("give what is served a folder of its own, as \"assets\"".to_owned());
    if name.is_empty() {
        return wrong(all_of_it, of_its_own);
    }
    let (parent, file) = match (kind, name.rsplit_once('/')) {
        (StaticKind::Folder, _) => (name.as_str(), ""),
        (StaticKind::File, Some((parent, file))) => (parent, file),
        (StaticKind::File, None) => ("", name.as_str()),
    };
    let Some(folder) = &files.folder else {
        let root = Root::Embedded(files.embedded, parent.into());
        let is_there = match kind {
            StaticKind::File => matches!(root.open(file), Ok(Some(Opened::Text(_)))),
            StaticKind::Folder => {
                files.embedded.iter().any(|(other, _)| is_among(std::slice::from_ref(&name), other))
            }
        };
        return match is_there {
            true => Ok((root, file.to_owned())),
            false => wrong(format!("the program has no {what} `{shown}`"), beside()),
        };
    };
    let Ok(real) = folder.join(&name).canonicalize() else {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names: Vec<String> =
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let near = suggestion(&name, names.iter().map(String::as_str));
        return wrong(format!("there is no {what} `{shown}`"), near.or_else(beside));
    };
    let is_right = if kind == StaticKind::Folder { real.is_dir() } else { real.is_file() };
    if !is_right {
        return wrong(format!("`{shown}` is no {what}"), beside());
    }
    if !Path::new(&name).is_absolute() && !real.starts_with(folder) {
        let hint = Some("write it as an absolute path, if it is meant".to_owned());
        return wrong(format!("`{shown}` is outside of the site's folder"), hint);
    }
    if folder.starts_with(&real) || real == folder.join(&files.site.name) {
        return wrong(all_of_it, of_its_own);
    }
    let parent = if parent.is_empty() && name.starts_with('/') { "/" } else { parent };
    Ok((Root::Disk(folder.join(parent).into()), file.to_owned()))
}

/// What a folder is shown as.
pub const INDEX: &str = "index.html";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_that_are_served_and_of_those_that_are_not() {
        for (rest, name) in [
            ("style.css", "style.css"),
            ("a/b.txt", "a/b.txt"),
            ("", "index.html"),
            ("docs/", "docs/index.html"),
            ("a%20b/%C3%A9.txt", "a b/\u{e9}.txt"),
            (".well-known/security.txt", ".well-known/security.txt"),
            ("..a", ""),
        ] {
            assert_eq!(name_of(rest).unwrap_or_default(), name, "{rest}");
        }
        for rest in [
            "..",
            "../x",
            "a/../b",
            "%2e%2e/x",
            "%2e%2e%2fx",
            "a%2Fb",
            "a\\b",
            "..%5Cx",
            "%00",
            "a%00.txt",
            ".git/config",
            "a/.env",
            "a/.well-known/x",
            "a//b",
            "/a",
            "%0a",
            "%ff",
            ".",
        ] {
            assert_eq!(name_of(rest), None, "{rest}");
        }
    }

    #[test]
    fn what_belongs_to_a_place() {
        let places = ["assets".to_owned(), "robots.txt".to_owned()];
        for name in ["assets/a.html", "assets", "robots.txt"] {
            assert!(is_among(&places, name), "{name}");
        }
        for name in ["assets.html", "a/robots.txt", "robots.txt.html"] {
            assert!(!is_among(&places, name), "{name}");
        }
        assert_eq!(tidy("./a//b/"), "a/b");
        assert_eq!(tidy("/a/."), "/a");
    }
}
