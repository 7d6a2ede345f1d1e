//! What is noted of a page while it is made: its fetches and how long they and its template took.
//! For the access log, and for Server-Timing where the site is developed.
//!
//! Notes are used again, and hold no names: these are made once for each page, as they are shown.
//! So a page that is noted costs no allocation more than one that is not.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::time::Duration;

use smallvec::SmallVec;

use crate::error::PageError;
use crate::limits::{ACCESS_FETCHES_MAX, NOTES_KEPT_MAX, SERVER_TIMING_BYTES_MAX};
use crate::site::{Page, UpstreamPlan};

use super::trace::{Step, Trace};

/// What is noted of one page.
#[derive(Debug, Default)]
pub struct Notes {
    names: RefCell<Option<Rc<Names>>>,
    /// Those of the fragments that it has.
    parts: RefCell<Vec<Rc<Names>>>,
    fetches: RefCell<SmallVec<[Noted; 2]>>,
    left_out: Cell<u32>,
    render_us: Cell<Option<u32>>,
    /// Room for all that can be told, where somebody wants to know that.
    trace: Option<Box<RefCell<Trace>>>,
    /// Where they go when they are not needed any more.
    home: Weak<Shelf>,
}

/// What is noted of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// Which fragment of the page it is of, from 1 on; 0 for the page itself.
    pub part: u16,
    /// Which node of that it is.
    pub node: u16,
    /// Which item of a list, if it is one call of several.
    pub item: Option<u32>,
    /// The status, if there was a response.
    pub status: Option<u16>,
    /// Whether the page got nothing of it.
    pub failed: bool,
    /// How it came: `cached`, `stale`, `coalesced`, `revalidated`, or over a `reused` or a `new`
    /// connection; empty where nothing came.
    pub how: &'static str,
    /// How long it took, microseconds.
    pub us: u32,
}

/// The names of a page and of its nodes, as they are told.
#[derive(Debug)]
pub struct Names {
    /// The path of the page in the site file.
    pub pattern: String,
    /// Its nodes.
    pub nodes: Vec<NodeNames>,
}

/// The names of a node.
#[derive(Debug)]
pub struct NodeNames {
    /// Its own.
    pub name: String,
    /// That of the upstream it is fetched from; empty for what is not.
    pub upstream: String,
    /// Both, as a token (RFC 9110 section 5.6.2).
    token: String,
}

impl Notes {
    /// Notes that tell of each step all that there is.
    pub fn in_full() -> Self {
        Self { trace: Some(Box::default()), ..Self::default() }
    }

    /// What was done, if it is told in full.
    pub fn into_trace(self) -> Option<Trace> {
        self.trace.map(|trace| trace.into_inner())
    }

    /// The names of the page that was asked for; none where there is no such page.
    pub fn names(&self) -> Option<Rc<Names>> {
        self.names.borrow().clone()
    }

    /// The names of a fragment, or with 0 those of the page.
    pub fn names_of(&self, part: u16) -> Option<Rc<Names>> {
        match usize::from(part).checked_sub(1) {
            None => self.names(),
            Some(part) => self.parts.borrow().get(part).cloned(),
        }
    }

    /// The fetches, in the order in which they ended, and how many more there were.
    pub fn fetches(&self, each: impl FnMut(&Noted)) -> u32 {
        self.fetches.borrow().iter().for_each(each);
        self.left_out.get()
    }

    /// How long the template took, microseconds, if it ran.
    pub fn render_us(&self) -> Option<u32> {
        self.render_us.get()
    }

    /// The value of a Server-Timing field.
    pub fn server_timing(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.fetches(|noted| {
            let names = self.names_of(noted.part);
            let node = names.as_ref().and_then(|names| names.nodes.get(usize::from(noted.node)));
            let token = node.map_or("fetch", |node| node.token.as_str());
            let mut entry = String::from(token);
            if let Some(item) = noted.item {
                entry += &format!("-{item}");
            }
            let ms = f64::from(noted.us) / 1e3;
            let status = noted.status.map_or_else(|| "no answer".into(), |one| one.to_string());
            let how = if noted.how.is_empty() { String::new() } else { format!(" {}", noted.how) };
            let failed = if noted.failed { " failed" } else { "" };
            push_entry(&mut out, &format!("{entry};dur={ms:.1};desc=\"{status}{how}{failed}\""));
        });
        if let Some(us) = self.render_us() {
            push_entry(&mut out, &format!("render;dur={:.1}", f64::from(us) / 1e3));
        }
        out
    }

    pub(super) fn begin(&self, names: &Rc<Names>) {
        self.names.replace(Some(Rc::clone(names)));
    }

    /// The number of a fragment with these names.
    pub(super) fn part(&self, names: &Rc<Names>) -> u16 {
        let mut parts = self.parts.borrow_mut();
        let known = parts.iter().position(|one| Rc::ptr_eq(one, names));
        let place = known.unwrap_or_else(|| {
            parts.push(Rc::clone(names));
            parts.len() - 1
        });
        u16::try_from(place + 1).unwrap_or(u16::MAX)
    }

    pub(super) fn fetched(&self, noted: Noted) {
        let mut fetches = self.fetches.borrow_mut();
        if fetches.len() < ACCESS_FETCHES_MAX {
            fetches.push(noted);
        } else {
            self.left_out.set(self.left_out.get().saturating_add(1));
        }
    }

    pub(super) fn rendered(&self, bytes: usize, took: Duration) {
        self.render_us.set(Some(micros(took)));
        if let Some(trace) = &self.trace {
            trace.borrow_mut().rendered(bytes, took);
        }
    }

    pub(super) fn failed(&self, error: &PageError, told: &'static str) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().failed(error, told);
        }
    }

    /// Has a step be told in full, where somebody wants to know.
    pub(super) fn trace(&self, step: impl FnOnce() -> Step) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().steps.push(step());
        }
    }

    fn clear(&self) {
        self.names.take();
        self.parts.borrow_mut().clear();
        self.fetches.borrow_mut().clear();
        self.left_out.set(0);
        self.render_us.set(None);
    }
}

impl Names {
    pub(super) fn of(page: &Page, upstreams: &[UpstreamPlan]) -> Rc<Self> {
        let nodes = page.nodes().iter().map(|node| {
            let upstream = node.fetch().and_then(|fetch| upstreams.get(fetch.upstream));
            let upstream = upstream.map_or_else(String::new, |plan| plan.name.clone());
            let token = [upstream.as_str(), &node.name].join("-");
            let token = token.chars().map(|one| if is_plain(one) { one } else { '_' });
            NodeNames { name: node.name.clone(), token: token.collect(), upstream }
        });
        Rc::new(Self { pattern: page.pattern().to_owned(), nodes: nodes.collect() })
    }
}

/// A worker's notes: lent, and back when they are dropped.
#[derive(Debug, Default)]
pub(super) struct NotesKept(Rc<Shelf>);

type Shelf = RefCell<Vec<Rc<Notes>>>;

impl NotesKept {
    pub(super) fn take(&self) -> LentNotes {
        let notes = self.0.borrow_mut().pop();
        let new = || Rc::new(Notes { home: Rc::downgrade(&self.0), ..Notes::default() });
        LentNotes(notes.unwrap_or_else(new))
    }
}

/// Notes that go back to be used again.
#[derive(Debug)]
pub struct LentNotes(Rc<Notes>);

impl Deref for LentNotes {
    type Target = Notes;

    fn deref(&self) -> &Notes {
        &self.0
    }
}

impl Drop for LentNotes {
    fn drop(&mut self) {
        let Some(kept) = self.0.home.upgrade() else { return };
        let mut kept = kept.borrow_mut();
        if kept.len() < NOTES_KEPT_MAX {
            self.0.clear();
            kept.push(Rc::clone(&self.0));
        }
    }
}

/// A time as it is noted; one of more than an hour is noted as that.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn push_entry(out: &mut Vec<u8>, entry: &str) {
    if out.len() + 2 + entry.len() > SERVER_TIMING_BYTES_MAX {
        return;
    }
    if !out.is_empty() {
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(entry.as_bytes());
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Rc<Names> {
        let node = |name: &str| NodeNames {
            name: name.to_owned(),
            upstream: "api".to_owned(),
            token: format!("api-{name}"),
        };
        Rc::new(Names { pattern: "/".to_owned(), nodes: vec![node("user"), node("posts")] })
    }

    #[test]
    fn a_browser_is_told_of_each_fetch_and_of_the_template() {
        let notes = Notes::default();
        assert_eq!(notes.server_timing(), b"");
        notes.begin(&names());
        let user = Noted {
            part: 0,
            node: 0,
            item: None,
            status: Some(200),
            failed: false,
            how: "new",
            us: 12_345,
        };
        notes.fetched(user);
        notes.fetched(Noted { node: 1, item: Some(3), failed: true, ..user });
        notes.fetched(Noted { node: 1, status: None, how: "", failed: true, ..user });
        notes.rendered(1, Duration::from_micros(420));
        let expected = "api-user;dur=12.3;desc=\"200 new\", \
            api-posts-3;dur=12.3;desc=\"200 new failed\", \
            api-posts;dur=12.3;desc=\"no answer failed\", render;dur=0.4";
        assert_eq!(String::from_utf8(notes.server_timing()).unwrap(), expected);
    }

    #[test]
    fn notes_are_bounded_and_come_back_empty() {
        let kept = NotesKept::default();
        let notes = kept.take();
        notes.begin(&names());
        let noted = Noted {
            part: 0,
            node: 0,
            item: Some(1),
            status: None,
            failed: true,
            how: "",
            us: u32::MAX,
        };
        (0..100).for_each(|_| notes.fetched(noted));
        let mut told = 0;
        let left_out = notes.fetches(|_| told += 1);
        assert_eq!((told, left_out as usize), (ACCESS_FETCHES_MAX, 100 - ACCESS_FETCHES_MAX));
        assert!(notes.server_timing().len() <= SERVER_TIMING_BYTES_MAX);
        notes.rendered(1, Duration::MAX);
        drop(notes);
        let notes = kept.take();
        assert!(notes.names().is_none() && notes.render_us().is_none());
        assert_eq!(notes.fetches(|_| panic!("a fetch of another page")), 0);
        assert!(kept.0.borrow().is_empty());
    }
}
