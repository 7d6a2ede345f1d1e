//! A site's templates and expressions, compiled, in one immutable value.
//!
//! Templates borrow their texts. minijinja keeps templates that own theirs behind a mutex, which
//! every include of every worker would take.

use super::assets::Assets;
use super::context::{Context, Names, is_reserved};
use super::environment;
use super::error::PressError;
use super::json::{Data, View};
use super::piece::FORM_TOLD;
use super::program::{
    self, Escape, Foreign, ForeignId, ForeignTexts, Found, GaveUp, Host, Library, NameId, Outcome,
    Program, Uncovered,
};
use crate::config::SourceFile;
use crate::error::{PageError, PageErrorKind};
use crate::limits::PAGE_BYTES_MAX;
use minijinja::machinery::Instructions;
use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, Expression, Template, Value};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// All programs of a site.
pub struct Press {
    cell: Cell,
    origins: Vec<Origin>,
    /// Of each template, or why it has none.
    programs: Vec<Result<Program, Uncovered>>,
    /// What is not there, and silent: it cannot be made, but comes out of an `if` without an else.
    silent: Value,
}

/// Where the names of a template's program are on one page.
#[derive(Debug, Default)]
pub struct Binding(Vec<Place>);

#[derive(Debug)]
enum Place {
    /// A node.
    Node(usize),
    /// Something of the request, by this name.
    Request(Box<str>),
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
    /// The names it looks up, one in the other, if it does nothing else.
    pub(super) path: Box<[Box<str>]>,
    /// Whether it takes nothing but what visitors send, and whether that is a form.
    pub(super) sent: Option<Sent>,
}

/// What visitors send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// A form, beside other things or alone.
    Form,
    /// Something else.
    Other,
}

/// What compiled programs borrow from.
struct Texts {
    templates: Vec<SourceFile>,
    expressions: Vec<String>,
    foreign: Vec<String>,
}

struct Compiled<'a> {
    templates: Vec<Template<'a, 'a>>,
    expressions: Vec<Expression<'a, 'a>>,
    foreign: Vec<Foreign<'a>>,
    /// No blocks, which operations have none of.
    blocks: BTreeMap<&'a str, Instructions<'a>>,
}

self_cell::self_cell!(
    struct EnvironmentCell {
        owner: Texts,
        #[covariant]
        dependent: Environment,
    }
);

self_cell::self_cell!(
    struct Cell {
        owner: EnvironmentCell,
        #[covariant]
        dependent: Compiled,
    }
);

impl Press {
    /// Compiles everything. The builder has compiled each by itself before, to tell problems
    /// apart, so an error here is one of the whole.
    pub(super) fn compile(
        templates: Vec<SourceFile>,
        origins: Vec<Origin>,
        functions: &[String],
        assets: Arc<Assets>,
    ) -> Result<Self, minijinja::Error> {
        let expressions = origins.iter().map(|origin| origin.text.clone()).collect();
        let mut foreign = ForeignTexts::default();
        let silent = foreign.add(SILENT.to_owned());
        let programs = programs(&templates, functions, &assets, &mut foreign)?;
        let texts = Texts { templates, expressions, foreign: foreign.into_texts() };
        let environment = EnvironmentCell::try_new(texts, |texts| {
            let mut environment = environment::new();
            assets.add_to(&mut environment);
            for file in &texts.templates {
                environment.add_template(&file.name, &file.text)?;
            }
            Ok::<_, minijinja::Error>(environment)
        })?;
        let cell = Cell::try_new(environment, |cell| {
            let environment = cell.borrow_dependent();
            let texts = cell.borrow_owner();
            let templates = texts.templates.iter();
            let templates = templates.map(|file| environment.get_template(&file.name));
            let expressions = texts.expressions.iter();
            let expressions = expressions.map(|text| environment.compile_expression(text));
            let foreign = texts.foreign.iter().map(|text| Foreign::new(text));
            Ok::<_, minijinja::Error>(Compiled {
                templates: templates.collect::<Result<_, _>>()?,
                expressions: expressions.collect::<Result<_, _>>()?,
                foreign: foreign.collect::<Result<_, _>>()?,
                blocks: BTreeMap::new(),
            })
        })?;
        let mut press = Self { cell, origins, programs, silent: Value::UNDEFINED };
        let inputs = vec![Value::from(1), Value::from(false)];
        press.silent = press.foreign(silent, inputs, &Value::UNDEFINED, Escape::None)?.value;
        Ok(press)
    }

    /// The template of this file name.
    pub fn template(&self, name: &str) -> Option<TemplateId> {
        let texts = self.cell.borrow_owner().borrow_owner();
        texts.templates.iter().position(|file| file.name == name).map(TemplateId)
    }

    /// The file name of a template.
    pub fn name(&self, id: TemplateId) -> &str {
        let texts = self.cell.borrow_owner().borrow_owner();
        texts.templates.get(id.0).map_or("", |file| &file.name)
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// When it fails; the cause names its place in the site file.
    pub fn evaluate(&self, id: ExpressionId, root: &Value) -> Result<Value, PageError> {
        let failed = |error| self.failed(id, &error, PageErrorKind::Internal);
        self.attempt(id, root).map_err(failed)
    }

    /// The value of a let.
    ///
    /// # Errors
    /// As those of [`Press::evaluate`], but the visitor's where it takes nothing but what they
    /// send, and that is not there or nothing can be done with it.
    pub fn evaluate_let(&self, id: ExpressionId, root: &Value) -> Result<Value, PageError> {
        let sent = self.origins.get(id.0).and_then(|origin| origin.sent);
        self.attempt(id, root).map_err(|error| match (sent, error.kind()) {
            (Some(sent), ErrorKind::UndefinedError | ErrorKind::InvalidOperation) => {
                let error = self.failed(id, &error, PageErrorKind::BadRequest);
                if sent == Sent::Form { error.telling(FORM_TOLD) } else { error }
            }
            _ => self.failed(id, &error, PageErrorKind::Internal),
        })
    }

    /// The value of an expression that takes nothing but what visitors send. It is undefined where
    /// it fails because they have not sent it.
    ///
    /// # Errors
    /// As those of [`Press::evaluate`], but theirs where nothing can be done with what they have
    /// sent, as with a text that should be a number.
    pub(super) fn evaluate_theirs(
        &self,
        id: ExpressionId,
        root: &Value,
    ) -> Result<Value, PageError> {
        match self.attempt(id, root) {
            Err(error) if error.kind() == ErrorKind::UndefinedError => Ok(Value::UNDEFINED),
            Err(error) if error.kind() == ErrorKind::InvalidOperation => {
                Err(self.failed(id, &error, PageErrorKind::BadRequest))
            }
            attempt => attempt.map_err(|error| self.failed(id, &error, PageErrorKind::Internal)),
        }
    }

    fn attempt(&self, id: ExpressionId, root: &Value) -> Result<Value, minijinja::Error> {
        if let Some(value) = self.look_up(id, root) {
            return Ok(value);
        }
        let expression = self.cell.borrow_dependent().expressions.get(id.0);
        expression.ok_or_else(no_operation)?.eval(root.clone())
    }

    fn failed(&self, id: ExpressionId, error: &minijinja::Error, kind: PageErrorKind) -> PageError {
        let what = format!("expression `{}` failed", self.text(id));
        PageError::new(kind, what).because(PressError::of(error, self.origins.get(id.0)))
    }

    /// The value of an expression that is a path and leads somewhere: it needs no machine.
    fn look_up(&self, id: ExpressionId, root: &Value) -> Option<Value> {
        let mut names = self.origins.get(id.0)?.path.iter();
        let mut value = root.as_object()?.get_value_by_str(names.next()?)?;
        for name in names {
            value = value.get_attr(name).ok()?;
        }
        let is_there = !matches!(value.kind(), ValueKind::Undefined | ValueKind::Invalid);
        is_there.then_some(value)
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

    /// Where the names of a template's program are on a page with these nodes.
    pub fn bind(&self, id: TemplateId, names: &Names) -> Binding {
        let Some(Ok(program)) = self.programs.get(id.0) else { return Binding(Vec::new()) };
        let places = program.names.iter().map(|name| match names.slot(name) {
            Some(node) if !is_reserved(name) => Place::Node(node),
            _ => Place::Request(name.clone()),
        });
        Binding(places.collect())
    }

    /// Whether what a template makes depends on nothing but the names of its page.
    pub fn is_pure(&self, id: TemplateId) -> bool {
        matches!(self.programs.get(id.0), Some(Ok(program)) if program.pure)
    }

    /// Whether the value of an expression does, as far as can be told from its text.
    pub fn is_pure_expression(&self, id: ExpressionId) -> bool {
        let text = self.text(id);
        !program::IMPURE.iter().any(|name| text.contains(name))
    }

    /// Why pages of a template are made by minijinja itself, if they are.
    pub fn uncovered(&self, id: TemplateId) -> Option<&Uncovered> {
        self.programs.get(id.0)?.as_ref().err()
    }

    /// Appends the page that a template makes. On an error nothing is appended.
    ///
    /// # Errors
    /// As those of [`Press::by_minijinja`].
    pub fn page(
        &self,
        id: TemplateId,
        binding: &Binding,
        context: &Context,
        out: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        match self.by_program(id, binding, context, out) {
            Ok(()) => Ok(()),
            Err(why) => {
                tracing::trace!(why, "minijinja makes this page itself");
                self.by_minijinja(id, context, out)
            }
        }
    }

    /// Appends the page that a template's program makes, which is what minijinja makes of it. On
    /// an error nothing is appended.
    ///
    /// # Errors
    /// Why there is no program, or why it gave up: something fails, or is minijinja's to do.
    pub fn by_program(
        &self,
        id: TemplateId,
        binding: &Binding,
        context: &Context,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let Some(Ok(program)) = self.programs.get(id.0) else { return Err("it is no program") };
        let start = out.len();
        let host = PageHost { press: self, binding, context };
        program::run(program, &host, out).map_err(|GaveUp(why)| {
            out.truncate(start);
            why
        })
    }

    /// Appends the page that minijinja makes of a template. On an error nothing is appended.
    ///
    /// # Errors
    /// When the template fails, runs out of [`RENDER_FUEL`](crate::limits::RENDER_FUEL), or makes
    /// more than [`PAGE_BYTES_MAX`] bytes.
    pub fn by_minijinja(
        &self,
        id: TemplateId,
        context: &Context,
        out: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        self.render(id, &context.root(), out)
    }

    fn foreign(
        &self,
        id: ForeignId,
        inputs: Vec<Value>,
        root: &Value,
        escape: Escape,
    ) -> Result<Outcome, minijinja::Error> {
        self.cell.with_dependent(|owner, compiled| {
            let environment = owner.borrow_dependent();
            let foreign = compiled.foreign.get(id as usize).ok_or_else(no_operation)?;
            foreign.run(environment, &compiled.blocks, inputs, root, escape)
        })
    }

    fn format(&self, value: Value, escape: Escape) -> Result<String, minijinja::Error> {
        self.cell.with_dependent(|owner, compiled| {
            let environment = owner.borrow_dependent();
            let foreign = compiled.foreign.first().ok_or_else(no_operation)?;
            foreign.format(environment, &compiled.blocks, value, escape)
        })
    }

    /// Appends what minijinja makes of `root` by a template. On an error nothing is appended.
    ///
    /// # Errors
    /// When the template fails, runs out of [`RENDER_FUEL`](crate::limits::RENDER_FUEL), or makes
    /// more than [`PAGE_BYTES_MAX`] bytes.
    pub fn render(&self, id: TemplateId, root: &Value, out: &mut Vec<u8>) -> Result<(), PageError> {
        let fail = || PageError::new(PageErrorKind::Internal, "no such template");
        let template = self.cell.borrow_dependent().templates.get(id.0).ok_or_else(fail)?;
        let start = out.len();
        let writer = BoundedWriter { out, room: PAGE_BYTES_MAX };
        // minijinja panics where a loop is left from within a `with`, for one.
        let render = || template.render_captured_to(root.clone(), writer).map(drop);
        let Ok(rendered) = catch_unwind(AssertUnwindSafe(render)) else {
            out.truncate(start);
            let what = format!("template {} failed", template.name());
            let broken = "minijinja broke down over it: see where it breaks or continues loops";
            return Err(PageError::new(PageErrorKind::Internal, broken).within(what));
        };
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

/// What a program sees of a page.
struct PageHost<'a> {
    press: &'a Press,
    binding: &'a Binding,
    context: &'a Context,
}

impl<'a> Host<'a> for PageHost<'a> {
    fn name(&self, name: NameId) -> Found<'a> {
        match self.binding.0.get(name as usize) {
            Some(Place::Node(node)) => match self.context.data(*node) {
                Some(data) => Found::Data(data),
                None => Found::Nothing,
            },
            Some(Place::Request(name)) => match self.context.request(name) {
                Some(value) => Found::Value(value),
                None => Found::Nothing,
            },
            None => Found::Nothing,
        }
    }

    fn view(&self, name: NameId) -> Option<View<'a>> {
        let Some(Place::Node(node)) = self.binding.0.get(name as usize) else { return None };
        match self.context.data(*node) {
            Some(Data::Doc(doc)) => Some(doc.root()),
            _ => None,
        }
    }

    fn foreign(
        &self,
        foreign: ForeignId,
        inputs: Vec<Value>,
        escape: Escape,
    ) -> Result<Outcome, minijinja::Error> {
        self.press.foreign(foreign, inputs, &self.context.root(), escape)
    }

    fn silent(&self) -> Value {
        self.press.silent.clone()
    }

    fn format(&self, value: Value, escape: Escape) -> Result<String, minijinja::Error> {
        self.press.format(value, escape)
    }
}

/// The program of each template.
fn programs<'s>(
    templates: &'s [SourceFile],
    functions: &[String],
    assets: &'s Assets,
    foreign: &mut ForeignTexts,
) -> Result<Vec<Result<Program, Uncovered>>, minijinja::Error> {
    let escape = |name: &str| Escape::of(&environment::auto_escape(name)).unwrap_or(Escape::Html);
    let library = Library::new(templates, functions, assets, escape)?;
    let compile = |file: &'s SourceFile| program::compile(&file.name, &library, foreign);
    Ok(templates.iter().map(compile).collect())
}

/// The operation whose outcome is not there, and silent.
const SILENT: &str = "v0 if v1";

fn no_operation() -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, "no such operation")
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
