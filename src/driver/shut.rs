//! A listening socket that is done listening when it is dropped.
//!
//! An accept that is still in a ring holds the descriptor: closing it, or even the process's end,
//! would leave a socket that takes connections nobody answers, and a port that the next server
//! finds taken, until the kernel has taken the ring apart.

use std::io;
use std::net::{Shutdown, TcpListener};

/// Shuts a listening socket down when dropped.
pub(super) struct ShutOnDrop(TcpListener);

impl ShutOnDrop {
    /// For this socket, by a second descriptor: the loops lend nobody theirs.
    pub(super) fn new(listener: &TcpListener) -> io::Result<Self> {
        Ok(Self(listener.try_clone()?))
    }
}

impl Drop for ShutOnDrop {
    fn drop(&mut self) {
        // An error means that it was not listening any more.
        let _ = socket2::SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may block")]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn nobody_connects_after_it_though_the_socket_is_still_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shut = ShutOnDrop::new(&listener).unwrap();
        assert!(TcpStream::connect(address).is_ok());
        drop(shut);
        assert!(TcpStream::connect(address).is_err());
        drop(listener);
    }
}
