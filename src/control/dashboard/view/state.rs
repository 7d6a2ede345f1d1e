//! Whether all is well, in one word, and what to say where it is not.

use serde::Serialize;

use super::super::history::History;
use super::super::words::{long, several};
use crate::metrics::snapshot::Snapshot;

/// How the server is, in a word.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct State {
    /// `fine`, `warn` or `bad`: a class of the style sheet.
    kind: &'static str,
    word: &'static str,
}

/// Something that an operator should know.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Notice {
    /// As that of the state.
    kind: &'static str,
    head: String,
    text: String,
    /// What a program said, as it said it; may be empty.
    quote: String,
}

impl State {
    pub(super) fn new(history: &History, now: &Snapshot) -> Self {
        let overloaded = now.workers.iter().any(|worker| worker.overloaded);
        let (kind, word) = match () {
            () if !now.ready && now.workers.is_empty() => ("warn", "Starting"),
            () if !now.ready => ("warn", "Draining"),
            () if overloaded => ("bad", "Overloaded"),
            () if !notices(history, now).is_empty() => ("warn", "Ready"),
            () => ("fine", "Ready"),
        };
        Self { kind, word }
    }

    pub(super) fn is_fine(&self) -> bool {
        self.kind == "fine"
    }
}

/// What there is to say, the most urgent first.
pub(super) fn notices(history: &History, now: &Snapshot) -> Vec<Notice> {
    let notice = |kind, head: String, text: &str| Notice {
        kind,
        head,
        text: text.to_owned(),
        quote: String::new(),
    };
    let mut notices = Vec::new();
    let life = &now.life;
    if !now.ready && !now.workers.is_empty() {
        let text = "New visitors are not wanted here: /readyz says so to the load balancer. What \
                    is in flight is finished.";
        notices.push(notice("warn", "Draining".to_owned(), text));
    }
    let overloaded = now.workers.iter().filter(|worker| worker.overloaded).count() as u64;
    if overloaded > 0 {
        let head = format!("{} overloaded", several(overloaded, "core is", "cores are"));
        let text = "More comes than can be made in time. What is over it is answered 503 at once.";
        notices.push(notice("bad", head, text));
    }
    let open: Vec<_> =
        now.upstreams.iter().filter(|one| one.breaker == "open").map(|one| &*one.name).collect();
    if !open.is_empty() {
        let head = format!("The breaker of {} is open", open.join(", "));
        let text = "Too many exchanges failed. It is not asked until the breaker lets a probe by.";
        notices.push(notice("bad", head, text));
    }
    if !life.reload_problem.is_empty() {
        let text = "The site that was loaded before is still served.";
        let refused = notice("warn", "The last reload was refused".to_owned(), text);
        notices.push(Notice { quote: life.reload_problem.clone(), ..refused });
    }
    let restarted: u64 = history.steps().map(|step| step.restarted).sum();
    if restarted > 0 {
        let head = format!("{} started again", several(restarted, "worker was", "workers were"));
        let while_ms = (history.steps().map(|step| step.seconds).sum::<f64>() * 1e3) as u64;
        let text =
            format!("In the last {}. The log has the panic and where it was.", long(while_ms));
        notices.push(notice("warn", head, &text));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::dashboard::samples;

    fn told(change: impl FnOnce(&mut Snapshot)) -> (State, Vec<String>) {
        let mut history = History::default();
        let mut server = samples::Server::new(2);
        history.push(server.after(&[1, 1]));
        let mut snapshot = server.after(&[1, 1]);
        change(&mut snapshot);
        history.push(snapshot);
        let now = history.last().unwrap();
        let heads = notices(&history, now).into_iter().map(|notice| notice.head).collect();
        (State::new(&history, now), heads)
    }

    #[test]
    fn where_all_is_well_there_is_nothing_to_say() {
        let (state, heads) = told(|_| {});
        assert_eq!(state, State { kind: "fine", word: "Ready" });
        assert_eq!(heads, [""; 0]);
    }

    #[test]
    fn each_trouble_is_told() {
        let (state, heads) = told(|now| {
            now.ready = false;
            now.workers[1].overloaded = true;
            now.upstreams[0].breaker = "open".into();
            now.life.reload_problem = "site.toml:3: no".into();
            now.life.workers_restarted = 2;
        });
        assert_eq!(state.word, "Draining");
        let wanted = [
            "Draining",
            "1 core is overloaded",
            "The breaker of api is open",
            "The last reload was refused",
            "2 workers were started again",
        ];
        assert_eq!(heads, wanted);
    }

    #[test]
    fn a_server_that_serves_the_old_site_is_ready_and_not_fine() {
        let (state, _) = told(|now| now.life.reload_problem = "no".into());
        assert_eq!(state, State { kind: "warn", word: "Ready" });
        let (state, _) = told(|now| now.workers[0].overloaded = true);
        assert_eq!(state, State { kind: "bad", word: "Overloaded" });
    }

    #[test]
    fn restarts_of_long_ago_are_no_news() {
        let (_, heads) = told(|now| now.life.workers_stalled = 3);
        assert_eq!(heads, [""; 0]);
        let mut history = History::default();
        let mut server = samples::Server::new(1);
        let mut snapshot = server.after(&[1]);
        snapshot.life.workers_restarted = 1;
        for _ in 0..3 {
            history.push(snapshot.clone());
        }
        assert_eq!(notices(&history, &snapshot), []);
    }
}
