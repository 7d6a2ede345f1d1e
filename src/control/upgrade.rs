//! The successor of a server that runs: the binary as it is now, started with the same arguments,
//! given the listening sockets, and waited for.
//!
//! Until it serves, nothing changes here; if it never does, nothing has.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use crate::limits::UPGRADE_TIMEOUT;

use super::inheritance::{HAND_OVER, HAND_OVER_STDIN, SERVED, hand_over};
use super::sockets::Sockets;
use super::strays;

/// Where the binary of this process is. Asked for when the process starts, as afterwards another
/// file may be there.
#[derive(Clone, Debug)]
pub struct Binary(PathBuf);

impl Binary {
    /// That of this process: by the path that it was started by, as a link in it may lead elsewhere
    /// when there is another release; where that path is not this binary's, by the kernel's.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn of_this_process() -> io::Result<Self> {
        let own = env::current_exe()?;
        let named = env::args_os().next().into_iter();
        let mut named = named.flat_map(|name| places(Path::new(&name), env::var_os("PATH")));
        Ok(Self(named.find(|place| is_same(place, &own)).unwrap_or(own)))
    }
}

/// Where a program of this name may be, links as they are: where it says, or in `PATH`.
fn places(name: &Path, path: Option<OsString>) -> Vec<PathBuf> {
    let is_bare = name.components().count() == 1 && name.is_relative();
    let given = match path {
        Some(path) if is_bare && !name.starts_with(".") => {
            env::split_paths(&path).map(|folder| folder.join(name)).collect()
        }
        _ => vec![name.to_owned()],
    };
    given.iter().filter_map(|place| std::path::absolute(place).ok()).collect()
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    id(one).is_some_and(|found| id(other) == Some(found))
}

/// A process that is to take our place.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    channel: OwnedFd,
    since: Instant,
}

/// How far a successor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It does not serve yet.
    Starting,
    /// It serves.
    Serves,
    /// It never will; in words, why.
    Failed(String),
}

impl Successor {
    /// Starts it.
    ///
    /// # Errors
    /// In words: there is no such binary, or no process to be had.
    pub fn start(binary: &Binary, sockets: &Sockets, spare: bool) -> Result<Self, String> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|error| error.to_string())?;
        strays::keep().map_err(|error| format!("cannot list open sockets: {error}"))?;
        let child = Command::new(&binary.0)
            .args(env::args_os().skip(1))
            .env(HAND_OVER, HAND_OVER_STDIN)
            .stdin(Stdio::from(theirs))
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", binary.0.display()))?;
        let mut successor = Self { child, channel: ours, since: Instant::now() };
        if let Err(error) = hand_over(sockets, spare, &successor.channel) {
            successor.end();
            return Err(format!("cannot hand the sockets over: {error}"));
        }
        Ok(successor)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Looks how far it is.
    pub fn progress(&mut self) -> Progress {
        let mut told = [0; 16];
        match recv(&self.channel, &mut told[..], RecvFlags::DONTWAIT) {
            Ok((_, bytes)) if told.get(..bytes) == Some(SERVED) => return Progress::Serves,
            _ => {}
        }
        match self.child.try_wait() {
            Ok(Some(status)) => Progress::Failed(format!("it ended with {}", name(status))),
            Ok(None) if self.since.elapsed() < UPGRADE_TIMEOUT => Progress::Starting,
            Ok(None) => {
                self.end();
                Progress::Failed(format!("it did not serve within {UPGRADE_TIMEOUT:?}"))
            }
            Err(error) => Progress::Failed(error.to_string()),
        }
    }

    /// Ends it.
    pub fn end(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name(status: ExitStatus) -> String {
    match status.code() {
        Some(78) => "78: its site or configuration is wrong, see its log".to_owned(),
        Some(code) => code.to_string(),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_where_its_name_says_or_in_the_path() {
        let path = || Some(OsString::from("/one:/two/bin"));
        let found = |name: &str| places(Path::new(name), path());
        assert_eq!(found("/srv/current/ringpress"), [Path::new("/srv/current/ringpress")]);
        assert_eq!(
            found("ringpress"),
            [Path::new("/one/ringpress"), "/two/bin/ringpress".as_ref()]
        );
        let here = env::current_dir().unwrap();
        assert_eq!(found("./ringpress"), [here.join("ringpress")]);
        assert_eq!(found("current/ringpress"), [here.join("current/ringpress")]);
        assert_eq!(places(Path::new("ringpress"), None), [here.join("ringpress")]);
    }

    #[test]
    fn the_same_file_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(is_same(&link, &file) && !is_same(&link, folder.path()));
        assert!(!is_same(&folder.path().join("none"), &folder.path().join("none")));
    }
}
