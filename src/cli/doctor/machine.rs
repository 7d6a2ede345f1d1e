//! What the kernel shows in /proc and /sys, read under a root that tests can replace. What is not
//! there, cannot be read or makes no sense is `None`, never an error: containers hide half of it.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

use crate::limits;

/// The machine, and the process that is asked about.
pub(super) struct Machine {
    root: PathBuf,
    process: String,
}

impl Machine {
    /// The machine whose /proc and /sys are under `root`, seen by a process; this one if none.
    pub(super) fn new(root: impl Into<PathBuf>, process: Option<u32>) -> Self {
        let process = process.map_or_else(|| "self".to_owned(), |process| process.to_string());
        Self { root: root.into(), process }
    }

    /// The text of a file, without white space around it.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let file = File::open(self.root.join(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(limits::DOCTOR_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file with one value.
    pub(super) fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A kernel setting by its name, as in `net.core.somaxconn`.
    pub(super) fn setting(&self, name: &str) -> Option<String> {
        self.text(&format!("proc/sys/{}", name.replace('.', "/")))
    }

    /// A file with a list of CPUs, as in `0-3,8`.
    pub(super) fn cpus(&self, path: &str) -> Option<Vec<usize>> {
        list(&self.text(path)?)
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// What is in a folder, in order; numbers by their size.
    pub(super) fn names(&self, path: &str) -> Option<Vec<String>> {
        let entries = fs::read_dir(self.root.join(path)).ok()?;
        let entries = entries.take(limits::DOCTOR_ENTRIES_MAX).filter_map(Result::ok);
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| (number_at_end(name), name.clone()));
        Some(names)
    }

    /// A file of the process, as in `limits`.
    pub(super) fn own(&self, file: &str) -> Option<String> {
        self.text(&format!("proc/{}/{file}", self.process))
    }

    /// A field of the process's status.
    pub(super) fn status(&self, field: &str) -> Option<String> {
        let status = self.own("status")?;
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| *name == field).map(|(_, value)| value.trim().to_owned())
    }

    /// Whether the process has a capability, by its number. `None` where that cannot be known.
    pub(super) fn is_capable(&self, number: u32) -> Option<bool> {
        let set = u64::from_str_radix(&self.status("CapEff")?, 16).ok()?;
        Some(set & (1 << number) != 0)
    }

    /// The soft and the hard limit of the process, by its name in /proc. `u64::MAX` is none.
    pub(super) fn limit(&self, name: &str) -> Option<(u64, u64)> {
        let limits = self.own("limits")?;
        let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
        let mut figures = rest.split_whitespace().map(|word| match word {
            "unlimited" => Some(u64::MAX),
            word => word.parse().ok(),
        });
        Some((figures.next()??, figures.next()??))
    }

    /// The files that the process has open; what one has at its start where that is not known.
    pub(super) fn open_files(&self) -> usize {
        let names = self.names(&format!("proc/{}/fd", self.process));
        names.map_or(OPEN_AT_START, |names| names.len())
    }

    /// The CPUs that the process may use.
    pub(super) fn allowed_cpus(&self) -> Option<Vec<usize>> {
        list(&self.status("Cpus_allowed_list")?)
    }

    /// The kernel's version: major and minor.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        let release = self.setting("kernel.osrelease")?;
        let mut parts = release.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// The numbers of a list of the kernel's, as in `0-3,8`; empty for none.
pub(super) fn list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= limits::DOCTOR_CPUS_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Numbers as a list of the kernel's: `0-3,8`.
pub(super) fn show(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let show = |(first, last): (usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.into_iter().map(show).collect::<Vec<_>>().join(",")
}

fn number_at_end(name: &str) -> u64 {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(u64::MAX)
}

/// Standard input, output and error, and what signals come by.
const OPEN_AT_START: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn lists_are_read_and_shown() {
        assert_eq!(list("0-3,8"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(list(""), Some(vec![]));
        assert_eq!(list("0-x"), None);
        assert_eq!(list("0-4000000000"), None);
        assert_eq!(show(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
    }

    #[test]
    fn limits_capabilities_and_versions_are_read() {
        let tree = Tree::new(&[
            ("proc/self/limits", "Limit  Soft\nMax open files   1024   unlimited   files\n"),
            ("proc/self/status", "Name:\tx\nCapEff:\t0000000000000400\nCpus_allowed_list:\t0,2\n"),
            ("proc/sys/kernel/osrelease", "5.14.0-427.el9.x86_64\n"),
        ]);
        let machine = tree.machine();
        assert_eq!(machine.limit("Max open files"), Some((1024, u64::MAX)));
        assert_eq!(machine.limit("Max locked memory"), None);
        assert_eq!((machine.is_capable(10), machine.is_capable(21)), (Some(true), Some(false)));
        assert_eq!(machine.allowed_cpus(), Some(vec![0, 2]));
        assert_eq!(machine.version(), Some((5, 14)));
        assert_eq!(machine.names("proc").unwrap(), ["self", "sys"]);
    }
}
