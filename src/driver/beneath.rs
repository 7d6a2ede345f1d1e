//! Files below a folder, by a name that visitors may have made up: what is opened is a regular file
//! that is in the folder for sure, whoever moves things around meanwhile.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::limits::STATIC_OPEN_TRIES_MAX;

/// What a name leads to.
#[derive(Debug)]
pub enum Opened {
    /// A regular file, open for reading.
    File(File, Stamp),
    /// A folder.
    Folder,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// How long it is, bytes.
    pub length: u64,
    /// When its content changed, in seconds since 1970; none where there is no such time.
    pub modified: Option<u64>,
    /// Which file it is, and when anything of it changed, to the nanosecond.
    pub trace: [u64; 4],
}

/// Opens `name`, whose segments are neither empty nor `.` nor `..`, below `folder`; none where
/// there is nothing that may be had. Links are followed as long as they stay within. Blocks.
///
/// # Errors
/// When the machine fails: no descriptors, a broken disk.
pub fn open(folder: &Path, name: &str) -> std::io::Result<Option<Opened>> {
    let opened =
        fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|folder| open_beneath(&folder, name));
    match opened {
        Ok(file) => look(file),
        Err(error) if is_absence(error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_beneath(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        tries += 1;
        match fs::openat2(folder, name, READ, Mode::empty(), resolve) {
            // The kernel could not be sure that it is still beneath.
            Err(Errno::AGAIN) if tries < STATIC_OPEN_TRIES_MAX => {}
            // An old kernel, or a filter of system calls that does not know it.
            Err(Errno::NOSYS | Errno::PERM) => return walk(folder, name),
            opened => return opened,
        }
    }
}

/// The same without links, one segment after the other.
fn walk(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let mut at = None;
    let mut segments = name.split('/').peekable();
    while let Some(segment) = segments.next() {
        if matches!(segment, "" | "." | "..") {
            return Err(Errno::NOENT);
        }
        let flags = match segments.peek() {
            Some(_) => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            None => READ,
        };
        let inside = at.as_ref().map_or(folder.as_fd(), |at: &OwnedFd| at.as_fd());
        at = Some(fs::openat(inside, segment, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

/// What has been opened; a pipe, a socket or a device is nothing that is served.
fn look(file: OwnedFd) -> std::io::Result<Option<Opened>> {
    let found = fs::fstat(&file)?;
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {
            let file = File::from(file);
            let stamp = Stamp::of(&file.metadata()?);
            Some(Opened::File(file, stamp))
        }
        FileType::Directory => Some(Opened::Folder),
        _ => None,
    })
}

impl Stamp {
    /// That of a file with this metadata.
    pub fn of(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let times = [found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
        let [modified_ns, changed, changed_ns] = times.map(i64::cast_unsigned);
        Self {
            length: found.len(),
            modified: u64::try_from(found.mtime()).ok(),
            trace: [found.ino(), modified_ns, changed, changed_ns],
        }
    }
}

/// Whether an error means that there is nothing of this name, or nothing that we may have.
fn is_absence(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::ACCESS
            | Errno::NAMETOOLONG
            | Errno::NXIO
            | Errno::NODEV
            | Errno::INVAL
            | Errno::AGAIN
    )
}

/// Without waiting for whoever writes into a pipe, and without becoming anybody's terminal.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(opened: std::io::Result<Option<Opened>>) -> Option<String> {
        match opened.unwrap()? {
            Opened::File(mut file, stamp) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(stamp.length, text.len() as u64);
                Some(text)
            }
            Opened::Folder => Some("a folder".to_owned()),
        }
    }

    #[test]
    fn what_is_outside_or_no_file_is_not_to_be_had_by_either_way() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir(path("sub")).unwrap();
        std::fs::write(path("sub/a.txt"), "a").unwrap();
        symlink(outside.path().join("secret"), path("out")).unwrap();
        symlink(outside.path(), path("away")).unwrap();
        symlink("sub/a.txt", path("in")).unwrap();
        symlink("loop", path("loop")).unwrap();
        fs::mknodat(fs::CWD, path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let by_walk = |name: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let folder = fs::open(root.path(), flags, Mode::empty()).unwrap();
            match walk(&folder, name) {
                Ok(file) => look(file),
                Err(error) => {
                    assert!(is_absence(error), "{name}: {error}");
                    Ok(None)
                }
            }
        };
        for name in ["sub/a.txt", "sub"] {
            let wanted = if name == "sub" { "a folder" } else { "a" };
            assert_eq!(text(open(root.path(), name)).as_deref(), Some(wanted));
            assert_eq!(text(by_walk(name)).as_deref(), Some(wanted));
        }
        assert_eq!(text(open(root.path(), "in")).as_deref(), Some("a"));
        let long = "x".repeat(300);
        for name in ["out", "away/secret", "loop", "pipe", "none", "sub/a.txt/b", &long] {
            assert_eq!(text(open(root.path(), name)), None, "{name}");
            assert_eq!(text(by_walk(name)), None, "{name}");
        }
        for name in ["../secret", "sub/../../secret", "/etc/passwd"] {
            assert_eq!(text(open(root.path(), name)), None, "{name}");
            assert_eq!(text(by_walk(name)), None, "{name}");
        }
    }
}
