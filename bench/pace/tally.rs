//! What became of the requests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::course::{Course, CourseResult};

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The right page.
    Page,
    /// 503: the server said that it is too busy.
    Shed,
    /// Another status.
    Status(u16),
    /// 200 with something else than the page asked for.
    Wrong,
    /// The connection broke, or what came was not HTTP.
    Broken,
    /// No connection could be had from the server.
    NotConnected,
    /// As many connections as allowed were in use: nothing was sent.
    TurnedAway,
    /// The visitor gave up.
    TimedOut,
}

/// Counts and times of one load.
#[derive(Default)]
pub(crate) struct Tally {
    arrived: u64,
    pages_us: Vec<u32>,
    sheds_us: Vec<u32>,
    lags_us: Vec<u32>,
    failures: BTreeMap<String, u64>,
    course: Option<Course>,
    /// What was due before this is not counted at all.
    from: Duration,
}

impl Tally {
    /// Of what is due `from` then on. Tells besides how the load goes over time, if that is asked
    /// for.
    pub(crate) fn new(from: Duration, course: Option<Course>) -> Self {
        Self { from, course, ..Self::default() }
    }

    /// Notes that a request was due then, and sent so late.
    pub(crate) fn arrive(&mut self, due: Duration, late: Duration) {
        if due >= self.from {
            self.arrived += 1;
            self.lags_us.push(micros(late));
        }
    }

    /// Notes an outcome of a request that was due then, so long after it.
    pub(crate) fn note(&mut self, outcome: Outcome, due: Duration, latency: Duration) {
        if due < self.from {
            return;
        }
        if let Some(course) = &mut self.course {
            course.note(outcome, due, latency);
        }
        let name = match outcome {
            Outcome::Page => return self.pages_us.push(micros(latency)),
            Outcome::Shed => return self.sheds_us.push(micros(latency)),
            Outcome::Status(status) => format!("status {status}"),
            Outcome::Wrong => "wrong page".to_owned(),
            Outcome::Broken => "connection broke".to_owned(),
            Outcome::NotConnected => "not connected".to_owned(),
            Outcome::TurnedAway => "no connection free".to_owned(),
            Outcome::TimedOut => "timed out".to_owned(),
        };
        *self.failures.entry(name).or_default() += 1;
    }

    /// All that was counted.
    ///
    /// # Errors
    /// When not every request that was due has ended in exactly one way.
    pub(crate) fn result(
        mut self,
        rate: f64,
        seconds: f64,
        recovery: Option<Option<Duration>>,
    ) -> Result<LoadResult, String> {
        let failed: u64 = self.failures.values().sum();
        let ended = (self.pages_us.len() + self.sheds_us.len()) as u64 + failed;
        if ended != self.arrived {
            return Err(format!("{} requests were due and {ended} have ended", self.arrived));
        }
        Ok(LoadResult {
            rate,
            seconds,
            arrived: self.arrived,
            pages: self.pages_us.len() as u64,
            shed: self.sheds_us.len() as u64,
            goodput: self.pages_us.len() as f64 / seconds,
            page_ms: Quantiles::of(&mut self.pages_us),
            shed_ms: Quantiles::of(&mut self.sheds_us),
            lag_ms: Quantiles::of(&mut self.lags_us),
            failures: self.failures,
            recovery_ms: recovery.flatten().map(|after| after.as_secs_f64() * 1e3),
            recovered: recovery.map(|after| after.is_some()),
            course: self.course.map(Course::result),
        })
    }
}

/// The result, as printed.
#[derive(Serialize)]
pub(crate) struct LoadResult {
    rate: f64,
    seconds: f64,
    /// Requests that were due: each is among the pages, those shed, or the failures.
    arrived: u64,
    pages: u64,
    shed: u64,
    /// Right pages a second of the load's length, before the visitor gave up.
    goodput: f64,
    page_ms: Option<Quantiles>,
    shed_ms: Option<Quantiles>,
    lag_ms: Option<Quantiles>,
    failures: BTreeMap<String, u64>,
    /// From the end of the load to the first of five quick answers; none where that did not come.
    recovery_ms: Option<f64>,
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    course: Option<CourseResult>,
}

/// Milliseconds.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    mean: f64,
    pub(crate) p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    /// `None` for no values at all.
    pub(crate) fn of(values_us: &mut [u32]) -> Option<Self> {
        values_us.sort_unstable();
        let last = values_us.len().checked_sub(1)?;
        let at = |share: f64| {
            let index = (share * values_us.len() as f64).ceil() as usize;
            f64::from(values_us[index.saturating_sub(1).min(last)]) / 1e3
        };
        let sum: f64 = values_us.iter().map(|value| f64::from(*value)).sum();
        let mean = sum / values_us.len() as f64 / 1e3;
        Some(Self {
            mean,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

pub(crate) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_accounted_for_is_an_error() {
        let mut tally = Tally::default();
        tally.arrive(Duration::ZERO, Duration::ZERO);
        tally.arrive(Duration::ZERO, Duration::ZERO);
        tally.note(Outcome::Page, Duration::ZERO, Duration::from_millis(3));
        tally.note(Outcome::TimedOut, Duration::ZERO, Duration::from_secs(5));
        let result = tally.result(2.0, 1.0, None).unwrap();
        assert_eq!((result.arrived, result.pages, result.failures["timed out"]), (2, 1, 1));
        let mut tally = Tally::default();
        tally.arrive(Duration::ZERO, Duration::ZERO);
        assert!(tally.result(1.0, 1.0, None).is_err());
    }

    #[test]
    fn what_is_due_while_all_warms_up_is_not_counted() {
        let ms = Duration::from_millis;
        let mut tally = Tally::new(ms(100), None);
        for (due, took) in [(99, 900), (100, 5), (101, 7)] {
            tally.arrive(ms(due), Duration::ZERO);
            tally.note(Outcome::Page, ms(due), ms(took));
        }
        let result = tally.result(2.0, 1.0, None).unwrap();
        assert_eq!((result.arrived, result.pages), (2, 2));
        assert_eq!(result.page_ms.unwrap().max, 7.0);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut values: Vec<u32> = (1..=1000).rev().map(|ms| ms * 1000).collect();
        let quantiles = Quantiles::of(&mut values).unwrap();
        assert_eq!((quantiles.p50, quantiles.p99, quantiles.max), (500.0, 990.0, 1000.0));
        assert_eq!(quantiles.mean, 500.5);
        assert_eq!(Quantiles::of(&mut []), None);
        assert_eq!(Quantiles::of(&mut [7000]).unwrap().p999, 7.0);
    }
}
