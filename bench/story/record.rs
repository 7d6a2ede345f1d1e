//! What was measured, as it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::scene::Kind;

/// All runs of one telling.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// The command that was given.
    pub(crate) command: String,
    pub(crate) short: bool,
    /// Who was to take part and could not, and why.
    pub(crate) missing: BTreeMap<String, String>,
    /// What went wrong on the way.
    pub(crate) partial: Vec<String>,
    pub(crate) runs: Vec<Run>,
}

/// One scene with one contender.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) scene: String,
    pub(crate) title: String,
    pub(crate) contender: String,
    pub(crate) label: String,
    /// Pages a second at most, where that was measured before.
    pub(crate) capacity: Option<f64>,
    /// And after it, by twice that load.
    #[serde(default)]
    pub(crate) capacity_after: Option<f64>,
    pub(crate) parts: Vec<PartRun>,
    pub(crate) load: Load,
    /// The visitors of the other page.
    pub(crate) beside: Option<Load>,
    /// Seconds since the start, and bytes of all processes of the server (PSS).
    pub(crate) memory: Vec<(f64, u64)>,
    /// The server ended in the middle of it: its last words.
    pub(crate) crashed: Option<String>,
}

/// A part of a scene.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PartRun {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// When all that happens at its beginning had happened, seconds since the start.
    pub(crate) begun_s: f64,
}

/// What bench/pace says of a load. The raw lists are left out where nobody looks at them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Load {
    pub(crate) arrived: u64,
    pub(crate) pages: u64,
    pub(crate) shed: u64,
    pub(crate) failures: BTreeMap<String, u64>,
    /// How late requests were sent.
    pub(crate) lag_ms: Option<Quantiles>,
    pub(crate) course: Option<Course>,
}

/// How it went over time.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Course {
    /// In each part of the scene.
    pub(crate) steps: Vec<Slice>,
    /// In each tenth of a second.
    pub(crate) slices: Vec<Slice>,
}

/// The requests that were due in some time.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Slice {
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    pub(crate) arrived: u64,
    pub(crate) pages: u64,
    pub(crate) shed: u64,
    pub(crate) failed: u64,
    /// Pages that came in that time, whenever they were due.
    pub(crate) came: u64,
    /// Requests that had not ended at its end.
    pub(crate) in_flight: u64,
    pub(crate) page_ms: Option<Quantiles>,
    pub(crate) shed_ms: Option<Quantiles>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Results {
    pub(crate) fn new(machine: Machine, short: bool) -> Self {
        let words = std::env::args().skip(1).filter(|word| word != "--bench");
        Self {
            machine,
            command: words.collect::<Vec<_>>().join(" "),
            short,
            missing: BTreeMap::new(),
            partial: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Goes on with results that are there.
    ///
    /// # Errors
    /// When they are of something else.
    pub(crate) fn take_over(&mut self, there: Self) -> Result<(), String> {
        if (&there.machine.commit, there.short) != (&self.machine.commit, self.short) {
            return Err(format!("what is there is of {}", there.machine.commit));
        }
        let command = format!("{}; {}", there.command, self.command);
        *self = Self { command, ..there };
        Ok(())
    }

    /// Keeps a run, in place of one that was there.
    pub(crate) fn put(&mut self, run: Run) {
        let is_same = |one: &Run| (&one.scene, &one.contender) == (&run.scene, &run.contender);
        match self.runs.iter_mut().find(|one| is_same(one)) {
            Some(one) => *one = run,
            None => self.runs.push(run),
        }
    }

    /// Notes who cannot take part, and says so.
    pub(crate) fn miss(&mut self, name: &str, why: &str) {
        eprintln!("missing: {name}: {why}");
        self.missing.insert(name.to_owned(), why.to_owned());
    }

    /// Notes what went wrong, and says so.
    pub(crate) fn complain(&mut self, message: &str) {
        eprintln!("! {message}");
        self.partial.push(message.to_owned());
    }

    /// Writes `raw.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), String> {
        let path = folder.join("raw.json");
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads what [`Results::save`] wrote.
    ///
    /// # Errors
    /// When it is not there, or not as it should be.
    pub(crate) fn load(folder: &Path) -> Result<Self, String> {
        let path = folder.join("raw.json");
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
