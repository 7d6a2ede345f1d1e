//! HTTP/2, and a server that ends: nobody is cut off who has come, however far they have come.

use std::time::{Duration, Instant};

use ringpress::driver::kind::Kind;

use super::frames::{DATA, Frames, GOAWAY, NO_ERROR, PING, PREFACE, SETTINGS, frame, request};
use super::http2::script;
use super::upstream::Upstream;
use super::visitor::PATIENCE;

on_every_driver!(a_drain_before_the_preface, a_drain_before_a_preface_that_never_comes);

/// What a client sends that had its connection, and nothing of HTTP/2 yet, when the drain began.
fn a_drain_before_the_preface(kind: Kind) {
    let stage = script(kind).plain_page().start(Upstream::json("{}"));
    let mut frames = Frames::without_preface(stage.address());
    // The server takes it for HTTP/2 now, and waits for the rest.
    let (first, rest) = PREFACE.split_at(PREFACE.len() - 1);
    frames.send(first);
    assert_eq!(frames.next().expect("the server's settings").kind, SETTINGS);
    stage.server.drain();
    std::thread::sleep(Duration::from_millis(300));
    frames.send(&[rest, &frame(SETTINGS, 0, 0, &[]), &request(1, "/plain", &[])].concat());
    let (mut is_answered, mut is_told) = (false, false);
    while let Some(frame) = frames.next() {
        match frame.kind {
            DATA => is_answered = frame.payload == b"<p>plain</p>",
            GOAWAY => is_told = frame.payload[4..8] == NO_ERROR.to_be_bytes(),
            // Answered, as clients do, it tells the server that its word has come.
            PING => frames.send(&super::frames::frame(PING, 1, 0, &frame.payload)),
            _ => {}
        }
    }
    assert!(is_answered && is_told, "answered: {is_answered}, told: {is_told}");
    stage.server.join().expect("an orderly end");
}

fn a_drain_before_a_preface_that_never_comes(kind: Kind) {
    let script = script(kind).bounds(|bounds| bounds.head_timeout = PATIENCE);
    let stage = script.plain_page().start(Upstream::json("{}"));
    let mut frames = Frames::without_preface(stage.address());
    frames.send(&PREFACE[..PREFACE.len() - 1]);
    assert_eq!(frames.next().expect("the server's settings").kind, SETTINGS);
    let start = Instant::now();
    stage.server.drain();
    stage.server.join().expect("an orderly end");
    assert!(start.elapsed() < PATIENCE / 2, "it waited for who says nothing");
}
