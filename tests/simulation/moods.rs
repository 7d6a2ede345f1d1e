//! What upstreams do by chance: answer well, in one of many ways, or badly.

use std::time::Duration;

use ringpress::driver::sim::Sim;

use super::upstream::{Asked, Step, json, json_filled, response};

/// Whether something happens that happens once in `times`.
pub(crate) fn once_in(times: u64) -> bool {
    Sim::random_below(times) == 0
}

/// A time below this many milliseconds.
pub(crate) fn up_to_ms(longest: u64) -> Duration {
    Duration::from_micros(Sim::random_below(longest * 1000))
}

/// One of the ways to answer right. A request may find its connection closed, but only where it
/// is not the first on it: such a one is sent again.
pub(crate) fn well(asked: Asked<'_>) -> Vec<Step> {
    let filler = if once_in(8) { Sim::random_below(30_000) } else { Sim::random_below(300) };
    let body = json_filled(asked.token, filler as usize);
    let mut steps = Vec::new();
    if once_in(3) {
        steps.push(Step::Wait(up_to_ms(50)));
    }
    if asked.request > 0 && once_in(12) {
        return vec![Step::Close];
    }
    for _ in 0..Sim::random_below(16).saturating_sub(13) {
        steps.push(Step::Send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec()));
    }
    match Sim::random_below(6) {
        0 => steps.extend(chunks(&body)),
        1 => {
            steps.push(Step::Send(format!("HTTP/1.1 200 OK\r\n\r\n{body}").into_bytes()));
            steps.push(Step::Close);
        }
        2 => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
            let length = body.len();
            steps.push(Step::Send(format!("{head} {length}\r\n\r\n{body}").into_bytes()));
            steps.push(Step::Close);
        }
        3 => {
            let head = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length:";
            let length = body.len();
            steps.push(Step::Send(format!("{head} {length}\r\n\r\n{body}").into_bytes()));
        }
        _ => steps.push(Step::Send(response(200, &body))),
    }
    if once_in(12) {
        // The server may be about to send the next request.
        steps.extend([Step::Wait(up_to_ms(20)), Step::Close]);
    }
    steps
}

/// A body in chunks of random size, now and then with a pause between two, and with trailers.
fn chunks(body: &str) -> Vec<Step> {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut steps = Vec::new();
    let mut bytes = head.to_vec();
    let mut rest = body.as_bytes();
    let longest = if once_in(2) { 20 } else { 3000 };
    while !rest.is_empty() {
        let size = 1 + Sim::random_below(longest.max(rest.len() as u64 / 50)) as usize;
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        bytes.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = after;
        if once_in(20) {
            steps.push(Step::Send(std::mem::take(&mut bytes)));
            steps.push(Step::Wait(up_to_ms(5)));
        }
    }
    let end: &[u8] = if once_in(2) { b"0\r\n\r\n" } else { b"0\r\nDigest: x\r\n\r\n" };
    bytes.extend_from_slice(end);
    steps.push(Step::Send(bytes));
    steps
}

/// One of the ways to answer wrong, or not at all.
pub(crate) fn badly(asked: Asked<'_>) -> Vec<Step> {
    let body = json(asked.token);
    let whole = response(200, &body);
    let send = |bytes: &[u8]| Step::Send(bytes.to_vec());
    match Sim::random_below(17) {
        0 => {
            let cut = Sim::random_below(whole.len() as u64) as usize;
            vec![send(&whole[..cut]), Step::Close]
        }
        1 => {
            let cut = Sim::random_below(whole.len() as u64) as usize;
            vec![send(&whole[..cut]), Step::Hang]
        }
        2 => vec![Step::Hang],
        3 => vec![Step::Close],
        4 => {
            let random = (0..200).map(|_| Sim::random_below(256) as u8);
            vec![Step::Send(random.collect()), Step::Close]
        }
        5 => vec![Step::Wait(up_to_ms(4000)), send(&whole)],
        // Bytes too many; nothing that could pass for the next answer, which on HTTP/1.1 nobody
        // could tell from one.
        6 => vec![Step::Send([&whole, &b"and more"[..]].concat())],
        7 => vec![Step::Send(response(404, "gone"))],
        8 => vec![Step::Send(response(500, &body)), Step::Close],
        9 => vec![Step::Send(response(200, "<html>"))],
        10 => vec![send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), Step::Hang],
        11 => vec![send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        )],
        12 => vec![send(b"HTTP/1.1 100 Continue\r\n\r\n"); 20],
        13 => {
            vec![send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), Step::Close]
        }
        14 => vec![send(&[b'x'; 100]), send(&whole)],
        15 => {
            let drip = whole.chunks(1).flat_map(|byte| {
                [Step::Send(byte.to_vec()), Step::Wait(Duration::from_millis(40))]
            });
            drip.collect()
        }
        _ => vec![send(b"HTTP/1.1 100 Continue\r\n\r\n"), Step::Close],
    }
}
