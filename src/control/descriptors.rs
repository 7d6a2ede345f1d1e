//! How the descriptors that a process may have open are shared out: among workers, and on each
//! between visitors and upstreams. Figures in, figures out.
//!
//! Each connection takes one, or two on some drivers, and a process without any left can neither
//! take a visitor in nor ask an API for the page of one who is in. So no more visitors are let in
//! than there are descriptors for, and connections to upstreams have a part that visitors cannot
//! take. Where there are enough for all that is configured, nothing changes.

use crate::limits;

/// What there is, and what is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Descriptors that this process may have open (RLIMIT_NOFILE).
    pub open_max: usize,
    /// Those that it has open before the workers start.
    pub open: usize,
    /// Workers.
    pub workers: usize,
    /// Addresses that each of them listens to.
    pub listeners: usize,
    /// `connections_max`, a worker.
    pub connections_max: usize,
    /// `max_connections` of each upstream, for the whole server.
    pub upstreams: &'a [usize],
    /// Addresses whose health each worker asks for.
    pub checked: usize,
    /// Descriptors that a connection to an upstream takes.
    pub each: usize,
}

/// What there is for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// `connections_max`, a worker.
    pub connections_max: usize,
    /// Visitors over that who are being told so, a worker.
    pub turned_away_max: usize,
    /// `max_connections` of each upstream, for the whole server.
    pub upstreams: Vec<usize>,
    /// Descriptors with which nothing would have to be lowered.
    pub open_needed: usize,
}

impl Wanted<'_> {
    /// Shares out what there is.
    pub fn shares(&self) -> Shares {
        let workers = self.workers.max(1);
        let each = self.each.max(1);
        // What a worker is asked for, in connections.
        let upstreams: Vec<usize> =
            self.upstreams.iter().map(|all| all.div_ceil(workers).max(1)).collect();
        let wanted = upstreams.iter().fold(0, |sum: usize, one| sum.saturating_add(*one));
        let needed = wanted.saturating_mul(each).saturating_add(self.connections_max);
        let all_needed = needed.saturating_add(SLACK_MAX).saturating_mul(workers);
        let open_needed = all_needed.saturating_add(self.fixed(workers, each));

        let (budget, slack) = self.budget(workers, each);
        let (visitors, asked) = split(budget, self.connections_max, wanted, each);
        let lowered = fair(asked, &upstreams);
        let whole = |(all, one): (&usize, usize)| (*all).min(one.saturating_mul(workers)).max(1);
        Shares {
            connections_max: visitors.max(1),
            turned_away_max: (slack / 2).clamp(1, limits::TURNED_AWAY_MAX),
            upstreams: self.upstreams.iter().zip(lowered).map(whole).collect(),
            open_needed,
        }
    }

    /// What is open anyhow, or for a moment: files, rings, listeners, what was accepted and not
    /// looked at yet.
    fn fixed(&self, workers: usize, each: usize) -> usize {
        let listeners = self.listeners.saturating_mul(LISTENER);
        let checked = self.checked.saturating_mul(each);
        let worker = WORKER.saturating_add(listeners).saturating_add(checked);
        worker.saturating_mul(workers).saturating_add(CONTROL).saturating_add(self.open)
    }

    /// Descriptors for the connections of one worker, and those beside them for connections that
    /// are about to close: they are counted as gone while they still are open.
    fn budget(&self, workers: usize, each: usize) -> (usize, usize) {
        let left = self.open_max.saturating_sub(self.fixed(workers, each));
        // Where nearly all of it is for what is there for a moment only, half of it must do.
        let half = self.open_max.saturating_sub(self.open) / 2;
        let left = left.max(half) / workers;
        let slack = (left / SLACK_PART).min(SLACK_MAX);
        (left - slack, slack)
    }
}

/// Connections of visitors and to upstreams, which take `each` descriptors, out of `budget`: as
/// many as are wanted, or as many of the ones as of the others, as a page takes one of each. What
/// one side does not want is the other's.
fn split(budget: usize, visitors: usize, upstreams: usize, each: usize) -> (usize, usize) {
    let even = budget / (1 + each);
    if visitors <= even {
        (visitors, upstreams.min((budget - visitors) / each))
    } else if upstreams <= even {
        (visitors.min(budget - upstreams * each), upstreams)
    } else {
        (even, even)
    }
}

/// Shares of `all`: none is more than is wanted, and who wants more has as much as any other.
fn fair(all: usize, wanted: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&index| wanted.get(index));
    let (mut shares, mut left) = (vec![0; wanted.len()], all);
    for (done, index) in order.into_iter().enumerate() {
        let even = left / (wanted.len() - done);
        if let (Some(share), Some(wanted)) = (shares.get_mut(index), wanted.get(index)) {
            *share = even.min(*wanted);
            left -= *share;
        }
    }
    shares
}

/// For what the control thread does: names, files, the admin pages.
const CONTROL: usize = 32;
/// A worker's own: its ring or epoll instance, what wakes it, and what it looks with, four for who
/// measures how late it is and four for who makes pages in turns.
const WORKER: usize = 16;
/// A listening socket: that, its second descriptor, and what it has accepted in a turn.
const LISTENER: usize = 2 + limits::ACCEPTS_PENDING;
/// The part of what is left for connections that are about to close, and the most of it.
const SLACK_PART: usize = 8;
const SLACK_MAX: usize = 2 * limits::TURNED_AWAY_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults, with one upstream, on one worker.
    const USUAL: Wanted<'_> = Wanted {
        open_max: 1 << 20,
        open: 10,
        workers: 1,
        listeners: 1,
        connections_max: limits::CONNECTIONS_MAX,
        upstreams: &[limits::UPSTREAM_CONNECTIONS_MAX],
        checked: 0,
        each: 1,
    };

    /// Descriptors that all of it takes at once.
    fn taken(wanted: &Wanted<'_>, shares: &Shares) -> usize {
        let worker = |all: &usize| all.div_ceil(wanted.workers) * wanted.each;
        let upstreams: usize = shares.upstreams.iter().map(worker).sum();
        let visitors = shares.connections_max + shares.turned_away_max;
        (visitors + upstreams + WORKER + wanted.listeners * LISTENER) * wanted.workers + wanted.open
    }

    #[test]
    fn where_there_are_enough_nothing_is_lowered() {
        for workers in [1, 2, 3, 8] {
            let wanted = Wanted { workers, ..USUAL };
            let shares = wanted.shares();
            assert_eq!(shares.connections_max, limits::CONNECTIONS_MAX);
            assert_eq!(shares.upstreams, [limits::UPSTREAM_CONNECTIONS_MAX]);
            assert_eq!(shares.turned_away_max, limits::TURNED_AWAY_MAX);
        }
    }

    #[test]
    fn with_as_many_as_it_says_are_needed_nothing_is_lowered() {
        for (workers, each, upstreams) in
            [(1, 1, &[100][..]), (3, 2, &[7, 5000]), (2, 1, &[]), (64, 2, &[65_536; 3])]
        {
            let scarce = Wanted { open_max: 200, workers, each, upstreams, ..USUAL };
            let open_max = scarce.shares().open_needed;
            let shares = Wanted { open_max, ..scarce }.shares();
            assert_eq!(shares.connections_max, limits::CONNECTIONS_MAX, "{open_max}");
            assert_eq!(shares.upstreams, upstreams);
        }
    }

    #[test]
    fn where_they_are_short_visitors_and_upstreams_have_as_many() {
        let wanted = Wanted { open_max: 20_000, ..USUAL };
        let shares = wanted.shares();
        assert_eq!(shares.upstreams, [shares.connections_max]);
        assert!((8500..9200).contains(&shares.connections_max), "{shares:?}");
        // Two descriptors for each connection to an upstream: a third of them each.
        let shares = Wanted { each: 2, ..wanted }.shares();
        assert_eq!(shares.upstreams, [shares.connections_max]);
        assert!((5700..6200).contains(&shares.connections_max), "{shares:?}");
    }

    #[test]
    fn what_one_side_does_not_want_is_the_others() {
        let few = Wanted { open_max: 20_000, upstreams: &[100], ..USUAL }.shares();
        assert_eq!(few.upstreams, [100]);
        assert!(few.connections_max > 17_000, "{few:?}");
        let few = Wanted { open_max: 20_000, connections_max: 100, ..USUAL }.shares();
        assert_eq!(few.connections_max, 100);
        assert!(few.upstreams[0] > 17_000, "{few:?}");
        let none = Wanted { open_max: 20_000, upstreams: &[], ..USUAL }.shares();
        assert!(none.connections_max > 17_000, "{none:?}");
    }

    #[test]
    fn no_upstream_takes_what_another_has() {
        assert_eq!(fair(100, &[1000, 10, 1000]), [45, 10, 45]);
        assert_eq!(fair(100, &[10, 20, 30]), [10, 20, 30]);
        assert_eq!(fair(2, &[5, 5, 5]), [0, 1, 1]);
        assert_eq!(fair(7, &[]), Vec::<usize>::new());
    }

    #[test]
    fn all_of_it_fits_and_nobody_has_nothing() {
        for open_max in [0, 3, 40, 64, 256, 1024, 20_000, 1 << 20] {
            for workers in [1, 2, 7, 64] {
                for (each, upstreams) in [(1, &[65_536][..]), (2, &[65_536, 10, 900]), (2, &[])] {
                    let wanted = Wanted { open_max, workers, each, upstreams, ..USUAL };
                    let shares = wanted.shares();
                    assert!(shares.connections_max >= 1 && shares.turned_away_max >= 1);
                    assert!(shares.upstreams.iter().all(|one| *one >= 1));
                    let fits = taken(&wanted, &shares) <= open_max;
                    assert!(fits || open_max < workers * 128, "{wanted:?} {shares:?}");
                }
            }
        }
    }
}
