//! Answers of upstreams in a folder: written while a site is served, by a thread of its own, and
//! read to serve it without them.

mod file;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use crate::limits::authoring::{RECORD_FOLDERS_MAX, RECORDS_BYTES_MAX, RECORDS_END, RECORDS_MAX};
use crate::site::{Answers, Record, Recorder, StandIn, Tally};

/// The thread that writes. It ends when all that could take notes is gone.
pub struct Recordings {
    done: Receiver<Summary>,
    tally: Arc<Tally>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Answers, each in a file of its own.
    pub answers: usize,
    /// Answers that are in none, as there were too many or they could not be written.
    pub lost: u64,
}

impl Recordings {
    /// Makes the folder, and starts the thread.
    ///
    /// # Errors
    /// In words, when there can be no such folder or thread.
    pub fn start(folder: PathBuf) -> Result<(Self, StandIn), String> {
        fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let (recorder, notes, tally) = Recorder::new();
        let (tell, done) = mpsc::channel();
        let counted = Arc::clone(&tally);
        std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                let mut writer = Writer { folder, written: HashMap::new(), bytes: 0, lost: 0 };
                for record in notes {
                    writer.keep(&record);
                    counted.written(&record);
                }
                let _ = tell.send(Summary { answers: writer.written.len(), lost: writer.lost });
            })
            .map_err(|error| error.to_string())?;
        Ok((Self { done, tally }, StandIn::Recorder(recorder)))
    }

    /// Waits until all notes are written down, for a while at most. None when it took longer.
    pub fn finish(self) -> Option<Summary> {
        let summary = self.done.recv_timeout(RECORDS_END).ok()?;
        Some(Summary { lost: summary.lost + self.tally.lost(), ..summary })
    }
}

/// What has been written where.
struct Writer {
    folder: PathBuf,
    /// Files, with their lengths.
    written: HashMap<PathBuf, u64>,
    bytes: u64,
    lost: u64,
}

impl Writer {
    /// Writes an answer over the one of before to the same target.
    fn keep(&mut self, record: &Record) {
        let name = file::name_of(&record.upstream, &record.target);
        let text = file::write(record);
        let before = self.written.get(&name).copied();
        let bytes = self.bytes - before.unwrap_or_default() + text.len() as u64;
        if bytes > RECORDS_BYTES_MAX || before.is_none() && self.written.len() >= RECORDS_MAX {
            if self.lost == 0 {
                tracing::warn!(
                    "there are too many answers, or too long ones: no more are recorded"
                );
            }
            self.lost += 1;
            return;
        }
        let path = self.folder.join(&name);
        match replace(&path, &text) {
            Ok(()) => {
                self.bytes = bytes;
                self.written.insert(name, text.len() as u64);
            }
            Err(error) => {
                if self.lost == 0 {
                    tracing::error!(file = %path.display(), %error, "an answer cannot be recorded");
                }
                self.lost += 1;
            }
        }
    }
}

/// Puts a file in place, whole.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".new-{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// Reads all answers of a folder.
///
/// # Errors
/// In words, with file and line.
pub fn read(folder: &Path) -> Result<StandIn, String> {
    let shown = folder.display().to_string();
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        format!("cannot read {}: {error}", path.display())
    };
    let mut answers = Answers::new(shown.clone());
    let (mut count, mut room) = (0, RECORDS_BYTES_MAX);
    // Folders with the name of the upstream that they are of, and how deep they are in it.
    let mut folders: Vec<(PathBuf, String, usize)> = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((folder, upstream, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, &error))? {
            let path = entry.map_err(|error| failed(&folder, &error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_file = path.extension().is_some_and(|extension| extension == file::EXTENSION);
            if name.starts_with('.') {
                continue;
            } else if path.is_dir() {
                let upstream = if depth == 0 { name } else { upstream.clone() };
                if depth <= RECORD_FOLDERS_MAX {
                    folders.push((path, upstream, depth + 1));
                }
            } else if is_file && depth > 0 {
                count += 1;
                let text = read_bounded(&path, room).map_err(|error| failed(&path, &error))?;
                room -= text.len() as u64;
                if count > RECORDS_MAX {
                    return Err(format!("{shown} has more than {RECORDS_MAX} answers"));
                }
                let answer = file::read(&text)
                    .map_err(|(line, what)| format!("{}:{line}: {what}", path.display()))?;
                if !answers.insert(&upstream, &answer.target, answer.response) {
                    let target = String::from_utf8_lossy(&answer.target).into_owned();
                    let path = path.display();
                    return Err(format!("{path}: another file has an answer to {target} too"));
                }
            }
        }
    }
    if answers.is_empty() {
        return Err(format!(
            "{shown} has no answers: `ringpress record SITE --to {shown}` \
                            records them"
        ));
    }
    Ok(StandIn::Answers(Arc::new(answers)))
}

fn read_bounded(path: &Path, room: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(room + 1).read_to_end(&mut text)?;
    if text.len() as u64 > room {
        return Err(io::Error::other(format!("all answers are over {RECORDS_BYTES_MAX} bytes")));
    }
    Ok(text)
}
