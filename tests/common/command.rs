//! The command as a process of its own, which never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::visitor::PATIENCE;

/// A server as a process; killed when dropped.
pub(crate) struct Running {
    /// The process.
    pub(crate) child: Child,
    addresses: Vec<SocketAddr>,
    log: Arc<Mutex<String>>,
    /// Standard output so far.
    said: Arc<Mutex<String>>,
}

impl Running {
    /// Starts a command and waits until it says where it listens.
    pub(crate) fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(&mut command(program, arguments, environment))
    }

    /// The same with a command that is there already.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let stdout = child.stdout.take().expect("standard output");
        let stderr = child.stderr.take().expect("standard error");
        let log = Arc::new(Mutex::new(String::new()));
        let said = Arc::new(Mutex::new(String::new()));
        let (addresses, log_too) = (Vec::new(), Arc::clone(&log));
        let mut running = Self { child, addresses, log: log_too, said: Arc::clone(&said) };
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                said.lock().expect("lines").push_str(&format!("{line}\n"));
                let address = line.strip_prefix("listening on http://");
                if let Some(address) = address.or(line.strip_prefix("listening on https://")) {
                    let _ = tell.send(address.parse().expect("an address"));
                }
            }
        });
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|n| n > 0) {
                log.lock().expect("log").push_str(&line);
                line.clear();
            }
        });
        let first = told.recv_timeout(PATIENCE);
        running.addresses.push(first.unwrap_or_else(|_| panic!("no address: {}", running.log())));
        running
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Waits for a line of standard output that holds `part`.
    pub(crate) fn waits_for_line(&self, part: &str) -> String {
        let start = Instant::now();
        loop {
            let said = self.said.lock().expect("lines").clone();
            if let Some(line) = said.lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "no `{part}` in {said}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a signal");
    }

    /// Tells it to end, and gives its exit code if it had one in time.
    pub(crate) fn terminate(mut self, within: Duration) -> Option<i32> {
        self.signal(Signal::TERM);
        self.exit_code(within)
    }

    pub(crate) fn exit_code(&mut self, within: Duration) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < within {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command that ends by itself left.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end, or to the end of our patience.
pub(crate) fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut child = command(program, arguments, environment)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let out = thread::spawn(move || read(&mut stdout));
    let err = thread::spawn(move || read(&mut stderr));
    let mut running =
        Running { child, addresses: Vec::new(), log: Arc::default(), said: Arc::default() };
    let code = running.exit_code(PATIENCE);
    drop(running);
    Ended { code, stdout: out.join().expect("output"), stderr: err.join().expect("errors") }
}

fn read(from: &mut Option<impl Read>) -> String {
    let mut text = String::new();
    from.as_mut().expect("a pipe").read_to_string(&mut text).expect("text");
    text
}

/// A command with none of our environment's settings of its own.
pub(crate) fn command(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGPRESS_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    command
}
