//! Where a site's files come from: a folder, or the program itself.

use super::statics;
use crate::config::{Problem, Report, SourceFile};
use crate::limits::{SITE_ENTRIES_MAX, SITE_FILE_BYTES_MAX, SITE_FOLDER_DEPTH_MAX, TEMPLATES_MAX};
use crate::press::{Assets, is_template};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Where a site comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder with `site.toml` and templates, or the path of a `.toml` file beside templates.
    Folder(PathBuf),
    /// Files in the program.
    Embedded {
        /// The site's name.
        name: &'static str,
        /// Names and texts; one is `site.toml`.
        files: &'static [(&'static str, &'static str)],
    },
}

/// The files of a site, read.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) name: String,
    /// Where they are, and others that the site names; nowhere for an embedded site.
    pub(super) folder: Option<PathBuf>,
    pub(super) site: SourceFile,
    pub(super) templates: Vec<SourceFile>,
    /// All files of an embedded site.
    pub(super) embedded: &'static [(&'static str, &'static str)],
    /// What `asset()` can name, once it is known.
    pub(super) assets: OnceLock<Arc<Assets>>,
}

impl Files {
    /// Where relative paths in `site.toml` begin.
    pub(super) fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(""))
    }

    /// A number that changes with any of the files, and with the program.
    pub(super) fn version(&self) -> u64 {
        let program = xxh3_64(env!("CARGO_PKG_VERSION").as_bytes());
        std::iter::once(&self.site).chain(&self.templates).fold(program, |version, file| {
            let version = xxh3_64_with_seed(file.name.as_bytes(), version);
            xxh3_64_with_seed(file.text.as_bytes(), version)
        })
    }
}

/// Reads all files of a site.
pub(super) fn read(source: &Source) -> Result<Files, Report> {
    match source {
        Source::Folder(path) => {
            Folder::read(path).map_err(|problems| report(&path.display().to_string(), problems))
        }
        Source::Embedded { name, files } => {
            let mut named = files.iter().map(|(name, text)| SourceFile::new(*name, *text));
            let Some(site) = named.clone().find(|file| file.name == SITE_FILE) else {
                let problem = Problem::of_file(SITE_FILE, "the embedded site has no site.toml");
                return Err(report(name, vec![problem]));
            };
            let statics = statics::places(&site);
            let templates = named
                .by_ref()
                .filter(|file| is_template(&file.name) && !statics::is_among(&statics, &file.name))
                .collect();
            let (name, assets) = ((*name).to_owned(), OnceLock::new());
            Ok(Files { name, folder: None, site, templates, embedded: files, assets })
        }
    }
}

fn report(name: &str, problems: Vec<Problem>) -> Report {
    Report::new(name, SITE_FILE, problems)
}

/// The name of a site: its path as it was given, where that tells the folder; else the folder's own
/// name, as for `.` and `site.toml`.
fn shown(path: &Path, root: &Path) -> String {
    let is_file = path.extension().is_some_and(|extension| extension == "toml");
    let folder = if is_file { path.parent() } else { Some(path) };
    let own = root.file_name().filter(|_| folder.is_none_or(|folder| folder.file_name().is_none()));
    let named = match (own, path.file_name().filter(|_| is_file)) {
        (Some(own), Some(file)) => Path::new(own).join(file),
        (Some(own), None) => PathBuf::from(own),
        (None, _) => path.to_owned(),
    };
    named.display().to_string()
}

/// A folder being searched for templates.
struct Folder {
    root: PathBuf,
    /// What is served as it is, and is no template.
    statics: Vec<String>,
    templates: Vec<SourceFile>,
    entries: usize,
    problems: Vec<Problem>,
}

impl Folder {
    fn read(path: &Path) -> Result<Files, Vec<Problem>> {
        let is_file = path.extension().is_some_and(|extension| extension == "toml");
        let file = if is_file { path.to_owned() } else { path.join(SITE_FILE) };
        let file_name =
            file.file_name().map_or(SITE_FILE.into(), |name| name.to_string_lossy()).into_owned();
        let folder = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let root = folder.canonicalize().map_err(|error| {
            let message = format!("cannot open the folder {}: {error}", folder.display());
            vec![Problem::of_file("", message).hint(A_SITE)]
        })?;
        if !root.is_dir() {
            let problem = Problem::of_file("", format!("{} is no folder", folder.display()));
            return Err(vec![problem.hint(A_SITE)]);
        }
        let text = read_text(&file, &file_name).map_err(|problem| vec![problem.hint(A_SITE)])?;
        let site = SourceFile::new(file_name, text);
        let (statics, templates, problems) = (statics::places(&site), Vec::new(), Vec::new());
        let mut search = Self { root, statics, templates, entries: 0, problems };
        let root = search.root.clone();
        search.search(&root, "", 0);
        if search.templates.len() > TEMPLATES_MAX {
            let message = format!("the site has more than {TEMPLATES_MAX} templates");
            search.problems.push(Problem::of_file("", message));
        }
        if !search.problems.is_empty() {
            return Err(search.problems);
        }
        search.templates.sort_by(|a, b| a.name.cmp(&b.name));
        let name = shown(path, &search.root);
        let (folder, templates) = (Some(search.root), search.templates);
        Ok(Files { name, folder, site, templates, embedded: &[], assets: OnceLock::new() })
    }

    fn search(&mut self, folder: &Path, prefix: &str, depth: usize) {
        if depth > SITE_FOLDER_DEPTH_MAX {
            let message = format!("folders more than {SITE_FOLDER_DEPTH_MAX} deep");
            self.problems.push(Problem::of_file(prefix, message));
            return;
        }
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.problems.push(Problem::of_file(prefix, format!("cannot list it: {error}")));
                return;
            }
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            self.entries += 1;
            if self.entries > SITE_ENTRIES_MAX || self.templates.len() > TEMPLATES_MAX {
                if self.entries == SITE_ENTRIES_MAX + 1 {
                    let message = format!("the folder has more than {SITE_ENTRIES_MAX} entries");
                    self.problems.push(Problem::of_file("", message));
                }
                return;
            }
            self.look_at(&path, prefix, depth);
        }
    }

    fn look_at(&mut self, path: &Path, prefix: &str, depth: usize) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
        if name.starts_with('.') {
            return;
        }
        let shown = format!("{prefix}{name}");
        if statics::is_among(&self.statics, &shown) {
            return;
        }
        // A link may point anywhere; what it points to must be in the folder.
        let Ok(real) = path.canonicalize() else {
            if is_template(name) {
                self.problems.push(Problem::of_file(shown, "this link points nowhere"));
            }
            return;
        };
        if real.is_dir() {
            // A linked folder could be a circle; what it holds is found where it is.
            if !path.is_symlink() {
                self.search(path, &format!("{shown}/"), depth + 1);
            }
        } else if is_template(name) {
            if !real.starts_with(&self.root) {
                let message = "this template is a link to outside of the site's folder";
                self.problems.push(Problem::of_file(shown, message));
                return;
            }
            match read_text(&real, &shown) {
                Ok(text) => self.templates.push(SourceFile::new(shown, text)),
                Err(problem) => self.problems.push(problem),
            }
        }
    }
}

/// Reads a file that must be text and not too long.
fn read_text(path: &Path, shown: &str) -> Result<String, Problem> {
    let wrong = |message: String| Problem::of_file(shown, message);
    let is_file = path.metadata().map(|metadata| metadata.is_file());
    match is_file {
        Ok(true) => {}
        Ok(false) => return Err(wrong("this is not a file".to_owned())),
        Err(error) => return Err(wrong(format!("cannot read it: {error}"))),
    }
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(SITE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(wrong(format!("cannot read it: {error}")));
    }
    if bytes.len() as u64 > SITE_FILE_BYTES_MAX {
        return Err(wrong(format!("this file is over {SITE_FILE_BYTES_MAX} bytes")));
    }
    // A byte order mark is no part of the text.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    String::from_utf8(text.to_vec()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        wrong(format!("this file is not UTF-8: byte {at} is no part of a character"))
    })
}

pub(super) const SITE_FILE: &str = "site.toml";
const A_SITE: &str = "a site is a folder with a site.toml in it and its templates, or the path of \
                      such a file, which ends with .toml";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn messages(result: Result<Files, Report>) -> Vec<String> {
        result.unwrap_err().problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn templates_of_subfolders_have_their_path_as_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("site.toml"), "").unwrap();
        fs::create_dir(folder.path().join("errors")).unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join("errors/404.html"), "\u{feff}x").unwrap();
        fs::write(folder.path().join("front.html"), "y").unwrap();
        fs::write(folder.path().join(".git/z.html"), "{{").unwrap();
        fs::write(folder.path().join("photo.png"), [0xff]).unwrap();
        let files = read(&Source::Folder(folder.path().to_owned())).unwrap();
        let names: Vec<_> = files.templates.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["errors/404.html", "front.html"]);
        assert_eq!(files.templates[0].text, "x");
        let by_file = read(&Source::Folder(folder.path().join("site.toml"))).unwrap();
        assert_eq!(by_file.templates.len(), 2);
    }

    #[test]
    fn a_site_is_called_by_its_folder() {
        let root = Path::new("/srv/news");
        let shown = |path: &str| shown(Path::new(path), root);
        let names =
            [".", "./", "..", "site.toml", "./site.toml", "news", "a/news/site.toml", "/srv/news"];
        let wanted = [
            "news",
            "news",
            "news",
            "news/site.toml",
            "news/site.toml",
            "news",
            "a/news/site.toml",
            "/srv/news",
        ];
        assert_eq!(names.map(shown), wanted);
        assert_eq!(super::shown(Path::new("."), Path::new("/")), ".");
    }

    #[test]
    fn links_do_not_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.txt"), "secret").unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("site.toml"), "").unwrap();
        let link = folder.path().join("a.txt");
        std::os::unix::fs::symlink(outside.path().join("secret.txt"), link).unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("circle")).unwrap();
        let found = messages(read(&Source::Folder(folder.path().to_owned())));
        assert_eq!(found, ["this template is a link to outside of the site's folder"]);
    }

    #[test]
    fn what_is_no_site_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = messages(read(&Source::Folder(folder.path().join("none"))));
        assert!(missing[0].starts_with("cannot open the folder"), "{missing:?}");
        let empty = messages(read(&Source::Folder(folder.path().to_owned())));
        assert!(empty[0].starts_with("cannot read it"), "{empty:?}");
        let file = folder.path().join("no-site.txt");
        fs::write(&file, "").unwrap();
        let no_folder = messages(read(&Source::Folder(file)));
        assert!(no_folder[0].ends_with("no-site.txt is no folder"), "{no_folder:?}");
        fs::write(folder.path().join("site.toml"), "").unwrap();
        fs::write(folder.path().join("bad.html"), b"ab\xff").unwrap();
        let bad = messages(read(&Source::Folder(folder.path().to_owned())));
        assert_eq!(bad, ["this file is not UTF-8: byte 2 is no part of a character"]);
    }
}
