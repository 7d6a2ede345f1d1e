//! Made-up machines for tests: a folder with what the kernel would show.

use std::fs;

use super::finding::{Finding, Level};
use super::machine::Machine;

/// A folder that looks like a root with /proc and /sys. It goes when it is dropped.
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    /// A machine with these files.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = tree.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    /// What reads it.
    pub(super) fn machine(&self) -> Machine {
        Machine::new(self.0.path(), None)
    }
}

/// The one finding with this name.
#[track_caller]
pub(super) fn named<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    let mut named = findings.iter().filter(|finding| finding.name == name);
    let finding = named.next();
    assert!(named.next().is_none(), "two findings: {name}");
    finding.unwrap_or_else(|| panic!("no finding {name}: {findings:#?}"))
}

/// The level and the command of the one finding with this name.
#[track_caller]
pub(super) fn verdict<'a>(findings: &'a [Finding], name: &str) -> (Level, &'a str) {
    let finding = named(findings, name);
    (finding.level, finding.command.as_deref().unwrap_or_default())
}
