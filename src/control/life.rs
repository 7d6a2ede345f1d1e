//! The life of a server that was started from a command line: signals, commands, reloads, its
//! successor, and its end.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::limits::CONTROL_LOOK;

use super::inheritance::Predecessor;
use super::notify::{self, Watchdog};
use super::overview::{Command, Order, Overview, Reply};
use super::server::{Server, StartError};
use super::serving::Serving;
use super::upgrade::{Binary, Progress, Successor};

/// The signals that a server heeds, caught until this is dropped. Then they do again what they do
/// to a process that catches none: they end it.
pub struct Heeded {
    told: Receiver<i32>,
    ears: Handle,
}

impl Heeded {
    /// Catches TERM, QUIT and INT, which end a server, HUP, USR1 and USR2, from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn catch() -> io::Result<Self> {
        let mut signals = Signals::new(HEEDED)?;
        let (tell, told) = mpsc::channel();
        let ears = signals.handle();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if tell.send(signal).is_err() {
                    return;
                }
            }
        })?;
        let mut heeding = HEEDING.lock().unwrap_or_else(PoisonError::into_inner);
        if heeding.is_none() {
            // A handler, once there is one, stays. What the kernel did without it, this does.
            for signal in HEEDED {
                flag::register_conditional_default(signal, &UNHEEDED)?;
            }
        }
        *heeding = Some(heeding.unwrap_or(0) + 1);
        UNHEEDED.store(false, Ordering::SeqCst);
        Ok(Self { told, ears })
    }
}

impl Drop for Heeded {
    fn drop(&mut self) {
        let mut heeding = HEEDING.lock().unwrap_or_else(PoisonError::into_inner);
        let left = heeding.unwrap_or(0).saturating_sub(1);
        *heeding = Some(left);
        UNHEEDED.store(left == 0, Ordering::SeqCst);
        self.ears.close();
    }
}

/// How many heed signals; none before the first.
static HEEDING: Mutex<Option<usize>> = Mutex::new(None);
/// Whether nobody does any more.
static UNHEEDED: AtomicBool = AtomicBool::new(false);

const HEEDED: [i32; 6] = [SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1, SIGUSR2];

/// What a server has besides itself, while it lives.
pub struct Belongings {
    /// Signals.
    pub signals: Heeded,
    /// Commands.
    pub orders: Receiver<Order>,
    /// What is shown of it.
    pub overview: Arc<Overview>,
    /// Its binary.
    pub binary: Binary,
    /// The process whose place it took, if any.
    pub predecessor: Option<Predecessor>,
    /// What is let go of as soon as a successor serves, as it needs the same: the admin listener.
    pub until_succeeded: Option<Box<dyn Any>>,
}

/// Lets a server run until it is told to end, or has handed all over to a successor. The first
/// signal drains it, a second one ends it at once.
///
/// # Errors
/// When a worker ended otherwise than it was told to.
pub fn live(serving: Serving, belongings: Belongings) -> Result<(), StartError> {
    let watchdog = Watchdog::of_system(belongings.predecessor.is_some());
    let (successor, ends) = (None, 0);
    let mut life = Life { serving, belongings, watchdog, successor, ends, is_succeeded: false };
    life.belongings.overview.set_ready(true);
    life.belongings.overview.life().loaded_unix_ms = unix_ms();
    notify::ready();
    while !life.serving.server().is_finished() || !life.is_ending() {
        match life.belongings.signals.told.recv_timeout(CONTROL_LOOK) {
            Ok(signal) => life.heed(signal),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => life.end("the signals are gone"),
        }
        life.look();
    }
    let outcome = life.serving.into_server().join();
    // Heeded to the end of the process, which is not to fail for being told twice.
    std::mem::forget(life.belongings.signals);
    outcome
}

/// The same for a server of something else than a site, which has nothing to read again and no
/// successor: other signals are not heeded.
///
/// # Errors
/// When a worker ended otherwise than it was told to.
pub fn live_simply(mut server: Server, signals: &Heeded) -> Result<(), StartError> {
    let mut ends = 0;
    while !server.is_finished() || ends == 0 {
        match signals.told.recv_timeout(CONTROL_LOOK) {
            Ok(SIGHUP | SIGUSR1 | SIGUSR2) | Err(RecvTimeoutError::Timeout) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                ends += 1;
                if ends == 1 { server.drain() } else { server.stop() }
            }
        }
        server.look_after();
    }
    server.join()
}

struct Life {
    serving: Serving,
    belongings: Belongings,
    watchdog: Watchdog,
    /// A process that is to take our place, and who asked for it.
    successor: Option<(Successor, Option<SyncSender<Reply>>)>,
    /// How often it was told to end.
    ends: u32,
    /// Whether another process serves in our place.
    is_succeeded: bool,
}

impl Life {
    fn is_ending(&self) -> bool {
        self.ends > 0 || self.is_succeeded
    }

    fn heed(&mut self, signal: i32) {
        match signal {
            SIGHUP => drop(self.reload()),
            SIGUSR1 => {
                self.serving.reopen_logs();
                tracing::info!("logs are opened anew");
            }
            SIGUSR2 => {
                // Who has asked by a signal reads the log.
                let _ = self.upgrade(None);
            }
            _ => self.end(signal_hook::low_level::signal_name(signal).unwrap_or("?")),
        }
    }

    /// What is to be done now and then.
    fn look(&mut self) {
        while let Ok(Order { command, reply }) = self.belongings.orders.try_recv() {
            match command {
                Command::Reload => drop(reply.try_send(self.reload())),
                Command::Upgrade => {
                    if let Err((why, reply)) = self.upgrade(Some(reply)) {
                        answer(reply.as_ref(), Reply::Failed(why));
                    }
                }
            }
        }
        self.follow_successor();
        if self.belongings.predecessor.take_if(|one| one.is_gone()).is_some() {
            self.serving.server_mut().is_left_alone();
        }
        let incidents = self.serving.look_after();
        let expiry = self.serving.certificate_expiry_unix_s();
        self.belongings.overview.life().certificate_expiry_unix_s = expiry;
        if incidents != Default::default() {
            let mut life = self.belongings.overview.life();
            life.workers_restarted += incidents.restarted;
            life.workers_stalled += incidents.stalled;
        }
        self.watchdog.beat(Instant::now());
    }

    fn end(&mut self, signal: &str) {
        self.ends += 1;
        tracing::info!(signal, "{}", if self.ends == 1 { "drain" } else { "stop" });
        self.belongings.overview.set_ready(false);
        notify::stopping();
        if let Some((mut successor, reply)) = self.successor.take() {
            successor.end();
            answer(reply.as_ref(), Reply::Failed("the server was told to end".into()));
        }
        let server = self.serving.server_mut();
        if self.ends == 1 { server.drain() } else { server.stop() }
    }

    fn reload(&mut self) -> Reply {
        if self.is_ending() {
            return Reply::Failed("the server is about to end".into());
        }
        notify::reloading();
        let reply = self.serving.reload();
        let mut life = self.belongings.overview.life();
        match &reply {
            Reply::Done(how) => {
                life.reloads += 1;
                life.reload_problem.clear();
                life.loaded_unix_ms = unix_ms();
                tracing::info!("the site was read again: {how}");
            }
            Reply::Configuration(why) | Reply::Failed(why) => {
                life.reloads_failed += 1;
                life.reload_problem.clone_from(why);
                tracing::error!("the site stays as it was: {why}");
            }
        }
        drop(life);
        notify::ready();
        reply
    }

    /// Starts a successor. Who asked is answered when it serves.
    fn upgrade(&mut self, reply: Option<SyncSender<Reply>>) -> Result<(), Asked> {
        let refused = match () {
            () if self.is_ending() => Some("the server is about to end"),
            () if self.successor.is_some() => Some("an upgrade is under way already"),
            () => why_none(std::process::id()),
        };
        if let Some(why) = refused {
            tracing::warn!("no upgrade: {why}");
            return Err((why.into(), reply));
        }
        let server = self.serving.server();
        let (binary, spare) = (&self.belongings.binary, server.is_spare());
        match Successor::start(binary, server.sockets(), spare) {
            Ok(successor) => {
                tracing::info!(pid = successor.pid(), "an upgrade: the successor is started");
                self.successor = Some((successor, reply));
                Ok(())
            }
            Err(why) => {
                self.upgrade_failed(&why);
                Err((why, reply))
            }
        }
    }

    fn follow_successor(&mut self) {
        let Some((successor, reply)) = &mut self.successor else { return };
        let (pid, reply) = (successor.pid(), reply.take());
        match successor.progress() {
            Progress::Starting => {
                if let Some((_, place)) = &mut self.successor {
                    *place = reply;
                }
            }
            Progress::Failed(why) => {
                self.successor = None;
                self.upgrade_failed(&why);
                answer(reply.as_ref(), Reply::Failed(why));
            }
            Progress::Serves => {
                self.successor = None;
                self.is_succeeded = true;
                tracing::info!(pid, "the successor serves: handing over");
                self.belongings.overview.set_ready(false);
                notify::main_process(pid);
                self.serving.server_mut().hand_over();
                answer(reply.as_ref(), Reply::Done(format!("process {pid} serves now")));
                self.belongings.until_succeeded = None;
            }
        }
    }

    fn upgrade_failed(&self, why: &str) {
        tracing::error!("no upgrade: {why}; this process goes on serving");
        self.belongings.overview.life().upgrades_failed += 1;
    }
}

/// Why a process of this number can have no successor. With the first process of a namespace, such
/// as a container's, the kernel ends all others there (pid_namespaces(7)).
fn why_none(pid: u32) -> Option<&'static str> {
    (pid == 1).then_some(
        "this is process 1, as in a container, and a successor would end with it: start another \
         container and end this one, or `ringpress reload` if it is for the site",
    )
}

/// Why an upgrade was not begun, and who asked for it.
type Asked = (String, Option<SyncSender<Reply>>);

fn answer(to: Option<&SyncSender<Reply>>, reply: Reply) {
    // Who has not waited does not want to know.
    drop(to.map(|to| to.try_send(reply)));
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::time::Duration;

    use signal_hook::low_level;

    use super::*;

    /// Set for the process that is to end.
    const IN_CHILD: &str = "RINGPRESS_TEST_OF_SIGNALS";

    #[test]
    fn signals_that_nobody_heeds_any_more_end_the_process() {
        if std::env::var_os(IN_CHILD).is_some() {
            let first = Heeded::catch().unwrap();
            drop(Heeded::catch().unwrap());
            drop(first);
            let heeded = Heeded::catch().unwrap();
            low_level::raise(SIGTERM).unwrap();
            assert_eq!(heeded.told.recv_timeout(Duration::from_secs(10)), Ok(SIGTERM));
            drop(heeded);
            low_level::raise(SIGTERM).unwrap();
            return;
        }
        let name = "control::life::tests::signals_that_nobody_heeds_any_more_end_the_process";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name]).env(IN_CHILD, "1");
        let ended = child.output().unwrap();
        let text = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.signal(), Some(SIGTERM), "{text}");
    }
}
