//! The fetches of a page, compiled: what each asks for, of whom, and how its answers are kept.

use super::super::budget::Budget;
use super::super::caching::Caching;
use super::super::check::Scope;
use super::super::page::{Each, Fetch, NodeKind, Ties, constant_headers};
use super::Compiler;
use crate::config::{At, FetchTable, PageTable, header_name_trouble, suggestion};
use crate::press::{
    self, Data, ExpressionFacts, ExpressionId, FieldTemplate, PathTemplate, Place, QueryTemplate,
    Use,
};
use std::sync::Arc;

impl Compiler<'_> {
    pub(super) fn fetch(
        &mut self,
        page: &PageTable,
        table: &FetchTable,
        scope: &Scope<'_>,
        rest: Option<&str>,
    ) -> (Option<NodeKind>, Vec<Use>) {
        let mut uses = Vec::new();
        let each = table.each.as_ref().map(|each| self.list(each, scope, &mut uses));
        let page_scope = scope;
        let others: &[&str] = if each.is_some() { &["it", "index"] } else { &[] };
        let scope = Scope { others, ..scope.clone() };
        let mut facts = Vec::new();
        let path = table.path.as_ref().and_then(|path| {
            let place = Place::new(self.file, path);
            let compiled = PathTemplate::compile(&mut self.builder, &place, rest);
            self.take(compiled)
        });
        let path = path.map(|(path, found)| {
            facts.extend(found);
            path
        });
        let compiled = QueryTemplate::compile(&mut self.builder, self.file, &table.query);
        let query = self.take(compiled).map(|(query, found)| {
            facts.extend(found);
            query
        });
        let headers = self.fields(table, &mut facts);
        let asks = self.asks(table, page_scope, &mut facts, &mut uses);
        uses.extend(self.known_names(facts, &scope));
        let upstream = table.from.as_ref().and_then(|from| self.upstream(from));
        let cache = upstream.and_then(|upstream| self.caching(page, table, upstream));
        let fallback = table.fallback.as_ref().and_then(|fallback| self.fallback(fallback));
        let fetch = || {
            let index = upstream?;
            let upstream = self.upstreams.get(index)?;
            let each = match each {
                None => None,
                Some(list) => Some(Each {
                    max_items: table.max_items,
                    concurrency: table.concurrency.min(upstream.max_in_flight),
                    list: list?,
                }),
            };
            let asks = asks?;
            // The type of a body goes before what the upstream is sent usually.
            let of_body = asks.names_type.then_some("content-type");
            let named = || table.headers.iter().map(|(name, _)| name.value.as_str());
            let own = || named().chain(of_body);
            let base_path = upstream.origin.as_ref().map(|origin| origin.base_path.clone());
            Some(NodeKind::Fetch(Box::new(Fetch {
                upstream: index,
                asks,
                optional: table.optional,
                fallback,
                cache,
                budget: Budget::default(),
                each,
                deadline: table.deadline.as_ref().map_or(upstream.deadline, |at| at.value),
                base_path: base_path.unwrap_or_default(),
                path: path?,
                query: query?,
                ties: Ties::new(&upstream.headers, own(), self.request_id),
                constant_headers: constant_headers(&upstream.headers, own()),
                headers: headers?,
                pass: table.pass.iter().map(|name| name.value.clone()).collect(),
            })))
        };
        (fetch(), uses)
    }

    /// How the answers of a fetch are kept; complains where it should be said that they may.
    fn caching(
        &mut self,
        page: &PageTable,
        table: &FetchTable,
        upstream: usize,
    ) -> Option<Caching> {
        let lines = &self.upstreams.get(upstream)?.headers;
        if !table.asks.may_be_kept() {
            return None;
        }
        let own = table.headers.iter().map(|(name, _)| name.value.as_str());
        match Caching::new(table.cache.as_ref(), page.cache.as_ref(), lines, own) {
            Ok(caching) => caching,
            Err((span, message, hint)) => {
                self.problems.push(self.file.problem(span, message).hint(hint));
                None
            }
        }
    }

    fn fallback(&mut self, fallback: &At<String>) -> Option<Arc<Data>> {
        match press::parse(fallback.value.as_bytes()) {
            Ok(data) => Some(Arc::new(data)),
            Err(error) => {
                let message = format!("this fallback cannot be had: {error}");
                self.problems.push(self.file.problem(fallback.span.clone(), message));
                None
            }
        }
    }

    /// The expression of an `each`.
    fn list(
        &mut self,
        each: &At<String>,
        scope: &Scope<'_>,
        uses: &mut Vec<Use>,
    ) -> Option<ExpressionId> {
        let place = Place::new(self.file, each);
        let compiled = self.builder.expression(&place, 0..each.value.len());
        let (facts, all) = self.take(compiled.map(|facts| (facts.clone(), vec![facts])))?;
        uses.extend(self.known_names(all, scope));
        Some(facts.id)
    }

    /// The fields that a fetch sends; complains of those of its answer that a page has anyway.
    fn fields(
        &mut self,
        table: &FetchTable,
        facts: &mut Vec<ExpressionFacts>,
    ) -> Option<Vec<FieldTemplate>> {
        for name in &table.pass {
            self.is_page_field(name);
        }
        let mut fields = Some(Vec::new());
        for (name, value) in &table.headers {
            match self.field(name, value) {
                Some((field, found)) => {
                    facts.extend(found);
                    fields.iter_mut().for_each(|fields| fields.push(field.clone()));
                }
                None => fields = None,
            }
        }
        fields
    }

    fn field(
        &mut self,
        name: &At<String>,
        value: &At<String>,
    ) -> Option<(FieldTemplate, Vec<ExpressionFacts>)> {
        if let Some((message, hint)) = header_name_trouble(&name.value) {
            self.problems.push(self.file.problem(name.span.clone(), message).hint(hint));
            return None;
        }
        let place = Place::new(self.file, value);
        let compiled = FieldTemplate::compile(&mut self.builder, &name.value, &place);
        self.take(compiled)
    }

    fn upstream(&mut self, from: &At<String>) -> Option<usize> {
        let names = || self.upstreams.iter().map(|upstream| upstream.name.value.as_str());
        let found = names().position(|name| name == from.value);
        if found.is_none() {
            let message = format!("there is no upstream `{}`", from.value);
            let hint = suggestion(&from.value, names())
                .unwrap_or_else(|| format!("add [upstreams.{}] with its url", from.value));
            self.problems.push(self.file.problem(from.span.clone(), message).hint(hint));
        }
        found
    }
}
