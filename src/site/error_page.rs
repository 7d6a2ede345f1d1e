//! Error pages: the site's own templates, `errors/404.html` before `errors/default.html`, and a
//! plain built-in one that cannot fail.

use super::Site;
use super::check::Templates;
use crate::config::{Problem, SourceFile};
use crate::error::PageError;
use crate::press::{Press, TemplateId, Value, content_type, made_name};
use std::collections::BTreeSet;

/// What an error page tells. Nothing in it comes from inside of the server.
#[derive(Clone, Copy, Debug)]
pub struct ErrorFacts<'a> {
    /// The status.
    pub status: u16,
    /// Its reason phrase.
    pub reason: &'a str,
    /// What the visitor may know.
    pub message: &'a str,
    /// The request's id, as in the logs.
    pub request_id: &'a str,
    /// The path that was asked for.
    pub path: &'a str,
    /// When, in seconds since 1970.
    pub now: i64,
}

impl Site {
    /// Appends an error page in HTML. `chain` is what happened inside, from the outermost error
    /// to its cause: it is for development, and shown to whoever asks.
    ///
    /// # Errors
    /// Why the site's own error page failed; the built-in one is there instead.
    pub fn error_page(
        &self,
        facts: &ErrorFacts<'_>,
        chain: Option<&[String]>,
        out: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        let template = self.error_template(facts.status);
        let rendered = template.map(|template| {
            let root = Value::from_pairs([
                ("status", Value::from(facts.status)),
                ("reason", Value::from(facts.reason)),
                ("message", Value::from(facts.message)),
                ("request_id", Value::from(facts.request_id)),
                ("path", Value::from(facts.path)),
                ("now", Value::from(facts.now)),
                ("chain", Value::from(chain.map(<[String]>::to_vec).unwrap_or_default())),
            ]);
            self.press.render(template, &root, out)
        });
        match rendered {
            Some(Ok(())) => Ok(()),
            None => {
                built_in(facts, chain.unwrap_or_default(), &[], out);
                Ok(())
            }
            // In development the page also says why it is not the site's own.
            Some(Err(error)) => {
                let own = if chain.is_some() { error.chain() } else { Vec::new() };
                built_in(facts, chain.unwrap_or_default(), &own, out);
                Err(error)
            }
        }
    }

    fn error_template(&self, status: u16) -> Option<TemplateId> {
        let find = |wanted| {
            let mut templates = self.error_templates.iter();
            templates.find(|(status, _)| *status == wanted).map(|(_, template)| *template)
        };
        find(Some(status)).or_else(|| find(None))
    }
}

/// The statuses there are templates for.
pub(super) fn templates(press: &Press, files: &[SourceFile]) -> Vec<(Option<u16>, TemplateId)> {
    let found = files.iter().filter_map(|file| Some((status(&file.name)?, &file.name)));
    found.filter_map(|(status, name)| Some((status, press.template(name)?))).collect()
}

/// The status a template is the error page of, `None` in it for all others; outer `None` when it
/// is no error page.
pub(super) fn status(template: &str) -> Option<Option<u16>> {
    let name = made_name(template).strip_prefix(FOLDER)?.strip_suffix(".html")?;
    if name == "default" {
        return Some(None);
    }
    let status = name.parse().ok().filter(|status| (400..=599).contains(status))?;
    Some(Some(status))
}

/// What is among the error pages and will never be one, nor a part of any template: of a site whose
/// templates are all known.
pub(super) fn never_used(templates: &Templates<'_>, of_pages: &BTreeSet<&str>) -> Vec<Problem> {
    let facts = || templates.values().map(|(_, facts)| facts);
    if facts().any(|facts| facts.dynamic) {
        return Vec::new();
    }
    let references = facts().flat_map(|facts| &facts.references);
    let taken: BTreeSet<&str> = references.map(|reference| reference.name.as_str()).collect();
    let is_lost = |name: &&&str| {
        let is_direct = name.strip_prefix(FOLDER).is_some_and(|name| !name.contains('/'));
        let is_page = content_type(name).starts_with("text/html");
        let is_used = status(name).is_some() || taken.contains(**name) || of_pages.contains(**name);
        is_direct && is_page && !is_used
    };
    let message = "this is no error page, and no template takes it in";
    let hint = "error pages are `errors/404.html` and so on, for statuses from 400 to 599, and \
                `errors/default.html` for all others";
    let lost = templates.keys().filter(is_lost);
    lost.map(|name| Problem::of_file(*name, message).hint(hint)).collect()
}

/// Where error pages are.
const FOLDER: &str = "errors/";

/// The names an error page can use.
pub(super) const NAMES: &[&str] =
    &["status", "reason", "message", "request_id", "path", "now", "chain"];

fn built_in(facts: &ErrorFacts<'_>, chain: &[String], own: &[String], out: &mut Vec<u8>) {
    let status = facts.status.to_string();
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put(HEAD);
    put(&format!("<title>{status} {}</title>", html(facts.reason)));
    put(STYLE);
    put(&format!("<p class=status>{status}</p>\n<h1>{}</h1>\n", html(facts.reason)));
    put(&format!("<p>{}</p>\n", html(facts.message)));
    for (title, levels) in [("What happened", chain), ("The site's own error page failed", own)] {
        if !levels.is_empty() {
            put(&format!("<h2>{title}</h2>\n<ol>\n"));
            for level in levels {
                put(&format!("<li><pre>{}</pre></li>\n", html(level)));
            }
            put("</ol>\n");
        }
    }
    if !facts.request_id.is_empty() {
        put(&format!("<p class=id>Request <code>{}</code></p>\n", html(facts.request_id)));
    }
    put("</main>\n</body>\n</html>\n");
}

fn html(text: &str) -> String {
    minijinja::HtmlEscape(text).to_string()
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"robots\" content=\"noindex\">\n";

/// The styles of the built-in page, for the policy to allow them.
pub(super) const STYLE: &str = "
<style>
:root { color-scheme: light dark; }
body { margin: 0; font: 1rem/1.6 system-ui, sans-serif; background: Canvas; color: CanvasText; }
main { max-width: 42rem; margin: 12vh auto; padding: 0 1.5rem; }
.status { margin: 0; font-size: 4rem; line-height: 1; font-weight: 700; opacity: .35; }
h1 { margin: .5rem 0 1rem; font-size: 1.6rem; }
h2 { margin: 2rem 0 .5rem; font-size: 1rem; }
pre { margin: 0; white-space: pre-wrap; font: .85rem/1.5 ui-monospace, monospace; }
.id { margin-top: 2.5rem; font-size: .85rem; opacity: .7; }
</style>
</head>
<body>
<main>
";
