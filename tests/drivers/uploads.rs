//! Bodies that an API has no use for, and says so before it has taken them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use ringpress::driver::kind::Kind;

use super::forms::post;
use super::stage::{Script, Stage};

on_every_driver!(
    what_is_refused_before_it_is_sent_is_an_answer,
    what_is_answered_while_it_is_sent_is_sent_on,
    a_long_body_that_is_taken_leaves_a_connection_for_the_next,
);

/// More than the buffers of both ends hold.
const BODY_BYTES: usize = 12 * 1024 * 1024;

const UPLOAD: &str = "method = 'POST'\nform = { max_body = '16MiB' }\n[page.fetch]\nr = { \
    from = 'api', method = 'POST', path = '/', form = { a = '{{ form.a }}' }, accept = 413, \
    deadline = '4s' }";

/// An API that does this with each connection, once it has read a head.
fn api(serve: fn(&mut TcpStream, usize)) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut stream = connection.expect("a connection");
            thread::spawn(move || {
                while let Some(length) = head(&mut stream) {
                    serve(&mut stream, length);
                }
            });
        }
    });
    address
}

/// Reads a head, and tells how long the body is.
fn head(stream: &mut TcpStream) -> Option<usize> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    Some(length.map_or(0, |length| length.parse().expect("a number")))
}

const REFUSED: &[u8] = b"HTTP/1.1 413 X\r\nContent-Length: 9\r\n\r\n{\"big\":1}";

fn start(kind: Kind, serve: fn(&mut TcpStream, usize)) -> Stage {
    Script::on(kind)
        .policy("max_body = '16MiB'")
        .server("request_body_max = '16MiB'")
        .page("/upload", UPLOAD, "{{ r }}")
        .start_before(api(serve))
}

fn upload(stage: &Stage) -> String {
    let body = format!("a={}", "x".repeat(BODY_BYTES));
    stage.visitor().ask(post("/upload", "", &body)).page().to_owned()
}

fn what_is_refused_before_it_is_sent_is_an_answer(kind: Kind) {
    let serves: [fn(&mut TcpStream, usize); 3] = [
        |stream, _| {
            stream.write_all(REFUSED).expect("an answer");
            stream.shutdown(Shutdown::Both).expect("closed");
        },
        |stream, _| {
            stream.write_all(REFUSED).expect("an answer");
            stream.shutdown(Shutdown::Write).expect("half closed");
            thread::park();
        },
        |stream, _| {
            stream.write_all(REFUSED).expect("an answer");
            thread::park();
        },
    ];
    for serve in serves {
        let stage = start(kind, serve);
        // Not one of them is a failure of the API's, of which its breaker would open.
        for _ in 0..2 {
            assert_eq!(upload(&stage), "{&#x27;big&#x27;: 1}");
        }
        assert_eq!(stage.count(|metrics| metrics.upstream_connects.get()), 2);
        stage.finish();
    }
}

fn what_is_answered_while_it_is_sent_is_sent_on(kind: Kind) {
    let stage = start(kind, |stream, length| {
        let head = format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n\"");
        stream.write_all(head.as_bytes()).expect("a head");
        let mut part = vec![0; 256 * 1024];
        let mut left = length;
        while left > 0 {
            let count = stream.read(&mut part).expect("a part of the body");
            assert!(count > 0, "the body is cut off");
            left -= count;
            // As long as the body, with both quotes.
            let count = if left == 0 { count - 2 } else { count };
            stream.write_all(&b"y".repeat(count)).expect("a part of the answer");
        }
        stream.write_all(b"\"").expect("the end");
    });
    let page = upload(&stage);
    assert_eq!(page.len(), BODY_BYTES);
    assert_eq!(stage.count(|metrics| metrics.upstream_connects.get()), 1);
    stage.finish();
}

fn a_long_body_that_is_taken_leaves_a_connection_for_the_next(kind: Kind) {
    let stage = start(kind, |stream, length| {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("the body");
        let text = format!("{}", body.len());
        let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(head.as_bytes()).expect("an answer");
    });
    for _ in 0..2 {
        assert_eq!(upload(&stage), (BODY_BYTES + 2).to_string());
    }
    assert_eq!(stage.count(|metrics| metrics.upstream_connects.get()), 1);
    stage.finish();
}
