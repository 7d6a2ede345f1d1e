//! What an overlay in the browser tells: why a site does not load, or a page could not be made,
//! with the lines of the files that are to blame.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::config::{Problem, Report};
use crate::http;
use crate::limits::SITE_FILE_BYTES_MAX;
use crate::limits::authoring::{
    FETCHES_SHOWN_MAX, LINE_CHARS_MAX, LINES_AROUND, PAGES_SHOWN_MAX, PROBLEMS_SHOWN_MAX,
};
use crate::page::{Failure, Level, Step, Trace};
use crate::press::Spot;
use crate::site::Site;

/// All that an overlay shows.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Told {
    title: String,
    note: String,
    /// Whether it waits in the corner of the page to be asked for.
    folded: bool,
    problems: Vec<Shown>,
    /// Problems that are not shown.
    more: usize,
    fetches: Vec<Fetch>,
    /// The patterns of the site's pages, where none was found.
    pages: Vec<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    message: String,
    hint: Option<String>,
    file: String,
    line: usize,
    column: usize,
    width: usize,
    /// Lines with their numbers.
    lines: Vec<(usize, String)>,
}

/// One fetch of the page.
#[derive(Clone, Debug, Serialize)]
struct Fetch {
    name: String,
    url: String,
    status: Option<u16>,
    took_ms: f64,
    is_failure: bool,
}

/// The files of a site, as they are now.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) folder: &'a Path,
    /// The name of the site file.
    pub(super) site: &'a str,
}

impl Told {
    /// Why a site does not load.
    pub(super) fn of_report(report: &Report, files: Files<'_>, was_fine: bool) -> Self {
        let shown = report.problems.iter().take(PROBLEMS_SHOWN_MAX);
        let problems: Vec<Shown> = shown.map(|problem| Shown::of_problem(problem, files)).collect();
        let count = report.problems.len();
        Self {
            title: match count {
                1 => "The site does not load: 1 problem".to_owned(),
                count => format!("The site does not load: {count} problems"),
            },
            note: match was_fine {
                true => "What is served is the site as it was before.".to_owned(),
                false => String::new(),
            },
            more: count.saturating_sub(problems.len()),
            problems,
            ..Self::default()
        }
    }

    /// The same, where no file is to blame.
    pub(super) fn of_text(text: &str) -> Self {
        let problem = Shown { message: text.to_owned(), ..Shown::default() };
        let title = "The site cannot be served".to_owned();
        Self { title, problems: vec![problem], ..Self::default() }
    }

    /// Why a page could not be made, if it could not.
    pub(super) fn of_page(
        asked: &str,
        trace: &Trace,
        site: &Site,
        files: Files<'_>,
    ) -> Option<Self> {
        let failure = trace.failure.as_ref()?;
        let status = failure.status;
        let is_nowhere = status == 404 && trace.steps.is_empty();
        let statics = site.statics().iter().map(|one| one.pattern().to_owned());
        let pages = site.pages().iter().map(|page| page.pattern().to_owned()).chain(statics);
        let pages = pages.take(if is_nowhere { PAGES_SHOWN_MAX } else { 0 });
        // Those that failed first, as they are what this is about.
        let (failed, fine): (Vec<_>, Vec<_>) =
            trace.steps.iter().partition(|step| !step.failure.is_empty());
        let steps = failed.into_iter().chain(fine).take(FETCHES_SHOWN_MAX);
        Some(Self {
            title: format!("{status} {}", http::reason_phrase(status)),
            note: format!("{asked} · {}", failure.told),
            folded: status < 500,
            problems: problems_of(failure, &trace.steps, files),
            more: 0,
            fetches: steps.map(Fetch::of).collect(),
            pages: pages.collect(),
        })
    }

    /// As JSON that may stand within a script element.
    pub(super) fn json(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned());
        json.replace('<', "\\u003c")
    }
}

/// The levels of a failure, those that have no place joined to the one before.
fn problems_of(failure: &Failure, steps: &[Step], files: Files<'_>) -> Vec<Shown> {
    let mut problems: Vec<Shown> = Vec::new();
    for Level { message, spot } in failure.levels.iter().take(PROBLEMS_SHOWN_MAX) {
        let of_fetch = steps.iter().find(|step| step.failure.first() == Some(message));
        let of_fetch = of_fetch.map(|step| Spot::new(files.site, step.line));
        match (spot.clone().or(of_fetch), problems.last_mut()) {
            (Some(spot), _) => problems.push(Shown::at(message, &spot, files)),
            (None, Some(last)) => {
                last.message.push_str("\n→ ");
                last.message.push_str(message);
            }
            (None, None) => problems.push(Shown { message: message.clone(), ..Shown::default() }),
        }
    }
    // A level that only says which template failed, before one that says where.
    if problems.len() > 1 && problems.first().is_some_and(|first| first.file.is_empty()) {
        let first = problems.remove(0);
        if let Some(next) = problems.first_mut() {
            next.message = format!("{}\n→ {}", first.message, next.message);
        }
    }
    problems
}

impl Shown {
    fn of_problem(problem: &Problem, files: Files<'_>) -> Self {
        let spot = Spot {
            file: problem.file.clone(),
            line: problem.line,
            text: problem.excerpt.clone(),
            column: problem.column,
            width: problem.width,
        };
        let hint = problem.hint.clone();
        Self { hint, ..Self::at(&problem.message, &spot, files) }
    }

    fn at(message: &str, spot: &Spot, files: Files<'_>) -> Self {
        let mut shown = Self {
            message: message.to_owned(),
            hint: None,
            file: spot.file.clone(),
            line: spot.line,
            column: spot.column,
            width: spot.width,
            lines: Vec::new(),
        };
        if spot.line == 0 {
            return shown;
        }
        let text = read(&files.folder.join(&spot.file)).unwrap_or_default();
        let line = text.lines().nth(spot.line - 1);
        match line.and_then(|line| Some((line, line.find(&spot.text)?))) {
            Some((line, at)) => {
                // Of an expression it is known where in it; the line has more before it.
                let before = line.get(..at).unwrap_or_default().chars().count();
                if shown.column > 0 {
                    shown.column += before;
                }
                let first = spot.line.saturating_sub(LINES_AROUND).max(1);
                let lines = text.lines().enumerate().skip(first - 1);
                let lines = lines.take(spot.line + LINES_AROUND - first + 1);
                let line = |(at, line): (usize, &str)| (at + 1, shown.part(at + 1, line));
                let lines = lines.map(line).collect();
                shown.lines = lines;
            }
            // It has been saved anew since.
            None => shown.lines.push((spot.line, shown.part(spot.line, &spot.text))),
        }
        let left_out = shown.left_out();
        shown.column = shown.column - left_out + usize::from(left_out > 0);
        shown
    }

    /// What is shown of a line: its beginning, but of the one that is meant the part with the mark.
    fn part(&self, number: usize, line: &str) -> String {
        match self.left_out() {
            left_out if left_out > 0 && number == self.line => {
                let rest: String = line.chars().skip(left_out).collect();
                format!("…{}", bounded(&rest))
            }
            _ => bounded(line),
        }
    }

    /// Characters of the line that is meant that are left out before the part with the mark.
    fn left_out(&self) -> usize {
        let before = self.column.saturating_sub(1);
        match before + self.width > LINE_CHARS_MAX {
            true => before.saturating_sub(LINE_CHARS_MAX / 2),
            false => 0,
        }
    }
}

impl Fetch {
    fn of(step: &Step) -> Self {
        Self {
            name: step.name.clone(),
            url: bounded(&step.url),
            status: step.status,
            took_ms: (step.took.as_secs_f64() * 1e4).round() / 10.0,
            is_failure: !step.failure.is_empty(),
        }
    }
}

/// A line as it is shown: a tab as one column, as columns are counted.
fn bounded(line: &str) -> String {
    line.replace('\t', " ").chars().take(LINE_CHARS_MAX).collect()
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SITE_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, spot: &Spot) -> Shown {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.html"), text).unwrap();
        Shown::at("m", spot, Files { folder: folder.path(), site: "site.toml" })
    }

    #[test]
    fn lines_around_the_one_that_is_meant() {
        let text = "1\n2\n3\n4\n\tfive\n6\n7\n8\n9";
        let spot = Spot { text: "\tfive".into(), column: 2, width: 4, ..Spot::new("a.html", 5) };
        let shown = shown(text, &spot);
        let numbers: Vec<usize> = shown.lines.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(shown.lines[3].1, " five");
        assert_eq!((shown.column, shown.width), (2, 4));
    }

    #[test]
    fn an_expression_is_found_in_its_line() {
        let spot = Spot { text: "a.b".into(), column: 3, width: 1, ..Spot::new("a.html", 1) };
        assert_eq!(shown("x = \"a.b\"", &spot).column, 8);
        // Saved anew since: what was there is shown, and no other line for it.
        let gone = shown("y = 1", &spot);
        assert_eq!(gone.lines, [(1, "a.b".to_owned())]);
        assert_eq!(gone.column, 3);
    }

    #[test]
    fn of_a_long_line_the_part_with_the_mark_is_shown() {
        let text = format!("{}MARK{}\n{}", "é".repeat(1000), "b".repeat(1000), "c".repeat(1000));
        let line = text.lines().next().unwrap().to_owned();
        let spot = Spot { text: line, column: 1001, width: 4, ..Spot::new("a.html", 1) };
        let shown = shown(&text, &spot);
        let marked: String = shown.lines[0].1.chars().skip(shown.column - 1).take(4).collect();
        assert_eq!(marked, "MARK");
        assert!(shown.lines[0].1.starts_with("…é") && shown.lines[1].1.starts_with('c'));
        let lengths = [0, 1].map(|line: usize| shown.lines[line].1.chars().count());
        assert_eq!(lengths, [LINE_CHARS_MAX + 1, LINE_CHARS_MAX]);
    }

    #[test]
    fn json_cannot_end_the_script_that_it_is_in() {
        let told = Told::of_text("</script><b>");
        assert!(!told.json().contains('<'), "{}", told.json());
    }
}
