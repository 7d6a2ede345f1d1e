//! Everything that a bad upstream can do, as `tests/conformance/responses.txt` has it: what the
//! visitor gets, and whether the connection serves again.
//!
//! Each case is asked for by a page. Then comes a good answer, and the connection it comes on
//! tells what became of the first one.

#[path = "responses.rs"]
mod responses;
#[path = "tokens.rs"]
mod tokens;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use ringpress::driver::kind::Kind;

use super::stage::{Script, Stage};
use super::upstream::{Call, Then, Upstream};
use super::visitor::{PATIENCE, Reply, Visitor, get};
use responses::{Case, End};

on_every_driver!(answers_in_one_piece, answers_in_two_pieces, answers_that_do_not_come);

/// Threads that go through the cases, each with a server of its own: most of it is waiting.
const LANES: usize = 4;
/// A pause that makes two writes two reads. If it does not, a case is only a little easier.
const PAUSE: Duration = Duration::from_millis(1);
const PATIENT: &str = "max_body = '64KiB'";
const HASTY: &str = "max_body = '64KiB'\nheader_timeout = '500ms'\ndeadline = '1s'";
/// How often a good answer is asked for again where it may be late on a busy machine.
const TRIES_MAX: usize = 100;

fn answers_in_one_piece(kind: Kind) {
    let (cases, lanes) = lanes(|case| case.status != 504, LANES);
    run(kind, PATIENT, &cases, &lanes, |_| vec![0]);
}

fn answers_in_two_pieces(kind: Kind) {
    let (cases, lanes) = lanes(|case| case.status != 504 && !case.drips, LANES);
    // Each driver cuts elsewhere.
    let shift = match kind {
        Kind::Ring => 4,
        Kind::Monoio => 1,
        Kind::Epoll => 2,
        Kind::TokioUring => 3,
    };
    run(kind, PATIENT, &cases, &lanes, |length| {
        cuts([length * shift / 8, length * (shift + 3) / 8, length.saturating_sub(1)])
    });
}

fn answers_that_do_not_come(kind: Kind) {
    let (cases, lanes) = lanes(|case| case.status == 504, LANES * 2);
    run(kind, HASTY, &cases, &lanes, |length| [vec![0], cuts([length / 2])].concat());
}

/// All cases, and the places of those that fit, dealt out to so many lanes at most.
fn lanes(fits: impl Fn(&Case) -> bool, most: usize) -> (Arc<[Case]>, Vec<Vec<usize>>) {
    let cases: Arc<[Case]> = responses::all().into();
    let chosen: Vec<usize> = (0..cases.len()).filter(|at| fits(&cases[*at])).collect();
    let count = most.min(chosen.len());
    let lane = |lane| chosen.iter().skip(lane).step_by(count).copied().collect();
    (cases, (0..count).map(lane).collect())
}

/// These cuts without those that cut nothing off, and each but once.
fn cuts<const N: usize>(places: [usize; N]) -> Vec<usize> {
    let mut cuts: Vec<usize> = places.into_iter().filter(|cut| *cut > 0).collect();
    cuts.dedup();
    cuts
}

/// Runs cases, and fails with all that went wrong.
fn run(
    kind: Kind,
    policy: &'static str,
    cases: &Arc<[Case]>,
    lanes: &[Vec<usize>],
    cuts: impl Fn(usize) -> Vec<usize> + Sync,
) {
    let run_lane = |lane: &[usize]| {
        let mut rig = Rig::start(kind, policy, cases);
        let mut failures = Vec::new();
        for &at in lane {
            let case = &cases[at];
            for cut in cuts(case.bytes("0000").len()) {
                let came = rig.outcome_of(at, cut);
                let expected = expected(case, &rig.token());
                if came.as_ref() != Ok(&expected) {
                    let came = came.unwrap_or_else(|failure| failure);
                    let (line, name) = (case.line, case.name);
                    failures.push(format!(
                        "responses.txt:{line}: {name}, cut at {cut}: not {expected:?} but {came:?}"
                    ));
                }
            }
        }
        rig.finish();
        failures
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let run_lane = &run_lane;
        let threads: Vec<_> =
            lanes.iter().map(|lane| scope.spawn(move || run_lane(lane))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a lane")).collect()
    });
    assert!(failures.is_empty(), "{} on {kind}:\n{}", failures.len(), failures.join("\n"));
}

fn expected(case: &Case, token: &str) -> String {
    outcome(case.status, &format!("<p>{}</p>", case.shows.unwrap_or(token)), case.pooled)
}

/// A status, what a page shows, and the fate of the connection, in words.
fn outcome(status: u16, page: &str, pooled: bool) -> String {
    let fate = if pooled { "pooled" } else { "gone" };
    if status == 200 { format!("200 {page} {fate}") } else { format!("{status} {fate}") }
}

/// A server before the upstream of all cases, and a visitor.
struct Rig {
    stage: Stage,
    visitor: Visitor,
    sent: Receiver<Sent>,
    /// What was sent since the case began.
    seen: Vec<Sent>,
    tokens: usize,
}

/// That an answer was sent: to which token, and on which connection.
struct Sent {
    token: String,
    connection: usize,
}

impl Rig {
    fn start(kind: Kind, policy: &'static str, cases: &Arc<[Case]>) -> Self {
        let (tell, sent) = channel();
        let cases = Arc::clone(cases);
        let upstream = Upstream::start(move |call| answer(call, &cases, &tell));
        let stage = Script::on(kind)
            .policy(policy)
            .page(
                "/{case}/{cut}/{token}",
                "[page.fetch]\nuser = { from = 'api', \
                 path = '/{{ path.case }}/{{ path.cut }}/{{ path.token }}' }",
                "<p>{{ 'nobody' if user is none else user.name }}</p>",
            )
            .start(upstream);
        let visitor = stage.visitor();
        Self { stage, visitor, sent, seen: Vec::new(), tokens: 0 }
    }

    /// The token of the exchange at hand.
    fn token(&self) -> String {
        format!("{:04}", self.tokens)
    }

    /// What becomes of a case, or why that is not known.
    fn outcome_of(&mut self, at: usize, cut: usize) -> Result<String, String> {
        self.tokens += 1;
        self.seen.clear();
        let token = self.token();
        let reply = self.ask(&format!("/{at}/{cut}/{token}"))?;
        let first = self.sent(&token)?;
        // What was sent has left the upstream; now the server's kernel has it as well.
        thread::sleep(PAUSE);
        let second = (0..TRIES_MAX).find_map(|number| self.good(&format!("{token}-{number}")));
        let second = second.ok_or("no good answer afterwards")??;
        let times = self.seen.iter().filter(|sent| sent.token == token).count();
        if times != 1 {
            return Err(format!("asked for {times} times"));
        }
        let page = String::from_utf8_lossy(&reply.body);
        Ok(outcome(reply.status, page.trim_end(), first == second))
    }

    /// The connection of a good answer, or none if that was late.
    fn good(&mut self, token: &str) -> Option<Result<usize, String>> {
        let reply = self.ask(&format!("/good/0/{token}"));
        let page = format!("<p>{token}</p>");
        match reply {
            Ok(reply) if reply.status == 504 => None,
            Ok(reply) if reply.status == 200 && reply.body == page.as_bytes() => {
                Some(self.sent(token))
            }
            Ok(reply) => Some(Err(format!(
                "afterwards not {page} but {} {}",
                reply.status,
                String::from_utf8_lossy(&reply.body)
            ))),
            Err(error) => Some(Err(error)),
        }
    }

    fn ask(&mut self, target: &str) -> Result<Reply, String> {
        self.visitor.send(get(target));
        let reply = self.visitor.try_reply(false);
        reply.map_err(|error| {
            self.visitor = self.stage.visitor();
            format!("no answer: {error}")
        })
    }

    /// Waits until the answer to a token is sent, and says on which connection.
    fn sent(&mut self, token: &str) -> Result<usize, String> {
        loop {
            let sent = self.sent.recv_timeout(PATIENCE);
            let sent = sent.map_err(|_| format!("{token} was never asked for"))?;
            let connection = (sent.token == token).then_some(sent.connection);
            self.seen.push(sent);
            if let Some(connection) = connection {
                return Ok(connection);
            }
        }
    }

    fn finish(self) {
        drop(self.visitor);
        self.stage.finish();
    }
}

/// Answers as the case says that the target names, or well, and then closes.
fn answer(call: &mut Call<'_>, cases: &[Case], tell: &Sender<Sent>) -> Then {
    let parts: Vec<&str> = call.target.split('/').skip(1).collect();
    let [which, cut, token] = parts[..] else { panic!("an odd target: {}", call.target) };
    let token = token.to_owned();
    let end = match (which.parse::<usize>(), cut.parse::<usize>()) {
        (Ok(at), Ok(cut)) => {
            send(call, &cases[at], cut, &token);
            cases[at].end
        }
        _ => {
            let body = format!(r#"{{"name": "{token}"}}"#);
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
            call.send(format!("{head} {}\r\n\r\n{body}", body.len()));
            End::Close
        }
    };
    // Nobody listens any more once the test has failed.
    let _ = tell.send(Sent { token, connection: call.connection });
    match end {
        End::Keep => Then::Keep,
        End::Close => Then::Close,
        End::Reset => Then::Reset,
    }
}

fn send(call: &mut Call<'_>, case: &Case, cut: usize, token: &str) {
    let bytes = case.bytes(token);
    if case.drips {
        for byte in bytes.chunks(1) {
            call.send(byte);
            thread::sleep(PAUSE);
        }
        return;
    }
    let (first, second) = bytes.split_at(cut);
    if cut > 0 {
        call.send(first);
        thread::sleep(PAUSE);
    }
    call.send(second);
}
