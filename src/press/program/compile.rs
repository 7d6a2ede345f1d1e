//! From a template, and those it takes in, to a program.

use super::assigned::{self, Assigned, Body};
use super::foreign::ForeignTexts;
use super::op::{Escape, For, Macro, NameId, Program, Slot, Step};
use super::scope::{Scope, Surroundings};
use crate::config::SourceFile;
use crate::limits::{PROGRAM_DEPTH_MAX, PROGRAM_STEPS_MAX};
use crate::press::assets::Assets;
use minijinja::machinery::ast::{self, Stmt};
use minijinja::machinery::{Span, parse};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The templates of a site, as syntax trees.
pub(in crate::press) struct Library<'s> {
    templates: BTreeMap<&'s str, Parsed<'s>>,
    functions: BTreeSet<String>,
    pub(super) assets: &'s Assets,
}

pub(super) struct Parsed<'s> {
    tree: Stmt<'s>,
    pub(super) escape: Escape,
}

/// Why a template is no program: minijinja makes its pages itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncovered {
    /// The template with what is not covered.
    pub file: String,
    /// Where.
    pub line: usize,
    /// What it is.
    pub what: String,
}

impl<'s> Library<'s> {
    /// Reads the templates, all of which compile.
    pub(in crate::press) fn new(
        files: &'s [SourceFile],
        functions: &[String],
        assets: &'s Assets,
        escape: impl Fn(&str) -> Escape,
    ) -> Result<Self, minijinja::Error> {
        let mut templates = BTreeMap::new();
        for file in files {
            let tree = parse(&file.text, &file.name, minijinja::syntax::SyntaxConfig::default())?;
            templates.insert(&*file.name, Parsed { tree, escape: escape(&file.name) });
        }
        let functions = functions.iter().cloned().collect();
        Ok(Self { templates, functions, assets })
    }

    /// All names that a template, or any that it takes in, gives a value.
    fn assigned(&'s self, name: &'s str) -> Assigned<'s> {
        let mut names = Assigned::new();
        let mut open = vec![name.to_owned()];
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        while let Some(name) = open.pop() {
            let Some((name, parsed)) = self.get(&name) else { continue };
            if !seen.insert(name) {
                continue;
            }
            assigned::names(parsed.body(), &mut names);
            let any = || self.templates.keys().map(|&name| name.to_owned()).collect();
            open.extend(assigned::taken_in(parsed.body()).unwrap_or_else(any));
        }
        names
    }

    pub(super) fn get(&'s self, name: &str) -> Option<(&'s str, &'s Parsed<'s>)> {
        self.templates.get_key_value(name).map(|(name, parsed)| (*name, parsed))
    }

    pub(super) fn is_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }
}

impl<'s> Parsed<'s> {
    pub(super) fn body(&'s self) -> Body<'s> {
        match &self.tree {
            Stmt::Template(template) => &template.children,
            _ => &[],
        }
    }
}

/// Compiles a template.
///
/// # Errors
/// What of it is not covered.
pub(in crate::press) fn compile<'s>(
    name: &'s str,
    library: &'s Library<'s>,
    foreign: &mut ForeignTexts,
) -> Result<Program, Uncovered> {
    let mut compiler = Compiler {
        templates: library,
        assigned: library.assigned(name),
        foreign,
        scope: Scope::default(),
        unit: Unit::default(),
        escape: Escape::None,
        initial: Escape::None,
        names: Vec::new(),
        file: name,
        line: 1,
        steps: 0,
        depth: 0,
        pure: true,
        declared: Vec::new(),
        instances: BTreeMap::new(),
        macros: Vec::new(),
        recursive: Vec::new(),
        included: BTreeSet::new(),
        loops: 0,
        place: Place::Template,
        has_caller: false,
        call_frame: None,
        fence: None,
        in_loop_head: false,
        is_included: false,
        bodies: 0,
        levels: 0,
        deepest: 0,
        piped: None,
    };
    let Some((_, parsed)) = library.get(name) else {
        return Err(compiler.uncovered("a template that is not there"));
    };
    compiler.escape = parsed.escape;
    compiler.initial = parsed.escape;
    compiler.scope.push();
    let steps = compiler.template(name, parsed)?;
    Ok(Program {
        steps: steps.into(),
        slots: compiler.scope.slots(),
        macros: compiler.macros.into(),
        loops: compiler.recursive.into_iter().flatten().collect(),
        pure: compiler.pure,
        names: compiler.names.into_iter().map(Into::into).collect(),
    })
}

/// What a template is compiled with.
pub(super) struct Compiler<'s, 'f> {
    pub(super) templates: &'s Library<'s>,
    /// What any template of this page gives a value.
    pub(super) assigned: Assigned<'s>,
    pub(super) foreign: &'f mut ForeignTexts,
    pub(super) scope: Scope<'s>,
    pub(super) unit: Unit<'s>,
    /// How what is printed is escaped here.
    pub(super) escape: Escape,
    /// And where the template, block or macro began.
    pub(super) initial: Escape,
    names: Vec<&'s str>,
    file: &'s str,
    pub(super) line: usize,
    steps: usize,
    depth: usize,
    /// Whether nothing so far depends on the time or on chance.
    pub(super) pure: bool,
    /// Macros as they are written.
    pub(super) declared: Vec<Declared<'s>>,
    /// The compiled macro of one that is written and a way of escaping.
    pub(super) instances: BTreeMap<(usize, Escape), u32>,
    pub(super) macros: Vec<Macro>,
    /// The loops that call themselves, each there when it is compiled.
    pub(super) recursive: Vec<Option<For>>,
    /// Names that included templates give a value: how often is not known.
    pub(super) included: BTreeSet<&'s str>,
    /// Loops that we are in, within this template, block or macro.
    pub(super) loops: usize,
    /// Whether we are in a macro, and whether in the body of a call block.
    pub(super) place: Place,
    /// Whether the macro that we are in prints the body of a call block.
    pub(super) has_caller: bool,
    /// Which of the frames is the first one of the body of the call block that we are in.
    pub(super) call_frame: Option<usize>,
    /// Which of the frames is the first one of the include that we are in, if that is in a macro or
    /// the body of a call block.
    pub(super) fence: Option<usize>,
    /// Whether we are in the list or the condition of a loop: what these name as `loop` minijinja
    /// does not enclose, as it takes it for the loop's own.
    pub(super) in_loop_head: bool,
    /// Whether we are in an include.
    pub(super) is_included: bool,
    /// Bodies that we are in, one in the other.
    pub(super) bodies: usize,
    /// The same, and expressions: what a stack bears.
    pub(super) levels: usize,
    /// The most levels that there were since somebody began to look.
    pub(super) deepest: usize,
    /// The variable that a filter without an input works on: that of a filter block.
    pub(super) piped: Option<u32>,
}

/// What code is in: names mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Template,
    Macro,
    CallBlock,
}

/// A macro as it is written.
pub(super) struct Declared<'s> {
    pub(super) tree: &'s ast::Macro<'s>,
    pub(super) file: &'s str,
    /// The macros it can call: those written before it, and itself.
    pub(super) macros: BTreeMap<&'s str, usize>,
    /// The variables it can see: those that have the only value that they ever get.
    pub(super) fixed: BTreeMap<&'s str, Slot>,
}

/// What minijinja keeps for one template and those it extends.
#[derive(Default)]
pub(super) struct Unit<'s> {
    /// The bodies of each block, the most derived first.
    blocks: BTreeMap<&'s str, Vec<(&'s str, &'s ast::Block<'s>)>>,
    /// How far up `super()` has gone in each.
    levels: BTreeMap<&'s str, usize>,
    /// The block that we are in.
    block: Option<&'s str>,
    loaded: BTreeSet<&'s str>,
    /// Whether this template extends another: its blocks are not printed where they are.
    extended: bool,
    /// Whether what is printed is thrown away.
    discarding: bool,
}

pub(super) type Covered<T> = Result<T, Uncovered>;

impl<'s> Compiler<'s, '_> {
    pub(super) fn uncovered(&self, what: impl Into<String>) -> Uncovered {
        Uncovered { file: self.file.to_owned(), line: self.line, what: what.into() }
    }

    /// Whether a template has the escaping of JSON by its name.
    pub(super) fn has_json(&self) -> bool {
        self.templates.templates.values().any(|parsed| parsed.escape == Escape::Json)
    }

    /// The template that is being compiled.
    pub(super) fn file(&self) -> &'s str {
        self.file
    }

    pub(super) fn at(&mut self, span: Span) {
        self.line = usize::from(span.start_line);
    }

    /// The index of a name of the page.
    pub(super) fn name(&mut self, name: &'s str) -> NameId {
        self.pure &= name != "now";
        let known = self.names.iter().position(|other| *other == name);
        known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        }) as NameId
    }

    /// Counts steps, as includes can multiply them.
    pub(super) fn count(&mut self) -> Covered<()> {
        self.steps += 1;
        if self.steps > PROGRAM_STEPS_MAX {
            return Err(self.uncovered(format!("over {PROGRAM_STEPS_MAX} steps")));
        }
        Ok(())
    }

    /// Compiles what is in another template, block or macro.
    pub(super) fn within<T>(
        &mut self,
        file: &'s str,
        compile: impl FnOnce(&mut Self) -> Covered<T>,
    ) -> Covered<T> {
        if self.depth == PROGRAM_DEPTH_MAX {
            return Err(self.uncovered(format!("templates {PROGRAM_DEPTH_MAX} deep")));
        }
        let (from, line) = (std::mem::replace(&mut self.file, file), self.line);
        let initial = std::mem::replace(&mut self.initial, self.escape);
        let loops = std::mem::take(&mut self.loops);
        self.depth += 1;
        let compiled = compile(self)?;
        self.depth -= 1;
        self.loops = loops;
        (self.file, self.line, self.initial) = (from, line, initial);
        Ok(compiled)
    }

    /// A template from its first line to its last, and the one it extends.
    fn template(&mut self, name: &'s str, parsed: &'s Parsed<'s>) -> Covered<Vec<Step>> {
        for block in assigned::blocks(parsed.body()) {
            // Of two blocks of one name in a template the last counts.
            let bodies = self.unit.blocks.entry(block.name).or_default();
            bodies.retain(|(file, _)| *file != name);
            bodies.push((name, block));
        }
        let is_extends = |statement: &Stmt<'_>| matches!(statement, Stmt::Extends(_));
        let body = parsed.body();
        let Some(at) = body.iter().position(is_extends) else { return self.body(body) };
        let (before, after) = body.split_at(at);
        let mut steps = self.body(before)?;
        let Some((Stmt::Extends(extends), after)) = after.split_first() else { return Ok(steps) };
        self.at(extends.span());
        let parent = extends.name.as_const();
        let parent = parent.as_ref().and_then(|parent| parent.as_str());
        let parent = parent.and_then(|parent| self.templates.get(parent));
        let Some((parent, parsed)) = parent else {
            return Err(self.uncovered("extends a template whose name is made when it runs"));
        };
        if !self.unit.loaded.insert(parent) {
            return Err(self.uncovered("extends itself"));
        }
        let discarding = std::mem::replace(&mut self.unit.discarding, true);
        self.unit.extended = true;
        let discarded = self.body(after)?;
        self.unit.extended = false;
        self.unit.discarding = discarding;
        if !discarded.is_empty() {
            steps.push(Step::Discard(discarded.into()));
        }
        let (file, line) = (std::mem::replace(&mut self.file, parent), self.line);
        steps.extend(self.template(parent, parsed)?);
        (self.file, self.line) = (file, line);
        Ok(steps)
    }

    /// An include, at the same place: it sees and sets the variables that are seen here. In a macro
    /// or a call block it sees those alone that are set there: minijinja encloses what is named in
    /// the macro, and not what an include of it names.
    pub(super) fn include(&mut self, name: &'s str, parsed: &'s Parsed<'s>) -> Covered<Vec<Step>> {
        let fence = match self.place {
            Place::Template => None,
            Place::Macro | Place::CallBlock => self.fence.or(Some(self.scope.frames.len())),
        };
        if fence.is_some() && !assigned::is_plain(parsed.body()) {
            let what = "an include in a macro or a call block of a template that sets names";
            return Err(self.uncovered(what));
        }
        let fence = std::mem::replace(&mut self.fence, fence);
        let (discarding, loaded) = (self.unit.discarding, self.unit.loaded.clone());
        let inner = Unit { discarding, loaded, ..Unit::default() };
        let unit = std::mem::replace(&mut self.unit, inner);
        let is_included = std::mem::replace(&mut self.is_included, true);
        let escape = std::mem::replace(&mut self.escape, parsed.escape);
        let steps = self.within(name, |compiler| compiler.template(name, parsed))?;
        (self.is_included, self.fence) = (is_included, fence);
        self.unit = unit;
        self.escape = escape;
        Ok(steps)
    }

    /// What must not change between a loop and where it calls itself.
    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings { depth: self.depth, call_frame: self.call_frame, escape: self.escape }
    }

    /// Compiles something one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        compile: impl FnOnce(&mut Self) -> Covered<T>,
    ) -> Covered<T> {
        self.levels += 1;
        self.deepest = self.deepest.max(self.levels);
        let compiled = compile(self)?;
        self.levels -= 1;
        Ok(compiled)
    }

    /// Compiles something, and gives how many levels it has.
    pub(super) fn measured<T>(
        &mut self,
        compile: impl FnOnce(&mut Self) -> Covered<T>,
    ) -> Covered<(T, usize)> {
        let outer = std::mem::replace(&mut self.deepest, self.levels);
        let compiled = compile(self)?;
        let levels = self.deepest - self.levels;
        self.deepest = self.deepest.max(outer);
        Ok((compiled, levels))
    }

    /// What is printed is kept: blocks are printed again.
    pub(super) fn kept<T>(&mut self, compile: impl FnOnce(&mut Self) -> Covered<T>) -> Covered<T> {
        let discarding = std::mem::replace(&mut self.unit.discarding, false);
        let compiled = self.closed(compile)?;
        self.unit.discarding = discarding;
        Ok(compiled)
    }

    /// Something that minijinja forgets to end when a loop is left from within it.
    pub(super) fn closed<T>(
        &mut self,
        compile: impl FnOnce(&mut Self) -> Covered<T>,
    ) -> Covered<T> {
        let loops = std::mem::take(&mut self.loops);
        let compiled = compile(self)?;
        self.loops = loops;
        Ok(compiled)
    }

    /// A block where it is written.
    pub(super) fn block(&mut self, block: &'s ast::Block<'s>) -> Covered<Vec<Step>> {
        if self.unit.extended || self.unit.discarding {
            return Ok(Vec::new());
        }
        let level = self.unit.levels.get(block.name).copied().unwrap_or(0);
        self.block_body(block.name, level)
    }

    /// The block above the one that we are in.
    pub(super) fn super_block(&mut self) -> Covered<Vec<Step>> {
        let Some(name) = self.unit.block.filter(|_| self.place == Place::Template) else {
            return Err(self.uncovered("super() outside of a block"));
        };
        let level = self.unit.levels.get(name).copied().unwrap_or(0) + 1;
        self.block_body(name, level)
    }

    fn block_body(&mut self, name: &'s str, level: usize) -> Covered<Vec<Step>> {
        let body = self.unit.blocks.get(name).and_then(|bodies| bodies.get(level)).copied();
        let Some((file, block)) = body.filter(|(_, block)| !block.required) else {
            return Err(self.uncovered(format!("the block `{name}` is not there")));
        };
        let outer = self.unit.block.replace(block.name);
        let level_before = self.unit.levels.insert(block.name, level);
        let extended = std::mem::replace(&mut self.unit.extended, false);
        let steps = self.within(file, |compiler| {
            compiler.scope.push();
            let steps = compiler.body(&block.body)?;
            Ok(compiler.end_frame(steps))
        })?;
        self.unit.extended = extended;
        match level_before {
            Some(level) => self.unit.levels.insert(block.name, level),
            None => self.unit.levels.remove(block.name),
        };
        self.unit.block = outer;
        Ok(steps)
    }

    /// Ends a frame: what it may not have set begins without a value.
    pub(super) fn end_frame(&mut self, mut steps: Vec<Step>) -> Vec<Step> {
        let frame = self.scope.pop();
        if !frame.clears.is_empty() {
            steps.insert(0, Step::Clear(frame.clears.into()));
        }
        steps
    }
}

impl fmt::Display for Uncovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}
