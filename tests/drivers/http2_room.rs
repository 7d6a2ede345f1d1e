//! HTTP/2, and a client that asks for much and takes nothing: its connection holds so much and no
//! more, and it gets all of it when it takes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ringpress::driver::kind::Kind;
use ringpress::limits::{HTTP2_FILES_MAX, HTTP2_UNSENT_BYTES_MAX};

use super::frames::{DATA, Frames, HEADERS, PING, SETTINGS, frame, request, reset};
use super::http2::script;
use super::stage::{Stage, wait};
use super::upstream::Upstream;

on_every_driver!(pages_that_nobody_takes, files_that_nobody_takes);

const INITIAL_WINDOW_SIZE: u16 = 4;
const WINDOW_UPDATE: u8 = 8;
const REQUESTS: u32 = 20;

/// A connection with no windows that has asked for so much.
fn greedy(stage: &Stage, target: &str) -> Frames {
    let mut frames = Frames::with_settings(stage.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    for n in 0..REQUESTS {
        frames.send(&request(2 * n + 1, target, &[]));
    }
    frames
}

/// Reads until so many streams are answered, as far as the head goes.
fn answered(frames: &mut Frames, count: usize) -> BTreeSet<u32> {
    let mut streams = BTreeSet::new();
    while streams.len() < count {
        let frame = frames.next().expect("more frames");
        if frame.kind == HEADERS {
            streams.insert(frame.id);
        }
    }
    streams
}

/// Whether nothing more is answered for a while.
fn is_quiet(frames: &mut Frames) -> bool {
    thread::sleep(Duration::from_millis(300));
    frames.send(&frame(PING, 0, 0, &[0; 8]));
    loop {
        match frames.next().expect("more frames").kind {
            PING => return true,
            HEADERS => return false,
            _ => {}
        }
    }
}

/// All that were asked for, but these.
fn others(given_up: [u32; 2]) -> BTreeSet<u32> {
    (0..REQUESTS).map(|n| 2 * n + 1).filter(|id| !given_up.contains(id)).collect()
}

/// Opens all windows, and reads all that is still to come.
fn take_all(frames: &mut Frames, streams: BTreeSet<u32>, length: usize) {
    let wide = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    frames.send(&frame(SETTINGS, 0, 0, &wide));
    frames.send(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    let mut left = streams.len() * length;
    while left > 0 {
        let frame = frames.next().expect("more frames");
        if frame.kind == DATA {
            assert!(streams.contains(&frame.id), "of a stream that was given up: {}", frame.id);
            left -= frame.payload.len();
        }
    }
}

fn pages_that_nobody_takes(kind: Kind) {
    const BYTES: usize = 1024 * 1024;
    let stage = script(kind).page("/large", "", "x".repeat(BYTES).leak()).plain_page();
    let stage = stage.start(Upstream::json("{}"));
    let most = HTTP2_UNSENT_BYTES_MAX / BYTES;
    let mut frames = greedy(&stage, "/large");
    let begun = answered(&mut frames, most);
    assert!(is_quiet(&mut frames));
    // One that is given up has room for another, also among those that wait.
    let given_up = [*begun.first().unwrap(), 2 * REQUESTS - 1];
    frames.send(&given_up.map(reset).concat());
    let more = answered(&mut frames, 1);
    assert!(more.is_disjoint(&begun), "{more:?} {begun:?}");
    assert!(is_quiet(&mut frames));
    // Others are served meanwhile.
    assert_eq!(stage.get("/plain").page(), "<p>plain</p>");
    take_all(&mut frames, others(given_up), BYTES);
    wait("the pages to be counted", || stage.count(|m| m.in_flight.get()) == 0);
    drop(frames);
    stage.finish();
}

/// How often a file is open here.
fn times_open(path: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").expect("descriptors");
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link == path).count()
}

fn files_that_nobody_takes(kind: Kind) {
    const BYTES: usize = 300_000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().canonicalize().expect("a path").join("large.bin");
    fs::write(&path, vec![b'x'; BYTES]).expect("a file");
    let table =
        format!("[[static]]\npath = '/files/{{file*}}'\ndir = '{}'\n", folder.path().display());
    let stage = script(kind).policy(table).plain_page().start(Upstream::json("{}"));
    fs::write(folder.path().join("small.css"), "a {}").expect("a file");
    assert_eq!(stage.get("/files/small.css").text(), "a {}");
    let mut frames = greedy(&stage, "/files/large.bin");
    let begun = answered(&mut frames, HTTP2_FILES_MAX);
    assert!(is_quiet(&mut frames));
    assert_eq!(times_open(&path), HTTP2_FILES_MAX);
    // What is no large file waits for none of them.
    for (number, target) in (REQUESTS..).zip(["/plain", "/files/small.css"]) {
        frames.send(&request(2 * number + 1, target, &[]));
        frames.find(HEADERS, 2 * number + 1);
        frames.send(&reset(2 * number + 1));
    }
    let given_up = *begun.first().unwrap();
    frames.send(&reset(given_up));
    assert!(answered(&mut frames, 1).is_disjoint(&begun));
    take_all(&mut frames, others([given_up; 2]), BYTES);
    wait("the files to be closed", || times_open(&path) == 0);
    drop(frames);
    stage.finish();
}
