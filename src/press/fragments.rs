//! `fragment("/path")`: pages within pages, as templates see them.
//!
//! A template runs at once, and a page within it has to be waited for. So a template that asks for
//! one that is not there yet goes on without it, and what it asked for is noted here; when that is
//! there, it runs again. The last run has all it asks for. What is printed is therefore the text
//! itself and no mark that is replaced later: a template may do with it what it does with any
//! text, and nothing that an API says can be taken for a fragment.

use std::cell::RefCell;
use std::rc::Rc;

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

use super::piece::kind_name;
use crate::error::PageError;
use crate::limits::{FRAGMENTS_MAX, REQUEST_TARGET_BYTES_MAX};

/// What a template asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// A path of the site, and perhaps a query.
    pub target: String,
    /// Whether the page can do without.
    pub optional: bool,
}

/// The fragments of one page that is being made.
#[derive(Debug)]
pub struct Fragments {
    /// The media type of the page that they go into.
    whole: &'static str,
    entries: RefCell<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    ask: Ask,
    /// Whether the template has asked for it in its last run.
    is_wanted: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Missing,
    Made(Value),
    /// It cannot be asked for: told where the template does.
    Refused(String),
    Failed(Option<PageError>),
}

thread_local! {
    /// Those of the page whose template runs on this thread.
    static RUNNING: RefCell<Option<Rc<Fragments>>> = const { RefCell::new(None) };
}

impl Fragments {
    /// No fragments yet, of a page of this media type.
    pub fn new(whole: &'static str) -> Rc<Self> {
        Rc::new(Self { whole, entries: RefCell::default() })
    }

    /// Asks for a fragment before the template does.
    pub fn expect(&self, ask: &Ask) {
        self.find_or_add(ask, false);
    }

    /// Runs a template, or all of its ways one after the other: what it asks for is noted.
    pub fn during<T>(self: &Rc<Self>, run: impl FnOnce() -> T) -> T {
        self.entries.borrow_mut().iter_mut().for_each(|entry| entry.is_wanted = false);
        let _running = Running::begin(self);
        run()
    }

    /// What is not there yet, each with its place.
    pub fn missing(&self) -> Vec<(usize, Ask)> {
        let entries = self.entries.borrow();
        let missing = entries.iter().enumerate();
        let missing = missing.filter(|(_, entry)| matches!(entry.state, State::Missing));
        missing.map(|(place, entry)| (place, entry.ask.clone())).collect()
    }

    /// Why the page cannot be made, if something that it asked for has failed.
    pub fn take_failure(&self) -> Option<PageError> {
        let mut entries = self.entries.borrow_mut();
        entries.iter_mut().filter(|entry| entry.is_wanted).find_map(|entry| {
            match &mut entry.state {
                State::Failed(error) => error.take(),
                _ => None,
            }
        })
    }

    /// Gives a fragment its text. It is markup only where it is of the page's own kind; elsewhere
    /// it is a text like any other, and escaped.
    pub fn made(&self, place: usize, text: String, media_type: &str) {
        let is_markup = is_part_of(media_type, self.whole);
        let value = if is_markup { Value::from_safe_string(text) } else { Value::from(text) };
        self.set(place, State::Made(value));
    }

    /// Says that a fragment cannot be had: the template fails where it asks for it.
    pub fn refused(&self, place: usize, why: String) {
        self.set(place, State::Refused(why));
    }

    /// Says that a fragment failed, and the page with it, if it needs it.
    pub fn failed(&self, place: usize, error: PageError) {
        self.set(place, State::Failed(Some(error)));
    }

    /// All that are there, by what was asked.
    pub fn texts(&self) -> Vec<(String, Value)> {
        let entries = self.entries.borrow();
        let made = entries.iter().filter_map(|entry| match &entry.state {
            State::Made(value) => Some((entry.ask.target.clone(), value.clone())),
            _ => None,
        });
        made.collect()
    }

    fn set(&self, place: usize, state: State) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(place) {
            entry.state = state;
        }
    }

    fn find_or_add(&self, ask: &Ask, is_wanted: bool) -> Option<usize> {
        let mut entries = self.entries.borrow_mut();
        if let Some(place) = entries.iter().position(|entry| entry.ask == *ask) {
            if let Some(entry) = entries.get_mut(place) {
                entry.is_wanted |= is_wanted;
            }
            return Some(place);
        }
        if entries.len() >= FRAGMENTS_MAX {
            return None;
        }
        entries.push(Entry { ask: ask.clone(), is_wanted, state: State::Missing });
        Some(entries.len() - 1)
    }

    /// What the template gets.
    fn answer(&self, ask: &Ask) -> Result<Value, Error> {
        let Some(place) = self.find_or_add(ask, true) else {
            let why = format!("a page can have {FRAGMENTS_MAX} fragments, and this is one more");
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        };
        match self.entries.borrow().get(place).map(|entry| &entry.state) {
            Some(State::Made(value)) => Ok(value.clone()),
            Some(State::Refused(why)) => Err(Error::new(ErrorKind::InvalidOperation, why.clone())),
            _ => Ok(Value::from_safe_string(String::new())),
        }
    }
}

/// That a template of a page runs, until dropped.
struct Running(Option<Rc<Fragments>>);

impl Running {
    fn begin(fragments: &Rc<Fragments>) -> Self {
        Self(RUNNING.replace(Some(Rc::clone(fragments))))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(self.0.take());
    }
}

/// The function of templates. Error pages, which wait for nothing, have no fragments: it is empty
/// there.
pub(super) fn fragment(target: &Value, options: Kwargs) -> Result<Value, Error> {
    let wrong = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let Some(text) = target.as_str() else {
        let kind = kind_name(target.kind());
        return Err(wrong(format!("fragment needs the path of a page, not {kind}")));
    };
    let optional = options.get::<Option<bool>>("optional")?.unwrap_or_default();
    options.assert_all_used()?;
    if let Some(why) = trouble(text) {
        return Err(wrong(why));
    }
    let Some(fragments) = RUNNING.with_borrow(Clone::clone) else {
        return Ok(Value::from_safe_string(String::new()));
    };
    fragments.answer(&Ask { target: text.to_owned(), optional })
}

/// Why a text is no path of a page, whatever pages there are.
pub(crate) fn trouble(target: &str) -> Option<String> {
    if !target.starts_with('/') {
        let short: String = target.chars().take(TOLD_CHARS_MAX).collect();
        return Some(format!("fragment needs a path that begins with `/`, not `{short}`"));
    }
    if target.contains('#') {
        return Some("the path of a fragment has no `#`".to_owned());
    }
    if target.len() > REQUEST_TARGET_BYTES_MAX {
        return Some(format!("the path of a fragment is over {REQUEST_TARGET_BYTES_MAX} bytes"));
    }
    None
}

/// Whether what has one media type is markup in what has the other.
fn is_part_of(part: &str, whole: &str) -> bool {
    let same = |end: &str| part.ends_with(end) && whole.ends_with(end);
    part == whole || same("xml") || same("json") || (part == SVG && whole.starts_with("text/html"))
}

const SVG: &str = "image/svg+xml";
/// Of a path that is none, in an error.
const TOLD_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::super::environment;
    use super::*;

    const HTML: &str = "text/html; charset=utf-8";

    fn run(fragments: &Rc<Fragments>, text: &str) -> Result<String, Error> {
        fragments.during(|| environment::new().render_named_str("a.html", text, ()))
    }

    #[test]
    fn the_last_run_has_what_the_first_asked_for() {
        let fragments = Fragments::new(HTML);
        let text = "[{{ fragment('/a') }}{{ fragment('/a')|length }}{{ fragment('/b') }}]";
        assert_eq!(run(&fragments, text).unwrap(), "[0]");
        let missing = fragments.missing();
        assert_eq!(missing.iter().map(|(_, ask)| &*ask.target).collect::<Vec<_>>(), ["/a", "/b"]);
        fragments.made(0, "<b>".to_owned(), HTML);
        fragments.made(1, "<b>".to_owned(), "text/plain; charset=utf-8");
        assert_eq!(run(&fragments, text).unwrap(), "[<b>3&lt;b&gt;]");
        assert!(fragments.missing().is_empty());
    }

    #[test]
    fn a_failure_counts_only_where_the_fragment_is_wanted() {
        let fragments = Fragments::new(HTML);
        fragments.expect(&Ask { target: "/a".to_owned(), optional: false });
        let kind = crate::error::PageErrorKind::Timeout;
        fragments.failed(0, PageError::new(kind, "late"));
        run(&fragments, "nothing").unwrap();
        assert!(fragments.take_failure().is_none());
        run(&fragments, "{{ fragment('/a') }}").unwrap();
        assert_eq!(fragments.take_failure().unwrap().kind(), kind);
    }

    #[test]
    fn what_is_no_path_fails_where_it_is_written() {
        let fragments = Fragments::new(HTML);
        for text in ["'a'", "1", "'/a#b'", "'/a', 1", "'/a', option=true", "none", "''"] {
            let error = run(&fragments, &format!("\n{{{{ fragment({text}) }}}}")).unwrap_err();
            assert_eq!(error.line(), Some(2), "{text}");
        }
        fragments.expect(&Ask { target: "/a".to_owned(), optional: false });
        fragments.refused(0, "no such page".to_owned());
        let error = run(&fragments, "\n\n{{ fragment('/a') }}").unwrap_err();
        assert_eq!((error.line(), error.detail()), (Some(3), Some("no such page")));
        let many = "{% for n in range(200) %}{{ fragment('/' ~ n) }}{% endfor %}";
        assert!(run(&fragments, many).is_err());
    }

    #[test]
    fn macros_and_imports_ask_too_and_outside_of_a_page_there_is_none() {
        let mut environment = environment::new();
        let part = "{% macro card(n) %}{{ fragment('/card/' ~ n) }}{% endmacro %}";
        environment.add_template("part.html", part).unwrap();
        let text = "{% import 'part.html' as part %}{{ part.card(1) }}{% set f = fragment %}\
                    {{ f('/x') }}";
        environment.add_template("a.html", text).unwrap();
        let fragments = Fragments::new(HTML);
        let run = || environment.get_template("a.html").unwrap().render(()).unwrap();
        assert_eq!(fragments.during(run), "");
        assert_eq!(fragments.missing().len(), 2);
        assert_eq!(run(), "");
        assert_eq!(fragments.missing().len(), 2);
    }

    #[test]
    fn markup_is_markup_only_among_its_own() {
        for (part, whole, is) in [
            (HTML, HTML, true),
            (SVG, HTML, true),
            (HTML, "application/atom+xml", false),
            ("application/xml", "application/atom+xml", true),
            ("application/json", HTML, false),
            ("application/json", "application/json", true),
            (HTML, "application/json", false),
        ] {
            assert_eq!(is_part_of(part, whole), is, "{part} in {whole}");
        }
    }
}
