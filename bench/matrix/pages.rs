//! Whether a page is right: the same as ours, but for white space and the spelling of escapes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contender::{Contender, PageKind};

/// Asks for a page with a client that is not ours.
///
/// # Errors
/// When there is no answer, or not 200.
pub(crate) fn get(agent: &ureq::Agent, port: u16, path: &str) -> Result<String, String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let mut response = agent.get(&url).call().map_err(|error| format!("{path}: {error}"))?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().map_err(|error| format!("{path}: {error}"))?;
    if !matches!(status, 200 | 204) {
        return Err(format!("{path}: status {status}"));
    }
    Ok(body)
}

/// A client that gives up after `patience`.
pub(crate) fn agent(patience: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.timeout_global(Some(patience)).http_status_as_error(false).build().into()
}

/// The right pages, as our own server made them.
#[derive(Clone)]
pub(crate) struct Reference {
    pages: Arc<BTreeMap<String, String>>,
}

impl Reference {
    /// Asks a server that is known to be right for some pages of both kinds.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn learn(port: u16) -> Result<Self, String> {
        let agent = agent(Duration::from_secs(10));
        let mut pages = BTreeMap::new();
        for kind in [PageKind::Users, PageKind::Lists] {
            for number in NUMBERS {
                let path = format!("{}{number}", kind.path());
                let page = canonical(&get(&agent, port, &path)?);
                if !page.contains("&amp;") || !page.ends_with("</html>") {
                    return Err(format!("{path}: the reference is not a page of bench/site"));
                }
                pages.insert(path, page);
            }
        }
        Ok(Self { pages: Arc::new(pages) })
    }

    /// Compares all known pages of a contender with the reference.
    ///
    /// # Errors
    /// The first page that differs, and where.
    pub(crate) fn check(&self, contender: &Contender, port: u16) -> Result<usize, String> {
        let agent = agent(Duration::from_secs(10));
        let mut checked = 0;
        for (path, right) in self.of(contender) {
            let page = canonical(&get(&agent, port, path)?);
            let right = if contender.fixed { &self.pages[FIXED] } else { right };
            if page != *right {
                return Err(format!("{path} differs {}", difference(right, &page)));
            }
            checked += 1;
        }
        Ok(checked)
    }

    /// Compares pages on the side, now and then, until it is told to stop.
    pub(crate) fn watch(&self, contender: &Contender, port: u16, kind: PageKind) -> Watch {
        let (reference, fixed) = (self.clone(), contender.fixed);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let agent = agent(WATCH_PATIENCE);
            let mut seen = Seen::default();
            let pages = reference.pages.iter().filter(|(path, _)| path.starts_with(kind.path()));
            for (path, right) in pages.collect::<Vec<_>>().into_iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let right = if fixed { &reference.pages[FIXED] } else { right };
                match get(&agent, port, path) {
                    Ok(page) if canonical(&page) == *right => seen.right += 1,
                    Ok(_) => seen.wrong += 1,
                    Err(_) => seen.unanswered += 1,
                }
                thread::sleep(WATCH_PAUSE);
            }
            seen
        });
        Watch { stop, thread }
    }

    fn of(&self, contender: &Contender) -> impl Iterator<Item = (&String, &String)> {
        let kinds = contender.pages.clone();
        self.pages.iter().filter(move |(path, _)| kinds.iter().any(|k| path.starts_with(k.path())))
    }
}

/// Pages looked at while something else was measured.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Seen {
    pub(crate) right: u64,
    pub(crate) wrong: u64,
    /// No answer in time, or an error status: overload, where it occurs.
    pub(crate) unanswered: u64,
}

/// A check that goes on on the side.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watch {
    pub(crate) fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of the watcher is a wrong page: the run must not pass for a good one.
        self.thread.join().unwrap_or(Seen { wrong: 1, ..Seen::default() })
    }
}

/// A page without what may differ: white space, and which of its spellings a character reference
/// has. What is escaped stays escaped, so that a page that forgets to differs.
pub(crate) fn canonical(page: &str) -> String {
    let mut text = page.to_owned();
    for (spellings, one) in SPELLINGS {
        for spelling in *spellings {
            text = text.replace(spelling, one);
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace("> <", "><").replace(" </", "</").trim().to_owned()
}

/// Spellings of one character; those whose escaping has no use in text are written plainly.
const SPELLINGS: &[(&[&str], &str)] = &[
    (&["&#34;", "&#x22;"], "&quot;"),
    (&["&#39;", "&#x27;", "&#039;"], "&apos;"),
    (&["&#60;", "&#x3c;", "&#x3C;"], "&lt;"),
    (&["&#62;", "&#x3e;", "&#x3E;"], "&gt;"),
    (&["&#38;", "&#x26;"], "&amp;"),
    (&["&#47;", "&#x2f;", "&#x2F;"], "/"),
    (&["&#43;", "&#x2b;", "&#x2B;"], "+"),
];

fn difference(right: &str, page: &str) -> String {
    let same = right.chars().zip(page.chars()).take_while(|(a, b)| a == b).count();
    let near = |text: &str| text.chars().skip(same.saturating_sub(20)).take(60).collect::<String>();
    format!("at character {same}: ours has {:?}, it has {:?}", near(right), near(page))
}

const NUMBERS: [u64; 5] = [1, 42, 977, 40_404, 99_999];
const FIXED: &str = "/users/42";
const WATCH_PATIENCE: Duration = Duration::from_secs(2);
const WATCH_PAUSE: Duration = Duration::from_millis(100);
