//! The last two minutes of a server: what changed from each second's snapshot to the next.
//!
//! A counter that goes back was begun anew: all it has now is new. A worker, a page or an upstream
//! that was not there before is new as well; one that is missing has no part in the step. A worker
//! at a place where one was before goes on counting where that was.

use std::collections::VecDeque;

use super::spread::Spread;
use crate::limits::{DASHBOARD_STEP, DASHBOARD_STEPS_MAX};
use crate::metrics::snapshot::{Page, Snapshot, Upstream, Worker};

/// Snapshots, and what lies between them.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Option<Snapshot>,
    /// Workers at whose place nobody is, as they were when they were seen last.
    left: Vec<Worker>,
    steps: VecDeque<Step>,
}

/// From one snapshot to the next.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// When it ended, milliseconds since 1970.
    pub(super) ended_unix_ms: u64,
    /// How long it took, seconds; never nothing.
    pub(super) seconds: f64,
    /// Workers that were started again in it.
    pub(super) restarted: u64,
    /// Each worker that was there at its end.
    pub(super) workers: Vec<WorkerStep>,
    /// Pages that were asked for.
    pub(super) pages: Vec<PageStep>,
    /// Each upstream.
    pub(super) upstreams: Vec<UpstreamStep>,
}

/// What one worker did in a step.
#[derive(Debug, Default)]
pub(super) struct WorkerStep {
    pub(super) number: usize,
    pub(super) outcomes: Outcomes,
    pub(super) cpu_us: u64,
    pub(super) times: Spread,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    /// Pages, redirects, and what has not changed.
    pub(super) fine: u64,
    /// 4xx: not what we have.
    pub(super) refused: u64,
    /// 5xx: failed.
    pub(super) failed: u64,
    /// Turned away because of the load.
    pub(super) shed: u64,
}

/// What was asked of one page in a step.
#[derive(Debug, Default)]
pub(super) struct PageStep {
    pub(super) pattern: String,
    pub(super) template: String,
    pub(super) outcomes: Outcomes,
    pub(super) times: Spread,
    pub(super) render: Spread,
}

/// What was asked of one upstream in a step.
#[derive(Debug, Default)]
pub(super) struct UpstreamStep {
    pub(super) name: String,
    pub(super) exchanges: u64,
    pub(super) errors: u64,
    pub(super) timeouts: u64,
    pub(super) answers_5xx: u64,
    pub(super) rejected: u64,
    pub(super) retries: u64,
    pub(super) connects: u64,
    pub(super) reused: u64,
    pub(super) times: Spread,
}

impl History {
    /// Takes one more snapshot, and forgets what is older than two minutes.
    pub(super) fn push(&mut self, now: Snapshot) {
        if let Some(before) = &self.last {
            if self.steps.len() >= DASHBOARD_STEPS_MAX {
                self.steps.pop_front();
            }
            self.steps.push_back(Step::between(before, &self.left, &now));
            let is_gone = |old: &Worker| now.workers.iter().all(|one| one.number != old.number);
            self.left.retain(is_gone);
            self.left.extend(before.workers.iter().filter(|old| is_gone(old)).cloned());
        }
        self.last = Some(now);
    }

    /// The last snapshot, once there is one.
    pub(super) fn last(&self) -> Option<&Snapshot> {
        self.last.as_ref()
    }

    /// All steps, the oldest first.
    pub(super) fn steps(&self) -> impl ExactSizeIterator<Item = &Step> + Clone {
        self.steps.iter()
    }

    /// The last steps, so many at most, the oldest first.
    pub(super) fn recent(&self, count: usize) -> impl ExactSizeIterator<Item = &Step> + Clone {
        self.steps.iter().skip(self.steps.len().saturating_sub(count))
    }
}

impl Step {
    fn between(before: &Snapshot, left: &[Worker], now: &Snapshot) -> Self {
        let passed_ms = now.uptime_ms.saturating_sub(before.uptime_ms);
        // A clock that was set back says nothing; the sampler waited for as long as it does.
        let seconds = if passed_ms == 0 { DASHBOARD_STEP.as_secs_f64() } else { ms(passed_ms) };
        let workers = now.workers.iter().map(|worker| {
            let mut known = before.workers.iter().chain(left);
            let old = known.find(|old| old.number == worker.number);
            WorkerStep::between(old, worker)
        });
        let pages = now.pages.iter().filter_map(|page| {
            let same =
                |old: &&Page| (&old.pattern, &old.template) == (&page.pattern, &page.template);
            let step = PageStep::between(before.pages.iter().find(same), page);
            (step.times.count > 0 || step.outcomes.all() > 0).then_some(step)
        });
        let upstreams = now.upstreams.iter().map(|upstream| {
            let old = before.upstreams.iter().find(|old| old.name == upstream.name);
            UpstreamStep::between(old, upstream)
        });
        Self {
            ended_unix_ms: now.unix_ms,
            seconds,
            restarted: since(before.life.workers_restarted, now.life.workers_restarted),
            workers: workers.collect(),
            pages: pages.collect(),
            upstreams: upstreams.collect(),
        }
    }

    /// What became of the requests of all workers.
    pub(super) fn outcomes(&self) -> Outcomes {
        self.workers.iter().fold(Outcomes::default(), |sum, worker| sum + worker.outcomes)
    }

    /// One worker's part.
    pub(super) fn worker(&self, number: usize) -> Option<&WorkerStep> {
        self.workers.iter().find(|worker| worker.number == number)
    }

    /// One upstream's part.
    pub(super) fn upstream(&self, name: &str) -> Option<&UpstreamStep> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }
}

impl WorkerStep {
    fn between(before: Option<&Worker>, now: &Worker) -> Self {
        let statuses = between(before.map(|old| &old.statuses), &now.statuses);
        let shed = since(before.map_or(0, |old| old.shed), now.shed);
        Self {
            number: now.number,
            outcomes: Outcomes::new(statuses, shed),
            cpu_us: since(before.map_or(0, |old| old.cpu_us), now.cpu_us),
            times: Spread::between(before.map(|old| &old.times), &now.times),
        }
    }
}

impl PageStep {
    fn between(before: Option<&Page>, now: &Page) -> Self {
        let statuses = between(before.map(|old| &old.statuses), &now.statuses);
        Self {
            pattern: now.pattern.clone(),
            template: now.template.clone(),
            outcomes: Outcomes::new(statuses, 0),
            times: Spread::between(before.map(|old| &old.times), &now.times),
            render: Spread::between(before.map(|old| &old.render), &now.render),
        }
    }
}

impl UpstreamStep {
    fn between(before: Option<&Upstream>, now: &Upstream) -> Self {
        let count = |counter: fn(&Upstream) -> u64| since(before.map_or(0, counter), counter(now));
        Self {
            name: now.name.clone(),
            exchanges: count(|one| one.exchanges),
            errors: count(|one| one.errors),
            timeouts: count(|one| one.timeouts),
            answers_5xx: count(|one| one.statuses[5]),
            rejected: count(|one| one.rejected),
            retries: count(|one| one.retries),
            connects: count(|one| one.connects),
            reused: count(|one| one.reused),
            times: Spread::between(before.map(|old| &old.times), &now.times),
        }
    }
}

impl Outcomes {
    /// From responses by the first digit of their status, of which so many were turned away: with
    /// 503, or with 429 where a client had had its share.
    fn new(statuses: [u64; 6], shed: u64) -> Self {
        let [_, interim, good, elsewhere, refused, failed] = statuses;
        let shed = shed.min(refused + failed);
        Self {
            fine: interim + good + elsewhere,
            refused: refused - shed.saturating_sub(failed),
            failed: failed.saturating_sub(shed),
            shed,
        }
    }

    pub(super) fn all(&self) -> u64 {
        self.made() + self.shed
    }

    /// All but those that were turned away: there may be far more of these, as they cost little.
    pub(super) fn made(&self) -> u64 {
        self.fine + self.refused + self.failed
    }
}

impl std::ops::Add for Outcomes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            fine: self.fine + other.fine,
            refused: self.refused + other.refused,
            failed: self.failed + other.failed,
            shed: self.shed + other.shed,
        }
    }
}

/// How much a counter has grown; one that went back began anew.
fn since(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn between(before: Option<&[u64; 6]>, now: &[u64; 6]) -> [u64; 6] {
    let mut grown = *now;
    for (grown, old) in grown.iter_mut().zip(before.unwrap_or(&[0; 6])) {
        *grown = since(*old, *grown);
    }
    grown
}

/// Milliseconds in seconds.
fn ms(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: usize, good: u64, failed: u64, shed: u64) -> Worker {
        let statuses = [0, 0, good, 0, 0, failed];
        Worker { number, statuses, shed, ..Worker::default() }
    }

    fn snapshot(second: u64, workers: Vec<Worker>) -> Snapshot {
        Snapshot { uptime_ms: second * 1000, workers, ..Snapshot::default() }
    }

    fn last(history: &History) -> &Step {
        history.steps().last().unwrap()
    }

    #[test]
    fn a_step_is_what_came_between() {
        let mut history = History::default();
        history.push(snapshot(1, vec![worker(0, 100, 10, 4), worker(1, 7, 0, 0)]));
        assert_eq!(history.steps().len(), 0);
        history.push(snapshot(3, vec![worker(0, 150, 16, 9), worker(1, 8, 0, 0)]));
        let step = last(&history);
        assert_eq!(step.seconds, 2.0);
        let expected = Outcomes { fine: 50, failed: 1, shed: 5, refused: 0 };
        assert_eq!(step.worker(0).unwrap().outcomes, expected);
        assert_eq!(step.outcomes().fine, 51);
    }

    #[test]
    fn a_worker_that_began_anew_counts_from_nothing() {
        let mut history = History::default();
        history.push(snapshot(1, vec![worker(0, 1000, 5, 0)]));
        history.push(snapshot(2, vec![worker(0, 30, 6, 0)]));
        let outcomes = last(&history).worker(0).unwrap().outcomes;
        assert_eq!((outcomes.fine, outcomes.failed), (30, 1));
    }

    #[test]
    fn who_is_missing_has_no_part_and_who_is_new_has_all_but_what_was_there_before() {
        let mut history = History::default();
        history.push(snapshot(1, vec![worker(0, 1, 0, 0), worker(1, 5, 0, 0)]));
        for second in [2, 3] {
            history.push(snapshot(second, vec![worker(0, 2, 0, 0)]));
            assert!(last(&history).worker(1).is_none());
        }
        let three = vec![worker(0, 3, 0, 0), worker(1, 9, 0, 0), worker(2, 3, 0, 0)];
        history.push(snapshot(4, three.clone()));
        assert_eq!(last(&history).worker(1).unwrap().outcomes.fine, 4);
        assert_eq!(last(&history).worker(2).unwrap().outcomes.fine, 3);
        history.push(snapshot(5, three));
        assert_eq!(last(&history).outcomes().fine, 0);
    }

    #[test]
    fn a_clock_that_stands_still_divides_by_no_zero() {
        let mut history = History::default();
        history.push(snapshot(5, vec![]));
        history.push(snapshot(5, vec![]));
        assert_eq!(last(&history).seconds, 1.0);
        history.push(snapshot(4, vec![]));
        assert_eq!(last(&history).seconds, 1.0);
    }

    #[test]
    fn no_more_than_two_minutes_are_kept() {
        let mut history = History::default();
        for second in 0..500 {
            history.push(snapshot(second, vec![worker(0, second, 0, 0)]));
        }
        assert_eq!(history.steps().len(), DASHBOARD_STEPS_MAX);
        assert_eq!(history.recent(5).len(), 5);
        assert_eq!(history.recent(1000).len(), DASHBOARD_STEPS_MAX);
    }

    #[test]
    fn pages_that_nobody_asked_for_take_no_room() {
        let page = |pattern: &str, good| Page {
            pattern: pattern.into(),
            statuses: [0, 0, good, 0, 0, 0],
            ..Page::default()
        };
        let at = |pages| Snapshot { pages, ..Snapshot::default() };
        let mut history = History::default();
        history.push(at(vec![page("/a", 1), page("/b", 1)]));
        history.push(at(vec![page("/a", 1), page("/b", 3)]));
        let pages: Vec<_> = last(&history).pages.iter().map(|page| page.pattern.as_str()).collect();
        assert_eq!(pages, ["/b"]);
    }

    #[test]
    fn those_turned_away_are_no_failures() {
        let outcomes = Outcomes::new([0, 0, 1, 1, 10, 5], 8);
        assert_eq!(outcomes, Outcomes { fine: 2, refused: 7, failed: 0, shed: 8 });
        assert_eq!(outcomes.all(), 17);
        // Counters are read one after the other: one may be ahead.
        assert_eq!(Outcomes::new([0, 0, 0, 0, 0, 1], 3).all(), 1);
    }
}
