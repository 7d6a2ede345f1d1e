//! Programs that run while something is measured: started on a CPU, watched, ended.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// A program in a process group of its own; it ends with this value.
pub(crate) struct Program {
    child: Child,
    group: Pid,
    log: PathBuf,
}

/// CPU time and memory of all processes of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads, and of children that have ended.
    pub(crate) cpu: Duration,
    /// Memory with shared pages counted once (PSS).
    pub(crate) memory_bytes: u64,
}

impl Program {
    /// Starts a command; what it writes goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{command:?}: {error}");
        let out = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let error = out.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(out).stderr(error).process_group(0);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = group.ok_or("a process without a number")?;
        Ok(Self { child, group, log: log.to_owned() })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal to all of its processes.
    pub(crate) fn signal(&self, signal: Signal) {
        // An error says that there is no such group any more.
        let _ = rustix::process::kill_process_group(self.group, signal);
    }

    /// The last lines that it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ")
    }

    /// What all of its processes have used so far.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for stat in group(self.group) {
            usage.cpu += stat.cpu;
            usage.memory_bytes += memory(stat.pid).unwrap_or(0);
        }
        usage
    }

    /// Descriptors that its first process has open.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    /// CPU time only; quick, for the edges of a window.
    pub(crate) fn cpu(&self) -> Duration {
        group(self.group).map(|stat| stat.cpu).sum()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let end = Instant::now() + TERM_PATIENCE;
        while Instant::now() < end && (self.ended().is_none() || group(self.group).next().is_some())
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// `taskset` for a command: the program starts on these CPUs, and so do its threads.
pub(crate) fn on_cpus(cpus: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpus]).arg(program);
    command
}

struct Stat {
    pid: i32,
    cpu: Duration,
}

/// The processes of a group (proc(5): fields 5, 14 to 17 of stat).
fn group(group: Pid) -> impl Iterator<Item = Stat> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(move |entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name stands in parentheses and may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        if *fields.first()? == "Z" || fields.get(2)?.parse() != Ok(group.as_raw_nonzero().get()) {
            return None;
        }
        let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok());
        let per_second = rustix::param::clock_ticks_per_second();
        let cpu = Duration::from_micros(ticks.sum::<u64>() * 1_000_000 / per_second);
        Some(Stat { pid, cpu })
    })
}

fn memory(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// A server gets so long to stop before it is killed.
const TERM_PATIENCE: Duration = Duration::from_secs(3);
const LAST_LINES: usize = 3;
