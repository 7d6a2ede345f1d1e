//! Charts as paths of SVG: time goes from left to right, and the last step is at the right edge.

use std::fmt::Write;

use crate::limits::DASHBOARD_STEPS_MAX;

/// The size of what paths are drawn into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) width: f64,
    pub(super) height: f64,
    /// What its upper edge stands for.
    pub(super) max: f64,
}

/// The larger charts; the template has the same numbers.
pub(super) const CHART: (f64, f64) = (714.0, 160.0);
/// The small ones.
pub(super) const SPARK: (f64, f64) = (119.0, 28.0);

impl Frame {
    pub(super) fn new((width, height): (f64, f64), max: f64) -> Self {
        Self { width, height, max }
    }

    /// From one step to the next.
    pub(super) fn pitch(&self) -> f64 {
        self.width / (DASHBOARD_STEPS_MAX - 1) as f64
    }

    /// Where the step is, of so many.
    pub(super) fn x(&self, step: usize, of: usize) -> f64 {
        self.width - self.pitch() * of.saturating_sub(step + 1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        let share = value / self.max;
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.height * (1.0 - share)
    }

    /// A line through values; where there is none, it has a gap.
    pub(super) fn line(&self, values: &[Option<f64>]) -> String {
        let mut path = String::new();
        for run in self.runs(values) {
            for (at, (x, y)) in run.iter().enumerate() {
                let command = if at == 0 { 'M' } else { 'L' };
                // Writing to a string does not fail.
                let _ = write!(path, "{command}{} {}", Short(*x), Short(*y));
            }
            if let [(x, y)] = run.as_slice() {
                // A point alone is a line too, as its ends are round.
                let _ = write!(path, "L{} {}", Short(*x), Short(*y));
            }
        }
        path
    }

    /// What is below such a line.
    pub(super) fn area(&self, values: &[Option<f64>]) -> String {
        let mut path = String::new();
        for run in self.runs(values) {
            let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { continue };
            let _ = write!(path, "M{} {}", Short(*first), Short(self.height));
            for (x, y) in &run {
                let _ = write!(path, "L{} {}", Short(*x), Short(*y));
            }
            let _ = write!(path, "L{} {}Z", Short(*last), Short(self.height));
        }
        path
    }

    /// Bands on top of each other, the first at the bottom. All are of the same length.
    pub(super) fn stack(&self, bands: &[Vec<f64>]) -> Vec<String> {
        let length = bands.first().map_or(0, Vec::len);
        let mut floor = vec![0.0; length];
        let mut paths = Vec::new();
        for band in bands {
            let top: Vec<f64> =
                floor.iter().zip(band).map(|(floor, value)| floor + value).collect();
            let mut path = String::new();
            // An empty band would be a hairline.
            if length > 1 && band.iter().any(|value| *value > 0.0) {
                let upper = top.iter().enumerate();
                let lower = floor.iter().enumerate().rev();
                for (at, (step, value)) in upper.chain(lower).enumerate() {
                    let command = if at == 0 { 'M' } else { 'L' };
                    let (x, y) = (self.x(step, length), self.y(*value));
                    let _ = write!(path, "{command}{} {}", Short(x), Short(y));
                }
                path.push('Z');
            }
            paths.push(path);
            floor = top;
        }
        paths
    }

    /// Points, without the gaps between them.
    fn runs(&self, values: &[Option<f64>]) -> Vec<Vec<(f64, f64)>> {
        let points = values.iter().enumerate();
        let points: Vec<_> = points
            .map(|(step, value)| value.map(|value| (self.x(step, values.len()), self.y(value))))
            .collect();
        let runs = points.split(Option::is_none).filter(|run| !run.is_empty());
        runs.map(|run| run.iter().flatten().copied().collect()).collect()
    }
}

/// A coordinate with one digit after the point, and none where that is zero.
pub(super) struct Short(pub(super) f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        if tenths % 10 == 0 { write!(f, "{}", tenths / 10) } else { write!(f, "{:.1}", self.0) }
    }
}

/// The first round number that nothing is above.
pub(super) fn scale(values: impl IntoIterator<Item = f64>, least: f64) -> f64 {
    let max = values.into_iter().filter(|value| value.is_finite()).fold(least, f64::max);
    let power = 10f64.powf(max.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= max * 0.999).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { width: 119.0, height: 10.0, max: 100.0 };

    #[test]
    fn the_last_step_is_at_the_right_edge() {
        assert_eq!(FRAME.x(2, 3), 119.0);
        assert_eq!(FRAME.x(0, 3), 117.0);
        assert_eq!(FRAME.x(0, DASHBOARD_STEPS_MAX), 0.0);
    }

    #[test]
    fn lines_have_gaps_where_nothing_is_known() {
        let values = [Some(0.0), Some(55.0), None, Some(100.0)];
        assert_eq!(FRAME.line(&values), "M116 10L117 4.5M119 0L119 0");
        assert_eq!(FRAME.area(&values[..2]), "M118 10L118 10L119 4.5L119 10Z");
        assert_eq!(FRAME.line(&[]), "");
        assert_eq!(FRAME.line(&[None, None]), "");
    }

    #[test]
    fn what_is_too_much_stays_inside() {
        assert_eq!(FRAME.line(&[Some(-5.0), Some(1e9)]), "M118 10L119 0");
        let flat = Frame { max: 0.0, ..FRAME };
        assert_eq!(flat.line(&[Some(1.0), Some(f64::NAN)]), "M118 10L119 10");
    }

    #[test]
    fn bands_lie_on_each_other_and_empty_ones_are_not_drawn() {
        let bands = [vec![50.0, 50.0], vec![0.0, 0.0], vec![50.0, 25.0]];
        let paths = FRAME.stack(&bands);
        assert_eq!(paths[0], "M118 5L119 5L119 10L118 10Z");
        assert_eq!(paths[1], "");
        assert_eq!(paths[2], "M118 0L119 2.5L119 5L118 5Z");
        assert_eq!(FRAME.stack(&[vec![]]), [""]);
    }

    #[test]
    fn scales_are_round() {
        assert_eq!(scale([3.0, 41.0], 1.0), 50.0);
        assert_eq!(scale([100.0], 1.0), 100.0);
        assert_eq!(scale([1100.0], 1.0), 1500.0);
        assert_eq!(scale([], 1.0), 1.0);
        assert_eq!(scale([f64::NAN, f64::INFINITY], 10.0), 10.0);
    }
}
