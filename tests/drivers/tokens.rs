//! No answer reaches another request than its own: every request has a token, an upstream says it
//! back and misbehaves by chance, and no page shows the token of another.
//!
//! What an upstream does hangs on a seed and the token. `RINGPRESS_TOKENS_SEED=n` runs the seed
//! that a failure printed.

use std::thread;
use std::time::Duration;

use ringpress::driver::kind::Kind;

use crate::stage::Script;
use crate::upstream::{Call, Then, Upstream};
use crate::visitor::Visitor;

on_every_driver!(every_page_shows_its_own_token, surplus_that_the_last_read_has_no_room_for);

const VISITORS: usize = 16;
const REQUESTS: usize = 150;
/// Fewer than there are visitors: some wait, and have a connection the moment it is free.
const POLICY: &str = "max_connections = 8\nheader_timeout = '500ms'";
const TOO_LATE: Duration = Duration::from_millis(550);

fn every_page_shows_its_own_token(kind: Kind) {
    let seed = std::env::var("RINGPRESS_TOKENS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let upstream = Upstream::start(move |call| answer(call, seed));
    let stage = Script::on(kind)
        .policy(POLICY)
        .page(
            "/{token}",
            "[page.fetch]\nanswer = { from = 'api', path = '/{{ path.token }}' }",
            "<p>{{ answer.token }}</p>",
        )
        .start(upstream);
    let address = stage.address();
    let visit = |visitor: usize| {
        let mut connection = Visitor::to(address);
        let (mut pages, mut wrong) = (0, Vec::new());
        for request in 0..REQUESTS {
            let token = format!("v{visitor}r{request}");
            let reply = connection.get(&format!("/{token}"));
            match reply.status {
                200 if reply.text() == format!("<p>{token}</p>") => pages += 1,
                502 | 504 => {}
                status => wrong.push(format!("{token}: {status} {}", reply.text())),
            }
        }
        (pages, wrong)
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let visit = &visit;
        let visitors: Vec<_> =
            (0..VISITORS).map(|visitor| scope.spawn(move || visit(visitor))).collect();
        visitors.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut all = 0;
    for outcome in outcomes {
        let (pages, wrong) = outcome.unwrap_or_else(|_| panic!("seed {seed}: a visitor failed"));
        assert!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
        all += pages;
    }
    let requests = VISITORS * REQUESTS;
    assert!((requests / 2..requests).contains(&all), "seed {seed}: {all} of {requests} are pages");
    let connections = stage.upstream().connections();
    assert!(connections < requests, "seed {seed}: no connection has served twice");
    stage.finish();
}

fn surplus_that_the_last_read_has_no_room_for(kind: Kind) {
    // The whole answer fills the first read; or a read that makes room for just what is missing.
    for length in [4096, 10_000, 50_000] {
        for (surplus, connections) in [(FORGED, 24..=24), ("", 1..=6)] {
            let upstream = Upstream::start(move |call| {
                let answer = framed(&json(call.id(), length - json_length(call.id(), length)));
                assert_eq!(answer.len(), length);
                call.send(answer + surplus);
                Then::Keep
            });
            let stage = Script::on(kind)
                .policy("max_connections = 1")
                .page(
                    "/",
                    "[page.fetch]\n\
                     answers = { from = 'api', each = 'range(8)', path = '/{{ it }}' }",
                    "{% for answer in answers %}{{ answer.token }} {% endfor %}",
                )
                .start(upstream);
            for _ in 0..3 {
                assert_eq!(stage.get("/").page(), "0 1 2 3 4 5 6 7 ", "{length}");
            }
            let came = stage.upstream().connections();
            assert!(connections.contains(&came), "{length} {surplus:?}: {came} connections");
            stage.finish();
        }
    }
}

/// An answer to nobody.
const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"token\": \"Eve\"}";

fn json(token: &str, filler: usize) -> String {
    format!(r#"{{"token": "{token}", "filler": "{}"}}"#, "x".repeat(filler))
}

fn framed(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What an answer without filler takes, if its length has as many digits as that of a whole one.
fn json_length(token: &str, whole: usize) -> usize {
    let digits = (whole - 100).to_string().len();
    framed(&json(token, 0)).len() - json(token, 0).len().to_string().len() + digits
}

/// Chance that can be had again.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, call: &Call<'_>) -> Self {
        // What is sent again after a connection died has another lot.
        let turn = u8::from(call.turn == 1);
        let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(call.target.bytes().chain([turn]).fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pause(&mut self) {
        thread::sleep(Duration::from_micros(self.below(3000) as u64));
    }
}

/// Answers one call, well in most cases.
fn answer(call: &mut Call<'_>, seed: u64) -> Then {
    let mut dice = Dice::new(seed, call);
    if dice.below(4) == 0 {
        dice.pause();
    }
    let (mut bytes, mut end) = whole(&mut dice, call.id());
    let cut = dice.below(bytes.len());
    match dice.below(32) {
        0 => return Then::Close,
        1 => return Then::Reset,
        2 => {
            bytes.truncate(cut);
            end = Then::Close;
        }
        3 => {
            bytes.truncate(cut);
            end = Then::Reset;
        }
        // In one piece, so that it is there before the next request is.
        4 | 5 => bytes.extend_from_slice(FORGED.as_bytes()),
        6 => bytes.extend_from_slice(b"and more"),
        7 => {
            call.send(&bytes);
            dice.pause();
            // Not what could pass for an answer: it may come after the next request.
            bytes = b"and more".to_vec();
        }
        8 => bytes.insert(0, b'x'),
        9 => return call.status(500),
        10 => return call.json(r#"{"token": "#),
        11 => {
            bytes = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            end = Then::Close;
        }
        12 if dice.below(4) == 0 => thread::sleep(TOO_LATE),
        13..=16 => {
            for piece in bytes.chunks(1 + bytes.len() / (2 + dice.below(8))) {
                call.send(piece);
                dice.pause();
            }
            return end;
        }
        _ => {}
    }
    call.send(&bytes);
    end
}

/// A whole answer in one of many forms, and what it ends with.
fn whole(dice: &mut Dice, token: &str) -> (Vec<u8>, Then) {
    let filler = match dice.below(8) {
        0 => dice.below(30_000),
        // Head and body fill the first read.
        1 => 4096 - json_length(token, 4096),
        _ => dice.below(300),
    };
    let body = json(token, filler);
    match dice.below(8) {
        0 => (format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes(), Then::Close),
        1 => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
            (format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes(), Then::Close)
        }
        2 | 3 => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            let size = 1 + dice.below(body.len());
            for chunk in body.as_bytes().chunks(size) {
                bytes.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            (bytes, Then::Keep)
        }
        4 => {
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".to_owned();
            ((interim + &framed(&body)).into_bytes(), Then::Keep)
        }
        _ => (framed(&body).into_bytes(), Then::Keep),
    }
}
