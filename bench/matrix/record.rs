//! What was measured, as it is kept: one record a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::contender::Group;
use crate::machine::Machine;
use crate::pages::Seen;
use crate::scenario::Scenario;

/// All of one session of measuring.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// The command that was given.
    pub(crate) command: String,
    pub(crate) short: bool,
    pub(crate) contenders: Vec<Measured>,
    /// Who was to take part and could not, and why.
    pub(crate) missing: BTreeMap<String, String>,
    /// What went wrong on the way. Where there is anything, the results are partial.
    pub(crate) partial: Vec<String>,
    pub(crate) runs: Vec<Run>,
}

/// A contender that took part.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) group: Group,
    pub(crate) version: String,
}

/// One window of one contender under one load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) scenario: char,
    pub(crate) point: String,
    pub(crate) contender: String,
    pub(crate) round: u32,
    pub(crate) delay_ms: u64,
    /// Connections of a closed loop, or held open.
    pub(crate) connections: usize,
    /// Arrivals a second of an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) window_secs: f64,
    /// Pages in the window, by the API's count of its answers.
    pub(crate) pages: u64,
    pub(crate) pages_per_s: f64,
    /// CPU time a page, microseconds; none where too few pages came for a figure.
    pub(crate) cpu_us: Option<f64>,
    /// Of the whole load, its start included.
    pub(crate) latency_ms: Option<Quantiles>,
    /// At the end of the window, and when the server had just started.
    pub(crate) memory_bytes: u64,
    pub(crate) memory_start_bytes: u64,
    /// What the load generator counted as errors.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Pages compared with the reference meanwhile.
    pub(crate) seen: Seen,
    pub(crate) open: Option<Open>,
    /// The server ended in the middle of it: its last words.
    pub(crate) crashed: Option<String>,
}

/// What an open loop knows besides.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Open {
    pub(crate) pages: u64,
    pub(crate) shed: u64,
    pub(crate) goodput: f64,
    pub(crate) shed_ms: Option<Quantiles>,
    pub(crate) lag_ms: Option<Quantiles>,
    pub(crate) recovery_ms: Option<f64>,
    pub(crate) recovered: Option<bool>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Results {
    /// Writes `raw.json`, a run a line: after every point, so that what ends early is not lost.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), String> {
        let path = folder.join("raw.json");
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let head = Self { runs: Vec::new(), machine: self.machine.clone(), ..self.head() };
        let head = serde_json::to_string_pretty(&head).map_err(|error| failed(&error))?;
        let mut lines = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            lines.push(serde_json::to_string(run).map_err(|error| failed(&error))?);
        }
        let runs = format!("\"runs\": [\n{}\n]", lines.join(",\n"));
        let text = head.replace("\"runs\": []", &runs) + "\n";
        let new = folder.join("raw.json.new");
        fs::write(&new, text).map_err(|error| failed(&error))?;
        fs::rename(&new, &path).map_err(|error| failed(&error))
    }

    /// Reads what [`Results::save`] wrote.
    ///
    /// # Errors
    /// When it is not there, or not as it should be.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// How many times the CPU time of another a contender takes: compared round by round, as two
    /// runs of one round met the same machine and those of different rounds may not have.
    pub(crate) fn ratio(
        &self,
        scenario: char,
        point: &str,
        over: &str,
        under: &str,
    ) -> Option<Spread> {
        let ratios = self.of(scenario, point, over).filter_map(|run| {
            let same = self.of(scenario, point, under).find(|other| other.round == run.round)?;
            Some(run.cpu_us? / same.cpu_us?)
        });
        Spread::of(ratios)
    }

    /// Takes over what was measured before, but for the points that are measured again.
    pub(crate) fn take_over(&mut self, before: Self, again: &[Scenario]) {
        self.command = format!("{}; {}", before.command, self.command);
        self.partial = before.partial;
        // What went wrong with what is measured again is of no interest any more.
        let of_again = |said: &String| {
            let of = |one: &Scenario| {
                let mut points = one.points.iter();
                points.any(|point| said.contains(&format!(" at {}, {}, ", one.letter, point.name)))
            };
            said.starts_with(INTERRUPTED) || again.iter().any(of)
        };
        self.partial.retain(|said| !of_again(said));
        self.contenders = before.contenders;
        let is_again = |run: &Run| {
            let mut points = again.iter().filter(|one| one.letter == run.scenario);
            points.any(|one| one.points.iter().any(|point| point.name == run.point))
        };
        self.runs = before.runs.into_iter().filter(|run| !is_again(run)).collect();
        let kept: BTreeSet<String> = self.runs.iter().map(|run| run.scenario.to_string()).collect();
        if !kept.is_empty() && before.machine.commit != self.machine.commit {
            // The name of a commit is a word; what follows it is told of commits before.
            let (then, now) = (&before.machine.commit, &self.machine.commit);
            let kept: Vec<String> = kept.into_iter().collect();
            self.machine.commit = format!("{now} ({} of before, {then})", kept.join(", "));
        }
    }

    fn head(&self) -> Self {
        Self {
            machine: self.machine.clone(),
            command: self.command.clone(),
            short: self.short,
            contenders: self.contenders.clone(),
            missing: self.missing.clone(),
            partial: self.partial.clone(),
            runs: Vec::new(),
        }
    }

    /// The runs of one contender at one point.
    pub(crate) fn of<'a>(
        &'a self,
        scenario: char,
        point: &'a str,
        contender: &'a str,
    ) -> impl Iterator<Item = &'a Run> + Clone {
        self.runs.iter().filter(move |run| {
            run.scenario == scenario && run.point == point && run.contender == contender
        })
    }

    /// The points of a scenario, in the order they were measured.
    pub(crate) fn points(&self, scenario: char) -> Vec<&str> {
        let mut points: Vec<&str> = Vec::new();
        for run in self.runs.iter().filter(|run| run.scenario == scenario) {
            if !points.contains(&run.point.as_str()) {
                points.push(&run.point);
            }
        }
        points
    }

    /// The middle of one figure over the rounds.
    pub(crate) fn middle(
        &self,
        scenario: char,
        point: &str,
        contender: &str,
        figure: impl Fn(&Run) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.of(scenario, point, contender).filter_map(figure))
    }
}

/// Median, lowest and highest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { median, low, high })
    }

    /// Whether a ratio says nothing about which of the two is larger.
    pub(crate) fn is_undecided(self) -> bool {
        self.low <= 1.0 && 1.0 <= self.high
    }
}

/// How the note begins that a session ended early.
pub(crate) const INTERRUPTED: &str = "interrupted";
