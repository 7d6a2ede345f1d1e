//! The folder of an account and a certificate. What is secret in it only its owner can read, from
//! the moment it is there; a file is there whole or not at all.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::limits::ACME_FILE_BYTES_MAX;

/// The folder, which is there and may be written to by nobody else.
#[derive(Debug)]
pub(super) struct Storage {
    folder: PathBuf,
}

/// What is wrong with the folder or a file in it: which, why, and what to do.
#[derive(Debug)]
pub(super) enum StorageError {
    /// The system does not let us.
    Io(PathBuf, io::Error),
    /// Others may do what only its owner should be able to.
    TooOpen(PathBuf, u32),
    /// It is not what we have written.
    Strange(PathBuf, &'static str),
}

impl Storage {
    /// Opens the folder, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, StorageError> {
        let fail = |error| StorageError::Io(folder.to_owned(), error);
        if !folder.is_dir() {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(fail)?;
        }
        let mode = fs::metadata(folder).map_err(fail)?.mode() & 0o7777;
        // Who may write to it may put another key in the place of ours.
        if mode & 0o022 != 0 {
            return Err(StorageError::TooOpen(folder.to_owned(), mode));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Looks whether it could be opened or made, and written to, by this process; makes nothing.
    pub(super) fn look(folder: &Path) -> Result<(), StorageError> {
        let there = folder.ancestors().find(|place| place.exists()).unwrap_or(folder);
        if there == folder {
            Self::open(folder)?;
        }
        let may = access(there, Access::WRITE_OK | Access::EXEC_OK);
        may.map_err(|error| StorageError::Io(there.to_owned(), error.into()))
    }

    /// The only one who writes here; none while another process does. It ends with the file.
    pub(super) fn lock(&self) -> Result<Option<File>, StorageError> {
        let path = self.folder.join(LOCK);
        let fail = |error| StorageError::Io(path.clone(), error);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }

    /// The path of a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file, if it is there. One that others can read is refused: its key is nobody's secret.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, StorageError> {
        let path = self.path(name);
        let fail = |error| StorageError::Io(path.clone(), error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let metadata = file.metadata().map_err(fail)?;
        let mode = metadata.mode() & 0o7777;
        if !metadata.is_file() {
            return Err(StorageError::Strange(path, "it is no file"));
        }
        if mode & 0o077 != 0 {
            return Err(StorageError::TooOpen(path, mode));
        }
        let mut bytes = Vec::new();
        file.take(ACME_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > ACME_FILE_BYTES_MAX {
            return Err(StorageError::Strange(path, "it is too large"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(StorageError::Strange(path, "it is not text")),
        }
    }

    /// Puts a file in its place: who opens it meanwhile gets the old one or the new one, whole,
    /// even if the machine stops in between.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), StorageError> {
        let fresh = self.path(&format!(".{name}.new"));
        let fail = |error| StorageError::Io(fresh.clone(), error);
        // What a process that was killed has left; nobody else writes here while we have the lock.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&fresh);
        let mut file = file.map_err(fail)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&fresh, self.path(name))) {
            let _ = fs::remove_file(&fresh);
            return Err(fail(error));
        }
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fail)
    }

    /// Removes a file that may be there.
    pub(super) fn remove_if_there(&self, name: &str) -> Result<(), StorageError> {
        match self.remove(name) {
            Err(StorageError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| StorageError::Io(path, error))
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::Io(path, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        "; the user that ringpress runs as must be able to write there: see \
                         `storage` in [server.acme]"
                    }
                    _ => "",
                };
                write!(f, "{}: {error}{remedy}", path.display())
            }
            StorageError::TooOpen(path, mode) => {
                let path = path.display();
                write!(
                    f,
                    "{path}: its mode is {mode:04o}, so others have access to a key: take it from \
                     them with `chmod go-rwx {path}`, and if they could read the key, remove the \
                     file and get another"
                )
            }
            StorageError::Strange(path, why) => {
                write!(f, "{}: {why}: move it away, and it is made anew", path.display())
            }
        }
    }
}

impl std::error::Error for StorageError {}

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const LOCK: &str = ".lock";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_written_is_the_owners_and_there_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/acme");
        let storage = Storage::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(storage.read("a.pem").unwrap(), None);
        // What a process that was killed left, open to all.
        fs::write(path.join(".a.pem.new"), "half of").unwrap();
        chmod(&path.join(".a.pem.new"), 0o666);
        storage.write("a.pem", "one").unwrap();
        assert_eq!(mode(&path.join("a.pem")), 0o600);
        let mut old = File::open(path.join("a.pem")).unwrap();
        storage.write("a.pem", "another one").unwrap();
        assert_eq!(storage.read("a.pem").unwrap().as_deref(), Some("another one"));
        // Replaced, not written over: who had it open has it still.
        let mut text = String::new();
        old.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
        let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(entries.collect::<Vec<_>>(), ["a.pem"]);
        storage.remove("a.pem").unwrap();
        assert_eq!(storage.read("a.pem").unwrap(), None);
    }

    #[test]
    fn what_others_have_access_to_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        storage.write("a.pem", "secret").unwrap();
        for open in [0o640, 0o604, 0o620, 0o660] {
            chmod(&folder.path().join("a.pem"), open);
            let error = storage.read("a.pem").unwrap_err().to_string();
            assert!(error.contains(&format!("{open:04o}")), "{error}");
            assert!(error.contains("chmod go-rwx"), "{error}");
        }
        chmod(&folder.path().join("a.pem"), 0o400);
        assert_eq!(storage.read("a.pem").unwrap().as_deref(), Some("secret"));
        for (open, is_fine) in [(0o770, false), (0o702, false), (0o755, true), (0o750, true)] {
            chmod(folder.path(), open);
            assert_eq!(Storage::open(folder.path()).is_ok(), is_fine, "{open:o}");
        }
        let error = Storage::open(Path::new("/dev/null/acme")).unwrap_err().to_string();
        assert!(error.contains("/dev/null/acme"), "{error}");
    }

    #[test]
    fn strange_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        for (bytes, word) in [
            (vec![b'x'; ACME_FILE_BYTES_MAX as usize + 1], "too large"),
            (vec![0xff, 0xfe], "not text"),
        ] {
            fs::write(folder.path().join("a.pem"), bytes).unwrap();
            chmod(&folder.path().join("a.pem"), 0o600);
            let error = storage.read("a.pem").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        fs::create_dir(folder.path().join("b.pem")).unwrap();
        assert!(storage.read("b.pem").unwrap_err().to_string().contains("no file"));
    }

    #[test]
    fn one_process_writes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(folder.path()).unwrap();
        let held = storage.lock().unwrap();
        assert!(held.is_some());
        assert!(storage.lock().unwrap().is_none());
        drop(held);
        assert!(storage.lock().unwrap().is_some());
    }
}
