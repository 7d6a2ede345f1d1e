//! Small maps of text, as template values: path parameters, query, header fields, cookies. Built
//! for each request that needs them and mostly looked into once or twice, so a list it is.

use minijinja::Value;
use minijinja::value::{Enumerator, Object};
use smallvec::SmallVec;
use std::sync::Arc;

/// Names and values in the order they came. Of a name that is there twice the first counts.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pairs: SmallVec<[(Value, Value); 2]>,
    /// Whether `user_agent` finds `user-agent`: header names can hardly be written otherwise.
    dashes: bool,
}

impl Fields {
    pub(super) fn new(pairs: impl IntoIterator<Item = (String, String)>, dashes: bool) -> Self {
        let mut kept = Self { pairs: SmallVec::new(), dashes };
        for (name, value) in pairs {
            kept.push(&name, &value);
        }
        kept
    }

    fn push(&mut self, name: &str, value: &str) {
        if !self.pairs.iter().any(|(other, _)| other.as_str() == Some(name)) {
            // Short texts need no memory of their own as values.
            self.pairs.push((Value::from(name), Value::from(value)));
        }
    }

    fn find(&self, name: &str) -> Option<Value> {
        let exact = self.pairs.iter().find(|(key, _)| key.as_str() == Some(name));
        let same = |key: &Value| {
            key.as_str().is_some_and(|key| {
                key.len() == name.len()
                    && key
                        .bytes()
                        .zip(name.bytes())
                        .all(|(a, b)| a == b || (a == b'-' && b == b'_'))
            })
        };
        let dashed = || self.dashes.then(|| self.pairs.iter().find(|(key, _)| same(key))).flatten();
        exact.or_else(dashed).map(|(_, value)| value.clone())
    }
}

/// The parameters of a path, decoded.
#[derive(Debug, Default)]
pub struct Params(Fields);

impl Params {
    /// Adds one.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push(name, value);
    }

    pub(super) fn into_value(self) -> Value {
        Value::from_object(self.0)
    }
}

impl FromIterator<(String, String)> for Params {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(Fields::new(pairs, false))
    }
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.find(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.find(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.pairs.iter().map(|(key, _)| key.clone()).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.pairs.len())
    }
}
