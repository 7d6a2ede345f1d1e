//! Sockets that another process must not come by: one that it never asked for stays open for as
//! long as it lives, and whoever is at its other end does not see that we are gone.
//!
//! A ring of monoio's accepts without SOCK_CLOEXEC, and to mark each connection would cost a call
//! of the kernel. So all are marked at once, before a successor is started; one that was accepted
//! between that and the start is closed by the successor, before it has any socket of its own.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::close;

/// Marks all sockets of this process, so that no other process inherits them.
///
/// # Errors
/// When `/proc` does not say which there are.
pub(super) fn keep() -> io::Result<()> {
    for socket in sockets()? {
        // One that has been closed meanwhile needs none; another that has got its number is ours,
        // too.
        let _ = fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
    Ok(())
}

/// Closes all sockets but the standard streams. For the very beginning of a process that has been
/// given none: whatever is there is somebody else's.
///
/// # Errors
/// When `/proc` does not say which there are.
pub(super) fn close_all() -> io::Result<()> {
    for socket in sockets()? {
        // An error closes it too.
        let _ = close(socket);
    }
    Ok(())
}

/// The sockets that are open, without the standard streams.
fn sockets() -> io::Result<Vec<RawFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number > STANDARD_LAST) else { continue };
        // One that is gone by now is none.
        let what = fs::read_link(entry.path()).unwrap_or_default();
        if what.to_str().is_some_and(|what| what.starts_with("socket:")) {
            found.push(number);
        }
    }
    Ok(found)
}

/// Standard error.
const STANDARD_LAST: RawFd = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    #[test]
    fn sockets_are_kept_and_files_are_as_they_were() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        fcntl_setfd(&socket, FdFlags::empty()).unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        assert!(sockets().unwrap().contains(&socket.as_raw_fd()));
        keep().unwrap();
        assert_eq!(fcntl_getfd(&socket).unwrap(), FdFlags::CLOEXEC);
        // Who started us may have given it to us, for the access log.
        assert_eq!(fcntl_getfd(&file).unwrap(), FdFlags::empty());
    }
}
