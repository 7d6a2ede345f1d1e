//! When requests are due.

use std::time::Duration;

/// The times of arrivals, from the start of a load on.
pub(crate) struct Schedule {
    random: Random,
    mean_secs: f64,
    at_secs: f64,
    end_secs: f64,
}

impl Schedule {
    /// A Poisson process: the times between arrivals are exponentially distributed, as they are
    /// where visitors do not know of each other.
    pub(crate) fn poisson(rate: f64, period: Duration, seed: u64) -> Self {
        let random = Random { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 };
        Self { random, mean_secs: 1.0 / rate, at_secs: 0.0, end_secs: period.as_secs_f64() }
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
        self.at_secs -= self.mean_secs * self.random.unit().ln();
        (self.at_secs < self.end_secs).then(|| Duration::from_secs_f64(self.at_secs))
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

    #[test]
    fn as_many_arrive_as_the_rate_says_and_not_evenly() {
        let times: Vec<Duration> = Schedule::poisson(1000.0, Duration::from_secs(20), 7).collect();
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
        let times =
            |seed| Schedule::poisson(50.0, Duration::from_secs(2), seed).collect::<Vec<_>>();
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }
}
