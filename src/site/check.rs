//! Whether names fit together: those that templates and expressions use, and those there are.

use super::cycle::find_cycle;
use super::inherited::{Member, members};
use super::source::Files;
use crate::config::{Problem, SESSION_KEY_HINT, SourceFile, suggestion};
use crate::press::{Builder, REQUEST_FIELDS, REQUEST_NAMES, TemplateFacts, Use, Uses};
use std::collections::{BTreeMap, BTreeSet};

/// The names one text can use.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'a> {
    /// Fetches and lets.
    pub(super) nodes: Vec<&'a str>,
    /// Parameters of the path, if its pattern could be read.
    pub(super) params: Option<&'a [String]>,
    /// Functions of the template language.
    pub(super) functions: &'a [String],
    /// Further names: of an error page, or `it` and `index`.
    pub(super) others: &'a [&'a str],
    /// Whether it is for a page, not for an error page.
    pub(super) is_page: bool,
    /// Whether the site has sessions.
    pub(super) has_sessions: bool,
}

/// Templates by name, with what is known of each.
pub(super) type Templates<'a> = BTreeMap<&'a str, (&'a SourceFile, TemplateFacts)>;

impl Scope<'_> {
    /// What is wrong where there is no [server.session], and the remedy.
    pub(super) fn no_sessions() -> (String, String) {
        let hint =
            format!("add [server.session] with keys = [\"session.key\"], and {SESSION_KEY_HINT}");
        ("`session` needs [server.session]".to_owned(), hint)
    }

    /// What is wrong with the use of a name, and a remedy, if anything is.
    pub(super) fn trouble(&self, found: &Use) -> Option<(String, Option<String>)> {
        let top = found.top();
        if found.guarded {
            return None;
        }
        let member = |name: &str, members: &mut dyn Iterator<Item = &str>, what: &str| {
            let second = found.second()?;
            let members: Vec<&str> = members.collect();
            if members.contains(&second) {
                return None;
            }
            let hint = suggestion(second, members.iter().copied()).unwrap_or_else(|| match members
                .is_empty()
            {
                true => format!("there is no {what} here"),
                false => format!("there is {}", members.join(", ")),
            });
            Some((format!("`{name}` has no `{second}`"), Some(hint)))
        };
        let is_function = self.functions.iter().any(|function| function == top);
        if self.others.contains(&top) || is_function || TEMPLATE_NAMES.contains(&top) {
            return None;
        }
        if self.is_page {
            match top {
                "path" => {
                    let mut params = self.params?.iter().map(String::as_str);
                    return member("path", &mut params, "parameter");
                }
                "request" => {
                    return member("request", &mut REQUEST_FIELDS.iter().copied(), "field");
                }
                "statuses" => return member("statuses", &mut self.nodes.iter().copied(), "fetch"),
                "errors" => return member("errors", &mut self.nodes.iter().copied(), "fetch"),
                "it" | "index" => {
                    let hint = "it is an item of the list of `each` of a fetch";
                    return Some((format!("`{top}` is not defined here"), Some(hint.to_owned())));
                }
                "now" => return None,
                "session" if !self.has_sessions => {
                    let (message, hint) = Self::no_sessions();
                    return Some((message, Some(hint)));
                }
                _ if REQUEST_NAMES.contains(&top) || self.nodes.contains(&top) => return None,
                _ => {}
            }
        }
        let request = if self.is_page { REQUEST_NAMES } else { &[] };
        let names = self.nodes.iter().chain(self.others).chain(request).copied();
        let functions = self.functions.iter().map(String::as_str);
        let hint = suggestion(top, names.chain(["errors", "statuses", "now"]).chain(functions));
        Some((format!("unknown name `{top}`"), hint))
    }
}

/// Adds all templates, and what is known of those that are fine.
pub(super) fn templates<'a>(
    files: &'a Files,
    builder: &mut Builder,
    problems: &mut Vec<Problem>,
) -> Templates<'a> {
    let mut templates = Templates::new();
    for file in &files.templates {
        match builder.template(file) {
            Ok(facts) => {
                templates.insert(&file.name, (file, facts));
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    problems.extend(references(&templates, &files.templates));
    problems.extend(circles(&templates));
    problems.extend(imports(&templates));
    problems.extend(supers(&templates));
    templates
}

/// All templates that a template takes in, itself included, and whether it may take any other.
pub(super) fn closure<'a>(
    root: &'a str,
    templates: &'a Templates<'a>,
) -> (BTreeSet<&'a str>, bool) {
    let mut found = BTreeSet::from([root]);
    let mut open = vec![root];
    let mut dynamic = false;
    while let Some(name) = open.pop() {
        let Some((_, facts)) = templates.get(name) else { continue };
        dynamic |= facts.dynamic;
        for reference in &facts.references {
            if found.insert(&reference.name) {
                open.push(&reference.name);
            }
        }
    }
    (found, dynamic)
}

/// Whether all templates that are named are there, in `files`: one that does not compile is.
pub(super) fn references(templates: &Templates<'_>, files: &[SourceFile]) -> Vec<Problem> {
    let names = || files.iter().map(|file| file.name.as_str());
    let known: BTreeSet<&str> = names().collect();
    let mut problems = Vec::new();
    for (file, facts) in templates.values() {
        for reference in &facts.references {
            if reference.optional || known.contains(reference.name.as_str()) {
                continue;
            }
            let message = format!("there is no template `{}`", reference.name);
            let hint = suggestion(&reference.name, names());
            problems.push(file.problem(reference.span.clone(), message).hint_if(hint));
        }
    }
    problems
}

/// Whether templates take themselves in, by way of others or not, whatever happens: such a one is
/// without end. Of circles of several templates one is told.
pub(super) fn circles(templates: &Templates<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut taken: Vec<Vec<usize>> = Vec::new();
    let names: Vec<&str> = templates.keys().copied().collect();
    let hint = "take it in under a condition, as in `{% if ... %}`, or not at all";
    for (file, facts) in templates.values() {
        let always = || facts.references.iter().filter(|reference| reference.always);
        for own in always().filter(|reference| reference.name == file.name) {
            let message = format!("`{}` takes itself in, and never ends", file.name);
            problems.push(file.problem(own.span.clone(), message).hint(hint));
        }
        let others = always().filter(|reference| reference.name != file.name);
        let places = others.filter_map(|other| names.binary_search(&other.name.as_str()).ok());
        taken.push(places.collect());
    }
    let taken: Vec<&[usize]> = taken.iter().map(Vec::as_slice).collect();
    let circle = find_cycle(&taken).unwrap_or_default();
    let circle: Vec<&str> = circle.iter().filter_map(|at| names.get(*at).copied()).collect();
    if let [first, next, ..] = circle.as_slice()
        && let Some((file, facts)) = templates.get(first)
        && let Some(found) =
            facts.references.iter().find(|found| found.always && found.name == *next)
    {
        let message = format!("these take each other in, and never end: {}", circle.join(" -> "));
        problems.push(file.problem(found.span.clone(), message).hint(hint));
    }
    problems
}

/// Whether templates have what others take from them by `from`.
pub(super) fn imports(templates: &Templates<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, facts) in templates.values() {
        for import in &facts.imports {
            let (closure, dynamic) = closure(&import.template, templates);
            let members = || closure.iter().filter_map(|name| templates.get(name));
            // Of what does not compile, or is not known, nothing can be told.
            if dynamic || members().count() < closure.len() {
                continue;
            }
            let given = || members().flat_map(|(_, facts)| &facts.assigned);
            if given().any(|name| *name == import.name) {
                continue;
            }
            let message = format!("`{}` has no `{}` to import", import.template, import.name);
            let hint = suggestion(&import.name, given().map(String::as_str));
            problems.push(file.problem(import.span.clone(), message).hint_if(hint));
        }
    }
    problems
}

/// Whether `super` is called where it means something.
pub(super) fn supers(templates: &Templates<'_>) -> Vec<Problem> {
    let hint = "it is what the block has in the template that this one extends";
    let message = "`super()` is for blocks, and this is in none";
    let files = templates.values();
    let strays =
        files.flat_map(|(file, facts)| facts.stray_supers.iter().map(move |at| (file, at)));
    strays.map(|(file, at)| file.problem(at.clone(), message).hint(hint)).collect()
}

/// Whether all names are there that a template and those it takes in use; `what` it is for.
pub(super) fn template(
    root: &str,
    templates: &Templates<'_>,
    scope: &Scope<'_>,
    what: &str,
) -> Vec<Problem> {
    let (members, _) = members(root, templates);
    // A name that one template gives is seen by those it takes in.
    let assigned: BTreeSet<&String> =
        members.iter().flat_map(|member| &member.facts.assigned).collect();
    let mut problems = Vec::new();
    for Member { file, uses, .. } in &members {
        for found in &**uses {
            if assigned.contains(&found.top().to_owned()) {
                continue;
            }
            if let Some((message, hint)) = scope.trouble(found) {
                let message = format!("{message} in {what}");
                let local = || suggestion(found.top(), assigned.iter().map(|name| name.as_str()));
                let hint = hint.or_else(local).unwrap_or_else(|| ask_first(found.top()));
                problems.push(file.problem(found.span.clone(), message).hint(hint));
            }
        }
    }
    problems
}

/// How a template asks for what only some of its pages have.
fn ask_first(name: &str) -> String {
    format!("if only some pages have it, ask for it: {{% if {name} is defined %}}")
}

/// What these names look at in a request.
pub(super) fn request_uses<'a>(tops: impl Iterator<Item = &'a str>) -> Uses {
    let mut uses = Uses::default();
    for top in tops {
        match top {
            "query" => uses.query = true,
            "headers" => uses.headers = true,
            "cookies" => uses.cookies = true,
            "request" => uses.request = true,
            "session" => uses.session = true,
            "form" | "form_list" => uses.form = true,
            "statuses" => uses.statuses = true,
            // It prints all of the context.
            "debug" => return ALL_USES,
            _ => {}
        }
    }
    uses
}

/// What templates that are not known may look at.
pub(super) const ALL_USES: Uses = Uses {
    query: true,
    headers: true,
    cookies: true,
    request: true,
    session: true,
    form: true,
    statuses: true,
};

/// Names that minijinja gives in loops, blocks and macros; an included template sees them, and
/// its analysis by itself does not.
pub(super) const TEMPLATE_NAMES: &[&str] = &["loop", "self", "super", "caller"];
