//! Challenges of an ACME directory: answered by whichever worker is asked, before any page.

use std::sync::Arc;

use ringpress::driver::kind::Kind;
use ringpress::page::Challenges;

use super::stage::Script;
use super::upstream::Upstream;
use super::visitor::get;

on_every_driver!(challenges_are_answered_before_pages_while_they_are_open);

const OPEN: &str = "/.well-known/acme-challenge/a-T_9";

fn challenges_are_answered_before_pages_while_they_are_open(kind: Kind) {
    let challenges = Arc::new(Challenges::default());
    let stage = Script::on(kind)
        .challenges(&challenges)
        .workers(2)
        .page("/.well-known/{rest*}", "", "<p>a page</p>")
        .start(Upstream::json("{}"));
    let mut visitors: Vec<_> = (0..8).map(|_| stage.visitor()).collect();
    for visitor in &mut visitors {
        assert_eq!(visitor.get(OPEN).body, b"<p>a page</p>");
    }
    assert!(challenges.set(vec![("a-T_9".into(), "a-T_9.thumb".into())]));
    for visitor in &mut visitors {
        let reply = visitor.get(OPEN);
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"a-T_9.thumb".as_slice()));
        assert_eq!(reply.field("Content-Type"), Some("application/octet-stream"));
        visitor.send(get(OPEN).replacen("GET", "HEAD", 1));
        assert_eq!(visitor.reply_to_head().field("Content-Length"), Some("11"));
        // Other tokens and other methods are like everything else.
        assert_eq!(visitor.get(&OPEN[..OPEN.len() - 1]).body, b"<p>a page</p>");
        let post = format!("POST {OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(visitor.ask(post).status, 405);
    }
    assert!(challenges.set(Vec::new()));
    for visitor in &mut visitors {
        assert_eq!(visitor.get(OPEN).body, b"<p>a page</p>");
    }
    drop(visitors);
    stage.finish();
}
