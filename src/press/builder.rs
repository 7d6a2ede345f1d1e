//! Gathers a site's templates and expressions, checks each, and compiles them into a [`Press`].

use super::asks::{self, Asks};
use super::assets::Assets;
use super::blocks::Blocks;
use super::compiled::{ExpressionId, Origin, Press, Sent};
use super::environment;
use super::error::PressError;
use super::names::{self, Import, Reference, Use};
use super::nested::{self, BarePrint};
use super::nesting::{self, TooDeep};
use super::piece::REQUEST_NAMES;
use super::scan::{self, Token};
use crate::config::{At, Problem, SourceFile};
use minijinja::Environment;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// What is compiled so far.
pub struct Builder {
    environment: Environment<'static>,
    functions: Vec<String>,
    templates: Vec<SourceFile>,
    origins: Vec<Origin>,
    assets: Arc<Assets>,
    /// Whether those are all that there are.
    assets_are_known: bool,
}

/// A string of the site file that holds template code.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    file: &'a SourceFile,
    span: Range<usize>,
    /// The string, as TOML decodes it.
    pub text: &'a str,
}

/// An expression that compiles, and what it takes.
#[derive(Clone, Debug)]
pub struct ExpressionFacts {
    /// It, in the press to be.
    pub id: ExpressionId,
    /// The names it takes, with places in the site file.
    pub uses: Vec<Use>,
    /// The names it looks up, one in the other, if it does nothing else: of `query.page` and
    /// `query["page"]` those two.
    pub(super) lookup: Option<Box<[Box<str>]>>,
}

/// What a template that compiles takes and gives.
#[derive(Clone, Debug)]
pub struct TemplateFacts {
    /// The names it takes, with places in its file.
    pub uses: Vec<Use>,
    /// Names it gives itself, which templates it includes or extends see.
    pub assigned: BTreeSet<String>,
    /// The templates it names.
    pub references: Vec<Reference>,
    /// The names that it takes from others.
    pub imports: Vec<Import>,
    /// Where it calls `super` outside of blocks.
    pub stray_supers: Vec<Range<usize>>,
    /// What it asks for by `fragment`.
    pub asks: Asks,
    /// Whether it also takes templates by names that are made when it runs.
    pub dynamic: bool,
    /// Its blocks, and the template that it extends.
    pub blocks: Blocks,
    /// What it prints of what visitors need not send.
    pub bare_prints: Vec<BarePrint>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            environment: environment::new(),
            functions: environment::function_names(),
            templates: Vec::new(),
            origins: Vec::new(),
            assets: Arc::default(),
            assets_are_known: true,
        }
    }
}

impl Builder {
    /// The same, with these static files. To be said before templates and expressions are added.
    #[must_use]
    pub fn with_assets(self, assets: Arc<Assets>) -> Self {
        Self { assets, ..self }
    }

    /// The same, if there may be other static files than those it has: nothing is told of such
    /// as it does not know.
    #[must_use]
    pub fn with_other_assets(self, are_there: bool) -> Self {
        Self { assets_are_known: !are_there, ..self }
    }

    /// The names of functions that all templates and expressions see.
    pub fn functions(&self) -> &[String] {
        &self.functions
    }

    /// Adds a template.
    ///
    /// # Errors
    /// All that is wrong with it by itself.
    pub fn template(&mut self, file: &SourceFile) -> Result<TemplateFacts, Vec<Problem>> {
        let tokens = scan::template(&file.text);
        if let Some(TooDeep { span, message, hint }) = nesting::too_deep(&file.text, &tokens) {
            return Err(vec![file.problem(span, message).hint(hint)]);
        }
        let environment = environment::new();
        let template = match environment.template_from_named_str(&file.name, &file.text) {
            Ok(template) => template,
            Err(error) => return Err(vec![template_problem(file, &error)]),
        };
        let unknown = names::unknown_filters(&self.environment, &file.text, &tokens);
        if !unknown.is_empty() {
            let problems = unknown.into_iter();
            return Err(problems
                .map(|(span, message, hint)| file.problem(span, message).hint_if(hint))
                .collect());
        }
        let missing = self.missing_assets(&file.text, &tokens);
        if !missing.is_empty() {
            let problems = missing.into_iter();
            return Err(problems
                .map(|(span, (m, hint))| file.problem(span, m).hint(hint))
                .collect());
        }
        let unsliced = scan::without_slices(&file.text, &tokens);
        let undeclared = environment
            .template_from_named_str(&file.name, &unsliced)
            .unwrap_or(template)
            .undeclared_variables(true);
        let uses = names::uses(undeclared, &file.text, &tokens);
        let assigned = names::assigned(&file.text, &tokens);
        let (references, dynamic) = names::references(&file.text, &tokens);
        let asks = asks::asks(&file.text, &tokens);
        self.templates.push(file.clone());
        let imports = names::imports(&file.text, &tokens);
        let stray_supers = nested::stray_supers(&file.text, &tokens);
        let blocks = Blocks::of(&file.text, &tokens);
        Ok(TemplateFacts {
            uses,
            assigned,
            references,
            imports,
            stray_supers,
            asks,
            dynamic,
            blocks,
            bare_prints: nested::bare_prints(&file.text, &tokens, &["query", "form", "cookies"]),
        })
    }

    /// Adds the expression in `range` of a string of the site file.
    ///
    /// # Errors
    /// All that is wrong with it by itself.
    pub fn expression(
        &mut self,
        place: &Place<'_>,
        range: Range<usize>,
    ) -> Result<ExpressionFacts, Vec<Problem>> {
        let inner = place.text.get(range.clone()).unwrap_or_default();
        let start = range.start + (inner.len() - inner.trim_start().len());
        let text = inner.trim();
        if text.is_empty() {
            return Err(vec![place.problem(range, "this expression is empty")]);
        }
        let within = |span: Range<usize>| place.part(start + span.start..start + span.end);
        let tokens = scan::expression(text);
        if let Some(TooDeep { span, message, .. }) = nesting::too_deep(text, &tokens) {
            return Err(vec![place.file.problem(within(span), message)]);
        }
        let compiled = self.environment.compile_expression_owned(text.to_owned());
        let undeclared = match compiled {
            Ok(expression) => self
                .environment
                .compile_expression_owned(scan::without_slices(text, &tokens))
                .unwrap_or(expression)
                .undeclared_variables(true),
            Err(error) => {
                let span = within(error.range().unwrap_or(0..text.len()));
                let what = error.detail().map_or(error.kind().to_string(), str::to_owned);
                let message = format!("this is not an expression: {what}");
                let bare = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
                let hint = bare.map(|bare| format!("leave out the braces: `{}`", bare.trim()));
                return Err(vec![place.file.problem(span, message).hint_if(hint)]);
            }
        };
        let unknown = names::unknown_filters(&self.environment, text, &tokens);
        if !unknown.is_empty() {
            let problems = unknown.into_iter();
            return Err(problems
                .map(|(span, message, hint)| {
                    place.file.problem(within(span), message).hint_if(hint)
                })
                .collect());
        }
        let missing = self.missing_assets(text, &tokens);
        if !missing.is_empty() {
            let problems = missing.into_iter();
            let problem =
                |(span, (message, hint))| place.file.problem(within(span), message).hint(hint);
            return Err(problems.map(problem).collect());
        }
        let mut uses = names::uses(undeclared, text, &tokens);
        if let Some(found) = uses.iter().find(|found| found.top() == "fragment") {
            let message = "`fragment` is for templates: nothing here waits for a page";
            return Err(vec![place.file.problem(within(found.span.clone()), message)]);
        }
        let lookup = names::lookup(text, &tokens);
        let lookup = lookup
            .filter(|names| uses.iter().any(|found| names.starts_with(&[found.top().into()])));
        for found in &mut uses {
            found.span = within(found.span.clone());
        }
        let (line, _) = place.file.place(within(0..text.len()).start);
        let id = ExpressionId(self.origins.len());
        let file = place.file.name.clone();
        let path = lookup.clone().unwrap_or_default();
        let sent = sent(&uses);
        self.origins.push(Origin { text: text.to_owned(), file, line, path, sent });
        Ok(ExpressionFacts { id, uses, lookup })
    }

    /// The static files that a text names and that are not there, each with what is wrong.
    fn missing_assets(
        &self,
        text: &str,
        tokens: &[Token],
    ) -> Vec<(Range<usize>, (String, String))> {
        match self.assets_are_known {
            true => names::missing_assets(&self.assets, text, tokens),
            false => Vec::new(),
        }
    }

    /// Compiles all that was added.
    ///
    /// # Errors
    /// When it does not compile together.
    pub fn finish(self) -> Result<Press, Problem> {
        Press::compile(self.templates, self.origins, &self.functions, self.assets).map_err(
            |error| {
                let name = error.name().unwrap_or_default().to_owned();
                Problem::of_file(name, PressError::of(&error, None).to_string())
            },
        )
    }
}

impl<'a> Place<'a> {
    /// The place of a string of the site file.
    pub fn new(file: &'a SourceFile, string: &'a At<String>) -> Self {
        Self { file, span: string.span.clone(), text: &string.value }
    }

    /// The bytes of the file that a part of the string comes from; all of the string, where it
    /// is written with escapes and cannot be told.
    pub fn part(&self, range: Range<usize>) -> Range<usize> {
        let raw = self.file.text.get(self.span.clone()).unwrap_or_default();
        match raw.find(self.text) {
            Some(at) if !self.text.is_empty() => {
                let base = self.span.start + at;
                base + range.start..base + range.end
            }
            _ => self.span.clone(),
        }
    }

    /// Where the string is, for those who look for it: file and line.
    pub fn line(&self) -> String {
        let (line, _) = self.file.place(self.span.start);
        format!("{}:{line}", self.file.name)
    }

    /// A problem with a part of the string.
    pub fn problem(&self, range: Range<usize>, message: impl Into<String>) -> Problem {
        self.file.problem(self.part(range), message)
    }
}

/// What of the request these names are, if that is all they are.
fn sent(uses: &[Use]) -> Option<Sent> {
    let is_sent = |found: &Use| found.top() != "session" && REQUEST_NAMES.contains(&found.top());
    let is_form = |found: &Use| matches!(found.top(), "form" | "form_list");
    let sent = if uses.iter().any(is_form) { Sent::Form } else { Sent::Other };
    (!uses.is_empty() && uses.iter().all(is_sent)).then_some(sent)
}

fn template_problem(file: &SourceFile, error: &minijinja::Error) -> Problem {
    let what = error.detail().map_or(error.kind().to_string(), str::to_owned);
    let line_start = || {
        let line = error.line().unwrap_or(1).saturating_sub(1);
        let start = file.text.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
        start..start
    };
    file.problem(error.range().unwrap_or_else(line_start), what)
}
