//! A page's deadline as a budget: what it can do without gives way first.

use std::time::Duration;

use ringpress::driver::Driver;
use ringpress::driver::sim::Sim;
use ringpress::worker::Bounds;

use super::client::visit;
use super::server::{SERVER, Server, run, site_of};
use super::upstream::{self, Asked, Step, answer, at, response};

const MS: Duration = Duration::from_millis(1);

/// Answers after as many milliseconds as the token says, or never.
fn by_token(asked: Asked<'_>) -> Vec<Step> {
    match asked.token.parse::<u32>() {
        Ok(ms) => vec![Step::Wait(ms * MS), answer(asked.token)],
        Err(_) => vec![Step::Hang],
    }
}

/// What a page with a deadline of a second and these fetches gives, and how long that took.
fn page(fetches: &'static str, template: &'static str) -> (u16, String, Duration) {
    run(move || async move {
        upstream::start(at(81), by_token);
        let text = format!(
            "[[page]]\npath = '/'\ntemplate = 'page.html'\ndeadline = '1s'\n[page.fetch]\n{fetches}"
        );
        let server = Server::start(&site_of(&text, template), &[&[at(81)]], Bounds::default());
        let (answer, took) = visit(SERVER, "/").await;
        Sim::sleep(2000 * MS).await;
        server.assert_balanced();
        (answer.status, answer.body, took)
    })
}

#[test]
fn what_is_optional_and_late_is_left_out_before_the_deadline() {
    let (status, body, took) = page(
        "must = { from = 'api', path = '/100' }\n\
         may = { from = 'api', path = '/never', optional = true }\n",
        "{{ must.token }} {{ may is none }} {{ errors.may.status }}",
    );
    assert_eq!((status, body.as_str()), (200, "100 True 504"));
    assert!((900 * MS..1000 * MS).contains(&took), "{took:?}");
}

#[test]
fn what_is_optional_and_comes_in_time_is_waited_for() {
    let (status, body, took) = page(
        "must = { from = 'api', path = '/100' }\n\
         may = { from = 'api', path = '/800', optional = true }\n",
        "{{ must.token }} {{ may.token }}",
    );
    assert_eq!((status, body.as_str()), (200, "100 800"));
    assert!(took < 900 * MS, "{took:?}");
}

#[test]
fn a_needed_fetch_is_not_starved_by_an_optional_one_it_waits_for() {
    let (status, body, _) = page(
        "may = { from = 'api', path = '/never', optional = true }\n\
         must = { from = 'api', path = '/{{ 1 if may else 400 }}' }\n",
        "{{ must.token }} {{ may is none }}",
    );
    assert_eq!((status, body.as_str()), (200, "400 True"));
    // Nor are two, one after the other, and a let between.
    let (status, body, _) = page(
        "may = { from = 'api', path = '/never', optional = true }\n\
         more = { from = 'api', path = '/{{ time + (1 if must.token else 0) }}' }\n\
         must = { from = 'api', path = '/{{ time }}' }\n[page.let]\n\
         time = '1 if may else 250'\n",
        "{{ must.token }} {{ more.token }}",
    );
    assert_eq!((status, body.as_str()), (200, "250 251"));
}

#[test]
fn items_that_are_late_are_left_out_and_no_more_are_asked_for() {
    run(|| async {
        let log = upstream::start(at(81), by_token);
        let text = "[[page]]\npath = '/'\ntemplate = 'page.html'\ndeadline = '1s'\n[page.fetch]\n\
                    a = { from = 'api', path = '/{{ it }}', each = \"[1, 'x', 'y', 'z', 2, 3]\", \
                    concurrency = 2, optional = true }\n\
                    b = { from = 'api', path = '/{{ it }}', each = '[5, 6, 7, 8]' }\n";
        let template = "{% for x in a %}{{ x.token if x else '-' }}{% endfor %}";
        let server = Server::start(&site_of(text, template), &[&[at(81)]], Bounds::default());
        let (answer, took) = visit(SERVER, "/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "1-----"));
        assert!((900 * MS..1000 * MS).contains(&took), "{took:?}");
        // Of the last three nobody would have waited for an answer. The connections of the others
        // are idle by then, and would have taken the requests at once.
        let asked: Vec<String> = log.borrow().requests.iter().map(|(_, of)| of.clone()).collect();
        assert_eq!(asked.len(), 3 + 4, "{asked:?}");
        Sim::sleep(2000 * MS).await;
        server.assert_balanced();
    });
}

#[test]
fn a_fallback_stands_for_what_failed() {
    let (status, body, _) = page(
        "may = { from = 'api', path = '/never', fallback = { token = '<b>', n = [1, 2.5] } }\n\
         must = { from = 'api', path = '/{{ may.n[0] }}' }\n",
        "{{ must.token }} {{ may.token }} {{ may.n | join('+') }} {{ errors.may.status }}",
    );
    assert_eq!((status, body.as_str()), (200, "1 &lt;b&gt; 1+2.5 504"));
    let (status, body, _) = page(
        "all = { from = 'api', path = '/{{ it }}', each = \"['x', 5]\", \
         fallback = { token = 0 } }\n",
        "{% for x in all %}{{ x.token }};{% endfor %}",
    );
    assert_eq!((status, body.as_str()), (200, "0;5;"));
}

#[test]
fn what_is_needed_and_late_is_still_a_504() {
    let (status, _, took) = page("must = { from = 'api', path = '/never' }\n", "{{ must }}");
    assert_eq!(status, 504);
    assert!(took >= 1000 * MS, "{took:?}");
}

#[test]
fn an_error_status_of_what_is_optional_has_its_fallback_at_once() {
    run(|| async {
        upstream::start(at(81), |_| vec![Step::Send(response(500, "{}"))]);
        let text = "[[page]]\npath = '/'\ntemplate = 'page.html'\n[page.fetch]\n\
                    a = { from = 'api', path = '/a', fallback = [] }\n";
        let template = "{{ a | length }} {{ errors.a.status }}";
        let _server = Server::start(&site_of(text, template), &[&[at(81)]], Bounds::default());
        let (answer, took) = visit(SERVER, "/").await;
        assert_eq!(answer.body, "0 502");
        assert!(took < 100 * MS, "{took:?}");
    });
}
