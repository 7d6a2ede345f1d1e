//! The access log: a thread that writes what the workers have recorded.
//!
//! It writes whole lines, many at once, and the rest of a line that was cut comes before anything
//! else. A disk that is full or slow, and a reader that has gone or stopped, are its own trouble:
//! it tells of them now and then, tries again, and leaves the workers' buffers where they are, of
//! which there are so many and no more.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::limits::{
    ACCESS_LOG_BATCH, ACCESS_LOG_GOODBYE, ACCESS_LOG_PAUSE, ACCESS_LOG_REPORT, ACCESS_LOG_RETRY,
};
use crate::site::{AccessLog as Plan, AccessTarget};
use crate::worker::access::{Lines, Message, Sink, queue};

/// The access log of a server. It ends when this is dropped, after what is there is written, or
/// after a while.
#[derive(Debug)]
pub struct AccessLog {
    reopener: Reopener,
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

/// Has an access log open its file again.
#[derive(Clone, Debug)]
pub struct Reopener {
    orders: Arc<Orders>,
    sink: Sink,
    writer: Thread,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Orders {
    reopen: AtomicBool,
    end: AtomicBool,
}

impl AccessLog {
    /// Starts the log of so many workers. A path is taken from `folder` on.
    ///
    /// # Errors
    /// In words, when it cannot be written, or there is no thread for it.
    pub fn start(plan: &Plan, folder: &Path, workers: usize) -> Result<Self, String> {
        let place = match &plan.to {
            AccessTarget::File(path) => Place::File(folder.join(path)),
            AccessTarget::Stdout => Place::Stdout,
            AccessTarget::Stderr => Place::Stderr,
        };
        let file = match place.open() {
            Ok(file) => Some(file),
            // Nobody reads there yet.
            Err(error) if is_without_reader(&error) => None,
            Err(error) => return Err(place.trouble(&error)),
        };
        let (sink, lines) = queue(workers);
        let orders = Arc::new(Orders::default());
        let writer = Writer {
            place,
            file,
            lines,
            orders: Arc::clone(&orders),
            pending: Pending::default(),
            reported: None,
            end_until: None,
        };
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run())
            .map_err(|error| format!("cannot start the thread of the access log: {error}"))?;
        let writer = thread.thread().clone();
        let reopener = Reopener { orders: Arc::clone(&orders), sink, writer };
        Ok(Self { reopener, orders, thread })
    }

    /// Where workers put their records.
    pub fn sink(&self) -> Sink {
        self.reopener.sink.clone()
    }

    /// What has it open its file again.
    pub fn reopener(&self) -> Reopener {
        self.reopener.clone()
    }
}

impl Reopener {
    /// Opens the file anew, as after it was renamed. What is recorded from now on goes there; no
    /// line is lost or cut.
    pub fn reopen(&self) {
        self.orders.reopen.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        // It waits for lines, or for its file to be well again.
        self.sink.nudge();
        self.writer.unpark();
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.orders.end.store(true, Ordering::Relaxed);
        self.reopener.wake();
        // One that is stuck, as at a terminal that was stopped, is left behind.
        let until = Instant::now() + ACCESS_LOG_GOODBYE + ACCESS_LOG_PAUSE;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::park_timeout(LOOK);
        }
    }
}

/// Where lines go.
enum Place {
    File(PathBuf),
    Stdout,
    Stderr,
}

impl Place {
    fn open(&self) -> io::Result<File> {
        match self {
            // A FIFO is not waited for: neither for somebody to open it nor for room in it.
            Place::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(path),
            Place::Stdout => Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
            Place::Stderr => Ok(io::stderr().as_fd().try_clone_to_owned()?.into()),
        }
    }

    fn trouble(&self, error: &io::Error) -> String {
        let place = match self {
            Place::File(path) => path.display().to_string(),
            Place::Stdout => "on standard output".to_owned(),
            Place::Stderr => "on standard error".to_owned(),
        };
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
            _ if is_without_reader(error) => "nobody reads from it",
            _ if matches!(self, Place::File(_)) => {
                "make it and its folder writable for this user, or choose another place with \
                 --access-log or in [server.access_log]"
            }
            _ => "whoever read it is gone",
        };
        format!("cannot write the access log {place}: {error}; {remedy}")
    }
}

struct Writer {
    place: Place,
    /// None while it cannot be opened.
    file: Option<File>,
    lines: Receiver<Message>,
    orders: Arc<Orders>,
    pending: Pending,
    reported: Option<Instant>,
    /// Until when it goes on after it was told to end.
    end_until: Option<Instant>,
}

/// What is to be written.
#[derive(Default)]
struct Pending {
    waiting: VecDeque<Lines>,
    /// How much of the first of them has been written.
    written: usize,
}

impl Writer {
    fn run(mut self) {
        loop {
            let Some(()) = self.gather() else { return };
            if self.orders.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            if let Err(error) = self.write() {
                if self.is_over(&error) {
                    return;
                }
                self.rest(&error);
            }
        }
    }

    /// Waits until there is something to write or to look at, and takes all that there is; none at
    /// the end.
    fn gather(&mut self) -> Option<()> {
        if self.pending.waiting.is_empty() {
            let is_ending = self.orders.end.load(Ordering::Relaxed);
            match if is_ending { self.lines.try_recv().ok() } else { self.lines.recv().ok() } {
                Some(Message::Lines(lines)) => self.pending.waiting.push_back(lines),
                Some(Message::Look) => {}
                None => return None,
            }
        }
        while self.pending.waiting.len() < ACCESS_LOG_BATCH {
            match self.lines.try_recv() {
                Ok(Message::Lines(lines)) => self.pending.waiting.push_back(lines),
                Ok(Message::Look) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        Some(())
    }

    /// Writes what waits, as far as it can be.
    fn write(&mut self) -> io::Result<()> {
        if self.pending.waiting.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(self.place.open()?);
        }
        let Some(mut file) = self.file.as_ref() else { return Ok(()) };
        while !self.pending.waiting.is_empty() {
            match file.write_vectored(&self.pending.slices()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.pending.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether to leave unwritten what could not be written: at the end, where nothing but a reader
    /// who is slow stands in the way, only after a while.
    fn is_over(&mut self, error: &io::Error) -> bool {
        if !self.orders.end.load(Ordering::Relaxed) {
            return false;
        }
        let now = Instant::now();
        let until = *self.end_until.get_or_insert(now + ACCESS_LOG_GOODBYE);
        let is_over = error.kind() != io::ErrorKind::WouldBlock || now >= until;
        if is_over {
            let trouble = self.place.trouble(error);
            tracing::error!("{trouble}; the last records are lost");
        }
        is_over
    }

    /// Lets some time go by after a failure, unless there are orders.
    fn rest(&mut self, error: &io::Error) {
        let pause = match error.kind() {
            // A reader that is slow is no trouble, but for what is dropped meanwhile.
            io::ErrorKind::WouldBlock => ACCESS_LOG_PAUSE,
            _ => {
                self.report(error);
                // Who reads from a FIFO may come back, and a line that was cut is begun anew.
                if error.kind() == io::ErrorKind::BrokenPipe {
                    self.close();
                }
                ACCESS_LOG_RETRY
            }
        };
        std::thread::park_timeout(pause);
    }

    fn reopen(&mut self) {
        // The rest of a line goes where its beginning is.
        let _ = self.write();
        match self.place.open() {
            Ok(file) => {
                self.close();
                self.file = Some(file);
                tracing::info!("the access log was opened anew");
            }
            Err(error) => {
                let trouble = self.place.trouble(&error);
                tracing::error!("{trouble}; it is written where it was");
            }
        }
    }

    fn close(&mut self) {
        self.file = None;
        self.pending.back_to_line();
    }

    fn report(&mut self, error: &io::Error) {
        let now = Instant::now();
        let is_new = |last: Instant| now.saturating_duration_since(last) >= ACCESS_LOG_REPORT;
        if self.reported.is_none_or(is_new) {
            self.reported = Some(now);
            let trouble = self.place.trouble(error);
            tracing::error!("{trouble}; it is tried again");
        }
    }
}

impl Pending {
    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut from = self.written;
        let slices = self.waiting.iter().map(|lines| {
            let from = std::mem::take(&mut from);
            IoSlice::new(lines.bytes().get(from..).unwrap_or_default())
        });
        slices.collect()
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        while let Some(first) = self.waiting.front() {
            let length = first.bytes().len();
            if self.written < length {
                return;
            }
            self.written -= length;
            self.waiting.pop_front();
        }
    }

    /// Has a line that was begun be written anew.
    fn back_to_line(&mut self) {
        let Some(first) = self.waiting.front() else { return };
        let before = first.bytes().get(..self.written).unwrap_or_default();
        self.written = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    }
}

/// How often it is looked whether the thread has ended.
const LOOK: Duration = Duration::from_millis(1);

fn is_without_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
}
