//! How a fetch asks, and what a page takes, compiled.

use super::page::Node;
use super::{Fetch, Page};
use crate::config::TakesTable;
use crate::error::PageError;
use crate::http::{Method, Methods};
use crate::press::{BodyTemplate, Context, ExpressionId, Value};

/// How a fetch asks.
#[derive(Debug)]
pub struct Asks {
    /// The method.
    pub method: Method,
    /// Statuses besides 2xx whose JSON is the value too.
    pub accept: Vec<u16>,
    pub(super) body: Option<BodyTemplate>,
    /// Whether its Content-Type goes with the body; where not, the fetch or its upstream names one.
    pub(super) names_type: bool,
    /// Where it is false nobody is asked.
    pub(super) when: Option<ExpressionId>,
}

/// What a page takes.
#[derive(Clone, Debug)]
pub struct Takes {
    /// The methods.
    pub methods: Methods,
    /// The body of a request, bytes; the server's bound where there is none.
    pub body_bytes_max: Option<u64>,
    /// Fields of a form.
    pub fields_max: usize,
    /// Whether requests that change something must come from the site itself.
    pub is_guarded: bool,
}

impl Asks {
    /// Whether it is a GET that takes nothing but what every GET takes.
    pub fn is_plain(&self) -> bool {
        self.method == Method::Get && self.accept.is_empty()
    }
}

impl Takes {
    pub(super) fn new(table: &TakesTable) -> Self {
        Self {
            methods: Methods::named(table.methods.iter().copied()),
            body_bytes_max: table.body_bytes_max,
            fields_max: table.fields_max,
            is_guarded: table.is_guarded,
        }
    }
}

impl Page {
    /// What requests it takes.
    pub fn takes(&self) -> &Takes {
        &self.takes
    }

    /// Whether a fetch is to be made: as its `when` says.
    ///
    /// # Errors
    /// When that expression fails.
    pub fn wants(&self, fetch: &Fetch, context: &Context) -> Result<bool, PageError> {
        let Some(when) = fetch.asks.when else { return Ok(true) };
        Ok(self.press.evaluate(when, &context.root())?.is_true())
    }

    /// The body of a fetch, if it has one; its Content-Type is appended to the header fields.
    ///
    /// # Errors
    /// When an expression fails, or gives what cannot be sent.
    pub fn fetch_body(
        &self,
        node: &Node,
        context: &Context,
        item: Option<(&Value, usize)>,
        headers: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, PageError> {
        let Some((asks, body)) =
            node.fetch().and_then(|fetch| Some((&fetch.asks, fetch.asks.body.as_ref()?)))
        else {
            return Ok(None);
        };
        let root = match item {
            Some((it, index)) => context.item_root(it, index),
            None => context.root(),
        };
        let mut out = Vec::new();
        let content_type = body.write(&self.press, &root, &mut out).map_err(|error| {
            let message = format!("fetch `{}` could not be asked for", node.name);
            error.within(message)
        })?;
        if asks.names_type {
            headers.extend_from_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
        }
        Ok(Some(out))
    }
}
