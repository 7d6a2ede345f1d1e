//! What a page answers beside its body, compiled from its table.

use super::super::answers::{AnswerPlan, CookiePlan, is_status};
use super::super::check::Scope;
use super::super::cookies::CookieShape;
use super::Compiler;
use crate::config::{At, CookieTable, PageTable, RedirectTable};
use crate::http::line_name;
use crate::press::{
    ExpressionFacts, ExpressionId, FieldTemplate, LocationTemplate, Place, TextTemplate, Use,
    split_origin,
};

impl Compiler<'_> {
    /// What a page answers, and the names that this takes. What is wrong is among the problems.
    pub(super) fn answers(
        &mut self,
        page: &PageTable,
        scope: &Scope<'_>,
        rest: Option<&str>,
    ) -> (AnswerPlan, Vec<Use>) {
        let table = &page.answers;
        let mut facts = Vec::new();
        let mut plan =
            AnswerPlan { has_template: page.template.is_some(), ..AnswerPlan::default() };
        if let Some(status) = &table.status {
            plan.status = self.status(status, &mut facts);
        }
        if let Some(redirect) = &table.redirect {
            let location = self.location(redirect, rest, &mut facts);
            plan.redirect = location.map(|location| (location, redirect.status));
        }
        for (name, value) in &table.headers {
            self.answer_field(name, value, &mut plan, &mut facts);
        }
        for cookie in &table.cookies {
            plan.cookies.push(self.cookie(cookie, &mut facts));
        }
        for (name, value) in &table.session {
            if let Some(template) = self.text(value, &mut facts) {
                plan.session.push((name.value.clone(), template));
            }
        }
        let first = table.session.first().map(|(name, _)| name);
        if let Some(place) = first.or(table.end_session.as_ref())
            && !scope.has_sessions
        {
            let (message, hint) = Scope::no_sessions();
            self.problems.push(self.file.problem(place.span.clone(), message).hint(hint));
        }
        if let Some(expression) = &table.end_session {
            plan.end_session = self.condition(expression, &mut facts);
        }
        let uses = self.known_names(facts, scope);
        (plan, uses)
    }

    fn status(
        &mut self,
        status: &At<String>,
        facts: &mut Vec<ExpressionFacts>,
    ) -> Option<TextTemplate> {
        let text = status.value.trim();
        let is_plain = !text.is_empty() && !text.contains("{{");
        if is_plain && !text.parse().is_ok_and(is_status) {
            let message = format!("`{text}` is no status from 200 to 599 that a page can have");
            let hint =
                "write one such as 404, or an expression: \"{{ 404 if not user else 200 }}\"";
            self.problems.push(self.file.problem(status.span.clone(), message).hint(hint));
            return None;
        }
        self.text(status, facts)
    }

    fn location(
        &mut self,
        redirect: &RedirectTable,
        rest: Option<&str>,
        facts: &mut Vec<ExpressionFacts>,
    ) -> Option<LocationTemplate> {
        let mut origins = Vec::new();
        for origin in &redirect.origins {
            match split_origin(&origin.value) {
                Some((whole, "" | "/")) => origins.push(whole.to_owned()),
                _ => {
                    let message = format!("`{}` is no origin", origin.value);
                    let problem = self.file.problem(origin.span.clone(), message);
                    let hint = "write scheme and host, as in \"https://example.com\"";
                    self.problems.push(problem.hint(hint));
                }
            }
        }
        let place = Place::new(self.file, &redirect.to);
        let compiled = LocationTemplate::compile(&mut self.builder, &place, rest, origins);
        let (location, found) = self.take(compiled)?;
        facts.extend(found);
        Some(location)
    }

    /// A field: its line, where that is always the same.
    fn answer_field(
        &mut self,
        name: &At<String>,
        value: &At<String>,
        plan: &mut AnswerPlan,
        facts: &mut Vec<ExpressionFacts>,
    ) {
        if self.is_page_field(name) {
            return;
        }
        let place = Place::new(self.file, value);
        let compiled = FieldTemplate::compile(&mut self.builder, &name.value, &place);
        let Some((field, found)) = self.take(compiled) else { return };
        if found.is_empty() {
            // What is empty is not said.
            if value.value.trim().is_empty() {
                return;
            }
            for piece in [name.value.as_str(), ": ", value.value.trim(), "\r\n"] {
                plan.constant.extend_from_slice(piece.as_bytes());
            }
            return;
        }
        facts.extend(found);
        plan.headers.push(field);
    }

    /// Whether all HTML has a field of this name, which is a problem: with another it would have
    /// two.
    pub(super) fn is_page_field(&mut self, name: &At<String>) -> bool {
        let begins = |line: &[u8]| line_name(line).eq_ignore_ascii_case(name.value.as_bytes());
        let is_there = self.page_fields.split(|byte| *byte == b'\n').any(begins);
        if is_there {
            let message = format!("all HTML has the header `{}` already", name.value);
            let hint = "say it in [server.headers], for all pages, or leave it out there";
            self.problems.push(self.file.problem(name.span.clone(), message).hint(hint));
        }
        is_there
    }

    fn cookie(&mut self, table: &CookieTable, facts: &mut Vec<ExpressionFacts>) -> CookiePlan {
        let shape = CookieShape::new(&table.name.value, &table.attributes);
        let value = table.value.as_ref().and_then(|value| self.text(value, facts));
        let delete = table.delete.as_ref().and_then(|delete| self.condition(delete, facts));
        CookiePlan { shape, value, delete }
    }

    fn text(
        &mut self,
        text: &At<String>,
        facts: &mut Vec<ExpressionFacts>,
    ) -> Option<TextTemplate> {
        let place = Place::new(self.file, text);
        let compiled = TextTemplate::compile(&mut self.builder, &place);
        let (template, found) = self.take(compiled)?;
        facts.extend(found);
        Some(template)
    }

    /// An expression that is true or not.
    fn condition(
        &mut self,
        text: &At<String>,
        facts: &mut Vec<ExpressionFacts>,
    ) -> Option<ExpressionId> {
        let place = Place::new(self.file, text);
        let compiled = self.builder.expression(&place, 0..text.value.len());
        let found = self.take(compiled)?;
        let id = found.id;
        facts.push(found);
        Some(id)
    }
}
