//! When requests are due.

use std::time::Duration;

/// The times of arrivals, from the start of a load on.
pub(crate) struct Schedule {
    random: Random,
    /// The one at hand last, those to come before it.
    steps: Vec<Step>,
    at_secs: f64,
    end_secs: f64,
}

/// So many arrivals a second, on average, for so long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) rate: f64,
    pub(crate) period: Duration,
}

impl Schedule {
    /// A Poisson process: the times between arrivals are exponentially distributed, as they are
    /// where visitors do not know of each other. Its rate is that of each step in turn.
    pub(crate) fn poisson(steps: &[Step], seed: u64) -> Self {
        let random = Random { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 };
        let steps: Vec<Step> = steps.iter().rev().copied().collect();
        let end_secs = steps.last().map_or(0.0, |step| step.period.as_secs_f64());
        Self { random, steps, at_secs: 0.0, end_secs }
    }

    /// One arrival after the other, evenly: for probes.
    pub(crate) fn even(rate: f64, period: Duration) -> impl Iterator<Item = Duration> {
        let gap = Duration::from_secs_f64(1.0 / rate);
        (0..).map(move |n| gap * n).take_while(move |at| *at < period)
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // In arrivals, not in seconds, so that what is left of it goes on at another rate.
        let mut left = -self.random.unit().ln();
        loop {
            let step = self.steps.last()?;
            let due = self.at_secs + left / step.rate;
            if due < self.end_secs {
                self.at_secs = due;
                return Some(Duration::from_secs_f64(due));
            }
            left -= (self.end_secs - self.at_secs) * step.rate;
            self.at_secs = self.end_secs;
            self.steps.pop();
            self.end_secs += self.steps.last()?.period.as_secs_f64();
        }
    }
}

/// xorshift64*: enough for arrivals, and the same on every machine.
struct Random {
    state: u64,
}

impl Random {
    /// Above 0, up to 1.
    fn unit(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(rate: f64, secs: u64) -> [Step; 1] {
        [Step { rate, period: Duration::from_secs(secs) }]
    }

    #[test]
    fn a_schedule_goes_by_its_steps() {
        let second = Duration::from_secs(1);
        let steps = [100.0, 10_000.0, 1000.0].map(|rate| Step { rate, period: second });
        let times: Vec<Duration> = Schedule::poisson(&steps, 3).collect();
        assert!(times.is_sorted());
        for (number, step) in (0..).zip(steps) {
            let part = second * number..second * (number + 1);
            let count = times.iter().filter(|time| part.contains(*time)).count() as f64;
            // Five standard deviations.
            assert!((count - step.rate).abs() < 5.0 * step.rate.sqrt(), "{count} {step:?}");
        }
    }

    #[test]
    fn as_many_arrive_as_the_rate_says_and_not_evenly() {
        let times: Vec<Duration> = Schedule::poisson(&steady(1000.0, 20), 7).collect();
        // Five standard deviations of a Poisson count of 20 000.
        assert!((19_293..20_707).contains(&times.len()), "{}", times.len());
        assert!(times.is_sorted());
        let gaps = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0);
        let (mut below, mut above) = (0, 0);
        gaps.for_each(|gap| if gap < std::f64::consts::LN_2 { below += 1 } else { above += 1 });
        // Half of the gaps are below ln 2 of the mean; evenly spaced ones would all be above.
        let share = f64::from(below) / f64::from(below + above);
        assert!((0.48..0.52).contains(&share), "{share}");
    }

    #[test]
    fn a_seed_gives_the_same_visitors_again() {
        let times = |seed| Schedule::poisson(&steady(50.0, 2), seed).collect::<Vec<_>>();
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }
}
