//! Where it was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The facts that a figure depends on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    /// Day of the run, UTC.
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) wrk: String,
    pub(crate) files_max: u64,
}

impl Machine {
    pub(crate) fn look(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |path: &str, name: &str| {
            let text = read(path);
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
            value.unwrap_or("unknown").to_owned()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let memory_kib: u64 =
            memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let numbers = kernel.split(['-', '+']).next().unwrap_or_default().trim().to_owned();
        let git = ["git", "describe", "--always", "--dirty", "--exclude=*"];
        Self {
            date: first_line(root, &["date", "-u", "+%F"]),
            commit: first_line(root, &git),
            cpu: field("/proc/cpuinfo", "model name"),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (memory_kib + (1 << 19)) >> 20,
            kernel: format!("Linux {numbers}"),
            rustc: first_line(root, &["rustc", "--version"]),
            wrk: first_line(root, &["wrk", "--version"]),
            files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(u64::MAX),
        }
    }
}

/// The first line that a command prints, on whichever stream.
pub(crate) fn first_line(directory: &Path, command: &[&str]) -> String {
    let Some((program, arguments)) = command.split_first() else { return String::new() };
    let Ok(output) = Command::new(program).args(arguments).current_dir(directory).output() else {
        return "unknown".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown").trim().to_owned()
}
