//! The running programs: the API, the servers that are measured, and the load on them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::contender::Contender;
use crate::pages::{self, Reference};
use crate::prepare::Tools;
use crate::process::{Program, on_cpus};

/// What all runs share.
pub(crate) struct Arena {
    pub(crate) root: PathBuf,
    pub(crate) tools: Tools,
    pub(crate) api: Api,
    scratch: tempfile::TempDir,
    next_port: u16,
}

impl Arena {
    /// Starts the API.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn open(root: &Path, tools: Tools) -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(|error| format!("scratch: {error}"))?;
        let port = free_port(API_PORT)?;
        let api = Api::start(&tools.mock_api, port, scratch.path())?;
        let arena = Self { root: root.to_owned(), tools, api, scratch, next_port: FIRST_PORT };
        arena.make_shedding_site()?;
        Ok(arena)
    }

    /// Starts a contender on the measured CPU and waits for its first page.
    ///
    /// # Errors
    /// When it ends or gives no page in time, with its last words.
    pub(crate) fn start(
        &mut self,
        contender: &Contender,
        workers: &str,
        manner: Manner,
    ) -> Result<Server, String> {
        let port = free_port(self.next_port)?;
        self.next_port = if port > LAST_PORT { FIRST_PORT } else { port + 1 };
        let scratch = self.scratch.path().join(format!("{}-{port}", contender.name));
        fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let shedding = self.shedding_site().to_string_lossy().into_owned();
        let fill = |text: &str| {
            text.replace("{port}", &port.to_string())
                .replace("{api}", &self.api.port.to_string())
                .replace("{scratch}", &scratch.to_string_lossy())
                .replace("{root}", &self.root.to_string_lossy())
                .replace("{workers}", workers)
                .replace("{memo}", if manner.memo { MEMO } else { "off" })
                .replace("{site}", if manner.sheds { &shedding } else { SITE })
        };
        let directory = self.root.join(&contender.directory);
        let (program, arguments) = contender.run.split_first().ok_or("an empty `run`")?;
        let program = PathBuf::from(fill(program));
        // A path in `run` is one from the contender's directory; a bare name one of PATH.
        let program =
            if program.components().count() > 1 { directory.join(program) } else { program };
        let cpus = workers.trim_end_matches(',');
        let mut command = on_cpus(cpus, &program);
        command.args(arguments.iter().map(|argument| fill(argument))).current_dir(directory);
        command.envs(contender.environment.iter().map(|(name, value)| (name, fill(value))));
        let log = scratch.join("log");
        let program = Program::start(command, &log)?;
        let mut server = Server { contender: contender.clone(), program, port, start_bytes: 0 };
        server.wait()?;
        server.start_bytes = server.program.usage().memory_bytes;
        Ok(server)
    }

    /// The right pages, from our own server.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn reference(&mut self) -> Result<Reference, String> {
        self.api.delay(0)?;
        let ours = crate::contender::ours(true).find(|one| one.name == "epoll");
        let ours = ours.ok_or("no build of our own")?;
        let server = self.start(&ours, "0,", Manner::default())?;
        Reference::learn(server.port)
    }

    /// The same site, but that it sheds as any other does.
    fn shedding_site(&self) -> PathBuf {
        self.scratch.path().join("site")
    }

    fn make_shedding_site(&self) -> Result<(), String> {
        let (from, to) = (self.root.join(SITE), self.shedding_site());
        let said = |error: std::io::Error| format!("{}: {error}", from.display());
        fs::create_dir_all(&to).map_err(said)?;
        for file in fs::read_dir(&from).map_err(said)? {
            let file = file.map_err(said)?;
            let mut text = fs::read_to_string(file.path()).map_err(said)?;
            if file.file_name() == "site.toml" {
                let (before, after) = text
                    .split_once(NEVER_SHEDS)
                    .ok_or_else(|| format!("{}: no line {NEVER_SHEDS:?}", file.path().display()))?;
                text = format!("{before}{after}");
            }
            fs::write(to.join(file.file_name()), text).map_err(said)?;
        }
        Ok(())
    }
}

/// How a server of ours is run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Keeps finished pages, as it does by itself.
    pub(crate) memo: bool,
    /// Turns visitors away where it has too many, as it does by itself.
    pub(crate) sheds: bool,
}

/// The API that contenders ask.
pub(crate) struct Api {
    pub(crate) port: u16,
    pub(crate) program: Program,
    agent: ureq::Agent,
}

impl Api {
    /// Starts one on the load's CPU and waits for its first answer.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(program: &Path, port: u16, scratch: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        let cpu = LOAD_CPU.to_string();
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--cpu", &cpu]);
        let mut program = Program::start(command, &scratch.join(format!("api-{port}.log")))?;
        let agent = pages::agent(Duration::from_secs(20));
        let end = Instant::now() + START_PATIENCE;
        while pages::get(&agent, port, "/count/0").is_err() {
            if program.ended().is_some() || Instant::now() > end {
                return Err(format!("the mock API does not start: {}", program.last_words()));
            }
            thread::sleep(POLL);
        }
        Ok(Self { port, program, agent })
    }

    /// How long its answers take from now on.
    pub(crate) fn delay(&self, ms: u64) -> Result<(), String> {
        self.tell("delay", ms)
    }

    /// Changes how it behaves from now on.
    pub(crate) fn tell(&self, what: &str, value: u64) -> Result<(), String> {
        pages::get(&self.agent, self.port, &format!("/{what}/{value}")).map(drop)
    }

    /// Whether it has hardly a descriptor left: what is then measured is its own limit.
    pub(crate) fn is_full(&self) -> bool {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.is_some_and(|limit| self.program.descriptors() as u64 * 100 >= limit * 95)
    }

    /// How many answers it has given.
    pub(crate) fn answers(&self) -> Result<u64, String> {
        let text = pages::get(&self.agent, self.port, "/count/0")?;
        text.trim().parse().map_err(|error| format!("the mock API counts {text:?}: {error}"))
    }
}

/// A contender that runs.
pub(crate) struct Server {
    pub(crate) contender: Contender,
    pub(crate) program: Program,
    pub(crate) port: u16,
    /// Memory after its first page.
    pub(crate) start_bytes: u64,
}

impl Server {
    fn wait(&mut self) -> Result<(), String> {
        let agent = pages::agent(Duration::from_secs(2));
        let end = Instant::now() + START_PATIENCE;
        loop {
            let said = match pages::get(&agent, self.port, "/users/1") {
                Ok(_) => return Ok(()),
                Err(said) => said,
            };
            if let Some(status) = self.program.ended() {
                return Err(format!("does not start ({status}): {}", self.program.last_words()));
            }
            if Instant::now() > end {
                let words = self.program.last_words();
                return Err(format!("gives no page within {START_PATIENCE:?}: {said}; {words}"));
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it still runs; if not, its last words.
    pub(crate) fn alive(&mut self) -> Result<(), String> {
        match self.program.ended() {
            None => Ok(()),
            Some(status) => Err(format!("ended ({status}): {}", self.program.last_words())),
        }
    }
}

/// A load generator that runs beside the API, and what it says.
pub(crate) struct Generator {
    child: std::process::Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Generator {
    /// Starts a command on the load's CPU.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(program: &Path, arguments: &[String]) -> Result<Self, String> {
        let mut command = on_cpus(&LOAD_CPU.to_string(), program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let out = child.stdout.take().ok_or("a load without output")?;
        Ok(Self { child, out: BufReader::new(out) })
    }

    /// The next line.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.out.read_line(&mut line) {
            Ok(0) => Err("the load ended without a result".to_owned()),
            Ok(_) => Ok(line),
            Err(error) => Err(format!("the load's output: {error}")),
        }
    }

    /// Tells wrk to stop and to print what it has.
    pub(crate) fn interrupt(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself.
        let _ = pid.map(|pid| kill_process(pid, Signal::INT));
    }

    /// The last line that is a JSON object.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn result<T: serde::de::DeserializeOwned>(mut self) -> Result<T, String> {
        let mut last = None;
        while let Ok(line) = self.line() {
            last = Some(line).filter(|line| line.starts_with('{')).or(last);
        }
        let line = last.ok_or("the load ended without a result")?;
        serde_json::from_str(&line).map_err(|error| format!("the load's result: {error}: {line}"))
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // It has ended, or is of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The failures that have occurred, by name.
pub(crate) fn failures(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let some = counts.iter().filter(|(_, count)| *count > 0);
    some.map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// The first port from `first` on that nobody listens on.
pub(crate) fn free_port(first: u16) -> Result<u16, String> {
    let ports = first..first.saturating_add(PORTS_TRIED);
    let free = ports.clone().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.ok_or(format!("the ports {} to {} are all busy", ports.start, ports.end - 1))
}

/// The CPU of the API and of the load; servers have CPU 0.
pub(crate) const LOAD_CPU: usize = 1;
const API_PORT: u16 = 9100;
const FIRST_PORT: u16 = 9200;
const LAST_PORT: u16 = 9900;
const PORTS_TRIED: u16 = 100;
const START_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Finished pages are kept in the scenario of the hot page and nowhere else: bodies that differ
/// are what the others are about.
const MEMO: &str = "4MiB";
const SITE: &str = "bench/site";
/// The line of its site.toml by which it answers everyone, however late.
const NEVER_SHEDS: &str = "queue_target = false\n";
