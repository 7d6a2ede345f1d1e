//! A waiting line, and two of them one after the other: the chance to wait and how long.

use std::time::Duration;

use super::duration;

/// How pages wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wait {
    /// The part of the pages that waits at all, from 0 to 1.
    pub probability: f64,
    /// The mean over all pages, those that do not wait included.
    pub mean: Duration,
    /// Half of all pages wait no longer.
    pub p50: Duration,
    /// 99 of 100 pages wait no longer.
    pub p99: Duration,
}

/// The wait in a line: none, or with `probability` an exponential time of the rate `leaving_per_s`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) probability: f64,
    pub(super) leaving_per_s: f64,
}

impl Line {
    /// A line that nobody waits in.
    pub(super) const NONE: Self = Self { probability: 0.0, leaving_per_s: 1.0 };

    /// The line in front of servers that finish `full_per_s` when all are busy. `blocked` is the
    /// chance that all are busy if pages that find them so go away (Erlang B for M/M/c); the
    /// chance to wait for pages that stay (Erlang C) follows from it. `None` when more come than
    /// can go.
    pub(super) fn of(rate_per_s: f64, full_per_s: f64, blocked: f64) -> Option<Self> {
        let utilisation = rate_per_s / full_per_s;
        // Written so that it takes no difference of numbers that are nearly equal.
        (rate_per_s < full_per_s).then(|| Self {
            probability: blocked / (1.0 - utilisation + utilisation * blocked),
            leaving_per_s: full_per_s - rate_per_s,
        })
    }

    /// M/M/c with `servers` that take `service_s` for each; `None` when more come than can go.
    pub(super) fn of_servers(rate_per_s: f64, service_s: f64, servers: u32) -> Option<Self> {
        let offered = rate_per_s * service_s;
        let blocked = (1..=servers).fold(1.0, |before, n| blocked(offered / f64::from(n), before));
        Self::of(rate_per_s, f64::from(servers) / service_s, blocked)
    }

    pub(super) fn mean_s(self) -> f64 {
        self.probability / self.leaving_per_s
    }

    /// The chance to wait longer than `t_s`.
    pub(super) fn tail(self, t_s: f64) -> f64 {
        self.probability * (-self.leaving_per_s * t_s).exp()
    }

    /// What all but the part `tail` of the pages wait at most.
    fn quantile_s(self, tail: f64) -> f64 {
        ((self.probability / tail).ln() / self.leaving_per_s).max(0.0)
    }

    pub(super) fn wait(self) -> Wait {
        Lines(self, Self::NONE).wait()
    }
}

/// One line after another, independent of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines(pub(super) Line, pub(super) Line);

impl Lines {
    pub(super) fn wait(self) -> Wait {
        let Self(first, second) = self;
        Wait {
            probability: 1.0 - (1.0 - first.probability) * (1.0 - second.probability),
            mean: duration(first.mean_s() + second.mean_s()),
            p50: duration(self.quantile_s(0.5)),
            p99: duration(self.quantile_s(0.01)),
        }
    }

    /// The chance that both waits together are longer than `t_s`.
    pub(super) fn tail(self, t_s: f64) -> f64 {
        let Self(first, second) = self;
        let one = first.tail(t_s) * (1.0 - second.probability)
            + second.tail(t_s) * (1.0 - first.probability);
        // The sum of two exponential times, without dividing by a difference of rates that may
        // be nothing.
        let (slow, fast) = (first.leaving_per_s, second.leaving_per_s);
        let (slow, fast) = (slow.min(fast), slow.max(fast));
        let apart = (fast - slow) * t_s;
        let part = if apart > 0.0 { -(-apart).exp_m1() / apart } else { 1.0 };
        let sum = (-slow * t_s).exp() * (1.0 + slow * t_s * part);
        one + first.probability * second.probability * sum
    }

    fn quantile_s(self, tail: f64) -> f64 {
        if self.tail(0.0) <= tail {
            return 0.0;
        }
        // The sum is over this only if one of the two is over its half of it.
        let Self(first, second) = self;
        let high_s = first.quantile_s(tail / 2.0) + second.quantile_s(tail / 2.0);
        bisect(0.0, high_s, QUANTILE_STEPS, |t_s| self.tail(t_s) > tail)
    }
}

/// One step of Erlang's B formula: the chance that one server more is busy too, from the chance
/// that those before were, and the load each server would have.
pub(super) fn blocked(offered_each: f64, before: f64) -> f64 {
    offered_each * before / (1.0 + offered_each * before)
}

/// Where `is_below` ends to hold, between `low` and `high`, after `steps` halvings.
pub(super) fn bisect(
    mut low: f64,
    mut high: f64,
    steps: u32,
    is_below: impl Fn(f64) -> bool,
) -> f64 {
    for _ in 0..steps {
        let middle = f64::midpoint(low, high);
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Halvings that find a percentile: the interval ends a billion times as narrow.
const QUANTILE_STEPS: u32 = 30;
