//! The dashboard: a page at the admin address that shows each core, each upstream and the slowest
//! pages, as they are now and over the last two minutes.
//!
//! It is a site like any other, embedded in the binary (`site.toml` beside this file): the press
//! makes it from JSON, escapes what is in it, and gives it a policy with the hashes of its script
//! and styles. Only the API is not asked for: a sampler takes a [`Snapshot`] each second, and what
//! is made of it is handed to the page as the answer of its one fetch.
//!
//! It is live by asking again: the page fetches `live` each second over the connection that it
//! has, while somebody looks at it, and puts what is new into place. That is bounded, holds nothing
//! on the server between two answers, and is cut by no drain, upgrade or proxy; a stream of events
//! would keep a connection and a thread of the admin listener for each viewer, and tell them the
//! same once a second. What is made for one viewer is kept for all until the next second.

mod charts;
mod history;
#[cfg(test)]
mod samples;
mod spread;
#[cfg(test)]
mod tests;
mod view;
mod words;

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use self::history::History;
use self::view::View;
use super::admin::{AdminResponse, Routes};
use crate::limits::DASHBOARD_STEP;
use crate::metrics::snapshot::Snapshot;
use crate::press::{Inputs, parse};
use crate::site::{Site, Source};

/// The dashboard of a server that runs; its sampler ends with it.
#[derive(Debug)]
pub struct Dashboard {
    site: Site,
    known: Arc<Mutex<Known>>,
    end: Option<Sender<()>>,
    sampler: Option<JoinHandle<()>>,
}

/// What is known now, and what was made of it.
#[derive(Debug, Default)]
struct Known {
    history: History,
    /// By its path, what was made since the last snapshot.
    made: Vec<(&'static str, Answer)>,
}

/// What is answered.
#[derive(Clone, Debug)]
struct Answer {
    /// The media type.
    content_type: &'static str,
    /// What browsers may do with it, where it is a page.
    policy: Option<String>,
    /// The body.
    body: Vec<u8>,
}

impl Dashboard {
    /// Begins to sample, each second.
    ///
    /// # Errors
    /// The kernel's, where it gives no thread.
    pub fn start(mut take: impl FnMut() -> Snapshot + Send + 'static) -> io::Result<Self> {
        let site = Site::load(&SITE).map_err(|report| io::Error::other(report.to_string()))?;
        // So that nobody ever finds nothing.
        let mut first = Known::default();
        first.push(take());
        let known = Arc::new(Mutex::new(first));
        let (end, ended) = mpsc::channel();
        let shared = Arc::clone(&known);
        let sampler = thread::Builder::new().name("dashboard".into()).spawn(move || {
            while ended.recv_timeout(DASHBOARD_STEP) == Err(RecvTimeoutError::Timeout) {
                // Before the lock: who asks need not wait for all workers' numbers.
                let snapshot = take();
                lock(&shared).push(snapshot);
            }
        })?;
        Ok(Self { site, known, end: Some(end), sampler: Some(sampler) })
    }

    /// The page, what changes of it, what it is made from, and the last snapshot.
    pub fn routes(self) -> Routes {
        let shared = Arc::new(self);
        PATHS.into_iter().fold(Routes::default(), |routes, path| {
            let dashboard = Arc::clone(&shared);
            routes.get(path, move |_| dashboard.respond(path))
        })
    }

    fn respond(&self, path: &'static str) -> AdminResponse {
        let Some(Answer { content_type, policy, body }) = self.answer(path) else {
            return AdminResponse::text(500, "the dashboard could not be made: see the log\n");
        };
        let response = AdminResponse::whole(200, content_type, body);
        match policy {
            Some(policy) => response.with(CONTENT_SECURITY_POLICY, policy),
            None => response,
        }
    }

    /// The answer for one of [`PATHS`]; none where it cannot be made, which the log says.
    fn answer(&self, path: &'static str) -> Option<Answer> {
        let mut known = lock(&self.known);
        if let Some((_, made)) = known.made.iter().find(|(made, _)| *made == path) {
            return Some(made.clone());
        }
        let made = make(&self.site, path, &known.history);
        let answer = made
            .inspect_err(|why| tracing::error!(path, "the dashboard could not be made: {why}"))
            .ok()?;
        known.made.push((path, answer.clone()));
        Some(answer)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(sampler) = self.sampler.take() {
            // It is looked at for its end only: what it did is done.
            let _ = sampler.join();
        }
    }
}

impl Known {
    fn push(&mut self, snapshot: Snapshot) {
        self.history.push(snapshot);
        self.made.clear();
    }
}

/// Makes what is at a path.
fn make(site: &Site, path: &str, history: &History) -> Result<Answer, String> {
    let json = |body: Vec<u8>| Answer { content_type: "application/json", policy: None, body };
    let words = |error: serde_json::Error| error.to_string();
    if path == SNAPSHOT {
        return Ok(json(serde_json::to_vec(&history.last()).map_err(words)?));
    }
    let view = serde_json::to_vec(&View::new(history)).map_err(words)?;
    if path == VIEW {
        return Ok(json(view));
    }
    let (page, _) = site.route(path).ok_or("it has no such page")?;
    let context = page.context(Inputs::default());
    context.set(0, parse(&view).map_err(|error| error.to_string())?);
    let mut body = Vec::new();
    page.render(&context, &mut body).map_err(|error| error.chain().join(": "))?;
    Ok(Answer { content_type: page.content_type(), policy: policy(site), body })
}

/// What is known is whole, whoever panicked: it is taken in at once, or made anew.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The policy that fits the templates of a site, out of its fields; the others are those that the
/// admin listener has anyway.
fn policy(site: &Site) -> Option<String> {
    let fields = str::from_utf8(site.page_fields()).ok()?;
    let mut fields = fields.lines().filter_map(|line| line.split_once(": "));
    let (_, policy) = fields.find(|(name, _)| *name == CONTENT_SECURITY_POLICY)?;
    // Pictures and sound of others, which sites may show, are not for whoever is told so much.
    Some(policy.replace("img-src * data:; media-src *", "img-src 'self' data:; media-src 'none'"))
}

const CONTENT_SECURITY_POLICY: &str = "Content-Security-Policy";

const PATHS: [&str; 4] = [PAGE, LIVE, VIEW, SNAPSHOT];
const PAGE: &str = "/";
const LIVE: &str = "/live";
const VIEW: &str = "/view.json";
const SNAPSHOT: &str = "/snapshot.json";

/// The page, as a site.
const SITE: Source = Source::Embedded {
    name: "dashboard (embedded)",
    files: &[
        ("site.toml", include_str!("site.toml")),
        ("dashboard.html", include_str!("dashboard.html")),
        ("live.html", include_str!("live.html")),
        ("parts.html", include_str!("parts.html")),
        ("style.html", include_str!("style.html")),
        ("script.html", include_str!("script.html")),
    ],
};
