//! A site's templates and expressions, compiled, in one immutable value.
//!
//! Templates borrow their texts. minijinja keeps templates that own theirs behind a mutex, which
//! every include of every worker would take.

use super::environment;
use super::error::PressError;
use crate::config::SourceFile;
use crate::error::PageError;
use crate::limits::PAGE_BYTES_MAX;
use minijinja::{Environment, Expression, Template, Value};
use std::io;

/// All programs of a site.
pub struct Press {
    programs: ProgramCell,
    origins: Vec<Origin>,
}

/// One template of a [`Press`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateId(usize);

/// One expression of a [`Press`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpressionId(pub(super) usize);

/// An expression and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) text: String,
    pub(super) file: String,
    pub(super) line: usize,
}

/// What compiled programs borrow from.
struct Texts {
    templates: Vec<SourceFile>,
    expressions: Vec<String>,
}

struct Programs<'a> {
    templates: Vec<Template<'a, 'a>>,
    expressions: Vec<Expression<'a, 'a>>,
}

self_cell::self_cell!(
    struct EnvironmentCell {
        owner: Texts,
        #[covariant]
        dependent: Environment,
    }
);

self_cell::self_cell!(
    struct ProgramCell {
        owner: EnvironmentCell,
        #[covariant]
        dependent: Programs,
    }
);

impl Press {
    /// Compiles everything. The builder has compiled each by itself before, to tell problems
    /// apart, so an error here is one of the whole.
    pub(super) fn compile(
        templates: Vec<SourceFile>,
        origins: Vec<Origin>,
    ) -> Result<Self, minijinja::Error> {
        let expressions = origins.iter().map(|origin| origin.text.clone()).collect();
        let texts = Texts { templates, expressions };
        let environment = EnvironmentCell::try_new(texts, |texts| {
            let mut environment = environment::new();
            for file in &texts.templates {
                environment.add_template(&file.name, &file.text)?;
            }
            Ok::<_, minijinja::Error>(environment)
        })?;
        let programs = ProgramCell::try_new(environment, |cell| {
            let environment = cell.borrow_dependent();
            let texts = cell.borrow_owner();
            let templates = texts.templates.iter();
            let templates = templates.map(|file| environment.get_template(&file.name));
            let expressions = texts.expressions.iter();
            let expressions = expressions.map(|text| environment.compile_expression(text));
            Ok::<_, minijinja::Error>(Programs {
                templates: templates.collect::<Result<_, _>>()?,
                expressions: expressions.collect::<Result<_, _>>()?,
            })
        })?;
        Ok(Self { programs, origins })
    }

    /// The template of this file name.
    pub fn template(&self, name: &str) -> Option<TemplateId> {
        let texts = self.programs.borrow_owner().borrow_owner();
        texts.templates.iter().position(|file| file.name == name).map(TemplateId)
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// When it fails; the cause names its place in the site file.
    pub fn evaluate(&self, id: ExpressionId, root: &Value) -> Result<Value, PageError> {
        let fail = || PageError::new(crate::error::PageErrorKind::Internal, "no such expression");
        let expression = self.programs.borrow_dependent().expressions.get(id.0).ok_or_else(fail)?;
        expression.eval(root.clone()).map_err(|error| {
            let what = format!("expression `{}` failed", self.text(id));
            PressError::of(&error, self.origins.get(id.0)).fails(what)
        })
    }

    /// The text of an expression.
    pub fn text(&self, id: ExpressionId) -> &str {
        self.origins.get(id.0).map_or("", |origin| &origin.text)
    }

    /// Where an expression is written: file and line.
    pub fn place(&self, id: ExpressionId) -> String {
        let place = self.origins.get(id.0).map(|origin| format!("{}:{}", origin.file, origin.line));
        place.unwrap_or_default()
    }

    /// Appends what a template makes of `root`. On an error nothing is appended.
    ///
    /// # Errors
    /// When the template fails, runs out of [`RENDER_FUEL`](crate::limits::RENDER_FUEL), or makes
    /// more than [`PAGE_BYTES_MAX`] bytes.
    pub fn render(&self, id: TemplateId, root: &Value, out: &mut Vec<u8>) -> Result<(), PageError> {
        let fail = || PageError::new(crate::error::PageErrorKind::Internal, "no such template");
        let template = self.programs.borrow_dependent().templates.get(id.0).ok_or_else(fail)?;
        let start = out.len();
        let writer = BoundedWriter { out, room: PAGE_BYTES_MAX };
        let rendered = template.render_captured_to(root.clone(), writer).map(drop);
        rendered.map_err(|error| {
            out.truncate(start);
            PressError::of(&error, None).fails(format!("template {} failed", template.name()))
        })
    }
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press").field("expressions", &self.origins.len()).finish_non_exhaustive()
    }
}

/// Appends up to `room` bytes, then fails.
struct BoundedWriter<'a> {
    out: &'a mut Vec<u8>,
    room: usize,
}

impl io::Write for BoundedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// A template writes many short pieces: the loop of the default would be most of the work.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(room) = self.room.checked_sub(bytes.len()) else {
            return Err(io::Error::other(format!("the page is over {PAGE_BYTES_MAX} bytes")));
        };
        self.room = room;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
