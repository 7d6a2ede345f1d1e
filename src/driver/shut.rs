//! The end of a listening socket.
//!
//! An accept that is still in a ring holds the descriptor, and so does whoever has been given the
//! socket: closing it would leave a socket that takes connections nobody answers.

use std::io;
use std::net::{Shutdown, TcpListener};

/// Ends a listening socket.
pub(super) struct Shut(TcpListener);

impl Shut {
    /// For this socket, by a second descriptor: the loops lend nobody theirs.
    pub(super) fn new(listener: &TcpListener) -> io::Result<Self> {
        Ok(Self(listener.try_clone()?))
    }

    /// Nobody connects from now on, and nobody accepts.
    pub(super) fn shut(&self) {
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
        let shut = Shut::new(&listener).unwrap();
        assert!(TcpStream::connect(address).is_ok());
        shut.shut();
        assert!(TcpStream::connect(address).is_err());
        drop(listener);
    }
}
