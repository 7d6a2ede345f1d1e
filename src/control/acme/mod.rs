//! Certificates from an ACME directory (RFC 8555), such as Let's Encrypt's: got, kept, renewed.
//!
//! On a thread of its own that belongs to the control side, as asking a directory blocks. The
//! server serves from the start, with the certificate that is there or without one: what is wrong
//! here is logged and tried again. Challenges are http-01 only: the workers answer them from
//! [`Challenges`], before anything else they do with a request. Of several servers with one folder
//! one asks, and all answer (`shared`).
//!
//! Who serves TLS learns where the certificate is from [`Acme::issued`], and that there is another
//! by looking at that file.

mod certificate;
mod client;
mod failure;
mod order;
mod renewal;
mod shared;
mod storage;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use crate::config::{Acme, Issued};
use crate::limits::{ACME_LOOK, ACME_SHARE_LOOK};
use crate::page::Challenges;

use certificate::Certificate;
use client::{Client, Roots};
use failure::Failure;
use order::Attempt;
use renewal::{Decision, Held, decide};
use storage::Storage;

/// Gets certificates, and renews them. Made before the server starts, started after.
pub struct Keeper {
    config: Acme,
    issued: Issued,
    storage: Storage,
    roots: Roots,
    challenges: Arc<Challenges>,
}

/// The thread of a [`Keeper`]; told to end when this is dropped.
pub struct Keeping {
    _stop: Sender<()>,
}

impl Keeper {
    /// Opens the folder and looks at what is in it.
    ///
    /// # Errors
    /// What is wrong with the folder, or with `ca`, and what to do about it. A key that others can
    /// read is refused.
    pub fn new(config: &Acme) -> Result<Self, String> {
        let storage = Storage::open(&config.storage).map_err(|error| error.to_string())?;
        let keeper = Self {
            config: config.clone(),
            issued: config.issued(),
            storage,
            roots: Roots::read(config.ca.as_ref())?,
            challenges: Arc::default(),
        };
        keeper.held().map_err(|failure| failure.cause)?;
        Ok(keeper)
    }

    /// What would keep it from being made, or from keeping what it gets, if this process tried;
    /// none if nothing does. Nothing is made or changed.
    pub fn trouble(config: &Acme) -> Option<String> {
        if let Err(error) = Storage::look(&config.storage) {
            return Some(error.to_string());
        }
        if !config.storage.exists() {
            return None;
        }
        Self::new(config).err()
    }

    /// What the workers are to answer.
    pub fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// Starts the thread. By then the workers should be answering.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub fn start(self, listening: &[SocketAddr]) -> io::Result<Keeping> {
        if !listening.iter().any(|address| address.port() == HTTP_PORT) {
            tracing::info!(
                ?listening,
                "the directory asks at port {HTTP_PORT}, where we do not listen: something must \
                 lead from there to here"
            );
        }
        let (stop, stopped) = mpsc::channel();
        // Not joined at the end: a directory that does not answer must not hold it up, and what is
        // written is there whole or not at all.
        std::thread::Builder::new().name("acme".into()).spawn(move || self.run(&Stop(stopped)))?;
        Ok(Keeping { _stop: stop })
    }

    fn run(&self, stop: &Stop) {
        let (mut failures, mut told, mut seen) = (0, None, None);
        loop {
            let wait = match self.turn(stop, &mut told) {
                Ok(wait) => {
                    failures = 0;
                    wait
                }
                Err(End::Stopped) => return,
                Err(End::Failed(failure)) => {
                    failures += 1;
                    let pause = renewal::pause(failures, failure.retry_after, chance());
                    self.tell(&failure, pause);
                    pause
                }
            };
            if self.help(stop, wait, &mut seen).is_err() {
                return;
            }
        }
    }

    /// Waits, and answers meanwhile what other servers with the same folder are asked.
    fn help(&self, stop: &Stop, time: Duration, seen: &mut Option<String>) -> Result<(), End> {
        let end = Instant::now() + time;
        loop {
            shared::follow(&self.storage, &self.challenges, seen);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            stop.wait(left.min(ACME_SHARE_LOOK))?;
        }
    }

    /// Looks whether the certificate will do, and gets another if not; says how long there is
    /// nothing to do. `told` is the certificate that was told of last.
    fn turn(&self, stop: &Stop, told: &mut Option<u64>) -> Result<Duration, End> {
        let Some(_lock) = self.storage.lock().map_err(Failure::from)? else {
            tracing::debug!("another process keeps the certificate of this folder");
            return Ok(ACME_LOOK);
        };
        shared::withdraw(&self.storage);
        let held = self.held()?;
        match self.decide(held.as_ref()) {
            Decision::Keep(left) => {
                let digest = held.map(|held| held.certificate.digest);
                if digest != *told {
                    *told = digest;
                    let (names, renewed_in_s) = (&self.config.names, left.as_secs());
                    let file = self.issued.certificate.display();
                    tracing::info!(?names, %file, renewed_in_s, "a certificate is there");
                }
                Ok(left.min(ACME_LOOK))
            }
            Decision::Ask(why) => {
                let (names, directory) = (&self.config.names, &self.config.directory);
                tracing::info!(?names, directory, why, "asking for a certificate");
                self.get(stop)?;
                Ok(Duration::ZERO)
            }
        }
    }

    /// Gets a certificate and puts it in its place.
    fn get(&self, stop: &Stop) -> Result<(), End> {
        let attempt = Attempt {
            config: &self.config,
            storage: &self.storage,
            challenges: &self.challenges,
            client: Client::new(&self.roots),
            stop,
        };
        let text = format!("{FROM}{}\n{}", self.config.directory, attempt.run()?);
        // What would be renewed at once would be asked for without end.
        if let Decision::Ask(why) = self.decide(Held::of_file(&text).as_ref()) {
            let cause = format!("it is none to keep: {why}");
            let remedy = "see whether the clock of this machine is right";
            return Err(Failure::new("use the certificate", cause).with_remedy(remedy).into());
        }
        self.storage.write(self.file_name(), &text).map_err(Failure::from)?;
        Ok(())
    }

    fn decide(&self, held: Option<&Held>) -> Decision {
        decide(held, &self.config.names, &self.config.directory, SystemTime::now())
    }

    fn held(&self) -> Result<Option<Held>, Failure> {
        let text = self.storage.read(self.file_name())?;
        Ok(text.as_deref().and_then(Held::of_file))
    }

    fn file_name(&self) -> &str {
        let name = self.issued.certificate.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    fn tell(&self, failure: &Failure, pause: Duration) {
        let again_in_s = pause.as_secs();
        let (names, remedy) = (&self.config.names, failure.remedy);
        let is_valid = self
            .held()
            .ok()
            .flatten()
            .is_some_and(|held| held.certificate.not_after > SystemTime::now());
        if is_valid {
            tracing::warn!(?names, remedy, again_in_s, "{failure}; the one there is still good");
        } else {
            tracing::error!(?names, remedy, again_in_s, "{failure}; there is no good one");
        }
    }
}

impl Held {
    /// What is in the file of a certificate; none if there is no certificate in it.
    fn of_file(text: &str) -> Option<Self> {
        let first = text.lines().next().and_then(|line| line.strip_prefix(FROM));
        let directory = first.unwrap_or_default().to_owned();
        Some(Self { certificate: Certificate::of_chain(text)?, directory })
    }
}

/// Why an attempt ended without a certificate.
#[derive(Debug)]
enum End {
    /// It failed.
    Failed(Failure),
    /// The server ends.
    Stopped,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        End::Failed(failure)
    }
}

/// Whether the server ends, which is looked at in every pause.
struct Stop(Receiver<()>);

impl Stop {
    /// Waits, unless the server ends.
    fn wait(&self, time: Duration) -> Result<(), End> {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(End::Stopped),
        }
    }
}

/// A number by chance, for pauses that must not coincide.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Where a directory asks (RFC 8555 section 8.3).
const HTTP_PORT: u16 = 80;
/// How the file of a certificate begins: what is outside of PEM's lines is a comment (RFC 7468
/// section 2), and says where the certificate is from.
const FROM: &str = "# From the ACME directory ";
