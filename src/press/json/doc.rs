//! A JSON text and its nodes, and a view of each. Only what is looked at becomes a value.

use super::name::Name;
use super::reader;
use super::tape::{self, Kind, Node, Tape};
use minijinja::Value;
use std::fmt;

/// A JSON text that was read; all of it is one value.
pub struct Doc {
    tape: Tape,
}

/// A value in a [`Doc`].
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    doc: &'a Doc,
    at: u32,
}

/// What a value is and how it is written: a part of a text, with
/// [`PADDING`](crate::press::octets::PADDING) bytes behind it.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a [u8],
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Doc {
    /// Reads a text, if it is JSON that a tape can be made of.
    pub(super) fn read(text: &str) -> Option<Self> {
        Some(Self { tape: reader::read(text)? })
    }

    /// All of it.
    #[inline]
    pub(crate) fn root(&self) -> View<'_> {
        View { doc: self, at: 0 }
    }

    /// Gives back the room that it has to spare.
    pub(super) fn shrink(&mut self) {
        self.tape.shrink();
    }

    /// What it takes of memory, bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.tape.memory()
    }

    #[inline]
    fn node(&self, at: u32) -> Option<&Node> {
        self.tape.nodes.get(at as usize)
    }
}

impl<'a> View<'a> {
    #[inline]
    pub(crate) fn kind(self) -> Kind {
        self.doc.node(self.at).map_or(Kind::Null, Node::kind)
    }

    /// The text of a string; of all else as it is written.
    #[inline]
    pub(crate) fn text(self) -> &'a str {
        self.doc.node(self.at).map_or("", |node| self.doc.tape.text(node))
    }

    /// The same as bytes, which takes no time.
    #[inline]
    pub(crate) fn part(self) -> &'a [u8] {
        self.doc.node(self.at).map_or(&[], |node| self.doc.tape.part(node))
    }

    /// The same as what it is a part of.
    #[inline]
    pub(crate) fn shown(self) -> Option<Shown<'a>> {
        let node = self.doc.node(self.at)?;
        let (start, len) = (node.start as usize, node.len());
        Some(Shown { kind: node.kind(), text: self.doc.tape.all(), start, len })
    }

    /// The value of a name, if this is an object that has it.
    pub(crate) fn get(self, name: &str) -> Option<Self> {
        let is_name = |text: &[u8], at| text.get(at..at + name.len()) == Some(name.as_bytes());
        self.find(tape::sign_of(name), is_name)
    }

    /// The same for a name that was made ready. What an API says has mostly the same shape: where
    /// the name was the last time is where it is looked for first.
    #[inline(always)]
    pub(crate) fn get_named(self, name: &Name) -> Option<Self> {
        let nodes = self.doc.tape.nodes.as_slice();
        let object = nodes.get(self.at as usize)?;
        let at = self.at.wrapping_add(name.place());
        if let Some(key) = nodes.get(at as usize)
            && key.is_within(object, name.sign())
            && object.is_object()
            && at < object.next
            && name.is_at(self.doc.tape.all(), key.start as usize)
        {
            return Some(View { at: at + 1, ..self });
        }
        self.find_named(name)
    }

    /// What names lead to, one in the other.
    #[inline(always)]
    pub(crate) fn follow(self, names: &[Name]) -> Option<Self> {
        let mut view = self;
        for name in names {
            view = view.get_named(name)?;
        }
        Some(view)
    }

    #[cold]
    #[inline(never)]
    fn find_named(self, name: &Name) -> Option<Self> {
        let is_name = |text: &[u8], at| name.is_at(text, at);
        let found = self.find(name.sign(), is_name)?;
        name.remember(found.at - 1 - self.at);
        Some(found)
    }

    /// The value of a name with this sign, and with which it is at its place of the text.
    #[inline]
    fn find(self, sign: u64, is_name: impl Fn(&[u8], usize) -> bool) -> Option<Self> {
        let object = self.doc.node(self.at).filter(|node| node.is_object())?;
        let nodes = self.doc.tape.nodes.get(..object.next as usize)?;
        let text = self.doc.tape.all();
        let mut at = self.at + 1;
        while let Some(key) = nodes.get(at as usize) {
            if key.is_like(sign) && is_name(text, key.start as usize) {
                return Some(View { at: at + 1, ..self });
            }
            at = key.next;
        }
        None
    }

    /// The value at an index from the front, if this is a list that is so long.
    pub(crate) fn item(self, index: usize) -> Option<Self> {
        if self.kind() == Kind::Array { self.children().nth(index) } else { None }
    }

    /// The items of a list; the names of an object.
    pub(crate) fn children(self) -> Children<'a> {
        let end = match self.kind() {
            Kind::Array | Kind::Object => self.doc.node(self.at).map_or(0, |node| node.next),
            _ => 0,
        };
        Children { doc: self.doc, at: self.at + 1, end }
    }

    /// How many items a list or an object has.
    pub(crate) fn len(self) -> usize {
        self.children().count()
    }

    /// Whether a list or an object has no items.
    pub(crate) fn is_empty(self) -> bool {
        self.children().next().is_none()
    }

    /// Whether a condition takes it for true.
    #[inline]
    pub(crate) fn is_true(self) -> bool {
        match self.kind() {
            Kind::Null | Kind::False => false,
            Kind::True => true,
            Kind::String => !self.part().is_empty(),
            Kind::Integer => self.part() != b"0",
            Kind::Float => self.value().is_true(),
            Kind::Array | Kind::Object => !self.is_empty(),
        }
    }

    /// The integer it is, if it is one of 64 bits with a sign.
    #[inline]
    pub(crate) fn integer(self) -> Option<i64> {
        if self.kind() == Kind::Integer { self.text().parse().ok() } else { None }
    }

    /// This as a value like any other. Costs what it is long.
    pub(crate) fn value(self) -> Value {
        match self.kind() {
            Kind::Null => Value::from(()),
            Kind::False => Value::from(false),
            Kind::True => Value::from(true),
            Kind::String => Value::from(self.text()),
            Kind::Integer | Kind::Float | Kind::Array | Kind::Object => {
                let value = serde_json::from_slice(self.part());
                debug_assert!(value.is_ok(), "serde_json refuses {:?}", self.text());
                value.unwrap_or_default()
            }
        }
    }

    /// What tells it from all other values of this and other texts.
    pub(crate) fn identity(self) -> (usize, u32) {
        (std::ptr::from_ref(self.doc).addr(), self.at)
    }
}

/// See [`View::children`].
pub(crate) struct Children<'a> {
    doc: &'a Doc,
    at: u32,
    end: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = View<'a>;

    #[inline]
    fn next(&mut self) -> Option<View<'a>> {
        if self.at >= self.end {
            return None;
        }
        let view = View { doc: self.doc, at: self.at };
        self.at = self.doc.node(self.at)?.next;
        Some(view)
    }
}

impl fmt::Debug for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Doc").field(&self.root().text()).finish()
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").field(&self.text()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value_of(text: &str) -> Option<String> {
        Doc::read(text).map(|doc| format!("{:?}", doc.root().value()))
    }

    fn reference(text: &str) -> Option<String> {
        serde_json::from_str::<Value>(text).ok().map(|value| format!("{value:?}"))
    }

    /// What a tape says, put together from its nodes alone.
    fn rebuilt(view: View<'_>) -> serde_json::Value {
        match view.kind() {
            Kind::Null => serde_json::Value::Null,
            Kind::True => true.into(),
            Kind::False => false.into(),
            Kind::String => view.text().into(),
            Kind::Integer | Kind::Float => serde_json::from_str(view.text()).unwrap(),
            Kind::Array => view.children().map(rebuilt).collect::<Vec<_>>().into(),
            Kind::Object => {
                let mut map = serde_json::Map::new();
                for name in view.children() {
                    let value = View { at: name.at + 1, ..name };
                    let named = Name::new(name.text());
                    assert_eq!(view.get_named(&named).unwrap().identity(), value.identity());
                    assert_eq!(view.get(name.text()).unwrap().identity(), value.identity());
                    map.insert(name.text().to_owned(), rebuilt(value));
                }
                assert_eq!(map.len(), view.len());
                map.into()
            }
        }
    }

    fn agrees(text: &str) {
        let Some(doc) = Doc::read(text) else { return };
        let wanted: serde_json::Value = match serde_json::from_str(text) {
            Ok(wanted) => wanted,
            Err(error) => panic!("the tape takes {text:?}, serde_json says {error}"),
        };
        assert_eq!(rebuilt(doc.root()), wanted, "{text}");
    }

    #[test]
    fn what_apis_say_is_taken() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-1",
            "12.5",
            "1e3",
            "-0",
            "18446744073709551615",
            r#""""#,
            r#""a\"b\\c\/\b\f\n\r\té😀""#,
            "[]",
            "{}",
            "[1, [2, [3]], {}]",
            r#"{"a": 1, "b": [true, null], "c": {"d": "é"}}"#,
            "[0, 10, 12.5, 2e1, 1234567, 12345678, 123456789, -1, 5]",
            "\n{\t\"a\"\r:\n1 }\n",
        ] {
            assert!(value_of(text).is_some(), "{text}");
            assert_eq!(value_of(text), reference(text), "{text}");
            agrees(text);
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused() {
        for text in [
            "",
            "[",
            "]",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "nul",
            "truee",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\n\"",
            "1 2",
            "[1 2]",
            "1e999",
            "\"\\u+123\"",
            "[01, 2, 3, 4, 5]",
            "[00, 2, 3, 4, 5]",
            "[1., 2, 3, 4, 5]",
            "[1e, 2, 3, 4, 5]",
            "[1x, 2, 3, 4, 5]",
        ] {
            assert!(reference(text).is_none(), "{text}");
            assert!(value_of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_name_twice_is_left_to_serde_json() {
        assert!(value_of(r#"{"a":1,"b":2,"a":3}"#).is_none());
        assert!(value_of(r#"{"a":1,"b":2,"a":3}"#).is_none());
        assert!(value_of(r#"{"ab":1,"bc":2,"c":{"ab":1}}"#).is_some());
        let many: Vec<String> = (0..500).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(value_of(&format!("{{{}}}", many.join(","))).is_some());
        assert!(value_of(&format!("{{{},\"k7\":0}}", many.join(","))).is_none());
    }

    /// Where a name was in one object is no reason to find it there in the next.
    #[test]
    fn a_name_of_another_object_is_not_found_where_it_was_before() {
        let name = Name::new("a");
        let found = |view: View<'_>| view.get_named(&name).map(|found| found.text().to_owned());
        let doc = Doc::read(r#"[{"x":[1],"a":2},{"x":3},{"a":5},{"x":[1],"a":6}]"#).unwrap();
        let texts: Vec<_> = doc.root().children().map(found).collect();
        let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
        assert_eq!(texts, [Some("2"), None, Some("5"), Some("6")]);
        let within = Doc::read(r#"{"y":[{"a":7}]}"#).unwrap();
        assert_eq!(found(within.root()), None);
        let list = Doc::read(r#"[[0],[0],"a",8]"#).unwrap();
        assert_eq!(found(list.root()), None);
    }

    #[test]
    fn depth_is_that_of_serde_json() {
        for depth in 120..=130 {
            let text = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(value_of(&text).is_some(), reference(&text).is_some(), "{depth}");
        }
    }

    proptest! {
        #[test]
        fn any_text_of_json_like_pieces_means_the_same(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\\n\"", "\"", "\\", "1", "-2.5e1", "0",
                "true", "null", " ", "\"\\u00e9\"", "é", "\u{1}", "123456789012345678901",
            ]), 0..24)
        ) {
            agrees(&pieces.concat());
        }

        #[test]
        fn any_value_is_read_back(depth in 0..4_u32, seed in any::<u64>(), text in ".*") {
            let value = made_of(depth, seed, &text);
            let written = serde_json::to_string(&value).unwrap();
            prop_assert!(Doc::read(&written).is_some());
            agrees(&written);
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert!(Doc::read(&pretty).is_some());
            agrees(&pretty);
        }
    }

    fn made_of(depth: u32, seed: u64, text: &str) -> serde_json::Value {
        use serde_json::json;
        let other = seed.rotate_left(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        match (seed % 8, depth) {
            (0, _) => json!(null),
            (1, _) => json!(seed as i64),
            (2, _) => json!(f64::from(seed as u32) / 7.0),
            (3, _) => json!(text),
            (4, _) => json!(seed % 16 == 4),
            (_, 0) => json!(seed),
            (5, _) => json!([made_of(depth - 1, other, text), made_of(depth - 1, !other, text)]),
            _ => json!({
                "a": made_of(depth - 1, other, text),
                "long name": made_of(depth - 1, !other, text),
                "": text,
            }),
        }
    }
}
