//! What workers have counted whose place another has taken: none of it is lost, and none of it is
//! open any more.

use std::sync::Arc;

use crate::metrics::WorkerMetrics;

/// What those have counted who have ended, by the place that they had.
#[derive(Debug, Default)]
pub(super) struct Past(Vec<Arc<WorkerMetrics>>);

impl Past {
    /// Takes over from a worker that counts no more. Pages and upstreams that `now`, which works,
    /// has none of are forgotten.
    pub(super) fn take_over(
        &mut self,
        number: usize,
        ended: &WorkerMetrics,
        now: Option<&WorkerMetrics>,
    ) {
        // Another one each time: who reads has the old one and the worker's, or this one.
        let sum = WorkerMetrics::default();
        sum.add(ended);
        if self.0.len() <= number {
            self.0.resize_with(number + 1, Arc::default);
        }
        if let Some(place) = self.0.get_mut(number) {
            sum.add(place);
            if let Some(now) = now {
                sum.retain_as(now);
            }
            *place = Arc::new(sum);
        }
    }

    /// What was counted at each place.
    pub(super) fn places(&self) -> &[Arc<WorkerMetrics>] {
        &self.0
    }
}
