//! Every request of tests/conformance/requests.txt on a connection of its own, whole and byte by
//! byte: the answers, what becomes of the connection, and that nothing is smuggled through.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringpress::driver::kind::Kind;

use super::corpus::{Case, Ending, Expected, Step, cases};
use super::stage::Script;
use super::upstream::Upstream;
use super::visitor::{PATIENCE, Reply, Visitor, get, is_timeout};

on_every_driver!(whole, byte_by_byte);

fn whole(kind: Kind) {
    every_case(kind, Cut::Whole);
}

fn byte_by_byte(kind: Kind) {
    every_case(kind, Cut::Bytes);
}

/// How a request is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Whole,
    /// One write for each.
    Bytes,
}

fn every_case(kind: Kind, cut: Cut) {
    // The longest head byte by byte, on a machine that has much else to do.
    let stage = Script::on(kind)
        .bounds(|bounds| bounds.head_timeout = PATIENCE)
        .server("memo_max = '1MiB'")
        .user_page()
        .plain_page()
        .start(Upstream::json(r#"{"name": "Ada"}"#));
    let (mut failures, mut smuggled) = (Vec::new(), 0);
    for case in cases() {
        let mut came = Vec::new();
        let play = AssertUnwindSafe(|| play(&mut stage.visitor(), &case, cut, &mut came));
        if let Err(panic) = catch_unwind(play) {
            let text = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            came.push(format!("({text})"));
        }
        let calls = stage.upstream().calls();
        let through = calls.iter().filter(|call| call.contains("smuggled")).count();
        if through > smuggled {
            came.push("and a smuggled request".to_owned());
            smuggled = through;
        }
        let (came, expected) = (came.join(" "), case.expected());
        if came != expected {
            let Case { name, line, section, .. } = case;
            let place = format!("requests.txt:{line}: {name} (RFC {section})");
            failures.push(format!("{place}\n  expected {expected}\n  came     {came}"));
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    stage.finish();
}

/// Plays a case and notes what came in the words it is written in.
fn play(visitor: &mut Visitor, case: &Case, cut: Cut, came: &mut Vec<String>) {
    let mut says_close = false;
    for (number, step) in case.steps.iter().enumerate() {
        send(visitor, &bytes_of(case, number), cut);
        if step.ends {
            visitor.finish_sending();
        }
        for expected in &step.answers {
            let Some(reply) = answer(visitor, expected, cut) else {
                came.push("(no answer)".to_owned());
                return;
            };
            says_close = reply.field("Connection") == Some("close");
            came.push(text_of(&reply, expected.no_body));
        }
    }
    came.push(match (case.ending, says_close) {
        (Ending::Keep, false) => then_another(visitor),
        (Ending::Keep, true) => "close".to_owned(),
        (_, says_close) => then_nothing(visitor, says_close),
    });
}

/// What is sent in a step. Behind what ends the connection stands a request that must never be
/// read as one.
fn bytes_of(case: &Case, number: usize) -> Vec<u8> {
    let Step { bytes, ends, .. } = &case.steps[number];
    let mut bytes = bytes.clone();
    if case.ending == Ending::Close && number + 1 == case.steps.len() && !ends {
        bytes.extend_from_slice(get("/users/smuggled").as_bytes());
    }
    bytes
}

/// Sends bytes. The server may have answered and gone before it has all of them; what it answered
/// tells.
fn send(visitor: &Visitor, bytes: &[u8], cut: Cut) {
    let mut stream = visitor.stream();
    let size = if cut == Cut::Bytes { 1 } else { bytes.len().max(1) };
    let _ = bytes.chunks(size).try_for_each(|piece| stream.write_all(piece));
}

/// The next answer, if one comes. A server asks for a body that is on its way (RFC 9110 section
/// 10.1.1), and whether it is depends on the cut.
fn answer(visitor: &mut Visitor, expected: &Expected, cut: Cut) -> Option<Reply> {
    let reply = visitor.try_reply(expected.no_body).ok()?;
    if reply.status == 100 && expected.status != 100 && cut == Cut::Bytes {
        return visitor.try_reply(expected.no_body).ok();
    }
    Some(reply)
}

fn text_of(reply: &Reply, no_body: bool) -> String {
    if reply.status >= 400 && !no_body {
        reply.is_error(reply.status);
    }
    let mut text = reply.status.to_string();
    if let Some(methods) = reply.field("Allow") {
        assert_eq!(methods, "GET, HEAD, OPTIONS");
        text += ",allow";
    }
    if no_body {
        text += ",no-body";
    }
    text
}

/// What becomes of a connection that should serve another request.
fn then_another(visitor: &mut Visitor) -> String {
    send(visitor, get("/plain").as_bytes(), Cut::Whole);
    match visitor.try_reply(false) {
        Ok(reply) if reply.status == 200 => "keep".to_owned(),
        Ok(reply) => format!("(then {})", reply.status),
        Err(error) => format!("(then {error})"),
    }
}

/// What becomes of a connection that should end with no byte more.
fn then_nothing(visitor: &mut Visitor, says_close: bool) -> String {
    let mut text = if says_close { "close" } else { "end" }.to_owned();
    loop {
        match visitor.try_reply(false) {
            Ok(reply) => text += &format!(" (then {})", reply.status),
            Err(error) if is_timeout(&error) => return text + " (then open)",
            Err(_) if visitor.at_end() => return text,
            Err(_) => return text + " (then some bytes)",
        }
    }
}

/// Compares another server with the answers of the file, and prints where it differs. It should
/// answer every target; `RINGPRESS_CONFORMANCE_PEER=host:port` says where it is.
#[test]
#[ignore = "needs another server, named in RINGPRESS_CONFORMANCE_PEER"]
fn what_another_server_answers() {
    let peer = std::env::var("RINGPRESS_CONFORMANCE_PEER").expect("RINGPRESS_CONFORMANCE_PEER");
    let peer = &peer;
    let cases = cases();
    let mut different = 0;
    for some in cases.chunks(32) {
        let answers: Vec<String> = std::thread::scope(|scope| {
            let ask = |case| scope.spawn(move || what_it_answers(peer, case));
            let asked: Vec<_> = some.iter().map(ask).collect();
            asked.into_iter().map(|asked| asked.join().expect("its answers")).collect()
        });
        for (case, theirs) in some.iter().zip(answers) {
            let ours = case.expected().replace(",allow", "").replace(",no-body", "");
            let ours = ours.replace("end", "close");
            if ours != theirs {
                different += 1;
                println!("{:52} {:9} {ours:24} {theirs}", case.name, case.section);
            }
        }
    }
    println!("{different} of {} differ", cases.len());
}

/// The statuses that came, and whether the connection is still open two seconds later.
fn what_it_answers(peer: &str, case: &Case) -> String {
    let mut stream = TcpStream::connect(peer).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let mut received = Vec::new();
    let mut ending = "keep";
    for (number, step) in case.steps.iter().enumerate() {
        let _ = stream.write_all(&bytes_of(case, number));
        if step.ends {
            let _ = stream.shutdown(Shutdown::Write);
        }
        match stream.read_to_end(&mut received) {
            Err(error) if is_timeout(&error) => {}
            _ => ending = "close",
        }
    }
    let starts = received.windows(12).filter(|window| {
        window.starts_with(b"HTTP/1.") && window[9..].iter().all(u8::is_ascii_digit)
    });
    let mut words: Vec<_> = starts.map(|line| String::from_utf8_lossy(&line[9..])).collect();
    if words.is_empty() && !received.is_empty() {
        words.push("bytes".into());
    }
    words.push(ending.into());
    words.join(" ")
}
