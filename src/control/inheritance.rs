//! What a process takes over when it starts: the sockets that systemd has opened for it, or those
//! of the server whose successor it is.
//!
//! A predecessor is our standard input: one end of a pair of sockets, as nobody else can come by
//! it. It sends each listening socket with a line of text, and is told when we serve.

use std::env;
use std::fs::File;
use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg, sockopt,
};

use crate::limits::INHERITED_SOCKETS_MAX;

use super::sockets::{Inherited, Sockets, Speech};
use super::strays;

/// What a process has taken over.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Sockets that listen.
    pub sockets: Vec<Inherited>,
    /// Whether they are somebody else's too, who keeps them.
    pub spare: bool,
    predecessor: Option<Predecessor>,
}

/// The process whose place this one takes.
#[derive(Debug)]
pub struct Predecessor(OwnedFd);

impl Inheritance {
    /// Takes over what there is; mostly nothing. To be called once, when the process starts.
    ///
    /// # Errors
    /// In words, when sockets of systemd cannot be used.
    pub fn take() -> Result<Self, String> {
        if is_successor() {
            return Ok(Self::of_predecessor());
        }
        let mut given = listenfd::ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len().min(INHERITED_SOCKETS_MAX) {
            let socket = given.take_tcp_listener(index).map_err(|error| {
                format!(
                    "socket {index} that systemd gave us is none to listen on for TCP: {error}; \
                     see ListenStream= in the .socket unit"
                )
            })?;
            sockets.extend(socket.map(|socket| Inherited { role: None, socket }));
        }
        let spare = !sockets.is_empty();
        Ok(Self { sockets, spare, predecessor: None })
    }

    fn of_predecessor() -> Self {
        let mut taken = Self::default();
        match io::stdin().as_fd().try_clone_to_owned() {
            Ok(predecessor) => {
                // What it does not say we open ourselves: it has died, or is of another kind.
                if let Err(error) = taken.receive(&predecessor) {
                    tracing::warn!(%error, "the predecessor did not hand over all its sockets");
                }
                taken.predecessor = Some(Predecessor(predecessor));
            }
            Err(error) => tracing::warn!(%error, "there is no predecessor"),
        }
        // Its end of the pair would look open to it as long as we have two of ours.
        if let Ok(nothing) = File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(&nothing);
        }
        taken
    }

    fn receive(&mut self, predecessor: &OwnedFd) -> io::Result<()> {
        let timeout = Some(RECEIVE_TIMEOUT);
        sockopt::set_socket_timeout(predecessor, sockopt::Timeout::Recv, timeout)?;
        for _ in 0..INHERITED_SOCKETS_MAX {
            let mut text = [0; LINE_BYTES_MAX];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut text)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let bytes = recvmsg(predecessor, &mut parts, &mut control, flags)?.bytes;
            let mut rights = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    rights.extend(descriptors);
                }
            }
            let line = std::str::from_utf8(text.get(..bytes).unwrap_or_default()).unwrap_or("");
            let mut words = line.split(' ');
            match (words.next(), words.next(), rights.pop()) {
                (Some(END), spare, _) => {
                    self.spare = spare == Some(SPARE);
                    return Ok(());
                }
                (Some(speech), Some(address), Some(socket)) => {
                    let role = speech_of(speech).zip(address.parse::<SocketAddr>().ok());
                    if let Some(role) = role {
                        let socket = TcpListener::from(socket);
                        self.sockets.push(Inherited { role: Some(role), socket });
                    }
                }
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Err(io::Error::other("there is no end to its sockets"))
    }

    /// Whether this process takes the place of another one.
    pub fn is_succession(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Tells the predecessor, if there is one, that its place is taken.
    pub fn tell_served(self) -> Option<Predecessor> {
        let predecessor = self.predecessor?;
        if let Err(error) = send(&predecessor.0, SERVED, SendFlags::NOSIGNAL) {
            tracing::info!(%error, "the predecessor is gone already");
        }
        Some(predecessor)
    }
}

impl Predecessor {
    /// Whether it is gone.
    pub fn is_gone(&self) -> bool {
        let mut nothing = [0; 16];
        let received = recv(&self.0, &mut nothing[..], RecvFlags::DONTWAIT);
        !matches!(received, Ok((_, 1..)) | Err(Errno::AGAIN | Errno::INTR))
    }
}

/// Whether a predecessor has started this process.
fn is_successor() -> bool {
    env::var_os(HAND_OVER).is_some_and(|value| value == HAND_OVER_STDIN)
}

/// Lets go of what a predecessor has passed on without meaning to. To be called at the very
/// beginning of a process, before it has any socket.
pub fn close_strays() {
    if is_successor()
        && let Err(error) = strays::close_all()
    {
        tracing::warn!(%error, "what the predecessor has open may be open here, too");
    }
}

/// Sends all sockets to a successor.
///
/// # Errors
/// The kernel's.
pub(super) fn hand_over(sockets: &Sockets, spare: bool, successor: &OwnedFd) -> io::Result<()> {
    for (speech, address, socket) in sockets.iter() {
        let line = format!("{} {address}", word_of(speech));
        let rights = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&rights)) {
            return Err(io::Error::other("no room for a socket"));
        }
        let parts = [IoSlice::new(line.as_bytes())];
        sendmsg(successor, &parts, &mut control, SendFlags::NOSIGNAL)?;
    }
    let end = if spare { format!("{END} {SPARE}") } else { END.to_owned() };
    send(successor, end.as_bytes(), SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What tells a process that its standard input is its predecessor.
pub(super) const HAND_OVER: &str = "RINGPRESS_HAND_OVER";
pub(super) const HAND_OVER_STDIN: &str = "stdin";
/// What a successor says when it serves.
pub(super) const SERVED: &[u8] = b"served";
const END: &str = "end";
const SPARE: &str = "spare";
/// How long a predecessor may take for each socket.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A word, and an address with scope and port.
const LINE_BYTES_MAX: usize = 128;

fn word_of(speech: Speech) -> &'static str {
    match speech {
        Speech::Plain => "plain",
        Speech::Secure => "secure",
    }
}

fn speech_of(word: &str) -> Option<Speech> {
    [Speech::Plain, Speech::Secure].into_iter().find(|speech| word_of(*speech) == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    #[test]
    fn sockets_come_over_with_what_is_spoken_there() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let wanted = [(Speech::Plain, any), (Speech::Secure, any)];
        let sockets = Sockets::open(&wanted, 2, &mut Vec::new()).unwrap();
        let (ours, theirs) = pair();
        hand_over(&sockets, true, &ours).unwrap();
        let mut taken = Inheritance::default();
        taken.receive(&theirs).unwrap();
        assert!(taken.spare);
        assert_eq!(taken.sockets.len(), 4);
        for (came, (speech, address, sent)) in taken.sockets.iter().zip(sockets.iter()) {
            assert_eq!(came.role, Some((speech, address)));
            assert_eq!(came.socket.local_addr().unwrap(), sent.local_addr().unwrap());
        }
        taken.predecessor = Some(Predecessor(theirs));
        let predecessor = taken.tell_served().unwrap();
        assert!(!predecessor.is_gone());
        let mut told = [0; 16];
        let (_, bytes) = recv(&ours, &mut told[..], RecvFlags::empty()).unwrap();
        assert_eq!(&told[..bytes], SERVED);
        drop(ours);
        assert!(predecessor.is_gone());
    }

    #[test]
    fn what_a_predecessor_did_not_finish_is_taken_as_far_as_it_came() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let sockets = Sockets::open(&[(Speech::Plain, any)], 1, &mut Vec::new()).unwrap();
        let (ours, theirs) = pair();
        let (_, _, socket) = sockets.iter().next().unwrap();
        let rights = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
        let parts = [IoSlice::new(b"plain 127.0.0.1:0")];
        sendmsg(&ours, &parts, &mut control, SendFlags::empty()).unwrap();
        drop(ours);
        let mut taken = Inheritance::default();
        assert!(taken.receive(&theirs).is_err());
        assert_eq!(taken.sockets.len(), 1);
    }
}
