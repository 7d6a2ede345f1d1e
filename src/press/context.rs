//! What templates and expressions of one page see: the request, and a slot for each fetch and
//! let, filled as they come in. Names are resolved to slots when the site is compiled.

use super::fields::{Fields, Params};
use super::form::Form;
use super::json::Data;
use crate::http::cookie;
use crate::limits::COOKIES_READ_MAX;
use minijinja::Value;
use minijinja::value::{Enumerator, Object};
use smallvec::SmallVec;
use std::sync::{Arc, OnceLock};

/// What the templates of a page look at in a request, known before any request comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// `query`
    pub query: bool,
    /// `headers`
    pub headers: bool,
    /// `cookies`, which come from the header fields.
    pub cookies: bool,
    /// `request`
    pub request: bool,
    /// `session`
    pub session: bool,
    /// `form` or `form_list`.
    pub form: bool,
    /// `statuses`, which come from what upstreams answer.
    pub statuses: bool,
}

/// A request as templates see it. What [`Uses`] says is not used may be left empty.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The method.
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// The target as it came.
    pub target: String,
    /// Names and values of the query, decoded. Of a name that is there twice the first counts.
    pub query: Vec<(String, String)>,
    /// Parameters of the path, decoded.
    pub params: Params,
    /// What was sent with the request, if that is looked at.
    pub form: Option<Box<Form>>,
    /// Header fields, names in lower case; those named `cookie` are also what cookies come from.
    pub headers: Vec<(String, String)>,
    /// The host the request is for.
    pub host: String,
    /// The visitor's address.
    pub client: String,
    /// `http` or `https`, as the visitor sees it.
    pub scheme: &'static str,
    /// The request's id, as in the logs.
    pub request_id: String,
    /// The values of the session, if the page uses it.
    pub session: Option<Box<Value>>,
    /// When the request came, in seconds since 1970.
    pub now: i64,
}

/// Why an optional fetch has no value: `errors.NAME` of its page.
#[derive(Clone, Debug)]
pub struct FetchFailure {
    /// The upstream's status, if it answered.
    pub status: Option<u16>,
    /// What happened.
    pub message: String,
}

/// The names of a page's nodes, each with its slot.
#[derive(Debug, Default)]
pub struct Names {
    sorted: Vec<(String, usize)>,
    /// Cookies whose values the site has set itself, percent-encoded.
    own_cookies: Arc<[String]>,
}

/// The context of one page being made; a clone is the same context.
#[derive(Clone, Debug)]
pub struct Context {
    root: Arc<Root>,
}

#[derive(Debug)]
struct Root {
    names: Arc<Names>,
    slots: SmallVec<[Slot; 1]>,
    path: Value,
    query: Value,
    headers: Value,
    cookies: Value,
    request: Value,
    now: Value,
    /// What few pages have, so that it takes no room in others.
    rare: Option<Box<Rare>>,
}

#[derive(Debug)]
struct Rare {
    form: Form,
    /// What upstreams answered, for each node.
    statuses: Vec<OnceLock<u16>>,
    session: Option<Box<Value>>,
}

#[derive(Debug, Default)]
struct Slot {
    data: OnceLock<Data>,
    /// The same, once somebody wants it as a value.
    value: OnceLock<Value>,
    failure: OnceLock<Value>,
}

impl Slot {
    fn value(&self) -> Option<&Value> {
        let data = self.data.get()?;
        Some(self.value.get_or_init(|| data.value()))
    }
}

impl Names {
    /// Slots for these names, in their order.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<_> =
            names.into_iter().enumerate().map(|(slot, name)| (name.to_owned(), slot)).collect();
        sorted.sort();
        Self { sorted, own_cookies: Arc::default() }
    }

    /// The same; the values of these cookies are encoded as the site sets them.
    #[must_use]
    pub fn with_cookies(self, own_cookies: Arc<[String]>) -> Self {
        Self { own_cookies, ..self }
    }

    pub(super) fn slot(&self, name: &str) -> Option<usize> {
        let at = self.sorted.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        self.sorted.get(at).map(|(_, slot)| *slot)
    }
}

impl Context {
    /// The context of a request to a page with these nodes. Only what is used is built.
    pub fn new(names: Arc<Names>, uses: Uses, inputs: Inputs) -> Self {
        let values = [
            inputs.method,
            inputs.path,
            inputs.target,
            inputs.host,
            inputs.client,
            inputs.scheme.to_owned(),
            inputs.request_id,
        ];
        let request = REQUEST_FIELDS.iter().map(|name| (*name).to_owned()).zip(values);
        let own = &names.own_cookies;
        let cookies = if uses.cookies { cookies(&inputs.headers, own) } else { Vec::new() };
        let slots = names.sorted.iter().map(|_| Slot::default()).collect();
        let rare = (uses.form || uses.statuses || uses.session).then(|| {
            let statuses = if uses.statuses { names.sorted.len() } else { 0 };
            let form = inputs.form.map_or_else(Form::default, |form| *form);
            let statuses = vec![OnceLock::new(); statuses];
            Box::new(Rare { form, statuses, session: inputs.session })
        });
        let root = Root {
            names,
            slots,
            path: inputs.params.into_value(),
            query: fields(uses.query, inputs.query, false),
            headers: fields(uses.headers, inputs.headers, true),
            cookies: fields(uses.cookies, cookies, false),
            request: fields(uses.request, request, false),
            now: Value::from(inputs.now),
            rare,
        };
        Self { root: Arc::new(root) }
    }

    /// Gives a node its value. A node gets one once; what comes later is not looked at.
    pub fn set(&self, node: usize, data: impl Into<Data>) {
        let data = data.into();
        let first = self.root.slots.get(node).is_some_and(|slot| slot.data.set(data).is_ok());
        debug_assert!(first, "node {node} has a value already");
    }

    /// Gives an optional fetch that failed the value none, or what stands for it, and says why in
    /// `errors`.
    pub fn fail(&self, node: usize, failure: FetchFailure, fallback: Option<Data>) {
        let told = Value::from_pairs([
            ("status", failure.status.map_or(Value::from(()), Value::from)),
            ("message", Value::from(failure.message)),
        ]);
        if let Some(slot) = self.root.slots.get(node) {
            let first = slot.failure.set(told).is_ok();
            debug_assert!(first, "node {node} failed twice");
        }
        self.set(node, fallback.unwrap_or_else(|| Value::from(()).into()));
    }

    /// Notes the status that a fetch was answered with, for pages that look at those.
    pub fn answered(&self, node: usize, status: u16) {
        let statuses = self.root.rare.as_ref().and_then(|rare| rare.statuses.get(node));
        if let Some(noted) = statuses {
            // Of an `each` the first counts.
            let _ = noted.set(status);
        }
    }

    /// What a fetch got, unless it failed.
    pub(crate) fn fetched(&self, node: usize) -> Option<&Data> {
        let slot = self.root.slots.get(node)?;
        if slot.failure.get().is_some() { None } else { slot.data.get() }
    }

    /// The values of the session that the request came with, if the page uses it.
    pub(crate) fn session(&self) -> Option<&Value> {
        self.root.session()
    }

    /// The value of a node, once it has one.
    pub(super) fn data(&self, node: usize) -> Option<&Data> {
        self.root.slots.get(node)?.data.get().map(Data::plain)
    }

    /// The value of a name that is no node.
    pub(super) fn request(&self, name: &str) -> Option<Value> {
        self.root.get_value_by_str(name)
    }

    /// What a template sees.
    pub(crate) fn root(&self) -> Value {
        Value::from_dyn_object(self.root.clone())
    }

    /// What the templates of one item of an `each` see.
    pub(crate) fn item_root(&self, it: &Value, index: usize) -> Value {
        let item = ItemRoot { root: self.root.clone(), it: it.clone(), index: Value::from(index) };
        Value::from_object(item)
    }
}

impl Root {
    fn session(&self) -> Option<&Value> {
        self.rare.as_ref()?.session.as_deref()
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(match key {
            "path" => self.path.clone(),
            "query" => self.query.clone(),
            "form" => match &self.rare {
                Some(rare) => rare.form.first(),
                None => Value::from_object(Fields::default()),
            },
            "form_list" => match &self.rare {
                Some(rare) => rare.form.all(),
                None => Value::from_object(Fields::default()),
            },
            "statuses" => Value::from_object(Statuses { root: self.clone() }),
            "headers" => self.headers.clone(),
            "cookies" => self.cookies.clone(),
            "request" => self.request.clone(),
            "now" => self.now.clone(),
            "session" => self.session().cloned().unwrap_or_default(),
            "errors" => Value::from_object(Errors { root: self.clone() }),
            name => self.slots.get(self.names.slot(name)?)?.value()?.clone(),
        })
    }
}

/// The root of one item of an `each`.
#[derive(Debug)]
struct ItemRoot {
    root: Arc<Root>,
    it: Value,
    index: Value,
}

impl Object for ItemRoot {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "it" => Some(self.it.clone()),
            "index" => Some(self.index.clone()),
            name => self.root.get_value_by_str(name),
        }
    }
}

/// `errors`: a fetch that has not failed is none in it, so that asking is no mistake.
#[derive(Debug)]
struct Errors {
    root: Arc<Root>,
}

impl Errors {
    fn failed(&self) -> impl Iterator<Item = &str> {
        let names = self.root.names.sorted.iter();
        names
            .filter(|(_, slot)| {
                self.root.slots.get(*slot).is_some_and(|slot| slot.failure.get().is_some())
            })
            .map(|(name, _)| name.as_str())
    }
}

impl Object for Errors {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let slot = self.root.slots.get(self.root.names.slot(key.as_str()?)?)?;
        Some(slot.failure.get().cloned().unwrap_or(Value::from(())))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.failed().map(Value::from).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.failed().count())
    }
}

/// `statuses`: what upstreams answered; none where a fetch was not made, or had no answer.
#[derive(Debug)]
struct Statuses {
    root: Arc<Root>,
}

impl Object for Statuses {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let slot = self.root.names.slot(key.as_str()?)?;
        let noted = self.root.rare.as_ref().and_then(|rare| rare.statuses.get(slot)?.get());
        Some(noted.map_or(Value::from(()), |status| Value::from(*status)))
    }
}

/// Whether a name is the page's own, whatever its nodes are called.
pub(super) fn is_reserved(name: &str) -> bool {
    super::REQUEST_NAMES.contains(&name) || matches!(name, "now" | "errors" | "statuses")
}

/// A map of these pairs if it is used; what is not used costs nothing.
fn fields(used: bool, pairs: impl IntoIterator<Item = (String, String)>, dashes: bool) -> Value {
    if used { Value::from_object(Fields::new(pairs, dashes)) } else { Value::UNDEFINED }
}

/// The attributes of `request`, in the order in which they are filled.
pub(crate) const REQUEST_FIELDS: &[&str] =
    &["method", "path", "target", "host", "client", "scheme", "id"];

/// The pairs of all cookie fields (RFC 6265 section 4.2.1). The values of our own are decoded;
/// those that others have set are theirs to understand.
fn cookies(headers: &[(String, String)], own: &[String]) -> Vec<(String, String)> {
    let fields = headers.iter().filter(|(name, _)| name == "cookie");
    let pairs = fields.flat_map(|(_, value)| cookie::pairs(value)).take(COOKIES_READ_MAX);
    pairs
        .map(|(name, value)| {
            let is_own = own.iter().any(|own| own == name);
            let value = if is_own { cookie::decode_value(value) } else { value.into() };
            (name.to_owned(), value.into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        let names = Names::new(["user", "posts", "ad"]).with_cookies(["own".into()].into());
        let inputs = Inputs {
            query: vec![("q".into(), "first".into()), ("q".into(), "second".into())],
            headers: vec![
                ("user-agent".into(), "curl".into()),
                ("cookie".into(), "a=1; b=\"2\"".into()),
                ("cookie".into(), "c = 3;d; a=4; own=a%20b; other=a%20b".into()),
            ],
            ..Inputs::default()
        };
        let uses =
            Uses { query: true, headers: true, cookies: true, request: true, ..Uses::default() };
        Context::new(Arc::new(names), uses, inputs)
    }

    fn eval(context: &Context, expression: &str) -> String {
        let environment = super::super::environment::new();
        let expression = environment.compile_expression(expression).unwrap();
        expression.eval(context.root()).unwrap().to_string()
    }

    #[test]
    fn nodes_are_undefined_until_they_are_set() {
        let context = context();
        assert_eq!(eval(&context, "user is defined"), "False");
        context.set(0, Value::from("ann"));
        assert_eq!(eval(&context, "user"), "ann");
        assert_eq!(eval(&context, "posts is defined"), "False");
    }

    #[test]
    fn a_failed_fetch_is_none_and_told_in_errors() {
        let context = context();
        assert_eq!(eval(&context, "'bad' if errors else 'fine'"), "fine");
        context.fail(2, FetchFailure { status: Some(503), message: "busy".into() }, None);
        assert_eq!(eval(&context, "ad is none"), "True");
        assert_eq!(eval(&context, "errors.ad.status"), "503");
        assert_eq!(eval(&context, "errors.user is none"), "True");
        assert_eq!(eval(&context, "'bad' if errors.user else 'fine'"), "fine");
        assert_eq!(eval(&context, "errors | list"), "['ad']");
    }

    #[test]
    fn request_fields() {
        let context = context();
        assert_eq!(eval(&context, "query.q"), "first");
        assert_eq!(eval(&context, "query.absent | default(10)"), "10");
        assert_eq!(eval(&context, "headers.user_agent ~ headers['user-agent']"), "curlcurl");
        assert_eq!(eval(&context, "cookies.a ~ cookies.b ~ cookies.c"), "123");
        assert_eq!(eval(&context, "cookies.d is defined"), "False");
        // What the site sets is encoded by it; what others set is as it is.
        assert_eq!(eval(&context, "cookies.own ~ '|' ~ cookies.other"), "a b|a%20b");
        assert_eq!(eval(&context, "form | length"), "0");
    }

    #[test]
    fn an_item_sees_itself_and_the_page() {
        let context = context();
        context.set(0, Value::from("ann"));
        let root = context.item_root(&Value::from(7), 3);
        let environment = super::super::environment::new();
        let expression = environment.compile_expression("[it, index, user, query.q]").unwrap();
        assert_eq!(expression.eval(root).unwrap().to_string(), "[7, 3, 'ann', 'first']");
    }
}
