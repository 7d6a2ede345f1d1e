//! What only minijinja can do: operations on values, compiled once, run with its own machine.
//!
//! Each is an expression or a statement over inputs `v0`, `v1` and so on, so that filters, tests,
//! functions and operators mean what they mean in any template.

use super::op::{Escape, ForeignId};
use minijinja::machinery::{
    CodeGenerator, Instructions, eval, make_string_output, parse, parse_expr,
};
use minijinja::value::{Object, Value};
use minijinja::{Environment, Error};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The texts of operations, each there once.
#[derive(Debug, Default)]
pub(in crate::press) struct ForeignTexts {
    ids: BTreeMap<String, ForeignId>,
    texts: Vec<String>,
}

impl ForeignTexts {
    /// The operation with this text.
    pub(in crate::press) fn add(&mut self, text: String) -> ForeignId {
        if let Some(id) = self.ids.get(&text) {
            return *id;
        }
        let id = self.texts.len() as ForeignId;
        self.ids.insert(text.clone(), id);
        self.texts.push(text);
        id
    }

    pub(in crate::press) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

/// One operation, compiled.
pub(in crate::press) struct Foreign<'a> {
    instructions: Instructions<'a>,
}

/// What an operation came to.
pub(in crate::press) struct Outcome {
    pub(in crate::press) value: Value,
    /// The fuel it took.
    pub(super) fuel: u64,
}

impl<'a> Foreign<'a> {
    /// Compiles an operation.
    ///
    /// # Errors
    /// None: its text is ours.
    pub(in crate::press) fn new(text: &'a str) -> Result<Self, Error> {
        let mut generator = CodeGenerator::new(NAME, text);
        if text.starts_with("{%") {
            generator.compile_stmt(&parse(text, NAME, minijinja::syntax::SyntaxConfig::default())?);
        } else {
            generator.compile_expr(&parse_expr(text)?);
        }
        let (instructions, _) = generator.finish();
        Ok(Self { instructions })
    }

    /// Does it. Names that are no inputs are looked up in `root`.
    ///
    /// # Errors
    /// Those of minijinja, which know no place in a template.
    pub(in crate::press) fn run(
        &'a self,
        environment: &'a Environment<'a>,
        blocks: &'a BTreeMap<&'a str, Instructions<'a>>,
        inputs: Vec<Value>,
        root: &Value,
        escape: Escape,
    ) -> Result<Outcome, Error> {
        let context = Value::from_object(Inputs { inputs, root: root.clone() });
        let mut nowhere = String::new();
        let mut output = make_string_output(&mut nowhere);
        let auto_escape = escape.auto_escape();
        let done = eval(environment, &self.instructions, context, blocks, &mut output, auto_escape);
        let (value, state) = done?;
        let fuel = state.fuel_levels().map_or(0, |(used, _)| used);
        Ok(Outcome { value: value.unwrap_or_default(), fuel })
    }

    /// What minijinja prints of a value.
    ///
    /// # Errors
    /// When it cannot be printed so.
    pub(in crate::press) fn format(
        &'a self,
        environment: &'a Environment<'a>,
        blocks: &'a BTreeMap<&'a str, Instructions<'a>>,
        value: Value,
        escape: Escape,
    ) -> Result<String, Error> {
        let mut nowhere = String::new();
        let mut output = make_string_output(&mut nowhere);
        let root = Value::from_object(Inputs { inputs: Vec::new(), root: Value::UNDEFINED });
        let auto_escape = escape.auto_escape();
        let done = eval(environment, &self.instructions, root, blocks, &mut output, auto_escape);
        done?.1.format(value)
    }
}

const NAME: &str = "<operation>";

/// The inputs of an operation, by name.
#[derive(Debug)]
struct Inputs {
    inputs: Vec<Value>,
    root: Value,
}

impl Object for Inputs {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let index = key.strip_prefix('v').and_then(|index| index.parse::<usize>().ok());
        match index.and_then(|index| self.inputs.get(index)) {
            Some(value) => Some(value.clone()),
            None => self.root.as_object()?.get_value_by_str(key),
        }
    }
}

/// The name of an input.
pub(super) fn input(index: usize) -> String {
    format!("v{index}")
}
