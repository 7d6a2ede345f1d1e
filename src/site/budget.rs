//! How long an optional fetch may take, so that the page goes out in time without it.
//!
//! Arithmetic over a page's plan and the time; what is given up in the end is the page's business.

use super::page::{Node, NodeKind};
use crate::limits::{PAGE_RESERVE_MAX, PAGE_RESERVE_PARTS};
use std::time::{Duration, Instant};

/// What an optional fetch leaves of its page's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// For the page to be made and sent.
    reserve: Duration,
    /// How many needed fetches, one after the other, wait for it at most.
    steps: u32,
    /// How long those may take.
    time: Duration,
}

impl Budget {
    /// When an optional fetch that begins `now` must be given up, on a page whose deadline is
    /// `deadline`. Needed fetches that wait for it get as much as they may take, but of the time
    /// that is left no more than each its equal share.
    pub fn end(&self, now: Instant, deadline: Instant) -> Instant {
        let left = deadline.saturating_duration_since(now).saturating_sub(self.reserve);
        let share = left / self.steps.saturating_add(1);
        let kept = self.time.min(left.saturating_sub(share));
        now + left.saturating_sub(kept)
    }
}

/// Gives each optional fetch of a page its budget. The nodes need each other in no circle.
pub(super) fn assign(nodes: &mut [Node], deadline: Duration) {
    let reserve = (deadline / PAGE_RESERVE_PARTS).min(PAGE_RESERVE_MAX);
    let mut known = vec![None; nodes.len()];
    for number in 0..nodes.len() {
        let (steps, time) = waiting(number, nodes, &mut known);
        if let Some(Node { kind: NodeKind::Fetch(fetch), .. }) = nodes.get_mut(number)
            && fetch.optional
        {
            fetch.budget = Budget { reserve, steps, time };
        }
    }
}

/// Needed fetches that wait for a node, one after the other: how many, and how long they may take.
fn waiting(
    number: usize,
    nodes: &[Node],
    known: &mut [Option<(u32, Duration)>],
) -> (u32, Duration) {
    if let Some(Some(waiting)) = known.get(number) {
        return *waiting;
    }
    let mut most = (0, Duration::ZERO);
    for (other, node) in nodes.iter().enumerate() {
        if !node.needs.contains(&number) {
            continue;
        }
        let (mut steps, mut time) = waiting(other, nodes, known);
        if let Some(fetch) = node.fetch().filter(|fetch| !fetch.optional) {
            steps += 1;
            time = time.saturating_add(fetch.deadline);
        }
        most = (most.0.max(steps), most.1.max(time));
    }
    if let Some(place) = known.get_mut(number) {
        *place = Some(most);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ends_after(reserve: u32, steps: u32, time: u32, left: u32) -> Duration {
        let budget = Budget { reserve: reserve * MS, steps, time: time * MS };
        let now = Instant::now();
        budget.end(now, now + left * MS) - now
    }

    #[test]
    fn what_nothing_waits_for_has_all_but_the_reserve() {
        assert_eq!(ends_after(100, 0, 0, 1000), 900 * MS);
        assert_eq!(ends_after(100, 0, 0, 50), Duration::ZERO);
    }

    #[test]
    fn needed_fetches_after_it_get_what_they_may_take_or_an_equal_share() {
        assert_eq!(ends_after(100, 1, 5000, 1000), 450 * MS);
        assert_eq!(ends_after(100, 2, 5000, 1000), 300 * MS);
        assert_eq!(ends_after(100, 1, 200, 1000), 700 * MS);
        assert_eq!(ends_after(0, 1, 200, 0), Duration::ZERO);
    }
}
