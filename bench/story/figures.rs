//! What a run comes to.

use crate::record::{Run, Slice};
use crate::scene::Kind;

impl Run {
    /// The parts of a kind, as told, and as counted.
    pub(crate) fn steps(&self, kind: Kind) -> impl Iterator<Item = (&str, &Slice)> {
        let steps = self.load.course.iter().flat_map(|course| &course.steps);
        let parts = self.parts.iter().zip(steps).filter(move |(part, _)| part.kind == kind);
        parts.map(|(part, step)| (part.name.as_str(), step))
    }

    fn slices(&self) -> &[Slice] {
        self.load.course.as_ref().map_or(&[], |course| &course.slices)
    }

    /// The 99th percentile of pages while all is well, milliseconds.
    pub(crate) fn calm_p99(&self) -> Option<f64> {
        self.steps(Kind::Calm).find_map(|(_, step)| step.page_ms).map(|ms| ms.p99)
    }

    /// Seconds from the end of the trouble until half a second is as before: at most one in a
    /// hundred without a page, and the others at most twice as late. None when that did not come.
    pub(crate) fn recovery_s(&self) -> Option<f64> {
        let end = self.parts.iter().find(|part| part.kind == Kind::After)?.begun_s;
        let quick = self.calm_p99()? * 2.0;
        let after = self.slices().iter().position(|slice| slice.from_s >= end)?;
        let well = |window: &&[Slice]| {
            let sum = |of: fn(&Slice) -> u64| window.iter().map(of).sum::<u64>();
            let (arrived, pages) = (sum(|one| one.arrived), sum(|one| one.pages));
            let late = window.iter().any(|one| one.page_ms.is_some_and(|ms| ms.p99 > quick));
            pages > 0 && (arrived - pages) * 100 <= arrived && !late
        };
        let window = self.slices()[after..].windows(WINDOW).find(well)?;
        Some((window[0].from_s - end).max(0.0))
    }

    /// The most requests in flight in a part.
    pub(crate) fn in_flight_max(&self, step: &Slice) -> u64 {
        let within = self.slices().iter().filter(|one| step.from_s <= one.from_s + 1e-6);
        let within = within.filter(|one| one.until_s <= step.until_s + 1e-6);
        within.map(|one| one.in_flight).max().unwrap_or(0)
    }

    /// Memory at the end of a part.
    pub(crate) fn memory_bytes(&self, step: &Slice) -> Option<u64> {
        let until = self.memory.iter().take_while(|(at, _)| *at <= step.until_s + 0.05);
        until.last().map(|(_, bytes)| *bytes)
    }

    /// What a page more in flight costs, from the end of the calm to the end of the trouble.
    pub(crate) fn page_bytes(&self) -> Option<f64> {
        let calm = self.steps(Kind::Calm).next()?.1;
        let trouble = self.steps(Kind::Trouble).next()?.1;
        let at_end = |step: &Slice| {
            let last = self.slices().iter().rev().find(|one| one.until_s <= step.until_s + 1e-6);
            last.map_or(0, |one| one.in_flight)
        };
        let more = at_end(trouble).checked_sub(at_end(calm)).filter(|more| *more >= PAGES_MIN)?;
        let bytes = self.memory_bytes(trouble)? as f64 - self.memory_bytes(calm)? as f64;
        Some(bytes / more as f64)
    }

    /// Pages a second at most, while the scene was played: halfway between before and after.
    pub(crate) fn most(&self) -> Option<f64> {
        let before = self.capacity?;
        Some((before + self.capacity_after.unwrap_or(before)) / 2.0)
    }

    /// Pages that came in a part, a second.
    pub(crate) fn goodput(&self, step: &Slice) -> f64 {
        step.came as f64 / (step.until_s - step.from_s)
    }

    /// Pages that came in each second.
    pub(crate) fn each_second(&self) -> Vec<u64> {
        let seconds = self.slices().chunks(SLICES_A_SECOND);
        seconds.map(|second| second.iter().map(|one| one.came).sum()).collect()
    }
}

/// A run, for who watches.
pub(crate) fn lines(run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    for kind in [Kind::Calm, Kind::Trouble, Kind::After] {
        for (name, step) in run.steps(kind) {
            let (p50, p99) = step.page_ms.map_or((0.0, 0.0), |ms| (ms.p50, ms.p99));
            lines.push(format!(
                "{name:22} {:7} arrived {:7} pages {:7} shed {:6} failed  p50 {p50:8.1}  p99 \
                 {p99:8.1} ms",
                step.arrived, step.pages, step.shed, step.failed
            ));
        }
    }
    let recovery = run.recovery_s().map_or("never".to_owned(), |secs| format!("{secs:.1} s"));
    lines.push(format!("as before after {recovery}"));
    lines.extend(run.crashed.iter().map(|words| format!("CRASHED: {words}")));
    lines
}

const SLICES_A_SECOND: usize = 10;
/// Slices of a tenth of a second that must be as before.
const WINDOW: usize = 5;
/// Fewer are no base for a figure.
const PAGES_MIN: u64 = 200;
