//! Whoever does not speak TLS as it should be spoken, or speaks it where nobody does: each has a
//! clear outcome, and the others their pages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringpress::driver::kind::Kind;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use super::stage::{Script, Stage, wait};
use super::trust::{Trust, session};
use super::upstream::Upstream;
use super::visitor::{PATIENCE, Visitor, get};

on_every_driver!(
    plain_http_is_told_to_use_https,
    tls_where_there_is_none,
    versions_of_the_past,
    nothing_that_both_sides_know,
    no_protocol_that_both_sides_know,
    garbage_and_cut_handshakes,
    a_handshake_has_its_time,
    handshakes_are_bounded,
    a_flood_of_handshakes_beside_a_visitor,
    a_proxy_header_before_the_handshake,
);

fn stage(kind: Kind, trust: &Trust, set: impl FnOnce(Script) -> Script) -> Stage {
    let script = Script::on(kind).server(trust.server("", &["first"])).plain_page();
    let script = script.page("/who", "", "{{ request.client }} {{ request.scheme }}");
    set(script).start(Upstream::json("{}"))
}

fn visitor(stage: &Stage, trust: &Trust) -> Visitor {
    Visitor::to(stage.secure_address()).speaking(session(&trust.client(), "localhost"))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// All that comes until the connection ends, however it does.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&bytes[..count]),
            Err(error) => {
                assert!(!super::visitor::is_timeout(&error), "it hangs");
                return all;
            }
        }
    }
}

/// The first bytes of a client's side.
fn hello(trust: &Trust) -> Vec<u8> {
    let mut hello = Vec::new();
    let mut session = session(&trust.client(), "localhost");
    session.write_tls(&mut hello).expect("a hello");
    hello
}

/// A hello as old clients write it (RFC 5246 section 7.4.1.2): this version and these suites.
fn old_hello(version: [u8; 2], suites: &[u8]) -> Vec<u8> {
    let mut body = [&version[..], &[7; 32], &[0]].concat();
    body.extend(u16::try_from(suites.len()).expect("few").to_be_bytes());
    body.extend([suites, &[1, 0]].concat());
    // Curves and signatures, without which a modern server has nothing to choose from.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4];
    body.extend([0, u8::try_from(extensions.len()).expect("few")]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).expect("short");
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &body[..]].concat()
}

fn plain_http_is_told_to_use_https(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script);
    for request in
        [get("/plain"), "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999\r\n\r\nx".into()]
    {
        let mut visitor = Visitor::to(stage.secure_address());
        visitor.send(request);
        let reply = visitor.reply();
        reply.is_error(400);
        assert!(reply.text().contains("This port speaks HTTPS"), "{}", reply.text());
        assert_eq!(reply.field("Connection"), Some("close"));
        assert!(visitor.at_end());
    }
    wait("them to be counted", || stage.count(|m| m.tls_handshakes_failed.get()) == 2);
    assert_eq!(stage.count(|m| m.requests.get()), 0);
    stage.finish();
}

fn tls_where_there_is_none(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script);
    let mut stream = connect(stage.address());
    stream.write_all(&hello(&trust)).expect("send");
    let answer = rest(&mut stream);
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(stage.count(|m| m.requests_malformed.get()), 1);
    let mut visitor = Visitor::to(stage.address()).speaking(session(&trust.client(), "localhost"));
    let outcome = visitor.try_send(get("/plain")).and_then(|()| visitor.try_reply(false));
    assert_eq!(outcome.expect_err("no TLS there").kind(), std::io::ErrorKind::InvalidData);
    drop((stream, visitor));
    stage.finish();
}

/// A fatal alert (RFC 8446 section 6) and the end.
fn assert_alert(stage: &Stage, hello: &[u8], alert: u8) {
    let mut stream = connect(stage.secure_address());
    stream.write_all(hello).expect("send");
    let answer = rest(&mut stream);
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    assert_eq!(&answer[3..], [0, 2, 2, alert], "{answer:?}");
}

fn versions_of_the_past(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script);
    // SSL 3, TLS 1.0, TLS 1.1: protocol_version.
    for version in [[3, 0], [3, 1], [3, 2]] {
        let hello = old_hello(version, &[0xc0, 0x2b, 0xc0, 0x2f]);
        assert_alert(&stage, &hello, 70);
        // As it was before there were extensions.
        let mut bare = hello[..hello.len() - 20].to_vec();
        bare[4] -= 20;
        bare[8] -= 20;
        assert_alert(&stage, &bare, 70);
    }
    assert_eq!(visitor(&stage, &trust).get("/plain").page(), "<p>plain</p>");
    stage.finish();
}

fn nothing_that_both_sides_know(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script);
    // RC4 alone: handshake_failure.
    assert_alert(&stage, &old_hello([3, 3], &[0, 5]), 40);
    wait("it to be counted", || stage.count(|m| m.tls_handshakes_failed.get()) == 1);
    stage.finish();
}

/// The alert goes out behind the hello that was under way by then.
fn no_protocol_that_both_sides_know(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script);
    for version in [&TLS12, &TLS13] {
        let mut client = ClientConfig::clone(&trust.client_of(&[version]));
        client.alpn_protocols = vec![b"foo".to_vec()];
        let session = session(&Arc::new(client), "localhost");
        let mut visitor = Visitor::to(stage.secure_address()).speaking(session);
        let outcome = visitor.try_send(get("/plain")).and_then(|()| visitor.try_reply(false));
        let told = outcome.expect_err("no protocol in common").to_string();
        assert!(told.contains("NoApplicationProtocol"), "{told}");
    }
    wait("them to be counted", || stage.count(|m| m.tls_handshakes_failed.get()) == 2);
    stage.finish();
}

fn garbage_and_cut_handshakes(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script);
    let hello = hello(&trust);
    let mut changed = hello.clone();
    changed[60..].iter_mut().for_each(|byte| *byte ^= 0x55);
    let long = [&[22, 3, 1, 0xff, 0xff], &[0; 70_000][..]].concat();
    for bytes in [&b"SSH-2.0-x\r\n"[..], &[0; 500], &changed, &long, b"\x16\x03\x01\x00\x00"] {
        let mut stream = connect(stage.secure_address());
        // It may be closed before all of it is sent.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = rest(&mut stream);
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    for end in [0, 1, 5, hello.len() / 2, hello.len()] {
        let mut stream = connect(stage.secure_address());
        stream.write_all(&hello[..end]).expect("send");
        drop(stream);
    }
    wait("them to be counted", || stage.count(|m| m.tls_handshakes_failed.get()) == 10);
    assert_eq!(visitor(&stage, &trust).get("/plain").page(), "<p>plain</p>");
    stage.finish();
}

fn a_handshake_has_its_time(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let short = Duration::from_millis(300);
    let stage =
        stage(kind, &trust, |script| script.bounds(|bounds| bounds.tls_handshake_timeout = short));
    let hello = hello(&trust);
    let (address, silent) = (stage.secure_address(), connect(stage.secure_address()));
    let slow = thread::spawn(move || {
        let mut stream = connect(address);
        // Byte by byte, for longer than there is time.
        for byte in &hello {
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        rest(&mut stream)
    });
    assert_eq!(visitor(&stage, &trust).get("/plain").page(), "<p>plain</p>");
    assert!(slow.join().expect("a thread").is_empty());
    assert!(rest(&mut silent.try_clone().expect("a clone")).is_empty());
    assert_eq!(stage.count(|m| m.tls_handshakes_failed.get()), 2);
    stage.finish();
}

fn handshakes_are_bounded(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script.bounds(|bounds| bounds.tls_handshakes_max = 3));
    let hello = hello(&trust);
    // Silent ones take nobody's place.
    let silent: Vec<TcpStream> = (0..5).map(|_| connect(stage.secure_address())).collect();
    let begun: Vec<TcpStream> = (0..3).map(|_| connect(stage.secure_address())).collect();
    for mut stream in &begun {
        stream.write_all(&hello[..100]).expect("send");
    }
    let mut one_more = connect(stage.secure_address());
    // The three may not have been seen yet: it is one of four that is closed.
    one_more.write_all(&hello[..100]).expect("send");
    wait("one to be closed", || stage.count(|m| m.tls_handshakes_shed.get()) == 1);
    drop((begun, one_more));
    wait("the others to leave", || stage.count(|m| m.tls_handshakes_failed.get()) == 3);
    assert_eq!(visitor(&stage, &trust).get("/plain").page(), "<p>plain</p>");
    drop(silent);
    stage.finish();
}

fn a_flood_of_handshakes_beside_a_visitor(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let stage = stage(kind, &trust, |script| script);
    let mut visitor = visitor(&stage, &trust);
    assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    let hello = hello(&trust);
    // A hundred that have it compute, and then leave it alone.
    let flood: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect(stage.secure_address());
            stream.write_all(&hello).expect("send");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(visitor.get("/plain").page(), "<p>plain</p>");
    }
    for mut stream in &flood {
        assert_eq!(stream.read(&mut [0; 1]).expect("an answer"), 1);
    }
    drop((flood, visitor));
    stage.finish();
}

fn a_proxy_header_before_the_handshake(kind: Kind) {
    let trust = Trust::of(&["localhost"]);
    let networks = vec!["127.0.0.0/8".parse().expect("a network")];
    let stage = stage(kind, &trust, |s| s.bounds(|bounds| bounds.proxy_protocol = networks));
    let header = b"PROXY TCP4 192.0.2.9 127.0.0.1 4660 443\r\n";
    let mut visitor = Visitor::to(stage.secure_address());
    visitor.send(header);
    let mut visitor = visitor.speaking(session(&trust.client(), "localhost"));
    assert_eq!(visitor.get("/who").page(), "192.0.2.9 https");
    // In one piece with the hello, and cut within it.
    let hello = hello(&trust);
    for cut in [0, 10, header.len(), header.len() + 3] {
        let bytes = [&header[..], &hello].concat();
        let mut stream = connect(stage.secure_address());
        stream.write_all(&bytes[..cut]).expect("send");
        stream.write_all(&bytes[cut..]).expect("send");
        assert_eq!(stream.read(&mut [0; 1]).expect("an answer"), 1, "{cut}");
    }
    // Without it nobody is answered.
    let mut stream = connect(stage.secure_address());
    stream.write_all(&hello).expect("send");
    assert!(rest(&mut stream).is_empty());
    drop((stream, visitor));
    stage.finish();
}
