//! `asset('style.css')`: the paths of static files, with what is in them in their names, so that
//! browsers may keep them for as long as they like.

use crate::config::suggestion;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The static files of a site, by the names that `asset()` takes, and their paths.
#[derive(Debug, Default)]
pub struct Assets {
    paths: BTreeMap<String, Box<str>>,
}

impl Assets {
    /// Adds a file, unless one of that name is there. Its path is percent-encoded.
    pub fn add(&mut self, name: String, path: String) {
        self.paths.entry(name).or_insert_with(|| path.into());
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> Option<&str> {
        self.paths.get(name).map(|path| &**path)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// A number that changes with any of them, from another.
    pub fn version(&self, seed: u64) -> u64 {
        self.paths.values().fold(seed, |seed, path| xxh3_64_with_seed(path.as_bytes(), seed))
    }

    /// What `asset()` gives for a name where text is escaped so. The paths have nothing in them
    /// that HTML would have to escape, so they are printed as they are.
    pub(super) fn value(&self, name: &str, escape: &AutoEscape) -> Option<Value> {
        let path = self.path(name)?;
        Some(match escape {
            AutoEscape::Html => Value::from_safe_string(path.to_owned()),
            _ => Value::from(path),
        })
    }

    /// What is wrong with a name, and a remedy.
    pub(super) fn trouble(&self, name: &str) -> (String, String) {
        let message = format!("there is no static file `{name}`");
        let names = || self.paths.keys().map(String::as_str);
        let trimmed = name.trim_start_matches('/');
        let near = suggestion(name, names())
            .or_else(|| self.path(trimmed).map(|_| format!("did you mean `{trimmed}`?")))
            .or_else(|| {
                let same = |other: &&str| other.rsplit('/').next() == name.rsplit('/').next();
                names().find(same).map(|other| format!("did you mean `{other}`?"))
            });
        let hint = near.unwrap_or_else(|| match self.is_empty() {
            true => "asset() is for files of a folder that [[static]] serves".to_owned(),
            false => "it names a file by its path in the folder of a [[static]]".to_owned(),
        });
        (message, hint)
    }

    /// Lets templates and expressions of an environment ask.
    pub(super) fn add_to(self: &Arc<Self>, environment: &mut Environment<'_>) {
        let assets = Arc::clone(self);
        environment.add_function(FUNCTION, move |state: &State<'_, '_>, name: &str| {
            assets.value(name, state.auto_escape()).ok_or_else(|| {
                let (message, hint) = assets.trouble(name);
                Error::new(ErrorKind::InvalidOperation, format!("{message}: {hint}"))
            })
        });
    }
}

/// The name of the function.
pub(super) const FUNCTION: &str = "asset";

#[cfg(test)]
mod tests {
    use super::*;

    fn assets() -> Arc<Assets> {
        let mut assets = Assets::default();
        assets.add("style.css".to_owned(), "/a/style.0123456789.css".to_owned());
        assets.add("img/logo.svg".to_owned(), "/a/img/logo.0123456789.svg".to_owned());
        Arc::new(assets)
    }

    #[test]
    fn a_path_is_printed_as_it_is_in_html_and_is_a_string_in_json() {
        let mut environment = super::super::environment::new();
        assets().add_to(&mut environment);
        let made = |name: &str, text: &str| {
            let template = environment.template_from_named_str(name, text).unwrap();
            template.render(()).map_err(|error| error.detail().unwrap_or_default().to_owned())
        };
        let text = "{{ asset('style.css') }}";
        assert_eq!(made("a.html", text).unwrap(), "/a/style.0123456789.css");
        assert_eq!(made("a.json", text).unwrap(), "\"/a/style.0123456789.css\"");
        assert_eq!(made("a.txt", text).unwrap(), "/a/style.0123456789.css");
        let wrong = made("a.html", "{{ asset('stile.css') }}").unwrap_err();
        assert_eq!(wrong, "there is no static file `stile.css`: did you mean `style.css`?");
    }

    #[test]
    fn what_was_probably_meant() {
        let hint = |name: &str| assets().trouble(name).1;
        assert_eq!(hint("/style.css"), "did you mean `style.css`?");
        assert_eq!(hint("logo.svg"), "did you mean `img/logo.svg`?");
        assert!(hint("zzz").contains("[[static]]"));
    }
}
