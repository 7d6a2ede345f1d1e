//! What a visitor has sent, as template values: `form`, and `form_list` for names that come more
//! than once. Files among it are maps of what is known of them; their bytes go to upstreams alone.

use minijinja::Value;
use minijinja::value::{Enumerator, Object};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// A form as it was sent.
#[derive(Clone, Debug)]
pub struct Form {
    first: Value,
    all: Value,
}

/// A file in a form.
pub struct FormFile {
    /// What the visitor calls it. It names no file of ours.
    pub filename: String,
    /// The media type that the visitor says it has.
    pub content_type: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Fields {
    /// In the order of their first value.
    names: Vec<Value>,
    values: Vec<Vec<Value>>,
    places: HashMap<String, usize>,
}

impl Form {
    /// A form with these fields, texts or [`FormFile`]s, in the order they came.
    pub fn new(fields: impl IntoIterator<Item = (String, Value)>) -> Self {
        let mut kept = Fields::default();
        for (name, value) in fields {
            let place = kept.places.get(&name).and_then(|place| kept.values.get_mut(*place));
            match place {
                Some(values) => values.push(value),
                None => {
                    kept.names.push(Value::from(name.as_str()));
                    kept.places.insert(name, kept.values.len());
                    kept.values.push(vec![value]);
                }
            }
        }
        let kept = Arc::new(kept);
        let first = Value::from_object(FirstValues(Arc::clone(&kept)));
        Self { first, all: Value::from_object(AllValues(kept)) }
    }

    /// A form that came as JSON; none when it is no object.
    pub fn of_json(body: &[u8]) -> Option<Self> {
        let Members(first) = serde_json::from_slice(body).ok()?;
        Some(Self { first, all: Self::new([]).all })
    }

    /// How many names it has.
    pub fn count(&self) -> usize {
        self.first.len().unwrap_or(0)
    }

    pub(super) fn first(&self) -> Value {
        self.first.clone()
    }

    pub(super) fn all(&self) -> Value {
        self.all.clone()
    }
}

impl Default for Form {
    fn default() -> Self {
        Self::new([])
    }
}

/// A JSON object. Of a name that is there twice the first value counts, as in all forms.
struct Members(Value);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let (mut seen, mut members) = (HashSet::new(), Vec::new());
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if seen.insert(name.clone()) {
                members.push((name, value));
            }
        }
        Ok(Members(Value::from_pairs(members)))
    }
}

/// `form`: of a name that is there twice the first value.
#[derive(Debug)]
struct FirstValues(Arc<Fields>);

/// `form_list`: all values of a name. A name that did not come has none, so that asking is no
/// mistake.
#[derive(Debug)]
struct AllValues(Arc<Fields>);

impl Fields {
    fn find(&self, name: &str) -> Option<&Vec<Value>> {
        self.values.get(*self.places.get(name)?)
    }
}

impl Object for FirstValues {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.find(key.as_str()?)?.first().cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.names.clone())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.names.len())
    }
}

impl Object for AllValues {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(Value::from(self.0.find(key.as_str()?).cloned().unwrap_or_default()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.names.clone())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.names.len())
    }
}

impl Object for FormFile {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "filename" => Some(Value::from(self.filename.as_str())),
            "content_type" => Some(Value::from(self.content_type.as_str())),
            "size" => Some(Value::from(self.bytes.len())),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["filename", "content_type", "size"])
    }
}

impl fmt::Debug for FormFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filename, content_type, bytes } = self;
        let mut shown = f.debug_struct("FormFile");
        shown.field("filename", filename).field("content_type", content_type);
        shown.field("size", &bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_name_that_comes_twice_the_first_counts_and_all_can_be_had() {
        let text = |name: &str, value: &str| (name.to_owned(), Value::from(value));
        let form = Form::new([text("tag", "a"), text("name", "Ann"), text("tag", "b")]);
        let (first, all) = (form.first(), form.all());
        assert_eq!(first.get_attr("tag").unwrap().to_string(), "a");
        assert!(first.get_attr("none").unwrap().is_undefined());
        assert_eq!(all.get_attr("tag").unwrap().to_string(), "['a', 'b']");
        assert_eq!(all.get_attr("none").unwrap().len(), Some(0));
        assert_eq!(first.len(), Some(2));
    }

    #[test]
    fn of_json_the_first_value_of_a_name_counts_too() {
        let form = Form::of_json(br#" {"b": 1, "a": {"c": [2]}, "b": 3} "#).unwrap();
        let shown = serde_json::to_string(&form.first()).unwrap();
        assert_eq!(shown, r#"{"b":1,"a":{"c":[2]}}"#);
        assert_eq!(form.all().get_attr("b").unwrap().len(), Some(0));
        for other in ["[1]", "1", "{}x", "{", "null", "\"a\"", ""] {
            assert!(Form::of_json(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn of_a_file_templates_see_all_but_its_bytes() {
        let (filename, content_type) = ("a.png".to_owned(), "image/png".to_owned());
        let file = FormFile { filename, content_type, bytes: b"secret".to_vec() };
        let shown = serde_json::to_string(&Value::from_object(file)).unwrap();
        assert_eq!(shown, r#"{"filename":"a.png","content_type":"image/png","size":6}"#);
    }
}
