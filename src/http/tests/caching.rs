//! What answers say about being kept: the cases of RFC 9111 and RFC 5861.

use std::time::Duration;

use crate::http::caching::{Declared, Keeping, Windows};
use crate::http::{Limits, response};

/// Monday, 3 March 2025, noon.
const NOON: u64 = 1_741_003_200;
const NOON_DATE: &str = "Mon, 03 Mar 2025 12:00:00 GMT";

fn said(lines: &[&str]) -> Keeping {
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", lines.join("\r\n"));
    let head = head.replace("\r\n\r\n\r\n", "\r\n\r\n");
    let parsed = response::parse(head.as_bytes(), &Limits::response(), false).unwrap().unwrap();
    Keeping::of(&parsed.headers, head.as_bytes())
}

fn control(value: &str) -> Keeping {
    said(&[&format!("Cache-Control: {value}")])
}

fn secs(of: u64) -> Duration {
    Duration::from_secs(of)
}

fn windows(keeping: &Keeping, declared: Declared) -> (u64, u64, u64) {
    let Windows { fresh, while_revalidate, if_error } = keeping.windows(&declared, NOON, true);
    (fresh.as_secs(), while_revalidate.as_secs(), if_error.as_secs())
}

fn fresh(keeping: &Keeping) -> u64 {
    windows(keeping, Declared::default()).0
}

#[test]
fn how_long_an_answer_is_fresh() {
    for (value, expected) in [
        ("max-age=60", 60),
        ("MAX-AGE=60", 60),
        ("max-age=\"60\"", 60),
        ("public, max-age=60", 60),
        (" ,, max-age=60 ,", 60),
        ("max-age=60, s-maxage=5", 5),
        ("s-maxage=90, max-age=60", 90),
        // The stricter of two counts, and what cannot be read is stale (section 4.2.1).
        ("max-age=60, max-age=30", 30),
        ("max-age=60, no-cache", 0),
        ("max-age=60, no-cache=\"set-cookie\"", 0),
        ("max-age", 0),
        ("max-age=", 0),
        ("max-age=-1", 0),
        ("max-age=+60", 0),
        ("max-age=1.5", 0),
        ("max-age=60s", 0),
        ("max-age= 60", 0),
        ("s-maxage=x, max-age=60", 0),
        ("max-age=0", 0),
        // Section 1.2.2: as much as there is.
        ("max-age=99999999999999999999999999", 1 << 31),
        ("max-age=2147483649", 1 << 31),
        // Within quotes there is no directive.
        ("private=\"a, max-age=5\", max-age=60", 60),
        ("ext=\"a\\\", max-age=5\", max-age=60", 60),
        ("xmax-age=60", 0),
        ("public", 0),
        ("", 0),
    ] {
        assert_eq!(fresh(&control(value)), expected, "{value}");
    }
    assert_eq!(fresh(&said(&["Cache-Control: a", "Cache-Control: max-age=7"])), 7);
    assert_eq!(fresh(&said(&[])), 0);
    // Nothing is guessed from Last-Modified.
    assert_eq!(fresh(&said(&["Last-Modified: Mon, 03 Mar 2014 12:00:00 GMT"])), 0);
}

#[test]
fn expires_counts_from_date_and_gives_way_to_max_age() {
    let expires = "Expires: Mon, 03 Mar 2025 12:01:00 GMT";
    let date = format!("Date: {NOON_DATE}");
    assert_eq!(fresh(&said(&[expires, &date])), 60);
    assert_eq!(fresh(&said(&[expires])), 60);
    assert_eq!(fresh(&said(&[expires, "Date: Mon, 03 Mar 2025 12:00:20 GMT"])), 40);
    assert_eq!(fresh(&said(&[expires, "Date: Mon, 03 Mar 2025 13:00:00 GMT"])), 0);
    assert_eq!(fresh(&said(&[expires, &date, "Cache-Control: max-age=5"])), 5);
    assert_eq!(fresh(&said(&["Expires: Monday, 03-Mar-25 12:01:00 GMT", &date])), 60);
    for wrong in ["0", "-1", "", "tomorrow", "Mon, 03 Mar 2025 12:01:00 CET"] {
        assert_eq!(fresh(&said(&[&format!("Expires: {wrong}"), &date])), 0, "{wrong}");
        assert_eq!(fresh(&said(&[&format!("Expires: {wrong}"), expires, &date])), 0, "{wrong}");
    }
}

#[test]
fn how_old_an_answer_is() {
    let age = |lines: &[&str], delay| said(lines).initial_age(NOON, delay).as_secs();
    assert_eq!(age(&[], secs(0)), 0);
    assert_eq!(age(&["Age: 30"], secs(0)), 30);
    assert_eq!(age(&["Age: 30"], secs(2)), 32);
    assert_eq!(age(&["Age: 30, 50"], secs(0)), 30);
    for wrong in ["-1", "x", "", "1.5", "30;q=1"] {
        assert_eq!(age(&[&format!("Age: {wrong}")], secs(1)), 1, "{wrong}");
    }
    assert_eq!(age(&["Age: 99999999999999999999"], secs(0)), 1 << 31);
    // By the clock, if that is more; a clock that is ahead of ours makes nothing younger.
    assert_eq!(age(&["Date: Mon, 03 Mar 2025 11:59:00 GMT"], secs(0)), 60);
    assert_eq!(age(&["Date: Mon, 03 Mar 2025 11:59:00 GMT", "Age: 90"], secs(0)), 90);
    assert_eq!(age(&["Date: Mon, 03 Mar 2025 12:59:00 GMT"], secs(0)), 0);
    assert_eq!(age(&["Date: never"], secs(0)), 0);
}

#[test]
fn what_may_be_kept_and_shared() {
    let may = |lines: &[&str], declared: Declared| {
        (said(lines).may_keep(&declared), said(lines).may_share(&declared))
    };
    let plain = Declared::default();
    let ttl = Declared { ttl: Some(secs(9)), ..plain };
    let credentials = Declared { credentials: true, ..plain };
    for (lines, by_plain, by_ttl, by_credentials) in [
        (&[][..], (true, true), (true, true), (true, true)),
        (&["Cache-Control: no-store, max-age=9"], (false, false), (false, false), (false, false)),
        (&["Cache-Control: No-Store=1"], (false, false), (false, false), (false, false)),
        (&["Cache-Control: private, max-age=9"], (false, false), (false, false), (true, true)),
        (&["Cache-Control: private=\"x-a\""], (false, false), (false, false), (true, true)),
        (&["Cache-Control: no-cache"], (true, false), (true, true), (true, false)),
        (&["Set-Cookie: a=b"], (false, false), (false, false), (true, true)),
        (&["Vary: Accept"], (true, true), (true, true), (true, true)),
        (&["Vary: Accept, *"], (false, false), (false, false), (false, false)),
        (&["Vary: a", "Vary: *"], (false, false), (false, false), (false, false)),
    ] {
        assert_eq!(may(lines, plain), by_plain, "{lines:?}");
        assert_eq!(may(lines, ttl), by_ttl, "{lines:?}");
        assert_eq!(may(lines, credentials), by_credentials, "{lines:?}");
    }
}

#[test]
fn fields_that_an_answer_hangs_on() {
    let keeping = said(&["Vary: Accept-Language , x-request-id"]);
    assert!(keeping.varies_by_one_of(b"A: b\r\nX-Request-Id: 7\r\n"));
    assert!(!keeping.varies_by_one_of(b"A: b\r\ntraceparent: x-request-id\r\n"));
    assert!(!keeping.varies_by_one_of(b""));
    assert!(!said(&["Vary: ,"]).varies_by_one_of(b"A: b\r\n"));
}

#[test]
fn how_long_a_stale_answer_may_be_shown() {
    let both = Declared {
        stale_while_revalidate: Some(secs(100)),
        stale_if_error: Some(secs(1000)),
        ..Declared::default()
    };
    let ttl = Declared { ttl: Some(secs(5)), ..both };
    let plain = Declared::default();
    let extensions = "max-age=10, stale-while-revalidate=20, stale-if-error=30";
    for (value, declared, expected) in [
        ("max-age=10", plain, (10, 10, 10)),
        (extensions, plain, (10, 30, 40)),
        // A site that says something says it instead.
        (extensions, both, (10, 110, 1010)),
        ("max-age=10", both, (10, 110, 1010)),
        ("", both, (0, 100, 1000)),
        // But not where an answer forbids it.
        ("max-age=10, must-revalidate", both, (10, 10, 10)),
        ("max-age=10, proxy-revalidate", both, (10, 10, 10)),
        ("max-age=10, no-cache", both, (0, 0, 0)),
        ("s-maxage=10", both, (10, 10, 10)),
        ("s-maxage=10, stale-while-revalidate=20", both, (10, 30, 10)),
        ("max-age=10, stale-while-revalidate=x", plain, (10, 10, 10)),
        // A ttl stands in place of it all.
        ("max-age=10, must-revalidate", ttl, (5, 105, 1005)),
        ("no-cache", ttl, (5, 105, 1005)),
        (extensions, Declared { ttl: Some(secs(5)), ..plain }, (5, 5, 5)),
    ] {
        assert_eq!(windows(&control(value), declared), expected, "{value} {declared:?}");
    }
    // What is not there is so for as long as the answer says, and not for a ttl.
    let gone = control("max-age=10").windows(&ttl, NOON, false);
    assert_eq!((gone.fresh, gone.if_error), (secs(10), secs(10)));
    assert_eq!(said(&[]).windows(&ttl, NOON, false).fresh, secs(0));
}

#[test]
fn a_304_says_things_anew_and_leaves_the_rest() {
    let kept = said(&["Cache-Control: max-age=10", "Age: 9", "Vary: accept", "Set-Cookie: a=b"]);
    let same = kept.updated_by(said(&[]));
    assert_eq!(fresh(&same), 10);
    assert_eq!(same.initial_age(NOON, secs(0)), secs(0));
    assert!(same.varies_by_one_of(b"Accept: x\r\n"));
    assert_eq!(fresh(&kept.updated_by(control("max-age=70"))), 70);
    assert!(!kept.updated_by(control("no-store")).may_keep(&Declared::default()));
    assert!(!kept.updated_by(said(&["Vary: *"])).may_keep(&Declared::default()));
}
