//! Looks whether files of a site were saved, and has it loaded again then.
//!
//! It asks for their times instead of having the kernel tell (inotify): a few microseconds a file,
//! a few times a second, and the same on file systems that tell nothing, as those over a network
//! or into a container are. Nothing queues up, and nothing can be missed.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use crate::limits::authoring::{LOOK, LOOK_PAUSE, SETTLE, SETTLE_LOOKS_MAX};
use crate::limits::{SITE_ENTRIES_MAX, SITE_FOLDER_DEPTH_MAX};
use crate::site::is_template;

use super::stage::Stage;

/// The files of a site, by their paths from its folder, and what tells one state of each from
/// another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look(BTreeMap<String, Trace>);

/// When a file changed in any way, which file it is, and how long.
type Trace = (i64, i64, u64, u64);

impl Look {
    /// Looks at the site file `site` of a folder, and at its templates.
    pub(super) fn at(folder: &Path, site: &str) -> Self {
        let mut look = Self::default();
        let mut folders = vec![(folder.to_owned(), String::new(), 0)];
        let mut entries = 0;
        while let Some((folder, prefix, depth)) = folders.pop() {
            let Ok(listed) = std::fs::read_dir(&folder) else { continue };
            for entry in listed.flatten() {
                entries += 1;
                if entries > SITE_ENTRIES_MAX {
                    return look;
                }
                let Ok(name) = entry.file_name().into_string() else { continue };
                let Ok(kind) = entry.file_type() else { continue };
                let shown = format!("{prefix}{name}");
                if name.starts_with('.') {
                    continue;
                } else if kind.is_dir() && depth < SITE_FOLDER_DEPTH_MAX {
                    folders.push((entry.path(), format!("{shown}/"), depth + 1));
                } else if !kind.is_dir() && (shown == site || is_template(&name)) {
                    look.note(shown, &entry.path());
                }
            }
        }
        look
    }

    /// Looks at what is in a folder that is served as it is, or at one file, too.
    pub(super) fn and_at(mut self, place: &Path) -> Self {
        let mut open = vec![(place.to_owned(), 0)];
        while let Some((path, depth)) = open.pop() {
            let is_hidden = path != place
                && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden || self.0.len() > SITE_ENTRIES_MAX {
                continue;
            }
            match std::fs::read_dir(&path) {
                Ok(listed) if depth < SITE_FOLDER_DEPTH_MAX => {
                    let inside = listed.flatten().take(SITE_ENTRIES_MAX);
                    open.extend(inside.map(|entry| (entry.path(), depth + 1)));
                }
                Ok(_) => {}
                Err(_) => self.note(path.display().to_string(), &path),
            }
        }
        self
    }

    fn note(&mut self, name: String, path: &PathBuf) {
        // One that is a link to nowhere, or gone by now, is as good as none.
        if let Ok(found) = std::fs::metadata(path) {
            let trace = (found.ctime(), found.ctime_nsec(), found.ino(), found.len());
            self.0.insert(name, trace);
        }
    }

    /// The files that are not as they were.
    fn changed(&self, before: &Self) -> Vec<String> {
        let names = self.0.keys().chain(before.0.keys());
        let mut changed: Vec<String> =
            names.filter(|name| self.0.get(*name) != before.0.get(*name)).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

/// The thread that looks; it ends when this is dropped.
pub(super) struct Lookout {
    _stop: Sender<()>,
}

impl Lookout {
    /// Has `stage` load its site again when it does not look as it did in `before`.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(super) fn start(before: Look, stage: Arc<Stage>) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        std::thread::Builder::new()
            .name("lookout".into())
            .spawn(move || watch(before, &stage, &stopped))?;
        Ok(Self { _stop: stop })
    }
}

fn watch(mut before: Look, stage: &Stage, stopped: &Receiver<()>) {
    let mut pause = LOOK;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let start = Instant::now();
        let mut now = stage.look();
        pause = LOOK.max(start.elapsed() * LOOK_PAUSE);
        if now == before {
            continue;
        }
        for _ in 0..SETTLE_LOOKS_MAX {
            if stopped.recv_timeout(SETTLE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let next = stage.look();
            if next == now {
                break;
            }
            now = next;
        }
        let changed = now.changed(&before);
        before = now;
        if !changed.is_empty() {
            stage.reload(&changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_new_renamed_and_removed_files_are_seen_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("errors")).unwrap();
        for name in ["site.toml", "a.html", "errors/404.html", "notes.md", "other.toml"] {
            std::fs::write(path(name), "1").unwrap();
        }
        let look = || Look::at(folder.path(), "site.toml");
        let first = look();
        assert_eq!(first.0.keys().collect::<Vec<_>>(), ["a.html", "errors/404.html", "site.toml"]);
        std::fs::write(path("notes.md"), "2").unwrap();
        std::fs::write(path(".a.html.swp"), "2").unwrap();
        assert_eq!(look().changed(&first), [""; 0]);
        let with = || look().and_at(&path("assets")).and_at(&path("notes.md"));
        std::fs::create_dir_all(path("assets/img")).unwrap();
        let before = with();
        std::fs::write(path("assets/img/a.png"), "1").unwrap();
        std::fs::write(path("notes.md"), "333").unwrap();
        let found = with().changed(&before);
        let wanted = ["assets/img/a.png", "notes.md"].map(|name| path(name).display().to_string());
        assert_eq!(found, wanted);
        std::fs::write(path("site.toml"), "22").unwrap();
        std::fs::write(path("b.html"), "1").unwrap();
        std::fs::remove_file(path("a.html")).unwrap();
        // As editors do that put a new file in place of the old one, of the same length.
        std::fs::write(path("new"), "2").unwrap();
        std::fs::rename(path("new"), path("errors/404.html")).unwrap();
        let changed = look().changed(&first);
        assert_eq!(changed, ["a.html", "b.html", "errors/404.html", "site.toml"]);
    }
}
