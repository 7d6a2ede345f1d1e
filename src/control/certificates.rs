//! The certificates of a server that runs: read when it starts, and again when their files change.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::limits::{TLS_EXPIRY_REMINDER, TLS_FILES_LOOK};
use crate::tls::ServerTls;
use crate::tls::files::{self, Files, Loaded, Stamp, Trouble};
use crate::tls::server::Certificates;

/// Looks after certificates until it is dropped. Handshakes use those of the moment; connections
/// that are open are left alone.
pub struct Keeper {
    thread: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    expiry: Arc<AtomicU64>,
}

/// What the thread works on.
struct Watch {
    files: Vec<Files>,
    tls: ServerTls,
    /// What the files looked like when they were read last, whatever came of it.
    seen: Vec<[Stamp; 2]>,
    /// What is in use.
    loaded: Vec<Loaded>,
    reminded: Instant,
    /// When the first of them expires, seconds since 1970; 0 without any.
    expiry: Arc<AtomicU64>,
}

impl Keeper {
    /// Reads the certificates, and has a thread look whether they change.
    ///
    /// # Errors
    /// In words: what is wrong with one of them, and what to do; or that there is no thread.
    pub fn start(files: Vec<Files>, http2: bool) -> Result<(Self, ServerTls), String> {
        let seen = stamps(&files);
        let loaded = load(&files)?;
        let tls = ServerTls::new(certificates(&loaded), http2)?;
        let (reminded, expiry) = (Instant::now(), Arc::default());
        let mut watch = Watch { files, tls: tls.clone(), seen, loaded, reminded, expiry };
        watch.tell("certificates");
        watch.warn();
        let keeper = Self::spawn(watch).map_err(|error| error.to_string())?;
        Ok((keeper, tls))
    }

    /// When the first of the certificates in use expires, seconds since 1970; none without any.
    pub fn expiry_unix_s(&self) -> Option<u64> {
        Some(self.expiry.load(Ordering::Relaxed)).filter(|expiry| *expiry > 0)
    }

    /// How often it has looked whether there is something new.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    fn spawn(mut watch: Watch) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicU64::new(0));
        let expiry = Arc::clone(&watch.expiry);
        let (is_over, looked) = (Arc::clone(&ended), Arc::clone(&looks));
        let thread = thread::Builder::new().name("certificates".into()).spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                thread::park_timeout(TLS_FILES_LOOK);
                watch.look();
                looked.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(Self { thread: Some(thread), ended, looks, expiry })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It is looked at for its end only: what it did is done.
            let _ = thread.join();
        }
    }
}

impl Watch {
    /// Reads all anew if a file has changed, and uses it if all of it is of use: of a certificate
    /// without its key, say, nothing is taken.
    fn look(&mut self) {
        // Before they are read: what is written meanwhile is another change.
        let now = stamps(&self.files);
        if now != self.seen {
            self.seen = now;
            match load(&self.files) {
                Ok(loaded) => {
                    self.tls.replace(certificates(&loaded));
                    self.loaded = loaded;
                    self.tell("new certificates");
                    self.warn();
                }
                Err(why) => {
                    tracing::error!("certificates have changed and stay as they were: {why}");
                }
            }
        } else if self.reminded.elapsed() >= TLS_EXPIRY_REMINDER {
            self.warn();
        }
    }

    /// Says which certificates are in use, and notes when the first of them expires.
    fn tell(&self, what: &str) {
        let each = |loaded: &Loaded| {
            let names = loaded.certificate.names().join(", ");
            let date =
                loaded.valid.map_or_else(|| "?".to_owned(), |(_, until)| files::date_of(until));
            format!("{names} (until {date})")
        };
        let shown: Vec<String> = self.loaded.iter().map(each).collect();
        let expiries = self.loaded.iter().filter_map(|loaded| loaded.valid);
        let expiries = expiries.map(|(_, until)| until.duration_since(UNIX_EPOCH));
        let first = expiries.map(|since| since.map_or(1, |since| since.as_secs().max(1))).min();
        self.expiry.store(first.unwrap_or(0), Ordering::Relaxed);
        tracing::info!(certificates = shown.join("; "), "{what}");
    }

    /// Says what is wrong with those in use, or will be soon.
    fn warn(&mut self) {
        self.reminded = Instant::now();
        for loaded in &self.loaded {
            let names = loaded.certificate.names().join(", ");
            for Trouble { message, remedy, .. } in loaded.warnings(SystemTime::now()) {
                tracing::warn!(names, "{message}; {remedy}");
            }
        }
    }
}

fn stamps(files: &[Files]) -> Vec<[Stamp; 2]> {
    files.iter().map(Files::stamps).collect()
}

fn load(files: &[Files]) -> Result<Vec<Loaded>, String> {
    let mut all = Vec::new();
    for files in files {
        let loaded = files.load().map_err(|Trouble { message, remedy, .. }| {
            let name = files.certificate.display();
            format!("{name}: {message}; {remedy}")
        })?;
        all.extend(loaded);
    }
    Ok(all)
}

fn certificates(loaded: &[Loaded]) -> Certificates {
    loaded.iter().map(|loaded| loaded.certificate.clone()).collect()
}
