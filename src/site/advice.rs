//! What a site may be, and hardly is meant to be: told by `check`, and refused by nobody.

use super::Site;
use super::check;
use super::inherited::members;
use crate::config::{self, PageTable, Problem, Report, SourceFile};
use crate::press::{BarePrint, Builder};
use std::collections::BTreeSet;
use std::ops::Range;

impl Site {
    /// What looks like a mistake, by file and line, each with a remedy. The site is read for it
    /// once more.
    pub fn advice(&self) -> Vec<Problem> {
        let files = &self.files;
        // What is wrong was told when the site was loaded: nothing was.
        let (written, _) = config::read(&files.site);
        let mut builder = Builder::default().with_other_assets(true);
        let templates = check::templates(files, &mut builder, &mut Vec::new());
        let mut found = Vec::new();
        for (number, page) in written.pages.iter().enumerate() {
            found.extend(foreign_parameters(page, &files.site));
            let next = written.pages.get(number + 1).map(|next| next.span.start);
            let text = page.span.start..next.unwrap_or(files.site.text.len());
            let text = files.site.text.get(text).unwrap_or_default();
            // Of a part of other pages they give the query; who is sent on sees no page.
            let Some(template) = &page.template else { continue };
            if page.internal || page.answers.redirect.is_some() {
                continue;
            }
            let (members, _) = members(&template.value, &templates);
            let assigned: BTreeSet<&str> =
                members.iter().flat_map(|it| &it.facts.assigned).map(String::as_str).collect();
            for member in members.iter().filter(|member| member.is_in_line) {
                let is_guarded = |print: &BarePrint| {
                    member.uses.iter().any(|found| found.guarded && found.path == print.path)
                };
                let bare = member.facts.bare_prints.iter().filter(|print| {
                    let top = print.path.split('.').next().unwrap_or_default();
                    member.is_made(print.span.start)
                        && !is_guarded(print)
                        && !assigned.contains(top)
                        && !is_needed(&print.path, text)
                });
                found.extend(bare.map(|print| bare_print(print, member.file)));
            }
        }
        Report::new(&self.name, &files.site.name, found).problems
    }
}

fn bare_print(print: &BarePrint, file: &SourceFile) -> Problem {
    let path = &print.path;
    let message = format!("`{path}` is printed, and who does not send it gets a 500");
    let hint = format!("write {{{{ {path} | default('') }}}}, or ask first: {{% if {path} %}}");
    file.problem(print.span.clone(), message).hint(hint)
}

/// Whether a page may be no page at all, as a 400, where the visitor has not sent this, going by
/// the text of its table: it stands there in something else than in itself alone, which is left
/// out then, or with a default.
fn is_needed(path: &str, text: &str) -> bool {
    let top = path.split('.').next().unwrap_or_default();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let is_fine = |(at, found): (usize, &str)| {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + found.len()..).unwrap_or_default();
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return true;
        }
        let default = after.trim_start().strip_prefix('|').map(str::trim_start);
        if default.is_some_and(|rest| rest.starts_with("default(") || rest.starts_with("d(")) {
            return true;
        }
        let code = before.trim_end().strip_suffix("{{");
        let rest = after.trim_start().strip_prefix("}}");
        let (before, after) = (code.unwrap_or(before), rest.unwrap_or(after));
        code.is_some() == rest.is_some()
            && before.ends_with(['"', '\''])
            && after.starts_with(['"', '\''])
    };
    text.contains(&format!("{top}[")) || !text.match_indices(path).all(is_fine)
}

/// A page whose path has a parameter as other routers write it.
fn foreign_parameters(page: &PageTable, file: &SourceFile) -> Option<Problem> {
    let path = page.path.as_ref()?;
    let name = |segment: &str| {
        let colon = segment.strip_prefix(':');
        let angles = segment.strip_prefix('<').and_then(|segment| segment.strip_suffix('>'));
        let name = colon.or(angles)?;
        // `<int:id>` is how Flask writes it.
        let name = name.rsplit(':').next()?;
        super::route::is_name(name).then(|| name.to_owned())
    };
    let segments = path.value.split('/');
    let meant: Vec<String> = segments
        .map(|segment| match name(segment) {
            Some(name) => format!("{{{name}}}"),
            None => segment.to_owned(),
        })
        .collect();
    let meant = meant.join("/");
    if meant == path.value {
        return None;
    }
    let message = format!("`{}` is this very path: nothing in it is a parameter", path.value);
    let span: Range<usize> = path.span.clone();
    Some(file.problem(span, message).hint(format!("a parameter is in braces: \"{meant}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_needs_of_its_visitors() {
        let is_needed = |text: &str| is_needed("query.q", text);
        for text in [
            "",
            "query = { q = \"{{ query.q }}\" }",
            "query = { q = '{{query.q}}' }",
            "when = \"query.q\"",
            "let = \"query.q | default('')\"",
            "path = '/{{ query.q|d('') }}'",
            "path = '/{{ query.qq }}'",
            "path = '/{{ my_query.q }}'",
        ] {
            assert!(!is_needed(text), "{text}");
        }
        for text in [
            "path = '/{{ query.q }}'",
            "let = \"query.q | int\"",
            "let = \"query['q']\"",
            "q = \"a {{ query.q }}\"",
            "status = \"{{ 404 if not query.q }}\"",
        ] {
            assert!(is_needed(text), "{text}");
        }
    }
}
