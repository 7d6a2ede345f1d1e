//! The socket of the admin listener: of TCP, or a Unix socket with its file.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::site::AdminAddress;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    /// With its file, as it was made.
    Unix(UnixListener, PathBuf, Inode),
}

/// Which file it was, whatever has become of its name.
type Inode = (u64, u64);

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listening {
    /// Listens; gives where, with the port filled in. A Unix socket's file that nobody listens at
    /// any more is replaced.
    pub(super) fn bind(at: &AdminAddress, mode: u32) -> io::Result<(Self, AdminAddress)> {
        match at {
            AdminAddress::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let address = AdminAddress::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(listener), address))
            }
            AdminAddress::Unix(path) => {
                let socket = bind_unix(path)?;
                // Before it listens: nobody gets in meanwhile who may not.
                fs::set_permissions(path, Permissions::from_mode(mode))?;
                socket.listen(ADMIN_CONNECTIONS_MAX as i32)?;
                let inode = inode(&fs::symlink_metadata(path)?);
                let listening = Self::Unix(socket.into(), path.clone(), inode);
                Ok((listening, at.clone()))
            }
        }
    }

    pub(super) fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener, ..) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }

    /// Listens no more: whoever waits in [`Listening::accept`] gets an error.
    pub(super) fn stop(&self) {
        let _ = match self {
            Self::Tcp(listener) => SockRef::from(listener).shutdown(Shutdown::Both),
            Self::Unix(listener, path, made) => {
                // Unless somebody else listens there by now. First, as who replaces it waits for
                // the end of this one.
                if fs::symlink_metadata(path).is_ok_and(|found| inode(&found) == *made) {
                    let _ = fs::remove_file(path);
                }
                SockRef::from(listener).shutdown(Shutdown::Both)
            }
        };
    }
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    Ok(socket)
}

/// Whether a file is a socket that nobody listens at.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let answer = UnixStream::connect(path);
    is_socket && answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn inode(file: &Metadata) -> Inode {
    (file.dev(), file.ino())
}

/// What to do when it cannot be listened there.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there, or the file is none of a socket: stop it, or choose \
             another with --admin"
        }
        io::ErrorKind::PermissionDenied => {
            "the folder of the socket must be one that this process may write to \
             (RuntimeDirectory= in the systemd unit), and ports below 1024 need \
             CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::NotFound => "make the folder of the socket first (RuntimeDirectory=)",
        _ => "choose another with --admin",
    }
}

impl Stream {
    /// What waits takes no longer than this, each time.
    pub(super) fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        // Zero would be for ever.
        let (read, write) = (read.max(LEAST), write.max(LEAST));
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
        }
    }

    /// The same connection once more.
    pub(super) fn again(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    /// Ends it, for whoever waits at it, too.
    pub(super) fn end(&self) {
        // An error means that it has ended already.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Sends no more.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Small answers go out at once.
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }
}

const LEAST: Duration = Duration::from_millis(1);

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
