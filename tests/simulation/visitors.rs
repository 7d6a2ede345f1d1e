//! Visitors by chance: they pipeline, dawdle, leave, and send what is no request; and they hold
//! the server to what it owes them.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::driver::timers::Timers;

use super::client::{Answer, Client, get};
use super::moods::{once_in, up_to_ms};
use super::server::SERVER;

/// What goes wrong in a run, and so what visitors must put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing is lost: each request gets its page.
    Fair,
    /// Upstreams misbehave: each request gets its page or an error page.
    BadUpstreams,
    /// The network fails too: each request gets an answer or a broken connection.
    BadNetwork,
}

/// One request, and what it is owed.
struct Ask {
    bytes: String,
    to_head: bool,
    owed: Owed,
    /// Whether the server is to close after it.
    last: bool,
}

enum Owed {
    /// A page with the one token.
    One(String),
    /// A page with the token and those of three parts.
    Many(String),
    /// This status.
    Status(u16),
}

/// Visits: a few connections, one after the other, with a few requests each.
pub(crate) async fn visit(weather: Weather, number: u64, timers: Timers<Sim>, left: Rc<Cell<u64>>) {
    Sim::sleep(up_to_ms(300)).await;
    for connection in 0..1 + Sim::random_below(3) {
        let count = 1 + Sim::random_below(5);
        let mut asks: Vec<Ask> =
            (0..count).map(|request| ask(&format!("v{number}c{connection}r{request}"))).collect();
        if once_in(3) {
            asks.push(no_request());
        }
        // However slowly it types, a visitor has its answers by then, or was hung up on.
        let limit = Duration::from_secs(60);
        let connecting = timers.timeout(Duration::from_secs(3), Client::connect(SERVER)).await;
        let client = match connecting {
            Ok(Ok(client)) => client,
            _ if weather == Weather::BadNetwork => continue,
            failed => panic!("visitor {number} cannot connect: {:?}", failed.err()),
        };
        let talk = talk(client, &asks, weather);
        match timers.timeout(limit, talk).await.expect("the server lets a visitor wait") {
            Ok(()) => {}
            Err(_) if weather == Weather::BadNetwork => {}
            Err(error) => panic!("visitor {number}, connection {connection}: {error}"),
        }
    }
    left.set(left.get() - 1);
}

fn ask(token: &str) -> Ask {
    let one = || Owed::One(token.to_owned());
    let (bytes, owed) = match Sim::random_below(9) {
        0..=2 => (get(&format!("/one/{token}")), one()),
        3 | 4 => (get(&format!("/many/{token}")), Owed::Many(token.to_owned())),
        5 => (get(&format!("/nowhere/{token}")), Owed::Status(404)),
        6 => {
            let body = "5\r\nhello\r\n0\r\n\r\n";
            let head = "Host: site.test\r\nTransfer-Encoding: chunked";
            (format!("GET /one/{token}?a=b HTTP/1.1\r\n{head}\r\n\r\n{body}"), one())
        }
        7 => {
            let head = "Connection: keep-alive";
            (format!("GET /one/{token} HTTP/1.0\r\n{head}\r\n\r\n"), one())
        }
        _ => {
            let bytes = format!("HEAD /one/{token} HTTP/1.1\r\nHost: site.test\r\n\r\n");
            return Ask { bytes, to_head: true, owed: Owed::Status(200), last: false };
        }
    };
    Ask { bytes, to_head: false, owed, last: false }
}

/// What is no request, after which the server closes.
fn no_request() -> Ask {
    let (bytes, status) = match Sim::random_below(6) {
        0 => ("BLAH\r\n\r\n".to_owned(), 400),
        1 => ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        2 => ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        3 => (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)), 414),
        4 => (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(20_000)), 431),
        _ => ("POST /one/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 405),
    };
    Ask { bytes, to_head: false, owed: Owed::Status(status), last: true }
}

/// Sends and reads, in one of the ways there are.
async fn talk(mut client: Client, asks: &[Ask], weather: Weather) -> io::Result<()> {
    match Sim::random_below(5) {
        0 => {
            let all: String = asks.iter().map(|ask| ask.bytes.as_str()).collect();
            client.send(all).await?;
            let mut patience = Duration::ZERO;
            let start = Sim::elapsed();
            for ask in asks {
                patience += PAGE_TIME_MAX;
                expect(&mut client, ask, weather, start, patience).await?;
            }
        }
        1 => {
            for ask in asks {
                for byte in ask.bytes.as_bytes().chunks(1 + ask.bytes.len() / 200) {
                    client.send(byte).await?;
                    Sim::sleep(Duration::from_micros(Sim::random_below(400))).await;
                }
                expect(&mut client, ask, weather, Sim::elapsed(), PAGE_TIME_MAX).await?;
            }
        }
        2 => {
            // Leaves in the midst of it all.
            for ask in asks {
                let cut = 1 + Sim::random_below(ask.bytes.len() as u64) as usize;
                client.send(&ask.bytes[..cut]).await?;
                if cut < ask.bytes.len() || once_in(3) {
                    // Perhaps only after the server has lost patience.
                    Sim::sleep(up_to_ms(if once_in(4) { 5000 } else { 30 })).await;
                    return Ok(());
                }
                expect(&mut client, ask, weather, Sim::elapsed(), PAGE_TIME_MAX).await?;
            }
        }
        _ => {
            for (number, ask) in asks.iter().enumerate() {
                client.send(&ask.bytes).await?;
                if number + 1 == asks.len() && once_in(2) {
                    client.finish()?;
                }
                expect(&mut client, ask, weather, Sim::elapsed(), PAGE_TIME_MAX).await?;
                Sim::sleep(up_to_ms(40)).await;
            }
        }
    }
    if asks.last().is_some_and(|ask| ask.last) {
        client.ends().await?;
    }
    Ok(())
}

async fn expect(
    client: &mut Client,
    ask: &Ask,
    weather: Weather,
    since: Duration,
    patience: Duration,
) -> io::Result<()> {
    let Some(answer) = client.answer(ask.to_head).await? else {
        return Err(io::Error::other("closed instead of an answer"));
    };
    let took = Sim::elapsed() - since;
    assert!(took <= patience, "{took:?} for {:?}", ask.bytes);
    assert_eq!(answer.keep_alive, !ask.last, "{answer:?} for {:?}", ask.bytes);
    match &ask.owed {
        Owed::Status(200) if weather != Weather::Fair => assert_fails(&answer, 200),
        Owed::Status(status) => assert_eq!(answer.status, *status, "{answer:?}"),
        Owed::One(_) | Owed::Many(_) if answer.status != 200 && weather != Weather::Fair => {
            assert_fails(&answer, 0);
        }
        Owed::One(token) => {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.body.starts_with(&format!("token={token};")), "{token}: {answer:?}");
            assert!(answer.body.ends_with('.'), "{token}: {answer:?}");
        }
        Owed::Many(token) => assert_many(&answer, token, weather),
    }
    Ok(())
}

/// The answer is an error page of an upstream's making, or the one other status.
fn assert_fails(answer: &Answer, or: u16) {
    let status = answer.status;
    assert!([404, 502, 503, 504, or].contains(&status), "{answer:?}");
}

fn assert_many(answer: &Answer, token: &str, weather: Weather) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let parts = (1..=3).map(|part| format!("part={token}.{part};"));
    let expected = format!("token={token};{}", parts.collect::<String>());
    let body = &answer.body;
    let with_side = format!("{expected}side={token};");
    // The side may be missing, but never be another's.
    let fits = body.starts_with(&with_side)
        || (weather != Weather::Fair && body.starts_with(&format!("{expected}side=none;")));
    assert!(fits, "{token}: {answer:?}");
}

/// The deadline of a page of the site, and what the network and the timers may add to it.
const PAGE_TIME_MAX: Duration = Duration::from_millis(1500 + 250);
