//! The site as it is now: the last one that was fine, and what is wrong with the newest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use crate::config::Report;
use crate::control::machine;
use crate::control::resolver::Resolver;
use crate::site::{Overrides, Site, Source, Static};
use crate::upstream::Directory;

use super::super::say;
use super::look::Look;
use super::told::{Files, Told};

/// Where a site is, and what has become of it. The thread that looks writes, workers read.
pub(super) struct Stage {
    source: Source,
    overrides: Overrides,
    folder: PathBuf,
    /// The name of the site file in it.
    file: String,
    now: ArcSwap<State>,
}

/// What has become of a site.
pub(super) struct State {
    /// Grows each time that it is loaded, also from one start of the command to the next.
    pub(super) number: u64,
    /// The last one that could be loaded.
    pub(super) good: Option<Arc<Good>>,
    /// What is wrong with the newest, if it could not.
    pub(super) trouble: Option<Box<Trouble>>,
}

/// A site that could be loaded.
pub(super) struct Good {
    /// The number that it came with.
    pub(super) number: u64,
    pub(super) site: Site,
    pub(super) directory: Directory,
    /// Looks up its names for as long as it is served.
    _resolver: Resolver,
}

/// What is wrong with one that could not.
pub(super) struct Trouble {
    /// For browsers.
    pub(super) told: Told,
    /// For people who read it as text.
    pub(super) text: String,
}

impl Stage {
    /// Loads a site, and gives along what it looked like before that.
    pub(super) fn open(path: PathBuf, overrides: Overrides) -> (Arc<Self>, Look) {
        let (folder, file) = place_of(&path);
        let look = Look::at(&folder, &file);
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let number = u64::try_from(millis).unwrap_or_default();
        let nothing = State { number, good: None, trouble: None };
        let now = ArcSwap::from_pointee(nothing);
        let stage = Self { source: Source::Folder(path), overrides, folder, file, now };
        stage.load();
        // What is served as it is, is known only now.
        let look = stage.and_at_statics(look);
        (Arc::new(stage), look)
    }

    /// What has become of the site.
    pub(super) fn now(&self) -> Arc<State> {
        self.now.load_full()
    }

    /// What its files look like.
    pub(super) fn look(&self) -> Look {
        self.and_at_statics(Look::at(&self.folder, &self.file))
    }

    fn and_at_statics(&self, look: Look) -> Look {
        let now = self.now();
        let statics = now.good.iter().flat_map(|good| good.site.statics());
        statics.filter_map(Static::place).fold(look, |look, place| look.and_at(&place))
    }

    /// Its files, to show excerpts of.
    pub(super) fn files(&self) -> Files<'_> {
        Files { folder: &self.folder, site: &self.file }
    }

    /// Loads it again, as these files have changed, and says so.
    pub(super) fn reload(&self, changed: &[String]) {
        let start = Instant::now();
        let what = match changed {
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => return,
        };
        if self.load() {
            let took = start.elapsed().as_millis();
            say(format_args!("{what}: loaded again in {took} ms"));
        } else {
            say(format_args!("{what}: the site does not load; what was fine before is served"));
        }
    }

    /// Loads it; whether it could be.
    fn load(&self) -> bool {
        let before = self.now();
        let number = before.number + 1;
        let loaded = Site::load_with(&self.source, &self.overrides).map_err(|report| {
            eprintln!("{report}");
            self.trouble(&report, before.good.is_some())
        });
        let loaded = loaded.and_then(|site| Good::new(number, site).map_err(Trouble::other));
        let (good, trouble) = match loaded {
            Ok(good) => (Some(Arc::new(good)), None),
            Err(trouble) => (before.good.clone(), Some(trouble)),
        };
        let is_good = trouble.is_none();
        self.now.store(Arc::new(State { number, good, trouble }));
        is_good
    }

    fn trouble(&self, report: &Report, was_fine: bool) -> Box<Trouble> {
        let told = Told::of_report(report, self.files(), was_fine);
        Box::new(Trouble { told, text: report.to_string() })
    }
}

impl Good {
    fn new(number: u64, site: Site) -> Result<Self, String> {
        for warning in site.warnings() {
            eprintln!("warning: {warning}");
        }
        let (resolver, directory) =
            Resolver::start(machine::names(&site)).map_err(|error| error.to_string())?;
        Ok(Self { number, site, directory, _resolver: resolver })
    }
}

impl Trouble {
    fn other(text: String) -> Box<Self> {
        eprintln!("error: {text}");
        Box::new(Self { told: Told::of_text(&text), text })
    }
}

/// The folder of a site, and the name of its file there.
fn place_of(path: &Path) -> (PathBuf, String) {
    if path.extension().is_none_or(|extension| extension != "toml") {
        return (path.to_owned(), "site.toml".to_owned());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (folder.unwrap_or(Path::new(".")).to_owned(), file)
}
