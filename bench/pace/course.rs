//! How a load went over time: in slices of a tenth of a second, and in each step of the schedule.

use std::time::Duration;

use serde::Serialize;

use crate::schedule::Step;
use crate::tally::{Outcome, Quantiles, micros};

/// Every request, by when it was due.
pub(crate) struct Course {
    start: Duration,
    steps: Vec<Step>,
    requests: Vec<Request>,
}

#[derive(Clone, Copy)]
struct Request {
    /// Since the start of the load.
    due_us: u32,
    took_us: u32,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Page,
    Shed,
    Failed,
}

impl Course {
    /// Of a load that starts now and goes by these steps.
    pub(crate) fn new(start: Duration, steps: &[Step]) -> Self {
        Self { start, steps: steps.to_vec(), requests: Vec::new() }
    }

    pub(crate) fn note(&mut self, outcome: Outcome, due: Duration, latency: Duration) {
        let end = match outcome {
            Outcome::Page => End::Page,
            Outcome::Shed => End::Shed,
            _ => End::Failed,
        };
        let due_us = micros(due.saturating_sub(self.start));
        self.requests.push(Request { due_us, took_us: micros(latency), end });
    }

    pub(crate) fn result(mut self) -> CourseResult {
        self.requests.sort_unstable_by_key(|request| request.due_us);
        let mut from = Duration::ZERO;
        let mut steps = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let until = from + step.period;
            steps.push(Part::of(&self.requests, from, until));
            from = until;
        }
        let count = from.as_millis().div_ceil(SLICE.as_millis()) as u32;
        let slices = (0..count).map(|n| Part::of(&self.requests, SLICE * n, SLICE * (n + 1)));
        CourseResult { slices: slices.collect(), steps }
    }
}

/// The course, as printed.
#[derive(Serialize)]
pub(crate) struct CourseResult {
    steps: Vec<Part>,
    slices: Vec<Part>,
}

/// The requests that were due in some part of the load.
#[derive(Debug, PartialEq, Serialize)]
struct Part {
    from_s: f64,
    until_s: f64,
    arrived: u64,
    pages: u64,
    shed: u64,
    failed: u64,
    /// Pages that came in this part, whenever they were due.
    came: u64,
    /// Requests that were due and had not ended at the end of it.
    in_flight: u64,
    page_ms: Option<Quantiles>,
    shed_ms: Option<Quantiles>,
}

impl Part {
    /// Of requests in the order they were due.
    fn of(requests: &[Request], from: Duration, until: Duration) -> Self {
        let (from_us, until_us) = (micros(from), micros(until));
        let start = requests.partition_point(|request| request.due_us < from_us);
        let end = requests.partition_point(|request| request.due_us < until_us);
        let due = &requests[start..end];
        let times = |wanted: End| {
            let those = due.iter().filter(move |request| request.end == wanted);
            those.map(|request| request.took_us).collect::<Vec<u32>>()
        };
        let (mut pages, mut sheds) = (times(End::Page), times(End::Shed));
        let failed = due.len() - pages.len() - sheds.len();
        // Nobody waits for longer than this, so that nothing before it matters here.
        let earliest = from_us.saturating_sub(micros(WAIT_MAX));
        let near = &requests[requests.partition_point(|one| one.due_us < earliest)..end];
        let ended = |request: &&Request| request.due_us.saturating_add(request.took_us);
        let came = near.iter().filter(|one| one.end == End::Page);
        let came = came.filter(|one| (from_us..until_us).contains(&ended(one))).count();
        let in_flight = near.iter().filter(|one| ended(one) >= until_us).count();
        Self {
            from_s: from.as_secs_f64(),
            until_s: until.as_secs_f64(),
            arrived: due.len() as u64,
            pages: pages.len() as u64,
            shed: sheds.len() as u64,
            failed: failed as u64,
            came: came as u64,
            in_flight: in_flight as u64,
            page_ms: Quantiles::of(&mut pages),
            shed_ms: Quantiles::of(&mut sheds),
        }
    }
}

const SLICE: Duration = Duration::from_millis(100);
/// More than any patience that a visitor may be given.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_in_the_slice_it_was_due_in_and_comes_when_it_comes() {
        let ms = Duration::from_millis;
        let steps = [Step { rate: 10.0, period: ms(100) }, Step { rate: 10.0, period: ms(200) }];
        let mut course = Course::new(ms(1000), &steps);
        course.note(Outcome::Page, ms(1000), ms(50));
        course.note(Outcome::Page, ms(1099), ms(51));
        course.note(Outcome::Shed, ms(1100), ms(2));
        course.note(Outcome::TimedOut, ms(1250), ms(5000));
        let CourseResult { steps, slices } = course.result();
        let counts = |part: &Part| (part.arrived, part.pages, part.shed, part.failed);
        assert_eq!(steps.iter().map(counts).collect::<Vec<_>>(), [(2, 2, 0, 0), (2, 0, 1, 1)]);
        assert_eq!(
            slices.iter().map(counts).collect::<Vec<_>>(),
            [(2, 2, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)]
        );
        assert_eq!(slices.iter().map(|part| part.came).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!(slices.iter().map(|part| part.in_flight).collect::<Vec<_>>(), [1, 0, 1]);
        assert_eq!(steps[0].page_ms.as_ref().unwrap().max, 51.0);
        assert_eq!(steps[1].shed_ms.as_ref().unwrap().p50, 2.0);
    }
}
