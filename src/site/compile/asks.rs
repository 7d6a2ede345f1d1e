//! How a fetch asks, compiled: its method, its body, and when it is made.

use super::super::asks::Asks;
use super::super::check::Scope;
use super::Compiler;
use crate::config::FetchTable;
use crate::http::Method;
use crate::press::{BodyTemplate, ExpressionFacts, Place, Use};

impl Compiler<'_> {
    /// How a fetch asks. What its body takes is added to `facts`, as it may name an item of the
    /// list of an `each`; what its `when` takes to `uses`, which may not.
    pub(super) fn asks(
        &mut self,
        table: &FetchTable,
        scope: &Scope<'_>,
        facts: &mut Vec<ExpressionFacts>,
        uses: &mut Vec<Use>,
    ) -> Option<Asks> {
        let asks = &table.asks;
        let when = asks.when.as_ref().map(|when| {
            let place = Place::new(self.file, when);
            let compiled = self.builder.expression(&place, 0..when.value.len());
            let (found, all) = self.take(compiled.map(|found| (found.clone(), vec![found])))?;
            uses.extend(self.known_names(all, scope));
            Some(found.id)
        });
        let body = asks.body.as_ref().map(|body| {
            let compiled = BodyTemplate::compile(&mut self.builder, self.file, &body.kind);
            let (body, found) = self.take(compiled)?;
            facts.extend(found);
            Some(body)
        });
        let named =
            table.headers.iter().find(|(name, _)| name.value.eq_ignore_ascii_case("content-type"));
        let names_its_own = matches!(&body, Some(Some(body)) if body.names_its_own_type());
        if let Some((name, _)) = named.filter(|_| names_its_own) {
            let message = "the Content-Type of `multipart` names a boundary, and is made with it";
            let problem = self.file.problem(name.span.clone(), message);
            self.problems.push(problem.hint("leave this field out"));
        }
        let method = asks.method.as_ref().map_or("GET", |method| method.value);
        Some(Asks {
            method: Method::of(method.as_bytes()),
            accept: asks.accept.as_ref().map(|accept| accept.value.clone()).unwrap_or_default(),
            names_type: body.is_some() && named.is_none(),
            // Where one is there and is none, it could not be compiled.
            body: match body {
                Some(body) => Some(body?),
                None => None,
            },
            when: match when {
                Some(when) => Some(when?),
                None => None,
            },
        })
    }
}
