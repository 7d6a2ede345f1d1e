//! One TLS session: records in, plain bytes out, and the other way round. No IO, no clock of ours.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, UnbufferedConnectionCommon, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use super::record::{RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, append, is_alert};

/// One side of a TLS session.
pub struct Session {
    side: Side,
    /// Records that have come and not been understood yet, whole or in part: of use again with
    /// what comes next. What is before `start` is done with.
    pending: Vec<u8>,
    start: usize,
    is_closed: bool,
    /// What has ended the session before its time.
    failed: Option<Error>,
}

enum Side {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What both sides agreed to speak inside (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also of a peer that does not say.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Session {
    /// The side that connects, to a server of this name.
    ///
    /// # Errors
    /// When the configuration is of no use, as one without a cipher suite is.
    pub fn client(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        let client = UnbufferedClientConnection::new(Arc::clone(config), name)?;
        Ok(Self::new(Side::Client(client)))
    }

    /// The side that is connected to.
    ///
    /// # Errors
    /// When the configuration is of no use.
    pub fn server(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        let server = UnbufferedServerConnection::new(Arc::clone(config))?;
        Ok(Self::new(Side::Server(server)))
    }

    fn new(side: Side) -> Self {
        Self { side, pending: Vec::new(), start: 0, is_closed: false, failed: None }
    }

    /// Whether bytes can not be sent yet, or may be for somebody else.
    pub fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Whether the peer has said that nothing more will come (close_notify).
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// What is spoken inside. To be asked after the handshake.
    pub fn protocol(&self) -> Protocol {
        match self.common().alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http11,
        }
    }

    /// Whether an earlier session was resumed. To be asked after the handshake.
    pub fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Takes what has come, and leaves `records` empty. Plain bytes are appended to `plain`; what
    /// must be sent before anything else, to `out`.
    ///
    /// # Errors
    /// What the peer did wrong. There may be an alert in `out` that tells it so.
    pub fn receive(
        &mut self,
        records: &mut Vec<u8>,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if self.pending.is_empty() {
            std::mem::swap(&mut self.pending, records);
        } else {
            self.pending.extend_from_slice(records);
            records.clear();
        }
        let received = self.advance(plain, out, Wish::Nothing);
        self.forget(records);
        received.map(|_| ())
    }

    /// Encrypts `plain` into `out`, behind what must be sent before it.
    ///
    /// # Errors
    /// When nothing can be sent: before the end of the handshake, after that of the session, and
    /// when its keys are used up.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self.advance(&mut Vec::new(), out, Wish::Send(plain))? {
            true => Ok(()),
            false => Err(Error::General("the session cannot send now".to_owned())),
        }
    }

    /// Writes to `out` that nothing more will come (close_notify). Without it the peer could not
    /// tell an end from a connection that was cut.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        // Without a whole handshake there is nothing to end.
        let _ = self.advance(&mut Vec::new(), out, Wish::Close);
    }

    /// Does what is pending, until there is leave to send or more must come first. Whether there
    /// was leave.
    fn advance(
        &mut self,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        wish: Wish<'_>,
    ) -> Result<bool, Error> {
        let Self { side, pending, start, is_closed, failed } = self;
        if let Some(error) = failed {
            return Err(error.clone());
        }
        let mut desk = Desk { pending, start, is_closed, plain, out };
        let outcome = match side {
            Side::Client(client) => desk.work(&mut **client, wish),
            Side::Server(server) => desk.work(&mut **server, wish),
        };
        *failed = outcome.as_ref().err().cloned();
        outcome
    }

    /// Drops what was understood, and gives its memory back by way of `spare`, which is empty.
    fn forget(&mut self, spare: &mut Vec<u8>) {
        if self.start < self.pending.len() {
            self.pending.drain(..self.start);
        } else {
            self.pending.clear();
            if spare.capacity() < self.pending.capacity() {
                std::mem::swap(&mut self.pending, spare);
            }
            self.pending = Vec::new();
        }
        self.start = 0;
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Client(client) => client,
            Side::Server(server) => server,
        }
    }
}

/// What is to be done when there is leave to send.
#[derive(Clone, Copy)]
enum Wish<'a> {
    Nothing,
    Send(&'a [u8]),
    Close,
}

/// What is at hand while records are worked on.
struct Desk<'a> {
    pending: &'a mut Vec<u8>,
    start: &'a mut usize,
    is_closed: &'a mut bool,
    plain: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl Desk<'_> {
    fn work<E: Engine>(&mut self, engine: &mut E, wish: Wish<'_>) -> Result<bool, Error> {
        loop {
            let bytes = self.pending.get_mut(*self.start..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = engine.process(bytes);
            let mut leave = None;
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    self.alert(engine)?;
                    return Err(error);
                }
            };
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(self.out, 0, |room| Ok(data.encode(room)?))?;
                }
                // It is as good as sent: `out` goes before anything else.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => *self.is_closed = true,
                ConnectionState::WriteTraffic(mut traffic) => {
                    match wish {
                        Wish::Nothing => {}
                        Wish::Send(plain) => {
                            let records = plain.len() / RECORD_BYTES_MAX + 1;
                            let room = plain.len() + records * RECORD_OVERHEAD_BYTES;
                            append(self.out, room, |room| Ok(traffic.encrypt(plain, room)?))?;
                        }
                        Wish::Close => {
                            append(self.out, RECORD_OVERHEAD_BYTES, |room| {
                                Ok(traffic.queue_close_notify(room)?)
                            })?;
                        }
                    }
                    leave = Some(true);
                }
                // More must come first, or the end has been reached. Early data is not offered.
                _ => leave = Some(false),
            }
            *self.start += discard;
            if let Some(leave) = leave {
                return Ok(leave);
            }
        }
    }

    /// Takes the alert that an error has left, if it has, and what was to be sent before it, as
    /// the hello of a server that has no protocol in common with the client: they come first,
    /// before any record is looked at again.
    fn alert<E: Engine>(&mut self, engine: &mut E) -> Result<(), Error> {
        loop {
            let bytes = self.pending.get_mut(*self.start..).unwrap_or_default();
            let Ok(ConnectionState::EncodeTlsData(mut data)) = engine.process(bytes).state else {
                return Ok(());
            };
            let start = self.out.len();
            append(self.out, 0, |room| Ok(data.encode(room)?))?;
            // It is the last. Asked for more, the engine would read on, and fail once more.
            if is_alert(self.out.get(start..).unwrap_or_default()) {
                return Ok(());
            }
        }
    }
}

/// What a client's and a server's side have in common.
trait Engine {
    type Data;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Engine for UnbufferedConnectionCommon<ClientConnectionData> {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Engine for UnbufferedConnectionCommon<ServerConnectionData> {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::client::{ClientTls, Trust};
    use crate::tls::server::{Certificate, Certificates, ServerTls};
    use proptest::prelude::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::pki_types::PrivateKeyDer;

    /// Both sides of a session, before they have spoken.
    fn pair() -> (ClientTls, ServerTls) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let certificate = Certificate::new((vec![cert.der().clone()], key), Vec::new()).unwrap();
        assert_eq!(certificate.names(), ["a.example"]);
        let server = ServerTls::new(Certificates::from_iter([certificate]), true).unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let trust = Trust::Authorities(vec![cert.der().clone()]);
        (ClientTls::new(name, &trust, None).unwrap(), server)
    }

    fn sessions((client, server): &(ClientTls, ServerTls)) -> (Session, Session) {
        let client = Session::client(&client.config, client.name.clone()).unwrap();
        (client, Session::server(&server.for_worker()).unwrap())
    }

    /// Hands records over, so many bytes at a time, until nobody has more to say; gives what came
    /// out at either side.
    fn converse(
        (client, server): (&mut Session, &mut Session),
        mut to_server: Vec<u8>,
        step: usize,
    ) -> (Vec<u8>, Vec<u8>) {
        let (mut at_client, mut at_server, mut to_client) = (Vec::new(), Vec::new(), Vec::new());
        client.receive(&mut Vec::new(), &mut at_client, &mut to_server).unwrap();
        while !to_server.is_empty() || !to_client.is_empty() {
            for piece in std::mem::take(&mut to_server).chunks(step) {
                server.receive(&mut piece.to_vec(), &mut at_server, &mut to_client).unwrap();
            }
            for piece in std::mem::take(&mut to_client).chunks(step) {
                client.receive(&mut piece.to_vec(), &mut at_client, &mut to_server).unwrap();
            }
        }
        (at_client, at_server)
    }

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut() {
        let pair = pair();
        for step in [1, 2, 7, 100, 5000, 1 << 20] {
            let (mut client, mut server) = sessions(&pair);
            converse((&mut client, &mut server), Vec::new(), step);
            assert!(!client.is_handshaking() && !server.is_handshaking(), "{step}");
            assert_eq!(client.protocol(), Protocol::Http11);
            let sent: Vec<u8> = (0..40_000).map(|n| n as u8).collect();
            let mut records = Vec::new();
            client.encrypt(&sent, &mut records).unwrap();
            client.encrypt(b"and more", &mut records).unwrap();
            client.close(&mut records);
            let (_, received) = converse((&mut client, &mut server), records, step);
            assert_eq!(received, [&sent[..], b"and more"].concat(), "{step}");
            assert!(server.is_closed() && !client.is_closed());
            assert!(server.pending.capacity() == 0, "an idle session holds no records");
        }
    }

    #[test]
    fn a_second_session_is_resumed() {
        let pair = pair();
        for resumed in [false, true] {
            let (mut client, mut server) = sessions(&pair);
            converse((&mut client, &mut server), Vec::new(), 1000);
            assert_eq!((client.is_resumed(), server.is_resumed()), (resumed, resumed));
        }
    }

    #[test]
    fn what_was_changed_on_the_way_is_refused_and_the_peer_is_told() {
        let (mut client, mut server) = sessions(&pair());
        converse((&mut client, &mut server), Vec::new(), 1000);
        let (mut records, mut plain, mut out) = (Vec::new(), Vec::new(), Vec::new());
        client.encrypt(b"pay 10", &mut records).unwrap();
        let last = records.len() - 1;
        records[last] ^= 1;
        assert!(server.receive(&mut records, &mut plain, &mut out).is_err());
        assert!(plain.is_empty() && !out.is_empty());
        let told = client.receive(&mut out, &mut plain, &mut Vec::new()).unwrap_err();
        assert!(matches!(told, Error::AlertReceived(_)), "{told}");
    }

    #[test]
    fn nothing_is_sent_before_both_sides_agree() {
        let (mut client, _) = sessions(&pair());
        assert!(client.encrypt(b"secret", &mut Vec::new()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Whatever becomes of what is sent, it is refused or it is what was sent.
        #[test]
        fn no_damage_passes_for_what_was_sent(
            step in 1..3000_usize,
            damage in proptest::collection::vec((0..6000_usize, any::<u8>(), 0..4_u8), 0..3),
        ) {
            let (mut client, mut server) = sessions(&PAIR.with(Clone::clone));
            let (mut sent_to_server, mut turns) = (0, 0);
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
            let mut ended = client.receive(&mut Vec::new(), &mut at_client, &mut to_server);
            let mut said = false;
            while ended.is_ok() && turns < 8 {
                turns += 1;
                if !client.is_handshaking() && !std::mem::replace(&mut said, true) {
                    ended = client.encrypt(b"GET / HTTP/1.1", &mut to_server);
                }
                let mut bytes = std::mem::take(&mut to_server);
                let begin = sent_to_server;
                sent_to_server += bytes.len();
                for (at, byte, how) in &damage {
                    let Some(at) = at.checked_sub(begin).filter(|at| *at < bytes.len()) else {
                        continue;
                    };
                    match how {
                        0 => bytes[at] ^= byte,
                        1 => bytes.truncate(at),
                        2 => bytes.insert(at, *byte),
                        _ => drop(bytes.remove(at)),
                    }
                }
                for piece in bytes.chunks(step) {
                    let mut piece = piece.to_vec();
                    ended = ended.and(server.receive(&mut piece, &mut at_server, &mut to_client));
                }
                let mut bytes = std::mem::take(&mut to_client);
                let told = client.receive(&mut bytes, &mut at_client, &mut to_server);
                ended = ended.and(told);
            }
            prop_assert!(b"GET / HTTP/1.1".starts_with(&at_server[..]), "{at_server:?}");
            if damage.is_empty() {
                prop_assert_eq!(&at_server[..], b"GET / HTTP/1.1");
            }
        }
    }

    thread_local! {
        static PAIR: (ClientTls, ServerTls) = pair();
    }
}
