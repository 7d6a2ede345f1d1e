//! How minijinja is set up for a site: escaping, undefined values, bounds, filters.
//!
//! Undefined is semi-strict: printing it, iterating over it or looking into it fails, but asking
//! whether it is there does not, since APIs leave fields out: `{% if user.bio %}` is no mistake.
//! A name that a page cannot have at all is found when the site is checked.

use super::assets::Assets;
use super::{filters, fragments, methods};
use crate::limits::RENDER_FUEL;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use std::sync::Arc;

/// An environment without templates.
pub(super) fn new<'source>() -> Environment<'source> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(auto_escape);
    environment.set_fuel(Some(RENDER_FUEL));
    // Costs nothing until something fails, and then names the line and the expression.
    environment.set_debug(true);
    minijinja_contrib::add_to_environment(&mut environment);
    // `now` is a value of the context, the same for all of a page.
    environment.remove_global("now");
    filters::add(&mut environment);
    methods::add(&mut environment);
    environment.add_function("fragment", fragments::fragment);
    // Those of a site take its place when it is compiled.
    Arc::new(Assets::default()).add_to(&mut environment);
    environment
}

/// The names of an environment's functions.
pub(super) fn function_names() -> Vec<String> {
    new().globals().map(|(name, _)| name.to_owned()).collect()
}

/// The media type of what a template makes, by the extension of its file.
pub fn content_type(template: &str) -> &'static str {
    match extension(template) {
        "html" | "htm" => "text/html; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "atom" => "application/atom+xml",
        "rss" => "application/rss+xml",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        _ => "text/plain; charset=utf-8",
    }
}

pub(super) fn auto_escape(template: &str) -> AutoEscape {
    match extension(template) {
        "html" | "htm" | "xml" | "svg" | "atom" | "rss" => AutoEscape::Html,
        "json" | "webmanifest" => AutoEscape::Json,
        _ => AutoEscape::None,
    }
}

/// The extension that says what a template makes: of `page.html.j2` that is `html`.
fn extension(template: &str) -> &str {
    made_name(template).rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// The name of what a template makes: `page.html` of `page.html.j2` and of itself.
pub(crate) fn made_name(template: &str) -> &str {
    let name = [".j2", ".jinja", ".jinja2"].iter().find_map(|end| template.strip_suffix(end));
    name.unwrap_or(template)
}

/// Whether a file is a template, by its name.
pub(crate) fn is_template(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    TEMPLATE_EXTENSIONS.contains(&extension)
}

const TEMPLATE_EXTENSIONS: &[&str] = &[
    "html",
    "htm",
    "xml",
    "svg",
    "atom",
    "rss",
    "txt",
    "json",
    "webmanifest",
    "j2",
    "jinja",
    "jinja2",
];

/// The filters there are, to suggest one of; a test holds the list to the environment.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "dateformat",
    "datetimeformat",
    "default",
    "dictsort",
    "domain",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "flatten",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pluralize",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "sanitize",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "striptags",
    "sum",
    "timeago",
    "timeformat",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "zip",
];

/// The tests there are, to suggest one of.
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "safe",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_and_test_we_suggest_is_there() {
        let environment = new();
        for name in FILTERS {
            assert!(filters::exists(&environment, name), "{name}");
        }
        for name in TESTS {
            assert!(filters::test_exists(&environment, name), "{name}");
        }
        assert!(!filters::exists(&environment, "nonesuch"));
        assert!(!filters::test_exists(&environment, "nonesuch"));
    }

    #[test]
    fn a_template_is_known_by_its_extension() {
        assert_eq!(content_type("a/b.html"), "text/html; charset=utf-8");
        assert_eq!(content_type("feed.atom.j2"), "application/atom+xml");
        assert_eq!(content_type("app.webmanifest"), "application/manifest+json");
        assert_eq!(content_type("x.j2"), "text/plain; charset=utf-8");
        assert_eq!(auto_escape("a.html.jinja2"), AutoEscape::Html);
        assert_eq!(auto_escape("a.txt"), AutoEscape::None);
        assert!(is_template("a.html") && !is_template("site.toml") && !is_template("html"));
    }
}
