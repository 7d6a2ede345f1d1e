//! Who is measured: our own builds, the floor, and the peers as their `contenders.toml` say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One server on the measured pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) group: Group,
    /// Where its commands run, from the repository's root.
    pub(crate) directory: PathBuf,
    /// Files, relative to the directory, that are there once it is installed.
    pub(crate) needs: Vec<PathBuf>,
    pub(crate) install: Vec<String>,
    pub(crate) run: Vec<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) version: Vec<String>,
    pub(crate) pages: Vec<PageKind>,
    /// Its page is always that of `/users/42`.
    #[serde(default)]
    pub(crate) fixed: bool,
    /// A request occupies a worker process or thread until it is answered.
    #[serde(default)]
    pub(crate) blocking: bool,
}

/// What a contender is, for the colours of a plot and for who takes part in what.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    Ringpress,
    Floor,
    Rust,
    Nginx,
    Node,
    Go,
    Python,
}

/// The pages of bench/site.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PageKind {
    /// One fetch.
    Users,
    /// A list, then its thirty items.
    Lists,
}

impl PageKind {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Users => "/users/",
            Self::Lists => "/lists/",
        }
    }

    /// Calls of the API for one page.
    pub(crate) fn fetches(self) -> u64 {
        match self {
            Self::Users => 1,
            Self::Lists => 31,
        }
    }
}

impl Contender {
    /// Whether a word of the command line means it: its name or its group.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        let group = toml::Value::try_from(self.group).ok();
        self.name == word || group.as_ref().and_then(|group| group.as_str()) == Some(word)
    }
}

/// The drivers, each the only one in a build of its own, or all in one.
pub(crate) fn ours(one_build: bool) -> impl Iterator<Item = Contender> {
    DRIVERS.into_iter().map(move |(driver, label)| {
        let name = if one_build { "all" } else { driver };
        let binary = format!("target/matrix/ringpress-{name}");
        ringpress((driver, label), driver, binary, Vec::new())
    })
}

/// The driver for production, in a build that is guided by a profile.
pub(crate) fn guided() -> Contender {
    let build = vec!["{root}/deploy/build-guided".to_owned()];
    let (name, binary) = (GUIDED, "target/guided/ringpress".to_owned());
    ringpress((name, "ringpress, monoio, guided build"), "monoio", binary, build)
}

fn ringpress(
    (name, label): (&str, &str),
    driver: &str,
    binary: String,
    install: Vec<String>,
) -> Contender {
    let serve = ["serve", "{site}", "--driver", driver, "--workers", "{workers}"];
    let rest = ["--listen", "127.0.0.1:{port}", "--upstream", "api=http://127.0.0.1:{api}"];
    let memo = ["--memo-max", "{memo}"];
    let program = std::iter::once(binary.clone());
    Contender {
        name: name.to_owned(),
        label: label.to_owned(),
        group: Group::Ringpress,
        directory: PathBuf::new(),
        needs: vec![PathBuf::from(&binary)],
        install,
        run: program.chain(serve.into_iter().chain(rest).chain(memo).map(str::to_owned)).collect(),
        environment: BTreeMap::new(),
        version: vec![binary, "--version".to_owned()],
        pages: vec![PageKind::Users, PageKind::Lists],
        fixed: false,
        blocking: false,
    }
}

/// The floor and all peers, from their files; those in Rust in a profile of cargo's.
///
/// # Errors
/// When a file cannot be read or is not as it should be: its path, the line and what is wrong.
pub(crate) fn others(root: &Path, profile: &str) -> Result<Vec<Contender>, String> {
    let mut files = vec![root.join("bench/floor/contenders.toml")];
    let peers = root.join("bench/peers");
    let folders = fs::read_dir(&peers).map_err(|error| format!("{}: {error}", peers.display()))?;
    files.extend(folders.flatten().map(|folder| folder.path().join("contenders.toml")));
    files.sort();
    let mut contenders = Vec::new();
    for file in files.into_iter().filter(|file| file.exists()) {
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| said(&error))?;
        let text = text.replace("{profile}", profile).replace("{built}", built_in(profile));
        let listed: File = toml::from_str(&text).map_err(|error| said(&error))?;
        contenders.extend(listed.contender);
    }
    contenders.sort_by_key(|one| one.group);
    Ok(contenders)
}

/// The folder that cargo builds a profile in.
pub(crate) fn built_in(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    contender: Vec<Contender>,
}

/// Each driver, and its name in tables.
pub(crate) const DRIVERS: [(&str, &str); 4] = [
    ("monoio", "ringpress, monoio on io_uring"),
    ("ring", "ringpress, its own loop on io_uring"),
    ("tokio-uring", "ringpress, tokio-uring"),
    ("epoll", "ringpress, monoio on epoll"),
];
/// The name of [`guided`].
pub(crate) const GUIDED: &str = "guided";
