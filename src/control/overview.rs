//! What the control side knows of the server that runs, for those who ask: the admin pages, and
//! the commands that come by them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::metrics::snapshot::Life;

/// What is known of a server. Shared by the threads of the control side; no worker sees it.
#[derive(Debug)]
pub struct Overview {
    /// When the process started.
    pub started: SystemTime,
    ready: AtomicBool,
    life: Mutex<Life>,
    orders: Sender<Order>,
}

/// What somebody asks of the server, and where the answer goes. Who asks waits for it.
#[derive(Debug)]
pub struct Order {
    /// What.
    pub command: Command,
    /// Where the answer goes.
    pub reply: SyncSender<Reply>,
}

/// What can be asked of a server that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the site again, and serve it if it is one.
    Reload,
    /// Start the binary anew, and hand the listeners over to it.
    Upgrade,
}

/// How a command went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done; in a few words, what.
    Done(String),
    /// The site does not check; all that is wrong with it. The old one is served.
    Configuration(String),
    /// It failed otherwise.
    Failed(String),
}

impl Overview {
    /// What is known at the start, and where orders arrive.
    pub fn new() -> (Self, Receiver<Order>) {
        let (orders, ordered) = mpsc::channel();
        let (ready, life) = (AtomicBool::new(false), Mutex::default());
        (Self { started: SystemTime::now(), ready, life, orders }, ordered)
    }

    /// Whether new visitors are wanted: all workers serve, and it does not drain.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Says whether they are.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// What became of the server's life so far.
    pub fn life(&self) -> MutexGuard<'_, Life> {
        // What is in it is numbers and a text: whole, whoever panicked.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server for something, and waits for the answer.
    pub fn ask(&self, command: Command) -> Reply {
        let (reply, answer) = mpsc::sync_channel(1);
        if self.orders.send(Order { command, reply }).is_err() {
            return Reply::Failed("the server is about to end".into());
        }
        let answer = answer.recv_timeout(COMMAND_TIMEOUT);
        answer.unwrap_or_else(|_| Reply::Failed("no answer in time".into()))
    }
}

/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
