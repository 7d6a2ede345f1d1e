//! What became of the requests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

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
    pages_us: Vec<u32>,
    sheds_us: Vec<u32>,
    lags_us: Vec<u32>,
    failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Notes an outcome, so long after the request was due.
    pub(crate) fn note(&mut self, outcome: Outcome, latency: Duration) {
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

    /// Notes how late a request was sent.
    pub(crate) fn lag(&mut self, late: Duration) {
        self.lags_us.push(micros(late));
    }

    /// All that was counted.
    pub(crate) fn result(
        mut self,
        rate: f64,
        seconds: f64,
        recovery: Option<Option<Duration>>,
    ) -> LoadResult {
        LoadResult {
            rate,
            seconds,
            pages: self.pages_us.len() as u64,
            shed: self.sheds_us.len() as u64,
            goodput: self.pages_us.len() as f64 / seconds,
            page_ms: Quantiles::of(&mut self.pages_us),
            shed_ms: Quantiles::of(&mut self.sheds_us),
            lag_ms: Quantiles::of(&mut self.lags_us),
            failures: self.failures,
            recovery_ms: recovery.flatten().map(|after| after.as_secs_f64() * 1e3),
            recovered: recovery.map(|after| after.is_some()),
        }
    }
}

/// The result, as printed.
#[derive(Serialize)]
pub(crate) struct LoadResult {
    rate: f64,
    seconds: f64,
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
}

/// Milliseconds.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Quantiles {
    /// `None` for no values at all.
    fn of(values_us: &mut [u32]) -> Option<Self> {
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

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
